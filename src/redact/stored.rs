//! What is stored, read back through the API and made requests again, so that rules see it as they would have seen it then.

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};
use trivium_client::Server;
use trivium_ingest::decode::json_to_protobuf;
use trivium_model::SignalKind;

/// Which records are looked at.
pub(super) struct Range<'a> {
    pub(super) start: Option<&'a str>,
    pub(super) end: Option<&'a str>,
    /// Records of each table at most, the newest.
    pub(super) limit: u64,
}

/// A record, or a series, as a request.
pub(super) struct Record {
    pub(super) service: String,
    pub(super) payload: Vec<u8>,
}

/// What a table gave.
pub(super) struct Answer {
    pub(super) records: Vec<Record>,
    /// Whether there may be more than were looked at.
    pub(super) is_partial: bool,
}

/// A table, and how its rows become requests. The service comes first.
pub(super) struct Source {
    pub(super) table: &'static str,
    pub(super) signal: SignalKind,
    columns: &'static str,
    /// Series are looked at once, not with each of their points.
    is_distinct: bool,
    request: fn(&Row<'_>) -> Value,
}

/// The tables that have what clients sent.
pub(super) const SOURCES: [Source; 4] = [
    Source {
        table: "logs",
        signal: SignalKind::Logs,
        columns: "service_name, resource, scope, severity_text, body, body_type, event_name, attributes",
        is_distinct: false,
        request: log,
    },
    Source {
        table: "spans",
        signal: SignalKind::Traces,
        columns: "service_name, resource, scope, name, trace_state, status_message, attributes, events, links",
        is_distinct: false,
        request: span,
    },
    Source {
        table: "metrics",
        signal: SignalKind::Metrics,
        columns: "service_name, resource, scope, metric_name, unit, description, metadata, attributes",
        is_distinct: true,
        request: series,
    },
    Source {
        table: "exemplars",
        signal: SignalKind::Metrics,
        columns: "service_name, filtered_attributes",
        is_distinct: false,
        request: exemplar,
    },
];

impl Source {
    fn sql(&self, range: &Range<'_>) -> String {
        let quoted = |time: &str| format!("'{}'", time.replace('\'', "''"));
        let since = range.start.map(|start| format!("time >= {}", quoted(start)));
        let until = range.end.map(|end| format!("time < {}", quoted(end)));
        let conditions: Vec<String> = since.into_iter().chain(until).collect();
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let Self { table, columns, .. } = self;
        let limit = range.limit;
        match self.is_distinct {
            true => format!("SELECT DISTINCT {columns} FROM {table}{condition} LIMIT {limit}"),
            false => format!("SELECT {columns} FROM {table}{condition} ORDER BY time DESC LIMIT {limit}"),
        }
    }

    /// Asks for the newest records of the range.
    pub(super) async fn ask(&self, server: &Server, range: &Range<'_>) -> anyhow::Result<Answer> {
        let answer = trivium_client::sql(server, &self.sql(range), true).await?;
        let answer: Value = serde_json::from_str(&answer).context("the server's answer is no JSON")?;
        let columns: Vec<&str> = self.columns.split(", ").collect();
        let rows = answer["rows"].as_array().ok_or_else(|| anyhow!("the server's answer has no rows"))?;
        let records = rows.iter().map(|row| self.record(&Row { columns: &columns, values: row }));
        let records = records.collect::<anyhow::Result<Vec<_>>>()?;
        let is_partial =
            records.len() as u64 >= range.limit || answer["truncated"] == true || answer["partial"] == true;
        Ok(Answer { records, is_partial })
    }

    fn record(&self, row: &Row<'_>) -> anyhow::Result<Record> {
        let request = (self.request)(row).to_string();
        let payload = json_to_protobuf(self.signal, request.as_bytes());
        let payload = payload.with_context(|| format!("a row of {} cannot be made a request", self.table))?;
        Ok(Record { service: row.text("service_name").to_owned(), payload })
    }
}

/// A row of an answer.
pub(super) struct Row<'a> {
    columns: &'a [&'a str],
    values: &'a Value,
}

impl Row<'_> {
    fn get(&self, column: &str) -> &Value {
        let index = self.columns.iter().position(|known| *known == column);
        index.map_or(&Value::Null, |index| &self.values[index])
    }

    fn text(&self, column: &str) -> &str {
        self.get(column).as_str().unwrap_or_default()
    }

    /// A set of attributes, which the store keeps as a JSON text.
    fn attributes(&self, column: &str) -> Value {
        attributes(self.get(column))
    }

    fn scope(&self) -> Value {
        let mut scope = parsed(self.get("scope"));
        let mut text =
            |key: &str| scope.remove(key).and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        json!({"name": name, "version": version, "attributes": pairs(scope)})
    }

    fn resource(&self) -> Value {
        json!({ "attributes": self.attributes("resource") })
    }
}

fn log(row: &Row<'_>) -> Value {
    let body = row.text("body");
    let body = match row.text("body_type") {
        "" | "string" => json!({ "stringValue": body }),
        _ => serde_json::from_str(body).map_or_else(|_| json!({ "stringValue": body }), any_value),
    };
    let record = json!({
        "severityText": row.text("severity_text"), "body": body, "eventName": row.text("event_name"),
        "attributes": row.attributes("attributes"),
    });
    json!({"resourceLogs": [{"resource": row.resource(), "scopeLogs": [{"scope": row.scope(), "logRecords": [record]}]}]})
}

