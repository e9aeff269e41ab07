use std::time::Duration;

use http::HeaderValue;
use serde_json::json;
use trivium_model::SignalKind;

use super::*;
use crate::config::JwtConfig;
use crate::jwt::testing::Signer;
use crate::manage::{NewToken, UserChange};
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
