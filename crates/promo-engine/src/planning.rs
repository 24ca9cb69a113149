//! Makes plans: observes, asks the planner, has the providers preview what it drafts, and puts it together.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{FuturesOrdered, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use promo_core::attestation::{self, JudgedBy};
use promo_core::canonical;
use promo_core::clock::Present;
use promo_core::eligibility;
use promo_core::gate::Reason;
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::plan::{Action, Document, Goal, LedgerRef, Move, Next, Plan, Request, Step};
use promo_core::planner::{self, Observations, PlanInput, Previewed, Selection, StepDraft};
use promo_core::state::State;
use promo_sdk::{CheckRequest, ErrorKind, ObserveRequest, Preview};

use crate::checks;
use crate::error::EngineError;
use crate::observe::{self, Ask};
use crate::readiness::{nothing_to_watch, unready};
use crate::session::{Session, TOOL};

/// How long a plan can be applied that was not requested (S8.4).
pub const PLAN_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// How many providers are asked at once.
const PREVIEWS_AT_ONCE: usize = 8;

/// A plan and what it was made from.
pub(crate) struct Planned {
    pub(crate) moves: Vec<Move>,
    pub(crate) stays: Vec<promo_core::plan::Stay>,
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) observations: Observations,
    pub(crate) previews: Previews,
}

/// What providers said about drafted steps, by step.
/// What the names of those inputs of a plan begin with that are programs of the machine on which it was made.
const PROGRAM: &str = "program ";

/// Those inputs of a plan, which only a provider can see.
pub(crate) fn planned_programs(plan: &Plan) -> impl Iterator<Item = (&String, &String)> {
    plan.inputs.iter().filter(|(name, _)| name.starts_with(PROGRAM))
}

pub(crate) type Previews = BTreeMap<String, Previewed>;

impl Session {
    /// Makes a plan. Reads only.
    ///
    /// # Errors
    /// When the ledger, a file or a provider cannot be read, or the request names what is not there.
    pub async fn plan(&self, request: Request, lifetime: SignedDuration) -> Result<Document, EngineError> {
        self.admit_policy()?;
        let (checkpoint, view) = loop {
            let (view, checkpoint) = (self.view()?, self.store.checkpoint()?);
            // The plan must be of the very records that its checkpoint is of: apply makes it again from those.
            if view.size == checkpoint.size {
                break (checkpoint, view);
            }
        };
        let now = self.present()?;
        self.check_request(&view, &request)?;
        let planned = self.plan_with(&view, &request, None, now).await?;
        let ledger = LedgerRef { origin: checkpoint.origin, size: checkpoint.size, root: checkpoint.root };
        let expires = now.at.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        Ok(Document::new(self.body(&view, ledger, request, (now.at, expires), self.actor.name.clone(), planned)))
    }

    /// What promo would have written when the plan says that it was made, from what the ledger said then: the same
    /// request at the same instant, with what is observed now. Nothing that was observed or previewed for planning it now
    /// is asked for once more.
    ///
    /// # Errors
    /// When the ledger or a provider cannot be read.
    pub(crate) async fn planned_then(
        &self,
        plan: &Plan,
        view: &View,
        (mut observations, previews): (Observations, Previews),
    ) -> Result<Plan, EngineError> {
        let then = self.view_at(plan.ledger.size, &plan.ledger.root)?;
        told(plan, &then, view, &mut observations);
        // What was brought since was not there then.
        observations.evidence.clear();
        let now = Present { at: plan.planned_at, doubt: planner::doubt(plan) };
        let planned = self.settle(&then, &plan.request, None, now, observations, previews).await?;
        let times = (plan.planned_at, plan.expires);
        Ok(self.body(&then, plan.ledger.clone(), plan.request.clone(), times, plan.initiator.clone(), planned))
    }

