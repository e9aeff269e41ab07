//! Diagnoses in the background wait for each other: an outage makes many incidents at once, and each diagnosis reads hundreds of
//! thousands of spans into memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alerting::turns::Turns;

/// How far the diagnosis of an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has not looked at the incident yet.
    Waits,
    Runs,
    /// It must run once more after that: something was added that it may have missed.
    RunsAgain,
}

/// The incidents of one tenant that are to be explained. The turns are those of all tenants.
#[derive(Debug)]
pub(in crate::alerting) struct Queue {
    turns: Turns,
    stages: Mutex<HashMap<String, Stage>>,
}

impl Queue {
    pub(in crate::alerting) fn new(turns: Turns) -> Arc<Self> {
        Arc::new(Self { turns, stages: Mutex::default() })
    }

    /// Has an incident explained when it is its turn. What is asked for while it waits is one with it; while it runs, it is run
    /// once more, however often that is asked for.
    pub(in crate::alerting) fn push<F>(
        self: &Arc<Self>,
        incident: String,
        explain: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if !self.is_new(&incident) {
            return;
        }
        let queue = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let turn = queue.turns.next().await;
                queue.stages().insert(incident.clone(), Stage::Runs);
                // On its own: a defect in one diagnosis must not keep the incident from being explained ever again.
                if let Err(error) = tokio::spawn(explain()).await {
                    tracing::error!(%error, incident, "a diagnosis did not end");
                }
                drop(turn);
                if !queue.goes_on(&incident) {
                    break;
                }
            }
        });
    }

    fn is_new(&self, incident: &str) -> bool {
        let mut stages = self.stages();
        match stages.get_mut(incident) {
            Some(Stage::Waits) => false,
            Some(stage) => {
                *stage = Stage::RunsAgain;
                false
            }
            None => {
                stages.insert(incident.to_owned(), Stage::Waits);
                true
            }
        }
    }

    /// After a diagnosis: whether the incident waits for another.
    fn goes_on(&self, incident: &str) -> bool {
        let mut stages = self.stages();
        if stages.get(incident) == Some(&Stage::RunsAgain) {
            stages.insert(incident.to_owned(), Stage::Waits);
            return true;
        }
        stages.remove(incident);
        false
    }

    fn stages(&self) -> MutexGuard<'_, HashMap<String, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// The names of diagnoses as they begin. None ends before the semaphore lets it.
    fn pusher(queue: &Arc<Queue>, may_end: &Arc<Semaphore>) -> (impl Fn(&str), UnboundedReceiver<String>) {
        let (begins, begun) = unbounded_channel();
        let (queue, may_end) = (Arc::clone(queue), Arc::clone(may_end));
        let push = move |incident: &str| {
            let (begins, may_end, name) = (begins.clone(), Arc::clone(&may_end), incident.to_owned());
            queue.push(incident.to_owned(), move || {
                let may_end = Arc::clone(&may_end);
                begins.send(name.clone()).expect("the test listens");
                async move { may_end.acquire().await.expect("nobody closes it").forget() }
            });
        };
        (push, begun)
    }

    async fn next(begun: &mut UnboundedReceiver<String>) -> String {
        tokio::time::timeout(Duration::from_secs(10), begun.recv()).await.expect("it begins").expect("a name")
    }

    /// Scenario: an outage; incidents come all at once and grow while they wait and while they are explained. Guarantee: no more
    /// are explained at once than there are turns, the others later; an incident that waits is explained once, one that grew
    /// meanwhile once more.
    #[tokio::test]
    async fn diagnoses_wait_for_each_other_and_those_of_one_incident_are_merged() {
        let (queue, may_end) = (Queue::new(Turns::at_once(2)), Arc::new(Semaphore::new(0)));
        let (push, mut begun) = pusher(&queue, &may_end);
        ["a", "b"].into_iter().for_each(&push);
        assert_eq!([next(&mut begun).await, next(&mut begun).await], ["a", "b"]);
        ["c", "d", "c", "c", "a", "a"].into_iter().for_each(&push);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(begun.try_recv().is_err(), "there are two turns");
        may_end.add_permits(1);
        assert_eq!(next(&mut begun).await, "c");
        may_end.add_permits(10);
        let mut rest = [next(&mut begun).await, next(&mut begun).await];
        rest.sort_unstable();
        assert_eq!(rest, ["a", "d"]);
        while !queue.stages().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(begun.try_recv().is_err(), "nothing is explained for nothing");
        push("c");
        assert_eq!(next(&mut begun).await, "c", "what comes later is explained anew");
    }

    /// Scenario: the first diagnosis of an incident dies of a defect. Guarantee: the incident is explained when it is asked for again,
    /// and the turn is given back.
    #[tokio::test]
    async fn a_diagnosis_that_dies_costs_itself_only() {
        let queue = Queue::new(Turns::at_once(1));
        let (begins, mut begun) = unbounded_channel();
        for is_defect in [true, false] {
            let begins = begins.clone();
            queue.push("a".to_owned(), move || {
                begins.send(is_defect.to_string()).expect("the test listens");
                async move { assert!(!is_defect, "as the test wants it") }
            });
            assert_eq!(next(&mut begun).await, is_defect.to_string());
            let ends = async {
                while !queue.stages().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), ends).await.expect("it is over");
        }
    }
}
