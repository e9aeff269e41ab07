use std::cell::Cell;
use std::path::Path;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::util::display::array_value_to_string;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::tokens::tokens;

/// NaNs with a payload survive bit by bit.
const NAN_BITS: u64 = 0x7ff8_0000_dead_beef;

/// SplitMix64 (Steele, Lea, Flood 2014): the tests' only source of chance.
struct Chance(Cell<u64>);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    fn below(&self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn maybe(&self, value: Value) -> Value {
        if self.below(3) == 0 { Value::Null } else { value }
    }

    fn id(&self, bytes: usize, distinct: u64) -> String {
        let seed = self.below(distinct);
        (0..bytes)
            .map(|byte| format!("{:02x}", Chance::new(seed.wrapping_mul(64) + byte as u64).next() & 0xff))
            .collect()
    }
}

/// A row in which every column of the signal has a value now and then.
fn row(signal: SignalKind, chance: &Chance, number: u64) -> Value {
    let time = 1_700_000_000_000_000_000 + chance.below(1 << 40);
    let service = format!("service-{}", chance.below(4));
    let set =
        format!("{{\"http.route\":\"/cart/{}\",\"user.id\":\"u{}\"}}", chance.below(5), 10_000 + chance.below(500));
    let mut row = json!({
        "time": time, "service_name": service, "attributes": set, "flags": chance.below(2),
        "resource": format!("{{\"host.name\":\"node{}\",\"service.name\":\"{service}\"}}", chance.below(3)),
        "resource_schema_url": chance.maybe("https://opentelemetry.io/schemas/1.30.0".into()),
        "resource_dropped_attributes_count": chance.below(2), "scope": "{}",
        "received_at": time + 5, "wal_position": 1 + number / 100,
    });
    let own = match signal {
        SignalKind::Logs => json!({
            "observed_delay": chance.maybe((chance.below(3_000) as i64 - 1_000).into()), "severity_number": 9, "severity_text": chance.maybe("INFO".into()),
            "body": chance.maybe(format!("Order {} of card-{number} declined é", chance.below(100_000)).into()),
            "body_type": "string", "trace_id": chance.id(16, 200), "span_id": chance.maybe(chance_id(number)),
            "event_name": chance.maybe("order.declined".into()), "dropped_attributes_count": 0,
        }),
        SignalKind::Traces => json!({
            "duration": chance.maybe(chance.below(1 << 30).into()), "name": format!("GET /{}", chance.below(9)), "kind": 2,
            "trace_id": chance.id(16, 60), "span_id": chance_id(number), "parent_span_id": chance.maybe(chance_id(number / 2)),
            "status_code": chance.below(3), "status_message": chance.maybe("deadline exceeded".into()),
            "trace_state": chance.maybe("a=b".into()), "dropped_attributes_count": 0, "dropped_events_count": 0, "dropped_links_count": 0,
            "events": chance.maybe(json!([{"time": time, "name": "retry", "attributes": "{\"n\":1}", "dropped_attributes_count": 0}])),
            "links": chance.maybe(json!([{"trace_id": chance.id(16, 500), "span_id": null, "attributes": "{}",
                "dropped_attributes_count": 1, "flags": 0}])),
        }),
        SignalKind::Metrics => json!({
            "start_time": chance.maybe(time.into()), "metric_name": format!("metric.{}", chance.below(7)), "metric_type": "sum",
            "unit": chance.maybe("s".into()), "temporality": chance.maybe("delta".into()), "is_monotonic": chance.maybe(true.into()),
            "series_id": chance.below(40) | 1 << 63, "value": chance.maybe((chance.below(100) as f64 / 3.0).into()),
            "value_int": chance.maybe((-3).into()), "count": chance.maybe(u64::MAX.into()), "sum": chance.maybe(0.5.into()),
            "bucket_counts": chance.maybe(json!([1, null, 3])), "explicit_bounds": chance.maybe(json!([])),
            "scale": chance.maybe((-2).into()), "zero_threshold": chance.maybe(1e-300.into()),
            "count_float": chance.maybe(0.5.into()), "positive_spans": chance.maybe(json!([-3, 2])), "negative_spans": chance.maybe(json!([])),
            "positive_counts_float": chance.maybe(json!([0.25, 1e300])), "reset_hint": chance.maybe("gauge".into()),
            "exemplars": chance.maybe(json!([{"time": time, "value": 1.5, "trace_id": chance.id(16, 90), "span_id": chance_id(number),
                "attributes": "{\"user\":\"u77777\"}"}])),
        }),
    };
    if let (Value::Object(row), Value::Object(own)) = (&mut row, own) {
        row.extend(own);
    }
    row
}

