use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, Request};
use tower::ServiceExt;

use super::*;
use crate::layer::AuthLayer;
use crate::manage::NewToken;
use crate::principal::How;
use crate::refuse::Door;
use crate::routes::{self, RouteTable};
use crate::secret::Secret;
use crate::testing::{PASSWORD, World, authorized, basic, bearer, config, new_token, operator};

const DAY: u64 = 24 * 60 * 60;

/// All series that are not zero.
fn exposed(world: &World) -> BTreeMap<String, i64> {
    let mut registry = Registry::default();
    world.auth.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it encodes");
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let values = lines.map(|(series, value)| (series.to_owned(), value.parse().expect("a whole number")));
    values.filter(|(_, value)| *value != 0).collect()
}

fn requests(world: &World) -> Vec<(String, i64)> {
    let named = |series: &str| Some(series.strip_prefix("trivium_auth_requests_total{credential=")?.replace('"', ""));
    exposed(world).into_iter().filter_map(|(series, count)| Some((named(&series)?, count))).collect()
}

fn one(kind: &str, result: &str) -> (String, i64) {
    (format!("{kind},result={result}}}"), 1)
}

fn id_of(secret: &Secret) -> String {
    crate::token::id_of(secret.reveal()).expect("a token").to_owned()
}

#[tokio::test]
async fn requests_are_counted_by_what_they_showed_and_what_became_of_it() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let [good, revoked] = [world.token(Role::Ingest, None).await, world.token(Role::Ingest, None).await];
    let short = NewToken { expires_in_seconds: Some(60), ..new_token(Role::Viewer) };
    let (_, expired) = world.auth.create_token(&operator(), short).await.expect("a token");
    world.auth.revoke_token(&operator(), &id_of(&revoked)).await.expect("revoked");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(requests(&world), [], "nobody has asked yet");
    let unknown = bearer(&Secret::new(good.reveal().replacen("trv_", "trv_x", 1)));
    for authorization in [
        &bearer(&good),
        &bearer(&revoked),
        &bearer(&expired),
        &unknown,
        &basic("alice", PASSWORD),
        &basic("alice", "a wrong password"),
        "Negotiate abc",
    ] {
        drop(world.by(authorization).await);
    }
    let cookie = HeaderMap::from_iter([(http::header::COOKIE, "trivium_session=unknown".parse().expect("a value"))]);
    for headers in [HeaderMap::new(), cookie] {
        assert!(world.auth.authenticate(&headers, None).await.is_err());
    }
    assert_eq!(
        requests(&world),
        [
            one("none", "invalid"),
            one("other", "invalid"),
            one("password", "invalid"),
            one("password", "ok"),
            one("session", "invalid"),
            one("token", "expired"),
            one("token", "invalid"),
            one("token", "ok"),
            one("token", "revoked"),
        ]
    );
}

/// What clients send may be anything, and as much of it as they like: it must not become labels.
#[tokio::test]
async fn no_label_has_what_a_client_sent() {
    let world = World::new(config()).await;
    let before = series(&world);
    for number in 0..300 {
        let name = format!("mallory{number}");
        let address: IpAddr = [198, 51, 100, u8::try_from(number % 250).expect("a byte")].into();
        drop(world.auth.authenticate(&authorized(&basic(&name, "guess")), Some(address)).await);
        drop(world.by(&format!("mallory{number} x")).await);
        drop(world.by(&format!("Bearer mallory.{number}.x")).await);
        drop(world.auth.login(&name, &Secret::new("guess"), Some(address), None).await);
    }
    world.auth.maintain().await.expect("kept");
    assert_eq!(series(&world), before);
}

