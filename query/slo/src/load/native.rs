//! The native form: a list of SLOs, one screen each.

use chrono::{NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{Findings, check_labels, check_name, is_label_name, objective_of_percent, text};
use crate::burn::{self, Wanted};
use crate::definition::{
    Alerting, BudgetingMethod, Comparison, Indicator, Labels, Part, Query, Severity, SliceWidth, SloDefinition,
    SpanIndicator, SpanKind, complement,
};
use crate::duration::{self, DAY, HOUR};
use crate::promql;
use crate::window::{Period, PeriodUnit, Window};

/// Labels or columns that an SLO is grouped by.
const GROUP_BY_MAX: usize = 8;

/// The longest window.
const WINDOW_DAYS_MAX: i64 = 400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NativeFile {
    slos: Vec<NativeSlo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeSlo {
    name: Spanned<String>,
    display_name: Option<String>,
    service: Spanned<String>,
    description: Option<String>,
    objective: Spanned<f64>,
    window: Spanned<String>,
    time_zone: Option<Spanned<String>>,
    timeslices: Option<Spanned<NativeTimeslices>>,
    indicator: Spanned<NativeIndicator>,
    #[serde(default)]
    group_by: Vec<Spanned<String>>,
    alerting: Option<Spanned<NativeAlerting>>,
    runbook_url: Option<String>,
    #[serde(default)]
    labels: Labels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeTimeslices {
    target: f64,
    width: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NativeIndicator {
    Promql(NativePromql),
    Sql(String),
    Spans(NativeSpans),
    Latency(NativeLatency),
    Threshold(NativeThreshold),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativePromql {
    good: Option<String>,
    bad: Option<String>,
    total: String,
    counter: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeSpans {
    service: String,
    operation: Option<String>,
    #[serde(default)]
    root: bool,
    span_kind: Option<SpanKind>,
    #[serde(default)]
    attributes: Labels,
    #[serde(default)]
    not_error: bool,
    below: Option<String>,
    bad_logs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeLatency {
    histogram: String,
    below: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeThreshold {
    promql: String,
    at_most: Option<f64>,
    below: Option<f64>,
    at_least: Option<f64>,
    above: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeAlerting {
    pairs: Option<Vec<NativePair>>,
    min_bad_events: Option<f64>,
    min_total: Option<f64>,
    page: Option<NativeSeverity>,
    ticket: Option<NativeSeverity>,
    #[serde(default)]
    budget_left: Vec<f64>,
    exhaustion_within: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativeSeverity {
    labels: Labels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NativePair {
    severity: NativeSeverityName,
    long: String,
    short: String,
    budget_percent: f64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum NativeSeverityName {
    Page,
    Ticket,
}

/// Turns the list into definitions; problems are told and their SLOs left out.
pub(super) fn read(list: NativeFile, file: &str, findings: &mut Findings) -> Vec<SloDefinition> {
    list.slos.into_iter().filter_map(|slo| read_slo(slo, file, findings)).collect()
}

fn read_slo(slo: NativeSlo, file: &str, findings: &mut Findings) -> Option<SloDefinition> {
    let line = slo.name.referenced.line();
    let name = findings.keep(line, check_name(&slo.name.value).map(|()| slo.name.value));
    let service = findings.keep(slo.service.referenced.line(), check_service(slo.service.value));
    let objective = findings.keep(slo.objective.referenced.line(), objective_of_percent(slo.objective.value));
    let zone = slo.time_zone.map(|zone| findings.keep(zone.referenced.line(), parse_zone(&zone.value)));
    let zone = zone.map_or(Some(None), |read| read.map(Some))?;
    let window = findings.keep(slo.window.referenced.line(), parse_window(&slo.window.value, zone));
    let place = slo.indicator.referenced;
    let written = text::written(file, place.line(), place.column());
    let group_by = read_groups(slo.group_by, findings);
    let indicator = findings.keep(place.line(), read_indicator(slo.indicator.value));
    findings.keep(line, check_labels(&slo.labels));
    let window = window?;
    let (method, slice) = match slo.timeslices {
        None => (BudgetingMethod::Occurrences, slice_of_window(window)),
        Some(slices) => findings.keep(slices.referenced.line(), read_timeslices(&slices.value))?,
    };
    let frame = Frame { objective: objective?, window, method, slice };
    let alerting = match slo.alerting {
        None => frame.alerting(NativeAlerting::default(), line, findings),
        Some(alerting) => frame.alerting(alerting.value, alerting.referenced.line(), findings),
    };
    Some(SloDefinition {
        name: name?,
        display_name: slo.display_name,
        service: service?,
        description: slo.description,
        objective: frame.objective,
        method,
        window,
        slice,
        indicator: indicator?,
        written,
        group_by: group_by?,
        alerting: alerting?,
        runbook_url: slo.runbook_url,
        labels: slo.labels,
        defined_at: (findings.file.clone(), line),
    })
}

/// What the alerts of an SLO are reckoned from.
pub(super) struct Frame {
    pub(super) objective: f64,
    pub(super) window: Window,
    pub(super) method: BudgetingMethod,
    pub(super) slice: SliceWidth,
}

impl Frame {
    /// The workbook's alerts with defaults, for SLOs that ask for none of their own.
    pub(super) fn default_alerting(&self, line: u64, findings: &mut Findings) -> Option<Alerting> {
        self.alerting(NativeAlerting::default(), line, findings)
    }

    fn alerting(&self, native: NativeAlerting, line: u64, findings: &mut Findings) -> Option<Alerting> {
        let wanted = findings.keep(line, read_pairs(native.pairs))?;
        let period = self.window.period().nominal_seconds();
        let pairs = burn::select(&wanted, period, complement(self.objective), self.slice);
        for reason in pairs.left_out {
            findings.warning(line, reason);
        }
        let exhaustion = native.exhaustion_within.map(|text| findings.keep(line, parse_seconds(&text)));
        let exhaustion_within = exhaustion.map_or(Some(None), |read| read.map(Some))?;
        // Events are a sample of what users met; slices are all the time there is, and need no guard.
        let guard = if self.method == BudgetingMethod::Occurrences { 3.0 } else { 1.0 };
        let alerting = Alerting {
            pairs: pairs.kept,
            policies: Vec::new(),
            min_bad_events: native.min_bad_events.unwrap_or(guard),
            min_total: native.min_total.unwrap_or(0.0),
            page_labels: native.page.map(|page| page.labels).unwrap_or_default(),
            ticket_labels: native.ticket.map(|ticket| ticket.labels).unwrap_or_default(),
            budget_left: native.budget_left,
            exhaustion_within,
        };
        findings.keep(line, check_alerting(&alerting))?;
        Some(alerting)
    }
}

fn check_alerting(alerting: &Alerting) -> Result<(), String> {
    check_labels(&alerting.page_labels)?;
    check_labels(&alerting.ticket_labels)?;
    for (field, value) in [("min_bad_events", alerting.min_bad_events), ("min_total", alerting.min_total)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(format!("{field} is {value}; write a number of events, 0 or more"));
        }
    }
    if alerting.budget_left.len() > 10 || alerting.budget_left.iter().any(|left| !(0.0..100.0).contains(left)) {
        return Err("budget_left takes at most ten percentages from 0 to below 100, such as [50, 20, 0]".to_owned());
    }
    Ok(())
}

fn read_pairs(pairs: Option<Vec<NativePair>>) -> Result<Vec<Wanted>, String> {
    let Some(pairs) = pairs else { return Ok(burn::workbook()) };
    if pairs.len() > 16 {
        return Err(format!("there are {} pairs of windows; 16 are the most", pairs.len()));
    }
    let read = |pair: NativePair| {
        let budget_share = pair.budget_percent / 100.0;
        if !(budget_share > 0.0 && budget_share <= 1.0) {
            return Err(format!("budget_percent is {}; write a percentage above 0 and up to 100", pair.budget_percent));
        }
        let severity = match pair.severity {
            NativeSeverityName::Page => Severity::Page,
            NativeSeverityName::Ticket => Severity::Ticket,
        };
        let (long_seconds, short_seconds) = (parse_seconds(&pair.long)?, parse_seconds(&pair.short)?);
        Ok(Wanted { severity, budget_share, long_seconds, short_seconds })
    };
    pairs.into_iter().map(read).collect()
}

/// Whole seconds from a minute to the longest window.
pub(super) fn parse_seconds(text: &str) -> Result<i64, String> {
    let seconds = i64::try_from(duration::parse(text)?.as_secs()).unwrap_or(i64::MAX);
    if (60..=WINDOW_DAYS_MAX * DAY).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("{text:?} is out of range: write 1m to {WINDOW_DAYS_MAX}d"))
}

pub(super) fn check_service(service: String) -> Result<String, String> {
    if service.trim().is_empty() || service.len() > 256 {
        return Err("the service is empty or longer than 256 bytes; name the service that keeps the promise".to_owned());
    }
    Ok(service)
}

fn read_groups(groups: Vec<Spanned<String>>, findings: &mut Findings) -> Option<Vec<String>> {
    if let Some(surplus) = groups.get(GROUP_BY_MAX) {
        findings.problem(surplus.referenced.line(), format!("group_by takes at most {GROUP_BY_MAX} labels"));
        return None;
    }
    for group in groups.iter().filter(|group| !is_label_name(&group.value)) {
        let found = &group.value;
        findings.problem(
            group.referenced.line(),
            format!("group_by names {found:?}, which is no name of a label or column"),
        );
    }
    let groups: Vec<String> = groups.into_iter().map(|group| group.value).collect();
    groups.iter().all(|group| is_label_name(group)).then_some(groups)
}

pub(super) fn parse_zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| format!("{text:?} is no time zone; write its IANA name, such as Europe/Berlin"))
}

fn parse_window(text: &str, zone: Option<Tz>) -> Result<Window, String> {
    let refuse =
        || format!("{text:?} is no window: write a length such as 30d, or calendar day, week, month, quarter or year");
    let Some(name) = text.strip_prefix("calendar ") else {
        if zone.is_some() {
            return Err(format!(
                "time_zone has no meaning for the rolling window {text}; take it out, or write calendar month"
            ));
        }
        return check_window(Window::Rolling(Period::parse(text).ok_or_else(refuse)?));
    };
    let unit = match name.trim() {
        "day" => PeriodUnit::Day,
        "week" => PeriodUnit::Week,
        "month" => PeriodUnit::Month,
        "quarter" => PeriodUnit::Quarter,
        "year" => PeriodUnit::Year,
        _ => return Err(refuse()),
    };
    let anchor = anchor_of(unit).ok_or_else(refuse)?;
    Ok(Window::Calendar { period: Period { count: 1, unit }, anchor, zone: zone.unwrap_or(Tz::UTC) })
}

/// Weeks begin on Monday, everything else with the year 1970.
fn anchor_of(unit: PeriodUnit) -> Option<NaiveDateTime> {
    let day = if unit == PeriodUnit::Week { 5 } else { 1 };
    NaiveDate::from_ymd_opt(1970, 1, day)?.and_hms_opt(0, 0, 0)
}

/// Refuses windows that are too short to count in or too long to keep.
pub(super) fn check_window(window: Window) -> Result<Window, String> {
    let period = window.period();
    if (HOUR..=WINDOW_DAYS_MAX * DAY).contains(&period.nominal_seconds()) {
        return Ok(window);
    }
    Err(format!("the window {period} is out of range: write 1h to {WINDOW_DAYS_MAX}d"))
}

/// Five minutes; one minute for windows up to a day.
pub(super) fn slice_of_window(window: Window) -> SliceWidth {
    if window.period().nominal_seconds() <= DAY { SliceWidth::MINUTE } else { SliceWidth::FIVE_MINUTES }
}

fn read_timeslices(slices: &NativeTimeslices) -> Result<(BudgetingMethod, SliceWidth), String> {
    let target = objective_of_percent(slices.target)
        .or_else(|error| if slices.target == 100.0 { Ok(1.0) } else { Err(error) })?;
    Ok((BudgetingMethod::Timeslices { target }, slice_of(parse_seconds(&slices.width)?)?))
}

pub(super) fn slice_of(seconds: i64) -> Result<SliceWidth, String> {
    SliceWidth::from_seconds(seconds).ok_or_else(|| {
        let found = duration::render_window(seconds);
        format!("a slice of {found} does not divide a day into whole minutes; write 1m, 2m, 5m, 10m, 15m, 30m, 1h or the like")
    })
}

fn read_indicator(indicator: NativeIndicator) -> Result<Indicator, String> {
    match indicator {
        NativeIndicator::Promql(ratio) => read_ratio(ratio),
        NativeIndicator::Sql(query) => check_sql(&query).map(|()| Indicator::Sql { query }),
        NativeIndicator::Spans(spans) => read_spans(spans).map(Indicator::Spans),
        NativeIndicator::Latency(latency) => read_latency(&latency),
        NativeIndicator::Threshold(threshold) => read_threshold(threshold),
    }
}

fn read_ratio(ratio: NativePromql) -> Result<Indicator, String> {
    let (part_is, part) = match (ratio.good, ratio.bad) {
        (Some(good), None) => (Part::Good, good),
        (None, Some(bad)) => (Part::Bad, bad),
        _ => return Err("promql needs total and either good or bad, not both".to_owned()),
    };
    promql::check(&part)?;
    promql::check(&ratio.total)?;
    let (part, total) = (Query::Promql(part), Query::Promql(ratio.total));
    Ok(Indicator::Ratio { part_is, part, total, counter: ratio.counter.unwrap_or(true) })
}

/// The parameters without which a query could only ever answer for all of time.
pub(super) fn check_sql(query: &str) -> Result<(), String> {
    if query.len() > promql::EXPRESSION_BYTES_MAX {
        return Err(format!("the query has {} bytes; {} are the most", query.len(), promql::EXPRESSION_BYTES_MAX));
    }
    for parameter in ["$start", "$end"] {
        if !query.contains(parameter) {
            return Err(format!(
                "the SQL query does not use {parameter}; filter by time >= $start AND time < $end, so that a slice is measured without reading all of time"
            ));
        }
    }
    Ok(())
}

fn read_spans(spans: NativeSpans) -> Result<SpanIndicator, String> {
    let below_nanos = spans.below.as_deref().map(parse_latency).transpose()?;
    if !spans.not_error && below_nanos.is_none() && spans.bad_logs.is_none() {
        return Err(
            "spans has no condition for good; write not_error: true, below: 300ms or bad_logs: 'payment_declined'"
                .to_owned(),
        );
    }
    if spans.bad_logs.as_deref().is_some_and(|search| search.trim().is_empty()) {
        return Err("bad_logs is empty; write a log search such as 'payment_declined'".to_owned());
    }
    Ok(SpanIndicator {
        service: check_service(spans.service)?,
        operation: spans.operation,
        root: spans.root,
        span_kind: spans.span_kind,
        attributes: spans.attributes,
        not_error: spans.not_error,
        below_nanos,
        bad_logs: spans.bad_logs,
    })
}

fn parse_latency(text: &str) -> Result<u64, String> {
    let nanos = u64::try_from(duration::parse(text)?.as_nanos()).unwrap_or(0);
    if nanos == 0 { Err(format!("below is {text:?}; write a duration above 0, such as 300ms")) } else { Ok(nanos) }
}

fn read_latency(latency: &NativeLatency) -> Result<Indicator, String> {
    let histogram = latency.histogram.trim();
    promql::check(histogram)?;
    if !promql::is_selector(histogram) || histogram.starts_with('{') || histogram.contains("_bucket") {
        return Err(format!(
            "histogram is {histogram:?}; write the name of a classic histogram without _bucket, with matchers if need be, such as http_server_request_duration_seconds{{job=\"shop\"}}"
        ));
    }
    let seconds = parse_latency(&latency.below)? as f64 / 1e9;
    // Prometheus 3 writes whole bounds as 1.0, exporters before it as 1.
    let bound =
        if seconds.fract() == 0.0 { format!(r#"le=~"{seconds}|{seconds}\\.0""#) } else { format!(r#"le="{seconds}""#) };
    let part = Query::Promql(promql::extend_selector(histogram, "_bucket", &bound));
    let total = Query::Promql(promql::extend_selector(histogram, "_count", ""));
    Ok(Indicator::Ratio { part_is: Part::Good, part, total, counter: true })
}

fn read_threshold(threshold: NativeThreshold) -> Result<Indicator, String> {
    promql::check(&threshold.promql)?;
    let given = [
        threshold.at_most.map(|value| (Comparison::Lte, value)),
        threshold.below.map(|value| (Comparison::Lt, value)),
        threshold.at_least.map(|value| (Comparison::Gte, value)),
        threshold.above.map(|value| (Comparison::Gt, value)),
    ];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some((op, value)), None) if value.is_finite() => {
            Ok(Indicator::Threshold { query: Query::Promql(threshold.promql), op, value })
        }
        _ => Err("threshold needs one of at_most, below, at_least and above: what a good point is".to_owned()),
    }
}
