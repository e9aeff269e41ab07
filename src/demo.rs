//! `trivium demo`: the telemetry of a small shop, an hour of history at once and then live.

use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use trivium_demo::{Demo, DemoConfig};
use trivium_model::{Clock, SystemClock, UnixNanos};

use crate::cli::{AccessArgs, DemoArgs};
use crate::exporter::Exporter;
use crate::server::Bound;

/// The history of the demo inside the server.
const HISTORY: Duration = Duration::from_secs(3600);

/// How often live telemetry is sent.
const TICK: Duration = Duration::from_secs(1);

/// History is generated in steps, so that progress shows and memory stays small.
const STEP: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let history = humantime::parse_duration(&args.history)
        .with_context(|| format!("--history {:?} is not a duration such as 1h", args.history))?;
    let config = DemoConfig { seed: args.seed, history, ..DemoConfig::starting_before(SystemClock.now(), history) };
    let exporter = Exporter::new(&args.endpoint, &args.access)?;
    send(&exporter, config, !args.no_live).await
}

/// The demo inside `trivium serve --demo`: through the same doors as real services and people.
pub(crate) async fn run_inside(bound: Bound, stop: CancellationToken) {
    let work = async {
        let exporter = Exporter::new(&format!("http://{}", bound.otlp_http), &AccessArgs::default())?;
        let config = story(&format!("{}://{}", bound.scheme, bound.http)).await;
        send(&exporter, config, true).await
    };
    tokio::select! {
        () = stop.cancelled() => {}
        result = work => {
            if let Err(error) = result {
                tracing::error!(error = %format!("{error:#}"), "the demo stopped");
            }
        }
    }
}

/// The story from its beginning; when the store has some of its last hour already, with the bad deploy in it, only what is
/// missing since.
async fn story(api: &str) -> DemoConfig {
    let now = SystemClock.now();
    let whole = DemoConfig::starting_before(now, HISTORY);
    match newest(api, &whole).await {
        Ok(Some(newest)) => {
            tracing::info!("the store has the demo's history, it goes on from there");
            DemoConfig::continuing(newest.min(now), now)
        }
        Ok(None) => whole,
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "cannot ask whether the store has the demo's history; it is sent");
            whole
        }
    }
}

/// The time of the newest span of the version that the story deploys, if there is one in the time of its history.
async fn newest(api: &str, whole: &DemoConfig) -> anyhow::Result<Option<UnixNanos>> {
    let incident = Demo::new(whole.clone()).incident();
    let sql = format!(
        "SELECT CAST(max(time) AS BIGINT) FROM spans WHERE time >= to_timestamp_nanos({}) AND service_name = '{}' \
         AND resource['service.version'] = '{}'",
        whole.start.0, incident.service, incident.version
    );
    newest_in(&trivium_client::sql(&AccessArgs::default().server(api)?, &sql, true).await?)
}

fn newest_in(answer: &str) -> anyhow::Result<Option<UnixNanos>> {
    let answer: Value = serde_json::from_str(answer).context("the answer is not JSON")?;
    match &answer["rows"][0][0] {
        Value::Null => Ok(None),
        // 64-bit integers are texts.
        value => {
            let nanos = value.as_str().and_then(|nanos| nanos.parse().ok());
            nanos.map(|nanos| Some(UnixNanos(nanos))).with_context(|| format!("{value} is no time in nanoseconds"))
        }
    }
}

async fn send(exporter: &Exporter, config: DemoConfig, live: bool) -> anyhow::Result<()> {
    let (start, history) = (config.start, config.history);
    let (mut demo, end) = (Demo::new(config), start.after(history));
    let incident = demo.incident();
    let steps = history.as_secs().div_ceil(STEP.as_secs()).max(1);
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("demo history {wide_bar} {percent}% {msg}") {
        bar.set_style(style);
    }
    let (mut requests, mut items) = (0_u64, 0_u64);
    for step in 1..=steps {
        let until = start.after(STEP * u32::try_from(step).unwrap_or(u32::MAX)).min(end);
        let (sent, count) = send_until(exporter, &mut demo, until).await?;
        requests += sent;
        items += count;
        bar.set_message(format!("{items} items"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    tracing::info!(requests, items, incident = %format!("{incident:?}"), "demo history sent");
    if !live {
        return Ok(());
    }
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        send_until(exporter, &mut demo, SystemClock.now()).await?;
    }
}

async fn send_until(exporter: &Exporter, demo: &mut Demo, until: UnixNanos) -> anyhow::Result<(u64, u64)> {
    let (mut requests, mut items) = (0, 0);
    for request in tokio::task::block_in_place(|| demo.next(until)) {
        exporter.export(request.signal, request.payload).await?;
        requests += 1;
        items += request.items;
    }
    Ok((requests, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_span_is_read_or_there_is_none() {
        let found = |answer: &str| newest_in(answer).ok();
        let nanos = 1_790_000_000_500_000_000;
        assert_eq!(found(r#"{"rows":[["1790000000500000000"]]}"#), Some(Some(UnixNanos(nanos))));
        assert_eq!(found(r#"{"rows":[[null]]}"#), Some(None));
        assert_eq!(found(r#"{"rows":[[true]]}"#), None);
        assert_eq!(found("<html>"), None);
    }
}