fn series(world: &World) -> Vec<String> {
    let mut registry = Registry::default();
    world.auth.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it encodes");
    assert!(!text.contains("mallory"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    lines.map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn logins_and_who_has_to_wait_are_counted() {
    let world = World::new(config()).await;
    world.user("alice", Role::Viewer).await;
    let attacker = Some([203, 0, 113, 5].into());
    let login = async |password: &str| {
        drop(world.auth.login("alice", &Secret::new(password), attacker, None).await);
    };
    login(PASSWORD).await;
    for _ in 0..8 {
        login("a wrong password").await;
    }
    world.auth.maintain().await.expect("kept");
    let found = exposed(&world);
    let logins = |result| found[&format!("trivium_auth_logins_total{{method=\"password\",result=\"{result}\"}}")];
    assert_eq!((logins("ok"), logins("invalid"), logins("throttled")), (1, 5, 3));
    assert_eq!(found["trivium_auth_locked_out{of=\"name\"}"], 1);
    assert!(!found.contains_key("trivium_auth_locked_out{of=\"address\"}"), "one of fifty free attempts used");
    assert_eq!(found["trivium_auth_sessions"], 1);
    world.clock.advance(Duration::from_secs(60 * 60));
    world.auth.maintain().await.expect("kept");
    assert!(!exposed(&world).contains_key("trivium_auth_locked_out{of=\"name\"}"), "forgiven");
}

#[tokio::test]
async fn tokens_are_counted_by_state_and_those_told_that_somebody_has_to_replace() {
    let world = World::new(config()).await;
    let make = async |days: u64| {
        let new = NewToken { expires_in_seconds: Some(days * DAY), ..new_token(Role::Ingest) };
        world.auth.create_token(&operator(), new).await.expect("a token").1
    };
    let [used, _unused, _short] = [make(30).await, make(30).await, make(1).await];
    let revoked = world.token(Role::Ingest, None).await;
    world.auth.revoke_token(&operator(), &id_of(&revoked)).await.expect("revoked");
    let state = |found: &BTreeMap<String, i64>, state: &str| {
        found.get(&format!("trivium_auth_tokens{{state=\"{state}\"}}")).copied().unwrap_or_default()
    };
    let expiring = "trivium_auth_tokens_expiring";
    world.by(&bearer(&used)).await.expect("a principal");
    world.auth.maintain().await.expect("kept");
    let found = exposed(&world);
    assert_eq!([state(&found, "valid"), state(&found, "expired"), state(&found, "revoked")], [3, 0, 1]);
    assert_eq!(found.get(expiring), None, "a month is left");

    world.clock.advance(Duration::from_secs(24 * DAY));
    world.by(&bearer(&used)).await.expect("a principal");
    world.auth.maintain().await.expect("kept");
    let found = exposed(&world);
    assert_eq!([state(&found, "valid"), state(&found, "expired"), state(&found, "revoked")], [2, 1, 1]);
    assert_eq!(found[expiring], 1, "the one that is used; the other is missed by nobody");

    world.clock.advance(Duration::from_secs(2 * DAY));
    world.auth.maintain().await.expect("kept");
    assert_eq!(exposed(&world).get(expiring), None, "nobody uses it any more");
}

#[tokio::test]
async fn who_is_known_and_may_not_is_counted_by_role() {
    let world = World::new(config()).await;
    let token = world.token(Role::Ingest, None).await;
    let table = RouteTable::new(routes::api()).expect("a table");
    let layer = AuthLayer::new(Arc::clone(&world.auth), Arc::new(table), Door::Api);
    let router = axum::Router::new().route("/api/v1/logs", get(|| async { "all of them" })).layer(layer);
    let request = Request::get("/api/v1/logs").header("authorization", bearer(&token));
    let request = request.body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("an answer");
    assert_eq!(answer.status(), 403);
    let found = exposed(&world);
    assert_eq!(found["trivium_auth_forbidden_requests_total{credential=\"token\",role=\"ingest\"}"], 1);
    assert_eq!(requests(&world), [one("token", "ok")]);
}

#[test]
fn every_way_to_show_who_one_is_has_its_name() {
    for (how, name) in [
        (How::Open, "none"),
        (How::Token("abc".into()), "token"),
        (How::Password, "password"),
        (How::Session, "session"),
        (How::Jwt("https://issuer".into()), "jwt"),
    ] {
        assert_eq!(Credential::from(&how).name(), name);
    }
    for (index, credential) in Credential::ALL.into_iter().enumerate() {
        assert_eq!(credential as usize, index);
    }
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome as usize, index);
    }
}
