//! The same families by remote write. What the protocol demands of statuses and headers is in
//! ingest/tests/remote_write_conformance.

use prost::Message;
use trivium_proto::prometheus::{BucketSpan, Count, Histogram, v1, v2};

use crate::case::{Case, Door, Expect, case, text};

/// Of the records' time, in milliseconds.
const NOW: i64 = 1_700_000_000_000;

fn label(name: &str, value: &str) -> v1::Label {
    v1::Label { name: name.into(), value: value.into() }
}

/// A series of the service's job with one sample.
fn series(service: &str, labels: &[(&str, &str)]) -> v1::TimeSeries {
    let mut all = vec![label("job", service)];
    all.extend(labels.iter().map(|(name, value)| label(name, value)));
    all.sort_by(|left, right| left.name.cmp(&right.name));
    v1::TimeSeries { labels: all, samples: vec![v1::Sample { value: 1.0, timestamp: NOW }], ..Default::default() }
}

fn request(timeseries: Vec<v1::TimeSeries>) -> Vec<u8> {
    v1::WriteRequest { timeseries, ..Default::default() }.encode_to_vec()
}

fn one(family: &'static str, what: &str, labels: &'static [(&'static str, &'static str)], expect: Expect) -> Case {
    case(family, what, Door::Write(1), move |service| request(vec![series(service, labels)]), expect)
}

fn of_histogram(family: &'static str, what: &str, histogram: Histogram, expect: Expect) -> Case {
    case(
        family,
        what,
        Door::Write(1),
        move |service| {
            let mut series = series(service, &[("__name__", "h")]);
            series.samples.clear();
            series.histograms.push(Histogram { timestamp: NOW, ..histogram.clone() });
            request(vec![series])
        },
        expect,
    )
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = wire();
    cases.extend(labels());
    cases.extend(points());
    cases.extend(histograms());
    cases
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn wire() -> Vec<Case> {
    let bad = || Expect::Refused(400, 0, "");
    vec![
        case("P1", "bytes at random", Door::Snappy, |_| (0..255).collect(), bad()),
        case("P1", "nothing at all", Door::Snappy, |_| Vec::new(), bad()),
        case(
            "P1",
            "Snappy that promises 4 GiB",
            Door::Snappy,
            |_| vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0],
            Expect::Refused(413, 0, ""),
        ),
        case(
            "P1",
            "Snappy that promises 60 MiB in eight bytes",
            Door::Snappy,
            |_| vec![0x80, 0x80, 0x80, 0x1e, 0, 0, 0, 0],
            bad(),
        ),
        text("P1", Door::Write(1), "\u{0}\u{0}no protobuf", bad()),
        case("P2", "10,000 groups in one another", Door::Write(2), |_| vec![15 << 3 | 3; 10_000], bad()),
        case("T6", "100 MiB of zeroes", Door::Write(1), |_| vec![0; 100 << 20], Expect::Refused(413, 0, "")),
        case(
            "P1",
            "a symbol that is not there",
            Door::Write(2),
            |_| {
                let series = v2::TimeSeries {
                    labels_refs: vec![1, 999],
                    samples: vec![v2::Sample { value: 1.0, timestamp: NOW, ..Default::default() }],
                    ..Default::default()
                };
                v2::Request { symbols: vec![String::new(), "__name__".into()], timeseries: vec![series] }
                    .encode_to_vec()
            },
            Expect::Partial(0, 1, "reference points outside of the symbol table"),
        ),
        case(
            "P1",
            "an odd number of references",
            Door::Write(2),
            |_| {
                let series = v2::TimeSeries {
                    labels_refs: vec![1, 1, 1],
                    samples: vec![v2::Sample { value: 1.0, timestamp: NOW, ..Default::default() }],
                    ..Default::default()
                };
                v2::Request { symbols: vec![String::new(), "__name__".into()], timeseries: vec![series] }
                    .encode_to_vec()
            },
            Expect::Partial(0, 1, "label references do not come in pairs"),
        ),
        case(
            "P1",
            "20,000,000 references to one long symbol",
            Door::Write(2),
            |_| {
                let series = v2::TimeSeries {
                    labels_refs: vec![1; 20_000_000],
                    samples: vec![v2::Sample { value: 1.0, timestamp: NOW, ..Default::default() }],
                    ..Default::default()
                };
                v2::Request { symbols: vec![String::new(), "s".repeat(10_000)], timeseries: vec![series] }
                    .encode_to_vec()
            },
            Expect::Partial(0, 1, ""),
        ),
        case(
            "P4",
            "30,000 references to a symbol of 10 MiB",
            Door::Write(2),
            |_| {
                let series = v2::TimeSeries {
                    labels_refs: vec![1; 30_000],
                    samples: vec![v2::Sample { value: 1.0, timestamp: NOW, ..Default::default() }],
                    ..Default::default()
                };
                v2::Request { symbols: vec![String::new(), "s".repeat(10 << 20)], timeseries: vec![series] }
                    .encode_to_vec()
            },
            Expect::Partial(0, 1, "label is too long"),
        ),
        case(
            "P4",
            "1,000 labels that are one text of 60 KB",
            Door::Write(2),
            |_| shared_text(1, 1_000),
            Expect::Partial(0, 1, "labels are too long in sum"),
        ),
        case(
            "P4",
            "1,000 series that share a text, 1 GB in sum",
            Door::Write(2),
            |_| shared_text(1_000, 16),
            Expect::Partial(70, 930, "the label sets of the request are too large in sum"),
        ),
        case(
            "P17",
            "1,000,000 empty series",
            Door::Write(1),
            |_| [0x0a, 0].repeat(1_000_000),
            Expect::Partial(0, 1_000_000, "series has no metric name"),
        ),
    ]
}

