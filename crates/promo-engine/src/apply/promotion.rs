//! One release entering one environment: gates, steps, checks, and the way back.

use std::collections::BTreeSet;
use std::slice;

use promo_core::Digest;
use promo_core::eligibility::{self, Observed, Question};
use promo_core::gate::{Gate, Reason, overall};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::event::{Movement, PromotionOutcome};
use promo_core::ledger::record::DETAIL;
use promo_core::ledger::view::{Promotion, Said};
use promo_core::ledger::{Event, View};
use promo_core::model::{OnFailure, Start};
use promo_core::plan::{Move, PlannedCheck, Request, Rollback, Step};
use promo_core::planner;

use super::attest::attest;
use super::deploy::{Way, deploy};
use super::drill::drill;
use super::during::During;
use super::precheck::{self, Use};
use super::step::{FAILED_BEFORE, elapsed};
use super::watch::watch;
use super::{Fate, RunContext};
use crate::appliers::Applier;
use crate::checks::{self, Verdict};
use crate::contract::cut;
use crate::error::EngineError;
use crate::observe::{recorded, recorded_settings};
use crate::progress::Progress;
use crate::stands::There;

/// What is said of a failure that is one of the place.
const NOT_ABOUT: &str = "what is there is not what was deployed any more, so that this is no verdict on";

/// How a row of steps or checks ended.
pub(super) enum End {
    Good,
    Failed(String),
    Stuck(String),
    Interrupted,
    /// The next wave may not begin now.
    Closed {
        why: String,
        gates: Vec<Gate>,
    },
}

/// How far a run got with one environment.
pub(super) enum State {
    NotBegun,
    Begun,
    Ended(PromotionOutcome),
}

/// How far a run got with an environment, as the ledger has it.
pub(super) fn state(view: &View, run: &RunId, environment: &EnvironmentName) -> State {
    let Some(known) = view.environment(environment) else { return State::NotBegun };
    let mine = |p: &&Promotion| p.run == *run;
    match known.history.iter().rev().find(mine).and_then(|p| p.finished) {
        Some((_, outcome)) => State::Ended(outcome),
        None if known.active.as_ref().filter(mine).is_some() => State::Begun,
        None => State::NotBegun,
    }
}

/// Moves one environment, or goes on where an earlier process stopped.
pub(crate) async fn promote(context: &RunContext, entry: &Move) -> Result<Fate, EngineError> {
    let name = &entry.environment;
    match context.session.with_view(|view| state(view, &context.run, name))? {
        State::Ended(outcome) => {
            let ended = context.session.with_view(|view| {
                let mut history = view.environment(name)?.history.iter().rev();
                history.find(|p| p.run == context.run).cloned()
            })?;
            let seen =
                |seq: Option<u64>| seq.map(|seq| context.session.detail_seen(seq)).transpose().map(Option::flatten);
            let Some(promotion) = ended else { return Ok(Fate::Ended { outcome, why: None }) };
            if let Some(turned) = promotion.disproved() {
                return Ok(Fate::DrillFailed { why: seen(turned.told)? });
            }
            return Ok(Fate::Ended { outcome, why: seen(promotion.told)? });
        }
        // What has begun is finished (S16), one without steps too.
        State::Begun => {}
        // Everything else is judged now, also when a run is resumed.
        State::NotBegun => {
            if let Some(fate) = start(context, entry)? {
                return Ok(fate);
            }
        }
    }
    if let (true, Some(back)) = (entry.drill, &entry.rollback) {
        return drill(context, entry, back).await;
    }
    let total = entry.steps.len() + entry.attest.len() + checks::by_check(&entry.checks).count();
    context.say(Progress::PromotionStarted {
        environment: name.clone(),
        release: entry.to.id.clone(),
        total,
        configuration: context.brought(entry)?,
    });
    if let Some(rollback) = begun_rollback(context, entry)? {
        return go_back(context, entry, rollback, failed_before(context, entry)?).await;
    }
    let during = During::begin(context, entry, &entry.steps, &entry.checks, &entry.to.id, 0)?;
    let end = match deploy(context, entry, &Way::there(entry)).await? {
        End::Good => during.end(context, entry, &entry.to.id).await?,
        other => other,
    };
    let end = match end {
        End::Good => verify(context, entry, &entry.checks, &entry.to.id, Asking::Once).await?,
        other => other,
    };
    let end = if matches!(end, End::Good) { watch(context, entry).await? } else { end };
    let end = if matches!(end, End::Good) { attest(context, entry).await? } else { end };
    match end {
        End::Good => end_promotion(context, entry, PromotionOutcome::Verified, None),
        End::Interrupted => Ok(Fate::Interrupted),
        End::Closed { why, gates } => {
            let environment = entry.environment.clone();
            context.say(Progress::WaveClosed { environment, why: why.clone(), gates: gates.clone() });
            Ok(Fate::Closed { why, gates })
        }
        End::Stuck(why) => end_promotion(context, entry, PromotionOutcome::Stuck, Some(why)),
        End::Failed(why) => failed(context, entry, why).await,
    }
}

