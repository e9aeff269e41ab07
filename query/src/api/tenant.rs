//! Whose data a request is about.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use trivium_model::TenantId;

/// The tenant that the layer which knows the credential put into the extensions of the request; never what the client says of
/// itself. Without credentials there is one tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().copied().unwrap_or(TenantId::DEFAULT)))
    }
}

/// Rules, SLOs and notifications are those of the default tenant; nobody else sees or changes them.
pub(crate) async fn default_tenant_only(Tenant(tenant): Tenant, request: Request, next: Next) -> Response {
    if tenant == TenantId::DEFAULT {
        return next.run(request).await;
    }
    let message =
        "rules, alerts, SLOs and notifications belong to the default tenant, and the credential is of another";
    (StatusCode::FORBIDDEN, Json(json!({"error": {"kind": "forbidden", "message": message}}))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_tenant_is_the_credentials() {
        let says = |Tenant(tenant): Tenant| async move { tenant.0.to_string() };
        let router =
            Router::new().route("/alerts", get(says)).layer(from_fn(default_tenant_only)).route("/logs", get(says));
        for (tenant, path, status) in [
            (None, "/logs", StatusCode::OK),
            (Some(TenantId(7)), "/logs", StatusCode::OK),
            (Some(TenantId::DEFAULT), "/alerts", StatusCode::OK),
            (Some(TenantId(7)), "/alerts", StatusCode::FORBIDDEN),
        ] {
            let mut request = Request::builder().uri(path).body(Body::empty()).expect("a request");
            if let Some(tenant) = tenant {
                request.extensions_mut().insert(tenant);
            }
            let answer = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), status, "{tenant:?} {path}");
        }
    }
}
