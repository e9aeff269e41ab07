//! Parsing, comparing and running scripts.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::histogram::{Histogram, ResetHint};
use crate::labels::{Labels, MatchKind, Matcher};
use crate::series::{Selection, Series, SeriesSource, is_stale};

fn parse(text: &str) -> Script {
    Script::parse(text).unwrap()
}

fn error(text: &str) -> String {
    Script::parse(text).unwrap_err().to_string()
}

fn load(text: &str) -> Load {
    match parse(text).commands.remove(0) {
        Command::Load(load) => load,
        other => panic!("not a load: {other:?}"),
    }
}

fn eval(text: &str) -> Eval {
    match parse(text).commands.remove(0) {
        Command::Eval(eval) => *eval,
        other => panic!("not an eval: {other:?}"),
    }
}

fn floats(points: &str) -> Vec<Option<f64>> {
    let points = load(&format!("load 1m\n metric {points}")).series.remove(0).points;
    let float = |point: Point| match point {
        Point::Float(value) => value,
        Point::Histogram { .. } => panic!("a histogram"),
    };
    points.into_iter().map(|point| point.map(float)).collect()
}

fn histograms(points: &str) -> Vec<Histogram> {
    let points = load(&format!("load 1m\n metric {points}")).series.remove(0).points;
    let histogram = |point| match point {
        Some(Point::Histogram { histogram, .. }) => Histogram::clone(&histogram),
        other => panic!("not a histogram: {other:?}"),
    };
    points.into_iter().map(histogram).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

#[test]
fn points_are_expanded() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    assert_eq!(floats("1 -2.5 1e3 +4"), some(&[1.0, -2.5, 1000.0, 4.0]));
    assert_eq!(floats("1x2"), some(&[1.0; 3]));
    assert_eq!(floats("0x3"), some(&[0.0; 4]), "zero repeated, not hexadecimal");
    assert_eq!(floats("1+2x3"), some(&[1.0, 3.0, 5.0, 7.0]));
    assert_eq!(floats("1-2x1 5"), some(&[1.0, -1.0, 5.0]));
    assert_eq!(floats("-1-.5x1"), some(&[-1.0, -1.5]));
    assert_eq!(floats("_ _x2 1"), [None, None, None, Some(1.0)]);
    assert_eq!(floats("Inf -Inf inf"), some(&[f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]));
    assert!(floats("NaN")[0].unwrap().is_nan());
    let stale = floats("stale stalex1");
    assert!(stale.len() == 3 && stale.iter().all(|value| is_stale(value.unwrap())));
    assert_eq!(floats(""), []);
}

