//! Terms of the search language: words, phrases, regular expressions, and the values of fields.

use std::ops::Bound;

use regex::{Regex, RegexBuilder};

use super::ast::{FieldTest, Node, Pattern, Piece, RegexTest, TextScope, TextTest};
use super::field::Field;
use super::parser::{PATTERNS_MAX, Parser, REGEXES_MAX, ends_word};
use super::severity;
use super::syntax_error::SyntaxError;

/// Bytes that a compiled regular expression may take, and its lazily built automaton again.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Characters of a value that a warning repeats.
const SHOWN_MAX: usize = 100;

/// What a bare word turned out to be.
enum Bare {
    Word(Pattern),
    /// A field name; the colon behind it is consumed.
    FieldName(String),
}

impl Parser<'_> {
    pub(super) fn term(&mut self) -> Result<Node, SyntaxError> {
        if let Some(field) = self.group_field.clone() {
            return self.value(field);
        }
        if self.peek() == Some('"') {
            let text = self.quoted()?;
            if self.rest().starts_with(':') && !self.rest().starts_with("::") {
                self.at += 1;
                return self.field_value(&text);
            }
            return Ok(text_node(TextTest::Phrase(text)));
        }
        if let Some(regex) = self.regex_literal()? {
            return Ok(Node::Text { scope: TextScope::Body, test: TextTest::Regex(regex) });
        }
        let start = self.at;
        match self.bare(ends_word)? {
            Bare::FieldName(name) => self.field_value(&name),
            Bare::Word(pattern) => {
                self.warn_of_operator_in_lower_case(start);
                self.text_of_word(pattern).map(|test| test.map_or(Node::All, text_node))
            }
        }
    }

    fn warn_of_operator_in_lower_case(&mut self, start: usize) {
        let word = self.query.get(start..self.at).unwrap_or_default();
        if matches!(word, "and" | "or" | "not") && (start > 0 || word == "not") && !self.rest().trim().is_empty() {
            self.warn(format!("`{word}` was searched as a word; write {} for the operator", word.to_ascii_uppercase()));
        }
    }

    /// What follows `name:`.
    fn field_value(&mut self, name: &str) -> Result<Node, SyntaxError> {
        let field = Field::resolve(name);
        if self.peek() != Some('(') {
            return self.value(field);
        }
        self.group_field = Some(field);
        let node = self.group();
        self.group_field = None;
        node
    }

    fn value(&mut self, field: Field) -> Result<Node, SyntaxError> {
        if let Some(test) = self.regex_literal()? {
            return Ok(match field {
                Field::Body => Node::Text { scope: TextScope::Body, test: TextTest::Regex(test) },
                field => Node::Field { field, test: FieldTest::Regex(test) },
            });
        }
        match self.peek() {
            Some('"') => {
                let text = self.quoted()?;
                Ok(self.equals(field, text))
            }
            Some('[' | '{') => self.range(field),
            Some('>' | '<' | '=') => self.comparison(field),
            Some(char) if !ends_word(char) => self.value_word(field),
            _ => Err(self.error(
                format!("`{field}:` without a value"),
                format!(
                    "write {field}:value without a space, {field}:* for any value, or quote the text: \"{field}:\""
                ),
            )),
        }
    }

    fn value_word(&mut self, field: Field) -> Result<Node, SyntaxError> {
        let pattern = self.word(ends_word)?;
        if pattern.0 == [Piece::AnyRun] {
            return Ok(Node::Field { field, test: FieldTest::Exists });
        }
        if let Some(text) = literal(&pattern) {
            if field == Field::Attribute("exists".into()) || field == Field::Attribute("_exists_".into()) {
                return Ok(Node::Field { field: Field::resolve(text), test: FieldTest::Exists });
            }
            return Ok(self.equals(field, text.to_owned()));
        }
        self.count_pattern()?;
        Ok(match field {
            Field::Body => Node::Text { scope: TextScope::Body, test: TextTest::Pattern(pattern) },
            field => Node::Field { field, test: FieldTest::Pattern(pattern) },
        })
    }

    fn comparison(&mut self, field: Field) -> Result<Node, SyntaxError> {
        let operator = [">=", "<=", ">", "<", "="].into_iter().find(|operator| self.take(operator)).unwrap_or("=");
        self.skip_space();
        let start = self.at;
        let bound = match self.peek() {
            Some('"') => self.quoted()?,
            Some(char) if !ends_word(char) => self.bound_word(ends_word)?,
            _ => return Err(self.error(format!("`{operator}` without a value"), "write a number or a text behind it")),
        };
        if operator == "=" {
            return Ok(self.equals(field, bound));
        }
        self.check_bound(&field, &bound, start)?;
        let (lower, upper) = match operator {
            ">=" => (Bound::Included(bound), Bound::Unbounded),
            ">" => (Bound::Excluded(bound), Bound::Unbounded),
            "<=" => (Bound::Unbounded, Bound::Included(bound)),
            _ => (Bound::Unbounded, Bound::Excluded(bound)),
        };
        Ok(Node::Field { field, test: FieldTest::Range { lower, upper } })
    }

    fn range(&mut self, field: Field) -> Result<Node, SyntaxError> {
        let open = self.at;
        let include_lower = self.bump() == Some('[');
        let lower = self.range_bound(&field, open)?;
        if !(self.take("TO") || self.take("to")) {
            return Err(self.error("a range without TO", "write [100 TO 500], or quote the text"));
        }
        let upper = self.range_bound(&field, open)?;
        let include_upper = match self.bump() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(self.unclosed_range(open)),
        };
        let bound = |text: Option<String>, include: bool| match text {
            None => Bound::Unbounded,
            Some(text) if include => Bound::Included(text),
            Some(text) => Bound::Excluded(text),
        };
        let test = FieldTest::Range { lower: bound(lower, include_lower), upper: bound(upper, include_upper) };
        Ok(Node::Field { field, test })
    }

    /// One end of a range; `*` is open.
    fn range_bound(&mut self, field: &Field, open: usize) -> Result<Option<String>, SyntaxError> {
        self.skip_space();
        let start = self.at;
        let text = match self.peek() {
            Some('"') => self.quoted()?,
            Some(']' | '}') | None => return Err(self.unclosed_range(open)),
            Some('*') if self.peek_second().is_none_or(ends_bound) => {
                self.at += 1;
                self.skip_space();
                return Ok(None);
            }
            Some(_) => self.bound_word(ends_bound)?,
        };
        self.check_bound(field, &text, start)?;
        self.skip_space();
        Ok(Some(text))
    }

    fn unclosed_range(&self, open: usize) -> SyntaxError {
        self.error_at(
            open,
            "a range that is not complete",
            "write [100 TO 500], {1 TO 5} without the ends, or [* TO 9]",
        )
    }

    /// `field:text`; a body is searched by its tokens, any other field is compared whole.
    fn equals(&mut self, field: Field, text: String) -> Node {
        match field {
            Field::Body => Node::Text { scope: TextScope::Body, test: TextTest::Phrase(text) },
            field => {
                self.warn_of_unknown_severity(&field, &text);
                Node::Field { field, test: FieldTest::Equals(text) }
            }
        }
    }

    /// A severity of another name is searched, for records have texts of their own, but seldom meant.
    fn warn_of_unknown_severity(&mut self, field: &Field, text: &str) {
        let is_known = severity::bound_numbers(text).is_some()
            || severity::CLASSES.iter().any(|class| class.eq_ignore_ascii_case(text));
        if *field != Field::Severity || is_known {
            return;
        }
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        let meant = severity::nearest_class(text).map(|class| format!("; did you mean `{class}`?"));
        self.warn(format!(
            "`{shown}` is no severity, so only records with just this severity text were searched; known are {}{}",
            severity::KNOWN,
            meant.unwrap_or_default()
        ));
    }

    /// Severities have an order of their own: any other text is a mistake worth telling.
    fn check_bound(&self, field: &Field, bound: &str, start: usize) -> Result<(), SyntaxError> {
        if *field == Field::Severity && severity::bound_numbers(bound).is_none() {
            let hint = format!("write {}", severity::KNOWN);
            return Err(self.error_at(start, format!("{bound:?} is no severity"), hint));
        }
        Ok(())
    }

    /// A bound as written: wildcards mean nothing there.
    fn bound_word(&mut self, ends: fn(char) -> bool) -> Result<String, SyntaxError> {
        let start = self.at;
        let pattern = self.word(ends)?;
        literal(&pattern).map(str::to_owned).ok_or_else(|| {
            self.error_at(
                start,
                "a wildcard in a bound",
                "write a number or a whole text, or [* TO 9] for an open range",
            )
        })
    }

    /// The text of a bare word; `None` for `*`, which is every record.
    fn text_of_word(&mut self, pattern: Pattern) -> Result<Option<TextTest>, SyntaxError> {
        if pattern.0 == [Piece::AnyRun] {
            return Ok(None);
        }
        if let Some(text) = literal(&pattern) {
            return Ok(Some(TextTest::Phrase(text.to_owned())));
        }
        self.count_pattern()?;
        Ok(Some(TextTest::Pattern(pattern)))
    }

    fn count_pattern(&mut self) -> Result<(), SyntaxError> {
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(
                self.error(format!("more than {PATTERNS_MAX} wildcards"), "search for whole words, or use one regex")
            );
        }
        Ok(())
    }

    fn bare(&mut self, ends: fn(char) -> bool) -> Result<Bare, SyntaxError> {
        let name_end = field_name_end(self.rest());
        if let Some(end) = name_end {
            let name = unescape(self.rest().get(..end).unwrap_or_default());
            self.at += end + 1;
            return Ok(Bare::FieldName(name));
        }
        self.word(ends).map(Bare::Word)
    }

    fn word(&mut self, ends: fn(char) -> bool) -> Result<Pattern, SyntaxError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some(char) = self.peek().filter(|&char| !ends(char)) {
            self.at += char.len_utf8();
            let wildcard = match char {
                '\\' => {
                    let escaped = self.bump().ok_or_else(|| {
                        self.error_at(
                            self.at - 1,
                            "`\\` without a character behind it",
                            "write \\\\ for the character itself",
                        )
                    })?;
                    text.push(escaped);
                    continue;
                }
                '*' => Piece::AnyRun,
                '?' => Piece::AnyOne,
                _ => {
                    text.push(char);
                    continue;
                }
            };
            push_literal(&mut pieces, &mut text);
            // `**` is `*`.
            if wildcard != Piece::AnyRun || pieces.last() != Some(&Piece::AnyRun) {
                pieces.push(wildcard);
            }
        }
        push_literal(&mut pieces, &mut text);
        Ok(Pattern(pieces))
    }

    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.bump() {
                Some('"') => return Ok(text),
                Some('\\') => text.extend(self.bump()),
                Some(char) => text.push(char),
                None => {
                    return Err(self.error_at(
                        open,
                        "`\"` is never closed",
                        "add a `\"`, or write \\\" for the character itself",
                    ));
                }
            }
        }
    }

    /// A regular expression when one comes next: from a slash to the next slash that ends the word, so that a path such as
    /// `/api/v1` is text.
    fn regex_literal(&mut self) -> Result<Option<RegexTest>, SyntaxError> {
        if self.peek() != Some('/') {
            return Ok(None);
        }
        let open = self.at;
        let body = self.rest().get(1..).unwrap_or_default();
        let Some(close) = unescaped_slash(body).filter(|&close| close > 0) else { return Ok(None) };
        let source = body.get(..close).unwrap_or_default();
        let after = body.get(close + 1..).unwrap_or_default();
        let flags = after.split(ends_word).next().unwrap_or_default();
        if !matches!(flags, "" | "i") {
            return Ok(None);
        }
        self.at += close + 2 + flags.len();
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(self.error_at(
                open,
                format!("more than {REGEXES_MAX} regular expressions"),
                "join them: /a|b/",
            ));
        }
        let ignore_case = flags == "i";
        let regex = build_regex(source, ignore_case).map_err(|reason| {
            self.error_at(
                open,
                format!("the regular expression {reason}"),
                "quote the text to search for it as it stands",
            )
        })?;
        Ok(Some(RegexTest { source: source.to_owned(), ignore_case, regex }))
    }
}

