//! The functions of Prometheus' rule templates.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Call, Functions, escape, humanize, text, wrong_type};
use crate::time::Time;
use crate::value::Value;

/// What some of the functions tell.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The time of the evaluation, in seconds since 1970: `now`.
    pub now: f64,
    /// The address people reach us at: `externalURL`, `pathPrefix`.
    pub external_url: String,
}

/// A sample as `query` gives it: `.Labels` and `.Value`.
pub fn sample(labels: BTreeMap<String, String>, value: f64) -> Value {
    Value::record("*template.sample", vec![("Labels", Value::labels(labels)), ("Value", value.into())])
}

/// The data of an alert's label and annotation templates: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`.
pub fn data(
    labels: BTreeMap<String, String>,
    external_labels: BTreeMap<String, String>,
    external_url: &str,
    value: f64,
) -> Value {
    Value::record(
        "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }",
        vec![
            ("Labels", Value::labels(labels)),
            ("ExternalLabels", Value::labels(external_labels)),
            ("ExternalURL", external_url.into()),
            ("Value", value.into()),
        ],
    )
}

/// The variables that rule templates find declared.
pub const VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// Those variables with the values of [`data`].
pub fn variables(data: &Value) -> Vec<(&'static str, Value)> {
    let Value::Struct(record) = data else {
        return Vec::new();
    };
    let field = |name| record.field(name).cloned().unwrap_or_default();
    VARIABLES.into_iter().zip(["Labels", "ExternalLabels", "ExternalURL", "Value"].map(field)).collect()
}

/// Every function but `query`, which the caller adds because it needs a query engine.
pub fn functions(environment: &Environment) -> Functions<'static> {
    let mut functions = Functions::new();
    text::insert(&mut functions);
    insert_vectors(&mut functions);
    insert_numbers(&mut functions);
    insert_links(&mut functions, environment);
    let now = environment.now;
    functions.insert("now", move |_| Ok(now.into()));
    functions.insert("title", |call| text::map(call, |text| text::title(text, false)));
    functions.insert("args", |call| {
        let arguments = call.arguments().iter().enumerate();
        Ok(Value::map(arguments.map(|(index, value)| (format!("arg{index}"), value.clone())).collect()))
    });
    functions.insert("tmpl", |call| {
        call.expect(2)?;
        let (name, data) = (call.text(0)?.to_owned(), call.value(1)?.clone());
        call.template(&name, data).map(|text| Value::Html(text.into()))
    });
    functions
}

/// The same with `query` in place, which answers nothing: for checks at load and tools without data.
pub fn functions_for_check(environment: &Environment) -> Functions<'static> {
    functions(environment).with("query", |_| Err("queries are not available here".to_owned()))
}

fn insert_vectors(functions: &mut Functions<'_>) {
    functions.insert("first", |call| {
        call.expect(1)?;
        call.items(0)?.into_iter().next().ok_or_else(|| "first() called on vector with no elements".to_owned())
    });
    functions.insert("label", |call| {
        call.expect(2)?;
        Ok(label_of(call.value(1)?, call.text(0)?)?.into())
    });
    functions.insert("strvalue", |call| {
        call.expect(1)?;
        Ok(label_of(call.value(0)?, "__value__")?.into())
    });
    functions.insert("value", |call| {
        call.expect(1)?;
        match call.value(0)? {
            Value::Struct(record) => {
                record.field("Value").cloned().ok_or_else(|| wrong_type("*template.sample", &call.arguments()[0]))
            }
            other => Err(wrong_type("*template.sample", other)),
        }
    });
    functions.insert("sortByLabel", |call| {
        call.expect(2)?;
        let label = call.text(0)?;
        let keyed = call.items(1)?.into_iter().map(|sample| Ok((label_of(&sample, label)?, sample)));
        let mut samples = keyed.collect::<Result<Vec<_>, String>>()?;
        samples.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Value::list(samples.into_iter().map(|(_, sample)| sample).collect()))
    });
}

fn label_of(sample: &Value, name: &str) -> Result<String, String> {
    match sample {
        Value::Struct(record) => match record.field("Labels") {
            Some(Value::Labels(labels)) => Ok(labels.get(name).cloned().unwrap_or_default()),
            _ => Err(wrong_type("*template.sample", sample)),
        },
        other => Err(wrong_type("*template.sample", other)),
    }
}

