//! A pipeline with its rules, its ledger and its doors to the outside: what every verb of the engine works on.

mod folded;
mod kept;
mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::Roster;
use promo_core::clock::{Doubt, MAX_STEP_BACK, Present, Readings};
use promo_core::eligibility::Rules;
use promo_core::gate::Reason;
use promo_core::graph::Graph;
use promo_core::ids::{EnvironmentName, RoleName, RunId, TargetName};
use promo_core::kinds::KindSchema;
use promo_core::ledger::view::IllegalRecord;
use promo_core::ledger::{Actor, Draft, Event, Record, View};
use promo_core::model::{ApprovalRule, Pipeline};
use promo_core::plan::PolicyRef;
use promo_core::policy::Governed;
use promo_core::requirement::NamedGate;
use promo_core::windows::{Invoker, Level};
use promo_ledger::{AppendError, Checkpoint, Expect, Sound, Store, VerifyError, VerifyReport};
use promo_sdk::{Clock, Context, Provider, ProviderError, Repositories};
use tokio_util::sync::CancellationToken;

use crate::blocking::{HandedOver, blocking};
use crate::contract::Policed;
use crate::error::EngineError;
use crate::evidence::Reports;

use folded::Folded;
pub(crate) use outside::Files;
pub use outside::outside;

/// Version of promo, as records and plans name it.
pub const TOOL: &str = concat!("promo ", env!("CARGO_PKG_VERSION"));

/// The pipeline under its policy.
#[derive(Debug, Clone)]
pub struct Governance {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its graph.
    pub graph: Graph,
    /// Approval rules by environment.
    pub approval: BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    /// The rules that say who lifts, by environment: policy's where it has any for the tier.
    pub lifting: BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    /// Windows by environment and level.
    pub windows: BTreeMap<EnvironmentName, Vec<Level>>,
    /// Gates over evidence by environment: the pipeline's and the policy's.
    pub gates: BTreeMap<EnvironmentName, Vec<NamedGate>>,
    /// The repositories whose images may be deployed by a tag, by environment; absent where none may (R2).
    pub movable_images: BTreeMap<EnvironmentName, BTreeSet<String>>,
    /// Roles that may withdraw an automatic check's verdict, by environment; absent where nobody may (S3.1).
    pub withdraw: BTreeMap<EnvironmentName, BTreeSet<RoleName>>,
    /// Environments in which policy lets nobody try a way back.
    pub no_drills: BTreeSet<EnvironmentName>,
    /// Whether a release may be added by what its tags show, without the digests that the build reported (S0.5).
    pub first_observation: bool,
    /// The policy.
    pub policy: Option<PolicyRef>,
    /// Whether the trust file pins the digest of the policy: then it says which policy holds, and the ledger follows (S7.1).
    pub pinned: bool,
    /// The checkpoint that the trust file pins: only a ledger that extends it is read at all (S0.1).
    pub checkpoint: Option<Checkpoint>,
    /// Who policy knows.
    pub roster: Roster,
    /// Whether there is no trust file (S0.1).
    pub local: bool,
}

impl Governance {
    /// The rules of a pipeline under its policy. Nothing is pinned.
    #[must_use]
    pub fn of(governed: Governed, roster: Roster) -> Self {
        Self {
            graph: Graph::new(&governed.pipeline),
            pipeline: governed.pipeline,
            approval: governed.approval,
            lifting: governed.lifting,
            windows: governed.windows,
            gates: governed.gates,
            movable_images: governed.movable_images,
            withdraw: governed.withdraw,
            no_drills: governed.no_drills,
            first_observation: governed.first_observation,
            policy: governed.policy,
            pinned: false,
            checkpoint: None,
            roster,
            local: governed.local,
        }
    }

    /// The rules, as eligibility takes them.
    #[must_use]
    pub fn rules(&self) -> Rules<'_> {
        let Self { pipeline, graph, approval, windows, gates, no_drills, .. } = self;
        Rules { pipeline, graph, approval, windows, gates, no_drills }
    }
}

