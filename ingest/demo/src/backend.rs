//! Calls to what is not ours: databases, caches, queues, and services of other companies.

use trivium_proto::otlp::trace::v1::span::SpanKind;

use crate::Nanos;
use crate::attribute::{int, text};
use crate::metrics::Metric;
use crate::story::{At, Endpoint, Reply, Story};

/// A database or cache and the names it goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Database {
    system: &'static str,
    namespace: &'static str,
    address: &'static str,
    port: i64,
    scope: &'static str,
}

const JDBC_SCOPE: &str = "io.opentelemetry.jdbc";

pub(crate) const CATALOG_DB: Database = postgres("catalog", "catalog-db.shop.svc", JDBC_SCOPE);
pub(crate) const PAYMENTS_DB: Database = postgres("payments", "payments-db.shop.svc", JDBC_SCOPE);
pub(crate) const ORDERS_DB: Database = postgres("orders", "orders-db.shop.svc", JDBC_SCOPE);
pub(crate) const INVENTORY_DB: Database =
    postgres("inventory", "inventory-db.shop.svc", "opentelemetry.instrumentation.asyncpg");
pub(crate) const CACHE: Database = redis("0", "io.opentelemetry.lettuce-5.1");
pub(crate) const CARTS: Database = redis("1", "github.com/redis/go-redis/extra/redisotel");
pub(crate) const FEATURES: Database = redis("2", "opentelemetry.instrumentation.redis");
pub(crate) const SEARCH_INDEX: Database = Database {
    system: "elasticsearch",
    namespace: "products",
    address: "search-index.shop.svc",
    port: 9200,
    scope: "opentelemetry.instrumentation.elasticsearch",
};

const fn postgres(namespace: &'static str, address: &'static str, scope: &'static str) -> Database {
    Database { system: "postgresql", namespace, address, port: 5432, scope }
}

const fn redis(namespace: &'static str, scope: &'static str) -> Database {
    Database { system: "redis", namespace, address: "redis.shop.svc", port: 6379, scope }
}

/// One statement: its summary (the span's name), its text, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement {
    pub(crate) summary: &'static str,
    pub(crate) text: &'static str,
    pub(crate) median_millis: f64,
}

pub(crate) const fn statement(summary: &'static str, text: &'static str, median_millis: f64) -> Statement {
    Statement { summary, text, median_millis }
}

impl Story<'_> {
    /// Runs a statement; answers when it has ended.
    pub(crate) fn query(&mut self, at: At, database: Database, statement: Statement, start: Nanos) -> Nanos {
        let mut span = self.open(Some(at), at.instance, SpanKind::Client, statement.summary, start);
        let end = start + self.random.latency(statement.median_millis, 0.5);
        let operation = statement.summary.split(' ').next().unwrap_or_default();
        span.set([
            text("db.system.name", database.system),
            text("db.namespace", database.namespace),
            text("db.operation.name", operation),
            text("db.query.summary", statement.summary),
            text("db.query.text", statement.text),
            text("server.address", database.address),
            int("server.port", database.port),
        ]);
        let labels = vec![("db.system.name", database.system.into()), ("db.operation.name", operation.into())];
        self.observe(span.at(), end, Metric::DbClientDuration, (end - start) as f64 / 1e9, labels);
        self.close(span, database.scope, end);
        end
    }

    /// Calls another company over HTTPS; there is no server span.
    pub(crate) fn external(
        &mut self,
        at: At,
        endpoint: Endpoint,
        host: &str,
        start: Nanos,
        median_millis: f64,
    ) -> Reply {
        let mut span = self.open(Some(at), at.instance, SpanKind::Client, endpoint.method, start);
        let end = start + self.random.latency(median_millis, 0.45);
        let status = if self.random.chance(0.002) { 503 } else { 200 };
        span.set([
            text("http.request.method", endpoint.method),
            text("url.full", format!("https://{host}{}", endpoint.route)),
            text("server.address", host),
            int("server.port", 443),
            int("http.response.status_code", status.into()),
            text("network.protocol.version", "2"),
        ]);
        if status >= 400 {
            span.fail_quietly(&status.to_string(), "");
        }
        self.close(span, self.shop.instance(at.instance).service.facts().scope, end);
        Reply { end, status }
    }

    /// Sends a message to Kafka; answers where, for links, and when it was confirmed.
    pub(crate) fn send(&mut self, at: At, topic: &'static str, key: &str, start: Nanos) -> (At, Nanos) {
        let mut span = self.open(Some(at), at.instance, SpanKind::Producer, &format!("send {topic}"), start);
        let end = start + self.random.latency(3.0, 0.5);
        let partition = self.random.below(6);
        span.set([
            text("messaging.system", "kafka"),
            text("messaging.operation.name", "send"),
            text("messaging.operation.type", "send"),
            text("messaging.destination.name", topic),
            text("messaging.destination.partition.id", partition.to_string()),
            text("messaging.kafka.message.key", key),
            text("server.address", "kafka.shop.svc"),
        ]);
        let labels = vec![("messaging.system", "kafka".into()), ("messaging.destination.name", topic.into())];
        let sent = span.at();
        self.observe(sent, end, Metric::MessagesSent, 1.0, labels);
        self.close(span, "github.com/twmb/franz-go/plugin/kotel", end);
        (sent, end)
    }
}