/// Asks the gates once more and writes the first intent; a fate when the promotion does not begin.
fn start(context: &RunContext, entry: &Move) -> Result<Option<Fate>, EngineError> {
    let session = &context.session;
    if let Some(why) = &context.outlived {
        let (environment, why, gates) = (entry.environment.clone(), why.clone(), Vec::new());
        context.say(Progress::NotStarted { environment, why: why.clone(), gates: gates.clone() });
        return Ok(Some(Fate::NotStarted { why, gates }));
    }
    let (document, beside) = (&context.document, &context.options.approvals);
    let starts = session.governance.pipeline.environments.get(&entry.environment).map(|e| e.start);
    let nothing = BTreeSet::new();
    let shut = |view: &View| -> Result<Option<(String, Vec<Gate>)>, EngineError> {
        // Under a policy that was replaced meanwhile nothing more begins; what has begun is ended under it (S7.1).
        if let Err(replaced) = session.adoption(view) {
            return Ok(Some((replaced.to_string(), Vec::new())));
        }
        let now = session.present()?;
        if let Err(lapsed) =
            precheck::lapsed(&document.body, &context.plan, slice::from_ref(entry), view, now, Use::Apply)
        {
            let why = match &lapsed {
                EngineError::Stale { by: Some(by), .. } => format!("{lapsed}: {by}"),
                _ => lapsed.to_string(),
            };
            return Ok(Some((why, Vec::new())));
        }
        let signed = view.appliers.get(&context.run).into_iter().flatten().map(|applier| applier.by.clone());
        let applier = Applier { claimed: session.actor.name.clone(), signed: signed.collect() };
        let (name, epoch) = (&entry.environment, context.fence.epoch);
        if session.excludes_applier(name) && !view.signed_for(&context.run, epoch, name) {
            let (environment, run) = (name.clone(), Some(context.run.clone()));
            return Err(EngineError::ApplyUnsigned { environment, run });
        }
        let (facts, _) = session.approval_facts(&context.plan, view, beside);
        let standing = session.evaluation(document, &context.plan, view, entry, &facts, Some(&applier), now.at)?;
        let approvals = standing.as_ref().map(promo_core::approval::Evaluation::status);
        let invoker = session.counts_as(&document.body, &context.plan, view, beside);
        let request = Request { invoker, ..document.body.request.clone() };
        let question = Question {
            environment: &entry.environment,
            release: &entry.to.id,
            movement: entry.movement,
            drill: entry.drilled(),
            named: request.by_name(),
            // What runs there enters again only where the plan and its precheck found a reason; nothing has moved since.
            drifted: !entry.drill && entry.from.as_ref().is_some_and(|from| from.id == entry.to.id),
            tried: eligibility::configuration_failed(
                view,
                &entry.environment,
                &entry.to.id,
                (&entry.files, &entry.settings),
            ),
            invoker,
            moved_before: &nothing,
            approvals: approvals.as_ref(),
            run: Some(&context.run),
        };
        let evidence = session.evidence_for(view, &document.body)?;
        let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
        let gates = eligibility::assess(&session.governance.rules(), view, observed, &question, now);
        let unasked = starts == Some(Start::Manual) && !request.asks_for(&entry.environment);
        if !unasked && overall(&gates).is_open() {
            return Ok(None);
        }
        let gates: Vec<_> = gates.into_iter().filter(|g| !g.outcome.is_open()).collect();
        let mut why: Vec<_> = unasked.then(|| precheck::starts_by_request(&entry.environment)).into_iter().collect();
        why.extend(gates.iter().map(|g| g.reason.to_string()));
        why.extend(precheck::unproven(&document.body, invoker));
        Ok(Some((why.join("; "), gates)))
    };
    let mut events = vec![Event::PromotionStarted {
        environment: entry.environment.clone(),
        from: entry.from.as_ref().map(|r| r.id.clone()),
        to: entry.to.id.clone(),
        movement: entry.movement,
    }];
    if entry.movement == Movement::Reconfiguration && !entry.drill {
        events.push(Event::ConfigurationStarted {
            environment: entry.environment.clone(),
            release: entry.to.id.clone(),
            files: entry.files.clone(),
            settings: entry.settings,
        });
    }
    events.extend(entry.drilled().map(|back| {
        let (environment, release, back) = (entry.environment.clone(), entry.to.id.clone(), back.clone());
        Event::DrillStarted { environment, release, back }
    }));
    // A freeze or a revocation that comes before this record holds it up, however shortly before it comes.
    let Some((why, gates)) = context.append_unless(&entry.environment, None, &events, shut)? else { return Ok(None) };
    context.say(Progress::NotStarted {
        environment: entry.environment.clone(),
        why: why.clone(),
        gates: gates.clone(),
    });
    Ok(Some(Fate::NotStarted { why, gates }))
}

