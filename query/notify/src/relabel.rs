//! Relabelling of alerts before they are routed or sent.

use std::sync::{Arc, Mutex, PoisonError};

use trivium_relabel::{Rule, apply};

use crate::alert::AlertInput;
use crate::config::AlertingFile;

/// `alert_relabel_configs`, exchanged when the configuration is read again.
#[derive(Debug, Default)]
pub struct AlertRelabelling(Mutex<Arc<[Rule]>>);

impl AlertRelabelling {
    /// The rules of a file.
    pub fn new(file: &AlertingFile) -> Self {
        Self(Mutex::new(file.relabel.clone().into()))
    }

    /// From now on by the rules of another file.
    pub fn replace(&self, file: &AlertingFile) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file.relabel.clone().into();
    }

    /// The alerts with their labels after all rules, without those that a rule drops.
    pub fn apply(&self, alerts: Vec<AlertInput>) -> Vec<AlertInput> {
        let rules = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if rules.is_empty() {
            return alerts;
        }
        alerts.into_iter().filter_map(|alert| relabel(&rules, alert)).collect()
    }
}

/// An alert that is left without labels is nobody, and goes too.
pub(crate) fn relabel(rules: &[Rule], mut alert: AlertInput) -> Option<AlertInput> {
    let is_kept = apply(rules, &mut alert.labels.0);
    alert.labels.0.retain(|_, value| !value.is_empty());
    (is_kept && !alert.labels.0.is_empty()).then_some(alert)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(rules: &str) -> AlertingFile {
        AlertingFile::parse(&format!("alerting: {{alert_relabel_configs: [{rules}]}}"), Path::new(".")).unwrap()
    }

    #[test]
    fn alerts_are_renamed_and_dropped_and_rules_exchanged() {
        let alert = |name: &str, replica: &str| AlertInput {
            labels: [("alertname", name), ("replica", replica)].into_iter().collect(),
            generator_url: "http://x".into(),
            ..AlertInput::default()
        };
        let relabelling = AlertRelabelling::new(&file(
            "{action: labeldrop, regex: replica}, {action: drop, source_labels: [alertname], regex: 'Watch.*'}, \
             {source_labels: [alertname], regex: 'Slow(.*)', target_label: what}, {target_label: gone, replacement: ''}",
        ));
        let told = relabelling.apply(vec![alert("SlowCart", "a"), alert("Watchdog", "a"), alert("Full", "b")]);
        let shown: Vec<String> = told.iter().map(|alert| alert.labels.to_string()).collect();
        assert_eq!(shown, [r#"{alertname="SlowCart", what="Cart"}"#, r#"{alertname="Full"}"#]);
        assert_eq!(told[0].generator_url, "http://x");
        relabelling.replace(&file("{action: keep, source_labels: [replica], regex: b}"));
        assert_eq!(relabelling.apply(vec![alert("A", "a"), alert("B", "b")]), [alert("B", "b")]);
        relabelling.replace(&file("{action: labelkeep, regex: none}"));
        assert_eq!(relabelling.apply(vec![alert("A", "a")]), []);
        assert_eq!(AlertRelabelling::default().apply(vec![alert("A", "a")]), [alert("A", "a")]);
    }
}
