//! The judge of the matrix: how a cell is played, and everything that must be true afterwards. What must not live here: which
//! cells there are.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use promo_core::ledger::event::{Event, PromotionOutcome, RunOutcome};
use promo_core::ledger::{Record, View};
use promo_core::plan::Document;
use promo_ledger::Store as _;
use promo_tests::cells::{Cells, End, Fault, Host, Scenario, tells};
use promo_tests::faults::{Entry, Point, effects};

use crate::exits::expected;

/// Whose verification each environment waits for.
pub(crate) const AFTER: [(&str, &[&str]); 6] = [
    ("dev", &[]),
    ("left", &["dev"]),
    ("right", &["dev"]),
    ("stage", &["left", "right"]),
    ("world", &[]),
    ("watched", &[]),
];

/// What the ledger says of the one run of a cell.
pub(crate) struct Told {
    pub(crate) run: Option<String>,
    pub(crate) outcome: Option<RunOutcome>,
    /// How each environment ended in this run.
    pub(crate) ends: BTreeMap<String, PromotionOutcome>,
    pub(crate) records: Vec<Record>,
    pub(crate) view: View,
}

/// How a process that was not killed may end.
pub(crate) fn exit_of(outcome: RunOutcome) -> i32 {
    match outcome {
        RunOutcome::Done => 0,
        RunOutcome::Waiting => 20,
        RunOutcome::Cancelled => 22,
        RunOutcome::RolledBack => 40,
        RunOutcome::Held => 41,
        RunOutcome::Stuck => 50,
    }
}

pub(crate) fn told(cells: &Cells) -> Told {
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

pub(crate) fn plan(cells: &Cells) -> Document {
    Document::from_bytes(&std::fs::read(cells.path("world/one/plan.json")).unwrap()).unwrap().0
}

/// A pass without a fault: which points there are, how it ends, and what it leaves behind.
pub(crate) struct Clean {
    pub(crate) points: Vec<(Point, usize)>,
    pub(crate) outcome: RunOutcome,
    pub(crate) ends: BTreeMap<String, PromotionOutcome>,
    pub(crate) paths: BTreeSet<PathBuf>,
}

impl Clean {
    pub(crate) fn new(cells: &Cells) -> Self {
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
            Scenario::Waves => ended(&[("world", PromotionOutcome::RolledBack)]),
            Scenario::Watch => ended(&[("watched", PromotionOutcome::Verified)]),
            Scenario::Drill => ended(&[("dev", PromotionOutcome::Verified)]),
        };
        assert_eq!(ends, planned, "{}", end.said);
        Self { points, outcome, ends, paths: cells.contents().into_keys().collect() }
    }

    /// A fault at every point. What is passed again and again in the same way is tried the first and the last time.
    pub(crate) fn faults(&self, cells: &Cells, mode: &'static str) -> Vec<Fault> {
        let last = |point: &Point| self.points.iter().filter(|(p, _)| p == point).count();
        // An append is tried again, after another look at the clock, where the other branch was faster: what is passed in
        // every one of several runs is passed for certain.
        let others = [Self::new(cells), Self::new(cells)];
        let certain = |point: &(Point, usize)| others.iter().all(|other| other.points.contains(point));
        // By luck it was slower in all of them: only what was appended is passed whatever comes in between.
        let appended = |point: &Point| {
            let after = Point { name: point.name.replace("append before", "append after"), ..point.clone() };
            last(&after)
        };
        let fork = cells.scenario() != Scenario::Gate;
        let tried =
            self.points.iter().filter(|point| certain(point)).filter(|(point, count)| match point.name.as_str() {
                "clock" if fork => *count == 1,
                name if name.starts_with("append before") => *count <= appended(point),
                "clock" | "keep before" | "keep after" | "preview" | "resolve" => *count == 1 || *count == last(point),
                // Only what takes long renews its lock: that has a test of its own.
                "renew before" | "renew after" => false,
                _ => true,
            });
        tried.map(|(point, count)| Fault { point: point.clone(), mode, count: *count }).collect()
    }
}

