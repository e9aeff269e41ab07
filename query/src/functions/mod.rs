//! The functions of SQL: which of DataFusion's are allowed, and our own.

mod allowed;
mod attribute;
mod bounded;
mod hex;
mod matches;
mod percentile;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

pub(crate) use attribute::{Attribute, attribute, attribute_number, is_attribute};
pub(crate) use bounded::join_texts;
pub(crate) use hex::hex;
pub(crate) use matches::Matches;
pub(crate) use percentile::{approx_percentile_cont, approx_percentiles};

/// Every scalar function that a query may call.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = allowed::scalar_functions();
    functions.extend([attribute(), attribute_number(), hex(), matches::matches()]);
    functions
}

/// Every aggregate function that a query may call.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = datafusion::functions_aggregate::all_default_aggregate_functions();
    let own = approx_percentile_cont();
    functions.retain(|function| function.name() != own.name());
    functions.push(Arc::new(own));
    functions
}

/// Every window function that a query may call.
pub(crate) fn window_functions() -> Vec<Arc<WindowUDF>> {
    datafusion::functions_window::all_default_window_functions()
}
