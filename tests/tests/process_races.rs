//! Races between real processes (S8, S9): 64 command lines apply one plan; two plans, a change of an environment's own file, a freeze and a cancel meet
//! a promotion. Judged by the ledger, by what is in the directories, and by a journal that is independent of the ledger. CONTRIBUTING.md says how to run more of them, and how to replay one.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use promo_core::ledger::event::{PromotionOutcome, RunOutcome};
use promo_core::ledger::{Record, View};
use promo_core::plan::Document;
use promo_ledger::Store as _;
use promo_tests::cells::{Cells, End};
use promo_tests::faults::{Entry, effects};
use promo_tests::racing::{self, Finish, Heat, PLANS, Race, Racer};

const JOURNALLED: &str = env!("CARGO_BIN_EXE_promo-faults");
/// How many races of each kind, the first seed, and how many processes apply one plan: for the long run.
const MANY: [&str; 3] = ["PROMO_RACE_ROUNDS", "PROMO_RACE_SEED", "PROMO_RACE_PROCESSES"];
/// The one race that is to be replayed: `RACE:PROCESSES:SEED`.
const AGAIN: &str = "PROMO_RACE";
/// How often it is replayed: the same seed lets everybody go as before, and the machine does the rest.
const TRIES: usize = 50;

/// What the ledger says after a race, of what was not there before.
struct Told {
    new: Vec<Record>,
    view: View,
}

impl Told {
    fn of(cells: &Cells, before: u64) -> Self {
        let ledger = cells.ledger();
        promo_ledger::verify(&ledger).unwrap();
        let records = ledger.records(0, usize::MAX).unwrap();
        let view = promo_core::ledger::fold(&records).unwrap();
        let new = records.into_iter().filter(|record| record.seq >= before).collect();
        assert_eq!(ledger.leases().unwrap(), [], "a lock was left behind");
        Self { new, view }
    }

    fn count(&self, kind: &str) -> usize {
        self.new.iter().filter(|record| record.kind == kind).count()
    }

    /// The run that used a plan.
    fn winner(&self, cells: &Cells, plan: &str) -> Option<String> {
        let bytes = std::fs::read(cells.path(&format!("world/one/{plan}"))).unwrap();
        let digest = Document::from_bytes(&bytes).unwrap().1;
        self.view.consumed.get(&digest).map(ToString::to_string)
    }
}

/// Everybody who did this, and how it ended for them.
fn those<'a>(finish: &'a Finish, words: &[&str]) -> Vec<&'a End> {
    finish.racers.iter().filter(|racer| racer.words == words).map(|racer| &racer.end).collect()
}

/// Whether somebody was told that the plan is spent, and by which run.
fn outrun(end: &End, winner: &str) -> bool {
    (end.code, end.error.as_deref()) == (Some(22), Some("plan-spent"))
        && end.said.contains(&format!("run {winner} of racer-"))
}

/// Runs a race and says everything that must be true afterwards.
fn heat(cells: &Cells, heat: Heat, ran: &mut Option<Finish>) {
    let finish = ran.insert(racing::run(cells, JOURNALLED, heat));
    for Racer { words, end } in &finish.racers {
        assert!(end.code.is_some(), "{words:?} did not end: {}", end.said);
        if let Some(error) = &end.error {
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{error}.md"));
            assert!(page.is_file(), "{error} has no page");
            assert!(end.said.contains("Next: promo "), "no next command: {}", end.said);
        }
    }
    let told = Told::of(cells, finish.before);
    once(cells, heat, &told);
    settled(cells, &told);
    match heat.race {
        Race::OnePlan => one_plan(cells, finish, &told),
        Race::TwoPlans => two_plans(cells, finish, &told, [PLANS[2], PLANS[3]]),
        Race::Reconfiguration => two_plans(cells, finish, &told, [PLANS[1], PLANS[2]]),
        Race::Freeze => freeze(cells, finish, &told),
        Race::Cancel => cancel(finish, &told),
    }
}

