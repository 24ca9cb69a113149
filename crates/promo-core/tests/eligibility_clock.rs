//! What waits when the time cannot be relied on, case by case (S12.6). The same over generated histories is in
//! `eligibility_sweep.rs`.

mod support;

use std::collections::BTreeSet;

use promo_core::clock::{Doubt, Present};
use promo_core::eligibility::{ApprovalStatus, Observed, Question, assess, candidate};
use promo_core::gate::{Gate, GateKind, Outcome};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::Movement;
use promo_core::windows::{Invoker, Level, Window};
use support::history::{World, approval, at, name};

/// Everything stands for B1 into staging: verified, soaked, approved, within its window; qa would take B2 at once.
fn world() -> World {
    let mut world = World::new("qa verify t\nstaging after qa soak qa=60 verify t\nlive after staging verify t");
    world.play("add B1 B2; deploy qa B1; pass qa t B1; @100 deploy staging B1; pass staging t B1; add B3; deploy qa B3; pass qa t B3");
    world.clock += 100;
    world.approval.entry(name("staging")).or_default().push(approval(1));
    let spec = toml::from_str("effect = \"allow\"\ntimezone = \"UTC\"\nweekly = {}").expect("a window");
    let windows = vec![Window::new("always", spec).expect("a legal window")];
    world.windows.entry(name("staging")).or_default().push(Level { name: "staging".into(), windows });
    world
}

fn gates(world: &World, environment: &str, release: &str, movement: Movement, now: Present) -> Vec<Gate> {
    let (environment, release, nothing): (EnvironmentName, _, _) =
        (name(environment), world.id(release), BTreeSet::new());
    let approvals = ApprovalStatus { filled: vec![vec!["riley".into()]], rejected_by: None };
    let question = Question {
        environment: &environment,
        release: &release,
        movement,
        drill: None,
        named: true,
        drifted: false,
        tried: false,
        invoker: Invoker::Human,
        moved_before: &nothing,
        approvals: Some(&approvals),
        run: None,
    };
    assess(&world.rules(), &world.view(), Observed::NOTHING, &question, now)
}

fn doubts(world: &World) -> [Present; 2] {
    let now = world.now();
    let far = now + jiff::SignedDuration::from_secs(31);
    [Doubt::Skew { ledger: now, machine: far }, Doubt::WentBack { ledger: now, before: far }]
        .map(|doubt| Present { at: now, doubt: Some(doubt) })
}

fn shut(gates: &[Gate]) -> Vec<(GateKind, Outcome, &'static str)> {
    gates.iter().filter(|g| !g.outcome.is_open()).map(|g| (g.kind, g.outcome, g.reason.code())).collect()
}

#[test]
fn s12_6_soak_approval_and_window_wait_with_a_code_and_what_the_clocks_read() {
    let world = world();
    let calm = gates(&world, "staging", "B3", Movement::Promotion, world.now().into());
    assert_eq!(shut(&calm), [], "nothing else stands in the way");
    for (now, code) in doubts(&world).into_iter().zip(["clock-skew", "clock-went-back"]) {
        let gates = gates(&world, "staging", "B3", Movement::Promotion, now);
        let wait = |kind| (kind, Outcome::Waiting, code);
        assert_eq!(shut(&gates), [wait(GateKind::Soak), wait(GateKind::Approval), wait(GateKind::Window)]);
        let said = gates.iter().find(|g| g.kind == GateKind::Window).expect("it is shut").reason.to_string();
        assert!(said.contains("22:16:40 UTC") && said.contains("22:17:11 UTC"), "{said}");
        assert!(gates.iter().all(|g| g.until.is_none()), "nobody can say until when: {gates:#?}");
        assert_eq!(candidate(&world.rules(), &world.view(), &name("staging"), now), None);
    }
    assert_eq!(candidate(&world.rules(), &world.view(), &name("staging"), world.now()), Some(world.id("B3")));
}

#[test]
fn s12_6_an_arrival_waits_where_a_soak_that_it_would_disturb_cannot_be_told() {
    let mut world = world();
    world.play("add B4");
    let free = gates(&world, "qa", "B4", Movement::Promotion, world.now().into());
    assert_eq!(shut(&free), [], "the soak of B3 in qa is over");
    for (now, code) in doubts(&world).into_iter().zip(["clock-skew", "clock-went-back"]) {
        let gates = gates(&world, "qa", "B4", Movement::Promotion, now);
        assert_eq!(shut(&gates), [(GateKind::Arrival, Outcome::Waiting, code)]);
    }
}

#[test]
fn s12_6_where_nothing_compares_instants_nothing_waits() {
    let world = world();
    for now in doubts(&world) {
        assert_eq!(shut(&gates(&world, "live", "B1", Movement::Promotion, now)), []);
        // The window of staging binds promotions, and no approval stands for itself in a rollback of another place.
        let back = gates(&world, "qa", "B1", Movement::Rollback, now);
        assert_eq!(shut(&back), []);
        let window = gates(&world, "staging", "B1", Movement::Rollback, now);
        assert!(window.iter().any(|g| g.kind == GateKind::Window && g.outcome == Outcome::Satisfied), "{window:#?}");
    }
}

#[test]
fn s12_6_what_is_refused_or_missing_anyway_is_still_said() {
    let mut world = world();
    world.play("reject B3");
    let [now, _] = doubts(&world);
    let gates = gates(&world, "staging", "B3", Movement::Promotion, now);
    assert!(shut(&gates).contains(&(GateKind::Quarantine, Outcome::Refused, "quarantined")), "{gates:#?}");
    assert_eq!(now.at, at(200));
}
