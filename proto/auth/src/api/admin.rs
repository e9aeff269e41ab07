//! Tokens, users, tenants and the audit log.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json as value};
use trivium_model::{TimeRange, UnixNanos};

use super::{Answer, Failure, Input, json};
use crate::authenticator::Authenticator;
use crate::error::Error;
use crate::layer::AuditDetail;
use crate::manage::{NewToken, NewUser, UserChange};
use crate::principal::Caller;

/// Lines of the audit log in one answer.
const LINES_MAX: u32 = 1_000;

type Auth = State<Arc<Authenticator>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTenant {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Range {
    start: Option<i64>,
    end: Option<i64>,
    limit: Option<u32>,
}

fn with_detail(mut response: Response<Body>, detail: String) -> Response<Body> {
    response.extensions_mut().insert(AuditDetail(detail));
    response
}

fn to_json(info: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(info).map_err(|error| Error::unavailable(format!("no JSON: {error}")).into())
}

pub(super) async fn tokens(State(authenticator): Auth, Caller(by): Caller) -> Answer {
    Ok(json(StatusCode::OK, value!({"tokens": to_json(&authenticator.tokens(&by))?})))
}

pub(super) async fn create_token(
    State(authenticator): Auth,
    Caller(by): Caller,
    Input(new): Input<NewToken>,
) -> Answer {
    let (info, secret) = authenticator.create_token(&by, new).await?;
    let detail = format!("token {} {:?}, {} of {}", info.id, info.name, info.role, info.tenant);
    let body = value!({"token": secret.reveal(), "info": to_json(&info)?});
    Ok(with_detail(json(StatusCode::CREATED, body), detail))
}

pub(super) async fn revoke_token(State(authenticator): Auth, Caller(by): Caller, Path(id): Path<String>) -> Answer {
    let info = authenticator.revoke_token(&by, &id).await?;
    Ok(with_detail(json(StatusCode::OK, to_json(&info)?), format!("token {} {:?} revoked", info.id, info.name)))
}

pub(super) async fn users(State(authenticator): Auth, Caller(by): Caller) -> Answer {
    Ok(json(StatusCode::OK, value!({"users": to_json(&authenticator.users(&by))?})))
}

pub(super) async fn create_user(State(authenticator): Auth, Caller(by): Caller, Input(new): Input<NewUser>) -> Answer {
    let info = authenticator.create_user(&by, new).await?;
    let detail = format!("user {}, {} of {}", info.name, info.role, info.tenant);
    Ok(with_detail(json(StatusCode::CREATED, to_json(&info)?), detail))
}

pub(super) async fn change_user(
    State(authenticator): Auth,
    Caller(by): Caller,
    Path(name): Path<String>,
    Input(change): Input<UserChange>,
) -> Answer {
    let what = [
        change.role.map(|role| format!("role {role}")),
        change.password.as_ref().map(|_| "another password".to_owned()),
        change.disabled.map(|disabled| format!("disabled {disabled}")),
    ];
    let info = authenticator.change_user(&by, &name, change).await?;
    let what: Vec<String> = what.into_iter().flatten().collect();
    let detail = format!("user {}: {}", info.name, what.join(", "));
    Ok(with_detail(json(StatusCode::OK, to_json(&info)?), detail))
}

pub(super) async fn delete_user(State(authenticator): Auth, Caller(by): Caller, Path(name): Path<String>) -> Answer {
    authenticator.delete_user(&by, &name).await?;
    Ok(with_detail(StatusCode::NO_CONTENT.into_response(), format!("user {name} deleted")))
}

pub(super) async fn tenants(State(authenticator): Auth, Caller(by): Caller) -> Answer {
    Ok(json(StatusCode::OK, value!({"tenants": to_json(&authenticator.tenants(&by))?})))
}

pub(super) async fn create_tenant(
    State(authenticator): Auth,
    Caller(by): Caller,
    Input(new): Input<NewTenant>,
) -> Answer {
    let info = authenticator.create_tenant(&by, &new.name).await?;
    let detail = format!("tenant {} ({})", info.name, info.id);
    Ok(with_detail(json(StatusCode::CREATED, to_json(&info)?), detail))
}

/// The lines of the caller's tenant, newest first, and whether they hold together.
pub(super) async fn audit(State(authenticator): Auth, Caller(by): Caller, Query(asked): Query<Range>) -> Answer {
    let start = asked.start.map_or(UnixNanos::MIN, UnixNanos);
    let range = TimeRange { start, end: asked.end.map_or(UnixNanos::MAX, UnixNanos) };
    let limit = asked.limit.unwrap_or(100).clamp(1, LINES_MAX);
    let mut lines = authenticator.audit.lines(by.tenant, range, limit).await?;
    lines.reverse();
    let broken = crate::audit::verify(&lines).err().map(|broken| broken.to_string());
    lines.reverse();
    Ok(json(StatusCode::OK, value!({"lines": to_json(&lines)?, "broken": broken})))
}
