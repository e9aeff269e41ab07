//! Kept answers are those of the engine, and only as long as their samples are the same.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::*;
use crate::series::RangeQuery;

const STEP: i64 = 15_000;

/// A counter and two gauges, a sample every 10 seconds, in parts of 20 minutes.
fn part(minutes: RangeInclusive<i64>) -> RecordBatch {
    let mut points = Vec::new();
    for second in (*minutes.start() * 60..*minutes.end() * 60).step_by(10) {
        let counter = Point { is_monotonic: true, ..point("hits", "sum", 1, second * 1_000, (second % 4_000) as f64) };
        points.push(counter);
        for (id, zone) in [(2, r#"{"zone":"a"}"#), (3, r#"{"zone":"b"}"#)] {
            // The second gauge pauses now and then.
            if id == 2 || second % 1_200 < 700 {
                let value = (second * id as i64 % 97) as f64;
                points.push(Point { attributes: zone, ..point("load", "gauge", id, second * 1_000, value) });
            }
        }
    }
    points.sort_by_key(|point| (point.name, point.id, point.time));
    batch(&points)
}

fn fixture() -> Fixture {
    let parts = (0..12).map(|number| part(number * 20..=(number + 1) * 20));
    parts.fold(Fixture::default(), |fixture, part| fixture.part(SignalKind::Metrics, part))
}

/// The answer through the cache, and the spans that were evaluated for it, in seconds.
fn cached(state: &Arc<SeriesState>, fixture: &Fixture, query: &str, start: i64, end: i64) -> (Answer, Vec<(i64, i64)>) {
    let spans = RefCell::new(Vec::new());
    let asked = RangeQuery { tenant: TenantId::DEFAULT, query, lookback: 300_000, start, end, step: STEP };
    let answer = state.answers.answer(asked, &stored_in(state, fixture), |source, start, end| {
        spans.borrow_mut().push((start / 1_000, end / 1_000));
        Engine::default().range(source, query, start, end, STEP)
    });
    (answer.expect("a valid query").value, spans.into_inner())
}

fn evaluated(fixture: &Fixture, query: &str, start: i64, end: i64) -> Answer {
    let series = stored(fixture, SeriesConfig::default());
    Engine::default().range(&series, query, start, end, STEP).expect("a valid query").value
}

const QUERIES: [&str; 10] = [
    "load",
    "sum(load)",
    "rate(hits_total[5m])",
    "rate(hits_total[1m] offset 7m)",
    "increase(hits_total[3m] offset -4m)",
    "topk(1, load)",
    "load - on(zone) group_left() load offset 10m",
    "absent(load{zone=\"b\"})",
    "time() + vector(1)",
    "quantile_over_time(0.9, load[7m]) > bool 50",
];

#[test]
fn answers_from_chunks_are_those_of_the_engine() {
    let (fixture, state) = (fixture(), SeriesState::new(SeriesConfig::default(), 32 << 20));
    // A dashboard of three hours that moves on, jumps back, and is looked at in part.
    let ranges = [(3_600, 10_800), (3_630, 10_830), (4_200, 13_000), (0, 14_400), (7_005, 9_000), (7_000, 9_000)];
    for query in QUERIES {
        for (start, end) in ranges.map(|(start, end)| (start * 1_000, end * 1_000)) {
            let (answer, _) = cached(&state, &fixture, query, start, end);
            assert_eq!(answer, evaluated(&fixture, query, start, end), "{query} from {start} to {end}");
        }
    }
}

#[test]
fn only_what_is_new_is_evaluated() {
    let (fixture, state) = (fixture(), SeriesState::new(SeriesConfig::default(), 32 << 20));
    let spans =
        |start: i64, end: i64| cached(&state, &fixture, "sum(rate(hits_total[5m]))", start * 1_000, end * 1_000).1;
    assert_eq!(spans(1_000, 9_000), [(1_000, 8_995)]);
    // A chunk lasts 960 seconds; those that begin and end within the first range are known.
    assert_eq!(spans(1_015, 9_100), [(1_015, 1_915), (8_650, 9_100)]);
    assert_eq!(spans(1_000, 9_000), [(1_000, 1_915), (8_650, 8_995)]);
    assert_eq!(spans(1_001, 9_000), [(1_001, 8_996)], "another phase");
    assert_eq!(spans(5_000, 5_500), [(5_000, 5_500)], "too short to be worth it");
}

#[test]
fn a_late_sample_is_seen() {
    let (before, state) = (fixture(), SeriesState::new(SeriesConfig::default(), 32 << 20));
    let query = "sum_over_time(load{zone=\"a\"}[1m])";
    let ask = |fixture: &Fixture| cached(&state, fixture, query, 0, 14_000_000);
    assert!(ask(&before).1.len() == 1 && ask(&before).1.len() == 1, "the last chunk is not whole");
    let late = point("load", "gauge", 2, 5_003_000, 1e6);
    let late = batch(&[Point { attributes: r#"{"zone":"a"}"#, ..late }]);
    let buffered = before.buffer(SignalKind::Metrics, late);
    let (answer, spans) = ask(&buffered);
    assert_eq!(answer, evaluated(&buffered, query, 0, 14_000_000));
    assert_eq!(spans[0], (4_800, 5_745), "the chunk around it");
    assert_eq!(ask(&buffered).1[0], (4_800, 5_745), "not kept while the buffer is open");
}

#[test]
fn what_cannot_be_divided_is_evaluated_whole() {
    let (fixture, state) = (fixture(), SeriesState::new(SeriesConfig::default(), 32 << 20));
    for query in ["load @ start()", "load @ 600", "max_over_time(load[10m:1m])", "load # start (", "sum(load) # x"] {
        for _ in 0..2 {
            let (answer, spans) = cached(&state, &fixture, query, 0, 14_000_000);
            assert_eq!(spans, [(0, 14_000)], "{query}");
            assert_eq!(answer, evaluated(&fixture, query, 0, 14_000_000), "{query}");
        }
    }
}

#[test]
fn what_lacks_a_damaged_part_is_not_kept() {
    let (fixture, state) = (fixture(), SeriesState::new(SeriesConfig::default(), 32 << 20));
    fixture.damage_columns(5);
    for _ in 0..2 {
        assert_eq!(cached(&state, &fixture, "sum(load)", 0, 14_000_000).1, [(0, 13_995)]);
    }
}
