//! How text is cut into tokens, one rule for everything that indexes or searches text.
//!
//! A token is a maximal run of letters, digits and `_` (Unicode `is_alphanumeric`), in lower case. A token is either an
//! **ID token** (high entropy: it goes to the ID index) or a **word** (it goes to Tantivy for logs). The kind follows from
//! the token's text alone, so that a search asks the index that holds it.
//!
//! A UUID is five tokens. Its groups of eight and twelve are ID tokens, which make its search selective; its groups of
//! four are words, of which there are few distinct ones.

use crate::part::TokenFilter;

/// Which index holds a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Repeats across records; the text index of a logs part holds it.
    Word,
    /// Numbers, hexadecimal IDs and the like; the ID index holds it.
    Id,
}

/// One token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// In lower case.
    pub text: &'a str,
    /// Which index holds it.
    pub kind: TokenKind,
}

/// Digits that make a token an ID token, when it is longer than they are.
const ID_DIGITS_MIN: usize = 4;
/// Length from which a hexadecimal token with a digit is an ID token.
const ID_HEX_LENGTH_MIN: usize = 8;

const SEPARATOR: u8 = 0;
const LETTER: u8 = 1;
const HEX_LETTER: u8 = 2;
const DIGIT: u8 = 4;
const UPPER: u8 = 8;
const WIDE: u8 = 16;

/// What each byte is to the tokenizer.
const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [SEPARATOR; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' => HEX_LETTER,
            b'A'..=b'F' => HEX_LETTER | UPPER,
            b'g'..=b'z' | b'_' => LETTER,
            b'G'..=b'Z' => LETTER | UPPER,
            0x80..=0xff => WIDE,
            _ => SEPARATOR,
        };
        byte += 1;
    }
    classes
}

/// Calls `visit` with every token of `text`, in order. `scratch` is working memory that callers keep between calls.
pub fn for_each_token(text: &str, scratch: &mut String, mut visit: impl FnMut(Token<'_>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if CLASSES[usize::from(bytes[at])] == SEPARATOR {
            at += 1;
            continue;
        }
        let start = at;
        let (mut seen, mut digits) = (0, 0);
        while at < bytes.len() {
            let class = CLASSES[usize::from(bytes[at])];
            if class == SEPARATOR {
                break;
            }
            seen |= class;
            digits += usize::from(class == DIGIT);
            at += 1;
        }
        let run = text.get(start..at).unwrap_or_default();
        if seen & WIDE != 0 {
            wide_run(run, scratch, &mut visit);
            continue;
        }
        let kind = kind_of(run.len(), digits, seen);
        if seen & UPPER == 0 {
            visit(Token { text: run, kind });
        } else {
            scratch.clear();
            scratch.push_str(run);
            scratch.make_ascii_lowercase();
            visit(Token { text: scratch, kind });
        }
    }
}

/// A run of ASCII token bytes and all non-ASCII bytes, among which there may be separators.
fn wide_run(run: &str, scratch: &mut String, visit: &mut impl FnMut(Token<'_>)) {
    for piece in run.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')) {
        if piece.is_empty() {
            continue;
        }
        scratch.clear();
        scratch.extend(piece.chars().flat_map(char::to_lowercase));
        visit(Token { text: scratch, kind: kind_of_token(scratch) });
    }
}

fn kind_of(length: usize, digits: usize, seen: u8) -> TokenKind {
    let many_digits = digits >= ID_DIGITS_MIN && length > ID_DIGITS_MIN;
    let hexadecimal = digits > 0 && length >= ID_HEX_LENGTH_MIN && seen & (LETTER | WIDE) == 0;
    if many_digits || hexadecimal { TokenKind::Id } else { TokenKind::Word }
}

/// The kind of a token as [`for_each_token`] cuts it.
pub fn kind_of_token(token: &str) -> TokenKind {
    let (mut seen, mut digits) = (0, 0);
    for byte in token.bytes() {
        let class = CLASSES[usize::from(byte)];
        seen |= class;
        digits += usize::from(class == DIGIT);
    }
    kind_of(token.len(), digits, seen)
}

/// Whether the token belongs to the ID index: it has at least four digits and five bytes, or it is hexadecimal with a
/// digit and has at least eight bytes.
pub fn is_id_token(token: &str) -> bool {
    kind_of_token(token) == TokenKind::Id
}

/// The tokens of a text, owned.
pub fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for_each_token(text, &mut String::new(), |token| found.push(token.text.to_owned()));
    found
}

/// The rows that can contain the text: those with all of its tokens. A text without a token can be anywhere. The first
/// and the last token of `text` must be whole tokens of the rows searched for; a search for a substring drops them.
pub fn filter_for_phrase(text: &str) -> TokenFilter {
    let mut all = tokens(text);
    all.sort_unstable();
    all.dedup();
    let mut all: Vec<TokenFilter> = all.into_iter().map(TokenFilter::Token).collect();
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            all.push(last);
            TokenFilter::And(all)
        }
        (_, None) => TokenFilter::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_letters_digits_and_underscores_in_lower_case() {
        assert_eq!(
            tokens("GET /api/v1/Order_Items?id=42 HTTP/1.1"),
            ["get", "api", "v1", "order_items", "id", "42", "http", "1", "1"]
        );
        assert_eq!(tokens("Zürich–ÉTÉ 2x «東京タワー»!"), ["zürich", "été", "2x", "東京タワー"]);
        assert!(tokens(" ..-- \u{2014} ").is_empty());
    }

    #[test]
    fn high_entropy_tokens_are_ids() {
        for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "12345", "order10234", "a3ce929d", "00f067aa0ba902b7"] {
            assert!(is_id_token(id), "{id} was taken for a word");
        }
        for word in
            ["2023", "deadbeef", "http2", "v1", "timeout", "a3ce", "x86", "東京12345678".get(..6).expect("two letters")]
        {
            assert!(!is_id_token(word), "{word} was taken for an ID");
        }
    }

    #[test]
    fn a_token_has_the_same_kind_in_text_and_alone() {
        for text in ["ID=A3CE929D x", "é12345", "12345é 4BF92F35", "ab_12345"] {
            for_each_token(text, &mut String::new(), |token| {
                assert_eq!(token.kind, kind_of_token(token.text), "{text}")
            });
        }
    }

    #[test]
    fn a_uuid_has_selective_groups() {
        let kinds: Vec<bool> =
            tokens("F81D4FAE-7dec-11d0-a765-00a0c91e6bf6").iter().map(|token| is_id_token(token)).collect();
        assert_eq!(kinds, [true, false, false, false, true]);
    }

    #[test]
    fn a_phrase_needs_all_of_its_tokens() {
        assert_eq!(filter_for_phrase(" -- "), TokenFilter::All);
        assert_eq!(filter_for_phrase("Timeout"), TokenFilter::Token("timeout".into()));
        assert_eq!(
            filter_for_phrase("card declined card"),
            TokenFilter::And(vec![TokenFilter::Token("card".into()), TokenFilter::Token("declined".into())])
        );
    }
}
