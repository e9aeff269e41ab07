//! What the senders know: which requests were sent, and what the store answered. Says whether the rows that a query finds
//! are those that it must find.

use std::collections::{BTreeMap, BTreeSet};

use trivium_model::{SignalKind, TenantId, UnixNanos};

use super::requests::{Request, RowName};

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was acknowledged, or found after a start: its rows are there, each once.
    Stored,
    /// It is on its way, or was while the process ended: it may be there, whole, or not.
    Open,
    /// It was refused by the process that is running, which must not show it; the next one may.
    Refused,
    /// It was not there after a start, and must not come back by itself.
    Absent,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    requests: Vec<(Request, Known)>,
    /// Retention was told to drop what is older.
    oldest_kept: Option<i64>,
    /// Rows that retention has dropped.
    dropped: BTreeSet<RowName>,
}

/// A row that a query found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) tenant: TenantId,
    pub(super) signal: SignalKind,
    pub(super) name: RowName,
    pub(super) time: i64,
}

impl Ledger {
    /// Writes a request down before it is sent.
    pub(super) fn send(
        &mut self,
        tenant: TenantId,
        signal: SignalKind,
        times: Vec<i64>,
        padding: usize,
        sent_at: UnixNanos,
    ) -> Request {
        let number = u32::try_from(self.requests.len()).expect("few requests");
        let request = Request { number, tenant, signal, times, padding, sent_at };
        self.requests.push((request.clone(), Known::Open));
        request
    }

    pub(super) fn set(&mut self, number: u32, known: Known) {
        self.requests[number as usize].1 = known;
    }

    /// Retention is about to drop what is older.
    pub(super) fn keep_since(&mut self, oldest: UnixNanos) {
        self.oldest_kept = self.oldest_kept.max(Some(oldest.0));
    }

    /// Requests with what is known of them.
    pub(super) fn requests(&self) -> impl Iterator<Item = &(Request, Known)> {
        self.requests.iter()
    }

    /// How many are known to be stored.
    pub(super) fn stored(&self) -> usize {
        self.requests.iter().filter(|(_, known)| *known == Known::Stored).count()
    }

    /// The process is no more: what it refused may be there after all.
    pub(super) fn process_ended(&mut self) {
        for (_, known) in &mut self.requests {
            if *known == Known::Refused {
                *known = Known::Open;
            }
        }
    }

    /// A request that was not stored is sent again.
    pub(super) fn sent_again(&mut self, number: u32, now: UnixNanos) {
        let (request, known) = &mut self.requests[number as usize];
        request.sent_at = now;
        *known = Known::Open;
    }

    pub(super) fn may_be_dropped(&self, time: i64) -> bool {
        self.oldest_kept.is_some_and(|oldest| time < oldest)
    }

    /// Compares what all queries together find with what they must find.
    pub(super) fn check(&self, found: &[Found]) -> Result<(), String> {
        let mut counts: BTreeMap<RowName, u32> = BTreeMap::new();
        for row in found {
            let Found { tenant, signal, name, time } = *row;
            let Some((request, _)) = self.requests.get(name.0 as usize) else {
                return Err(format!("{row:?} was never sent"));
            };
            let is_it = (request.tenant, request.signal) == (tenant, signal)
                && request.times.get(name.1 as usize) == Some(&time);
            if !is_it {
                return Err(format!("{row:?} is not as it was sent: {request:?}"));
            }
            *counts.entry(name).or_default() += 1;
        }
        if let Some((name, count)) = counts.iter().find(|(_, count)| **count > 1) {
            return Err(format!("row {name:?} is there {count} times: {:?}", self.requests[name.0 as usize]));
        }
        self.requests.iter().try_for_each(|(request, known)| self.check_request(request, *known, &counts))
    }

    fn check_request(&self, request: &Request, known: Known, counts: &BTreeMap<RowName, u32>) -> Result<(), String> {
        let rows = (0_u32..).zip(&request.times).map(|(row, &time)| ((request.number, row), time));
        let (mut kept, mut there, mut old) = (0, 0, 0);
        for (name, time) in rows {
            let is_there = counts.contains_key(&name);
            if is_there && self.dropped.contains(&name) {
                return Err(format!("row {name:?} was dropped by retention and is there again: {request:?}"));
            }
            if self.may_be_dropped(time) {
                old += usize::from(is_there);
            } else {
                kept += 1;
                there += usize::from(is_there);
            }
        }
        let is_right = match known {
            Known::Stored => there == kept,
            Known::Open => there == kept || (there == 0 && old == 0),
            Known::Refused | Known::Absent => there == 0 && old == 0,
        };
        if is_right {
            return Ok(());
        }
        Err(format!(
            "{there} of {kept} rows are there, and {old} that may be dropped, of a request that is {known:?}: {request:?}"
        ))
    }

    /// After a start: what is there stays there, what is not stays away.
    pub(super) fn settle(&mut self, found: &[Found]) {
        let there: BTreeSet<u32> = found.iter().map(|row| row.name.0).collect();
        for (request, known) in &mut self.requests {
            if *known == Known::Open {
                *known = if there.contains(&request.number) { Known::Stored } else { Known::Absent };
            }
        }
    }

    /// After retention: what was dropped stays dropped.
    pub(super) fn settle_dropped(&mut self, found: &[Found]) {
        let there: BTreeSet<RowName> = found.iter().map(|row| row.name).collect();
        for (request, known) in &self.requests {
            let rows = (0_u32..).zip(&request.times).filter(|(_, time)| self.may_be_dropped(**time));
            let gone = rows.map(|(row, _)| (request.number, row)).filter(|name| !there.contains(name));
            if *known == Known::Stored {
                self.dropped.extend(gone.collect::<Vec<_>>());
            }
        }
    }
}
