use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::ScalarUDF;

use super::bounded::bounded;

/// The scalar functions of DataFusion that a query may call, by name. A function that is not here does not exist: a new
/// version of DataFusion adds none by itself. Left out on purpose: those that make rows or lists out of a number
/// (`generate_series`, `range`, `array_repeat`, `array_resize`) or are casts that `guard` does not see (`arrow_cast`), and those
/// that tell about files (`input_file_name`).
#[rustfmt::skip]
const NAMES: &[&str] = &[
    // Core.
    "arrow_typeof", "coalesce", "get_field", "greatest", "least", "named_struct", "nullif", "nvl", "nvl2",
    "overlay", "struct",
    // Dates and times.
    "current_date", "current_time", "date_bin", "date_part", "date_trunc", "from_unixtime", "make_date", "make_time",
    "now", "to_char", "to_date", "to_local_time", "to_time", "to_timestamp", "to_timestamp_micros",
    "to_timestamp_millis", "to_timestamp_nanos", "to_timestamp_seconds", "to_unixtime",
    // Text.
    "ascii", "bit_length", "btrim", "character_length", "chr", "concat", "concat_ws", "contains", "ends_with",
    "find_in_set", "initcap", "left", "levenshtein", "lower", "lpad", "ltrim", "octet_length", "repeat", "replace",
    "reverse", "right", "rpad", "rtrim", "split_part", "starts_with", "strpos", "substr", "substr_index", "to_hex",
    "translate", "upper", "encode", "decode",
    // Regular expressions.
    "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace",
    // Numbers.
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot", "degrees",
    "exp", "factorial", "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2", "nanvl", "pi", "power",
    "radians", "random", "round", "signum", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
    // Lists.
    "array_any_value", "array_append", "array_compact", "array_concat", "array_dims", "array_distinct",
    "array_element", "array_except", "array_has", "array_has_all", "array_has_any", "array_intersect", "array_length",
    "array_max", "array_min", "array_ndims", "array_pop_back", "array_pop_front", "array_position", "array_positions",
    "array_prepend", "array_remove", "array_remove_all", "array_remove_n", "array_replace", "array_replace_all",
    "array_replace_n", "array_reverse", "array_slice", "array_sort", "array_sum", "array_avg", "array_to_string",
    "array_union", "cardinality", "empty", "flatten", "make_array", "string_to_array",
    // Maps.
    "map", "map_entries", "map_extract", "map_keys", "map_values",
];

/// The allowed functions; those that can make much text out of little are wrapped in a bound.
pub(super) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let all = SessionStateDefaults::default_scalar_functions();
    all.into_iter().filter(|function| NAMES.contains(&function.name())).map(bounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_function_of_this_build() {
        let known: Vec<String> = scalar_functions().iter().map(|function| function.name().to_owned()).collect();
        let missing: Vec<&&str> = NAMES.iter().filter(|name| !known.iter().any(|known| known == *name)).collect();
        assert!(missing.is_empty(), "unknown names: {missing:?}");
    }
}
