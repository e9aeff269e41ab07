//! The same searches over parts on disk.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::fixture::{LogRow, PartFolder, batch, rows_of_json_lines};
use super::tests::{cases, request, run, times};
use super::*;

/// Scenario: every scripted case over two parts and a buffered batch. Guarantee: the indexes and the two steps of reading
/// change nothing.
#[test]
fn scripted_searches_find_the_same_in_parts() {
    let rows = rows_of_json_lines(include_str!("testdata/records.jsonl"));
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: vec![folder.part(&[batch(&rows[5..])]), folder.part(&[batch(&rows[..2]), batch(&rows[3..5])])],
        buffered: vec![batch(&rows[2..3])],
    };
    for (query, expected) in cases() {
        let answer = run(&snapshot, &request(&query));
        let found = times(&answer);
        let ids: Vec<u32> = rows.iter().filter(|row| found.contains(&row.time)).map(|row| row.id).collect();
        assert_eq!(ids, expected, "{query}");
        assert_eq!(
            answer.warnings.iter().filter(|warning| warning.contains("could not")).count(),
            0,
            "{:?}",
            answer.warnings
        );
    }
}

/// Rows of several services, so that a part's order is not that of time; each time has three rows of one request.
fn busy_rows(count: i64) -> Vec<LogRow> {
    let row = |index: i64| LogRow {
        service: format!("service-{}", index % 7),
        severity_number: i32::try_from(index % 24).expect("a small number") + 1,
        ..LogRow::new(
            index / 3,
            u64::try_from(index / 300).expect("positive"),
            &format!("row {index} of group {}", index % 10),
        )
    };
    (0..count).map(row).collect()
}

/// The numbers of the rows, from their bodies.
fn numbers(records: &[String]) -> Vec<i64> {
    let number = |record: &String| {
        let record: Value = serde_json::from_str(record).expect("valid JSON");
        record["body"].as_str().and_then(|body| body.split(' ').nth(1)?.parse().ok()).expect("a number")
    };
    records.iter().map(number).collect()
}

/// Scenario: pages over parts; between the pages the parts are compacted into one, and later into others. Guarantee: no
/// gap and no duplicate.
#[test]
fn pages_survive_compaction() {
    let rows = busy_rows(30_000);
    let folder = PartFolder::new();
    let batches: Vec<_> = rows.chunks(7_000).map(batch).collect();
    let snapshots = [
        Snapshot {
            parts: batches[..4].iter().map(|batch| folder.part(std::slice::from_ref(batch))).collect(),
            buffered: batches[4..].to_vec(),
        },
        Snapshot { parts: vec![folder.part(&batches)], buffered: Vec::new() },
        Snapshot { parts: vec![folder.part(&batches[..2]), folder.part(&batches[2..])], buffered: Vec::new() },
    ];
    for (query, step) in [("row", 1), ("\"group 3\"", 10), ("service:service-2 group", 7)] {
        for descending in [true, false] {
            let mut seen = Vec::new();
            let mut request = request(query);
            (request.descending, request.limit) = (descending, 1_000);
            for snapshot in snapshots.iter().cycle() {
                let answer = run(snapshot, &request);
                seen.extend(numbers(&answer.records));
                request.cursor = answer.next_cursor;
                if request.cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen.len(), 30_000_usize.div_ceil(step), "{query}");
            let times: Vec<i64> = seen.iter().map(|number| number / 3).collect();
            assert!(times.is_sorted_by(|a, b| if descending { a >= b } else { a <= b }), "{query} is out of order");
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 30_000_usize.div_ceil(step), "{query} has duplicates");
        }
    }
}

#[test]
fn the_newest_records_are_found_without_reading_everything() {
    let rows = busy_rows(300_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: rows.chunks(150_000).map(|rows| folder.part(&[batch(rows)])).collect(),
        buffered: Vec::new(),
    };
    let answer = run(&snapshot, &request("row"));
    assert_eq!(numbers(&answer.records).len(), 100);
    assert!(answer.rows_read < 100_000, "{} rows were read", answer.rows_read);
    let answer = run(&snapshot, &request("\"row 150001\""));
    assert_eq!(numbers(&answer.records), [150_001]);
    assert!(answer.rows_read <= 512, "{} rows were read", answer.rows_read);
}

