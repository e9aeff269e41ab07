//! What templates work on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::time::Time;

/// A value. Cloning is cheap: everything large is shared.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value.
    #[default]
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// Go's `int`.
    Int(i64),
    /// Go's `float64`.
    Float(f64),
    /// Go's `string`.
    String(Arc<str>),
    /// Text that is HTML already and is not escaped again.
    Html(Arc<str>),
    /// A slice.
    List(Arc<Nested<Vec<Value>>>),
    /// A map of strings: what it lacks is the empty string.
    Labels(Arc<BTreeMap<String, String>>),
    /// A map of anything: what it lacks is nil.
    Map(Arc<Nested<BTreeMap<String, Value>>>),
    /// A struct: what it lacks is an error.
    Struct(Arc<Struct>),
    /// A time.
    Time(Time),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A value with methods.
    Object(Arc<dyn Object>),
}

/// A collection that knows how deep it is: values nested without limit would overflow the stack when printed or dropped.
#[derive(Debug)]
pub struct Nested<T> {
    pub(crate) items: T,
    pub(crate) depth: u32,
}

impl<T> Nested<T> {
    /// The collection itself.
    pub fn items(&self) -> &T {
        &self.items
    }
}

/// A value with named fields, as a Go struct.
#[derive(Debug)]
pub struct Struct {
    /// As Go's `%T` prints it.
    pub type_name: &'static str,
    /// Names and values in the order of declaration.
    pub fields: Vec<(&'static str, Value)>,
}

/// A value with methods, such as the list of alerts of a notification.
pub trait Object: fmt::Debug + Send + Sync {
    /// As Go's `%T` prints it.
    fn type_name(&self) -> &str;

    /// What the object is beneath its methods: fields, `range`, `len`, `index` and printing go there.
    fn underlying(&self) -> Value;

    /// Calls a method; `None` when there is none of that name.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>>;

    /// How it prints, when not as what it is beneath.
    fn print(&self) -> Option<String> {
        None
    }
}

impl Value {
    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        Self::List(Arc::new(Nested { items, depth }))
    }

    /// A map of anything.
    pub fn map(items: BTreeMap<String, Value>) -> Self {
        let depth = 1 + items.values().map(Value::depth).max().unwrap_or(0);
        Self::Map(Arc::new(Nested { items, depth }))
    }

    /// A map of strings.
    pub fn labels<K: Into<String>, V: Into<String>>(items: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Labels(Arc::new(items.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// A struct.
    pub fn record(type_name: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        Self::Struct(Arc::new(Struct { type_name, fields }))
    }

    /// How deep lists and maps are nested in it.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            Self::Struct(_) | Self::Labels(_) | Self::Object(_) => 1,
            _ => 0,
        }
    }

    /// Whether `if` takes it for true.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) | Self::Html(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.items.is_empty(),
            Self::Struct(_) | Self::Time(_) => true,
            Self::Object(object) => object.underlying().truth(),
        }
    }

    /// As Go's `%T` prints it.
    pub fn type_name(&self) -> String {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::Html(_) => "template.HTML",
            Self::List(_) => "[]interface {}",
            Self::Labels(_) => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Struct(record) => record.type_name,
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => return object.type_name().to_owned(),
        }
        .to_owned()
    }

    /// The value without its methods.
    pub(crate) fn plain(&self) -> Value {
        match self {
            Self::Object(object) => object.underlying(),
            other => other.clone(),
        }
    }
}

impl Struct {
    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Arc::from(text))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Time> for Value {
    fn from(value: Time) -> Self {
        Self::Time(value)
    }
}