/// How checks are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// One that has spoken in this run is not asked again.
    Once,
    /// Whatever it has said in this run.
    Anew,
    /// About a part of the targets. That they pass there is no verdict on the release, that one fails is.
    Wave,
    /// The same once more, later.
    WaveAgain,
}

impl Asking {
    /// Under which name it is asked. What was begun under one and left behind is found again by whoever resumes the run; it
    /// does not answer a later question.
    fn token(self, context: &RunContext) -> String {
        let (run, epoch) = (&context.run, context.fence.epoch);
        match self {
            Self::Once | Self::Wave => run.to_string(),
            Self::Anew => format!("{run}/back"),
            Self::WaveAgain => format!("{run}/again/{epoch}"),
        }
    }
}

/// Runs the automatic checks; each verdict is recorded as it falls. All of them run, so that one report names all. One that
/// could not look leaves the run to be resumed. One that passes where it had failed on the same deployment is asked once more, since
/// one pass does not count there (S3.1).
pub(super) async fn verify(
    context: &RunContext,
    entry: &Move,
    checks: &[PlannedCheck],
    release: &ReleaseId,
    asking: Asking,
) -> Result<End, EngineError> {
    let mut failures = Vec::new();
    for group in checks::by_check(checks) {
        let (environment, check) = (entry.environment.clone(), &group[0]);
        let spoken = context.session.with_view(|view| {
            let verdicts = view.environment(&environment)?.verdicts.get(release)?.get(&check.name)?;
            verdicts.iter().rev().find(|v| v.run.as_ref() == Some(&context.run)).map(|v| (v.said, v.seq))
        })?;
        let during = context.session.looks_during(check)?;
        let flaky = || {
            let name = &check.name;
            context.session.with_view(|view| context.session.must_pass_again(view, &environment, release, name))
        };
        let mut again = false;
        match spoken.filter(|_| asking != Asking::Anew || during) {
            Some((Said::Passed, _)) if during || !flaky()? => continue,
            Some((Said::Passed, _)) => again = true,
            Some((_, seq)) => {
                failures.push(check_failed(context, &check.name, seq)?);
                continue;
            }
            None if during => {
                failures.push(format!("{} did not look while it was deployed", check.name));
                continue;
            }
            None => {}
        }
        loop {
            if context.options.stop.is_cancelled() {
                return Ok(End::Interrupted);
            }
            context.say(Progress::CheckStarted { environment: environment.clone(), check: check.name.clone() });
            let token = asking.token(context) + if again { "/once-more" } else { "" };
            let begun = context.session.context.clock.now();
            let verdict = match context.session.ask(&token, group).await? {
                Ok(verdict) => verdict,
                Err(error) => {
                    let mut why = format!("{error}; promo resume asks again");
                    // What is gone back to for a drill may be older than what the check needs: no resume would ever end it.
                    if entry.drilled() == Some(release) {
                        let (run, to) = (&context.run, &entry.to.id);
                        why.push_str(&format!(
                            "; where it can never look at {release}, promo cancel {run} ends the drill and holds "
                        ));
                        why.push_str(&format!(
                            "{environment}, and promo plan {environment} --release {to} brings back what ran"
                        ));
                    }
                    let check = check.name.clone();
                    context.say(Progress::CheckUnanswered { environment, check, why });
                    return Ok(End::Interrupted);
                }
            };
            let wave = matches!(asking, Asking::Wave | Asking::WaveAgain);
            // What fails where something else is by now says nothing of the release; what is deployed in waves is there in part.
            let there = match verdict.passed || wave {
                true => There::Deployed,
                false => match there(context, &environment, release).await {
                    Err(EngineError::Stopped) => return Ok(End::Interrupted),
                    there => there?,
                },
            };
            let about = there.counts(verdict.passed);
            let recorded = about && (!wave || !verdict.passed);
            if recorded {
                context.append_drafts(
                    &environment,
                    None,
                    vec![verdict.draft(&context.session, &environment, release)],
                )?;
            }
            let Verdict { check, passed, detail, .. } = verdict;
            let milliseconds = elapsed(context, begun);
            if !passed {
                let place = format!("; {NOT_ABOUT} {release}");
                failures.push(format!("{check} failed: {detail}{}", if about { "" } else { &place }));
            }
            context.say(Progress::CheckDone { environment: environment.clone(), check, passed, detail, milliseconds });
            if again || during || !passed || !recorded || !flaky()? {
                break;
            }
            again = true;
        }
    }
    Ok(if failures.is_empty() { End::Good } else { End::Failed(failures.join("; ")) })
}

