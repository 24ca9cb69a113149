//! The command that leads on from a gate that is not open, by its reason alone: plans that are read somewhere else have no more. What must
//! not live here: what leads on from an environment as a whole ([`super::ways`]), which knows the ledger and may know better.

use promo_core::gate::{Gate, GateKind, Reason};
use promo_core::ids::{EnvironmentName, ReleaseId};

use super::ways::own_file;
use crate::error::command_line;

/// The command that leads on from a gate of a release in an environment; none from one that is open.
pub(crate) fn leads_on(gate: &Gate, name: &EnvironmentName, release: &ReleaseId) -> Option<String> {
    (!gate.outcome.is_open()).then(|| from(gate, name.as_str(), release.as_str()))
}

fn from(gate: &Gate, name: &str, release: &str) -> String {
    let explain = || command_line(["promo", "explain", gate.reason.code()]);
    let why = |name: &str| command_line(["promo", "why", name, release]);
    let anew = || "promo release add --help".to_owned();
    let file = name.parse().map_or_else(|_| "FILE".to_owned(), |name: EnvironmentName| own_file(&name));
    match &gate.reason {
        Reason::TagMoved { .. } | Reason::FileNotInRelease { .. } | Reason::EvidenceNotLooked { .. } => anew(),
        // What its build said only another build says.
        Reason::EvidenceMissing(_) | Reason::EvidenceUnreadable(_) | Reason::EvidenceExpired(_)
            if gate.kind == GateKind::Metadata =>
        {
            anew()
        }
        Reason::EvidenceMissing(_) | Reason::EvidenceUnreadable(_) | Reason::EvidenceExpired(_) => {
            command_line(["promo", "evidence", "add", "FILE", "--release", release])
        }
        Reason::EvidenceBad(_) => anew(),
        Reason::ArtifactUnavailable { .. } => "promo doctor".to_owned(),
        Reason::TargetTaken { .. } | Reason::Drifted => command_line(["promo", "drift", name]),
        Reason::Older { .. } => command_line(["promo", "rollback", name, "--to", release, "--out", "back.plan.json"]),
        Reason::UpToDate | Reason::Soaking { .. } => "promo status".to_owned(),
        Reason::TriedBefore | Reason::ConfigurationTried | Reason::ApprovalRejected { .. } => {
            command_line(["promo", "plan", name, "--release", release, "--out", &file])
        }
        Reason::NotThereYet { environment }
        | Reason::ChecksMissing { environment, .. }
        | Reason::StillWatched { environment }
        | Reason::CheckFailed { environment, .. }
        | Reason::CheckWithdrawn { environment, .. }
        | Reason::AfterThisPlan { environment }
        | Reason::SoakStopped { environment, .. } => why(environment.as_str()),
        Reason::CheckFlaky { environment, .. } => command_line(["promo", "verify", environment.as_str()]),
        Reason::Members { missing, .. } => missing.first().map_or_else(|| why(name), |first| why(first.as_str())),
        Reason::HoldsForSoak { release: soaking, successor } => {
            command_line(["promo", "why", successor.as_str(), soaking.as_str()])
        }
        Reason::Quarantined { scope, .. } => {
            let scope = scope.iter().flat_map(|scope| ["--environment", scope.as_str()]);
            command_line(["promo", "release", "lift", release].into_iter().chain(scope).chain(["--reason", "…"]))
        }
        Reason::Frozen { .. } | Reason::Paused { .. } => command_line(["promo", "unfreeze", name, "--reason", "…"]),
        Reason::Approvals { .. } => command_line(["promo", "approve", "FILE", "--key", "KEY"]),
        Reason::OutsideWindows { .. } | Reason::WindowDenies { .. } => "promo check".to_owned(),
        Reason::Busy { .. } => "promo runs --unfinished".to_owned(),
        Reason::Held { run, .. } => command_line(["promo", "show", run.as_str()]),
        Reason::DestinationTaken { .. }
        | Reason::ImageMovable { .. }
        | Reason::ImageUnlike { .. }
        | Reason::CheckNotRunnable { .. }
        | Reason::OtherPlace { .. }
        | Reason::OtherProvider { .. }
        | Reason::DrillsRefused { .. }
        | Reason::ClockSkew { .. }
        | Reason::ClockWentBack { .. } => explain(),
        // Of these none closes a gate; what a later version closes with them, its page says.
        Reason::ArtifactsAsRecorded
        | Reason::Ahead
        | Reason::DeployedAgain
        | Reason::Verified { .. }
        | Reason::NotQuarantined
        | Reason::NotFrozen
        | Reason::EvidenceMet(_)
        | Reason::SoakMet { .. }
        | Reason::NoSoakDisturbed
        | Reason::NoApprovalNeeded
        | Reason::WindowOpen
        | Reason::DrillsAllowed
        | Reason::Idle => explain(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use promo_core::gate::Outcome;

    use super::*;
    use crate::error::tests::assert_parses;

    /// A gate of every reason that the corpus of the published format bears: a reason without one fails the corpus itself.
    fn every_reason() -> Vec<Gate> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/compat/v1/gates");
        let files = std::fs::read_dir(root).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    #[test]
    fn every_reason_in_the_reference_has_an_owner_and_a_command_that_parses_where_it_closes_a_gate() {
        let (name, release) = ("production".parse().unwrap(), "r-7a3f9c2e41b0".parse().unwrap());
        let page = include_str!("../../../../docs/reasons.md");
        let rows = page.lines().filter(|line| line.starts_with("| ")).filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(2);
            let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((code, cells.next()?))
        });
        let gates = every_reason();
        let (mut seen, mut closing) = (BTreeSet::new(), 0);
        for (code, outcomes) in rows {
            let Some(known) = gates.iter().find(|gate| gate.reason.code() == code) else {
                panic!("tests/compat has no gate with `{code}`")
            };
            seen.insert(code);
            for outcome in [Outcome::Deferred, Outcome::Waiting, Outcome::Expired, Outcome::Refused] {
                let word = serde_json::to_value(outcome).unwrap();
                if !(outcomes == "any" || outcomes.split(", ").any(|one| one == word)) {
                    continue;
                }
                for kind in [GateKind::Metadata, known.kind] {
                    let gate = Gate { kind, outcome, ..known.clone() };
                    assert!(gate.owner().is_some(), "`{code}` {word} is nobody's");
                    assert_parses(&leads_on(&gate, &name, &release).unwrap());
                }
                closing += 1;
            }
            let open = Gate { outcome: Outcome::Satisfied, ..known.clone() };
            assert_eq!((open.owner(), leads_on(&open, &name, &release)), (None, None), "nothing leads on from {code}");
        }
        assert!(closing > 35, "{closing}");
        let all: BTreeSet<&str> = gates.iter().map(|gate| gate.reason.code()).collect();
        assert_eq!(seen, all, "docs/reasons.md has a row for each");
    }
}