/// Providers by name.
#[derive(Clone, Default)]
pub struct Providers(BTreeMap<String, Arc<dyn Provider>>);

impl Providers {
    /// A registry of these. Every answer of theirs is checked against the contract before anything is made of it.
    #[must_use]
    pub fn new(providers: impl IntoIterator<Item = Arc<dyn Provider>>) -> Self {
        let policed = providers.into_iter().map(|p| Arc::new(Policed::new(p)) as Arc<dyn Provider>);
        Self(policed.map(|p| (p.describe().name, p)).collect())
    }

    /// The provider of that name.
    ///
    /// # Errors
    /// [`EngineError::NoProvider`].
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Provider>, EngineError> {
        self.0.get(name).ok_or_else(|| EngineError::NoProvider(name.to_string()))
    }

    /// Every kind that pipelines can use.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindSchema> {
        self.0.values().flat_map(|p| p.describe().kinds).collect()
    }

    /// Names and versions.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.0.values().map(|p| p.describe()).map(|d| (d.name, d.version)).collect()
    }
}

/// A pipeline with everything it works with.
#[derive(Clone)]
pub struct Session {
    pub(crate) governance: Arc<Governance>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) providers: Providers,
    pub(crate) context: Context,
    pub(crate) actor: Actor,
    pub(crate) lease_ttl: Duration,
    folded: Arc<Mutex<Folded>>,
    /// Whoever judges and appends holds it: see [`Session::in_turn`].
    turn: Arc<Mutex<()>>,
    files: Arc<Files>,
    /// Of the places that were looked at, those that could not be, each with what was said last.
    pub(crate) unseen: Arc<Mutex<BTreeMap<(EnvironmentName, TargetName), ProviderError>>>,
    pub(crate) reports: Reports,
    pub(crate) repositories: Option<Arc<dyn Repositories>>,
}

/// How long a lease holds without renewal (S9.4).
const LEASE_TTL: Duration = Duration::from_secs(60);

impl Session {
    /// Opens a session. `root` is the directory of the pipeline file. The ledger blocks: on a runtime of several threads
    /// its calls, also those through [`Session::store`], are handed over and hold up no other task.
    #[must_use]
    pub fn new(
        governance: Governance,
        store: Arc<dyn Store>,
        providers: Providers,
        clock: Arc<dyn Clock>,
        actor: Actor,
        root: PathBuf,
    ) -> Self {
        let store: Arc<dyn Store> = Arc::new(HandedOver(store));
        let files = Arc::new(Files { store: store.clone(), tree: Mutex::default(), root: root.clone() });
        let context = outside(clock, files.clone(), root);
        Self {
            governance: Arc::new(governance),
            store,
            providers,
            context,
            actor,
            lease_ttl: LEASE_TTL,
            folded: Arc::default(),
            turn: Arc::default(),
            files,
            unseen: Arc::default(),
            reports: Reports::default(),
            repositories: None,
        }
    }

