//! The fault matrix: the real command line as a process of its own, which dies, hangs, fails or loses a reply at every
//! point that an apply passes, is resumed by somebody else, and is judged by a journal that is independent of the ledger
//! (S9). CONTRIBUTING.md says how to replay one cell.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod disk;
mod exits;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use promo_core::ledger::event::RunOutcome;
use promo_ledger::Store as _;
use promo_tests::cells::{Cells, Fault, Host, Scenario};
use promo_tests::faults::{Broken, Entry, Point};

use crate::exits::expected_in_a_wait;
use crate::judge::{Clean, all, cell, documented, exit_of, judge, play, sound, told, unseen};

const PROGRAM: &str = env!("CARGO_BIN_EXE_promo-faults");

fn everywhere(scenario: Scenario, mode: &'static str) {
    let cells = Cells::new(PROGRAM, scenario);
    let clean = Clean::new(&cells);
    let matrix: Vec<Vec<Fault>> = clean.faults(&cells, mode).into_iter().map(|fault| vec![fault]).collect();
    all(&cells, &clean, &matrix);
}

#[test]
fn killed_anywhere_in_a_fork_a_resume_ends_it_as_if_nothing_had_been() {
    everywhere(Scenario::Fork, "kill");
}

#[test]
fn killed_anywhere_on_the_way_through_a_gate_a_resume_ends_it_as_if_nothing_had_been() {
    everywhere(Scenario::Gate, "kill");
}

/// Deaths at what is passed about this environment, but for what is passed as in a fork: the way to the first step, the files within a
/// deployment, and these. What is left out is named, so that a point that is new is tried by itself.
fn own(cells: &Cells, clean: &Clean, about: &str, also: &[&str]) -> Vec<Vec<Fault>> {
    let as_in_a_fork = ["observe ", "preview ", "ensure file ", "verify after "];
    let as_in_a_fork = |fault: &Fault| {
        let point = fault.point.to_string();
        as_in_a_fork.iter().chain(also).any(|name| point.starts_with(name))
    };
    let faults = clean.faults(cells, "kill").into_iter().filter(|fault| fault.point.about.starts_with(about));
    faults.filter(|fault| !as_in_a_fork(fault)).map(|fault| vec![fault]).collect()
}

#[test]
fn killed_anywhere_in_waves_and_their_pause_a_resume_ends_it_as_if_nothing_had_been() {
    let cells = Cells::new(PROGRAM, Scenario::Waves);
    let clean = Clean::new(&cells);
    // Each cell takes as long as its pause.
    let matrix = own(&cells, &clean, "world", &["settle "]);
    assert!(matrix.len() > 30, "{matrix:?}");
    all(&cells, &clean, &matrix);
}

#[test]
fn killed_anywhere_in_a_drill_a_resume_ends_it_on_what_ran() {
    let cells = Cells::new(PROGRAM, Scenario::Drill);
    let clean = Clean::new(&cells);
    let matrix = own(&cells, &clean, "dev", &[]);
    let passed = |name: &str| matrix.iter().any(|faults| faults[0].point.to_string() == name);
    for name in [
        "append after promotion.started+drill.started of dev",
        "append before drill.turned of dev",
        "append after drill.turned of dev",
        "ensure after of dev/rollback/deploy/default",
        "ensure before of dev/deploy/default",
    ] {
        assert!(passed(name), "{name} is not among {matrix:?}");
    }
    all(&cells, &clean, &matrix);
}

