//! Regular expressions in the syntax of RE2, for a crate whose syntax differs in little.

use regex::Regex;

/// An expression that matches whole values; a dot matches newlines too.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern);
    Regex::new(&format!("^(?s:{translated})$")).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("expression is larger than {limit} bytes when compiled"),
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// What RE2 reads otherwise: classes are of ASCII, braces that repeat nothing are themselves, and within brackets there
/// are no sets to combine.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '\\' => {
                let escaped = rest[1..].chars().next();
                length += escaped.map_or(0, char::len_utf8);
                match escaped {
                    Some('d') => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                    Some('D') if !in_class => out.push_str("[^0-9]"),
                    Some('w') => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                    Some('W') if !in_class => out.push_str("[^0-9A-Za-z_]"),
                    Some('s') => out.push_str(if in_class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
                    Some('S') if !in_class => out.push_str(r"[^\t\n\f\r ]"),
                    Some('b') if !in_class => out.push_str(r"(?-u:\b)"),
                    Some('Q') => {
                        let literal = &rest[length..];
                        let end = literal.find(r"\E").unwrap_or(literal.len());
                        out.push_str(&regex::escape(&literal[..end]));
                        length += (end + 2).min(literal.len());
                    }
                    _ => out.push_str(&rest[..length]),
                }
            }
            '[' if in_class => match rest.strip_prefix("[:").and_then(|name| name.find(":]")) {
                Some(end) => {
                    length = end + 4;
                    out.push_str(&rest[..length]);
                }
                None => out.push_str(r"\["),
            },
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
            }
            '[' => {
                in_class = true;
                out.push('[');
                if rest[1..].starts_with('^') {
                    out.push('^');
                    length += 1;
                }
                if rest[length..].starts_with(']') {
                    out.push_str(r"\]");
                    length += 1;
                }
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '{' if !in_class && !repeats(rest) => out.push_str(r"\{"),
            _ => out.push(character),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Whether this begins with `{2}`, `{2,}` or `{2,3}`.
fn repeats(text: &str) -> bool {
    let Some(end) = text.find('}') else { return false };
    let (low, high) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && is_number(low) && is_number(high)
}

#[cfg(test)]
mod tests {
    use super::anchored;

    #[test]
    fn patterns_are_read_as_re2_reads_them() {
        for (pattern, value, matches) in [
            ("a.c", "a\nc", true),
            ("a|b", "ab", false),
            (r"\d+", "٣", false),
            ("{a}", "{a}", true),
            ("a{2}", "aa", true),
            ("[[]x", "[x", true),
            ("[]a]", "]", true),
            (r"\Qa.b\E+", "a.bbb", true),
            ("[[:digit:]]", "5", true),
            ("", "", true),
        ] {
            assert_eq!(anchored(pattern).unwrap().is_match(value), matches, "{pattern}");
        }
        assert!(anchored("(").is_err());
    }
}
