//! `trivium import`: files of OTLP requests into a running server, through the same door as everybody else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;
use tokio::task::JoinSet;
use trivium_ingest::decode::json_to_protobuf;
use trivium_model::{SignalKind, limit};
use trivium_proto::otlp::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use trivium_proto::otlp::metrics::v1::metric::Data;

use crate::cli::ImportArgs;
use crate::exporter::{Exporter, Rejected};

/// Requests on their way at once: enough to share an fsync, few enough to be polite.
const CONCURRENCY: usize = 8;

/// What was sent, by signal.
#[derive(Debug, Default)]
struct Totals {
    items: [u64; 3],
    rejected: [u64; 3],
    requests: u64,
    reasons: Vec<String>,
}

pub(crate) async fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let exporter = Exporter::new(&args.endpoint, &args.access)?;
    let mut totals = Totals::default();
    for path in &args.files {
        import_file(&exporter, path, &mut totals).await.with_context(|| format!("cannot import {}", path.display()))?;
    }
    crate::print(&totals.summary())?;
    Ok(())
}

async fn import_file(exporter: &Exporter, path: &Path, totals: &mut Totals) -> anyhow::Result<()> {
    let file = File::open(path).context("cannot open the file")?;
    let bar = progress(path, file.metadata().context("cannot read the file's size")?.len());
    let mut requests = requests_of(path, BufReader::new(bar.wrap_read(file)))?;
    let mut sending = JoinSet::new();
    loop {
        let Some(request) = tokio::task::block_in_place(|| requests.next()) else { break };
        let (signal, payload) = request?;
        totals.requests += 1;
        totals.items[signal.index()] += count_items(signal, &payload)?;
        if sending.len() >= CONCURRENCY {
            totals.add(sending.join_next().await.context("a request was lost")??)?;
        }
        let exporter = exporter.clone();
        sending.spawn(async move { (signal, exporter.export(signal, payload).await) });
    }
    while let Some(sent) = sending.join_next().await {
        totals.add(sent?)?;
    }
    bar.finish_and_clear();
    Ok(())
}

type Requests = Box<dyn Iterator<Item = anyhow::Result<(SignalKind, Bytes)>> + Send>;

/// The requests of a file, each with its signal.
pub(crate) fn requests(path: &Path) -> anyhow::Result<Requests> {
    requests_of(path, BufReader::new(File::open(path).context("cannot open the file")?))
}

fn requests_of(path: &Path, input: impl BufRead + Send + 'static) -> anyhow::Result<Requests> {
    Ok(if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(Delimited::new(zstd::Decoder::with_buffer(input).context("not a zstd stream")?))
    } else {
        Box::new(json_lines(input))
    })
}

fn progress(path: &Path, bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}");
    let bar = ProgressBar::new(bytes).with_message(path.display().to_string());
    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}

impl Totals {
    fn add(&mut self, (signal, sent): (SignalKind, anyhow::Result<Rejected>)) -> anyhow::Result<()> {
        let rejected = sent?;
        self.rejected[signal.index()] += rejected.items;
        if !rejected.message.is_empty() && self.reasons.len() < 10 && !self.reasons.contains(&rejected.message) {
            self.reasons.push(rejected.message);
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        for signal in SignalKind::ALL {
            let (items, rejected) = (self.items[signal.index()], self.rejected[signal.index()]);
            if items > 0 {
                text.push_str(&format!(
                    "{} {}s sent, {} accepted, {rejected} rejected\n",
                    items,
                    signal.item(),
                    items - rejected
                ));
            }
        }
        for reason in &self.reasons {
            text.push_str(&format!("  rejected: {reason}\n"));
        }
        text.push_str(&format!("{} requests acknowledged", self.requests));
        text
    }
}

/// Requests in a stream of varint-delimited messages, as in `data/README.md`.
struct Delimited<R> {
    input: R,
    signal: Option<SignalKind>,
}

impl<R: Read> Delimited<R> {
    fn new(input: R) -> Self {
        Self { input, signal: None }
    }

