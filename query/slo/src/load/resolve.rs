//! OpenSLO objects: references are followed, and objectives become SLOs.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use serde_saphyr::Spanned;

use super::native::{
    Frame, check_service, check_sql, check_window, parse_seconds, parse_zone, slice_of, slice_of_window,
};
use super::openslo::{
    ConditionSpec, DataSourceSpec, InlineIndicator, MetricHolder, Object, Objective, OpSpec, PolicyEntry, PolicySpec,
    RatioMetric, RawType, ServiceSpec, SliSpec, SloSpec, TargetSpec, TimeWindow,
};
use super::{Document, Findings, check_labels, check_name, objective_of_percent, parse, text};
use crate::definition::{AlertPolicy, BudgetingMethod, Comparison, Indicator, Part, Query, SliceWidth, SloDefinition};
use crate::duration;
use crate::promql;
use crate::window::{Period, Window};

/// The annotation of an SLO that says where its runbook is.
const RUNBOOK_ANNOTATION: &str = "runbook_url";

/// The label by which the objectives of a composite SLO are found.
const COMPOSITE_LABEL: &str = "slo_composite";

/// All OpenSLO objects of all files, by kind and name.
#[derive(Default)]
pub(super) struct Objects {
    data_sources: BTreeMap<String, DataSourceSpec>,
    services: BTreeMap<String, ServiceSpec>,
    indicators: BTreeMap<String, (SliSpec, String)>,
    policies: BTreeMap<String, PolicySpec>,
    conditions: BTreeMap<String, ConditionSpec>,
    targets: BTreeMap<String, TargetSpec>,
    slos: Vec<Found>,
}

/// An SLO and the file it stands in.
struct Found {
    file: String,
    slo: Object<SloSpec>,
    /// Its indicator as it is written, and those of its objectives.
    written: Option<String>,
    parts_written: Vec<Option<String>>,
}

impl Objects {
    pub(super) fn read(&mut self, kind: &Spanned<String>, document: &Document, file: &str, findings: &mut Findings) {
        match kind.value.as_str() {
            "DataSource" => insert(&mut self.data_sources, document, findings, |spec| spec.value),
            "Service" => insert(&mut self.services, document, findings, |spec| spec.value),
            "SLI" => insert(&mut self.indicators, document, findings, |spec| {
                let written = text::written(file, spec.referenced.line(), spec.referenced.column());
                (spec.value, written)
            }),
            "AlertPolicy" => insert(&mut self.policies, document, findings, |spec| spec.value),
            "AlertCondition" => insert(&mut self.conditions, document, findings, |spec| spec.value),
            "AlertNotificationTarget" => insert(&mut self.targets, document, findings, |spec| spec.value),
            "SLO" => {
                if let Some(slo) = parse::<Object<SloSpec>>(document, findings) {
                    let written = |indicator: &Option<InlineIndicator>| {
                        let place = indicator.as_ref()?.spec.referenced;
                        Some(text::written(file, place.line(), place.column()))
                    };
                    let spec = &slo.spec.value;
                    let parts_written = spec.objectives.value.iter().map(|one| written(&one.value.indicator)).collect();
                    let written = written(&spec.indicator);
                    self.slos.push(Found { file: findings.file.clone(), slo, written, parts_written });
                }
            }
            other => findings.problem(
                kind.referenced.line(),
                format!("kind is {other:?}; OpenSLO v1 has DataSource, Service, SLI, SLO, AlertPolicy, AlertCondition and AlertNotificationTarget"),
            ),
        }
    }

    pub(super) fn notification_targets(&self) -> BTreeMap<String, String> {
        self.targets.iter().map(|(name, target)| (name.clone(), target.target.clone())).collect()
    }
}

fn insert<T: serde::de::DeserializeOwned, V>(
    into: &mut BTreeMap<String, V>,
    document: &Document,
    findings: &mut Findings,
    value: impl FnOnce(Spanned<T>) -> V,
) {
    let Some(object) = parse::<Object<T>>(document, findings) else { return };
    let line = object.metadata.name.referenced.line();
    let name = object.metadata.name.value;
    if into.contains_key(&name) {
        findings.problem(line, format!("the object {name} of this kind is defined twice; rename one of them"));
        return;
    }
    into.insert(name, value(object.spec));
}

