//! What is secret in one text.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Capture, Class, Hir, HirKind, Repetition};

use crate::scan;

/// Memory of one compiled expression, and of the states that its search keeps.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Bytes of an expression as it is written.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// Nesting of an expression.
const REGEX_NESTING_MAX: u32 = 64;

/// The group of an expression that is secret, when not all that matches is.
const SECRET_GROUP: &str = "secret";

/// Bytes of a text by which the beginning of a match is told beforehand: fewer are everywhere.
pub(crate) const BEGINNING_BYTES_MIN: usize = 3;

/// More tell nothing new.
const BEGINNING_BYTES_MAX: usize = 16;

/// Such texts of one expression at most.
const BEGINNINGS_MAX: usize = 12;

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
        /// With what every match begins, in lower case; empty when that is not known.
        beginnings: Vec<Vec<u8>>,
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
        Ok(Self::Regex { regex, group, beginnings: beginnings(expression) })
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

/// The texts with one of which every match begins, in lower case; none when there is no such list, or when they are so short
/// that they are everywhere.
fn beginnings(expression: &str) -> Vec<Vec<u8>> {
    let parsed = ParserBuilder::new().utf8(false).nest_limit(REGEX_NESTING_MAX).build().parse(expression);
    let Ok(hir) = parsed else { return Vec::new() };
    let found = Extractor::new().extract(&folded(&hir));
    let mut texts: Vec<Vec<u8>> =
        found.literals().unwrap_or_default().iter().map(|literal| literal.as_bytes().to_ascii_lowercase()).collect();
    if texts.iter().any(|text| text.len() < BEGINNING_BYTES_MIN) {
        return Vec::new();
    }
    // As long as leaves few of them: `key["']?\s*=` has dozens of long ones and one of three bytes.
    for length in (BEGINNING_BYTES_MIN..=BEGINNING_BYTES_MAX).rev() {
        texts.iter_mut().for_each(|text| text.truncate(length));
        texts.sort();
        texts.dedup();
        if texts.len() <= BEGINNINGS_MAX {
            return texts;
        }
    }
    Vec::new()
}

/// The expression with every class that is a letter in both cases made that letter in lower case: what it matches are the
/// matches of the original in lower case, but for the classes that stay. Otherwise `(?i)password` has 256 beginnings.
fn folded(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Class(class) => letter(class).map_or_else(|| hir.clone(), |letter| Hir::literal([letter])),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(folded(&repetition.sub)), ..repetition.clone() })
        }
        HirKind::Capture(capture) => Hir::capture(Capture { sub: Box::new(folded(&capture.sub)), ..capture.clone() }),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(folded).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(folded).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => hir.clone(),
    }
}

/// The letter, in lower case, of which a class is both cases.
fn letter(class: &Class) -> Option<u8> {
    let pair = match class {
        Class::Bytes(class) => match class.ranges() {
            [upper, lower] if upper.len() == 1 && lower.len() == 1 => Some((upper.start(), lower.start())),
            _ => None,
        },
        Class::Unicode(class) => match class.ranges() {
            [upper, lower] if upper.len() == 1 && lower.len() == 1 => {
                Some((u8::try_from(upper.start()).ok()?, u8::try_from(lower.start()).ok()?))
            }
            _ => None,
        },
    };
    pair.filter(|(upper, lower)| upper.is_ascii_uppercase() && upper.to_ascii_lowercase() == *lower)
        .map(|(_, lower)| lower)
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
    fn beginnings_are_long_and_few_where_there_are_any() {
        for (expression, expected) in [
            ("AKIA[A-Z]+", vec!["akia"]),
            (r"\bfoobar|bazaar", vec!["bazaar", "foobar"]),
            ("(?i-u)authorization[ :]", vec!["authorization ", "authorization:"]),
            ("(?i-u)Pass(?P<secret>word|phrase)", vec!["passphrase", "password"]),
            (r"(?-u)\b(?:AKIA|ASIA)[A-Z2-7]{16}", vec!["akia", "asia"]),
            ("(?i-u)aws.{0,2}key", vec!["aws"]),
            ("(?i-u)a very long beginning", vec!["a very long begi"]),
            ("[Bb]earer|BEARER", vec!["bearer"]),
            (
                r#"(?i-u)api["']?\s*[:=]\s*["']?"#,
                vec!["api\t", "api\n", "api\u{b}", "api\u{c}", "api\r", "api ", "api\"", "api'", "api:", "api="],
            ),
            ("[0-9]+", vec![]),
            ("a|longer", vec![]),
            (".*secret", vec![]),
        ] {
            let expected: Vec<Vec<u8>> = expected.iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(beginnings(expression), expected, "{expression}");
        }
        for name in crate::builtin::NAMES {
            for finder in crate::builtin::finders(name).expect("a name").expect("a pattern") {
                let is_known = matches!(&finder, Finder::Regex { beginnings, .. } if beginnings.is_empty());
                assert_eq!(is_known, name == "ipv4", "{name}");
            }
        }
        // `k` has a third form outside of ASCII.
        let found = beginnings("(?i)token");
        assert!(found.contains(&b"token".to_vec()) && found.contains(&"to\u{212a}en".as_bytes().to_vec()), "{found:?}");
    }
}
