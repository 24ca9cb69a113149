//! `promo show FILE|DIGEST|RUN`: a plan or a run, rendered again. A plan without forecasts: those are no part of it (S8.2).

use std::path::{Path, PathBuf};

use clap::Args;
use promo_core::Digest;
use promo_core::ids::RunId;
use promo_core::plan::{Document, KIND, MAX_BYTES, PlanFileError};
use promo_engine::EngineError;

use crate::cli::{Format, Global};
use crate::engine_error::of_plan;
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::input;
use crate::output::plan_text::Options;
use crate::output::table::fold;
use crate::output::{plan_html, plan_markdown, plan_text, run_page};
use crate::project::{self, Access};
use crate::save::{self, Kind};
use crate::ui::{self, Ui};
use crate::view::{AuthorityView, Forecasts, PlanView, RunView, Standing};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A saved plan, the digest of a plan that was requested or applied, or the id of a run
    #[arg(value_name = "FILE|DIGEST|RUN")]
    what: PathBuf,
    /// Of a plan by its digest: save it here
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of a plan: show whole differences and routine gates too
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let path = &arguments.what;
    if let Some(id) = run_id(path) {
        return show_run(ui, global, &id);
    }
    if let Some(digest) = digest(path) {
        return show_kept(ui, global, arguments, &digest);
    }
    if arguments.out.is_some() {
        let why = "it saves a plan that the ledger keeps, which is named by its digest";
        return Err(CliError::invalid_value("--out", &why, None));
    }
    let (document, digest) = read(path)?;
    let file = path.to_string_lossy();
    let view = PlanView::new(&document, digest, Some(&file), &Forecasts::new()).with_tags(&document);
    print(ui, global, beside_ledger(ui, global, view, &document, (&digest, path))?, arguments.full)?;
    Ok(DONE)
}

/// That it was not found out whether somebody edited a plan, and why.
pub(super) fn cannot_be_told(why: &CliError) -> String {
    format!("Whether somebody edited the plan cannot be told here: {}", escape::line(&why.problem().message))
}

/// A plan with what the ledger says of it, where its ledger can be read here. A plan can be read anywhere: that there is no
/// pipeline, or another one, is said and is no error. One that somebody edited is not drawn (S8.3).
fn beside_ledger(
    ui: &Ui,
    global: &Global,
    view: PlanView,
    document: &Document,
    (digest, path): (&Digest, &Path),
) -> Result<PlanView, CliError> {
    let unknown = |error: &CliError| escape::line(&error.problem().message);
    let looked_up = project::open(ui, global, Access::Read).and_then(|project| {
        let session = &project.session;
        if session.governance().pipeline.name != document.body.pipeline
            || session.store().origin() != document.body.ledger.origin
        {
            return Ok(None);
        }
        match project.runtime.block_on(session.genuine(document, digest)) {
            Ok(()) => {}
            Err(edited @ (EngineError::Edited { .. } | EngineError::NotAnExtension { .. })) => {
                return Ok(Some(Err(of_plan(edited, document, path))));
            }
            Err(error) => {
                ui.talk(&cannot_be_told(&error.into()));
            }
        }
        let ledger = session.view()?;
        let stale = session.stale(document)?;
        let view = view.clone().with_standing(session, &ledger, document, session.now()?, stale)?;
        Ok(Some(Ok(view)))
    });
    match looked_up {
        Ok(Some(judged)) => return judged,
        Ok(None) => ui.talk(
            "This is not where the plan was made: whether somebody edited it, and what became of it, is not known here.",
        ),
        Err(error) => ui.talk(&format!(
            "Whether somebody edited the plan, and what became of it, is not known here: {}",
            unknown(&error)
        )),
    }
    promo_engine::consistent(&document.body).map_err(|error| of_plan(error, document, path))?;
    Ok(view)
}

