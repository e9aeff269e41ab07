//! Reading a line character by character.

/// A position in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character.
    pub(super) fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// Takes a text if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes a text or says what stands there instead.
    pub(super) fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take(text) { Ok(()) } else { Err(format!("expected {text:?}, got {}", self.here())) }
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub(super) fn skip_spaces(&mut self) {
        self.take_while(|c| c == ' ' || c == '\t');
    }

    /// What comes next, for messages.
    pub(super) fn here(&self) -> String {
        let mut start: String = self.rest.chars().take(20).collect();
        if start.len() < self.rest.len() {
            start.push('…');
        }
        if start.is_empty() { "the end of the line".to_owned() } else { format!("{start:?}") }
    }

    /// An unsigned decimal number without sign or exponent.
    pub(super) fn unsigned(&mut self) -> Result<u64, String> {
        let here = self.here();
        let digits = self.take_while(|c| c.is_ascii_digit());
        digits.parse().map_err(|_| format!("expected a number, got {here}"))
    }

    /// A float: decimal digits with fraction and exponent, `Inf` or `NaN`, with a sign or not.
    pub(super) fn float(&mut self) -> Result<f64, String> {
        let before = *self;
        let sign = if self.take("-") { -1.0 } else { 1.0 };
        if sign > 0.0 {
            self.take("+");
        }
        let word = self.rest.get(..3).unwrap_or("");
        if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            self.rest = &self.rest[3..];
            return Ok(if word.eq_ignore_ascii_case("nan") { f64::NAN } else { sign * f64::INFINITY });
        }
        let start = self.rest;
        self.take_while(|c| c.is_ascii_digit());
        if self.take(".") {
            self.take_while(|c| c.is_ascii_digit());
        }
        let mantissa = *self;
        if self.take("e") || self.take("E") {
            let _sign = self.take("+") || self.take("-");
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                *self = mantissa;
            }
        }
        let digits = &start[..start.len() - self.rest.len()];
        digits.parse::<f64>().map(|value| sign * value).map_err(|_| format!("expected a number, got {}", before.here()))
    }

    /// A string in double quotes, single quotes or backquotes, with Go's escapes.
    pub(super) fn string(&mut self) -> Result<String, String> {
        let quote = match self.next() {
            Some(quote @ ('"' | '\'' | '`')) => quote,
            _ => return Err("expected a quoted string".to_owned()),
        };
        let mut text = Vec::new();
        loop {
            match self.next() {
                None => return Err(format!("a string that begins with {quote} does not end")),
                Some(c) if c == quote => break,
                Some('\\') if quote != '`' => self.escape(&mut text)?,
                Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(text).map_err(|_| "a string is not UTF-8".to_owned())
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let here = self.here();
        let unknown = || format!("unknown escape sequence at {here}");
        let byte = match self.next().ok_or_else(unknown)? {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'v' => 11,
            c @ ('\\' | '"' | '\'') => c as u8,
            'x' => u8::try_from(self.digits(2, 16)?).map_err(|_| unknown())?,
            kind @ ('u' | 'U') => {
                let code = self.digits(if kind == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(code).ok_or_else(unknown)?;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            first @ '0'..='7' => {
                let high = first.to_digit(8).unwrap_or(0) * 64;
                u8::try_from(high + self.digits(2, 8)?).map_err(|_| unknown())?
            }
            _ => return Err(unknown()),
        };
        text.push(byte);
        Ok(())
    }

    fn digits(&mut self, number: usize, radix: u32) -> Result<u32, String> {
        let here = self.here();
        let digits = self.rest.get(..number).ok_or("an escape sequence is too short")?;
        let value = u32::from_str_radix(digits, radix).map_err(|_| format!("expected digits, got {here}"))?;
        self.rest = &self.rest[number..];
        Ok(value)
    }
}
