//! Drills: what a plan of one is made of, what keeps one out, and what the records of one tell. What must not be here: how one
//! is carried out, which is the engine's.

mod support;

use std::collections::BTreeSet;

use promo_core::Digest;
use promo_core::gate::{GateKind, Outcome};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::ledger::event::{Movement, PromotionOutcome};
use promo_core::ledger::view::Drill;
use promo_core::model::Tier;
use promo_core::plan::{Document, Goal, Plan, Request, StayReason};
use promo_core::state::State;
use support::bench::{Bench, everything, stay};
use support::history::{World, at, name};

fn drill(environment: &str) -> Request {
    let environments: BTreeSet<EnvironmentName> = BTreeSet::from([name(environment)]);
    Request { goal: Goal::Rollback, environments, drill: true, ..everything() }
}

/// Releases B1, B2 and B3 were good in qa, each with a file of its own.
fn three(pipeline: &str) -> Bench {
    let mut bench = Bench::new(pipeline);
    for (release, at) in [("B1", 1000), ("B2", 2000), ("B3", 3000)] {
        bench.file("values/qa.yaml", release).world.play(&format!("@{at} add {release}"));
        let plan = bench.plan(&everything());
        bench.apply(&plan);
    }
    bench
}

const QA: &str = "qa verify t files values/qa.yaml\nstaging after qa manual verify t soak qa=100";

fn closed(plan: &Plan) -> Vec<&'static str> {
    let next = stay(plan, "qa").next.as_ref().expect("there is somewhere to go back to");
    next.gates.iter().filter(|gate| !gate.outcome.is_open()).map(|gate| gate.reason.code()).collect()
}

