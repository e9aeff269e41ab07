//! The shop: its services, their instances, and the deploys that replace instances.

use trivium_proto::otlp::resource::v1::Resource;

use crate::Nanos;
use crate::attribute::{int, text};
use crate::random::Random;

const SECOND: Nanos = 1_000_000_000;

/// One instance is replaced after the other, this far apart.
const ROLLOUT_STEP: Nanos = 20 * SECOND;

/// How long a replaced instance still finishes its work.
const DRAIN: Nanos = 10 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Storefront,
    Gateway,
    Catalog,
    Search,
    Recommendation,
    Cart,
    Checkout,
    Payment,
    Inventory,
    Shipping,
    Orders,
    Notification,
    Deployer,
}

/// What does not change from instance to instance.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) service: Service,
    pub(crate) name: &'static str,
    pub(crate) language: &'static str,
    sdk_version: &'static str,
    version: &'static str,
    instances: usize,
    /// The instrumentation library of its HTTP and gRPC spans.
    pub(crate) scope: &'static str,
    /// Connections of its database pool; 0 when it has none.
    pub(crate) pool: i64,
}

const NODE_SCOPE: &str = "@opentelemetry/instrumentation-http";
const GO_SCOPE: &str = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp";
const JAVA_SCOPE: &str = "io.opentelemetry.spring-webmvc-6.0";
const PYTHON_SCOPE: &str = "opentelemetry.instrumentation.fastapi";

#[rustfmt::skip]
const FACTS: [Facts; 13] = [
    facts(Service::Storefront, "storefront", ("nodejs", "2.2.0"), "5.12.0", 3, NODE_SCOPE, 0),
    facts(Service::Gateway, "api-gateway", ("go", "1.38.0"), "3.7.2", 3, GO_SCOPE, 0),
    facts(Service::Catalog, "catalog", ("java", "1.55.0"), "1.18.4", 3, JAVA_SCOPE, 20),
    facts(Service::Search, "search", ("python", "1.38.0"), "0.9.11", 2, PYTHON_SCOPE, 0),
    facts(Service::Recommendation, "recommendation", ("python", "1.38.0"), "1.9.2", 2, PYTHON_SCOPE, 0),
    facts(Service::Cart, "cart", ("go", "1.38.0"), "2.0.5", 2, GO_SCOPE, 0),
    facts(Service::Checkout, "checkout", ("go", "1.38.0"), "4.1.3", 3, GO_SCOPE, 0),
    facts(Service::Payment, "payment", ("java", "1.55.0"), "2.4.0", 4, JAVA_SCOPE, 10),
    facts(Service::Inventory, "inventory", ("python", "1.38.0"), "1.2.0", 2, PYTHON_SCOPE, 10),
    facts(Service::Shipping, "shipping", ("go", "1.38.0"), "1.5.9", 2, GO_SCOPE, 0),
    facts(Service::Orders, "orders", ("java", "1.55.0"), "2.11.0", 2, JAVA_SCOPE, 10),
    facts(Service::Notification, "notification", ("nodejs", "2.2.0"), "0.14.1", 2, NODE_SCOPE, 0),
    facts(Service::Deployer, "deploy-controller", ("go", "1.38.0"), "1.30.2", 1, GO_SCOPE, 0),
];

const fn facts(
    service: Service,
    name: &'static str,
    sdk: (&'static str, &'static str),
    version: &'static str,
    instances: usize,
    scope: &'static str,
    pool: i64,
) -> Facts {
    Facts { service, name, language: sdk.0, sdk_version: sdk.1, version, instances, scope, pool }
}

impl Service {
    pub(crate) fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    pub(crate) fn name(self) -> &'static str {
        self.facts().name
    }
}

/// A new version of one service, rolled out instance by instance.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    pub(crate) service: Service,
    pub(crate) version: &'static str,
    pub(crate) at: Nanos,
}

/// Names an instance for the life of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InstanceId(pub(crate) usize);

