//! What each record changes. What must not be here: whether it may; that is in `legal`, and was asked before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use super::{
    Applier, ApprovalEntry, Configuration, Drill, EvidenceEntry, Found, Freeze, Note, Promotion, ReleaseEntry, Request,
    Residence, Run, Said, StepView, Stop, StopAct, Turned, VerdictEntry, View, Withdrawn, scopes,
};
use crate::ids::{CheckName, EnvironmentName, IdentityName, ReleaseId};
use crate::ledger::event::Movement;
use crate::ledger::record::{DETAIL, METADATA};
use crate::ledger::{Event, Record};
use crate::requirement::Subject;

/// Why what a legal record names is there.
const NAMED: &str = "invariant: a legal record names what it is about";

impl View {
    /// What an event changes, once it is legal.
    pub(super) fn take(&mut self, record: &Record, event: Event) {
        let at = record.recorded_at;
        let told = record.commitments.contains_key(DETAIL).then_some(record.seq);
        let note = |automatic| Note { seq: record.seq, at, by: record.actor.clone(), automatic };
        match event {
            Event::ReleaseAdded { release } => {
                let lineage = self.releases.len() as u64 + 1;
                self.by_id.insert(release.id.clone(), self.releases.len());
                let (seq, by) = (record.seq, record.actor.clone());
                let said = record.commitments.keys().filter_map(|field| field.strip_prefix(METADATA));
                let (said, authors) = (said.map(String::from).collect(), BTreeSet::new());
                self.releases.push(ReleaseEntry { lineage, seq, release, added: at, by, said, authors });
            }
            Event::AuthorsNamed { release, authors, by, .. } => {
                let entry = self.by_id.get(&release).map(|place| &mut self.releases[*place]).expect(NAMED);
                entry.authors.extend(authors);
                entry.authors.insert(by);
            }
            Event::ArtifactDescribed { artifact, platforms, nature, corrects } => {
                let subject = Subject { digest: artifact, nature, platforms };
                match self.described.get_mut(&artifact).filter(|_| !corrects) {
                    Some(known) => known.join(subject),
                    None => _ = self.described.insert(artifact, subject),
                }
                self.described_by.insert(artifact, note(false));
            }
            Event::EvidenceAdded { document, format, name, subjects, attached } => {
                let (seq, by) = (record.seq, record.actor.clone());
                let withdrawn = None;
                self.evidence.push(EvidenceEntry {
                    seq,
                    at,
                    by,
                    document,
                    format,
                    name,
                    subjects,
                    attached,
                    withdrawn,
                });
            }
            Event::EvidenceWithdrawn { document, by, .. } => {
                let signer = self.signer(by);
                for entry in self.evidence.iter_mut().filter(|entry| entry.document == document) {
                    let withdrawn = || Withdrawn { note: note(false), signer: signer.clone() };
                    entry.withdrawn = entry.withdrawn.take().or_else(|| Some(withdrawn()));
                }
                self.stops.push(Stop { note: note(false), act: StopAct::Withdrawn { document }, signer });
            }
            Event::ReleaseRejected { release, scope, automatic } => {
                let act = StopAct::Rejected { release: release.clone(), scope: scope.clone() };
                self.stops.push(Stop { note: note(automatic), act, signer: None });
                self.quarantines.insert((release, scope), note(automatic));
            }
            Event::ArtifactsFound { sources } => self.found = Some(Found { sources, note: note(false) }),
            Event::ArtifactRecalled { artifact } => {
                self.recalled.insert(artifact, note(false));
                let act = StopAct::Recalled { artifact };
                self.stops.push(Stop { note: note(false), act, signer: None });
            }
            Event::RecallLifted { artifact, by, .. } => {
                self.recalled.remove(&artifact);
                let (act, signer) = (StopAct::RecallLifted { artifact }, self.signer(by));
                self.stops.push(Stop { note: note(false), act, signer });
            }
            Event::ReleaseLifted { release, scope, by, .. } => {
                let quarantine = (release, scope);
                self.quarantines.remove(&quarantine);
                let (release, scope) = quarantine;
                let (act, signer) = (StopAct::Lifted { release, scope }, self.signer(by));
                self.stops.push(Stop { note: note(false), act, signer });
            }
            Event::VerdictRecorded { environment, release, check, passed, unanswered, by, .. } => {
                let said = if passed { Said::Passed } else { Said::Failed };
                self.verdict(record, environment, release, check, said, by, unanswered);
            }
            Event::VerdictWithdrawn { environment, release, check, by, .. } => {
                self.verdict(record, environment, release, check, Said::Withdrawn, by, false);
            }
            Event::HealthObserved { environment, healthy } => {
                self.environments.entry(environment).or_default().health.push((at, healthy));
            }
            Event::Frozen { environments, automatic } => {
                let freeze = Freeze { note: note(automatic) };
                let scopes = scopes(environments);
                let act = StopAct::Frozen { scopes: scopes.clone() };
                self.stops.push(Stop { note: note(automatic), act, signer: None });
                for scope in scopes {
                    let stops = if automatic { &mut self.pauses } else { &mut self.freezes };
                    stops.insert(scope, freeze.clone());
                }
            }
            Event::Unfrozen { environments, by, .. } => {
                let scopes = scopes(environments);
                for scope in &scopes {
                    if self.freezes.remove(scope).is_none() {
                        self.pauses.remove(scope);
                    }
                }
                let (act, signer) = (StopAct::Unfrozen { scopes }, self.signer(by));
                self.stops.push(Stop { note: note(false), act, signer });
            }
            Event::PolicyAdopted { policy } => {
                self.in_force = Some(policy.name.clone());
                self.policies.insert(policy.name.clone(), policy);
            }
            Event::PlanRequested { environments, expires, initiator, by, .. } => {
                let plan = record.plan.expect(NAMED);
                // Asking again neither prolongs the request nor takes away who asked before.
                let request = self.requests.entry(plan).or_insert_with(|| Request {
                    seq: record.seq,
                    records: alloc::vec::Vec::new(),
                    environments,
                    at,
                    expires,
                    initiators: BTreeSet::new(),
                    signers: BTreeSet::new(),
                });
                request.records.push(record.seq);
                request.initiators.insert(initiator);
                request.signers.extend(by);
            }
            Event::ApprovalRecorded { envelope } => {
                self.approvals.push(ApprovalEntry { seq: record.seq, at, plan: record.plan, envelope });
            }
            Event::RunSigned { environments, by, .. } => {
                let (run, epoch) = (record.run.clone().expect(NAMED), record.epoch.expect(NAMED));
                let applier = Applier { seq: record.seq, by, environments, epoch };
                self.appliers.entry(run).or_default().push(applier);
            }
            Event::RunStarted { environments, approvals, applier } => {
                let (run, plan) = (record.run.clone().expect(NAMED), record.plan.expect(NAMED));
                self.consumed.insert(plan, run.clone());
                let started = Run {
                    plan,
                    environments,
                    applier,
                    started: at,
                    seen: at,
                    approvals,
                    steps: BTreeMap::new(),
                    interrupted: false,
                    finished: None,
                };
                self.runs.insert(run, started);
            }
            Event::PromotionStarted { environment, from, to, movement } => {
                let run = record.run.clone().expect(NAMED);
                let view = self.environments.entry(environment).or_default();
                view.fired.insert(to.clone());
                view.active = Some(Promotion {
                    run,
                    from,
                    to,
                    movement,
                    started: at,
                    waves: alloc::vec::Vec::new(),
                    deployed: false,
                    finished: None,
                    told: None,
                    by: record.actor.clone(),
                    plan: record.plan,
                    drill: None,
                    configuration: None,
                });
            }
            Event::ConfigurationStarted { environment, files, settings, .. } => {
                self.active(&environment).configuration = Some(Configuration { files, settings });
            }
            Event::DrillStarted { environment, back, .. } => {
                let drill = Drill { back, began: (at, record.epoch), acted: false, turned: None };
                self.active(&environment).drill = Some(drill);
            }
            Event::DrillTurned { environment, passed, .. } => {
                let drill = self.active(&environment).drill.as_mut().expect("invariant: what turns is a drill");
                drill.turned = Some(Turned { at, passed, resumed: drill.began.1 != record.epoch, told });
            }
            Event::StepIntent { expected, desired } => {
                let (step, epoch) = (record.step.clone().expect(NAMED), record.epoch.expect(NAMED));
                if let Some((name, view)) =
                    record.environment.as_ref().and_then(|name| Some((name, self.environments.get_mut(name)?)))
                {
                    let health = view.health.len();
                    let active = view.active.as_mut().filter(|active| Some(&active.run) == record.run.as_ref());
                    if let (Some(active), Some(last)) = (&active, view.residences.last_mut())
                        && brings_another(active, last, name, &step)
                    {
                        last.end(at, health);
                    }
                    let drill = active.and_then(|promotion| promotion.drill.as_mut());
                    if let Some(drill) = drill.filter(|drill| !drill.acted) {
                        (drill.began, drill.acted) = ((at, record.epoch), true);
                    }
                }
                let run = self.run_of(record);
                run.interrupted = false;
                let intended = record.seq;
                run.steps.insert(step, StepView { expected, desired, intended, epoch, observed: None, told: None });
            }
            Event::StepEffect { observed } => {
                let step = record.step.as_ref().and_then(|step| self.run_of(record).steps.get_mut(step));
                let step = step.expect("invariant: an effect follows its intent");
                (step.observed, step.told) = (Some(observed), told);
            }
            Event::Deployed { environment, release, files, settings, targets } => {
                let view = self.environments.entry(environment).or_default();
                if let Some(active) = view.active.as_mut().filter(|active| record.run.as_ref() == Some(&active.run)) {
                    active.deployed = true;
                }
                // The same release and files again change neither soak nor verdict (S16), unless something else was on its way
                // there in between.
                if let Some(last) = view.residences.last_mut() {
                    let same = last.release == release && last.files == files && last.settings == settings;
                    if same && last.until.is_none() {
                        last.targets = targets;
                        return;
                    }
                    last.end(at, view.health.len());
                }
                let run = record.run.clone();
                view.residences.push(Residence {
                    release,
                    files,
                    settings,
                    targets,
                    since: at,
                    until: None,
                    run,
                    health_from: view.health.len(),
                    health_until: None,
                });
            }
            Event::WaveFinished { environment, .. } => {
                self.active(&environment).waves.push(at);
            }
            Event::PromotionFinished { environment, outcome, .. } => {
                let view = self.environments.entry(environment).or_default();
                let mut promotion = view.active.take().expect("invariant: what is finished is under way");
                (promotion.finished, promotion.told) = (Some((at, outcome)), told);
                view.history.push(promotion);
            }
            Event::RunInterrupted {} => self.run_of(record).interrupted = true,
            Event::RunFinished { outcome } => {
                let run = self.run_of(record);
                run.interrupted = false;
                run.finished = Some((at, outcome));
            }
            Event::ClockAccepted { .. } => self.latest = None,
            Event::Unknown => {}
        }
    }

