//! The present as a function of the records (architecture: "fold the ledger, never mutate it").

mod facts;
mod legal;
mod take;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::Digest;
use crate::graph::Graph;
use crate::ids::{CheckName, EnvironmentName, ReleaseId, RunId};
use crate::ledger::{Event, Record};
use crate::plan::PolicyRef;
use crate::requirement::Subject;

pub use facts::{
    Applier, ApprovalEntry, Configuration, Drill, EnvironmentView, EvidenceEntry, Found, Freeze, Note, Promotion,
    ReleaseEntry, Request, Residence, Run, Said, StepView, Stop, StopAct, Turned, VerdictEntry, Withdrawn,
};

/// A record that cannot follow what stands before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} ({kind}) is not legal here: {why}")]
pub struct IllegalRecord {
    /// Its position.
    pub seq: u64,
    /// Its kind.
    pub kind: String,
    /// Which rule it breaks.
    pub why: String,
}

/// Everything that the records of one pipeline say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Count of records folded, of all pipelines.
    pub size: u64,
    /// The latest time that a record of any pipeline bears, and the position of the first that bears it; of those before a
    /// record that took the clock as it is, none counts (S12.6).
    pub latest: Option<(Timestamp, u64)>,
    /// Releases in lineage order.
    pub releases: Vec<ReleaseEntry>,
    /// What of each artifact runs somewhere, by the digest of the artifact, where that was seen.
    pub described: BTreeMap<Digest, Subject>,
    /// Who said so last, by the digest of the artifact.
    pub described_by: BTreeMap<Digest, Note>,
    /// Documents that somebody brought, in ledger order.
    pub evidence: Vec<EvidenceEntry>,
    /// Where each release stands in `releases`.
    by_id: BTreeMap<ReleaseId, usize>,
    /// What is known of each environment that anything happened in.
    pub environments: BTreeMap<EnvironmentName, EnvironmentView>,
    /// Quarantines in force: release and scope, none meaning everywhere.
    pub quarantines: BTreeMap<(ReleaseId, Option<EnvironmentName>), Note>,
    /// Digests that were recalled. What keeps releases out are the quarantines that came of it.
    pub recalled: BTreeMap<Digest, Note>,
    /// The newest tags of the artifacts when somebody last saw others than before.
    pub found: Option<Found>,
    /// Freezes by people in force, by environment; none means all.
    pub freezes: BTreeMap<Option<EnvironmentName>, Freeze>,
    /// Pauses of automatic promotion after a rollback, in the same way; a freeze by a person beside one changes nothing about it.
    pub pauses: BTreeMap<Option<EnvironmentName>, Freeze>,
    /// Everything that stopped promotion or lifted what stopped it, in ledger order.
    pub stops: Vec<Stop>,
    /// The newest version of each policy that the ledger has seen in use, by name; from records of every pipeline.
    pub policies: BTreeMap<String, PolicyRef>,
    /// The name of the policy that was adopted last.
    in_force: Option<String>,
    /// Plans put up for approval, by digest.
    pub requests: BTreeMap<Digest, Request>,
    /// Signed statements in the order in which they arrived.
    pub approvals: Vec<ApprovalEntry>,
    /// Statements that stand in the ledger and count for nothing, in ledger order.
    pub uncounted: Vec<Uncounted>,
    /// Runs by id.
    pub runs: BTreeMap<RunId, Run>,
    /// Who signed that they apply a plan, by the run that they signed for, in ledger order.
    pub appliers: BTreeMap<RunId, Vec<Applier>>,
    /// Plans that a run has used.
    pub consumed: BTreeMap<Digest, RunId>,
}

/// A statement that counts for nothing, because its signature does not bear it out (S12.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncounted {
    /// Position of the record.
    pub seq: u64,
    /// What it is about.
    pub about: Spoken,
    /// Why, in words.
    pub why: String,
}

