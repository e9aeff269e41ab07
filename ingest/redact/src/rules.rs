//! The rules of one file, ready for use.

use std::borrow::Cow;
use std::path::Path;

use trivium_model::{SignalKind, WireFormat};

use crate::action::{Action, HashKey};
use crate::config::{self, RulesError};
use crate::glob::Glob;
use crate::hit::{Counts, Hit, Observer, UNREADABLE};
use crate::keys::KeyList;
use crate::screen::Screen;
use crate::text::Finder;
use crate::walk::{Unreadable, Walker};

/// Findings in one text that are told apart. A text that has more becomes one finding.
const FINDINGS_MAX: usize = 16 * 1024;

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The body of a log record.
    Body,
    /// Keys and values of attributes, and label values: of resource, scope, record, span, event, link, data point, exemplar.
    Attributes,
    /// The name of a span.
    SpanName,
    /// The message of a span's status.
    Status,
    /// The name of an event.
    Event,
    /// Every other text: severity, scope name and version, trace state, metric name, description and unit, schema URLs.
    Other,
}

impl Place {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Body, "body"),
        (Self::Attributes, "attributes"),
        (Self::SpanName, "span_name"),
        (Self::Status, "status"),
        (Self::Event, "event"),
        (Self::Other, "other"),
    ];
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// What it finds in texts; none for a rule about keys.
    pub(crate) finders: Vec<Finder>,
    pub(crate) keys: Vec<Glob>,
    pub(crate) action: Action,
    pub(crate) signals: Vec<SignalKind>,
    /// Only these services; all when empty.
    pub(crate) services: Vec<Glob>,
    pub(crate) places: Vec<Place>,
}

/// Rules that apply, by the bit of their place in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Active {
    pub(crate) keys: u64,
    pub(crate) patterns: u64,
}

/// The rules of one file.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
    hash_key: Option<HashKey>,
    pub(crate) keys: KeyList,
    by_signal: [Active; 3],
    by_place: [u64; Place::ALL.len()],
    /// The rules that are for some services only.
    with_services: u64,
    /// The rules that find card numbers, which also come as integers.
    pub(crate) with_cards: u64,
    screens: [Screen; 3],
}

impl Rules {
    /// Reads and checks a file; the paths in it begin at its folder.
    pub fn load(path: &Path) -> Result<Self, RulesError> {
        config::load(path)
    }

