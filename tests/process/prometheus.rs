//! The same samples into Trivium and into the Prometheus of Debian (2.42), the same questions to both.
//!
//! Known differences of 2.42, which the samples and questions avoid: ranges are closed on the left (samples stand 1.3 s off
//! every step, and questions 7 s off the steps of subqueries); `atan2` keeps the metric's name; among equals `topk` takes
//! what was written first (we: the first by labels); a `.` in a pattern does not match a newline; a counter that begins
//! near zero within a window is extrapolated otherwise (ours begin at 1,000); `le` and `quantile` are not normalised;
//! native histograms are immature.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use trivium_proto::prometheus::v1::{Label, Sample, TimeSeries, WriteRequest};

use crate::support::{PATIENCE, Server};

/// When the samples begin, in seconds: a whole day, long ago.
const START: i64 = 1_700_006_400;

/// Seconds between samples.
const INTERVAL: i64 = 15;

/// Samples of a series: two hours.
const SAMPLES: i64 = 480;

/// Milliseconds by which samples stand off the steps.
const OFF_GRID: i64 = 1_300;

/// The bits that end a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A Prometheus of the test's own, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn binary() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/bin/prometheus");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there; `make test` installs it", path.display());
    None
}

/// Starts it on a folder with this configuration, and returns when it is ready.
pub(crate) async fn start_prometheus(binary: &Path, folder: &Path, configuration: &str) -> Prometheus {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, configuration).expect("the configuration is written");
    let child = Command::new(binary)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--log.level=error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Prometheus starts");
    let running = Prometheus { child, url: format!("http://127.0.0.1:{port}") };
    let until = Instant::now() + PATIENCE;
    let client = reqwest::Client::new();
    while !client.get(format!("{}/-/ready", running.url)).send().await.is_ok_and(|answer| answer.status().is_success())
    {
        assert!(Instant::now() < until, "Prometheus is not ready after {PATIENCE:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    running
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

fn series(labels: &[(&str, &str)], mut value: impl FnMut(i64) -> Option<f64>) -> TimeSeries {
    let mut labels: Vec<Label> =
        labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect();
    labels.sort_by(|left, right| left.name.cmp(&right.name));
    let time = |index: i64| (START + index * INTERVAL) * 1_000 + OFF_GRID;
    let samples = (0..SAMPLES).filter_map(|index| Some(Sample { value: value(index)?, timestamp: time(index) }));
    TimeSeries { labels, samples: samples.collect(), ..TimeSeries::default() }
}

/// Counters with resets and gaps, gauges with NaN, infinities and ends, and a classic histogram.
fn telemetry() -> WriteRequest {
    let mut chance = Chance(42);
    let mut all = Vec::new();
    for (job, instance) in [("api", "a:1"), ("api", "a:2"), ("web", "w:1"), ("db", "d:1")] {
        for (code, method) in [("200", "get"), ("500", "get"), ("200", "post")] {
            let mut total = 1_000.0;
            let labels = [
                ("__name__", "requests_total"),
                ("job", job),
                ("instance", instance),
                ("code", code),
                ("method", method),
            ];
            all.push(series(&labels, |_| {
                total = if chance.one_in(150) { 0.0 } else { total + (chance.share() * 20.0).floor() };
                (!chance.one_in(30)).then_some(total)
            }));
        }
        let mut level = chance.share() * 100.0;
        all.push(series(&[("__name__", "temperature"), ("job", job), ("instance", instance)], |index| {
            level += chance.share() - 0.5;
            match index {
                _ if chance.one_in(120) => Some(f64::NAN),
                _ if chance.one_in(200) => Some(f64::from_bits(STALE)),
                _ if job == "db" && index > 300 => None,
                _ => Some(level),
            }
        }));
        all.push(series(&[("__name__", "limit"), ("job", job), ("instance", instance)], |index| {
            Some((index / 100) as f64 * 7.5 - 3.0)
        }));
        let mut counts = [0.0; 4];
        let mut buckets: Vec<Vec<f64>> = vec![Vec::new(); 4];
        for _ in 0..SAMPLES {
            let mut below = 0.0;
            for (count, bucket) in counts.iter_mut().zip(&mut buckets) {
                *count += (chance.share() * 5.0).floor();
                below += *count;
                bucket.push(below);
            }
        }
        for (bound, values) in ["0.1", "0.5", "2.5", "+Inf"].iter().zip(&buckets) {
            let labels = [("__name__", "latency_bucket"), ("job", job), ("instance", instance), ("le", *bound)];
            all.push(series(&labels, |index| usize::try_from(index).ok().and_then(|index| values.get(index).copied())));
        }
    }
    all.push(series(&[("__name__", "build_info"), ("job", "api"), ("version", "1.2")], |_| Some(1.0)));
    all.push(series(&[("__name__", "build_info"), ("job", "web"), ("version", "1.3")], |_| Some(1.0)));
    WriteRequest { timeseries: all, ..WriteRequest::default() }
}

/// Expressions over the telemetry; `{r}` becomes a range.
const EXPRESSIONS: &[&str] = &[
    "requests_total",
    r#"requests_total{job="api"}"#,
    r#"requests_total{job!="api",code=~"5.."}"#,
    r#"{__name__=~"requests_.*|limit",instance!~"a.*"}"#,
    r#"temperature{nothing=""}"#,
    "absent(temperature)",
    r#"absent(nothing{job="x",code=~"a"})"#,
    "absent_over_time(temperature[{r}])",
    r#"absent_over_time(nothing{a="b"}[{r}])"#,
    "rate(requests_total[{r}])",
    "increase(requests_total[{r}])",
    "irate(requests_total[{r}])",
    "delta(temperature[{r}])",
    "idelta(temperature[{r}])",
    "deriv(temperature[{r}])",
    "predict_linear(temperature[{r}], 3600)",
    "resets(requests_total[{r}])",
    "changes(temperature[{r}])",
    "avg_over_time(temperature[{r}])",
    "min_over_time(temperature[{r}])",
    "max_over_time(temperature[{r}])",
    "sum_over_time(limit[{r}])",
    "count_over_time(temperature[{r}])",
    "quantile_over_time(0.9, limit[{r}])",
    "quantile_over_time(1.5, limit[{r}])",
    "stddev_over_time(limit[{r}])",
    "stdvar_over_time(requests_total[{r}])",
    "last_over_time(temperature[{r}])",
    "present_over_time(temperature[{r}])",
    "sum(requests_total)",
    "sum by (job) (requests_total)",
    "sum without (instance, code) (requests_total)",
    "avg by (code) (requests_total)",
    "min by (job, code) (requests_total)",
    "max(temperature)",
    "count by (job) (requests_total)",
    "stddev by (job) (limit)",
    "stdvar(requests_total)",
    "group by (job) (temperature)",
    "quantile by (job) (0.5, requests_total)",
    "quantile(-1, limit)",
    "count_values(\"value\", limit)",
    "topk(2, temperature)",
    "bottomk by (job) (1, temperature)",
    "topk(1, temperature) by (job)",
    "sum by (job) (rate(requests_total[{r}]))",
    r#"sum by (job) (rate(requests_total{code="500"}[{r}])) / sum by (job) (rate(requests_total[{r}]))"#,
    "histogram_quantile(0.9, sum by (le, job) (rate(latency_bucket[{r}])))",
    "histogram_quantile(0, latency_bucket)",
    "histogram_quantile(1, latency_bucket)",
    "histogram_quantile(2, latency_bucket)",
    "histogram_quantile(-1, latency_bucket)",
    "temperature + limit",
    "temperature - on (job, instance) limit",
    "temperature * on (instance) group_right () requests_total",
    "requests_total / ignoring (code, method) group_left () limit",
    "requests_total * on (job) group_left (version) build_info",
    "temperature % 7",
    "-temperature ^ 2",
    "2 ^ 3 ^ 2",
    "temperature > 20",
    "temperature > bool 20",
    "limit == bool on (job, instance) temperature",
    "1 > bool 2",
    "requests_total > on (instance) group_left () temperature",
    "requests_total and on (job) build_info",
    "requests_total or temperature",
    r#"requests_total unless requests_total{code="200"}"#,
    "abs(temperature) atan2 limit",
    "abs(limit)",
    "ceil(temperature)",
    "floor(temperature)",
    "round(temperature)",
    "round(temperature, 0.25)",
    "clamp(limit, 0, 20)",
    "clamp_min(limit, 4)",
    "clamp_max(limit, 4)",
    "exp(limit / 10)",
    "ln(limit)",
    "log2(limit)",
    "log10(limit)",
    "sqrt(limit)",
    "sgn(limit)",
    "sin(limit) + cos(limit) + tan(limit)",
    "deg(limit) + rad(limit) + pi()",
    "asinh(limit) + acosh(abs(limit) + 1) + atanh(limit / 1000)",
    "sort(limit)",
    "sort_desc(requests_total)",
    r#"label_replace(temperature, "host", "$1", "instance", "(.*):.*")"#,
    r#"label_replace(temperature, "job", "", "job", ".*b")"#,
    r#"label_join(temperature, "all", "-", "job", "instance")"#,
    "timestamp(temperature)",
    "timestamp(limit + 0)",
    "time()",
    "time() - limit",
    "vector(3)",
    r#"scalar(limit{job="db"})"#,
    "scalar(limit)",
    "minute()",
    "hour(timestamp(limit))",
    "day_of_week(vector(1700000000)) + day_of_month() + day_of_year()",
    "days_in_month() + month() + year()",
    "requests_total offset 10m",
    "requests_total offset -10m",
    "rate(requests_total[{r}] offset 7m)",
    "requests_total @ 1700010000",
    "rate(requests_total[{r}] @ end())",
    "sum(requests_total @ start()) - sum(requests_total @ end())",
    "max_over_time(rate(requests_total[{r}])[10m:1m])",
    "avg_over_time(sum by (job) (temperature)[{r}:30s])",
    "sum_over_time(limit[{r}:])",
    "last_over_time(temperature[{r}:45s] offset 3m)",
    "max_over_time(limit[10m:1m] @ 1700010007)",
    r#""text""#,
    "1 / 0",
    "NaN",
    "requests_total{",
    "sum(requests_total",
    "rate(requests_total)",
    "requests_total * temperature",
    "temperature * on (job) requests_total",
    r#"label_replace(temperature, "bad-name", "x", "job", "(")"#,
];

/// A question: path, and parameters.
type Question = (&'static str, Vec<(&'static str, String)>);

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    for (index, expression) in (0_i64..).zip(EXPRESSIONS) {
        for (range, start, end, step) in [("5m", 607, 6_607, 60), ("1m", 7, 3_007, 90), ("37m", 1_807, 9_007, 300)] {
            let query = expression.replace("{r}", range);
            let time = |offset: i64| (START + offset).to_string();
            questions.push((
                "query_range",
                vec![("query", query.clone()), ("start", time(start)), ("end", time(end)), ("step", step.to_string())],
            ));
            questions.push(("query", vec![("query", query), ("time", time(start + index * 60 % 6_000))]));
        }
    }
    questions
}

