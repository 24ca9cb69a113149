//! A pipeline of namespaces whose promo is killed at a point of its work, and gone on with. What must not live here: what is
//! deployed, and what must come of it.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests use it: a panic is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::{Duration, Instant};

use super::pipeline::{Pipeline, said};
use crate::binary;
use crate::faults::{Entry, FAULT, JOURNAL, Point, effects, read};

/// Points that come by the clock, and not by what is done.
const BY_TIME: [&str; 3] = ["renew before", "renew after", "clock"];
/// How long a lock outlives its process. Whoever goes on with a run takes it at once, as the process can be seen to be gone; only what begins
/// anew after a run that had ended and kept its lock waits for it to run out, and most of that time goes by with looking at what was left. A
/// shorter one is lost by a machine at work: it is renewed three times in that time, and two cores with eight processes on them have
/// kept one waiting for a second.
const LEASE: &str = "4s";
/// What is locked for longer stays so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A point, and the how manieth time that a process passes it, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// What is passed.
    pub point: Point,
    /// Which time.
    pub count: usize,
}

impl std::fmt::Display for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            1 => self.point.fmt(f),
            count => write!(f, "{} for the {count}th time", self.point),
        }
    }
}

/// The name of a point, where files that are read one after the other have one.
#[must_use]
pub fn kind(point: &Point) -> &str {
    match point.name.rsplit_once(' ') {
        Some((name, number)) if number.parse::<usize>().is_ok() => name,
        _ => &point.name,
    }
}

/// Of passages that are alike the first one.
#[must_use]
pub fn first_of<'a, K: Ord>(passed: &'a [Passage], alike: impl Fn(&'a Point) -> K) -> Vec<Passage> {
    let mut seen = BTreeSet::new();
    passed.iter().filter(|passage| seen.insert(alike(&passage.point))).cloned().collect()
}

/// promo with faults in front of what it uses, on a pipeline; its journal goes on until [`Faulty::anew`].
pub struct Faulty<'a> {
    pipeline: &'a Pipeline,
    program: &'a str,
}

impl<'a> Faulty<'a> {
    /// `program` is the fault runner.
    #[must_use]
    pub fn on(pipeline: &'a Pipeline, program: &'a str) -> Self {
        Self { pipeline, program }
    }

    /// Forgets what was done before.
    pub fn anew(&self) -> &Self {
        let _ = std::fs::remove_file(self.pipeline.path("journal"));
        self
    }

    /// Runs it with this fault, or with none, which tells the points that it passes.
    #[must_use]
    pub fn run(&self, fault: Option<&str>, words: &[&str]) -> Output {
        let mut command = self.pipeline.dressed(binary::command(self.program), words);
        command.env(JOURNAL, self.pipeline.path("journal")).env("PROMO_LEASE_TTL", LEASE);
        command.envs(fault.map(|fault| (FAULT, fault))).output().unwrap()
    }

    /// What it says without a fault that ends with this exit code.
    pub fn ends(&self, code: i32, cell: &str, words: &[&str]) -> String {
        let output = self.run(None, words);
        assert_eq!(output.status.code(), Some(code), "{cell}: {words:?}: {}", said(&output));
        said(&output)
    }

    /// Is killed there. Who was killed before while it let go of its lock still has it for a moment.
    pub fn killed(&self, there: &Passage, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        let output = loop {
            let output = self.run(Some(&format!("{}:kill:{}", there.point, there.count)), words);
            let locked = output.status.code() == Some(20) && said(&output).contains("error[locked]");
            if !locked || Instant::now() > deadline {
                break output;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(output.status.code(), None, "{there}: the point is not reached: {}", said(&output));
    }

    /// What it has passed from the record of its run on, in that order.
    #[must_use]
    pub fn passed(&self) -> Vec<Passage> {
        let mut counts: BTreeMap<Point, usize> = BTreeMap::new();
        let passed = read(&self.pipeline.path("journal")).into_iter().filter_map(|entry| match entry {
            Entry::Passed(point) => {
                let count = counts.entry(point.clone()).or_default();
                *count += 1;
                Some(Passage { point, count: *count })
            }
            _ => None,
        });
        let passed = passed.skip_while(|passage| passage.point.name != "append before run.started");
        passed.filter(|passage| !BY_TIME.contains(&passage.point.name.as_str())).collect()
    }

    /// No step has changed what is there twice, however often it was begun, and nobody has but a step.
    pub fn nothing_twice(&self, cell: &str) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for effect in effects(&read(&self.pipeline.path("journal"))) {
            *counts.entry(effect.token).or_default() += 1;
        }
        let bad: Vec<_> = counts.iter().filter(|(token, count)| token.is_empty() || **count > 1).collect();
        assert!(bad.is_empty(), "{cell}: {counts:?}");
    }
}