fn insert_numbers(functions: &mut Functions<'_>) {
    functions.insert("humanize", |call| number(call, humanize::decimal));
    functions.insert("humanize1024", |call| number(call, humanize::binary));
    functions.insert("humanizeDuration", humanize_duration);
    functions.insert("humanizePercentage", |call| number(call, |value| humanize::short(value * 100.0) + "%"));
    functions.insert("humanizeTimestamp", |call| {
        call.expect(1)?;
        let value = call.number(0)?;
        if !value.is_finite() {
            return Ok(humanize::short(value).into());
        }
        Ok(to_time(value)?.to_string().into())
    });
    functions.insert("toTime", |call| {
        call.expect(1)?;
        let value = call.number(0)?;
        if !value.is_finite() {
            return Err("value is NaN or Inf".to_owned());
        }
        Ok(to_time(value)?.into())
    });
    functions.insert("toDuration", |call| {
        call.expect(1)?;
        let nanoseconds = call.number(0)? * 1e9;
        if !nanoseconds.is_finite() {
            return Err("value is NaN or Inf".to_owned());
        }
        if nanoseconds.abs() >= i64::MAX as f64 {
            return Err(format!("{} seconds overflow a duration", humanize::short(nanoseconds / 1e9)));
        }
        Ok(Value::Duration(nanoseconds as i64))
    });
    functions.insert("parseDuration", |call| {
        call.expect(1)?;
        parse_duration(call.text(0)?).map(Value::Float)
    });
}

pub(super) fn humanize_duration(call: &mut Call<'_>) -> Result<Value, String> {
    number(call, humanize::duration)
}

fn number(call: &Call<'_>, print: fn(f64) -> String) -> Result<Value, String> {
    call.expect(1)?;
    Ok(print(call.number(0)?).into())
}

/// Prometheus' times have milliseconds.
fn to_time(seconds: f64) -> Result<Time, String> {
    let nanoseconds = seconds * 1e9;
    if nanoseconds.abs() >= i64::MAX as f64 {
        let shown = crate::number::float(seconds, 'g', None);
        return Err(format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"));
    }
    let nanoseconds = nanoseconds as i64;
    Ok(Time::from_unix_nanos(nanoseconds - nanoseconds % 1_000_000))
}

/// `1h2m10ms` in seconds.
fn parse_duration(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 31_536_000_000),
        ("w", 604_800_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let bad = || format!("not a valid duration string: {text:?}");
    if text == "0" {
        return Ok(0.0);
    }
    let (mut rest, mut millis, mut units) = (text, 0u64, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = &rest[digits..];
        let length = unit.len() - unit.trim_start_matches(|letter: char| letter.is_ascii_lowercase()).len();
        let at = units.iter().position(|(name, _)| *name == &unit[..length]).ok_or_else(bad)?;
        let part = count.checked_mul(units[at].1).ok_or("duration out of range")?;
        millis = millis.checked_add(part).ok_or("duration out of range")?;
        units = &units[at + 1..];
        rest = &unit[length..];
    }
    if text.is_empty() { Err("empty duration string".to_owned()) } else { Ok(millis as f64 / 1e3) }
}

fn insert_links(functions: &mut Functions<'_>, environment: &Environment) {
    let link = |expression: &str, tab: u8| format!("/graph?g0.expr={}&g0.tab={tab}", escape::query(expression));
    functions.insert("graphLink", move |call| text::map(call, |expression| link(expression, 0)));
    functions.insert("tableLink", move |call| text::map(call, |expression| link(expression, 1)));
    functions.insert("urlQueryEscape", |call| text::map(call, escape::query));
    functions.insert("stripPort", |call| {
        text::map(call, |address| match split_host_port(address) {
            Some((host, _)) => host.to_owned(),
            None => address.to_owned(),
        })
    });
    functions.insert("stripDomain", |call| text::map(call, strip_domain));
    let url = environment.external_url.clone();
    let path = url.split_once("://").map_or("", |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    functions.insert("externalURL", move |_| Ok(url.as_str().into()));
    functions.insert("pathPrefix", move |_| Ok(path.as_str().into()));
}

/// As Go's `net.SplitHostPort`.
fn split_host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    let inner = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!inner.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((inner, port))
}

fn strip_domain(address: &str) -> String {
    let (host, port) = split_host_port(address).unwrap_or((address, ""));
    if host.parse::<IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}