/// S9.2, S9.3: nothing was done twice, and what was done is on record once.
fn once(cells: &Cells, heat: Heat, told: &Told) {
    let mut on_record: BTreeMap<String, usize> = BTreeMap::new();
    let mut epochs: BTreeMap<String, u64> = BTreeMap::new();
    for record in &told.new {
        let Some(run) = record.run.as_ref().map(ToString::to_string) else { continue };
        // Nothing of a process that lost its lock comes after the first record of the one that took it (S9.4).
        if let Some(epoch) = record.epoch {
            let last = epochs.insert(run.clone(), epoch).unwrap_or_default();
            assert!(epoch >= last, "record {} has epoch {epoch} after {last}", record.seq);
        }
        if record.kind == "step.effect" {
            *on_record.entry(format!("{run}/{}", record.step.as_ref().unwrap())).or_default() += 1;
        }
    }
    assert!(on_record.values().all(|n| *n == 1), "{on_record:?}");
    assert!(told.count("environment.deployed") <= 1 && told.count("run.started") <= 1, "{:?}", kinds(told));
    if !racing::has_journal(heat) {
        return;
    }
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    // Whoever only looks may write down what it saw after somebody else has changed it: those who act tell enough.
    let mut entries = cells.journal();
    entries.retain(|entry| !matches!(entry, Entry::Seen { .. }));
    for effect in effects(&entries) {
        *done.entry(effect.token).or_default() += 1;
    }
    for (token, times) in &done {
        let run = token.split('/').next().and_then(|run| told.view.runs.get(run));
        // Whoever cancels a run whose process died behind its change ends it as it stands, and a person looks (S9.6).
        let cancelled = run.and_then(|run| run.finished).is_some_and(|(_, outcome)| outcome == RunOutcome::Cancelled);
        let recorded = on_record.get(token).copied().unwrap_or(usize::from(cancelled));
        assert_eq!((*times, recorded), (1, 1), "{token} of {done:?}, and on record {on_record:?}");
    }
    // What the journal does not have changed nothing, as a step does that finds everything there.
    assert!(told.count("environment.deployed") == 0 || !done.is_empty(), "{:?}", kinds(told));
}

fn kinds(told: &Told) -> Vec<&str> {
    told.new.iter().map(|record| record.kind.as_str()).collect()
}

/// What the ledger says is what is there; what is held is for a person to look at (S9.6).
fn settled(cells: &Cells, told: &Told) {
    let view = &told.view;
    for name in ["dev", "stage"] {
        let environment = &view.environments[name];
        assert!(environment.active.is_none(), "{name} was left in mid-promotion");
        let ended = environment.history.last().and_then(|p| p.finished).map(|(_, outcome)| outcome);
        if ended == Some(PromotionOutcome::Held) {
            continue;
        }
        let current = environment.residences.last().unwrap();
        let tag = view.release(&current.release).unwrap().release.alias.clone().unwrap();
        let live = cells.path(&format!("world/shared/live/{name}/current"));
        assert_eq!(std::fs::read_to_string(live.join("service")).unwrap(), format!("{name} runs {tag}\n"));
        let workers = std::fs::read_to_string(live.join(format!("config/{name}.env"))).unwrap();
        let changed = name == "dev" && told.new.iter().any(|r| r.kind == "run.started" && r.run == current.run);
        assert_eq!(workers.contains("WORKERS=9"), changed, "{name} has {workers}");
    }
}

/// S8.4: exactly one winner, and everybody else ends with 22 and names it.
fn one_plan(cells: &Cells, finish: &Finish, told: &Told) {
    let run = told.winner(cells, PLANS[0]).expect("a run has used the plan");
    let (won, lost): (Vec<&Racer>, Vec<&Racer>) = finish.racers.iter().partition(|racer| racer.end.code == Some(0));
    assert_eq!(won.len(), 1, "{} of {} won", won.len(), finish.racers.len());
    for racer in lost {
        assert!(outrun(&racer.end, &run), "{:?} {}", racer.end.code, racer.end.said);
    }
    assert_eq!(
        (told.count("run.started"), told.count("promotion.started"), told.count("environment.deployed")),
        (1, 1, 1)
    );
    assert_eq!(told.view.runs[run.as_str()].finished.map(|(_, outcome)| outcome), Some(RunOutcome::Done));
    let from = |record: &Record| record.kind == "run.started" && record.actor.name.starts_with("racer-");
    assert_eq!(told.new.iter().filter(|record| from(record)).count(), 1);
}