    /// Reads and checks the text of a file that lies in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, RulesError> {
        config::parse(text, folder)
    }

    pub(crate) fn new(rules: Vec<Rule>, hash_key: Option<HashKey>) -> Self {
        let mut keys = KeyList::default();
        let (mut by_signal, mut by_place) = ([Active::default(); 3], [0; Place::ALL.len()]);
        let (mut with_services, mut with_cards) = (0, 0);
        for (index, rule) in rules.iter().enumerate() {
            let bit = 1_u64 << index;
            rule.keys.iter().for_each(|glob| keys.add(glob.clone(), bit));
            for signal in &rule.signals {
                let active = &mut by_signal[signal.index()];
                *if rule.finders.is_empty() { &mut active.keys } else { &mut active.patterns } |= bit;
            }
            rule.places.iter().for_each(|place| by_place[*place as usize] |= bit);
            with_services |= if rule.services.is_empty() { 0 } else { bit };
            with_cards |= if rule.finders.iter().any(|finder| matches!(finder, Finder::Card)) { bit } else { 0 };
        }
        let screens = SignalKind::ALL.map(|signal| {
            let of_signal = rules.iter().enumerate().filter(|(_, rule)| rule.signals.contains(&signal));
            Screen::new(of_signal.flat_map(|(index, rule)| rule.finders.iter().map(move |finder| (1 << index, finder))))
        });
        Self { rules, hash_key, keys, by_signal, by_place, with_services, with_cards, screens }
    }

    /// The names of the rules, in the order of the file; [`Hit::rule`] and [`Counts::of`] count by it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// The name of a rule by its place.
    pub fn name(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or(UNREADABLE, |rule| rule.name.as_str())
    }

    /// The key for hashing, when the file names one.
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.hash_key.as_ref()
    }

    /// What is stored instead of an export request. A request in which nothing is found is handed back as it came, without
    /// allocation. One that cannot be read is an error, and so it is to the decoder.
    pub fn redact<'a>(
        &self,
        signal: SignalKind,
        format: WireFormat,
        payload: &'a [u8],
        observer: &mut dyn Observer,
    ) -> Result<Cow<'a, [u8]>, Unreadable> {
        let redacted = Walker::new(self, signal, observer).redact(signal, format, payload)?;
        Ok(redacted.map_or(Cow::Borrowed(payload), Cow::Owned))
    }

    /// What is stored instead of a text that stands alone, as in a search result.
    pub fn redact_text(&self, signal: SignalKind, text: &[u8], observer: &mut dyn Observer) -> Option<Vec<u8>> {
        self.text(self.by_signal[signal.index()].patterns, &[], text, observer)
    }

    /// The rules for a signal, whatever the service.
    pub(crate) fn of_signal(&self, signal: SignalKind) -> Active {
        self.by_signal[signal.index()]
    }

    /// The rules for a signal and a service.
    pub(crate) fn active(&self, signal: SignalKind, service: &[u8]) -> Active {
        let Active { keys, patterns } = self.by_signal[signal.index()];
        let mut others = 0;
        let limited = self.rules.iter().enumerate().filter(|(_, rule)| !rule.services.is_empty());
        for (index, rule) in limited {
            if !rule.services.iter().any(|glob| glob.matches(service)) {
                others |= 1 << index;
            }
        }
        Active { keys: keys & !others, patterns: patterns & !others }
    }

    /// Whether any rule asks for the service.
    pub(crate) fn asks_service(&self) -> bool {
        self.with_services != 0
    }

    /// Of some rules those that look at a place.
    #[inline]
    pub(crate) fn at(&self, rules: u64, place: Place) -> u64 {
        rules & self.by_place[place as usize]
    }

    pub(crate) fn screen(&self, signal: SignalKind) -> &Screen {
        &self.screens[signal.index()]
    }

    /// Whether one of the rules finds something.
    pub(crate) fn finds(&self, rules: u64, text: &[u8]) -> bool {
        self.each(rules).any(|(_, rule)| rule.finders.iter().any(|finder| finder.is_in(text)))
    }

    /// A text without what the rules find in it; `None` when that is nothing. Where findings overlap, all of them becomes
    /// what the rule that comes first in the file makes of it.
    pub(crate) fn text(&self, rules: u64, key: &[u8], text: &[u8], observer: &mut dyn Observer) -> Option<Vec<u8>> {
        let mut found: Vec<(usize, usize, usize)> = Vec::new();
        for (index, rule) in self.each(rules) {
            for finder in &rule.finders {
                finder.find(text, &mut |range| {
                    if found.len() < FINDINGS_MAX {
                        found.push((range.start, range.end, index));
                    }
                });
            }
        }
        if found.is_empty() {
            return None;
        }
        if found.len() == FINDINGS_MAX {
            let first = found.iter().map(|(_, _, rule)| *rule).min().unwrap_or_default();
            found = vec![(0, text.len(), first)];
        }
        found.sort_unstable();
        let mut output = Vec::with_capacity(text.len());
        let mut copied = 0;
        for (start, end, rule) in merged(found) {
            let before = text.get(start..end).unwrap_or_default();
            let after = self.rules.get(rule).and_then(|rule| rule.action.apply(before));
            output.extend_from_slice(text.get(copied..start).unwrap_or_default());
            output.extend_from_slice(after.as_deref().unwrap_or_default());
            copied = end;
            if after.as_deref() != Some(before) {
                observer.hit(&Hit { rule, key, before, after: after.as_deref() });
            }
        }
        output.extend_from_slice(text.get(copied..).unwrap_or_default());
        (output != text).then_some(output)
    }

    fn each(&self, mut rules: u64) -> impl Iterator<Item = (usize, &Rule)> {
        std::iter::from_fn(move || {
            let index = rules.trailing_zeros() as usize;
            rules &= rules.wrapping_sub(1);
            self.rules.get(index).map(|rule| (index, rule))
        })
    }
}

/// Findings in order, those that overlap as one under the first rule of them.
fn merged(found: Vec<(usize, usize, usize)>) -> Vec<(usize, usize, usize)> {
    let mut merged: Vec<(usize, usize, usize)> = Vec::with_capacity(found.len());
    for (start, end, rule) in found {
        match merged.last_mut() {
            Some(last) if start < last.1 => *last = (last.0, last.1.max(end), last.2.min(rule)),
            _ => merged.push((start, end, rule)),
        }
    }
    merged
}

/// Tells that something was left out because nobody can read it.
pub(crate) fn unreadable(before: &[u8], observer: &mut dyn Observer) {
    observer.hit(&Hit { rule: Counts::UNREADABLE, key: &[], before, after: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_findings_are_one() {
        let found = vec![(0, 4, 2), (3, 8, 1), (8, 9, 0), (10, 12, 3), (10, 11, 0)];
        assert_eq!(merged(found), [(0, 8, 1), (8, 9, 0), (10, 12, 0)]);
    }

    #[test]
    fn nothing_of_what_was_found_is_left() {
        let text = "rules:\n- {name: token, regex: 'tok-[a-z]+', action: replace, replacement: '[t]'}\n\
                    - {name: mail, pattern: email, action: drop}\n";
        let rules = Rules::parse(text, Path::new("")).expect("valid rules");
        let mut counts = Counts::default();
        let redacted = rules.redact_text(SignalKind::Logs, b"to tok-abc@example.com, bob@x.org.", &mut counts);
        assert_eq!(redacted.as_deref(), Some(&b"to [t], ."[..]));
        assert_eq!((counts.of(0), counts.of(1), counts.total()), (1, 1, 2));
        assert_eq!(rules.redact_text(SignalKind::Logs, b"nothing", &mut counts), None);
    }
}
