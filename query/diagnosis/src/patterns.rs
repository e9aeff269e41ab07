//! Log patterns: lines that differ only in what varies are one pattern, as Drain finds them; and which patterns grew.
//!
//! One [`Miner`] reads the window and the baseline alike, so that both are counted against the same patterns.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::rank::surprise;
use crate::token::{WILDCARD, Word, join, words};

/// Bounds of a miner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Services; records of further ones are only counted.
    pub services: usize,
    /// Patterns of one service; the one not seen for longest makes room.
    pub patterns: usize,
    /// Words of a line that are looked at.
    pub words: usize,
    /// Bytes of a sample.
    pub sample_bytes: usize,
    /// Samples of a pattern.
    pub samples: usize,
    /// Share of words that must agree.
    pub similarity: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: 1000, patterns: 200, words: 40, sample_bytes: 2048, samples: 3, similarity: 0.6 }
    }
}

/// A log record, as far as patterns need it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The service that wrote it.
    pub service: &'a str,
    /// OpenTelemetry's severity number; 0 when it is not known.
    pub severity: u8,
    /// The text.
    pub text: &'a str,
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// In hexadecimal, or empty.
    pub trace_id: &'a str,
    /// IDs besides the trace's, for correlation.
    pub correlation_ids: &'a [&'a str],
}

/// Which of the two stretches of time a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The baseline.
    Before,
    /// The window of the alert.
    During,
}

/// A record kept to show what a pattern looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The text, cut to the limit.
    pub text: String,
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// In hexadecimal, or empty.
    pub trace_id: String,
    /// IDs besides the trace's.
    pub correlation_ids: Vec<String>,
}

/// A pattern with what was counted of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cluster {
    words: Vec<Word<String>>,
    severity: u8,
    before: u64,
    during: u64,
    last_seen: u64,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Service {
    /// Patterns by a hash of what must agree exactly.
    groups: HashMap<u64, Vec<Cluster>>,
    count: usize,
}

/// Finds patterns in the order in which records come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Miner {
    limits: Limits,
    services: HashMap<String, Service>,
    sequence: u64,
    /// Records of services beyond the limit.
    unassigned: u64,
}

/// A pattern that is new or grew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grown {
    /// The service that writes it.
    pub service: String,
    /// The text with `<*>` for what varies.
    pub template: String,
    /// The highest severity seen.
    pub severity: u8,
    /// Records in the baseline.
    pub before: u64,
    /// Records in the window.
    pub during: u64,
    /// Records that the window would have at the baseline's rate.
    pub expected: f64,
    /// Twice the log-likelihood ratio of the two rates, weighted by severity.
    pub score: f64,
    /// Records of the window, if any were kept, else of the baseline.
    pub samples: Vec<Sample>,
}

impl Grown {
    /// Whether the baseline had none.
    pub fn is_new(&self) -> bool {
        self.before == 0
    }
}

impl Miner {
    /// An empty miner.
    pub fn new(limits: Limits) -> Self {
        Self { limits, services: HashMap::new(), sequence: 0, unassigned: 0 }
    }

    /// Records that no pattern was looked for, because there were too many services.
    pub fn unassigned(&self) -> u64 {
        self.unassigned
    }

