//! `query` and `query_range`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use trivium_model::TenantId;
use trivium_promql::{
    Answer, Engine, EngineOptions, MatrixSeries, ParseOptions, QueryError, SampleValue, SeriesSource, Value,
    VectorSample, When,
};

use super::body::{Notes, TRUNCATED, data_with, list_within};
use super::error::ApiError;
use super::execute::{Done, Job, run};
use super::form::Form;
use super::json::{write_histogram_point, write_labels, write_point, write_text, write_timestamp};
use super::parameter::{parse_duration, parse_time};
use super::stats::{Counted, Statistics};
use crate::admission::Permit;
use crate::alerting::WithSlos;
use crate::api::tenant::Tenant;
use crate::config::PromqlConfig;
use crate::series::RangeQuery;
use crate::state::QueryState;

/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 256 << 10;

const NANOS_PER_MILLI: i64 = 1_000_000;

pub(super) async fn instant(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    form.limit()?;
    let now = state.clock.now().0.div_euclid(NANOS_PER_MILLI);
    let time = form.time("time", now)?;
    evaluate((state, tenant), "promql_query", form, When::Instant(time)).await
}

pub(super) async fn range(
    State(state): State<Arc<QueryState>>,
    Tenant(tenant): Tenant,
    form: Form,
) -> Result<Response, ApiError> {
    form.limit()?;
    let bound = |name: &str| parse_time(form.get(name)).map_err(|problem| ApiError::parameter(name, problem));
    let (start, end) = (bound("start")?, bound("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = parse_duration(form.get("step")).map_err(|problem| ApiError::parameter("step", problem))?;
    // The engine counts in milliseconds.
    let step = step / NANOS_PER_MILLI;
    if step <= 0 {
        let problem = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", problem));
    }
    let points_max = state.config.promql.points_max;
    if usize::try_from((end - start) / step).unwrap_or(usize::MAX) > points_max {
        let max = with_commas(points_max);
        return Err(ApiError::bad_data(format!(
            "exceeded maximum resolution of {max} points per timeseries. Try decreasing the query resolution (?step=XX)"
        )));
    }
    evaluate((state, tenant), "promql_query_range", form, When::Range { start, end, step }).await
}

/// `11,000`
fn with_commas(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", with_commas(number / 1_000), number % 1_000) }
}

/// How queries are read and evaluated, by the configuration.
pub(super) fn parse_options(config: &PromqlConfig) -> ParseOptions {
    if config.experimental { ParseOptions::EXPERIMENTAL } else { ParseOptions::STABLE }
}

pub(crate) fn engine_options(config: &PromqlConfig) -> EngineOptions {
    let mut options = EngineOptions {
        parse: parse_options(config),
        lookback_delta: i64::try_from(config.lookback.as_millis()).unwrap_or(i64::MAX / 8),
        delayed_name_removal: config.delayed_name_removal,
        use_start_timestamps: config.start_timestamps,
        ..EngineOptions::default()
    };
    options.limits.max_samples = config.samples_max;
    // The API compares as Prometheus does, which lets one point more through.
    options.limits.max_points = config.points_max.saturating_add(1);
    options.limits.max_series = config.series_max;
    options
}

/// The text of the query.
pub(super) fn query_text(form: &Form) -> Result<String, ApiError> {
    let query = form.get("query");
    if query.len() > QUERY_BYTES_MAX {
        let length = query.len();
        let problem = format!("the query has {length} bytes, the limit is {QUERY_BYTES_MAX} and cannot be raised");
        return Err(ApiError::parameter("query", problem));
    }
    Ok(query.to_owned())
}

/// An answer and what it cost.
struct Evaluated {
    answer: Answer,
    statistics: Option<String>,
}

async fn evaluate(
    (state, tenant): (Arc<QueryState>, TenantId),
    endpoint: &'static str,
    form: Form,
    when: When,
) -> Result<Response, ApiError> {
    let timeout = form.timeout()?;
    let limit = form.limit()?;
    let mut options = engine_options(&state.config.promql);
    if !form.get("lookback_delta").is_empty() {
        let nanos = parse_duration(form.get("lookback_delta"))
            .map_err(|problem| ApiError::bad_data(format!("error parsing lookback delta duration: {problem}")))?;
        // As in Prometheus, a lookback that is not positive stands for the configured one.
        options.lookback_delta =
            Some(nanos / NANOS_PER_MILLI).filter(|millis| *millis > 0).unwrap_or(options.lookback_delta);
    }
    let query = query_text(&form)?;
    let wants_statistics = !form.get("stats").is_empty();
    let done =
        run((state, tenant), endpoint, timeout, move |job| evaluated(job, options, &query, when, wants_statistics));
    let Done { value: Evaluated { answer, statistics }, permit, unread } = done.await?;
    // First, because what comes after ten is only counted.
    let warnings = unread.into_iter().chain(answer.warnings).collect();
    let answer = Answer { warnings, ..answer };
    let time = if let When::Instant(time) = when { time } else { 0 };
    Ok(render(answer, time, limit, statistics, permit))
}

fn evaluated(
    job: &Job,
    options: EngineOptions,
    query: &str,
    when: When,
    wants_statistics: bool,
) -> Result<Evaluated, ApiError> {
    let started = Instant::now();
    let series = if options.use_start_timestamps { job.series().with_start_times() } else { job.series() };
    let slos = job.state.slos.of(job.tenant);
    let with_slos = WithSlos { stored: &series, slos: &slos, clock: &*job.state.clock };
    let source = Counted::new(&with_slos);
    let engine = Engine::new(options);
    let check = || job.check();
    let result = match when {
        When::Range { start, end, step } if !wants_statistics => {
            let lookback = options.lookback_delta;
            let asked = RangeQuery { tenant: job.tenant, query, lookback, start, end, step };
            let evaluate = |stored: &dyn SeriesSource, start, end| {
                let source = WithSlos { stored, slos: &slos, clock: &*job.state.clock };
                engine.run(&source, query, When::Range { start, end, step }, &check)
            };
            job.state.series.answers.answer(asked, &series, evaluate)
        }
        _ => engine.run(&source, query, when, &check),
    };
    let answer = result.map_err(|error| match error {
        QueryError::Ended(_) => job.ended(),
        other => ApiError::from(other),
    })?;
    let statistics = wants_statistics
        .then(|| Statistics { queued: job.queued, evaluated: started.elapsed(), samples: source.samples() }.to_json());
    Ok(Evaluated { answer, statistics })
}

/// The answer as Prometheus writes it. Its permit is held until the last byte is on its way.
fn render(answer: Answer, time: i64, limit: usize, statistics: Option<String>, permit: Permit) -> Response {
    let statistics = statistics.map(|json| format!(",\"stats\":{json}")).unwrap_or_default();
    let mut notes = Notes::of_query(answer.warnings, answer.infos);
    let after = format!("]{statistics}}}");
    match answer.value {
        Value::Scalar(value) => {
            let mut json = String::from("{\"resultType\":\"scalar\",\"result\":");
            write_point(&mut json, time, value);
            json.push_str(&after[1..]);
            data_with(&json, &notes)
        }
        Value::String(text) => {
            let mut json = String::from("{\"resultType\":\"string\",\"result\":[");
            write_timestamp(&mut json, time);
            json.push(',');
            write_text(&mut json, &text);
            json.push_str(&after);
            data_with(&json, &notes)
        }
        Value::Vector(mut samples) => {
            cut(&mut samples, limit, &mut notes);
            let write = move |output: &mut String, sample: &VectorSample| {
                let _held = &permit;
                write_sample(output, sample, time);
            };
            list_within(("{\"resultType\":\"vector\",\"result\":[", &after), samples, write, &notes)
        }
        Value::Matrix(mut series) => {
            cut(&mut series, limit, &mut notes);
            let write = move |output: &mut String, series: &MatrixSeries| {
                let _held = &permit;
                write_series(output, series);
            };
            list_within(("{\"resultType\":\"matrix\",\"result\":[", &after), series, write, &notes)
        }
    }
}

fn cut<T>(items: &mut Vec<T>, limit: usize, notes: &mut Notes) {
    if items.len() > limit {
        items.truncate(limit);
        notes.warnings.push(TRUNCATED.to_owned());
    }
}

fn write_sample(output: &mut String, sample: &VectorSample, time: i64) {
    output.push_str("{\"metric\":");
    write_labels(output, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            output.push_str(",\"value\":");
            write_point(output, time, *value);
        }
        SampleValue::Histogram(histogram) => {
            output.push_str(",\"histogram\":");
            write_histogram_point(output, time, histogram);
        }
    }
    output.push('}');
}

fn write_series(output: &mut String, series: &MatrixSeries) {
    output.push_str("{\"metric\":");
    write_labels(output, &series.labels);
    for (index, (time, value)) in series.floats.iter().enumerate() {
        output.push_str(if index == 0 { ",\"values\":[" } else { "," });
        write_point(output, *time, *value);
    }
    if !series.floats.is_empty() {
        output.push(']');
    }
    for (index, (time, histogram)) in series.histograms.iter().enumerate() {
        output.push_str(if index == 0 { ",\"histograms\":[" } else { "," });
        write_histogram_point(output, *time, histogram);
    }
    output.push_str(if series.histograms.is_empty() { "}" } else { "]}" });
}