/// What is where a check of this run failed.
async fn there(context: &RunContext, environment: &EnvironmentName, release: &ReleaseId) -> Result<There, EngineError> {
    let view = context.session.view()?;
    // Only of what the ledger has there is it known what it was.
    if view.current(environment).is_none_or(|current| current.release != *release) {
        return Ok(There::Deployed);
    }
    let mut observations = recorded(&context.session, &view)?;
    context.session.there(&view, environment, &mut observations).await
}

/// What happens after a failure: one automatic rollback, or the environment is held (S9.6).
async fn failed(context: &RunContext, entry: &Move, why: String) -> Result<Fate, EngineError> {
    if untouched(context, &entry.steps)? {
        return end_promotion(context, entry, PromotionOutcome::Cancelled, Some(why));
    }
    match &entry.rollback {
        Some(rollback) if entry.on_failure == OnFailure::Rollback && entry.movement != Movement::Rollback => {
            match context.session.with_view(|view| barred(context, entry, &rollback.to.id, view))? {
                None => go_back(context, entry, rollback, why).await,
                Some(reason) => held(context, entry, why, &rollback.to.id, &reason),
            }
        }
        None if entry.on_failure == OnFailure::Rollback && entry.movement != Movement::Rollback => {
            match nowhere(context, entry)? {
                Some((to, reason)) => held(context, entry, why, &to, &reason),
                None => end_promotion(context, entry, PromotionOutcome::Held, Some(why)),
            }
        }
        _ => end_promotion(context, entry, PromotionOutcome::Held, Some(why)),
    }
}

/// Whether none of the steps, of which there are some, was begun.
pub(super) fn untouched(context: &RunContext, steps: &[Step]) -> Result<bool, EngineError> {
    let untouched = context.session.with_view(|view| {
        view.runs.get(&context.run).is_some_and(|run| steps.iter().all(|s| !run.steps.contains_key(&s.id)))
    })?;
    Ok(untouched && !steps.is_empty())
}

/// What bars the way to a release that was there before: people may have rejected it since (S10.1). One that is there
/// already, as after a failed reconfiguration, is not entered (S16); what a drill brings back may have left.
fn barred(context: &RunContext, entry: &Move, to: &ReleaseId, view: &View) -> Option<Reason> {
    let name = &entry.environment;
    let stays = *to == entry.to.id && !(entry.drill && view.current(name).is_some_and(|there| there.release != *to));
    let found = view.quarantine(to, name, &context.session.governance.graph).filter(|_| !stays);
    found.map(|(scope, note)| Reason::Quarantined {
        scope: scope.clone(),
        automatic: note.automatic,
        by: note.by.name.clone(),
    })
}

/// The same in words, of the moment at which the first of `steps` is taken. What has begun is gone to its end.
pub(super) fn barred_now(
    context: &RunContext,
    entry: &Move,
    to: &ReleaseId,
    steps: &[Step],
    view: &View,
) -> Option<String> {
    if begun_at(context, steps, view).is_some() {
        return None;
    }
    let words =
        |reason: &Reason| if entry.drill && *to == entry.to.id { stays_away(to, reason) } else { no_way(to, reason) };
    barred(context, entry, to, view).map(|reason| words(&reason))
}