/// One SLO for each objective; of several, each is named after its place.
pub(super) fn slos(mut objects: Objects, findings: &mut Findings) -> Vec<SloDefinition> {
    let mut read = Vec::new();
    for found in std::mem::take(&mut objects.slos) {
        findings.file.clone_from(&found.file);
        let many = found.slo.spec.value.objectives.value.len() > 1;
        for (number, objective) in (1_usize..).zip(&found.slo.spec.value.objectives.value) {
            let suffix = if many { format!("-{number}") } else { String::new() };
            let part_written = found.parts_written.get(number - 1).cloned().flatten();
            read.extend(Resolver { objects: &objects, found: &found, part_written, findings }.slo(objective, &suffix));
        }
        warn_of_composite(&found, findings);
        if found.slo.spec.value.objectives.value.is_empty() {
            findings.problem(
                found.slo.spec.value.objectives.referenced.line(),
                "the SLO has no objective; write one with target or targetPercent",
            );
        }
    }
    read
}

/// Each objective is a promise that can be kept or broken; of their weighted sum OpenSLO does not say when it is.
fn warn_of_composite(found: &Found, findings: &mut Findings) {
    let spec = &found.slo.spec.value;
    if let Some(first) = spec.objectives.value.iter().find(|objective| objective.value.is_composite()) {
        let name = &found.slo.metadata.name.value;
        let message = format!(
            "the objectives of the composite {name} are SLOs of their own, {name}-1 and so on, with the label \
             {COMPOSITE_LABEL}; compositeWeight is read, and no budget of the weighted sum is kept"
        );
        findings.warning(first.referenced.line(), message);
    }
}

struct Resolver<'a> {
    objects: &'a Objects,
    found: &'a Found,
    /// The indicator of the objective as it is written.
    part_written: Option<String>,
    findings: &'a mut Findings,
}

