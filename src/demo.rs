//! `trivium demo`: the telemetry of a small shop, an hour of history at once and then live.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use trivium_demo::{Demo, DemoConfig};
use trivium_model::{Clock, SystemClock, UnixNanos};

use crate::cli::{AccessArgs, DemoArgs};
use crate::exporter::Exporter;

/// How often live telemetry is sent.
const TICK: Duration = Duration::from_secs(1);

/// History is generated in steps, so that progress shows and memory stays small.
const STEP: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let history = humantime::parse_duration(&args.history)
        .with_context(|| format!("--history {:?} is not a duration such as 1h", args.history))?;
    let config = DemoConfig { seed: args.seed, history, ..DemoConfig::starting_before(SystemClock.now(), history) };
    let exporter = Exporter::new(&args.endpoint, &args.access)?;
    send(&exporter, Demo::new(config), history, !args.no_live).await
}

/// The demo inside `trivium serve --demo`: through the same door as a real service.
pub(crate) async fn run_inside(otlp_http: SocketAddr, stop: CancellationToken) {
    let history = Duration::from_secs(3600);
    let work = async {
        let exporter = Exporter::new(&format!("http://{otlp_http}"), &AccessArgs::default())?;
        let config = DemoConfig::starting_before(SystemClock.now(), history);
        send(&exporter, Demo::new(config), history, true).await
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

async fn send(exporter: &Exporter, mut demo: Demo, history: Duration, live: bool) -> anyhow::Result<()> {
    let incident = demo.incident();
    let steps = history.as_secs().div_ceil(STEP.as_secs()).max(1);
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("demo history {wide_bar} {percent}% {msg}") {
        bar.set_style(style);
    }
    let start = SystemClock.now().before(history);
    let (mut requests, mut items) = (0_u64, 0_u64);
    for step in 1..=steps {
        let until = start.after(STEP * u32::try_from(step).unwrap_or(u32::MAX));
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