fn chance_id(number: u64) -> Value {
    Chance::new(number).id(8, u64::MAX).into()
}

/// Rows as one batch, with a dictionary of its own.
fn batch(signal: SignalKind, rows: &[Value]) -> RecordBatch {
    let schema = table_schema(signal);
    let plain = |field: &Field| match field.data_type() {
        DataType::Dictionary(..) => field.clone().with_data_type(DataType::Utf8),
        _ => field.clone(),
    };
    let readable = Arc::new(Schema::new(schema.fields().iter().map(|field| plain(field)).collect::<Vec<_>>()));
    let mut decoder = arrow::json::ReaderBuilder::new(readable).build_decoder().expect("a decoder");
    decoder.serialize(rows).expect("rows of the schema");
    let read = decoder.flush().expect("rows of the schema").expect("at least one row");
    let columns = schema.fields().iter().zip(read.columns()).map(|(field, column)| -> ArrayRef {
        if field.name() == "value" {
            let values = column.as_primitive::<Float64Type>().iter();
            return Arc::new(Float64Array::from_iter(
                values.map(|value| value.map(|value| if value < 1.0 { f64::from_bits(NAN_BITS) } else { value })),
            ));
        }
        cast(column, field.data_type()).expect("text becomes a dictionary")
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("columns of the schema")
}

pub(crate) fn batches(signal: SignalKind, rows: u64, seed: u64) -> Vec<RecordBatch> {
    let chance = Chance::new(seed);
    let rows: Vec<Value> = (0..rows).map(|number| row(signal, &chance, number)).collect();
    rows.chunks(700).map(|rows| batch(signal, rows)).collect()
}

/// Everything of a row as text, doubles bit by bit.
fn row_texts(batches: &[RecordBatch]) -> Vec<String> {
    let mut texts = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| match column.as_primitive_opt::<Float64Type>() {
                Some(doubles) if doubles.is_valid(row) => format!("{:x}", doubles.value(row).to_bits()),
                _ => format!("{}:{}", column.is_valid(row), array_value_to_string(column, row).expect("a cell")),
            };
            texts.push(batch.columns().iter().map(cell).collect::<Vec<_>>().join("|"));
        }
    }
    texts
}

fn encode(signal: SignalKind, batches: &[RecordBatch]) -> EncodedPart {
    let new = NewPart { id: PartId([7; 16]), tenant: TenantId::DEFAULT, signal, level: 0, created_at: UnixNanos(1) };
    encode_part(new, batches).expect("the rows make a part")
}

fn write(encoded: &EncodedPart, folder: &Path) -> Part {
    for (name, bytes) in &encoded.files {
        std::fs::write(folder.join(name), bytes).expect("written");
    }
    Part::open(encoded.record.clone(), folder.to_path_buf(), &Arc::new(PageCache::new(1 << 16)))
}

fn part(signal: SignalKind, batches: &[RecordBatch]) -> (TempDir, Part) {
    let folder = TempDir::new().expect("a temporary folder");
    let part = write(&encode(signal, batches), folder.path());
    (folder, part)
}

/// What the rows of a part ascend by, as texts and times.
fn sort_keys(signal: SignalKind, batches: &[RecordBatch]) -> Vec<(String, i64)> {
    let mut keys = Vec::new();
    for batch in batches {
        let columns: &[&str] = match signal {
            SignalKind::Logs => &["service_name"],
            SignalKind::Traces => &["trace_id"],
            SignalKind::Metrics => &["metric_name", "resource", "series_id"],
        };
        let times = batch.column_by_name(TIME).expect("a column").as_primitive::<TimestampNanosecondType>();
        for row in 0..batch.num_rows() {
            let text = |name: &&str| {
                array_value_to_string(batch.column_by_name(name).expect("a column"), row).expect("a cell")
            };
            keys.push((columns.iter().map(text).collect::<Vec<_>>().join("|"), times.value(row)));
        }
    }
    keys
}

