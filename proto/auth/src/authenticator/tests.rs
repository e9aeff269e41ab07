use std::time::Duration;

use http::HeaderValue;
use http::header::COOKIE;
use serde_json::json;
use trivium_model::SignalKind;
use trivium_model::Validity as _;

use super::*;
use crate::config::JwtConfig;
use crate::jwt::testing::{Endpoint, Signer};
use crate::manage::{NewToken, UserChange};
use crate::store::{Change, SESSIONS_PER_PERSON_MAX, SessionOf};
use crate::testing::{NOW_SECONDS, PASSWORD, World, authorized, basic, bearer, config, new_token, operator};

#[tokio::test]
async fn a_token_is_known_until_it_is_revoked_and_after_a_restart() {
    let world = World::new(config()).await;
    let token = world.token(Role::Ingest, None).await;
    let principal = world.by(&bearer(&token)).await.expect("a principal");
    assert_eq!((principal.role, principal.tenant, &*principal.name), (Role::Ingest, TenantId(0), "for ingest"));
    let How::Token(id) = principal.how.clone() else { panic!("{:?}", principal.how) };

    let restarted = world.restarted().await;
    assert!(restarted.authenticate(&authorized(&bearer(&token)), None).await.is_ok());
    let by_basic = world.by(&basic("anybody", token.reveal())).await.expect("as a password");
    assert_eq!(by_basic, principal);

    world.auth.revoke_token(&operator(), &id).await.expect("revoked");
    assert!(world.by(&bearer(&token)).await.is_err(), "at once");
    assert!(world.by(&basic("anybody", token.reveal())).await.is_err());
    let restarted = world.restarted().await;
    assert!(restarted.authenticate(&authorized(&bearer(&token)), None).await.is_err());
}

#[tokio::test]
async fn a_token_ends_with_its_time() {
    let world = World::new(config()).await;
    let new = NewToken { expires_in_seconds: Some(60), ..new_token(Role::Viewer) };
    let (info, token) = world.auth.create_token(&operator(), new).await.expect("a token");
    assert!(info.valid);
    world.clock.advance(Duration::from_millis(59_999));
    assert!(world.by(&bearer(&token)).await.is_ok());
    world.clock.advance(Duration::from_millis(1));
    assert!(world.by(&bearer(&token)).await.is_err());
    assert!(!world.auth.tokens(&operator())[0].valid);
    for wrong in [0, u64::MAX] {
        let new = NewToken { expires_in_seconds: Some(wrong), ..new_token(Role::Viewer) };
        assert!(world.auth.create_token(&operator(), new).await.is_err());
    }
}

#[tokio::test]
async fn nothing_of_a_tokens_secret_is_kept_and_its_last_use_is() {
    let world = World::new(config()).await;
    let token = world.token(Role::Viewer, None).await;
    let secret = token.reveal().rsplit('_').next().expect("a secret").to_owned();
    world.clock.advance(Duration::from_secs(100));
    world.by(&bearer(&token)).await.expect("a principal");
    world.auth.maintain().await.expect("kept");
    for kind in ["auth_token", "auth_user", "auth_session", "audit_head"] {
        for record in world.store.list(TenantId(0), kind, "").await.expect("records") {
            assert!(!String::from_utf8_lossy(&record.value).contains(&secret), "{kind}");
        }
    }
    let restarted = world.restarted().await;
    assert_eq!(restarted.tokens(&operator())[0].last_used, Some(world.clock.now()));
}

