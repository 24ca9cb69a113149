//! `promo plan`: which release would move where, why, and what holds back the rest. Takes no lock and writes no record.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_core::gate::{self, Gate, Outcome, Reason};
use promo_core::ids::EnvironmentName;
use promo_core::plan::{Document, Goal, Next, Request, Stay, StayReason};
use promo_engine::{LeftOut, PLAN_LIFETIME, exit};

use super::why::{About, uncounted};
use super::{release, show};
use crate::cli::Global;
use crate::engine_error::{of_planning, unseen};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::project::{self, Access, Project};
use crate::ui::Ui;
use crate::view::{Forecasts, PlanView, next_of, ways};
use crate::{save, select};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only these environments
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Only this release: its id, number or alias
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// All the way to this environment, with gates that are known only on the way
    #[arg(long, value_name = "ENV", conflicts_with = "environments")]
    until: Option<EnvironmentName>,
    /// Save the plan here; it is what `promo apply` takes
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long it can be applied unless it is requested
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    expires: String,
    /// Show whole differences and routine gates too
    #[arg(long)]
    full: bool,
    /// Plan as the timer would: only what starts by itself
    #[arg(long)]
    automatic: bool,
    /// Forecast what would move if this checkout were merged, and what a release made from it would carry along; it
    /// cannot be saved, requested or applied
    #[arg(long, conflicts_with = "out")]
    if_merged: bool,
    /// Exit 2 when something can be applied, 20 when something only waits
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    arguments.out.as_deref().map_or(Ok(()), |path| show::PLAN.may_be_at(path))?;
    let project = project::open(ui, global, Access::Read)?;
    let view = project.session.view()?;
    let release = arguments.release.as_deref().map(|text| select::release(&view, text)).transpose()?;
    let invoker =
        if arguments.automatic { promo_core::windows::Invoker::Automation } else { project.session.invoker() };
    let request = Request {
        goal: Goal::Promote,
        environments: arguments.environments.iter().cloned().collect(),
        release,
        until: arguments.until.clone(),
        drill: false,
        invoker,
    };
    let lifetime = lifetime(&arguments.expires)?;
    let planned = project.runtime.block_on(project.session.plan_around(request, lifetime));
    let (document, left) = planned.map_err(|error| of_planning(error, &project.session, &view))?;
    let out = arguments.out.as_deref();
    finish(ui, global, &project, (&document, &left), out, arguments.full, arguments.if_merged)?;
    release::warn_where_nobody_can_approve(ui, &project, &document)?;
    let next = document.body.stays.iter().filter_map(|s| Some(&s.next.as_ref()?.release.id));
    let releases: Vec<_> = document.body.moves.iter().map(|m| &m.to.id).chain(next).collect();
    let concerns = |about: &About<'_>| match about {
        About::Release(release) => releases.contains(release),
        About::Evidence(release) => releases.contains(release) && !project.session.governance().gates.is_empty(),
        About::Environments(names) => document.body.moves.iter().any(|m| names.contains(&m.environment)),
    };
    for line in uncounted(&view, project.session.now()?, &concerns) {
        ui.talk(&format!("{}: {line}", label(Label::Warning, "warning")));
    }
    // What could not be looked at is no plan for it: it comes last, with what leads on from it.
    let mut left = left.into_iter();
    if let Some((_, error)) = left.next() {
        return Err(
            of_planning(error, &project.session, &view).details(left.map(|(name, error)| unseen(&name, &error)))
        );
    }
    if !arguments.detailed_exitcode {
        return Ok(DONE);
    }
    // What a run is moving is not there yet, whatever keeps it from being moved once more.
    let moved = |next: &Next| gate::moved_by(&next.gates, &next.release.id).is_some();
    let waits = |stay: &Stay| stay.why == StayReason::HeldBack || next_of(stay).is_some_and(moved);
    let code = if document.body.moves.iter().any(|m| m.outcome().is_open() || m.outcome() == Outcome::Deferred) {
        exit::CHANGES
    } else if document.body.moves.is_empty() && !document.body.stays.iter().any(waits) {
        exit::DONE
    } else {
        exit::WAITING
    };
    Ok(Exit(code))
}

