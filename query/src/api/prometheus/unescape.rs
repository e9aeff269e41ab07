//! Names of UTF-8 as clients escape them for paths: `U__http_2e_route` is `http.route`.

/// The name that was escaped; a name without the prefix, or not escaped well, is itself.
pub(super) fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(decode).unwrap_or_else(|| name.to_owned())
}

/// `__` is an underscore, `_2e_` the character with that number.
fn decode(escaped: &str) -> Option<String> {
    let mut decoded = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, tail)) = rest.split_once('_') {
        decoded.push_str(plain);
        if let Some(after) = tail.strip_prefix('_') {
            decoded.push('_');
            rest = after;
            continue;
        }
        let (digits, after) = tail.split_once('_')?;
        decoded.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = after;
    }
    decoded.push_str(rest);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escaped_names_are_decoded() {
        for (name, expected) in [
            ("job", "job"),
            ("U__http_2e_route", "http.route"),
            ("U__a__b", "a_b"),
            ("U__gr_f6__df_e", "größe"),
            ("U__broken_2e", "U__broken_2e"),
            ("U__bad_zz_", "U__bad_zz_"),
            ("U__too_ffffffffff_large", "U__too_ffffffffff_large"),
        ] {
            assert_eq!(unescape(name), expected);
        }
    }
}
