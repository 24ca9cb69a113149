//! Applies a reviewed plan: checks everything that can be checked, then moves the environments in graph order, each step
//! by intent, act, observation and effect (S9). It decides nothing: what may move was settled in the plan, and whether it
//! still may is asked of the one eligibility function.

mod attest;
mod deploy;
mod drill;
mod drive;
mod during;
mod finish;
mod further;
mod lease;
pub(crate) mod precheck;
mod promotion;
mod report;
mod running;
mod step;
mod wait;
mod watch;
mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::Envelope;
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::event::{Event, RunOutcome};
use promo_core::ledger::{Draft, View};
use promo_core::plan::{Document, Move};
use promo_core::planner::Observations;
use promo_ledger::{AppendError, Expect, Fence, StoreError};
use promo_sdk::ErrorKind;
use tokio_util::sync::CancellationToken;

use crate::appliers::{Applier, Proof};
use crate::configuration;
use crate::error::EngineError;
use crate::progress::{Progress, Sink};
use crate::session::{Session, new_run_id};
use crate::signature::Key;
use lease::Held;

use precheck::Use;
pub use precheck::consistent;
pub(crate) use precheck::moved_since;
pub use report::{Fate, RunReport};
pub(crate) use wait::sign;
pub use wait::{Holder, Sign};

/// How a plan is applied.
#[derive(Clone)]
pub struct ApplyOptions {
    /// Signed statements that lie beside the plan.
    pub approvals: Vec<Envelope>,
    /// Whether a failure stops branches that do not depend on it.
    pub stop_all: bool,
    /// The key with which whoever applies signs that they do: it is asked only where a rule excludes the applier (S6.4).
    pub key: Option<Key>,
    /// Where progress goes.
    pub progress: Sink,
    /// Cancelled by the first Ctrl-C: the current steps are finished, nothing new begins (S9.5).
    pub stop: CancellationToken,
}

/// What every promotion of a run shares.
pub(crate) struct RunContext {
    pub(crate) session: Session,
    pub(crate) run: RunId,
    pub(crate) plan: Digest,
    /// The whole lock of the run.
    pub(crate) fence: Fence,
    /// What of it each environment needs: its own lock, and those on the places that it deploys to.
    locks: BTreeMap<EnvironmentName, Fence>,
    pub(crate) options: ApplyOptions,
    pub(crate) document: Arc<Document>,
    /// Why nothing more may begin, where the rules have changed since the plan was made.
    pub(crate) outlived: Option<String>,
}

impl RunContext {
    fn new(
        session: &Session,
        run: &RunId,
        plan: Digest,
        document: &Document,
        held: &Held,
        options: ApplyOptions,
        outlived: Option<String>,
    ) -> Self {
        let (session, run, fence) = (session.clone(), run.clone(), held.fence());
        let part = |entry| {
            let resources = lease::resources(&session, std::slice::from_ref(entry)).into_iter().collect();
            Fence { resources, holder: fence.holder.clone(), epoch: fence.epoch }
        };
        let locks = document.body.moves.iter().map(|entry| (entry.environment.clone(), part(entry))).collect();
        let document = Arc::new(document.clone());
        Self { session, run, plan, fence, locks, options, document, outlived }
    }

    pub(crate) fn say(&self, progress: Progress) {
        (self.options.progress)(progress);
    }

    /// Of what brings another configuration of what runs: the files in which that differs.
    fn brought(&self, entry: &Move) -> Result<Option<Vec<String>>, EngineError> {
        self.session.with_view(|view| configuration::brought(view, &self.run, entry))
    }

    /// How long it is until an instant, by the reading of the clocks that makes it longest: where they disagree it has not
    /// come (S12.6).
    fn left_until(&self, until: Timestamp) -> Result<Duration, EngineError> {
        let [one, other] = self.session.present()?.readings();
        Ok(Duration::try_from(until.duration_since(one.min(other))).unwrap_or_default())
    }

    /// Appends one event of this run under its lease.
    pub(crate) fn append(
        &self,
        environment: &EnvironmentName,
        step: Option<&str>,
        events: Vec<Event>,
    ) -> Result<(), EngineError> {
        let drafts = events.into_iter().map(|event| self.session.draft(event)).collect();
        self.append_drafts(environment, step, drafts)
    }

    /// The same with drafts that bear texts of their own.
    fn append_drafts(
        &self,
        environment: &EnvironmentName,
        step: Option<&str>,
        drafts: Vec<Draft>,
    ) -> Result<(), EngineError> {
        self.session.in_turn(|| self.write(None, environment, step, drafts))
    }