/// R10: where waves are killed besides: while two targets of one are under way, and in the pause, of which a resume waits for
/// what is left.
#[test]
fn killed_in_a_pause_a_resume_waits_for_what_is_left_of_it() {
    let cells = Cells::new(PROGRAM, Scenario::Waves);
    let clean = Clean::new(&cells);
    let passed = |name: &str, about: &str| clean.points.iter().any(|(p, _)| p.name == name && p.about == about);
    for (name, about) in [
        ("append before wave.finished", "world"),
        ("append after wave.finished", "world"),
        ("ensure before", "world/deploy/two"),
        ("ensure before", "world/deploy/three"),
        ("ensure before", "world/rollback/deploy/one"),
    ] {
        assert!(passed(name, about), "{name} of {about} is not among {:?}", clean.points);
    }
    cells.reset();
    let death = Fault {
        point: Point { name: "append after wave.finished".into(), about: "world".into() },
        mode: "kill",
        count: 1,
    };
    assert_eq!(cells.run(Host::One, Some(&death), &["apply", "plan.json"]).code, None);
    let run = told(&cells).run.unwrap();
    let resumed = cells.run(Host::Two, None, &["resume", &run]);
    assert_eq!(resumed.code, Some(exit_of(clean.outcome)), "{}", resumed.said);
    let records = told(&cells).records;
    let ours = records.iter().filter(|record| record.run.as_ref().is_some_and(|id| id.as_str() == run));
    let at = |kind: &str, step: &str| {
        let mut ours = ours.clone();
        ours.find(|r| r.kind == kind && r.step.as_deref().unwrap_or_default().ends_with(step)).unwrap().recorded_at
    };
    let (done, next) =
        (at("wave.finished", ""), at("step.intent", "deploy/two").min(at("step.intent", "deploy/three")));
    let waited = next.duration_since(done);
    assert!(waited >= jiff::SignedDuration::from_secs(1), "the whole pause, over both processes: {waited}");
}

/// The first faults at these points, of all that a run of the scenario passes.
fn picked(cells: &Cells, clean: &Clean, mode: &'static str, points: &[(&str, &str, usize)]) -> Vec<Vec<Fault>> {
    let fault = |(name, about, count): &(&str, &str, usize)| {
        let point = Point { name: (*name).to_owned(), about: (*about).to_owned() };
        assert!(clean.points.contains(&(point.clone(), *count)), "{point} is not among {:?}", clean.points);
        vec![Fault { point, mode, count: *count }]
    };
    assert_eq!(cells.scenario(), Scenario::Waves);
    points.iter().map(fault).collect()
}

/// Where waves are tried besides being killed: what only they have, and a step on either way. Each cell takes as long as its
/// pause.
const IN_WAVES: [(&str, &str, usize); 9] = [
    ("ensure before", "world/deploy/one", 1),
    // Of the first wave alone, of the same once more after the pause, and of the place that is back.
    ("verify", "world/smoke", 1),
    ("verify", "world/smoke", 2),
    ("verify", "world/smoke", 6),
    ("append before wave.finished", "world", 1),
    ("append after wave.finished", "world", 1),
    ("ensure before", "world/deploy/two", 1),
    ("ensure after", "world/deploy/three", 1),
    ("ensure before", "world/rollback/deploy/two", 1),
];

#[test]
fn an_error_or_a_lost_reply_in_waves_has_its_documented_end() {
    let cells = Cells::new(PROGRAM, Scenario::Waves);
    let clean = Clean::new(&cells);
    for mode in ["error", "lost"] {
        all(&cells, &clean, &picked(&cells, &clean, mode, &IN_WAVES));
    }
}

#[test]
fn hanging_between_waves_and_within_one_is_no_other_death() {
    let cells = Cells::new(PROGRAM, Scenario::Waves);
    let clean = Clean::new(&cells);
    all(&cells, &clean, &picked(&cells, &clean, "hang", &[IN_WAVES[2], IN_WAVES[5], IN_WAVES[6], IN_WAVES[8]]));
}

