//! Records that are not taken, counted by reason and service.

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Rejected;
use super::wire::WireError;

/// Bytes of an example in a rejection.
const EXAMPLE_BYTES_MAX: usize = 256;

/// Pairs of reason and service that are told apart in one request; the services beyond share one entry per reason.
const REJECTED_MAX: usize = 256;

/// Why a record is not taken.
#[derive(Debug)]
pub(super) struct Reason {
    text: &'static str,
    example: Example,
}

#[derive(Debug)]
enum Example {
    Text(String),
    Undecodable(WireError),
}

impl Reason {
    #[cold]
    pub(super) fn new(text: &'static str, example: String) -> Self {
        Self { text, example: Example::Text(example) }
    }

    /// Names what the example is about.
    pub(super) fn about(mut self, name: &[u8]) -> Self {
        if let Example::Text(text) = &mut self.example {
            let name = String::from_utf8_lossy(name);
            *text = if text.is_empty() { name.into_owned() } else { format!("{name}: {text}") };
        }
        self
    }
}

impl From<WireError> for Reason {
    fn from(error: WireError) -> Self {
        Self { text: "record is not decodable", example: Example::Undecodable(error) }
    }
}

/// What was refused, in the order of the first occurrence.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    list: Vec<Rejected>,
    /// Positions in the list.
    index: HashTable<usize>,
}

impl Rejections {
    /// Counts records that are not taken.
    pub(super) fn count(&mut self, service: &str, count: u64, reason: Reason, payload: &[u8]) {
        if count == 0 {
            return;
        }
        if let Some(known) = self.find(service, reason.text) {
            known.count += count;
            return;
        }
        let is_full = self.list.len() >= REJECTED_MAX;
        if is_full && let Some(others) = self.find("", reason.text) {
            others.count += count;
            return;
        }
        let mut example = match reason.example {
            Example::Text(text) => text,
            Example::Undecodable(error) => error.within(payload).to_string(),
        };
        example.truncate(example.floor_char_boundary(EXAMPLE_BYTES_MAX));
        let service = if is_full { "" } else { service };
        let list = &mut self.list;
        list.push(Rejected { reason: reason.text, service: service.to_owned(), count, example });
        let hash = |rejected: &Rejected| hash_of(&rejected.service, rejected.reason);
        self.index.insert_unique(hash_of(service, reason.text), list.len() - 1, |position| hash(&list[*position]));
    }

    fn find(&mut self, service: &str, reason: &str) -> Option<&mut Rejected> {
        let is_same = |known: &Rejected| known.reason == reason && known.service == service;
        let position = self.index.find(hash_of(service, reason), |position| is_same(&self.list[*position]))?;
        self.list.get_mut(*position)
    }

    pub(super) fn finish(self) -> Vec<Rejected> {
        self.list
    }
}

fn hash_of(service: &str, reason: &str) -> u64 {
    xxh3_64_with_seed(service.as_bytes(), xxh3_64(reason.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_services_share_an_entry_and_none_is_lost() {
        let mut rejections = Rejections::default();
        for round in 0..3 {
            for service in 0..100_000 {
                let reason = if service % 2 == 0 { "even" } else { "odd" };
                let reason = Reason::new(reason, format!("{round}"));
                rejections.count(&format!("service-{service}"), 1, reason, &[]);
            }
        }
        let list = rejections.finish();
        assert_eq!(list.len(), REJECTED_MAX + 2);
        assert_eq!(list.iter().map(|rejected| rejected.count).sum::<u64>(), 300_000);
        assert!(list[..REJECTED_MAX].iter().all(|rejected| rejected.count == 3 && rejected.example == "0"));
        let shared: Vec<(&str, &str)> =
            list[REJECTED_MAX..].iter().map(|rejected| (rejected.reason, rejected.service.as_str())).collect();
        assert_eq!(shared, [("even", ""), ("odd", "")]);
    }

    #[test]
    fn an_example_is_short_and_names_its_subject() {
        let mut rejections = Rejections::default();
        rejections.count("cart", 0, Reason::new("nothing", String::new()), &[]);
        rejections.count("cart", 2, Reason::new("long", "ä".repeat(200)).about(b"m"), &[]);
        let list = rejections.finish();
        assert_eq!((list.len(), list[0].count, list[0].example.len()), (1, 2, 255));
        assert!(list[0].example.starts_with("m: ä"));
    }
}
