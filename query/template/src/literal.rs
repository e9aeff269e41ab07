//! Go's literals: strings, raw strings, characters, integers and floats in all bases.

use crate::value::Value;

type Literal = Result<(Value, usize), String>;

/// `"text"`, and how many bytes it takes.
pub(crate) fn quoted(text: &str) -> Literal {
    let (value, length) = unquote(text, '"')?;
    let value = String::from_utf8(value).map_err(|_| "the string's escapes are not valid UTF-8".to_owned())?;
    Ok((value.into(), length))
}

/// `'x'` is the number of the character.
pub(crate) fn character(text: &str) -> Literal {
    let (value, length) = unquote(text, '\'')?;
    let value = String::from_utf8_lossy(&value).into_owned();
    let mut characters = value.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok((Value::Int(i64::from(u32::from(character))), length)),
        _ => Err("malformed character constant".to_owned()),
    }
}

/// Text between back quotes.
pub(crate) fn raw(text: &str) -> Literal {
    let end = text[1..].find('`').ok_or("unterminated raw quoted string")?;
    Ok((text[1..=end].replace('\r', "").into(), end + 2))
}

fn unquote(text: &str, quote: char) -> Result<(Vec<u8>, usize), String> {
    let mut bytes = Vec::new();
    let mut rest = &text[1..];
    loop {
        let next = rest.chars().next().filter(|next| *next != '\n');
        let next = next.ok_or("unterminated quoted string")?;
        rest = &rest[next.len_utf8()..];
        if next == quote {
            return Ok((bytes, text.len() - rest.len()));
        }
        if next != '\\' {
            bytes.extend(next.to_string().bytes());
            continue;
        }
        let escape = rest.chars().next().ok_or("unterminated quoted string")?;
        rest = &rest[escape.len_utf8()..];
        let digits = match escape {
            'a' => push(&mut bytes, 0x07),
            'b' => push(&mut bytes, 0x08),
            'f' => push(&mut bytes, 0x0c),
            'n' => push(&mut bytes, b'\n'),
            'r' => push(&mut bytes, b'\r'),
            't' => push(&mut bytes, b'\t'),
            'v' => push(&mut bytes, 0x0b),
            '\\' => push(&mut bytes, b'\\'),
            _ if escape == quote => push(&mut bytes, u8::try_from(quote).unwrap_or(b'"')),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => 3,
            _ => return Err(format!("unknown escape \\{escape} in the string")),
        };
        if digits == 0 {
            continue;
        }
        rest = if escape.is_ascii_digit() {
            let start = text.len() - rest.len() - 1;
            number_escape(&mut bytes, &text[start..], 3, 8, false)?
        } else {
            number_escape(&mut bytes, rest, digits, 16, escape != 'x')?
        };
    }
}

fn push(bytes: &mut Vec<u8>, byte: u8) -> usize {
    bytes.push(byte);
    0
}

fn number_escape<'a>(
    bytes: &mut Vec<u8>,
    text: &'a str,
    digits: usize,
    radix: u32,
    character: bool,
) -> Result<&'a str, String> {
    let number = text.get(..digits).filter(|number| number.chars().all(|digit| digit.is_digit(radix)));
    let number = number.and_then(|number| u32::from_str_radix(number, radix).ok()).ok_or("malformed escape")?;
    if character {
        let character = char::from_u32(number).ok_or("the escape is not a character")?;
        bytes.extend(character.to_string().bytes());
    } else {
        bytes.push(u8::try_from(number).map_err(|_| "the escape is not a byte")?);
    }
    Ok(&text[digits..])
}

/// A number with its sign.
pub(crate) fn number(text: &str) -> Literal {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign = text.len() - unsigned.len();
    let hexadecimal = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    let mut length = 0;
    let mut previous = ' ';
    for character in unsigned.chars() {
        let exponent = if hexadecimal { matches!(previous, 'p' | 'P') } else { matches!(previous, 'e' | 'E') };
        if !(character.is_ascii_alphanumeric()
            || matches!(character, '.' | '_')
            || exponent && matches!(character, '+' | '-'))
        {
            break;
        }
        length += 1;
        previous = character;
    }
    let token = &text[..sign + length];
    let bad = || format!("bad number syntax: {token:?}");
    if sign > 1 || length == 0 || token.contains("__") || token.ends_with('_') {
        return Err(bad());
    }
    let negative = text.starts_with('-');
    let digits = unsigned[..length].replace('_', "").to_ascii_lowercase();
    let value = if let Some(hex) = digits.strip_prefix("0x").filter(|hex| hex.contains(['p', '.'])) {
        let value = hex_float(hex).ok_or_else(bad)?;
        Value::Float(if negative { -value } else { value })
    } else if let Some(value) = integer(&digits, negative) {
        value.map_err(|()| format!("{token} overflows int"))?.into()
    } else if digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-')) {
        let value: f64 = digits.parse().map_err(|_| bad())?;
        Value::Float(if negative { -value } else { value })
    } else {
        return Err(bad());
    };
    Ok((value, token.len()))
}

fn integer(digits: &str, negative: bool) -> Option<Result<i64, ()>> {
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let text = if negative { format!("-{digits}") } else { digits.to_owned() };
    Some(i64::from_str_radix(&text, radix).map_err(drop))
}

fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, power) = text.split_once('p')?;
    let power: i32 = power.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 || fraction.len() > 64 {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()? * 4;
    Some(value * 2f64.powi(power.saturating_sub(shift)))
}
