//! What Prometheus calls a service.

/// The service of a series that carries the label `job`: what OTLP resources become is `service.namespace/service.name`
/// (OpenTelemetry, "Prometheus and OpenMetrics Compatibility", resource attributes), so that a series of a rule over metrics of OTLP
/// belongs to the service that those came from. A job without a namespace, as scrapes name theirs, is the service itself.
pub fn service_of_job(job: &str) -> &str {
    match job.split_once('/') {
        Some((namespace, service)) if !namespace.is_empty() && !service.is_empty() => service,
        _ => job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_no_part_of_a_service() {
        for (job, service) in
            [("api", "api"), ("shop/payment", "payment"), ("a/b/c", "b/c"), ("/x", "/x"), ("x/", "x/"), ("", "")]
        {
            assert_eq!(service_of_job(job), service, "{job}");
        }
    }
}
