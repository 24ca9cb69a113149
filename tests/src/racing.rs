//! Races between real processes on one ledger: who takes part, and how all of them are let go at the same instant. What
//! must not live here: what must be true afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use promo_ledger::Store as _;

use crate::binary;
use crate::cells::{Cells, End, Fault, Host, Scenario};
use crate::faults::Point;

/// The shipped program, where whoever started the test has just built it: one of another build would be no judge.
const PRODUCT: &str = "PROMO_RACE_PRODUCT";

/// How long a process may take; only a failing race takes that long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The plans of a prepared race: the approved one for stage, a change of dev's own file, and two releases for dev.
pub const PLANS: [&str; 4] = ["plan.json", "reconfigure.json", "one.json", "two.json"];

/// Who races against whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Race {
    /// Everybody applies one approved plan.
    OnePlan,
    /// Two plans bring two releases to one environment.
    TwoPlans,
    /// One plan changes an environment's own file, another one brings a release.
    Reconfiguration,
    /// One freezes the environment that the others promote into.
    Freeze,
    /// A run whose process is gone is cancelled by some and resumed by others.
    Cancel,
}

impl Race {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::OnePlan, Self::TwoPlans, Self::Reconfiguration, Self::Freeze, Self::Cancel];

    /// Its name in reproductions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnePlan => "one-plan",
            Self::TwoPlans => "two-plans",
            Self::Reconfiguration => "reconfiguration",
            Self::Freeze => "freeze",
            Self::Cancel => "cancel",
        }
    }
}

/// One race: who, how many, and the seed of all that is left to chance but the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heat {
    /// Who races against whom.
    pub race: Race,
    /// How many processes.
    pub processes: usize,
    /// Whoever is let go later than others is by this; also whether the program keeps a journal.
    pub seed: u64,
}

impl std::fmt::Display for Heat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.race.name(), self.processes, self.seed)
    }
}

impl std::str::FromStr for Heat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(':');
            let name = parts.next()?;
            let race = Race::ALL.into_iter().find(|race| race.name() == name)?;
            let heat = Self { race, processes: parts.next()?.parse().ok()?, seed: parts.next()?.parse().ok()? };
            parts.next().is_none().then_some(heat)
        };
        parse().ok_or_else(|| format!("expected RACE:PROCESSES:SEED, found {text}"))
    }
}

/// One who took part.
#[derive(Debug, Clone)]
pub struct Racer {
    /// Its command line.
    pub words: Vec<String>,
    /// How it ended.
    pub end: End,
}

/// A race that is over.
#[derive(Debug)]
pub struct Finish {
    /// Everybody, as they were lined up.
    pub racers: Vec<Racer>,
    /// How many records there were before.
    pub before: u64,
    /// The run that was there before, if there was one.
    pub run: Option<String>,
    /// From the first that was let go to the last that ended.
    pub took: Duration,
}

/// The world of all races. Stage has 0.9.0 and an approved plan for 1.0.0; dev has 1.0.0 and three plans.
#[must_use]
pub fn prepare(program: &'static str) -> Cells {
    let cells = Cells::new(program, Scenario::Gate);
    let file = cells.path("world/one/config/dev.env");
    std::fs::write(file, "BROKEN=none\nWORKERS=9\n").expect("the file can be written");
    cells.promo(&["plan", "dev", "--out", PLANS[1]]);
    for (version, plan) in [("2.0.0", PLANS[2]), ("3.0.0", PLANS[3])] {
        cells.release(version);
        cells.promo(&["plan", "dev", "--out", plan]);
    }
    cells.keep();
    cells
}

fn product(heat: Heat) -> Option<PathBuf> {
    std::env::var_os(PRODUCT).filter(|_| heat.seed.is_multiple_of(2)).map(PathBuf::from)
}

/// Whether the program of a heat keeps a journal of what it really changed. Where promo as it is shipped is at hand, every
/// other race is one of it, and keeps none.
#[must_use]
pub fn has_journal(heat: Heat) -> bool {
    product(heat).is_none()
}