/// Series of which each has so many labels with the same long text, and one of its own.
fn shared_text(series: u32, labels: u32) -> Vec<u8> {
    let mut symbols: Vec<String> = ["", "__name__", "m", "of"].map(String::from).into();
    symbols.push("x".repeat(60_000));
    let names = 5..5 + labels;
    symbols.extend(names.clone().map(|number| format!("name_{number:05}")));
    let own = 5 + labels;
    symbols.extend((0..series).map(|number| format!("own {number}")));
    let one = |number: u32| {
        let mut labels_refs = vec![1, 2];
        labels_refs.extend(names.clone().flat_map(|name| [name, 4]));
        labels_refs.extend([3, own + number]);
        let samples = vec![v2::Sample { value: 1.0, timestamp: NOW, ..Default::default() }];
        v2::TimeSeries { labels_refs, samples, ..Default::default() }
    };
    let timeseries = (0..series).map(one).collect();
    v2::Request { symbols, timeseries }.encode_to_vec()
}

fn labels() -> Vec<Case> {
    vec![
        one("M13", "no metric name", &[("a", "b")], Expect::Partial(0, 1, "series has no metric name")),
        one("M13", "an empty metric name", &[("__name__", "")], Expect::Partial(0, 1, "series has no metric name")),
        one("M13", "a UTF-8 name", &[("__name__", "größe {µ}")], Expect::Stored(1)),
        one(
            "P9",
            "a label twice",
            &[("__name__", "m"), ("a", "1"), ("a", "2")],
            Expect::Partial(0, 1, "label name is repeated"),
        ),
        one(
            "P10",
            "a label without a name",
            &[("__name__", "m"), ("", "v")],
            Expect::Partial(0, 1, "label has no name"),
        ),
        one(
            "X1",
            "labels that are scripts",
            &[("__name__", "<script>"), ("le", "<img src=x onerror=alert(1)>")],
            Expect::Stored(1),
        ),
        case(
            "P8",
            "a label of 1 MiB",
            Door::Write(1),
            |service| request(vec![series(service, &[("__name__", "m"), ("long", &"x".repeat(1 << 20))])]),
            Expect::Partial(0, 1, "label is too long"),
        ),
        case(
            "P7",
            "10,000 labels",
            Door::Write(1),
            |service| {
                let names: Vec<String> = (0..10_000).map(|number| format!("label_{number:05}")).collect();
                let mut labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
                labels.push(("__name__", "m"));
                request(vec![series(service, &labels)])
            },
            Expect::Partial(0, 1, "series has too many labels"),
        ),
        case(
            "P5",
            "a label that is no UTF-8",
            Door::Write(1),
            |service| {
                let mut bytes = request(vec![series(service, &[("__name__", "m"), ("bad", "caf?")])]);
                let place = bytes.iter().position(|byte| *byte == b'?').expect("it is there");
                bytes[place] = 0xe9;
                bytes
            },
            Expect::Partial(0, 1, "label is not valid UTF-8"),
        ),
    ]
}