#[test]
fn point_look_ups_read_the_same_whatever_the_cache_holds() {
    for signal in SignalKind::ALL {
        let encoded = encode(signal, &batches(signal, 20_000, 5));
        let folder = TempDir::new().expect("a temporary folder");
        for cache_bytes in [0, 40_000, 64 << 20] {
            let mut part = write(&encoded, folder.path());
            part.pages = Arc::new(PageCache::new(cache_bytes));
            let all = row_texts(&part.read(None, None).expect("readable"));
            let chance = Chance::new(cache_bytes as u64);
            for _ in 0..12 {
                let starts =
                    std::collections::BTreeSet::from_iter((0..6).map(|_| chance.below(19_990) as u32 / 10 * 10));
                let ranges: Vec<_> = starts.iter().map(|start| *start..start + 1 + chance.below(9) as u32).collect();
                let expected: Vec<String> =
                    ranges.iter().flat_map(|range| all[range.start as usize..range.end as usize].to_vec()).collect();
                let found = part.read(None, Some(&RowRanges::from_sorted(ranges))).expect("readable");
                assert_eq!(row_texts(&found), expected, "{signal}, a cache of {cache_bytes} bytes");
            }
            assert!(part.pages.bytes() <= cache_bytes as u64, "the cache outgrew {cache_bytes} bytes");
        }
    }
}

#[test]
fn a_page_that_was_read_is_not_read_again() {
    let encoded = encode(SignalKind::Logs, &batches(SignalKind::Logs, 3_000, 9));
    let folder = TempDir::new().expect("a temporary folder");
    let mut part = write(&encoded, folder.path());
    part.pages = Arc::new(PageCache::new(64 << 20));
    let rows = RowRanges::from_sorted([7..9, 2_000..2_001]);
    let first = row_texts(&part.read(None, Some(&rows)).expect("readable"));
    // The footer is known and the file stays open, so that only pages could be missed now.
    std::fs::write(folder.path().join(COLUMNS), vec![0; encoded.files[0].1.len()]).expect("written");
    assert_eq!(row_texts(&part.read(None, Some(&rows)).expect("from the cache")), first);
    assert!(part.read(None, None).is_err(), "a scan reads the file");
}

#[test]
fn rows_come_back_whole_and_in_the_order_of_the_part() {
    for signal in SignalKind::ALL {
        for rows in [1, 8, 3_000] {
            let batches = batches(signal, rows, rows);
            let (_folder, part) = part(signal, &batches);
            part.verify(true).expect("a fresh part is sound");
            let read = part.read(None, None).expect("readable");
            let (mut expected, mut found) = (row_texts(&batches), row_texts(&read));
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(expected, found, "{signal}: {rows} rows");
            let keys = sort_keys(signal, &read);
            match signal {
                SignalKind::Traces => {
                    let traces: Vec<_> = keys.chunk_by(|left, right| left.0 == right.0).collect();
                    assert!(traces.iter().all(|trace| trace.is_sorted()), "a trace's spans are in time order");
                    assert!(
                        traces.is_sorted_by_key(|trace| trace[0].1),
                        "traces are in the order of their first times"
                    );
                    let mut names: Vec<_> = traces.iter().map(|trace| &trace[0].0).collect();
                    names.sort_unstable();
                    names.dedup();
                    assert_eq!(names.len(), traces.len(), "a trace's spans are together");
                }
                SignalKind::Logs | SignalKind::Metrics => assert!(keys.is_sorted(), "{signal} are in order"),
            }
        }
    }
}

/// One batch of logs, whose slices share their dictionaries.
/// A part as a build wrote it that did not know the columns from `count_float` to `reset_hint`.
fn old_part(batches: &[RecordBatch], folder: &Path) -> Part {
    let encoded = encode(SignalKind::Metrics, batches);
    let read = write(&encoded, folder).read(None, None).expect("readable");
    let whole = gather::gather(&table_schema(SignalKind::Metrics), &read).expect("joined").table;
    let is_old = |name: &str| !name.ends_with("_float") && !name.ends_with("_spans") && name != "reset_hint";
    let schema = whole.schema();
    let old: Vec<usize> = (0..whole.num_columns()).filter(|index| is_old(schema.field(*index).name())).collect();
    assert_eq!(old.len() + 7, whole.num_columns());
    let path = folder.join(COLUMNS);
    let file = std::fs::File::create(&path).expect("a file");
    let table = whole.project(&old).expect("the columns");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, table.schema(), None).expect("a writer");
    writer.write(&table).expect("written");
    writer.close().expect("written");
    let mut record = encoded.record;
    let bytes = std::fs::read(&path).expect("the file");
    record.files[0] = PartFile { name: COLUMNS.to_owned(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
    Part::open(record, folder.to_path_buf(), &Arc::new(PageCache::new(1 << 20)))
}

#[test]
fn a_part_that_is_older_than_a_column_is_read_and_merged() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = old_part(&batches(SignalKind::Metrics, 300, 1), folder.path());
    old.verify(true).expect("intact");
    let rows = old.read(None, None).expect("readable");
    assert_eq!(rows[0].schema(), table_schema(SignalKind::Metrics));
    assert!(rows.iter().all(|batch| batch["reset_hint"].null_count() == batch.num_rows()));
    let some = RowRanges::from_sorted([3..7, 200..201]);
    let few = old.read(Some(&["time", "count_float"]), Some(&some)).expect("readable");
    assert_eq!((few[0].num_rows(), few[0].num_columns(), few[0]["count_float"].null_count()), (5, 2, 5));
    let new = batches(SignalKind::Metrics, 300, 2);
    let before = row_texts(&[rows.clone(), new.clone()].concat());
    let (_folder, merged) = part(SignalKind::Metrics, &[rows, new].concat());
    let after = row_texts(&merged.read(None, None).expect("readable"));
    assert_eq!(after.len(), 600);
    let sorted = |mut texts: Vec<String>| {
        texts.sort_unstable();
        texts
    };
    assert_eq!(sorted(after), sorted(before));
}