    /// Why a place could not be looked at when a plan was made last; none where it could. A plan says only that it is not known
    /// what is there: the reason may be another one in a moment, or on another machine.
    #[must_use]
    pub fn unseen(&self, environment: &EnvironmentName, target: &TargetName) -> Option<ProviderError> {
        let all = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(environment.clone(), target.clone())).cloned()
    }

    /// The same session without a way to any server: a provider that needs one is refused by [`Context::http`].
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.context.http = None;
        self
    }

    /// The same session with leases that hold for `ttl` without renewal, instead of 60 seconds (S9.4). A shorter one
    /// makes the run of a dead process resumable sooner, and a run that is cut off from its ledger stops sooner.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// The pipeline under its policy.
    #[must_use]
    pub fn governance(&self) -> &Governance {
        &self.governance
    }

    /// The ledger.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Who acts, as a claim.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// As what this session asks for plans.
    #[must_use]
    pub fn invoker(&self) -> Invoker {
        self.actor.kind.into()
    }

    /// Cancelling this stops child processes and provider calls at once.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.context.cancelled
    }

    /// The directory of the pipeline file.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.context.root
    }

    /// The time that windows and soak go by: the ledger's (S12.6).
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn now(&self) -> Result<Timestamp, EngineError> {
        Ok(self.store.now()?)
    }

    /// The same, with what speaks against it: only on this may anything be judged (S12.6).
    ///
    /// # Errors
    /// As [`Session::view`].
    pub fn present(&self) -> Result<Present, EngineError> {
        self.with_folded(|folded| {
            // Under the lock: of two readings at once, the later one could be taken for a clock that goes back.
            let before = self.context.clock.now();
            let ledger = self.store.now()?;
            let latest = folded.seen.max(folded.view.latest.map(|(at, _)| at));
            let readings = Readings { ledger, machine: (before, self.context.clock.now()), latest };
            folded.seen = folded.seen.max(Some(ledger));
            Ok(Present::of(&readings))
        })?
    }

    /// The latest time that a record bears, where the ledger's clock went back behind it: what a person takes back with
    /// [`crate::lifts::Lift::Clock`] when that record was written while the clock was ahead. What such records say of
    /// themselves stays: a soak that began then begins then.
    ///
    /// # Errors
    /// When no record is ahead of the clock, or the clock differs from this machine's, which no record mends.
    pub fn record_ahead(&self) -> Result<Timestamp, EngineError> {
        let present = self.present()?;
        let latest = self.with_view(|view| view.latest)?;
        match (present.doubt, latest) {
            (Some(Doubt::WentBack { ledger, .. }), Some((ahead, _)))
                if ahead.duration_since(ledger) > MAX_STEP_BACK =>
            {
                Ok(ahead)
            }
            (Some(doubt @ Doubt::Skew { .. }), _) => Err(EngineError::Invalid(Reason::from(doubt).to_string())),
            _ => Err(EngineError::Invalid("no record of the ledger is ahead of its clock".into())),
        }
    }

    /// Verifies the ledger against itself ([`promo_ledger::verify()`]), and folds what it reads: each record is read once. What
    /// its records name must be kept: plans, files of releases and of deployments.
    ///
    /// # Errors
    /// As [`promo_ledger::verify()`]. A record that cannot be folded is no finding: [`Session::view`] tells it.
    pub fn verify(&self) -> Result<VerifyReport, VerifyError> {
        let (origin, mut folded) = (self.store.origin(), Some(Folded::default()));
        let report = blocking(|| {
            promo_ledger::verify_each(self.store.as_ref(), &[], &mut |Sound { record, event, digest, leaf }| {
                let take =
                    |folded: &mut Folded| folded.take(&origin, &self.governance, record, (digest, leaf), || Ok(event));
                if folded.as_mut().is_some_and(|folded| take(folded).is_err()) {
                    folded = None;
                }
            })
        })?;
        if let Some(read) = folded {
            let gone = blocking(|| kept::missing(self.store.as_ref(), &read.view))?;
            if !gone.is_empty() {
                return Err(VerifyError::Findings(gone));
            }
            *self.folded.lock().unwrap_or_else(PoisonError::into_inner) = read;
        }
        Ok(report)
    }

    /// What the ledger says now. Records that were folded before are not read again, and nothing is copied until the ledger
    /// grows while somebody holds on to what it said.
    ///
    /// # Errors
    /// When the ledger cannot be read or is damaged, and [`EngineError::OtherLedger`].
    pub fn view(&self) -> Result<Arc<View>, EngineError> {
        self.with_folded(|folded| folded.view.clone())
    }

    /// A question to what the ledger says now, without copying it.
    ///
    /// # Errors
    /// As [`Session::view`].
    pub fn with_view<T>(&self, ask: impl FnOnce(&View) -> T) -> Result<T, EngineError> {
        self.with_folded(|folded| ask(&folded.view))
    }

    /// What the ledger said when it had `size` records, which must give `root`: what a plan of then was made from.
    ///
    /// # Errors
    /// As [`Session::view`].
    pub(crate) fn view_at(&self, size: u64, root: &Digest) -> Result<Arc<View>, EngineError> {
        let view = self.view()?;
        if view.size == size {
            return Ok(view);
        }
        let mut then = Folded::default();
        blocking(|| then.read(self.store.as_ref(), &self.governance, size, root))?;
        Ok(then.view)
    }

    /// What the ledger says now, under its lock. Waiting for whoever has it is handed over like the reading.
    fn with_folded<T>(&self, ask: impl FnOnce(&mut Folded) -> T) -> Result<T, EngineError> {
        blocking(|| {
            let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
            folded.extend(self.store.as_ref(), &self.governance)?;
            Ok(ask(&mut folded))
        })
    }

    /// Whether a signed statement about a check, or about who applies, is in the ledger and counted.
    pub(crate) fn has_spoken(&self, statement: &Digest) -> Result<bool, EngineError> {
        self.with_folded(|folded| folded.spoken.contains(statement))
    }

    /// A draft of an event by this session's actor.
    #[must_use]
    pub fn draft(&self, event: Event) -> Draft {
        Draft {
            rid: uuid::Uuid::now_v7().to_string(),
            pipeline: self.governance.pipeline.name.clone(),
            environment: None,
            run: None,
            step: None,
            epoch: None,
            plan: None,
            policy: self.governance.policy.as_ref().map(|p| p.digest),
            actor: self.actor.clone(),
            claimed_at: self.context.clock.now(),
            tool: TOOL.to_string(),
            event,
            private: BTreeMap::new(),
        }
    }

    /// Refuses to work without the policy that the ledger has adopted, under one of another name that no trust file pins,
    /// under a lower version, and under the same version with other bytes (S7.1). Reads only.
    ///
    /// # Errors
    /// [`EngineError::PolicyNotAdopted`], [`EngineError::PolicyReplaced`], [`EngineError::PolicyReused`], or when the
    /// ledger cannot be read.
    pub fn admit_policy(&self) -> Result<(), EngineError> {
        self.with_view(|view| self.adoption(view).map(|_| ()))?
    }

    /// Records that this session's policy is in use, where the ledger has not seen it yet.
    ///
    /// # Errors
    /// As [`Session::admit_policy`], and what the ledger says.
    pub(crate) fn adopt_policy(&self) -> Result<(), EngineError> {
        self.append(&Expect::default(), &[]).map(|_| ())
    }

    /// The record that adopts this session's policy, where the ledger has none.
    pub(crate) fn adoption(&self, view: &View) -> Result<Option<Draft>, EngineError> {
        let brought = self.governance.policy.as_ref();
        if let Some(seen) = view.policy_in_force()
            && !(self.governance.pinned || brought.is_some_and(|policy| policy.name == seen.name))
        {
            let (expected, found) = (Box::new(seen.clone()), brought.cloned().map(Box::new));
            return Err(EngineError::PolicyNotAdopted { expected, found });
        }
        let Some(policy) = brought else { return Ok(None) };
        match view.adopted(policy) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(self.draft(Event::PolicyAdopted { policy: policy.clone() }))),
            Err(seen) => {
                let (expected, found) = (Box::new(seen.clone()), Box::new(policy.clone()));
                Err(if seen.version > policy.version {
                    EngineError::PolicyReplaced { expected, found }
                } else {
                    EngineError::PolicyReused { expected, found }
                })
            }
        }
    }

    /// Appends drafts to the ledger. The first ones under a policy record its adoption in the same transaction (S7.1); what
    /// a run writes under its lock does not, because a run adopts its policy with its first record at the latest.
    ///
    /// # Errors
    /// What the ledger says; [`Session::admit_policy`] for what is written outside of a run.
    pub fn append(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, EngineError> {
        self.in_turn(|| self.append_now(expect, drafts))
    }

    /// Judges and appends while no other branch of this process does: none has to judge again because another one was
    /// quicker, and what the ledger says, which the ledger's growth would have to copy, is not held by anybody meanwhile.
    /// Other processes are kept out by the head that an append expects, as ever. Turns do not nest.
    pub(crate) fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        blocking(|| {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work()
        })
    }

    /// The same as [`Session::append`], for whoever has the turn.
    pub(crate) fn append_now(&self, expect: &Expect, drafts: &[Draft]) -> Result<Vec<Record>, EngineError> {
        // What was legal when it was checked may no longer be, under a lock too: what a run is started with is no part of what
        // the lock protects. An illegal record would stay for good, so each is judged against the very head that it is
        // appended to.
        loop {
            let view = self.view()?;
            let head = view.size;
            if expect.head.is_some_and(|expected| expected != head) {
                // The caller looked at another head: the store says so, and the caller looks again.
                return Ok(self.store.append_if_head(expect, drafts)?);
            }
            let begins = drafts.iter().any(|draft| matches!(draft.event, Event::RunStarted { .. }));
            let adoption = if begins || expect.fences.is_empty() { self.adoption(&view)? } else { None };
            let adopted = usize::from(adoption.is_some());
            let drafts: Vec<Draft> = adoption.into_iter().chain(drafts.iter().cloned()).collect();
            if drafts.is_empty() {
                return Ok(Vec::new());
            }
            if let Err(refused) = self.admit(view, &drafts) {
                // What the caller expects and is not so says more. No ledger has this head, so nothing is written.
                let nowhere = Expect { head: Some(u64::MAX), ..expect.clone() };
                return match self.store.append_if_head(&nowhere, &drafts) {
                    Err(AppendError::HeadMoved { .. }) => Err(refused),
                    result => Ok(result?),
                };
            }
            let at = Expect { head: Some(head), ..expect.clone() };
            match self.store.append_if_head(&at, &drafts) {
                Err(AppendError::HeadMoved { .. }) if expect.head.is_none() => {}
                result => return Ok(result?.split_off(adopted)),
            }
        }
    }

    /// Appends a record that a judgment lets in, judged over the very records that it follows: whoever else appends at the same
    /// moment makes it be judged again. Each of them got on, so this ends.
    pub(crate) fn append_judged<T>(
        &self,
        draft: Draft,
        judge: impl Fn(&View) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let drafts = [draft];
        self.in_turn(|| {
            loop {
                let view = self.view()?;
                let judged = judge(&view)?;
                match self.append_now(&Expect { head: Some(view.size), ..Expect::default() }, &drafts) {
                    Ok(_) => return Ok(judged),
                    Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// Whether these may follow what the ledger says. Of several, each is looked at behind those before it; for one alone,
    /// nothing is copied.
    fn admit(&self, mut view: Arc<View>, drafts: &[Draft]) -> Result<(), EngineError> {
        let now = self.now()?;
        let illegal = |illegal: IllegalRecord| EngineError::Invalid(illegal.why);
        for (place, draft) in drafts.iter().enumerate() {
            // Folding looks at neither predecessor nor commitments.
            let record = draft.record(view.size, Digest::of(b""), now, BTreeMap::new());
            view.admit(&record).map_err(illegal)?;
            self.admit_applier(&view, draft, &record)?;
            if place + 1 < drafts.len() {
                Arc::make_mut(&mut view).apply(&record).map_err(illegal)?;
            }
        }
        Ok(())
    }

    /// Files of the working tree and of configuration snapshots, by digest.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }
}

/// A new id of a run: time-ordered, so that a list of runs sorts by age.
pub(crate) fn new_run_id() -> RunId {
    let text = uuid::Uuid::now_v7().simple().to_string();
    text.parse().expect("invariant: 32 hexadecimal digits are a name")
}
