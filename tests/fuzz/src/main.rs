//! Runs targets for longer than the tests do.
//!
//! ```text
//! trivium-fuzz [--seconds 60] [--seed 1] [TARGET…]     all targets without one
//! trivium-fuzz --replay FILE TARGET
//! ```
//!
//! Each target runs in a process of its own, whose memory is limited; the last input is in `fuzz-TARGET.input`, also when it
//! ended the process.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use trivium_fuzz::{Plan, Target, fuzz, replay, targets};

/// KiB of address space of a target. Threads that run SQL have stacks of 128 MiB, of which little is ever used.
const MEMORY_KIB: u64 = 8 << 20;

struct Arguments {
    seconds: u64,
    seed: u64,
    replay: Option<String>,
    /// This process runs its one target itself.
    here: bool,
    names: Vec<String>,
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut arguments = Arguments { seconds: 60, seed: 1, replay: None, here: false, names: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => arguments.seconds = value()?.parse()?,
            "--seed" => arguments.seed = value()?.parse()?,
            "--replay" => arguments.replay = Some(value()?),
            "--here" => arguments.here = true,
            other => arguments.names.push(other.to_owned()),
        }
    }
    Ok(arguments)
}

fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = arguments()?;
    let all = targets();
    let chosen: Vec<&Target> = all
        .iter()
        .filter(|target| arguments.names.is_empty() || arguments.names.iter().any(|name| name == target.name))
        .collect();
    if chosen.len() < arguments.names.len().max(1) {
        let names: Vec<&str> = all.iter().map(|target| target.name).collect();
        bail!("there are the targets {}", names.join(" "));
    }
    if let (Some(path), [target, ..]) = (&arguments.replay, chosen.as_slice()) {
        let input = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
        say(&format!("{}: {:?}", target.name, replay(target, &input)));
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for target in chosen {
        failed |= if arguments.here { run(target, &arguments) } else { !run_apart(target, &arguments)? };
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether anything was found.
fn run(target: &Target, arguments: &Arguments) -> bool {
    let file = format!("fuzz-{}.input", target.name);
    let plan = Plan {
        seed: arguments.seed,
        inputs: u64::MAX,
        time: Duration::from_secs(arguments.seconds),
        keep: Some(Path::new(&file)),
    };
    let outcome = fuzz(target, &plan);
    say(&format!(
        "{}: {} inputs, {} read, longest {:?}, {} found",
        target.name,
        outcome.tried,
        outcome.read,
        outcome.longest,
        outcome.found.len()
    ));
    for (number, found) in outcome.found.iter().enumerate() {
        let path = format!("fuzz-{}.{number}", target.name);
        say(&format!("  {path}: {}", found.what));
        drop(std::fs::write(path, &found.input));
    }
    if outcome.found.is_empty() {
        drop(std::fs::remove_file(file));
    }
    !outcome.found.is_empty()
}

/// Whether the process of the target ended well.
fn run_apart(target: &Target, arguments: &Arguments) -> anyhow::Result<bool> {
    let program = std::env::current_exe()?;
    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\""), &program.to_string_lossy(), "--here"])
        .args(["--seconds", &arguments.seconds.to_string(), "--seed", &arguments.seed.to_string(), target.name])
        .status()?;
    if !status.success() {
        say(&format!("{}: {status}; the last input is in fuzz-{}.input", target.name, target.name));
    }
    Ok(status.success())
}
