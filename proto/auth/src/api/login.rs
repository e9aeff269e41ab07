//! Logging in and out.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json as value};

use super::{Answer, Failure, Input, json, with_cookie};
use crate::audit::{Action, AuditEvent};
use crate::authenticator::{Authenticator, Entrant};
use crate::config::Mode;
use crate::cookie;
use crate::error::Error;
use crate::jwt::claims;
use crate::layer::{AuditDetail, ClientAddress};
use crate::oidc::LOGIN_TIMEOUT;
use crate::principal::{Caller, How, Principal};
use crate::role::Verb;
use crate::secret::Secret;
use crate::store::SessionOf;
use crate::telemetry::LoginBy;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    name: String,
    password: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    current: Secret,
    new: Secret,
}

#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(rename = "return")]
    return_to: Option<String>,
}

/// Every field is optional: what a provider or somebody else sends must be answered in words.
#[derive(Deserialize)]
pub(super) struct Callback {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// How one can log in: what the page needs before anybody has.
pub(super) async fn methods(State(authenticator): State<Arc<Authenticator>>) -> Response<Body> {
    let oidc =
        authenticator.oidc.as_ref().map(|oidc| value!({"label": oidc.config.label, "url": "/api/v1/auth/oidc/start"}));
    let mode = if authenticator.mode() == Mode::Open { "open" } else { "required" };
    json(StatusCode::OK, value!({"mode": mode, "password": mode == "required", "oidc": oidc}))
}

pub(super) async fn login(State(authenticator): State<Arc<Authenticator>>, request: Request) -> Answer {
    let address = address_of(&request);
    let (parts, body) = request.into_parts();
    require_credentials(&authenticator)?;
    // Another site must not log a browser in either: people would work in an attacker's name.
    cookie::check_origin(&parts, &authenticator.config, true)?;
    let replaced = cookie::find(&parts.headers, authenticator.cookies.session);
    let Input(Login { name, password }) = read(parts, body).await?;
    let result = authenticator.login(&name, &password, address, replaced).await;
    keep_audit(&authenticator).await;
    let (principal, cookie) = result?;
    Ok(with_cookie(json(StatusCode::OK, describe(&principal)), Some(cookie)))
}

async fn read<T: serde::de::DeserializeOwned>(parts: Parts, body: Body) -> Result<Input<T>, Failure> {
    use axum::extract::FromRequest;
    Input::from_request(Request::from_parts(parts, body), &()).await
}

fn address_of(request: &Request) -> Option<std::net::IpAddr> {
    request.extensions().get::<ClientAddress>().and_then(|address| address.0)
}

fn require_credentials(authenticator: &Authenticator) -> Result<(), Failure> {
    match authenticator.mode() {
        Mode::Required => Ok(()),
        Mode::Open => Err(Error::invalid("this server asks for no credentials; there is nothing to log in to").into()),
    }
}

async fn keep_audit(authenticator: &Authenticator) {
    if let Err(error) = authenticator.audit.flush().await {
        tracing::warn!(%error, "an event of the audit log waits to be written");
    }
}

pub(super) async fn logout(
    State(authenticator): State<Arc<Authenticator>>,
    Caller(_): Caller,
    headers: HeaderMap,
) -> Answer {
    let forget = authenticator.end_session(&headers).await?;
    let mut response = with_cookie(StatusCode::NO_CONTENT.into_response(), forget);
    response.extensions_mut().insert(AuditDetail("logged out".into()));
    Ok(response)
}

pub(super) async fn me(State(authenticator): State<Arc<Authenticator>>, Caller(principal): Caller) -> Response<Body> {
    let mut described = describe(&principal);
    described["mode"] = if authenticator.mode() == Mode::Open { "open" } else { "required" }.into();
    json(StatusCode::OK, described)
}

fn describe(principal: &Principal) -> Value {
    let may: Vec<&str> =
        Verb::ALL.into_iter().filter(|verb| principal.role.allows(*verb, principal.tenant)).map(Verb::name).collect();
    let signals: Vec<String> = principal.signals.into();
    value!({
        "name": *principal.name,
        "role": principal.role,
        "tenant": *principal.tenant_name,
        "how": match &principal.how {
            How::Open => "open",
            How::Token(_) => "token",
            How::Password => "password",
            How::Session => "session",
            How::Jwt(_) => "jwt",
        },
        "signals": signals,
        "may": may,
    })
}

pub(super) async fn password(
    State(authenticator): State<Arc<Authenticator>>,
    Caller(principal): Caller,
    Extension(address): Extension<ClientAddress>,
    Input(NewPassword { current, new }): Input<NewPassword>,
) -> Answer {
    authenticator.change_password(&principal, &current, &new, address.0).await?;
    let forget = authenticator.cookies.forget(authenticator.cookies.session);
    Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), forget))
}

