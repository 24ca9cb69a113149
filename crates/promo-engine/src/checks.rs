//! Asks one automatic check, for a promotion and for `promo verify` alike. What must not live here: what follows from a
//! verdict.

use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::Event;
use promo_core::plan::PlannedCheck;
use promo_sdk::{CheckRequest, CheckResult, ErrorKind, ProviderError};

use crate::error::EngineError;
use crate::session::Session;

/// The field of a verdict's evidence that says that the check itself could not be run: nothing was seen of what it looks
/// at.
pub const UNANSWERED: &str = "unanswered";

/// What a check said.
pub(crate) struct Verdict {
    pub(crate) check: CheckName,
    pub(crate) passed: bool,
    pub(crate) detail: String,
    evidence: std::collections::BTreeMap<String, String>,
}

impl Verdict {
    /// The record of it.
    pub(crate) fn event(&self, environment: &EnvironmentName, release: &ReleaseId) -> Event {
        let mut evidence = self.evidence.clone();
        evidence.insert("detail".into(), self.detail.clone());
        Event::VerdictRecorded {
            environment: environment.clone(),
            release: release.clone(),
            check: self.check.clone(),
            passed: self.passed,
            evidence,
            by: None,
            signed: None,
        }
    }
}

/// The planned checks by check, each with all of its targets: what one verdict is about (S3.1).
pub(crate) fn by_check(checks: &[PlannedCheck]) -> impl Iterator<Item = &[PlannedCheck]> {
    checks.chunk_by(|one, next| one.name == next.name)
}

impl Session {
    /// Runs a check on each of its targets, one after the other; it passes where all do. All are asked, so that one report
    /// names all that failed. The inner error is no verdict: what the check looks at was not looked at, and may be later,
    /// or elsewhere (S1.3, S13.6). Whatever would fail again in the same way is a failed verdict, since a release that can
    /// not be verified must not stay for want of a check.
    pub(crate) async fn ask(&self, check: &[PlannedCheck]) -> Result<Result<Verdict, ProviderError>, EngineError> {
        let mut results = Vec::new();
        for one in check {
            let request = CheckRequest { inputs: one.inputs.clone(), check: one.name.to_string() };
            let provider = self.providers.get(&one.provider)?;
            let result = match provider.verify(&self.context, &request).await {
                Ok(result) => result,
                Err(error) => match error.kind {
                    ErrorKind::Cancelled | ErrorKind::Transient | ErrorKind::Offline => return Ok(Err(error)),
                    _ => {
                        let evidence = [(UNANSWERED.to_owned(), "the check could not be run".to_owned())].into();
                        CheckResult { passed: false, detail: error.to_string(), evidence }
                    }
                },
            };
            results.push((one.inputs.target.address(), result));
        }
        let name = check.first().expect("invariant: a group has members").name.clone();
        Ok(Ok(together(name, results)))
    }
}

/// One verdict of what a check found on each of its targets. Where there are several, each is told by its place.
fn together(check: CheckName, mut results: Vec<(String, CheckResult)>) -> Verdict {
    if results.len() == 1 {
        let (_, CheckResult { passed, detail, evidence }) = results.remove(0);
        return Verdict { check, passed, detail, evidence };
    }
    let passed = results.iter().all(|(_, result)| result.passed);
    let told = results.iter().filter(|(_, result)| result.passed == passed);
    let detail = told.map(|(place, result)| format!("{place}: {}", result.detail)).collect::<Vec<_>>().join("; ");
    let evidence = results.into_iter().flat_map(|(place, result)| {
        let own = [("detail".to_owned(), result.detail)];
        let all = result.evidence.into_iter().chain(own);
        // That it gave no answer is said of the check, whatever the place.
        let of_place = move |key: String| if key == UNANSWERED { key } else { format!("{place} {key}") };
        all.map(|(key, value)| (of_place(key), value)).collect::<Vec<_>>()
    });
    Verdict { check, passed, evidence: evidence.collect(), detail }
}