    /// The same, as long as `bar` finds nothing against it in the very ledger that it is appended to: what was judged
    /// before it is written may no longer hold. Gives what it found.
    pub(crate) fn append_unless<T>(
        &self,
        environment: &EnvironmentName,
        step: Option<&str>,
        events: &[Event],
        mut bar: impl FnMut(&View) -> Result<Option<T>, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        self.session.in_turn(|| {
            loop {
                let view = self.session.view()?;
                if let Some(found) = bar(&view)? {
                    return Ok(Some(found));
                }
                let head = view.size;
                drop(view);
                let drafts = events.iter().map(|event| self.session.draft(event.clone())).collect();
                match self.write(Some(head), environment, step, drafts) {
                    Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                    result => return result.map(|()| None),
                }
            }
        })
    }

    /// Appends under the lease, where one is given to a ledger of just so many records, for whoever has the turn. Leases are
    /// taken, renewed and lost together, so the part that the record is about says as much as all of it; asking for all of it
    /// would cost each record as much as the whole run.
    fn write(
        &self,
        head: Option<u64>,
        environment: &EnvironmentName,
        step: Option<&str>,
        mut drafts: Vec<Draft>,
    ) -> Result<(), EngineError> {
        for draft in &mut drafts {
            draft.environment = Some(environment.clone());
            draft.run = Some(self.run.clone());
            draft.step = step.map(String::from);
            draft.epoch = Some(self.fence.epoch);
            draft.plan = Some(self.plan);
        }
        let fence = self.locks.get(environment).unwrap_or(&self.fence).clone();
        let expect = Expect { fences: vec![fence], head, ..Expect::default() };
        self.session.append_now(&expect, &drafts).map(|_| ())
    }
}

impl Session {
    /// Applies a plan once.
    ///
    /// # Errors
    /// Before anything was changed: when the plan is not for here, stale or spent, when a gate is closed, or when
    /// somebody else is at work. Of several that apply one plan at once, all but one are told that it is spent, and by
    /// which run. After that the report tells.
    pub async fn apply(
        &self,
        document: &Document,
        digest: Digest,
        options: ApplyOptions,
    ) -> Result<RunReport, EngineError> {
        let run = new_run_id();
        let held = self.begin(document, digest, &run, &options).await;
        let held = held.map_err(|error| self.outrun(document, &digest, error))?;
        drive::drive(RunContext::new(self, &run, digest, document, &held, options, None), held).await
    }

    /// Everything up to the record from which on the run can be resumed.
    async fn begin(
        &self,
        document: &Document,
        digest: Digest,
        run: &RunId,
        options: &ApplyOptions,
    ) -> Result<Held, EngineError> {
        let applier = self.applier(&document.body.moves, options.key.as_ref())?;
        let observed = self.precheck(document, &digest, &options.approvals, Some(&applier)).await?;
        if options.stop.is_cancelled() {
            return Err(EngineError::Stopped);
        }
        // Nothing is locked while somebody looks for the key to touch.
        let proof = match options.key.as_ref().filter(|_| !applier.signed.is_empty()) {
            Some(key) => Some(self.prove(document, digest, run, key).await?),
            None => None,
        };
        let applier = Applier { signed: proof.iter().map(|proof| proof.by.clone()).collect(), ..applier };
        self.adopt_policy()?;
        self.keep_files(document, &digest)?;
        let resources = lease::resources(self, &document.body.moves);
        let held = wait::begin(self, run, &digest, resources, &options.stop).await?;
        let by = (&applier, proof.as_ref());
        let started = self.start_run(document, digest, run, &held, &observed, &options.approvals, by);
        if let Err(error) = started {
            held.release().await;
            return Err(self.began(run, error));
        }
        Ok(held)
    }

    /// What to tell whoever did not begin a run: where another one has used the plan meanwhile, or has moved one of its
    /// environments under another plan, whatever that left behind is no news, and the plan is spent or stale.
    fn outrun(&self, document: &Document, plan: &Digest, error: EngineError) -> EngineError {
        let left_behind = match &error {
            EngineError::Provider { source, .. } => source.kind != ErrorKind::Integrity,
            EngineError::Stale { .. }
            | EngineError::Denied { .. }
            | EngineError::Waiting { .. }
            | EngineError::Lease(_)
            | EngineError::Append(_)
            | EngineError::Ledger(StoreError::Busy { .. }) => true,
            _ => false,
        };
        if !left_behind {
            return error;
        }
        let moved = || {
            let (view, now) = (self.view().ok()?, self.present().ok()?);
            let lapsed = precheck::lapsed(&document.body, plan, &document.body.moves, &view, now, Use::Apply).err();
            lapsed.filter(|lapsed| matches!(lapsed, EngineError::Stale { .. }))
        };
        self.used(plan).ok().flatten().or_else(moved).unwrap_or(error)
    }

