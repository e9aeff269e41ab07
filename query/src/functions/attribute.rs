//! `attribute(set, 'key')`, which `attributes['key']` becomes: the value of a key of an attribute set, as text, and
//! `attribute_number(set, 'key')`, the same as a number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Float64Array, StringViewBuilder, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{ArrowNativeType, DataType, Int32Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use trivium_storage::attributes::{self, AttributeValue};

/// What a value is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Output {
    /// Strings without quotes, everything else as JSON.
    Text,
    /// Numbers, and strings that are one; anything else is null.
    Number,
}

/// The value of a key of an attribute set. A key is looked up once per distinct set of a batch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attribute {
    signature: Signature,
    output: Output,
}

/// The function that gives text.
pub(crate) fn attribute() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Attribute::new(Output::Text)))
}

/// The function that gives a number.
pub(crate) fn attribute_number() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Attribute::new(Output::Number)))
}

/// The arguments of a call of `attribute`, `None` for any other expression.
pub(crate) fn is_attribute(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::ScalarFunction(call) => call
            .func
            .inner()
            .downcast_ref::<Attribute>()
            .filter(|function| function.output == Output::Text)
            .map(|_| call.args.as_slice()),
        Expr::Alias(alias) => is_attribute(&alias.expr),
        _ => None,
    }
}

impl Attribute {
    fn new(output: Output) -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable), output }
    }

    /// Whether the value is given as text, which equality with a literal can use.
    pub(crate) fn is_text(&self) -> bool {
        self.output == Output::Text
    }

    fn evaluate(&self, sets: &ArrayRef, key: &str) -> Result<ArrayRef> {
        match sets.data_type() {
            DataType::Utf8 => Ok(self.of_each(sets.as_string::<i32>().iter(), key)),
            DataType::Utf8View => Ok(self.of_each(sets.as_string_view().iter(), key)),
            DataType::LargeUtf8 => Ok(self.of_each(sets.as_string::<i64>().iter(), key)),
            DataType::Dictionary(_, value) => {
                let form = DataType::Dictionary(Box::new(DataType::Int32), value.clone());
                self.of_distinct(cast(sets, &form)?.as_dictionary::<Int32Type>(), key)
            }
            DataType::Null => Ok(arrow::array::new_null_array(&self.data_type(), sets.len())),
            other => exec_err!("{other} is not an attribute set"),
        }
    }

    fn data_type(&self) -> DataType {
        match self.output {
            Output::Text => DataType::Utf8View,
            Output::Number => DataType::Float64,
        }
    }

    fn of_each<'a>(&self, sets: impl Iterator<Item = Option<&'a str>>, key: &str) -> ArrayRef {
        let values = sets.map(|set| set.and_then(|set| attributes::get(set, key)));
        match self.output {
            Output::Number => Arc::new(values.map(|value| value.and_then(number)).collect::<Float64Array>()),
            Output::Text => {
                let mut builder = StringViewBuilder::with_capacity(values.size_hint().0);
                values.for_each(|value| builder.append_option(value.and_then(text)));
                Arc::new(builder.finish())
            }
        }
    }

    /// A dictionary may be far larger than a batch, so only the entries that occur are looked at.
    fn of_distinct(&self, sets: &DictionaryArray<Int32Type>, key: &str) -> Result<ArrayRef> {
        const UNSEEN: u32 = u32::MAX;
        let values = cast(sets.values(), &DataType::Utf8View)?;
        let mut places = vec![UNSEEN; values.len()];
        let mut seen: Vec<u32> = Vec::new();
        let mut place_of = |entry: usize| -> u32 {
            if places[entry] == UNSEEN {
                places[entry] = u32::try_from(seen.len()).unwrap_or(UNSEEN - 1);
                seen.push(u32::try_from(entry).unwrap_or(UNSEEN));
            }
            places[entry]
        };
        let keys = sets.keys();
        let indices: UInt32Array = keys.iter().map(|key| key.map(|key| place_of(key.as_usize()))).collect();
        let occurring = take(&values, &UInt32Array::from(seen), None)?;
        let results = self.of_each(occurring.as_string_view().iter(), key);
        Ok(take(&results, &indices, None)?)
    }
}

