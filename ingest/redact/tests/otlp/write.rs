//! Prometheus remote write 1.0 and 2.0.

use std::borrow::Cow;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use prost::Message;
use trivium_model::{SignalKind, WireFormat};
use trivium_proto::prometheus::{v1, v2};
use trivium_redact::{Counts, Rules};

use super::{contains, field, rules};

type Set = Vec<(String, String)>;

const RULES: &str = "rules:
- {name: lists, keys: [password], action: drop}
- {name: names, keys: ['user*'], action: replace, replacement: somebody}
- {name: mails, pattern: email, action: replace, replacement: '<mail>'}
- {name: team, keys: [team], action: replace, replacement: '?', services: [shop]}
";

fn set() -> impl Strategy<Value = Set> {
    let name =
        prop_oneof![Just("__name__"), Just("password"), Just("user_id"), Just("job"), Just("team"), Just("a@b.cc")];
    let value =
        prop_oneof![Just(""), Just("x"), Just("shop"), Just("eu/shop"), Just("bob@example.com"), Just("password")];
    let label = (name, value).prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    proptest::collection::vec(label, 0..5)
}

/// The labels that should be left of a set.
fn expected(labels: &Set, job: &str) -> Set {
    let mail = |text: &str| match text {
        "bob@example.com" | "a@b.cc" => "<mail>".to_owned(),
        text => text.to_owned(),
    };
    let kept = labels.iter().filter(|(name, value)| name != "password" || value.is_empty());
    kept.map(|(name, value)| {
        let value = match name.as_str() {
            "user_id" if !value.is_empty() => "somebody".to_owned(),
            "team" if !value.is_empty() && matches!(job, "shop" | "eu/shop") => "?".to_owned(),
            _ => mail(value),
        };
        (mail(name), value)
    })
    .collect()
}

fn job(labels: &Set) -> String {
    labels.iter().rev().find(|(name, _)| name == "job").map(|(_, value)| value.clone()).unwrap_or_default()
}

fn labels_v1(labels: &Set) -> Vec<v1::Label> {
    labels.iter().map(|(name, value)| v1::Label { name: name.clone(), value: value.clone() }).collect()
}

fn request_v1(series: &[(Set, Set)]) -> v1::WriteRequest {
    let series = series.iter().map(|(labels, exemplar)| v1::TimeSeries {
        labels: labels_v1(labels),
        samples: vec![v1::Sample { value: 1.5, timestamp: 7 }],
        exemplars: vec![v1::Exemplar { labels: labels_v1(exemplar), value: 0.5, timestamp: 9 }],
        ..v1::TimeSeries::default()
    });
    v1::WriteRequest { timeseries: series.collect(), ..v1::WriteRequest::default() }
}

/// A writer of symbol tables.
struct Symbols(Vec<String>);

impl Symbols {
    fn of(&mut self, text: &str) -> u32 {
        let place = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        place as u32
    }

    fn references(&mut self, labels: &Set) -> Vec<u32> {
        labels.iter().flat_map(|(name, value)| [self.of(name), self.of(value)]).collect()
    }
}

fn request_v2(series: &[(Set, Set)]) -> v2::Request {
    let mut symbols = Symbols(vec![String::new()]);
    let series = series.iter().map(|(labels, exemplar)| v2::TimeSeries {
        labels_refs: symbols.references(labels),
        samples: vec![v2::Sample { value: 1.5, timestamp: 7, ..v2::Sample::default() }],
        exemplars: vec![v2::Exemplar { labels_refs: symbols.references(exemplar), value: 0.5, timestamp: 9 }],
        ..v2::TimeSeries::default()
    });
    let timeseries = series.collect();
    v2::Request { symbols: symbols.0, timeseries }
}

/// The label sets of a request, references followed.
fn sets_v2(request: &v2::Request) -> Vec<(Set, Set)> {
    let set = |references: &[u32]| -> Set {
        let text = |reference: u32| request.symbols[reference as usize].clone();
        references.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect()
    };
    request.timeseries.iter().map(|series| (set(&series.labels_refs), set(&series.exemplars[0].labels_refs))).collect()
}

fn redact<'a>(rules: &Rules, format: WireFormat, payload: &'a [u8]) -> Cow<'a, [u8]> {
    rules.redact(SignalKind::Metrics, format, payload, &mut Counts::default()).expect("a request")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn labels_are_redacted_in_both_versions(series in proptest::collection::vec((set(), set()), 0..5)) {
        let rules = rules(RULES);
        let wanted: Vec<(Set, Set)> = series
            .iter()
            .map(|(labels, exemplar)| (expected(labels, &job(labels)), expected(exemplar, &job(labels))))
            .collect();
        let is_changed = wanted != series;

        let bytes = request_v1(&series).encode_to_vec();
        let redacted = redact(&rules, WireFormat::RemoteWrite1, &bytes);
        prop_assert_eq!(v1::WriteRequest::decode(&*redacted).expect("a request"), request_v1(&wanted));
        prop_assert_eq!(matches!(redacted, Cow::Owned(_)), is_changed);

        let bytes = request_v2(&series).encode_to_vec();
        let redacted = redact(&rules, WireFormat::RemoteWrite2, &bytes);
        let request = v2::Request::decode(&*redacted).expect("a request");
        prop_assert_eq!(sets_v2(&request), wanted);
        prop_assert_eq!(matches!(redacted, Cow::Owned(_)), is_changed);
        prop_assert!(!contains(&redacted, "bob@example.com"));
        if is_changed {
            let used: Vec<String> = sets_v2(&request)
                .into_iter()
                .flat_map(|(labels, exemplar)| labels.into_iter().chain(exemplar))
                .flat_map(|(name, value)| [name, value])
                .collect();
            let unused = request.symbols.iter().find(|text| !text.is_empty() && !used.contains(text));
            prop_assert_eq!(unused, None, "texts that nothing refers to are emptied");
        }
    }
}