    fn body(
        &self,
        view: &View,
        ledger: LedgerRef,
        request: Request,
        (planned_at, expires): (Timestamp, Timestamp),
        initiator: String,
        planned: Planned,
    ) -> Plan {
        let rules = self.governance.rules();
        let shown = planned.moves.iter().map(|m| &m.environment).chain(planned.stays.iter().map(|s| &s.environment));
        let lost_evidence = eligibility::lost_evidence(&rules, view, shown);
        Plan {
            pipeline: self.governance.pipeline.name.clone(),
            policy: self.governance.policy.clone(),
            local: self.governance.local,
            ledger,
            request,
            planned_at,
            expires,
            initiator,
            tool: TOOL.to_string(),
            inputs: planned.inputs,
            moves: planned.moves,
            stays: planned.stays,
            lost_evidence,
        }
    }

    fn check_request(&self, view: &View, request: &Request) -> Result<(), EngineError> {
        let known = &self.governance.pipeline.environments;
        if let Some(name) = request.environments.iter().chain(&request.until).find(|n| !known.contains_key(*n)) {
            let names: Vec<&str> = known.keys().map(EnvironmentName::as_str).collect();
            return Err(EngineError::Invalid(format!(
                "there is no environment `{name}`: expected one of {}",
                names.join(", ")
            )));
        }
        match &request.release {
            Some(id) if view.release(id).is_none() => {
                Err(EngineError::Invalid(format!("the release {id} is not in the ledger")))
            }
            _ => Ok(()),
        }
    }

    /// Plans a request on a view of the ledger, at an instant.
    pub(crate) async fn plan_with(
        &self,
        view: &View,
        request: &Request,
        pinned: Option<&BTreeMap<EnvironmentName, ReleaseId>>,
        now: Present,
    ) -> Result<Planned, EngineError> {
        let observations = observe::observe(self, view).await?;
        self.settle(view, request, pinned, now, observations, Previews::new()).await
    }

    /// Plans from what was observed, and asks for what that does not cover.
    async fn settle(
        &self,
        view: &View,
        request: &Request,
        pinned: Option<&BTreeMap<EnvironmentName, ReleaseId>>,
        now: Present,
        mut observations: Observations,
        mut previews: Previews,
    ) -> Result<Planned, EngineError> {
        let input = |observations: &Observations| -> Selection {
            let rules = self.governance.rules();
            planner::select(&PlanInput { rules, view, observations, request, pinned, now })
        };
        let mut selection = input(&observations);
        loop {
            // What could not be checked afterwards is not begun (S9.1).
            if observe::judged(self, view, &selection, &mut observations)?
                || self.unready(&selection, &mut observations).await?
            {
                drop(std::mem::take(&mut selection));
                selection = input(&observations);
                continue;
            }
            // What is found may bring in another release, such as the next best to go back to; each is asked for once.
            let mut unknown = releases(&selection, request);
            // What goes back asks for nothing of evidence, and reads none (S10.1).
            if request.goal == Goal::Promote && self.look_for_evidence(view, &unknown, &mut observations)? {
                drop(std::mem::take(&mut selection));
                selection = input(&observations);
                continue;
            }
            unknown.retain(|(id, ask)| !ask.known(&observations).contains_key(id));
            if unknown.is_empty() {
                self.ask_for_previews(&selection, &mut previews).await?;
                // What keeps a copy from being made is known only now (S2.3); it refuses the move, or that way back.
                if !planner::refused(&selection, &previews, &self.governance.movable_images, &mut observations) {
                    break;
                }
            } else {
                observe::artifacts(self, view, &unknown, &mut observations).await?;
            }
            // Drafts for many environments are most of what planning holds: not twice at once.
            drop(std::mem::take(&mut selection));
            selection = input(&observations);
        }
        let (mut moves, stays) = planner::assemble(selection, &previews)
            .map_err(|step| EngineError::Invalid(format!("step {step} was not previewed")))?;
        let rules = self.governance.rules();
        for entry in &mut moves {
            entry.attest = self.attestations(entry);
        }
        let plan_input = PlanInput { rules, view, observations: &observations, request, pinned, now };
        let mut inputs = planner::inputs(&plan_input, &moves);
        inputs.extend(self.tools(&moves)?);
        inputs.extend(self.programs(&moves).await?);
        Ok(Planned { moves, stays, inputs, observations, previews })
    }

