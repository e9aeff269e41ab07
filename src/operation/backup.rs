//! `trivium backup` and `trivium restore`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use serde_json::json;
use trivium_model::SystemClock;
use trivium_storage::backup::{BackupOptions, RestoreOptions, backup, restore};

use super::args::{BackupArgs, RestoreArgs};
use super::progress::Bar;

/// A backup was made, and something in the data folder is damaged and not in it.
const DAMAGED: u8 = 2;

pub(crate) async fn run(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    if args.destination.contains("://") {
        bail!(
            "backups go to folders; make one and have it carried to {} by any tool that copies files: parts/ first, snapshots/ \
             last, nothing in them ever changes",
            args.destination
        );
    }
    let bar = Bar::new("backing up");
    let options = BackupOptions { keep: args.keep, check: args.check };
    let destination = Path::new(&args.destination);
    let report = backup(&args.data_dir, destination, options, Arc::new(SystemClock), bar.advance()).await?;
    drop(bar);
    let damaged: Vec<_> = report.damaged.iter().map(|(id, problem)| (id.to_string(), problem)).collect();
    if args.json {
        let damaged: Vec<_> = damaged.iter().map(|(part, problem)| json!({"part": part, "problem": problem})).collect();
        let answer = json!({
            "snapshot": report.snapshot, "parts": report.parts, "rows": report.rows.to_string(),
            "copied_parts": report.copied_parts, "copied_bytes": report.copied_bytes.to_string(),
            "wal_frames": report.wal_frames, "damaged": damaged, "wal_damage": report.wal_damage,
            "removed": report.removed,
        });
        crate::print(&answer.to_string())?;
    } else {
        crate::print(&format!(
            "snapshot {}: {} parts with {} rows ({} parts copied), {} requests in the WAL, {} bytes written",
            report.snapshot, report.parts, report.rows, report.copied_parts, report.wal_frames, report.copied_bytes
        ))?;
        for (part, problem) in &damaged {
            crate::print(&format!("  part {part} is damaged and not in the backup: {problem}"))?;
        }
        for problem in &report.wal_damage {
            crate::print(&format!("  the WAL is damaged: {problem}"))?;
        }
        for snapshot in &report.removed {
            crate::print(&format!("  removed the old snapshot {snapshot}"))?;
        }
    }
    let is_whole = report.damaged.is_empty() && report.wal_damage.is_empty();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}

pub(crate) async fn run_restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let bar = Bar::new("restoring");
    let options = RestoreOptions { snapshot: args.snapshot.clone() };
    let report = restore(&args.source, &args.data_dir, options, bar.advance()).await?;
    drop(bar);
    if args.json {
        let damaged = report.damaged.iter().map(|(part, problem)| json!({"part": part, "problem": problem}));
        let answer = json!({
            "snapshot": report.snapshot, "parts": report.parts, "rows": report.rows.to_string(),
            "bytes": report.bytes.to_string(), "wal_frames": report.wal_frames, "damaged": damaged.collect::<Vec<_>>(),
        });
        crate::print(&answer.to_string())?;
    } else {
        crate::print(&format!(
            "restored snapshot {}: {} parts with {} rows and {} requests of the WAL, {} bytes, every one of them checked",
            report.snapshot, report.parts, report.rows, report.wal_frames, report.bytes
        ))?;
        for (part, problem) in &report.damaged {
            crate::print(&format!("  part {part} was damaged when the backup was made and is not in it: {problem}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