/// Why what a drill left is not brought back.
pub(super) fn stays_away(release: &ReleaseId, reason: &Reason) -> String {
    format!("{release} may not come in any more: {reason}")
}

pub(super) fn no_way(to: &ReleaseId, reason: &Reason) -> String {
    format!("there is no release to go back to: {to} is none, because {reason}")
}

/// Why the best release that the environment could have gone back to is none, where the plan names none for its place.
fn nowhere(context: &RunContext, entry: &Move) -> Result<Option<(ReleaseId, Reason)>, EngineError> {
    let (name, rules) = (&entry.environment, context.session.governance.rules());
    let best = context.session.with_view(|view| {
        let before = |id: &ReleaseId| {
            let mut residences = view.environment(name)?.residences.iter().rev();
            residences.find(|r| r.release == *id && r.run.as_ref() != Some(&context.run)).map(|r| r.settings)
        };
        let best = match entry.movement {
            Movement::Reconfiguration => Some(entry.to.id.clone()),
            _ => eligibility::rollback_targets(&rules, view, name, &entry.to.id).next().cloned(),
        };
        best.and_then(|id| Some((before(&id)?, id)))
    })?;
    let Some((settings, id)) = best else { return Ok(None) };
    Ok(elsewhere(context, entry, &settings)?.map(|reason| (id, reason)))
}

/// Whether settings lead where the pipeline under its policy of now does not (S0.2): a run can be resumed under others.
pub(super) fn elsewhere(context: &RunContext, entry: &Move, settings: &Digest) -> Result<Option<Reason>, EngineError> {
    let environment = context.session.governance.pipeline.environments.get(&entry.environment);
    let recorded = recorded_settings(&context.session, settings)?;
    Ok(environment.zip(recorded).and_then(|(environment, recorded)| planner::elsewhere(environment, &recorded)))
}

fn held(context: &RunContext, entry: &Move, why: String, to: &ReleaseId, reason: &Reason) -> Result<Fate, EngineError> {
    end_promotion(context, entry, PromotionOutcome::Held, Some(format!("{why}; {}", no_way(to, reason))))
}

/// Why what an earlier process had begun to take back failed, as the records of its steps and checks have it beside them.
fn failed_before(context: &RunContext, entry: &Move) -> Result<String, EngineError> {
    let (name, run) = (&entry.environment, &context.run);
    let (steps, checks) = context.session.with_view(|view| {
        let steps = view.runs.get(run).map(|run| &run.steps);
        let steps = entry.steps.iter().filter_map(|step| steps?.get(&step.id)?.told).collect::<Vec<_>>();
        let verdicts = view.environment(name).and_then(|known| known.verdicts.get(&entry.to.id));
        let failed = verdicts.into_iter().flatten().flat_map(|(check, entries)| {
            let mine = entries.iter().filter(|v| v.run.as_ref() == Some(run) && v.said == Said::Failed);
            mine.map(move |verdict| (check.clone(), verdict.seq))
        });
        (steps, failed.collect::<Vec<_>>())
    })?;
    let mut all = Vec::new();
    for seq in steps {
        all.extend(context.session.detail_seen(seq)?);
    }
    for (check, seq) in checks {
        all.push(check_failed(context, &check, seq)?);
    }
    Ok(if all.is_empty() { FAILED_BEFORE.to_owned() } else { all.join("; ") })
}

/// That a check failed, and what it saw.
fn check_failed(context: &RunContext, check: &CheckName, seq: u64) -> Result<String, EngineError> {
    let detail = context.session.detail_seen(seq)?;
    Ok(detail.map_or_else(|| format!("{check} failed"), |detail| format!("{check} failed: {detail}")))
}

/// The rollback that an earlier process had begun.
fn begun_rollback<'a>(context: &RunContext, entry: &'a Move) -> Result<Option<&'a Rollback>, EngineError> {
    let Some(rollback) = &entry.rollback else { return Ok(None) };
    let begun = context.session.with_view(|view| begun_at(context, &rollback.steps, view).is_some())?;
    Ok(begun.then_some(rollback))
}

