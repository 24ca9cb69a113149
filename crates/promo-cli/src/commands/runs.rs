//! `promo runs`: what was applied, and what is unfinished.

use clap::Args;
use promo_core::ids::RunId;
use promo_core::ledger::view::Run;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::labels::label;
use crate::output::standing::applied_by;
use crate::output::{endings, table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::answers::{RunLine, Runs};
use crate::view::run::signers;
use crate::view::standing::OpenRunView;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only what has not ended
    #[arg(long)]
    unfinished: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let view = project.session.view()?;
    let zone = ui::zone(global)?;
    let standing = Standing::of(&project.session, &view)?;
    let open = |id: &RunId| standing.runs.iter().find(|open| open.run == *id);
    let runs = || view.runs.iter().rev().filter(|(_, run)| !arguments.unfinished || run.finished.is_none());
    if ui.format() == Format::Json {
        let line = |(id, run): (&RunId, &Run)| RunLine {
            run: id.clone(),
            plan: run.plan,
            environments: run.environments.clone(),
            applier: run.applier.clone(),
            signed_by: signers(&view, id, None),
            started: run.started,
            finished: run.finished.map(|f| f.0),
            outcome: run.finished.map(|f| f.1),
            interrupted: run.interrupted,
            state: open(id).map(|open| open.state),
        };
        ui.answer(&Runs { runs: runs().map(line).collect() });
        return Ok(DONE);
    }
    let mut lines = Vec::new();
    for (id, run) in runs() {
        let moved: Vec<String> = run.environments.iter().map(|(name, release)| format!("{name} {release}")).collect();
        let (state, style) = match run.finished {
            Some((_, outcome)) => endings::run(outcome, endings::is_drill(&view, id, run)),
            None => endings::open(open(id).map(OpenRunView::stands)),
        };
        let started = time::short(run.started, &zone);
        // What was moved may be long: it stands last, where it can go on below itself.
        lines.push(vec![
            id.to_string(),
            started,
            label(style, state),
            format!("by {}", applied_by(&run.applier, &signers(&view, id, None))),
            moved.join(", "),
        ]);
    }
    ui.data(&table::columns(&lines, "", ui.width()));
    // A dead run is gone on with; one that is alive is only looked at.
    match standing.runs.iter().rev().find(|open| !open.alive()).or(standing.runs.last()) {
        Some(open) => ui.data(&ui.next(&open.next)),
        None if view.runs.is_empty() => ui.data(&format!("Nothing was applied yet.\n{}", ui.next("promo plan"))),
        None if arguments.unfinished => {
            ui.data(&format!("No run is unfinished: every one of them has ended.\n{}", ui.next("promo status")));
        }
        None => {}
    }
    Ok(DONE)
}
