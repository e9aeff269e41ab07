use super::signal::Indexed;

/// The columns of `logs` that the parts' indexes cover.
pub(super) const INDEXED: &[(&str, Indexed)] = &[
    ("trace_id", Indexed::Id),
    ("span_id", Indexed::Id),
    ("body", Indexed::Text),
    ("event_name", Indexed::Text),
    ("severity_text", Indexed::Text),
    ("attributes", Indexed::Attributes),
    ("resource", Indexed::Attributes),
];