/// Puts the world back and lets everybody go. `journalled` is promo with a journal.
///
/// # Panics
/// When a process cannot be started.
#[must_use]
pub fn run(cells: &Cells, journalled: &str, heat: Heat) -> Finish {
    cells.reset();
    let before = cells.ledger().head().expect("the ledger can be read").size;
    let run = (heat.race == Race::Cancel).then(|| abandon(cells, heat.seed));
    let program = product(heat).unwrap_or_else(|| journalled.into());
    let mut chance = fastrand::Rng::with_seed(heat.seed);
    // Of three races one is a dead heat, and two spread their starts over a part and over all of what a run takes.
    let spread = [0, 30, 300][chance.usize(0..3)];
    let mut waiting: BTreeMap<u64, (PipeWriter, File)> = BTreeMap::new();
    let mut children = Vec::new();
    for number in 0..heat.processes {
        let words = words(heat.race, number, run.as_deref());
        let delay = if spread == 0 { 0 } else { chance.u64(0..spread) };
        let (_, gate) = waiting.entry(delay).or_insert_with(|| {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            (writer, File::from(std::os::fd::OwnedFd::from(reader)))
        });
        children.push((start(cells, &program, &words, number, gate), words));
    }
    let begun = Instant::now();
    for (delay, gate) in waiting {
        std::thread::sleep(Duration::from_millis(delay).saturating_sub(begun.elapsed()));
        drop(gate);
    }
    let racers = children.into_iter().map(|(child, words)| Racer { words, end: end(child, begun) }).collect();
    Finish { racers, before, run, took: begun.elapsed() }
}

/// What the racer of that number does.
fn words(race: Race, number: usize, run: Option<&str>) -> Vec<String> {
    let apply = |plan: usize| ["apply", PLANS[plan]];
    let words: Vec<&str> = match (race, number % 2) {
        (Race::OnePlan, _) => apply(0).into(),
        (Race::TwoPlans, turn) => apply(2 + turn).into(),
        (Race::Reconfiguration, turn) => apply(1 + turn).into(),
        (Race::Freeze, _) if number == 0 => vec!["freeze", "dev", "--reason", "the fair is on"],
        (Race::Freeze, _) => apply(2).into(),
        (Race::Cancel, turn) => vec![["cancel", "resume"][turn], run.expect("there is a run to end")],
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Starts a process that does nothing before everybody who holds the gate open has let go.
fn start(cells: &Cells, program: &Path, words: &[String], number: usize, gate: &File) -> Child {
    let mut command = cells.dressed(binary::command("sh"), Host::One);
    command.args(["-c", "read -r _; exec \"$@\" </dev/null", "sh"]).arg(program).args(words);
    command.env("PROMO_ACTOR", format!("racer-{number}"));
    // With many more processes than cores the winner must not give its lock up for being slow.
    command.env_remove("PROMO_LEASE_TTL");
    command.stdin(gate.try_clone().expect("another end of the pipe"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell starts")
}

fn end(mut child: Child, begun: Instant) -> End {
    while child.try_wait().expect("it is a child").is_none() {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    End::of(&child.wait_with_output().expect("it is a child"))
}

/// Begins a run for dev and leaves it: killed behind its change with its lock still there, or interrupted before its check.
fn abandon(cells: &Cells, seed: u64) -> String {
    let (name, about, mode) = if seed.is_multiple_of(4) || seed % 4 == 3 {
        ("ensure after", "dev/deploy/default", "kill")
    } else {
        ("verify", "dev/smoke", "lost")
    };
    let fault = Fault { point: Point { name: name.into(), about: about.into() }, mode, count: 1 };
    let left = cells.run(Host::One, Some(&fault), &["apply", PLANS[2]]);
    assert_eq!(cells.fired(), 1, "the run was not left: {}", left.said);
    let records = cells.ledger().records(0, usize::MAX).expect("the ledger can be read");
    let begun = records.iter().rfind(|record| record.kind == "run.started").and_then(|record| record.run.as_ref());
    begun.expect("a run has begun").to_string()
}
