//! The fault matrix: the real command line as a process of its own, which dies, hangs, fails or loses a reply at every
//! point that an apply passes, is resumed by somebody else, and is judged by a journal that is independent of the ledger
//! (S9). CONTRIBUTING.md says how to replay one cell.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use promo_core::ledger::event::{Event, PromotionOutcome, RunOutcome};
use promo_core::ledger::{Record, View};
use promo_core::plan::Document;
use promo_ledger::Store as _;
use promo_tests::cells::{Cells, End, Fault, Host, Scenario, tells};
use promo_tests::faults::{Broken, Entry, Point, effects};

const PROGRAM: &str = env!("CARGO_BIN_EXE_promo-faults");

/// Whose verification each environment waits for.
const AFTER: [(&str, &[&str]); 4] =
    [("dev", &[]), ("left", &["dev"]), ("right", &["dev"]), ("stage", &["left", "right"])];

/// What the ledger says of the one run of a cell.
struct Told {
    run: Option<String>,
    outcome: Option<RunOutcome>,
    /// How each environment ended in this run.
    ends: BTreeMap<String, PromotionOutcome>,
    records: Vec<Record>,
    view: View,
}

/// How a process that was not killed may end.
fn exit_of(outcome: RunOutcome) -> i32 {
    match outcome {
        RunOutcome::Done => 0,
        RunOutcome::Waiting => 20,
        RunOutcome::Cancelled => 22,
        RunOutcome::RolledBack => 40,
        RunOutcome::Held => 41,
        RunOutcome::Stuck => 50,
    }
}

fn told(cells: &Cells) -> Told {
    let ledger = cells.ledger();
    let records = ledger.records(0, usize::MAX).unwrap();
    let view = promo_core::ledger::fold(&records).unwrap();
    let plan = plan(cells).digest().unwrap();
    let run = view.consumed.get(&plan);
    let outcome = run.and_then(|run| view.runs[run].finished).map(|(_, outcome)| outcome);
    let of_run = |name: &str| {
        let environment = view.environments.iter().find(|(n, _)| n.as_str() == name)?.1;
        environment.history.iter().find(|p| Some(&p.run) == run)?.finished.map(|(_, outcome)| outcome)
    };
    let ends = AFTER.iter().filter_map(|(name, _)| Some(((*name).to_owned(), of_run(name)?))).collect();
    Told { run: run.map(ToString::to_string), outcome, ends, records, view }
}

fn plan(cells: &Cells) -> Document {
    Document::from_bytes(&std::fs::read(cells.path("world/one/plan.json")).unwrap()).unwrap().0
}

/// A pass without a fault: which points there are, how it ends, and what it leaves behind.
struct Clean {
    points: Vec<(Point, usize)>,
    outcome: RunOutcome,
    ends: BTreeMap<String, PromotionOutcome>,
    paths: BTreeSet<PathBuf>,
}

impl Clean {
    fn new(cells: &Cells) -> Self {
        cells.reset();
        let end = cells.run(Host::One, None, &["apply", "plan.json"]);
        let Told { outcome, ends, .. } = told(cells);
        let outcome = outcome.unwrap_or_else(|| panic!("{}", end.said));
        assert_eq!(end.code, Some(exit_of(outcome)), "{}", end.said);
        let mut points: Vec<(Point, usize)> = Vec::new();
        for entry in cells.journal() {
            if let Entry::Passed(point) = entry {
                let before = points.iter().filter(|(p, _)| *p == point).count();
                points.push((point, before + 1));
            }
        }
        let ended = |pairs: &[(&str, PromotionOutcome)]| pairs.iter().map(|(n, o)| ((*n).to_owned(), *o)).collect();
        let planned: BTreeMap<String, PromotionOutcome> = match cells.scenario() {
            Scenario::Fork => ended(&[
                ("dev", PromotionOutcome::Verified),
                ("left", PromotionOutcome::RolledBack),
                ("right", PromotionOutcome::Verified),
            ]),
            Scenario::Gate => ended(&[("stage", PromotionOutcome::Verified)]),
        };
        assert_eq!(ends, planned, "{}", end.said);
        Self { points, outcome, ends, paths: cells.contents().into_keys().collect() }
    }

