//! The functions that templates call.

pub mod alertmanager;
pub(crate) mod builtin;
mod compare;
pub(crate) mod escape;
mod humanize;
pub mod prometheus;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::Regex;

use crate::value::Value;

/// A function: arguments in, value or reason out.
pub type Function<'f> = Arc<dyn for<'a> Fn(&mut Call<'a>) -> Result<Value, String> + Send + Sync + 'f>;

/// Functions by name. The built-in ones of the language are always there.
#[derive(Clone, Default)]
pub struct Functions<'f> {
    functions: BTreeMap<Cow<'static, str>, Function<'f>>,
}

impl fmt::Debug for Functions<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.functions.keys()).finish()
    }
}

impl<'f> Functions<'f> {
    /// No functions but the built-in ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function, or replaces the one of that name.
    pub fn insert<F>(&mut self, name: impl Into<Cow<'static, str>>, function: F)
    where
        F: for<'a> Fn(&mut Call<'a>) -> Result<Value, String> + Send + Sync + 'f,
    {
        self.functions.insert(name.into(), Arc::new(function));
    }

    /// The same with one more function.
    #[must_use]
    pub fn with<F>(mut self, name: impl Into<Cow<'static, str>>, function: F) -> Self
    where
        F: for<'a> Fn(&mut Call<'a>) -> Result<Value, String> + Send + Sync + 'f,
    {
        self.insert(name, function);
        self
    }

    /// Whether there is such a function, the built-in ones included.
    pub fn contains(&self, name: &str) -> bool {
        builtin::NAMES.contains(&name) || self.functions.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Function<'f>> {
        self.functions.get(name).map(Arc::clone)
    }
}

/// What a function may ask of the execution that calls it.
pub(crate) trait Host {
    fn regex(&mut self, pattern: &str) -> Result<Regex, String>;
    fn template(&mut self, name: &str, data: Value) -> Result<String, String>;
    fn charge(&mut self, bytes: usize) -> Result<(), String>;
    fn text_limit(&self) -> usize;
    fn is_html(&self) -> bool;
}

/// One call of a function.
pub struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [Value],
    pub(crate) host: &'a mut dyn Host,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Call").field("name", &self.name).field("arguments", &self.arguments).finish()
    }
}

impl Call<'_> {
    /// The arguments, the piped one last.
    pub fn arguments(&self) -> &[Value] {
        self.arguments
    }

    /// Refuses any other number of arguments.
    pub fn expect(&self, count: usize) -> Result<(), String> {
        let found = self.arguments.len();
        if found == count {
            return Ok(());
        }
        Err(format!("wrong number of args for {}: want {count} got {found}", self.name))
    }

    /// Refuses fewer arguments.
    pub fn expect_at_least(&self, count: usize) -> Result<(), String> {
        let found = self.arguments.len();
        if found >= count {
            return Ok(());
        }
        Err(format!("wrong number of args for {}: want at least {count} got {found}", self.name))
    }

    /// An argument.
    pub fn value(&self, index: usize) -> Result<&Value, String> {
        self.arguments.get(index).ok_or_else(|| {
            format!("wrong number of args for {}: want at least {} got {}", self.name, index + 1, self.arguments.len())
        })
    }

    /// An argument that must be text.
    pub fn text(&self, index: usize) -> Result<&str, String> {
        match self.value(index)? {
            Value::String(text) | Value::Html(text) => Ok(text),
            other => Err(wrong_type("string", other)),
        }
    }

    /// An argument that is a number, or text that says one.
    pub fn number(&self, index: usize) -> Result<f64, String> {
        match self.value(index)? {
            Value::Float(value) => Ok(*value),
            Value::Int(value) => Ok(*value as f64),
            Value::Duration(nanoseconds) => Ok(*nanoseconds as f64 / 1e9),
            Value::Time(time) => Ok(time.unix_seconds()),
            Value::String(text) | Value::Html(text) => {
                parse_float(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
            }
            other => Err(format!("can't convert {} to float", other.type_name())),
        }
    }

    /// An argument that must be a list.
    pub fn items(&self, index: usize) -> Result<Vec<Value>, String> {
        match self.value(index)?.plain() {
            Value::List(list) => Ok(list.items.clone()),
            Value::Nil => Ok(Vec::new()),
            other => Err(wrong_type("[]interface {}", &other)),
        }
    }

    /// A regular expression, compiled once per execution and limited in size.
    pub fn regex(&mut self, pattern: &str) -> Result<Regex, String> {
        self.host.regex(pattern)
    }

    /// Runs a template of the set.
    pub fn template(&mut self, name: &str, data: Value) -> Result<String, String> {
        self.host.template(name, data)
    }

    /// Counts work that the result does not show, such as a query's.
    pub fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.host.charge(bytes)
    }

    /// The most bytes a text may have.
    pub fn text_limit(&self) -> usize {
        self.host.text_limit()
    }

    /// Whether the output is HTML.
    pub fn is_html(&self) -> bool {
        self.host.is_html()
    }
}

pub(crate) fn wrong_type(expected: &str, found: &Value) -> String {
    format!("wrong type for value; expected {expected}; got {}", found.type_name())
}

/// A float as Go's `ParseFloat` takes it, without its hexadecimal form.
fn parse_float(text: &str) -> Option<f64> {
    let body = text.trim_start_matches(['+', '-']);
    let named = matches!(body.to_ascii_lowercase().as_str(), "inf" | "infinity" | "nan");
    if text.len() - body.len() > 1 || !(named || body.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        return None;
    }
    text.parse().ok()
}