    /// What is written beside the artifacts of a move once it was verified.
    fn attestations(&self, entry: &Move) -> Vec<Step> {
        let pipeline = &self.governance.pipeline;
        let attest = pipeline.environments.get(&entry.environment).and_then(|declared| declared.attest.as_ref());
        let Some(attest) = attest else { return Vec::new() };
        let digest = canonical::digest(pipeline).expect("invariant: configuration has no floats");
        let by = JudgedBy::of(self.governance.policy.as_ref(), (&pipeline.name, digest));
        attestation::steps(entry, attest, &pipeline.name, &by)
    }

    /// Adds what the ledger has of evidence for these releases and for what runs. Whether that is more than was known: then the selection is to
    /// be made anew.
    fn look_for_evidence(
        &self,
        view: &View,
        releases: &BTreeSet<(ReleaseId, Ask)>,
        observations: &mut Observations,
    ) -> Result<bool, EngineError> {
        let here = self.governance.gates.keys().filter_map(|name| view.current(name)).map(|here| &here.release);
        let mut unknown: BTreeSet<&ReleaseId> = releases.iter().map(|(id, _)| id).chain(here).collect();
        unknown.retain(|id| !observations.evidence.contains_key(id));
        let found = self.evidence(view, unknown)?;
        let more = !found.is_empty();
        observations.evidence.extend(found);
        Ok(more)
    }

    /// Those inputs of a plan that are rules and tools, and no facts: they hold for its whole run, also when it is resumed.
    pub(crate) fn bound(&self, moves: &[Move]) -> Result<BTreeMap<String, String>, EngineError> {
        let mut inputs = planner::rules(&self.governance.rules(), moves);
        inputs.extend(self.tools(moves)?);
        Ok(inputs)
    }

    /// The providers that do it or take it back, and the policy that it is done under.
    pub(crate) fn tools(&self, moves: &[Move]) -> Result<BTreeMap<String, String>, EngineError> {
        let mut inputs = BTreeMap::new();
        let used: BTreeSet<&str> = moves.iter().flat_map(Move::every_step).map(|s| s.provider.as_str()).collect();
        for (name, version) in self.providers.versions() {
            if used.contains(name.as_str()) {
                // How doubt is settled is part of what was approved (S9.3).
                let effects = self.providers.get(&name)?.describe().effects;
                inputs.insert(format!("effects of {name}"), format!("{effects:?}").to_lowercase());
                inputs.insert(format!("provider {name}"), version);
            }
        }
        if let Some(policy) = &self.governance.policy {
            inputs.insert("policy".into(), policy.digest.to_string());
        }
        Ok(inputs)
    }

    /// The programs of this machine that it is done with or taken back: helm, say.
    async fn programs(&self, moves: &[Move]) -> Result<BTreeMap<String, String>, EngineError> {
        let mut inputs = BTreeMap::new();
        let steps: Vec<&Step> =
            moves.iter().flat_map(Move::every_step).filter(|step| step.action == Action::Deploy).collect();
        for step in steps {
            let failed = |source| {
                let doing = format!("asking which programs {} is made with", step.id);
                EngineError::about(Some(&step.inputs.environment), doing, source)
            };
            let provider = self.providers.get(&step.provider)?;
            let programs = provider.programs(&self.context, &step.inputs).await.map_err(failed)?;
            inputs.extend(programs.into_iter().map(|(name, version)| (format!("{PROGRAM}{name}"), version)));
        }
        Ok(inputs)
    }

    /// The first program of a plan that is another one here; what cannot be asked is none.
    pub(crate) async fn other_program(&self, plan: &Plan) -> Option<String> {
        let here = self.programs(&plan.moves).await.ok()?;
        let mut planned = planned_programs(plan);
        planned
            .find(|(name, version)| here.get(*name).is_some_and(|here| here != *version))
            .map(|(name, _)| name.clone())
    }