#[tokio::test]
async fn what_is_like_a_token_is_none() {
    let world = World::new(config()).await;
    let token = world.token(Role::Admin, None).await;
    let text = token.reveal();
    let (start, secret) = text.rsplit_once('_').expect("parts");
    let turned: String = secret.chars().rev().collect();
    for wrong in [
        format!("Bearer {start}_{turned}"),
        format!("Bearer trv_AAAAAAAA_{secret}"),
        format!("Bearer {text} {text}"),
        format!("Bearer {}", text.to_uppercase()),
        format!("Bearer{text}"),
        format!("Token {text}"),
        "Bearer ".to_owned(),
        "Bearer null".to_owned(),
        "Basic ????".to_owned(),
        "Basic ".to_owned(),
        basic("name without a password", ""),
        format!("Bearer {}", "x".repeat(20_000)),
    ] {
        let error = world.by(&wrong).await.expect_err("refused");
        assert!(matches!(error, Error::Unauthenticated { .. }), "{wrong}: {error:?}");
    }
    // Two headers, of which a proxy may see one and we the other.
    let mut headers = authorized(&bearer(&token));
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert!(world.auth.authenticate(&headers, None).await.is_err());
    let nothing = world.auth.authenticate(&HeaderMap::new(), None).await;
    assert_eq!(nothing, Err(Error::missing_credentials()));
}

#[tokio::test]
async fn a_password_is_verified_once_and_its_change_is_seen_at_once() {
    let world = World::new(config()).await;
    world.user("Alice", Role::Editor).await;
    world.user("root", Role::Admin).await;
    let alice = basic("alice", PASSWORD);
    let first = world.by(&alice).await.expect("a principal");
    assert_eq!((first.role, &*first.name), (Role::Editor, "alice"));
    assert!(Arc::ptr_eq(&first, &world.by(&alice).await.expect("a principal")), "not hashed again");
    assert!(world.by(&basic("ALICE", PASSWORD)).await.is_ok(), "names are not case-sensitive");

    let change = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    world.auth.change_user(&operator(), "alice", change).await.expect("changed");
    assert_eq!(world.by(&alice).await.expect("a principal").role, Role::Viewer);

    let change = UserChange { password: Some(Secret::new("another password")), ..UserChange::default() };
    world.auth.change_user(&operator(), "alice", change).await.expect("changed");
    assert!(world.by(&alice).await.is_err());
    let alice = basic("alice", "another password");
    assert!(world.by(&alice).await.is_ok());
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    world.auth.change_user(&operator(), "alice", change).await.expect("changed");
    assert!(world.by(&alice).await.is_err());
}

#[tokio::test]
async fn guessing_is_stopped_and_the_right_password_elsewhere_is_not() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let (attacker, home) = (Some([203, 0, 113, 5].into()), Some([192, 0, 2, 1].into()));
    let mut tried = 0;
    for number in 0..1_000 {
        let headers = authorized(&basic("alice", &format!("guess number {number}")));
        match world.auth.authenticate(&headers, attacker).await {
            Err(Error::Unauthenticated { .. }) => tried += 1,
            Err(Error::Throttled { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tried, 5);
    let right = authorized(&basic("alice", PASSWORD));
    assert!(matches!(world.auth.authenticate(&right, attacker).await, Err(Error::Throttled { .. })));
    assert!(world.auth.authenticate(&right, home).await.is_ok());
}

fn jwt_config(path: std::path::PathBuf) -> JwtConfig {
    let text = json!({
        "issuer": "https://issuer",
        "audience": "trivium",
        "jwks_file": path,
        "role_claim": "realm_access.roles",
        "roles": {"sre": "editor", "boss": "admin"},
        "tenant_claim": "org",
        "tenants": {"ACME Inc.": "acme", "Ghost Ltd.": "ghost"},
    });
    serde_json::from_value(text).expect("a configuration")
}

#[tokio::test]
async fn a_web_token_is_who_its_claims_say() {
    let signer = Signer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    std::fs::write(&path, signer.jwks().to_string()).expect("a file");
    let world = World::new(AuthConfig { jwt: vec![jwt_config(path)], ..config() }).await;
    let acme = world.auth.create_tenant(&operator(), "acme").await.expect("a tenant");
    let by = async |claims: serde_json::Value| {
        let mut all = json!({"iss": "https://issuer", "aud": "trivium", "sub": "ci", "exp": NOW_SECONDS + 600});
        all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
        world.by(&format!("Bearer {}", signer.token("ES256", &all))).await
    };
    let roles = |roles: &[&str]| json!({"roles": roles});
    let found = by(json!({"org": "ACME Inc.", "realm_access": roles(&["x", "sre"])})).await.expect("a principal");
    assert_eq!((found.tenant, found.role, &*found.name), (TenantId(acme.id), Role::Editor, "ci"));
    assert_eq!(found.how, How::Jwt("https://issuer".into()));
    let found = by(json!({"org": ["ACME Inc."], "realm_access": roles(&["sre", "boss"])})).await.expect("a principal");
    assert_eq!(found.role, Role::Admin);
    for refused in [
        json!({"org": "ACME Inc."}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["admin"])}),
        json!({"org": "acme", "realm_access": roles(&["sre"])}),
        json!({"org": "default", "realm_access": roles(&["sre"])}),
        json!({"org": "Ghost Ltd.", "realm_access": roles(&["sre"])}),
        json!({"org": ["ACME Inc.", "Ghost Ltd."], "realm_access": roles(&["sre"])}),
        json!({"realm_access": roles(&["sre"])}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["sre"]), "sub": ""}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["sre"]), "sub": "a\nb"}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["sre"]), "aud": "another"}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["sre"]), "iss": "https://other"}),
        json!({"org": "ACME Inc.", "realm_access": roles(&["sre"]), "exp": NOW_SECONDS - 61}),
    ] {
        let error = by(refused.clone()).await.expect_err("refused");
        assert_eq!(error, Error::wrong_credentials(), "{refused}");
    }
}

