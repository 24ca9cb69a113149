//! `promo apply`: executes exactly the reviewed plan. Without a file it plans and asks, on a terminal only. There is no
//! `--force`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use promo_core::Digest;
use promo_core::approval::{self, Envelope, Statement, StatementError};
use promo_core::plan::{Document, Goal, Request};
use promo_engine::{ApplyOptions, EngineError, PLAN_LIFETIME, Progress, RunReport, Session, Sink, exit};
use promo_sdk::ErrorKind;
use tokio::time::Instant;

use super::approve::{Signing, apply_words};
use super::{plan, show};
use crate::cli::Global;
use crate::engine_error::{of_place, of_plan_here};
use crate::error::{CliError, Problem, command_line};
use crate::exit::{DONE, Exit};
use crate::input;
use crate::output::{progress, run_report};
use crate::project::{self, Access};
use crate::runtime;
use crate::ui::Ui;

/// How often it is looked whether what is waited for has happened.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan; without it promo plans and asks, on a terminal only
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Refuse a plan with another digest
    #[arg(long, value_name = "DIGEST", requires = "file")]
    expect_digest: Option<Digest>,
    /// A signed statement that lies elsewhere; those in the ledger and beside the plan, as
    /// `PLAN.NAME.approval.json`, are found by themselves
    #[arg(long = "approval", value_name = "FILE")]
    approvals: Vec<PathBuf>,
    /// What a failure in one environment does to others that do not depend on it
    #[arg(long, value_enum, default_value_t)]
    on_failure: OnFailure,
    /// Wait this long for gates that open by themselves or by an approval; nothing is locked meanwhile
    #[arg(long, value_name = "DURATION", value_parser = how_long, allow_hyphen_values = true)]
    wait: Option<jiff::SignedDuration>,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    lock: project::Lock,
}

/// A length of time.
fn how_long(text: &str) -> Result<jiff::SignedDuration, &'static str> {
    text.parse().map_err(|_| "expected a time with its unit, such as `5m` or `1h 30m`")
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
    let wait = Duration::try_from(arguments.wait.unwrap_or_default())
        .map_err(|_| CliError::invalid_value("--wait", &"expected no time or more", None))?;
    let (document, digest) = match &arguments.file {
        Some(path) => show::read(path)?,
        None => match ask(ui, global)? {
            Some(plan) => plan,
            None => return Ok(DONE),
        },
    };
    if let Some(expected) = arguments.expect_digest.filter(|d| *d != digest) {
        let error = CliError::from(EngineError::OtherDigest { expected, found: digest });
        let file = arguments.file.as_deref().unwrap_or(Path::new("plan.json"));
        return Err(error.go_on_with(&["promo", "show", &file.to_string_lossy()]));
    }
    let over = Instant::now() + wait;
    let progress = progress::sink(ui, progress::width(document.body.moves.iter().map(|entry| &entry.environment)));
    let mut said = None;
    let (project, report) = loop {
        // What was signed or thawed up to the end of the wait still counts: it is tried once more after it.
        let last = Instant::now() >= over;
        // Rules that changed meanwhile count as they are now.
        let mut project = match project::open(ui, global, Access::Write) {
            // The ledger is busy: like whatever else does not answer for a moment, that is looked at again.
            Err(error) if !last && error.problem().exit == exit::TRANSIENT => {
                tell(&progress, &mut said, unanswered(&error));
                pause(over)?;
                continue;
            }
            opened => opened?,
        };
        project.session = project.session.with_lease_ttl(arguments.lock.ttl()?);
        let look = Look { ui, document: &document, digest, arguments, progress: &progress, over, last };
        if let Some(report) = project.runtime.block_on(look.once(&project.session, &mut said))? {
            break (project, report);
        }
    };
    Ok(end(ui, &project.session, &report))
}

/// One try at a plan that may have to wait.
struct Look<'a> {
    ui: &'a Ui,
    document: &'a Document,
    digest: Digest,
    arguments: &'a Arguments,
    progress: &'a Sink,
    over: Instant,
    last: bool,
}

