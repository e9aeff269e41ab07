//! Who may do what on each listener: opens the credentials that the catalog keeps, and stands before every route.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use serde::Deserialize;
use trivium_auth::{
    AuthConfig, AuthDeps, AuthLayer, Authenticator, Door, HttpClient, JwtConfig, Mode, OidcConfig, OutgoingAnswer,
    OutgoingRequest, Route, RouteTable, routes,
};
use trivium_listen::Peer;
use trivium_model::{Clock, TenantId};
use trivium_notify::{FetchRequest, OutgoingPolicy};
use trivium_query::alerting::TenantNames;
use trivium_storage::Storage;

use crate::config::{Authentication, Config};
use crate::listeners::PerListener;
use crate::server;

/// The file in the data folder with the token of the first start.
const FIRST_TOKEN: &str = "first-admin-token";

/// What `auth_config_file` may say. Everything has a default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AuthFile {
    /// Names besides IP addresses and `localhost` by which a server without authentication may be asked.
    hosts: Vec<String>,
    /// Origins besides our own from which pages may use a session.
    origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    trusted_proxies: Vec<IpAddr>,
    /// Whether browsers come by TLS that ends at a proxy.
    tls_at_proxy: bool,
    session_idle: Option<String>,
    session_lifetime: Option<String>,
    jwt: Vec<JwtConfig>,
    oidc: Option<OidcConfig>,
}

