use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::audit::Action;
use crate::authenticator::AuthDeps;
use crate::config::{AuthConfig, Mode};
use crate::fetch::NoClient;
use crate::role::{Role, Signals};
use crate::secret::Secret;
use crate::store::{TOKENS_MAX, TOKENS_PER_TENANT_MAX, TokenRecord, USERS_PER_TENANT_MAX, UserRecord};
use crate::testing::{PASSWORD, World, admin_of, basic, bearer, config, new_token, operator};
use trivium_model::{
    HistoryEvent, Lease, ManualClock, MemoryStateStore, SignalKind, StateChange, StateFuture, StateRecord, StateStore,
    TimeRange,
};

#[tokio::test]
async fn an_admin_reaches_its_own_tenant_and_the_operators_all() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let umbrella = world.auth.create_tenant(&operator(), "umbrella").await.expect("a tenant");
    assert_eq!((acme.id, umbrella.id), (1, 2));
    let admin = admin_of(acme.id, "acme");
    assert!(world.auth.create_tenant(&admin, "another").await.is_err());
    assert_eq!(world.auth.tenants(&admin), std::slice::from_ref(&acme));
    assert_eq!(world.auth.tenants(&operator()).len(), 3);

    let own = world.auth.create_token(&admin, new_token(Role::Viewer)).await.expect("its own");
    assert_eq!(own.0.tenant, "acme");
    let (foreign, _) = world.auth.create_token(&operator(), new_token(Role::Viewer)).await.expect("the operators'");
    for tenant in ["default", "umbrella", "nothing", "", "../acme"] {
        let new = NewToken { tenant: Some(tenant.into()), ..new_token(Role::Ingest) };
        assert!(matches!(world.auth.create_token(&admin, new).await, Err(Error::Forbidden { .. })), "{tenant:?}");
    }
    // What is of others is as if it were not there.
    assert_eq!(world.auth.tokens(&admin), std::slice::from_ref(&own.0));
    let refused = world.auth.revoke_token(&admin, &foreign.id).await.expect_err("not its own");
    assert_eq!(refused, world.auth.revoke_token(&admin, "AAAAAAAA").await.expect_err("not there"));
    world.user("alice", Role::Viewer).await;
    assert!(world.auth.users(&admin).is_empty());
    assert!(world.auth.delete_user(&admin, "alice").await.is_err());
    assert!(world.auth.change_user(&admin, "alice", UserChange::default()).await.is_err());
    assert!(world.auth.revoke_token(&operator(), &own.0.id).await.is_ok());

    for role in [Role::Editor, Role::Viewer, Role::Ingest] {
        let nobody = Principal { role, ..operator() };
        assert!(world.auth.create_token(&nobody, new_token(Role::Viewer)).await.is_err(), "{role}");
        assert!(world.auth.tokens(&nobody).is_empty() && world.auth.users(&nobody).is_empty(), "{role}");
    }
    let limited = Principal { signals: Signals::only([SignalKind::Logs]), ..operator() };
    assert!(world.auth.create_token(&limited, new_token(Role::Admin)).await.is_err(), "would lift its own limit");
}

#[tokio::test]
async fn tenants_have_names_that_are_safe_everywhere_and_numbers_for_ever() {
    let world = World::new(config()).await;
    for wrong in ["", "A", "a b", "a/b", "../x", "..%2f", "-a", "_a", "a.", "é", "a\0", &"a".repeat(64)] {
        assert!(
            matches!(world.auth.create_tenant(&operator(), wrong).await, Err(Error::InvalidArgument { .. })),
            "{wrong:?}"
        );
    }
    world.auth.create_tenant(&operator(), &"a".repeat(63)).await.expect("a tenant");
    for taken in ["default", &"a".repeat(63)] {
        assert!(matches!(world.auth.create_tenant(&operator(), taken).await, Err(Error::Conflict { .. })), "{taken}");
    }
    let restarted = world.restarted().await;
    assert_eq!(restarted.create_tenant(&operator(), "b").await.expect("a tenant").id, 2);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let world = World::new(config()).await;
    world.user("root", Role::Admin).await;
    world.user("viewer", Role::Viewer).await;
    let demote = UserChange { role: Some(Role::Editor), ..UserChange::default() };
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    for change in [demote.clone(), disable] {
        let refused = world.auth.change_user(&operator(), "root", change).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })));
    }
    assert!(matches!(world.auth.delete_user(&operator(), "ROOT").await, Err(Error::Conflict { .. })));
    world.auth.delete_user(&operator(), "viewer").await.expect("not an admin");
    world.user("second", Role::Admin).await;
    world.auth.change_user(&operator(), "root", demote).await.expect("there is another one");
}

