//! Asks what may enter which environment, for the benchmarks: `cargo xtask bench eligibility` starts this and measures the
//! process.
//!
//! `eligibility_load WHO COUNT FILE` makes up COUNT pipelines of six environments with fifty releases that are on their way,
//! and writes to FILE how many milliseconds the asking took, without the making up and the folding. WHO is `sets` for the
//! releases that may enter each environment, `gates` for every gate of every release before every environment, and
//! `reference` for the sets by the slow second opinion of the tests.
#![expect(clippy::print_stderr, reason = "a tool of the benchmarks talks to whoever started it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use promo_core::eligibility::{Observed, Question, assess, eligible};
use promo_core::gate::overall;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::windows::Invoker;
use support::history::{World, name};
use support::reference::Reference;

const PIPELINE: &str = "dev verify smoke\nqa after dev verify e2e\nperf after dev verify load soak dev=60\n\
                        staging after qa perf verify e2e soak qa=300 perf=60\ncanary after staging verify slo soak staging=600\n\
                        production after canary verify slo soak canary=900\n";

/// Which check each environment has.
const CHECKS: [(&str, &str); 6] =
    [("dev", "smoke"), ("qa", "e2e"), ("perf", "load"), ("staging", "e2e"), ("canary", "slo"), ("production", "slo")];

const RELEASES: usize = 50;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [who, count, file] = words.as_slice() else {
        eprintln!("usage: eligibility_load sets|gates|reference COUNT FILE");
        return ExitCode::FAILURE;
    };
    let asked: fn(&World, &View) -> usize = match who.as_str() {
        "sets" => sets,
        "gates" => gates,
        "reference" => reference,
        _ => {
            eprintln!("error: `{who}` is none of sets, gates, reference");
            return ExitCode::FAILURE;
        }
    };
    let count: usize = count.parse().expect("the number of pipelines");
    let (mut took, mut open) = (Duration::ZERO, 0);
    for seed in 0..count {
        let world = world(seed);
        let view = world.view();
        let begun = Instant::now();
        open += black_box(asked(&world, &view));
        took += begun.elapsed();
    }
    assert!(open > 0, "histories in which nothing may move measure nothing");
    std::fs::write(file, took.as_millis().to_string()).expect("the file for the time can be written");
    ExitCode::SUCCESS
}

/// Releases that went as far as their number and the seed say: most pass everything, some fail a check on the way.
fn world(seed: usize) -> World {
    let mut world = World::new(PIPELINE);
    for release in 0..RELEASES {
        let (alias, begun) = (format!("r{release}"), release * 4_000);
        world.play(&format!("@{begun} add {alias}"));
        let reached = 1 + (release * 7 + seed) % CHECKS.len();
        for (place, (environment, check)) in CHECKS.iter().enumerate().take(reached) {
            let fails = place + 1 == reached && (release + seed).is_multiple_of(5);
            let said = if fails { "fail" } else { "pass" };
            let at = begun + 600 * place;
            world.play(&format!("@{at} deploy {environment} {alias}; {said} {environment} {check} {alias}"));
        }
    }
    world
}

fn sets(world: &World, view: &View) -> usize {
    let rules = world.rules();
    world.pipeline.environments.keys().map(|name| eligible(&rules, view, name, world.now()).len()).sum()
}

fn gates(world: &World, view: &View) -> usize {
    let (rules, nothing) = (world.rules(), BTreeSet::new());
    let mut open = 0;
    for environment in world.pipeline.environments.keys() {
        for entry in &view.releases {
            let question = Question {
                environment,
                release: &entry.release.id,
                movement: Movement::Promotion,
                drill: None,
                named: true,
                drifted: false,
                tried: false,
                invoker: Invoker::Human,
                moved_before: &nothing,
                approvals: None,
                run: None,
            };
            let gates = assess(&rules, view, Observed::NOTHING, &question, world.now());
            open += usize::from(overall(&gates).is_open());
        }
    }
    open
}

fn reference(world: &World, _: &View) -> usize {
    let reference = Reference::new(&world.pipeline, &world.records, world.now());
    CHECKS.iter().map(|(environment, _)| reference.eligible(&name::<EnvironmentName>(environment)).len()).sum()
}
