//! Rules, alerts, SLOs and notifications over HTTP.
//!
//! | path | answers |
//! |---|---|
//! | `/api/v1/rules`, `/api/v1/alerts` and the same below `/prometheus` | as Prometheus, with more members |
//! | `/api/v1/alerts/{fingerprint}/acknowledgement` | who looks after an alert |
//! | `/api/v1/incidents` | alerts that belong together, with what explains them |
//! | `/api/v1/diagnosis?at=`, `?start=&end=&service=` | what changed at a time |
//! | `/api/v1/rules/backtest` | what rules would have done |
//! | `/api/v1/slos`, `/api/v1/slos/{name}` | budgets and burn rates |
//! | `/alertmanager/api/v2/*` | as Alertmanager |

mod acknowledgement;
mod alertmanager;
mod backtest;
mod rules;
mod slos;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::routing::{get, post};

use crate::alerting::{Alerting, Tenants};
use crate::api::ApiError;
use crate::api::tenant::Tenant;

/// Bytes of a request; senders of alerts batch them.
const BODY_BYTES_MAX: usize = 8 << 20;

/// The evaluators of the tenant that the request is about.
pub(super) struct Of(Arc<Alerting>);

impl FromRequestParts<Arc<Tenants>> for Of {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, tenants: &Arc<Tenants>) -> Result<Self, ApiError> {
        let Ok(Tenant(tenant)) = Tenant::from_request_parts(parts, tenants).await;
        Ok(Self(tenants.of(tenant).await?))
    }
}

/// The routes on running evaluators; each tenant sees and changes its own.
pub fn router(tenants: Arc<Tenants>) -> Router {
    Router::new()
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/prometheus/api/v1/rules", get(rules::rules))
        .route("/prometheus/api/v1/alerts", get(rules::alerts))
        .route("/prometheus/api/v1/alertmanagers", get(rules::alertmanagers))
        .route("/api/v1/incidents", get(rules::incidents))
        .route("/api/v1/diagnosis", get(rules::diagnosis))
        .route("/api/v1/rules/backtest", post(backtest::backtest))
        .route("/api/v1/slos", get(slos::list))
        .route("/api/v1/slos/{name}", get(slos::one))
        .merge(acknowledgement::routes())
        .merge(alertmanager::routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(tenants)
}
