//! The functions of PromQL and their types.

use crate::ast::ValueType;
use crate::ast::ValueType::{Matrix, Scalar, String, Vector};

/// A function of the language.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many arguments may follow beyond those but the last: none, so many, or any number.
    pub variadic: Variadic,
    /// The type of its result.
    pub returns: ValueType,
    /// Whether it must be enabled.
    pub experimental: bool,
}

/// How the number of arguments may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Not at all.
    No,
    /// The last argument is optional, up to so many.
    AtMost(usize),
    /// The last argument may be missing or repeated.
    Any,
}

const fn stable(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: Variadic::No, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: Variadic) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: Variadic::No, returns, experimental: true }
}

const fn experimental_variadic(name: &'static str, args: &'static [ValueType], variadic: Variadic) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: true }
}

/// All functions, by name.
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Vector),
    stable("absent", &[Vector], Vector),
    stable("absent_over_time", &[Matrix], Vector),
    stable("acos", &[Vector], Vector),
    stable("acosh", &[Vector], Vector),
    stable("asin", &[Vector], Vector),
    stable("asinh", &[Vector], Vector),
    stable("atan", &[Vector], Vector),
    stable("atanh", &[Vector], Vector),
    stable("avg_over_time", &[Matrix], Vector),
    stable("ceil", &[Vector], Vector),
    stable("changes", &[Matrix], Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Vector),
    stable("clamp_max", &[Vector, Scalar], Vector),
    stable("clamp_min", &[Vector, Scalar], Vector),
    stable("cos", &[Vector], Vector),
    stable("cosh", &[Vector], Vector),
    stable("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], Variadic::AtMost(1)),
    variadic("day_of_week", &[Vector], Variadic::AtMost(1)),
    variadic("day_of_year", &[Vector], Variadic::AtMost(1)),
    variadic("days_in_month", &[Vector], Variadic::AtMost(1)),
    stable("deg", &[Vector], Vector),
    stable("delta", &[Matrix], Vector),
    stable("deriv", &[Matrix], Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    experimental("end", &[], Scalar),
    stable("exp", &[Vector], Vector),
    experimental("first_over_time", &[Matrix], Vector),
    stable("floor", &[Vector], Vector),
    stable("histogram_avg", &[Vector], Vector),
    stable("histogram_count", &[Vector], Vector),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    stable("histogram_quantile", &[Scalar, Vector], Vector),
    experimental_variadic("histogram_quantiles", &[Vector, String, Scalar, Scalar], Variadic::AtMost(9)),
    stable("histogram_stddev", &[Vector], Vector),
    stable("histogram_stdvar", &[Vector], Vector),
    stable("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], Variadic::AtMost(1)),
    stable("idelta", &[Matrix], Vector),
    stable("increase", &[Matrix], Vector),
    experimental_variadic("info", &[Vector, Vector], Variadic::AtMost(1)),
    stable("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, String, String, String], Variadic::Any),
    stable("label_replace", &[Vector, String, String, String, String], Vector),
    stable("last_over_time", &[Matrix], Vector),
    stable("ln", &[Vector], Vector),
    stable("log10", &[Vector], Vector),
    stable("log2", &[Vector], Vector),
    experimental("mad_over_time", &[Matrix], Vector),
    experimental("max_of", &[Scalar, Scalar], Scalar),
    stable("max_over_time", &[Matrix], Vector),
    experimental("min_of", &[Scalar, Scalar], Scalar),
    stable("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], Variadic::AtMost(1)),
    variadic("month", &[Vector], Variadic::AtMost(1)),
    stable("pi", &[], Scalar),
    stable("predict_linear", &[Matrix, Scalar], Vector),
    stable("present_over_time", &[Matrix], Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Vector),
    stable("rad", &[Vector], Vector),
    experimental("range", &[], Scalar),
    stable("rate", &[Matrix], Vector),
    stable("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], Variadic::AtMost(1)),
    stable("scalar", &[Vector], Scalar),
    stable("sgn", &[Vector], Vector),
    stable("sin", &[Vector], Vector),
    stable("sinh", &[Vector], Vector),
    stable("sort", &[Vector], Vector),
    experimental_variadic("sort_by_label", &[Vector, String], Variadic::Any),
    experimental_variadic("sort_by_label_desc", &[Vector, String], Variadic::Any),
    stable("sort_desc", &[Vector], Vector),
    stable("sqrt", &[Vector], Vector),
    experimental("start", &[], Scalar),
    stable("stddev_over_time", &[Matrix], Vector),
    stable("stdvar_over_time", &[Matrix], Vector),
    experimental("step", &[], Scalar),
    stable("sum_over_time", &[Matrix], Vector),
    stable("tan", &[Vector], Vector),
    stable("tanh", &[Vector], Vector),
    stable("time", &[], Scalar),
    stable("timestamp", &[Vector], Vector),
    experimental("ts_of_first_over_time", &[Matrix], Vector),
    experimental("ts_of_last_over_time", &[Matrix], Vector),
    experimental("ts_of_max_over_time", &[Matrix], Vector),
    experimental("ts_of_min_over_time", &[Matrix], Vector),
    stable("vector", &[Scalar], Vector),
    variadic("year", &[Vector], Variadic::AtMost(1)),
];

impl Function {
    /// The function of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|index| &FUNCTIONS[index])
    }
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;

    #[test]
    fn functions_are_in_the_order_of_their_names() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
