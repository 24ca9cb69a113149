//! `promo history [ENV]`: every promotion, who asked for it and let it in, and what was stopped and lifted, newest first.

use std::borrow::Cow;

use clap::Args;
use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::ledger::view::{Promotion, Stop, StopAct};
use promo_core::planner;
use promo_core::state::State;
use promo_engine::Session;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::standing::quoted;
use crate::output::{endings, standing as words, table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::answers::{History, PastPromotion, PastStop};
use crate::view::run::signers;
use crate::view::standing::OpenRunView;
use crate::view::{AuthorityView, DrillView, Standing};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only here
    #[arg(value_name = "ENV")]
    environment: Option<EnvironmentName>,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (view, zone) = (project.session.view()?, ui::zone(global)?);
    // One that the pipeline no longer has keeps its history.
    let now_unknown = arguments.environment.iter().filter(|only| !view.environments.contains_key(*only));
    project.session.known_environments(now_unknown)?;
    let mut rows: Vec<_> = view
        .environments
        .iter()
        .filter(|(name, _)| arguments.environment.as_ref().is_none_or(|only| only == *name))
        .flat_map(|(name, environment)| {
            environment.history.iter().chain(&environment.active).map(move |promotion| (name, promotion))
        })
        .collect();
    rows.sort_by_key(|(_, promotion)| std::cmp::Reverse(promotion.started));
    let mut stops = Vec::new();
    for stop in view.stops.iter().rev() {
        let told = past_stop(&project.session, stop)?;
        // What stops everything stops this one, and what is upstream stops the release here too.
        let here = |only: &EnvironmentName| {
            let graph = &project.session.governance().graph;
            let reaches =
                |scope: &EnvironmentName| scope == only || (told.release.is_some() && graph.reaches(scope, only));
            told.environments.is_empty() || told.environments.iter().any(reaches)
        };
        if arguments.environment.as_ref().is_none_or(here) {
            stops.push(told);
        }
    }
    let mut plans: Vec<Digest> = view.requests.keys().chain(view.consumed.keys()).copied().collect();
    plans.extend(view.approvals.iter().filter_map(|entry| entry.plan));
    plans.sort_unstable();
    plans.dedup();
    let mut authorities = AuthorityView::of(&project.session, &view, plans)?;
    authorities.retain(|told| arguments.environment.as_ref().is_none_or(|only| told.environments.contains(only)));
    authorities.sort_by_key(|told| std::cmp::Reverse(told.latest()));
    if ui.format() == Format::Json {
        let line = |(name, p): (&EnvironmentName, &Promotion)| {
            Ok(PastPromotion {
                environment: name.clone(),
                run: p.run.clone(),
                from: p.from.clone(),
                to: p.to.clone(),
                movement: p.movement,
                configuration: promo_engine::other_configuration(&view, name, p),
                drill: DrillView::of(&project.session, &view, p)?,
                started: p.started,
                finished: p.finished.map(|f| f.0),
                outcome: p.finished.map(|f| f.1),
                by: p.by.name.clone(),
                signed_by: signers(&view, &p.run, Some(name)),
                plan: p.plan,
                why: why_failed(&project.session, p)?,
            })
        };
        let promotions = rows.into_iter().map(line).collect::<Result<_, CliError>>()?;
        ui.answer(&History { promotions, stops, authorities });
        return Ok(DONE);
    }
    if rows.is_empty() && stops.is_empty() && authorities.is_empty() {
        let place = arguments.environment.as_ref().map(|only| format!(" to {only}")).unwrap_or_default();
        ui.data(&format!("Nothing was promoted{place} yet.\n{}", ui.next("promo plan")));
    }
    let standing = Standing::of(&project.session, &view)?;
    let mut lines = Vec::new();
    for (name, promotion) in rows {
        let from = match &promotion.from {
            Some(from) => planner::reference(&view, from).to_string(),
            None if takes_over(&view, name, promotion) => "what was there".to_owned(),
            None => "nothing".to_owned(),
        };
        let to = planner::reference(&view, &promotion.to);
        let drill = DrillView::of(&project.session, &view, promotion)?;
        let way = match &promotion.drill {
            Some(drill) => format!("{to} → {} → {to}", planner::reference(&view, &drill.back)),
            None => {
                let configuration = promo_engine::other_configuration(&view, name, promotion);
                format!("{from} → {to}{}", kind(promotion, configuration.as_deref()))
            }
        };
        let (ended, style) = match promotion.finished {
            Some((_, outcome)) => endings::of(&project.session, &view, name, promotion, outcome),
            None => endings::open(standing.runs.iter().find(|open| open.run == promotion.run).map(OpenRunView::stands)),
        };
        // What was ended since holds nothing any more.
        let held = standing.holds_of(name).iter().any(|hold| hold.run.as_ref() == Some(&promotion.run));
        let ended = if held { Cow::from(ended) } else { endings::over(ended.into()) };
        let ended = label(style, &ended);
        let signed_by = signers(&view, &promotion.run, Some(name));
        let mut by = format!("by {}", words::applied_by(&promotion.by.name, &signed_by));
        let told = authorities.iter().find(|told| promotion.plan == Some(told.plan));
        if let Some(told) = told {
            let let_in = told.let_in();
            let approved = if let_in.is_empty() { "nobody".to_owned() } else { let_in.join(" and ") };
            by.push_str(&format!(", {}, approved by {approved}", plan(&told.plan)));
        }
        let took = drill.as_ref().and_then(DrillView::took).map(|took| format!("; back in {took}")).unwrap_or_default();
        let why = why_failed(&project.session, promotion)?.or(drill.and_then(|drill| drill.why));
        let why = why.map(|why| words::reason(&why, &promotion.run));
        by.extend(why.map(|why| format!(": “{why}”")));
        lines.push((promotion.started, vec![name.to_string(), way, format!("{ended}{took}"), by]));
    }
    lines.extend(stops.iter().map(|stop| (stop.at, stopped(stop))));
    lines.extend(authorities.iter().flat_map(said));
    lines.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let lines: Vec<Vec<String>> =
        lines.into_iter().map(|(at, cells)| std::iter::once(time::short(at, &zone)).chain(cells).collect()).collect();
    if ui.format() == Format::Markdown && !lines.is_empty() {
        let cell = |cell: &String| escape::markdown(&anstream::adapter::strip_str(cell).to_string());
        let row = |cells: &Vec<String>| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
        let rows: String = lines.iter().map(row).collect();
        ui.data(&format!("| when | where | what | how | who |\n|---|---|---|---|---|\n{rows}"));
    } else {
        ui.data(&table::columns(&lines, "", ui.width()));
    }
    if let Some(dead) = standing.runs.iter().find(|open| !open.alive()) {
        ui.data(&ui.next(&dead.next));
    }
    Ok(DONE)
}