/// An answer in a form in which two can be compared: the kind of result, or `error`; samples by labels; or, of what is not a
/// vector or matrix, the text.
#[derive(Debug, Default)]
struct Answer {
    kind: String,
    series: BTreeMap<String, Vec<(f64, f64)>>,
}

fn number(value: &Value) -> f64 {
    match value.as_str().expect("numbers are strings") {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or(f64::NAN),
    }
}

fn sample(pair: &Value) -> (f64, f64) {
    (pair[0].as_f64().expect("a time"), number(&pair[1]))
}

fn read(json: &Value) -> Answer {
    if json["status"] != "success" {
        return Answer { kind: format!("error {}", json["errorType"]), ..Answer::default() };
    }
    let data = &json["data"];
    let mut answer = Answer { kind: data["resultType"].to_string(), ..Answer::default() };
    match data["resultType"].as_str() {
        Some("scalar") => drop(answer.series.insert(String::new(), vec![sample(&data["result"])])),
        Some("string") => answer.kind = data["result"].to_string(),
        _ => {
            for series in data["result"].as_array().expect("series") {
                let samples = match series.get("value") {
                    Some(value) => vec![sample(value)],
                    None => series["values"].as_array().expect("values").iter().map(sample).collect(),
                };
                let labels: BTreeMap<&String, &Value> = series["metric"].as_object().expect("labels").iter().collect();
                let twice = answer.series.insert(format!("{labels:?}"), samples);
                assert!(twice.is_none(), "a series twice: {labels:?}");
            }
        }
    }
    answer
}