#[test]
fn help_and_unit_are_searched_and_the_name_of_a_metric_is_never_left_out() {
    let rules = rules("rules:\n- {name: all, keys: ['*'], action: drop}\n- {name: m, pattern: email, action: drop}\n");
    let first = v1::WriteRequest {
        timeseries: vec![v1::TimeSeries {
            labels: labels_v1(&vec![("__name__".into(), "up".into()), ("job".into(), "shop".into())]),
            ..v1::TimeSeries::default()
        }],
        metadata: vec![v1::MetricMetadata { help: "ask bob@x.org".into(), ..v1::MetricMetadata::default() }],
    };
    let bytes = first.encode_to_vec();
    let redacted = v1::WriteRequest::decode(&*redact(&rules, WireFormat::RemoteWrite1, &bytes)).expect("a request");
    assert_eq!(redacted.timeseries[0].labels, labels_v1(&vec![("__name__".into(), "up".into())]));
    assert_eq!(redacted.metadata[0].help, "ask ");

    let second = v2::Request {
        symbols: ["", "__name__", "up", "ask bob@x.org", "job"].map(str::to_owned).to_vec(),
        timeseries: vec![v2::TimeSeries {
            labels_refs: vec![1, 2, 4, 2],
            metadata: Some(v2::Metadata { help_ref: 3, ..v2::Metadata::default() }),
            ..v2::TimeSeries::default()
        }],
    };
    let bytes = second.encode_to_vec();
    let redacted = v2::Request::decode(&*redact(&rules, WireFormat::RemoteWrite2, &bytes)).expect("a request");
    assert_eq!(redacted.symbols, ["", "__name__", "up", "", "", "ask "]);
    assert_eq!(redacted.timeseries[0].labels_refs, [1, 2]);
    assert_eq!(redacted.timeseries[0].metadata.as_ref().map(|metadata| metadata.help_ref), Some(5));
}

/// A help text of version 1.0 stands beside the series and names no service: rules for a service look at it all the same,
/// whichever series came before it.
#[test]
fn rules_for_a_service_look_at_what_names_none() {
    let rules = rules("rules: [{name: m, pattern: email, action: drop, services: [shop]}]");
    let series = |job: &str| v1::TimeSeries {
        labels: labels_v1(&vec![("__name__".into(), "up".into()), ("job".into(), job.into())]),
        ..v1::TimeSeries::default()
    };
    let metadata =
        v1::MetricMetadata { metric_family_name: "up".into(), help: "ask bob@x.org".into(), ..Default::default() };
    for job in ["shop", "cart"] {
        let series = v1::WriteRequest { timeseries: vec![series(job)], metadata: vec![] }.encode_to_vec();
        let metadata = v1::WriteRequest { timeseries: vec![], metadata: vec![metadata.clone()] }.encode_to_vec();
        let unknown = field(77, b"bob@x.org");
        for bytes in [[&series[..], &metadata, &unknown].concat(), [&unknown[..], &metadata, &series].concat()] {
            let redacted = redact(&rules, WireFormat::RemoteWrite1, &bytes);
            assert!(!contains(&redacted, "bob@x.org"), "{job}");
            assert_eq!(v1::WriteRequest::decode(&*redacted).expect("a request").metadata[0].help, "ask ");
        }
    }
}

#[test]
fn references_that_point_nowhere_are_left_to_the_decoder() {
    let request = v2::Request {
        symbols: ["", "password", "hunter2"].map(str::to_owned).to_vec(),
        timeseries: vec![
            v2::TimeSeries { labels_refs: vec![1, 2, 9, 9], ..v2::TimeSeries::default() },
            v2::TimeSeries { labels_refs: vec![1, 2, 1], ..v2::TimeSeries::default() },
        ],
    };
    let bytes = request.encode_to_vec();
    let redacted =
        redact(&rules("rules: [{name: p, keys: [password], action: drop}]"), WireFormat::RemoteWrite2, &bytes);
    let redacted = v2::Request::decode(&*redacted).expect("a request");
    assert_eq!(redacted.symbols, ["", "password", ""]);
    assert_eq!(redacted.timeseries[0].labels_refs, [9, 9]);
    assert_eq!(redacted.timeseries[1].labels_refs, [1]);
}