/// Opens the credentials. On the first start with authentication writes a token for the first admin, and says where.
pub(crate) async fn open(
    config: &Config,
    storage: &Storage,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<Authenticator>> {
    let settings = settings(config)?;
    let policy = Arc::new(OutgoingPolicy { allow: config.notify_networks()? });
    let deps = AuthDeps { store: storage.state(), clock: Arc::clone(clock), client: Arc::new(Outgoing(policy)) };
    let authenticator = Authenticator::open(settings, deps).await.context("cannot open the credentials")?;
    let file = config.data_dir.join(FIRST_TOKEN);
    let written = authenticator.write_first_token(&file).await.context("cannot write the token of the first start")?;
    if let Some(file) = written {
        tracing::warn!(
            file = %file.display(),
            "nobody can administer this server yet: the file has a token, good for a day, to make the first admin with"
        );
    }
    Ok(authenticator)
}

fn settings(config: &Config) -> anyhow::Result<AuthConfig> {
    let file = read(&config.auth_config_file)?;
    let default = AuthConfig::default();
    let duration = |text: Option<&str>, default: Duration| match text {
        Some(text) => humantime::parse_duration(text).with_context(|| format!("{text:?} is no duration such as 2h")),
        None => Ok(default),
    };
    Ok(AuthConfig {
        mode: match config.auth {
            Authentication::Open => Mode::Open,
            Authentication::Required => Mode::Required,
        },
        tls: file.tls_at_proxy || config.has_tls("http"),
        hosts: file.hosts,
        // Where the network or a client's certificate decides who comes to the API, names are whatever the network calls us.
        any_host: config.requires_client_certificate("http")
            || (config.insecure_no_auth && !config.http.ip().to_canonical().is_loopback()),
        origins: file.origins,
        trusted_proxies: file.trusted_proxies,
        session_idle: duration(file.session_idle.as_deref(), default.session_idle)?,
        session_lifetime: duration(file.session_lifetime.as_deref(), default.session_lifetime)?,
        jwt: file.jwt,
        oidc: file.oidc,
        ..default
    })
}

fn read(path: &Path) -> anyhow::Result<AuthFile> {
    if path.as_os_str().is_empty() {
        return Ok(AuthFile::default());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no auth_config_file", path.display()))
}

/// The tenants that credentials were made for.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) Arc<Authenticator>);

impl TenantNames for Names {
    fn named(&self, name: &str) -> Option<TenantId> {
        self.0.tenant_named(name)
    }

    fn name(&self, tenant: TenantId) -> Option<String> {
        self.0.tenant_name(tenant)
    }
}

/// Has every request of every listener pass the table of routes.
pub(crate) fn guard(
    authenticator: &Arc<Authenticator>,
    routers: PerListener<Router>,
) -> anyhow::Result<PerListener<Router>> {
    let table = |routes: Vec<Route>| RouteTable::new(routes).map_err(anyhow::Error::msg).map(Arc::new);
    let layer = |door, routes| Ok::<_, anyhow::Error>(AuthLayer::new(Arc::clone(authenticator), table(routes)?, door));
    let (http, grpc) = (layer(Door::OtlpHttp, routes::otlp_http())?, layer(Door::OtlpGrpc, routes::otlp_grpc())?);
    let api = layer(Door::Api, api_routes())?;
    let with = |router: Router, layer: AuthLayer| router.layer(layer).layer(from_fn(name_peer));
    Ok(PerListener {
        otlp_grpc: with(routers.otlp_grpc, grpc),
        otlp_http: with(routers.otlp_http, http),
        http: with(routers.http.merge(trivium_auth::router(Arc::clone(authenticator))), api)
            .layer(from_fn(server::with_pages_for_people)),
    })
}

fn api_routes() -> Vec<Route> {
    [routes::api(), routes::public(trivium_ui::paths())].concat()
}

/// The layer of credentials looks for the peer where axum's own server puts it.
async fn name_peer(mut request: Request, next: Next) -> Response {
    if let Some(address) = request.extensions().get::<Peer>().map(|peer| peer.address) {
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(address));
    }
    next.run(request).await
}

/// Asks issuers of tokens and providers of logins as receivers of notifications are asked: the same policy.
#[derive(Debug)]
struct Outgoing(Arc<OutgoingPolicy>);

#[async_trait]
impl HttpClient for Outgoing {
    async fn fetch(&self, request: OutgoingRequest) -> Result<OutgoingAnswer, String> {
        let OutgoingRequest { method, url, headers, body, timeout, answer_bytes_max } = request;
        let request = FetchRequest { method, url, headers, body: body.to_vec(), timeout, answer_bytes_max };
        let (status, body) = self.0.fetch(request).await?;
        Ok(OutgoingAnswer { status, body: body.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// A page whose name leads to our loopback address must not be answered because another listener is open to the network.
    #[test]
    fn names_are_checked_by_what_protects_the_api_itself() {
        let any_host = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            settings(&config).expect("valid").any_host
        };
        let everywhere: SocketAddr = ([0, 0, 0, 0], 4317).into();
        assert!(!any_host(|_| {}));
        assert!(!any_host(|config| config.insecure_no_auth = true));
        assert!(any_host(|config| {
            config.insecure_no_auth = true;
            config.http = ([0, 0, 0, 0], 4319).into();
        }));
        let mut config = Config { insecure_no_auth: true, otlp_grpc: everywhere, ..Config::default() };
        assert!(!settings(&config).expect("valid").any_host, "OTLP alone is open");
        (config.tls_cert_file, config.tls_client_ca_file) = ("cert.pem".into(), "ca.pem".into());
        config.tls_client_ca_listeners = vec!["otlp_grpc".into()];
        assert!(!settings(&config).expect("valid").any_host, "certificates are asked for elsewhere");
        config.tls_client_ca_listeners = vec!["http".into()];
        assert!(settings(&config).expect("valid").any_host);
    }

    /// A person who mistypes one of them reads what a program would.
    #[test]
    fn every_path_of_the_api_is_below_one_that_has_no_pages() {
        for Route { path, .. } in routes::api() {
            assert!(!server::may_be_a_page(&path), "{path} would be answered with a page when there is nothing at it");
        }
        let pages = trivium_ui::paths();
        assert!(pages.iter().all(|path| server::may_be_a_page(path)), "{pages:?}");
    }

    /// A route that the table lacks is refused, so nobody could use it.
    #[test]
    fn the_table_has_every_operation_that_the_api_describes() {
        let description: Value =
            serde_json::from_str(include_str!("../query/src/api/openapi.json")).expect("the description is JSON");
        let named = |route: Route| format!("{} {}", route.method, route.path.replace("{*", "{"));
        let table: BTreeSet<String> = api_routes().into_iter().map(named).collect();
        for (path, item) in description["paths"].as_object().expect("paths") {
            // Of Prometheus' the table has templates.
            if path.starts_with("/prometheus/") {
                continue;
            }
            for method in item.as_object().expect("operations").keys() {
                let operation = format!("{} {path}", method.to_uppercase());
                assert!(table.contains(&operation), "{operation} is not in the table of routes");
            }
        }
    }
}
