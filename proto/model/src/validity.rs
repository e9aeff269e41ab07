use std::fmt::Debug;

/// Whether what let a request in would let it in now: for answers that go on for hours. The layer that knows the credential puts an
/// `Arc<dyn Validity>` into the extensions of the request.
pub trait Validity: Debug + Send + Sync {
    /// Costs a look-up in memory.
    fn is_good(&self) -> bool;
}
