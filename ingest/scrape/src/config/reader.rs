//! Reads the tree of a YAML file key by key, so that every refusal names the path of the key and what is expected there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::ConfigError;

/// A mapping of the file from which keys are taken until none is left.
pub(crate) struct Map {
    path: String,
    entries: serde_json::Map<String, Value>,
}

/// A value and where it stands.
pub(crate) struct Node {
    pub(crate) path: String,
    value: Value,
}

/// Reads YAML, which is also JSON.
pub(crate) fn parse(text: &str) -> Result<Node, ConfigError> {
    let value = serde_saphyr::from_str(text).map_err(|error| ConfigError(format!("not valid YAML: {error}")))?;
    Ok(Node { path: String::new(), value })
}

impl Node {
    pub(crate) fn error(&self, expected: &str) -> ConfigError {
        let shown: String = self.value.to_string().chars().take(60).collect();
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        ConfigError(format!("{path}: {shown} is not {expected}"))
    }

    pub(crate) fn map(self) -> Result<Map, ConfigError> {
        match self.value {
            Value::Object(entries) => Ok(Map { path: self.path, entries }),
            Value::Null => Ok(Map { path: self.path, entries: serde_json::Map::new() }),
            _ => Err(self.error("a mapping")),
        }
    }

    pub(crate) fn list(self) -> Result<Vec<Self>, ConfigError> {
        match self.value {
            Value::Array(items) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(at, value)| Self { path: format!("{}[{at}]", self.path), value })
                .collect()),
            Value::Null => Ok(Vec::new()),
            _ => Err(self.error("a list")),
        }
    }

    pub(crate) fn string(self) -> Result<String, ConfigError> {
        match &self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
            Value::Null => Ok(String::new()),
            _ => Err(self.error("a text; put it in quotes")),
        }
    }

    pub(crate) fn bool(self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.error("true or false"))
    }

    pub(crate) fn count(self) -> Result<usize, ConfigError> {
        let count = self.value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.error("a number of 0 or more"))
    }

    pub(crate) fn duration(self) -> Result<Duration, ConfigError> {
        let expected = "a duration such as 15s or 1m30s";
        let duration = self.value.as_str().and_then(duration);
        duration.filter(|duration| !duration.is_zero()).ok_or_else(|| self.error(expected))
    }

    /// Bytes, with Prometheus' units: powers of 1024 whatever they are called.
    pub(crate) fn bytes(self) -> Result<usize, ConfigError> {
        let text = match &self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit {
            "" | "B" => 0,
            "KB" | "KiB" => 10,
            "MB" | "MiB" => 20,
            "GB" | "GiB" => 30,
            _ => return Err(self.error("a size such as 10MB")),
        };
        let size: Option<usize> = digits.parse().ok();
        size.and_then(|size| size.checked_mul(1 << shift)).ok_or_else(|| self.error("a size such as 10MB"))
    }

    pub(crate) fn strings(self) -> Result<Vec<String>, ConfigError> {
        self.list()?.into_iter().map(Self::string).collect()
    }

    pub(crate) fn labels(self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut labels = BTreeMap::new();
        for (name, node) in self.map()?.into_nodes() {
            labels.insert(name, node.string()?);
        }
        Ok(labels)
    }
}

impl Map {
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn error(&self, key: &str, problem: &str) -> ConfigError {
        ConfigError(format!("{}: {problem}", self.path_of(key)))
    }

    /// A value, if the key is there.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let value = self.entries.remove(key)?;
        Some(Node { path: self.path_of(key), value })
    }

    /// A value as `read` takes it, if the key is there.
    pub(crate) fn get<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(Node) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.take(key).map(read).transpose()
    }

    pub(crate) fn into_nodes(self) -> impl Iterator<Item = (String, Node)> {
        let path = self.path;
        self.entries.into_iter().map(move |(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            (key, Node { path, value })
        })
    }

    /// Refuses keys that nobody took; `known` are those that Prometheus has and we do not.
    pub(crate) fn finish(self, known: &[&str]) -> Result<(), ConfigError> {
        let Some(key) = self.entries.keys().next() else { return Ok(()) };
        let is_known = known.contains(&key.as_str()) || key.ends_with("_sd_configs");
        Err(self.error(key, if is_known { "not supported by Trivium" } else { "unknown key" }))
    }
}

/// A duration in Prometheus' notation: `1h30m`, `500ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut millis, mut next_unit) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len()));
        let at = UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next_unit)?;
        millis = millis.checked_add(digits.parse::<u64>().ok()?.checked_mul(UNITS[at].1)?)?;
        (rest, next_unit) = (tail, at + 1);
    }
    (!text.is_empty()).then_some(Duration::from_millis(millis))
}
