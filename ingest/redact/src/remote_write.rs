//! Remote write 2.0, whose labels are references into a table of texts that the whole request shares.
//!
//! What a label becomes is a new text at the end of the table. Texts to which nothing refers any more are emptied in their
//! place, so that every other reference stays right.

use std::borrow::Cow;
use std::collections::HashMap;

use trivium_model::limit;

use crate::rewrite::{Place as FieldPlace, Rewrite};
use crate::rules::{Active, Place};
use crate::walk::{Edit, Unreadable, Walker, of_job};
use crate::wire::{Fields, Malformed, Value, write_bytes, write_varint};

const SYMBOLS: u32 = 4;
const SERIES: u32 = 5;

/// Fields of a series.
const LABELS: u32 = 1;
const EXEMPLARS: u32 = 4;
const METADATA: u32 = 5;

/// References to the texts of help and unit, in the metadata of a series.
const HELP: u32 = 3;
const UNIT: u32 = 4;

/// As many references of one series as the decoder takes.
const REFERENCES_MAX: usize = limit::ATTRIBUTES_MAX * 32;

/// As many texts as the decoder takes.
const SYMBOLS_MAX: usize = limit::REQUEST_NESTED_MAX;

/// What becomes of a label.
#[derive(Clone, Copy, Debug)]
enum Label {
    As(u64, u64),
    Removed,
}

/// The table of texts.
struct Table<'p> {
    symbols: Vec<&'p [u8]>,
    is_used: Vec<bool>,
    added: Vec<Vec<u8>>,
    places: HashMap<Vec<u8>, u64>,
    labels: HashMap<(u64, u64, u64, u64), Label>,
}

/// What is stored instead of a request; `None` when it may be stored as it is.
pub(crate) fn redact<'p>(walker: &mut Walker<'p, '_>, payload: &'p [u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    let texts = walker.may_match(payload);
    if texts == 0 && !has_listed_key(walker, payload)? {
        return Ok(None);
    }
    let mut table = Table::read(payload)?;
    let mut edits = Vec::new();
    let mut fields = Fields::new(payload);
    while let Some((number, value)) = fields.next()? {
        if let (SERIES, Value::Bytes(message)) = (number, value) {
            let edit = walker.contained(message, false, |walker| series(walker, &mut table, message, texts))?;
            edits.push(edit);
        }
    }
    walker.leave_service();
    assemble(walker, &table, payload, edits, texts)
}

fn has_listed_key<'p>(walker: &mut Walker<'p, '_>, payload: &'p [u8]) -> Result<bool, Malformed> {
    let mut fields = Fields::new(payload);
    while let Some((number, value)) = fields.next()? {
        if let (SYMBOLS, Value::Bytes(symbol)) = (number, value)
            && walker.is_listed(symbol)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts the request together from its series and what is left of the table.
fn assemble<'p>(
    walker: &mut Walker<'p, '_>,
    table: &Table<'p>,
    payload: &'p [u8],
    edits: Vec<Edit<'p>>,
    texts: u64,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let is_changed = edits.iter().any(|edit| !matches!(edit, Edit::Keep));
    let mut edits = edits.into_iter();
    let mut symbol = 0;
    let mut rewrite = Rewrite::new(payload);
    let mut fields = Fields::new(payload);
    loop {
        let start = fields.position();
        let Some((number, value)) = fields.next()? else { break };
        let field = FieldPlace { start, end: fields.position() };
        let Value::Bytes(content) = value else { continue };
        let edit = match number {
            SYMBOLS => {
                symbol += 1;
                let is_used = table.is_used.get(symbol - 1).copied().unwrap_or_default();
                let is_empty = content.is_empty();
                if is_used || is_empty { Edit::Keep } else { unused(walker, content, is_changed, texts) }
            }
            SERIES => edits.next().unwrap_or(Edit::Keep),
            _ => walker.unknown(content, texts),
        };
        match edit {
            Edit::Keep => {}
            Edit::Replace(content) => rewrite.replace(field, number, &content),
            Edit::Remove => rewrite.remove(field),
        }
    }
    if !table.added.is_empty() {
        let mut added = Vec::new();
        table.added.iter().for_each(|text| write_bytes(&mut added, SYMBOLS, text));
        rewrite.splice(FieldPlace { start: payload.len(), end: payload.len() }, &added);
    }
    Ok(rewrite.finish())
}

/// A text to which nothing refers: it is what a label was, or nobody knows what.
fn unused<'p>(walker: &mut Walker<'p, '_>, text: &[u8], is_changed: bool, texts: u64) -> Edit<'p> {
    if is_changed { Edit::Replace(Cow::Borrowed(&[])) } else { walker.unknown(text, texts) }
}

fn series<'p>(
    walker: &mut Walker<'p, '_>,
    table: &mut Table<'p>,
    message: &'p [u8],
    texts: u64,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let references = references(message, LABELS)?;
    if walker.rules.asks_service() {
        walker.enter_service(table.service(&references));
    }
    let labels = table.relabel(walker, &references, texts)?;
    rewritten(message, labels, |number, value| match (number, value) {
        (EXEMPLARS, Value::Bytes(exemplar)) => {
            walker.count_row()?;
            walker.contained(exemplar, false, |walker| {
                let labels = table.relabel(walker, &self::references(exemplar, LABELS)?, texts)?;
                rewritten(exemplar, labels, |_, value| Ok(other(walker, value, texts)))
            })
        }
        (METADATA, Value::Bytes(metadata)) => {
            walker.contained(metadata, false, |walker| described(walker, table, metadata, texts))
        }
        (2 | 3, _) => {
            walker.count_row()?;
            Ok(Edit::Keep)
        }
        (_, value) => Ok(other(walker, value, texts)),
    })
}

