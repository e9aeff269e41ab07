//! How the state of a group is kept in a [`StateStore`](trivium_model::StateStore).
//!
//! | kind | key | content |
//! |---|---|---|
//! | `rule_group` | group | last slot, health of its rules |
//! | `rule_alert` | group, rule, fingerprint | one alert |
//! | `rule_series` | group, rule, number | series that the rule wrote last, for staleness markers |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_model::{StateChange, StateError, StateStore, TenantId};
use trivium_promql::Labels;

use crate::alert::{Alert, AlertState, Fnv, fingerprint, to_map};
use crate::file::{Rule, RuleKind};

pub(crate) const GROUP: &str = "rule_group";
pub(crate) const ALERT: &str = "rule_alert";
pub(crate) const SERIES: &str = "rule_series";

/// Separates the parts of a key.
const SEPARATOR: char = '\u{1f}';

/// A record of series is not begun when the one before has less than this many bytes; far below the store's limit.
const SERIES_CHUNK_BYTES: usize = 256 * 1024;

/// The state of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    /// The last slot that was evaluated.
    pub(crate) slot_ms: i64,
    /// When that was.
    pub(crate) evaluated_ms: i64,
    /// How often it is evaluated.
    pub(crate) interval_ms: i64,
    /// Grows with every evaluation.
    pub(crate) generation: u64,
    /// Errors of rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) errors: BTreeMap<String, String>,
    /// When the inputs of rules that alert about missing data were last there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) inputs_seen_ms: BTreeMap<String, i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AlertRecord {
    source: BTreeMap<String, String>,
    seen_ms: i64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    state: AlertState,
    /// A text, because JSON knows neither NaN nor infinity.
    value: String,
    active_at_ms: i64,
    fired_at_ms: Option<i64>,
    resolved_at_ms: Option<i64>,
    last_sent_ms: Option<i64>,
    valid_until_ms: Option<i64>,
    keep_firing_since_ms: Option<i64>,
    no_data_since_ms: Option<i64>,
}

impl From<&Alert> for AlertRecord {
    fn from(alert: &Alert) -> Self {
        Self {
            source: to_map(&alert.source),
            seen_ms: alert.seen_ms,
            labels: to_map(&alert.labels),
            annotations: alert.annotations.clone(),
            state: alert.state,
            value: alert.value.to_string(),
            active_at_ms: alert.active_at_ms,
            fired_at_ms: alert.fired_at_ms,
            resolved_at_ms: alert.resolved_at_ms,
            last_sent_ms: alert.last_sent_ms,
            valid_until_ms: alert.valid_until_ms,
            keep_firing_since_ms: alert.keep_firing_since_ms,
            no_data_since_ms: alert.no_data_since_ms,
        }
    }
}

impl From<AlertRecord> for Alert {
    fn from(record: AlertRecord) -> Self {
        Self {
            source: Labels::new(record.source),
            seen_ms: record.seen_ms,
            labels: Labels::new(record.labels),
            annotations: record.annotations,
            state: record.state,
            value: record.value.parse().unwrap_or(f64::NAN),
            active_at_ms: record.active_at_ms,
            fired_at_ms: record.fired_at_ms,
            resolved_at_ms: record.resolved_at_ms,
            last_sent_ms: record.last_sent_ms,
            valid_until_ms: record.valid_until_ms,
            keep_firing_since_ms: record.keep_firing_since_ms,
            no_data_since_ms: record.no_data_since_ms,
        }
    }
}

/// What identifies each rule in its group: kind, name and labels, and among equal ones their order.
pub(crate) fn rule_keys(rules: &[Rule]) -> Vec<String> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let key = |rule: &Rule| {
        let mut hash = Fnv::default();
        hash.write(if rule.kind == RuleKind::Recording { b"record" } else { b"alert" });
        hash.write(&[255]);
        hash.write(rule.name.as_bytes());
        for (name, value) in &rule.labels {
            hash.write(&[255]);
            hash.write(name.as_bytes());
            hash.write(&[255]);
            hash.write(value.as_bytes());
        }
        let position = seen.entry(hash.0).or_insert(0);
        *position += 1;
        format!("{:016x}-{position}", hash.0)
    };
    rules.iter().map(key).collect()
}

/// The state of one rule.
#[derive(Debug, Default)]
pub(crate) struct RuleMemory {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) series: HashSet<Labels>,
}

/// The state of a group as it was read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) group: Option<GroupRecord>,
    pub(crate) rules: HashMap<String, RuleMemory>,
    pub(crate) written: Written,
}

/// What the store holds of a group, so that only changes are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(HashMap<(&'static str, String), u64>);

