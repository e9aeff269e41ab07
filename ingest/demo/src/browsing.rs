//! What visitors do before they buy: look at the shop, at products, search, fill the cart, ask for an order.

use crate::Nanos;
use crate::attribute::{double, int, list, map, text};
use crate::backend::{CACHE, CARTS, CATALOG_DB, FEATURES, INVENTORY_DB, ORDERS_DB, SEARCH_INDEX, statement};
use crate::metrics::Metric;
use crate::random::MILLI;
use crate::shop::Service;
use crate::story::{At, Endpoint, Level, Reply, Story};

const fn get(service: Service, route: &'static str) -> Endpoint {
    Endpoint { service, method: "GET", route }
}

pub(crate) const fn post(service: Service, route: &'static str) -> Endpoint {
    Endpoint { service, method: "POST", route }
}

pub(crate) const fn grpc(service: Service, route: &'static str) -> Endpoint {
    Endpoint { service, method: "gRPC", route }
}

/// How long services wait for each other unless something else is said.
const PATIENCE: Nanos = 2_000 * MILLI;

/// How long the storefront waits for the gateway.
pub(crate) const STOREFRONT_PATIENCE: Nanos = 7_000 * MILLI;

/// Products are numbered from 1 to this.
const PRODUCTS: usize = 400;

const WORDS: [&str; 12] = [
    "espresso machine",
    "running shoes",
    "usb-c cable",
    "garden chair",
    "noise cancelling",
    "rain jacket",
    "desk lamp",
    "bike light",
    "tea pot",
    "backpack",
    "board game",
    "yoga mat",
];

