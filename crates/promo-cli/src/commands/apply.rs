//! `promo apply FILE`: executes exactly the reviewed plan. There is no `--force`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use promo_core::Digest;
use promo_core::approval::Envelope;
use promo_engine::{ApplyOptions, EngineError, RunReport};

use super::show;
use crate::cli::Global;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{progress, run_report};
use crate::project::{self, Access};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Refuse a plan with another digest
    #[arg(long, value_name = "DIGEST")]
    expect_digest: Option<Digest>,
    /// A signed statement that lies beside the plan; those in the ledger are found by themselves
    #[arg(long = "approval", value_name = "FILE")]
    approvals: Vec<PathBuf>,
    /// What a failure in one environment does to others that do not depend on it
    #[arg(long, value_enum, default_value_t)]
    on_failure: OnFailure,
    /// Wait this long for gates that open by themselves or by an approval; nothing is locked meanwhile
    #[arg(long, value_name = "DURATION")]
    wait: Option<jiff::SignedDuration>,
}

/// What a failure does to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum OnFailure {
    /// Only what depends on it does not start
    #[default]
    StopBranch,
    /// Nothing more starts
    StopAll,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let (document, digest) = show::read(&arguments.file)?;
    if let Some(expected) = arguments.expect_digest.filter(|d| *d != digest) {
        return Err(EngineError::OtherDigest { expected, found: digest }.into());
    }
    let mut approvals = Vec::new();
    for path in &arguments.approvals {
        let bytes = std::fs::read(path).map_err(|e| CliError::file("read", path, &e))?;
        let envelope = Envelope::from_bytes(&bytes).map_err(|e| {
            CliError::new("approval-refused", 21, format!("{} is no approval", path.display()), "promo approve --help")
                .because(&e)
                .in_file(path)
        })?;
        approvals.push(envelope);
    }
    let project = project::open(ui, global, Access::Write)?;
    let ui = Arc::new(*ui);
    let wait = arguments.wait.and_then(|d| Duration::try_from(d).ok()).unwrap_or_default();
    let report = project.runtime.block_on(async {
        let options = ApplyOptions {
            approvals,
            stop_all: arguments.on_failure == OnFailure::StopAll,
            progress: progress::sink(&ui),
            stop: project::stop_on_ctrl_c(&project.session),
        };
        let mut left = wait;
        loop {
            match project.session.apply(&document, digest, options.clone()).await {
                Err(EngineError::Waiting { .. }) if !left.is_zero() && !options.stop.is_cancelled() => {
                    let pause = left.min(Duration::from_secs(10));
                    left -= pause;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = options.stop.cancelled() => {}
                    }
                }
                other => return other,
            }
        }
    })?;
    Ok(end(&ui, &report))
}

/// Prints how a run ended.
pub(crate) fn end(ui: &Ui, report: &RunReport) -> Exit {
    run_report::print(ui, report);
    Exit(report.exit_code())
}