/// What a signed statement speaks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// A check on a release.
    Check {
        /// Where.
        environment: EnvironmentName,
        /// About which release.
        release: ReleaseId,
        /// Which check.
        check: CheckName,
    },
    /// A request for approval.
    Request {
        /// Of which plan.
        plan: Digest,
    },
    /// Who applies a plan.
    Apply {
        /// In which run.
        run: RunId,
    },
    /// The lifting of a quarantine.
    Lift {
        /// Of which release.
        release: ReleaseId,
        /// The scope that was rejected; none means everywhere.
        scope: Option<EnvironmentName>,
    },
    /// The end of the recall of a digest.
    Recall {
        /// Which.
        artifact: Digest,
    },
    /// The withdrawal of a document.
    Withdrawal {
        /// Which.
        document: Digest,
    },
    /// Who wrote something.
    Authors {
        /// Which release.
        release: ReleaseId,
    },
    /// The clock as it is.
    Clock,
    /// The lifting of freezes.
    Unfreeze {
        /// Of which environments; none means the freeze of all.
        scopes: Vec<Option<EnvironmentName>>,
    },
}

impl View {
    /// The release of that id.
    #[must_use]
    pub fn release(&self, id: &ReleaseId) -> Option<&ReleaseEntry> {
        self.by_id.get(id).map(|&at| &self.releases[at])
    }

    /// The records of a document that count: nobody has withdrawn it since.
    pub fn standing(&self, document: &Digest) -> impl Iterator<Item = &EvidenceEntry> {
        self.evidence.iter().filter(move |entry| entry.document == *document && entry.withdrawn.is_none())
    }

    /// The lineage number of a release, 0 for one that is not in the ledger.
    #[must_use]
    pub fn lineage(&self, id: &ReleaseId) -> u64 {
        self.release(id).map_or(0, |entry| entry.lineage)
    }

    /// What is known of an environment, if anything happened there.
    #[must_use]
    pub fn environment(&self, name: &EnvironmentName) -> Option<&EnvironmentView> {
        self.environments.get(name)
    }

    /// What runs in an environment.
    #[must_use]
    pub fn current(&self, name: &EnvironmentName) -> Option<&Residence> {
        self.environments.get(name).and_then(|e| e.residences.last())
    }