/// S1.3, S9.5: of a watch a resume waits for what is left; what a probe did not see is no pass, and takes the release back.
#[test]
fn killed_anywhere_under_a_probe_or_in_a_watch_a_resume_ends_it_by_what_was_seen() {
    let cells = Cells::new(PROGRAM, Scenario::Watch);
    let clean = Clean::new(&cells);
    // The rest is passed as in a fork.
    let own = [
        "append after step.",
        "append after environment.",
        "append before verdict.",
        "append after verdict.",
        "append before promotion.finished",
        "ensure ",
        "settle ",
        "verify",
        "during ",
    ];
    let faults = clean.faults(&cells, "kill").into_iter().filter(|fault| fault.point.about.starts_with("watched"));
    let faults: Vec<_> =
        faults.filter(|fault| own.iter().any(|name| fault.point.name.starts_with(name.trim_end()))).collect();
    let at = |name: &str, count| faults.iter().any(|fault| fault.point.name == name && fault.count == count);
    for (name, count) in
        [("during before", 1), ("during after", 1), ("verify", 1), ("verify", 2), ("append before verdict.recorded", 2)]
    {
        assert!(at(name, count), "{name} is not among {faults:?}");
    }
    assert!(faults.iter().filter(|fault| unseen(fault)).count() >= 4, "{faults:?}");
    let matrix: Vec<Vec<Fault>> = faults.into_iter().map(|fault| vec![fault]).collect();
    all(&cells, &clean, &matrix);
}

#[test]
fn hanging_anywhere_until_it_is_killed_is_no_other_death() {
    for scenario in [Scenario::Fork, Scenario::Gate] {
        let cells = Cells::new(PROGRAM, scenario);
        let clean = Clean::new(&cells);
        // A process that hangs is killed in the end: of the points of one name the first and the last are enough.
        let faults = clean.faults(&cells, "hang");
        let ends = |fault: &&Fault| {
            let same = || faults.iter().filter(|other| other.point.name == fault.point.name);
            same().next() == Some(*fault) || same().next_back() == Some(*fault)
        };
        let matrix: Vec<Vec<Fault>> = faults.iter().filter(ends).map(|fault| vec![fault.clone()]).collect();
        all(&cells, &clean, &matrix);
    }
}

/// Where a recovery is killed: the lock, the records before and after the call, the call, the check, and the end.
const IN_RECOVERY: [&str; 9] = [
    "acquire after",
    "observe",
    "append before step.intent",
    "ensure before",
    "ensure after",
    "settle before",
    "append after step.effect",
    "verify",
    "append before run.finished",
];

#[test]
fn killed_once_more_in_the_recovery_the_next_resume_ends_it() {
    let cells = Cells::new(PROGRAM, Scenario::Fork);
    let clean = Clean::new(&cells);
    let first = |name: &str, about: &str| Fault {
        point: Point { name: name.to_owned(), about: about.to_owned() },
        mode: "kill",
        count: 1,
    };
    // Early in the run, in the middle of the forward way, and on the way back.
    let begun = [
        first("append after run.started", ""),
        first("append after step.intent", "left/deploy/one"),
        first("append after step.intent", "left/rollback/deploy/one"),
    ];
    let mut matrix = Vec::new();
    for death in begun {
        cells.reset();
        assert_eq!(cells.run(Host::One, Some(&death), &["apply", "plan.json"]).code, None);
        let run = told(&cells).run.unwrap();
        let before = cells.journal().len();
        let recovered = cells.run(Host::Two, None, &["resume", &run]);
        assert_eq!(recovered.code, Some(exit_of(clean.outcome)), "{}", recovered.said);
        let journal = cells.journal();
        let passed: Vec<&Point> =
            journal[before..].iter().filter_map(|e| if let Entry::Passed(p) = e { Some(p) } else { None }).collect();
        for name in IN_RECOVERY {
            // What goes on beside it may have happened already, or not.
            let mut named =
                passed.iter().filter(|p| p.name == name && (p.about.starts_with("left") || p.about.is_empty()));
            let point = named.next();
            let point = point.unwrap_or_else(|| panic!("{name} is never passed after {death}: {passed:?}"));
            matrix.push(vec![death.clone(), Fault { point: (*point).clone(), mode: "kill", count: 1 }]);
        }
    }
    assert_eq!(matrix.len(), 27);
    all(&cells, &clean, &matrix);
}

