//! `promo drift [ENV…]`: how what is live differs from what was deployed. Looks at every place, and writes nothing.

use clap::Args;
use promo_core::ids::EnvironmentName;
use promo_engine::exit;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::drift::{self as drawn, Style};
use crate::output::{table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::drift::{ADDED, Drifts, Found};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only these environments
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Show differences of long texts whole
    #[arg(long)]
    full: bool,
    /// Exit 2 when something differs
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone) = (&project.session, ui::zone(global)?);
    let looked = project.runtime.block_on(session.drift(&arguments.environments))?;
    let (view, now) = (session.view()?, session.now()?);
    let drifts = Drifts::of(&looked, &Standing::of(session, &view)?).pasted_by(ui);
    print(ui, session, &drifts, &Style { now, zone: &zone, full: arguments.full, width: ui.width() }, view.size);
    // What could not be looked at is no pass.
    Ok(match drifts.failed() {
        Some(code) => Exit(code),
        None if arguments.detailed_exitcode && drifts.differs => Exit(exit::CHANGES),
        None => DONE,
    })
}

fn print(ui: &Ui, session: &promo_engine::Session, drifts: &Drifts, style: &Style<'_>, size: u64) {
    if ui.format() == Format::Json {
        return ui.answer(drifts);
    }
    let pipeline = &session.governance().pipeline.name;
    let head = format!("{pipeline} · {} · ledger at {size}", time::long(style.now, style.zone));
    let markdown = ui.format() == Format::Markdown;
    let mut out = if markdown {
        format!("**{head}**\n\n")
    } else {
        table::fold(&format!("promo drift · {head}\n\n"), ui.width())
    };
    // What differs comes first.
    let mut all: Vec<_> = drifts.environments.iter().collect();
    all.sort_by_key(|one| match one.state {
        "differs" => 0,
        "not-looked-at" => 1,
        "same" => 2,
        _ => 3,
    });
    for one in all {
        out.push_str(&if markdown { drawn::markdown(one, style) } else { drawn::environment(one, style) });
    }
    if drifts.environments.iter().any(|one| Found::of(one).added) {
        out.push_str(&table::fold(&format!("\n{ADDED}.\n"), style.width));
    }
    drawn::ways(ui, &drifts.also, &drifts.next, &mut out);
    ui.data(&out);
}