pub(super) async fn oidc_start(
    State(authenticator): State<Arc<Authenticator>>,
    Query(Start { return_to }): Query<Start>,
) -> Answer {
    require_credentials(&authenticator)?;
    let oidc = authenticator.oidc.as_ref().ok_or_else(|| Error::not_found("no provider of logins is set up"))?;
    let begun = oidc.begin(return_to.as_deref()).await?;
    let cookies = &authenticator.cookies;
    let cookie = cookies.set(cookies.oidc, &begun.state, LOGIN_TIMEOUT.as_secs(), "Lax");
    Ok(with_cookie(Redirect::to(&begun.location).into_response(), cookie))
}

pub(super) async fn oidc_callback(
    State(authenticator): State<Arc<Authenticator>>,
    Query(callback): Query<Callback>,
    request: Request,
) -> Answer {
    let address = address_of(&request);
    let result = end_oidc(&authenticator, callback, request.headers()).await;
    authenticator.metrics.login(LoginBy::Provider, &result);
    let cookies = &authenticator.cookies;
    let (principal, cookie, return_to) = match result {
        Ok(ended) => ended,
        Err(error) => {
            let event = AuditEvent::anonymous(Action::Login, "", "GET /api/v1/auth/oidc/callback");
            let detail = Some(crate::audit::shorten(&error.to_string()));
            let event = AuditEvent { address, outcome: "denied".into(), detail, ..event };
            authenticator.audit.denied(trivium_model::TenantId::DEFAULT, event);
            return Err(error.into());
        }
    };
    authenticator.audit_login(Some(&principal), &principal.name, address, "provider");
    keep_audit(&authenticator).await;
    let response = with_cookie(Redirect::to(&return_to).into_response(), Some(cookie));
    Ok(with_cookie(response, cookies.forget(cookies.oidc)))
}

async fn end_oidc(
    authenticator: &Authenticator,
    callback: Callback,
    headers: &HeaderMap,
) -> Result<(Principal, http::HeaderValue, String), Error> {
    let oidc = authenticator.oidc.as_ref().ok_or_else(|| Error::not_found("no provider of logins is set up"))?;
    if let Some(error) = callback.error {
        let shown: String = error.chars().filter(char::is_ascii_graphic).take(64).collect();
        return Err(Error::Unauthenticated { message: format!("the provider refused the login: {shown}") });
    }
    let (code, state) = (callback.code.unwrap_or_default(), callback.state.unwrap_or_default());
    let cookie = cookie::find(headers, authenticator.cookies.oidc);
    let ended = oidc.end(&code, &state, cookie).await?;
    let subject = claims::subject(&ended.claims.all, &oidc.config.claims, &authenticator.credentials);
    let subject = subject.map_err(|refusal| {
        tracing::info!(%refusal, "somebody whom the provider knows has no access");
        Error::forbidden("you are known to the provider but have no access here; ask an administrator")
    })?;
    let (role, tenant) = (subject.role, subject.tenant);
    let who = SessionOf::Provider { issuer: oidc.config.issuer.clone(), role, tenant: tenant.0 };
    let replaced = cookie::find(headers, authenticator.cookies.session);
    let entrant = Entrant::Provider { name: subject.name.clone(), who };
    let session = authenticator.begin_session(entrant, replaced).await?;
    let principal = Principal {
        tenant,
        tenant_name: authenticator.credentials.with(|index| index.tenant_name(tenant)),
        role,
        name: subject.name.into(),
        how: How::Session,
        signals: crate::role::Signals::ALL,
    };
    Ok((principal, session, ended.return_to))
}