/// The environment that a point is about.
pub(crate) fn environment(point: &Point) -> Option<&str> {
    let name = point.about.split('/').next()?;
    AFTER.iter().map(|(name, _)| *name).find(|known| *known == name)
}

pub(crate) fn downstream(of: &str, name: &str) -> bool {
    let (_, after) = AFTER.iter().find(|(n, _)| *n == name).unwrap();
    after.iter().any(|before| *before == of || downstream(of, before))
}

/// Whether a fault may change how the run ends: a provider that says no, or a check that nobody could run (S1.3).
pub(crate) fn decides(fault: &Fault) -> bool {
    match (fault.point.name.split(' ').next().unwrap(), fault.mode) {
        ("observe" | "ensure" | "settle", "error") | ("verify", "error" | "lost") => true,
        _ if unseen(fault) => true,
        // A change that is seen is done, whatever was said of it; so is one that can be seen to be missing.
        _ => false,
    }
}

/// Whether a process dies when all was deployed and what its probe saw was not on record: whoever resumes its run has seen
/// nothing, and that is no pass (S1.3).
pub(crate) fn unseen(fault: &Fault) -> bool {
    let probed = environment(&fault.point) == Some("watched") && matches!(fault.mode, "kill" | "hang");
    probed
        && match fault.point.name.as_str() {
            "append after step.effect" | "append before environment.deployed" | "append after environment.deployed" => {
                true
            }
            "append before verdict.recorded" => fault.count == 1,
            name => name == "during after",
        }
}

/// One process after another until the run has ended; `faults` are theirs, one each. Gives the host that ended it.
pub(crate) fn play(cells: &Cells, clean: &Clean, faults: &[&Fault], ends: &mut Vec<(String, End)>) -> (Host, End) {
    cells.reset();
    let mut host = Host::One;
    let mut words = vec!["apply".to_owned(), "plan.json".to_owned()];
    for (turn, fault) in faults.iter().enumerate() {
        let fired = cells.fired();
        let end = run(cells, host, Some(fault), &words, ends);
        assert_eq!(cells.fired() - fired, 1, "the cell did not fire: {fault} was not reached: {}", end.said);
        let found = (end.code, end.error.as_deref());
        assert_eq!(found, expected(cells.scenario(), fault, clean.outcome), "{fault}: {}", end.said);
        let told = told(cells);
        if end.error.is_none() && (end.code.is_some() && told.outcome.is_some()) && turn + 1 == faults.len() {
            return (host, end);
        }
        if let Some(run) = told.run {
            words = vec!["resume".to_owned(), run];
        }
        // The first process of a machine of its own cannot be killed from within.
        let last = turn + 1 == faults.len();
        host = if last && fault.mode == "kill" && fault.count % 2 == 1 { Host::Elsewhere } else { Host::Two };
    }
    let mut end = run(cells, host, None, &words, ends);
    if (end.code, end.error.as_deref()) == (Some(20), Some("locked")) && words[0] == "apply" {
        // A lock without a run: nobody resumes it, it runs out.
        cells.wait_for_locks();
        end = run(cells, host, None, &words, ends);
    }
    let outcome = told(cells).outcome.unwrap_or_else(|| panic!("one process more does not end the run: {}", end.said));
    assert_eq!((end.code, end.error.as_deref()), (Some(exit_of(outcome)), None), "{}", end.said);
    (host, end)
}

/// Runs a command, and keeps what it said.
fn run(cells: &Cells, host: Host, fault: Option<&Fault>, words: &[String], ends: &mut Vec<(String, End)>) -> End {
    let line: Vec<&str> = words.iter().map(String::as_str).collect();
    let end = cells.run(host, fault, &line);
    let shown = fault.map_or_else(String::new, |fault| format!("PROMO_FAULT='{fault}' "));
    ends.push((format!("{shown}promo-faults {} # {host:?}", words.join(" ")), end.clone()));
    documented(&end);
    end
}

