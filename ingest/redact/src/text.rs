//! What is secret in one text.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

use crate::scan;

/// Memory of one compiled expression, and of the states that its search keeps.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Bytes of an expression as it is written.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// Nesting of an expression.
const REGEX_NESTING_MAX: u32 = 64;

/// The group of an expression that is secret, when not all that matches is.
const SECRET_GROUP: &str = "secret";

/// Bytes of a text by which the beginning of a match is told beforehand.
const PREFIX_BYTES: usize = 3;

/// Such texts of one expression at most.
const PREFIXES_MAX: usize = 128;

/// Something that finds secrets in a text.
#[derive(Clone, Debug)]
pub(crate) enum Finder {
    Card,
    Iban,
    Email,
    Regex {
        regex: Regex,
        /// The group that is secret.
        group: Option<usize>,
        /// With what every match begins; empty when that is not known.
        prefixes: Vec<Vec<u8>>,
    },
}

impl Finder {
    /// A regular expression in the syntax of the `regex` crate.
    pub(crate) fn regex(expression: &str) -> Result<Self, String> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(format!(
                "the expression has {} bytes, at most {EXPRESSION_BYTES_MAX} are taken",
                expression.len()
            ));
        }
        let mut builder = RegexBuilder::new(expression);
        let builder = builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).nest_limit(REGEX_NESTING_MAX);
        let regex = builder.build().map_err(|error| format!("{expression:?} is no regular expression: {error}"))?;
        if regex.is_match(b"") {
            return Err(format!(
                "{expression:?} matches the empty text, and with it everywhere; let it match something"
            ));
        }
        let group = regex.capture_names().position(|name| name == Some(SECRET_GROUP));
        Ok(Self::Regex { regex, group, prefixes: prefixes(expression) })
    }

    /// Calls `found` with each place in `text` that is secret, from left to right.
    pub(crate) fn find(&self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        match self {
            Self::Card => scan::cards(text, found),
            Self::Iban => scan::ibans(text, found),
            Self::Email => scan::emails(text, found),
            Self::Regex { regex, group: None, .. } => {
                regex.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty()).for_each(found);
            }
            Self::Regex { regex, group: Some(group), .. } => {
                let secrets = regex.captures_iter(text).filter_map(|captures| captures.get(*group));
                secrets.map(|secret| secret.range()).filter(|range| !range.is_empty()).for_each(found);
            }
        }
    }

    /// Whether there is anything to find.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let mut is_found = false;
        self.find(text, &mut |_| is_found = true);
        is_found
    }
}

/// The texts with one of which every match begins, cut to three bytes; none when there is no such list, or when they are so
/// short that they are everywhere.
fn prefixes(expression: &str) -> Vec<Vec<u8>> {
    let parsed = ParserBuilder::new().utf8(false).nest_limit(REGEX_NESTING_MAX).build().parse(expression);
    let Ok(hir) = parsed else { return Vec::new() };
    let mut prefixes = Extractor::new().extract(&hir);
    prefixes.keep_first_bytes(PREFIX_BYTES);
    prefixes.dedup();
    let Some(literals) = prefixes.literals() else { return Vec::new() };
    if literals.is_empty() || literals.len() > PREFIXES_MAX || literals.iter().any(|text| text.len() < PREFIX_BYTES) {
        return Vec::new();
    }
    literals.iter().map(|literal| literal.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_narrows_what_is_secret() {
        let finder = Finder::regex(r"session=(?P<secret>\w+)").expect("an expression");
        let mut ranges = Vec::new();
        finder.find(b"session=abc; session=de", &mut |range| ranges.push(range));
        assert_eq!(ranges, [8..11, 21..23]);
    }

    #[test]
    fn expressions_are_bounded() {
        for (expression, problem) in [
            ("a{1000}{1000}".to_owned(), "size limit"),
            ("(".repeat(100) + &")".repeat(100), "nest"),
            ("x*".to_owned(), "empty text"),
            ("(".to_owned(), "unclosed"),
            ("x".repeat(5000), "5000 bytes"),
        ] {
            let error = Finder::regex(&expression).expect_err("refused");
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn beginnings_are_known_where_there_are_any() {
        for (expression, expected) in [
            ("AKIA[A-Z]+", vec!["AKI"]),
            (r"\bfoobar|bazaar", vec!["foo", "baz"]),
            ("[0-9]+", vec![]),
            ("a|longer", vec![]),
            (".*secret", vec![]),
        ] {
            assert_eq!(prefixes(expression), expected.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
        }
        assert_eq!(prefixes("(?i-u)key=").len(), 8);
    }
}
