use super::signal::Indexed;

/// The columns of `spans` that the parts' indexes cover.
pub(super) const INDEXED: &[(&str, Indexed)] = &[
    ("trace_id", Indexed::Id),
    ("span_id", Indexed::Id),
    ("parent_span_id", Indexed::Id),
    ("name", Indexed::Text),
    ("status_message", Indexed::Text),
    ("attributes", Indexed::Attributes),
    ("resource", Indexed::Attributes),
];

/// One row per span event.
pub(super) const SPAN_EVENTS: &str = "
    SELECT event['time'] AS time, event['name'] AS name, event['attributes'] AS attributes,
           event['dropped_attributes_count'] AS dropped_attributes_count,
           trace_id, span_id, service_name, span_name, span_time, resource, scope
    FROM (SELECT unnest(events) AS event, trace_id, span_id, service_name, name AS span_name, time AS span_time,
                 resource, scope
          FROM spans WHERE events IS NOT NULL)";

/// One row per span link.
pub(super) const SPAN_LINKS: &str = "
    SELECT link['trace_id'] AS linked_trace_id, link['span_id'] AS linked_span_id,
           link['trace_state'] AS linked_trace_state, link['flags'] AS linked_flags,
           link['attributes'] AS attributes, link['dropped_attributes_count'] AS dropped_attributes_count,
           trace_id, span_id, service_name, span_name, span_time, resource, scope
    FROM (SELECT unnest(links) AS link, trace_id, span_id, service_name, name AS span_name, time AS span_time,
                 resource, scope
          FROM spans WHERE links IS NOT NULL)";
