//! The layer in front of a listener's routes: who it is, whether it may, and a line in the audit log.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::MatchedPath;
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use tower::{Layer, Service};
use trivium_model::TenantId;

use crate::address;
use crate::audit::{Action, AuditEvent, Pending};
use crate::authenticator::{Authenticator, Identity, Validity};
use crate::config::Mode;
use crate::cookie;
use crate::error::Error;
use crate::principal::{How, Permission, Principal};
use crate::refuse::{self, Door};
use crate::role::Verb;
use crate::routes::{Access, Found, RouteTable};

/// What is read of a refused request, so that a client over HTTP/1.1 that is still sending hears the refusal instead of a
/// closed connection.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The header by which other products choose a tenant. Ours comes from the credential; who asks for another is told so.
const ORGANIZATION: &str = "x-scope-orgid";

/// What a handler has to say of a change, for the audit log: which token was made, which silence. An extension of its answer.
#[derive(Clone, Debug)]
pub struct AuditDetail(pub String);

/// Authenticates and authorises every request before its handler. Denies by default. The handler finds `Arc<Principal>` and
/// its `trivium_model::TenantId` in the extensions of the request, and an `Arc<dyn trivium_model::Validity>` at [`Door::Api`]; on a public route there
/// are none.
#[derive(Clone, Debug)]
pub struct AuthLayer {
    authenticator: Arc<Authenticator>,
    table: Arc<RouteTable>,
    door: Door,
}

impl AuthLayer {
    /// The layer of one listener. Wrap the whole router with it, fallbacks too, by `Router::layer`.
    pub fn new(authenticator: Arc<Authenticator>, table: Arc<RouteTable>, door: Door) -> Self {
        Self { authenticator, table, door }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService { layer: self.clone(), inner }
    }
}

/// A service behind [`AuthLayer`].
#[derive(Clone, Debug)]
pub struct AuthService<S> {
    layer: AuthLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for AuthService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was polled is used, a fresh one stays.
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(layer.serve(request, inner))
    }
}

/// A request that may pass.
struct Admitted {
    identity: Option<Identity>,
    pending: Option<Pending>,
}

/// Answers a request with a refusal in the words of its protocol, also one that nobody was asked about yet.
pub async fn refuse(error: &Error, door: Door, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let response = refuse::response(error, door, &parts);
    discard(&parts, body).await;
    response
}

/// Who was refused, as far as we know.
struct Refused {
    error: Error,
    principal: Option<Arc<Principal>>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, principal: None }
    }
}