fn is_close(left: f64, right: f64) -> bool {
    left == right
        || left.is_nan() && right.is_nan()
        || (left - right).abs() <= 1e-6 * (left.abs() + right.abs()).max(1e-9)
}

/// The first thing in which two answers differ.
fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    if ours.kind != theirs.kind {
        return Some(format!("{} instead of {}", ours.kind, theirs.kind));
    }
    if !ours.series.keys().eq(theirs.series.keys()) {
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.series.keys().collect(), theirs.series.keys().collect());
        return Some(format!("series {ours:?} instead of {theirs:?}"));
    }
    for (labels, theirs) in &theirs.series {
        let ours = &ours.series[labels];
        if !ours.iter().map(|sample| sample.0).eq(theirs.iter().map(|sample| sample.0)) {
            return Some(format!("{labels}: {} samples instead of {}, or other times", ours.len(), theirs.len()));
        }
        if let Some((ours, theirs)) = ours.iter().zip(theirs).find(|(ours, theirs)| !is_close(ours.1, theirs.1)) {
            return Some(format!("{labels} at {}: {} instead of {}", ours.0, ours.1, theirs.1));
        }
    }
    None
}

async fn write(client: &reqwest::Client, url: &str, body: &[u8]) {
    let request =
        client.post(url).header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
    let request = request.header("x-prometheus-remote-write-version", "0.1.0").body(body.to_vec());
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{url}: {status}: {}", answer.text().await.unwrap_or_default());
}