fn other<'p>(walker: &mut Walker<'p, '_>, value: Value<'_>, texts: u64) -> Edit<'p> {
    if let Value::Bytes(content) = value { walker.unknown(content, texts) } else { Edit::Keep }
}

/// A message with other references to its labels, in one list, and its other fields as `edit` makes them.
fn rewritten<'p>(
    message: &'p [u8],
    labels: Option<Vec<u64>>,
    mut edit: impl FnMut(u32, Value<'p>) -> Result<Edit<'p>, Unreadable>,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut list = Vec::new();
    labels.iter().flatten().for_each(|reference| write_varint(&mut list, *reference));
    let mut is_written = false;
    let mut rewrite = Rewrite::new(message);
    let mut fields = Fields::new(message);
    loop {
        let start = fields.position();
        let Some((number, value)) = fields.next()? else { break };
        let field = FieldPlace { start, end: fields.position() };
        let edit = match (number, &labels) {
            (LABELS, None) => Edit::Keep,
            (LABELS, Some(_)) if std::mem::replace(&mut is_written, true) => Edit::Remove,
            (LABELS, Some(_)) => Edit::Replace(Cow::Borrowed(&list[..])),
            _ => edit(number, value)?,
        };
        match edit {
            Edit::Keep => {}
            Edit::Replace(content) => rewrite.replace(field, number, &content),
            Edit::Remove => rewrite.remove(field),
        }
    }
    Ok(rewrite.finish())
}

/// The metadata of a series.
fn described<'p>(
    walker: &mut Walker<'p, '_>,
    table: &mut Table<'p>,
    message: &'p [u8],
    texts: u64,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut rewrite = Rewrite::new(message);
    let mut fields = Fields::new(message);
    loop {
        let start = fields.position();
        let Some((number, value)) = fields.next()? else { break };
        let field = FieldPlace { start, end: fields.position() };
        let reference = match (number, value) {
            (HELP | UNIT, Value::Varint(reference)) => reference,
            (_, value) => {
                if let Edit::Replace(content) = other(walker, value, texts) {
                    rewrite.replace(field, number, &content);
                }
                continue;
            }
        };
        let text = table.get(reference).unwrap_or_default();
        match walker.text(Place::Other, &[], text, texts)? {
            None => table.mark(reference),
            Some(text) => {
                let mut content = Vec::new();
                write_varint(&mut content, u64::from(number) << 3);
                write_varint(&mut content, table.add(text)?);
                rewrite.splice(field, &content);
            }
        }
    }
    Ok(rewrite.finish())
}

