//! The data of a notification, with the methods that Alertmanager's templates call on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::functions::wrong_type;
use crate::time::Time;
use crate::value::{Object, Value};

/// One alert of a notification.
#[derive(Clone, Debug)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, expanded.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: Time,
    /// Until when; Go's zero time while it fires.
    pub ends_at: Time,
    /// Where the alert came from.
    pub generator_url: String,
    /// Identifies the label set.
    pub fingerprint: String,
    /// More fields than Alertmanager's, such as what the diagnosis found.
    pub more: Vec<(&'static str, Value)>,
}

/// A notification: alerts of one group to one receiver.
#[derive(Clone, Debug)]
pub struct Data {
    /// The receiver's name.
    pub receiver: String,
    /// `firing` while one alert fires, else `resolved`.
    pub status: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
    /// What the group is grouped by.
    pub group_labels: BTreeMap<String, String>,
    /// Labels that all alerts share.
    pub common_labels: BTreeMap<String, String>,
    /// Annotations that all alerts share.
    pub common_annotations: BTreeMap<String, String>,
    /// The address people reach us at.
    pub external_url: String,
    /// More fields than Alertmanager's.
    pub more: Vec<(&'static str, Value)>,
}

impl From<Alert> for Value {
    fn from(alert: Alert) -> Self {
        let mut fields = vec![
            ("Status", alert.status.into()),
            ("Labels", labels(alert.labels)),
            ("Annotations", labels(alert.annotations)),
            ("StartsAt", alert.starts_at.into()),
            ("EndsAt", alert.ends_at.into()),
            ("GeneratorURL", alert.generator_url.into()),
            ("Fingerprint", alert.fingerprint.into()),
        ];
        fields.extend(alert.more);
        Value::record("template.Alert", fields)
    }
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        let mut fields = vec![
            ("Receiver", data.receiver.into()),
            ("Status", data.status.into()),
            ("Alerts", alerts(data.alerts.into_iter().map(Value::from).collect())),
            ("GroupLabels", labels(data.group_labels)),
            ("CommonLabels", labels(data.common_labels)),
            ("CommonAnnotations", labels(data.common_annotations)),
            ("ExternalURL", data.external_url.into()),
        ];
        fields.extend(data.more);
        Value::record("template.Data", fields)
    }
}

/// Labels with the methods `SortedPairs`, `Remove`, `Names` and `Values`.
pub fn labels(labels: BTreeMap<String, String>) -> Value {
    Value::Object(Arc::new(Labels(Arc::new(labels))))
}

/// A list of alerts with the methods `Firing` and `Resolved`.
fn alerts(alerts: Vec<Value>) -> Value {
    Value::Object(Arc::new(Alerts(Value::list(alerts))))
}

fn no_arguments(name: &str, arguments: &[Value], result: impl FnOnce() -> Value) -> Result<Value, String> {
    match arguments.len() {
        0 => Ok(result()),
        found => Err(format!("wrong number of args for {name}: want 0 got {found}")),
    }
}

#[derive(Debug)]
struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// The alert's name first, then by name.
    fn sorted(&self) -> Vec<(&String, &String)> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by_key(|(name, _)| (name.as_str() != "alertname", *name));
        pairs
    }

    fn pairs(&self) -> Pairs {
        Pairs(self.sorted().into_iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

impl Object for Labels {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn underlying(&self) -> Value {
        Value::Labels(Arc::clone(&self.0))
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        Some(match (name, arguments) {
            ("SortedPairs", _) => no_arguments(name, arguments, || Value::Object(Arc::new(self.pairs()))),
            ("Names", _) => no_arguments(name, arguments, || self.pairs().names()),
            ("Values", _) => no_arguments(name, arguments, || self.pairs().values()),
            ("String", _) => no_arguments(name, arguments, || self.pairs().text().into()),
            ("Remove", [keys]) => match keys.plain() {
                Value::List(list) => {
                    let removed =
                        |name: &str| list.items.iter().any(|key| matches!(key, Value::String(key) if **key == *name));
                    let kept = self.0.iter().filter(|(name, _)| !removed(name));
                    Ok(labels(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
                }
                other => Err(wrong_type("[]string", &other)),
            },
            ("Remove", _) => Err(format!("wrong number of args for Remove: want 1 got {}", arguments.len())),
            _ => return None,
        })
    }

    fn print(&self) -> Option<String> {
        Some(self.pairs().text())
    }
}

#[derive(Debug)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn names(&self) -> Value {
        Value::list(self.0.iter().map(|(name, _)| name.as_str().into()).collect())
    }

    fn values(&self) -> Value {
        Value::list(self.0.iter().map(|(_, value)| value.as_str().into()).collect())
    }

    fn text(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(", ")
    }
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn underlying(&self) -> Value {
        let pair = |(name, value): &(String, String)| {
            Value::record("template.Pair", vec![("Name", name.as_str().into()), ("Value", value.as_str().into())])
        };
        Value::list(self.0.iter().map(pair).collect())
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        Some(match name {
            "Names" => no_arguments(name, arguments, || self.names()),
            "Values" => no_arguments(name, arguments, || self.values()),
            "String" => no_arguments(name, arguments, || self.text().into()),
            _ => return None,
        })
    }

    fn print(&self) -> Option<String> {
        Some(self.text())
    }
}

#[derive(Debug)]
struct Alerts(Value);

impl Alerts {
    fn having(&self, status: &str) -> Value {
        let Value::List(list) = &self.0 else {
            return Value::Nil;
        };
        let has = |alert: &&Value| match alert {
            Value::Struct(record) => {
                matches!(record.field("Status"), Some(Value::String(found)) if **found == *status)
            }
            _ => false,
        };
        alerts(list.items.iter().filter(has).cloned().collect())
    }
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn underlying(&self) -> Value {
        self.0.clone()
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        Some(match name {
            "Firing" => no_arguments(name, arguments, || self.having("firing")),
            "Resolved" => no_arguments(name, arguments, || self.having("resolved")),
            _ => return None,
        })
    }
}