#[tokio::test]
async fn a_web_token_that_was_verified_ends_when_it_says() {
    let signer = Signer::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    std::fs::write(&path, signer.jwks().to_string()).expect("a file");
    let text = json!({"issuer": "https://issuer", "audience": "trivium", "jwks_file": path, "default_role": "viewer"});
    let jwt = serde_json::from_value(text).expect("a configuration");
    let world = World::new(AuthConfig { jwt: vec![jwt], ..config() }).await;
    let claims = json!({"iss": "https://issuer", "aud": "trivium", "sub": "ci", "exp": NOW_SECONDS + 100});
    let value = format!("Bearer {}", signer.token("RS256", &claims));
    let first = world.by(&value).await.expect("a principal");
    assert!(Arc::ptr_eq(&first, &world.by(&value).await.expect("a principal")), "not verified again");
    world.clock.advance(Duration::from_secs(159));
    assert!(world.by(&value).await.is_ok());
    world.clock.advance(Duration::from_secs(1));
    assert!(world.by(&value).await.is_err());
}

/// The web tokens of an issuer whose keys come from an endpoint.
async fn issuer() -> (Arc<Endpoint>, World) {
    let endpoint = Arc::new(Endpoint::default());
    let text = json!({"issuer": "https://issuer", "audience": "trivium", "jwks_url": "http://issuer/keys",
        "default_role": "ingest"});
    let jwt = serde_json::from_value(text).expect("a configuration");
    let client = Arc::clone(&endpoint) as Arc<dyn HttpClient>;
    let world = World::with_client(AuthConfig { jwt: vec![jwt], ..config() }, client).await;
    (endpoint, world)
}

/// A token for somebody, by a key of this name.
fn signed(signer: &Signer, key: &str, subject: &str) -> String {
    let claims = json!({"iss": "https://issuer", "aud": "trivium", "sub": subject, "exp": NOW_SECONDS + 3_600});
    format!("Bearer {}", signer.sign(&json!({"alg": "EdDSA", "kid": key}), &claims))
}