/// Compiles a regular expression within the limits of a query; the error continues "the regular expression …".
pub(super) fn build_regex(source: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(source)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(64)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => format!("takes more than {REGEX_BYTES_MAX} bytes compiled"),
            error => {
                let text = error.to_string();
                format!("is not valid: {}", text.lines().last().unwrap_or(&text).trim_start_matches("error: "))
            }
        })
}

fn text_node(test: TextTest) -> Node {
    Node::Text { scope: TextScope::Record, test }
}

/// The text of a pattern without wildcards.
fn literal(pattern: &Pattern) -> Option<&str> {
    match pattern.0.as_slice() {
        [] => Some(""),
        [Piece::Literal(text)] => Some(text),
        _ => None,
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(text)));
    }
}

fn ends_bound(char: char) -> bool {
    char.is_whitespace() || matches!(char, ']' | '}' | '"')
}

/// Where the colon of `field:` stands in a word. Text that only looks like a field is none: `12:30:45`, `http://…`,
/// `std::io`.
fn field_name_end(rest: &str) -> Option<usize> {
    if rest.starts_with(|char: char| char.is_ascii_digit() || char == ':') {
        return None;
    }
    let mut escaped = false;
    for (index, char) in rest.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                let after = rest.get(index + 1..).unwrap_or_default();
                return (!after.starts_with("//") && !after.starts_with(':')).then_some(index);
            }
            '*' | '?' => return None,
            char if ends_word(char) => return None,
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    plain
}

fn unescaped_slash(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'/' => return Some(index),
            _ => {}
        }
    }
    None
}