/// Scenario: so many rows that several threads count. Guarantee: the counts are those of one look at every row.
#[test]
fn counts_of_several_threads_add_up() {
    let rows = busy_rows(300_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: rows.chunks(100_000).map(|rows| folder.part(&[batch(rows)])).collect(),
        buffered: Vec::new(),
    };
    let mut request = request("group severity:>=warn");
    (request.limit, request.histogram, request.facets) =
        (3, Some(Buckets::Width(Duration::from_nanos(10_000))), vec![Field::Service, Field::Severity]);
    let answer = run(&snapshot, &request);
    let expected = rows.iter().filter(|row| row.severity_number >= 13).count();
    assert_eq!((usize::try_from(answer.matched), answer.matched_exact), (Ok(expected), true));
    let histogram = answer.histogram.expect("a histogram");
    let counted: u64 = histogram.buckets().flat_map(|(_, counts)| counts).sum();
    assert_eq!((usize::try_from(counted), histogram.buckets().count()), (Ok(expected), 10));
    let fatal = rows.iter().filter(|row| row.severity_number >= 21).count();
    let severities = answer.facets[1].1.most_frequent(9);
    assert!(severities.contains(&("fatal", u64::try_from(fatal).expect("a small number"))), "{severities:?}");
    assert_eq!(answer.facets[0].1.distinct(), 7);
    assert_eq!(numbers(&answer.records).len(), 3);
}

/// Scenario: a part whose columns are gone. Guarantee: the rest is served, and the answer says that it is not whole.
#[test]
fn a_damaged_part_does_not_hide_the_others() {
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: vec![folder.part(&[batch(&busy_rows(10))]), folder.part(&[batch(&busy_rows(20))])],
        buffered: Vec::new(),
    };
    std::fs::write(snapshot.parts[0].columns_path(), b"nonsense").expect("the file is ours");
    let answer = run(&snapshot, &request("row"));
    assert_eq!((answer.records.len(), answer.partial, answer.matched_exact), (20, true, false));
    assert!(answer.warnings.iter().any(|warning| warning.contains("could not be read")), "{:?}", answer.warnings);
}

/// Scenario: a part with one of its indexes damaged. Guarantee: its rows are searched one by one, so that nothing is missing.
#[test]
fn a_damaged_index_hides_nothing() {
    for index in ["ids.idx", "text.idx"] {
        let folder = PartFolder::new();
        let part = folder.part(&[batch(&busy_rows(20))]);
        std::fs::write(part.columns_path().with_file_name(index), b"nonsense").expect("the file is ours");
        let snapshot = Snapshot { parts: vec![part], buffered: Vec::new() };
        let answer = run(&snapshot, &request("\"group 3\""));
        assert_eq!((numbers(&answer.records), answer.rows_read), (vec![13, 3], 20), "{index}");
        assert_eq!((answer.partial, answer.matched_exact, answer.warnings), (false, true, Vec::new()), "{index}");
    }
}

