//! As much of DER as names and times need: lengths are checked, nothing is copied, nothing recurses.

/// One element: its tag and what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
}

/// The elements one after another; a last `None` instead of one that is damaged.
pub(super) fn elements(bytes: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        let element = split(bytes);
        rest = element.map(|(_, rest)| rest);
        Some(element.map(|(element, _)| element))
    })
}

/// The first element with its tag and length, and what follows it.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = split(bytes)?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&length, bytes) = bytes.split_first()?;
    let (length, bytes) = match length {
        0..=0x7f => (usize::from(length), bytes),
        // A certificate in a handshake has 64 KiB at most; one in a file fits four bytes of length.
        0x81..=0x84 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), bytes)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((Element { tag, content }, rest))
}

impl Element<'_> {
    /// The text of a string.
    pub(super) fn text(&self) -> Option<String> {
        match self.tag {
            // UTF8String, and the strings whose characters are ASCII: numeric, printable, IA5.
            0x0c | 0x12 | 0x13 | 0x16 => std::str::from_utf8(self.content).ok().map(str::to_owned),
            _ => None,
        }
    }

    /// A UTCTime (two digits of the year, of 1950 to 2049) or GeneralizedTime in the only form that RFC 5280 allows.
    pub(super) fn unix_seconds(&self) -> Option<i64> {
        let text = std::str::from_utf8(self.content).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, text) = match (self.tag, text.len()) {
            (0x17, 12) => {
                let year: i64 = text[..2].parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
            }
            (0x18, 14) => (text[..4].parse().ok()?, &text[4..]),
            _ => return None,
        };
        let number = |index: usize| text[2 * index..2 * index + 2].parse::<i64>().ok();
        let (month, day) = (number(0)?, number(1)?);
        let (hour, minute, second) = (number(2)?, number(3)?, number(4)?);
        let is_possible =
            (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        is_possible.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
    }
}

/// Days of the Gregorian calendar; the year is counted from March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The short name of an attribute type, or its number.
pub(super) fn kind(identifier: &[u8]) -> String {
    let known = match identifier {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        _ => return numbers(identifier),
    };
    known.to_owned()
}

/// An object identifier with dots: seven bits a byte, the first two numbers in one.
fn numbers(identifier: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in identifier {
        number = number.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first);
                number -= first * 40;
            }
            numbers.push(number);
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let seconds = |tag, text: &str| Element { tag, content: text.as_bytes() }.unix_seconds();
        assert_eq!(seconds(0x17, "700101000000Z"), Some(0));
        assert_eq!(seconds(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(0x17, "500101000000Z"), Some(-631_152_000));
        assert_eq!(seconds(0x18, "20240229120000Z"), Some(1_709_208_000));
        assert_eq!(seconds(0x18, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(seconds(0x18, "99991231235959Z"), Some(253_402_300_799));
        for wrong in
            ["", "Z", "20240229120000", "20241329120000Z", "20240200120000Z", "2024022912000٣Z", "+0240229120000Z"]
        {
            assert_eq!(seconds(0x18, wrong), None, "{wrong}");
        }
        assert_eq!(seconds(0x17, "20240229120000Z"), None);
    }

    #[test]
    fn identifiers_are_names_or_numbers() {
        assert_eq!(kind(&[0x55, 4, 3]), "CN");
        assert_eq!(kind(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]), "1.2.840.113549.1.9.1");
        assert_eq!(kind(&[0xff; 20]), "");
    }

    /// The lengths of all elements, up to the one that is damaged.
    fn read(bytes: &[u8]) -> Vec<Option<usize>> {
        elements(bytes).map(|element| element.map(|element| element.content.len())).collect()
    }

    #[test]
    fn damaged_elements_end_the_reading() {
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[0x30, 1, 7, 0x0c, 0]), [Some(1), Some(0)]);
        assert_eq!(read(&[0x30, 0x81, 2, 7, 7]), [Some(2)]);
        for damaged in [&[0x30][..], &[0x30, 1], &[0x30, 0x80], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 0x85, 0]] {
            assert_eq!(read(damaged), [None], "{damaged:?}");
        }
    }
}
