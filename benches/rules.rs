//! Rules on many active series: how late they are evaluated, and what that costs.
//!
//! `cargo bench --bench rules [-- --series N] [--rules N] [--rounds N]`
//!
//! Writes one sample of each of `--series` counters (default 1,000,000) every 15 s by remote write, 5,000 a request, for
//! `--rounds` (default 12) rounds, while `--rules` alerting rules (default 1,000, in groups of 20) are evaluated every 15 s,
//! each over the series of its own thousandth. Prints the CPU of the server with and without rules, how long an evaluation of a group
//! takes, and how many were missed; every rule must be evaluated without failure.

#![allow(
    missing_docs,
    dead_code,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a benchmark, not a library; the support module serves the other ones too"
)]

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;
use support::Server;
use trivium_proto::prometheus::v1::{Label, Sample, TimeSeries, WriteRequest};

const REQUEST_SAMPLES: usize = 5_000;
const INTERVAL: Duration = Duration::from_secs(15);
const RULES_OF_GROUP: usize = 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| args.iter().position(|a| a == flag).and_then(|i| args.get(i + 1)).cloned();
    let number = |flag: &str, default: usize| value(flag).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (series, rules, rounds) = (number("--series", 1_000_000), number("--rules", 1_000), number("--rounds", 12));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for rules in [0, rules] {
        runtime.block_on(run(series, rules, rounds));
    }
}

async fn run(series: usize, rules: usize, rounds: usize) {
    let folder = support::cache_folder().join(format!("rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("rules.yml");
    std::fs::write(&file, rule_file(rules)).expect("the rules are written");
    let flag = file.to_string_lossy().into_owned();
    let (server, _) = Server::start(&folder.join("data"), false, &["--rules", &flag]);
    let client = reqwest::Client::new();
    let begun = Instant::now();
    for round in 0..rounds {
        for body in requests(series, rules.max(1), round) {
            write(&client, &server, body).await;
        }
        let until = INTERVAL * u32::try_from(round + 1).expect("few rounds");
        tokio::time::sleep(until.saturating_sub(begun.elapsed())).await;
    }
    let cpu = server.cpu_seconds();
    let metrics = client.get(format!("{}/metrics", server.http)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let values = |name: &str| -> Vec<f64> {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let sum = |name: &str| values(name).iter().sum::<f64>();
    let failures = sum("prometheus_rule_evaluation_failures_total");
    assert!(failures == 0.0, "{failures} evaluations failed");
    let evaluations = sum("prometheus_rule_evaluations_total");
    let durations = values("prometheus_rule_group_last_duration_seconds");
    let longest = durations.iter().copied().fold(0.0, f64::max);
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{series} series, {rules} rules, {rounds} rounds: {cpu:.1} CPU-s in {wall:.0} s ({:.2} cores), {evaluations} \
         evaluations, {} missed iterations, a group takes {:.3} s (mean), {longest:.3} s (longest), peak {:.0} MiB",
        cpu / wall,
        sum("prometheus_rule_group_iterations_missed_total"),
        durations.iter().sum::<f64>() / durations.len().max(1) as f64,
        server.memory_mib("VmHWM"),
    );
    drop(server);
    drop(std::fs::remove_dir_all(&folder));
}

fn rule_file(rules: usize) -> String {
    let mut text = String::from("groups:\n");
    for group in 0..rules.div_ceil(RULES_OF_GROUP) {
        text.push_str(&format!("- name: group-{group}\n  interval: 15s\n  rules:\n"));
        for rule in group * RULES_OF_GROUP..((group + 1) * RULES_OF_GROUP).min(rules) {
            text.push_str(&format!(
                "  - alert: Busy{rule}\n    expr: sum by (job) (rate(requests_total{{shard=\"shard-{rule}\"}}[1m])) > 1e9\n    for: 1m\n"
            ));
        }
    }
    if rules == 0 { "groups: []\n".into() } else { text }
}

fn requests(series: usize, shards: usize, round: usize) -> Vec<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let indexes: Vec<usize> = (0..series).collect();
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let one = |chunk: &[usize]| {
        let timeseries = chunk.iter().map(|index| TimeSeries {
            labels: vec![
                label("__name__", "requests_total".into()),
                label("instance", format!("10.{}.{}.{}:9100", index / 62_500 % 250, index / 250 % 250, index % 250)),
                label("job", format!("job-{}", index % 10)),
                label("pod", format!("pod-{index}")),
                label("shard", format!("shard-{}", index % shards)),
            ],
            samples: vec![Sample { value: (round * (index % 97)) as f64, timestamp: now }],
            ..TimeSeries::default()
        });
        let request = WriteRequest { timeseries: timeseries.collect(), ..WriteRequest::default() };
        snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("it compresses")
    };
    indexes.chunks(REQUEST_SAMPLES).map(one).collect()
}

async fn write(client: &reqwest::Client, server: &Server, body: Vec<u8>) {
    let url = format!("{}/prometheus/api/v1/write", server.http);
    loop {
        let request = client.post(&url).header("content-type", "application/x-protobuf").body(body.clone());
        let answer = request.header("content-encoding", "snappy").send().await.expect("the server answers");
        match answer.status().as_u16() {
            200..=299 => return,
            429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
            status => panic!("the server answers {status}"),
        }
    }
}