/// The words of the command that plans the same again, into the same file.
pub(crate) fn again(request: &Request, file: &str) -> Vec<String> {
    let (verb, release) = match request.goal {
        Goal::Promote => ("plan", "--release"),
        Goal::Rollback => ("rollback", "--to"),
    };
    let mut words = vec!["promo".to_owned(), verb.to_owned()];
    // What of a way could not be looked at then is looked at again.
    let named = request.environments.iter().filter(|_| request.until.is_none());
    words.extend(named.map(ToString::to_string));
    words.extend(request.release.iter().flat_map(|id| [release.to_owned(), id.to_string()]));
    words.extend(request.drill.then(|| "--drill".to_owned()));
    words.extend(request.until.iter().flat_map(|until| ["--until".to_owned(), until.to_string()]));
    words.extend(["--out".to_owned(), file.to_owned()]);
    words
}

/// Saves and prints a plan.
pub(crate) fn finish(
    ui: &Ui,
    global: &Global,
    project: &Project,
    (document, left): (&Document, &LeftOut),
    out: Option<&Path>,
    full: bool,
    if_merged: bool,
) -> Result<Digest, CliError> {
    let bytes = document
        .to_bytes()
        .map_err(|e| CliError::new("unexpected", 1, "the plan has no canonical form", "promo check").because(&e))?;
    let digest = Digest::of(&bytes);
    if let Some(path) = out {
        show::PLAN.may_be_at(path)?;
        save::private(path, &bytes)?;
    }
    // What is shown may be as large as what was saved.
    drop(bytes);
    let mut view = drawn(project, document, digest, out)?.without(left);
    if if_merged {
        view = view.forecast_of_merge(project.session.shared_changes()?);
    } else if document.body.request.goal == Goal::Promote {
        let session = &project.session;
        view = view.with_unreleased(session.unreleased()?, &ways::new_release(session));
    }
    show::print(ui, global, view, full)?;
    Ok(digest)
}

/// A plan as it is shown beside its ledger.
pub(crate) fn drawn(
    project: &Project,
    document: &Document,
    digest: Digest,
    out: Option<&Path>,
) -> Result<PlanView, CliError> {
    let forecasts = forecasts(project, document)?;
    let file = out.map(|p| p.to_string_lossy().into_owned());
    let (session, ledger) = (&project.session, project.session.view()?);
    let view = PlanView::new(document, digest, file.as_deref(), &forecasts).with_tags(document);
    view.with_standing(session, &ledger, document, session.now()?, None)
}

/// Gates with the instants at which they lift: shown, and no part of the plan (S8.2).
pub(crate) fn forecasts(project: &Project, document: &Document) -> Result<Forecasts, CliError> {
    let invoker = document.body.request.invoker;
    // What comes after this plan has no instant yet.
    let waits = |gate: &Gate| !gate.outcome.is_open() && !matches!(gate.reason, Reason::AfterThisPlan { .. });
    let waiting = document.body.moves.iter().filter(|m| m.gates.iter().any(waits)).map(|m| (&m.environment, &m.to.id));
    let next = document.body.stays.iter().filter_map(|s| Some((&s.environment, &s.next.as_ref()?.release.id)));
    let asked = (invoker, document.body.request.by_name());
    let gates = project.session.gates_of(waiting.clone().chain(next.clone()), asked)?;
    Ok(waiting.chain(next).map(|(name, _)| name.clone()).zip(gates).collect())
}

fn lifetime(text: &str) -> Result<SignedDuration, CliError> {
    let wrong =
        |why: &dyn std::fmt::Display| CliError::invalid_value("--expires", why, Some("for example `24h`".into()));
    let span: jiff::Span = text.parse().map_err(|e| wrong(&e))?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(relative).map_err(|e| wrong(&e))?;
    if duration <= SignedDuration::ZERO || Timestamp::UNIX_EPOCH.checked_add(duration).is_err() {
        return Err(wrong(&"it has to be longer than nothing"));
    }
    if duration > PLAN_LIFETIME {
        return Err(wrong(&"a plan lives for 24 h at most; one that is requested lives as long as its request"));
    }
    Ok(duration)
}
