//! `promo show FILE|RUN`: a saved plan or a run, rendered again. A plan without forecasts: those are no part of it (S8.2).

use std::path::{Path, PathBuf};

use clap::Args;
use promo_core::Digest;
use promo_core::ids::RunId;
use promo_core::plan::{Document, KIND, MAX_BYTES, PlanFileError};

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::input;
use crate::output::plan_text::Options;
use crate::output::table::fold;
use crate::output::{plan_html, plan_markdown, plan_text, run_page};
use crate::project::{self, Access};
use crate::save::Kind;
use crate::ui::{self, Ui};
use crate::view::{Forecasts, PlanView, RunView};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A saved plan, or the id of a run
    #[arg(value_name = "FILE|RUN")]
    what: PathBuf,
    /// Of a plan: show whole differences and routine gates too
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let path = &arguments.what;
    if let Some(id) = run_id(path) {
        return show_run(ui, global, &id);
    }
    let (document, digest) = read(path)?;
    let file = path.to_string_lossy();
    let view = PlanView::new(&document, digest, Some(&file), &Forecasts::new());
    print(ui, global, view, arguments.full)?;
    Ok(DONE)
}

/// What looks like the id of a run and is no file.
fn run_id(path: &Path) -> Option<RunId> {
    let text = path.to_str().filter(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    if path.exists() { None } else { text.parse().ok() }
}

fn show_run(ui: &Ui, global: &Global, id: &RunId) -> Result<Exit, CliError> {
    let ledger = project::open(ui, global, Access::Read)?.session.view()?;
    let Some(run) = ledger.runs.get(id) else {
        let known = ledger.runs.keys().rev().take(5).map(ToString::to_string);
        let message = format!("there is no run `{id}`, and no such file");
        return Err(CliError::new("nothing-selected", 65, message, "promo runs").details(known));
    };
    let mut view = RunView::new(&ledger, id, run);
    view.next = ui.to_paste(&view.next);
    let options = Options { zone: ui::zone(global)?, full: false, width: ui.width() };
    match ui.format() {
        Format::Json => ui.json(&view),
        Format::Text => ui.data(&fold(&run_page::text(&view, &options), ui.width())),
        Format::Markdown => ui.data(&run_page::page(&view, &options)),
        Format::Html => {
            let why = "a run is drawn as text, as Markdown and as JSON";
            return Err(CliError::invalid_value("--format html", &why, None));
        }
    }
    Ok(DONE)
}

/// Reads a saved plan; a file that is larger than any plan is not read (S13.2).
pub(crate) fn read(path: &Path) -> Result<(Document, Digest), CliError> {
    let read = |error: &std::io::Error| {
        CliError::file("read", path, error).go_on_with(&["promo", "plan", "--out", &path.to_string_lossy()])
    };
    let bytes = input::at_most(path, MAX_BYTES).map_err(|e| read(&e))?;
    Document::from_bytes(&bytes).map_err(|error| match error {
        PlanFileError::NotCanonical(_) if !claims_to_be_a_plan(&bytes) => {
            CliError::plan_file(path, &PlanFileError::Kind("file of another kind".into()))
        }
        error => CliError::plan_file(path, &error),
    })
}

/// A saved plan as something to write.
pub(crate) const PLAN: Kind = Kind { what: "a saved plan", bytes: MAX_BYTES, is: claims_to_be_a_plan };

/// Whether a file that is no plan was made from one: it says so, or begins like one and was cut off. Such a file is
/// damaged; any other is only the wrong one.
fn claims_to_be_a_plan(bytes: &[u8]) -> bool {
    let kind = |value: &serde_json::Value| value.get("kind").and_then(serde_json::Value::as_str) == Some(KIND);
    bytes.starts_with(b"{\"body\":{") || serde_json::from_slice(bytes).is_ok_and(|value| kind(&value))
}

/// Prints a plan in the format that was asked for.
pub(crate) fn print(ui: &Ui, global: &Global, mut view: PlanView, full: bool) -> Result<(), CliError> {
    for next in &mut view.next {
        next.command = ui.to_paste(&next.command);
    }
    let view = &view;
    let options = Options { zone: ui::zone(global)?, full, width: ui.width() };
    match ui.format() {
        Format::Json => ui.json(view),
        Format::Text => ui.data(&plan_text::render(view, &options)),
        Format::Markdown => ui.data(&plan_markdown::render(view, &options)),
        Format::Html => ui.data(&plan_html::render(view, &options)),
    }
    Ok(())
}