/// Senders drop what is refused for good. A token by a key that its issuer began to use just now must not be.
#[tokio::test]
async fn a_key_that_is_not_known_yet_is_trouble_that_passes() {
    let (endpoint, world) = issuer().await;
    let (old, new) = (Signer::new(), Signer::new());
    let mut next = new.jwks();
    next["keys"][2]["kid"] = "next".into();
    let retry_after = async |token: String| {
        let error = world.by(&token).await.expect_err("no key of this name is known");
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        error.retry_after().expect("it passes").as_secs()
    };
    let wait = |seconds| world.clock.advance(Duration::from_secs(seconds));
    endpoint.set(Some(old.jwks()));
    world.by(&signed(&old, "ed", "a")).await.expect("a principal");
    wait(1);
    assert_eq!(retry_after(signed(&new, "next", "a")).await, 29, "asked just now");
    wait(29);
    endpoint.set(None);
    assert_eq!(retry_after(signed(&new, "next", "a")).await, 30, "the issuer is down");
    world.by(&signed(&old, "ed", "b")).await.expect("its keys are still its keys");
    wait(30);
    endpoint.set(Some(next));
    world.by(&signed(&new, "next", "a")).await.expect("it has come up");
    assert_eq!(endpoint.asked(), 3);
    // Made-up names cost a fetch every half a minute and are refused for good by what was fetched.
    wait(1);
    for _ in 0..100 {
        assert_eq!(retry_after(signed(&old, "made up", "a")).await, 29);
    }
    assert_eq!(endpoint.asked(), 3);
    wait(29);
    assert_eq!(world.by(&signed(&old, "made up", "a")).await, Err(Error::wrong_credentials()));
    // A signature that is not by the key that it names is none, however new our keys are.
    wait(1);
    assert_eq!(world.by(&signed(&old, "next", "a")).await, Err(Error::wrong_credentials()));
}

#[tokio::test]
async fn the_first_keys_decide_about_the_token_that_they_were_fetched_for() {
    let (endpoint, world) = issuer().await;
    let signer = Signer::new();
    endpoint.set(Some(signer.jwks()));
    assert_eq!(world.by(&signed(&signer, "made up", "a")).await, Err(Error::wrong_credentials()));
    assert_eq!(endpoint.asked(), 1);
}

fn live_sessions(world: &World, of: impl Fn(&SessionOf) -> bool) -> usize {
    world.auth.credentials.with(|index| index.sessions().filter(|session| of(&session.record.who)).count())
}

#[tokio::test]
async fn namesakes_do_not_end_each_others_sessions() {
    let world = World::new(config()).await;
    world.user("alice", Role::Admin).await;
    world.auth.login("alice", &Secret::new(PASSWORD), None, None).await.expect("a session");
    let of = |tenant, role| SessionOf::Provider { issuer: "https://issuer".into(), role, tenant };
    let begin = async |tenant: u32, role: Role| {
        world.clock.advance(Duration::from_secs(1));
        let entrant = Entrant::Provider { name: "alice".into(), who: of(tenant, role) };
        world.auth.begin_session(entrant, None).await.expect("a session");
    };
    begin(2, Role::Viewer).await;
    for number in 0..SESSIONS_PER_PERSON_MAX + 4 {
        // The same person, whatever its role is at the time.
        begin(1, if number % 2 == 0 { Role::Viewer } else { Role::Editor }).await;
    }
    let of_tenant = |wanted: u32| {
        live_sessions(&world, |who| matches!(who, SessionOf::Provider { tenant, .. } if *tenant == wanted))
    };
    assert_eq!((of_tenant(1), of_tenant(2)), (SESSIONS_PER_PERSON_MAX, 1));
    assert_eq!(live_sessions(&world, |who| *who == SessionOf::User), 1, "the admin's own");
}

#[tokio::test]
async fn a_user_that_is_changed_during_a_login_gets_no_session() {
    let world = World::new(config()).await;
    let password = Secret::new(PASSWORD);
    let another = world.auth.passwords.hash(&Secret::new("another password")).await.expect("a hash");
    let changes: [fn(&mut UserRecord, &crate::password::PasswordHash); 3] = [
        |user, another| user.password = another.clone(),
        |user, _| user.disabled = true,
        |user, _| user.role = Role::Viewer,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let name = format!("alice{number}");
        world.user(&name, Role::Editor).await;
        let known = world.auth.credentials.with(|index| index.user(&name)).expect("a user");
        let mut changed = (*known).clone();
        change(&mut changed, &another);
        // An admin was first; the login has seen the user as it was by the time that this ends.
        let writing = world.auth.credentials.write().await;
        let login = world.auth.login(&name, &password, None, None);
        let (login, written) = tokio::join!(login, writing.apply(vec![Change::User(Arc::new(changed))]));
        written.expect("changed");
        assert!(matches!(login, Err(Error::Unauthenticated { .. })), "{login:?}");
        assert_eq!(live_sessions(&world, |_| true), 0);
    }
}