    /// Counts a record.
    pub fn observe(&mut self, record: &Record<'_>, phase: Phase) {
        let words = words(record.text, self.limits.words);
        let sample = |limits: &Limits| Sample {
            text: cut(record.text, limits.sample_bytes).to_owned(),
            time: record.time,
            trace_id: record.trace_id.to_owned(),
            correlation_ids: record.correlation_ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let counts = if phase == Phase::Before { (1, 0) } else { (0, 1) };
        let samples_max = self.limits.samples;
        let limits = self.limits;
        let Some(cluster) = self.cluster(record.service, &words) else {
            self.unassigned += 1;
            return;
        };
        // The window's samples are worth more than the baseline's.
        if phase == Phase::During && cluster.during == 0 {
            cluster.samples.clear();
        }
        cluster.before += counts.0;
        cluster.during += counts.1;
        cluster.severity = cluster.severity.max(record.severity);
        let wanted = phase == Phase::During || cluster.during == 0;
        if wanted && cluster.samples.len() < samples_max {
            cluster.samples.push(sample(&limits));
        }
    }

    /// Adds what another miner counted, pattern by pattern.
    pub fn merge(&mut self, other: &Miner) {
        self.unassigned += other.unassigned;
        let mut services: Vec<_> = other.services.iter().collect();
        services.sort_by_key(|(name, _)| *name);
        for (name, service) in services {
            let mut clusters: Vec<_> = service.groups.values().flatten().collect();
            clusters.sort_by_key(|cluster| cluster.last_seen);
            for cluster in clusters {
                self.merge_cluster(name, cluster);
            }
        }
    }

    fn merge_cluster(&mut self, service: &str, other: &Cluster) {
        let samples_max = self.limits.samples;
        let words = other.words.iter().map(|word| Word { text: word.text.as_str(), is_spaced: word.is_spaced });
        let words: Vec<Word<&str>> = words.collect();
        let Some(cluster) = self.cluster(service, &words) else {
            self.unassigned += other.before + other.during;
            return;
        };
        if cluster.during == 0 && other.during > 0 {
            cluster.samples.clear();
        }
        if other.during > 0 || cluster.during == 0 {
            let room = samples_max.saturating_sub(cluster.samples.len());
            cluster.samples.extend(other.samples.iter().take(room).cloned());
        }
        cluster.before += other.before;
        cluster.during += other.during;
        cluster.severity = cluster.severity.max(other.severity);
    }

    /// The pattern that the words belong to, widened to hold them, or a new one.
    fn cluster(&mut self, service: &str, words: &[Word<&str>]) -> Option<&mut Cluster> {
        self.sequence += 1;
        if !self.services.contains_key(service) {
            if self.services.len() >= self.limits.services {
                return None;
            }
            self.services.insert(service.to_owned(), Service::default());
        }
        let service = self.services.get_mut(service)?;
        let group = group(words);
        let found = service.groups.get(&group).and_then(|clusters| best(clusters, words, self.limits.similarity));
        let at = match found {
            Some(at) => at,
            None => {
                if service.count >= self.limits.patterns {
                    service.evict();
                }
                service.count += 1;
                let clusters = service.groups.entry(group).or_default();
                let words = words.iter().map(|word| Word { text: word.text.to_owned(), is_spaced: word.is_spaced });
                clusters.push(Cluster {
                    words: words.collect(),
                    severity: 0,
                    before: 0,
                    during: 0,
                    last_seen: 0,
                    samples: Vec::new(),
                });
                clusters.len() - 1
            }
        };
        let cluster = service.groups.get_mut(&group)?.get_mut(at)?;
        for (known, word) in cluster.words.iter_mut().zip(words) {
            if known.text != word.text && known.text != WILDCARD {
                WILDCARD.clone_into(&mut known.text);
            }
        }
        cluster.last_seen = self.sequence;
        Some(cluster)
    }

    /// The patterns that are new or grew, the most telling first: new ones, then by score.
    pub fn grown(&self, before_seconds: f64, during_seconds: f64, limit: usize) -> Vec<Grown> {
        let scale = during_seconds / before_seconds.max(f64::MIN_POSITIVE);
        let mut grown: Vec<Grown> = self
            .all()
            .filter(|(_, cluster)| cluster.during > 0)
            .map(|(service, cluster)| {
                // Half a record: having seen none so far does not mean that there can be none.
                let expected = cluster.before as f64 * scale;
                let score = surprise(cluster.during as f64, expected.max(0.5 * scale.min(1.0)));
                Grown {
                    service: service.clone(),
                    template: join(&cluster.words),
                    severity: cluster.severity,
                    before: cluster.before,
                    during: cluster.during,
                    expected,
                    score: score * weight(cluster.severity),
                    samples: cluster.samples.clone(),
                }
            })
            .filter(|grown| grown.score > 0.0 && (grown.is_new() || grown.score >= SCORE_MIN))
            .collect();
        grown.sort_by(|left, right| {
            let key = |grown: &Grown| (!grown.is_new(), -grown.score);
            let order = key(left).partial_cmp(&key(right)).unwrap_or(std::cmp::Ordering::Equal);
            order.then_with(|| (&left.service, &left.template).cmp(&(&right.service, &right.template)))
        });
        grown.truncate(limit);
        grown
    }

    fn all(&self) -> impl Iterator<Item = (&String, &Cluster)> {
        self.services
            .iter()
            .flat_map(|(service, known)| known.groups.values().flatten().map(move |cluster| (service, cluster)))
    }
}

impl Service {
    /// Forgets the pattern that was not seen for longest.
    fn evict(&mut self) {
        let oldest = self.groups.iter().flat_map(|(group, clusters)| {
            clusters.iter().enumerate().map(move |(at, cluster)| (cluster.last_seen, *group, at))
        });
        let Some((_, group, at)) = oldest.min() else {
            return;
        };
        if let Some(clusters) = self.groups.get_mut(&group) {
            clusters.remove(at);
            if clusters.is_empty() {
                self.groups.remove(&group);
            }
            self.count -= 1;
        }
    }
}

/// OpenTelemetry's ERROR.
const SEVERITY_ERROR: u8 = 17;

/// Below this a change of a rate is noise: the 99.9 % point of the distribution of the ratio.
const SCORE_MIN: f64 = 10.8;

fn weight(severity: u8) -> f64 {
    match severity {
        SEVERITY_ERROR.. => 3.0,
        13..SEVERITY_ERROR => 1.5,
        _ => 1.0,
    }
}

/// What must agree exactly: the number of words and the first that do not vary.
fn group(words: &[Word<&str>]) -> u64 {
    let mut key = format!("{}", words.len());
    let texts = words.iter().map(|word| word.text);
    let fixed = texts.filter(|text| *text != WILDCARD && text.chars().any(char::is_alphabetic));
    for word in fixed.take(FIXED_WORDS) {
        key.push('\0');
        key.push_str(if word.chars().all(|c| !c.is_ascii_digit()) || word.contains('#') { word } else { WILDCARD });
    }
    xxh3_64(key.as_bytes())
}

/// Words at the start that patterns do not widen over: most lines begin with level and logger.
const FIXED_WORDS: usize = 1;

/// The most similar pattern, if it is similar enough.
fn best(clusters: &[Cluster], words: &[Word<&str>], similarity: f64) -> Option<usize> {
    let score = |cluster: &Cluster| {
        let same = cluster.words.iter().zip(words).filter(|(known, word)| known.text == word.text).count();
        same as f64 / words.len().max(1) as f64
    };
    let scored = clusters.iter().enumerate().map(|(at, cluster)| (score(cluster), at));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(&left.1)))?;
    (best.0 >= similarity || words.is_empty()).then_some(best.1)
}

