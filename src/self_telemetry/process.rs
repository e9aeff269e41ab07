//! What the process uses, read from `/proc/self`, named as OpenTelemetry's semantic conventions for processes do.

use std::fs;

use trivium_proto::otlp::common::v1::any_value::Value;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value as Number;
use trivium_proto::otlp::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint, Sum};

use super::metrics::Window;
use super::{attribute, nanos};

/// Ticks of `/proc/self/stat` in a second: the kernel reports in this unit to every program, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Nothing on a system without `/proc`.
pub(super) fn metrics(window: Window) -> Vec<Metric> {
    let mut metrics = Vec::new();
    if let Some((user, system)) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_ticks(&text)) {
        metrics.push(cpu_time(user, system, window));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut level = |name: &str, unit: &str, description: &str, value: Option<i64>| {
        metrics.extend(value.map(|value| Metric {
            name: name.into(),
            unit: unit.into(),
            description: description.into(),
            data: Some(sum(vec![(Number::AsInt(value), None)], window, false)),
            ..Metric::default()
        }));
    };
    let resident = status_field(&status, "VmRSS:").map(|kib| kib * 1024);
    level("process.memory.usage", "By", "physical memory in use", resident);
    level("process.thread.count", "{thread}", "threads", status_field(&status, "Threads:"));
    let files = fs::read_dir("/proc/self/fd").ok().and_then(|entries| i64::try_from(entries.count()).ok());
    level("process.unix.file_descriptor.count", "{file_descriptor}", "open files and connections", files);
    metrics
}

fn cpu_time(user: u64, system: u64, window: Window) -> Metric {
    let seconds = |ticks: u64| Number::AsDouble(ticks as f64 / TICKS_PER_SECOND);
    Metric {
        name: "process.cpu.time".into(),
        unit: "s".into(),
        description: "CPU time spent".into(),
        data: Some(sum(vec![(seconds(user), Some("user")), (seconds(system), Some("system"))], window, true)),
        ..Metric::default()
    }
}

fn sum(values: Vec<(Number, Option<&str>)>, window: Window, is_monotonic: bool) -> Data {
    let point = |(value, mode): (Number, Option<&str>)| NumberDataPoint {
        attributes: mode.map(|mode| attribute("cpu.mode", Value::StringValue(mode.into()))).into_iter().collect(),
        start_time_unix_nano: nanos(window.start),
        time_unix_nano: nanos(window.time),
        value: Some(value),
        ..NumberDataPoint::default()
    };
    Data::Sum(Sum {
        data_points: values.into_iter().map(point).collect(),
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic,
    })
}

/// `utime` and `stime`. They are counted from behind the name of the program, which may contain spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn status_field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use trivium_model::UnixNanos;

    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_an_awkward_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 900 0 0 0 731 269 0 0 20 0 9 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some((731, 269)));
        assert_eq!(cpu_ticks("42 (cut"), None);
    }

    #[test]
    fn this_process_uses_memory_and_has_threads() {
        let metrics = metrics(Window { start: UnixNanos(1), time: UnixNanos(2) });
        let value = |name: &str| {
            let metric = metrics.iter().find(|metric| metric.name == name).expect(name);
            let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
            sum.data_points[0].value.expect("a value")
        };
        assert!(matches!(value("process.memory.usage"), Number::AsInt(bytes) if bytes > 100_000));
        assert!(matches!(value("process.thread.count"), Number::AsInt(threads) if threads >= 1));
        assert!(matches!(value("process.cpu.time"), Number::AsDouble(seconds) if seconds >= 0.0));
    }
}
