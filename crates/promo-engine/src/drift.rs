//! Compares what is live with what the ledger has, place by place. Only reads; what must not live here: what is done about it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, RunId, TargetName};
use promo_core::inputs::Inputs;
use promo_core::ledger::View;
use promo_core::plan::ReleaseRef;
use promo_core::planner;
use promo_core::state::State;
use promo_sdk::{DriftAnswer, DriftRequest, ErrorKind, ProviderError};

use crate::error::EngineError;
use crate::observe;
use crate::session::Session;

/// How many places are looked at at once.
const AT_ONCE: usize = 16;

/// How long a look at one place may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An environment, and how its places differ from what the ledger has of them.
#[derive(Debug)]
pub struct Looked {
    /// Which.
    pub environment: EnvironmentName,
    /// What runs there, as the ledger has it; nothing where nothing was deployed.
    pub release: Option<ReleaseRef>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The run that is moving it: what differs may be its doing.
    pub moving: Option<RunId>,
    /// Its places.
    pub places: Vec<Place>,
}

/// What a place was deployed with.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// By which provider.
    pub provider: String,
    /// From what.
    pub inputs: Inputs,
}

/// One place.
#[derive(Debug)]
pub struct Place {
    /// Which target.
    pub target: TargetName,
    /// What it was deployed with, where that is still to be had.
    pub deployed: Option<Deployed>,
    /// What the ledger has.
    pub recorded: State,
    /// What was found; an error where it could not be looked at.
    pub found: Result<DriftAnswer, EngineError>,
}

impl Place {
    /// Whether anything differs.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.live != self.recorded || !found.objects.is_empty())
    }

    /// Whether deploying it again would take back anything: what others added beside what is declared stays.
    #[must_use]
    pub fn can_be_taken_back(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.live != self.recorded)
    }
}

impl Session {
    /// How these environments, or all where none is named, differ from what the ledger has of them, in the order of the graph.
    /// A place that cannot be looked at is told as one.
    ///
    /// # Errors
    /// When the ledger or a file of the working tree cannot be read, an environment is not known, or promo is stopped.
    pub async fn drift(&self, names: &[EnvironmentName]) -> Result<Vec<Looked>, EngineError> {
        self.admit_policy()?;
        let view = self.view()?;
        let known = &self.governance.pipeline.environments;
        if let Some(name) = names.iter().find(|name| !known.contains_key(*name)) {
            return Err(self.unknown(name));
        }
        // What was deployed is what counts, whatever lies in the working tree: nothing of that is read.
        let observations = observe::recorded(self, &view)?;
        let rules = self.governance.rules();
        let asked = self.governance.graph.topological().iter().filter(|name| names.is_empty() || names.contains(name));
        let mut looked: Vec<Looked> = asked.map(|name| looked_at(&view, name)).collect();
        let mut looks = Vec::new();
        for (at, one) in looked.iter().enumerate() {
            let targets = view.current(&one.environment).map(|current| &current.targets);
            let mut drafts: BTreeMap<TargetName, _> = planner::deployed(&rules, &view, &observations, &one.environment)
                .into_iter()
                .filter_map(|draft| Some((draft.target.clone()?, draft)))
                .collect();
            for (target, recorded) in targets.into_iter().flatten() {
                let draft = drafts.remove(target);
                let deployed = draft.map(|draft| Deployed { provider: draft.provider, inputs: draft.inputs });
                looks.push((at, target.clone(), deployed, *recorded));
            }
        }
        // No stream over borrowed places, which would keep whoever asks from being spawned.
        let looks: Vec<_> = looks
            .into_iter()
            .map(|(at, target, deployed, recorded)| async move {
                let found = match &deployed {
                    Some(deployed) => self.look(deployed, recorded).await,
                    // What nobody can look for is not there as it should be.
                    None => {
                        Err(EngineError::Invalid("how it was deployed is recorded in a form that is not known".into()))
                    }
                };
                (at, Place { target, deployed, recorded, found })
            })
            .collect();
        let mut looks = stream::iter(looks).buffered(AT_ONCE);
        while let Some((at, place)) = looks.next().await {
            if matches!(&place.found, Err(EngineError::Stopped)) {
                return Err(EngineError::Stopped);
            }
            looked[at].places.push(known_or_not(&view, place));
        }
        Ok(looked)
    }

