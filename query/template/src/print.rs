//! Printing as Go's `fmt` does it: `%v`, the other verbs, and what it says of verbs that do not fit.

use crate::number;
use crate::value::Value;

/// More than this of width or precision Go refuses too.
const WIDTH_MAX: usize = 1_000_000;

/// Text with a limit.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) text: String,
    limit: usize,
    pub(crate) full: bool,
}

impl Sink {
    pub(crate) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, full: false }
    }

    pub(crate) fn push(&mut self, text: &str) {
        if self.full || self.text.len() + text.len() > self.limit {
            self.full = true;
        } else {
            self.text.push_str(text);
        }
    }

    pub(crate) fn finish(self) -> Result<String, String> {
        if self.full { Err(format!("the text exceeds the limit of {} bytes", self.limit)) } else { Ok(self.text) }
    }
}

/// The flags of one verb.
#[derive(Clone, Copy, Debug, Default)]
struct Spec {
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    /// Pads to the width; zeros go between the sign and the digits.
    fn pad(&self, out: &mut Sink, text: &str, numeric: bool) {
        let length = text.chars().count();
        let missing = self.width.unwrap_or(0).saturating_sub(length);
        if missing == 0 {
            return out.push(text);
        }
        // A width beyond the limit of the output must not be built to be refused.
        if missing > out.limit {
            out.full = true;
            return;
        }
        if self.minus {
            out.push(text);
            out.push(&" ".repeat(missing));
        } else if self.zero && numeric {
            let sign = text.len() - text.trim_start_matches(['+', '-', ' ']).len();
            out.push(&text[..sign]);
            out.push(&"0".repeat(missing));
            out.push(&text[sign..]);
        } else {
            out.push(&" ".repeat(missing));
            out.push(text);
        }
    }

    fn sign(&self, text: String) -> String {
        if text.starts_with(['-', '+']) {
            if text.starts_with('+') && !self.plus && text != "+Inf" { text[1..].to_owned() } else { text }
        } else if self.plus {
            format!("+{text}")
        } else if self.space {
            format!(" {text}")
        } else {
            text
        }
    }
}

/// `%v` of a value.
pub(crate) fn print(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = Sink::new(limit);
    print_value(&mut out, value, 'v', &Spec::default());
    out.finish()
}

/// Go's `Sprint`: a space between two operands of which neither is a string.
pub(crate) fn sprint(values: &[Value], limit: usize) -> Result<String, String> {
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Html(_));
    let mut out = Sink::new(limit);
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !is_text(value) && !is_text(&values[index - 1]) {
            out.push(" ");
        }
        print_value(&mut out, value, 'v', &Spec::default());
    }
    out.finish()
}

/// Go's `Sprintln`.
pub(crate) fn sprintln(values: &[Value], limit: usize) -> Result<String, String> {
    let mut out = Sink::new(limit);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(" ");
        }
        print_value(&mut out, value, 'v', &Spec::default());
    }
    out.push("\n");
    out.finish()
}

/// Go's `Sprintf`.
pub(crate) fn sprintf(format: &str, values: &[Value], limit: usize) -> Result<String, String> {
    let mut printer = Printer { out: Sink::new(limit), rest: format, values, next: 0, reordered: false };
    while let Some(at) = printer.rest.find('%') {
        printer.out.push(&printer.rest[..at]);
        printer.rest = &printer.rest[at + 1..];
        printer.verb();
        if printer.out.full {
            break;
        }
    }
    printer.out.push(printer.rest);
    if !printer.reordered && printer.next < values.len() {
        printer.extra();
    }
    printer.out.finish()
}

struct Printer<'a> {
    out: Sink,
    rest: &'a str,
    values: &'a [Value],
    next: usize,
    reordered: bool,
}