#[test]
fn killed_while_it_renews_its_lock_a_run_is_resumed() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    cells.slow_down();
    let clean = Clean::new(&cells);
    let renew =
        |name: &str, mode| Fault { point: Point { name: name.to_owned(), about: String::new() }, mode, count: 1 };
    let modes = ["kill", "hang", "error"].into_iter();
    let matrix: Vec<Vec<Fault>> =
        modes.flat_map(|m| [vec![renew("renew before", m)], vec![renew("renew after", m)]]).collect();
    all(&cells, &clean, &matrix);
}

/// S9.3: nobody guesses what an opaque provider has done.
#[test]
fn an_opaque_provider_that_may_have_acted_leaves_the_run_stuck_with_exit_50() {
    let cells = Cells::with(PROGRAM, Scenario::Gate, Some("directory"));
    let clean = Clean::new(&cells);
    let at = |name: &str| Fault {
        point: Point { name: name.to_owned(), about: "stage/deploy/default".to_owned() },
        mode: "kill",
        count: 1,
    };
    for (point, outcome) in [
        ("append before step.intent", RunOutcome::Done),
        ("append after step.intent", RunOutcome::Stuck),
        ("ensure before", RunOutcome::Stuck),
        // It has acted, and that can be seen.
        ("ensure after", clean.outcome),
        ("append before step.effect", clean.outcome),
    ] {
        let mut ends = Vec::new();
        let (host, end) = play(&cells, &clean, &[&at(point)], &mut ends);
        assert_eq!(end.code, Some(exit_of(outcome)), "{point}: {}", end.said);
        let told = told(&cells);
        assert_eq!(told.outcome, Some(outcome), "{point}");
        sound(&cells, &told);
        let again = cells.run(host, None, &["resume", told.run.as_deref().unwrap()]);
        assert_eq!(again.code, end.code, "{}", again.said);
        assert_eq!(cells.ledger().head().unwrap().size, told.records.len() as u64, "a resume guesses nothing");
        if outcome == RunOutcome::Stuck {
            // What is stuck stays as it was found, and the next plan says so.
            assert!(end.said.contains("stuck"), "{}", end.said);
            let live = std::fs::read_to_string(cells.path("world/shared/live/stage/current/service")).unwrap();
            assert_eq!(live, "stage runs 0.9.0\n");
        }
    }
}

/// S9.4: waiting at a gate holds nothing, so whoever dies there leaves nothing behind.
#[test]
fn killed_while_it_waits_for_a_gate_it_leaves_neither_a_lock_nor_a_record() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    cells.reset();
    let frozen = cells.run(Host::Two, None, &["freeze", "stage", "--reason", "the fair is on"]);
    assert_eq!(frozen.code, Some(0), "{}", frozen.said);
    let before = told(&cells).records.len();
    let passed = cells.journal().len();
    let mut waiting = cells.command(Host::One, None, &["apply", "plan.json", "--wait", "50s"]).spawn().unwrap();
    // It asks the gates once it has looked at the place, and again every few seconds.
    let begun = std::time::Instant::now();
    let looked = || cells.journal()[passed..].iter().any(|e| matches!(e, Entry::Passed(p) if p.name == "observe"));
    while !looked() {
        assert!(begun.elapsed().as_secs() < 30, "it never looks");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(waiting.try_wait().unwrap(), None, "it waits");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(told(&cells).records.len(), before);
    assert_eq!(cells.ledger().leases().unwrap(), []);
    let refused = cells.run(Host::Two, None, &["apply", "plan.json"]);
    assert_eq!((refused.code, refused.error.as_deref()), (Some(20), Some("waiting")), "{}", refused.said);
    let unfreeze = ["unfreeze", "stage", "--reason", "it is over", "--key", "../../riley", "--signer", "built-in"];
    assert_eq!(cells.run(Host::Two, None, &unfreeze).code, Some(0));
    let end = cells.run(Host::Two, None, &["apply", "plan.json"]);
    assert_eq!(end.code, Some(0), "{}", end.said);
    sound(&cells, &told(&cells));
}

