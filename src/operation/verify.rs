//! `trivium verify`: the catalog against the files, checksums, the WAL; with `--repair` puts right what can be.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use trivium_ingest::decode::ReplayDecoder;
use trivium_model::SystemClock;
use trivium_storage::verify::{Finding, Options, RepairDeps, RepairReport, VerifyReport, repair, verify_with};

use super::args::VerifyArgs;
use super::progress::Bar;

/// Something is not as it was written.
const DAMAGED: u8 = 2;

/// Something was not as it was written, and has been put right.
const REPAIRED: u8 = 3;

pub(crate) async fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    if let Some(backup) = &args.backup {
        return super::backup::run_check(backup, args.json).await;
    }
    let options = Options { deep: args.deep, encryption_key_file: args.key_file.path() };
    let bar = Bar::new("checking");
    let report = if args.repair {
        let deps = RepairDeps {
            clock: Arc::new(SystemClock),
            decoder: Arc::new(ReplayDecoder),
            seed: super::seed(),
            orphan_grace: args.orphan_grace,
        };
        repair(&args.data_dir, options, deps, bar.advance()).await?
    } else {
        let left = verify_with(&args.data_dir, options, bar.advance()).await?;
        RepairReport { found: left.clone(), actions: Vec::new(), left }
    };
    drop(bar);
    crate::print(&if args.json { to_json(args, &report).to_string() } else { to_text(args, &report) })?;
    Ok(match (report.found.findings.is_empty(), report.left.findings.is_empty()) {
        (_, false) => ExitCode::from(DAMAGED),
        (false, true) => ExitCode::from(REPAIRED),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn to_json(args: &VerifyArgs, report: &RepairReport) -> Value {
    let findings = |report: &VerifyReport| -> Vec<Value> {
        report.findings.iter().map(|finding| json!({"path": finding.path, "problem": finding.problem})).collect()
    };
    let RepairReport { found, actions, left } = report;
    let mut answer = json!({
        "parts": left.parts, "rows": left.rows.to_string(), "bytes": left.bytes.to_string(),
        "wal_frames": left.wal_frames, "findings": findings(found),
    });
    if args.repair {
        let actions: Vec<_> = actions.iter().map(|action| json!({"path": action.path, "done": action.done})).collect();
        answer["actions"] = actions.into();
        answer["left"] = findings(left).into();
    }
    answer
}

fn to_text(args: &VerifyArgs, report: &RepairReport) -> String {
    let RepairReport { found, actions, left } = report;
    let mut lines = vec![format!(
        "{} parts with {} rows in {} bytes, {} requests in the WAL",
        left.parts, left.rows, left.bytes, left.wal_frames
    )];
    let line = |Finding { path, problem, .. }: &Finding| format!("  {}: {problem}", path.display());
    lines.extend(found.findings.iter().map(line));
    if !actions.is_empty() {
        lines.push("what was done:".into());
        lines.extend(actions.iter().map(|action| format!("  {}: {}", action.path.display(), action.done)));
    }
    let (is_sound, is_sound_now) = (found.findings.is_empty(), left.findings.is_empty());
    if args.repair && !is_sound_now {
        lines.push("what is left:".into());
        lines.extend(left.findings.iter().map(line));
    }
    let verdict = match (is_sound, is_sound_now) {
        (true, true) => "everything is as it was written",
        (false, true) => "everything that was found has been put right; see `trivium quarantine list`",
        (_, false) if args.repair => "not everything can be put right, see above",
        (_, false) => "damage was found, see above; --repair puts right what can be",
    };
    lines.push(verdict.into());
    lines.join("\n")
}