#[test]
fn series_have_labels_with_quotes() {
    let of = |series: &str| load(&format!("load 1m\n{series} 1")).series.remove(0).labels;
    assert_eq!(of("a:b_total"), labels(&[("__name__", "a:b_total")]));
    assert_eq!(of("{}"), labels(&[]));
    assert_eq!(of(r#"up{a="x y", b='}',}"#), labels(&[("__name__", "up"), ("a", "x y"), ("b", "}")]));
    let utf8 = labels(&[("__name__", "http.server"), ("service.name", "ä\n"), ("x", "\\n")]);
    assert_eq!(of(r#"{"http.server", "service.name"="\u00e4\n", x=`\n`}"#), utf8);
    assert_eq!(of(r#"{__name__="up", empty=""}"#), labels(&[("__name__", "up")]));
}

#[test]
fn histograms_are_written_with_all_fields() {
    let all = "{{schema:1 sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 \
               n_buckets:[4 5] n_offset:-5 counter_reset_hint:gauge}}";
    let histogram = &histograms(all)[0];
    assert_eq!((histogram.schema, histogram.sum, histogram.count), (1, -0.3, 3.1));
    assert_eq!((histogram.zero_count, histogram.zero_threshold), (7.1, 0.05));
    assert_eq!((histogram.positive_spans[0].offset, &histogram.positive_buckets[..]), (-3, &[5.1, 10.0, 7.0][..]));
    assert_eq!((histogram.negative_spans[0].offset, &histogram.negative_buckets[..]), (-5, &[4.0, 5.0][..]));
    assert_eq!(histogram.reset_hint, ResetHint::Gauge);
    let custom = &histograms("{{schema:-53 custom_values:[1 2.5] buckets:[ 1 2 3 ]  }}")[0];
    assert_eq!(custom.custom_values, [1.0, 2.5]);
    assert!(custom.validate().is_ok());
    assert_eq!(histograms("{{}}")[0], Histogram::default());

    let counts = |points| histograms(points).iter().map(|histogram| histogram.count).collect::<Vec<_>>();
    assert_eq!(counts("{{count:1}}x2"), [1.0; 3]);
    assert_eq!(counts("{{count:1}}+{{count:2 buckets:[2]}}x2 {{count:7}}"), [1.0, 3.0, 5.0, 7.0]);
    assert_eq!(counts("{{count:5 buckets:[1]}}-{{count:1 buckets:[1]}}x1"), [5.0, 4.0]);
}

#[test]
fn what_is_printed_is_read_again() {
    let text = "{{schema:2 count:12 sum:-0.5 z_bucket:2 z_bucket_w:0.001 counter_reset_hint:not_reset offset:2 \
                buckets:[2 0 4] n_offset:-1 n_buckets:[4]}}";
    assert_eq!(histograms(text)[0].test_expression(), text);
}

#[test]
fn start_times_belong_to_points() {
    let load = load("load 1m\n a@st _ -30s-1mx1 0\n a _ 1 2 3\n b 1");
    assert_eq!(load.series[0].start_offsets, [None, Some(-30_000), Some(-90_000), Some(0)]);
    let series = convert::series(&load).unwrap();
    assert_eq!(series[0].times, [60_000, 120_000, 180_000]);
    assert_eq!(series[0].start_times, [30_000, 30_000, 180_000]);
    assert_eq!(series[1].start_times, []);
    assert!(error("load 1m\n a@st 0\n").contains("start times"));
}

#[test]
fn start_times_can_be_the_same_for_all_series() {
    let load = load("load 1m\n a 1 2\n @st -10s _\n b 1 2 3\n c@st -1s *x1\n c 1 2 3");
    assert_eq!(load.series[0].start_offsets, [], "only for what comes after it");
    assert_eq!(load.series[1].start_offsets, [Some(-10_000), None, Some(-10_000)]);
    assert_eq!(load.series[2].start_offsets, [Some(-1000); 3], "its own line counts, and a star repeats");
}

#[test]
fn commands_are_read_with_their_lines() {
    let script = parse(
        "# comment\n\nclear\nload_with_nhcb 30s\n a 1\n # ends the block\n\neval range from 1m to 1h30m \
                        step 90s  sum(a)\n {} 1 _ 2x3\n\neval instant at 5m a\n a 1\n\neval instant vector(1)\n{} 1",
    );
    let lines = script.commands.iter().map(|command| match command {
        Command::Clear { line } => *line,
        Command::Load(load) => load.line,
        Command::Eval(eval) => eval.line,
    });
    assert_eq!(lines.collect::<Vec<_>>(), [3, 4, 8, 11, 14]);
    let evals: Vec<_> =
        script.commands.iter().filter_map(|c| if let Command::Eval(eval) = c { Some(eval) } else { None }).collect();
    assert_eq!(evals[0].when, When::Range { start: 60_000, end: 5_400_000, step: 90_000 });
    assert_eq!(evals[0].query, "sum(a)");
    assert_eq!(evals[1].when, When::Instant(300_000));
    assert_eq!((evals[2].when, evals[2].query.as_str()), (When::Instant(0), "vector(1)"));
    assert!(matches!(&script.commands[1], Command::Load(load) if load.with_custom_buckets && load.step == 30_000));
}

#[test]
fn expectations_old_and_new() {
    let new = eval(
        "eval instant at 1m x\n expect warn msg: one two\n expect warn\n expect info regex: a.*b\n expect ordered\n a 1",
    );
    assert_eq!((new.expectations.warnings.len(), new.expectations.infos.len()), (2, 1));
    assert!(new.expectations.ordered);
    assert!(matches!(&new.expectations.warnings[0], Message::Text(text) if text == "one two"));
    let none = eval("eval instant at 1m x\n expect no_warn\n expect no_info\n 0x1F").expectations;
    assert!(none.no_warnings && none.no_infos && matches!(none.result, ExpectedValue::Scalar(31.0)));
    assert!(matches!(eval("eval instant x\nexpect fail").expectations.failure, Some(Message::Any)));
    assert!(matches!(eval("eval_fail instant at 0 x\nexpected_fail_message a b").expectations.failure,
        Some(Message::Text(text)) if text == "a b"));
    assert!(matches!(
        eval("eval_fail instant at 0 x\nexpected_fail_regexp a|b").expectations.failure,
        Some(Message::Regex(_))
    ));
    assert!(eval("eval_warn instant at 0 x").expectations.some_warning);
    assert!(eval("eval_info range from 0 to 1m step 1m x").expectations.some_info);
    assert!(eval("eval_ordered instant at 0 x").expectations.ordered);
    assert!(matches!(eval("eval instant x\nexpect string `a\"`").expectations.result,
        ExpectedValue::String(text) if text == "a\""));
    assert!(
        matches!(eval("eval instant at 1m a[1m]\nexpect range vector from 10s to 1m step 10s\n a 1 2 3").expectations.result,
        ExpectedValue::RangeVector { start: 10_000, end: 60_000, step: 10_000, series } if series[0].points.len() == 3)
    );
    // A metric may have the name of the keyword.
    assert!(matches!(eval("eval instant at 1m x\nexpect{} 3").expectations.result, ExpectedValue::Series(_)));
}

#[test]
fn errors_name_line_and_expectation() {
    for (text, expected) in [
        ("\nfoo", "line 2: expected clear, load or eval, got \"foo\""),
        ("load", "line 1: expected \"load STEP\""),
        ("load 1x\n", "line 1: expected a duration such as 1m30s, got \"1x\""),
        ("load 5m\n a 1\n b{x=1} 1", "line 3: value of label \"x\": expected a quoted string"),
        ("load 5m\n a 1y2", "expected a space, got \"y2\""),
        ("load 5m\n a 1+2", "expected x and how often"),
        ("load 5m\n a {{count:x}}", "expected a number, got \"x}}\""),
        ("load 5m\n a {{sum:1 sum:2}}", "histogram field \"sum\" is given twice"),
        ("load 5m\n a {{foo:1}}", "unknown histogram field \"foo\""),
        ("load 5m\n a {{schema:1", "line 2: expected a space or }} after histogram field \"schema\""),
        ("load 5m\n a {{schema:-53}}+{{count:1}}x2", "error combining histograms"),
        ("load 5m\n a 1x999999999999", "a series has more than 100000 points"),
        ("load 5m\n a 1x99999999999999999999999", "after x: expected a number"),
        ("load 5m\n a _x99999999 _x18446744073709551615", "more than 100000 points"),
        ("load 5m\n a {{}}x999999999", "more than 100000 points"),
        ("eval", "expected \"instant [at TIME]\" or"),
        ("eval instant at 5m", "expected a query"),
        ("eval range from 5m to 1m step 1m x", "the end of the range is before its start"),
        ("eval range from 5m to 10m step 0 x", "the step must be more than zero"),
        ("eval_ordered range from 0 to 1m step 1m x", "only the result of an instant query has an order"),
        ("eval instant at 1m x\n a 1 2", "line 2: an instant query gives one value for each series"),
        ("eval instant at 1m x\n expect warn\n expect no_warn", "line 3: warn and no_warn cannot"),
        ("eval instant at 1m x\n expect fail regex: (", "invalid regular expression \"(\""),
        ("eval instant at 1m x\n expect foo", "expected fail, warn, info"),
        ("eval instant at 1m x\n expect string a", "expected a quoted string"),
        ("load 5m\n 1a 1", "expected a metric name"),
        ("load 5m\n a{x=\"\\q\"} 1", "unknown escape sequence"),
        ("load 5m\n a{x=\"y} 1", "does not end"),
    ] {
        let got = error(text);
        assert!(got.contains(expected), "{text:?}: {got}");
    }
}

#[test]
fn durations() {
    use super::duration::parse_duration;
    for (text, expected) in [
        ("0", 0),
        ("1h30m", 5_400_000),
        ("5ms", 5),
        ("1d1ms", 86_400_001),
        ("-1m", -60_000),
        ("+1m", 60_000),
        ("1y", 31_536_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(expected));
    }
    for text in ["", "1", "m", "1m1h", "1m1m", "1.5m", "9999999999y", "99999999999999999999s", "00m1", "1mx"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

fn answer(value: Value) -> Answer {
    Answer { value, warnings: Vec::new(), infos: Vec::new() }
}

fn sample(pairs: &[(&str, &str)], value: f64) -> TargetSample {
    TargetSample { labels: labels(pairs), value: SampleValue::Float(value) }
}

fn verdict(expectations: &str, value: Value) -> Result<(), String> {
    compare::compare(&eval(&format!("eval instant at 1m x\n{expectations}")), &answer(value))
}

fn fails(result: Result<(), String>, expected: &str) {
    let got = result.unwrap_err();
    assert!(got.contains(expected), "{got:?} does not contain {expected:?}");
}

#[test]
fn vectors_are_compared() {
    let got = || Value::Vector(vec![sample(&[("a", "1")], 1.000_000_1), sample(&[("a", "2")], f64::NAN)]);
    assert_eq!(verdict("{a=\"2\"} NaN\n{a=\"1\"} 1", got()), Ok(()));
    fails(verdict("{a=\"2\"} NaN\n{a=\"1\"} 1.1", got()), "{a=\"1\"}: expected value 1.1, got 1.0000001");
    fails(verdict("{a=\"1\"} 1", got()), "expected no series {a=\"2\"}, got it with NaN");
    fails(verdict("{a=\"1\"} 1\n{a=\"2\"} NaN\nb 3", got()), "expected {__name__=\"b\"} with 3, got no such series");
    fails(
        verdict("expect ordered\n{a=\"2\"} NaN\n{a=\"1\"} 1", got()),
        "expected {a=\"1\"} at position 2, got it at 1",
    );
    let twice = Value::Vector(vec![sample(&[], 1.0), sample(&[], 1.0)]);
    fails(verdict("{} 1", twice), "expected {} once, got it twice");
    fails(verdict("{} stale", Value::Vector(vec![sample(&[], f64::NAN)])), "expected value stale, got NaN");
    fails(verdict("{} 0", Value::Vector(vec![sample(&[], 1e-300)])), "expected value 0");
    fails(verdict("{} {{count:1}}", Value::Vector(vec![sample(&[], 1.0)])), "expected {{count:1}}, got 1");
}

#[test]
fn scalars_and_strings_are_compared() {
    assert_eq!(verdict("5", Value::Scalar(5.0)), Ok(()));
    fails(verdict("5", Value::Scalar(6.0)), "expected scalar 5, got 6");
    fails(verdict("5", Value::Vector(Vec::new())), "expected the scalar 5, got a vector of 0 series");
    fails(verdict("{} 5", Value::Scalar(5.0)), "expected 1 series, got the scalar 5");
    assert_eq!(verdict("expect string 'x'", Value::String("x".to_owned())), Ok(()));
    fails(verdict("expect string 'x'", Value::String("y".to_owned())), "expected the string \"x\", got \"y\"");
}

/// Labels and points.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn matrix(eval_text: &str, series: &[Row<'_>]) -> Result<(), String> {
    let series = series.iter().map(|(pairs, samples)| TargetSeries {
        labels: labels(pairs),
        samples: samples.iter().map(|(time, value)| (*time, SampleValue::Float(*value))).collect(),
    });
    compare::compare(&eval(eval_text), &answer(Value::Matrix(series.collect())))
}

#[test]
fn ranges_are_compared() {
    let text = "eval range from 0 to 2m step 1m x\n{a=\"1\"} 1 _ 3\n{a=\"2\"} 4x2";
    let first: Row<'_> = (&[("a", "1")], &[(0, 1.0), (120_000, 3.0)]);
    let second: Row<'_> = (&[("a", "2")], &[(0, 4.0), (60_000, 4.0), (120_000, 4.0)]);
    assert_eq!(matrix(text, &[first, second]), Ok(()));
    fails(matrix(text, &[second, first]), "expected the series of a range in the order of their labels");
    fails(matrix(text, &[first]), "expected {a=\"2\"} with 4 4 4, got no such series");
    fails(
        matrix(text, &[(&[("a", "1")], &[(0, 1.0)]), second]),
        "expected 2 points, got 1: expected [1@0s 3@120s], got [1@0s]",
    );
    fails(
        matrix(text, &[(&[("a", "1")], &[(0, 1.0), (60_000, 3.0)]), second]),
        "expected a point at 120s, got it at 60s",
    );
    fails(matrix(text, &[(&[("a", "1")], &[(0, 1.0), (120_000, 5.0)]), second]), "at 120s: expected value 3, got 5");
    let too_long = "eval range from 0 to 1m step 1m x\n{} 1 2 3";
    fails(matrix(too_long, &[(&[], &[(0, 1.0)])]), "the range ends before");
    let vector = "eval instant at 1m x[1m]\nexpect range vector from 10s to 20s step 10s\n{} 1 2";
    assert_eq!(matrix(vector, &[(&[], &[(10_000, 1.0), (20_000, 2.0)])]), Ok(()));
}

#[test]
fn histograms_are_compared_exactly_or_rendered() {
    let parsed = |text: &str| histograms(text).remove(0);
    let exactly = |expected: &str, got: &str| {
        let value = SampleValue::Histogram(Arc::new(parsed(got)));
        verdict(&format!("{{}} {expected}"), Value::Vector(vec![TargetSample { labels: labels(&[]), value }]))
    };
    let rendered = |expected: &str, got: &str| {
        let value = SampleValue::Rendered(RenderedHistogram::from(&parsed(got)));
        verdict(&format!("{{}} {expected}"), Value::Vector(vec![TargetSample { labels: labels(&[]), value }]))
    };
    let two = "{{count:3 sum:4 buckets:[1 2]}}";
    for compare in [&exactly as &dyn Fn(&str, &str) -> Result<(), String>, &rendered] {
        assert_eq!(compare(two, "{{count:3.0000001 sum:4 buckets:[1 2]}}"), Ok(()));
        assert_eq!(compare(two, "{{count:3 sum:4 buckets:[0 1 2] offset:-1 counter_reset_hint:gauge}}"), Ok(()));
        fails(compare(two, "{{count:3 sum:4 buckets:[1 2] offset:1}}"), "expected {");
        fails(compare(two, "{{count:3 sum:5 buckets:[1 2]}}"), "expected {");
    }
    let gauge = "{{count:3 sum:4 counter_reset_hint:gauge buckets:[1 2]}}";
    let unknown = "{{count:3 sum:4 counter_reset_hint:unknown buckets:[1 2]}}";
    assert_eq!(exactly(gauge, gauge), Ok(()));
    fails(exactly(gauge, two), "counter_reset_hint:gauge");
    fails(exactly(unknown, gauge), "counter_reset_hint:gauge");
    assert_eq!(rendered(gauge, two), Ok(()), "no hints are rendered");
    assert_eq!(
        rendered("{{schema:1 count:3 sum:4 buckets:[3] offset:1}}", "{{schema:1 count:3 sum:4 buckets:[3] offset:1}}"),
        Ok(())
    );
    fails(exactly("{{schema:1 count:3}}", "{{count:3}}"), "schema:1");
}

#[test]
fn all_annotations_must_be_expected() {
    let check = |expectations: &str, warnings: &[&str], infos: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let answer = Answer { value: Value::Vector(Vec::new()), warnings: owned(warnings), infos: owned(infos) };
        compare::compare(&eval(&format!("eval instant at 1m x\n{expectations}")), &answer)
    };
    assert_eq!(check("", &["a"], &["b"]), Ok(()), "nothing is expected of them");
    assert_eq!(check("expect warn msg: a b\nexpect no_info", &["a b (1:4)"], &[]), Ok(()));
    assert_eq!(check("expect info regex: ^a.b$", &[], &["a b (12:4)"]), Ok(()));
    fails(check("expect warn msg: a", &["a", "b"], &[]), "expected no other warning, got \"b\"");
    fails(check("expect warn msg: a\nexpect warn msg: c", &["a"], &[]), "expected warning \"c\", got [\"a\"]");
    fails(check("expect info regex: ^x", &[], &["ax"]), "expected info a message that matches \"^x\"");
    fails(check("expect no_warn", &["a"], &[]), "expected no warning, got [\"a\"]");
    fails(check("expect warn", &[], &[]), "expected warning any message, got []");
    fails(check("expect no_info", &[], &["a"]), "expected no info");
}

/// Answers from a table; every range gives one step a minute.
#[derive(Default)]
struct Table {
    answers: HashMap<&'static str, Result<Answer, String>>,
    in_range_mode: HashMap<&'static str, f64>,
    loaded: Vec<Series>,
    asked: Vec<String>,
}

impl Target for Table {
    fn clear(&mut self) -> Result<(), String> {
        self.loaded.clear();
        Ok(())
    }

    fn load(&mut self, series: Vec<Series>) -> Result<(), String> {
        self.loaded.extend(series);
        Ok(())
    }

    fn instant(&mut self, query: &str, time: i64) -> Result<Answer, String> {
        self.asked.push(format!("{query}@{time}"));
        let name = query.split(" @ ").next().unwrap();
        self.answers.get(name).cloned().unwrap_or_else(|| Err("unknown query".to_owned()))
    }

    fn range(&mut self, query: &str, start: i64, end: i64, step: i64) -> Result<Answer, String> {
        self.asked.push(format!("{query}@{start}..{end}/{step}"));
        let value = self.in_range_mode.get(query).ok_or("unknown range")?;
        let samples = (start..=end).step_by(60_000).map(|time| (time, SampleValue::Float(*value))).collect();
        Ok(answer(Value::Matrix(vec![TargetSeries { labels: labels(&[]), samples }])))
    }

    fn skips(&self, eval: &Eval) -> Option<String> {
        eval.query.contains("skip").then(|| "not known".to_owned())
    }
}

#[test]
fn scripts_are_run() {
    let vector = |value| Ok(answer(Value::Vector(vec![sample(&[], value)])));
    let mut target = Table {
        answers: HashMap::from([
            ("same", vector(1.0)),
            ("other", vector(1.0)),
            ("scalar", Ok(answer(Value::Scalar(1.0)))),
            ("start() x", vector(1.0)),
            ("bad", Err("it is bad".to_owned())),
        ]),
        in_range_mode: HashMap::from([("same", 1.0), ("other", 2.0), ("scalar", 1.0)]),
        ..Table::default()
    };
    let script = parse(
        "load 1m\n gone 1\n\nclear\nload_with_nhcb 1m\n h_bucket{le=\"1\"} 1 2\n h_bucket{le=\"+Inf\"} 3 _ 4\n h_sum 9 9\n\n\
         eval instant at 5m same\n {} 1\n\neval instant at 5m other\n {} 1\n\neval instant at 5m scalar\n 1\n\n\
         eval instant at 5m start() x\n {} 1\n\neval instant at 5m bad\n expect fail msg: it is bad\n\n\
         eval instant at 5m bad\n expect fail regex: ^good\n\neval instant at 5m bad\n {} 1\n\neval instant at 5m same\n expect fail\n\n\
         eval instant at 5m skip\n\neval range from 0 to 1m step 1m same\n {} 1 1",
    );
    let report = run("a.test", &script, &mut target);
    let text = report.to_string();
    assert_eq!((report.passed(), report.failures().count(), report.skipped().count()), (5, 4, 1), "{text}");
    assert!(text.contains("a.test:13: other: asked as a range: {}: expected value 1, got 2\n"), "{text}");
    assert!(text.contains("bad: expected an answer, got the error \"it is bad\""), "{text}");
    assert!(text.contains("same: expected the query to fail with any message, got an answer"), "{text}");
    assert!(text.contains("skip: skipped: not known"), "{text}");
    assert!(text.ends_with("a.test: 5 passed, 4 failed, 1 skipped"), "{text}");
    assert_eq!(target.asked[..2], ["same@300000", "same@240000..360000/60000"]);
    assert_eq!(target.asked[2..4], ["same @ 300.000@-3000000", "same @ 300.000@0"]);

    assert_eq!(target.loaded.len(), 4, "cleared, and a histogram made of three series");
    let custom = target.loaded.last().unwrap();
    assert_eq!(custom.labels, labels(&[("__name__", "h")]));
    let expressions: Vec<String> = custom.histograms.iter().map(|(_, histogram)| histogram.test_expression()).collect();
    assert_eq!(
        expressions,
        [
            "{{schema:-53 count:3 sum:9 custom_values:[1] buckets:[1 2]}}",
            "{{schema:-53 count:2 sum:9 custom_values:[1] buckets:[2]}}",
            "{{schema:-53 count:4 custom_values:[] buckets:[4]}}",
        ]
    );
}

fn select(source: &MemorySource, after: i64, until: i64) -> Vec<Series> {
    let matchers = [Matcher { name: "__name__".to_owned(), kind: MatchKind::Equal, value: "a".to_owned() }];
    source.select(&Selection { matchers: &matchers, after, until }).unwrap()
}

#[test]
fn memory_takes_samples_in_any_order() {
    let mut source = MemorySource::default();
    let series = |text: &str| convert::series(&load(text)).unwrap();
    source.load(series("load 1m\n a _ _ 3 4\n b 1")).unwrap();
    source.load(series("load 1m\n a 1 2 30")).unwrap();
    let got = select(&source, 0, 180_000);
    assert_eq!(
        (got[0].times.as_slice(), got[0].values.as_slice()),
        (&[60_000, 120_000, 180_000][..], &[2.0, 30.0, 4.0][..])
    );
    assert!(got[0].start_times.is_empty() && got.len() == 1);
    assert_eq!(select(&source, -1, 0)[0].values, [1.0]);
    assert!(select(&source, 180_000, 500_000).is_empty());
    assert!(select(&source, 500_000, 180_000).is_empty());
    assert!(source.load(series("load 1m\n a {{schema:20}}")).is_err());
    source.load(series("load 1m\n a {{count:1}}")).unwrap();
    assert_eq!(select(&source, -1, 0)[0].histograms.len(), 1, "the histogram has taken the place of the float");
    source.clear();
    assert!(select(&source, -1, 500_000).is_empty());
}

#[test]
fn memory_knows_what_was_no_reset() {
    let mut source = MemorySource::default();
    let text = "load 1m\n a {{count:1 buckets:[1]}}+{{count:1 buckets:[1]}}x1 {{count:1 buckets:[1]}} \
                {{count:9 counter_reset_hint:gauge buckets:[9]}} {{count:9 buckets:[9]}} 5 {{count:9 buckets:[9]}} \
                {{count:9 counter_reset_hint:reset buckets:[9]}} {{schema:1 count:9 buckets:[9]}}";
    source.load(convert::series(&load(text)).unwrap()).unwrap();
    let hints: Vec<ResetHint> = select(&source, -1, i64::MAX)[0].histograms.iter().map(|(_, h)| h.reset_hint).collect();
    use ResetHint::{Gauge, NotReset, Unknown};
    assert_eq!(hints, [Unknown, NotReset, Unknown, Gauge, Unknown, Unknown, NotReset, Unknown]);
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(load 1m|eval instant at 1m x|eval range from 0 to 5m step 1m x|clear|[ -~]{0,10})\n[ -~ä\n]{0,80}") {
        let _parsed = Script::parse(&text);
    }

    #[test]
    fn series_never_panic(
        parts in prop::collection::vec(prop_oneof![
            Just("a"), Just("{"), Just("}"), Just("{{"), Just("}}"), Just("x"), Just("_"), Just("stale"), Just(" "), Just("\""),
            Just("="), Just(","), Just("+"), Just("-"), Just("1"), Just("99999999999"), Just("count:"), Just("buckets:["),
            Just("]"), Just("schema:"), Just("e"), Just("."), Just("Inf"), Just("@st"), Just("m"), Just("\\x"), Just("ä"),
        ], 0..24),
    ) {
        let text = parts.concat();
        let _loaded = Script::parse(&format!("load 1m\n a {text}\n {text}"));
        let _evaluated = Script::parse(&format!("eval instant at 1m x\n a {text}\n {text}"));
    }
}
