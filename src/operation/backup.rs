//! `trivium backup`, `trivium restore`, and `trivium verify` of a backup.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use trivium_model::SystemClock;
use trivium_storage::backup::{BackupOptions, Location, RestoreOptions, backup, check, restore};

use super::args::{BackupArgs, RestoreArgs};
use super::progress::Bar;

/// A backup was made, and something in the data folder is damaged and not in it.
const DAMAGED: u8 = 2;

/// The place that an argument names. S3 is set up by the environment, as with every other tool that speaks to it.
fn location(text: &str) -> anyhow::Result<Location> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    Ok(Location::parse(text, &environment.collect())?)
}

pub(crate) async fn run(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let destination = location(&args.destination)?;
    let bar = Bar::new("backing up");
    let options = BackupOptions { keep: args.keep, check: args.check };
    let report = backup(&args.data_dir, &destination, options, Arc::new(SystemClock), bar.advance()).await?;
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
    let source = location(&args.source)?;
    let bar = Bar::new("restoring");
    let options = RestoreOptions { snapshot: args.snapshot.clone() };
    let report = restore(&source, &args.data_dir, options, bar.advance()).await?;
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

/// `trivium verify BACKUP`.
pub(crate) async fn run_check(place: &str, is_json: bool) -> anyhow::Result<ExitCode> {
    let place = location(place)?;
    let bar = Bar::new("checking");
    let report = check(&place, bar.advance()).await?;
    drop(bar);
    if is_json {
        let findings = report.findings.iter().map(|(path, problem)| json!({"path": path, "problem": problem}));
        let answer = json!({
            "snapshots": report.snapshots, "interrupted": report.interrupted, "files": report.files,
            "bytes": report.bytes.to_string(), "findings": findings.collect::<Vec<_>>(),
        });
        crate::print(&answer.to_string())?;
    } else {
        let (snapshots, files, bytes) = (report.snapshots.len(), report.files, report.bytes);
        crate::print(&format!("{snapshots} snapshots with {files} files in {bytes} bytes"))?;
        for name in &report.interrupted {
            crate::print(&format!(
                "  {name} has no manifest: its backup was interrupted or is running; the next one removes it"
            ))?;
        }
        for (path, problem) in &report.findings {
            crate::print(&format!("  {path}: {problem}"))?;
        }
        let is_sound = report.findings.is_empty();
        crate::print(if is_sound { "everything is as it was written" } else { "damage was found, see above" })?;
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}
