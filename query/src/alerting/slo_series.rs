//! What SLOs say, as series: the names of Sloth and Pyrra, and `slo_alert` for the conditions that hold now.

use std::sync::Arc;

use trivium_model::Clock;
use trivium_promql::{Labels, METRIC_NAME, Matcher, Selection, Series, SeriesSource, SourceError, is_stale};
use trivium_slo::{AlertReport, SloDefinition, Slos};

/// One for each alert of an SLO whose condition holds, with the alert's labels. It has no past: `ALERTS` has.
pub(super) const SLO_ALERT: &str = "slo_alert";

/// How far from now a question for [`SLO_ALERT`] may be.
const NOW_MILLIS: i64 = 300_000;

/// Seconds between the points of a series.
const STEP_SECONDS: i64 = 15;

/// Points of one series.
const POINTS_MAX: i64 = 10_000;

/// The stored series and those of SLOs.
pub(crate) struct WithSlos<'a> {
    pub(crate) stored: &'a dyn SeriesSource,
    /// Those of the tenant whose series are stored.
    pub(crate) slos: &'a Slos,
    pub(crate) clock: &'a dyn Clock,
}

impl std::fmt::Debug for WithSlos<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WithSlos").finish_non_exhaustive()
    }
}

impl SeriesSource for WithSlos<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let mut series = self.stored.select(selection)?;
        if names_slos(selection.matchers) && !self.slos.definitions().is_empty() {
            series.extend(self.computed(selection)?);
            series.extend(self.alerts(selection)?);
        }
        Ok(series)
    }
}

/// Whether the selector can only mean metrics of SLOs; a selector without a name is about what was sent.
fn names_slos(matchers: &[Matcher]) -> bool {
    let names = ["slo:", "sloth_", "pyrra_", SLO_ALERT];
    let by_name = matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
    by_name.into_iter().any(|matcher| names.iter().any(|name| matcher.value.starts_with(name)))
}

fn selects(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
}

impl WithSlos<'_> {
    fn computed(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let end = selection.until.div_euclid(1_000);
        let start = (selection.after.div_euclid(1_000) + 1).min(end);
        let step = ((end - start) / POINTS_MAX + 1).max(STEP_SECONDS);
        // The points lie where they would lie for any other range.
        let start = end - (end - start) / step * step;
        let matches = |labels: &trivium_slo::Labels| selects(selection.matchers, &Labels::new(labels.clone()));
        let found = self.slos.series(&matches, start, end, step);
        let found = found.map_err(|error| SourceError::Limit(error.to_string()))?;
        Ok(found
            .into_iter()
            .map(|series| Series {
                labels: Labels::new(series.labels),
                times: series.points.iter().map(|(time, _)| time * 1_000).collect(),
                values: series.points.iter().map(|(_, value)| *value).collect(),
                ..Series::default()
            })
            .collect())
    }

    fn alerts(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let now = self.clock.now().0.div_euclid(1_000_000);
        if (selection.until - now).abs() > NOW_MILLIS {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let reports = self.slos.alerts();
        self.check_known(&reports, selection.matchers)?;
        for (_, report) in reports {
            for alert in &report.active {
                found.push((self.series(&alert.labels), alert.value));
            }
            for alert in &report.held {
                // Neither fires nor resolves: it goes on as it is.
                let labels = self.series(&alert.labels);
                if selects(selection.matchers, &labels) && self.is_firing(&labels, selection)? {
                    found.push((labels, f64::NAN));
                }
            }
        }
        found.retain(|(labels, _)| selects(selection.matchers, labels));
        let series =
            |(labels, value)| Series { labels, times: vec![selection.until], values: vec![value], ..Series::default() };
        Ok(found.into_iter().map(series).collect())
    }

    /// After a start nothing is known of an SLO until its slices are read. To say nothing would end its alerts; an error
    /// leaves them as they are.
    fn check_known(
        &self,
        reports: &[(Arc<SloDefinition>, AlertReport)],
        matchers: &[Matcher],
    ) -> Result<(), SourceError> {
        let is_unknown = |slo: &&Arc<SloDefinition>| reports.iter().all(|(known, _)| known.name != slo.name);
        let is_meant = |slo: &&Arc<SloDefinition>| {
            matchers.iter().all(|matcher| match matcher.name.as_str() {
                METRIC_NAME => matcher.matches(SLO_ALERT),
                "slo" => matcher.matches(&slo.name),
                _ => true,
            })
        };
        match self.slos.definitions().iter().filter(is_unknown).find(is_meant) {
            Some(slo) => Err(SourceError::Storage(format!("the slices of the SLO {} are not read yet", slo.name))),
            None => Ok(()),
        }
    }

    fn series(&self, labels: &trivium_slo::Labels) -> Labels {
        Labels::new(labels.clone()).with(METRIC_NAME, SLO_ALERT)
    }

    fn is_firing(&self, labels: &Labels, selection: &Selection<'_>) -> Result<bool, SourceError> {
        let mut matchers: Vec<Matcher> = labels
            .iter()
            .filter(|label| &*label.name != METRIC_NAME)
            .map(|label| Matcher::equal(&*label.name, &*label.value))
            .collect();
        matchers.push(Matcher::equal(METRIC_NAME, "ALERTS"));
        matchers.push(Matcher::equal("alertstate", "firing"));
        let firing = self.stored.select(&Selection { matchers: &matchers, ..*selection })?;
        Ok(firing.iter().any(|series| series.values.last().is_some_and(|value| !is_stale(*value))))
    }
}
