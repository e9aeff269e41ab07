use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// `hex(trace_id)`: an ID as lower-case hexadecimal text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Hex {
    signature: Signature,
}

pub(crate) fn hex() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Hex { signature: Signature::any(1, Volatility::Immutable) }))
}

fn evaluate(array: &ArrayRef) -> Result<ArrayRef> {
    let bytes = cast(array, &DataType::Binary)?;
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = String::new();
    for value in bytes.as_binary::<i32>() {
        text.clear();
        for byte in value.unwrap_or_default() {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        }
        builder.append_option(value.map(|_| text.as_str()));
    }
    Ok(Arc::new(builder.finish()))
}

impl ScalarUDFImpl for Hex {
    fn name(&self) -> &str {
        "hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView] => {
                Ok(DataType::Utf8View)
            }
            _ => plan_err!("hex takes an ID such as trace_id; for numbers there is to_hex"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(evaluate(array)?)),
            [ColumnarValue::Scalar(value)] => {
                let text = evaluate(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?))
            }
            _ => exec_err!("hex takes one argument"),
        }
    }
}
