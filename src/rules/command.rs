//! `trivium rules check | test | backtest`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use trivium_alert::{
    Finding, GoTemplates, Level, LintOptions, Querier, RuleSet, SourceFile, Templates, lint, lint_selectors,
    unit_test_file,
};
use trivium_model::{Clock, SystemClock, TenantId};

use super::remote::RemoteQuerier;
use crate::cli::{BacktestArgs, RulesArgs, RulesCheckArgs, RulesCommand, RulesTestArgs};

pub(crate) async fn run(args: &RulesArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        RulesCommand::Check(args) => check(args).await,
        RulesCommand::Test(args) => test(args).await,
        RulesCommand::Backtest(args) => backtest(args).await,
    }
}

/// What the files say: rules, and SLOs.
#[derive(Default)]
struct Checked {
    rules: RuleSet,
    slos: usize,
    problems: Vec<String>,
    warnings: Vec<String>,
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Rule files have `groups`; everything else is taken for SLOs.
fn read_all(paths: &[PathBuf]) -> anyhow::Result<Checked> {
    let (mut rules, mut slos) = (Vec::new(), Vec::new());
    for path in paths {
        let (text, path) = (read(path)?, path.display().to_string());
        let is_slos = text.lines().any(|line| line.starts_with("slos:") || line.starts_with("apiVersion:"));
        if is_slos {
            slos.push(trivium_slo::SourceFile { path, text });
        } else {
            rules.push(SourceFile { path, text });
        }
    }
    let mut checked = Checked::default();
    match RuleSet::parse(&rules, &GoTemplates::default()) {
        Ok(set) => checked.rules = set,
        Err(error) => checked.problems.extend(error.problems.iter().map(ToString::to_string)),
    }
    match trivium_slo::load(&slos) {
        Ok(set) => {
            checked.slos = set.slos.len();
            checked.warnings.extend(set.warnings.iter().map(ToString::to_string));
        }
        Err(error) => checked.problems.extend(error.problems.iter().map(ToString::to_string)),
    }
    Ok(checked)
}

async fn check(args: &RulesCheckArgs) -> anyhow::Result<ExitCode> {
    let mut checked = read_all(&args.files)?;
    let mut findings = lint(&checked.rules, &LintOptions::default());
    if let Some(url) = &args.url {
        let client = args.access.client(reqwest::Client::builder())?;
        let querier: Arc<dyn Querier> = Arc::new(RemoteQuerier { url: url.clone(), client });
        let now = SystemClock.now().0.div_euclid(1_000_000);
        let found = lint_selectors(&checked.rules, &querier, TenantId::DEFAULT, now).await;
        findings.extend(found.map_err(|error| anyhow!("cannot look for series: {error}"))?);
    }
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count() + checked.problems.len();
    let warnings = findings.len() + checked.problems.len() - errors + checked.warnings.len();
    let rules: usize = checked.rules.groups.iter().map(|group| group.rules.len()).sum();
    if args.json {
        let answer = json!({
            "rules": rules, "slos": checked.slos, "problems": checked.problems, "warnings": checked.warnings,
            "findings": findings,
        });
        crate::print(&answer.to_string())?;
    } else {
        let lines = std::mem::take(&mut checked.problems).into_iter().chain(checked.warnings.drain(..));
        for line in lines.chain(findings.iter().map(Finding::to_string)) {
            crate::print(&line)?;
        }
        crate::print(&format!("{rules} rules, {} SLOs: {errors} errors, {warnings} warnings", checked.slos))?;
    }
    let failed = errors > 0 || (args.strict && warnings > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn test(args: &RulesTestArgs) -> anyhow::Result<ExitCode> {
    let templates: Arc<dyn Templates> = Arc::new(GoTemplates::default());
    let mut failed = false;
    for path in &args.files {
        let path = path.display().to_string();
        let report = unit_test_file(&path, Arc::clone(&templates)).await;
        let report = report.with_context(|| format!("cannot run the tests of {path}"))?;
        crate::print(&format!("{path}: {}", if report.passed() { "SUCCESS" } else { "FAILED" }))?;
        for warning in &report.warnings {
            crate::print(&format!("  warning: {warning}"))?;
        }
        for test in report.tests.iter().filter(|test| !test.failures.is_empty()) {
            crate::print(&format!("  {}:", test.name))?;
            for failure in &test.failures {
                crate::print(&format!("    {}", failure.replace('\n', "\n    ")))?;
            }
        }
        failed |= !report.passed();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn backtest(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let [file] = &args.files[..] else { bail!("give one rule file") };
    let request = json!({
        "rules": read(file)?,
        "start": args.start,
        "end": args.end,
        "group_by": args.group_by,
    });
    crate::print(&trivium_client::backtest(&args.server.server()?, &request, args.server.json).await?)
}