impl Resolver<'_> {
    fn slo(&mut self, objective: &Spanned<Objective>, suffix: &str) -> Option<SloDefinition> {
        let slo = &self.found.slo;
        let spec = &slo.spec.value;
        let line = slo.metadata.name.referenced.line();
        let at = objective.referenced.line();
        let name = format!("{}{suffix}", slo.metadata.name.value);
        let name = self.findings.keep(line, check_name(&name).map(|()| name));
        let mut labels = slo.metadata.labels();
        self.findings.keep(line, check_labels(&labels));
        if objective.value.is_composite() {
            labels.entry(COMPOSITE_LABEL.to_owned()).or_insert_with(|| slo.metadata.name.value.clone());
        }
        let service = self.service();
        let target = self.findings.keep(at, read_target(&objective.value));
        let window = self.findings.keep(spec.time_window.referenced.line(), read_window(&spec.time_window.value));
        let method = window.and_then(|window| self.findings.keep(at, read_method(spec, &objective.value, window)));
        let indicator = self.indicator(objective);
        let policies = self.policies();
        let (method, slice) = method?;
        let frame = Frame { objective: target?, window: window?, method, slice };
        let policies = policies?;
        let mut alerting = frame.default_alerting(line, self.findings)?;
        if !policies.is_empty() {
            alerting.pairs.clear();
            alerting.policies = policies;
        }
        let (indicator, written) = indicator?;
        let display_name = objective.value.display_name.clone().filter(|_| !suffix.is_empty());
        Some(SloDefinition {
            name: name?,
            display_name: display_name.or_else(|| slo.metadata.display_name.clone()),
            service: service?,
            description: spec.description.clone(),
            objective: frame.objective,
            method,
            window: frame.window,
            slice,
            indicator,
            written,
            group_by: Vec::new(),
            alerting,
            runbook_url: slo.metadata.annotations.get(RUNBOOK_ANNOTATION).cloned(),
            labels,
            defined_at: (self.found.file.clone(), line),
        })
    }

    fn service(&mut self) -> Option<String> {
        let service = &self.found.slo.spec.value.service;
        let line = service.referenced.line();
        if !self.objects.services.is_empty() && !self.objects.services.contains_key(&service.value) {
            let name = &service.value;
            self.findings.warning(line, format!("no Service object is named {name}; the name is used as it is"));
        }
        self.findings.keep(line, check_service(service.value.clone()))
    }

    fn indicator(&mut self, objective: &Spanned<Objective>) -> Option<(Indicator, String)> {
        let spec = &self.found.slo.spec.value;
        let line = self.found.slo.metadata.name.referenced.line();
        let part = &objective.value;
        if let Some(weight) =
            part.composite_weight.as_ref().filter(|weight| !(weight.value.is_finite() && weight.value > 0.0))
        {
            let found = weight.value;
            self.findings.problem(
                weight.referenced.line(),
                format!("compositeWeight is {found}; write a number above 0, or take it out for 1"),
            );
        }
        let own = part.indicator.is_some() || part.indicator_ref.is_some();
        if own && (spec.indicator.is_some() || spec.indicator_ref.is_some()) {
            self.findings.problem(
                objective.referenced.line(),
                "the SLO and its objective both have an indicator; keep that of the SLO for all objectives, or give each objective its own (indicator or indicatorRef)",
            );
            return None;
        }
        let (inline, reference, written) = if own {
            (&part.indicator, &part.indicator_ref, self.part_written.clone())
        } else {
            (&spec.indicator, &spec.indicator_ref, self.found.written.clone())
        };
        match (inline, reference) {
            (Some(inline), None) => {
                let at = inline.spec.referenced.line();
                let read = read_indicator(&inline.spec.value, part, self.objects);
                Some((self.findings.keep(at, read)?, written.unwrap_or_default()))
            }
            (None, Some(reference)) => {
                let at = reference.referenced.line();
                let Some((sli, written)) = self.objects.indicators.get(&reference.value) else {
                    self.findings.problem(at, unknown("SLI", "indicatorRef", &reference.value));
                    return None;
                };
                Some((self.findings.keep(at, read_indicator(sli, part, self.objects))?, written.clone()))
            }
            _ => {
                let problem =
                    "the SLO needs either indicator or indicatorRef, or one of them in each of its objectives";
                self.findings.problem(if own { objective.referenced.line() } else { line }, problem);
                None
            }
        }
    }

    fn policies(&mut self) -> Option<Vec<AlertPolicy>> {
        let mut policies = Vec::new();
        for entry in &self.found.slo.spec.value.alert_policies {
            let read = read_policy(&entry.value, self.objects);
            policies.push(self.findings.keep(entry.referenced.line(), read)?);
        }
        Some(policies)
    }
}

fn unknown(kind: &str, field: &str, name: &str) -> String {
    format!("{field} names {name:?}, but no file defines a {kind} of this name")
}

fn read_target(objective: &Objective) -> Result<f64, String> {
    match (objective.target, objective.target_percent) {
        (Some(target), None) => objective_of_percent(target * 100.0)
            .map_err(|_| format!("target is {target}; write a share above 0 and below 1, such as 0.999")),
        (None, Some(percent)) => objective_of_percent(percent),
        _ => Err("the objective needs either target or targetPercent".to_owned()),
    }
}

fn read_window(windows: &[TimeWindow]) -> Result<Window, String> {
    let [window] = windows else {
        return Err(format!("timeWindow has {} entries; write exactly one", windows.len()));
    };
    let duration = &window.duration;
    let period = Period::parse(duration).ok_or_else(|| {
        format!("duration is {duration:?}; write a number and a unit of m h d w M Q Y, such as 28d or 1M")
    })?;
    let read = match (&window.calendar, window.is_rolling) {
        (None, true) => Window::Rolling(period),
        (Some(calendar), false) => {
            let start = &calendar.start_time;
            let anchor = NaiveDateTime::parse_from_str(start, "%Y-%m-%d %H:%M:%S")
                .map_err(|_| format!("startTime is {start:?}; write it as 2026-01-01 00:00:00"))?;
            Window::Calendar { period, anchor, zone: parse_zone(&calendar.time_zone)? }
        }
        (None, false) => {
            return Err(
                "a window that is not rolling needs calendar with startTime and timeZone; or write isRolling: true"
                    .to_owned(),
            );
        }
        (Some(_), true) => {
            return Err("a rolling window has no calendar; take it out or write isRolling: false".to_owned());
        }
    };
    check_window(read)
}