    /// That there is no environment of that name.
    #[must_use]
    pub fn unknown(&self, name: &EnvironmentName) -> EngineError {
        let known: Vec<&str> = self.governance.pipeline.environments.keys().map(EnvironmentName::as_str).collect();
        EngineError::Invalid(format!("there is no environment `{name}`: expected one of {}", known.join(", ")))
    }

    /// Every file of the working tree that the pipeline uses, with its digest.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files_here(&self) -> Result<BTreeMap<String, Digest>, EngineError> {
        observe::working_tree(self)
    }

    async fn look(&self, deployed: &Deployed, recorded: State) -> Result<DriftAnswer, EngineError> {
        let (provider, inputs) = (self.providers.get(&deployed.provider)?, &deployed.inputs);
        let request = DriftRequest { inputs: inputs.clone(), recorded };
        let failed = |source: ProviderError| match source.kind {
            ErrorKind::Cancelled => EngineError::Stopped,
            _ => EngineError::about(None, format!("looking at {}", inputs.target.address()), source),
        };
        match tokio::time::timeout(PATIENCE, provider.drift(&self.context, &request)).await {
            Ok(found) => found.map_err(failed),
            Err(_) => {
                let why = format!("it did not answer within {} s", PATIENCE.as_secs());
                Err(failed(ProviderError::new(ErrorKind::Transient, why)))
            }
        }
    }
}

/// Says of what another run deployed that the ledger does not know that run, where it does not.
fn known_or_not(view: &View, mut place: Place) -> Place {
    if let Ok(DriftAnswer { note: Some(note), run: Some(run), .. }) = &mut place.found
        && !view.runs.keys().any(|known| known.as_str() == run.as_str())
    {
        note.push_str(", which is not in this ledger");
    }
    place
}

fn looked_at(view: &View, name: &EnvironmentName) -> Looked {
    let current = view.current(name);
    Looked {
        environment: name.clone(),
        release: current.map(|current| planner::reference(view, &current.release)),
        since: current.map(|current| current.since),
        moving: view.environment(name).and_then(|known| known.active.as_ref()).map(|active| active.run.clone()),
        places: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promo_core::ledger::view::Run;

    #[test]
    fn a_run_that_the_ledger_has_is_not_called_one_that_is_not_in_it() {
        let mut view = View::default();
        let told = |view: &View, run: &RunId| {
            let note = Some(format!("r-1 was applied there since, by run {run}"));
            let found = DriftAnswer { note, run: Some(run.to_string()), ..DriftAnswer::state(State::Absent) };
            let target = "eu".parse().unwrap();
            let place = Place { target, deployed: None, recorded: State::Absent, found: Ok(found) };
            known_or_not(view, place).found.unwrap().note.unwrap()
        };
        let run = crate::session::new_run_id();
        assert_eq!(
            told(&view, &run),
            format!("r-1 was applied there since, by run {run}, which is not in this ledger")
        );
        let known = Run {
            plan: Digest::of(b"plan"),
            environments: BTreeMap::new(),
            applier: "dana".into(),
            started: Timestamp::UNIX_EPOCH,
            seen: Timestamp::UNIX_EPOCH,
            approvals: Vec::new(),
            steps: BTreeMap::new(),
            interrupted: false,
            finished: None,
        };
        view.runs.insert(run.clone(), known);
        assert_eq!(told(&view, &run), format!("r-1 was applied there since, by run {run}"));
    }
}
