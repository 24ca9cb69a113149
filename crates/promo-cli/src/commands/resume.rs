//! `promo resume RUN`: goes on with a run that was interrupted or whose process died, from any machine.

use clap::Args;
use promo_core::ids::RunId;
use promo_engine::ApplyOptions;

use super::approve::Signing;
use crate::cli::Global;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{progress, time};
use crate::project::{self, Access};
use crate::select;
use crate::ui::{self, Ui};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    lock: project::Lock,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut project = project::open(ui, global, Access::Write)?;
    project.session = project.session.with_lease_ttl(arguments.lock.ttl()?);
    project.session.with_view(|view| select::run(view, &arguments.run))??;
    let before = project.session.with_view(|view| view.runs.get(&arguments.run).and_then(|run| run.finished))?;
    if let Some((at, _)) = before {
        let at = time::long(at, &ui::zone(global)?);
        ui.talk(&format!("run {} had ended already, {at}: nothing was done, and this is how it ended", arguments.run));
    }
    let key = arguments.signing.key(&project.session)?;
    let report = project.runtime.block_on(async {
        let options = ApplyOptions {
            approvals: Vec::new(),
            stop_all: false,
            key,
            progress: progress::sink(ui, progress::width(project.session.governance().pipeline.environments.keys())),
            stop: project::stop_on_ctrl_c(ui, &project.session),
        };
        project.session.resume(&arguments.run, options).await
    })?;
    Ok(super::apply::end(ui, &project.session, &report))
}
