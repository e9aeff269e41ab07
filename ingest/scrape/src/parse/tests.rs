use proptest::prelude::*;

use super::*;

fn text(body: &str) -> Exposition<'_> {
    parse(body.as_bytes(), Format::Text, false).expect("a valid exposition")
}

fn open_metrics(body: &str) -> Result<Exposition<'_>, ParseError> {
    parse(body.as_bytes(), Format::OpenMetrics, false)
}

fn float_of(sample: &Sample<'_>) -> f64 {
    match sample.value {
        Value::Float(value) => value,
        Value::Histogram(_) => panic!("a histogram"),
    }
}

#[test]
fn text_has_types_help_timestamps_and_escapes() {
    let body = "# HELP a_total Say \\\\ and\\nmore.\n# TYPE a_total counter\n\
                a_total{p=\"C:\\\\x\\n\\\"q\\\"\",e=\"}\",} 1027 1395066363000\n\n  b\t-Inf\r\n# just a remark\n{\"c.d\",x=\"1\"} NaN\n";
    let exposition = text(body);
    assert_eq!(exposition.families[1].help, "Say \\ and\nmore.");
    assert_eq!(exposition.families[1].kind, Kind::Counter);
    let [a, b, c] = &exposition.samples[..] else { panic!("three samples") };
    assert_eq!((a.family, a.timestamp, float_of(a)), (1, Some(1_395_066_363_000), 1027.0));
    let labels = labels(&a.series, Kind::Counter).expect("labels");
    assert_eq!((labels.get("p"), labels.get("e")), ("C:\\x\n\"q\"", "}"));
    assert_eq!((b.family, float_of(b)), (0, f64::NEG_INFINITY));
    assert!(float_of(c).is_nan());
    assert_eq!(super::labels(&c.series, Kind::Unknown).expect("labels").get("__name__"), "c.d");
}

#[test]
fn bounds_are_normalised() {
    for (given, kind, name, wanted) in [
        ("x_bucket{le=\"1\"}", Kind::Histogram, "le", "1.0"),
        ("x_bucket{le=\"+Inf\"}", Kind::Histogram, "le", "+Inf"),
        ("x_bucket{le=\"1e-05\"}", Kind::Histogram, "le", "1e-05"),
        ("x{quantile=\"1\"}", Kind::Summary, "quantile", "1.0"),
        ("x{quantile=\"1\"}", Kind::Gauge, "quantile", "1"),
    ] {
        assert_eq!(labels(given, kind).expect("labels").get(name), wanted, "{given}");
    }
}