impl Look<'_> {
    /// An error about the plan: where it lies in a file, the next command names it.
    fn of_plan(&self, session: &Session, error: EngineError) -> CliError {
        match &self.arguments.file {
            Some(file) => {
                let beside = approvals(self.arguments, &self.digest).unwrap_or_default();
                of_plan_here(error, session, (self.document, &self.digest), &beside, file)
            }
            None => error.into(),
        }
    }

    /// The same where nothing was changed. What keeps a place from being looked at is mended there, and not in the plan: `status`
    /// knows nothing of it, and leads here again.
    fn before_it_began(&self, session: &Session, error: EngineError) -> CliError {
        let elsewhere = matches!(&error, EngineError::Provider { source, .. } if matches!(
            source.kind,
            ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Offline | ErrorKind::Transient | ErrorKind::Failed
        ));
        let error = self.of_plan(session, error);
        let Some(file) = self.arguments.file.as_ref().filter(|_| elsewhere) else { return error };
        let again = command_line(apply_words(session, self.document, &file.to_string_lossy()));
        error.details([format!(
            "nothing was changed, and the plan stays as it is: once that is mended, `{again}`, which says so where \
                                what is there is no longer what it was planned for"
        )])
    }

    /// The report of the run, or none once it is time to look again.
    async fn once(&self, session: &Session, said: &mut Option<Progress>) -> Result<Option<RunReport>, CliError> {
        let stop = project::stop_on_ctrl_c(self.ui, session);
        let waits = match approvals(self.arguments, &self.digest) {
            Ok(approvals) => {
                let (begun, said) = (Arc::new(AtomicBool::new(false)), Arc::clone(self.progress));
                let begins = begun.clone();
                let progress = move |progress: Progress| {
                    begins.fetch_or(matches!(progress, Progress::RunStarted { .. }), Ordering::Relaxed);
                    said(progress);
                };
                let options = ApplyOptions {
                    approvals,
                    stop_all: self.arguments.on_failure == OnFailure::StopAll,
                    key: self.arguments.signing.key(session)?,
                    progress: Arc::new(progress),
                    stop: stop.clone(),
                };
                match session.apply(self.document, self.digest, options).await {
                    Err(error) if !self.last && error.exit_code() == exit::WAITING => waits(&error),
                    Err(error @ EngineError::Stopped) => return Err(error.into()),
                    // Until a run has begun nothing was changed, and it may work at the next look.
                    Err(error)
                        if !self.last && !begun.load(Ordering::Relaxed) && error.exit_code() == exit::TRANSIENT =>
                    {
                        unanswered(&CliError::from(error))
                    }
                    Err(error) if !begun.load(Ordering::Relaxed) => return Err(self.before_it_began(session, error)),
                    Err(error) => return Err(self.of_plan(session, error)),
                    Ok(report) => return Ok(Some(report)),
                }
            }
            // Somebody may be copying it there.
            Err(error) if !self.last && said.is_some() => {
                let Problem { code, message, .. } = error.problem();
                Progress::Waiting { environment: None, code: code.to_string(), why: message.clone(), gates: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        tell(self.progress, said, waits);
        tokio::select! {
            () = stop.cancelled() => Err(EngineError::Stopped.into()),
            () = tokio::time::sleep_until(self.over.min(Instant::now() + LOOK)) => Ok(None),
        }
    }
}

/// Says what is waited for, once.
fn tell(progress: &Sink, said: &mut Option<Progress>, waits: Progress) {
    if said.as_ref() != Some(&waits) {
        progress(waits.clone());
        *said = Some(waits);
    }
}

/// What did not answer, and is looked at again.
fn unanswered(error: &CliError) -> Progress {
    let Problem { code, message, causes, .. } = error.problem();
    let why: Vec<&str> = [message].into_iter().chain(causes).map(String::as_str).collect();
    Progress::Waiting { environment: None, code: (*code).to_owned(), why: why.join(": "), gates: Vec::new() }
}

/// Until it is time to look again, where there is no session whose runtime would wait.
fn pause(over: Instant) -> Result<(), CliError> {
    runtime::wait(async {
        tokio::select! {
            _asked = project::asked_to_stop() => Err(EngineError::Stopped.into()),
            () = tokio::time::sleep_until(over.min(Instant::now() + LOOK)) => Ok(()),
        }
    })?
}

/// The statements about a plan that were named, and those beside it as they are now.
fn approvals(arguments: &Arguments, plan: &Digest) -> Result<Vec<Envelope>, CliError> {
    let mut out = Vec::new();
    for path in arguments.approvals.iter().chain(&beside(arguments.file.as_deref())) {
        let bytes = input::at_most(path, approval::MAX_BYTES).map_err(|e| CliError::file("read", path, &e))?;
        let envelope = Envelope::from_bytes(&bytes).map_err(|error| match &error {
            StatementError::Newer(newer) => CliError::newer(newer).in_file(path),
            error => {
                let message = format!("{} is no approval", path.display());
                // It never said anything that could be refused.
                CliError::new("file-unreadable", 65, message, "promo approve --help").because(error).in_file(path)
            }
        })?;
        // Beside a file that a newer plan has taken the place of, the answers to the older one are left.
        if let Ok(statement) = Statement::from_bytes(envelope.statement.as_bytes())
            && statement.plan != *plan
        {
            let message = format!("{} is about another plan, {}: expected {plan}", path.display(), statement.plan);
            let file = arguments.file.as_deref().unwrap_or(Path::new("PLAN")).to_string_lossy();
            let error = CliError::new("approval-refused", 21, message, command_line(["promo", "show", &file]));
            return Err(error
                .in_file(path)
                .details(["remove it: whoever approved that plan has not seen this one".to_owned()]));
        }
        out.push(envelope);
    }
    Ok(out)
}

/// What is waited for.
fn waits(error: &EngineError) -> Progress {
    let (environment, closed) = match error {
        EngineError::Waiting { environment, gates, .. } => {
            (Some(environment.clone()), gates.iter().filter(|gate| !gate.outcome.is_open()).cloned().collect())
        }
        _ => (None, Vec::new()),
    };
    Progress::Waiting { environment, code: error.code().to_owned(), why: error.to_string(), gates: closed }
}

/// Plans, shows the plan, and asks whether it is right. None when there is nothing to do.
fn ask(ui: &Ui, global: &Global) -> Result<Option<(Document, Digest)>, CliError> {
    if !ui.is_interactive() {
        let message = "without a plan file promo would have to ask, and there is nobody to ask";
        return Err(CliError::new("not-interactive", 64, message, "promo plan --out plan.json"));
    }
    let project = project::open(ui, global, Access::Read)?;
    let request = Request {
        goal: Goal::Promote,
        environments: BTreeSet::new(),
        release: None,
        until: None,
        drill: false,
        invoker: project.session.invoker(),
    };
    let (ledger, planned) =
        (project.session.view()?, project.runtime.block_on(project.session.plan_around(request, PLAN_LIFETIME)));
    let (document, left) = planned.map_err(|error| of_place(error, &project.session, &ledger))?;
    let bytes = document.to_bytes().map_err(|e| EngineError::PlanFile(e.into()))?;
    let digest = Digest::of(&bytes);
    let mut view = plan::drawn(&project, &document, digest, None)?.without(&left);
    if !document.body.moves.is_empty() {
        // What is next is the answer to the question below.
        view.next.clear();
    }
    show::print(ui, global, view, false)?;
    if document.body.moves.is_empty() {
        return left.into_values().next().map_or(Ok(None), |error| Err(of_place(error, &project.session, &ledger)));
    }
    // Whoever leaves the question unanswered has not agreed.
    let agreed = inquire::Confirm::new("Apply this plan?").with_default(false).prompt().unwrap_or(false);
    if !agreed {
        // As when it is stopped before it has begun: whoever goes on after it must not take it for applied.
        let error =
            CliError::from(EngineError::Stopped).said("nothing was applied: the question was not answered with yes");
        return Err(error.go_on_with(&["promo", "plan", "--out", "plan.json"]));
    }
    Ok(Some((document, digest)))
}

/// Approvals that lie beside a plan: `shop.plan.json` has `shop.plan.NAME.approval.json`, in the order of their names.
pub(super) fn beside(plan: Option<&Path>) -> Vec<PathBuf> {
    let Some((directory, stem)) = plan.and_then(|p| Some((p.parent()?, p.file_stem()?.to_str()?))) else {
        return Vec::new();
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let whole = plan.and_then(|p| p.file_name()?.to_str()).unwrap_or(stem);
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str());
        // Whoever names it after the whole name of the file means the same.
        let of = |stem: &str| name?.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".approval.json");
        let of_plan = of(whole).or_else(|| of(stem));
        // With a dot in it, it is the answer to another plan, whose name goes on.
        of_plan.is_some_and(|who| !who.contains('.'))
    };
    let mut out: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(fits).collect();
    out.sort();
    out
}

/// Prints how a run ended.
pub(crate) fn end(ui: &Ui, session: &Session, report: &RunReport) -> Exit {
    run_report::print(ui, session, report, true);
    Exit(report.exit_code())
}