/// Whether a first deployment found something there that promo had not deployed: an adoption moves nothing of it.
fn takes_over(view: &View, name: &EnvironmentName, promotion: &Promotion) -> bool {
    let steps = view.runs.get(&promotion.run).into_iter().flat_map(|run| &run.steps);
    let mut mine = steps.filter(|(id, _)| id.starts_with(&format!("{name}/deploy/")));
    mine.any(|(_, step)| matches!(step.expected, State::Present(_)))
}

/// What kind of move it was, where its two ends do not say it: what went back is told from what went up, and another configuration
/// from the same once more.
fn kind(promotion: &Promotion, configuration: Option<&[String]>) -> String {
    match promotion.movement {
        Movement::Rollback => " (back)".to_owned(),
        Movement::Reconfiguration => {
            format!(" with {}", endings::another(configuration.unwrap_or_default()))
        }
        Movement::Promotion if promotion.from.as_ref() == Some(&promotion.to) => " (deployed again)".to_owned(),
        Movement::Promotion => String::new(),
    }
}

/// Why a promotion did not go well, where that is on record.
pub(super) fn why_failed(session: &Session, promotion: &Promotion) -> Result<Option<String>, CliError> {
    Ok(promotion.told.map(|seq| session.detail_seen(seq)).transpose()?.flatten())
}