/// A null attribute is no value; an empty string is one.
fn text(value: AttributeValue<'_>) -> Option<std::borrow::Cow<'_, str>> {
    (value.json() != "null").then(|| value.text())
}

fn number(value: AttributeValue<'_>) -> Option<f64> {
    let json = value.json();
    let special = json.strip_prefix("{\"$double\":\"").and_then(|rest| rest.strip_suffix("\"}"));
    match special {
        Some(special) => special.parse().ok(),
        None if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => json.parse().ok(),
        None if value.is_string() => value.text().trim().parse().ok(),
        None => None,
    }
}

impl ScalarUDFImpl for Attribute {
    fn name(&self) -> &str {
        match self.output {
            Output::Text => "attribute",
            Output::Number => "attribute_number",
        }
    }

    /// The name of a column without an alias, as it was written: `logs.attributes['http.route']`.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match (arguments, self.output) {
            ([set, Expr::Literal(key, _)], Output::Text) => {
                Ok(format!("{}['{}']", set.schema_name(), key.try_as_str().flatten().unwrap_or_default()))
            }
            _ => {
                let names: Vec<String> = arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
                Ok(format!("{}({})", self.name(), names.join(",")))
            }
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_text = |data_type: &DataType| match data_type {
            DataType::Dictionary(_, value) => value.is_string(),
            other => other.is_string() || other.is_null(),
        };
        match arguments {
            [set, key] if is_text(set) && is_text(key) => Ok(self.data_type()),
            _ => plan_err!("{} takes an attribute set and a key, such as {0}(attributes, 'http.route')", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [sets, key] = arguments.args.as_slice() else { return exec_err!("{} takes two arguments", self.name()) };
        let key = match key {
            ColumnarValue::Scalar(key) => key.try_as_str().flatten().map(str::to_owned),
            ColumnarValue::Array(_) => return exec_err!("the key of an attribute must be a constant"),
        };
        let Some(key) = key else { return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&self.data_type())?)) };
        match sets {
            ColumnarValue::Array(sets) => Ok(ColumnarValue::Array(self.evaluate(sets, &key)?)),
            ColumnarValue::Scalar(set) => {
                let value = self.evaluate(&set.to_array()?, &key)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, StringViewArray};

    use super::*;

    const SETS: [Option<&str>; 5] = [
        Some(r#"{"code":200,"name":"a \"b\""}"#),
        None,
        Some(r#"{"code":"404","name":""}"#),
        Some(r#"{"code":{"$double":"-Infinity"},"name":null}"#),
        Some(r#"{"code":true,"list":[1,{"x":2}]}"#),
    ];

    fn forms() -> Vec<ArrayRef> {
        let dictionary: DictionaryArray<Int32Type> = SETS.into_iter().collect();
        let nested = cast(&dictionary, &DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)));
        vec![
            Arc::new(StringArray::from(SETS.to_vec())),
            Arc::new(StringViewArray::from(SETS.to_vec())),
            Arc::new(dictionary),
            nested.expect("a dictionary with short keys"),
        ]
    }

    #[test]
    fn text_and_numbers_are_found_in_every_form_of_column() {
        for sets in forms() {
            let names = Attribute::new(Output::Text).evaluate(&sets, "name").expect("names");
            let names: Vec<Option<&str>> = names.as_string_view().iter().collect();
            assert_eq!(names, [Some("a \"b\""), None, Some(""), None, None], "{}", sets.data_type());
            let codes = Attribute::new(Output::Number).evaluate(&sets, "code").expect("codes");
            let codes: Vec<Option<f64>> = codes.as_primitive::<arrow::datatypes::Float64Type>().iter().collect();
            assert_eq!(codes, [Some(200.0), None, Some(404.0), Some(f64::NEG_INFINITY), None], "{}", sets.data_type());
            let lists = Attribute::new(Output::Text).evaluate(&sets.slice(4, 1), "list").expect("lists");
            assert_eq!(lists.as_string_view().value(0), r#"[1,{"x":2}]"#);
        }
    }
}