fn read_method(spec: &SloSpec, objective: &Objective, window: Window) -> Result<(BudgetingMethod, SliceWidth), String> {
    let method = spec.budgeting_method.value.as_str();
    if matches!(method, "Occurrences" | "RatioTimeslices") && objective.time_slice_target.is_some() {
        return Err(format!("timeSliceTarget has no meaning for the budgeting method {method}; take it out"));
    }
    match method {
        "Occurrences" if objective.time_slice_window.is_some() => {
            Err("timeSliceWindow has no meaning for the budgeting method Occurrences; take it out".to_owned())
        }
        "Occurrences" => Ok((BudgetingMethod::Occurrences, slice_of_window(window))),
        "Timeslices" => {
            let target = objective.time_slice_target.ok_or("the budgeting method Timeslices needs timeSliceTarget")?;
            if !(target > 0.0 && target <= 1.0) {
                return Err(format!("timeSliceTarget is {target}; write a share above 0 and up to 1"));
            }
            Ok((BudgetingMethod::Timeslices { target }, read_slice(objective)?))
        }
        "RatioTimeslices" => Ok((BudgetingMethod::RatioTimeslices, read_slice(objective)?)),
        other => Err(format!("budgetingMethod is {other:?}; write Occurrences, Timeslices or RatioTimeslices")),
    }
}

fn read_slice(objective: &Objective) -> Result<SliceWidth, String> {
    let refuse =
        || "timeSliceWindow is missing or no length; write minutes as a number, or a duration such as 5m".to_owned();
    let seconds = match objective.time_slice_window.as_ref().ok_or_else(refuse)? {
        serde_json::Value::Number(minutes) => {
            minutes.as_i64().and_then(|minutes| minutes.checked_mul(60)).ok_or_else(refuse)?
        }
        serde_json::Value::String(text) => parse_seconds(text)?,
        _ => return Err(refuse()),
    };
    slice_of(seconds)
}

fn read_indicator(sli: &SliSpec, objective: &Objective, objects: &Objects) -> Result<Indicator, String> {
    match (&sli.threshold_metric, &sli.ratio_metric) {
        (Some(metric), None) => {
            let (Some(op), Some(value)) = (objective.op, objective.value) else {
                return Err("a thresholdMetric needs op and value in its objective".to_owned());
            };
            Ok(Indicator::Threshold { query: read_metric(metric, objects)?, op: comparison(op), value })
        }
        (None, Some(_)) if objective.op.is_some() || objective.value.is_some() => {
            Err("op and value of an objective are for a thresholdMetric; the indicator has a ratioMetric".to_owned())
        }
        (None, Some(ratio)) => read_ratio(ratio, objects),
        _ => Err("the indicator needs either thresholdMetric or ratioMetric".to_owned()),
    }
}

fn read_ratio(ratio: &RatioMetric, objects: &Objects) -> Result<Indicator, String> {
    match (&ratio.good, &ratio.bad, &ratio.total, &ratio.raw) {
        (Some(part), None, Some(total), None) | (None, Some(part), Some(total), None) => {
            if ratio.raw_type.is_some() {
                return Err("rawType belongs to raw; take it out".to_owned());
            }
            let part_is = if ratio.good.is_some() { Part::Good } else { Part::Bad };
            let (part, total) = (read_metric(part, objects)?, read_metric(total, objects)?);
            Ok(Indicator::Ratio { part_is, part, total, counter: ratio.counter.unwrap_or(false) })
        }
        (None, None, None, Some(raw)) => {
            let ratio_of = match ratio.raw_type.ok_or("raw needs rawType: success or failure")? {
                RawType::Success => Part::Good,
                RawType::Failure => Part::Bad,
            };
            Ok(Indicator::Raw { query: read_metric(raw, objects)?, ratio_of })
        }
        _ => Err("a ratioMetric needs total and either good or bad, or raw with rawType alone".to_owned()),
    }
}