/// Gives a tenant so many tokens more.
async fn fill(world: &World, tenant: u32, count: usize) {
    let (info, _) = world.auth.create_token(&operator(), new_token(Role::Ingest)).await.expect("a token");
    let known = world.auth.credentials.with(|index| index.token(&info.id)).expect("a token");
    let record = |number: usize| TokenRecord { id: format!("{tenant}-{number}"), tenant, ..(*known.record).clone() };
    let mut changes: Vec<Change> = (0..count).map(|number| Change::Token(Arc::new(record(number)))).collect();
    changes.push(Change::ForgetToken(info.id));
    world.auth.credentials.write().await.apply(changes).await.expect("kept");
}

#[tokio::test]
async fn a_tenant_with_too_many_tokens_is_no_others_trouble_and_new_ones_take_the_place_of_ended_ones() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let admin = admin_of(acme.id, "acme");
    fill(&world, acme.id, TOKENS_PER_TENANT_MAX).await;
    let create = async |by: &Principal, tenant: Option<&str>| {
        world.clock.advance(Duration::from_secs(1));
        let new = NewToken { tenant: tenant.map(str::to_owned), ..new_token(Role::Ingest) };
        world.auth.create_token(by, new).await.map(|(info, _)| info.id)
    };
    for by in [&admin, &operator()] {
        let refused = create(by, Some("acme")).await;
        assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    }
    create(&operator(), None).await.expect("a token of the operators");

    for id in ["1-7", "1-3"] {
        world.clock.advance(Duration::from_secs(1));
        world.auth.revoke_token(&admin, id).await.expect("revoked");
    }
    let ids = || world.auth.tokens(&admin).into_iter().map(|token| token.id).collect::<Vec<_>>();
    let has = |id: &str| ids().iter().any(|known| known == id);
    create(&admin, None).await.expect("in the place of the one that ended first");
    assert!(!has("1-7") && has("1-3"));
    create(&admin, None).await.expect("in the place of the other");
    assert!(!has("1-3"));
    assert!(create(&admin, None).await.is_err(), "all are valid");
    assert_eq!(ids().len(), TOKENS_PER_TENANT_MAX);
    assert_eq!(world.restarted().await.tokens(&admin).len(), TOKENS_PER_TENANT_MAX);
}

#[tokio::test]
async fn when_all_places_are_taken_whoever_ended_first_makes_room() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let admin = admin_of(acme.id, "acme");
    let short = NewToken { expires_in_seconds: Some(60), ..new_token(Role::Viewer) };
    let (expiring, _) = world.auth.create_token(&operator(), short).await.expect("a token");
    fill(&world, 0, TOKENS_MAX - 1).await;
    for by in [&admin, &operator()] {
        let refused = world.auth.create_token(by, new_token(Role::Ingest)).await;
        assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    }
    world.clock.advance(Duration::from_secs(60));
    world.auth.create_token(&admin, new_token(Role::Ingest)).await.expect("in the place of what expired");
    let left = world.auth.credentials.with(|index| (index.tokens().count(), index.token(&expiring.id).is_none()));
    assert_eq!(left, (TOKENS_MAX, true));
}

#[tokio::test]
async fn a_tenant_with_too_many_users_is_no_others_trouble() {
    let world = World::new(config()).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    world.user("root", Role::Admin).await;
    let root = world.auth.credentials.with(|index| index.user("root")).expect("a user");
    let of_acme = |number: usize| UserRecord { name: format!("user{number}"), tenant: acme.id, ..(*root).clone() };
    let changes = (0..USERS_PER_TENANT_MAX).map(|number| Change::User(Arc::new(of_acme(number)))).collect();
    world.auth.credentials.write().await.apply(changes).await.expect("kept");
    let new = |name: &str, tenant: &str| NewUser {
        name: name.into(),
        password: Secret::new(PASSWORD),
        role: Role::Viewer,
        tenant: Some(tenant.into()),
    };
    let admin = admin_of(acme.id, "acme");
    let refused = world.auth.create_user(&admin, new("alice", "acme")).await;
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    world.auth.create_user(&operator(), new("alice", "default")).await.expect("a user of the operators");
    world.auth.delete_user(&admin, "user7").await.expect("deleted");
    world.auth.create_user(&admin, new("bob", "acme")).await.expect("in its place");
}

