//! The binary: parses arguments, loads the configuration, starts the runtime, maps errors to exit codes.

mod app;
mod cli;
mod config;
mod demo;
mod exporter;
mod import;
mod memory;
mod promql_test;
mod remote_write;
mod rules;
mod scrape;
mod self_telemetry;
mod server;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "trivium: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => app::serve(&args),
        Command::Config(args) => print(args.resolve()?.render()?.trim_end()),
        Command::Verify(args) => block_on(verify::run(&args)),
        Command::Demo(args) => block_on(demo::run(&args)).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => block_on(import::run(&args)).map(|()| ExitCode::SUCCESS),
        Command::PromqlTest(args) => promql_test::run(&args),
        Command::Rules(args) => block_on(rules::command::run(&args)),
        Command::Sql(args) => print(&block_on(trivium_client::sql(&args.server.url, &args.sql, args.server.json))?),
        Command::Logs(args) => block_on(app::logs(&args)).map(|()| ExitCode::SUCCESS),
        Command::Trace(args) => print(&block_on(trivium_client::trace(&args.server.url, &args.id, args.server.json))?),
        Command::Find(args) => print(&block_on(trivium_client::find(&args.server.url, &args.id, args.server.json))?),
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
