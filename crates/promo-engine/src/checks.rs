//! Asks one automatic check, for a promotion and for `promo verify` alike. What must not live here: what follows from a
//! verdict.

use std::collections::BTreeMap;

use promo_core::canonical;
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::record::{DETAIL, EVIDENCE};
use promo_core::ledger::{Draft, Event};
use promo_core::plan::PlannedCheck;
use promo_sdk::{CheckRequest, CheckResult, ErrorKind, ProviderError};

use crate::error::EngineError;
use crate::session::Session;

/// What a check said.
pub(crate) struct Verdict {
    pub(crate) check: CheckName,
    pub(crate) passed: bool,
    pub(crate) detail: String,
    /// Whether the check could not be run, at one of its targets at least.
    unanswered: bool,
    /// Why, where nothing that was seen has failed.
    unseen: Option<ProviderError>,
    evidence: BTreeMap<String, String>,
}

impl Verdict {
    /// What a check found.
    pub(crate) fn of(check: CheckName, result: CheckResult, unanswered: bool) -> Self {
        let CheckResult { passed, detail, evidence } = result;
        Self { check, passed, detail, unanswered, unseen: None, evidence }
    }

    /// The same, where something was seen: of a release that is not on its way, what could not be looked at is no verdict (S13.6).
    pub(crate) fn seen(mut self) -> Result<Self, ProviderError> {
        match self.unseen.take() {
            // As long as what is in the way is there, each of them fails again; with the release that has nothing to do. What is gone
            // is told as that, as by every other verb.
            Some(error) if !matches!(error.kind, ErrorKind::Integrity | ErrorKind::Newer | ErrorKind::NotFound) => {
                Err(ProviderError { kind: ErrorKind::Transient, ..error })
            }
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// The record of it. What the check saw is whatever its target said, so it stands beside the leaf (S12.5).
    pub(crate) fn draft(&self, session: &Session, environment: &EnvironmentName, release: &ReleaseId) -> Draft {
        let mut draft = session.draft(Event::VerdictRecorded {
            environment: environment.clone(),
            release: release.clone(),
            check: self.check.clone(),
            passed: self.passed,
            unanswered: self.unanswered,
            by: None,
            signed: None,
        });
        draft.environment = Some(environment.clone());
        draft.private.insert(DETAIL.into(), self.detail.clone());
        if !self.evidence.is_empty() {
            let text = canonical::to_vec(&self.evidence).expect("invariant: texts have a canonical form");
            draft.private.insert(EVIDENCE.into(), String::from_utf8_lossy(&text).into_owned());
        }
        draft
    }
}

/// The planned checks by check, each with all of its targets: what one verdict is about (S3.1).
pub(crate) fn by_check(checks: &[PlannedCheck]) -> impl Iterator<Item = &[PlannedCheck]> {
    checks.chunk_by(|one, next| one.name == next.name)
}

impl Session {
    /// Whether a check looks while something is deployed, and cannot be asked at any other time.
    pub(crate) fn looks_during(&self, check: &PlannedCheck) -> Result<bool, EngineError> {
        Ok(self.providers.get(&check.provider)?.looks_during())
    }

    /// Runs a check on each of its targets, one after the other, or once where it looks at none; it passes where all do. All
    /// are asked, so that one report names all that failed. The inner error is no verdict: what the check looks at was not looked at, and may be later,
    /// or elsewhere (S1.3, S13.6). Whatever would fail again in the same way is a failed verdict, since a release that can
    /// not be verified must not stay for want of a check; where none is on its way, [`Verdict::seen`] takes that for no verdict. `token` is the question: the same one when a run that asks is resumed.
    pub(crate) async fn ask(
        &self,
        token: &str,
        check: &[PlannedCheck],
    ) -> Result<Result<Verdict, ProviderError>, EngineError> {
        let mut results = Vec::new();
        for one in check {
            let request = CheckRequest { inputs: one.inputs.clone(), check: one.name.to_string(), token: token.into() };
            let provider = self.providers.get(&one.provider)?;
            if !results.is_empty() && !provider.looks_at_targets() {
                break;
            }
            let (result, unseen) = match provider.verify(&self.context, &request).await {
                Ok(result) => (result, None),
                Err(error) => match error.kind {
                    ErrorKind::Cancelled | ErrorKind::Transient | ErrorKind::Offline => return Ok(Err(error)),
                    _ => {
                        let detail = error.to_string();
                        (CheckResult { passed: false, detail, evidence: BTreeMap::new() }, Some(error))
                    }
                },
            };
            results.push((one.inputs.target.address(), result, unseen));
        }
        let name = check.first().expect("invariant: a group has members").name.clone();
        Ok(Ok(together(name, results)))
    }
}

/// One verdict of what a check found on each of its targets. Where there are several, each is told by its place.
fn together(check: CheckName, mut results: Vec<(String, CheckResult, Option<ProviderError>)>) -> Verdict {
    let unanswered = results.iter().any(|(_, _, unseen)| unseen.is_some());
    let failed = results.iter().any(|(_, result, unseen)| !result.passed && unseen.is_none());
    let unseen = results.iter_mut().find_map(|(_, _, unseen)| unseen.take()).filter(|_| !failed);
    if results.len() == 1 {
        let (_, CheckResult { passed, detail, evidence }, _) = results.remove(0);
        return Verdict { check, passed, detail, unanswered, unseen, evidence };
    }
    let passed = results.iter().all(|(_, result, _)| result.passed);
    let told = results.iter().filter(|(_, result, _)| result.passed == passed);
    let detail = told.map(|(place, result, _)| format!("{place}: {}", result.detail)).collect::<Vec<_>>().join("; ");
    let evidence = results.into_iter().flat_map(|(place, result, _)| {
        let all = result.evidence.into_iter().chain([(DETAIL.to_owned(), result.detail)]);
        all.map(|(key, value)| (format!("{place} {key}"), value)).collect::<Vec<_>>()
    });
    Verdict { check, passed, unanswered, unseen, evidence: evidence.collect(), detail }
}
