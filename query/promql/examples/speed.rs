//! How long queries take over samples in memory; what it takes to copy the samples out of the source is told apart.
//!
//! `cargo run --release -p trivium-promql --example speed`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use trivium_promql::{Engine, EngineOptions, Labels, Limits, Matcher, Selection, Series, SeriesSource, SourceError};

const HOUR: i64 = 3_600_000;
const INTERVAL: i64 = 30_000;

struct Memory {
    series: Vec<Series>,
    copying: Cell<Duration>,
}

impl Memory {
    fn new(count: usize, samples: i64) -> Self {
        let series = (0..count).map(|number| {
            let (instance, pod) = (format!("instance-{}", number % 100), format!("pod-{number}"));
            let pairs = [("__name__", "requests_total"), ("instance", &*instance), ("pod", &*pod), ("job", "api")];
            Series {
                labels: Labels::new(pairs),
                times: (0..samples).map(|sample| sample * INTERVAL).collect(),
                values: (0..samples).map(|sample| (sample * (number as i64 % 7 + 1)) as f64).collect(),
                ..Series::default()
            }
        });
        Self { series: series.collect(), copying: Cell::default() }
    }
}

impl SeriesSource for Memory {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, SourceError> {
        let start = Instant::now();
        let matches = |series: &&Series| {
            let matches = |matcher: &Matcher| matcher.matches(series.labels.get(&matcher.name));
            selection.matchers.iter().all(matches)
        };
        let selected = self.series.iter().filter(matches).cloned().collect();
        self.copying.set(self.copying.get() + start.elapsed());
        Ok(selected)
    }
}

fn measure(what: &str, source: &Memory, run: impl Fn(&Memory)) {
    let mut best = Duration::MAX;
    let mut copying = Duration::ZERO;
    for _ in 0..5 {
        source.copying.set(Duration::ZERO);
        let start = Instant::now();
        run(source);
        let own = start.elapsed() - source.copying.get();
        if own < best {
            (best, copying) = (own, source.copying.get());
        }
    }
    println!("{what}: {best:.1?} (and {copying:.1?} to copy the samples)");
}

fn main() {
    let limits = Limits { max_samples: usize::MAX, ..Limits::default() };
    let engine = Engine::new(EngineOptions { limits, ..EngineOptions::default() });
    let range = |query: &'static str| {
        let engine = engine.clone();
        move |source: &Memory| drop(engine.range(source, query, 0, 6 * HOUR, INTERVAL).unwrap())
    };
    let source = Memory::new(10_000, 6 * HOUR / INTERVAL + 1);
    measure(
        "10,000 series x 6 h at 30 s: sum by (instance) (rate(x[5m]))",
        &source,
        range("sum by (instance) (rate(requests_total[5m]))"),
    );
    measure("10,000 series x 6 h at 30 s: sum(rate(x[5m]))", &source, range("sum(rate(requests_total[5m]))"));
    measure("10,000 series x 6 h at 30 s: x", &source, range("count(requests_total)"));
    measure(
        "10,000 series x 6 h at 30 s: x / on (pod) x",
        &source,
        range("sum(requests_total / on (pod) requests_total)"),
    );
    let source = Memory::new(1_000_000, 1);
    let instant = |query: &'static str| {
        let engine = engine.clone();
        move |source: &Memory| drop(engine.instant(source, query, 0).unwrap())
    };
    measure("1,000,000 series, instant: topk(10, x)", &source, instant("topk(10, requests_total)"));
    measure("1,000,000 series, instant: sum by (instance) (x)", &source, instant("sum by (instance) (requests_total)"));
    measure("1,000,000 series, instant: abs(x)", &source, instant("count(abs(requests_total))"));
}
