//! From resource, scope and attributes to labels.

use std::sync::Arc;

use hashbrown::HashMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use trivium_model::TenantId;
use trivium_promql::{Label, Labels, METRIC_NAME};
use trivium_storage::attributes::{entries, get};

use super::translate::{TranslationStrategy, label_name};
use super::{SeriesConfig, SeriesState};

/// Which names a view has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Style {
    /// As Prometheus translates them.
    Translated,
    /// As the service gave them.
    Original,
    /// A sample of Prometheus: all labels are its own.
    Prometheus,
}

/// What the labels of a series are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) series_id: u64,
    pub(super) resource: &'a Arc<str>,
    pub(super) scope: &'a str,
    pub(super) attributes: &'a str,
}

/// Whose series, its ID and its style. Anybody can compute the ID of a series of another tenant and send labels of their own
/// under it.
type LabelKey = (TenantId, u64, Style);

#[derive(Clone, Debug)]
struct LabelWeight;

impl Weighter<LabelKey, Arc<[Label]>> for LabelWeight {
    fn weight(&self, _: &LabelKey, labels: &Arc<[Label]>) -> u64 {
        96 + labels.iter().map(|label| 48 + label.value.len() as u64).sum::<u64>()
    }
}

/// Labels of series by use, without their names, bounded in bytes.
#[derive(Debug)]
pub(super) struct LabelCache(Cache<LabelKey, Arc<[Label]>, LabelWeight>);

impl LabelCache {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Cache::with_weighter(100_000, bytes_max, LabelWeight))
    }
}

/// From so many series on, labels are not kept: they would only push each other out.
const KEPT_MAX: usize = 50_000;

/// Makes labels; what repeats among series is made once.
pub(super) struct LabelMaker<'a> {
    state: &'a SeriesState,
    tenant: TenantId,
    resources: HashMap<(Arc<str>, Style), Arc<[Label]>>,
    names: HashMap<String, Arc<str>>,
    translated: HashMap<String, Arc<str>>,
    is_kept: bool,
}

impl<'a> LabelMaker<'a> {
    /// For the series of a tenant.
    pub(super) fn new(state: &'a SeriesState, tenant: TenantId) -> Self {
        let (names, translated) = (HashMap::new(), HashMap::new());
        Self { state, tenant, resources: HashMap::new(), names, translated, is_kept: true }
    }

    /// Says of how many series labels may be asked for.
    pub(super) fn expect(&mut self, series: usize) {
        self.is_kept = series <= KEPT_MAX;
    }

    fn config(&self) -> &'a SeriesConfig {
        &self.state.config
    }

    /// The labels of a series but its name, sorted.
    pub(super) fn base(&mut self, identity: &Identity<'_>, style: Style) -> Arc<[Label]> {
        if !self.is_kept {
            return self.make(identity, style);
        }
        let key = (self.tenant, identity.series_id, style);
        if let Some(known) = self.state.labels.0.get(&key) {
            return known;
        }
        let labels = self.make(identity, style);
        self.state.labels.0.insert(key, Arc::clone(&labels));
        labels
    }

    fn make(&mut self, identity: &Identity<'_>, style: Style) -> Arc<[Label]> {
        let mut labels: Vec<Label> = Vec::with_capacity(12);
        for (key, value) in entries(identity.attributes) {
            let name = match style {
                Style::Translated => self.translated_name(&key),
                Style::Original | Style::Prometheus => self.name(&key),
            };
            add(&mut labels, name, &value.text());
        }
        labels.retain(|label| !label.value.is_empty());
        if style != Style::Prometheus {
            if self.config().promote_scope {
                for (name, key) in [("otel_scope_name", "name"), ("otel_scope_version", "version")] {
                    if let Some(value) = get(identity.scope, key) {
                        labels.retain(|label| &*label.name != name);
                        labels.push(Label { name: self.name(name), value: (&*value.text()).into() });
                    }
                }
            }
            // What the resource says outweighs an attribute of the same name.
            let resource = self.resource(identity.resource, style);
            labels.retain(|label| !resource.iter().any(|other| other.name == label.name));
            labels.extend(resource.iter().cloned());
        }
        if !labels.is_sorted() {
            labels.sort_unstable();
        }
        labels.into()
    }

    /// The labels that a resource gives to all of its series.
    fn resource(&mut self, resource: &Arc<str>, style: Style) -> Arc<[Label]> {
        let key = (Arc::clone(resource), style);
        if let Some(known) = self.resources.get(&key) {
            return Arc::clone(known);
        }
        let (job, instance) = identifying(resource);
        let mut pairs = vec![("job".to_owned(), job), ("instance".to_owned(), instance)];
        let identifying: &[&str] = match style {
            Style::Original => &["service.name", "service.namespace", "service.instance.id"],
            _ => &[],
        };
        let promoted = self.config().promote_resource_attributes.iter().map(String::as_str);
        for name in identifying.iter().copied().chain(promoted) {
            if let Some(value) = get(resource, name) {
                let strategy = match style {
                    Style::Original => TranslationStrategy::NoTranslation,
                    _ => self.config().translation,
                };
                pairs.push((label_name(name, strategy).into_owned(), value.text().into_owned()));
            }
        }
        let mut labels = Vec::new();
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            labels.push(Label { name: self.name(&name), value: value.into() });
        }
        labels.sort_unstable();
        labels.dedup_by(|later, first| later.name == first.name);
        let labels: Arc<[Label]> = labels.into();
        self.resources.insert(key, Arc::clone(&labels));
        labels
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        self.names.insert(name.to_owned(), Arc::clone(&shared));
        shared
    }

    fn translated_name(&mut self, key: &str) -> Arc<str> {
        if let Some(known) = self.translated.get(key) {
            return Arc::clone(known);
        }
        let name = self.name(&label_name(key, self.config().translation));
        self.translated.insert(key.to_owned(), Arc::clone(&name));
        name
    }
}

/// Values of attributes whose names become the same are joined, in the order of their keys (OpenTelemetry
/// specification, compatibility with Prometheus, metric attributes).
fn add(labels: &mut Vec<Label>, name: Arc<str>, value: &str) {
    match labels.iter_mut().find(|label| label.name == name) {
        Some(label) => label.value = format!("{};{value}", label.value).into(),
        None => labels.push(Label { name, value: value.into() }),
    }
}

/// `job` and `instance` of a resource, empty when it does not say.
pub(super) fn identifying(resource: &str) -> (String, String) {
    let text = |key| get(resource, key).map(|value| value.text().into_owned()).unwrap_or_default();
    let (name, namespace) = (text("service.name"), text("service.namespace"));
    let job = if namespace.is_empty() || name.is_empty() { name } else { format!("{namespace}/{name}") };
    (job, text("service.instance.id"))
}

/// The labels of a series with its name and, where the view has one, a label more.
pub(super) fn complete(base: &[Label], name: &Arc<str>, extra: Option<Label>) -> Labels {
    let mut labels = Vec::with_capacity(base.len() + 2);
    let is_replaced = |label: &&Label| extra.as_ref().is_none_or(|extra| extra.name != label.name);
    labels.extend(base.iter().filter(|label| &*label.name != METRIC_NAME).filter(is_replaced).cloned());
    if !name.is_empty() {
        labels.push(Label { name: METRIC_NAME.into(), value: Arc::clone(name) });
    }
    labels.extend(extra);
    Labels::of_unique(labels)
}