fn points() -> Vec<Case> {
    let at = |what: &str, timestamp, expect| {
        case(
            "M11",
            what.to_owned(),
            Door::Write(1),
            move |service| {
                let mut series = series(service, &[("__name__", "m")]);
                series.samples[0].timestamp = timestamp;
                request(vec![series])
            },
            expect,
        )
    };
    vec![
        at("the end of 64 bits of milliseconds", i64::MAX, Expect::Partial(0, 1, "time does not fit")),
        at("the beginning of 64 bits of milliseconds", i64::MIN, Expect::Partial(0, 1, "time does not fit")),
        at("a year ahead of the clock", 9_000_000_000_000, Expect::Partial(0, 1, "more than a day in the future")),
        case(
            "M2",
            "the bits that mark the end of a series",
            Door::Write(1),
            |service| {
                let mut series = series(service, &[("__name__", "m")]);
                series.samples[0].value = f64::from_bits(0x7ff0_0000_0000_0002);
                request(vec![series])
            },
            Expect::Stored(1),
        ),
        case(
            "M10",
            "the same time twice",
            Door::Write(1),
            |service| {
                let mut series = series(service, &[("__name__", "m")]);
                series.samples.push(v1::Sample { value: 2.0, timestamp: NOW });
                request(vec![series])
            },
            Expect::Stored(2),
        ),
        case(
            "M12",
            "100,000 series",
            Door::Write(1),
            |service| {
                request(
                    (0..100_000)
                        .map(|number| series(service, &[("__name__", "m"), ("uuid", &format!("{number:032x}"))]))
                        .collect(),
                )
            },
            Expect::Stored(100_000),
        ),
    ]
}

fn histograms() -> Vec<Case> {
    let span = |offset, length| BucketSpan { offset, length };
    let ints = |spans: Vec<BucketSpan>, deltas: Vec<i64>, count| Histogram {
        count: Some(Count::Int(count)),
        positive_spans: spans,
        positive_deltas: deltas,
        ..Default::default()
    };
    vec![
        of_histogram("M5", "a count without buckets", ints(vec![], vec![], 5), Expect::Partial(0, 1, "do not add up")),
        of_histogram(
            "M5",
            "deltas that go below zero",
            ints(vec![span(0, 2)], vec![1, -5], 1),
            Expect::Partial(0, 1, ""),
        ),
        of_histogram(
            "M5",
            "deltas of more than 64 bits",
            ints(vec![span(0, 2)], vec![i64::MAX, i64::MAX], 1),
            Expect::Partial(0, 1, ""),
        ),
        of_histogram(
            "M6",
            "a span of 2^32 buckets",
            ints(vec![span(0, u32::MAX)], vec![1], 1),
            Expect::Partial(0, 1, ""),
        ),
        of_histogram(
            "M7",
            "an offset at the end of 32 bits",
            ints(vec![span(i32::MAX, 3)], vec![1, 0, 0], 3),
            Expect::Stored(1),
        ),
        of_histogram(
            "M7",
            "a second span with a negative offset",
            ints(vec![span(0, 1), span(-2, 1)], vec![1, 0], 2),
            Expect::Partial(0, 1, "negative offset"),
        ),
        of_histogram(
            "M7",
            "a schema that nobody knows",
            Histogram { schema: 99, ..ints(vec![], vec![], 0) },
            Expect::Partial(0, 1, "schema is not known"),
        ),
        of_histogram(
            "M7",
            "custom bounds that go down",
            Histogram { schema: -53, custom_values: vec![2.0, 1.0], ..ints(vec![], vec![], 0) },
            Expect::Partial(0, 1, "custom bounds do not ascend"),
        ),
        of_histogram(
            "M7",
            "3,000,000 buckets",
            ints(vec![span(0, 3_000_000)], vec![0; 3_000_000], 0),
            Expect::Partial(0, 1, "histogram has too many buckets"),
        ),
    ]
}
