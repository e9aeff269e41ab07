//! Rules and SLOs that come with the program.

use trivium_query::alerting::BuiltIn;

/// With the demo: its rules and SLOs, so that there is a firing alert and a burning budget to look at.
pub(crate) fn built_in(demo: bool) -> BuiltIn {
    if !demo {
        return BuiltIn::default();
    }
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    BuiltIn {
        rules: vec![file("demo/rules.yaml", include_str!("../../deploy/demo/rules.yaml"))],
        slos: vec![file("demo/slos.yaml", include_str!("../../deploy/demo/slos.yaml"))],
    }
}
