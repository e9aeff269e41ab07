//! `trivium keys`: the master keys of encryption at rest, and the keys of tenants that they wrap.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trivium_ingest::decode::ReplayDecoder;
use trivium_model::{SystemClock, TenantId, UnixNanos};
use trivium_storage::encryption::{TenantKey, new_master_line};
use trivium_storage::keys::{list, rotate, shred};
use trivium_storage::verify::RepairDeps;

use super::args::{KeysArgs, KeysCommand, KeysListArgs, KeysShredArgs};

/// Shredding is done, and something may still hold telemetry of the tenant.
const LEFT: u8 = 3;

pub(crate) async fn run(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        KeysCommand::Generate(args) => crate::print(&new_master_line(&args.name)?),
        KeysCommand::List(args) => print_list(args).await,
        KeysCommand::Rotate(args) => {
            let report = rotate(&args.data_dir, &args.encryption_key_file).await?;
            crate::print(&format!(
                "{} of {} keys were wrapped anew; all are wrapped with {} now. Backups that were made before still need the master keys \
                 from before",
                report.changed, report.keys, report.master
            ))
        }
        KeysCommand::Shred(args) => run_shred(args).await,
    }
}

async fn print_list(args: &KeysListArgs) -> anyhow::Result<ExitCode> {
    let keys = list(&args.data_dir).await?;
    if args.json {
        return crate::print(&Value::from(keys.iter().map(to_json).collect::<Vec<_>>()).to_string());
    }
    if keys.is_empty() {
        return crate::print("no tenant has a key: nothing is encrypted");
    }
    crate::print(&keys.iter().map(to_text).collect::<Vec<_>>().join("\n"))
}

fn to_json(key: &TenantKey) -> Value {
    json!({
        "id": key.id.to_string(), "tenant": key.tenant.0, "master": key.master,
        "created_at": key.created_at.0.to_string(), "shredded_at": key.shredded_at.map(|at| at.0.to_string()),
    })
}

fn to_text(key: &TenantKey) -> String {
    let time = |at: UnixNanos| {
        let at = std::time::UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.0).unwrap_or(0));
        humantime::format_rfc3339_seconds(at)
    };
    let (id, tenant, created) = (key.id, key.tenant, time(key.created_at));
    match key.shredded_at {
        None => format!("{id} of tenant {tenant}, made {created}, wrapped with {}", key.master),
        Some(at) => format!("{id} of tenant {tenant}, made {created}, shredded {}", time(at)),
    }
}

async fn run_shred(args: &KeysShredArgs) -> anyhow::Result<ExitCode> {
    let deps = RepairDeps {
        clock: Arc::new(SystemClock),
        decoder: Arc::new(ReplayDecoder),
        seed: super::seed(),
        orphan_grace: Duration::ZERO,
    };
    let tenant = TenantId(args.tenant);
    let report = shred(&args.data_dir, tenant, &args.encryption_key_file, deps).await?;
    let mut lines = vec![format!(
        "shredded {} key(s) of tenant {tenant}; dropped {} rows in {} parts, and {} pieces in quarantine. Backups that were made before \
         hold the key still: remove them",
        report.keys, report.rows, report.parts, report.pieces
    )];
    lines.extend(report.left.iter().map(|left| format!("  {left}")));
    crate::print(&lines.join("\n"))?;
    Ok(if report.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(LEFT) })
}