/// A plan, as it is named beside others.
fn plan(digest: &Digest) -> String {
    format!("plan sha256:{}…", digest.short())
}

/// Who asked for a plan and who said what about it, each with its time.
fn said(told: &AuthorityView) -> Vec<(Timestamp, Vec<String>)> {
    let names: Vec<&str> = told.environments.iter().map(EnvironmentName::as_str).collect();
    let cells = |act: String, who: String| vec![names.join(", "), plan(&told.plan), act, who];
    let asked = told.requests.iter().map(|one| (one.at, cells("requested".to_owned(), words::asked(one))));
    let stated = told.statements.iter().map(|one| {
        let (word, kind) = words::decided(one.decision);
        (one.at, cells(label(kind, word), words::stated(one)))
    });
    asked.chain(stated).collect()
}

/// What was stopped or lifted, and why.
fn past_stop(session: &Session, stop: &Stop) -> Result<PastStop, CliError> {
    let automatic = stop.note.automatic;
    let (act, environments, release) = match &stop.act {
        StopAct::Frozen { scopes } => (if automatic { "paused" } else { "frozen" }, scopes.clone(), None),
        StopAct::Unfrozen { scopes } => ("unfrozen", scopes.clone(), None),
        StopAct::Rejected { release, scope } => {
            (if automatic { "quarantined" } else { "rejected" }, vec![scope.clone()], Some(release.clone()))
        }
        StopAct::Lifted { release, scope } => ("lifted", vec![scope.clone()], Some(release.clone())),
        StopAct::Withdrawn { .. } => ("withdrawn", vec![], None),
        StopAct::Recalled { .. } => ("recalled", vec![], None),
        StopAct::RecallLifted { .. } => ("recall-lifted", vec![], None),
    };
    let artifact = match &stop.act {
        StopAct::Recalled { artifact } | StopAct::RecallLifted { artifact } => Some(*artifact),
        _ => None,
    };
    let document = match &stop.act {
        StopAct::Withdrawn { document } => Some(*document),
        _ => None,
    };
    Ok(PastStop {
        act,
        environments: environments.into_iter().flatten().collect(),
        release,
        document,
        artifact,
        at: stop.note.at,
        by: stop.signer.as_ref().map_or_else(|| stop.note.by.name.clone(), ToString::to_string),
        signed: stop.signer.is_some(),
        reason: session.reason_given(stop.note.seq)?,
    })
}

/// The same as cells: where, what, that it was done, by whom and why.
fn stopped(stop: &PastStop) -> Vec<String> {
    let names: Vec<&str> = stop.environments.iter().map(EnvironmentName::as_str).collect();
    let place = if names.is_empty() { "everywhere".to_owned() } else { names.join(", ") };
    let what = match (&stop.release, &stop.document, &stop.artifact) {
        (Some(release), ..) => release.to_string(),
        (None, Some(document), _) => format!("document sha256:{}…", document.short()),
        (None, None, Some(artifact)) => format!("digest sha256:{}…", artifact.short()),
        (None, None, None) => "promotions".to_owned(),
    };
    let act = match stop.act {
        "unfrozen" => label(Label::Good, "no longer frozen"),
        "lifted" => label(Label::Good, "quarantine lifted"),
        "recall-lifted" => label(Label::Good, "recalled no more"),
        act => label(Label::Waiting, act),
    };
    let signed = if stop.signed { " (signed)" } else { "" };
    let by = format!("by {}{signed}{}", escape::line(&stop.by), quoted(stop.reason.as_ref()));
    vec![place, what, act, by]
}