/// The masked texts of lines by themselves, as far as their first words: the same for lines that differ in numbers, IDs and
/// white space only, with the white space of the first of them.
#[derive(Debug, Default)]
pub struct Templates(HashMap<String, Arc<str>>);

impl Templates {
    /// The masked text of a line.
    pub fn of(&mut self, text: &str) -> Arc<str> {
        let words = words(text, TEMPLATE_WORDS);
        let key = words.iter().map(|word| word.text).collect::<Vec<_>>().join("\0");
        Arc::clone(self.0.entry(key).or_insert_with(|| join(&words).into()))
    }
}

/// Enough to tell where a line was written.
const TEMPLATE_WORDS: usize = 24;

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(service: &'a str, severity: u8, text: &'a str) -> Record<'a> {
        Record { service, severity, text, time: 5, trace_id: "ab", correlation_ids: &["order-1"] }
    }

    fn miner(limits: Limits, before: &[&str], during: &[&str]) -> Miner {
        let mut miner = Miner::new(limits);
        for text in before {
            miner.observe(&record("shop", 9, text), Phase::Before);
        }
        for text in during {
            miner.observe(&record("shop", if text.contains("failed") { 17 } else { 9 }, text), Phase::During);
        }
        miner
    }

    #[test]
    fn lines_that_differ_in_what_varies_are_one_pattern() {
        let miner =
            miner(Limits::default(), &[], &["user bob logged in from 10.0.0.1", "user eve logged in from 10.0.0.2"]);
        let grown = miner.grown(60.0, 60.0, 10);
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert_eq!(grown[0].template, "user <*> logged in from <*>");
        assert_eq!(grown[0].during, 2);
        assert_eq!(grown[0].samples[1].text, "user eve logged in from 10.0.0.2");
        assert_eq!(grown[0].samples[0].correlation_ids, ["order-1"]);
    }

    #[test]
    fn new_patterns_come_first_then_those_that_grew_most() {
        let before: Vec<&str> = [vec!["cache miss for key 1"; 10], vec!["request served in 5 ms"; 1000]].concat();
        let during: Vec<&str> = [
            vec!["cache miss for key 2"; 80],
            vec!["request served in 7 ms"; 1010],
            vec!["payment failed: timeout"; 3],
        ]
        .concat();
        let grown = miner(Limits::default(), &before, &during).grown(60.0, 60.0, 10);
        let names: Vec<&str> = grown.iter().map(|grown| grown.template.as_str()).collect();
        assert_eq!(names, ["payment failed: timeout", "cache miss for key <*>"]);
        assert!(grown[0].is_new() && !grown[1].is_new());
        assert_eq!((grown[1].before, grown[1].during, grown[1].expected), (10, 80, 10.0));
    }

    #[test]
    fn lines_that_differ_in_white_space_are_one_pattern() {
        let lines = ["waited: 3 ms [main]", "waited:4 ms  [main]", "waited : 5 ms [ main ]"];
        let grown = miner(Limits::default(), &[], &lines).grown(60.0, 60.0, 10);
        assert_eq!((grown.len(), grown[0].template.as_str(), grown[0].during), (1, "waited: <*> ms [main]", 3));
        let mut templates = Templates::default();
        assert_eq!(lines.map(|line| templates.of(line).to_string()), ["waited: <*> ms [main]"; 3]);
    }

    #[test]
    fn a_longer_baseline_is_scaled_to_the_window() {
        let before = vec!["tick of the clock"; 600];
        let during = vec!["tick of the clock"; 12];
        assert!(miner(Limits::default(), &before, &during).grown(3600.0, 60.0, 10).is_empty());
        assert_eq!(miner(Limits::default(), &before[..60], &during).grown(3600.0, 60.0, 10).len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let limits = Limits { services: 2, patterns: 5, sample_bytes: 4, ..Limits::default() };
        let mut miner = Miner::new(limits);
        let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
        for (index, word) in words.iter().enumerate() {
            let text = format!("{word} {}", "é".repeat(index));
            miner.observe(&record("a", 9, &text), Phase::During);
        }
        miner.observe(&record("b", 9, "x"), Phase::During);
        miner.observe(&record("c", 9, "x"), Phase::During);
        assert_eq!(miner.unassigned(), 1);
        let grown = miner.grown(1.0, 1.0, 100);
        assert_eq!(grown.len(), 6);
        assert!(grown.iter().all(|grown| grown.samples.iter().all(|sample| sample.text.len() <= 4)));
        assert!(!grown.iter().any(|grown| grown.template.contains("alpha")), "the oldest made room");
    }

    #[test]
    fn merged_miners_count_as_one() {
        let first = ["user bob left", "disk sda is full"];
        let second = ["user eve left", "user joe left"];
        let mut merged = miner(Limits::default(), &first, &[]);
        merged.merge(&miner(Limits::default(), &[], &second));
        let whole = miner(Limits::default(), &first, &second);
        let template = |miner: &Miner| {
            let grown = miner.grown(60.0, 1.0, 9);
            (grown[0].template.clone(), grown[0].before, grown[0].during, grown[0].samples.len())
        };
        assert_eq!(template(&merged), template(&whole));
        assert_eq!(template(&merged), ("user <*> left".to_owned(), 1, 2, 2));
    }

    #[test]
    fn state_survives_serialisation() {
        let miner = miner(Limits::default(), &["a b"], &["a b", "c failed"]);
        let text = serde_json::to_string(&miner).expect("serialisable");
        assert_eq!(serde_json::from_str::<Miner>(&text).expect("readable"), miner);
    }
}
