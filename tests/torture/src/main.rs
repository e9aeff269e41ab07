//! Torture: kills, starves and damages a real Trivium while clients export, and compares what it shows afterwards with what the
//! clients were answered. See README.md.

mod ledger;
mod load;
mod machine;
mod payload;
mod plan;
mod random;
mod report;
mod run;
mod scenario;
mod server;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::plan::{LONG, SHORT, Scenario, Step};
use crate::run::{Effort, Outcome, Run, say};
use crate::scenario::{
    ack, clock, crash_points, damage, disk_full, fsync, hostile, kill, memory, power, read_eio, replay, slow_disk,
    soak, two,
};

#[derive(Debug, Parser)]
#[command(about = "Kills, starves and damages a real Trivium, and counts what it lost")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Debug, Args)]
struct Options {
    /// The binary to torture
    #[arg(long, global = true, env = "TRIVIUM_BINARY", default_value = "target/debug/trivium")]
    binary: PathBuf,
    /// Where the scenarios work
    #[arg(long, global = true, default_value = "/tmp/trivium-torture")]
    folder: PathBuf,
    /// What chance begins with; printed, so that a run can be repeated
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Repetitions of a scenario at most
    #[arg(long, global = true)]
    cycles: Option<u64>,
    /// Time of a scenario at most
    #[arg(long, global = true)]
    seconds: Option<u64>,
    /// MiB of the cgroup of `memory` and `replay`; 512, but 256 for `memory` in the short run
    #[arg(long, global = true)]
    limit_mib: Option<u64>,
    /// Connections that overload the server in `memory`; 100 in the short run, 2,000 otherwise
    #[arg(long, global = true)]
    connections: Option<u64>,
    /// What makes the overload of `memory` worse: `bad` inputs, gzip `bombs`, heavy `queries`; `bad` in the short run, all otherwise
    #[arg(long, global = true, value_delimiter = ',')]
    foes: Option<Vec<String>>,
    /// Scenarios that `short` and `long` leave out, separated by commas
    #[arg(long, global = true, value_delimiter = ',')]
    skip: Vec<String>,
    /// How the binary was built: debug or release; guessed from its path when missing
    #[arg(long, global = true, env = "TRIVIUM_BUILD")]
    build: Option<String>,
    /// File for the results
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// The commit that the binary was built from, for the report
    #[arg(long, global = true, env = "TRIVIUM_COMMIT", default_value = "")]
    commit: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything, a few minutes: what every change must pass
    Short,
    /// Everything, a few hours
    Long,
    /// Writes RELIABILITY.md to standard output from files of results, later ones in the place of earlier ones
    Report {
        results: Vec<PathBuf>,
        /// What something else measured, such as `G4=met: 2,000 seeds, 0 failures`, or `G4-long=…` for the long run; `@FILE`
        /// reads such lines from a file. May be repeated
        #[arg(long, value_name = "GOAL=TEXT")]
        extra: Vec<String>,
    },
    #[command(flatten)]
    One(Scenario),
}

/// What a server of the smallest kind may have.
const LIMIT_MIB: u64 = 512;