/// Where approvals are judged, by what follows: in the check of everything, and once more under the lock, for the record that
/// begins the run. Each time the clock is read first.
fn in_the_approval_check(points: &[(Point, usize)]) -> [(&'static str, Fault); 2] {
    ["acquire before", "append before run.started"].map(|then| {
        let end = points.iter().position(|(point, _)| point.name == then).unwrap();
        let (point, count) = points[..end].iter().rfind(|(point, _)| point.name == "clock").unwrap().clone();
        (then, Fault { point, mode: "kill", count })
    })
}

#[test]
fn whatever_happens_in_the_approval_check_one_resume_ends_it_with_the_approvals_that_were_given() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    let clean = Clean::new(&cells);
    let faults = in_the_approval_check(&clean.points).map(|(_, fault)| fault);
    assert!(faults[0].count < faults[1].count, "{faults:?}");
    let modes = ["kill", "hang", "error", "lost"];
    let matrix: Vec<Vec<Fault>> =
        modes.iter().flat_map(|mode| faults.iter().map(|fault| vec![Fault { mode, ..fault.clone() }])).collect();
    all(&cells, &clean, &matrix);
}

/// The words that wait for a gate, and look twice.
const WAITING: [&str; 4] = ["apply", "plan.json", "--wait", "1s"];

/// Freezes stage in the world that is put back, and gives the points that are passed when a waiting apply looks again.
fn in_the_wait(cells: &Cells) -> Vec<(Point, usize)> {
    cells.reset();
    let frozen = cells.run(Host::Two, None, &["freeze", "stage", "--reason", "the fair is on"]);
    assert_eq!(frozen.code, Some(0), "{}", frozen.said);
    cells.keep();
    cells.reset();
    let end = cells.run(Host::One, None, &WAITING);
    assert_eq!((end.code, end.error.as_deref()), (Some(20), Some("waiting")), "{}", end.said);
    let mut counts: BTreeMap<Point, usize> = BTreeMap::new();
    for entry in cells.journal() {
        if let Entry::Passed(point) = entry {
            *counts.entry(point).or_default() += 1;
        }
    }
    // What is passed more than once is passed the last time when it looks again.
    counts.into_iter().filter(|(_, count)| *count > 1).collect()
}

/// S9.4: who waits holds nothing, whatever becomes of it.
#[test]
fn whatever_happens_in_the_wait_for_a_gate_nothing_is_held_or_written_and_the_plan_can_be_applied() {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    let points = in_the_wait(&cells);
    assert!(points.len() >= 3, "{points:?}");
    for (point, count) in points {
        for mode in ["kill", "hang", "error", "lost"] {
            cells.reset();
            let before = told(&cells).records.len();
            let fault = Fault { point: point.clone(), mode, count };
            let end = cells.run(Host::One, Some(&fault), &WAITING);
            assert_eq!(cells.fired(), 1, "{fault} is reached: {}", end.said);
            let after = told(&cells);
            documented(&end);
            let found = (end.code, end.error.as_deref());
            assert_eq!(found, expected_in_a_wait(&fault), "{fault}: {}", end.said);
            assert_eq!((after.records.len(), after.run), (before, None), "{fault}");
            assert_eq!(cells.ledger().leases().unwrap(), [], "{fault}");
            let unfreeze =
                ["unfreeze", "stage", "--reason", "it is over", "--key", "../../riley", "--signer", "built-in"];
            assert_eq!(cells.run(Host::Two, None, &unfreeze).code, Some(0), "{fault}");
            let end = cells.run(Host::Two, None, &["apply", "plan.json"]);
            assert_eq!(end.code, Some(0), "{fault}: {}", end.said);
            sound(&cells, &told(&cells));
        }
    }
}

