//! `promo advance`: one pass of automatic promotion; what a timer runs.

use clap::Args;
use promo_engine::ApplyOptions;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::{progress, run_report};
use crate::project::{self, Access};
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lock: project::Lock,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut project = project::open(ui, global, Access::Write)?;
    project.session = project.session.with_lease_ttl(arguments.lock.ttl()?);
    let width = progress::width(project.session.governance().pipeline.environments.keys());
    let advanced = project.runtime.block_on(async {
        let options = ApplyOptions {
            approvals: Vec::new(),
            stop_all: false,
            // What has an approval rule waits for somebody who asks for it by a plan of its own.
            key: None,
            progress: progress::sink(ui, width),
            stop: project::stop_on_ctrl_c(&project.session),
        };
        project.session.advance(options).await
    });
    let (reports, end) = match advanced {
        Ok((reports, document)) => (reports, Ok(document)),
        Err(unfinished) => (unfinished.reports, Err(unfinished.error)),
    };
    // What was done is told also where what came after it failed.
    for report in &reports {
        run_report::draw(ui, report, true);
    }
    let document = end?;
    if ui.format() != Format::Json {
        for stay in &document.body.stays {
            let Some(next) = &stay.next else { continue };
            let gates = next.gates.iter().filter(|g| !g.outcome.is_open());
            let why: Vec<String> = gates.map(|g| g.reason.to_string()).collect();
            let why = if why.is_empty() { "starts only when a person asks for it".into() } else { why.join("; ") };
            ui.talk(&format!("{:<width$} {} stays out: {why}", stay.environment, next.release));
        }
        if reports.is_empty() {
            ui.data("Nothing can be promoted by itself now.\n");
        }
        let next = reports.last().map_or_else(|| "promo status".to_owned(), run_report::next);
        ui.data(&ui.next(&next));
    }
    Ok(reports.last().map_or(DONE, |report| Exit(report.exit_code())))
}