fn joined(batches: &[RecordBatch]) -> RecordBatch {
    let rows = gather::gather(&table_schema(SignalKind::Logs), batches).expect("joined");
    let bodies: ArrayRef = Arc::new(arrow::array::StringArray::from(rows.texts));
    let schema = rows.table.schema();
    let columns = rows.table.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| Arc::clone(if field.name() == "body" { &bodies } else { column }));
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("the columns of the schema")
}

#[test]
fn shared_dictionaries_and_separate_ones_make_the_same_part() {
    let batches = batches(SignalKind::Logs, 2_000, 5);
    let joined = joined(&batches);
    let slices: Vec<RecordBatch> = (0..20).map(|slice| joined.slice(slice * 100, 100)).collect();
    let (_one, separate) = part(SignalKind::Logs, &batches);
    let (_two, shared) = part(SignalKind::Logs, &slices);
    let read = |part: &Part| row_texts(&part.read(None, None).expect("readable"));
    assert_eq!(read(&separate), read(&shared));
    assert_eq!(separate.record().files[0], shared.record().files[0], "the same columns give the same bytes");
}

#[test]
fn a_selection_of_rows_and_columns_is_read_as_from_the_whole() {
    for signal in SignalKind::ALL {
        let (_folder, part) = part(signal, &batches(signal, 3_000, 11));
        let whole = row_texts(&part.read(None, None).expect("readable"));
        let rows = RowRanges::from_sorted([0..1, 17..40, 1_023..1_026, 2_999..3_000]);
        let some = row_texts(&part.read(None, Some(&rows)).expect("readable"));
        let expected: Vec<String> = rows.iter().flatten().map(|row| whole[row as usize].clone()).collect();
        assert_eq!(some, expected, "{signal}");
        let narrow = part.read(Some(&[TIME, "attributes"]), Some(&rows)).expect("readable");
        assert_eq!(narrow.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, rows.len());
        assert!(narrow.iter().all(|batch| batch.num_columns() == 2));
        assert!(part.read(None, Some(&RowRanges::none())).expect("readable").is_empty());
    }
}

/// The tokens that a search may ask a row for: slow, and without any code of the index.
fn naive_tokens(signal: SignalKind, batch: &RecordBatch, row: usize) -> Vec<String> {
    let columns: &[&str] = match signal {
        SignalKind::Logs => &["body", "attributes", "event_name", "trace_id", "span_id"],
        SignalKind::Traces => &["trace_id", "span_id", "name", "status_message", "attributes", "events", "links"],
        SignalKind::Metrics => &["attributes", "exemplars"],
    };
    let mut found = Vec::new();
    for name in columns {
        let column = batch.column_by_name(name).expect("a column");
        if column.is_null(row) {
            continue;
        }
        let text = array_value_to_string(column, row).expect("a cell");
        match *name {
            "attributes" => {
                let set: Value = serde_json::from_str(&text).expect("a set");
                let values = set.as_object().expect("a set").values();
                found.extend(values.flat_map(|value| tokens(value.as_str().expect("a text"))));
            }
            "events" => found.push("retry".to_owned()),
            "exemplars" => found.push("u77777".to_owned()),
            // The display of an element names its fields; of its tokens only the hexadecimal ones are sure to be values.
            "links" => found.extend(tokens(&text).into_iter().filter(|token| token.len() == 32)),
            _ => found.extend(tokens(&text)),
        }
    }
    found
}

