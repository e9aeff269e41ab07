//! `trivium quarantine`: what was found damaged, what of it is intact, and the way back.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};
use trivium_model::TenantId;
use trivium_storage::quarantine::{QuarantinedItem, ReturnOptions, Returned, list, show};
use trivium_storage::{Appended, Error};

use super::args::{QuarantineArgs, QuarantineCommand, QuarantineRestoreArgs};

pub(crate) async fn run(args: &QuarantineArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        QuarantineCommand::List(args) => {
            let items = list(&args.data_dir).await?;
            if args.json {
                return crate::print(&Value::from(items.iter().map(to_json).collect::<Vec<_>>()).to_string());
            }
            if items.is_empty() {
                return crate::print("nothing is in quarantine");
            }
            crate::print(&items.iter().map(to_text).collect::<Vec<_>>().join("\n"))
        }
        QuarantineCommand::Show(args) => {
            let key_file = args.key_file.path();
            let (item, lines) = show(&args.data_dir, &args.name, key_file.as_deref()).await?;
            let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
            crate::print(&format!("{}{lines}", to_text(&item)))
        }
        QuarantineCommand::Restore(args) => restore(args).await,
    }
}

async fn restore(args: &QuarantineRestoreArgs) -> anyhow::Result<ExitCode> {
    let opened = super::open_offline(&args.item.data_dir, args.item.key_file.path().as_deref()).await;
    let (storage, _lock) = opened.map_err(|error| match error.downcast_ref::<Error>() {
        Some(Error::Locked { .. }) => {
            error.context("a running server is asked by POST /api/v1/admin/quarantine/restore")
        }
        _ => error,
    })?;
    let options = ReturnOptions { salvage: args.salvage, tenant: args.tenant.map(TenantId) };
    let returned = storage.return_quarantined(&args.item.name, options).await;
    storage.close().await;
    let returned = returned.with_context(|| format!("{} stays in quarantine", args.item.name))?;
    crate::print(&match returned {
        Returned::Part { id, rows, lost: 0 } => format!("{rows} rows are back, as part {id}"),
        Returned::Part { id, rows, lost } => {
            format!(
                "{rows} rows are back, as part {id}; {lost} rows could not be decoded, their files stay in quarantine"
            )
        }
        Returned::Request(Appended::Stored(position)) => format!("the request is stored at position {position}"),
        Returned::Request(Appended::Duplicate) => "the request brings nothing that is not there already".into(),
    })
}

pub(super) fn to_json(item: &QuarantinedItem) -> Value {
    json!({
        "name": item.name, "kind": item.kind.as_str(), "signal": item.signal.map(|signal| signal.as_str()),
        "rows": item.rows, "bytes": item.bytes.to_string(), "reason": item.reason,
        "quarantined_at": item.at.map(|at| at.0.to_string()), "can_be_restored": item.kind.can_return(),
    })
}

fn to_text(item: &QuarantinedItem) -> String {
    let mut text = format!("{}: {}, {} bytes", item.name, item.kind.as_str(), item.bytes);
    if let Some(rows) = item.rows {
        text.push_str(&format!(", {rows} rows"));
    }
    if let Some(at) = item.at.and_then(|at| u64::try_from(at.0).ok()) {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(at);
        text.push_str(&format!(", found {}", humantime::format_rfc3339_seconds(at)));
    }
    if let Some(reason) = &item.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}
