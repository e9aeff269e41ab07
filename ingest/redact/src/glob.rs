//! Names as people list them: `*` stands for any text, `?` for one byte, the case of ASCII letters does not matter.

/// Stars are tried one after the other, so that their number bounds the work.
const STARS_MAX: usize = 8;

/// Bytes of a pattern.
const BYTES_MAX: usize = 256;

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Box<[u8]>);

impl Glob {
    /// Checks a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(format!("{text:?} is no name; give one of 1 to {BYTES_MAX} bytes"));
        }
        if text.bytes().filter(|byte| *byte == b'*').count() > STARS_MAX {
            return Err(format!("{text:?} has more than {STARS_MAX} stars"));
        }
        Ok(Self(text.to_ascii_lowercase().into_bytes().into()))
    }

    /// The name when it stands for nothing but itself.
    pub(crate) fn exact(&self) -> Option<&[u8]> {
        (!self.0.iter().any(|byte| matches!(byte, b'*' | b'?'))).then_some(&self.0)
    }

    /// Whether the pattern stands for `name`.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        let pattern = &self.0;
        let (mut at, mut here) = (0, 0);
        // Where the last star stands, and where the text that it stands for ends.
        let mut star: Option<(usize, usize)> = None;
        while here < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, here));
                    at += 1;
                }
                Some(byte) if *byte == b'?' || *byte == name[here].to_ascii_lowercase() => {
                    at += 1;
                    here += 1;
                }
                _ => {
                    let Some((star_at, star_here)) = star else { return false };
                    star = Some((star_at, star_here + 1));
                    at = star_at + 1;
                    here = star_here + 1;
                }
            }
        }
        pattern.iter().skip(at).all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks_stand_for_text() {
        for (pattern, name, expected) in [
            ("password", "Password", true),
            ("password", "passwords", false),
            ("*password*", "db.PASSWORD.old", true),
            ("*.token", "auth.token", true),
            ("*.token", "token", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("**", "x", true),
        ] {
            assert_eq!(Glob::new(pattern).expect("a pattern").matches(name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(Glob::new("").is_err() && Glob::new("*********").is_err());
        assert_eq!(Glob::new("A.b").expect("a pattern").exact(), Some(&b"a.b"[..]));
        assert_eq!(Glob::new("a*").expect("a pattern").exact(), None);
    }
}
