//! Redaction rules: the file that `redaction_file` names, and the command `trivium redact`.

mod stored;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use trivium_ingest::Redaction;
use trivium_model::{SignalKind, WireFormat};
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
    if !args.dry_run || args.files.is_empty() != args.stored {
        bail!(
            "give --dry-run and files of OTLP requests, or --dry-run --stored to look at what a server has, or --hash with a value; \
             redaction itself is done by `serve`"
        );
    }
    let mut report = Report::new(&rules, args.examples);
    for file in &args.files {
        report.read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    if args.stored {
        crate::block_on(report.ask(args))?;
    }
    crate::print(report.render(if args.stored { "stored records and series" } else { "requests" }).trim_end())
}

/// What was found of one rule.
#[derive(Default)]
struct Found {
    count: u64,
    /// How often under each key, and in texts without one.
    fields: BTreeMap<String, u64>,
    services: BTreeMap<String, u64>,
    examples: Vec<String>,
}

/// Fields, and services, of a rule that are told apart.
const NAMES_MAX: usize = 1_000;

/// Those of them that are shown.
const NAMES_SHOWN: usize = 5;

fn count(names: &mut BTreeMap<String, u64>, name: &str) {
    let is_told_apart = names.len() < NAMES_MAX || names.contains_key(name);
    *names.entry(if is_told_apart { name.to_owned() } else { "others".to_owned() }).or_default() += 1;
}

/// The most frequent names.
fn render_names(names: &BTreeMap<String, u64>) -> String {
    let mut frequent: Vec<_> = names.iter().collect();
    frequent.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<String> =
        frequent.iter().take(NAMES_SHOWN).map(|(name, count)| format!("{name} ({count})")).collect();
    let more = frequent.len().saturating_sub(NAMES_SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

struct Report<'a> {
    rules: &'a Rules,
    counts: HashMap<(usize, &'static str), Found>,
    examples_max: usize,
    /// How many there were, and how many of them would be changed.
    requests: [u64; 2],
    /// What was not looked at.
    notes: Vec<String>,
}

/// Gathers the hits of one signal.
struct OfSignal<'r, 'a> {
    report: &'r mut Report<'a>,
    signal: &'static str,
    /// Empty when it is not known.
    service: &'r str,
}

impl Observer for OfSignal<'_, '_> {
    fn hit(&mut self, hit: &Hit<'_>) {
        let examples_max = self.report.examples_max;
        let found = self.report.counts.entry((hit.rule, self.signal)).or_default();
        found.count += 1;
        let key = cut(&String::from_utf8_lossy(hit.key));
        count(&mut found.fields, if key.is_empty() { "texts without a key" } else { &key });
        if !self.service.is_empty() {
            count(&mut found.services, &cut(self.service));
        }
        if found.examples.len() >= examples_max {
            return;
        }
        let place = if key.is_empty() { String::new() } else { format!("{key}: ") };
        let after = hit.after.map_or("left out".into(), |after| format!("{:?}", cut(&String::from_utf8_lossy(after))));
        let example = format!("{place}{} → {after}", shortened(hit.before));
        if !found.examples.contains(&example) {
            found.examples.push(example);
        }
    }
}

/// The beginning of a text that comes from telemetry, without what a terminal would obey.
fn cut(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl<'a> Report<'a> {
    fn new(rules: &'a Rules, examples_max: usize) -> Self {
        Self { rules, counts: HashMap::new(), examples_max, requests: [0; 2], notes: Vec::new() }
    }

    fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        for request in crate::import::requests(file)? {
            let (signal, payload) = request?;
            self.look(signal, "", &payload)?;
        }
        Ok(())
    }

    /// Looks at what a running server has stored.
    async fn ask(&mut self, args: &RedactArgs) -> anyhow::Result<()> {
        let server = args.access.server(&args.url)?;
        let range = stored::Range { start: args.start.as_deref(), end: args.end.as_deref(), limit: args.limit };
        for source in &stored::SOURCES {
            let answer = source.ask(&server, &range).await.with_context(|| format!("cannot read {}", source.table))?;
            if answer.is_partial {
                let count = answer.records.len();
                self.notes.push(format!(
                    "of {} only {count} were looked at; raise --limit or ask for less time",
                    source.table
                ));
            }
            for record in &answer.records {
                self.look(source.signal, &record.service, &record.payload)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, signal: SignalKind, service: &str, payload: &[u8]) -> anyhow::Result<()> {
        let rules = self.rules;
        let mut observer = OfSignal { report: self, signal: signal.as_str(), service };
        let redacted = rules.redact(signal, WireFormat::Otlp, payload, &mut observer)?;
        let is_changed = matches!(redacted, std::borrow::Cow::Owned(_));
        self.requests[0] += 1;
        self.requests[1] += u64::from(is_changed);
        Ok(())
    }

    fn render(&self, what: &str) -> String {
        let [all, changed] = self.requests;
        let mut text = format!("{changed} of {all} {what} would be changed; nothing was\n");
        self.notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
        let names = self.rules.names().enumerate();
        for (rule, name) in names.chain([(trivium_redact::Counts::UNREADABLE, UNREADABLE)]) {
            let mut found: Vec<_> = self.counts.iter().filter(|((known, _), _)| *known == rule).collect();
            found.sort_by_key(|((_, signal), _)| *signal);
            if found.is_empty() && name != UNREADABLE {
                text.push_str(&format!("\n{name}: nothing found\n"));
            }
            for ((_, signal), found) in found {
                text.push_str(&format!("\n{name}: {} in {signal}\n", found.count));
                text.push_str(&format!("  under {}\n", render_names(&found.fields)));
                if !found.services.is_empty() {
                    text.push_str(&format!("  of {}\n", render_names(&found.services)));
                }
                for example in &found.examples {
                    text.push_str(&format!("  {example}\n"));
                }
            }
        }
        text
    }
}
