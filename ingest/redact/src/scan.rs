//! What no regular expression finds well: numbers with a check digit, and e-mail addresses.
//!
//! Each has a quick look that may be wrong only by saying yes, for bytes of any kind, and a finder for one text.

use std::ops::Range;

/// Digits of a card number, ISO/IEC 7812.
const CARD_DIGITS: Range<usize> = 13..20;

/// Characters of the shortest IBAN, Norway's.
const IBAN_MIN: usize = 15;

/// Characters of an IBAN by country, from the SWIFT registry.
const IBAN_LENGTHS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29\
ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25\
MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25\
SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// Bytes of the part of an address before the `@` (RFC 5321).
const LOCAL_BYTES_MAX: usize = 64;

/// What a number with a check digit is written with: its characters, and what stands between two of them.
trait Alphabet {
    fn is_character(byte: u8) -> bool;
    fn is_separator(byte: u8) -> bool;
}

/// Whether a run of `length_min` characters and separators may be here. A run that long covers every `length_min`th byte, so
/// that no other is looked at, but around those that are of the kind.
#[inline]
fn has_run<A: Alphabet>(bytes: &[u8], length_min: usize, enough: impl Fn(&[u8]) -> bool) -> bool {
    let is_kind = |byte: u8| A::is_character(byte) || A::is_separator(byte);
    let is_character_at = |at: usize| bytes.get(at).is_some_and(|byte| A::is_character(*byte));
    let is_kind_at = |at: usize| bytes.get(at).is_some_and(|byte| is_kind(*byte));
    // A run that long has half of its length on one side of the probe at the least.
    let half = (length_min - 1) / 2;
    let goes_on = |probe: usize| {
        (is_kind_at(probe + half) && is_kind_at(probe + half / 2))
            || (is_kind_at(probe - half) && is_kind_at(probe - half / 2))
    };
    let mut probe = length_min - 1;
    let mut behind = 0;
    while let Some(byte) = bytes.get(probe) {
        // A separator inside of a number stands between two characters; most spaces stand between words.
        let is_inside = A::is_character(*byte)
            || (A::is_separator(*byte) && is_character_at(probe - 1) && is_character_at(probe + 1));
        if !is_inside || !goes_on(probe) {
            behind = probe + 1;
            probe += length_min;
            continue;
        }
        let before = bytes.get(behind..probe).unwrap_or_default();
        let start = probe - before.iter().rev().take_while(|byte| is_kind(**byte)).count();
        let after = bytes.get(probe..).unwrap_or_default();
        let end = probe + after.iter().take_while(|byte| is_kind(**byte)).count();
        if end - start >= length_min && enough(bytes.get(start..end).unwrap_or_default()) {
            return true;
        }
        behind = end;
        probe = end + length_min;
    }
    false
}

struct OfCards;

impl Alphabet for OfCards {
    #[inline]
    fn is_character(byte: u8) -> bool {
        byte.is_ascii_digit()
    }

    #[inline]
    fn is_separator(byte: u8) -> bool {
        byte == b' ' || byte == b'-'
    }
}

/// Whether a card number may be here.
#[inline]
pub(crate) fn may_hold_card(bytes: &[u8]) -> bool {
    has_run::<OfCards>(bytes, CARD_DIGITS.start, |run| {
        run.iter().filter(|byte| byte.is_ascii_digit()).count() >= CARD_DIGITS.start
    })
}

/// Finds card numbers: 13 to 19 digits, in one or in groups with a space or hyphen between them, that begin as those of an
/// issuer do and whose check digit is right.
pub(crate) fn cards(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    let mut at = 0;
    while let Some(skipped) = text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at + skipped;
        let groups = digit_groups(text, start);
        let end = groups.end();
        let is_part_of_word = start.checked_sub(1).is_some_and(|before| text[before].is_ascii_alphanumeric())
            || text.get(end).is_some_and(u8::is_ascii_alphanumeric);
        // A letter at one end spoils the group at that end only; numbers of one group are the case that matters.
        if !(is_part_of_word && groups.count == 1) {
            groups.cards(text, found);
        }
        at = end;
    }
}

