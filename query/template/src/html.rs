//! Escaping by where a value stands, as `html/template` does it: in text, in an attribute, in a URL, in a script.
//!
//! Go analyses the template; this follows the output, which needs no analysis of branches and cannot disagree with what is
//! sent. Comments are dropped, as Go drops them.

use crate::functions::escape;
use crate::json;

/// What Go writes in place of a value that must not stand there.
const UNSAFE: &str = "ZgotmplZ";

/// Where the output stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Comment,
    /// Within the element's name.
    TagName,
    /// Between attributes.
    Tag,
    AttributeName,
    BeforeValue,
    /// Within an attribute's value, with its quote.
    Value(Option<char>),
    /// Within `<script>`, `<style>`, `<title>` or `<textarea>`.
    Raw,
}

/// Follows the output and escapes values.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    state: State,
    tag: String,
    attribute: String,
    /// What the attribute's value holds so far.
    value: String,
}

impl Escaper {
    /// Takes literal text of the template; what is to be sent goes to `out`.
    pub(crate) fn feed(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let taken = match self.state {
                State::Text if rest.starts_with("<!--") => {
                    self.state = State::Comment;
                    rest = &rest[4..];
                    continue;
                }
                State::Comment => {
                    let end = rest.find("-->");
                    if end.is_some() {
                        self.state = State::Text;
                    }
                    rest = end.map_or("", |end| &rest[end + 3..]);
                    continue;
                }
                // What begins no tag must not begin one together with the value behind it.
                State::Text if character == '<' && !begins_tag(rest) => {
                    out.push_str("&lt;");
                    rest = &rest[1..];
                    continue;
                }
                State::Raw => self.raw(rest),
                _ => {
                    self.character(character);
                    character.len_utf8()
                }
            };
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
    }

    /// Text up to the end tag of the element.
    fn raw(&mut self, rest: &str) -> usize {
        let end = format!("</{}", self.tag);
        let found = rest.char_indices().find(|(at, _)| {
            rest.get(*at..at + end.len()).is_some_and(|candidate| candidate.eq_ignore_ascii_case(&end))
        });
        match found {
            Some((at, _)) => {
                self.state = State::Tag;
                self.tag.clear();
                at + end.len()
            }
            None => rest.len(),
        }
    }

    fn character(&mut self, character: char) {
        let is_space = character.is_ascii_whitespace();
        match self.state {
            State::Text => {
                if character == '<' {
                    self.state = State::TagName;
                    self.tag.clear();
                }
            }
            _ if character == '>' && !matches!(self.state, State::Value(Some(_))) => {
                let is_raw = matches!(self.tag.as_str(), "script" | "style" | "title" | "textarea");
                self.state = if is_raw { State::Raw } else { State::Text };
            }
            State::TagName if is_space => self.state = State::Tag,
            State::TagName => self.tag.push(character.to_ascii_lowercase()),
            State::Tag | State::AttributeName if character == '=' => self.begin_value(),
            State::Tag if is_space || character == '/' => {}
            State::Tag => {
                self.attribute.clear();
                self.attribute.push(character.to_ascii_lowercase());
                self.state = State::AttributeName;
            }
            State::AttributeName if is_space => self.state = State::Tag,
            State::AttributeName => self.attribute.push(character.to_ascii_lowercase()),
            State::BeforeValue if is_space => {}
            State::BeforeValue if matches!(character, '"' | '\'') => self.state = State::Value(Some(character)),
            State::BeforeValue => {
                self.state = State::Value(None);
                self.value.push(character);
            }
            State::Value(Some(quote)) if character == quote => self.state = State::Tag,
            State::Value(None) if is_space => self.state = State::Tag,
            State::Value(_) => self.value.push(character),
            State::Comment | State::Raw => {}
        }
    }

    fn begin_value(&mut self) {
        self.state = State::BeforeValue;
        self.value.clear();
    }

    /// A value for where the output stands.
    pub(crate) fn escape(&mut self, text: &str, is_html: bool) -> String {
        match self.state {
            State::Text if is_html => text.to_owned(),
            State::Text => escape::html_contextual(text),
            State::Comment => String::new(),
            State::TagName | State::Tag | State::AttributeName => name(text),
            State::Raw => match self.tag.as_str() {
                "script" => json::quote(text),
                "style" => css(text),
                _ => escape::html_contextual(text),
            },
            State::BeforeValue => {
                self.state = State::Value(None);
                self.attribute_value(text, true)
            }
            State::Value(quote) => self.attribute_value(text, quote.is_none()),
        }
    }

    fn attribute_value(&mut self, text: &str, unquoted: bool) -> String {
        let name = self.attribute.as_str();
        let name = name.rsplit(':').next().unwrap_or(name);
        let value = if is_url(name) {
            self.url(text)
        } else if name == "style" {
            css(text)
        } else if name.starts_with("on") {
            json::quote(text)
        } else {
            text.to_owned()
        };
        self.value.push_str(&value);
        let escaped = escape::html_contextual(&value);
        if unquoted { unquoted_value(&escaped) } else { escaped }
    }

    fn url(&self, text: &str) -> String {
        if self.value.contains(['?', '#']) {
            return escape::query(text).replace('+', "%20");
        }
        let scheme = text.split(['/', '?', '#']).next().and_then(|start| start.split_once(':'));
        let safe = scheme.is_none_or(|(scheme, _)| {
            ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        });
        if self.value.trim().is_empty() && !safe { format!("#{UNSAFE}") } else { escape::url(text) }
    }
}

fn begins_tag(rest: &str) -> bool {
    let name = rest.strip_prefix("</").or_else(|| rest.strip_prefix('<')).unwrap_or_default();
    let doctype = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("!doctype"));
    doctype || name.starts_with(|first: char| first.is_ascii_alphabetic())
}

fn is_url(attribute: &str) -> bool {
    const URLS: [&str; 14] = [
        "action",
        "archive",
        "background",
        "cite",
        "codebase",
        "data",
        "formaction",
        "href",
        "icon",
        "longdesc",
        "manifest",
        "poster",
        "profile",
        "src",
    ];
    URLS.contains(&attribute) || attribute.contains("uri") || attribute.contains("url")
}

/// Only plain names may become parts of tags.
fn name(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let event = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("on"));
    let dangerous = event || text.eq_ignore_ascii_case("style");
    if plain && !dangerous { text.to_owned() } else { UNSAFE.to_owned() }
}

fn css(text: &str) -> String {
    let plain = text.chars().all(|character| character.is_alphanumeric() || " #%.,+-_".contains(character));
    let lower = text.to_lowercase();
    let dangerous = lower.contains("expression") || lower.contains("binding") || text.contains("--");
    if plain && !dangerous { text.to_owned() } else { UNSAFE.to_owned() }
}

fn unquoted_value(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    for character in escaped.chars() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '=' | '`' => {
                text.push_str(&format!("&#{};", u32::from(character)));
            }
            character => text.push(character),
        }
    }
    if text.is_empty() { UNSAFE.to_owned() } else { text }
}
