//! What can be told from the texts of templates.

/// The labels that a template's actions use as `$labels.name` or `.Labels.name`.
pub(super) fn labels_used(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for action in actions(text) {
        for prefix in ["$labels.", ".Labels."] {
            for (at, _) in action.match_indices(prefix) {
                let before = action[..at].chars().next_back();
                // `.Labels` of a sample, as in `range query`, is not of the alert.
                let is_own = prefix == "$labels." || (before.is_none_or(char::is_whitespace) && !is_nested(text));
                let name = &action[at + prefix.len()..];
                let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(name.len());
                if is_own && end > 0 {
                    found.push(name[..end].to_owned());
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Whether the dot may be something else than the alert.
fn is_nested(text: &str) -> bool {
    actions(text).any(|action| {
        let word = action.trim_start_matches('-').split_whitespace().next().unwrap_or_default();
        matches!(word, "range" | "with" | "define" | "block" | "template")
    })
}

/// What stands between the braces.
fn actions(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).map(|tail| tail.split_once("}}").map_or(tail, |(action, _)| action))
}

/// A variable of templates where it is plain text.
pub(super) fn outside_of_action(text: &str) -> Option<&'static str> {
    let is_outside = |variable: &str| {
        let first = text.split("{{").next().unwrap_or_default();
        let after = text.split("}}").skip(1).map(|tail| tail.split("{{").next().unwrap_or_default());
        std::iter::once(first).chain(after).any(|plain| plain.contains(variable))
    };
    ["$labels", "$value", ".Labels."].into_iter().find(|variable| is_outside(variable))
}
