//! A small OTLP/HTTP client for `import` and `demo`: sends protobuf, retries what the protocol calls retryable, adds up
//! what the server rejected.

use std::time::Duration;

use anyhow::{Context, bail};
use prost::Message;
use trivium_client::Failure;
use trivium_model::SignalKind;
use trivium_proto::otlp::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
    trace::v1::ExportTraceServiceResponse,
};
use trivium_proto::rpc::Status;

use crate::cli::AccessArgs;

/// Attempts for one request before giving up; with the pauses in between about two minutes.
const ATTEMPTS_MAX: u32 = 12;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Sends export requests to one server.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    client: reqwest::Client,
    endpoint: String,
}

/// What the server refused of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejected {
    pub(crate) items: u64,
    pub(crate) message: String,
}

impl Exporter {
    pub(crate) fn new(endpoint: &str, access: &AccessArgs) -> anyhow::Result<Self> {
        let client = access.client(reqwest::Client::builder().timeout(Duration::from_secs(60)))?;
        Ok(Self { client, endpoint: endpoint.trim_end_matches('/').into() })
    }

    /// Sends one request and waits until it is acknowledged.
    pub(crate) async fn export(&self, signal: SignalKind, payload: bytes::Bytes) -> anyhow::Result<Rejected> {
        let url = format!("{}/v1/{signal}", self.endpoint);
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let sent =
                self.client.post(&url).header("content-type", "application/x-protobuf").body(payload.clone()).send();
            let problem = match sent.await {
                Ok(response) if response.status().is_success() => {
                    let body = response.bytes().await.context("cannot read the server's answer")?;
                    return partial_success(signal, &body);
                }
                Ok(response) if matches!(response.status().as_u16(), 429 | 502 | 503 | 504) => {
                    pause = retry_after(&response).unwrap_or(pause);
                    format!("the server answered {}", response.status())
                }
                Ok(response) => {
                    let status = response.status();
                    let body = response.bytes().await.unwrap_or_default();
                    let message = Status::decode(body).map(|status| status.message).unwrap_or_default();
                    bail!("{url} refused the request with {status}: {message}");
                }
                Err(error) => match trivium_client::failure(&error) {
                    // Another attempt would meet the same certificate.
                    Failure::Tls(cause) => bail!("cannot send to {url}: {cause}"),
                    Failure::NoServer(cause) => format!("{cause}; is `trivium serve` running there?"),
                    Failure::Other(cause) => cause,
                },
            };
            if attempt >= ATTEMPTS_MAX {
                bail!("cannot send to {url}: {problem}");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("the loop ends by return")
    }
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(PAUSE_MAX))
}

fn partial_success(signal: SignalKind, body: &[u8]) -> anyhow::Result<Rejected> {
    let context = "cannot decode the server's answer";
    let (items, message) = match signal {
        SignalKind::Logs => {
            let partial = ExportLogsServiceResponse::decode(body).context(context)?.partial_success.unwrap_or_default();
            (partial.rejected_log_records, partial.error_message)
        }
        SignalKind::Metrics => {
            let partial =
                ExportMetricsServiceResponse::decode(body).context(context)?.partial_success.unwrap_or_default();
            (partial.rejected_data_points, partial.error_message)
        }
        SignalKind::Traces => {
            let partial =
                ExportTraceServiceResponse::decode(body).context(context)?.partial_success.unwrap_or_default();
            (partial.rejected_spans, partial.error_message)
        }
    };
    Ok(Rejected { items: u64::try_from(items).unwrap_or(0), message })
}