/// Groups of digits that stand one behind the other with one separator between them.
struct Groups {
    /// Start and end of each.
    list: [(usize, usize); GROUPS_MAX],
    count: usize,
    start: usize,
}

/// Groups that are looked at together; a run of more is looked at in pieces.
const GROUPS_MAX: usize = 32;

fn digit_groups(text: &[u8], start: usize) -> Groups {
    let mut groups = Groups { list: [(0, 0); GROUPS_MAX], count: 0, start };
    let mut at = start;
    while groups.count < GROUPS_MAX {
        let digits = text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            break;
        }
        groups.list[groups.count] = (at, at + digits);
        groups.count += 1;
        at += digits;
        if !text.get(at).is_some_and(|byte| matches!(byte, b' ' | b'-')) {
            break;
        }
        at += 1;
    }
    groups
}

impl Groups {
    fn end(&self) -> usize {
        self.count.checked_sub(1).map_or(self.start, |last| self.list[last].1)
    }

    /// The longest card number from each group on; the next begins behind it.
    fn cards(&self, text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        let mut first = 0;
        while first < self.count {
            let mut digits = [0_u8; CARD_DIGITS.end];
            let (mut length, mut longest) = (0, None);
            for (index, &(start, end)) in self.list.iter().enumerate().take(self.count).skip(first) {
                if length + (end - start) >= CARD_DIGITS.end {
                    break;
                }
                for byte in text.get(start..end).unwrap_or_default() {
                    digits[length] = byte - b'0';
                    length += 1;
                }
                if CARD_DIGITS.contains(&length) && is_card(&digits[..length]) {
                    longest = Some((index, end));
                }
            }
            match longest {
                Some((index, end)) => {
                    found(self.list[first].0..end);
                    first = index + 1;
                }
                None => first += 1,
            }
        }
    }
}

fn is_card(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(4).fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let is_issued = matches!(
        (prefix, digits.len()),
        (2200..=2204 | 3528..=3589, 16..=19)
            | (2221..=2720 | 5100..=5599, 16)
            | (3400..=3499 | 3700..=3799, 15)
            | (3000..=3059 | 3095 | 3600..=3699 | 3800..=3999, 14..=19)
            | (4000..=4999, 13 | 16 | 19)
            | (5000..=5099 | 5600..=6999, 13..=19)
    );
    is_issued && has_luhn_digit(digits)
}

fn has_luhn_digit(digits: &[u8]) -> bool {
    let value = |(index, digit): (usize, &u8)| match (index % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit) if digit > 4 => u32::from(digit) * 2 - 9,
        (_, digit) => u32::from(digit) * 2,
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
}

struct OfIbans;

impl Alphabet for OfIbans {
    #[inline]
    fn is_character(byte: u8) -> bool {
        byte.is_ascii_digit() || byte.is_ascii_uppercase()
    }

    #[inline]
    fn is_separator(byte: u8) -> bool {
        byte == b' '
    }
}

/// Whether an IBAN may be here.
#[inline]
pub(crate) fn may_hold_iban(bytes: &[u8]) -> bool {
    has_run::<OfIbans>(bytes, IBAN_MIN, |run| run.windows(4).any(begins_iban))
}

fn begins_iban(window: &[u8]) -> bool {
    matches!(window, [a, b, c, d, ..] if a.is_ascii_uppercase() && b.is_ascii_uppercase()
        && c.is_ascii_digit() && d.is_ascii_digit())
}