impl Written {
    /// The changes that make the store hold these records and no others, apart from series that did not change.
    pub(crate) fn changes(
        &mut self,
        records: Vec<(&'static str, String, Vec<u8>)>,
        kept: impl Fn(&'static str, &str) -> bool,
    ) -> Vec<StateChange> {
        let mut changes = Vec::new();
        let mut current = HashMap::with_capacity(records.len());
        for (kind, key, value) in records {
            let hash = hash(&value);
            let id = (kind, key);
            if self.0.remove(&id) != Some(hash) {
                changes.push(StateChange::Put { kind: kind.to_owned(), key: id.1.clone(), value });
            }
            current.insert(id, hash);
        }
        for ((kind, key), hash) in std::mem::take(&mut self.0) {
            if kept(kind, &key) {
                current.insert((kind, key), hash);
            } else {
                changes.push(StateChange::Delete { kind: kind.to_owned(), key });
            }
        }
        self.0 = current;
        changes
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The beginning of all keys of a rule.
pub(crate) fn rule_prefix(group: &str, rule: &str) -> String {
    format!("{group}{SEPARATOR}{rule}{SEPARATOR}")
}

pub(crate) fn group_record(group: &str, record: &GroupRecord) -> (&'static str, String, Vec<u8>) {
    (GROUP, group.to_owned(), json(record))
}

pub(crate) fn alert_record(group: &str, rule: &str, alert: &Alert) -> (&'static str, String, Vec<u8>) {
    let key = format!("{}{:016x}", rule_prefix(group, rule), fingerprint(&alert.labels));
    (ALERT, key, json(&AlertRecord::from(alert)))
}

pub(crate) fn series_records(
    group: &str,
    rule: &str,
    series: &HashSet<Labels>,
) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut sorted: Vec<&Labels> = series.iter().collect();
    sorted.sort_unstable();
    let (mut records, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut finish = |chunk: &mut Vec<BTreeMap<String, String>>| {
        if !chunk.is_empty() {
            let key = format!("{}{:05}", rule_prefix(group, rule), records.len());
            records.push((SERIES, key, json(&std::mem::take(chunk))));
        }
    };
    for labels in sorted {
        bytes += labels.iter().map(|label| label.name.len() + label.value.len() + 6).sum::<usize>();
        chunk.push(to_map(labels));
        if bytes > SERIES_CHUNK_BYTES {
            finish(&mut chunk);
            bytes = 0;
        }
    }
    finish(&mut chunk);
    records
}

#[expect(
    clippy::expect_used,
    reason = "these types have no map with keys that are no texts, and writing to memory works"
)]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structures are JSON")
}

/// Reads the state of a group. What cannot be understood is told and left out.
pub(crate) async fn load(store: &dyn StateStore, tenant: TenantId, group: &str) -> Result<Loaded, StateError> {
    let mut loaded = Loaded::default();
    let records = store.list(tenant, GROUP, group).await?;
    for record in records.into_iter().filter(|record| record.key == group) {
        loaded.written.0.insert((GROUP, record.key), hash(&record.value));
        loaded.group = understood(&record.value, group);
    }
    let prefix = format!("{group}{SEPARATOR}");
    for record in store.list(tenant, ALERT, &prefix).await? {
        loaded.written.0.insert((ALERT, record.key.clone()), hash(&record.value));
        let (Some(rule), Some(alert)) = (rule_of(&record.key, group), understood::<AlertRecord>(&record.value, group))
        else {
            continue;
        };
        loaded.rules.entry(rule.to_owned()).or_default().alerts.push(alert.into());
    }
    for record in store.list(tenant, SERIES, &prefix).await? {
        loaded.written.0.insert((SERIES, record.key.clone()), hash(&record.value));
        let series: Option<Vec<BTreeMap<String, String>>> = understood(&record.value, group);
        if let Some(rule) = rule_of(&record.key, group) {
            let sets = series.unwrap_or_default().into_iter().map(Labels::new);
            loaded.rules.entry(rule.to_owned()).or_default().series.extend(sets);
        }
    }
    Ok(loaded)
}

/// How often a group was evaluated.
pub(crate) fn interval(value: &[u8]) -> Option<Duration> {
    let record: GroupRecord = serde_json::from_slice(value).ok()?;
    u64::try_from(record.interval_ms).ok().map(Duration::from_millis)
}

/// The rule that a record belongs to.
pub(crate) fn rule_of<'a>(key: &'a str, group: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(group)?.strip_prefix(SEPARATOR)?;
    rest.split_once(SEPARATOR).map(|(rule, _)| rule)
}

fn understood<'a, T: Deserialize<'a>>(value: &'a [u8], group: &str) -> Option<T> {
    match serde_json::from_slice(value) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(group, %error, "a record of rule state cannot be understood; going on without it");
            None
        }
    }
}