    /// The quarantine that bars a release from an environment: one for everywhere, for the environment, or for one
    /// upstream of it (S10.4, S16).
    #[must_use]
    pub fn quarantine<'a>(
        &'a self,
        release: &ReleaseId,
        environment: &EnvironmentName,
        graph: &Graph,
    ) -> Option<(&'a Option<EnvironmentName>, &'a Note)> {
        self.quarantines.iter().find_map(|((rejected, scope), note)| {
            let bars = match scope {
                None => true,
                Some(scope) => scope == environment || graph.reaches(scope, environment),
            };
            (rejected == release && bars).then_some((scope, note))
        })
    }

    /// The freeze that holds for an environment: a person's before an automatic pause, which stops less, and then one of
    /// its own before one for all.
    #[must_use]
    pub fn freeze(&self, environment: &EnvironmentName) -> Option<&Freeze> {
        let own = Some(environment.clone());
        let stops = [(&self.freezes, &own), (&self.freezes, &None), (&self.pauses, &own), (&self.pauses, &None)];
        stops.into_iter().find_map(|(stops, scope)| stops.get(scope))
    }

    /// What an unfreeze of that scope lifts: the freeze by a person, and only where there is none the pause.
    #[must_use]
    pub fn lifted_next(&self, scope: &Option<EnvironmentName>) -> Option<&Freeze> {
        self.freezes.get(scope).or_else(|| self.pauses.get(scope))
    }

    /// Whether whoever is at work on a run under that epoch has signed that they move this environment.
    #[must_use]
    pub fn signed_for(&self, run: &RunId, epoch: u64, environment: &EnvironmentName) -> bool {
        let signed = self.appliers.get(run).into_iter().flatten();
        signed.into_iter().any(|applier| applier.epoch == epoch && applier.environments.contains(environment))
    }

    /// The requests that wait for approval or for being applied: open, not superseded, not used.
    pub fn pending(&self, now: Timestamp) -> impl Iterator<Item = (&Digest, &Request)> {
        self.requests.iter().filter(move |(plan, request)| {
            let open = now < request.expires && !self.consumed.contains_key(*plan);
            open && self.superseding(plan, request.seq, &request.environments).is_none()
        })
    }

    /// The plan whose request took the place of another plan for one of these environments: the first one that was asked for
    /// after it (S6.7). A plan stands where it was first asked for; one that nobody asked for stands behind `made` records,
    /// those that it was made from.
    pub fn superseding<'e>(
        &self,
        plan: &Digest,
        made: u64,
        environments: impl IntoIterator<Item = &'e EnvironmentName>,
    ) -> Option<&Digest> {
        let since = self.requests.get(plan).map_or(made, |own| own.seq);
        let moved: BTreeSet<&EnvironmentName> = environments.into_iter().collect();
        let newer = self.requests.iter().filter(|(other, request)| {
            *other != plan && request.seq >= since && request.environments.iter().any(|name| moved.contains(name))
        });
        newer.min_by_key(|(_, request)| request.seq).map(|(other, _)| other)
    }

    /// The policy that the ledger works under: the newest version of the one that was adopted last (S7.1).
    #[must_use]
    pub fn policy_in_force(&self) -> Option<&PolicyRef> {
        self.in_force.as_ref().and_then(|name| self.policies.get(name))
    }

    /// Whether the ledger has this very policy on record; a version that would be new is not.
    ///
    /// # Errors
    /// The one on record when it has a higher version, or the same version with other bytes (S7.1).
    pub fn adopted(&self, policy: &PolicyRef) -> Result<bool, &PolicyRef> {
        match self.policies.get(&policy.name) {
            None => Ok(false),
            Some(seen) if seen.version < policy.version => Ok(false),
            Some(seen) if seen == policy => Ok(true),
            Some(seen) => Err(seen),
        }
    }

    /// Folds one more record of this pipeline's ledger.
    ///
    /// # Errors
    /// [`IllegalRecord`] when the record cannot follow what stands before it: an effect without intent, a promotion that
    /// starts while another one is under way, a second use of a plan, a release under another content's id.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalRecord> {
        self.apply_event(record, event_of(record)?)
    }

    /// The same for whoever has the record's event at hand.
    ///
    /// # Errors
    /// As [`View::apply`].
    pub fn apply_event(&mut self, record: &Record, event: Event) -> Result<(), IllegalRecord> {
        self.admit_event(record, &event)?;
        self.take(record, event);
        self.pass(record);
        if let Some(run) = record.run.as_ref().and_then(|id| self.runs.get_mut(id)) {
            run.seen = record.recorded_at;
        }
        if let (Some(name), true) = (&record.environment, counts_for_generation(&record.kind)) {
            self.environments.entry(name.clone()).or_default().generation += 1;
        }
        Ok(())
    }

    /// Whether a record may follow what stands here.
    ///
    /// # Errors
    /// As [`View::apply`], which asks this first: an illegal record changes nothing.
    pub fn admit(&self, record: &Record) -> Result<(), IllegalRecord> {
        self.admit_event(record, &event_of(record)?)
    }

    fn admit_event(&self, record: &Record, event: &Event) -> Result<(), IllegalRecord> {
        let about = match event {
            Event::PromotionStarted { environment, .. }
            | Event::WaveFinished { environment, .. }
            | Event::Deployed { environment, .. }
            | Event::ConfigurationStarted { environment, .. }
            | Event::DrillStarted { environment, .. }
            | Event::DrillTurned { environment, .. }
            | Event::PromotionFinished { environment, .. } => Some(environment),
            _ => None,
        };
        // Generations count by the record's environment: it must be the one that the event moves.
        if about.is_some() && about != record.environment.as_ref() {
            return Err(illegal(record, "it names another environment than it moves".into()));
        }
        self.legal(record, event).map_err(|why| illegal(record, why))
    }

    /// Counts a record of another pipeline, which says nothing here but when it was written.
    pub fn pass(&mut self, record: &Record) {
        self.size = record.seq + 1;
        if self.latest.is_none_or(|(latest, _)| record.recorded_at > latest) {
            self.latest = Some((record.recorded_at, record.seq));
        }
    }

    /// Folds a record whose signature was looked at above the core and found not to bear it out: it is named in
    /// [`View::uncounted`]. A verdict, a withdrawal or a lift counts for nothing then, and a request for as much as one that
    /// nobody signed (S12.3): what it closes stays closed. What was signed about applying a plan is as if it were not there.
    ///
    /// # Errors
    /// [`IllegalRecord`] for a record of another kind: nothing else may be passed over.
    pub fn disregard(&mut self, record: &Record, event: Event, why: String) -> Result<(), IllegalRecord> {
        match event {
            Event::VerdictRecorded { environment, release, check, .. }
            | Event::VerdictWithdrawn { environment, release, check, .. } => {
                let about = Spoken::Check { environment, release, check };
                self.uncounted.push(Uncounted { seq: record.seq, about, why });
            }
            Event::PlanRequested { environments, expires, initiator, .. } => {
                let unsigned = Event::PlanRequested { environments, expires, initiator, by: None, signed: None };
                self.legal(record, &unsigned).map_err(|why| illegal(record, why))?;
                self.take(record, unsigned);
                let about = Spoken::Request { plan: record.plan.expect("invariant: the fold refuses one without") };
                self.uncounted.push(Uncounted { seq: record.seq, about, why });
            }
            event @ Event::RunSigned { .. } => {
                self.legal(record, &event).map_err(|why| illegal(record, why))?;
                let run = record.run.clone().expect("invariant: the fold refuses one without");
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Apply { run }, why });
            }
            Event::ReleaseLifted { release, scope, .. } => {
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Lift { release, scope }, why });
            }
            Event::RecallLifted { artifact, .. } => {
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Recall { artifact }, why });
            }
            Event::EvidenceWithdrawn { document, .. } => {
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Withdrawal { document }, why });
            }
            Event::AuthorsNamed { release, .. } => {
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Authors { release }, why });
            }
            Event::ClockAccepted { .. } => {
                self.uncounted.push(Uncounted { seq: record.seq, about: Spoken::Clock, why });
            }
            Event::Unfrozen { environments, .. } => {
                let about = Spoken::Unfreeze { scopes: scopes(environments) };
                self.uncounted.push(Uncounted { seq: record.seq, about, why });
            }
            _ => return Err(illegal(record, "it carries no statement that could be passed over".into())),
        }
        self.pass(record);
        Ok(())
    }
}

fn illegal(record: &Record, why: String) -> IllegalRecord {
    IllegalRecord { seq: record.seq, kind: record.kind.clone(), why }
}

/// The event of a record.
///
/// # Errors
/// [`IllegalRecord`] when its body does not fit its kind.
pub fn event_of(record: &Record) -> Result<Event, IllegalRecord> {
    Event::from_parts(&record.kind, &record.body).map_err(|error| illegal(record, error.to_string()))
}

/// Folds the records of one pipeline in order.
///
/// # Errors
/// As [`View::apply`].
pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<View, IllegalRecord> {
    let mut view = View::default();
    for record in records {
        view.apply(record)?;
    }
    Ok(view)
}

/// Whether a record of this kind changes what a plan for its environment may rely on (S8.2).
#[must_use]
pub fn counts_for_generation(kind: &str) -> bool {
    matches!(kind, "promotion.started" | "environment.deployed" | "promotion.finished")
}

fn scopes(environments: BTreeSet<EnvironmentName>) -> Vec<Option<EnvironmentName>> {
    if environments.is_empty() { alloc::vec![None] } else { environments.into_iter().map(Some).collect() }
}