fn read_metric(holder: &MetricHolder, objects: &Objects) -> Result<Query, String> {
    let source = &holder.metric_source;
    let referenced = match &source.metric_source_ref {
        Some(name) => objects.data_sources.get(name).map(|found| found.kind.clone()),
        None => None,
    };
    let kind = source.kind.clone().or(referenced).ok_or_else(|| match &source.metric_source_ref {
        Some(name) => unknown("DataSource", "metricSourceRef", name),
        None => "metricSource needs type, or metricSourceRef with the name of a DataSource".to_owned(),
    })?;
    let text = |field: &str| source.spec.get(field).and_then(serde_json::Value::as_str);
    let query = text("query").or_else(|| text("promql")).or_else(|| text("sql"));
    let query = query.ok_or("the spec of the metricSource has no query")?.to_owned();
    match kind.to_ascii_lowercase().as_str() {
        "prometheus" | "promql" | "trivium" => promql::check(&query).map(|()| Query::Promql(query)),
        "sql" | "logs" => check_sql(&query).map(|()| Query::Sql(query)),
        _ => Err(format!("the data source has the type {kind:?}; Trivium answers prometheus (PromQL) and sql")),
    }
}

fn comparison(op: OpSpec) -> Comparison {
    match op {
        OpSpec::Lte => Comparison::Lte,
        OpSpec::Lt => Comparison::Lt,
        OpSpec::Gte => Comparison::Gte,
        OpSpec::Gt => Comparison::Gt,
    }
}

fn read_policy(entry: &PolicyEntry, objects: &Objects) -> Result<AlertPolicy, String> {
    let inline = entry.metadata.as_ref().map(|metadata| metadata.name.value.clone());
    let (name, spec) = match (&entry.alert_policy_ref, &entry.spec) {
        (Some(name), None) => {
            (name.clone(), objects.policies.get(name).ok_or_else(|| unknown("AlertPolicy", "alertPolicyRef", name))?)
        }
        (None, Some(spec)) => (inline.ok_or("the inline AlertPolicy needs metadata with a name")?, spec),
        _ => return Err("an entry of alertPolicies needs either alertPolicyRef or metadata and spec".to_owned()),
    };
    let [condition] = spec.conditions.as_slice() else {
        return Err(format!("the AlertPolicy {name} has {} conditions; write exactly one", spec.conditions.len()));
    };
    let condition = match (&condition.condition_ref, &condition.spec) {
        (Some(name), None) => {
            objects.conditions.get(name).ok_or_else(|| unknown("AlertCondition", "conditionRef", name))?
        }
        (None, Some(spec)) => spec,
        _ => return Err("an entry of conditions needs either conditionRef or spec".to_owned()),
    };
    let targets = spec.notification_targets.iter().map(|target| match (&target.target_ref, &target.metadata) {
        (Some(name), None) if objects.targets.contains_key(name) => Ok(name.clone()),
        (Some(name), None) => Err(unknown("AlertNotificationTarget", "targetRef", name)),
        (None, Some(metadata)) => Ok(metadata.name.clone()),
        _ => Err("an entry of notificationTargets needs either targetRef or metadata and spec".to_owned()),
    });
    let targets = targets.collect::<Result<_, _>>()?;
    build_policy(name, spec, condition, targets)
}

fn build_policy(
    name: String,
    spec: &PolicySpec,
    condition: &ConditionSpec,
    targets: Vec<String>,
) -> Result<AlertPolicy, String> {
    let burn = &condition.condition;
    if burn.kind.as_deref().is_some_and(|kind| kind != "burnrate") {
        return Err(format!("the condition of {name} has the kind {:?}; OpenSLO v1 knows burnrate", burn.kind));
    }
    if !(burn.threshold.is_finite() && burn.threshold > 0.0) {
        return Err(format!("the threshold of {name} is {}; write a burn rate above 0", burn.threshold));
    }
    let alert_after = burn.alert_after.as_deref().map(duration::parse).transpose()?.unwrap_or_default();
    Ok(AlertPolicy {
        name,
        description: spec.description.clone(),
        severity: condition.severity.clone(),
        op: comparison(burn.op.unwrap_or(OpSpec::Gte)),
        threshold: burn.threshold,
        lookback_seconds: parse_seconds(&burn.lookback_window)?,
        alert_after_seconds: i64::try_from(alert_after.as_secs()).unwrap_or(i64::MAX),
        when_no_data: spec.alert_when_no_data.unwrap_or(false),
        when_resolved: spec.alert_when_resolved.unwrap_or(true),
        when_breaching: spec.alert_when_breaching.unwrap_or(true),
        targets,
    })
}