/// No secret is said, and an error has a page and names the next command.
pub(crate) fn documented(end: &End) {
    assert!(!tells(end.said.as_bytes()), "a secret was said (S13.4)");
    if let Some(error) = &end.error {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{error}.md"));
        assert!(page.is_file(), "{error} has no page");
        assert!(end.said.contains("Next: promo "), "no next command: {}", end.said);
    }
}

/// A cell: the faults, and everything that must be true afterwards.
pub(crate) fn cell(cells: &Cells, clean: &Clean, faults: &[&Fault], ends: &mut Vec<(String, End)>) {
    let (host, end) = play(cells, clean, faults, ends);
    let told = over(cells, host, &end, ends);
    // Whoever cannot give back the lock of a run that has ended leaves one that runs out (S9.4).
    let at_the_end = ["append after run.finished", "release before"];
    if faults.iter().any(|fault| at_the_end.contains(&&*fault.point.name)) {
        cells.wait_for_locks();
    }
    assert_eq!(cells.ledger().leases().unwrap(), [], "a lock was left behind");
    if faults.iter().any(|fault| unseen(fault)) {
        assert_eq!(told.outcome, Some(RunOutcome::RolledBack), "nobody saw it, and it did not go back");
    }
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

/// What holds of a run that has ended: it is sound, and it is over for good.
pub(crate) fn over(cells: &Cells, host: Host, end: &End, ends: &mut Vec<(String, End)>) -> Told {
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
    if cells.scenario() == Scenario::Drill {
        let dev = told.view.environments.iter().find(|(name, _)| name.as_str() == "dev").unwrap().1;
        let drill = dev.history.iter().rev().find_map(|promotion| promotion.drill.as_ref()).unwrap();
        assert!(drill.turned.as_ref().is_some_and(|turned| turned.passed), "{drill:?}");
        assert_eq!(told.view.stops, [], "nothing is quarantined or paused");
    }
    told
}

/// What holds after any number of faults.
pub(crate) fn sound(cells: &Cells, told: &Told) {
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
pub(crate) fn settled(cells: &Cells, told: &Told) {
    for (name, environment) in &told.view.environments {
        let Some(current) = environment.residences.last() else { continue };
        // What is held is between two releases, and waits for a person to look (S9.6).
        if told.ends.get(name.as_str()) == Some(&PromotionOutcome::Held) {
            continue;
        }
        let tag = told.view.release(&current.release).unwrap().release.alias.clone().unwrap();
        let places: &[&str] = match name.as_str() {
            "left" => &["left-one", "left-two"],
            "world" => &["world-one", "world-two", "world-three"],
            name => &[name],
        };
        for place in places {
            let live = std::fs::read_to_string(cells.path(&format!("world/shared/live/{place}/current/service")));
            assert_eq!(live.unwrap(), format!("{name} runs {tag}\n"), "{place}");
        }
    }
}

/// Plays a cell; one that fails is kept, and the panic says how to replay it.
pub(crate) fn judge(cells: &Cells, clean: &Clean, faults: &[&Fault]) -> Result<(), String> {
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

pub(crate) fn all(cells: &Cells, clean: &Clean, matrix: &[Vec<Fault>]) {
    let failed: Vec<String> =
        matrix.iter().filter_map(|faults| judge(cells, clean, &faults.iter().collect::<Vec<_>>()).err()).collect();
    let silent = failed.iter().filter(|why| why.contains("the cell did not fire")).count();
    let (wrong, cells) = (failed.len(), matrix.len());
    assert!(failed.is_empty(), "{wrong} of {cells} cells, of which {silent} did not fire:\n{}", failed.join("\n"));
}
