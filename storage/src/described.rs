//! What senders say of metrics apart from their samples.
//!
//! Remote write 1.0 of Prometheus sends type, unit and help of all its metrics once a minute, in requests without samples. They
//! are kept in memory, as Prometheus keeps its own: after a restart they are known again within that minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

use trivium_model::TenantId;

/// Metrics of all tenants that are known; more are passed over.
const METRICS_MAX: usize = 100_000;

/// Bytes of a name, a unit and a help each, cut at a character.
const TEXT_BYTES_MAX: usize = 1024;

/// Type, unit and help of a metric, as a sender of remote write 1.0 tells them: once a minute, apart from the samples. They are
/// kept in memory, until the end of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// The family, without the suffixes of its series.
    pub name: String,
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset` or `unknown`.
    pub kind: &'static str,
    /// Empty when there is none.
    pub unit: String,
    /// Empty when there is none.
    pub help: String,
}

/// The last description of each metric of each tenant.
#[derive(Debug, Default)]
pub(crate) struct Descriptions(RwLock<HashMap<TenantId, BTreeMap<String, MetricDescription>>>);

impl Descriptions {
    pub(crate) fn add(&self, tenant: TenantId, descriptions: Vec<MetricDescription>) {
        let mut tenants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut known: usize = tenants.values().map(BTreeMap::len).sum();
        let of_tenant = tenants.entry(tenant).or_default();
        for mut description in descriptions {
            for text in [&mut description.name, &mut description.unit, &mut description.help] {
                text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            }
            if let Some(before) = of_tenant.get_mut(&description.name) {
                *before = description;
            } else if known < METRICS_MAX {
                known += 1;
                of_tenant.insert(description.name.clone(), description);
            }
        }
    }

    /// In the order of their names.
    pub(crate) fn of(&self, tenant: TenantId) -> Vec<MetricDescription> {
        let tenants = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(&tenant).map(|known| known.values().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(name: &str, help: &str) -> MetricDescription {
        MetricDescription { name: name.into(), kind: "gauge", unit: String::new(), help: help.into() }
    }

    #[test]
    fn the_last_word_counts_and_tenants_know_their_own() {
        let descriptions = Descriptions::default();
        descriptions.add(TenantId(1), vec![description("b", "old"), description("a", ""), description("b", "new")]);
        descriptions.add(TenantId(2), vec![description("c", "")]);
        assert_eq!(descriptions.of(TenantId(1)), [description("a", ""), description("b", "new")]);
        assert_eq!(descriptions.of(TenantId(2)).len(), 1);
        assert!(descriptions.of(TenantId(3)).is_empty());
    }

    #[test]
    fn texts_and_metrics_are_bounded() {
        let descriptions = Descriptions::default();
        descriptions.add(TenantId(1), vec![description("a", &"ä".repeat(1_000))]);
        assert_eq!(descriptions.of(TenantId(1))[0].help.len(), TEXT_BYTES_MAX);
        descriptions.add(TenantId(1), (0..METRICS_MAX).map(|number| description(&format!("m{number}"), "")).collect());
        descriptions.add(TenantId(2), vec![description("late", "")]);
        descriptions.add(TenantId(1), vec![description("a", "still told")]);
        assert_eq!(descriptions.of(TenantId(1)).len(), METRICS_MAX);
        assert_eq!(descriptions.of(TenantId(1))[0].help, "still told");
        assert!(descriptions.of(TenantId(2)).is_empty());
    }
}