/// What looks like the digest of a plan and is no file.
fn digest(path: &Path) -> Option<Digest> {
    let text = path.to_str().filter(|text| text.starts_with("sha256:"))?;
    if path.exists() { None } else { text.parse().ok() }
}

/// A plan that the ledger keeps: one that was requested or applied.
fn show_kept(ui: &Ui, global: &Global, arguments: &Arguments, digest: &Digest) -> Result<Exit, CliError> {
    arguments.out.as_deref().map_or(Ok(()), |path| PLAN.may_be_at(path))?;
    let project = project::open(ui, global, Access::Read)?;
    let session = &project.session;
    let ledger = session.view()?;
    let known = ledger.requests.contains_key(digest) || ledger.consumed.contains_key(digest);
    if !known {
        let message = format!("no plan {digest} was requested or applied");
        return Err(CliError::new("nothing-selected", 65, message, "promo status"));
    }
    let bytes = session.kept(digest, "a plan that was requested or applied")?;
    let (document, _) = Document::from_bytes(&bytes).map_err(|error| CliError::plan_file(&arguments.what, &error))?;
    if let Some(path) = &arguments.out {
        save::private(path, &bytes)?;
    }
    let file = arguments.out.as_ref().map(|path| path.to_string_lossy().into_owned());
    let view = PlanView::new(&document, *digest, file.as_deref(), &Forecasts::new()).with_tags(&document);
    let view = view.with_standing(session, &ledger, &document, session.now()?, session.stale(&document)?)?;
    print(ui, global, view, arguments.full)?;
    Ok(DONE)
}

/// What looks like the id of a run and is no file.
fn run_id(path: &Path) -> Option<RunId> {
    let text = path.to_str().filter(|text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    if path.exists() { None } else { text.parse().ok() }
}

fn show_run(ui: &Ui, global: &Global, id: &RunId) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let ledger = project.session.view()?;
    let Some(run) = ledger.runs.get(id) else {
        let known = ledger.runs.keys().rev().take(5).map(ToString::to_string);
        let message = format!("there is no run `{id}`, and no such file");
        return Err(CliError::new("nothing-selected", 65, message, "promo runs").details(known));
    };
    let standing = Standing::of(&project.session, &ledger)?;
    let open = standing.runs.into_iter().find(|open| open.run == *id);
    let view = RunView::new(&ledger, id, run).open(open, project.session.now()?);
    let session = &project.session;
    let view = view.unspoken(|name, release| !session.unspoken(&ledger, name, release).is_empty());
    let view = view.configured(|name| {
        let known = ledger.environment(name)?;
        let promotion = known.history.iter().chain(&known.active).find(|promotion| promotion.run == *id)?;
        promo_engine::other_configuration(&ledger, name, promotion)
    });
    let mut view = view.seen(|seq| session.detail_seen(seq))?;
    view.authority = AuthorityView::of(&project.session, &ledger, [run.plan])?.pop();
    view.next = if view.next.is_empty() { String::new() } else { ui.to_paste(&view.next) };
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
    let shown = path.to_string_lossy();
    let read = |error: &std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        if missing && shown.len() >= 4 && shown.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = format!("there is no file, no run and no plan that is called `{shown}`");
            return CliError::new("nothing-selected", 65, message, "promo runs")
                .expected("a file, the 32 digits of a run, or the whole digest of a plan: sha256:…");
        }
        let out = if missing { &shown } else { "plan.json" };
        CliError::file("read", path, error).go_on_with(&["promo", "plan", "--out", out])
    };
    let bytes = input::at_most(path, MAX_BYTES).map_err(|e| read(&e))?;
    if bytes.is_empty() {
        return Err(CliError::no_plan(path, "the file is empty"));
    }
    Document::from_bytes(&bytes).map_err(|error| match error {
        PlanFileError::NotCanonical(_) if !claims_to_be_a_plan(&bytes) => {
            CliError::no_plan(path, "it is something else")
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
