//! The walk through an export request: every text of it, by what it is.

use std::borrow::Cow;

use trivium_model::{SignalKind, WireFormat, limit, service_of_job};

use crate::hit::{Hit, Observer};
use crate::keys::KeyMemo;
use crate::leaf::{Leaf, is_plain, leaf, pair, string_value};
use crate::remote_write;
use crate::rewrite::{Place as FieldPlace, Rewrite};
use crate::rules::{Active, Place, Rules, unreadable};
use crate::schema::{Field, Kind};
use crate::wire::{Fields, Malformed, Value};

/// Why a request is not redacted. It cannot be stored either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are no export request; the decoder says where.
    #[error("the body is not a valid request")]
    Malformed,
    /// There are more records than one request may have.
    #[error("the request has more than {} records", limit::REQUEST_ROWS_MAX)]
    TooManyRecords,
    /// What stands in the place of what was found makes the request too large.
    #[error("the request is larger than {} bytes with what stands for its secrets", limit::REQUEST_BYTES_MAX)]
    TooLarge,
}

impl From<Malformed> for Unreadable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The content of a message that nobody can read: the decoder counts the record or attribute as undecodable, as it would
/// have done, and nothing of what was sent is kept.
pub(crate) const MALFORMED: &[u8] = &[0x80];

/// An `AnyValue` that is `false`. The decoder shows whatever stands below the deepest level as cut.
const CUT: &[u8] = &[0x10, 0];

/// Integers of as many digits as a card number has.
const CARD_INTEGERS: std::ops::Range<u64> = 1_000_000_000_000..10_000_000_000_000_000_000;

/// Bytes that such an integer has as an `AnyValue`, at the least.
const CARD_INTEGER_BYTES: usize = 7;

/// What becomes of a field.
pub(crate) enum Edit<'a> {
    Keep,
    Replace(Cow<'a, [u8]>),
    Remove,
}

impl Edit<'_> {
    fn of(content: Option<Vec<u8>>) -> Self {
        content.map_or(Self::Keep, |content| Self::Replace(Cow::Owned(content)))
    }
}

/// One walk.
pub(crate) struct Walker<'p, 'r> {
    pub(crate) rules: &'r Rules,
    signal: SignalKind,
    pub(crate) active: Active,
    memo: KeyMemo<'p>,
    /// Memory for the screen.
    lower: Vec<u8>,
    pub(crate) observer: &'r mut dyn Observer,
    rows: usize,
    /// By how much the request grew, what shrank not counted.
    grown_bytes: usize,
}

impl<'p, 'r> Walker<'p, 'r> {
    pub(crate) fn new(rules: &'r Rules, signal: SignalKind, observer: &'r mut dyn Observer) -> Self {
        let (active, memo) = (rules.of_signal(signal), KeyMemo::new(&rules.keys));
        Self { rules, signal, active, memo, lower: Vec::new(), observer, rows: 0, grown_bytes: 0 }
    }

    /// What is stored instead of a request; `None` when it may be stored as it is.
    pub(crate) fn redact(
        &mut self,
        signal: SignalKind,
        format: WireFormat,
        payload: &'p [u8],
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let redacted = match format {
            WireFormat::Otlp => self.message(payload, Kind::Request(signal), u64::MAX),
            WireFormat::RemoteWrite1 => self.message(payload, Kind::WriteRequest, u64::MAX),
            WireFormat::RemoteWrite2 => remote_write::redact(self, payload),
        }?;
        match redacted {
            Some(payload) if payload.len() > limit::REQUEST_BYTES_MAX => Err(Unreadable::TooLarge),
            redacted => Ok(redacted),
        }
    }

    /// Makes the rules for a service the ones that apply.
    pub(crate) fn enter_service(&mut self, service: &[u8]) {
        self.active = self.rules.active(self.signal, service);
    }

    /// Makes all rules for the signal the ones that apply.
    pub(crate) fn leave_service(&mut self) {
        self.active = self.rules.of_signal(self.signal);
    }

    /// The rules of which a pattern can match in these bytes.
    #[inline]
    pub(crate) fn may_match(&mut self, bytes: &[u8]) -> u64 {
        if self.active.patterns == 0 {
            return 0;
        }
        self.rules.screen(self.signal).may_match(bytes, &mut self.lower) & self.active.patterns
    }

