use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;
use crate::log_search::{CompiledQuery, compile_text};

/// `matches(body, 'timeout AND "card declined"')`: whether a text matches a query of the log search. The query is a
/// constant and is read once, when the statement is planned.
#[derive(Debug)]
pub(crate) struct Matches {
    signature: Signature,
    compiled: Option<(String, Arc<CompiledQuery>)>,
}

impl PartialEq for Matches {
    fn eq(&self, other: &Self) -> bool {
        self.query() == other.query()
    }
}

impl Eq for Matches {}

impl Hash for Matches {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.query().hash(state);
    }
}

pub(super) fn matches() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Matches::new(None)))
}

fn failed(error: impl Into<Error>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

impl Matches {
    fn new(compiled: Option<(String, Arc<CompiledQuery>)>) -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable), compiled }
    }

    fn query(&self) -> Option<&str> {
        self.compiled.as_ref().map(|(query, _)| query.as_str())
    }

    fn compiled_for(&self, query: &str) -> Result<Arc<CompiledQuery>> {
        match &self.compiled {
            Some((known, compiled)) if known == query => Ok(Arc::clone(compiled)),
            _ => Ok(Arc::new(compile_text(query).map_err(failed)?)),
        }
    }
}

fn evaluate(query: &CompiledQuery, texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = match texts.data_type() {
        DataType::Dictionary(_, value) => {
            let utf8 = if value.is_string() { DataType::Utf8 } else { value.as_ref().clone() };
            cast(texts, &DataType::Dictionary(Box::new(DataType::Int32), Box::new(utf8)))?
        }
        DataType::Null => return Ok(arrow::array::new_null_array(&DataType::Boolean, texts.len())),
        _ => Arc::clone(texts),
    };
    Ok(Arc::new(query.matches_array(&texts).map_err(failed)?))
}

impl ScalarUDFImpl for Matches {
    fn name(&self) -> &str {
        "matches"
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
            [column, query] if is_text(column) && is_text(query) => Ok(DataType::Boolean),
            _ => plan_err!("matches takes a text and a search, such as matches(body, 'timeout AND \"card declined\"')"),
        }
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let query = match args.as_slice() {
            [_, Expr::Literal(value, _)] => value.try_as_str().flatten(),
            [_, _] => return plan_err!("the search of matches must be a constant"),
            _ => None,
        };
        match query {
            Some(query) if self.query() != Some(query) => {
                let compiled = (query.to_owned(), Arc::new(compile_text(query).map_err(failed)?));
                let function = Arc::new(ScalarUDF::new_from_impl(Self::new(Some(compiled))));
                Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts, ColumnarValue::Scalar(query)] = arguments.args.as_slice() else {
            return exec_err!("matches takes a text and a constant search");
        };
        let Some(query) = query.try_as_str().flatten() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        };
        let query = self.compiled_for(query)?;
        match texts {
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(evaluate(&query, texts)?)),
            ColumnarValue::Scalar(text) => {
                let matches = evaluate(&query, &text.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&matches, 0)?))
            }
        }
    }
}
