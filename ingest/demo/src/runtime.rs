//! What runtimes and pools report of themselves: gauges and CPU time, without a request behind them.

use trivium_proto::otlp::common::v1::KeyValue;
use trivium_proto::otlp::metrics::v1::metric::Data;
use trivium_proto::otlp::metrics::v1::number_data_point::Value;
use trivium_proto::otlp::metrics::v1::{AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum};

use crate::Nanos;
use crate::attribute::text;
use crate::metrics::Interval;
use crate::payment;
use crate::random::Random;
use crate::shop::{Instance, Service};
use crate::story::unsigned;

const MIB: f64 = 1_048_576.0;

/// What an instance reports at `interval.now`.
pub(crate) fn metrics(instance: &Instance, random: &mut Random, interval: Interval, unread: usize) -> Vec<Metric> {
    let now = interval.now;
    let facts = instance.service.facts();
    let pressure = payment::pressure(instance, now);
    let age = (now - interval.started) as f64 / 1e9;
    let busy = 0.12 + 0.08 * (age / 700.0).sin().abs() + 0.03 * random.unit();
    // Memory grows and falls as collectors let it; the leak holds on to buffers as well.
    let memory = (220.0 + 60.0 * (age / 45.0).fract() + 8.0 * random.unit() + 130.0 * pressure) * MIB;
    let mut metrics = vec![
        gauge("process.cpu.utilization", "1", now, vec![(Value::AsDouble(busy), Vec::new())]),
        gauge("process.memory.usage", "By", now, vec![(Value::AsInt(memory as i64), Vec::new())]),
        cpu_time(interval, age * 0.16),
    ];
    let threads = 40 + random.below(8) as i64 + (160.0 * pressure) as i64;
    let number = |name, unit, value| gauge(name, unit, now, vec![(value, Vec::new())]);
    match facts.language {
        "java" => {
            let heap = vec![text("jvm.memory.type", "heap"), text("jvm.memory.pool.name", "G1 Eden Space")];
            metrics.push(gauge("jvm.memory.used", "By", now, vec![(Value::AsInt((memory * 0.7) as i64), heap)]));
            metrics.push(number("jvm.thread.count", "{thread}", Value::AsInt(threads)));
        }
        "go" => metrics.push(number("go.goroutine.count", "{goroutine}", Value::AsInt(threads * 3))),
        "python" => metrics.push(number("process.thread.count", "{thread}", Value::AsInt(threads / 4))),
        _ => {
            let delay = Value::AsDouble(0.002 + 0.01 * random.unit());
            metrics.push(number("nodejs.eventloop.delay.p99", "s", delay));
        }
    }
    if facts.pool > 0 {
        metrics.extend(pool(facts.name, facts.pool, pressure, random, now));
    }
    if instance.service == Service::Notification {
        let topic = vec![text("messaging.destination.name", "orders.placed")];
        metrics.push(gauge(
            "messaging.kafka.consumer.lag",
            "{message}",
            now,
            vec![(Value::AsInt(unread as i64), topic)],
        ));
    }
    metrics
}

fn pool(service: &str, size: i64, pressure: f64, random: &mut Random, now: Nanos) -> [Metric; 2] {
    let used = (1 + random.below(3) as i64 + (pressure * size as f64 * 1.2) as i64).min(size);
    let waiting = (pressure * random.between(4.0, 25.0)) as i64;
    let name = || text("db.client.connection.pool.name", format!("{service}-pool"));
    let state = |state: &str| vec![name(), text("db.client.connection.state", state)];
    let counts = vec![(Value::AsInt(used), state("used")), (Value::AsInt(size - used), state("idle"))];
    [
        gauge("db.client.connection.count", "{connection}", now, counts),
        gauge("db.client.connection.pending_requests", "{request}", now, vec![(Value::AsInt(waiting), vec![name()])]),
    ]
}

fn gauge(name: &str, unit: &str, now: Nanos, values: Vec<(Value, Vec<KeyValue>)>) -> Metric {
    let data_points = values
        .into_iter()
        .map(|(value, attributes)| NumberDataPoint {
            attributes,
            time_unix_nano: unsigned(now),
            value: Some(value),
            ..NumberDataPoint::default()
        })
        .collect();
    let data = Some(Data::Gauge(Gauge { data_points }));
    Metric { name: name.into(), unit: unit.into(), data, ..Metric::default() }
}

/// A counter of fractions.
fn cpu_time(interval: Interval, seconds: f64) -> Metric {
    let point = NumberDataPoint {
        attributes: vec![text("cpu.mode", "user")],
        start_time_unix_nano: unsigned(interval.started),
        time_unix_nano: unsigned(interval.now),
        value: Some(Value::AsDouble(seconds)),
        ..NumberDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = Some(Data::Sum(Sum { data_points: vec![point], aggregation_temporality, is_monotonic: true }));
    Metric { name: "process.cpu.time".into(), unit: "s".into(), data, ..Metric::default() }
}