    /// Adds a finding for each check of a move that could not be run here. Whether there is one that was not known: then the
    /// selection is to be made anew. What may be so for a moment only is none.
    async fn unready(&self, selection: &Selection, observations: &mut Observations) -> Result<bool, EngineError> {
        let mut found = false;
        let heads = selection.moves.iter().map(|draft| &draft.head);
        // A drill asks them of what it goes back to as well. Collected, since no closure may live while somebody is asked.
        let asked = heads.flat_map(|head| {
            let back = head.rollback.as_ref().filter(|_| head.drill).map(|back| (head, &back.to.id, &back.checks));
            [(head, &head.to.id, &head.checks)].into_iter().chain(back)
        });
        for (head, release, planned) in asked.collect::<Vec<_>>() {
            let place = (head.environment.clone(), release.clone());
            if observations.checks.contains_key(&place) {
                continue;
            }
            let mut reasons = Vec::new();
            // Whether it could be run says the machine, not the place that it looks at.
            for check in checks::by_check(planned).filter_map(<[_]>::first) {
                let request =
                    CheckRequest { inputs: check.inputs.clone(), check: check.name.to_string(), token: String::new() };
                let answer = self.providers.get(&check.provider)?.ready(&self.context, &request).await;
                reasons.extend(unready(&check.name, &head.environment, answer)?);
            }
            if let (Some(_), Some(first), true) = (head.watch, head.checks.first(), reasons.is_empty()) {
                let mut during = head.checks.iter().map(|check| self.looks_during(check));
                if during.try_fold(true, |all, one| Ok::<_, EngineError>(all && one?))? {
                    reasons.push(nothing_to_watch(&first.name));
                }
            }
            found |= !reasons.is_empty();
            observations.checks.insert(place, reasons);
        }
        Ok(found)
    }

    /// Asks the providers about every drafted step that they were not asked about in these words before.
    async fn ask_for_previews(&self, selection: &Selection, known: &mut Previews) -> Result<(), EngineError> {
        let drafts = selection.moves.iter().flat_map(|draft| draft.steps.iter().chain(&draft.rollback_steps));
        let unknown = drafts.filter(|draft| known.get(&draft.id).is_none_or(|told| told.inputs != draft.inputs));
        let unknown: Vec<&StepDraft> = unknown.collect();
        // A call begins when an earlier one has ended: all of them at once would take as much memory as the plan. No stream
        // over borrowed drafts, which would keep whoever plans or applies from being spawned.
        let mut waiting = unknown.into_iter();
        let mut calls: FuturesOrdered<_> =
            waiting.by_ref().take(PREVIEWS_AT_ONCE).map(|draft| self.preview(draft)).collect();
        while let Some((id, previewed)) = calls.try_next().await? {
            known.insert(id, previewed);
            calls.extend(waiting.next().map(|draft| self.preview(draft)));
        }
        Ok(())
    }

    async fn preview(&self, draft: &StepDraft) -> Result<(String, Previewed), EngineError> {
        let provider = self.providers.get(&draft.provider)?;
        let request = ObserveRequest { inputs: draft.inputs.clone() };
        let about = Some(&draft.inputs.environment);
        let failed = |source| EngineError::about(about, format!("the preview of {}", draft.id), source);
        let copied = draft.inputs.artifacts.iter().next().filter(|_| draft.action == Action::Copy);
        let (current, desired, changes, images, refused) =
            match (provider.preview(&self.context, &request).await, copied) {
                (Ok(Preview { current, desired, changes, images }), _) => (current, desired, changes, images, None),
                // A destination that holds something else (S2.3), an artifact that is not copied as it is, or whose tag has moved, is
                // a finding about this environment, not the end of planning for all of them.
                (Err(error), Some((name, artifact)))
                    if matches!(
                        error.kind,
                        ErrorKind::Conflict
                            | ErrorKind::Invalid
                            | ErrorKind::Reference
                            | ErrorKind::MovingTag
                            | ErrorKind::Moved
                    ) =>
                {
                    let current = provider.observe(&self.context, &request).await.map_err(failed)?;
                    let desired = State::Present(artifact.digest);
                    // What is in the place says it by itself.
                    let elsewhere = !matches!(current, State::Present(_));
                    let why = || Reason::ArtifactUnavailable { artifact: name.clone(), why: error.to_string() };
                    (current, desired, Vec::new(), Vec::new(), elsewhere.then(why))
                }
                // So is a place that holds what is nobody's to replace: its state cannot be told.
                (Err(error), None)
                    if error.kind == ErrorKind::Conflict
                        && matches!(provider.observe(&self.context, &request).await, Ok(State::Unknown)) =>
                {
                    let why = Reason::TargetTaken { why: error.to_string() };
                    (State::Unknown, State::Unknown, Vec::new(), Vec::new(), Some(why))
                }
                // Where no server may be reached, what a registry holds is not known; what a copy would leave there is.
                (Err(error), Some((_, artifact))) if error.kind == ErrorKind::Offline => {
                    (State::Unknown, State::Present(artifact.digest), Vec::new(), Vec::new(), None)
                }
                (Err(error), _) => return Err(failed(error)),
            };
        Ok((draft.id.clone(), Previewed { inputs: request.inputs, current, desired, changes, images, refused }))
    }
}

