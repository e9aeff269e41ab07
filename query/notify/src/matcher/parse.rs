//! The two syntaxes of matchers: UTF-8 (Alertmanager 0.27 and later) and the classic one before it.
//!
//! As in Alertmanager's fallback mode, a text that both can read means what it always meant; a text that only one can
//! read means what that one says.

use super::{MATCHERS_MAX, MatchOperator, Matcher};

/// Why a text is no matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub(crate) String);

/// Bytes of one list of matchers.
const TEXT_BYTES_MAX: usize = 64 * 1024;

pub(super) fn matchers(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(MatcherError(format!("{} bytes of matchers; at most {TEXT_BYTES_MAX} are taken", text.len())));
    }
    let found = classic(text).or_else(|_| Utf8 { text, at: 0 }.read())?;
    if found.len() > MATCHERS_MAX {
        return Err(MatcherError(format!("{} matchers; at most {MATCHERS_MAX} are taken", found.len())));
    }
    Ok(found)
}

/// Whether a name can stand without quotes.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(is_reserved)
}

/// Characters that need quotes in the UTF-8 syntax.
fn is_reserved(letter: char) -> bool {
    letter.is_whitespace() || "{}!=~,\\\"'`".contains(letter)
}

fn classic(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let inner = text.strip_prefix('{').unwrap_or(text);
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in inner.chars() {
        match letter {
            ',' if !is_quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            '"' if !is_escaped => is_quoted = !is_quoted,
            '\\' => {
                is_escaped = !is_escaped;
                part.push(letter);
                continue;
            }
            _ => {}
        }
        is_escaped = false;
        part.push(letter);
    }
    if !part.trim().is_empty() {
        parts.push(part);
    }
    parts.iter().map(|part| classic_one(part)).collect()
}

fn classic_one(text: &str) -> Result<Matcher, MatcherError> {
    let bad = || MatcherError(format!("bad matcher format: {text}"));
    let trimmed = text.trim();
    let end = trimmed.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    let (name, rest) = trimmed.split_at(end.ok_or_else(bad)?);
    if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err(bad());
    }
    let rest = rest.trim_start();
    let operators = [
        ("=~", MatchOperator::Regex),
        ("!~", MatchOperator::NotRegex),
        ("!=", MatchOperator::NotEqual),
        ("=", MatchOperator::Equal),
    ];
    let found = operators.iter().find_map(|(symbol, operator)| rest.strip_prefix(symbol).map(|raw| (*operator, raw)));
    let (operator, raw) = found.ok_or_else(bad)?;
    Matcher::new(name, operator, &unescape(raw.trim())?)
}

fn unescape(raw: &str) -> Result<String, MatcherError> {
    let stray = || MatcherError(format!("matcher value contains unescaped double quote: {raw}"));
    let (inner, is_quoted) = raw.strip_prefix('"').map_or((raw, false), |inner| (inner, true));
    let (mut value, mut is_closed) = (String::new(), false);
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '"' if is_quoted && letters.peek().is_none() => is_closed = true,
            '"' => return Err(stray()),
            other => value.push(other),
        }
    }
    if is_quoted && !is_closed { Err(stray()) } else { Ok(value) }
}

/// Reads the UTF-8 syntax.
struct Utf8<'a> {
    text: &'a str,
    at: usize,
}

impl Utf8<'_> {
    fn read(mut self) -> Result<Vec<Matcher>, MatcherError> {
        let mut matchers = Vec::new();
        let has_brace = self.take("{");
        loop {
            self.skip_space();
            if self.rest().is_empty() || self.rest().starts_with('}') {
                break;
            }
            let name = self.word("expected label name")?;
            let operator = self.operator()?;
            let value = self.word("expected label value")?;
            matchers.push(Matcher::new(&name, operator, &value)?);
            if !self.take(",") {
                break;
            }
        }
        match (has_brace, self.take("}")) {
            (true, false) => return Err(self.error("expected close brace")),
            (false, true) => return Err(self.error("expected opening brace")),
            _ => {}
        }
        self.skip_space();
        if self.rest().is_empty() { Ok(matchers) } else { Err(self.error("expected a comma or close brace")) }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, expected: &str) -> MatcherError {
        let found: String = self.rest().chars().take(20).collect();
        let found = if found.is_empty() { "end of input".to_owned() } else { format!("unexpected {found}") };
        MatcherError(format!("{}: {found}: {expected}", self.at))
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let is_there = self.rest().starts_with(symbol);
        if is_there {
            self.at += symbol.len();
        }
        is_there
    }

    fn operator(&mut self) -> Result<MatchOperator, MatcherError> {
        for (symbol, operator) in [
            ("=~", MatchOperator::Regex),
            ("!~", MatchOperator::NotRegex),
            ("!=", MatchOperator::NotEqual),
            ("=", MatchOperator::Equal),
        ] {
            if self.take(symbol) {
                return Ok(operator);
            }
        }
        Err(self.error("expected an operator such as '=', '!=', '=~' or '!~'"))
    }

    fn word(&mut self, expected: &str) -> Result<String, MatcherError> {
        self.skip_space();
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let length = self.rest().find(is_reserved).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.error(expected));
        }
        let word = self.rest()[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        // Escapes may be of single bytes, which only together are a character.
        let mut word = Vec::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    let word = String::from_utf8(word).map_err(|_| self.error("invalid input: not UTF-8"))?;
                    self.at += at + 1;
                    return Ok(word);
                }
                '\\' => match letters.next().and_then(|(_, escaped)| escape(escaped, &mut letters)) {
                    Some(bytes) => word.extend(bytes),
                    None => return Err(self.error("invalid input: an escape that Go does not know")),
                },
                '\n' => break,
                other => word.extend(other.to_string().into_bytes()),
            }
        }
        Err(self.error("missing end \""))
    }
}

/// What stands after a backslash, as in a Go string.
fn escape(letter: char, rest: &mut impl Iterator<Item = (usize, char)>) -> Option<Vec<u8>> {
    let mut code = |first: Option<char>, digits: usize, radix: u32| {
        let rest = rest.take(digits - usize::from(first.is_some())).map(|(_, digit)| digit);
        let code: String = first.into_iter().chain(rest).collect();
        let is_code = code.chars().count() == digits && code.chars().all(|digit| digit.is_digit(radix));
        u32::from_str_radix(&code, radix).ok().filter(|_| is_code)
    };
    let byte = |code: u32| u8::try_from(code).ok().map(|byte| vec![byte]);
    Some(match letter {
        'x' => return byte(code(None, 2, 16)?),
        '0'..='7' => return byte(code(Some(letter), 3, 8)?),
        'u' => char::from_u32(code(None, 4, 16)?)?.to_string().into_bytes(),
        'U' => char::from_u32(code(None, 8, 16)?)?.to_string().into_bytes(),
        'a' => vec![7],
        'b' => vec![8],
        'f' => vec![0xc],
        'n' => vec![b'\n'],
        'r' => vec![b'\r'],
        't' => vec![b'\t'],
        'v' => vec![0xb],
        '\\' => vec![b'\\'],
        '"' => vec![b'"'],
        _ => return None,
    })
}
