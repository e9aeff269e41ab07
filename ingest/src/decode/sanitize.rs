//! What is altered rather than refused: text that is no UTF-8, what is too long or too deep, keys that repeat. Every
//! alteration is counted with its cause.

use std::borrow::Cow;

use trivium_model::limit;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes that a key which is too long ends with: `~` and 16 digits of its hash, so that two keys with the same beginning
/// stay two keys.
const KEY_HASH_BYTES: usize = 17;

/// How often something was altered, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sanitized {
    invalid_utf8: u64,
    truncated: u64,
    depth: u64,
    duplicate_keys: u64,
    empty_keys: u64,
    log_trace_ids: u64,
    log_span_ids: u64,
    ids: u64,
    exemplars: u64,
    undecodable: u64,
}

impl Sanitized {
    /// The causes that occurred.
    pub(super) fn causes(self) -> Vec<(&'static str, u64)> {
        let causes = [
            ("invalid_utf8", self.invalid_utf8),
            ("truncated", self.truncated),
            ("depth", self.depth),
            ("duplicate_key", self.duplicate_keys),
            ("empty_key", self.empty_keys),
            ("bad_trace_id_on_log", self.log_trace_ids),
            ("bad_span_id_on_log", self.log_span_ids),
            ("bad_id", self.ids),
            ("exemplar_without_time", self.exemplars),
            ("undecodable_attribute", self.undecodable),
        ];
        causes.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// What was counted after `before` was taken; `None` when nothing was.
    pub(super) fn since(self, before: Self) -> Option<Self> {
        (self != before).then(|| Self {
            invalid_utf8: self.invalid_utf8 - before.invalid_utf8,
            truncated: self.truncated - before.truncated,
            depth: self.depth - before.depth,
            duplicate_keys: self.duplicate_keys - before.duplicate_keys,
            empty_keys: self.empty_keys - before.empty_keys,
            log_trace_ids: self.log_trace_ids - before.log_trace_ids,
            log_span_ids: self.log_span_ids - before.log_span_ids,
            ids: self.ids - before.ids,
            exemplars: self.exemplars - before.exemplars,
            undecodable: self.undecodable - before.undecodable,
        })
    }

    /// Counts again what was counted for the same bytes.
    pub(super) fn add(&mut self, again: &Self) {
        self.invalid_utf8 += again.invalid_utf8;
        self.truncated += again.truncated;
        self.depth += again.depth;
        self.duplicate_keys += again.duplicate_keys;
        self.empty_keys += again.empty_keys;
        self.log_trace_ids += again.log_trace_ids;
        self.log_span_ids += again.log_span_ids;
        self.ids += again.ids;
        self.exemplars += again.exemplars;
        self.undecodable += again.undecodable;
    }

    /// Whether something was cut off since `before` was taken.
    pub(super) fn has_cut_since(&self, before: &Self) -> bool {
        self.truncated > before.truncated
    }

    pub(super) fn count_truncated(&mut self) {
        self.truncated += 1;
    }

    pub(super) fn count_depth(&mut self) {
        self.depth += 1;
    }

    pub(super) fn count_duplicate_key(&mut self) {
        self.duplicate_keys += 1;
    }

    pub(super) fn count_empty_key(&mut self) {
        self.empty_keys += 1;
    }

    pub(super) fn count_undecodable(&mut self) {
        self.undecodable += 1;
    }

    pub(super) fn count_exemplar(&mut self) {
        self.exemplars += 1;
    }

    /// The ID of a log record: none when it was not sent, counted when it was but is of the wrong length or all zeroes.
    #[inline]
    pub(super) fn log_ids<'a>(
        &mut self,
        trace_id: &'a [u8],
        span_id: &'a [u8],
    ) -> (Option<&'a [u8; 16]>, Option<&'a [u8; 8]>) {
        let (trace, span) = (super::column::valid_id(trace_id), super::column::valid_id(span_id));
        self.log_trace_ids += u64::from(trace.is_none() && !trace_id.is_empty());
        self.log_span_ids += u64::from(span.is_none() && !span_id.is_empty());
        (trace, span)
    }

    /// Another ID that may be missing: absent when it is empty or all zeroes, counted when its length is wrong.
    #[inline]
    pub(super) fn id<'a, const N: usize>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8; N]> {
        self.ids += u64::from(bytes.len() != N && !bytes.is_empty());
        super::column::valid_id(bytes)
    }

    /// Bytes as text: what is no UTF-8 becomes U+FFFD.
    #[inline]
    pub(super) fn text<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                self.invalid_utf8 += 1;
                Cow::Owned(String::from_utf8_lossy(bytes).into_owned())
            }
        }
    }

    /// Bytes as text of at most `bytes_max` bytes.
    #[inline]
    pub(super) fn short_text<'a>(&mut self, bytes: &'a [u8], bytes_max: usize) -> Cow<'a, str> {
        let text = self.text(bytes);
        if text.len() <= bytes_max { text } else { self.cut(&text, bytes_max) }
    }

    fn cut<'a>(&mut self, text: &str, bytes_max: usize) -> Cow<'a, str> {
        self.truncated += 1;
        Cow::Owned(beginning(text, bytes_max).to_owned())
    }

    /// A name: span, metric, scope, unit …
    #[inline]
    pub(super) fn name<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        self.short_text(bytes, limit::NAME_BYTES_MAX)
    }

    /// The key of an attribute.
    #[inline]
    pub(super) fn key<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        let key = self.text(bytes);
        if key.len() <= limit::KEY_BYTES_MAX {
            return key;
        }
        let mut short = self.cut(&key, limit::KEY_BYTES_MAX - KEY_HASH_BYTES).into_owned();
        short.push_str(&format!("~{:016x}", xxh3_64(bytes)));
        Cow::Owned(short)
    }
}

/// The longest beginning of a text that has at most `bytes_max` bytes.
pub(super) fn beginning(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let mut sanitized = Sanitized::default();
        assert_eq!(sanitized.short_text("ä".repeat(4).as_bytes(), 5), "ää");
        assert_eq!(sanitized.short_text(b"abc", 3), "abc");
        assert_eq!(sanitized.causes(), [("truncated", 1)]);
    }

    #[test]
    fn long_keys_with_the_same_beginning_stay_apart() {
        let mut sanitized = Sanitized::default();
        let (left, right) = (format!("{}1", "k".repeat(9_999)), format!("{}2", "k".repeat(9_999)));
        let (left, right) = (sanitized.key(left.as_bytes()), sanitized.key(right.as_bytes()));
        assert_eq!((left.len(), right.len()), (limit::KEY_BYTES_MAX, limit::KEY_BYTES_MAX));
        assert_ne!(left, right);
    }

    #[test]
    fn absent_ids_are_not_counted_and_wrong_ones_are() {
        let mut sanitized = Sanitized::default();
        assert_eq!(sanitized.log_ids(&[], &[]), (None, None));
        assert_eq!(sanitized.id::<8>(&[0; 8]), None);
        assert_eq!(sanitized, Sanitized::default());
        assert_eq!(sanitized.log_ids(&[0; 16], &[1; 8]), (None, Some(&[1; 8])));
        assert_eq!(sanitized.log_ids(&[1; 17], &[1; 7]), (None, None));
        assert_eq!(sanitized.id::<8>(&[1; 9]), None);
        assert_eq!(sanitized.causes(), [("bad_trace_id_on_log", 2), ("bad_span_id_on_log", 1), ("bad_id", 1)]);
    }
}