#[tokio::test]
async fn users_are_refused_that_could_not_be_safe() {
    let world = World::new(config()).await;
    let new = |name: &str, password: &str, role| NewUser {
        name: name.into(),
        password: Secret::new(password),
        role,
        tenant: None,
    };
    for wrong in ["", " ", "a:b", "a\nb", "a/b", "é", &"a".repeat(129)] {
        assert!(world.auth.create_user(&operator(), new(wrong, PASSWORD, Role::Viewer)).await.is_err(), "{wrong:?}");
    }
    assert!(world.auth.create_user(&operator(), new("a", "short", Role::Viewer)).await.is_err());
    assert!(world.auth.create_user(&operator(), new("a", PASSWORD, Role::Ingest)).await.is_err());
    world.user("alice@example.com", Role::Viewer).await;
    let again = world.auth.create_user(&operator(), new("ALICE@example.com", PASSWORD, Role::Admin)).await;
    assert!(matches!(again, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn the_first_token_is_for_its_owner_once() {
    let world = World::new(config()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("first-token");
    // The file of an earlier start, which others can read.
    fs::write(&path, "trv_").expect("a file");
    assert_eq!(world.auth.write_first_token(&path).await.expect("written").as_deref(), Some(path.as_path()));
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let read = || Secret::new(fs::read_to_string(&path).expect("a file").trim());
    let first = read();
    world.by(&bearer(&first)).await.expect("an admin");

    let restarted = world.restarted().await;
    restarted.write_first_token(&path).await.expect("written");
    let second = read();
    assert!(restarted.by_token(first.reveal()).is_err(), "another start, another token");
    let admin = restarted.by_token(second.reveal()).expect("an admin").principal;
    assert!(restarted.create_token(&admin, new_token(Role::Ingest)).await.is_ok());
    assert!(restarted.by_token(second.reveal()).is_ok(), "an ingest token is no admin");
    let user = NewUser { name: "root".into(), password: Secret::new(PASSWORD), role: Role::Admin, tenant: None };
    restarted.create_user(&admin, user).await.expect("the first admin");
    assert!(restarted.by_token(second.reveal()).is_err(), "used");
    assert_eq!(restarted.write_first_token(&path).await, Ok(None));
    assert!(!path.exists());

    let lines = restarted.audit.lines(TenantId(0), TimeRange::ALL, 10).await.expect("lines");
    assert!(lines.iter().any(|line| line.event.action == Action::FirstToken));
}

#[tokio::test]
async fn a_first_token_that_nobody_used_ends_and_an_open_server_has_none() {
    let world = World::new(config()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("first-token");
    world.auth.write_first_token(&path).await.expect("written");
    let first = Secret::new(fs::read_to_string(&path).expect("a file").trim());
    world.clock.advance(Duration::from_secs(24 * 3_600));
    assert!(world.by(&bearer(&first)).await.is_err());

    let open = World::new(AuthConfig { mode: Mode::Open, ..config() }).await;
    assert_eq!(open.auth.write_first_token(&path).await, Ok(None));
    assert!(!path.exists(), "nor one that lies about");
}

#[tokio::test]
async fn a_file_that_is_no_first_token_stays() {
    let world = World::new(config()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("diary");
    for content in ["dear diary", "", "trv"] {
        fs::write(&path, content).expect("a file");
        assert!(world.auth.write_first_token(&path).await.is_err(), "{content:?}");
        world.restarted().await;
        assert_eq!(fs::read_to_string(&path).expect("a file"), content);
    }
    world.user("root", Role::Admin).await;
    assert_eq!(world.auth.write_first_token(&path).await, Ok(None));
    assert_eq!(fs::read_to_string(&path).expect("a file"), "trv");
}

#[tokio::test]
async fn who_may_log_in_may_change_the_password() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let alice = world.by(&basic("alice", PASSWORD)).await.expect("a principal");
    let change = async |current: &str, new: &str| {
        world.auth.change_password(&alice, &Secret::new(current), &Secret::new(new), None).await
    };
    assert!(matches!(change("wrong password", "another password").await, Err(Error::Forbidden { .. })));
    assert!(matches!(change(PASSWORD, "short").await, Err(Error::InvalidArgument { .. })));
    change(PASSWORD, "another password").await.expect("changed");
    assert!(world.by(&basic("alice", PASSWORD)).await.is_err());
    assert!(world.by(&basic("alice", "another password")).await.is_ok());
    let token = world.by(&bearer(&world.token(Role::Viewer, None).await)).await.expect("a principal");
    let refused = world.auth.change_password(&token, &Secret::new(PASSWORD), &Secret::new(PASSWORD), None).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "a token has no password");
}

#[tokio::test]
async fn who_knows_the_old_password_does_not_undo_the_new_one() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let alice = world.by(&basic("alice", PASSWORD)).await.expect("a principal");
    let known = world.auth.credentials.with(|index| index.user("alice")).expect("a user");
    let password = world.auth.passwords.hash(&Secret::new("the admin's password")).await.expect("a hash");
    let (old, new) = (Secret::new(PASSWORD), Secret::new("another password"));
    // An admin was first; the change has seen the user as it was by the time that this ends.
    let writing = world.auth.credentials.write().await;
    let reset = vec![Change::User(Arc::new(UserRecord { password, ..(*known).clone() }))];
    let (changed, written) = tokio::join!(world.auth.change_password(&alice, &old, &new, None), writing.apply(reset));
    written.expect("changed");
    assert!(matches!(changed, Err(Error::Conflict { .. })), "{changed:?}");
    assert!(world.by(&basic("alice", "the admin's password")).await.is_ok());
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten() {
    let world = World::new(config()).await;
    let new = NewToken { expires_in_seconds: Some(60), ..new_token(Role::Viewer) };
    world.auth.create_token(&operator(), new).await.expect("a token");
    world.auth.create_token(&operator(), new_token(Role::Viewer)).await.expect("a token for ever");
    world.clock.advance(Duration::from_secs(29 * 24 * 3_600));
    world.auth.maintain().await.expect("kept");
    assert_eq!(world.auth.tokens(&operator()).len(), 2);
    world.clock.advance(Duration::from_secs(2 * 24 * 3_600));
    world.auth.maintain().await.expect("kept");
    assert_eq!(world.auth.tokens(&operator()).len(), 1);
    assert_eq!(world.restarted().await.tokens(&operator()).len(), 1);
}

/// Makes every change durable and answers only when it is let.
#[derive(Debug)]
struct SlowStore {
    kept: MemoryStateStore,
    gate: tokio::sync::Semaphore,
}

impl StateStore for SlowStore {
    fn list(&self, tenant: TenantId, kind: &str, prefix: &str) -> StateFuture<'_, Vec<StateRecord>> {
        self.kept.list(tenant, kind, prefix)
    }

    fn apply(&self, tenant: TenantId, lease: Option<Lease>, changes: Vec<StateChange>) -> StateFuture<'_, ()> {
        Box::pin(async move {
            self.kept.apply(tenant, lease, changes).await?;
            self.gate.acquire().await.expect("never closed").forget();
            Ok(())
        })
    }

    fn history(
        &self,
        tenant: TenantId,
        kind: &str,
        range: TimeRange,
        limit: u32,
    ) -> StateFuture<'_, Vec<HistoryEvent>> {
        self.kept.history(tenant, kind, range, limit)
    }

    fn lease(&self, name: &str, holder: &str, now: UnixNanos, ttl: Duration) -> StateFuture<'_, Option<Lease>> {
        self.kept.lease(name, holder, now, ttl)
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_revoked_token_valid_and_no_line_twice() {
    let store = Arc::new(SlowStore { kept: MemoryStateStore::default(), gate: tokio::sync::Semaphore::new(0) });
    let deps = AuthDeps {
        store: Arc::clone(&store) as Arc<dyn StateStore>,
        clock: Arc::new(ManualClock::default()),
        client: Arc::new(NoClient),
    };
    let auth = Authenticator::open(config(), deps).await.expect("an authenticator");
    store.gate.add_permits(1);
    let (info, token) = auth.create_token(&operator(), new_token(Role::Viewer)).await.expect("a token");
    // Whoever asked is gone after the change was made durable, before it is in memory.
    for _ in 0..2 {
        let by = operator();
        let revoking = auth.revoke_token(&by, &info.id);
        assert!(tokio::time::timeout(Duration::from_millis(20), revoking).await.is_err());
    }
    auth.audit.record(TenantId(0), crate::audit::AuditEvent::anonymous(Action::Logout, "a", "b"));
    let flushing = auth.audit.flush();
    assert!(tokio::time::timeout(Duration::from_millis(20), flushing).await.is_err());
    store.gate.add_permits(100);
    auth.audit.flush().await.expect("written");
    drop(auth.credentials.write().await);
    assert!(auth.by_token(token.reveal()).is_err());
    assert_eq!(auth.audit.lines(TenantId(0), TimeRange::ALL, 10).await.expect("lines").len(), 1);
}
