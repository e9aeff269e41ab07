//! `trivium promql-test`: runs test scripts in Prometheus' language, samples through remote write, questions through the
//! HTTP API, into a server that is started for it; or, with `--engine`, the engine alone.

mod answer;
mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use trivium_promql::script::{EngineTarget, Report, Script, Verdict, run as run_script};

use crate::cli::PromqlTestArgs;
use server::ServerTarget;

/// What a file came to.
enum Ran {
    Report(Report),
    /// Why it could not be read.
    Unreadable(String),
}

pub(crate) fn run(args: &PromqlTestArgs) -> anyhow::Result<ExitCode> {
    let files = files(&args.paths)?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut server = if args.engine { None } else { Some(ServerTarget::start()?) };
    for file in &files {
        let ran = run_file(file, server.as_mut())?;
        match &ran {
            Ran::Report(report) => {
                passed += report.passed();
                failed += report.failures().count();
                skipped += report.skipped().count();
            }
            Ran::Unreadable(_) => failed += 1,
        }
        show(&ran, file, args.json)?;
    }
    let mut output = std::io::stdout();
    if args.json {
        writeln!(output, "{}", json!({"files": files.len(), "passed": passed, "failed": failed, "skipped": skipped}))?;
    } else {
        writeln!(output, "{} files: {passed} passed, {failed} failed, {skipped} skipped", files.len())?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_file(file: &Path, server: Option<&mut ServerTarget>) -> anyhow::Result<Ran> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let script = match Script::parse(&text) {
        Ok(script) => script,
        Err(error) => return Ok(Ran::Unreadable(error.to_string())),
    };
    let name = file.display().to_string();
    Ok(Ran::Report(match server {
        None => run_script(&name, &script, &mut EngineTarget::default()),
        Some(server) => {
            server.renew()?;
            run_script(&name, &script, server)
        }
    }))
}

fn show(ran: &Ran, file: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    match ran {
        Ran::Unreadable(error) if as_json => {
            writeln!(output, "{}", json!({"file": file.display().to_string(), "error": error}))?;
        }
        Ran::Unreadable(error) => writeln!(output, "{}: cannot be read: {error}", file.display())?,
        Ran::Report(report) if as_json => {
            for outcome in &report.outcomes {
                let (verdict, reason) = match &outcome.verdict {
                    Verdict::Passed => ("passed", None),
                    Verdict::Failed(why) => ("failed", Some(why)),
                    Verdict::Skipped(why) => ("skipped", Some(why)),
                };
                let line = json!({"file": report.file, "line": outcome.line, "command": outcome.command,
                    "result": verdict, "reason": reason});
                writeln!(output, "{line}")?;
            }
        }
        Ran::Report(report) => writeln!(output, "{report}")?,
    }
    Ok(())
}

/// The scripts: files as they are given, and all `.test` files in folders, in the order of their names.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, true, &mut files)?;
    }
    if files.is_empty() {
        anyhow::bail!(
            "no .test file was found in {}",
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(files)
}

fn collect(path: &Path, is_named: bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about = || format!("cannot look at {}", path.display());
    if std::fs::metadata(path).with_context(about)?.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(about)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            collect(&entry, false, files)?;
        }
    } else if is_named || path.extension().is_some_and(|extension| extension == "test") {
        files.push(path.to_path_buf());
    }
    Ok(())
}
