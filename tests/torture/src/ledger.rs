//! What the client knows: a line before each request and a line after each answer, written before the next is sent. Not synced: it
//! is the server that dies here, and a client that waits for the same disk would take half of the load away.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What a client knows of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Fate {
    /// No answer yet.
    Sent,
    /// All of it was accepted.
    Ack,
    /// Some of it was refused; this harness sends nothing that may be.
    Partial,
    /// Nothing of it is stored.
    Reject,
    /// No answer came: stored wholly or not at all.
    Ambiguous,
}

/// Counts of fates.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) partial: u64,
    pub(crate) rejected: u64,
    pub(crate) ambiguous: u64,
    /// Answers, to any attempt, by which a client drops its data or that do not say when to come back.
    pub(crate) bad_refusals: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.partial += other.partial;
        self.rejected += other.rejected;
        self.ambiguous += other.ambiguous;
        self.bad_refusals += other.bad_refusals;
    }
}

#[derive(Debug, Default)]
struct State {
    fates: BTreeMap<u64, Fate>,
    next: u64,
    bad_refusals: u64,
    first_bad_refusal: Option<String>,
}

/// The ledger of a run; shared by all clients.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    state: Arc<Mutex<State>>,
    file: Arc<File>,
}

impl Ledger {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = Arc::new(File::options().create(true).append(true).open(path)?);
        Ok(Self { state: Arc::default(), file })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a new request.
    pub(crate) fn begin(&self) -> anyhow::Result<u64> {
        let number = {
            let mut state = self.state();
            let number = state.next;
            state.next += 1;
            state.fates.insert(number, Fate::Sent);
            number
        };
        self.write(number, "SENT")?;
        Ok(number)
    }

    /// Leaves out the numbers up to `number`: what comes next lies so much later.
    pub(crate) fn leap(&self, number: u64) {
        let mut state = self.state();
        state.next = state.next.max(number);
    }

    /// What became of a request. Of several attempts the best counts: what was acknowledged once stays acknowledged, and
    /// what may have been stored once may be there whatever was answered later.
    pub(crate) fn end(&self, number: u64, fate: Fate) -> anyhow::Result<()> {
        {
            let mut state = self.state();
            let known = state.fates.entry(number).or_insert(Fate::Sent);
            let stays = *known == Fate::Ack || (*known == Fate::Ambiguous && fate == Fate::Reject);
            if !stays {
                *known = fate;
            }
        }
        let word = match fate {
            Fate::Sent => "SENT",
            Fate::Ack => "ACK",
            Fate::Partial => "PARTIAL",
            Fate::Reject => "REJECT",
            Fate::Ambiguous => "AMBIG",
        };
        self.write(number, word)
    }

    /// An answer that no client may be given, whatever becomes of the request: the best of its answers is its fate.
    pub(crate) fn refused_badly(&self, answer: &str) {
        let mut state = self.state();
        state.bad_refusals += 1;
        state.first_bad_refusal.get_or_insert_with(|| answer.to_owned());
    }

    pub(crate) fn first_bad_refusal(&self) -> Option<String> {
        self.state().first_bad_refusal.clone()
    }

    fn write(&self, number: u64, word: &str) -> anyhow::Result<()> {
        // One write of one short line to a file in append mode is never mixed with another.
        (&*self.file).write_all(format!("{word} {number}\n").as_bytes())?;
        Ok(())
    }

    /// The fates of the requests from `first` on.
    pub(crate) fn fates(&self, first: u64) -> BTreeMap<u64, Fate> {
        self.state().fates.range(first..).map(|(number, fate)| (*number, *fate)).collect()
    }

    /// The number of the next request.
    pub(crate) fn next(&self) -> u64 {
        self.state().next
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        let mut counts = Counts { bad_refusals: state.bad_refusals, ..Counts::default() };
        for fate in state.fates.values() {
            counts.sent += 1;
            match fate {
                Fate::Sent | Fate::Ambiguous => counts.ambiguous += 1,
                Fate::Ack => counts.acked += 1,
                Fate::Partial => counts.partial += 1,
                Fate::Reject => counts.rejected += 1,
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_several_answers_counts() {
        let path = std::env::temp_dir().join(format!("trivium-torture-ledger-{}", std::process::id()));
        let ledger = Ledger::create(&path).expect("a file");
        let fate = |fates: &[Fate]| {
            let number = ledger.begin().expect("written");
            fates.iter().for_each(|fate| ledger.end(number, *fate).expect("written"));
            ledger.fates(number)[&number]
        };
        assert_eq!(fate(&[]), Fate::Sent);
        assert_eq!(fate(&[Fate::Ambiguous, Fate::Ack]), Fate::Ack);
        assert_eq!(fate(&[Fate::Ack, Fate::Ambiguous]), Fate::Ack);
        assert_eq!(fate(&[Fate::Ambiguous, Fate::Reject]), Fate::Ambiguous, "the first attempt may have been stored");
        assert_eq!(fate(&[Fate::Reject]), Fate::Reject);
        let lines = std::fs::read_to_string(&path).expect("readable");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(lines.lines().count(), 5 + 7);
        assert!(lines.starts_with("SENT 0\nSENT 1\nAMBIG 1\nACK 1\n"), "{lines}");
    }
}
