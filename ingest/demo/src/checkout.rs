//! Buying: from the cart to the order, its payment, its shipment and the mail that confirms it.

use trivium_proto::otlp::trace::v1::span::SpanKind;

use crate::Nanos;
use crate::attribute::{double, int, text};
use crate::backend::{CARTS, INVENTORY_DB, ORDERS_DB, statement};
use crate::browsing::{grpc, post};
use crate::metrics::Metric;
use crate::payment::Charge;
use crate::random::MILLI;
use crate::shop::Service;
use crate::story::{At, Endpoint, Level, Reply, Story};

const PLACE_ORDER: Endpoint = grpc(Service::Checkout, "shop.checkout.v1.CheckoutService/PlaceOrder");
const RESERVE: Endpoint = grpc(Service::Inventory, "shop.inventory.v1.InventoryService/Reserve");
const RELEASE: Endpoint = grpc(Service::Inventory, "shop.inventory.v1.InventoryService/Release");
const GET_CART: Endpoint = Endpoint { service: Service::Cart, method: "GET", route: "/carts/{id}" };
const CHARGE: Endpoint = post(Service::Payment, "/charges");
const QUOTE: Endpoint = post(Service::Shipping, "/shipments");
const CARRIER: Endpoint = post(Service::Shipping, "/v1/labels");
const MAIL: Endpoint = post(Service::Notification, "/v3/mail/send");

const PATIENCE: Nanos = 2_000 * MILLI;
/// How long the gateway waits for checkout.
const CHECKOUT_PATIENCE: Nanos = 10_000 * MILLI;
/// How long checkout waits for payment.
const PAYMENT_PATIENCE: Nanos = 4_000 * MILLI;

/// Orders that visitors may ask for.
const RECENT_ORDERS: usize = 60;

const TOPIC: &str = "orders.placed";