impl Story<'_> {
    /// One visit; answers the reply that the visitor sees.
    pub(crate) fn visit_shop(&mut self, start: Nanos) -> Reply {
        match self.random.below(100) {
            0..28 => self.home(start),
            28..58 => self.product(start),
            58..74 => self.search(start),
            74..86 => self.add_to_cart(start),
            86..95 => self.place_order(start),
            _ => self.ask_for_order(start),
        }
    }

    /// A page of the storefront that is made from one answer of the API.
    pub(crate) fn page(
        &mut self,
        page: Endpoint,
        api: Endpoint,
        path: &str,
        start: Nanos,
        work: impl FnOnce(&mut Self, At, Nanos) -> Reply,
    ) -> Reply {
        self.serve(None, page, start, |story, at, now| {
            let reply = story.call(at, api, now, STOREFRONT_PATIENCE, |story, at, now| {
                let reply = work(story, at, now);
                story.access_log(at, api.method, path, now, reply);
                reply
            });
            let rendered = story.inside(at, "render", reply.end, 4.0);
            match reply.status {
                // The gateway may answer 504 too: what is behind it did not answer in time.
                504 if reply.end - now >= STOREFRONT_PATIENCE => {
                    let body = format!("{path}: api-gateway did not answer within {}ms", STOREFRONT_PATIENCE / MILLI);
                    story.log(at, reply.end, Level::Error, body, vec![text("user.hash", &story.visit.user)]);
                    Reply { end: rendered, status: 504 }
                }
                500.. => {
                    let body = format!("{path}: api-gateway answered {}, showing the error page", reply.status);
                    story.log(at, reply.end, Level::Error, body, vec![text("user.hash", &story.visit.user)]);
                    Reply { end: rendered, status: 500 }
                }
                status => {
                    let body =
                        format!("rendered {} for {} in {}ms", page.route, story.visit.user, (rendered - now) / MILLI);
                    let ids = vec![text("user.hash", &story.visit.user), text("http.route", page.route)];
                    story.log(at, rendered, Level::Info, body, ids);
                    Reply { end: rendered, status }
                }
            }
        })
    }

    fn access_log(&mut self, at: At, method: &str, path: &str, start: Nanos, reply: Reply) {
        let (millis, status) = ((reply.end - start) / MILLI, reply.status);
        let level = match status {
            500.. => Level::Error,
            400.. => Level::Warn,
            _ => Level::Info,
        };
        let body = format!("{method} {path} {status} {millis}ms request_id={}", self.visit.request);
        let attributes = vec![
            text("http.request.method", method),
            text("url.path", path),
            int("http.response.status_code", status.into()),
            double("duration_ms", (reply.end - start) as f64 / MILLI as f64),
            text("user.hash", &self.visit.user),
        ];
        self.log(at, reply.end, level, body, attributes);
    }

    fn home(&mut self, start: Nanos) -> Reply {
        self.page(
            get(Service::Storefront, "/"),
            get(Service::Gateway, "/api/home"),
            "/api/home",
            start,
            |story, at, now| {
                let featured = get(Service::Catalog, "/products");
                let products = story.call(at, featured, now, PATIENCE, |story, at, now| story.featured(at, now));
                let recommended = story.recommended(at, now);
                Reply { end: products.end.max(recommended.end), status: products.status }
            },
        )
    }

    fn product(&mut self, start: Nanos) -> Reply {
        let sku = self.sku();
        let path = format!("/api/products/{sku}");
        let api = get(Service::Gateway, "/api/products/{sku}");
        self.page(get(Service::Storefront, "/product/{sku}"), api, &path, start, |story, at, now| {
            let endpoint = get(Service::Catalog, "/products/{sku}");
            let product = story.call(at, endpoint, now, PATIENCE, |story, at, now| story.load_product(at, now, &sku));
            if product.status != 200 {
                return product;
            }
            let stock = story.stock(at, now, &sku);
            let recommended = story.recommended(at, product.end);
            Reply { end: stock.end.max(recommended.end), status: 200 }
        })
    }

    fn search(&mut self, start: Nanos) -> Reply {
        let words = self.random.pick(&WORDS);
        let path = format!("/api/search?q={}", words.replace(' ', "+"));
        let api = get(Service::Gateway, "/api/search");
        self.page(get(Service::Storefront, "/search"), api, &path, start, |story, at, now| {
            let endpoint = get(Service::Search, "/search");
            let found = story.call(at, endpoint, now, PATIENCE, |story, at, now| story.find_products(at, now, words));
            let details = get(Service::Catalog, "/products");
            story.call(at, details, found.end, PATIENCE, |story, at, now| story.featured(at, now))
        })
    }

    fn add_to_cart(&mut self, start: Nanos) -> Reply {
        let sku = self.sku();
        let page = post(Service::Storefront, "/cart/items");
        self.page(page, post(Service::Gateway, "/api/cart/items"), "/api/cart/items", start, |story, at, now| {
            let stock = story.stock(at, now, &sku);
            let endpoint = post(Service::Cart, "/carts/{id}/items");
            story.call(at, endpoint, stock.end, PATIENCE, |story, at, now| {
                let write = statement("HSET", "HSET cart:? ? ?", 0.6);
                let end = story.query(at, CARTS, write, now);
                let (cart, quantity) = (story.visit.cart.clone(), 1 + story.random.below(3));
                let ids = vec![text("cart.id", &cart), text("product.sku", &sku), text("user.hash", &story.visit.user)];
                story.log(at, end, Level::Info, format!("added {quantity} x {sku} to cart {cart}"), ids);
                story.observe(at, end, Metric::CartItems, quantity as f64, Vec::new());
                Reply { end, status: 200 }
            })
        })
    }

    /// What became of an order: the one way besides buying that touches the payment service.
    fn ask_for_order(&mut self, start: Nanos) -> Reply {
        let recent = &self.memory.recent_orders;
        let Some(order) = recent.get(self.random.below(recent.len().max(1))).cloned() else { return self.home(start) };
        let path = format!("/api/orders/{order}");
        let api = get(Service::Gateway, "/api/orders/{id}");
        self.page(get(Service::Storefront, "/orders/{id}"), api, &path, start, |story, at, now| {
            story.call(at, get(Service::Orders, "/orders/{id}"), now, PATIENCE, |story, at, now| {
                let select = statement("SELECT orders", "SELECT * FROM orders WHERE id = $1", 1.6);
                let loaded = story.query(at, ORDERS_DB, select, now);
                let endpoint = get(Service::Payment, "/payments/{order}");
                let paid =
                    story.call(at, endpoint, loaded, PATIENCE, |story, at, now| story.payment_state(at, now, &order));
                let ids = vec![text("order.id", &order), text("user.hash", &story.visit.user)];
                if paid.failed() {
                    let cause = match paid.status {
                        504 => format!("did not answer within {}ms", PATIENCE / MILLI),
                        status => format!("answered {status}"),
                    };
                    let body = format!("state of the payment of order {order} is unknown: payment {cause}");
                    story.log(at, paid.end, Level::Warn, body, ids);
                } else {
                    story.log(at, paid.end, Level::Info, format!("order {order} shown"), ids);
                }
                // The page is shown without the state of the payment.
                Reply { end: paid.end, status: 200 }
            })
        })
    }

    fn featured(&mut self, at: At, now: Nanos) -> Reply {
        let end = self.query(at, CACHE, statement("MGET", "MGET ? ? ? ?", 0.5), now);
        if self.random.chance(0.9) {
            self.log(at, end, Level::Debug, "4 products served from cache", vec![int("cache.hits", 4)]);
            return Reply { end, status: 200 };
        }
        let missed = 1 + self.random.below(4);
        self.log(
            at,
            end,
            Level::Debug,
            format!("cache miss for {missed} products"),
            vec![int("cache.misses", missed as i64)],
        );
        let select = statement("SELECT products", "SELECT * FROM products WHERE sku = ANY($1)", 4.5);
        Reply { end: self.query(at, CATALOG_DB, select, end), status: 200 }
    }

    fn load_product(&mut self, at: At, now: Nanos, sku: &str) -> Reply {
        let looked_up = self.query(at, CACHE, statement("GET", "GET product:?", 0.4), now);
        let ids = vec![text("product.sku", sku)];
        if self.random.chance(0.8) {
            self.log(at, looked_up, Level::Debug, format!("product {sku} served from cache"), ids);
            return Reply { end: looked_up, status: 200 };
        }
        let select = statement("SELECT products", "SELECT * FROM products WHERE sku = $1", 2.8);
        let loaded = self.query(at, CATALOG_DB, select, looked_up);
        if self.random.chance(0.02) {
            self.log(at, loaded, Level::Warn, format!("product {sku} not found"), ids);
            return Reply { end: loaded, status: 404 };
        }
        let millis = (loaded - now) / MILLI;
        self.log(at, loaded, Level::Info, format!("product {sku} loaded from catalog-db in {millis}ms"), ids);
        Reply { end: self.query(at, CACHE, statement("SET", "SET product:? ? EX 300", 0.5), loaded), status: 200 }
    }

    /// Recommendations may fail; then the page comes without them.
    fn recommended(&mut self, at: At, now: Nanos) -> Reply {
        let endpoint = get(Service::Recommendation, "/recommendations");
        let reply = self.call(at, endpoint, now, 300 * MILLI, |story, at, now| {
            let features = story.query(at, FEATURES, statement("HMGET", "HMGET features:? ? ?", 0.7), now);
            let end = story.inside(at, "model.predict", features, 14.0);
            if story.random.chance(0.004) {
                let body = format!("model returned no candidates for user {}, using bestsellers", story.visit.user);
                story.log(at, end, Level::Warn, body, vec![text("user.hash", &story.visit.user)]);
            } else {
                let (count, millis) = (4 + story.random.below(9), (end - now) / MILLI);
                let body = format!("recommended {count} products for user {} in {millis}ms", story.visit.user);
                story.log(at, end, Level::Info, body, vec![text("user.hash", &story.visit.user)]);
            }
            Reply { end, status: 200 }
        });
        if reply.failed() {
            let body = format!("recommendation answered {}, continuing without it", reply.status);
            self.log(at, reply.end, Level::Warn, body, Vec::new());
        }
        reply
    }

    fn stock(&mut self, at: At, now: Nanos, sku: &str) -> Reply {
        let endpoint = grpc(Service::Inventory, "shop.inventory.v1.InventoryService/GetStock");
        self.call(at, endpoint, now, PATIENCE, |story, at, now| {
            let select = statement("SELECT stock", "SELECT available FROM stock WHERE sku = $1", 1.2);
            let end = story.query(at, INVENTORY_DB, select, now);
            if story.random.chance(0.03) {
                let left = story.random.below(5);
                let body = format!("low stock for {sku}: {left} left");
                story.log(
                    at,
                    end,
                    Level::Warn,
                    body,
                    vec![text("product.sku", sku), int("stock.available", left as i64)],
                );
            }
            Reply { end, status: 200 }
        })
    }

    fn find_products(&mut self, at: At, now: Nanos, words: &str) -> Reply {
        let search = statement("search products", r#"{"query":{"match":{"title":"?"}},"size":"?"}"#, 11.0);
        let found = self.query(at, SEARCH_INDEX, search, now);
        let end = self.inside(at, "rank", found, 3.0);
        let (hits, took) = (self.random.below(120) as i64, (end - now) as f64 / MILLI as f64);
        let terms: Vec<&str> = words.split(' ').collect();
        let body =
            vec![text("message", "search done"), list("terms", &terms), int("hits", hits), double("took_ms", took)];
        self.log_value(at, end, Level::Info, map(body), vec![text("search.query", words)]);
        self.observe(at, end, Metric::SearchDuration, took / 1e3, Vec::new());
        Reply { end, status: 200 }
    }

    fn sku(&mut self) -> String {
        // Few products are looked at most of the time.
        let popular = self.random.unit().powi(3);
        format!("SKU-{:04}", 1 + (popular * PRODUCTS as f64) as usize)
    }
}