/// The references of a message, packed or not. Each byte of it may be one of eight bytes here: more than the decoder takes are
/// not read, and it refuses their series.
fn references(message: &[u8], field: u32) -> Result<Vec<u64>, Malformed> {
    let mut references = Vec::new();
    let mut take = |reference| {
        if references.len() == REFERENCES_MAX {
            return Err(Malformed);
        }
        references.push(reference);
        Ok(())
    };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match value {
            Value::Varint(reference) if number == field => take(reference)?,
            Value::Bytes(packed) if number == field => {
                let mut elements = Fields::new(packed);
                while elements.position() < packed.len() {
                    take(elements.varint()?)?;
                }
            }
            _ => {}
        }
    }
    Ok(references)
}

impl<'p> Table<'p> {
    fn read(payload: &'p [u8]) -> Result<Self, Unreadable> {
        let mut symbols = Vec::new();
        let mut fields = Fields::new(payload);
        while let Some((number, value)) = fields.next()? {
            if let (SYMBOLS, Value::Bytes(symbol)) = (number, value) {
                if symbols.len() == SYMBOLS_MAX {
                    return Err(Unreadable::Malformed);
                }
                symbols.push(symbol);
            }
        }
        let is_used = vec![false; symbols.len()];
        Ok(Self { symbols, is_used, added: Vec::new(), places: HashMap::new(), labels: HashMap::new() })
    }

    fn get(&self, reference: u64) -> Option<&'p [u8]> {
        usize::try_from(reference).ok().and_then(|index| self.symbols.get(index)).copied()
    }

    fn mark(&mut self, reference: u64) {
        if let Some(is_used) = usize::try_from(reference).ok().and_then(|index| self.is_used.get_mut(index)) {
            *is_used = true;
        }
    }

    /// The reference of a new text.
    fn add(&mut self, text: Vec<u8>) -> Result<u64, Unreadable> {
        if let Some(place) = self.places.get(&text) {
            return Ok(*place);
        }
        let count = self.symbols.len() + self.added.len();
        if count >= SYMBOLS_MAX {
            return Err(Unreadable::TooLarge);
        }
        self.added.push(text.clone());
        self.places.insert(text, count as u64);
        Ok(count as u64)
    }

    /// The service that the label `job` names.
    fn service(&self, references: &[u64]) -> &'p [u8] {
        let (pairs, _) = references.as_chunks::<2>();
        let job = pairs.iter().rev().find(|[name, _]| self.get(*name) == Some(b"job"));
        job.and_then(|[_, value]| self.get(*value)).map(of_job).unwrap_or_default()
    }

    /// The references of what a set of labels becomes; `None` when that is what it is.
    fn relabel(
        &mut self,
        walker: &mut Walker<'p, '_>,
        references: &[u64],
        texts: u64,
    ) -> Result<Option<Vec<u64>>, Unreadable> {
        let (pairs, rest) = references.as_chunks::<2>();
        let mut relabelled = Vec::with_capacity(references.len());
        for [name, value] in pairs {
            if let Label::As(name, value) = self.label(walker, *name, *value, texts)? {
                relabelled.extend([name, value]);
            }
        }
        relabelled.extend(rest);
        relabelled.iter().for_each(|reference| self.mark(*reference));
        Ok((relabelled != references).then_some(relabelled))
    }

    fn label(&mut self, walker: &mut Walker<'p, '_>, name: u64, value: u64, texts: u64) -> Result<Label, Unreadable> {
        let Active { keys, patterns } = walker.active;
        let known = (name, value, keys, patterns);
        if let Some(label) = self.labels.get(&known) {
            return Ok(*label);
        }
        // What points outside of the table costs its series, which the decoder tells.
        let (Some(name_text), Some(value_text)) = (self.get(name), self.get(value)) else {
            return Ok(Label::As(name, value));
        };
        let new_name = match walker.text(Place::Attributes, name_text, name_text, texts)? {
            Some(text) => self.add(text)?,
            None => name,
        };
        let label = match walker.label_value(name_text, value_text, texts)? {
            Edit::Keep => Label::As(new_name, value),
            Edit::Replace(text) => Label::As(new_name, self.add(text.into_owned())?),
            Edit::Remove => Label::Removed,
        };
        self.labels.insert(known, label);
        Ok(label)
    }
}