impl Story<'_> {
    pub(crate) fn place_order(&mut self, start: Nanos) -> Reply {
        let (page, api) = (post(Service::Storefront, "/checkout"), post(Service::Gateway, "/api/checkout"));
        self.page(page, api, "/api/checkout", start, |story, at, now| {
            let reply = story.call(at, PLACE_ORDER, now, CHECKOUT_PATIENCE, |story, at, now| story.order(at, now));
            if reply.failed() {
                let body = format!("upstream checkout failed: answered {} to POST /api/checkout", reply.status);
                story.log(at, reply.end, Level::Error, body, vec![text("cart.id", &story.visit.cart)]);
            }
            reply
        })
    }

    fn order(&mut self, at: At, start: Nanos) -> Reply {
        let charge = self.new_order();
        let order = charge.order.clone();
        let ids =
            vec![text("order.id", &order), text("cart.id", &self.visit.cart), text("user.hash", &self.visit.user)];
        let body = format!("placing order {order} from cart {}", self.visit.cart);
        self.log(at, start, Level::Info, body, ids.clone());
        let cart = self.call(at, GET_CART, start, PATIENCE, |story, at, now| Reply {
            end: story.query(at, CARTS, statement("HGETALL", "HGETALL cart:?", 0.7), now),
            status: 200,
        });
        let reserved = self.call(at, RESERVE, cart.end, PATIENCE, |story, at, now| story.reserve(at, now, &order));
        let paid = self.pay(at, reserved.end, &charge);
        if paid.status != 200 {
            return self.give_up(at, paid, &order);
        }
        let shipped = self.call(at, QUOTE, paid.end, PATIENCE, |story, at, now| story.ship(at, now, &order));
        let (sent, confirmed) = self.send(at, TOPIC, &order, shipped.end);
        self.store_order(sent, confirmed, &order);
        self.memory.outbox.push((confirmed, sent, order.clone()));
        let total = f64::from(charge.cents) / 100.0;
        let body = format!("order {order} placed: {total:.2} EUR in {}ms", (confirmed - start) / MILLI);
        self.log(at, confirmed, Level::Info, body, [ids, vec![double("order.total", total)]].concat());
        self.observe(at, confirmed, Metric::Orders, 1.0, vec![("order.outcome", "placed".into())]);
        Reply { end: confirmed, status: 200 }
    }

    fn new_order(&mut self) -> Charge {
        self.memory.orders += 1;
        let (year, number, check) = (self.memory.year, self.memory.orders, self.random.below(10));
        let letter = char::from(self.random.pick(b"abcdefghkmnpqrstuvwxyz"));
        let order = format!("ORD-{year}-{number:08}-{letter}{check}");
        self.memory.recent_orders.push_back(order.clone());
        if self.memory.recent_orders.len() > RECENT_ORDERS {
            self.memory.recent_orders.pop_front();
        }
        Charge { order, cents: (self.random.latency(45.0, 0.7) / MILLI * 100 + 99) as u32 }
    }

    /// Charges the order, a second time when the first attempt fails.
    fn pay(&mut self, at: At, start: Nanos, charge: &Charge) -> Reply {
        let attempt = |story: &mut Self, now| {
            story.call(at, CHARGE, now, PAYMENT_PATIENCE, |story, at, now| story.charge(at, now, charge))
        };
        let first = attempt(self, start);
        if !first.failed() {
            return first;
        }
        let cause = match first.status {
            504 => format!("timed out after {}ms", PAYMENT_PATIENCE / MILLI),
            status => format!("answered {status}"),
        };
        let body = format!("payment attempt 1 for order {} {cause}, retrying", charge.order);
        self.log(at, first.end, Level::Warn, body, vec![text("order.id", &charge.order), int("retry.attempt", 1)]);
        let pause = self.random.latency(50.0, 0.3);
        attempt(self, first.end + pause)
    }

    fn give_up(&mut self, at: At, paid: Reply, order: &str) -> Reply {
        let ids = vec![text("order.id", order), text("user.hash", &self.visit.user)];
        let released = self.call(at, RELEASE, paid.end, PATIENCE, |story, at, now| {
            let delete = statement("DELETE reservations", "DELETE FROM reservations WHERE order_id = $1", 1.5);
            Reply { end: story.query(at, INVENTORY_DB, delete, now), status: 200 }
        });
        let (outcome, level, status) =
            if paid.failed() { ("failed", Level::Error, 503) } else { ("declined", Level::Warn, 402) };
        let body = match paid.status {
            402 => format!("order {order} not placed: card declined"),
            504 => format!("checkout failed for order {order}: payment did not answer in time"),
            status => format!("checkout failed for order {order}: payment answered {status}"),
        };
        self.log(at, released.end, level, body, ids);
        self.observe(at, released.end, Metric::Orders, 1.0, vec![("order.outcome", outcome.into())]);
        Reply { end: released.end, status }
    }

    fn reserve(&mut self, at: At, start: Nanos, order: &str) -> Reply {
        let begun = self.query(at, INVENTORY_DB, statement("BEGIN", "BEGIN", 0.3), start);
        let update = "UPDATE stock SET available = available - $2 WHERE sku = $1 AND available >= $2";
        let updated = self.query(at, INVENTORY_DB, statement("UPDATE stock", update, 2.4), begun);
        let end = self.query(at, INVENTORY_DB, statement("COMMIT", "COMMIT", 1.1), updated);
        let (lines, ids) = (1 + self.random.below(4), vec![text("order.id", order)]);
        self.log(at, end, Level::Info, format!("reserved {lines} lines for order {order}"), ids);
        Reply { end, status: 200 }
    }

    fn ship(&mut self, at: At, start: Nanos, order: &str) -> Reply {
        let label = self.external(at, CARRIER, "api.parcel.example", start, 64.0);
        let ids = vec![text("order.id", order)];
        if label.failed() {
            let body = format!("carrier answered {} for order {order}, label will be made later", label.status);
            self.log(at, label.end, Level::Warn, body, ids);
            return Reply { end: label.end, status: 202 };
        }
        let tracking = format!("PX{}DE", self.random.hex(10).to_uppercase());
        let body = format!("shipment booked for order {order}, tracking {tracking}");
        self.log(at, label.end, Level::Info, body, [ids, vec![text("shipment.tracking_id", tracking)]].concat());
        Reply { end: label.end, status: 200 }
    }

    /// The orders service reads the message soon after it was sent.
    fn store_order(&mut self, sent: At, confirmed: Nanos, order: &str) {
        let start = confirmed + self.random.latency(18.0, 0.6);
        let instance = self.shop.pick(self.random, Service::Orders, start);
        let mut span = self.open(Some(sent), instance, SpanKind::Consumer, &format!("process {TOPIC}"), start);
        span.link(sent, vec![text("messaging.kafka.message.key", order)]);
        span.set(consumer_attributes("process", "orders"));
        let insert =
            statement("INSERT orders", "INSERT INTO orders (id, user_hash, total, state) VALUES ($1, $2, $3, $4)", 2.6);
        let at = span.at();
        let end = self.query(at, ORDERS_DB, insert, start);
        self.log(at, end, Level::Info, format!("order {order} stored"), vec![text("order.id", order)]);
        self.close(span, "io.opentelemetry.kafka-clients-2.6", end);
    }

    /// The notification service reads a batch of messages: a trace of its own, linked to those of the orders.
    pub(crate) fn notify(&mut self, start: Nanos) {
        let messages: Vec<_> = self.memory.outbox.extract_if(.., |(confirmed, ..)| *confirmed <= start).collect();
        if messages.is_empty() {
            return;
        }
        let instance = self.shop.pick(self.random, Service::Notification, start);
        let mut batch = self.open(None, instance, SpanKind::Consumer, &format!("poll {TOPIC}"), start);
        batch.set(consumer_attributes("receive", "notification"));
        batch.set([int("messaging.batch.message_count", messages.len() as i64)]);
        let mut now = start;
        for (_, sent, order) in messages {
            batch.link(sent, vec![text("messaging.kafka.message.key", &order)]);
            let mut span = self.open(Some(batch.at()), instance, SpanKind::Consumer, &format!("process {TOPIC}"), now);
            span.link(sent, Vec::new());
            span.set(consumer_attributes("process", "notification"));
            let at = span.at();
            let mailed = self.external(at, MAIL, "api.mail.example", now, 85.0);
            let ids = vec![text("order.id", &order)];
            if mailed.failed() {
                let body = format!("confirmation mail for order {order} failed: answered {}", mailed.status);
                span.fail(mailed.end, "MailError", &body, "    at Mailer.send (/app/src/mailer.js:87:15)");
                self.log(at, mailed.end, Level::Error, body, ids);
            } else {
                self.log(at, mailed.end, Level::Info, format!("confirmation mail sent for order {order}"), ids);
            }
            now = mailed.end + MILLI;
            self.close(span, "@opentelemetry/instrumentation-kafkajs", now);
        }
        self.close(batch, "@opentelemetry/instrumentation-kafkajs", now);
    }
}

fn consumer_attributes(operation: &str, group: &str) -> [trivium_proto::otlp::common::v1::KeyValue; 6] {
    [
        text("messaging.system", "kafka"),
        text("messaging.operation.name", operation),
        text("messaging.operation.type", operation),
        text("messaging.destination.name", TOPIC),
        text("messaging.consumer.group.name", group),
        text("server.address", "kafka.shop.svc"),
    ]
}
