//! The binary: parses arguments, loads the configuration, starts the runtime, maps errors to exit codes.

mod app;
mod cli;
mod config;
mod credentials;
mod demo;
mod exporter;
mod import;
mod listeners;
mod memory;
mod operation;
mod promql_test;
mod redact;
mod remote_write;
mod rules;
mod scrape;
mod self_telemetry;
mod server;
mod starting;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "trivium: {}", message(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes; some errors quote their cause themselves.
fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.ends_with(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => app::serve(&args),
        Command::Config(args) => print(args.resolve()?.render()?.trim_end()),
        Command::Verify(args) => block_on(operation::verify::run(&args)),
        Command::Backup(args) => block_on(operation::backup::run(&args)),
        Command::Restore(args) => block_on(operation::backup::run_restore(&args)),
        Command::Keys(args) => block_on(operation::keys::run(&args)),
        Command::Quarantine(args) => block_on(operation::quarantine::run(&args)),
        Command::Demo(args) => block_on(demo::run(&args)).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => block_on(import::run(&args)).map(|()| ExitCode::SUCCESS),
        Command::PromqlTest(args) => promql_test::run(&args),
        Command::Redact(args) => redact::run(&args),
        Command::Rules(args) => block_on(rules::command::run(&args)),
        Command::Sql(args) => {
            print(&block_on(trivium_client::sql(&args.server.server()?, &args.sql, args.server.json))?)
        }
        Command::Logs(args) => block_on(app::logs(&args)).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => {
            print(&block_on(trivium_client::trace(&args.server.server()?, &args.id, args.server.json))?)
        }
        Command::Find(args) => {
            print(&block_on(trivium_client::find(&args.server.server()?, &args.id, args.server.json))?)
        }
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Writes an answer to standard output. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let io = || std::io::Error::other("no such luck");
        let quotes = anyhow::Error::new(trivium_storage::Error::Io { action: "read", path: "x".into(), source: io() });
        assert_eq!(message(&quotes.context("cannot start")), "cannot start: cannot read x: no such luck");
        assert_eq!(message(&anyhow::Error::new(io()).context("cannot start")), "cannot start: no such luck");
    }
}