    /// A fault at every point. What is passed again and again in the same way is tried the first and the last time.
    fn faults(&self, mode: &'static str) -> Vec<Fault> {
        let last = |point: &Point| self.points.iter().filter(|(p, _)| p == point).count();
        let tried = self.points.iter().filter(|(point, count)| match point.name.as_str() {
            "clock" | "keep before" | "keep after" | "preview" | "resolve" => *count == 1 || *count == last(point),
            _ => true,
        });
        tried.map(|(point, count)| Fault { point: point.clone(), mode, count: *count }).collect()
    }
}

/// The environment that a point is about.
fn environment(point: &Point) -> Option<&str> {
    let name = point.about.split('/').next()?;
    AFTER.iter().map(|(name, _)| *name).find(|known| *known == name)
}

fn downstream(of: &str, name: &str) -> bool {
    let (_, after) = AFTER.iter().find(|(n, _)| *n == name).unwrap();
    after.iter().any(|before| *before == of || downstream(of, before))
}

/// Whether a fault may change how the run ends: a provider that says no, or a check that nobody could run (S1.3).
fn decides(fault: &Fault) -> bool {
    match (fault.point.name.split(' ').next().unwrap(), fault.mode) {
        ("observe" | "ensure", "error") | ("verify", "error" | "lost") => true,
        // A change that is seen is done, whatever was said of it; so is one that can be seen to be missing.
        _ => false,
    }
}

/// One process after another until the run has ended; `faults` are theirs, one each. Gives the host that ended it.
fn play(cells: &Cells, faults: &[&Fault], ends: &mut Vec<(String, End)>) -> (Host, End) {
    cells.reset();
    let mut faults = faults.iter();
    let mut host = Host::One;
    let mut words = vec!["apply".to_owned(), "plan.json".to_owned()];
    for turn in 0..8 {
        let fault = faults.next().copied();
        let fired = cells.fired();
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        let end = cells.run(host, fault, &line);
        let shown = fault.map_or_else(String::new, |fault| format!("PROMO_FAULT='{fault}' "));
        ends.push((format!("{shown}promo-faults {} # {host:?}", words.join(" ")), end.clone()));
        if let Some(fault) = fault {
            let reached = cells.fired() - fired;
            // How often an append is tried again and the clock is read depends on which branch was faster: that a point
            // is passed once is certain, and a second time is not.
            assert!(reached == 1 || (reached == 0 && fault.count > 1), "the point of {fault} was not reached");
            match fault.mode {
                "kill" | "hang" if reached == 1 => assert_eq!(end.code, None, "{}", end.said),
                _ => assert!(end.code.is_some(), "{}", end.said),
            }
        }
        let told = told(cells);
        documented(&end, &told);
        match (&told.run, told.outcome) {
            (Some(_), Some(_)) if faults.len() == 0 && end.code.is_some() && end.error.is_none() => return (host, end),
            (Some(run), _) => words = vec!["resume".to_owned(), run.clone()],
            // A lock without a run: nobody resumes it, it runs out.
            (None, _) if end.error.as_deref() == Some("locked") => cells.wait_for_locks(),
            (None, _) => assert!(turn < 4, "it never begins: {}", end.said),
        }
        // The first process of a machine of its own cannot be killed from within.
        host = if faults.len() == 0 && fault.is_some_and(|f| f.mode == "kill" && f.count % 2 == 1) {
            Host::Elsewhere
        } else {
            Host::Two
        };
    }
    panic!("the run does not end");
}

/// Whatever a process says at its end is one of the documented codes, and fits to what it wrote.
fn documented(end: &End, told: &Told) {
    assert!(!tells(end.said.as_bytes()), "a secret was said (S13.4)");
    let Some(code) = end.code else { return };
    match told.outcome {
        Some(outcome) if end.error.is_none() => assert_eq!(code, exit_of(outcome), "{}", end.said),
        _ => assert!([1, 20, 21, 22, 40, 41, 65, 74, 75].contains(&code), "{code}: {}", end.said),
    }
    if let Some(error) = &end.error {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{error}.md"));
        assert!(page.is_file(), "{error} has no page");
        assert!(end.said.contains("Next: promo "), "no next command: {}", end.said);
    }
}