async fn ask(client: &reqwest::Client, base: &str, (path, form): &Question) -> Value {
    let answer = client.post(format!("{base}/api/v1/{path}")).form(form).send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_trivium_answer_alike() {
    let Some(binary) = binary() else { return };
    let folder = TempDir::new().expect("a folder");
    let prometheus = start_prometheus(&binary, folder.path(), "global: {}\n").await;
    let server = Server::start(&folder.path().join("trivium"), &[]);
    let client = reqwest::Client::new();
    let body = snap::raw::Encoder::new().compress_vec(&telemetry().encode_to_vec()).expect("it compresses");
    let ours = format!("{}/prometheus", server.http);
    for base in [&ours, &prometheus.url] {
        write(&client, &format!("{base}/api/v1/write"), &body).await;
    }
    let questions = questions();
    assert!(questions.len() >= 500, "{}", questions.len());
    for is_flushed in [false, true] {
        if is_flushed {
            server.flush().await;
        }
        let mut differences = Vec::new();
        for question in &questions {
            let (ours, theirs) = (ask(&client, &ours, question).await, ask(&client, &prometheus.url, question).await);
            if let Some(difference) = difference(&read(&ours), &read(&theirs)) {
                differences.push(format!("{question:?}: {difference}\n"));
            }
        }
        assert!(
            differences.is_empty(),
            "{} of {} answers differ, flushed: {is_flushed}\n{}",
            differences.len(),
            questions.len(),
            differences.iter().take(25).cloned().collect::<String>()
        );
    }
}
