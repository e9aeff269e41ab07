//! What happens on the machine: requests, and what the store does by itself, also at the same time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use trivium_model::{Clock, SignalKind, TenantId};

use super::disk::Pause;
use super::ledger::Known;
use super::requests::Request;
use super::world::World;
use crate::error::Error;
use crate::storage::{AppendRequest, Appended, Storage};

/// A request to be made.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) tenant: u32,
    pub(super) signal: SignalKind,
    /// How long before now the times of its rows are.
    pub(super) ages: Vec<Duration>,
    pub(super) padding: usize,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Append(Draft),
    /// Several requests at once, of which the later ones share a group.
    AppendTogether(Vec<Draft>),
    /// A request that was sent before, counted from the last one, comes again.
    Resend(usize),
    Seal(SignalKind),
    /// A seal, and requests that come while it stands still.
    SealMeanwhile(SignalKind, Pause, Vec<Draft>),
    Merge(SignalKind),
    Expire,
    RemoveUnread,
    TrimWal,
    ForgetRequests,
    Flush,
    Canary,
    Wait(Duration),
}

impl World {
    /// Does a step. An error that nothing explains is one of the store.
    pub(super) async fn step(&mut self, step: Step) -> Result<(), String> {
        let Some(storage) = self.storage.clone() else { return Ok(()) };
        let failures = self.disk.failures();
        let inner = &storage.inner;
        let result = match step.clone() {
            Step::Append(draft) => self.append(&storage, vec![draft]).await,
            Step::AppendTogether(drafts) => self.append(&storage, drafts).await,
            Step::Resend(back) => self.resend(&storage, back).await?,
            Step::Seal(signal) => inner.seal(signal).await.map(drop),
            Step::SealMeanwhile(signal, pause, drafts) => self.seal_meanwhile(&storage, signal, pause, drafts).await?,
            Step::Merge(signal) => inner.compact_once(signal).await.map(drop),
            Step::Expire => self.expire(&storage).await,
            Step::RemoveUnread => inner.remove_unread().await,
            Step::TrimWal => inner.trim_wal().await,
            Step::ForgetRequests => inner.forget_requests().await,
            Step::Flush => storage.flush().await,
            Step::Canary => {
                // An answer is given again for a while, also when the disk works again.
                drop(storage.ready().await);
                Ok(())
            }
            Step::Wait(time) => {
                self.clock.advance(time);
                Ok(())
            }
        };
        let is_excused = self.disk.is_stopped() || self.disk.failures() > failures || storage.failed().is_some();
        if let Err(error) = result
            && !is_excused
        {
            return Err(format!("{step:?} failed without a cause: {error}"));
        }
        if self.disk.is_stopped() {
            return Ok(());
        }
        if matches!(step, Step::Expire) {
            let found = self.found()?;
            self.ledger().settle_dropped(&found);
        }
        self.check().map_err(|error| format!("after {step:?}: {error}"))
    }

    /// Writes requests down and makes what is to be sent. Makes room before, as the background work would.
    fn drafted(&self, drafts: Vec<Draft>) -> Vec<(Request, AppendRequest)> {
        let now = self.clock.now();
        let mut ledger = self.ledger();
        let requests = drafts.into_iter().map(|Draft { tenant, signal, ages, padding }| {
            let times = ages.into_iter().map(|age| now.before(age).0).collect();
            let request = ledger.send(TenantId(tenant), signal, times, padding, now);
            (request.clone(), request.append(now))
        });
        requests.collect()
    }

    fn has_room(&self, storage: &Storage, signal: SignalKind) -> bool {
        storage.buffered(signal).0 < self.config.buffer_bytes_max
    }

