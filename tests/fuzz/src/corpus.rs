//! Seeds that are kept as files: good inputs, and those that once went wrong.

/// A text with one seed in each paragraph, those between lines of dashes.
pub(crate) fn separated(text: &str) -> Vec<Vec<u8>> {
    text.split("\n----\n").map(|seed| seed.trim_end_matches('\n').as_bytes().to_vec()).collect()
}
