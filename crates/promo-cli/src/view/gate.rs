//! A gate with its forecast.

use jiff::Timestamp;
use promo_core::gate::{Gate, GateKind, Outcome, Owner, Reason};
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::model::Party;
use schemars::JsonSchema;
use serde::Serialize;

use super::gate_way::leads_on;
use super::judged::{self, JudgedView};
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
    /// The documents that it judged, of a gate over evidence, open or not: those that count before those that it passes over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) documents: Vec<JudgedView>,
    /// How many more there are that count.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) more_documents: u64,
    /// Who can do something about it; none of one that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) who: Option<Owner>,
    /// The command that leads on from it; none from one that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

impl GateView {
    /// A gate of a release in an environment, with when it opens by forecast.
    pub(crate) fn of(
        gate: &Gate,
        (environment, release): (&EnvironmentName, &ReleaseId),
        forecast: Option<Timestamp>,
    ) -> Self {
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
            documents: gate.reason.evidenced().map(JudgedView::all).unwrap_or_default(),
            more_documents: gate.reason.evidenced().map_or(0, |said| said.more_documents),
            who: gate.owner(),
            next: leads_on(gate, environment, release),
            routine,
            signed_request: excludes(Party::Initiator),
            signed_apply: excludes(Party::Applier),
            upstream: upstream(&gate.reason).cloned(),
        }
    }
}

impl GateView {
    /// The documents that it judged, for the end of its line.
    pub(crate) fn judged(&self, now: Timestamp) -> String {
        judged::told(&self.documents, self.more_documents, self.outcome.is_open(), now)
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
