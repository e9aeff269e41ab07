//! A look at a whole record, at once and in whatever its bytes mean, that tells whether a pattern can match in one of its
//! texts. It may be wrong only by saying yes.

use regex::bytes::Regex;

use crate::scan::{may_hold_card, may_hold_iban};
use crate::text::Finder;

/// What the patterns of one signal have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    /// Any of the texts with which matches begin.
    prefixes: Option<Regex>,
    email: bool,
    card: bool,
    iban: bool,
    /// There is an expression of which nobody knows how its matches begin.
    always: bool,
}

impl Screen {
    pub(crate) fn new<'a>(finders: impl Iterator<Item = &'a Finder>) -> Self {
        let mut screen = Self::default();
        let mut prefixes: Vec<String> = Vec::new();
        for finder in finders {
            match finder {
                Finder::Card => screen.card = true,
                Finder::Iban => screen.iban = true,
                Finder::Email => screen.email = true,
                Finder::Regex { prefixes: none, .. } if none.is_empty() => screen.always = true,
                Finder::Regex { prefixes: texts, .. } => prefixes.extend(texts.iter().map(|text| escaped(text))),
            }
        }
        prefixes.sort();
        prefixes.dedup();
        if !prefixes.is_empty() {
            screen.prefixes = Regex::new(&format!("(?-u){}", prefixes.join("|"))).ok();
            screen.always |= screen.prefixes.is_none();
        }
        screen
    }

    /// Whether a pattern can match in these bytes.
    #[inline]
    pub(crate) fn may_match(&self, bytes: &[u8]) -> bool {
        self.always
            || (self.email && memchr::memchr(b'@', bytes).is_some())
            || self.prefixes.as_ref().is_some_and(|prefixes| prefixes.is_match(bytes))
            || (self.card && may_hold_card(bytes))
            || (self.iban && may_hold_iban(bytes))
    }
}

fn escaped(text: &[u8]) -> String {
    text.iter().map(|byte| format!(r"\x{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_lets_through_what_a_finder_finds() {
        let finders = [Finder::regex("(?i-u)token=").expect("an expression"), Finder::Card, Finder::Email];
        let screen = Screen::new(finders.iter());
        for text in ["x ToKeN=y", "4111111111111111", "a@example.com"] {
            assert!(screen.may_match(text.as_bytes()), "{text}");
        }
        assert!(!screen.may_match(b"GET /orders/123 took 17 ms"));
        assert!(!Screen::default().may_match(b"4111111111111111"));
        assert!(Screen::new([Finder::regex("[0-9]x").expect("an expression")].iter()).may_match(b""));
    }
}