async fn validity(world: &World, headers: &HeaderMap) -> Validity {
    let identity = world.auth.identify(headers, None).await.expect("a principal");
    Validity::new(Arc::clone(&world.auth), identity)
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked_or_expires() {
    let world = World::new(config()).await;
    let new = NewToken { expires_in_seconds: Some(60), ..new_token(Role::Viewer) };
    let mut made = Vec::new();
    for _ in 0..2 {
        let (info, token) = world.auth.create_token(&operator(), new.clone()).await.expect("a token");
        made.push((info.id, validity(&world, &authorized(&bearer(&token))).await));
        made.push((String::new(), validity(&world, &authorized(&basic("anybody", token.reveal()))).await));
    }
    let good = || made.iter().map(|(_, validity)| validity.is_good()).collect::<Vec<_>>();
    assert_eq!(good(), [true; 4]);
    world.auth.revoke_token(&operator(), &made[0].0).await.expect("revoked");
    assert_eq!(good(), [false, false, true, true]);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(good(), [false; 4]);
    world.clock.advance(Duration::from_secs(31 * 24 * 3_600));
    world.auth.maintain().await.expect("kept");
    assert_eq!(good(), [false; 4], "forgotten");
}

#[tokio::test]
async fn a_password_is_good_until_the_user_is_another() {
    let world = World::new(config()).await;
    world.user("root", Role::Admin).await;
    let changes = [
        UserChange { password: Some(Secret::new("another password")), ..UserChange::default() },
        UserChange { disabled: Some(true), ..UserChange::default() },
        UserChange { role: Some(Role::Viewer), ..UserChange::default() },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let name = format!("alice{number}");
        world.user(&name, Role::Editor).await;
        let headers = authorized(&basic(&name, PASSWORD));
        // The second time it is remembered and not verified.
        let both = [validity(&world, &headers).await, validity(&world, &headers).await];
        world.clock.advance(Duration::from_secs(24 * 3_600));
        assert!(both.iter().all(trivium_model::Validity::is_good), "a password does not expire");
        world.auth.change_user(&operator(), "root", UserChange::default()).await.expect("somebody else");
        assert!(both.iter().all(trivium_model::Validity::is_good));
        world.auth.change_user(&operator(), &name, change).await.expect("changed");
        assert!(!both.iter().any(trivium_model::Validity::is_good), "{name}");
    }
    world.user("bob", Role::Viewer).await;
    let bob = validity(&world, &authorized(&basic("bob", PASSWORD))).await;
    world.auth.delete_user(&operator(), "bob").await.expect("deleted");
    assert!(!bob.is_good());
    world.user("bob", Role::Viewer).await;
    assert!(!bob.is_good(), "another one of this name and password");
}

async fn logged_in(world: &World, name: &str) -> HeaderMap {
    let (_, cookie) = world.auth.login(name, &Secret::new(PASSWORD), None, None).await.expect("a session");
    let cookie = cookie.to_str().expect("text").split(';').next().unwrap_or_default().to_owned();
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&cookie).expect("a value"))])
}

#[tokio::test]
async fn a_session_is_good_until_it_ends_and_asking_makes_it_no_longer() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let (first, second) = (logged_in(&world, "alice").await, logged_in(&world, "alice").await);
    let [out, idle] = [validity(&world, &first).await, validity(&world, &second).await];
    world.auth.end_session(&first).await.expect("logged out");
    assert!(!out.is_good() && idle.is_good(), "logged out of one");
    for _ in 0..119 {
        world.clock.advance(Duration::from_secs(60));
        assert!(idle.is_good());
    }
    world.clock.advance(Duration::from_secs(60));
    assert!(!idle.is_good(), "two hours without a request");

    let changes = [
        UserChange { role: Some(Role::Editor), ..UserChange::default() },
        UserChange { password: Some(Secret::new("another password")), ..UserChange::default() },
        UserChange { disabled: Some(true), ..UserChange::default() },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let name = format!("bob{number}");
        world.user(&name, Role::Viewer).await;
        let bob = validity(&world, &logged_in(&world, &name).await).await;
        assert!(bob.is_good());
        world.auth.change_user(&operator(), &name, change).await.expect("changed");
        assert!(!bob.is_good(), "{name}");
    }
}

