use trivium_model::{ManualClock, MemoryStateStore};

use super::*;

fn log() -> (Arc<AuditLog>, Arc<MemoryStateStore>) {
    let store = Arc::new(MemoryStateStore::default());
    let clock = Arc::new(ManualClock::default());
    (Arc::new(AuditLog::new(Arc::clone(&store) as Arc<dyn StateStore>, clock)), store)
}

fn event(actor: &str) -> AuditEvent {
    AuditEvent::anonymous(Action::Login, actor, "POST /api/v1/auth/login")
}

async fn lines(log: &Arc<AuditLog>, tenant: TenantId) -> Vec<AuditLine> {
    let mut lines = log.lines(tenant, TimeRange::ALL, 10_000).await.expect("lines");
    lines.reverse();
    lines
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart_and_each_tenant_has_its_own() {
    let (first, store) = log();
    for number in 0..200 {
        first.record(TenantId(number % 2), event(&format!("user {number}")));
    }
    first.flush().await.expect("written");
    let clock = Arc::new(ManualClock::default());
    let second = Arc::new(AuditLog::new(store, clock));
    second.record(TenantId(0), event("after the restart"));
    for (tenant, count) in [(0, 101), (1, 100)] {
        let lines = lines(&second, TenantId(tenant)).await;
        assert_eq!(lines.len(), count);
        assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), (1..=count as u64).collect::<Vec<_>>());
        assert_eq!(verify(&lines), Ok(()));
        assert_eq!(lines[0].previous, "0".repeat(64));
    }
}

#[tokio::test]
async fn whatever_is_done_to_a_line_is_found() {
    let (log, _) = log();
    for number in 0..10 {
        log.record(TenantId(0), event(&format!("user {number}")));
    }
    let whole = lines(&log, TenantId(0)).await;
    assert_eq!(verify(&whole), Ok(()));
    assert_eq!(verify(&whole[3..]), Ok(()), "the oldest are forgotten with age");

    let mut changed = whole.clone();
    changed[4].event.actor = "nobody".into();
    assert_eq!(verify(&changed), Err(ChainBreak::Changed { sequence: 5 }));

    let mut removed = whole.clone();
    removed.remove(4);
    assert_eq!(verify(&removed), Err(ChainBreak::Gap { sequence: 6 }));

    let mut swapped = whole.clone();
    swapped.swap(4, 5);
    assert!(verify(&swapped).is_err());

    let mut rewritten = whole.clone();
    rewritten[4].event.actor = "nobody".into();
    rewritten[4] = chain_again(&rewritten[4]);
    assert_eq!(verify(&rewritten), Err(ChainBreak::Gap { sequence: 6 }), "its own hash alone is not enough");
}

/// A forger's line: changed and hashed again.
fn chain_again(line: &AuditLine) -> AuditLine {
    let event = serde_json::to_string(&line.event).expect("JSON");
    let text = format!("{}\n{}\n{event}", line.previous, line.sequence);
    AuditLine { hash: crate::secret::Digest::of(text.as_bytes()).to_string(), ..line.clone() }
}

#[tokio::test]
async fn a_change_has_one_line_whether_it_ended_or_was_given_up() {
    let (log, _) = log();
    log.begin(TenantId(0), event("ended")).expect("a place").answered(204, None);
    log.begin(TenantId(0), event("refused")).expect("a place").answered(422, None);
    drop(log.begin(TenantId(0), event("given up")).expect("a place"));
    let lines = lines(&log, TenantId(0)).await;
    let outcomes: Vec<_> = lines.iter().map(|line| (line.event.outcome.as_str(), line.event.status)).collect();
    assert_eq!(outcomes, [("ok", Some(204)), ("failed", Some(422)), ("cancelled", None)]);
}

#[tokio::test]
async fn without_a_place_in_the_log_nothing_is_changed() {
    let (log, _) = log();
    let pending: Vec<_> = (0..WAITING_MAX).map(|_| log.begin(TenantId(0), event("a")).expect("a place")).collect();
    let refused = log.begin(TenantId(0), event("b")).expect_err("no place");
    assert!(refused.retry_after().is_some());
    drop(pending);
    log.flush().await.expect("written");
    assert!(log.begin(TenantId(0), event("b")).is_ok());
}

#[test]
fn a_name_cannot_break_a_line_or_fill_a_disk() {
    let event = event(&format!("a\r\nb\u{1b}[31m{}", "x".repeat(10_000)));
    assert!(event.actor.len() <= 256 && !event.actor.contains(['\r', '\n', '\u{1b}']));
}