impl Printer<'_> {
    fn verb(&mut self) {
        let mut spec = Spec::default();
        self.flags(&mut spec);
        self.index();
        match self.number() {
            Some(Ok(width)) => {
                spec.minus |= width < 0;
                spec.width = Some(width.unsigned_abs());
            }
            Some(Err(())) => self.out.push("%!(BADWIDTH)"),
            None => {}
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            self.index();
            match self.number() {
                Some(Ok(precision)) => spec.precision = usize::try_from(precision).ok(),
                Some(Err(())) => self.out.push("%!(BADPREC)"),
                None => spec.precision = Some(0),
            }
        }
        self.index();
        let Some(verb) = self.rest.chars().next() else {
            return self.out.push("%!(NOVERB)");
        };
        self.rest = &self.rest[verb.len_utf8()..];
        if verb == '%' {
            return self.out.push("%");
        }
        match self.values.get(self.next) {
            Some(value) => {
                self.next += 1;
                print_value(&mut self.out, value, verb, &spec);
            }
            None => self.out.push(&format!("%!{verb}(MISSING)")),
        }
    }

    fn flags(&mut self, spec: &mut Spec) {
        while let Some(flag) = self.rest.chars().next() {
            match flag {
                '#' => spec.sharp = true,
                '0' => spec.zero = !spec.minus,
                '+' => spec.plus = true,
                '-' => (spec.minus, spec.zero) = (true, false),
                ' ' => spec.space = true,
                _ => return,
            }
            self.rest = &self.rest[1..];
        }
    }

    /// `[2]`: the operand that comes next.
    fn index(&mut self) {
        if let Some((number, rest)) = self.rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            && let Ok(number) = number.parse::<usize>()
        {
            self.reordered = true;
            self.next = number.wrapping_sub(1);
            self.rest = rest;
        }
    }

    fn number(&mut self) -> Option<Result<isize, ()>> {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            let value = self.values.get(self.next);
            self.next = self.next.saturating_add(1);
            return Some(match value {
                Some(Value::Int(number)) if number.unsigned_abs() <= WIDTH_MAX as u64 => {
                    isize::try_from(*number).map_err(drop)
                }
                _ => Err(()),
            });
        }
        let digits = self.rest.len() - self.rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if number.is_empty() {
            return None;
        }
        Some(number.parse::<isize>().ok().filter(|number| number.unsigned_abs() <= WIDTH_MAX).ok_or(()))
    }

    fn extra(&mut self) {
        self.out.push("%!(EXTRA ");
        for (index, value) in self.values[self.next..].iter().enumerate() {
            if index > 0 {
                self.out.push(", ");
            }
            self.out.push(&value.type_name());
            if !matches!(value, Value::Nil) {
                self.out.push("=");
                print_value(&mut self.out, value, 'v', &Spec::default());
            }
        }
        self.out.push(")");
    }
}

fn bad(out: &mut Sink, value: &Value, verb: char) {
    out.push(&format!("%!{verb}("));
    if matches!(value, Value::Nil) {
        out.push("<nil>");
    } else {
        out.push(&value.type_name());
        out.push("=");
        print_value(out, value, 'v', &Spec::default());
    }
    out.push(")");
}

fn print_value(out: &mut Sink, value: &Value, verb: char, spec: &Spec) {
    if out.full {
        return;
    }
    match value {
        _ if verb == 'T' => spec.pad(out, &value.type_name(), false),
        Value::Nil if verb == 'v' => spec.pad(out, "<nil>", false),
        Value::Nil => bad(out, value, verb),
        Value::Bool(truth) if matches!(verb, 'v' | 't') => spec.pad(out, if *truth { "true" } else { "false" }, false),
        Value::Int(number) => print_int(out, value, *number, verb, spec),
        Value::Float(number) => print_float(out, value, *number, verb, spec),
        Value::String(text) | Value::Html(text) => print_text(out, value, text, verb, spec),
        Value::Time(time) if matches!(verb, 'v' | 's') => spec.pad(out, &time.to_string(), false),
        Value::Duration(nanoseconds) if matches!(verb, 'v' | 's') => {
            spec.pad(out, &number::duration(*nanoseconds), false);
        }
        Value::Duration(nanoseconds) => print_int(out, value, *nanoseconds, verb, spec),
        Value::Bool(_) | Value::Time(_) => bad(out, value, verb),
        Value::List(list) => {
            out.push("[");
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(" ");
                }
                print_value(out, item, verb, spec);
            }
            out.push("]");
        }
        Value::Labels(labels) => print_map(out, verb, spec, labels.iter().map(|(k, v)| (k, Value::from(v.as_str())))),
        Value::Map(map) => print_map(out, verb, spec, map.items.iter().map(|(k, v)| (k, v.clone()))),
        Value::Struct(record) => {
            out.push("{");
            for (index, (name, field)) in record.fields.iter().enumerate() {
                if index > 0 {
                    out.push(" ");
                }
                if spec.plus && verb == 'v' {
                    out.push(name);
                    out.push(":");
                }
                print_value(out, field, verb, spec);
            }
            out.push("}");
        }
        Value::Object(object) => match object.print() {
            Some(text) if matches!(verb, 'v' | 's' | 'q') => print_text(out, value, &text, verb, spec),
            _ => print_value(out, &object.underlying(), verb, spec),
        },
    }
}