    /// Goes on with a run that was interrupted or whose process died. A second resume changes nothing (S9.5). A lock that
    /// the dead process left is waited for, unless it can be proven here that the process is gone. What has begun is
    /// finished whoever resumes it; what has not is begun by whoever may apply it.
    ///
    /// # Errors
    /// When the run is not known or has ended, or somebody else is at work. [`EngineError::ApplyUnsigned`] once all is done
    /// that needs no signature, when there is more that does: the run can be resumed again.
    pub async fn resume(&self, run: &RunId, options: ApplyOptions) -> Result<RunReport, EngineError> {
        let view = self.view()?;
        let known = view.runs.get(run).ok_or_else(|| EngineError::Invalid(format!("there is no run {run}")))?;
        if let Some((_, outcome)) = known.finished {
            return Ok(RunReport::recorded(run, &view, outcome));
        }
        let plan = known.plan;
        let bytes = self.kept(&plan, &format!("the plan of run {run}"))?;
        let (document, digest) = Document::from_bytes(&bytes)?;
        self.extends(&document.body)?;
        let outlived = self.outlived(&document.body).await?;
        let proof = match outlived {
            None => self.proof_to_go_on(&document, digest, run, &options).await?,
            Some(_) => None,
        };
        self.adopt_policy()?;
        let held = wait::acquire(self, run, lease::resources(self, &document.body.moves), &options).await?;
        // Whoever had the lock before may have ended the run.
        let ended = self.with_view(|view| view.runs.get(run).and_then(|r| r.finished));
        let ended = match (ended, proof) {
            (Ok(None), Some(proof)) => self.record_proof(&proof, run, digest, &held).map(|()| None),
            (ended, _) => ended,
        };
        match ended {
            Ok(None) => {}
            Ok(Some((_, outcome))) => {
                held.release().await;
                return Ok(RunReport::recorded(run, &*self.view()?, outcome));
            }
            Err(error) => {
                held.release().await;
                return Err(error);
            }
        }
        drive::drive(RunContext::new(self, run, digest, &document, &held, options, outlived), held).await
    }

    /// Ends a run that was interrupted without going on with it. What it left half-way is held for a person. A lock that
    /// the dead process left is taken where it can be proven here that the process is gone.
    ///
    /// # Errors
    /// When the run is not known or has ended, or somebody else is at work.
    pub async fn cancel(&self, run: &RunId) -> Result<RunReport, EngineError> {
        let open = |view: &View| match view.runs.get(run) {
            None => Err(EngineError::Invalid(format!("there is no run {run}"))),
            Some(known) if known.finished.is_some() => Err(EngineError::Invalid(format!("run {run} has ended"))),
            Some(known) => Ok(known.clone()),
        };
        let known = self.with_view(open)??;
        // The plan may be gone, or of another version: the environments are enough to keep others out.
        let bytes = self.store.get_blob(&known.plan)?.unwrap_or_default();
        let moves = Document::from_bytes(&bytes).map(|(document, _)| document.body.moves).unwrap_or_default();
        let mut resources = lease::resources(self, &moves);
        resources.extend(known.environments.keys().map(|name| lease::environment(self, name)));
        let held = wait::past_the_dead(self, run, &resources, &CancellationToken::new())?;
        let result = self.with_view(open).and_then(|known| known).and_then(|known| {
            finish::cancel(self, run, &known, &held.fence())?;
            Ok(RunReport::recorded(run, &*self.view()?, RunOutcome::Cancelled))
        });
        held.release().await;
        result
    }

    /// Keeps the plan and every file that it uses in the ledger, so that another machine can resume the run and a
    /// rollback can restore the configuration (S2.4).
    fn keep_files(&self, document: &Document, digest: &Digest) -> Result<(), EngineError> {
        use promo_sdk::Blobs as _;
        let bytes = document.to_bytes().map_err(promo_core::plan::PlanFileError::from)?;
        let kept = self.store.put_blob(&bytes)?;
        debug_assert_eq!(kept, *digest);
        let mut wanted: BTreeSet<Digest> = BTreeSet::new();
        for entry in &document.body.moves {
            let back = entry.rollback.iter().flat_map(|r| r.files.values().chain(checks_files(&r.checks)));
            wanted.extend(entry.files.values().chain(checks_files(&entry.checks)).chain(back));
        }
        for digest in wanted {
            if self.store.get_blob(&digest)?.is_none() {
                let bytes = self
                    .files()
                    .get(&digest)
                    .map_err(|source| EngineError::about(None, format!("reading the file {digest}"), source))?;
                self.store.put_blob(&bytes)?;
            }
        }
        for environment in self.governance.pipeline.environments.values() {
            let settings = promo_core::planner::DeploymentSettings::of(environment);
            self.store
                .put_blob(&promo_core::canonical::to_vec(&settings).map_err(promo_core::plan::PlanFileError::from)?)?;
        }
        Ok(())
    }

