//! Which record may follow which: every rule about their order is in this one place. What must not be here: what a record
//! changes; that is in `take`.

use alloc::string::{String, ToString};

use super::{Promotion, Run, View, scopes};
use crate::ids::{EnvironmentName, ReleaseId, RunId};
use crate::ledger::event::Movement;
use crate::ledger::{Event, Record};
use crate::plan::PolicyRef;

impl View {
    /// Whether an event may follow what stands here; if not, why.
    pub(super) fn legal(&self, record: &Record, event: &Event) -> Result<(), String> {
        match event {
            Event::ReleaseAdded { release } => {
                if release.content.id() != release.id {
                    return Err(alloc::format!("{} is not the id of its content", release.id));
                }
                if self.release(&release.id).is_some() {
                    return Err(alloc::format!("{} is in the ledger already", release.id));
                }
            }
            Event::ReleaseRejected { release, .. }
            | Event::AuthorsNamed { release, .. }
            | Event::VerdictRecorded { release, .. }
            | Event::VerdictWithdrawn { release, .. }
            | Event::Deployed { release, .. } => self.known(release)?,
            Event::ArtifactDescribed { platforms, .. } => {
                if platforms.is_empty() {
                    return Err("an artifact without any part".into());
                }
            }
            Event::ArtifactsFound { sources } => {
                if sources.is_empty() {
                    return Err("nothing was found".into());
                }
            }
            Event::EvidenceAdded { subjects, .. } => {
                if subjects.is_empty() {
                    return Err("evidence that was brought for nothing".into());
                }
            }
            Event::EvidenceWithdrawn { document, .. } => {
                if self.standing(document).next().is_none() {
                    return Err("there is no evidence of that digest that counts".into());
                }
            }
            Event::ReleaseLifted { release, scope, .. } => {
                if !self.quarantines.contains_key(&(release.clone(), scope.clone())) {
                    return Err("there is no quarantine of that release and scope".into());
                }
            }
            Event::RecallLifted { artifact, .. } => {
                if !self.recalled.contains_key(artifact) {
                    return Err("that digest is not recalled".into());
                }
            }
            Event::Unfrozen { environments, .. } => {
                if scopes(environments.clone()).iter().any(|scope| self.lifted_next(scope).is_none()) {
                    return Err("there is no freeze of that environment".into());
                }
            }
            Event::PolicyAdopted { policy } => {
                if let Err(seen) = self.adopted(policy) {
                    let PolicyRef { name, version, .. } = policy;
                    return Err(alloc::format!("{name} v{version} after v{}, or with other bytes", seen.version));
                }
            }
            Event::PlanRequested { .. } => {
                record.plan.ok_or("a request names its plan")?;
            }
            Event::RunSigned { .. } => {
                let (run, plan) = (run_of(record)?, record.plan.ok_or("it names no plan")?);
                record.epoch.ok_or("it names no epoch")?;
                match (self.runs.get(run), self.consumed.get(&plan)) {
                    (Some(known), _) if known.plan != plan => {
                        return Err(alloc::format!("run {run} is of another plan"));
                    }
                    (Some(_), _) => self.open_run(run).map(|_| ())?,
                    (None, Some(other)) => return Err(alloc::format!("its plan was used by run {other}")),
                    (None, None) => {}
                }
            }
            Event::RunStarted { .. } => {
                let (run, plan) = (run_of(record)?, record.plan.ok_or("a run names its plan")?);
                if let Some(other) = self.consumed.get(&plan) {
                    return Err(alloc::format!("its plan was used by run {other}"));
                }
                if self.runs.contains_key(run) {
                    return Err("a run starts once".into());
                }
            }
            Event::PromotionStarted { environment, to, .. } => {
                self.known(to)?;
                self.open_run(run_of(record)?)?;
                if let Some(active) = self.environment(environment).and_then(|e| e.active.as_ref()) {
                    return Err(alloc::format!("run {} is still moving {} here", active.run, active.to));
                }
            }
            Event::StepIntent { .. } => {
                let (run, step) = (self.open_run(run_of(record)?)?, step_of(record)?);
                let epoch = record.epoch.ok_or("an intent names its epoch")?;
                if run.steps.get(step).is_some_and(|s| s.observed.is_some() || s.epoch > epoch) {
                    return Err(alloc::format!("step {step} is done, or was taken over under a newer epoch"));
                }
            }
            Event::StepEffect { .. } => {
                let (run, step) = (self.open_run(run_of(record)?)?, step_of(record)?);
                let intended = run.steps.get(step).ok_or("an effect follows its intent")?;
                if intended.observed.is_some() {
                    return Err(alloc::format!("step {step} has an effect already"));
                }
            }
            Event::WaveFinished { environment, release, wave, .. } => {
                let active = self.moving(record, environment, release)?;
                if *wave != active.waves.len() + 1 {
                    return Err(alloc::format!("wave {wave} is done after {} waves", active.waves.len()));
                }
            }
            Event::ConfigurationStarted { environment, release, .. } => {
                let active = self.moving(record, environment, release)?;
                let fresh = active.configuration.is_none() && active.drill.is_none() && !active.deployed;
                if !fresh || active.movement != Movement::Reconfiguration {
                    return Err("another configuration is brought once, to what runs there".into());
                }
            }
            Event::DrillStarted { environment, release, back } => {
                self.known(back)?;
                let active = self.moving(record, environment, release)?;
                let fresh = active.drill.is_none() && active.configuration.is_none() && !active.deployed;
                let fresh = fresh && active.movement == Movement::Reconfiguration;
                if !fresh || active.from.as_ref() != Some(release) || back == release {
                    return Err("a drill begins once, with what runs there, and goes back to another release".into());
                }
            }
            Event::DrillTurned { environment, back, .. } => {
                let active = self.environment(environment).and_then(|e| e.active.as_ref());
                let active = active.filter(|active| Some(&active.run) == record.run.as_ref());
                let drill = active.and_then(|active| active.drill.as_ref()).ok_or("no drill is under way here")?;
                if drill.back != *back || drill.turned.is_some() {
                    return Err("it turns once, where it went back to".into());
                }
            }
            Event::PromotionFinished { environment, release, .. } => {
                self.moving(record, environment, release)?;
            }
            Event::RunInterrupted {} => {
                self.open_run(run_of(record)?)?;
            }
            Event::RunFinished { .. } => {
                let id = run_of(record)?;
                self.open_run(id)?;
                if self.environments.values().any(|e| e.active.as_ref().is_some_and(|a| a.run == *id)) {
                    return Err("one of its promotions is still under way".into());
                }
            }
            Event::ClockAccepted { ahead, .. } => {
                if self.latest.is_none_or(|(latest, _)| latest > *ahead) {
                    return Err("no record was ahead by that much".into());
                }
            }
            Event::HealthObserved { .. }
            | Event::Frozen { .. }
            | Event::ArtifactRecalled { .. }
            | Event::ApprovalRecorded { .. }
            | Event::Unknown => {}
        }
        Ok(())
    }

    /// The promotion of that release by the record's run, which is under way.
    fn moving(&self, record: &Record, name: &EnvironmentName, release: &ReleaseId) -> Result<&Promotion, String> {
        let active = self.environment(name).and_then(|e| e.active.as_ref());
        let active = active.ok_or("no promotion is under way here")?;
        if active.to != *release || Some(&active.run) != record.run.as_ref() {
            return Err(alloc::format!("run {} moves {} here", active.run, active.to));
        }
        Ok(active)
    }

    fn known(&self, id: &ReleaseId) -> Result<(), String> {
        self.release(id).map(|_| ()).ok_or_else(|| alloc::format!("{id} is not in the ledger"))
    }

    fn open_run(&self, id: &RunId) -> Result<&Run, String> {
        let run = self.runs.get(id).ok_or_else(|| alloc::format!("run {id} has not started"))?;
        if run.finished.is_some() {
            return Err(alloc::format!("run {id} has ended"));
        }
        Ok(run)
    }
}

fn run_of(record: &Record) -> Result<&RunId, String> {
    record.run.as_ref().ok_or_else(|| "it names no run".to_string())
}

fn step_of(record: &Record) -> Result<&String, String> {
    record.step.as_ref().ok_or_else(|| "it names no step".to_string())
}
