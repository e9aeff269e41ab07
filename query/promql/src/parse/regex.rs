//! Regular expressions in the syntax of RE2, for a crate whose syntax differs in little.

use regex::{Regex, RegexBuilder};

/// Bytes of one expression when it is compiled.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// Bytes of all expressions of one query.
const QUERY_BYTES_MAX: usize = 64 << 20;

/// How many expressions of one query may remember states of their automata generously, and what they and the others may: for
/// each thread that matches. A thousand expressions over a hundred thousand series took 15 GiB with the library's 2 MiB.
const GENEROUS_MAX: usize = 8;
const GENEROUS_STATE_BYTES: usize = 2 << 20;
const STATE_BYTES: usize = 16 << 10;

/// What the expressions of a query may still take in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    generous: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: QUERY_BYTES_MAX, generous: GENEROUS_MAX }
    }
}

impl Budget {
    /// Compiles an expression and takes what it needs, to the next power of eight: the library tells only whether it is
    /// above a limit.
    pub(crate) fn anchored(&mut self, pattern: &str) -> Result<Regex, String> {
        let source = format!("^(?s:{})$", translate(pattern));
        let states = if self.generous > 0 { GENEROUS_STATE_BYTES } else { STATE_BYTES };
        self.generous = self.generous.saturating_sub(1);
        let mut limit = 1 << 13;
        loop {
            match RegexBuilder::new(&source).size_limit(limit).dfa_size_limit(states).build() {
                Ok(regex) if limit <= self.bytes => {
                    self.bytes -= limit;
                    return Ok(regex);
                }
                Err(regex::Error::CompiledTooBig(_)) if limit < COMPILED_BYTES_MAX && limit < self.bytes => {
                    limit = (limit << 3).min(COMPILED_BYTES_MAX);
                }
                Ok(_) => return Err(used_up()),
                Err(regex::Error::CompiledTooBig(_)) if limit < COMPILED_BYTES_MAX => return Err(used_up()),
                Err(error) => return Err(describe(&error)),
            }
        }
    }
}

/// An expression that matches whole values; a dot matches newlines too.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    Budget::default().anchored(pattern)
}

fn used_up() -> String {
    format!("the regular expressions of the query are larger than {QUERY_BYTES_MAX} bytes when compiled")
}

fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => format!("expression is larger than {limit} bytes when compiled"),
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
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
    use super::{Budget, COMPILED_BYTES_MAX, QUERY_BYTES_MAX, anchored};

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

    #[test]
    fn the_expressions_of_a_query_take_no_more_memory_than_it_may() {
        let mut budget = Budget::default();
        let large = "(a{500}){50}";
        let taken = (0..1_000).take_while(|_| budget.anchored(large).is_ok()).count();
        assert!((1..=QUERY_BYTES_MAX / (COMPILED_BYTES_MAX / 8)).contains(&taken), "{taken} were taken");
        let error = budget.anchored(large).unwrap_err();
        assert!(error.contains("of the query"), "{error}");
        let mut budget = Budget::default();
        assert!((0..1_000).all(|_| budget.anchored("api|web|(db-[0-9]+)").is_ok()), "small ones ran out of room");
        let selectors = format!("x{{a=~\"{large}\"}}");
        assert!(crate::parse_selectors([selectors.as_str(); 3]).is_ok(), "a few are fine");
        let error = crate::parse_selectors([selectors.as_str(); 1_000]).unwrap_err();
        assert!(error.message.contains("of the query"), "{error}");
        let error = anchored("(a{1000}){1000}").unwrap_err();
        assert_eq!(error, format!("expression is larger than {COMPILED_BYTES_MAX} bytes when compiled"));
    }
}