fn span(row: &Row<'_>) -> Value {
    let elements = |column: &str| row.get(column).as_array().cloned().unwrap_or_default();
    let text = |element: &Value, key: &str| element[key].as_str().unwrap_or_default().to_owned();
    let events = elements("events");
    let event = |event: &Value| json!({"name": text(event, "name"), "attributes": attributes(&event["attributes"])});
    let links = elements("links");
    let link =
        |link: &Value| json!({"traceState": text(link, "trace_state"), "attributes": attributes(&link["attributes"])});
    let span = json!({
        "name": row.text("name"), "traceState": row.text("trace_state"), "attributes": row.attributes("attributes"),
        "status": {"message": row.text("status_message")},
        "events": events.iter().map(event).collect::<Value>(), "links": links.iter().map(link).collect::<Value>(),
    });
    json!({"resourceSpans": [{"resource": row.resource(), "scopeSpans": [{"scope": row.scope(), "spans": [span]}]}]})
}

fn series(row: &Row<'_>) -> Value {
    let point = json!({ "attributes": row.attributes("attributes") });
    let metric = json!({
        "name": row.text("metric_name"), "unit": row.text("unit"), "description": row.text("description"),
        "metadata": row.attributes("metadata"), "gauge": {"dataPoints": [point]},
    });
    json!({"resourceMetrics": [{"resource": row.resource(), "scopeMetrics": [{"scope": row.scope(), "metrics": [metric]}]}]})
}

fn exemplar(row: &Row<'_>) -> Value {
    let point = json!({"exemplars": [{"filteredAttributes": row.attributes("filtered_attributes")}]});
    let resource = json!({"attributes": [{"key": "service.name", "value": {"stringValue": row.text("service_name")}}]});
    let metrics = json!([{"gauge": {"dataPoints": [point]}}]);
    json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})
}

fn parsed(set: &Value) -> Map<String, Value> {
    let parsed = set.as_str().and_then(|text| serde_json::from_str(text).ok());
    parsed.or_else(|| set.as_object().cloned()).unwrap_or_default()
}

fn attributes(set: &Value) -> Value {
    pairs(parsed(set))
}

fn pairs(set: Map<String, Value>) -> Value {
    set.into_iter().map(|(key, value)| json!({"key": key, "value": any_value(value)})).collect()
}

/// A value as OTLP has it.
fn any_value(value: Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({"intValue": integer.to_string()}),
            None => json!({ "doubleValue": number }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => {
            json!({"arrayValue": {"values": values.into_iter().map(any_value).collect::<Value>()}})
        }
        Value::Object(pairs) => json!({"kvlistValue": {"values": self::pairs(pairs)}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    use trivium_model::WireFormat;
    use trivium_redact::{Counts, Rules};

    /// Every text of a row is seen by the rules, at its place and under its key.
    #[test]
    fn a_row_is_searched_as_what_was_sent() {
        let text = "rules:\n- {name: mail, pattern: email, action: drop}\n\
                    - {name: keys, keys: [password], action: drop, services: [shop]}\n";
        let rules = Rules::parse(text, Path::new("")).expect("valid rules");
        let set = r#"{"m":{"password":"x"},"n":4,"to":"dora@example.com"}"#;
        let resource = r#"{"service.name":"shop"}"#;
        let mail = "dora@example.com";
        let children = json!([{"name": mail, "attributes": set, "trace_state": null}]);
        let rows = [
            (json!(["shop", resource, r#"{"name":"dora@example.com"}"#, mail, mail, "string", mail, set]), [5, 1]),
            (json!(["shop", resource, "{}", "", set, "kvlist", null, "{}"]), [1, 1]),
            (json!(["cart", "{}", "{}", "", set, "kvlist", null, "{}"]), [1, 0]),
            (json!(["shop", resource, "{}", mail, null, mail, set, children, children]), [6, 3]),
            (json!(["shop", resource, "{}", "up", null, mail, null, set]), [2, 1]),
            (json!(["shop", set]), [1, 1]),
        ];
        let sources = [0, 0, 0, 1, 2, 3].map(|index| &SOURCES[index]);
        for (source, (row, expected)) in sources.into_iter().zip(rows) {
            let columns: Vec<&str> = source.columns.split(", ").collect();
            let record = source.record(&Row { columns: &columns, values: &row }).expect("a request");
            let mut counts = Counts::default();
            rules.redact(source.signal, WireFormat::Otlp, &record.payload, &mut counts).expect("readable");
            assert_eq!([counts.of(0), counts.of(1)], expected, "{row}");
        }
    }

    #[test]
    fn times_and_limits_are_in_the_statement() {
        let range = Range { start: Some("now-1d"), end: Some("2024-01-01' OR '1'='1"), limit: 7 };
        let sql = SOURCES[0].sql(&range);
        assert!(
            sql.ends_with("WHERE time >= 'now-1d' AND time < '2024-01-01'' OR ''1''=''1' ORDER BY time DESC LIMIT 7"),
            "{sql}"
        );
        let all = Range { start: None, end: None, limit: 7 };
        assert!(SOURCES[2].sql(&all).ends_with("FROM metrics LIMIT 7"), "{}", SOURCES[2].sql(&all));
    }
}
