//! Definition files: OpenSLO v1 and the native form, all or nothing.
//!
//! A file holds YAML documents. One with `apiVersion` is an OpenSLO object, one with `slos` a list in the native form.
//! References reach across all files of a call.

mod native;
mod openslo;
mod resolve;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use crate::definition::{Labels, SloDefinition};
use crate::error::{LoadError, Problem};

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 512 * 1024;

/// YAML documents of one file.
const DOCUMENTS_MAX: usize = 500;

/// SLOs of all files together.
const SLOS_MAX: usize = 2_000;

/// Problems that are told at once.
const PROBLEMS_MAX: usize = 100;

/// Labels that the generated alerts set themselves.
const RESERVED_LABELS: [&str; 10] = [
    "__name__",
    "alertname",
    "slo",
    "slo_service",
    "severity",
    "long_window",
    "short_window",
    "burn_factor",
    "exhaustion",
    "alert_policy",
];

/// One definition file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// How messages name it.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// What a set of files defines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SloSet {
    /// The SLOs, in the order of their names.
    pub slos: Vec<Arc<SloDefinition>>,
    /// What OpenSLO notification targets say: by name, the `target`.
    pub notification_targets: BTreeMap<String, String>,
    /// What was read but will not do what its author may expect.
    pub warnings: Vec<Problem>,
}

/// Reads all files. Nothing is loaded when one of them has a problem; all problems are told at once.
pub fn load(files: &[SourceFile]) -> Result<SloSet, LoadError> {
    let mut findings = Findings::default();
    let mut slos = Vec::new();
    let mut objects = resolve::Objects::default();
    for file in files {
        findings.file.clone_from(&file.path);
        for document in documents(file, &mut findings) {
            read_document(&document, &file.text, &mut findings, &mut slos, &mut objects);
        }
    }
    let notification_targets = objects.notification_targets();
    slos.extend(resolve::slos(objects, &mut findings));
    slos.sort_by(|left, right| left.name.cmp(&right.name));
    refuse_duplicates(&slos, &mut findings);
    if findings.problems.is_empty() {
        let slos = slos.into_iter().map(Arc::new).collect();
        return Ok(SloSet { slos, notification_targets, warnings: findings.warnings });
    }
    // Objectives of one SLO share what is wrong with it.
    findings.problems.dedup();
    findings.problems.truncate(PROBLEMS_MAX);
    Err(LoadError { problems: findings.problems })
}

/// Collects what is found in the file that is being read.
#[derive(Debug, Default)]
struct Findings {
    file: String,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    fn problem(&mut self, line: u64, message: impl Into<String>) {
        self.problems.push(Problem { file: self.file.clone(), line, message: message.into() });
    }

    fn warning(&mut self, line: u64, message: impl Into<String>) {
        self.warnings.push(Problem { file: self.file.clone(), line, message: message.into() });
    }

    /// The value, or the problem told.
    fn keep<T>(&mut self, line: u64, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problem(line, message)).ok()
    }
}

/// One YAML document, with empty lines in the place of what stands before it, so that its lines are those of the file.
struct Document {
    text: String,
    line: u64,
}

