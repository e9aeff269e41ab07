//! Rules and SLOs that come with the program.

use trivium_query::alerting::BuiltIn;

/// With the demo: its rules and SLOs, so that there is a firing alert and a burning budget to look at. With our own telemetry in
/// the store: the alerts about Trivium itself.
pub(crate) fn built_in(demo: bool, self_telemetry: bool) -> BuiltIn {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let mut built_in = BuiltIn::default();
    if demo {
        built_in.rules.push(file("demo/rules.yaml", include_str!("../../deploy/demo/rules.yaml")));
        built_in.slos.push(file("demo/slos.yaml", include_str!("../../deploy/demo/slos.yaml")));
    }
    if self_telemetry {
        built_in.rules.push(file("rules/trivium.yaml", include_str!("../../deploy/rules/trivium.yaml")));
    }
    built_in
}
