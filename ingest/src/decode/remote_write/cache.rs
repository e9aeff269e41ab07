//! Label sets of earlier requests. Prometheus sends each series in every request that has a sample of it, with all of its
//! labels: what was checked and written as attributes once is found again by its bytes.
//!
//! The cache saves work and decides nothing: only valid sets are in it, under everything that they were made from.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of label sets that are kept: a hundred thousand series.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What an entry typically takes, and what it takes besides its texts.
const ENTRY_BYTES_TYPICAL: u64 = 640;
const ENTRY_BYTES: u64 = 160;

/// A label set as the columns need it.
#[derive(Debug)]
pub(super) struct KnownSeries {
    pub(super) name: Box<str>,
    pub(super) attributes: Box<str>,
    pub(super) service: Box<str>,
    pub(super) series_id: u64,
}

/// What a label set was made from, and its hash.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    hash: u64,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct KeyRef<'k> {
    hash: u64,
    bytes: &'k [u8],
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.hash == key.hash && *self.bytes == *key.bytes
    }
}

/// Hands on the hash that a key brings.
#[derive(Clone, Copy, Debug, Default)]
struct BroughtHash(u64);

impl Hasher for BroughtHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Arc<KnownSeries>> for Weight {
    fn weight(&self, key: &Key, series: &Arc<KnownSeries>) -> u64 {
        let texts = [&series.name, &series.attributes, &series.service].map(|text| text.len());
        (key.bytes.len() + texts.iter().sum::<usize>()) as u64 + ENTRY_BYTES
    }
}

/// Label sets by use, bounded in bytes.
#[derive(Debug)]
pub(crate) struct LabelCache(Cache<Key, Arc<KnownSeries>, Weight, BuildHasherDefault<BroughtHash>>);

impl Default for LabelCache {
    fn default() -> Self {
        let entries = usize::try_from(BYTES_MAX / ENTRY_BYTES_TYPICAL).unwrap_or(usize::MAX);
        Self(Cache::with(entries, BYTES_MAX, Weight, BuildHasherDefault::default(), DefaultLifecycle::default()))
    }
}

impl LabelCache {
    #[inline]
    pub(super) fn get(&self, hash: u64, bytes: &[u8]) -> Option<Arc<KnownSeries>> {
        self.0.get(&KeyRef { hash, bytes })
    }

    pub(super) fn insert(&self, hash: u64, bytes: &[u8], series: KnownSeries) {
        self.0.insert(Key { hash, bytes: bytes.into() }, Arc::new(series));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> KnownSeries {
        KnownSeries { name: name.into(), attributes: "{}".into(), service: "".into(), series_id: 7 }
    }

    #[test]
    fn a_set_is_found_by_its_bytes_and_not_by_its_hash_alone() {
        let cache = LabelCache::default();
        cache.insert(1, b"one", series("up"));
        assert_eq!(&*cache.get(1, b"one").expect("known").name, "up");
        assert!(cache.get(1, b"two").is_none() && cache.get(2, b"one").is_none());
    }

    #[test]
    fn the_cache_is_bounded_in_bytes() {
        let cache = LabelCache::default();
        for index in 0_u64..1_000 {
            cache.insert(index.wrapping_mul(0x9e37_79b9_7f4a_7c15), &vec![0; 256 * 1024], series("up"));
        }
        assert!(cache.0.weight() <= BYTES_MAX, "{} bytes", cache.0.weight());
    }
}
