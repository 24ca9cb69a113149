//! `promo rollback ENV`: a plan that takes an environment back to a release known good there (S10), or tries that.

use std::path::PathBuf;

use clap::Args;
use promo_core::ids::EnvironmentName;
use promo_core::plan::{Goal, Request, StayReason};
use promo_engine::{LeftOut, PLAN_LIFETIME, exit};

use crate::cli::Global;
use crate::engine_error::of_planning;
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
use crate::select;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// To this release instead of the newest good one: its id, number or alias
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Only try it: go back, see that it works and how long it takes, and bring back what runs now; not in production
    #[arg(long)]
    drill: bool,
    /// Save the plan here; it is what `promo apply` takes
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show whole differences and routine gates too
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    arguments.out.as_deref().map_or(Ok(()), |path| super::show::PLAN.may_be_at(path))?;
    let project = project::open(ui, global, Access::Read)?;
    let view = project.session.view()?;
    let release = arguments.to.as_deref().map(|text| select::release(&view, text)).transpose()?;
    let request = Request {
        goal: Goal::Rollback,
        environments: [arguments.environment.clone()].into(),
        release,
        until: None,
        drill: arguments.drill,
        invoker: project.session.invoker(),
    };
    let planned = project.runtime.block_on(project.session.plan(request, PLAN_LIFETIME));
    let document = planned.map_err(|error| of_planning(error, &project.session, &view))?;
    super::plan::finish(
        ui,
        global,
        &project,
        (&document, &LeftOut::new()),
        arguments.out.as_deref(),
        arguments.full,
        false,
    )?;
    // One environment was named, for one thing: where it cannot be had, whatever was to be done with the plan must not go on.
    let stays = |why: StayReason| document.body.stays.iter().any(|stay| stay.why == why);
    Ok(match document.body.moves.is_empty() {
        false => DONE,
        true if stays(StayReason::HeldBack) => Exit(exit::WAITING),
        true => Exit(exit::DENIED),
    })
}