    /// A message of a kind. `texts` are the rules of which a pattern may match in it.
    fn message(&mut self, message: &'p [u8], kind: Kind, texts: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        self.enter(message, kind)?;
        let texts = if texts != 0 && kind.is_screened() { texts & self.may_match(message) } else { texts };
        if texts == 0 && self.active.keys == 0 && self.active.patterns & self.rules.with_cards == 0 && !has_rows(kind) {
            return Ok(None);
        }
        let mut rewrite = Rewrite::new(message);
        let mut fields = Fields::new(message);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next()? else { break };
            let place = FieldPlace { start, end: fields.position() };
            if kind.is_row(number) {
                self.count_row()?;
            }
            if kind.is_request() {
                // What tells no service of its own, such as a help text, is not one of the service before it.
                self.leave_service();
            }
            match value {
                Value::Bytes(content) => match self.field(content, kind.field(number), texts)? {
                    Edit::Keep => {}
                    Edit::Replace(content) => rewrite.replace(place, number, &content),
                    Edit::Remove => rewrite.remove(place),
                },
                Value::Group if self.is_secret(message, place, texts) => rewrite.remove(place),
                _ => {}
            }
        }
        Ok(rewrite.finish())
    }

    /// Finds the service of what follows, where rules ask for it: protobuf does not promise that a resource comes before its
    /// records.
    fn enter(&mut self, message: &'p [u8], kind: Kind) -> Result<(), Unreadable> {
        if !self.rules.asks_service() {
            return Ok(());
        }
        match kind {
            Kind::OfResource(_) => self.enter_service(service_of_resource(message)?),
            // A series that cannot be read is found out by the walk.
            Kind::WriteSeries => self.enter_service(service_of_series(message).unwrap_or_default()),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn count_row(&mut self) -> Result<(), Unreadable> {
        self.rows += 1;
        if self.rows > limit::REQUEST_ROWS_MAX { Err(Unreadable::TooManyRecords) } else { Ok(()) }
    }

    fn field(&mut self, content: &'p [u8], field: Field, texts: u64) -> Result<Edit<'p>, Unreadable> {
        match field {
            Field::Opaque => Ok(Edit::Keep),
            Field::Text(place) => Ok(Edit::of(self.text(place, &[], content, texts)?)),
            Field::Message(kind) => {
                self.contained(content, kind.is_framing(), |walker| walker.message(content, kind, texts))
            }
            Field::Value(_) if texts == 0 && self.has_nothing(content) => Ok(Edit::Keep),
            Field::Attribute => self.key_value(content, Place::Attributes, 1, texts),
            Field::Value(place) => {
                self.contained(content, false, |walker| walker.any_value(content, place, &[], 1, texts))
            }
            Field::Label => self.label(content, texts),
            Field::Unknown => Ok(self.unknown(content, texts)),
        }
    }

    /// Whether an `AnyValue` has no keys in it and no number that may be secret. In doubt, no.
    #[inline]
    fn has_nothing(&self, value: &[u8]) -> bool {
        let may_be_card = || value.first() == Some(&0x18) && value.len() >= CARD_INTEGER_BYTES;
        is_plain(value) && (self.active.patterns & self.rules.with_cards == 0 || !may_be_card())
    }

    /// Keeps what is wrong with a message from what surrounds it, as the decoder does, unless it is wrong with all of it.
    pub(crate) fn contained(
        &mut self,
        content: &[u8],
        is_framing: bool,
        walk: impl FnOnce(&mut Self) -> Result<Option<Vec<u8>>, Unreadable>,
    ) -> Result<Edit<'p>, Unreadable> {
        match walk(self) {
            Ok(content) => Ok(Edit::of(content)),
            Err(Unreadable::Malformed) if !is_framing => Ok(self.malformed(content)),
            Err(error) => Err(error),
        }
    }

    fn malformed(&mut self, content: &[u8]) -> Edit<'p> {
        unreadable(content, self.observer);
        Edit::Replace(Cow::Borrowed(MALFORMED))
    }

    /// A field that this version does not know. Its content is left out when a pattern matches in its bytes.
    pub(crate) fn unknown(&mut self, content: &[u8], texts: u64) -> Edit<'p> {
        if texts != 0 && self.rules.finds(self.active.patterns & texts, content) {
            unreadable(content, self.observer);
            return Edit::Replace(Cow::Borrowed(&[]));
        }
        Edit::Keep
    }

    /// Whether a pattern matches in the bytes of a group, a form of message that nobody uses any more.
    fn is_secret(&mut self, message: &[u8], place: FieldPlace, texts: u64) -> bool {
        let group = message.get(place.start..place.end).unwrap_or_default();
        let is_secret = texts != 0 && self.rules.finds(self.active.patterns & texts, group);
        if is_secret {
            unreadable(group, self.observer);
        }
        is_secret
    }

    /// What is stored instead of a text.
    pub(crate) fn text(
        &mut self,
        place: Place,
        key: &[u8],
        text: &[u8],
        texts: u64,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let rules = self.rules.at(self.active.patterns & texts, place);
        if rules == 0 || text.is_empty() {
            return Ok(None);
        }
        let redacted = self.rules.text(rules, key, text, self.observer);
        if let Some(redacted) = &redacted {
            self.grow(text.len(), redacted.len())?;
        }
        Ok(redacted)
    }

    pub(crate) fn grow(&mut self, before: usize, after: usize) -> Result<(), Unreadable> {
        self.grown_bytes += after.saturating_sub(before);
        if self.grown_bytes > limit::REQUEST_BYTES_MAX { Err(Unreadable::TooLarge) } else { Ok(()) }
    }

    /// The first rule that lists a key.
    pub(crate) fn rule_of_key(&mut self, key: &'p [u8], place: Place) -> Option<usize> {
        if self.active.keys == 0 {
            return None;
        }
        let listed = self.memo.rules_of(&self.rules.keys, key) & self.active.keys;
        let listed = self.rules.at(listed, place);
        (listed != 0).then(|| listed.trailing_zeros() as usize)
    }

    /// Whether any rule lists a key, wherever it stands and whatever the service.
    pub(crate) fn is_listed(&mut self, key: &'p [u8]) -> bool {
        self.memo.rules_of(&self.rules.keys, key) != 0
    }

    fn key_value(&mut self, message: &'p [u8], place: Place, depth: usize, texts: u64) -> Result<Edit<'p>, Unreadable> {
        if texts == 0
            && let Some((key, value)) = pair(message)
            && self.has_nothing(value)
            && self.rule_of_key(key, place).is_none()
        {
            return Ok(Edit::Keep);
        }
        match self.key_value_inside(message, place, depth, texts) {
            Err(Unreadable::Malformed) => Ok(self.malformed(message)),
            result => result,
        }
    }

    fn key_value_inside(
        &mut self,
        message: &'p [u8],
        place: Place,
        depth: usize,
        texts: u64,
    ) -> Result<Edit<'p>, Unreadable> {
        let key = key_of(message)?;
        let rule = self.rule_of_key(key, place);
        let mut rewrite = Rewrite::new(message);
        let mut fields = Fields::new(message);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next()? else { break };
            let field = FieldPlace { start, end: fields.position() };
            let edit = match (number, value) {
                (1, Value::Bytes(text)) => Edit::of(self.text(place, key, text, texts)?),
                (2, Value::Bytes(value)) => match rule {
                    Some(rule) => match self.listed_value(rule, key, value)? {
                        Edit::Remove => return Ok(Edit::Remove),
                        edit => edit,
                    },
                    None => self.contained(value, false, |walker| walker.any_value(value, place, key, depth, texts))?,
                },
                (_, Value::Bytes(content)) => self.unknown(content, texts),
                (_, Value::Group) if self.is_secret(message, field, texts) => Edit::Remove,
                _ => Edit::Keep,
            };
            match edit {
                Edit::Keep => {}
                Edit::Replace(content) => rewrite.replace(field, number, &content),
                Edit::Remove => rewrite.remove(field),
            }
        }
        Ok(Edit::of(rewrite.finish()))
    }

    /// The value of a key that a rule lists.
    fn listed_value(&mut self, rule: usize, key: &[u8], message: &[u8]) -> Result<Edit<'p>, Unreadable> {
        let Some(action) = self.rules.rules.get(rule).map(|rule| &rule.action) else { return Ok(Edit::Keep) };
        let (before, after) = match leaf(message)? {
            Leaf::Nothing => return Ok(Edit::Keep),
            Leaf::Text(text) => (text.clone(), action.apply(&text).map(Cow::into_owned)),
            Leaf::Structure => (Cow::Borrowed(message), action.apply_to_structure(message).map(Cow::into_owned)),
        };
        if after.as_deref() == Some(&*before) {
            return Ok(Edit::Keep);
        }
        self.observer.hit(&Hit { rule, key, before: &before, after: after.as_deref() });
        let Some(after) = after else { return Ok(Edit::Remove) };
        self.grow(message.len(), after.len())?;
        Ok(Edit::Replace(Cow::Owned(string_value(&after))))
    }

    fn any_value(
        &mut self,
        message: &'p [u8],
        place: Place,
        key: &[u8],
        depth: usize,
        texts: u64,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        if depth > limit::VALUE_DEPTH_MAX {
            return Ok(self.too_deep(message, texts));
        }
        let mut rewrite = Rewrite::new(message);
        let mut fields = Fields::new(message);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next()? else { break };
            let field = FieldPlace { start, end: fields.position() };
            let edit = match (number, value) {
                (1 | 7, Value::Bytes(text)) => Edit::of(self.text(place, key, text, texts)?),
                (5 | 6, Value::Bytes(list)) => {
                    self.contained(list, false, |walker| walker.list(list, number == 6, place, key, depth, texts))?
                }
                (_, Value::Bytes(content)) => self.unknown(content, texts),
                (3, Value::Varint(integer)) if CARD_INTEGERS.contains(&integer) => {
                    if let Some(text) = self.integer(integer, place, key)? {
                        rewrite.replace(field, 1, &text);
                    }
                    Edit::Keep
                }
                (_, Value::Group) if self.is_secret(message, field, texts) => Edit::Remove,
                _ => Edit::Keep,
            };
            match edit {
                Edit::Keep => {}
                Edit::Replace(content) => rewrite.replace(field, number, &content),
                Edit::Remove => rewrite.remove(field),
            }
        }
        Ok(rewrite.finish())
    }

    /// The elements of an array or the pairs of a map.
    fn list(
        &mut self,
        message: &'p [u8],
        is_map: bool,
        place: Place,
        key: &[u8],
        depth: usize,
        texts: u64,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let mut rewrite = Rewrite::new(message);
        let mut fields = Fields::new(message);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next()? else { break };
            let field = FieldPlace { start, end: fields.position() };
            let edit = match (number, value) {
                (1, Value::Bytes(pair)) if is_map => self.key_value(pair, place, depth + 1, texts)?,
                (1, Value::Bytes(element)) => {
                    self.contained(element, false, |walker| walker.any_value(element, place, key, depth + 1, texts))?
                }
                (_, Value::Bytes(content)) => self.unknown(content, texts),
                (_, Value::Group) if self.is_secret(message, field, texts) => Edit::Remove,
                _ => Edit::Keep,
            };
            match edit {
                Edit::Keep => {}
                Edit::Replace(content) => rewrite.replace(field, number, &content),
                Edit::Remove => rewrite.remove(field),
            }
        }
        Ok(rewrite.finish())
    }

    /// What is nested deeper than anybody will see. It is left out where it might hold something.
    fn too_deep(&mut self, message: &[u8], texts: u64) -> Option<Vec<u8>> {
        let may_hold = self.active.keys != 0 || (texts != 0 && self.rules.finds(self.active.patterns & texts, message));
        if message.len() <= CUT.len() || !may_hold {
            return None;
        }
        unreadable(message, self.observer);
        Some(CUT.to_vec())
    }

    /// An integer that is a card number becomes a text.
    fn integer(&mut self, integer: u64, place: Place, key: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let rules = self.rules.at(self.active.patterns & self.rules.with_cards, place);
        if rules == 0 {
            return Ok(None);
        }
        let text = integer.to_string();
        let redacted = self.rules.text(rules, key, text.as_bytes(), self.observer);
        if let Some(redacted) = &redacted {
            self.grow(text.len(), redacted.len())?;
        }
        Ok(redacted)
    }

    /// A label of remote write 1.0.
    fn label(&mut self, message: &'p [u8], texts: u64) -> Result<Edit<'p>, Unreadable> {
        match self.label_inside(message, texts) {
            Err(Unreadable::Malformed) => Ok(self.malformed(message)),
            result => result,
        }
    }

    fn label_inside(&mut self, message: &'p [u8], texts: u64) -> Result<Edit<'p>, Unreadable> {
        let (name, _) = name_and_value(message)?;
        let mut rewrite = Rewrite::new(message);
        let mut fields = Fields::new(message);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next()? else { break };
            let field = FieldPlace { start, end: fields.position() };
            let Value::Bytes(text) = value else { continue };
            let edit = match number {
                1 => Edit::of(self.text(Place::Attributes, name, text, texts)?),
                2 => self.label_value(name, text, texts)?,
                _ => self.unknown(text, texts),
            };
            match edit {
                Edit::Keep => {}
                Edit::Replace(content) => rewrite.replace(field, number, &content),
                Edit::Remove => return Ok(Edit::Remove),
            }
        }
        Ok(Edit::of(rewrite.finish()))
    }

    /// The value of a label. The name of a metric is none, whatever the lists say: without it there is no series.
    pub(crate) fn label_value(&mut self, name: &'p [u8], value: &[u8], texts: u64) -> Result<Edit<'p>, Unreadable> {
        if name == b"__name__" {
            return Ok(Edit::of(self.text(Place::Other, name, value, texts)?));
        }
        let Some(rule) = self.rule_of_key(name, Place::Attributes).filter(|_| !value.is_empty()) else {
            return Ok(Edit::of(self.text(Place::Attributes, name, value, texts)?));
        };
        let Some(action) = self.rules.rules.get(rule).map(|rule| &rule.action) else { return Ok(Edit::Keep) };
        let after = action.apply(value).map(Cow::into_owned);
        if after.as_deref() == Some(value) {
            return Ok(Edit::Keep);
        }
        self.observer.hit(&Hit { rule, key: name, before: value, after: after.as_deref() });
        let Some(after) = after else { return Ok(Edit::Remove) };
        self.grow(value.len(), after.len())?;
        Ok(Edit::Replace(Cow::Owned(after)))
    }
}

/// Whether rows are counted somewhere inside.
fn has_rows(kind: Kind) -> bool {
    kind.is_framing()
        || matches!(
            kind,
            Kind::Metric
                | Kind::Numbers
                | Kind::Histogram
                | Kind::ExponentialHistogram
                | Kind::Summary
                | Kind::WriteSeries
        )
}

/// The key of a `KeyValue`.
fn key_of(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(message);
    let mut key = &[][..];
    while let Some((number, value)) = fields.next()? {
        if let (1, Value::Bytes(bytes)) = (number, value) {
            key = bytes;
        }
    }
    Ok(key)
}

/// Name and value of a label.
fn name_and_value(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields::new(message);
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((name, value))
}

/// `service.name` of the resource of a `ResourceLogs`, `ResourceMetrics` or `ResourceSpans`; empty without one.
fn service_of_resource(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(message);
    let mut service = &[][..];
    while let Some((number, value)) = fields.next()? {
        if let (1, Value::Bytes(resource)) = (number, value) {
            service = service_name(resource).unwrap_or_default();
        }
    }
    Ok(service)
}

fn service_name(resource: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(resource);
    let mut service = &[][..];
    while let Some((number, value)) = fields.next()? {
        let (1, Value::Bytes(pair)) = (number, value) else { continue };
        if key_of(pair) != Ok(b"service.name") {
            continue;
        }
        let mut pair = Fields::new(pair);
        while let Some((number, value)) = pair.next()? {
            if let (2, Value::Bytes(value)) = (number, value) {
                // The text of an `AnyValue` has the number that a key has.
                service = key_of(value)?;
            }
        }
    }
    Ok(service)
}

/// The service that the value of a label `job` stands for.
pub(crate) fn of_job(job: &[u8]) -> &[u8] {
    str::from_utf8(job).map_or(job, |job| service_of_job(job).as_bytes())
}

/// The service of a series of remote write 1.0.
fn service_of_series(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::new(message);
    let mut service = &[][..];
    while let Some((number, value)) = fields.next()? {
        if let (1, Value::Bytes(label)) = (number, value)
            && let (b"job", job) = name_and_value(label)?
        {
            service = of_job(job);
        }
    }
    Ok(service)
}
