//! What Prometheus tells of its targets: `/prometheus/api/v1/targets` and `scrape_pools`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use trivium_model::UnixNanos;
use trivium_scrape::TargetStatus;

use super::Scraping;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    state: Option<String>,
    scrape_pool: Option<String>,
}

/// The routes; without scraping they answer that there are no targets.
pub(crate) fn router(scraping: Option<Arc<Scraping>>) -> Router {
    Router::new()
        .route("/prometheus/api/v1/targets", get(targets))
        .route("/prometheus/api/v1/scrape_pools", get(pools))
        .with_state(scraping)
}

async fn statuses(scraping: Option<Arc<Scraping>>) -> Vec<TargetStatus> {
    match scraping {
        Some(scraping) => scraping.targets().await,
        None => Vec::new(),
    }
}

async fn targets(State(scraping): State<Option<Arc<Scraping>>>, Query(wanted): Query<Wanted>) -> Json<Value> {
    let statuses = statuses(scraping).await;
    let is_wanted = |status: &&TargetStatus| wanted.scrape_pool.as_ref().is_none_or(|pool| *pool == status.job);
    let active: Vec<Value> = match wanted.state.as_deref() {
        Some("dropped") => Vec::new(),
        _ => statuses.iter().filter(is_wanted).map(shown).collect(),
    };
    // Targets that relabelling dropped are not remembered: they would be listed for ever.
    let data = json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}});
    Json(json!({"status": "success", "data": data}))
}

async fn pools(State(scraping): State<Option<Arc<Scraping>>>) -> Json<Value> {
    let pools: BTreeSet<String> = statuses(scraping).await.into_iter().map(|status| status.job).collect();
    Json(json!({"status": "success", "data": {"scrapePools": pools}}))
}

fn shown(status: &TargetStatus) -> Value {
    let labels: BTreeMap<&str, &str> = status.labels.iter().collect();
    let health = match (&status.last_scrape, &status.last_error) {
        (None, _) => "unknown",
        (Some(_), None) => "up",
        (Some(_), Some(_)) => "down",
    };
    json!({
        "discoveredLabels": {},
        "labels": labels,
        "scrapePool": status.job,
        "scrapeUrl": status.url,
        "globalUrl": status.url,
        "lastError": status.last_error.as_deref().unwrap_or_default(),
        "lastScrape": rfc3339(status.last_scrape),
        "lastScrapeDuration": status.last_duration.as_secs_f64(),
        "health": health,
        "scrapeInterval": duration(status.interval),
        "scrapeTimeout": duration(status.timeout),
    })
}

/// Go's zero time where there is none, as Prometheus has it.
fn rfc3339(time: Option<UnixNanos>) -> String {
    let Some(time) = time.and_then(|time| u64::try_from(time.0).ok()) else { return "0001-01-01T00:00:00Z".into() };
    let time = std::time::UNIX_EPOCH + Duration::from_nanos(time);
    humantime::format_rfc3339_nanos(time).to_string()
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}