/// A cell: the faults, and everything that must be true afterwards.
fn cell(cells: &Cells, clean: &Clean, faults: &[&Fault], ends: &mut Vec<(String, End)>) {
    let (host, end) = play(cells, faults, ends);
    let told = told(cells);
    // One `promo resume` has ended it, a second one changes nothing (S9.5).
    let (size, contents) = (told.records.len(), cells.contents());
    let run = told.run.as_deref().unwrap();
    let again = cells.run(host, None, &["resume", run]);
    ends.push((format!("promo-faults resume {run} # once more"), again.clone()));
    assert_eq!(again.code, end.code, "{}", again.said);
    assert_eq!(cells.ledger().head().unwrap().size, size as u64, "a second resume wrote into the ledger");
    assert_eq!(cells.contents(), contents, "a second resume changed a file");
    sound(cells, &told);
    settled(cells, &told);
    // Whoever cannot give back the lock of a run that has ended leaves one that runs out (S9.4).
    let at_the_end = ["append after run.finished", "release before"];
    if faults.iter().any(|fault| at_the_end.contains(&&*fault.point.name)) {
        cells.wait_for_locks();
    }
    assert_eq!(cells.ledger().leases().unwrap(), [], "a lock was left behind");
    let deciding: Vec<&str> = faults.iter().filter(|f| decides(f)).filter_map(|f| environment(&f.point)).collect();
    if deciding.is_empty() {
        assert_eq!(told.outcome, Some(clean.outcome), "it ended otherwise than without a fault");
        assert_eq!(
            cells.contents().into_keys().collect::<BTreeSet<_>>(),
            clean.paths,
            "files are missing or left over"
        );
    }
    for (name, _) in AFTER {
        let (found, usual) = (told.ends.get(name), clean.ends.get(name));
        let ours = deciding.contains(&name);
        let below = deciding.iter().any(|of| downstream(of, name));
        assert!(found == usual || ours || (below && found.is_none()), "{name} ended {found:?}, usually {usual:?}");
    }
}

/// What holds after any number of faults.
fn sound(cells: &Cells, told: &Told) {
    promo_ledger::verify(&cells.ledger()).unwrap();
    let run = told.run.as_deref().unwrap();
    let mut transitions: BTreeMap<String, usize> = BTreeMap::new();
    for effect in effects(&cells.journal()) {
        assert!(!effect.token.is_empty(), "a change that no step was told to make: {effect:?}");
        *transitions.entry(effect.token).or_default() += 1;
    }
    // S9.3: a step takes effect at most once, and what took effect is recorded exactly once.
    assert!(transitions.values().all(|n| *n == 1), "{transitions:?}");
    let mut effects: BTreeMap<String, usize> = BTreeMap::new();
    let mut verified = BTreeSet::new();
    let mut consumed = Vec::new();
    let mut granted = BTreeSet::new();
    let mut epoch = 0;
    let plan = plan(cells).digest().unwrap();
    for record in &told.records {
        let ours = record.run.as_ref().is_some_and(|r| r.as_str() == run);
        if ours {
            // Nothing of a process that lost its lock comes after the first record of the one that took it (S9.4).
            let current = record.epoch.unwrap();
            assert!(current >= epoch, "record {} has epoch {current} after {epoch}", record.seq);
            epoch = current;
        }
        match Event::from_parts(&record.kind, &record.body).unwrap() {
            Event::StepEffect { .. } if ours => {
                *effects.entry(format!("{run}/{}", record.step.as_ref().unwrap())).or_default() += 1;
            }
            Event::PromotionFinished { environment, release, outcome: PromotionOutcome::Verified } => {
                verified.insert((environment.to_string(), release));
            }
            Event::PromotionStarted { environment, to, .. } => {
                let (_, after) = AFTER.iter().find(|(name, _)| *name == environment.as_str()).unwrap();
                for before in *after {
                    assert!(verified.contains(&((*before).to_owned(), to.clone())), "{environment} before {before}");
                }
            }
            Event::ApprovalRecorded { envelope } if record.plan == Some(plan) => {
                let envelope: promo_core::approval::Envelope = serde_json::from_value(envelope).unwrap();
                granted.insert(promo_core::Digest::of(envelope.statement.as_bytes()));
            }
            Event::RunStarted { approvals, .. } if ours => consumed.push(approvals),
            _ => {}
        }
    }
    for token in transitions.keys() {
        assert_eq!(effects.get(token), Some(&1), "{token} in {effects:?}");
    }
    // The run began once, and used up exactly what was granted for its plan (S6.6).
    assert_eq!(consumed.len(), 1);
    assert_eq!(consumed[0].iter().copied().collect::<BTreeSet<_>>(), granted, "what was used up is what was granted");
    assert_eq!(granted.len(), usize::from(cells.scenario() == Scenario::Gate));
    assert_eq!(cells.leaks(), Vec::<PathBuf>::new(), "a secret was written (S13.4)");
}