#[test]
fn every_row_is_a_candidate_for_each_of_its_tokens() {
    for signal in SignalKind::ALL {
        let (_folder, part) = part(signal, &batches(signal, 3_000, 23));
        let mut number = 0;
        for batch in part.read(None, None).expect("readable") {
            for row in 0..batch.num_rows() {
                let own = naive_tokens(signal, &batch, row);
                let all = TokenFilter::And(own.iter().cloned().map(TokenFilter::Token).collect());
                for filter in own.into_iter().map(TokenFilter::Token).chain([all]) {
                    let found = part.candidate_rows(&filter).expect("readable");
                    assert!(found.iter().any(|range| range.contains(&number)), "{signal} row {number}: {filter:?}");
                }
                number += 1;
            }
        }
        assert_eq!(number, 3_000);
    }
}

#[test]
fn filters_combine_as_sets_and_absent_tokens_select_nothing() {
    let (_folder, part) = part(SignalKind::Logs, &batches(SignalKind::Logs, 3_000, 31));
    let rows = |filter: TokenFilter| part.candidate_rows(&filter).expect("readable").len();
    let token = |text: &str| TokenFilter::Token(text.to_owned());
    assert_eq!(rows(TokenFilter::All), 3_000);
    assert_eq!(rows(TokenFilter::And(Vec::new())), 3_000);
    assert_eq!(rows(TokenFilter::Or(Vec::new())), 0);
    assert_eq!(rows(token("nowhere")), 0);
    assert_eq!(rows(TokenFilter::And(vec![token("order"), token("nowhere")])), 0);
    assert_eq!(rows(TokenFilter::Or(vec![token("order"), token("nowhere")])), 3_000);
    assert_eq!(rows(TokenFilter::Prefix("decl".into())), 3_000);
    assert_eq!(rows(TokenFilter::Prefix("nowh".into())), 0);
    let found = (0..2_000).filter(|number| rows(token(&format!("absent{number:08}"))) > 0).count();
    assert!(found <= 12, "{found} of 2,000 absent IDs had candidates, two are expected");
}

/// What a damaged part answers is what the intact one answers, or an error.
fn answers_truly(part: &Part, intact: &Part, whole: &[String], what: &str) {
    if let Ok(rows) = part.read(None, None) {
        assert_eq!(row_texts(&rows), whole, "{what}");
    }
    if let Ok(rows) = part.read(Some(&[TIME]), Some(&RowRanges::from_sorted([5..9]))) {
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 4, "{what}");
    }
    for text in ["order", "retry", "u77777", "u10001"] {
        for filter in [TokenFilter::Token(text.to_owned()), TokenFilter::Prefix(text.to_owned())] {
            if let Ok(found) = part.candidate_rows(&filter) {
                let expected = intact.candidate_rows(&filter).expect("intact");
                assert_eq!(found, expected, "{what}: {filter:?}");
            }
        }
    }
}

#[test]
fn damage_is_found_by_verify_and_by_whoever_reads() {
    for signal in SignalKind::ALL {
        let encoded = encode(signal, &batches(signal, 300, 41));
        let folder = TempDir::new().expect("a temporary folder");
        let other = TempDir::new().expect("a temporary folder");
        let intact = write(&encoded, other.path());
        let whole = row_texts(&intact.read(None, None).expect("readable"));
        for (name, bytes) in &encoded.files {
            let chance = Chance::new(bytes.len() as u64);
            for round in 0..60 {
                let mut damaged = bytes.to_vec();
                let at = chance.below(bytes.len() as u64) as usize;
                // The ends of the files, where headers and footers are, and everything between them.
                let at = if round % 3 == 0 { bytes.len() - 1 - at % bytes.len().min(400) } else { at };
                if round % 4 == 3 {
                    damaged.truncate(at);
                } else {
                    damaged[at] ^= 1 << chance.below(8);
                }
                drop(write(&encoded, folder.path()));
                std::fs::write(folder.path().join(name), &damaged).expect("written");
                let part =
                    Part::open(encoded.record.clone(), folder.path().to_path_buf(), &Arc::new(PageCache::new(1 << 16)));
                assert!(part.verify(false).is_err(), "{signal} {name}: damage at {at} was not found");
                let part =
                    Part::open(encoded.record.clone(), folder.path().to_path_buf(), &Arc::new(PageCache::new(1 << 16)));
                answers_truly(&part, &intact, &whole, &format!("{signal} {name}: damage at {at}"));
            }
        }
    }
}
