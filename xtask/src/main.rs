//! Development tasks of promo. `cargo xtask help` lists them.
//!
//! Here lives what a developer and CI run over the project: tests, tidiness, the tools and servers that tests need.
//! What must not be here: anything a user of promo needs; that belongs to promo-cli.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a development task talks to its developer")]

mod bench;
mod components;
mod fuzz;
mod process;
mod races;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A task's outcome; the error is a finished sentence for the developer, and nothing handles it but `main`.
type Outcome<T = ()> = Result<T, String>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of promo")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need, then run every check and every test; closes with the test runner's own summary.
    Test(test::Args),
    /// Check the project's own rules of tidiness on every file that git knows.
    Tidy,
    /// The tools and servers that tests need: where they come from, how they start, what is missing.
    #[command(subcommand)]
    Components(components::Command),
    /// Let the fuzz targets look for inputs that break what promo reads from outside.
    Fuzz(fuzz::Args),
    /// Let many processes race for one ledger, again and again: one plan by 64, two plans, a freeze, a cancel.
    Races(races::Args),
    /// Measure the release binary from outside, next to its peers: time, CPU and peak memory of whole processes.
    Bench(bench::Args),
    /// Run one command and write what it cost into a file: what `bench` starts for each measurement.
    #[command(hide = true)]
    Measure(bench::MeasureArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Tidy => tidy::run(),
        Task::Components(command) => components::run(&command),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Races(args) => races::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Measure(args) => bench::measure(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