/// Threads of the harness: starting and stopping servers blocks them.
const WORKERS: usize = 8;

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("torture: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<bool> {
    if let Command::Report { results, extra } = &cli.command {
        say(report::markdown(results, extra)?.trim_end());
        return Ok(true);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    runtime.block_on(run(cli))
}

/// Runs what was asked for; whether everything passed.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let mut options = cli.options;
    options.binary = options.binary.canonicalize().with_context(|| {
        format!("there is no binary {}; build it, or name it with --binary", options.binary.display())
    })?;
    let is_long = matches!(cli.command, Command::Long | Command::One(_));
    let steps: Vec<Step> = match cli.command {
        Command::Short => SHORT.to_vec(),
        Command::One(scenario) => LONG.into_iter().filter(|step| step.0 == scenario).collect(),
        Command::Long | Command::Report { .. } => LONG.to_vec(),
    };
    if let Some(unknown) = options.skip.iter().find(|name| !LONG.iter().any(|(scenario, ..)| scenario.name() == **name))
    {
        anyhow::bail!("there is no scenario {unknown:?} to skip; --help lists them");
    }
    let steps: Vec<Step> =
        steps.into_iter().filter(|(scenario, ..)| !options.skip.iter().any(|name| scenario.name() == name)).collect();
    let build = report::Build::of(&options.binary, options.build.as_deref(), &options.commit);
    let seed = options.seed.unwrap_or_else(chance);
    let mut outcomes = Vec::new();
    for (place, (scenario, cycles, seconds)) in (0_u64..).zip(steps) {
        let seconds = options.seconds.unwrap_or(seconds);
        let effort = Effort::new(options.cycles.unwrap_or(cycles), Duration::from_secs(seconds), is_long);
        let seed = seed.wrapping_add(place);
        // What stops one scenario does not stop the others.
        let mut outcome =
            one(scenario, &options, seed, effort).await.unwrap_or_else(|error| broken(scenario, seed, &error));
        if outcome.skipped.is_none() && outcome.failures.is_empty() && outcome.cycles == 0 {
            outcome.fail(format!("{}: there was no time for anything", scenario.name()));
        }
        if let Some(reason) = &outcome.skipped {
            say(&format!("{}: skipped: {reason}", outcome.scenario));
        }
        outcomes.push(outcome);
        // After each, so that an interrupted run leaves its figures.
        if let Some(path) = &options.json {
            report::write(path, &build, !is_long, &outcomes)?;
        }
    }
    Ok(outcomes.iter().all(|outcome| outcome.failures.is_empty()))
}

/// A scenario that could not be brought to its end.
fn broken(scenario: Scenario, seed: u64, error: &anyhow::Error) -> Outcome {
    let mut outcome = Outcome { scenario: scenario.name().into(), seed, ..Outcome::default() };
    outcome.fail(format!("{}: {error:#}", scenario.name()));
    outcome
}

async fn one(scenario: Scenario, options: &Options, seed: u64, effort: Effort) -> anyhow::Result<Outcome> {
    let run = Run::new(scenario.name(), &options.binary, &options.folder, seed)?;
    match scenario {
        Scenario::Kill => Box::pin(kill::run(run, effort)).await,
        Scenario::Damage => Box::pin(damage::run(run, effort)).await,
        Scenario::DiskFull => Box::pin(disk_full::run(run, effort)).await,
        Scenario::FsyncEio => Box::pin(fsync::run(run, effort)).await,
        Scenario::PowerCut => Box::pin(power::run(run, effort)).await,
        Scenario::Memory => {
            let is_long = effort.is_long;
            let mib = options.limit_mib.unwrap_or(if is_long { LIMIT_MIB } else { LIMIT_MIB / 2 });
            let connections = options.connections.unwrap_or(if is_long { 2_000 } else { 100 });
            // The long run has the goals of section 9. In the short one the server is not optimised, and clients and other work
            // share its processors.
            let (rss_percent_max, goodput_percent_min) = if is_long { (80, 80) } else { (90, 40) };
            let usual: &[&str] = if is_long { &["bad", "bombs", "queries"] } else { &["bad"] };
            let has = |name: &str| match &options.foes {
                Some(foes) => foes.iter().any(|foe| foe == name),
                None => usual.contains(&name),
            };
            let foes = memory::Which { bad: has("bad"), bombs: has("bombs"), queries: has("queries") };
            let limits = memory::Limits { mib, connections, foes, rss_percent_max, goodput_percent_min };
            Box::pin(memory::run(run, effort, limits)).await
        }
        Scenario::Replay => {
            let wal_mib = if effort.is_long { 2_048 } else { 32 };
            Box::pin(replay::run(run, effort, wal_mib, options.limit_mib.unwrap_or(LIMIT_MIB))).await
        }
        Scenario::Ack => Box::pin(ack::run(run, effort)).await,
        Scenario::SlowDisk => Box::pin(slow_disk::run(run, effort)).await,
        Scenario::Clock => Box::pin(clock::run(run, effort)).await,
        Scenario::TwoProcesses => Box::pin(two::run(run, effort)).await,
        Scenario::ReadEio => Box::pin(read_eio::run(run, effort)).await,
        Scenario::CrashPoints => Box::pin(crash_points::run(run, effort)).await,
        Scenario::Soak => Box::pin(soak::run(run, effort)).await,
        Scenario::HostileQuery => Box::pin(hostile::run(run, effort)).await,
    }
}

/// A seed that nobody asked for; it is printed with each scenario.
fn chance() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 16
}
