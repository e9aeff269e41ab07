//! What was found, told to whoever counts or shows it.

/// The name under which messages are counted that nobody can read, and that are therefore not passed on.
pub const UNREADABLE: &str = "unreadable";

/// Rules of one file at most; a set of them is one number.
pub(crate) const RULES_MAX: usize = 63;

/// Something that was found and is not stored as it came.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The place of the rule in its file; [`Counts::UNREADABLE`] for what cannot be read.
    pub rule: usize,
    /// The key of the attribute or label it was found in; empty when there is none.
    pub key: &'a [u8],
    /// What was found.
    pub before: &'a [u8],
    /// What is stored instead; `None` when all of it is left out.
    pub after: Option<&'a [u8]>,
}

/// Is told of every hit.
pub trait Observer {
    /// Something was found.
    fn hit(&mut self, hit: &Hit<'_>);
}

/// How many values each rule changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u32; RULES_MAX + 1]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; RULES_MAX + 1])
    }
}

impl Counts {
    /// The place of what cannot be read.
    pub const UNREADABLE: usize = RULES_MAX;

    /// How many values the rule at `rule` changed.
    pub fn of(&self, rule: usize) -> u64 {
        self.0.get(rule).copied().map_or(0, u64::from)
    }

    /// How many values were changed.
    pub fn total(&self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }
}

impl Observer for Counts {
    fn hit(&mut self, hit: &Hit<'_>) {
        if let Some(count) = self.0.get_mut(hit.rule) {
            *count = count.saturating_add(1);
        }
    }
}

/// A secret as it may be shown: its first characters and how long it is.
pub fn shortened(secret: &[u8]) -> String {
    const SHOWN_MAX: usize = 4;
    let text = String::from_utf8_lossy(secret);
    let length = text.chars().count();
    let shown: String = text.chars().take(SHOWN_MAX.min(length / 4)).collect();
    format!("{}… ({length} characters)", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_secret_is_none() {
        assert_eq!(shortened(b"4111111111111111"), "4111… (16 characters)");
        assert_eq!(shortened(b"abcde"), "a… (5 characters)");
        assert_eq!(shortened(b"abc"), "… (3 characters)");
        assert_eq!(shortened(&[0xff, b'\n']), "… (2 characters)");
    }
}
