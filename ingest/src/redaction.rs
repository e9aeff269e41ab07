//! Redaction between decoding of transport and decoding of content: what is secret never reaches the WAL.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use trivium_model::{RequestKey, SignalKind, WireFormat};
use trivium_redact::{Counts, HashKey, Rules, RulesError, Unreadable};

use crate::error::Error;

// The registry appends `_total` to the names of counters.
const REDACTED: &str = "trivium_ingest_redacted";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    signal: &'static str,
    rule: String,
}

/// The rules that are in force, and how often they found something. Shared by the pipeline and whoever loads rules again.
pub struct Redaction {
    rules: RwLock<Arc<Rules>>,
    /// Stands in for the key that the rules name, when they name none.
    own_key: HashKey,
    redacted: Family<RuleLabels, Counter>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<String> = self.rules().names().map(str::to_owned).collect();
        formatter.debug_struct("Redaction").field("rules", &names).finish_non_exhaustive()
    }
}

/// Why redaction cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RedactionError {
    /// The rules file cannot be used.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// There is no key under which requests that were redacted are known again.
    #[error("the system gives no random numbers, without which redacted requests cannot be known again")]
    Randomness,
}

impl Redaction {
    /// Reads the rules file; what the rules do is counted in `registry`.
    pub fn load(file: &Path, registry: &mut Registry) -> Result<Self, RedactionError> {
        Self::new(Rules::load(file)?, registry)
    }

    /// Redaction by `rules`.
    pub fn new(rules: Rules, registry: &mut Registry) -> Result<Self, RedactionError> {
        let own_key = HashKey::random().ok_or(RedactionError::Randomness)?;
        let redacted = Family::default();
        registry.register(REDACTED, "Values that redaction rules changed before they were stored", redacted.clone());
        let redaction = Self { rules: RwLock::new(Arc::new(rules)), own_key, redacted };
        redaction.show_rules();
        Ok(redaction)
    }

    /// Puts other rules in force; requests that are being redacted end by the old ones.
    pub fn replace(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.show_rules();
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A series that exists from the start shows its first increase.
    fn show_rules(&self) {
        for rule in self.rules().names() {
            for signal in SignalKind::ALL {
                drop(self.redacted.get_or_create(&RuleLabels { signal: signal.as_str(), rule: rule.to_owned() }));
            }
        }
    }

    /// What is stored instead of a request. `Ok(None)` for one that the decoder will refuse.
    pub(crate) fn apply(
        &self,
        signal: SignalKind,
        format: WireFormat,
        payload: &Bytes,
        seed: u64,
    ) -> Result<Option<Redacted>, Error> {
        let rules = self.rules();
        let mut counts = Counts::default();
        let redacted = match rules.redact(signal, format, payload, &mut counts) {
            Ok(redacted) => redacted,
            Err(Unreadable::TooLarge) => return Err(Error::TooLarge),
            Err(Unreadable::Malformed | Unreadable::TooManyRecords) => return Ok(None),
        };
        let changed = match redacted {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(redacted) => {
                let key = rules.hash_key().unwrap_or(&self.own_key);
                let key = RequestKey(key.digest("request", &[&seed.to_le_bytes(), payload]));
                Some(Changed { payload: redacted.into(), key, counts: Box::new(counts), rules })
            }
        };
        Ok(Some(Redacted(changed)))
    }

    /// Counts what was changed in a request that is stored.
    pub(crate) fn count(&self, signal: SignalKind, changed: &Changed) {
        let names = changed.rules.names().enumerate();
        for (rule, name) in names.chain([(Counts::UNREADABLE, trivium_redact::UNREADABLE)]) {
            let count = changed.counts.of(rule);
            if count > 0 {
                let labels = RuleLabels { signal: signal.as_str(), rule: name.to_owned() };
                self.redacted.get_or_create(&labels).inc_by(count);
            }
        }
    }
}

/// A request that was looked at, and what changed, if anything.
pub(crate) struct Redacted(pub(crate) Option<Changed>);

/// What became of a request in which something was found.
pub(crate) struct Changed {
    pub(crate) payload: Bytes,
    /// By which the request is known when it is sent again. Made from what was sent: two requests that differ in nothing but
    /// their secrets are two. A plain hash of it would tell the secret to whoever tries all card numbers, so that it is one
    /// under a key.
    pub(crate) key: RequestKey,
    counts: Box<Counts>,
    rules: Arc<Rules>,
}
