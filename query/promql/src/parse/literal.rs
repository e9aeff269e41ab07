//! The values of number, duration and string tokens.

/// A number in any notation: decimal, hexadecimal, octal (a leading zero, as in Go), with underscores, `Inf`, `NaN`.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let lower = plain.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(digits) = lower.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok().map(|value| value as f64);
    }
    let is_octal = lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if is_octal && let Ok(value) = i64::from_str_radix(&lower, 8) {
        return Some(value as f64);
    }
    lower.parse().ok()
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration such as `1h30m` in milliseconds; its units must descend.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("not a valid duration string: {text:?}");
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit = &rest[digits..digits + letters];
        let (_, size) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        total = count.checked_mul(*size).and_then(|part| total.checked_add(part)).ok_or("duration out of range")?;
        rest = &rest[digits + letters..];
    }
    // The longest duration that Go can tell, in nanoseconds.
    if total > i64::MAX as u64 / 1_000_000 {
        return Err("duration out of range".to_owned());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// The content of a quoted string, with the escapes of Go.
pub(super) fn string(quoted: &str) -> Result<String, String> {
    let quote = quoted.chars().next().unwrap_or('"');
    let content = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if quote == '`' {
        return Ok(content.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(content.len());
    let mut chars = content.chars();
    while let Some(character) = chars.next() {
        if character != '\\' {
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let invalid = || format!("error unquoting string {quoted:?}: invalid syntax");
        let escape = chars.next().ok_or_else(invalid)?;
        let simple = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '\'' | '"' if escape == quote => escape as u8,
            'x' => number_of(&mut chars, 2, 16).and_then(|code| u8::try_from(code).ok()).ok_or_else(invalid)?,
            '0'..='7' => {
                let first = escape.to_digit(8).unwrap_or_default();
                let rest = number_of(&mut chars, 2, 8).ok_or_else(invalid)?;
                u8::try_from(first * 64 + rest).map_err(|_| invalid())?
            }
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let code = number_of(&mut chars, digits, 16).and_then(char::from_u32).ok_or_else(invalid)?;
                bytes.extend(code.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(invalid()),
        };
        bytes.push(simple);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn number_of(chars: &mut std::str::Chars<'_>, digits: usize, radix: u32) -> Option<u32> {
    (0..digits).try_fold(0_u32, |value, _| value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?))
}

#[cfg(test)]
mod tests {
    use super::{duration, number, string};

    #[test]
    fn numbers_have_many_notations() {
        for (text, value) in [
            ("1", 1.0),
            ("1_000.5", 1000.5),
            ("0x1F", 31.0),
            ("0X_1f", 31.0),
            ("010", 8.0),
            ("09", 9.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("Inf", f64::INFINITY),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert!(number("nan").unwrap().is_nan());
    }

    #[test]
    fn the_units_of_a_duration_descend() {
        assert_eq!(duration("1h30m"), Ok(5_400_000));
        assert_eq!(duration("1s500ms"), Ok(1_500));
        assert_eq!(duration("1y"), Ok(31_536_000_000));
        assert!(duration("30m1h").is_err());
        assert!(duration("5hs").is_err());
        assert!(duration("99999999999999999999y").is_err());
    }

    #[test]
    fn strings_have_the_escapes_of_go() {
        assert_eq!(string(r#""a\n\x41\101\u00e9\"'""#).unwrap(), "a\nAAé\"'");
        assert_eq!(string("`a\\n`").unwrap(), "a\\n");
        assert!(string(r#""\q""#).is_err());
    }
}
