//! A gate with its forecast.

use jiff::Timestamp;
use promo_core::gate::{Gate, GateKind, Outcome, Reason};
use promo_core::ids::EnvironmentName;
use promo_core::model::Party;
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::command_line;

/// A gate.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct GateView {
    /// Which.
    pub(crate) kind: GateKind,
    /// How it stands.
    pub(crate) outcome: Outcome,
    /// The code of the reason.
    pub(crate) code: &'static str,
    /// The reason in words.
    pub(crate) text: String,
    /// Since when, where the reason says so.
    pub(crate) since: Option<Timestamp>,
    /// When it opens by itself, as far as that is known.
    pub(crate) until: Option<Timestamp>,
    /// The reason that somebody gave for what it rests on, a freeze or a quarantine; none also where it is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<String>,
    /// When what is open now closes by itself, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closes: Option<Timestamp>,
    /// Whether it stands as nearly always: left out of short views.
    pub(crate) routine: bool,
    /// Whether it opens on a signed request only, because its rule excludes the initiator.
    #[serde(skip)]
    pub(crate) signed_request: bool,
    /// Whether what it opens for is applied only by somebody who signs, because its rule excludes the applier.
    #[serde(skip)]
    pub(crate) signed_apply: bool,
    /// The environment before this one in which what it asks for has to be so.
    #[serde(skip)]
    pub(crate) upstream: Option<EnvironmentName>,
}

impl GateView {
    /// A gate, with when it opens by forecast.
    pub(crate) fn of(gate: &Gate, forecast: Option<Timestamp>) -> Self {
        let since = match &gate.reason {
            Reason::Verified { since, .. }
            | Reason::SoakMet { since, .. }
            | Reason::Frozen { since, .. }
            | Reason::Paused { since } => Some(*since),
            _ => None,
        };
        let routine = gate.outcome.is_open()
            && matches!(
                gate.reason,
                Reason::ArtifactsAsRecorded
                    | Reason::Ahead
                    | Reason::NotQuarantined
                    | Reason::NotFrozen
                    | Reason::NoSoakDisturbed
                    | Reason::NoApprovalNeeded
                    | Reason::WindowOpen
                    | Reason::Idle
            );
        let excludes =
            |party: Party| matches!(&gate.reason, Reason::Approvals { exclude, .. } if exclude.contains(&party));
        Self {
            kind: gate.kind,
            outcome: gate.outcome,
            code: gate.reason.code(),
            text: gate.to_string(),
            since,
            until: gate.until.or(forecast),
            remark: None,
            closes: None,
            routine,
            signed_request: excludes(Party::Initiator),
            signed_apply: excludes(Party::Applier),
            upstream: upstream(&gate.reason).cloned(),
        }
    }
}

/// The environment whose checks, or whose arrival, a reason is about.
const fn upstream(reason: &Reason) -> Option<&EnvironmentName> {
    match reason {
        Reason::NotThereYet { environment }
        | Reason::ChecksMissing { environment, .. }
        | Reason::StillWatched { environment }
        | Reason::CheckFailed { environment, .. }
        | Reason::CheckFlaky { environment, .. }
        | Reason::CheckWithdrawn { environment, .. } => Some(environment),
        _ => None,
    }
}

/// The command that leads on where this machine lacks what a check needs, by the codes of what is closed: one for every verb.
pub(crate) fn lacking<'a>(codes: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let code = codes.into_iter().find(|code| *code == "check-not-runnable")?;
    Some(command_line(["promo", "explain", code]))
}
