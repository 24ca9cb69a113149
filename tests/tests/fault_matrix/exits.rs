//! How the process ends in which a fault happens, by point and mode: the exit codes of docs/reference/exit-codes.md. What must
//! not live here: how the run ends, which the judge compares with a run without a fault.

use promo_core::ledger::event::RunOutcome;
use promo_tests::cells::{Fault, Scenario};

use crate::judge::exit_of;

/// How a process ends that was not killed.
#[derive(Debug, Clone, Copy)]
enum Exit {
    /// As if nothing had been.
    AsEver,
    /// With the end of its run, or of what it did of it.
    With(i32),
    /// With this exit code and the code of an error.
    Error(i32, &'static str),
}
use Exit::{AsEver, Error, With};

const FORK: Option<Scenario> = Some(Scenario::Fork);
const GATE: Option<Scenario> = Some(Scenario::Gate);
const WAVES: Option<Scenario> = Some(Scenario::Waves);
const BOTH: Option<Scenario> = None;

const LEDGER: Exit = Error(74, "ledger-unusable");
const BEGAN: Exit = Error(74, "run-began");
/// It cannot be told what is there: the run can be resumed.
const INTERRUPTED: Exit = With(75);
const STALE: Exit = With(22);
const BACK: Exit = With(40);
const HELD: Exit = With(41);

/// Scenario, what the point begins with, from which passing on, how it ends with `error`, and with `lost`. Of the rows that fit
/// the first one counts.
const EXITS: &[(Option<Scenario>, &str, usize, Exit, Exit)] = &[
    (BOTH, "append before run.started", 1, BEGAN, BEGAN),
    (BOTH, "append after run.started", 1, BEGAN, BEGAN),
    (BOTH, "append ", 1, LEDGER, LEDGER),
    (BOTH, "acquire ", 1, LEDGER, LEDGER),
    // The fifth look is under the lock, for the record that begins the run.
    (GATE, "clock", 6, LEDGER, LEDGER),
    (GATE, "clock", 5, BEGAN, BEGAN),
    (BOTH, "clock", 1, LEDGER, LEDGER),
    (BOTH, "keep ", 1, LEDGER, LEDGER),
    // A lock is renewed once more, and one that is not given back runs out.
    (BOTH, "renew ", 1, AsEver, AsEver),
    (BOTH, "release ", 1, AsEver, AsEver),
    (BOTH, "preview of ", 1, Error(1, "provider-failed"), Error(75, "provider-transient")),
    // By the tag, which must still be there; then by the digest, which the plan was made with.
    (BOTH, "resolve of shop:", 1, Error(1, "provider-failed"), Error(75, "provider-transient")),
    (BOTH, "resolve of shop@", 1, Error(22, "plan-stale"), Error(75, "provider-transient")),
    // What was done is seen, whatever was said of it.
    (BOTH, "ensure after of ", 1, AsEver, AsEver),
    (FORK, "ensure before of left/rollback/", 1, HELD, INTERRUPTED),
    (FORK, "ensure file 1 of left/rollback/", 1, HELD, INTERRUPTED),
    (FORK, "ensure file 2 of left/rollback/", 1, HELD, INTERRUPTED),
    (FORK, "ensure file 3 of left/rollback/", 1, HELD, INTERRUPTED),
    (WAVES, "ensure before of world/rollback/", 1, HELD, INTERRUPTED),
    (BOTH, "ensure ", 1, BACK, INTERRUPTED),
    // Both targets on the forward way, then both on the way back.
    (FORK, "settle before of left", 3, HELD, INTERRUPTED),
    (FORK, "settle after of left", 3, HELD, INTERRUPTED),
    (BOTH, "settle ", 1, BACK, INTERRUPTED),
    // Of both targets: first of the release that is refused, then of the one that is gone back to.
    (FORK, "verify of left/smoke", 3, HELD, INTERRUPTED),
    (FORK, "verify after of left/smoke", 3, HELD, INTERRUPTED),
    // Of the first wave, of it once more after the pause, of all three targets, and of all three on the way back.
    (WAVES, "verify of world/smoke", 6, HELD, INTERRUPTED),
    (BOTH, "verify ", 1, BACK, INTERRUPTED),
    // At the first look nothing depends on it; the next one is before the first change, where nothing has begun.
    (FORK, "observe of dev", 3, BACK, INTERRUPTED),
    (FORK, "observe of dev", 2, STALE, INTERRUPTED),
    // After the check that fails both targets are looked at, and what cannot be seen keeps nothing from going back; then it is left.
    (FORK, "observe of left", 9, HELD, INTERRUPTED),
    (FORK, "observe of left", 7, AsEver, AsEver),
    (FORK, "observe of left", 4, BACK, INTERRUPTED),
    (FORK, "observe of left", 3, STALE, INTERRUPTED),
    // The other branch is rolled back, which is the worse end.
    (FORK, "observe of right", 2, BACK, INTERRUPTED),
    (GATE, "observe of stage", 3, BACK, INTERRUPTED),
    (GATE, "observe of stage", 2, STALE, INTERRUPTED),
    (BOTH, "observe of ", 1, AsEver, AsEver),
];

/// The same of a process that waits for a gate and is in its second look: it goes on waiting, until its time is over, unless
/// what it is to apply cannot be had any more.
pub(crate) fn expected_in_a_wait(fault: &Fault) -> (Option<i32>, Option<&'static str>) {
    match (fault.mode, fault.point.to_string().starts_with("resolve of shop:")) {
        ("kill" | "hang", _) => (None, None),
        ("error", true) => (Some(1), Some("provider-failed")),
        ("lost", true) => (Some(75), Some("provider-transient")),
        _ => (Some(20), Some("waiting")),
    }
}

/// The exit code, and the code of the error, of a process in which this fault happens.
pub(crate) fn expected(scenario: Scenario, fault: &Fault, usual: RunOutcome) -> (Option<i32>, Option<&'static str>) {
    if matches!(fault.mode, "kill" | "hang") {
        return (None, None);
    }
    let point = fault.point.to_string();
    let fits = |row: &&(Option<Scenario>, &str, usize, Exit, Exit)| {
        row.0.is_none_or(|only| only == scenario) && point.starts_with(row.1) && fault.count >= row.2
    };
    let row = EXITS.iter().find(fits).unwrap_or_else(|| panic!("nobody says how {fault} ends"));
    match if fault.mode == "error" { row.3 } else { row.4 } {
        AsEver => (Some(exit_of(usual)), None),
        With(code) => (Some(code), None),
        Error(code, error) => (Some(code), Some(error)),
    }
}