    /// Who signed a lift. Before there is a policy no signature was looked at, and the name is a claim.
    fn signer(&self, by: Option<IdentityName>) -> Option<IdentityName> {
        by.filter(|_| self.in_force.is_some())
    }

    /// The promotion that a legal record is a part of.
    fn active(&mut self, name: &EnvironmentName) -> &mut Promotion {
        let active = self.environments.get_mut(name).and_then(|view| view.active.as_mut());
        active.expect("invariant: it is a part of a promotion that is under way")
    }

    /// The run that a legal record is of.
    fn run_of(&mut self, record: &Record) -> &mut Run {
        record.run.as_ref().and_then(|run| self.runs.get_mut(run)).expect("invariant: the run has started")
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn verdict(
        &mut self,
        record: &Record,
        environment: EnvironmentName,
        release: ReleaseId,
        check: CheckName,
        said: Said,
        by: Option<IdentityName>,
        unanswered: bool,
    ) {
        let view = self.environments.entry(environment).or_default();
        // What a run says between two waves is about what it brings, which is not deployed yet: what runs there by the record
        // of another deployment, of the same release say, was not looked at.
        let brings =
            |active: &Promotion| active.to == release && !active.deployed && record.run.as_ref() == Some(&active.run);
        let newest = view.residences.iter().rposition(|r| r.release == release).map_or(0, |place| place + 1);
        let residence = if view.active.as_ref().is_some_and(brings) { 0 } else { newest };
        view.verdicts.entry(release).or_default().entry(check).or_default().push(VerdictEntry {
            seq: record.seq,
            at: record.recorded_at,
            said,
            residence,
            by,
            unanswered,
            run: record.run.clone(),
        });
    }
}

/// Whether a step of a promotion brings something else than what is there (S4.1): a deployment forward of another release, or of the
/// same one with another configuration; or one back, where that leaves what is there. What is copied or attested beside it does not.
fn brings_another(active: &Promotion, last: &Residence, name: &EnvironmentName, step: &str) -> bool {
    let mut way = step.strip_prefix(name.as_str()).unwrap_or_default().split('/').skip(1);
    match (way.next(), way.next()) {
        (Some("deploy"), _) if active.to != last.release => true,
        // What a configuration was that no record tells, nobody knows.
        (Some("deploy"), _) if active.movement == Movement::Reconfiguration && active.drill.is_none() => {
            let brought = active.configuration.as_ref();
            brought.is_none_or(|brought| brought.files != last.files || brought.settings != last.settings)
        }
        (Some("rollback"), Some("deploy")) => active.drill.is_some() || active.deployed,
        _ => false,
    }
}
