//! How much a template may cost.

/// Bounds of parsing and execution. Templates come from users and run on every evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one template's text.
    pub template_bytes: usize,
    /// Bytes of output, and of any text made on the way.
    pub output_bytes: usize,
    /// Nodes executed and function calls, plus one for each 64 bytes that functions make.
    pub steps: u64,
    /// Blocks, parentheses and calls of templates within each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { template_bytes: 256 * 1024, output_bytes: 1024 * 1024, steps: 1_000_000, depth: 128 }
    }
}