/// What the ledger says is what is there.
fn settled(cells: &Cells, told: &Told) {
    for (name, environment) in &told.view.environments {
        let Some(current) = environment.residences.last() else { continue };
        // What is held is between two releases, and waits for a person to look (S9.6).
        if told.ends.get(name.as_str()) == Some(&PromotionOutcome::Held) {
            continue;
        }
        let tag = told.view.release(&current.release).unwrap().release.alias.clone().unwrap();
        let places: &[&str] = if name.as_str() == "left" { &["left-one", "left-two"] } else { &[name.as_str()] };
        for place in places {
            let live = std::fs::read_to_string(cells.path(&format!("world/shared/live/{place}/current/service")));
            assert_eq!(live.unwrap(), format!("{name} runs {tag}\n"), "{place}");
        }
    }
}

/// Plays a cell; one that fails is kept, and the panic says how to replay it.
fn judge(cells: &Cells, clean: &Clean, faults: &[&Fault]) -> Result<(), String> {
    let mut ends = Vec::new();
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| cell(cells, clean, faults, &mut ends))) else { return Ok(()) };
    let why = panic.downcast_ref::<String>().cloned();
    let why = why.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    let name = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
    let scenario = cells.scenario().name();
    let kept = cells.bundle(&format!("{scenario} {name}"), &ends);
    Err(format!(
        "{why}\n  kept in {}\n  replay: PROMO_CELL='{scenario}|{name}' cargo test -p promo-tests --test fault_matrix -- \
         --ignored replay\n",
        kept.display()
    ))
}

fn all(cells: &Cells, clean: &Clean, matrix: &[Vec<Fault>]) {
    let failed: Vec<String> =
        matrix.iter().filter_map(|faults| judge(cells, clean, &faults.iter().collect::<Vec<_>>()).err()).collect();
    assert!(failed.is_empty(), "{} of {} cells:\n{}", failed.len(), matrix.len(), failed.join("\n"));
}

fn everywhere(scenario: Scenario, mode: &'static str) {
    let cells = Cells::new(PROGRAM, scenario);
    let clean = Clean::new(&cells);
    let matrix: Vec<Vec<Fault>> = clean.faults(mode).into_iter().map(|fault| vec![fault]).collect();
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

#[test]
fn hanging_anywhere_until_it_is_killed_is_no_other_death() {
    for scenario in [Scenario::Fork, Scenario::Gate] {
        let cells = Cells::new(PROGRAM, scenario);
        let clean = Clean::new(&cells);
        // A process that hangs is killed in the end: of the points of one name the first and the last are enough.
        let faults = clean.faults("hang");
        let ends = |fault: &&Fault| {
            let same = || faults.iter().filter(|other| other.point.name == fault.point.name);
            same().next() == Some(*fault) || same().next_back() == Some(*fault)
        };
        let matrix: Vec<Vec<Fault>> = faults.iter().filter(ends).map(|fault| vec![fault.clone()]).collect();
        all(&cells, &clean, &matrix);
    }
}

/// Where a recovery is killed: the lock, the records before and after the call, the call, the check, and the end.
const IN_RECOVERY: [&str; 8] = [
    "acquire after",
    "observe",
    "append before step.intent",
    "ensure before",
    "ensure after",
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
    assert_eq!(matrix.len(), 24);
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
        let (host, end) = play(&cells, &[&at(point)], &mut ends);
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
            assert_eq!(end.code.is_none(), ["kill", "hang"].contains(&mode), "{fault}: {}", end.said);
            let after = told(&cells);
            documented(&end, &after);
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
const POINTS: [(u8, &str, &[&str]); 24] = [
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
        other => panic!("{other:?} is no scenario"),
    };
    let faults: Vec<Fault> = parts.map(|part| part.parse().unwrap()).collect();
    let cells = Cells::new(PROGRAM, scenario);
    let clean = Clean::new(&cells);
    judge(&cells, &clean, &faults.iter().collect::<Vec<_>>()).unwrap_or_else(|why| panic!("{why}"));
}
