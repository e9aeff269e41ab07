//! The payment service, and what version 2.4.1 does to it: it leaks database connections, so that the pool runs dry.

use trivium_proto::otlp::trace::v1::span::SpanKind;

use crate::Nanos;
use crate::attribute::{double, int, text};
use crate::backend::{PAYMENTS_DB, statement};
use crate::metrics::Metric;
use crate::random::MILLI;
use crate::shop::{Instance, Service};
use crate::story::{At, Endpoint, Level, Reply, Story};

/// The version that leaks.
pub(crate) const BAD_VERSION: &str = "2.4.1";
/// The version before.
pub(crate) const GOOD_VERSION: &str = "2.4.0";

/// How long the leak takes to empty a pool after the first effects.
const DRAINED_AFTER: f64 = 150e9;
/// How long a fresh instance shows nothing.
const HARMLESS: f64 = 30e9;
/// How long a thread waits for a connection.
const CONNECTION_TIMEOUT: Nanos = 5_000 * MILLI;

const POOL_SCOPE: &str = "io.opentelemetry.hikaricp-3.0";

const POOL_STACK: &str = "\tat com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:696)
\tat com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:197)
\tat com.zaxxer.hikari.HikariDataSource.getConnection(HikariDataSource.java:100)
\tat shop.payment.ledger.LedgerRepository.begin(LedgerRepository.java:58)
\tat shop.payment.charge.ChargeService.charge(ChargeService.java:112)
\tat shop.payment.api.ChargeController.post(ChargeController.java:41)
\tat java.base/java.lang.VirtualThread.run(VirtualThread.java:329)";

const CARD_NETWORK: Endpoint = Endpoint { service: Service::Payment, method: "POST", route: "/v2/authorizations" };

/// An order on its way to being paid.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub(crate) order: String,
    pub(crate) cents: u32,
}

/// How dry the pool of an instance is: 0 as it should be, 1 when the leak has taken it all.
pub(crate) fn pressure(instance: &Instance, at: Nanos) -> f64 {
    if instance.service != Service::Payment || instance.version != BAD_VERSION {
        return 0.0;
    }
    (((at - instance.from) as f64 - HARMLESS) / DRAINED_AFTER).clamp(0.0, 1.0)
}

impl Story<'_> {
    /// `POST /charges`.
    pub(crate) fn charge(&mut self, at: At, start: Nanos, charge: &Charge) -> Reply {
        let (order, amount) = (&charge.order, f64::from(charge.cents) / 100.0);
        let ids = vec![text("order.id", order), text("user.hash", &self.visit.user), double("payment.amount", amount)];
        self.log(at, start, Level::Info, format!("charging order {order}: {amount:.2} EUR"), ids.clone());
        let connected = match self.connection(at, start, order) {
            Ok(connected) => connected,
            Err(gave_up) => return Reply { end: gave_up, status: 503 },
        };
        let insert = statement(
            "INSERT payments",
            "INSERT INTO payments (id, order_id, amount_cents, state) VALUES ($1, $2, $3, 'pending')",
            2.2,
        );
        let inserted = self.query(at, PAYMENTS_DB, insert, connected);
        let authorized = self.external(at, CARD_NETWORK, "api.cardnet.example", inserted, 118.0);
        if authorized.failed() {
            let body = format!("card network answered {} for order {order}", authorized.status);
            self.log(at, authorized.end, Level::Error, body, ids);
            return Reply { end: authorized.end, status: 502 };
        }
        if self.random.chance(0.03) {
            let reason = self.random.pick(&["insufficient_funds", "expired_card", "do_not_honor"]);
            let body = format!("card declined for order {order}: {reason}");
            self.log(
                at,
                authorized.end,
                Level::Warn,
                body,
                [ids, vec![text("payment.decline_reason", reason)]].concat(),
            );
            return Reply { end: authorized.end, status: 402 };
        }
        let update = statement("UPDATE payments", "UPDATE payments SET state = 'captured' WHERE id = $1", 1.9);
        let end = self.query(at, PAYMENTS_DB, update, authorized.end);
        self.observe(at, end, Metric::PaymentAmount, amount, vec![("payment.currency", "EUR".into())]);
        let body = format!("payment captured for order {order} in {}ms", (end - start) / MILLI);
        self.log(at, end, Level::Info, body, ids);
        Reply { end, status: 200 }
    }

    /// `GET /payments/{order}`.
    pub(crate) fn payment_state(&mut self, at: At, start: Nanos, order: &str) -> Reply {
        let select = statement("SELECT payments", "SELECT state FROM payments WHERE order_id = $1", 1.4);
        match self.connection(at, start, order) {
            Ok(connected) => Reply { end: self.query(at, PAYMENTS_DB, select, connected), status: 200 },
            Err(gave_up) => Reply { end: gave_up, status: 503 },
        }
    }

    /// Takes a connection from the pool: at once, late, or not at all. Answers when.
    fn connection(&mut self, at: At, start: Nanos, order: &str) -> Result<Nanos, Nanos> {
        let pressure = pressure(self.shop.instance(at.instance), start);
        let fate = self.random.unit();
        if fate >= 0.8 * pressure {
            return Ok(start + self.random.latency(0.05, 0.4));
        }
        let ids = vec![
            text("order.id", order),
            text("db.client.connection.pool.name", "payments-pool"),
            int("db.client.connection.pending_requests", 4 + self.random.below(20) as i64),
        ];
        let mut span = self.open(Some(at), at.instance, SpanKind::Internal, "HikariPool.getConnection", start);
        if fate >= 0.45 * pressure {
            let end = (start + self.random.latency(1_300.0, 0.5)).min(start + CONNECTION_TIMEOUT - MILLI);
            let waited = (end - start) / MILLI;
            self.close(span, POOL_SCOPE, end);
            self.log(
                at,
                end,
                Level::Warn,
                format!("slow connection acquisition: waited {waited}ms for order {order}"),
                ids,
            );
            return Ok(end);
        }
        let end = start + CONNECTION_TIMEOUT;
        let message = "connection pool exhausted: waited 5000ms for a connection to payments-db";
        span.fail(end, "java.sql.SQLTransientConnectionException", message, POOL_STACK);
        self.close(span, POOL_SCOPE, end);
        let exception = [
            text("exception.type", "java.sql.SQLTransientConnectionException"),
            text("exception.message", message),
            text("exception.stacktrace", POOL_STACK),
        ];
        let body = format!("{message} (order {order}, pool payments-pool total=10 active=10 idle=0)");
        self.log(at, end, Level::Error, body, [ids, exception.to_vec()].concat());
        Err(end)
    }
}
