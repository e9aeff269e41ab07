//! `trivium verify`: the catalog against the files, checksums, the WAL. Reads only.

use std::process::ExitCode;

use serde_json::json;
use trivium_storage::verify::{Finding, Options, verify};

use crate::cli::VerifyArgs;

pub(crate) async fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let report = verify(&args.data_dir, Options { deep: args.deep }).await?;
    if args.json {
        let findings: Vec<_> = report.findings.iter().map(|f| json!({"path": f.path, "problem": f.problem})).collect();
        let answer = json!({
            "parts": report.parts, "rows": report.rows.to_string(), "bytes": report.bytes.to_string(),
            "wal_frames": report.wal_frames, "findings": findings,
        });
        crate::print(&answer.to_string())?;
    } else {
        crate::print(&format!(
            "{} parts with {} rows in {} bytes, {} requests in the WAL",
            report.parts, report.rows, report.bytes, report.wal_frames
        ))?;
        for Finding { path, problem } in &report.findings {
            crate::print(&format!("  {}: {problem}", path.display()))?;
        }
        crate::print(if report.findings.is_empty() {
            "everything is as it was written"
        } else {
            "damage was found, see above"
        })?;
    }
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
