//! Questions about the present, all answered by the one eligibility function.

use std::collections::BTreeSet;

use promo_core::eligibility::{ArtifactFindings, Assessor, Observed, Question};
use promo_core::gate::{Gate, Reason};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::event::Movement;
use promo_core::windows::Invoker;
use promo_ledger::Expect;
use promo_sdk::ErrorKind;

use crate::checks::{Verdict, by_check};
use crate::error::EngineError;
use crate::readiness::readiness;
use crate::session::{Session, new_run_id};
use crate::stands::There;

/// What a check said that was asked again.
#[derive(Debug)]
pub struct AskedAgain {
    /// Which.
    pub check: CheckName,
    /// Whether it passed.
    pub passed: bool,
    /// Whether that is a verdict on the release, which the ledger has now: nothing that is said of what is not what was deployed is
    /// one, and no pass of what could not be seen ([`Session::unseen`]).
    pub recorded: bool,
    /// What it saw.
    pub detail: String,
}

impl Session {
    /// Every gate of a release for an environment, now, as a plan would find them: `named` where it would ask for the
    /// release by name, which repeats what was tried before (S3.3).
    ///
    /// # Errors
    /// When the environment or release is not known, or the ledger cannot be read.
    pub fn gates(
        &self,
        environment: &EnvironmentName,
        release: &ReleaseId,
        (invoker, named): (Invoker, bool),
    ) -> Result<Vec<Gate>, EngineError> {
        let mut all = self.gates_of([(environment, release)], (invoker, named))?;
        Ok(all.pop().expect("invariant: one question has one answer"))
    }

    /// As [`Session::gates`], with the checks that could not be run on this machine after entering, which a plan refuses to
    /// begin with (S9.1).
    ///
    /// # Errors
    /// As [`Session::gates`] and [`readiness`].
    pub async fn gates_here(
        &self,
        environment: &EnvironmentName,
        release: &ReleaseId,
        asked: (Invoker, bool),
    ) -> Result<Vec<Gate>, EngineError> {
        let found = readiness(&self.governance.pipeline, &self.providers, self.root(), environment).await?;
        let reasons: Vec<Reason> = found.into_iter().filter_map(|(_, reason)| reason).collect();
        let mut all = self.assessed([(environment, release)], asked, &[(release.clone(), reasons)].into())?;
        Ok(all.pop().expect("invariant: one question has one answer"))
    }

    /// As [`Session::gates`] for many environments, in their order. The ledger and its clock are read once.
    ///
    /// # Errors
    /// As [`Session::gates`].
    pub fn gates_of<'a>(
        &self,
        questions: impl IntoIterator<Item = (&'a EnvironmentName, &'a ReleaseId)>,
        asked: (Invoker, bool),
    ) -> Result<Vec<Vec<Gate>>, EngineError> {
        self.assessed(questions, asked, &ArtifactFindings::new())
    }

    fn assessed<'a>(
        &self,
        questions: impl IntoIterator<Item = (&'a EnvironmentName, &'a ReleaseId)>,
        (invoker, named): (Invoker, bool),
        artifacts: &ArtifactFindings,
    ) -> Result<Vec<Vec<Gate>>, EngineError> {
        let now = self.present()?;
        let (rules, nothing) = (self.governance.rules(), BTreeSet::new());
        let mut answers = Vec::new();
        self.with_view(|view| {
            let questions: Vec<_> = questions.into_iter().collect();
            // Where no gate asks for evidence, none is read.
            let gated = || questions.iter().filter(|(name, _)| self.governance.gates.contains_key(*name));
            let here = gated().filter_map(|(name, _)| view.current(name)).map(|here| &here.release);
            let evidence = self.evidence(view, gated().map(|(_, release)| *release).chain(here))?;
            let observed = Observed { artifacts, evidence: &evidence, ..Observed::NOTHING };
            let assessor = Assessor::new(&rules, view, observed, now);
            for (environment, release) in questions {
                if view.release(release).is_none() {
                    return Err(EngineError::Invalid(format!("the release {release} is not in the ledger")));
                }
                self.known_environments([environment])?;
                let question = Question {
                    environment,
                    release,
                    movement: Movement::Promotion,
                    drill: None,
                    named,
                    drifted: false,
                    tried: false,
                    invoker,
                    moved_before: &nothing,
                    approvals: None,
                    run: None,
                };
                answers.push(assessor.assess(&question));
            }
            Ok(())
        })??;
        Ok(answers)
    }

    /// Runs the automatic checks of an environment again on what runs there, and records their verdicts. Where that is not what was
    /// deployed, because somebody changed it by hand or a run left it half-way, what a check says is about the place and not about the
    /// release, and is not recorded.
    ///
    /// # Errors
    /// When nothing runs there, the ledger cannot be written, or a check could not look: then it has no verdict.
    pub async fn verify_again(&self, environment: &EnvironmentName) -> Result<Vec<AskedAgain>, EngineError> {
        self.known_environments([environment])?;
        let view = self.view()?;
        let current = view
            .current(environment)
            .ok_or_else(|| EngineError::Invalid(format!("nothing was deployed to {environment} yet")))?;
        let known = view.environment(environment);
        if let Some(active) = known.and_then(|e| e.active.as_ref()) {
            let (run, open) = (&active.run, self.unfinished(&view)?);
            let dead =
                open.iter().any(|open| open.id == *run && !matches!(open.sign, crate::apply::Sign::Alive { .. }));
            let stopped = format!("run {run} stopped while it was moving {environment}");
            return Err(EngineError::Moving(match dead.then(|| self.goes_no_further(&view, run)) {
                Some(None) => format!("{stopped}: `promo resume {run}` goes on"),
                Some(Some(why)) => format!("{stopped}, and goes no further ({why}): `promo cancel {run}` ends it"),
                None => format!("run {run} is moving {environment}: wait for its end"),
            }));
        }
        // What a check saw counts only as long as nothing moved under it.
        let generation = known.map_or(0, |e| e.generation);
        let mut observations = crate::observe::here(self, &view)?;
        let mut there = self.there(&view, environment, &mut observations).await?;
        let checks = crate::observe::judged_here(self, &view, environment, &current.release, &mut observations)?;
        let mut out = Vec::new();
        let token = new_run_id().to_string();
        for check in by_check(&checks) {
            // Its deployment is over, and there will be no other look at it.
            if self.looks_during(&check[0])? {
                continue;
            }
            let verdict = self.ask(&token, check).await?.and_then(Verdict::seen).map_err(|source| {
                let doing = format!("the check {} of {environment}", check[0].name);
                if source.kind == ErrorKind::Cancelled {
                    EngineError::Stopped
                } else {
                    EngineError::about(None, doing, source)
                }
            })?;
            // What fails may have been taken away while it was looked at.
            if !verdict.passed && there == There::Deployed {
                there = self.there(&view, environment, &mut observations).await?;
            }
            let recorded = there.counts(verdict.passed);
            if recorded {
                let draft = verdict.draft(self, environment, &current.release);
                let generation = [(environment.clone(), generation)].into();
                self.append(&Expect { generation, ..Expect::default() }, &[draft])?;
            }
            out.push(AskedAgain { check: verdict.check, passed: verdict.passed, recorded, detail: verdict.detail });
        }
        Ok(out)
    }
}
