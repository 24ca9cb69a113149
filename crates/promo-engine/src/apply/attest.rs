//! What is written beside the artifacts of a promotion once it was verified. What must not live here: what that says
//! ([`promo_core::attestation`]).

use promo_core::plan::Move;

use super::RunContext;
use super::promotion::End;
use super::step::{StepEnd, take};
use crate::error::EngineError;

/// Takes the steps that tell of a promotion. What cannot be attached is said and fails nothing: what was promoted runs, and was
/// verified. What may work later is left to whoever resumes, as every step is (S13.6).
pub(super) async fn attest(context: &RunContext, entry: &Move) -> Result<End, EngineError> {
    for step in &entry.attest {
        if context.options.stop.is_cancelled() {
            return Ok(End::Interrupted);
        }
        match take(context, entry, step, &[step.expected], None).await? {
            StepEnd::Interrupted => return Ok(End::Interrupted),
            StepEnd::Done(_) | StepEnd::Failed { .. } | StepEnd::Stuck { .. } | StepEnd::Barred(_) => {}
        }
    }
    Ok(End::Good)
}