/// The judge is judged: promo is broken in one way after another, none of which it notices itself, and each is found for what
/// it is.
#[test]
fn every_way_in_which_promo_can_be_broken_is_found_by_the_judge_of_the_matrix() {
    for how in Broken::ALL {
        let mut cells = Cells::new(PROGRAM, Scenario::Gate);
        let clean = Clean::new(&cells);
        cells.break_it(how);
        let death = Fault {
            point: Point { name: "append after step.intent".into(), about: "stage/deploy/default".into() },
            mode: "kill",
            count: 1,
        };
        for faults in [&[][..], &[&death][..]] {
            // The ledger refuses the second record, and that run never comes to where it would die.
            if how == Broken::RecordsTwice && !faults.is_empty() {
                continue;
            }
            let found = catch_unwind(AssertUnwindSafe(|| cell(&cells, &clean, faults, &mut Vec::new())));
            let found = found.expect_err(&format!("{how} is not found with {} faults", faults.len()));
            let why = found.downcast_ref::<String>().cloned().unwrap_or_default();
            let expected: &[&str] = match how {
                Broken::ActsTwice => &["stage/deploy/default\": 2"],
                Broken::ActsUntold => &["what nobody asked for"],
                Broken::RecordsTwice => &["has an effect already"],
                Broken::StaleEpoch => &["has epoch 1 after"],
                Broken::ForgetsApprovals => &["what was used up is what was granted"],
                Broken::KeepsTheLock => &["a lock was left behind"],
                Broken::WritesTheSecret => &["a secret was written"],
                // By the first resume after a death, by the second without one.
                Broken::ResumesAgain => &["a second resume changed a file", "files are missing or left over"],
            };
            let found = expected.iter().any(|words| why.contains(words));
            assert!(found, "{how} with {} faults is found as: {why}", faults.len());
        }
    }
}

#[test]
fn an_error_anywhere_in_a_fork_touches_only_what_it_is_about() {
    everywhere(Scenario::Fork, "error");
}

#[test]
fn an_error_anywhere_on_the_way_through_a_gate_has_its_documented_end() {
    everywhere(Scenario::Gate, "error");
}

#[test]
fn a_reply_that_is_lost_anywhere_in_a_fork_loses_and_doubles_nothing() {
    everywhere(Scenario::Fork, "lost");
}

#[test]
fn a_reply_that_is_lost_anywhere_on_the_way_through_a_gate_loses_and_doubles_nothing() {
    everywhere(Scenario::Gate, "lost");
}

