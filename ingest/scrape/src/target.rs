//! A target: what relabelling makes of an address and the labels of its group.

use std::time::Duration;

use reqwest::Url;

use crate::config::{Group, Job, check_scheme, duration};
use crate::labels::{LabelBuilder, Labels};

/// Something to scrape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) labels: Labels,
    pub(crate) url: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Target {
    /// The target of an address; `None` when relabelling drops it.
    pub(crate) fn build(job: &Job, group: &Group, address: &str) -> Result<Option<Self>, String> {
        let mut labels: LabelBuilder = group.labels.iter().collect();
        labels.set("__address__", address);
        labels.set_default("job", &job.name);
        labels.set_default("__scheme__", &job.scheme);
        labels.set_default("__metrics_path__", &job.metrics_path);
        labels.set_default("__scrape_interval__", &millis(job.interval));
        labels.set_default("__scrape_timeout__", &millis(job.timeout));
        for (name, values) in &job.params {
            if let Some(first) = values.first() {
                labels.set_default(&format!("__param_{name}"), first);
            }
        }
        if !trivium_relabel::apply(&job.relabel, &mut labels) {
            return Ok(None);
        }
        if labels.get("__address__").is_empty() {
            return Err(format!("target {address:?} has no __address__ after relabelling"));
        }
        let url = url(job, &labels)?;
        let time = |name: &str| {
            let parsed = duration(labels.get(name)).filter(|duration| !duration.is_zero());
            parsed.ok_or_else(|| format!("{name} of target {address:?} is not a duration: {:?}", labels.get(name)))
        };
        let (interval, timeout) = (time("__scrape_interval__")?, time("__scrape_timeout__")?);
        if labels.get("instance").is_empty() {
            let address = labels.get("__address__").to_owned();
            labels.set("instance", address);
        }
        labels.retain(|name| !name.starts_with("__"));
        Ok(Some(Self { labels: labels.build(), url, interval, timeout: timeout.min(interval) }))
    }
}

fn url(job: &Job, labels: &LabelBuilder) -> Result<String, String> {
    let (scheme, address, path) = (labels.get("__scheme__"), labels.get("__address__"), labels.get("__metrics_path__"));
    check_scheme(scheme)?;
    if address.contains('/') {
        return Err(format!("{address:?} is not an address such as localhost:9100"));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!("{scheme}://{address}{slash}{path}");
    let mut url = Url::parse(&text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    let overrides: Vec<(&str, &str)> =
        labels.iter().filter_map(|(name, value)| Some((name.strip_prefix("__param_")?, value))).collect();
    let further =
        job.params.iter().flat_map(|(name, values)| values.iter().skip(1).map(move |value| (&**name, &**value)));
    let pairs: Vec<(&str, &str)> = overrides.into_iter().chain(further).collect();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url.into())
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ScrapeConfig;

    fn build(job: &str, group_labels: &[(&str, &str)]) -> Result<Option<Target>, String> {
        let text = format!("scrape_configs: [{{job_name: j{job}}}]");
        let config = ScrapeConfig::parse(&text, Path::new("")).expect("valid");
        let labels = group_labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Target::build(&config.jobs[0], &Group { targets: Vec::new(), labels }, "db:9100")
    }

    #[test]
    fn instance_is_the_address_by_default() {
        let target = build("", &[("rack", "7")]).expect("valid").expect("kept");
        assert_eq!(target.url, "http://db:9100/metrics");
        assert_eq!(target.labels, [("instance", "db:9100"), ("job", "j"), ("rack", "7")].into_iter().collect());
        assert_eq!((target.interval.as_secs(), target.timeout.as_secs()), (60, 10));
    }

    #[test]
    fn relabelling_rewrites_where_and_how_a_target_is_scraped() {
        let rules = ", params: {module: [a, b]}, relabel_configs: [\
            {source_labels: [__address__], target_label: __param_target}, \
            {replacement: 'probe:9115', target_label: __address__}, {replacement: /probe, target_label: __metrics_path__}, \
            {replacement: 5s, target_label: __scrape_interval__}, {replacement: x, target_label: __tmp_x}]";
        let target = build(rules, &[("__meta_filepath", "f")]).expect("valid").expect("kept");
        assert_eq!(target.url, "http://probe:9115/probe?module=a&target=db%3A9100&module=b");
        assert_eq!(target.labels, [("instance", "probe:9115"), ("job", "j")].into_iter().collect());
        assert_eq!((target.interval.as_secs(), target.timeout.as_secs()), (5, 5));
    }

    #[test]
    fn targets_are_dropped_and_refused() {
        let rule = |text: &str| build(&format!(", relabel_configs: [{text}]"), &[]);
        assert_eq!(rule("{action: drop, source_labels: [job], regex: j}"), Ok(None));
        assert!(rule("{target_label: __address__, replacement: ''}").expect_err("no address").contains("__address__"));
        assert!(rule("{target_label: __scheme__, replacement: https}").expect_err("https").contains("not supported"));
    }
}