/// Finds IBANs: a country, as many characters as it has, in one or with single spaces between them, and check digits that
/// are right (ISO 7064, MOD 97-10).
pub(crate) fn ibans(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    let mut start = 0;
    while start + IBAN_MIN <= text.len() {
        let is_inside_word = start.checked_sub(1).is_some_and(|before| text[before].is_ascii_alphanumeric());
        let end = if is_inside_word { None } else { text.get(start..).and_then(iban).map(|length| start + length) };
        match end {
            Some(end) => {
                found(start..end);
                start = end;
            }
            None => start += 1,
        }
    }
}

/// How many bytes the IBAN takes that this text begins with.
fn iban(text: &[u8]) -> Option<usize> {
    if !begins_iban(text) {
        return None;
    }
    let country = text.get(..2)?;
    let entry = IBAN_LENGTHS.chunks_exact(4).find(|entry| entry.starts_with(country))?;
    let length = usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0');
    let mut characters = [0_u8; 34];
    let (mut count, mut at) = (0, 0);
    while count < length {
        match text.get(at)? {
            byte if byte.is_ascii_digit() || byte.is_ascii_uppercase() => {
                *characters.get_mut(count)? = *byte;
                count += 1;
            }
            b' ' if text.get(at - 1) != Some(&b' ') => {}
            _ => return None,
        }
        at += 1;
    }
    if text.get(at).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let (head, tail) = characters.get(..length)?.split_at_checked(4)?;
    let remainder = tail.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    (remainder == 1).then_some(at)
}

fn is_local_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'~' | b'#')
        || byte >= 0x80
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') || byte >= 0x80
}

/// Whether an e-mail address may be here: a byte of a name before an `@`, and behind it a dot inside of what may be a domain, with
/// two bytes behind it that are no digits.
#[inline]
pub(crate) fn may_hold_email(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'@', bytes).any(|at| {
        let is_named = at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|byte| is_local_byte(*byte));
        let after = bytes.get(at + 1..).unwrap_or_default();
        let is_top = |byte: &u8| is_domain_byte(*byte) && !byte.is_ascii_digit() && *byte != b'.';
        is_named
            && after.iter().take_while(|byte| is_domain_byte(**byte)).enumerate().skip(1).any(|(dot, byte)| {
                *byte == b'.' && after.get(dot + 1..dot + 3).is_some_and(|top| top.iter().all(is_top))
            })
    })
}

/// Finds e-mail addresses: a name, `@`, and a domain of two labels at the least, the last one without digits.
pub(crate) fn emails(text: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    let mut behind = 0;
    for at in memchr::memchr_iter(b'@', text) {
        let local = text.get(behind..at).unwrap_or_default().iter().rev();
        let local = local.take(LOCAL_BYTES_MAX).take_while(|byte| is_local_byte(**byte)).count();
        let after = text.get(at + 1..).unwrap_or_default();
        let domain = after.iter().take_while(|byte| is_domain_byte(**byte)).count();
        let domain = after.get(..domain).unwrap_or_default();
        let kept = domain.len() - domain.iter().rev().take_while(|byte| matches!(byte, b'.' | b'-')).count();
        let domain = domain.get(..kept).unwrap_or_default();
        if local > 0 && is_domain(domain) {
            found(at - local..at + 1 + domain.len());
            behind = at + 1 + domain.len();
        } else {
            behind = at + 1;
        }
    }
}

