//! Redaction rules: the file that `redaction_file` names, and the command `trivium redact`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use trivium_ingest::Redaction;
use trivium_model::WireFormat;
use trivium_redact::{Hit, Observer, Rules, UNREADABLE, shortened};

use crate::cli::RedactArgs;

/// The rules in force and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct Redacting {
    file: PathBuf,
    pub(crate) redaction: Arc<Redaction>,
}

impl Redacting {
    /// Reads the rules, if a file is named.
    pub(crate) fn start(file: &Path, registry: &mut Registry) -> anyhow::Result<Option<Self>> {
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let rules = Rules::load(file)?;
        if rules.hash_key().is_none() {
            tracing::warn!(
                "the redaction rules name no hash_key_file: a request with secrets that is sent again after a restart is stored twice"
            );
        }
        Ok(Some(Self { file: file.to_path_buf(), redaction: Arc::new(Redaction::new(rules, registry)?) }))
    }

    /// Reads the rules again; nothing changes yet.
    pub(crate) fn read(&self) -> Result<Rules, String> {
        Rules::load(&self.file).map_err(|error| error.to_string())
    }

    /// Puts what was [`Self::read`] in force.
    pub(crate) fn apply(&self, rules: Rules) -> String {
        self.redaction.replace(rules);
        self.file.display().to_string()
    }
}

/// `trivium redact`: what rules would change in files of requests, or what a value would be stored as.
pub(crate) fn run(args: &RedactArgs) -> anyhow::Result<ExitCode> {
    let rules = Rules::load(&args.rules)?;
    if let Some(value) = &args.hash {
        let key = rules.hash_key().context("the rules name no hash_key_file")?;
        return crate::print(&key.hashed(value.as_bytes()));
    }
    if !args.dry_run || args.files.is_empty() {
        bail!("give --dry-run and files of OTLP requests, or --hash with a value; redaction itself is done by `serve`");
    }
    let mut report = Report { rules: &rules, counts: HashMap::new(), examples_max: args.examples, requests: [0; 2] };
    for file in &args.files {
        report.read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    crate::print(report.render().trim_end())
}

/// What was found of one rule.
#[derive(Default)]
struct Found {
    count: u64,
    examples: Vec<String>,
}

struct Report<'a> {
    rules: &'a Rules,
    counts: HashMap<(usize, &'static str), Found>,
    examples_max: usize,
    /// How many there were, and how many of them would be changed.
    requests: [u64; 2],
}

/// Gathers the hits of one signal.
struct OfSignal<'r, 'a> {
    report: &'r mut Report<'a>,
    signal: &'static str,
}

impl Observer for OfSignal<'_, '_> {
    fn hit(&mut self, hit: &Hit<'_>) {
        let examples_max = self.report.examples_max;
        let found = self.report.counts.entry((hit.rule, self.signal)).or_default();
        found.count += 1;
        if found.examples.len() >= examples_max {
            return;
        }
        let key = String::from_utf8_lossy(hit.key);
        let place = if key.is_empty() { String::new() } else { format!("{}: ", cut(&key)) };
        let after = hit.after.map_or("left out".into(), |after| format!("{:?}", cut(&String::from_utf8_lossy(after))));
        let example = format!("{place}{} → {after}", shortened(hit.before));
        if !found.examples.contains(&example) {
            found.examples.push(example);
        }
    }
}

fn cut(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    text.chars().take(SHOWN_MAX).collect()
}

impl Report<'_> {
    fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        for request in crate::import::requests(file)? {
            let (signal, payload) = request?;
            let rules = self.rules;
            let mut observer = OfSignal { report: self, signal: signal.as_str() };
            let redacted = rules.redact(signal, WireFormat::Otlp, &payload, &mut observer)?;
            self.requests[0] += 1;
            self.requests[1] += u64::from(matches!(redacted, std::borrow::Cow::Owned(_)));
        }
        Ok(())
    }

    fn render(&self) -> String {
        let [all, changed] = self.requests;
        let mut text = format!("{changed} of {all} requests would be changed; nothing was\n");
        let names = self.rules.names().enumerate();
        for (rule, name) in names.chain([(trivium_redact::Counts::UNREADABLE, UNREADABLE)]) {
            let mut found: Vec<_> = self.counts.iter().filter(|((known, _), _)| *known == rule).collect();
            found.sort_by_key(|((_, signal), _)| *signal);
            if found.is_empty() && name != UNREADABLE {
                text.push_str(&format!("\n{name}: nothing found\n"));
            }
            for ((_, signal), found) in found {
                text.push_str(&format!("\n{name}: {} in {signal}\n", found.count));
                for example in &found.examples {
                    text.push_str(&format!("  {example}\n"));
                }
            }
        }
        text
    }
}
