use std::error::Error as StdError;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;

use crate::engine::QueryPool;
use crate::error::Error;
use crate::table::TABLE_NAMES;

/// Turns DataFusion's errors into ours: what the caller can act on becomes a message for people, the rest a defect.
#[derive(Clone, Debug)]
pub(crate) struct SqlErrors {
    /// The memory of the query, for the message.
    pub(crate) pool: Arc<QueryPool>,
}

impl SqlErrors {
    pub(crate) fn convert(&self, error: DataFusionError) -> Error {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => self.convert(*inner),
            DataFusionError::Collection(errors) => match errors.into_iter().next() {
                Some(first) => self.convert(first),
                None => Error::Internal("the engine failed without a reason".into()),
            },
            DataFusionError::Shared(error) => self.convert_shared(&error),
            DataFusionError::External(error) => self.convert_external(error),
            DataFusionError::ArrowError(error, _) => self.convert_arrow(*error),
            DataFusionError::ParquetError(error) => self.convert_parquet(*error),
            other => self.convert_shared(&other),
        }
    }

    /// What can be told without owning the error.
    fn convert_shared(&self, error: &DataFusionError) -> Error {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => self.pool.exhausted(),
            DataFusionError::SchemaError(error, _) => schema_error(error),
            DataFusionError::Plan(message) => plan_error(message),
            DataFusionError::SQL(error, _) => Error::invalid(format!("cannot read the statement: {error}")),
            DataFusionError::Execution(message) => Error::invalid(clean(message)),
            DataFusionError::NotImplemented(message) => Error::invalid(format!("not supported: {}", clean(message))),
            DataFusionError::ArrowError(error, _) => arrow_error(error),
            DataFusionError::External(error) => foreign(error.as_ref()),
            // What somebody wrote, told as a defect by `array_slice`.
            DataFusionError::Internal(message) if message.contains("invalid stride") => Error::invalid(clean(message)),
            other => defect(&clean(&other.to_string())),
        }
    }

    fn convert_external(&self, error: Box<dyn StdError + Send + Sync>) -> Error {
        let error = match error.downcast::<Error>() {
            Ok(ours) => return *ours,
            Err(error) => error,
        };
        let error = match error.downcast::<trivium_storage::Error>() {
            Ok(storage) => return Error::Storage(*storage),
            Err(error) => error,
        };
        let error = match error.downcast::<DataFusionError>() {
            Ok(inner) => return self.convert(*inner),
            Err(error) => error,
        };
        // What a filter says of its values comes through the Parquet reader.
        match error.downcast::<ArrowError>() {
            Ok(inner) => self.convert_arrow(*inner),
            Err(error) => foreign(error.as_ref()),
        }
    }

    fn convert_arrow(&self, error: ArrowError) -> Error {
        match error {
            ArrowError::ExternalError(error) => self.convert_external(error),
            other => arrow_error(&other),
        }
    }

    fn convert_parquet(&self, error: ParquetError) -> Error {
        match error {
            ParquetError::External(error) => self.convert_external(error),
            other => defect(&other.to_string()),
        }
    }
}

/// Errors of values: a cast that fails, an overflow, a division by zero. They come from the data and the statement.
fn arrow_error(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::invalid("division by zero"),
        ArrowError::ArithmeticOverflow(message) => Error::invalid(format!("arithmetic overflow: {message}")),
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::NotYetImplemented(message) => Error::invalid(clean(message)),
        ArrowError::ExternalError(error) => foreign(error.as_ref()),
        other => defect(&other.to_string()),
    }
}

fn schema_error(error: &SchemaError) -> Error {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return Error::invalid(clean(&error.to_string()));
    };
    let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
    let message = format!("there is no column {:?}", field.flat_name());
    match closest(&field.name, &names) {
        Some(name) => Error::invalid_with_hint(message, format!("did you mean {name}?")),
        None if names.is_empty() => Error::invalid(message),
        None => Error::invalid_with_hint(message, format!("there are {}", names.join(", "))),
    }
}

fn plan_error(message: &str) -> Error {
    let missing = message.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found"));
    match missing {
        Some(table) => {
            let name = table.strip_prefix("trivium.").unwrap_or(table);
            let name = name.strip_prefix("public.").unwrap_or(name);
            Error::invalid_with_hint(
                format!("there is no table {name:?}"),
                format!("there are {}", TABLE_NAMES.join(", ")),
            )
        }
        None => Error::invalid(clean(message)),
    }
}

/// The name that a misspelt one most likely means.
fn closest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let distance = |other: &str| datafusion::common::utils::datafusion_strsim::levenshtein(name, other);
    let (best, edits) = names.iter().map(|other| (*other, distance(other))).min_by_key(|(_, edits)| *edits)?;
    (edits <= name.len() / 3 + 1).then_some(best)
}

/// A message without DataFusion's prefixes and appendices.
fn clean(message: &str) -> String {
    const PREFIXES: [&str; 6] = [
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "Arrow error: ",
        "Optimizer rule ",
        "External error: ",
    ];
    let mut text = message;
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if letters.as_str().starts_with(|second: char| second.is_lowercase() || second == ' ') => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// What a library says that DataFusion only hands on. The error of a regular expression comes in several wrappers, of Arrow
/// and of DataFusion, and is known by how it begins.
fn foreign(error: &(dyn StdError + Send + Sync + 'static)) -> Error {
    let text = error.to_string();
    if text.starts_with("regex parse error") || text.starts_with("Compiled regex exceeds") {
        return Error::invalid(format!("cannot read the regular expression: {text}"));
    }
    defect(&text)
}

/// A defect of ours, unless it is what Arrow's kernels say of a regular expression that is too large, which comes as text in
/// the text of others, and as a defect of DataFusion's.
fn defect(text: &str) -> Error {
    if text.contains("Regular expression did not compile: CompiledTooBig") {
        let hint = "repeat less: (a{100}){100} is an expression of 10,000 parts";
        return Error::invalid_with_hint("the regular expression is too large when it is compiled", hint);
    }
    // The operators `~` and SIMILAR TO tell a pattern that does not compile as a defect of their own (DataFusion 55).
    match text.split_once("Regular expression did not compile: ") {
        Some((_, problem)) => Error::invalid(format!("cannot read the regular expression: {}", problem.trim())),
        None => Error::Internal(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use trivium_model::ErrorKind;

    use super::*;

    #[test]
    fn a_regular_expression_that_is_too_large_is_no_defect_of_ours() {
        let compute =
            || ArrowError::ComputeError("Regular expression did not compile: CompiledTooBig(10485760)".into());
        let inner = "failed to call 'regex_match_dyn_scalar' Compute error: Regular expression did not compile: \
                     CompiledTooBig(10485760)";
        let predicate = format!("Error evaluating filter predicate: Internal(\"{inner}\")");
        for error in [
            arrow_error(&compute()),
            arrow_error(&ArrowError::ComputeError(predicate.clone())),
            foreign(&ArrowError::ComputeError(predicate)),
            foreign(&DataFusionError::Internal(inner.into())),
            defect(inner),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        assert_eq!(defect("a panic").kind(), ErrorKind::Internal);
    }
}