fn is_domain(domain: &[u8]) -> bool {
    let mut labels = domain.rsplit(|byte| *byte == b'.');
    let is_top = labels.next().is_some_and(|top| top.len() >= 2 && !top.iter().any(u8::is_ascii_digit));
    is_top && labels.next().is_some_and(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Finder = fn(&[u8], &mut dyn FnMut(Range<usize>));

    fn found(finder: Finder, text: &str) -> Vec<String> {
        let mut list = Vec::new();
        finder(text.as_bytes(), &mut |range| list.push(String::from_utf8_lossy(&text.as_bytes()[range]).into_owned()));
        list
    }

    #[test]
    fn cards_are_found_in_every_form() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "5555555555554444",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
            "4222222222222",
            "6200000000000005",
            "2223003122003222",
        ] {
            for text in
                [card.to_owned(), format!("card={card},"), format!("paid 12 {card} at 10:00"), format!("\"{card}\"")]
            {
                assert_eq!(found(cards, &text), [card], "{text}");
                assert!(may_hold_card(text.as_bytes()), "{text}");
            }
        }
        assert_eq!(found(cards, "4111111111111111 5555555555554444").len(), 2);
    }

    #[test]
    fn other_numbers_are_no_cards() {
        for text in [
            "4111111111111112",
            "1700000000000",
            "1700000000000000000",
            "a4111111111111111",
            "41111111111111110000000",
            "4111  1111 1111 1111",
            "550e8400-e29b-41d4-a716-446655440000",
            "2023-01-29 08:15:30.123",
            "192.168.0.1:8080",
            "0000000000000000",
            "",
        ] {
            assert_eq!(found(cards, text), [] as [String; 0], "{text}");
        }
    }

    #[test]
    fn ibans_are_found_in_every_form() {
        for iban in [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "GB82WEST12345698765432",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            for text in [iban.to_owned(), format!("to {iban} now"), format!("iban={iban};"), format!("{iban} AND MORE")]
            {
                assert_eq!(found(ibans, &text), [iban], "{text}");
                assert!(may_hold_iban(text.as_bytes()), "{text}");
            }
        }
        for text in [
            "DE88370400440532013000",
            "XX89370400440532013000",
            "de89370400440532013000",
            "ADE89370400440532013000",
            "DE8937040044053201300",
        ] {
            assert_eq!(found(ibans, text), [] as [String; 0], "{text}");
        }
    }

    #[test]
    fn addresses_are_found_and_other_uses_of_the_sign_are_not() {
        for (text, expected) in [
            ("mail alice@example.com.", vec!["alice@example.com"]),
            ("<a.b+c@mail.example.co.uk>, bob@x.org", vec!["a.b+c@mail.example.co.uk", "bob@x.org"]),
            ("müller@beispiel.de", vec!["müller@beispiel.de"]),
            ("a@b.cc@d.ee", vec!["a@b.cc"]),
            ("user@host", vec![]),
            ("@decorator.of.python", vec![]),
            ("image@1.2.3", vec![]),
            ("a@.com", vec![]),
            ("x@y.z", vec![]),
            ("@", vec![]),
        ] {
            assert_eq!(found(emails, text), expected, "{text}");
            // In a record, a text stands between bytes of any kind.
            let between = [b"\x0a\x12..@", text.as_bytes(), b".\x22\xff"].concat();
            assert!(expected.is_empty() || (may_hold_email(text.as_bytes()) && may_hold_email(&between)), "{text}");
        }
        for text in ["com.example.Order@1a2b3c4d, next", "user@host ", "a@1.2.3", "image@sha256:00", "@a.bc"] {
            assert!(!may_hold_email(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_quick_look_never_misses_what_a_finder_finds() {
        let card = b"4111 1111 1111 1111";
        for before in 0..40 {
            let mut text = vec![b'x'; before];
            text.extend_from_slice(b"=");
            text.extend_from_slice(card);
            text.extend_from_slice(b"; and more behind");
            assert!(may_hold_card(&text), "{before}");
        }
        assert!(!may_hold_card(b"2023-01-29 08:15:30 the order took 1234 ms and 5678 bytes"));
        assert!(!may_hold_iban(b"the quick brown fox jumps over the lazy dog 1234"));
    }

    #[test]
    fn hostile_text_takes_linear_time() {
        for text in ["1 ".repeat(200_000), "DE89 ".repeat(100_000), "a@".repeat(200_000), "4".repeat(400_000)] {
            for finder in [cards, ibans, emails] {
                found(finder, &text);
            }
        }
    }
}
