//! One line of the table: what is sent through which door, and what must come of it.

use std::time::Duration;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    pub(crate) fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }

    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    pub(crate) fn rejected_member(self) -> &'static str {
        match self {
            Self::Logs => "rejectedLogRecords",
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// Where the input goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The same message by gRPC and by HTTP with protobuf, as requests of two services.
    Otlp(Signal),
    /// By HTTP with JSON.
    Json(Signal),
    /// By HTTP with a content encoding; the input is compressed already.
    Coded(Signal, &'static str),
    /// A whole gRPC body, frames and all, with these headers.
    Grpc(&'static str, &'static [(&'static str, &'static str)]),
    /// A whole HTTP/1.1 request to OTLP/HTTP.
    RawHttp,
    /// A whole HTTP/1.1 request to the API.
    RawApi,
    /// Remote write 1.0 or 2.0; the input is not compressed yet.
    Write(u8),
    /// Remote write with these bytes as the Snappy block.
    Snappy,
    /// A statement.
    Sql,
    /// A whole body of `POST /api/v1/sql`.
    SqlBody,
    /// A PromQL query.
    Promql,
    /// A form for `query_range`.
    PromqlRange,
    /// A query of log search.
    LogSearch,
    /// `GET` of a path with its parameters.
    Get,
    /// `POST` of a body to the path of the API, with a content type.
    Post(&'static str, &'static str),
}

/// What must come of it. A status of 500 is never right.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// Taken whole; so many rows are stored.
    Stored(u64),
    /// All of it stored, with a warning, and counted so often under this cause.
    Altered(u64, &'static str, u64),
    /// So many rows stored, so many refused for this reason.
    Partial(u64, u64, &'static str),
    /// Nothing stored: the HTTP status, the gRPC code, and what the message says.
    Refused(u16, i32, &'static str),
    /// One of these statuses, and what the body says. Nothing stored.
    Answer(&'static [u16], &'static str),
}

type Input = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A case.
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) what: String,
    pub(crate) door: Door,
    /// What is sent, by a service of this name.
    pub(crate) input: Input,
    pub(crate) expect: Expect,
    /// A query in which `$service` stands for the service, and what it must answer.
    pub(crate) then: Option<(String, String)>,
    /// How long the answer may take.
    pub(crate) within: Duration,
}

impl Case {
    /// Asks for what was stored: the rows as JSON.
    pub(crate) fn then(mut self, sql: &str, rows: &str) -> Self {
        self.then = Some((sql.into(), rows.into()));
        self
    }
}

/// How long an answer may take that is not told otherwise. The server under test is not optimised, and the machine is busy.
const WITHIN: Duration = Duration::from_secs(45);

pub(crate) fn case(
    family: &'static str,
    what: impl Into<String>,
    door: Door,
    input: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    expect: Expect,
) -> Case {
    Case { family, what: what.into(), door, input: Box::new(input), expect, then: None, within: WITHIN }
}

/// A case whose input is text that knows no service.
pub(crate) fn text(family: &'static str, door: Door, input: impl Into<String>, expect: Expect) -> Case {
    let input = input.into();
    case(family, crate::reply::shown(&input), door, move |_| input.clone().into_bytes(), expect)
}