/// The fault points of an apply by their numbers, and where each of them is here.
const POINTS: [(u8, &str, &[&str]); 25] = [
    (1, "before the lock", &["acquire before"]),
    (2, "the lock's reply lost", &["acquire after"]),
    (3, "locked, before the run is started", &["append before run.started"]),
    (4, "the start not committed", &["append before run.started"]),
    (5, "the start committed, its reply lost", &["append after run.started"]),
    (6, "before the intent", &["observe of stage"]),
    (7, "the intent not committed", &["append before step.intent of stage/deploy/default"]),
    (8, "the intent committed, before the call", &["append after step.intent of stage/deploy/default"]),
    (9, "the request sent, no reply", &["ensure before of stage/copy/shop", "ensure after of stage/copy/shop"]),
    (
        10,
        "an effect on some of the objects",
        &["ensure file 2 of stage/deploy/default", "ensure after of left/deploy/one"],
    ),
    (11, "the effect done, its reply lost", &["ensure after of stage/deploy/default"]),
    (12, "the reply in hand, the effect unwritten", &["append before step.effect of stage/copy/shop"]),
    (13, "the effect not committed", &["append before step.effect of stage/deploy/default"]),
    (13, "the wait for what runs", &["settle before of stage", "settle after of stage"]),
    (14, "the effect committed", &["append after step.effect of stage/deploy/default"]),
    (15, "in the check", &["verify of stage/smoke", "verify after of stage/smoke"]),
    (
        16,
        "checked, not committed",
        &["append before verdict.recorded of stage", "append before promotion.finished of stage"],
    ),
    (
        17,
        "between parallel branches",
        &["append before promotion.started of left", "append before promotion.started of right"],
    ),
    (18, "in a gate's wait", &["clock in a gate's wait", "observe of stage in a gate's wait"]),
    (20, "in the approval check", &["clock before acquire before", "clock before append before run.started"]),
    (21, "the intent of the rollback", &["append before step.intent of left/rollback/deploy/one"]),
    (22, "the effect of the rollback", &["ensure after of left/rollback/deploy/one"]),
    (
        23,
        "the commit of the rollback",
        &[
            "append before promotion.finished+release.rejected+environment.frozen of left",
            "append after promotion.finished+release.rejected+environment.frozen of left",
        ],
    ),
    (26, "done, before the lock is given back", &["append after run.finished", "release before"]),
    (19, "in the renewal of the lock", &["renew before", "renew after"]),
];

/// Numbers without a place: what they name is not there. Ledgers sign and anchor no checkpoint yet.
const NOWHERE: [u8; 2] = [24, 25];

#[test]
fn every_fault_point_is_passed_by_the_applies_of_this_matrix() {
    let passed = |scenario| {
        let cells = Cells::new(PROGRAM, scenario);
        if scenario == Scenario::Gate {
            cells.slow_down();
        }
        let journal = |cells: &Cells| {
            let points = Clean::new(cells).points;
            let checked = in_the_approval_check(&points).map(|(then, _)| format!("clock before {then}"));
            points.iter().map(|(point, _)| point.to_string()).chain(checked).collect::<BTreeSet<_>>()
        };
        let mut points = journal(&cells);
        if scenario == Scenario::Gate {
            let waiting = in_the_wait(&cells);
            points.extend(waiting.into_iter().map(|(point, _)| format!("{point} in a gate's wait")));
        }
        points
    };
    let points: BTreeSet<String> = [Scenario::Fork, Scenario::Gate].into_iter().flat_map(passed).collect();
    let mut numbers: BTreeSet<u8> = NOWHERE.into();
    for (number, about, names) in POINTS {
        numbers.insert(number);
        for name in names {
            assert!(points.contains(*name), "{number}, {about}: {name} is not among {points:#?}");
        }
    }
    assert_eq!(numbers, (1..=26).collect());
}

#[test]
fn faults_are_in_the_binary_of_the_tests() {
    let bytes = std::fs::read(PROGRAM).unwrap();
    assert!(bytes.windows(11).any(|window| window == b"PROMO_FAULT"), "the test of the product's binary means nothing");
}

#[test]
#[ignore = "replays the cell that PROMO_CELL names"]
fn replay() {
    let text = std::env::var("PROMO_CELL").expect("PROMO_CELL names a cell: SCENARIO|POINT:MODE:COUNT|…");
    let mut parts = text.split('|');
    let scenario = match parts.next() {
        Some("fork") => Scenario::Fork,
        Some("gate") => Scenario::Gate,
        Some("waves") => Scenario::Waves,
        Some("watch") => Scenario::Watch,
        Some("drill") => Scenario::Drill,
        other => panic!("{other:?} is no scenario"),
    };
    let faults: Vec<Fault> = parts.map(|part| part.parse().unwrap()).collect();
    let cells = Cells::new(PROGRAM, scenario);
    let clean = Clean::new(&cells);
    judge(&cells, &clean, &faults.iter().collect::<Vec<_>>()).unwrap_or_else(|why| panic!("{why}"));
}