impl AuthLayer {
    async fn serve<S>(self, request: Request<Body>, mut inner: S) -> Result<Response<Body>, Infallible>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let (mut parts, body) = request.into_parts();
        let matched = parts.extensions.get::<MatchedPath>().cloned();
        let route = matched.as_ref().map_or_else(|| parts.uri.path().to_owned(), |path| path.as_str().to_owned());
        let address = address::of(&parts, &self.authenticator.config);
        let admitted = match self.admit(&parts, &route, matched.is_some(), address).await {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.report(&parts, &route, address, &refused);
                return Ok(refuse(&refused.error, self.door, Request::from_parts(parts, body)).await);
            }
        };
        if let Some(identity) = admitted.identity {
            // Alone too, for crates that need to know whose data it is and not who asks.
            parts.extensions.insert(identity.principal.tenant);
            parts.extensions.insert(Arc::clone(&identity.principal));
            // Telemetry is taken in one go: only what is read goes on for long.
            if self.door == Door::Api {
                let validity = Validity::new(Arc::clone(&self.authenticator), identity);
                parts.extensions.insert(Arc::new(validity) as Arc<dyn trivium_model::Validity>);
            }
        }
        parts.extensions.insert(ClientAddress(address));
        let response = inner.call(Request::from_parts(parts, body)).await?;
        if let Some(pending) = admitted.pending {
            let detail = response.extensions().get::<AuditDetail>();
            pending.answered(response.status().as_u16(), detail.map(|detail| detail.0.as_str()));
            // Durable before the answer, if that can be; else it waits and is written later.
            if let Err(error) = self.authenticator.audit.flush().await {
                tracing::warn!(%error, "an event of the audit log waits to be written");
            }
        }
        Ok(response)
    }

    async fn admit(
        &self,
        parts: &Parts,
        route: &str,
        is_matched: bool,
        address: Option<IpAddr>,
    ) -> Result<Admitted, Refused> {
        let config = &self.authenticator.config;
        if config.mode == Mode::Open && self.door == Door::Api {
            cookie::check_host(parts, config)?;
        }
        let found = self.table.find(&parts.method, route);
        if found == Found::Access(Access::Public) {
            return Ok(Admitted { identity: None, pending: None });
        }
        let identity = self.authenticator.identify(&parts.headers, address).await?;
        let principal = &identity.principal;
        let refused = |error| Refused { error, principal: Some(Arc::clone(principal)) };
        let permission = match found {
            Found::Access(Access::Needs(permission)) => Some(permission),
            Found::Access(_) => None,
            Found::WrongMethod(allow) => {
                return Err(refused(Error::WrongMethod { method: parts.method.to_string(), allow }));
            }
            Found::Unknown => return Err(refused(unknown(parts, route, is_matched))),
        };
        self.check(parts, principal, permission).map_err(refused)?;
        let pending = self.begin(parts, route, principal, permission, address).map_err(refused)?;
        Ok(Admitted { identity: Some(identity), pending })
    }

    fn check(&self, parts: &Parts, principal: &Principal, permission: Option<Permission>) -> Result<(), Error> {
        let config = &self.authenticator.config;
        match principal.how {
            How::Session => cookie::check_same_site(parts, config)?,
            // Nobody is asked, so a page of another site must not act in somebody's place.
            How::Open if self.door == Door::Api && !cookie::is_safe(&parts.method) => {
                cookie::check_origin(parts, config, true)?;
            }
            _ => {}
        }
        // All of them: a proxy may have looked at another than we would.
        let mut asked = parts.headers.get_all(ORGANIZATION).iter();
        if config.mode == Mode::Required && asked.any(|asked| asked.as_bytes() != principal.tenant_name.as_bytes()) {
            let message = format!("X-Scope-OrgID names another tenant than the credential, {}", principal.tenant_name);
            return Err(Error::forbidden(message));
        }
        match permission {
            Some(permission) if !principal.may(permission) => Err(Error::forbidden(lacking(principal, permission))),
            _ => Ok(()),
        }
    }

    /// Sets a line aside for a request that changes something. Telemetry is not a change in this sense.
    fn begin(
        &self,
        parts: &Parts,
        route: &str,
        principal: &Principal,
        permission: Option<Permission>,
        address: Option<IpAddr>,
    ) -> Result<Option<Pending>, Error> {
        let changes = match permission {
            Some(permission) => matches!(permission.verb, Verb::Write | Verb::Administer | Verb::Operate),
            None => true,
        };
        if cookie::is_safe(&parts.method) || !changes {
            return Ok(None);
        }
        let mut event = AuditEvent::of(Action::Request, principal, format!("{} {route}", parts.method));
        event.address = address;
        if route != parts.uri.path() {
            event.detail = Some(crate::audit::shorten(parts.uri.path()));
        }
        self.authenticator.audit.begin(principal.tenant, event).map(Some)
    }

    /// A line for a refusal, unless it only says to come again.
    fn report(&self, parts: &Parts, route: &str, address: Option<IpAddr>, refused: &Refused) {
        if !matches!(refused.error, Error::Unauthenticated { .. } | Error::Forbidden { .. } | Error::Throttled { .. }) {
            return;
        }
        if let (Error::Forbidden { .. }, Some(principal)) = (&refused.error, &refused.principal) {
            self.authenticator.metrics.forbidden(&principal.how, principal.role);
        }
        let target = format!("{} {route}", parts.method);
        let (tenant, mut event) = match &refused.principal {
            Some(principal) => (principal.tenant, AuditEvent::of(Action::Denied, principal, target)),
            None => (TenantId::DEFAULT, AuditEvent::anonymous(Action::Denied, "", target)),
        };
        event.address = address;
        event.outcome = "denied".into();
        event.status = Some(refuse::status(&refused.error, parts.uri.path()).as_u16());
        event.detail = Some(crate::audit::shorten(&refused.error.to_string()));
        self.authenticator.audit.denied(tenant, event);
    }
}

fn unknown(parts: &Parts, route: &str, is_matched: bool) -> Error {
    if is_matched {
        // A defect of ours, and the safe side of it.
        tracing::error!(method = %parts.method, route, "a route is not in the route table and is refused");
        return Error::forbidden(format!("{route} is not in the route table, so nobody may use it"));
    }
    Error::not_found("there is nothing at this path")
}

fn lacking(principal: &Principal, permission: Permission) -> String {
    let Principal { name, role, .. } = principal;
    let verb = permission.verb.name();
    if !principal.signals.is_all() && role.allows(permission.verb, principal.tenant) {
        let signals: Vec<String> = principal.signals.into();
        return format!("{name} may not do this: the token is for {} alone", signals.join(" and "));
    }
    match (permission.verb, principal.tenant) {
        (Verb::Monitor | Verb::Operate, tenant) if tenant != TenantId::DEFAULT => {
            format!("{name} may not {verb}: this concerns the whole server, whose people are in the default tenant")
        }
        _ => format!("{name} has the role {role}, which may not {verb}"),
    }
}

/// The address that a request came from, for handlers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

/// Reads a refused request to its end, or to ours. Over HTTP/2 the refusal stops the client by itself, and one that waits for
/// `100 Continue` must not be told to go on.
async fn discard(parts: &Parts, mut body: Body) {
    if parts.version >= Version::HTTP_2 || parts.method == Method::GET || parts.headers.contains_key("expect") {
        return;
    }
    let reading = async {
        let mut bytes = 0;
        while bytes < DISCARD_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
    };
    drop(tokio::time::timeout(DISCARD_TIMEOUT, reading).await);
}
