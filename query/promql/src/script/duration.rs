//! Durations such as `1h30m`.

use super::cursor::Cursor;

const UNITS: [(&str, i64); 7] = [
    ("ms", 1),
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
];

/// A duration in milliseconds: `0`, or numbers with units, each unit once and from long to short; with a sign or not.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    let mut cursor = Cursor::new(text);
    let duration = take_duration(&mut cursor)?;
    if cursor.rest().is_empty() { Ok(duration) } else { Err(format!("not a valid duration string: {text:?}")) }
}

/// The duration that comes next.
pub(super) fn take_duration(cursor: &mut Cursor<'_>) -> Result<i64, String> {
    let here = cursor.here();
    let invalid = || format!("expected a duration such as 1m30s, got {here}");
    let sign = if cursor.take("-") { -1 } else { 1 };
    if sign > 0 {
        cursor.take("+");
    }
    let mut total: i64 = 0;
    let mut shortest = i64::MAX;
    loop {
        let number = i64::try_from(cursor.unsigned().map_err(|_| invalid())?).map_err(|_| invalid())?;
        let unit = UNITS.iter().find(|(name, _)| cursor.take(name));
        let Some(&(_, unit)) = unit else {
            return if number == 0 && shortest == i64::MAX { Ok(0) } else { Err(invalid()) };
        };
        if unit >= shortest {
            return Err(invalid());
        }
        shortest = unit;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(invalid)?;
        if !cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Ok(sign * total);
        }
    }
}
