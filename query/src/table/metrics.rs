use super::signal::Indexed;

/// The columns of `metrics` that the parts' indexes cover.
pub(super) const INDEXED: &[(&str, Indexed)] = &[("attributes", Indexed::Attributes)];

/// One row per exemplar.
pub(super) const EXEMPLARS: &str = "
    SELECT exemplar['time'] AS time, exemplar['value'] AS value, exemplar['value_int'] AS value_int,
           exemplar['trace_id'] AS trace_id, exemplar['span_id'] AS span_id,
           exemplar['attributes'] AS filtered_attributes,
           metric_name, metric_type, unit, service_name, series_id, attributes, resource, scope
    FROM (SELECT unnest(exemplars) AS exemplar, metric_name, metric_type, unit, service_name, series_id, attributes,
                 resource, scope
          FROM metrics WHERE exemplars IS NOT NULL)";

/// One row per series.
pub(super) const SERIES: &str = "
    SELECT series_id, first_value(metric_name) AS metric_name, first_value(metric_type) AS metric_type,
           first_value(unit) AS unit, first_value(temporality) AS temporality,
           first_value(is_monotonic) AS is_monotonic, first_value(service_name) AS service_name,
           first_value(attributes) AS attributes, first_value(resource) AS resource, first_value(scope) AS scope,
           min(time) AS first_time, max(time) AS last_time, count(*) AS points
    FROM metrics GROUP BY series_id";