#[test]
fn s10_2_a_drill_goes_to_what_was_recorded_and_back_to_what_is_and_takes_nothing_from_the_working_tree() {
    let mut bench = three("qa verify t files values/qa.yaml");
    bench.file("values/qa.yaml", "four");
    let plan = bench.plan(&drill("qa"));
    let entry = &plan.moves[0];
    let back = entry.rollback.as_ref().expect("the way back");
    assert_eq!((&back.to.id, &entry.to.id), (&bench.world.id("B2"), &bench.world.id("B3")));
    assert_eq!(entry.from.as_ref(), Some(&entry.to));
    assert_eq!(back.files["values/qa.yaml"], Digest::of(b"B2"));
    assert_eq!(entry.files["values/qa.yaml"], Digest::of(b"B3"), "as it was deployed, and not as it would be");
    let (there, again) = (&back.steps[0], &entry.steps[0]);
    assert_eq!((there.desired, again.desired), (again.expected, there.expected));
    assert_eq!((entry.watch, entry.checks.len(), back.checks.len()), (None, 1, 1));
    let kinds: BTreeSet<_> = entry.gates.iter().map(|gate| gate.kind).collect();
    let all = [GateKind::Drill, GateKind::Quarantine, GateKind::Freeze, GateKind::Approval, GateKind::Window];
    assert!(all.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    // The one that was asked for, also when it is planned again.
    let named = Request { release: Some(bench.world.id("B1")), ..drill("qa") };
    assert_eq!(bench.plan(&named).moves[0].drilled(), Some(&bench.world.id("B1")));
    let newer = Request { release: Some(bench.world.id("B3")), ..drill("qa") };
    assert_eq!(stay(&bench.plan(&newer), "qa").why, StayReason::NoRollbackTarget);
}

#[test]
fn s8_2_what_a_drill_finds_is_an_input_of_its_plan() {
    let mut bench = three("qa verify t files values/qa.yaml");
    let plan = bench.plan(&drill("qa"));
    assert!(plan.inputs.contains_key("live state of qa/rollback/deploy/default"), "{:?}", plan.inputs.keys());
    let place = bench.places.keys().next().expect("it was deployed").clone();
    bench.places.insert(place, State::Present(Digest::of(b"by hand")));
    assert_eq!(bench.stale(&plan), ["live state of qa/rollback/deploy/default"]);
}

#[test]
fn s0_3_production_is_no_place_for_a_drill_nor_is_what_policy_says() {
    let mut bench = three(QA);
    bench.world.play("@9000");
    assert_eq!(bench.plan(&drill("qa")).moves.len(), 1);
    bench.world.no_drills.insert(name("qa"));
    let plan = bench.plan(&drill("qa"));
    assert_eq!((stay(&plan, "qa").why, closed(&plan)), (StayReason::Refused, vec!["drills-refused"]));
    let reason = |plan: &Plan| {
        let gates = &stay(plan, "qa").next.as_ref().expect("a release").gates;
        gates.iter().find(|gate| gate.outcome == Outcome::Refused).expect("refused").reason.to_string()
    };
    assert_eq!(reason(&plan), "policy allows no drills in the tier testing");
    bench.world.no_drills.clear();
    bench.world.pipeline.environments.get_mut("qa").expect("there is one").tier = Tier::Production;
    let plan = bench.plan(&drill("qa"));
    assert_eq!((closed(&plan), reason(&plan).as_str()), (vec!["drills-refused"], "production is no tier for drills"));
}

#[test]
fn s4_3_a_drill_waits_for_a_soak_that_it_would_begin_anew_whatever_a_newer_release_may_do() {
    for arrival in ["", " replace"] {
        let mut bench = three(&QA.replace("qa verify t", &format!("qa{arrival} verify t")));
        let plan = bench.plan(&drill("qa"));
        assert_eq!((stay(&plan, "qa").why, closed(&plan)), (StayReason::HeldBack, vec!["holds-for-soak"]));
        bench.world.play("@3100");
        assert_eq!(bench.plan(&drill("qa")).moves.len(), 1, "it is met, and stays so");
    }
}

#[test]
fn s9_6_nothing_is_tried_where_something_is_wrong_held_or_rejected() {
    let good = || three("qa verify t files values/qa.yaml");
    let after = |history: &str| {
        let mut bench = good();
        bench.world.play(history);
        closed(&bench.plan(&drill("qa")))
    };
    assert_eq!(after("fail qa t B3"), ["check-failed"]);
    assert_eq!(after("withdraw qa t B3"), ["check-withdrawn"]);
    assert_eq!(after("reject B3"), ["quarantined"], "it would not be brought back");
    assert_eq!(after("freeze qa"), ["frozen"]);
    assert_eq!(after("add B4; start qa B4; finish qa B4 held"), ["held"]);
    // What is rejected is no way back, and the next one is.
    let mut bench = good();
    bench.world.play("reject B2");
    assert_eq!(bench.plan(&drill("qa")).moves[0].drilled(), Some(&bench.world.id("B1")));
    bench.world.play("reject B1");
    assert_eq!(stay(&bench.plan(&drill("qa")), "qa").why, StayReason::NoRollbackTarget);
}

#[test]
fn a_plan_of_a_drill_is_named_in_what_it_requires_and_one_that_no_planner_makes_is_told() {
    let bench = three("qa verify t files values/qa.yaml");
    let plan = bench.plan(&drill("qa"));
    assert_eq!(Document::new(plan.clone()).requires, ["drill", "drills-allowed"]);
    type Edit = fn(&mut Plan);
    let edits: [(Edit, &str); 6] = [
        (|p| p.moves[0].tier = Tier::Production, "is production, and a drill would try something there"),
        (|p| p.moves[0].from = None, "would not get back what runs there"),
        (|p| p.moves[0].rollback = None, "would go nowhere in a drill"),
        (|p| p.moves[0].gates.retain(|gate| gate.kind != GateKind::Drill), "was not judged by the gate `drill`"),
        (|p| p.moves[0].drill = false, "moves in another way"),
        (|p| p.request.drill = false, "moves in another way"),
    ];
    for (edit, words) in edits {
        let mut edited = plan.clone();
        edit(&mut edited);
        let found = promo_core::lint::plan(&edited);
        assert!(found.iter().any(|found| found.contains(words)), "{words}: {found:?}");
    }
}

/// The records of a drill from `B2` to `B1`, as far as the way back.
fn begun() -> (World, promo_core::ids::RunId, Digest) {
    let mut world = World::new("qa verify t");
    world.play("add B1 B2; deploy qa B1; pass qa t B1; deploy qa B2; pass qa t B2; @10");
    let (run, plan) = (name("run-d"), Digest::of(b"drill"));
    let (qa, to) = (name::<EnvironmentName>("qa"), world.id("B2"));
    let environments = [(qa.clone(), to.clone())].into();
    world.push_run(&run, Event::RunStarted { environments, approvals: vec![], applier: "ada".into() }, plan, None);
    let (from, movement) = (Some(to.clone()), Movement::Reconfiguration);
    let started = Event::PromotionStarted { environment: qa.clone(), from, to: to.clone(), movement };
    world.push_run(&run, started, plan, None);
    let back = world.id("B1");
    world.push_run(&run, Event::DrillStarted { environment: qa, release: to, back }, plan, None);
    (world, run, plan)
}

fn known(world: &World) -> Drill {
    let view = world.view();
    let qa = view.environment(&name("qa")).expect("it is known").clone();
    qa.active.or(qa.history.last().cloned()).and_then(|promotion| promotion.drill).expect("a drill")
}

#[test]
fn how_long_a_drill_took_is_counted_from_its_first_intent_to_its_last_verdict() {
    let (mut world, run, plan) = begun();
    let intent = Event::StepIntent { expected: State::Absent, desired: State::Absent };
    let intent = |world: &mut World, step: &str| {
        world.push_run(&run, intent.clone(), plan, Some(step));
        if let Some(record) = world.records.last_mut() {
            record.environment = Some(name("qa"));
        }
    };
    world.play("@15");
    intent(&mut world, "qa/rollback/deploy/a");
    world.play("@20");
    intent(&mut world, "qa/rollback/deploy/b");
    world.play("@57");
    assert_eq!(known(&world).took(), None, "it is on its way");
    let turned =
        |back: &str, world: &World| Event::DrillTurned { environment: name("qa"), back: world.id(back), passed: true };
    let event = turned("B1", &world);
    world.push_run(&run, event, plan, None);
    let drill = known(&world);
    assert_eq!((drill.took().expect("it has turned").as_secs(), drill.began.0), (42, at(15)));
    assert!(!drill.turned.expect("it has turned").resumed);
    // Under another lock it was somebody else who went on.
    world.records.last_mut().expect("a record").epoch = Some(2);
    assert!(known(&world).turned.expect("it has turned").resumed);
    let finished = Event::PromotionFinished {
        environment: name("qa"),
        release: world.id("B2"),
        outcome: PromotionOutcome::Verified,
    };
    world.push_run(&run, finished, plan, None);
    let view = world.view();
    let last =
        view.environment(&name("qa")).and_then(|qa| qa.last_drill(&world.id("B2"))).expect("it was the last one");
    assert_eq!((last.run.clone(), last.disproved()), (run.clone(), None));
    assert!(view.stops.is_empty());
    // Of another release's way back it says nothing.
    assert!(view.environment(&name("qa")).is_some_and(|qa| qa.last_drill(&world.id("B1")).is_none()));
}

#[test]
fn records_of_a_drill_stand_in_their_order_or_not_at_all() {
    let turned =
        |world: &World, back: &str| Event::DrillTurned { environment: name("qa"), back: world.id(back), passed: false };
    let (world, run, plan) = begun();
    assert!(world.folded().is_ok());
    let refused = |change: &dyn Fn(&mut World), why: &str| {
        let mut world = world.clone();
        change(&mut world);
        let error = world.folded().expect_err(why);
        assert!(error.why.contains(why), "{why}: {error}");
    };
    let started = |world: &World, release: &str| Event::DrillStarted {
        environment: name("qa"),
        release: world.id(release),
        back: world.id("B1"),
    };
    refused(&|w| w.push_run(&run, started(w, "B2"), plan, None), "begins once");
    refused(&|w| w.push_run(&run, turned(w, "B2"), plan, None), "turns once");
    refused(&|w| w.push_run(&name("run-other"), turned(w, "B1"), plan, None), "no drill is under way");
    refused(
        &|w| {
            w.push_run(&run, turned(w, "B1"), plan, None);
            w.push_run(&run, turned(w, "B1"), plan, None);
        },
        "turns once",
    );
    // Back to itself is nowhere.
    refused(
        &|w| {
            w.records.pop();
            let (release, back) = (w.id("B2"), w.id("B2"));
            w.push_run(&run, Event::DrillStarted { environment: name("qa"), release, back }, plan, None);
        },
        "to another release",
    );
    refused(
        &|w| {
            w.records.pop();
            w.push_run(&run, started(w, "B1"), plan, None);
        },
        "moves",
    );
}