/// Position of the first intent of some steps; none where none of them was begun.
fn begun_at(context: &RunContext, steps: &[Step], view: &View) -> Option<u64> {
    let known = &view.runs.get(&context.run)?.steps;
    steps.iter().filter_map(|step| Some(known.get(&step.id)?.intended)).min()
}

async fn go_back(context: &RunContext, entry: &Move, rollback: &Rollback, why: String) -> Result<Fate, EngineError> {
    let to = &rollback.to.id;
    if let Some(reason) = elsewhere(context, entry, &rollback.settings)? {
        return held(context, entry, why, to, &reason);
    }
    // Whoever wants it to stop does not want more to be begun: what failed is on record, and a resume goes back (S9.5).
    if context.options.stop.is_cancelled() {
        return Ok(Fate::Interrupted);
    }
    context.say(Progress::RollingBack {
        environment: entry.environment.clone(),
        to: to.clone(),
        why: why.clone(),
        configuration: context.brought(entry)?,
    });
    // When the same release stays, as after a failed reconfiguration, its checks have spoken in this run already.
    let anew = *to == entry.to.id;
    // What was said before the way back began is not about it.
    let since = context.session.with_view(|view| begun_at(context, &rollback.steps, view).unwrap_or(view.size))?;
    let since = if anew { since } else { 0 };
    let during = During::begin(context, entry, &rollback.steps, &rollback.checks, to, since)?;
    let end = match deploy(context, entry, &Way::back(entry, rollback)).await? {
        End::Good => during.end(context, entry, to).await?,
        other => other,
    };
    let end = match end {
        End::Good => {
            let asking = if anew { Asking::Anew } else { Asking::Once };
            verify(context, entry, &rollback.checks, to, asking).await?
        }
        other => other,
    };
    match end {
        End::Good => end_promotion(context, entry, PromotionOutcome::RolledBack, Some(why)),
        // No gate is asked on the way back.
        End::Interrupted | End::Closed { .. } => Ok(Fate::Interrupted),
        End::Stuck(also) => {
            end_promotion(context, entry, PromotionOutcome::Stuck, Some(format!("{why}; the rollback: {also}")))
        }
        End::Failed(also) => {
            end_promotion(context, entry, PromotionOutcome::Held, Some(format!("{why}; the rollback failed: {also}")))
        }
    }
}

/// Writes how a promotion ended. After a rollback the failed release is quarantined here and downstream, and automatic
/// promotion is paused, in the same transaction (S10.4).
pub(super) fn end_promotion(
    context: &RunContext,
    entry: &Move,
    outcome: PromotionOutcome,
    why: Option<String>,
) -> Result<Fate, EngineError> {
    let environment = &entry.environment;
    let mut events =
        vec![Event::PromotionFinished { environment: environment.clone(), release: entry.to.id.clone(), outcome }];
    if outcome == PromotionOutcome::Verified && entry.movement == Movement::Rollback {
        let left = entry.quarantines().map(|left| left.id.clone());
        let scope = || Some(environment.clone());
        events.extend(left.map(|release| Event::ReleaseRejected { release, scope: scope(), automatic: true }));
        events.push(Event::Frozen { environments: [environment.clone()].into(), automatic: true });
    }
    if outcome == PromotionOutcome::RolledBack && entry.movement == Movement::Promotion {
        let scope = Some(environment.clone());
        events.push(Event::ReleaseRejected { release: entry.to.id.clone(), scope, automatic: true });
    }
    if outcome == PromotionOutcome::RolledBack {
        events.push(Event::Frozen { environments: [environment.clone()].into(), automatic: true });
    }
    let mut drafts: Vec<_> = events.into_iter().map(|event| context.session.draft(event)).collect();
    // What a provider or a check said stands beside the leaf (S12.5): whoever asks later why it failed was not at the terminal.
    drafts[0].private.extend(why.iter().map(|why| (DETAIL.to_owned(), cut(why.clone()))));
    context.append_drafts(environment, None, drafts)?;
    let open = match outcome {
        PromotionOutcome::Verified => {
            context.session.with_view(|view| context.session.unspoken(view, environment, &entry.to.id))?
        }
        _ => Vec::new(),
    };
    context.say(Progress::PromotionFinished {
        environment: environment.clone(),
        release: entry.to.id.clone(),
        outcome,
        open,
        configuration: context.brought(entry)?,
    });
    Ok(Fate::Ended { outcome, why })
}