#[tokio::test]
async fn a_web_token_is_good_until_it_expires_and_an_open_server_finds_everybody_good() {
    let (endpoint, world) = issuer().await;
    let signer = Signer::new();
    endpoint.set(Some(signer.jwks()));
    let headers = authorized(&signed(&signer, "ed", "a"));
    let both = [validity(&world, &headers).await, validity(&world, &headers).await];
    // With the minute that clocks may differ.
    world.clock.advance(Duration::from_secs(3_659));
    assert!(both.iter().all(trivium_model::Validity::is_good));
    world.clock.advance(Duration::from_secs(1));
    assert!(!both.iter().any(trivium_model::Validity::is_good));

    let world = World::new(AuthConfig { mode: Mode::Open, ..config() }).await;
    let anybody = validity(&world, &HeaderMap::new()).await;
    world.clock.advance(Duration::from_secs(10 * 366 * 24 * 3_600));
    assert!(anybody.is_good());
}

#[tokio::test]
async fn a_token_for_one_signal_says_so() {
    let world = World::new(config()).await;
    let signals = Some(Signals::only([SignalKind::Logs]));
    let new = NewToken { signals, ..new_token(Role::Ingest) };
    let (_, token) = world.auth.create_token(&operator(), new).await.expect("a token");
    assert_eq!(Some(world.by(&bearer(&token)).await.expect("a principal").signals), signals);
}

#[tokio::test]
async fn an_open_server_asks_nobody() {
    let world = World::new(AuthConfig { mode: Mode::Open, ..config() }).await;
    for headers in [HeaderMap::new(), authorized("Bearer of good news")] {
        let principal = world.auth.authenticate(&headers, None).await.expect("anybody");
        assert_eq!((principal.role, principal.tenant, &principal.how), (Role::Admin, TenantId::DEFAULT, &How::Open));
    }
}

#[tokio::test]
async fn configurations_that_let_everybody_in_or_nobody_are_refused() {
    let valid = json!({"issuer": "https://i", "audience": "a", "jwks_url": "https://i/keys", "default_role": "viewer"});
    let with = |field: &str, value: serde_json::Value| {
        let mut config = valid.clone();
        config[field] = value;
        serde_json::from_value::<JwtConfig>(config)
    };
    let validate = |jwt: JwtConfig| AuthConfig { jwt: vec![jwt], ..config() }.validate();
    assert_eq!(validate(serde_json::from_value(valid.clone()).expect("valid")), Ok(()));
    for (field, value) in [
        ("issuer", json!("")),
        ("audience", json!(" ")),
        ("jwks_file", json!("/also/a/file")),
        ("jwks_url", json!(null)),
        ("default_role", json!(null)),
        ("roles", json!({"a": "admin"})),
        ("tenant_claim", json!("org")),
    ] {
        assert!(validate(with(field, value).expect("of the right form")).is_err(), "{field}");
    }
    assert!(with("default_role", json!("root")).is_err());
}

/// What one ingest request costs, at best of many rounds, because the machine has other work. Printed; the bound is that of
/// a debug build.
#[tokio::test]
async fn a_request_with_a_token_costs_little() {
    let world = World::new(config()).await;
    let mut tokens = Vec::new();
    for _ in 0..100 {
        tokens.push(authorized(&bearer(&world.token(Role::Ingest, None).await)));
    }
    let mut best = Duration::MAX;
    for _ in 0..100 {
        let begun = std::time::Instant::now();
        for headers in &tokens {
            world.auth.authenticate(headers, None).await.expect("a principal");
        }
        best = best.min(begun.elapsed() / 100);
    }
    println!("{best:?} for each request");
    assert!(best < Duration::from_micros(50), "{best:?}");
}
