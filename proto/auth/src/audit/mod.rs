//! Who did what, from where, when, and what became of it: one chained line of history for each.
//!
//! Each line has the hash of the line before, and the head of the chain is kept beside it: a line that was changed, removed or
//! put in between is found by [`verify`], unless whoever did it rewrote all that follows and the head.

mod chain;
mod denied;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use trivium_model::{Clock, ErrorKind, StateError, StateStore, TenantId, TimeRange};

use crate::error::Error;
use crate::principal::Principal;
pub use chain::{AuditLine, ChainBreak, verify};

/// The kind of history under which the lines are.
pub const HISTORY_KIND: &str = "audit";

/// Events that wait to be durable. While the store fails and they are this many, nothing can be changed: a change of which
/// there would be no line is not made.
const WAITING_MAX: usize = 4_096;

/// Events of one transaction.
const BATCH: usize = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Somebody logged in, or tried to.
    Login,
    /// Somebody logged out.
    Logout,
    /// A request was refused.
    Denied,
    /// A request changed something, or tried to.
    Request,
    /// A token of the first start was written.
    FirstToken,
}

/// One event, before it has its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When, in nanoseconds since 1970.
    pub at: i64,
    /// What happened.
    pub action: Action,
    /// Who did it; for a failed login the name that was tried.
    pub actor: String,
    /// Its role, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How it showed who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// The address that it came from, as far as we know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Method and route.
    pub target: String,
    /// `ok`, `denied`, `failed` or `cancelled`.
    pub outcome: String,
    /// The HTTP status, when there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What else there is to say: the path without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl AuditEvent {
    pub(crate) fn of(action: Action, principal: &Principal, target: impl Into<String>) -> Self {
        Self {
            role: Some(principal.role.name().to_owned()),
            how: Some(principal.how.to_string()),
            ..Self::anonymous(action, &principal.name, target)
        }
    }

    pub(crate) fn anonymous(action: Action, actor: &str, target: impl Into<String>) -> Self {
        Self {
            at: 0,
            action,
            actor: shorten(actor),
            role: None,
            how: None,
            address: None,
            target: shorten(&target.into()),
            outcome: "ok".into(),
            status: None,
            detail: None,
        }
    }
}

/// Names come from clients: a line must stay a line.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(256).collect()
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(TenantId, AuditEvent)>,
    /// Places of changes that are being made.
    reserved: usize,
}

/// Takes events at once and makes them durable in order.
#[derive(Debug)]
pub(crate) struct AuditLog {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    denied: denied::Denied,
    writing: tokio::sync::Mutex<chain::Heads>,
}

/// The event of a change that is being made. Recorded exactly once: with its outcome, or as cancelled when nobody waits for it
/// any more.
#[derive(Debug)]
pub(crate) struct Pending {
    log: Arc<AuditLog>,
    event: Option<(TenantId, AuditEvent)>,
}

impl Pending {
    /// The change ended with this status, and this is what there is to say of it.
    pub(crate) fn answered(mut self, status: u16, detail: Option<&str>) {
        if let Some((_, event)) = &mut self.event {
            if let Some(detail) = detail {
                event.detail = Some(shorten(detail));
            }
            event.status = Some(status);
            event.outcome = if status < 400 { "ok" } else { "failed" }.into();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((tenant, event)) = self.event.take() {
            let mut queue = self.log.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.reserved -= 1;
            queue.waiting.push_back((tenant, event));
        }
    }
}

impl AuditLog {
    pub(crate) fn new(store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> Self {
        let (queue, denied, writing) = (Mutex::default(), denied::Denied::default(), tokio::sync::Mutex::default());
        Self { store, clock, queue, denied, writing }
    }

    /// Takes an event. With no place left it goes to our log alone.
    pub(crate) fn record(&self, tenant: TenantId, mut event: AuditEvent) {
        event.at = self.clock.now().0;
        tracing::info!(target: "trivium::audit", action = ?event.action, actor = event.actor, outcome = event.outcome,
            route = event.target, "audit");
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.len() + queue.reserved < WAITING_MAX {
            queue.waiting.push_back((tenant, event));
        } else {
            tracing::warn!("the audit log cannot be written, an event is in this log alone");
        }
    }

    /// Takes a refusal, of which one address can cause any number.
    pub(crate) fn denied(&self, tenant: TenantId, event: AuditEvent) {
        let verdict = self.denied.judge(event.address, self.clock.now());
        if let Some(suppressed) = verdict.suppressed {
            let mut summary = AuditEvent::anonymous(Action::Denied, "", "");
            summary.outcome = "denied".into();
            summary.detail = Some(format!("{suppressed} refusals in the minute before have no line of their own"));
            self.record(TenantId::DEFAULT, summary);
        }
        if verdict.record {
            self.record(tenant, event);
        }
    }

    /// Sets a place aside for a change that is about to be made.
    pub(crate) fn begin(self: &Arc<Self>, tenant: TenantId, mut event: AuditEvent) -> Result<Pending, Error> {
        event.at = self.clock.now().0;
        event.outcome = "cancelled".into();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.len() + queue.reserved >= WAITING_MAX {
            return Err(Error::unavailable("the audit log cannot be written, so nothing can be changed at the moment"));
        }
        queue.reserved += 1;
        drop(queue);
        Ok(Pending { log: Arc::clone(self), event: Some((tenant, event)) })
    }

    /// Makes durable what waits. What could not be written waits on. Goes on when nobody waits any more: an event that was
    /// written and not taken from the queue would be written again.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), StateError> {
        let log = Arc::clone(self);
        let writing = tokio::spawn(async move { log.write_all().await });
        writing.await.unwrap_or_else(|error| {
            let message = format!("writing the audit log was interrupted: {error}");
            Err(StateError::Store { kind: ErrorKind::Unavailable, message })
        })
    }

    async fn write_all(&self) -> Result<(), StateError> {
        let mut heads = self.writing.lock().await;
        loop {
            let batch = self.first_batch();
            let Some((tenant, _)) = batch.first() else { return Ok(()) };
            let (tenant, count) = (*tenant, batch.len());
            heads.append(&*self.store, tenant, batch.into_iter().map(|(_, event)| event)).await?;
            // Only this drains, and it holds the lock: the first ones are still those that were written.
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.drain(..count);
        }
    }

    /// The first events that are of one tenant.
    fn first_batch(&self) -> Vec<(TenantId, AuditEvent)> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = queue.waiting.front().map(|(tenant, _)| *tenant);
        queue.waiting.iter().take(BATCH).take_while(|(of, _)| Some(*of) == tenant).cloned().collect()
    }

    /// The newest lines of a tenant, newest first.
    pub(crate) async fn lines(
        self: &Arc<Self>,
        tenant: TenantId,
        range: TimeRange,
        limit: u32,
    ) -> Result<Vec<AuditLine>, Error> {
        self.flush().await?;
        let events = self.store.history(tenant, HISTORY_KIND, range, limit).await?;
        let mut lines: Vec<AuditLine> =
            events.iter().filter_map(|event| serde_json::from_str(&event.value).ok()).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.sequence));
        Ok(lines)
    }
}

#[cfg(test)]
mod tests;