/// One running process.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) service: Service,
    pub(crate) version: &'static str,
    pub(crate) pod: String,
    /// The resource of everything that it sends.
    pub(crate) resource: Resource,
    /// When it takes its first request.
    pub(crate) from: Nanos,
    /// When it takes no more requests; `Nanos::MAX` when nothing replaces it.
    pub(crate) until: Nanos,
}

impl Instance {
    pub(crate) fn serves(&self, at: Nanos) -> bool {
        self.from <= at && at < self.until
    }

    /// Whether it still sends metrics and finishes its work.
    pub(crate) fn lives(&self, at: Nanos) -> bool {
        self.from <= at && at < self.until.saturating_add(DRAIN)
    }
}

#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) instances: Vec<Instance>,
    pub(crate) deploys: Vec<Deploy>,
}

impl Shop {
    /// The shop as it is from `start` on. Of deploys before it only what they brought is there.
    pub(crate) fn new(random: &mut Random, start: Nanos, deploys: Vec<Deploy>) -> Self {
        let mut shop = Self { instances: Vec::new(), deploys };
        for facts in &FACTS {
            let replica_set = random.hex(10);
            for _ in 0..facts.instances {
                shop.add(random, facts, facts.version, &replica_set, start);
            }
        }
        for deploy in shop.deploys.clone() {
            shop.roll_out(random, &deploy, start);
        }
        shop.deploys.retain(|deploy| deploy.at >= start);
        shop
    }

    pub(crate) fn instance(&self, id: InstanceId) -> &Instance {
        &self.instances[id.0]
    }

    /// An instance that takes a request at the time. There always is one, because a deploy overlaps old and new.
    pub(crate) fn pick(&self, random: &mut Random, service: Service, at: Nanos) -> InstanceId {
        let serving: Vec<usize> = (0..self.instances.len())
            .filter(|&index| self.instances[index].service == service && self.instances[index].serves(at))
            .collect();
        InstanceId(random.pick(&serving))
    }

    fn roll_out(&mut self, random: &mut Random, deploy: &Deploy, start: Nanos) {
        let replica_set = random.hex(10);
        let of_service = |instance: &Instance| instance.service == deploy.service && instance.until == Nanos::MAX;
        let replaced: Vec<usize> =
            (0..self.instances.len()).filter(|&index| of_service(&self.instances[index])).collect();
        for (step, index) in (0..).zip(replaced) {
            let at = deploy.at + step * ROLLOUT_STEP;
            self.instances[index].until = if deploy.at < start { Nanos::MIN } else { at + SECOND };
            self.add(random, deploy.service.facts(), deploy.version, &replica_set, at.max(start));
        }
    }

    fn add(&mut self, random: &mut Random, facts: &Facts, version: &'static str, replica_set: &str, from: Nanos) {
        let suffix: String = (0..5).map(|_| char::from(random.pick(b"bcdfghjklmnpqrstvwxz2456789"))).collect();
        let pod = format!("{}-{replica_set}-{suffix}", facts.name);
        let resource =
            Resource { attributes: resource_attributes(random, facts, version, &pod), ..Resource::default() };
        self.instances.push(Instance { service: facts.service, version, pod, resource, from, until: Nanos::MAX });
    }
}

fn resource_attributes(
    random: &mut Random,
    facts: &Facts,
    version: &str,
    pod: &str,
) -> Vec<trivium_proto::otlp::common::v1::KeyValue> {
    let node = random.below(6);
    vec![
        text("service.name", facts.name),
        text("service.namespace", "shop"),
        text("service.version", version),
        text("service.instance.id", random.uuid()),
        text("deployment.environment.name", "production"),
        text("host.name", format!("node-{node}.eu-central-1.compute.internal")),
        text("cloud.region", "eu-central-1"),
        text("cloud.availability_zone", format!("eu-central-1{}", ["a", "b", "c"][node % 3])),
        text("k8s.cluster.name", "shop-prod"),
        text("k8s.namespace.name", "shop"),
        text("k8s.deployment.name", facts.name),
        text("k8s.pod.name", pod),
        text("container.id", random.hex(64)),
        int("process.pid", 1 + random.below(40) as i64),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", facts.language),
        text("telemetry.sdk.version", facts.sdk_version),
    ]
}
