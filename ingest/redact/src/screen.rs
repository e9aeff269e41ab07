//! A look at a whole record, at once and in whatever its bytes mean, that tells of which rules a pattern can match in one of its
//! texts. It may be wrong only by saying yes.

use regex::bytes::Regex;

use crate::scan::{may_hold_card, may_hold_email, may_hold_iban};
use crate::text::{BEGINNING_BYTES_MIN, Finder};

/// The patterns of one signal, by how it is told that they can match. Rules are sets, with a bit for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    /// The first three bytes of any of the beginnings: texts of one length are found by one vectorised search. All in lower case,
    /// so that there are few.
    search: Option<Regex>,
    /// Each beginning with the rules whose matches begin so, sorted.
    beginnings: Vec<(Vec<u8>, u64)>,
    email: u64,
    card: u64,
    iban: u64,
    /// Those with an expression of which nobody knows how its matches begin.
    always: u64,
    /// All that have beginnings.
    beginning: u64,
}

impl Screen {
    /// Of finders, each with the bit of its rule.
    pub(crate) fn new<'a>(finders: impl Iterator<Item = (u64, &'a Finder)>) -> Self {
        let mut screen = Self::default();
        for (rule, finder) in finders {
            match finder {
                Finder::Card => screen.card |= rule,
                Finder::Iban => screen.iban |= rule,
                Finder::Email => screen.email |= rule,
                Finder::Regex { beginnings, .. } if beginnings.is_empty() => screen.always |= rule,
                Finder::Regex { beginnings, .. } => {
                    screen.beginning |= rule;
                    screen.beginnings.extend(beginnings.iter().map(|text| (text.clone(), rule)));
                }
            }
        }
        screen.beginnings.sort();
        let first = |text: &[u8]| escaped(text.get(..BEGINNING_BYTES_MIN).unwrap_or(text));
        let mut texts: Vec<String> = screen.beginnings.iter().map(|(text, _)| first(text)).collect();
        texts.dedup();
        if !texts.is_empty() {
            screen.search = Regex::new(&format!("(?-u){}", texts.join("|"))).ok();
            screen.always |= if screen.search.is_none() { screen.beginning } else { 0 };
        }
        screen
    }

    /// The rules of which a pattern can match in these bytes. `lower` is memory that is used again.
    #[inline]
    pub(crate) fn may_match(&self, bytes: &[u8], lower: &mut Vec<u8>) -> u64 {
        let mut rules = self.always;
        rules |= if self.email != 0 && may_hold_email(bytes) { self.email } else { 0 };
        rules |= if self.card != 0 && may_hold_card(bytes) { self.card } else { 0 };
        rules |= if self.iban != 0 && may_hold_iban(bytes) { self.iban } else { 0 };
        let Some(search) = &self.search else { return rules };
        lower.clear();
        lower.extend_from_slice(bytes);
        lower.make_ascii_lowercase();
        let mut at = 0;
        while self.beginning & !rules != 0
            && let Some(found) = search.find_at(lower, at)
        {
            rules |= self.beginning_at(lower.get(found.start()..).unwrap_or_default());
            at = found.start() + 1;
        }
        rules
    }

    /// The rules whose matches begin as these bytes do.
    fn beginning_at(&self, bytes: &[u8]) -> u64 {
        let first = self.beginnings.partition_point(|(text, _)| text.first() < bytes.first());
        let candidates = self.beginnings.iter().skip(first).take_while(|(text, _)| text.first() == bytes.first());
        candidates.filter(|(text, _)| bytes.starts_with(text)).fold(0, |rules, (_, rule)| rules | rule)
    }
}

fn escaped(text: &[u8]) -> String {
    text.iter().map(|byte| format!(r"\x{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(finders: &[Finder]) -> Screen {
        Screen::new(finders.iter().enumerate().map(|(index, finder)| (1 << index, finder)))
    }

    fn may_match(screen: &Screen, text: &[u8]) -> u64 {
        screen.may_match(text, &mut Vec::new())
    }

    #[test]
    fn a_screen_lets_through_what_a_finder_finds() {
        let finders = [Finder::regex("(?i-u)token=").expect("an expression"), Finder::Card, Finder::Email];
        let screen = screen(&finders);
        for (text, rules) in [
            ("x ToKeN=y", 0b001),
            ("4111111111111111", 0b010),
            ("a@example.com", 0b100),
            ("toktoken=4111111111111111a@example.com", 0b111),
            ("a token, and a broken toke", 0),
            ("GET /orders/123 took 17 ms", 0),
        ] {
            assert_eq!(may_match(&screen, text.as_bytes()), rules, "{text}");
        }
        assert_eq!(may_match(&Screen::default(), b"4111111111111111"), 0);
    }

    #[test]
    fn an_expression_without_a_beginning_is_always_tried_and_alone() {
        let finders = [Finder::regex("[0-9]x"), Finder::regex("secret=")].map(|finder| finder.expect("an expression"));
        let screen = screen(&finders);
        assert_eq!(may_match(&screen, b""), 0b01);
        assert_eq!(may_match(&screen, b"secret="), 0b11);
    }

    #[test]
    fn beginnings_that_overlap_are_all_seen() {
        let finders = [Finder::regex("aaab"), Finder::regex("aab.")].map(|finder| finder.expect("an expression"));
        let screen = screen(&finders);
        assert_eq!(may_match(&screen, b"xaaaaab!"), 0b11);
        assert_eq!(may_match(&screen, b"xAaaaac!"), 0);
    }
}