    /// The length of the next message; `None` at the end of the stream.
    fn length(&mut self) -> anyhow::Result<Option<usize>> {
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let mut byte = [0];
            if self.input.read(&mut byte).context("cannot decompress")? == 0 {
                return if shift == 0 { Ok(None) } else { bail!("the file ends inside a length") };
            }
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
            shift += 7;
            if shift > 28 {
                bail!("a message length is longer than any request may be; is this an .otlp.zst file?");
            }
        }
        let length = usize::try_from(length)?;
        if length > limit::REQUEST_BYTES_MAX {
            bail!("a message of {length} bytes is over the limit of {} bytes", limit::REQUEST_BYTES_MAX);
        }
        Ok(Some(length))
    }

    fn next_message(&mut self) -> anyhow::Result<Option<(SignalKind, Bytes)>> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut message = vec![0; length];
        self.input.read_exact(&mut message).context("the file ends inside a message")?;
        let signal = match self.signal {
            Some(signal) => signal,
            None => *self.signal.insert(recognise(&message)?),
        };
        Ok(Some((signal, message.into())))
    }
}

impl<R: Read> Iterator for Delimited<R> {
    type Item = anyhow::Result<(SignalKind, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose()
    }
}

/// The three requests look alike from outside; the innermost record tells them apart.
fn recognise(message: &[u8]) -> anyhow::Result<SignalKind> {
    if let Ok(request) = ExportTraceServiceRequest::decode(message) {
        let mut spans =
            request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
        if spans.next().is_some_and(|span| span.trace_id.len() == 16 && span.span_id.len() == 8) {
            return Ok(SignalKind::Traces);
        }
    }
    if let Ok(request) = ExportLogsServiceRequest::decode(message)
        && request
            .resource_logs
            .iter()
            .any(|resource| resource.scope_logs.iter().any(|scope| !scope.log_records.is_empty()))
    {
        return Ok(SignalKind::Logs);
    }
    match ExportMetricsServiceRequest::decode(message) {
        Ok(_) => Ok(SignalKind::Metrics),
        Err(error) => bail!("the first message is no OTLP export request: {error}"),
    }
}

fn json_lines(input: impl BufRead + Send) -> impl Iterator<Item = anyhow::Result<(SignalKind, Bytes)>> + Send {
    let lines = input.lines().enumerate().filter(|(_, line)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
    lines.map(|(index, line)| {
        let line = line.context("cannot read the file as lines of UTF-8")?;
        let signal = signal_of_line(&line).with_context(|| format!("line {}", index + 1))?;
        let payload = json_to_protobuf(signal, line.as_bytes()).with_context(|| format!("line {}", index + 1))?;
        Ok((signal, payload.into()))
    })
}

fn signal_of_line(line: &str) -> anyhow::Result<SignalKind> {
    let keys = [
        ("\"resourceLogs\"", SignalKind::Logs),
        ("\"resourceSpans\"", SignalKind::Traces),
        ("\"resourceMetrics\"", SignalKind::Metrics),
    ];
    let found = keys.iter().filter_map(|(key, signal)| line.find(key).map(|position| (position, *signal)));
    match found.min_by_key(|(position, _)| *position) {
        Some((_, signal)) => Ok(signal),
        None => {
            bail!("neither resourceLogs, resourceSpans nor resourceMetrics; is this OTLP JSON, one request a line?")
        }
    }
}

fn count_items(signal: SignalKind, payload: &Bytes) -> anyhow::Result<u64> {
    let items: usize = match signal {
        SignalKind::Logs => {
            let request = ExportLogsServiceRequest::decode(payload.clone()).context("not a logs request")?;
            request
                .resource_logs
                .iter()
                .flat_map(|resource| &resource.scope_logs)
                .map(|scope| scope.log_records.len())
                .sum()
        }
        SignalKind::Traces => {
            let request = ExportTraceServiceRequest::decode(payload.clone()).context("not a traces request")?;
            request
                .resource_spans
                .iter()
                .flat_map(|resource| &resource.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        }
        SignalKind::Metrics => {
            let request = ExportMetricsServiceRequest::decode(payload.clone()).context("not a metrics request")?;
            let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
            scopes.flat_map(|scope| &scope.metrics).filter_map(|metric| metric.data.as_ref()).map(points).sum()
        }
    };
    Ok(items as u64)
}

fn points(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}