/// Exactly one plan wins; whoever brought it as well is told by which run, and so is whoever brought the other one: to wait as
/// long as that run has moved nothing, after that to plan again.
fn two_plans(cells: &Cells, finish: &Finish, told: &Told, plans: [&str; 2]) {
    let used = plans.map(|plan| told.winner(cells, plan));
    let (winner, loser, run) = match &used {
        [Some(run), None] => (plans[0], plans[1], run),
        [None, Some(run)] => (plans[1], plans[0], run),
        other => panic!("{other:?}"),
    };
    let ends = those(finish, &["apply", winner]);
    assert_eq!(ends.iter().filter(|end| end.code == Some(0)).count(), 1, "exactly one of {winner} wins");
    for end in ends.iter().filter(|end| end.code != Some(0)) {
        assert!(outrun(end, run), "{:?} {}", end.code, end.said);
    }
    for end in those(finish, &["apply", loser]) {
        let ended = (end.code.unwrap(), end.error.as_deref().unwrap_or_default());
        let moved = [(20, "locked"), (22, "plan-stale")].contains(&ended);
        assert!(moved && end.said.contains(run.as_str()), "{ended:?} {}", end.said);
    }
    assert_eq!((told.count("promotion.started"), told.count("environment.deployed")), (1, 1));
}

/// S5.4: nothing begins in an environment that is frozen, however shortly before; what has begun is finished.
fn freeze(cells: &Cells, finish: &Finish, told: &Told) {
    let frozen = told.new.iter().find(|record| record.kind == "environment.frozen").expect("it is frozen").seq;
    let begun = told.new.iter().find(|record| record.kind == "promotion.started").map(|record| record.seq);
    assert!(begun.is_none_or(|seq| seq < frozen), "record {begun:?} begins what record {frozen} has stopped");
    assert_eq!(those(finish, &["freeze", "dev", "--reason", "the fair is on"])[0].code, Some(0));
    let run = told.winner(cells, PLANS[2]);
    let ends = those(finish, &["apply", PLANS[2]]);
    assert_eq!(ends.iter().filter(|end| end.code == Some(0)).count(), usize::from(begun.is_some()));
    assert_eq!(told.count("environment.deployed"), usize::from(begun.is_some()));
    for end in ends.iter().filter(|end| end.code != Some(0)) {
        // The gate was shut when the plan was judged, or when the environment was to start.
        let held_up = end.code == Some(20) && matches!(end.error.as_deref(), Some("waiting") | None);
        let lost = run.as_ref().is_some_and(|run| outrun(end, run));
        assert!(held_up || lost, "{:?} {}", end.code, end.said);
    }
}

/// S9.5, S9.6: the run ends once, one way or the other, and everybody is told the same.
fn cancel(finish: &Finish, told: &Told) {
    let run = finish.run.as_deref().unwrap();
    let ended = told.view.runs[run].finished.map(|(_, outcome)| outcome);
    assert_eq!((told.count("run.finished"), told.count("promotion.finished")), (1, 1), "{:?}", kinds(told));
    let (cancels, resumes) = (those(finish, &["cancel", run]), those(finish, &["resume", run]));
    let count = |ends: &[&End], code| ends.iter().filter(|end| end.code == Some(code)).count();
    match ended {
        Some(RunOutcome::Done) => {
            assert!(count(&cancels, 0) == 0 && count(&resumes, 0) >= 1 && count(&resumes, 22) == 0);
        }
        Some(RunOutcome::Cancelled) => assert!(count(&cancels, 0) == 1 && count(&resumes, 0) == 0),
        other => panic!("{other:?}"),
    }
    for end in cancels {
        // It holds the lock, or the run has ended already.
        let ended = (end.code.unwrap(), end.error.as_deref());
        let known = [(0, None), (20, Some("locked")), (65, Some("request-invalid"))];
        assert!(known.contains(&ended), "{ended:?} {}", end.said);
    }
    for end in resumes {
        let ended = (end.code.unwrap(), end.error.as_deref());
        assert!([(0, None), (20, Some("locked")), (22, None)].contains(&ended), "{ended:?} {}", end.said);
    }
}

/// Runs a race; one that fails is kept, and the error says how to replay it.
fn judge(cells: &Cells, this: Heat) -> Result<Finish, String> {
    let mut ran = None;
    let ended = catch_unwind(AssertUnwindSafe(|| heat(cells, this, &mut ran)));
    let Err(panic) = ended else { return Ok(ran.expect("it was run")) };
    let why = panic.downcast_ref::<String>().cloned();
    let why = why.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    let racers = ran.into_iter().flat_map(|finish| finish.racers).enumerate();
    let ends: Vec<_> = racers.map(|(n, r)| (format!("promo {} # racer-{n}", r.words.join(" ")), r.end)).collect();
    let kept = cells.bundle(&format!("race {this}"), &ends);
    Err(format!(
        "{this}: {why}\n  kept in {}\n  replay: {AGAIN}={this} cargo test -p promo-tests --test process_races -- --ignored again\n",
        kept.display()
    ))
}