fn documents(file: &SourceFile, findings: &mut Findings) -> Vec<Document> {
    if file.text.len() > FILE_BYTES_MAX {
        findings.problem(0, format!("the file has {} bytes; {FILE_BYTES_MAX} are the most, split it", file.text.len()));
        return Vec::new();
    }
    let mut documents = Vec::new();
    let mut current = Document { text: String::new(), line: 1 };
    for (number, line) in (1_u64..).zip(file.text.lines()) {
        let is_marker = line == "---" || line.starts_with("--- ") || line == "...";
        if is_marker {
            let padding = "\n".repeat(usize::try_from(number).unwrap_or(0));
            documents.push(std::mem::replace(&mut current, Document { text: padding, line: number + 1 }));
        } else {
            current.text.push_str(line);
            current.text.push('\n');
        }
        if documents.len() > DOCUMENTS_MAX {
            findings.problem(number, format!("the file has more than {DOCUMENTS_MAX} documents; split it"));
            return Vec::new();
        }
    }
    documents.push(current);
    documents.retain(|document| {
        document.text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    api_version: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    slos: Option<serde::de::IgnoredAny>,
}

fn read_document(
    document: &Document,
    file: &str,
    findings: &mut Findings,
    slos: &mut Vec<SloDefinition>,
    objects: &mut resolve::Objects,
) {
    let Some(head) = parse::<Head>(document, findings) else { return };
    match (head.api_version, head.kind) {
        (Some(version), Some(kind)) if version.value == "openslo/v1" => {
            objects.read(&kind, document, file, findings);
        }
        (Some(version), _) if version.value != "openslo/v1" => {
            let line = version.referenced.line();
            let found = version.value;
            findings.problem(line, format!("apiVersion is {found:?}; only openslo/v1 is read, convert the document"));
        }
        (Some(version), _) => findings.problem(version.referenced.line(), "the OpenSLO document has no kind"),
        (None, _) if head.slos.is_some() => {
            if let Some(list) = parse::<native::NativeFile>(document, findings) {
                slos.extend(native::read(list, file, findings));
            }
        }
        (None, _) => findings.problem(
            document.line,
            "the document is neither OpenSLO (apiVersion: openslo/v1) nor native (slos: …); see query/slo/README.md",
        ),
    }
}

fn parse<T: DeserializeOwned>(document: &Document, findings: &mut Findings) -> Option<T> {
    match serde_saphyr::from_str::<T>(&document.text) {
        Ok(value) => Some(value),
        Err(error) => {
            let line = error.location().map_or(document.line, |location| location.line());
            findings.problem(line, error.without_snippet().to_string());
            None
        }
    }
}

fn refuse_duplicates(slos: &[SloDefinition], findings: &mut Findings) {
    for (first, second) in slos.iter().zip(slos.iter().skip(1)).filter(|(first, second)| first.name == second.name) {
        findings.file.clone_from(&second.defined_at.0);
        let (file, line) = &first.defined_at;
        let message = format!("the SLO {} is already defined at {file}:{line}; rename one of them", second.name);
        findings.problem(second.defined_at.1, message);
    }
    if let Some(surplus) = slos.get(SLOS_MAX) {
        findings.file.clone_from(&surplus.defined_at.0);
        findings.problem(surplus.defined_at.1, format!("there are {} SLOs; {SLOS_MAX} are the most", slos.len()));
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = name.bytes().all(|byte| fits(byte) || byte == b'-' || byte == b'.');
    let ends = name.bytes().next().is_some_and(fits) && name.bytes().next_back().is_some_and(fits);
    if inner && ends && name.len() <= 63 {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name of an SLO: use at most 63 lower-case letters, digits, '-' and '.', such as checkout-availability"
    ))
}

fn is_label_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn check_labels(labels: &Labels) -> Result<(), String> {
    for name in labels.keys() {
        if RESERVED_LABELS.contains(&name.as_str()) {
            return Err(format!("the label {name} is set by the generated alerts; choose another name"));
        }
        if !is_label_name(name) {
            return Err(format!("{name:?} is no name of a label: use letters, digits and '_', such as team"));
        }
    }
    Ok(())
}

/// The share that is promised, from a percentage.
fn objective_of_percent(percent: f64) -> Result<f64, String> {
    // 99.9 / 100 is 0.9990000000000001 in binary, and its complement would miss 43.2 minutes.
    let share = (percent * 1e10).round() / 1e12;
    if share > 0.0 && share < 1.0 {
        return Ok(share);
    }
    Err(format!("the objective is {percent} %; write a percentage above 0 and below 100, such as 99.9"))
}

#[cfg(test)]
mod tests;
