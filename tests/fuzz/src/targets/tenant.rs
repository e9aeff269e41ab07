//! Names of tenants: what may be one is the name of a folder below `tenants_dir` and of nothing else, and leads back to its
//! tenant, also after a restart.

use std::path::{Component, Path};
use std::sync::Arc;

use tokio::runtime::Runtime;
use trivium_auth::{AuthConfig, AuthDeps, Authenticator, Error, How, NoClient, Principal, Role, Signals};
use trivium_model::{ManualClock, MemoryStateStore, TenantId, UnixNanos};

use super::{Kind, Target, runtime, target};
use crate::corpus::separated;

const WORDS: &[&str] = &[
    "default", "..", ".", "/", "\\", "%2e", "%2f", "~", "-", "_", "a", "A", "0", "\0", "\n", " ", "con", "é", "ﬀ",
    "：", "7",
];

pub(super) fn targets() -> Vec<Target> {
    let Ok(runtime) = runtime() else { return Vec::new() };
    let seeds = separated(include_str!("../../corpus/tenants.txt"));
    vec![target("tenant_name", Kind::Text(WORDS), 2_000, seeds, move |input| make(&runtime, input))]
}

async fn open(store: &Arc<MemoryStateStore>) -> Result<Arc<Authenticator>, Error> {
    let clock = Arc::new(ManualClock::new(UnixNanos(1_700_000_000_000_000_000)));
    let store = Arc::clone(store);
    Authenticator::open(AuthConfig::default(), AuthDeps { store, clock, client: Arc::new(NoClient) }).await
}

fn operator() -> Principal {
    Principal {
        tenant: TenantId::DEFAULT,
        tenant_name: "default".into(),
        role: Role::Admin,
        name: "root".into(),
        how: How::Open,
        signals: Signals::ALL,
    }
}

/// Makes a tenant of this name, beside another one.
fn make(runtime: &Runtime, input: &[u8]) -> Result<bool, String> {
    let name = String::from_utf8_lossy(input);
    let store = Arc::new(MemoryStateStore::default());
    let made = runtime.block_on(async {
        let auth = open(&store).await?;
        auth.create_tenant(&operator(), "other").await?;
        let made = auth.create_tenant(&operator(), &name).await;
        Ok::<_, Error>((auth, made))
    });
    let (auth, made) = made.map_err(|error| format!("the store of credentials does not open: {error}"))?;
    let Ok(made) = made else { return Ok(false) };
    check_name(&name)?;
    let again = runtime.block_on(open(&store)).map_err(|error| format!("it does not open again: {error}"))?;
    for auth in [auth, again] {
        let tenant = TenantId(made.id);
        if auth.tenant_named(&name) != Some(tenant) || auth.tenant_name(tenant).as_deref() != Some(&*name) {
            return Err(format!("{name:?} does not lead back to tenant {tenant}"));
        }
    }
    if made.id == TenantId::DEFAULT.0 || made.name != name {
        return Err(format!("{name:?} became {made:?}"));
    }
    Ok(true)
}

/// A name that is a folder of its own on every file system, and a value of a header.
fn check_name(name: &str) -> Result<(), String> {
    let folder = Path::new("/tenants");
    let path = folder.join(name);
    let is_one =
        matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(only)] if only == name);
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic()) && name == name.to_ascii_lowercase();
    if !is_one || !is_plain || path.parent() != Some(folder) || name.starts_with('.') || name.len() > 255 {
        return Err(format!("{name:?} is taken for the name of a tenant"));
    }
    if name == "default" || name == "other" {
        return Err(format!("there are two tenants {name}"));
    }
    Ok(())
}
