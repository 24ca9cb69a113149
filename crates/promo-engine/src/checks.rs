//! Asks one automatic check, for a promotion and for `promo verify` alike. What must not live here: what follows from a
//! verdict.

use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::Event;
use promo_core::plan::PlannedCheck;
use promo_sdk::{CheckRequest, CheckResult, ErrorKind, ProviderError};

use crate::error::EngineError;
use crate::session::Session;

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

impl Session {
    /// Runs a check. The inner error is no verdict: what the check looks at was not looked at, and may be later, or
    /// elsewhere (S1.3, S13.6). Whatever would fail again in the same way is a failed verdict, since a release that can
    /// not be verified must not stay for want of a check.
    pub(crate) async fn ask(&self, check: &PlannedCheck) -> Result<Result<Verdict, ProviderError>, EngineError> {
        let request = CheckRequest { inputs: check.inputs.clone(), check: check.name.to_string() };
        let provider = self.providers.get(&check.provider)?;
        let CheckResult { passed, detail, evidence } = match provider.verify(&self.context, &request).await {
            Ok(result) => result,
            Err(error) => match error.kind {
                ErrorKind::Cancelled | ErrorKind::Transient | ErrorKind::Offline => return Ok(Err(error)),
                _ => CheckResult { passed: false, detail: error.to_string(), evidence: [].into() },
            },
        };
        Ok(Ok(Verdict { check: check.name.clone(), passed, detail, evidence }))
    }
}