fn print_map<'a>(out: &mut Sink, verb: char, spec: &Spec, entries: impl Iterator<Item = (&'a String, Value)>) {
    out.push("map[");
    for (index, (key, value)) in entries.enumerate() {
        if out.full {
            return;
        }
        if index > 0 {
            out.push(" ");
        }
        print_value(out, &Value::from(key.as_str()), verb, spec);
        out.push(":");
        print_value(out, &value, verb, spec);
    }
    out.push("]");
}

fn print_int(out: &mut Sink, value: &Value, number: i64, verb: char, spec: &Spec) {
    let magnitude = number.unsigned_abs();
    let digits = match verb {
        'v' | 'd' => format!("{magnitude}"),
        'x' if spec.sharp => format!("{magnitude:#x}"),
        'x' => format!("{magnitude:x}"),
        'X' if spec.sharp => format!("0X{magnitude:X}"),
        'X' => format!("{magnitude:X}"),
        'o' if spec.sharp => format!("0{magnitude:o}"),
        'o' => format!("{magnitude:o}"),
        'O' => format!("0o{magnitude:o}"),
        'b' => format!("{magnitude:b}"),
        'c' | 'q' | 'U' => {
            let character = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = match verb {
                'c' => character.to_string(),
                'q' => format!("'{}'", escape(&character.to_string(), '\'')),
                _ => format!("U+{:04X}", number),
            };
            return spec.pad(out, &text, false);
        }
        _ => return bad(out, value, verb),
    };
    let digits = match spec.precision {
        Some(precision) if precision > digits.len() && precision <= out.limit => format!("{digits:0>precision$}"),
        _ => digits,
    };
    let text = if number < 0 { format!("-{digits}") } else { digits };
    spec.pad(out, &spec.sign(text), spec.precision.is_none());
}

fn print_float(out: &mut Sink, value: &Value, number: f64, verb: char, spec: &Spec) {
    let text = match verb {
        'v' | 'g' => number::float(number, 'g', spec.precision),
        'G' => number::float(number, 'g', spec.precision).to_uppercase(),
        'e' => number::float(number, 'e', Some(digits(spec, out))),
        'E' => number::float(number, 'e', Some(digits(spec, out))).to_uppercase(),
        'f' | 'F' => number::float(number, 'f', Some(digits(spec, out))),
        _ => return bad(out, value, verb),
    };
    spec.pad(out, &spec.sign(text), number.is_finite());
}

/// The digits after the point; more than a float can hold are zeros that only cost.
fn digits(spec: &Spec, out: &Sink) -> usize {
    spec.precision.unwrap_or(6).min(out.limit).min(65_000)
}

fn print_text(out: &mut Sink, value: &Value, text: &str, verb: char, spec: &Spec) {
    let cut: String;
    let text = match spec.precision {
        Some(precision) if matches!(verb, 'v' | 's' | 'q') => {
            cut = text.chars().take(precision).collect();
            &cut
        }
        _ => text,
    };
    match verb {
        'v' | 's' => spec.pad(out, text, false),
        'q' => spec.pad(out, &quote(text), false),
        'x' | 'X' => {
            let bytes = text.as_bytes();
            let bytes = &bytes[..spec.precision.unwrap_or(bytes.len()).min(bytes.len())];
            if bytes.len().saturating_mul(2) > out.limit {
                out.full = true;
                return;
            }
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            spec.pad(out, &if verb == 'x' { hex } else { hex.to_uppercase() }, false);
        }
        _ => bad(out, value, verb),
    }
}

/// A string between quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text, '"'))
}

fn escape(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{7}' => escaped.push_str("\\a"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{b}' => escaped.push_str("\\v"),
            '\u{c}' => escaped.push_str("\\f"),
            character if character == quote => {
                escaped.push('\\');
                escaped.push(quote);
            }
            '\0'..='\u{1f}' | '\u{7f}' => escaped.push_str(&format!("\\x{:02x}", u32::from(character))),
            '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{feff}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => escaped.push(character),
        }
    }
    escaped
}