    async fn append(&self, storage: &Storage, drafts: Vec<Draft>) -> Result<(), Error> {
        for signal in SignalKind::ALL {
            if !self.has_room(storage, signal) {
                storage.inner.seal(signal).await?;
            }
        }
        let mut requests = self.drafted(drafts);
        if requests.is_empty() {
            return Ok(());
        }
        let (first, request) = requests.remove(0);
        let numbers: Vec<u32> = requests.iter().map(|(request, _)| request.number).collect();
        let mut others = pin!(join_all(requests.into_iter().map(|(_, request)| storage.append(request))));
        let first_answer = storage.append(request);
        if numbers.is_empty() {
            return self.noted(first.number, first_answer.await);
        }
        // The others come while the first one is on its way to the disk, and so share the next group.
        let come = poll_fn(|context| {
            let early = others.as_mut().poll(context);
            Poll::Ready(match early {
                Poll::Ready(answers) => Some(answers),
                Poll::Pending => None,
            })
        });
        let (answer, early) = self.while_paused(Pause::WalAppend, first_answer, come).await;
        let first = self.noted(first.number, answer);
        let answers = match early.flatten() {
            Some(answers) => answers,
            None => others.await,
        };
        let noted = numbers.into_iter().zip(answers).map(|(number, answer)| self.noted(number, answer));
        noted.fold(first, Result::and)
    }

    /// Does something while something else stands still at a place, if it comes there.
    async fn while_paused<T, U>(
        &self,
        pause: Pause,
        work: impl Future<Output = T>,
        meanwhile: impl Future<Output = U>,
    ) -> (T, Option<U>) {
        let mut work = pin!(work);
        self.disk.pause_at(pause);
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = self.disk.arrived() => None,
        };
        if let Some(done) = done {
            self.disk.resume();
            return (done, None);
        }
        let other = meanwhile.await;
        self.disk.resume();
        (work.await, Some(other))
    }

    fn noted(&self, number: u32, answer: Result<Appended, Error>) -> Result<(), Error> {
        match answer {
            Ok(_) => self.answered(number, Known::Stored),
            // Of a process that is no more nothing is known.
            Err(_) if self.disk.is_stopped() => {}
            Err(_) => self.answered(number, Known::Refused),
        }
        answer.map(drop)
    }

    async fn resend(&self, storage: &Storage, back: usize) -> Result<Result<(), Error>, String> {
        let now = self.clock.now();
        let window = Duration::from_secs(self.config.remember_requests_seconds);
        let chosen = {
            let ledger = self.ledger();
            let recent: Vec<_> = ledger.requests().filter(|(request, _)| now.since(request.sent_at) < window).collect();
            recent.iter().rev().nth(back % recent.len().max(1)).map(|chosen| (*chosen).clone())
        };
        let Some((request, known)) = chosen.filter(|(request, _)| self.has_room(storage, request.signal)) else {
            return Ok(Ok(()));
        };
        if known != Known::Stored {
            self.ledger().sent_again(request.number, now);
        }
        let answer = storage.append(request.append(now)).await;
        match (&answer, known) {
            (Ok(Appended::Stored(_)), Known::Stored) => Err(format!("{request:?} came again and was stored again")),
            (Err(_), Known::Stored) => Ok(answer.map(drop)),
            (Ok(Appended::Duplicate), Known::Refused | Known::Absent) if self.is_kept(&request) => {
                Err(format!("{request:?} is {known:?} and was taken for stored"))
            }
            _ => Ok(self.noted(request.number, answer)),
        }
    }

    /// Whether retention leaves a row of it.
    fn is_kept(&self, request: &Request) -> bool {
        request.times.iter().any(|&time| !self.ledger().may_be_dropped(time))
    }

    async fn seal_meanwhile(
        &self,
        storage: &Storage,
        signal: SignalKind,
        pause: Pause,
        drafts: Vec<Draft>,
    ) -> Result<Result<(), Error>, String> {
        let come = async {
            let mut answer = Ok(());
            for (request, append) in self.drafted(drafts) {
                if self.has_room(storage, request.signal) {
                    answer = self.noted(request.number, storage.append(append).await).and(answer);
                }
            }
            let checked = if self.disk.is_stopped() { Ok(()) } else { self.check() };
            (answer, checked)
        };
        let (sealed, others) = self.while_paused(pause, storage.inner.seal(signal), come).await;
        let (answer, checked) = others.unwrap_or((Ok(()), Ok(())));
        checked.map_err(|error| format!("while {signal} was sealed: {error}"))?;
        Ok(sealed.map(drop).and(answer))
    }
}
