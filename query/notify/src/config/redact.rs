//! The configuration as it may be shown: YAML without secrets, which amtool reads.

use serde_json::Value;

use super::value::SECRET;
use crate::labels::quote;

/// Keys whose values are secrets wherever they stand.
const SECRETS: [&str; 17] = [
    "slack_api_url",
    "smtp_auth_password",
    "smtp_auth_secret",
    "auth_password",
    "auth_secret",
    "password",
    "credentials",
    "bearer_token",
    "service_key",
    "routing_key",
    "api_key",
    "opsgenie_api_key",
    "victorops_api_key",
    "wechat_api_secret",
    "webhook_url",
    "api_secret",
    "client_secret",
];

pub(super) fn redact(mut config: Value) -> String {
    hide(&mut config, "");
    let mut text = String::new();
    write(&config, 0, &mut text);
    text
}

/// `section` is the key of the list or mapping around: `api_url` is a secret in `slack_configs` alone.
fn hide(value: &mut Value, section: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, section)),
        Value::Object(entries) => {
            for (key, value) in entries {
                let is_empty = value.as_str().is_none_or(str::is_empty);
                match (key.as_str(), section) {
                    ("api_url", "slack_configs") if !is_empty => *value = SECRET.into(),
                    ("url", "webhook_configs") => *value = without_path(value.as_str().unwrap_or_default()).into(),
                    (key, _) if SECRETS.contains(&key) && (!is_empty || value.is_number()) => *value = SECRET.into(),
                    ("key", section) if !is_empty && section.ends_with("tls_config") => *value = SECRET.into(),
                    ("proxy_url", _) if !is_empty => *value = SECRET.into(),
                    ("token_url", _) => *value = without_user(value.as_str().unwrap_or_default()).into(),
                    // Parameters of a token endpoint may be assertions and passwords.
                    ("endpoint_params" | "secrets", _) => all(value),
                    ("name", "receivers") => {}
                    (key, _) => hide(value, key),
                }
            }
        }
        _ => {}
    }
}

/// Hides all values within, whatever their names.
fn all(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(all),
        Value::Object(entries) => entries.values_mut().for_each(all),
        Value::Null => {}
        other => *other = SECRET.into(),
    }
}

/// A URL without the name, the password and the parameters in it.
pub(crate) fn without_user(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return SECRET.to_owned() };
    let had_user = !parsed.username().is_empty() || parsed.password().is_some();
    if !had_user && parsed.query().is_none() {
        return url.to_owned();
    }
    parsed.set_query(None);
    match (parsed.set_username(""), parsed.set_password(None)) {
        (Ok(()), Ok(())) => parsed.to_string(),
        _ => SECRET.to_owned(),
    }
}

/// Old versions of amtool want a URL here and not `<secret>`; the host alone is no secret.
fn without_path(url: &str) -> String {
    let parsed = reqwest::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some((url.scheme(), url.host_str()?, url.port())));
    match host {
        Some((scheme, host, Some(port))) => format!("{scheme}://{host}:{port}/{SECRET}"),
        Some((scheme, host, None)) => format!("{scheme}://{host}/{SECRET}"),
        None => SECRET.to_owned(),
    }
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let is_plain = key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
                let is_word = is_plain && key.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_');
                let is_safe = is_word
                    && !matches!(key.as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
                let key = if is_safe { key.clone() } else { quote(key) };
                out.push_str(&format!("{indent}{key}:"));
                nested(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                write(item, depth + 1, &mut inner);
                let is_block = matches!(item, Value::Object(entries) if !entries.is_empty())
                    || matches!(item, Value::Array(items) if !items.is_empty());
                if is_block {
                    out.push_str(&format!("{indent}- {}", &inner[indent.len() + 2..]));
                } else {
                    out.push_str(&format!("{indent}- {inner}\n"));
                }
            }
        }
        Value::String(text) => out.push_str(&quote(text)),
        other => out.push_str(&other.to_string()),
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let is_block = matches!(value, Value::Object(entries) if !entries.is_empty())
        || matches!(value, Value::Array(items) if !items.is_empty());
    out.push(if is_block { '\n' } else { ' ' });
    write(value, depth, out);
    if !is_block {
        out.push('\n');
    }
}
