//! `promo verify ENV`: runs the automatic checks again on what runs there, and records their verdicts.

use clap::Args;
use promo_core::eligibility::CheckStatus;
use promo_core::ids::EnvironmentName;
use promo_engine::{AskedAgain, EngineError, exit};
use promo_ledger::{AppendError, By};

use super::status;
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{standing as words, table};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::answers::{VerdictLine, Verdicts};
use crate::view::ways;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    let (session, name) = (&project.session, &arguments.environment);
    let verdicts = match project.runtime.block_on(session.verify_again(name)) {
        Ok(verdicts) => verdicts,
        Err(error) => {
            // Whatever came is told with what it did, also where it has ended since.
            let overtaken = match &error {
                EngineError::Append(append) => match &**append {
                    AppendError::GenerationMoved { by: Some(By { run: Some(run), .. }), .. } => Some(run.clone()),
                    _ => None,
                },
                _ => None,
            };
            let mut error = CliError::from(error);
            if let Some(run) = overtaken {
                let said =
                    format!("run {run} moved {name} while its checks were asked: what they say counts for nothing");
                error = error.said(&said).go_on_with(&["promo", "show", run.as_str()]);
            }
            // A run is in the way: what ends it, or shows how far it is, comes first.
            // Where that cannot be told, the error is still the one that was met.
            let standing = session.view().ok().and_then(|view| Standing::of(session, &view).ok());
            let run = standing.as_ref().and_then(|standing| standing.run_in(name.as_str())).map(|run| run.next.clone());
            let run = run.as_deref().map(|next| next.split(' ').collect::<Vec<_>>());
            return Err(run.into_iter().fold(error, |error, words| error.go_on_with(&words)));
        }
    };
    let (all, unrecorded) = (verdicts.iter().all(|v| v.passed), verdicts.iter().any(|v| !v.recorded));
    // What the checks said is one thing, and how the environment stands with it another.
    let (view, now, zone) = (session.view()?, session.now()?, ui::zone(global)?);
    let standing = Standing::of(session, &view)?;
    let rows = status::rows(session, &view, &standing)?;
    let row = rows.iter().find(|row| row.environment == *name);
    let holds = standing.holds_of(name);
    let again = |wanted: &str| row.iter().flat_map(|row| &row.checks).any(|(_, stands)| *stands == wanted);
    // What has to be ended first stands first.
    let held = holds.first().filter(|_| holds.iter().any(|hold| hold.run.is_some()));
    let targets = view.current(name).map(|current| &current.targets);
    let unseen = targets.into_iter().flatten().find_map(|(target, _)| session.unseen(name, target));
    let put_back = || match view.current(name) {
        Some(current) => ways::look_at(session, &view, name, &current.release),
        None => command_line(["promo", "plan", name.as_str()]),
    };
    let next = match held {
        // Checks that failed on something else have not judged what is held: it is put back, and then they can.
        Some(_) if !all && unrecorded && unseen.is_none() => put_back(),
        Some(_) if !all => command_line(["promo", "why", name.as_str()]),
        Some(hold) if hold.run.is_some() && unrecorded => hold.ends.clone(),
        // What fails there leads to the plan that puts it back.
        _ if unrecorded && all => match unseen.as_ref().and_then(|why| why.shown_by()) {
            Some(look) => look.to_owned(),
            None => command_line(["promo", "drift", name.as_str()]),
        },
        // Only a plan looks whether what is there is still what was deployed.
        None if !all => put_back(),
        _ if again(status::word(CheckStatus::Flaky)) => command_line(["promo", "verify", name.as_str()]),
        Some(hold) => hold.ends.clone(),
        None if row.is_some_and(|row| !row.verified) => command_line(["promo", "why", name.as_str()]),
        None => "promo status".to_owned(),
    };
    if ui.format() == Format::Json {
        let line = |verdict: &AskedAgain| VerdictLine {
            check: verdict.check.clone(),
            passed: verdict.passed,
            detail: verdict.detail.clone(),
            unrecorded: !verdict.recorded,
        };
        ui.answer(&Verdicts {
            verdicts: verdicts.iter().map(line).collect(),
            checks: row.map(|row| row.checks.clone()).unwrap_or_default(),
            holds: holds.to_vec(),
            next: ui.to_paste(&next),
        });
    } else {
        let mut out = String::new();
        for AskedAgain { check, passed, recorded, detail } in &verdicts {
            let sign = if *passed { label(Label::Good, "✓") } else { label(Label::Bad, "✗") };
            let counts = if *recorded { "" } else { " (not recorded)" };
            out.push_str(&format!("{sign} {check}: {}{counts}\n", escape::line(detail)));
        }
        if unrecorded {
            let sign = label(Label::Waiting, "!");
            let what = match &unseen {
                Some(why) => {
                    let why = escape::line(&why.to_string());
                    format!(
                        "what is there could not be seen ({why}), and what passes there is no verdict on the release"
                    )
                }
                None => {
                    "what is there is not what was deployed: what is said of it is no verdict on the release".to_owned()
                }
            };
            out.push_str(&format!("{sign} {what}\n"));
        }
        for (check, stands) in row.iter().flat_map(|row| &row.checks) {
            // A failure stands above, with what was seen.
            if !matches!(*stands, "passed" | "failed") {
                out.push_str(&format!("{} {check} {stands}\n", label(Label::Waiting, "…")));
            }
        }
        for hold in holds {
            out.push_str(&format!(
                "{name} stays as it was: {}\n",
                words::hold_in_short(hold, name.as_str(), now, &zone)
            ));
        }
        ui.data(&table::fold(&out, ui.width()));
        ui.data(&ui.last_line(&ui.to_paste(&next)));
    }
    Ok(if all && !unrecorded { DONE } else { Exit(exit::DENIED) })
}
