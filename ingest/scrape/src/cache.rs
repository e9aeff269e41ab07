//! The series of one target from scrape to scrape: labels by the text that the target writes, and which series have vanished.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Job;
use crate::labels::{LabelBuilder, Labels};
use crate::parse::{self, Exposition, Kind, Sample};

/// What a text stands for; `None` when relabelling drops the series.
#[derive(Debug)]
struct Known {
    labels: Option<Arc<Labels>>,
    round: u64,
}

#[derive(Debug)]
struct Live {
    first_round: u64,
    round: u64,
    /// Series whose timestamps the target states are not marked stale: it may well state an old one again.
    is_tracked: bool,
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct SeriesCache {
    round: u64,
    by_text: HashMap<String, Known>,
    live: HashMap<Arc<Labels>, Live>,
}

/// What a scrape amounts to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// Position in the exposition and labels of each sample that is kept.
    pub(crate) kept: Vec<(usize, Arc<Labels>)>,
    /// Samples after relabelling, duplicates included.
    pub(crate) after_relabelling: usize,
    /// Series that the scrape before did not have.
    pub(crate) added: usize,
    /// Samples of a series that the same scrape had already given a value.
    pub(crate) duplicates: usize,
}

impl SeriesCache {
    /// Finds the labels of all samples; an error fails the scrape as a whole.
    pub(crate) fn resolve(
        &mut self,
        exposition: &Exposition<'_>,
        job: &Job,
        target: &Labels,
    ) -> Result<Resolved, String> {
        let mut resolved = Resolved::default();
        for (at, sample) in exposition.samples.iter().enumerate() {
            let kind = exposition.families.get(sample.family).map_or(Kind::Unknown, |family| family.kind);
            let Some(labels) = self.labels(sample, kind, job, target)? else { continue };
            resolved.after_relabelling += 1;
            if job.limits.samples > 0 && resolved.after_relabelling > job.limits.samples {
                return Err(format!("more samples than sample_limit = {}", job.limits.samples));
            }
            let is_tracked = sample.timestamp.is_none() || !job.honor_timestamps;
            let round = self.round;
            match self.live.get_mut(&labels) {
                Some(live) if live.round == round && is_tracked => {
                    resolved.duplicates += 1;
                    continue;
                }
                Some(live) => (live.round, live.is_tracked) = (round, is_tracked),
                None => {
                    resolved.added += 1;
                    self.live.insert(Arc::clone(&labels), Live { first_round: round, round, is_tracked });
                }
            }
            resolved.kept.push((at, labels));
        }
        Ok(resolved)
    }

    /// Forgets the series that the last scrape did not have; these are to be marked stale.
    pub(crate) fn vanished(&mut self) -> Vec<Arc<Labels>> {
        let round = self.round;
        self.by_text.retain(|_, known| known.round == round);
        self.take(|live| live.round != round)
    }

    /// Forgets everything after a scrape that failed or was the last; what was ever written is to be marked stale.
    pub(crate) fn clear(&mut self, failed: bool) -> Vec<Arc<Labels>> {
        let round = if failed { self.round } else { u64::MAX };
        self.live.retain(|_, live| live.first_round < round);
        self.by_text.clear();
        self.take(|_| true)
    }

    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
    }

    fn take(&mut self, mut is_gone: impl FnMut(&Live) -> bool) -> Vec<Arc<Labels>> {
        self.live
            .extract_if(|_, live| is_gone(live))
            .filter(|(_, live)| live.is_tracked)
            .map(|(labels, _)| labels)
            .collect()
    }

    fn labels(
        &mut self,
        sample: &Sample<'_>,
        kind: Kind,
        job: &Job,
        target: &Labels,
    ) -> Result<Option<Arc<Labels>>, String> {
        if let Some(known) = self.by_text.get_mut(&*sample.series) {
            known.round = self.round;
            return Ok(known.labels.clone());
        }
        let labels = final_labels(&sample.series, kind, job, target)?.map(Arc::new);
        self.by_text.insert(sample.series.clone().into_owned(), Known { labels: labels.clone(), round: self.round });
        Ok(labels)
    }
}

fn final_labels(series: &str, kind: Kind, job: &Job, target: &Labels) -> Result<Option<Labels>, String> {
    let mut labels = parse::labels(series, kind)?;
    merge(&mut labels, target, job.honor_labels);
    if !trivium_relabel::apply(&job.metric_relabel, &mut labels) {
        return Ok(None);
    }
    let labels = labels.build();
    if labels.get("__name__").is_none() {
        return Err(format!("metric_relabel_configs leave {:?} without a name", parse::series::shorten(series)));
    }
    let limits = &job.limits;
    let is_over = |limit: usize, size: usize| limit > 0 && size > limit;
    if is_over(limits.labels, labels.len()) {
        return Err(format!(
            "{:?} has more labels than label_limit = {}",
            parse::series::shorten(series),
            limits.labels
        ));
    }
    for (name, value) in labels.iter() {
        if is_over(limits.label_name_bytes, name.len()) {
            return Err(format!("a label name is longer than label_name_length_limit = {}", limits.label_name_bytes));
        }
        if is_over(limits.label_value_bytes, value.len()) {
            return Err(format!(
                "label {name:?} is longer than label_value_length_limit = {}",
                limits.label_value_bytes
            ));
        }
    }
    Ok(Some(labels))
}

/// Gives a series the labels of its target. Without `honor_labels` the target wins, and what the series said moves away.
fn merge(labels: &mut LabelBuilder, target: &Labels, honor_labels: bool) {
    for (name, value) in target.iter() {
        if honor_labels {
            labels.set_default(name, value);
            continue;
        }
        let own = labels.get(name).to_owned();
        if !own.is_empty() {
            let mut moved = format!("exported_{name}");
            while !labels.get(&moved).is_empty() || target.get(&moved).is_some() {
                moved.insert_str(0, "exported_");
            }
            labels.set(&moved, own);
        }
        labels.set(name, value);
    }
}