    /// What whoever resumes a run has signed, where it is to begin more that excludes its applier. Nothing without a key: then
    /// what has begun is finished, and the rest waits for somebody with one.
    async fn proof_to_go_on(
        &self,
        document: &Document,
        plan: Digest,
        run: &RunId,
        options: &ApplyOptions,
    ) -> Result<Option<Proof>, EngineError> {
        let Some(key) = &options.key else { return Ok(None) };
        let (view, now) = (self.view()?, self.present()?);
        let left = |m: &&Move| matches!(promotion::state(&view, run, &m.environment), promotion::State::NotBegun);
        let left: Vec<Move> = document.body.moves.iter().filter(left).cloned().collect();
        let mut applier = self.applier(&left, Some(key))?;
        if applier.signed.is_empty() {
            return Ok(None);
        }
        applier.signed.extend(view.appliers.get(run).into_iter().flatten().map(|before| before.by.clone()));
        // A signature stays with the run: that of somebody without whose approval nothing can begin would end it.
        let with = self.standings(document, &plan, &view, &options.approvals, Some(&applier), now.at)?;
        let without = self.standings(document, &plan, &view, &options.approvals, None, now.at)?;
        self.keeps_apart(&with, &without, &applier, left.iter().map(|m| &m.environment))?;
        self.prove(document, plan, run, key).await.map(Some)
    }

    fn record_proof(&self, proof: &Proof, run: &RunId, plan: Digest, held: &Held) -> Result<(), EngineError> {
        let draft = self.proof_draft(proof, run, plan, held)?;
        self.append(&Expect { fences: vec![held.fence()], ..Expect::default() }, &[draft]).map(|_| ())
    }

    /// The record that says who is about to apply.
    fn proof_draft(&self, proof: &Proof, run: &RunId, plan: Digest, held: &Held) -> Result<Draft, EngineError> {
        let mut draft = self.draft(proof.event()?);
        draft.run = Some(run.clone());
        draft.plan = Some(plan);
        draft.epoch = Some(held.fence().epoch);
        Ok(draft)
    }

    /// The record that consumes the plan and its approvals, as long as the very ledger that it is appended to lets the plan
    /// begin. From here on the run can be resumed.
    #[expect(clippy::too_many_arguments, reason = "everything that a run begins with")]
    fn start_run(
        &self,
        document: &Document,
        digest: Digest,
        run: &RunId,
        held: &Held,
        observed: &Observations,
        beside: &[Envelope],
        (applier, proof): (&Applier, Option<&Proof>),
    ) -> Result<(), EngineError> {
        // What lay beside the plan is evidence like the rest, and a resume finds it in the ledger.
        let mut evidence = Vec::new();
        for envelope in beside {
            let envelope = serde_json::to_value(envelope).map_err(|e| EngineError::Approval(e.to_string()))?;
            let mut recorded = self.draft(Event::ApprovalRecorded { envelope });
            recorded.plan = Some(digest);
            evidence.push(recorded);
        }
        evidence.extend(proof.map(|proof| self.proof_draft(proof, run, digest, held)).transpose()?);
        let environments: BTreeMap<_, _> =
            document.body.moves.iter().map(|m| (m.environment.clone(), m.to.id.clone())).collect();
        loop {
            let view = self.view()?;
            let checked = self.judge(document, &digest, beside, observed, &view, Some(applier))?;
            let (environments, applier) = (environments.clone(), applier.claimed.clone());
            let mut draft = self.draft(Event::RunStarted { environments, approvals: checked.consumes, applier });
            draft.run = Some(run.clone());
            draft.plan = Some(digest);
            draft.epoch = Some(held.fence().epoch);
            let drafts: Vec<_> = evidence.iter().cloned().chain([draft]).collect();
            let expect = Expect {
                generation: checked.generations,
                fences: vec![held.fence()],
                unconsumed: vec![digest],
                consume: vec![digest],
                head: Some(view.size),
            };
            drop(view);
            match self.append(&expect, &drafts) {
                Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// A ledger that failed while it took the first record may have taken it: then the run is there to be resumed.
    fn began(&self, run: &RunId, error: EngineError) -> EngineError {
        let EngineError::Ledger(source) = error else { return error };
        let recorded = self.with_view(|view| view.runs.contains_key(run)).unwrap_or(false);
        match source {
            source @ StoreError::Io { .. } => EngineError::Began { run: run.clone(), recorded, source },
            refused => EngineError::Ledger(refused),
        }
    }
}

fn checks_files(checks: &[promo_core::plan::PlannedCheck]) -> impl Iterator<Item = &Digest> {
    checks.iter().flat_map(|c| c.inputs.files.values())
}
