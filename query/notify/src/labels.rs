//! Label sets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::matcher::is_plain;

/// A set of labels or annotations, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub BTreeMap<String, String>);

impl Labels {
    /// The value of a label; empty when it is missing, which Alertmanager does not tell apart.
    pub fn value(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Alertmanager's identity of an alert: FNV-1a over names and values.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        for (name, value) in &self.0 {
            name.bytes().for_each(&mut add);
            add(0xff);
            value.bytes().for_each(&mut add);
            add(0xff);
        }
        Fingerprint(hash)
    }

    /// The bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Alertmanager's order of label sets: fewer labels first, then by the first difference.
    fn precedes(&self, other: &Self) -> std::cmp::Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| {
            let names = self.0.keys().chain(other.0.keys()).collect::<std::collections::BTreeSet<_>>();
            for name in names {
                match (self.0.get(name), other.0.get(name)) {
                    (None, _) => return std::cmp::Ordering::Less,
                    (_, None) => return std::cmp::Ordering::Greater,
                    (left, right) if left != right => return left.cmp(&right),
                    _ => {}
                }
            }
            std::cmp::Ordering::Equal
        })
    }

    /// The order of alerts in a notification: by job, by instance, then by the whole set; a missing label comes last.
    pub(crate) fn compare(&self, other: &Self) -> std::cmp::Ordering {
        for name in ["job", "instance"] {
            let order = match (self.0.get(name), other.0.get(name)) {
                (None, None) => continue,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), None) => std::cmp::Ordering::Less,
                (left, right) => left.cmp(&right),
            };
            if order.is_ne() {
                return order;
            }
        }
        self.precedes(other)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Display for Labels {
    /// `{a="b", c="d"}`, as in group keys.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            // A name that could be taken for several labels would give two groups one key.
            let name = if is_plain(name) { name.clone() } else { quote(name) };
            write!(out, "{}{name}={}", if at > 0 { ", " } else { "" }, quote(value))?;
        }
        out.write_str("}")
    }
}

/// Go's `%q` for the characters that occur in labels.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The identity of a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}
