use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde_json::Value;
use trivium_model::UnixNanos;

use super::super::compile;
use super::super::fixture::{LogRow, batch, rows_of_json_lines};
use super::*;

fn snapshot(batches: Vec<RecordBatch>) -> Snapshot {
    Snapshot { parts: Vec::new(), buffered: batches }
}

pub(super) fn request(query: &str) -> SearchRequest {
    SearchRequest {
        query: compile(query).unwrap_or_else(|error| panic!("{error}")),
        range: TimeRange::ALL,
        limit: 100,
        descending: true,
        cursor: None,
        histogram: None,
        facets: Vec::new(),
        facet_rows_max: u64::MAX,
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

pub(super) fn run(snapshot: &Snapshot, request: &SearchRequest) -> SearchAnswer {
    search(snapshot, request, &PartFacts::default(), &CancellationToken::new()).expect("a search without failures")
}

pub(super) fn times(answer: &SearchAnswer) -> Vec<i64> {
    let time = |record: &String| {
        let record: Value = serde_json::from_str(record).expect("valid JSON");
        record["time"].as_str().and_then(|time| time.parse().ok()).expect("a time")
    };
    answer.records.iter().map(time).collect()
}

fn fixture_rows() -> Vec<LogRow> {
    rows_of_json_lines(include_str!("testdata/records.jsonl"))
}

/// The cases of `testdata/cases.txt`: a query, which may have line breaks, and the numbers of the records it finds.
pub(super) fn cases() -> Vec<(String, Vec<u32>)> {
    let mut cases = Vec::new();
    let mut query = String::new();
    for line in include_str!("testdata/cases.txt").lines() {
        if query.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        match line.split_once(" =>") {
            Some((last, ids)) => {
                query.push_str(last);
                cases.push((
                    std::mem::take(&mut query),
                    ids.split_whitespace().map(|id| id.parse().expect("a number")).collect(),
                ));
            }
            None => query.push_str(&format!("{line}\n")),
        }
    }
    cases
}

/// Scenario: every case against the same nine records, as one batch and as three. Guarantee: exactly the listed records.
#[test]
fn scripted_searches_find_exactly_their_records() {
    let rows = fixture_rows();
    let whole = snapshot(vec![batch(&rows)]);
    let split = snapshot(rows.chunks(4).map(batch).collect());
    let mut failures = Vec::new();
    for (query, expected) in cases() {
        for snapshot in [&whole, &split] {
            let found = times(&run(snapshot, &request(&query)));
            let mut ids: Vec<u32> = rows.iter().filter(|row| found.contains(&row.time)).map(|row| row.id).collect();
            ids.sort_unstable();
            if ids != expected {
                failures.push(format!("{query}\n  expected {expected:?}\n  found    {ids:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn records_are_whole_and_follow_the_conventions() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let answer = run(&snapshot, &request("service:mail severity_number:0 OR service:checkout level:error"));
    let records: Vec<Value> =
        answer.records.iter().map(|record| serde_json::from_str(record).expect("valid JSON")).collect();
    assert_eq!(
        records[0],
        serde_json::json!({
            "time": "6000", "received_at": "6000", "service": "mail", "severity_number": 0,
            "body": {"msg": "mail queued", "size": "9007199254740993", "user": {"id": "7"}},
            "event_name": "mail.queued", "attributes": {}, "scope": {"name": "mailer", "version": "2"},
            "resource": {"k8s.pod.name": "mail-0", "service.name": "mail"},
        })
    );
    assert_eq!(records[1]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(records[1]["attributes"]["http.status_code"], "502");
    assert_eq!(records[1]["severity_text"], "ERROR");
}

#[test]
fn a_record_shows_when_it_was_observed() {
    let late = LogRow { observed_delay: Some(5), ..LogRow::new(6_000, 1, "late") };
    let snapshot = snapshot(vec![batch(&[late, LogRow::new(5_000, 1, "never")])]);
    let answer = run(&snapshot, &request("*"));
    let observed = answer.records.iter().map(|record| serde_json::from_str::<Value>(record).expect("valid JSON"));
    let observed: Vec<Value> = observed.map(|record| record["observed_time"].clone()).collect();
    assert_eq!(observed, ["6005".into(), Value::Null]);
}

#[test]
fn ranges_of_time_are_half_open() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let mut request = request("*");
    request.range = TimeRange { start: UnixNanos(3_000), end: UnixNanos(5_000) };
    assert_eq!(times(&run(&snapshot, &request)), [4_000, 3_000]);
    request.descending = false;
    assert_eq!(times(&run(&snapshot, &request)), [3_000, 4_000]);
    request.range = TimeRange { start: UnixNanos(3_000), end: UnixNanos(3_000) };
    assert!(run(&snapshot, &request).records.is_empty());
}

/// Rows with many equal times, equal requests, and even equal contents.
fn crowded_rows() -> Vec<LogRow> {
    let mut rows = Vec::new();
    for index in 0..120_u32 {
        let time = i64::from(index / 40);
        let body = format!("row {}", index / 3);
        rows.push(LogRow::new(time, u64::from(index / 20), &body));
    }
    rows
}

fn bodies(records: &[String]) -> Vec<String> {
    let body = |record: &String| serde_json::from_str::<Value>(record).expect("valid JSON")["body"].to_string();
    records.iter().map(body).collect()
}

/// Scenario: pages of every size over rows that share times, requests and contents; between the pages new rows arrive,
/// and the batches are cut and ordered anew, as sealing and compaction do. Guarantee: every row that was there at the
/// start is on exactly one page.
#[test]
fn pages_have_neither_gaps_nor_duplicates() {
    let rows = crowded_rows();
    let mut expected: Vec<String> = bodies(&run(&snapshot(vec![batch(&rows)]), &request("row")).records);
    expected = if expected.len() < 120 {
        rows.iter().map(|row| format!("\"{}\"", row.body.as_deref().unwrap_or_default())).collect()
    } else {
        expected
    };
    expected.sort();
    for descending in [true, false] {
        for limit in [1, 2, 7, 19, 20, 21, 59, 119, 120, 121] {
            let mut seen = Vec::new();
            let mut cursor = None;
            for page in 0_usize.. {
                let mut now = rows.clone();
                // Newer rows arrive behind the reader; a compaction turns the rows over.
                let late =
                    (0..page).map(|index| LogRow::new(if descending { 99 } else { -99 }, 1_000 + index as u64, "late"));
                now.extend(late);
                if page % 2 == 1 {
                    now.reverse();
                }
                let mut request = request("row");
                (request.descending, request.limit, request.cursor) = (descending, limit, cursor);
                let answer = run(&snapshot(now.chunks(50 + page).map(batch).collect()), &request);
                seen.extend(bodies(&answer.records));
                assert!(answer.records.len() <= limit);
                let next = answer.next_cursor.map(|cursor| cursor.to_string().parse().expect("our own cursor"));
                cursor = next;
                if cursor.is_none() {
                    break;
                }
                assert_eq!(answer.records.len(), limit, "a page in the middle is full");
            }
            seen.sort();
            assert_eq!(seen, expected, "limit {limit}, descending {descending}");
        }
    }
}

#[test]
fn a_cursor_of_the_other_order_is_refused() {
    let snapshot = snapshot(vec![batch(&crowded_rows())]);
    let mut request = request("row");
    request.limit = 5;
    request.cursor = run(&snapshot, &request).next_cursor;
    request.descending = false;
    let error =
        search(&snapshot, &request, &PartFacts::default(), &CancellationToken::new()).expect_err("another order");
    assert!(error.to_string().contains("other order"), "{error}");
}

#[test]
fn large_records_end_a_page_early_without_a_gap() {
    let body = "x".repeat(3 * 1024 * 1024);
    let rows: Vec<LogRow> = (0..12_i64).map(|index| LogRow::new(index / 6, 1, &format!("{index} {body}"))).collect();
    let snapshot = snapshot(vec![batch(&rows)]);
    let (mut request, mut seen, mut pages) = (request("*"), BTreeSet::new(), 0);
    loop {
        let answer = run(&snapshot, &request);
        pages += 1;
        for body in bodies(&answer.records) {
            assert!(seen.insert(body.chars().take(4).collect::<String>()), "a record came twice");
        }
        request.cursor = answer.next_cursor;
        if request.cursor.is_none() {
            break;
        }
        assert!(answer.warnings.iter().any(|warning| warning.contains("large")), "{:?}", answer.warnings);
    }
    assert_eq!((seen.len(), pages), (12, 3));
}

#[test]
fn histograms_count_all_matches_by_severity() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let mut request = request("NOT service:ghost");
    (request.limit, request.histogram) = (1, Some(Buckets::Width(Duration::from_nanos(4_000))));
    let answer = run(&snapshot, &request);
    let histogram = answer.histogram.expect("a histogram");
    let buckets: Vec<(i64, [u64; 7])> = histogram.buckets().map(|(start, counts)| (start, *counts)).collect();
    // unspecified, trace, debug, info, warn, error, fatal
    assert_eq!(buckets, [(0, [0, 0, 0, 1, 1, 1, 0]), (4_000, [1, 0, 1, 0, 1, 0, 1]), (8_000, [0, 0, 0, 0, 0, 1, 0])]);
    assert_eq!((answer.matched, answer.matched_exact, answer.records.len()), (8, true, 1));
}

#[test]
fn a_histogram_ignores_the_page_it_comes_with() {
    let snapshot = snapshot(vec![batch(&crowded_rows())]);
    let mut request = request("row");
    (request.limit, request.histogram) = (10, Some(Buckets::AtMost(10)));
    let first = run(&snapshot, &request);
    request.cursor = first.next_cursor;
    let second = run(&snapshot, &request);
    assert_eq!(first.histogram, second.histogram);
    assert_eq!((second.matched, second.matched_exact), (120, true));
}

fn facet_values(answer: &SearchAnswer, index: usize) -> Vec<(&str, u64)> {
    answer.facets[index].1.most_frequent(10)
}

#[test]
fn facets_count_values_over_all_matches() {
    let rows = fixture_rows();
    let snapshot = snapshot(rows.chunks(2).map(batch).collect());
    let mut request = request("*");
    request.limit = 1;
    let fields = [
        "service",
        "level",
        "k8s.pod.name",
        "attributes.k8s.pod.name",
        "http.route",
        "nested.deep.key",
        "flags",
        "trace_id",
        "scope",
        "tags",
    ];
    request.facets = fields.map(Field::resolve).to_vec();
    let answer = run(&snapshot, &request);
    assert_eq!(facet_values(&answer, 0), [("mail", 3), ("cart", 2), ("checkout", 2), ("cart-cache", 1), ("ghost", 1)]);
    assert_eq!(
        facet_values(&answer, 1),
        [("error", 2), ("unspecified", 2), ("warn", 2), ("debug", 1), ("fatal", 1), ("info", 1)]
    );
    assert_eq!(
        facet_values(&answer, 2),
        [("checkout-7d9f-abcde", 2), ("cart-0", 1), ("cart-1", 1), ("mail-0", 1), ("override", 1)]
    );
    assert_eq!(facet_values(&answer, 3), [("override", 1)]);
    assert_eq!(facet_values(&answer, 4), [("/api/v1/checkout", 2), ("/api/v1/items", 1)]);
    assert_eq!(facet_values(&answer, 5), [("Treasure chest", 1)]);
    assert_eq!(facet_values(&answer, 6), [("0", 8), ("1", 1)]);
    assert_eq!(facet_values(&answer, 7), [("4bf92f3577b34da6a3ce929d0e0e4736", 2)]);
    assert_eq!(facet_values(&answer, 8), [("mailer", 1)]);
    assert_eq!(facet_values(&answer, 9), [("[\"slow\",\"db\"]", 1)]);
    request.facets = vec![Field::Body];
    assert!(search(&snapshot, &request, &PartFacts::default(), &CancellationToken::new()).is_err());
}

#[test]
fn many_distinct_values_are_counted_together_and_marked() {
    let rows: Vec<LogRow> =
        (0..60_000_u32).map(|index| LogRow { service: format!("s{index}"), ..LogRow::new(1, 1, "x") }).collect();
    let mut request = request("*");
    (request.limit, request.facets) = (0, vec![Field::Service]);
    let answer = run(&snapshot(vec![batch(&rows)]), &request);
    let counts = &answer.facets[0].1;
    assert!(counts.is_estimated());
    assert_eq!((counts.distinct(), counts.total(), answer.matched), (50_000, 60_000, 60_000));
}

#[test]
fn counts_are_bounds_when_the_search_could_stop_early() {
    // Each batch is older than the one before it: after the first there are enough records.
    let batches =
        (0..20_i64).rev().map(|index| batch(&[LogRow::new(index * 10, 1, "x"), LogRow::new(index * 10 + 1, 1, "x")]));
    let snapshot = snapshot(batches.collect());
    let mut request = request("x");
    request.limit = 1;
    let answer = run(&snapshot, &request);
    assert_eq!((answer.matched, answer.matched_exact, answer.rows_read), (2, false, 2));
    request.limit = 0;
    let counted = run(&snapshot, &request);
    assert_eq!((counted.matched, counted.matched_exact, counted.records.len()), (40, true, 0));
}

#[test]
fn a_search_out_of_time_says_that_it_is_partial() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let mut request = request("*");
    request.deadline = Instant::now();
    let answer = run(&snapshot, &request);
    assert!(answer.partial && !answer.matched_exact && answer.records.is_empty());
    assert!(answer.warnings.iter().any(|warning| warning.contains("did not see all")), "{:?}", answer.warnings);
}

#[test]
fn a_cancelled_search_stops() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let answer = search(&snapshot, &request("*"), &PartFacts::default(), &cancel).expect("an answer");
    assert_eq!((answer.rows_read, answer.partial), (0, true));
}

#[test]
fn unknown_fields_are_told_with_names_that_are_close() {
    let snapshot = snapshot(vec![batch(&fixture_rows())]);
    let warnings = |query: &str| run(&snapshot, &request(query)).warnings;
    assert_eq!(
        warnings("http.rute:/x"),
        ["no record that was looked at has the field `http.rute`; did you mean `http.route`?"]
    );
    assert!(warnings("http.route:nowhere").is_empty());
    assert!(warnings("nested.deep.key:nowhere").is_empty());
    assert_eq!(warnings("zzz:1 OR http.route:*").len(), 1);
}

#[test]
fn hostile_searches_end_quickly() {
    let long = "a".repeat(200_000);
    let rows: Vec<LogRow> = (0..20).map(|time| LogRow::new(time, 1, &long)).collect();
    let snapshot = snapshot(vec![batch(&rows)]);
    let hostile = [
        "*",
        "*a*",
        "?????",
        "/.*/",
        "a~9999",
        "/(a*)*b/",
        "/(a|a)*c/",
        "*a*a*a*a*a*a*a*b",
        "a?a?a?a?a?*b",
        "body:/a{0,50}b/",
        "x:*a*a*a*b",
        "\"a b\"~4294967295",
    ];
    for query in hostile {
        let begun = Instant::now();
        run(&snapshot, &request(query));
        assert!(begun.elapsed() < Duration::from_secs(2), "{query} took {:?}", begun.elapsed());
    }
}