/// Takes the plan's word for what was live where it moves nothing and where nothing can be proven any more: where something
/// was moved since, and where a reading failed, then or now. So it does for checks that the machine of the plan could not
/// run there, of whatever release it names beside a move or a stay.
fn told(plan: &Plan, then: &View, now: &View, observations: &mut Observations) {
    let generation = |view: &View, name| view.environment(name).map_or(0, |e| e.generation);
    let of_stays = plan.stays.iter().flat_map(|s| s.next.iter().chain(&s.newer).map(|next| (&s.environment, next)));
    let of_moves = plan.moves.iter().filter_map(|m| Some((&m.environment, m.newer.as_ref()?)));
    for (name, next) in of_stays.chain(of_moves) {
        let unready = unready_then(next);
        if !unready.is_empty() {
            observations.checks.insert((name.clone(), next.release.id.clone()), unready);
        }
    }
    for stay in &plan.stays {
        let name = &stay.environment;
        // Where the next release is told as refused, what runs there could not be reconfigured instead: for the same check,
        // as far as anybody knows.
        let unready = stay.next.as_ref().map(unready_then).filter(|unready| !unready.is_empty());
        if let (Some(unready), Some(current)) = (unready, then.current(name)) {
            observations.checks.entry((name.clone(), current.release.clone())).or_insert(unready);
        }
        let moved = generation(then, name) != generation(now, name);
        for (target, recorded) in then.current(name).iter().flat_map(|current| &current.targets) {
            let told = stay.drift.get(target).map_or(*recorded, |drift| drift.live);
            let live = observations.live.entry((name.clone(), target.clone())).or_insert(State::Unknown);
            if moved || told == State::Unknown || *live == State::Unknown {
                *live = told;
            }
        }
    }
}

/// Why checks of a release that a plan names could not be run where it was made.
fn unready_then(next: &Next) -> Vec<Reason> {
    let reasons = next.gates.iter().map(|gate| &gate.reason);
    reasons.filter(|reason| matches!(reason, Reason::CheckNotRunnable { .. })).cloned().collect()
}

/// The releases that a selection is about, each with all that it is asked for: the same, whatever else was asked before.
fn releases(selection: &Selection, request: &Request) -> BTreeSet<(ReleaseId, Ask)> {
    let back = selection.moves.iter().filter_map(|d| d.head.rollback.as_ref()).map(|r| (&r.to.id, Ask::AsWayBack));
    let moves = selection.moves.iter().map(|d| {
        let restored = d.head.movement == Movement::Rollback || d.head.drill;
        let ask = if restored { Ask::ForDigest } else { Ask::ForTag };
        (&d.head.to.id, ask)
    });
    let newer = selection.moves.iter().filter_map(|d| d.head.newer.as_ref());
    let next = selection.stays.iter().flat_map(|s| s.next.iter().chain(&s.newer)).chain(newer);
    let comes_back = request.goal == Goal::Rollback || request.drill;
    let next = next.map(|next| (&next.release.id, if comes_back { Ask::ForDigest } else { Ask::ForTag }));
    back.chain(moves).chain(next).map(|(id, ask)| (id.clone(), ask)).collect()
}
