//! Log records that belong to no request: what runtimes, pools and the deploy controller say.

use trivium_proto::otlp::logs::v1::LogRecord;

use crate::Nanos;
use crate::attribute::{int, string, text};
use crate::payment;
use crate::random::{MILLI, Random};
use crate::shop::{Deploy, Instance, InstanceId, Service, Shop};
use crate::story::{Item, Level, Pending, log_record};

/// Chance of an instance to say something in a second.
const CHATTER: f64 = 1.0 / 40.0;

/// What is said in the second that begins at `from`.
pub(crate) fn second(shop: &Shop, random: &mut Random, from: Nanos, pending: &mut Vec<Pending>) {
    let until = from + 1_000 * MILLI;
    for (index, instance) in shop.instances.iter().enumerate() {
        let mut say = |time, record| {
            let item = Item::Log(instance.service.name(), record);
            pending.push(Pending { time, instance: InstanceId(index), item });
        };
        let time = from + (random.unit() * 1e9) as Nanos;
        if random.chance(CHATTER) && instance.lives(time) && instance.service != Service::Deployer {
            say(time, chatter(random, instance, time));
        }
        if (from..until).contains(&instance.until) {
            let body = format!("received SIGTERM, draining {} {}", instance.service.name(), instance.version);
            say(instance.until, plain(instance.until, Level::Info, body));
        }
        let replaces = shop.deploys.iter().any(|deploy| deploy.version == instance.version);
        if replaces && (from..until).contains(&instance.from) {
            let body = format!("{} {} started on {}", instance.service.name(), instance.version, instance.pod);
            say(instance.from, plain(instance.from, Level::Info, body));
        }
    }
    for deploy in shop.deploys.iter().filter(|deploy| (from..until).contains(&deploy.at)) {
        pending.push(announcement(shop, deploy));
    }
}

fn announcement(shop: &Shop, deploy: &Deploy) -> Pending {
    let controller = shop.instances.iter().position(|instance| instance.service == Service::Deployer);
    let (service, version) = (deploy.service.name(), deploy.version);
    let mut record = plain(deploy.at, Level::Info, format!("rollout of {service} to version {version} started"));
    record.event_name = "deployment.started".into();
    record.attributes = vec![
        text("deployment.name", service),
        text("deployment.version", version),
        text("vcs.ref.head.name", format!("release/{version}")),
    ];
    let item = Item::Log(Service::Deployer.name(), record);
    Pending { time: deploy.at, instance: InstanceId(controller.unwrap_or_default()), item }
}

fn chatter(random: &mut Random, instance: &Instance, time: Nanos) -> LogRecord {
    let facts = instance.service.facts();
    let pressure = payment::pressure(instance, time);
    if facts.pool > 0 && random.chance(0.5) {
        let busy = (1.5 + random.unit() * 2.0 + pressure * facts.pool as f64) as i64;
        let active = busy.min(facts.pool);
        let waiting = (pressure * random.between(3.0, 24.0)) as i64;
        let level = if pressure > 0.5 { Level::Warn } else { Level::Debug };
        let (total, idle) = (facts.pool, facts.pool - active);
        let body = format!("pool stats: total={total} active={active} idle={idle} waiting={waiting}");
        let mut record = plain(time, level, body);
        record.attributes = vec![int("pool.active", active), int("pool.waiting", waiting)];
        return record;
    }
    let body = match facts.language {
        "java" => format!("GC(G1 Young) pause {}ms, heap {}M", 3 + random.below(40), 180 + random.below(300)),
        "go" => format!("health check ok, goroutines={}", 40 + random.below(160)),
        "python" => format!("worker {} recycled after {} requests", random.below(4), 900 + random.below(200)),
        _ => format!("event loop delay p99 {:.1}ms", random.between(1.0, 18.0)),
    };
    plain(time, Level::Debug, body)
}

fn plain(time: Nanos, level: Level, body: String) -> LogRecord {
    log_record(time, level, string(body), Vec::new(), None)
}