#[test]
fn a_deadline_ends_a_long_search() {
    let rows = busy_rows(200_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot { parts: vec![folder.part(&[batch(&rows)])], buffered: Vec::new() };
    let mut request = request("/nowhere/");
    request.deadline = Instant::now() + Duration::from_millis(1);
    let begun = Instant::now();
    let answer = run(&snapshot, &request);
    assert!(answer.partial);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Scenario: searches that no index helps, out of time. Guarantee: they say how much was not searched, and since when.
#[test]
fn a_search_out_of_time_says_what_it_did_not_search() {
    let rows = busy_rows(200_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: rows.chunks(50_000).map(|rows| folder.part(&[batch(rows)])).collect(),
        buffered: vec![batch(&rows[..10])],
    };
    for (query, advice) in [("*nowher*", "whole word"), ("/nowhere/", "whole word"), ("nowhere", "more timeout")] {
        let mut request = request(query);
        request.deadline = Instant::now();
        let answer = run(&snapshot, &request);
        assert!(answer.partial && answer.rows_read == 0, "{query}: {} rows were read", answer.rows_read);
        let told = answer.warnings.iter().find(|warning| warning.contains("200010 records were searched"));
        let told = told.unwrap_or_else(|| panic!("{query}: {:?}", answer.warnings));
        assert!(told.contains("the newest of 1970-01-01T") && told.contains(advice), "{told}");
    }
}

/// Scenario: facets over more rows than are read for facets. Guarantee: they come from the newest rows and say so; records
/// and histogram are whole; what fits exactly is exact.
#[test]
fn facets_read_a_bounded_number_of_rows() {
    let rows = busy_rows(300_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: rows.chunks(100_000).map(|rows| folder.part(&[batch(rows)])).collect(),
        buffered: Vec::new(),
    };
    let mut request = request("group");
    (request.limit, request.facets, request.facet_rows_max) = (3, vec![Field::Service], 100_000);
    let answer = run(&snapshot, &request);
    let counted = answer.facets[0].1.total();
    assert!((100_000..300_000).contains(&counted), "{counted} rows were counted");
    assert!(answer.partial && !answer.matched_exact && numbers(&answer.records).len() == 3);
    assert!(answer.warnings.iter().any(|warning| warning.contains("newest 100000 records")), "{:?}", answer.warnings);
    request.histogram = Some(Buckets::Width(Duration::from_nanos(10_000)));
    let answer = run(&snapshot, &request);
    assert_eq!((answer.matched, answer.partial), (300_000, true));
    assert_eq!(answer.histogram.expect("a histogram").total(), 300_000);
    request.facet_rows_max = 300_000;
    let answer = run(&snapshot, &request);
    assert_eq!((answer.facets[0].1.total(), answer.partial, answer.matched_exact), (300_000, false, true));
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
}

/// Scenario: a plain key that is an attribute of one record among many, and one of a resource. Guarantee: both are found,
/// the first by the index.
#[test]
fn plain_keys_are_looked_up_where_no_resource_has_them() {
    let json = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).ok();
    let mut rows = busy_rows(20_000);
    rows[12_345].attributes = json(r#"{"user.id":"u-42"}"#);
    rows[777].resource = json(r#"{"host.name":"alpha"}"#);
    let folder = PartFolder::new();
    let snapshot = Snapshot { parts: vec![folder.part(&[batch(&rows)])], buffered: Vec::new() };
    let answer = run(&snapshot, &request("user.id:U-42"));
    assert_eq!((numbers(&answer.records), answer.rows_read <= 256), (vec![12_345], true), "{} rows", answer.rows_read);
    assert_eq!(numbers(&run(&snapshot, &request("host.name:alpha")).records), [777]);
    assert_eq!(numbers(&run(&snapshot, &request("resource.host.name:al*")).records), [777]);
    let absent = run(&snapshot, &request("resource.host.name:beta"));
    assert_eq!((absent.records.len(), absent.rows_read, absent.matched_exact), (0, 0, true));
    assert_eq!(numbers(&run(&snapshot, &request("host.name:alpha OR user.id:u-42")).records), [12_345, 777]);
}

/// Scenario: the histogram of everything, with and without its remembered counts, over ranges that cut parts. Guarantee:
/// the same as counting every row.
#[test]
fn remembered_counts_are_those_of_the_rows() {
    let rows = busy_rows(50_000);
    let folder = PartFolder::new();
    let snapshot = Snapshot {
        parts: rows[..40_000].chunks(15_000).map(|rows| folder.part(&[batch(rows)])).collect(),
        buffered: vec![batch(&rows[40_000..])],
    };
    let facts = PartFacts::default();
    for (start, end, width) in
        [(i64::MIN, i64::MAX, 1_000_000), (0, 50_000, 1_000_000), (4_321, 9_876, 1_000), (4_321, 9_876, 777)]
    {
        let mut request = request("*");
        request.range = TimeRange { start: trivium_model::UnixNanos(start), end: trivium_model::UnixNanos(end) };
        (request.limit, request.histogram) = (5, Some(Buckets::Width(Duration::from_nanos(width))));
        let expected = rows.iter().filter(|row| (start..end).contains(&row.time)).count();
        for _ in 0..2 {
            let answer =
                search(&snapshot, &request, &facts, &CancellationToken::new()).expect("a search without failures");
            let histogram = answer.histogram.expect("a histogram");
            assert_eq!(usize::try_from(histogram.total()), Ok(expected), "{start} {end} {width}");
            assert_eq!((usize::try_from(answer.matched), answer.matched_exact), (Ok(expected), true));
            for (bucket, counts) in histogram.buckets() {
                let inside = |row: &&LogRow| {
                    (start..end).contains(&row.time) && row.time.div_euclid(histogram.width) * histogram.width == bucket
                };
                let errors = rows.iter().filter(inside).filter(|row| (17..=20).contains(&row.severity_number)).count();
                assert_eq!(usize::try_from(counts[5]), Ok(errors), "bucket {bucket}");
            }
            assert_eq!(answer.records.len(), 5);
        }
    }
}