fn rounds(race: Race, processes: usize, seeds: impl IntoIterator<Item = u64>) {
    let cells = racing::prepare(JOURNALLED);
    let failed: Vec<String> =
        seeds.into_iter().filter_map(|seed| judge(&cells, Heat { race, processes, seed }).err()).collect();
    assert!(failed.is_empty(), "{} races:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn s8_4_of_64_processes_that_apply_one_plan_exactly_one_does_and_the_others_end_with_22_and_name_it() {
    rounds(Race::OnePlan, 64, 0..2);
}

#[test]
fn of_two_plans_for_one_environment_exactly_one_wins() {
    rounds(Race::TwoPlans, 6, 0..4);
}

#[test]
fn a_reconfiguration_and_a_promotion_do_not_both_win() {
    rounds(Race::Reconfiguration, 6, 0..4);
}

#[test]
fn a_freeze_comes_before_a_promotion_or_after_its_start() {
    rounds(Race::Freeze, 4, 0..6);
}

#[test]
fn s9_5_a_run_that_is_cancelled_and_resumed_at_once_ends_once() {
    rounds(Race::Cancel, 4, 0..4);
}

/// What came of many races of one kind.
#[derive(Default)]
struct Tally {
    ends: BTreeMap<String, usize>,
    took: Vec<Duration>,
}

impl Tally {
    fn count(&mut self, finish: &Finish) {
        self.took.push(finish.took);
        for Racer { words, end } in &finish.racers {
            let plan = words[1].split('.').next().filter(|_| words[0] == "apply").unwrap_or_default();
            let code = end.code.unwrap_or(-1);
            let error = end.error.as_deref().unwrap_or_default();
            // Of those who lost: whether the winner was still at work.
            let when = if end.said.contains("is being applied by") { " while the winner is at work" } else { "" };
            let line = format!("{} {plan} {code} {error}{when}", words[0]);
            *self.ends.entry(line.split_whitespace().collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
    }

    fn text(&mut self) -> String {
        self.took.sort_unstable();
        let at = |part: usize| self.took[(self.took.len() - 1) * part / 100].as_secs_f64();
        let mut out = format!(
            "{} races, {:.2} s at the median, {:.2} s p95, {:.2} s at most\n",
            self.took.len(),
            at(50),
            at(95),
            at(100)
        );
        for (line, times) in &self.ends {
            writeln!(out, "  {times:>6}  {line}").unwrap();
        }
        out
    }
}

#[test]
#[ignore = "the long run: cargo xtask races"]
fn many() {
    let [rounds, first, processes] = MANY.map(|name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap()));
    let (rounds, first, processes) = (rounds.unwrap_or(200), first.unwrap_or(1_000), processes.unwrap_or(64));
    let processes = usize::try_from(processes).unwrap();
    let cells = racing::prepare(JOURNALLED);
    let (begun, mut failed) = (Instant::now(), Vec::new());
    let mut tallies: BTreeMap<Race, Tally> = BTreeMap::new();
    for seed in first..first + rounds {
        for race in Race::ALL {
            let processes = if race == Race::OnePlan { processes } else { 6 };
            match judge(&cells, Heat { race, processes, seed }) {
                Ok(finish) => tallies.entry(race).or_default().count(&finish),
                Err(why) => {
                    println!("{why}");
                    failed.push(why);
                }
            }
        }
        let done = seed - first + 1;
        if done % 10 == 0 && done < rounds {
            println!(
                "{done} of {rounds} rounds in {:.0} s, {} races failed",
                begun.elapsed().as_secs_f64(),
                failed.len()
            );
        }
    }
    for (race, tally) in &mut tallies {
        print!("{}: {}", race.name(), tally.text());
    }
    println!("{rounds} rounds in {:.0} s, seeds from {first}", begun.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{} races failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
#[ignore = "replays the race in PROMO_RACE"]
fn again() {
    let this: Heat = std::env::var(AGAIN).expect("PROMO_RACE names a race").parse().unwrap();
    let cells = racing::prepare(JOURNALLED);
    for _ in 0..TRIES {
        judge(&cells, this).unwrap();
    }
}
