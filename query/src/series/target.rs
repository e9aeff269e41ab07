//! `target_info`: what a resource says of itself besides `job` and `instance`.

use std::collections::BTreeMap;
use std::sync::Arc;

use trivium_promql::Labels;
use trivium_storage::attributes::entries;

use super::collect::Fragment;
use super::labels::identifying;
use super::points::Point;
use super::translate::label_name;
use super::{SeriesConfig, TARGET_INFO_STEP};

/// The metric's name.
pub(super) const TARGET_INFO: &str = "target_info";

/// The attributes that `job` and `instance` are made of.
const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// The labels of a resource's `target_info`; `None` when it has no job and instance, or nothing else to tell.
pub(super) fn labels(resource: &str, config: &SeriesConfig) -> Option<Labels> {
    let (job, instance) = identifying(resource);
    if job.is_empty() && instance.is_empty() {
        return None;
    }
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let mut is_telling = false;
    for (key, value) in entries(resource) {
        let is_identifying = IDENTIFYING.contains(&&*key);
        is_telling |= !is_identifying;
        if !is_identifying || config.keep_identifying_resource_attributes {
            labels.insert(label_name(&key, config.translation).into_owned(), value.text().into_owned());
        }
    }
    let own = [("__name__", TARGET_INFO.to_owned()), ("job", job), ("instance", instance)];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    is_telling.then(|| Labels::new(labels.into_iter().chain(own)))
}

/// Ones as long as the resource was heard of, within `(after, until]`; times in milliseconds.
pub(super) fn samples(labels: &Labels, heard: (i64, i64), after: i64, until: i64) -> Fragment {
    let mut fragment = Fragment::new(labels.clone(), false);
    let (first, last) = heard;
    let mut time = first;
    if time <= after {
        time += (after - time) / TARGET_INFO_STEP * TARGET_INFO_STEP;
    }
    while time < last && time <= until {
        if time > after {
            fragment.push(time, 0, Point::Float(1.0));
        }
        time += TARGET_INFO_STEP;
    }
    if last > after && last <= until {
        fragment.push(last, 0, Point::Float(1.0));
    }
    fragment
}

/// When each resource was heard of first and last, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Heard(BTreeMap<Arc<str>, (i64, i64)>);

impl Heard {
    pub(super) fn add(&mut self, resource: &Arc<str>, first: i64, last: i64) {
        match self.0.get_mut(resource) {
            Some(known) => *known = (known.0.min(first), known.1.max(last)),
            None => {
                self.0.insert(Arc::clone(resource), (first, last));
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, (i64, i64))> {
        self.0.iter().map(|(resource, heard)| (resource, *heard))
    }
}