#[test]
fn open_metrics_has_exemplars_units_and_start_times() {
    let body = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                a_seconds_total{x=\"1\"} 5 1.5 # {trace_id=\"ab # c\"} 0.5 2.25\na_seconds_created{x=\"1\"} 1.25\n\
                a_seconds_total{x=\"2\"} 6\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\nh_created 3\n# EOF\n";
    let exposition = open_metrics(body).expect("valid");
    let starts: Vec<i64> = exposition.samples.iter().map(|sample| sample.start).collect();
    assert_eq!(starts, [1250, 0, 3000, 3000]);
    assert_eq!(exposition.families[1].unit, "seconds");
    let sample = &exposition.samples[0];
    assert_eq!(sample.timestamp, Some(1500));
    assert_eq!((&*sample.exemplars[0].labels, sample.exemplars[0].timestamp), ("{trace_id=\"ab # c\"}", Some(2250)));
}

#[test]
fn a_bad_exposition_says_why() {
    for (body, wanted) in [
        ("a", "line 1: \"a\" has no value"),
        ("b 1\na x", "line 2: \"x\" is not a number"),
        ("a 1e999", "line 1: \"1e999\" is out of range"),
        ("a 1 99999999999999999999", "is not a timestamp"),
        ("a{b=\"c} 1", "a quoted text is not closed"),
        ("a{b=\"c\" 1", "the labels are not closed"),
        ("a 1 2 3", "follows the timestamp"),
        ("# TYPE a thing", "is not a metric type"),
    ] {
        let error = parse(body.as_bytes(), Format::Text, false).expect_err(body).to_string();
        assert!(error.contains(wanted), "{body:?}: {error}");
    }
    for (series, wanted) in [
        ("a{b=\"c\",b=\"d\"}", "appears twice"),
        ("9a", "is not a metric name"),
        ("a{9=\"x\"}", "is not a label name"),
        ("{b=\"c\"}", "without a name"),
        ("a{b=\"c\"d=\"e\"}", "a comma is missing"),
    ] {
        let error = labels(series, Kind::Unknown).expect_err(series);
        assert!(error.contains(wanted), "{series}: {error}");
    }
    assert!(parse(b"a{b=\"\xff\"} 1", Format::Text, false).expect_err("bad").to_string().contains("invalid UTF-8"));
    assert!(open_metrics("a 1\n").expect_err("cut").to_string().contains("# EOF"));
    assert!(open_metrics("# EOF\na 1\n").is_err());
}

#[test]
fn protobuf_has_classic_and_native_histograms() {
    use prost::Message;
    let family = |bytes: &[u8]| {
        let mut body = Vec::new();
        prost::encoding::encode_varint(bytes.len() as u64, &mut body);
        body.extend_from_slice(bytes);
        body
    };
    // A bucket of 2 up to 1, count 3, sum 4.5; schema 3, a positive span {1, 2} with the deltas 1, 1.
    let mut histogram = vec![8, 3, 0x11];
    histogram.extend(4.5_f64.to_le_bytes());
    histogram.extend([0x1a, 11, 8, 2, 0x11]);
    histogram.extend(1_f64.to_le_bytes());
    histogram.extend([0x28, 6, 0x62, 4, 8, 2, 16, 2, 0x68, 2, 0x68, 2]);
    let mut metric = vec![0x0a, 6, 0x0a, 1, b'l', 0x12, 1, b'v', 0x3a, u8::try_from(histogram.len()).expect("short")];
    metric.extend(histogram);
    let mut message = vec![0x0a, 1, b'h', 0x18, 4, 0x22, u8::try_from(metric.len()).expect("short")];
    message.extend(metric);
    let body = family(&message);
    let classic = parse(&body, Format::Protobuf, false).expect("valid");
    let series: Vec<&str> = classic.samples.iter().map(|sample| &*sample.series).collect();
    assert_eq!(
        series,
        [
            "{\"h_bucket\",\"l\"=\"v\",le=\"1.0\"}",
            "{\"h_bucket\",\"l\"=\"v\",le=\"+Inf\"}",
            "{\"h_sum\",\"l\"=\"v\"}",
            "{\"h_count\",\"l\"=\"v\"}"
        ]
    );
    let native = parse(&body, Format::Protobuf, true).expect("valid");
    let Value::Histogram(histogram) = &native.samples[0].value else { panic!("no histogram") };
    assert_eq!((histogram.schema, histogram.positive_deltas.as_slice()), (3, [1, 1].as_slice()));
    assert!(histogram.encoded_len() > 0);
    assert!(parse(&body[..body.len() - 1], Format::Protobuf, true).is_err());
}

#[test]
fn an_exposition_that_would_fill_the_memory_is_refused() {
    let many_labels: String = (0..2000).map(|label| format!("l{label}=\"x\",")).collect();
    let error = labels(&format!("a{{{many_labels}}}"), Kind::Unknown).expect_err("too many labels");
    assert!(error.contains("more than 1024 labels"), "{error}");
    let metrics = [0x22, 0].repeat(1_100_000);
    let mut body = Vec::new();
    prost::encoding::encode_varint(metrics.len() as u64, &mut body);
    body.extend(metrics);
    let error = parse(&body, Format::Protobuf, true).expect_err("too many metrics").to_string();
    assert!(error.contains("more than 1048576 metrics"), "{error}");
    let error = parse("a 1\n".repeat(1_100_000).as_bytes(), Format::Text, false).expect_err("too many").to_string();
    assert!(error.contains("more than 1048576 samples"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), form in 0..3) {
        let format = [Format::Text, Format::OpenMetrics, Format::Protobuf][usize::try_from(form).expect("small")];
        drop(parse(&body, format, true));
    }

    #[test]
    fn no_text_panics(body in "([a{}\"\\\\ \n#=,1.é-]|# TYPE |# HELP |_created|# EOF\n){0,40}") {
        for format in [Format::Text, Format::OpenMetrics] {
            if let Ok(exposition) = parse(body.as_bytes(), format, false) {
                for sample in &exposition.samples {
                    drop(labels(&sample.series, Kind::Histogram));
                }
            }
        }
    }
}
