//! The planner over fake providers: hops, chains, reconfigurations, ways back, why the rest stays, and what a saved plan
//! withstands. Assertions that hold for every plan stand in `support::bench`. What must not be here: eligibility itself.

mod support;

use std::collections::BTreeSet;

use promo_core::Digest;
use promo_core::format::Newer;
use promo_core::gate::{Gate, GateKind, Outcome, Reason, told};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::Movement;
use promo_core::plan::{Action, Document, Goal, MAX_BYTES, Plan, PlanFileError, PlannedCheck, Request, StayReason};
use promo_core::planner::shared_files;
use promo_core::state::State;
use promo_core::windows::Invoker;
use support::bench::{Bench, everything, moves, stay};
use support::history::name;

fn until(environment: &str) -> Request {
    Request { until: Some(name(environment)), ..everything() }
}

fn back(environment: &str) -> Request {
    Request { goal: Goal::Rollback, environments: BTreeSet::from([name(environment)]), ..everything() }
}

fn by_name(bench: &Bench, environment: &str, release: &str) -> Request {
    let environments: BTreeSet<EnvironmentName> = BTreeSet::from([name(environment)]);
    Request { environments, release: Some(bench.world.id(release)), ..everything() }
}

fn codes(plan: &Plan, environment: &str) -> Vec<&'static str> {
    let next = stay(plan, environment).next.as_ref().expect("a release is on its way");
    next.gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.reason.code()).collect()
}

const WAY: &str = "dev verify unit\nqa after dev verify e2e\nprod after qa verify smoke";

/// A release in every environment.
fn settled(pipeline: &str) -> Bench {
    let mut bench = Bench::new(pipeline);
    bench.world.play("add B1");
    while !bench.plan(&everything()).moves.is_empty() {
        let plan = bench.plan(&everything());
        bench.apply(&plan);
    }
    bench
}

#[test]
fn a_hop_moves_a_release_one_environment_at_a_time() {
    let mut bench = Bench::new(WAY);
    bench.world.play("add B1");
    for environment in ["dev", "qa", "prod"] {
        let plan = bench.plan(&everything());
        assert_eq!(moves(&plan), [format!("{environment}=B1")]);
        assert_eq!((plan.moves[0].movement, plan.moves[0].from.as_ref()), (Movement::Promotion, None));
        bench.apply(&plan);
    }
    assert_eq!(moves(&bench.plan(&everything())), [""; 0]);
}

#[test]
fn s8_5_planning_after_applying_moves_nothing_whatever_was_in_the_graph() {
    for pipeline in [
        "only",
        WAY,
        "a verify t\nb verify t\nc after a b verify t\nd after c bare\ne after d",
        "a\nb after a\nc after a\nd atleast 1 of b c always c files values/d.yaml",
    ] {
        let mut bench = settled(pipeline);
        bench.file("values/d.yaml", "1").world.play("add B2 B3");
        for _ in 0..6 {
            let plan = bench.plan(&everything());
            bench.apply(&plan);
        }
        for environment in bench.world.pipeline.environments.keys() {
            assert_eq!(bench.world.view().current(environment).unwrap().release, bench.world.id("B3"), "{pipeline}");
        }
    }
}

#[test]
fn a_chain_defers_the_gates_behind_its_own_moves() {
    let mut bench = Bench::new(WAY);
    bench.world.play("add B1");
    let plan = bench.plan(&until("prod"));
    assert_eq!(moves(&plan), ["dev=B1", "qa=B1", "prod=B1"]);
    let of = |n: usize| plan.moves[n].gates.iter().find(|g| g.kind == GateKind::Predecessor).map(|g| g.outcome);
    assert_eq!([of(0), of(1), of(2)], [None, Some(Outcome::Deferred), Some(Outcome::Deferred)]);
    assert_eq!(plan.moves[2].after, BTreeSet::from([name("qa")]));
    bench.apply(&plan);
    assert_eq!(stay(&bench.plan(&until("prod")), "prod").why, StayReason::UpToDate);
}

#[test]
fn a_chain_moves_only_what_lies_on_the_way_and_starts_where_the_release_is() {
    let mut bench = Bench::new("dev verify unit\nqa after dev verify e2e\nprod after qa\nside after dev");
    bench.world.play("add B1; deploy dev B1; pass dev unit B1");
    assert_eq!(moves(&bench.plan(&until("prod"))), ["qa=B1", "prod=B1"]);
    // What is barred anywhere on the way is not taken on it.
    bench.world.play("add B2; reject B2 prod");
    assert_eq!(moves(&bench.plan(&until("prod"))), ["qa=B1", "prod=B1"]);
    assert_eq!(moves(&bench.plan(&until("qa"))), ["dev=B2", "qa=B2"]);
}

#[test]
fn s6_9_an_approval_behind_a_deferred_gate_is_not_in_the_plan_nor_is_what_follows() {
    let mut bench = Bench::new("dev verify unit\nqa after dev verify e2e\nprod after qa approve 1\ndr after prod");
    bench.world.play("add B1");
    let plan = bench.plan(&until("dr"));
    assert_eq!(moves(&plan), ["dev=B1", "qa=B1"]);
    assert_eq!(stay(&plan, "prod").why, StayReason::ApprovalBehindDeferred);
    assert_eq!(stay(&plan, "dr").why, StayReason::HeldBack);
    bench.apply(&plan);
    // With the evidence there, it can be asked for.
    let plan = bench.plan(&until("dr"));
    assert_eq!(moves(&plan), ["prod=B1", "dr=B1"]);
    assert!(plan.moves[0].needs_approval() && plan.moves[0].outcome() == Outcome::Waiting);
}

#[test]
fn s0_4_a_reconfiguration_has_no_join_and_no_soak_and_its_own_gates() {
    let mut bench = settled("qa verify t\nprod after qa files values/prod.yaml approve 1");
    assert_eq!(moves(&bench.plan(&everything())), [""; 0]);
    bench.world.play("fail qa t B1; @50");
    bench.file("values/prod.yaml", "replicas: 3");
    let plan = bench.plan(&everything());
    assert_eq!(moves(&plan), ["prod=B1"]);
    let prod = &plan.moves[0];
    assert_eq!((prod.movement, prod.files.len()), (Movement::Reconfiguration, 1));
    let kinds: BTreeSet<_> = prod.gates.iter().map(|g| g.kind).collect();
    assert!(kinds.is_disjoint(&[GateKind::Predecessor, GateKind::Join, GateKind::Soak, GateKind::Arrival].into()));
    assert!(prod.needs_approval());
    // The way back is the same release with the files as they were.
    let rollback = prod.rollback.as_ref().expect("a way back");
    assert_eq!((&rollback.to.id, rollback.files.len()), (&bench.world.id("B1"), 0));
    bench.apply(&plan);
}

#[test]
fn s0_4_shared_files_travel_with_the_release_and_a_release_without_them_is_refused() {
    let mut bench = Bench::new("qa files base.yaml values/qa.yaml\nprod after qa files base.yaml");
    bench.file("base.yaml", "new").file("values/qa.yaml", "1");
    let shared = shared_files(&bench.rules(), &bench.observations.files).into_iter().collect::<Vec<_>>();
    assert_eq!(shared, ["base.yaml"]);
    bench.world.play("add B1");
    let plan = bench.plan(&everything());
    assert_eq!(stay(&plan, "qa").why, StayReason::Refused);
    assert_eq!(codes(&plan, "qa"), ["file-not-in-release"]);
    bench.world.add("B2", &[("base.yaml", "old")]);
    let plan = bench.plan(&everything());
    assert_eq!(moves(&plan), ["qa=B2"]);
    // The release's own text counts, not that of the working tree.
    assert_eq!(plan.moves[0].files["base.yaml"], Digest::of(b"old"));
    assert_eq!(plan.moves[0].files["values/qa.yaml"], Digest::of(b"1"));
    bench.apply(&plan);
}

#[test]
fn s10_2_a_rollback_restores_release_and_files_and_names_the_next_way_back() {
    let mut bench = settled("qa verify t files values/qa.yaml");
    for (release, text) in [("B2", "two"), ("B3", "three")] {
        bench.file("values/qa.yaml", text).world.play(&format!("add {release}"));
        let plan = bench.plan(&everything());
        bench.apply(&plan);
    }
    let forward = bench.plan(&everything());
    assert!(forward.moves.is_empty());
    let plan = bench.plan(&back("qa"));
    assert_eq!(moves(&plan), ["qa=B2"]);
    let entry = &plan.moves[0];
    assert_eq!((entry.movement, entry.files["values/qa.yaml"]), (Movement::Rollback, Digest::of(b"two")));
    assert_eq!(entry.rollback.as_ref().map(|r| &r.to.id), Some(&bench.world.id("B1")));
    let kinds: BTreeSet<_> = entry.gates.iter().map(|g| g.kind).collect();
    assert!(kinds.is_disjoint(&[GateKind::Predecessor, GateKind::Soak, GateKind::Freeze, GateKind::Order].into()));
    bench.file("values/qa.yaml", "two").apply(&plan);
    assert_eq!(moves(&bench.plan(&back("qa"))), ["qa=B1"]);
}

#[test]
fn s2_4_what_comes_back_is_judged_with_the_files_of_then_where_its_check_is_set_as_it_was() {
    let mut bench = settled("qa verify t");
    let script = "checks/qa/t.sh";
    bench.file(script, "then").world.play("add B2");
    let before = bench.plan(&everything()).moves[0].rollback.clone().expect("a way back").checks;
    bench.file(script, "now");
    let judges = |bench: &Bench| {
        let plan = bench.plan(&everything());
        let back = plan.moves[0].rollback.as_ref().expect("a way back");
        let of = |checks: &[PlannedCheck]| checks[0].inputs.files[script];
        (of(&plan.moves[0].checks), of(&back.checks))
    };
    let [then, now] = [Digest::of(b"then"), Digest::of(b"now")];
    assert_eq!(judges(&bench), (now, now), "what is not on record is not known");
    let known = (name("qa"), bench.world.id("B1"));
    bench.observations.judged.insert(known.clone(), before.clone());
    assert_eq!(judges(&bench), (now, then));
    // One that nobody had then is one of now.
    let mut other = before.clone();
    other[0].inputs.files = [("checks/qa/u.sh".to_owned(), then)].into();
    other[0].inputs.settings = serde_json::json!({ "check": "u" });
    bench.observations.judged.insert(known, other);
    assert_eq!(judges(&bench), (now, now), "it is asked in another way by now");
}

#[test]
fn s9_6_a_promotion_names_its_way_back_and_the_way_starts_where_it_ends() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2");
    let plan = bench.plan(&everything());
    let entry = &plan.moves[0];
    let rollback = entry.rollback.as_ref().expect("a way back");
    assert_eq!(rollback.to.id, bench.world.id("B1"));
    assert_eq!(rollback.steps[0].expected, entry.steps[0].desired);
    assert_eq!(rollback.steps[0].desired, entry.steps[0].expected);
    bench.apply(&plan);
}

#[test]
fn s3_3_what_was_tried_is_repeated_only_by_name() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2; start qa B2; finish qa B2 cancelled");
    let plan = bench.plan(&everything());
    assert_eq!((stay(&plan, "qa").why, codes(&plan, "qa")), (StayReason::Refused, vec!["tried-before"]));
    assert_eq!(moves(&bench.plan(&by_name(&bench, "qa", "B2"))), ["qa=B2"]);
}

#[test]
fn s3_2_an_older_release_by_name_is_a_rollback_and_refused_as_a_promotion() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2");
    let plan = bench.plan(&everything());
    bench.apply(&plan);
    let plan = bench.plan(&by_name(&bench, "qa", "B1"));
    assert_eq!((stay(&plan, "qa").why, codes(&plan, "qa")), (StayReason::Refused, vec!["older"]));
}

#[test]
fn every_reason_to_stay_is_given() {
    let mut given = BTreeSet::new();
    let mut reason = |bench: &Bench, request: &Request, environment: &str| {
        let why = stay(&bench.plan(request), environment).why;
        given.insert(why);
        why
    };
    let mut bench = Bench::new("dev verify unit\nqa after dev verify e2e manual\nprod after qa approve 1");
    assert_eq!(reason(&bench, &everything(), "dev"), StayReason::NoReleases);
    bench.world.play("add B1");
    assert_eq!(reason(&bench, &everything(), "qa"), StayReason::NothingArrived);
    assert_eq!(reason(&bench, &until("prod"), "prod"), StayReason::ApprovalBehindDeferred);
    assert_eq!(reason(&bench, &back("dev"), "dev"), StayReason::NoRollbackTarget);
    bench.world.play("deploy dev B1");
    assert_eq!(reason(&bench, &everything(), "dev"), StayReason::UpToDate);
    assert_eq!(reason(&bench, &everything(), "qa"), StayReason::HeldBack);
    assert_eq!(codes(&bench.plan(&everything()), "qa"), ["checks-missing"]);
    bench.world.play("pass dev unit B1");
    let timer = Request { invoker: Invoker::Automation, ..everything() };
    assert_eq!(reason(&bench, &timer, "qa"), StayReason::StartsByRequest);
    assert_eq!(moves(&bench.plan(&everything())), ["qa=B1"]);
    bench.world.play("fail dev unit B1");
    assert_eq!(reason(&bench, &everything(), "qa"), StayReason::Refused);
    assert_eq!(given.len(), 8, "{given:?}");
}

#[test]
fn drift_is_shown_with_what_is_recorded_and_what_is_there() {
    let mut bench = settled("qa verify t");
    let recorded = bench.observations.live[&(name("qa"), name("default"))];
    assert!(stay(&bench.plan(&everything()), "qa").drift.is_empty());
    bench.observations.live.insert((name("qa"), name("default")), State::Absent);
    let plan = bench.plan(&everything());
    let drift = &stay(&plan, "qa").drift["default"];
    assert_eq!((drift.recorded, drift.live), (recorded, State::Absent));
}

#[test]
fn s2_3_artifacts_are_copied_before_they_are_deployed_and_from_there() {
    let mut bench = Bench::new("qa verify t");
    let qa = bench.world.pipeline.environments.get_mut("qa").unwrap();
    qa.mirror.insert("registry.test".into(), "mirror.test/x".into());
    bench.world.play("add B1");
    let plan = bench.plan(&everything());
    let ids: Vec<_> = plan.moves[0].steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["qa/copy/app", "qa/deploy/default"]);
    assert_eq!(plan.moves[0].steps[1].inputs.artifacts["app"].repository, "mirror.test/x/app");
    bench.apply(&plan);
}

#[test]
fn s8_2_a_moved_input_is_named_and_a_newer_release_is_not_chosen_again() {
    let mut bench = settled("qa files values/qa.yaml\nprod after qa");
    bench.file("values/qa.yaml", "1").world.play("add B2");
    let plan = bench.plan(&everything());
    assert_eq!(bench.stale(&plan), [""; 0]);
    bench.world.play("add B3");
    assert_eq!(bench.stale(&plan), [""; 0], "a newer release changes nothing for this plan");
    let mut other = bench.clone();
    assert_eq!(other.file("values/qa.yaml", "2").stale(&plan), ["file values/qa.yaml in qa"]);
    let mut other = bench.clone();
    other.places.insert("qa/default".into(), State::Unknown);
    assert_eq!(other.stale(&plan), ["live state of qa/deploy/default"]);
    let mut other = bench.clone();
    other.world.play("deploy prod B1 2");
    assert_eq!(other.stale(&plan), [""; 0], "only what moves is bound");
    other.world.play("deploy qa B1 2");
    assert!(other.stale(&plan).contains(&"generation of qa".to_string()));
}

#[test]
fn s8_2_an_edited_plan_is_stale_even_where_every_input_is_the_same() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2");
    let plan = bench.plan(&everything());
    type Edit = fn(&mut Plan);
    let edits: [Edit; 4] = [
        |plan| plan.moves[0].steps[0].desired = State::Absent,
        |plan| plan.moves[0].checks.clear(),
        |plan| plan.moves[0].rollback = None,
        |plan| plan.moves[0].to = plan.moves[0].from.clone().expect("it is not the first"),
    ];
    for edit in edits {
        let mut edited = plan.clone();
        edit(&mut edited);
        let now = bench.plan(&everything());
        assert_ne!(promo_core::planner::stale(&edited, &now.inputs, &now.moves), []);
    }
    // How a gate stood is no input: apply judges it again. That there was one is.
    let mut edited = plan.clone();
    for gate in &mut edited.moves[0].gates {
        gate.outcome = promo_core::gate::Outcome::Waiting;
    }
    assert_eq!(bench.stale(&edited), [""; 0]);
    edited.moves[0].gates.pop();
    assert_eq!(bench.stale(&edited), ["steps of qa"]);
}

fn small() -> (Vec<u8>, Digest) {
    let mut bench = Bench::new("qa verify t");
    bench.world.play("add B1");
    let document = Document::new(bench.plan(&everything()));
    (document.to_bytes().expect("canonical"), document.digest().expect("canonical"))
}

#[test]
fn s8_1_every_flipped_byte_is_refused_or_changes_the_digest() {
    let (bytes, digest) = small();
    let mut read = 0;
    for place in 0..bytes.len() {
        for mask in [0x01, 0x02, 0x20] {
            let mut edited = bytes.clone();
            edited[place] ^= mask;
            if let Ok((document, found)) = Document::from_bytes(&edited) {
                assert_ne!(found, digest, "byte {place}");
                assert_eq!(document.to_bytes().unwrap(), edited, "byte {place}: it is not what is applied");
                read += 1;
            }
        }
    }
    // Some edits leave a plan: that is why the digest is what counts.
    assert!(read > 0 && read < bytes.len() * 3, "{read} of {}", bytes.len() * 3);
}

#[test]
fn s8_1_every_cut_of_a_plan_is_refused() {
    let (bytes, _) = small();
    for length in 0..bytes.len() {
        assert!(Document::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn s8_1_what_is_not_a_plan_of_this_format_is_refused_by_name() {
    let (bytes, digest) = small();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let read = |text: &str| Document::from_bytes(text.as_bytes());
    assert_eq!(read(&format!("{text}\n")).unwrap().1, digest, "an editor's last line break is no part of it");
    assert!(matches!(read(&format!("{text}\n\n")), Err(PlanFileError::NotCanonical(_))));
    assert!(matches!(read(&text.replacen(':', ": ", 1)), Err(PlanFileError::NotCanonical(_))));
    assert!(matches!(read(&text.replace("promo.plan", "promo.other")), Err(PlanFileError::Kind(_))));
    assert!(matches!(read("{}"), Err(PlanFileError::Kind(_))));
    let newer = PlanFileError::Newer(Newer { what: "the plan", found: 2, known: 1 });
    let other = text.replace("\"format\":1", "\"format\":2");
    assert_eq!(read(&other).unwrap_err(), newer);
    assert_eq!(newer.to_string(), "the plan has format 2, and this version of promo knows format 1");
    let unknown = other.replacen("\"body\":{", "\"body\":{\"new\":1.5,", 1);
    assert_eq!(read(&unknown).unwrap_err(), newer, "what a newer format means by anything is not guessed at");
    assert_eq!(read(&text.replace("\"format\":1", "\"format\":0")).unwrap_err(), PlanFileError::Format(0));
    let requires = text.replace("\"requires\":[]", "\"requires\":[\"teleport\"]");
    assert_eq!(read(&requires).unwrap_err(), PlanFileError::Requires("teleport".into()));
    let reason = requires.replacen("\"body\":{", "\"body\":{\"a\":1,", 1);
    assert_eq!(read(&reason).unwrap_err(), PlanFileError::Requires("teleport".into()), "it is named before it is met");
    // A member that this version does not know is no plan of this format.
    assert!(read(&text.replace("\"kind\":\"promo.plan\"", "\"kind\":\"promo.plan\",\"other\":1")).is_err());
    let large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Document::from_bytes(&large).unwrap_err(), PlanFileError::TooLarge(MAX_BYTES + 1));
}

#[test]
fn a_frozen_environment_is_held_back_and_says_by_whom() {
    let mut bench = Bench::new("qa verify t");
    bench.world.play("add B1; freeze");
    let plan = bench.plan(&everything());
    assert_eq!((stay(&plan, "qa").why, codes(&plan, "qa")), (StayReason::HeldBack, vec!["frozen"]));
    let gates = &stay(&plan, "qa").next.as_ref().unwrap().gates;
    assert!(gates.iter().any(|g| matches!(&g.reason, Reason::Frozen { by, .. } if by == "ada")));
}

#[test]
fn a_plan_that_no_planner_makes_is_told_by_name() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2");
    let plan = bench.plan(&everything());
    type Edit = fn(&mut Plan);
    let edits: [(Edit, &str); 15] = [
        (|p| p.moves.push(p.moves[0].clone()), "qa is moved twice"),
        (|p| p.moves[0].steps[0].desired = State::Unknown, "does not say what it leaves"),
        (|p| p.moves[0].steps[0].inputs.environment = "prod".parse().expect("a name"), "acts for prod"),
        (|p| p.moves[0].steps[0].inputs.release = "r-000000000000".parse().expect("an id"), "another release"),
        (|p| p.moves[0].gates.clear(), "was not judged by the gate `window`"),
        (|p| p.moves[0].after = ["prod".parse().expect("a name")].into(), "comes after prod"),
        (|p| p.moves[0].tier = promo_core::model::Tier::Production, "is production and asks nobody"),
        (|p| p.moves[0].rollback.as_mut().expect("there is one").to = p.moves[0].to.clone(), "go back to"),
        (|p| p.request.environments = ["prod".parse().expect("a name")].into(), "qa was not asked for"),
        (|p| p.request.release = p.moves[0].from.as_ref().map(|r| r.id.clone()), "another release than was asked for"),
        (|p| p.request.goal = promo_core::plan::Goal::Rollback, "moves in another way"),
        (|p| drop(p.inputs.insert("invoker".into(), "nobody".into())), "the input `invoker` is nobody"),
        (|p| p.moves[0].gates[0].outcome = Outcome::Waiting, "does not stand as its reason says"),
        (|p| p.moves[0].attest = p.moves[0].steps.clone(), "would do more than tell"),
        (|p| p.moves[0].steps[0].action = Action::Attest, "would tell of what was not verified"),
    ];
    for (edit, words) in edits {
        let mut edited = plan.clone();
        edit(&mut edited);
        let found = promo_core::lint::plan(&edited);
        assert!(found.iter().any(|f| f.contains(words)), "{words}: {found:?}");
    }
}

#[test]
fn s3_3_by_name_what_failed_and_runs_is_deployed_again_and_what_is_good_stays() {
    let mut bench = settled("qa verify t\nprod after qa");
    let request = by_name(&bench, "qa", "B1");
    assert_eq!(stay(&bench.plan(&request), "qa").why, StayReason::UpToDate);
    bench.world.play("fail qa t B1; add B2");
    assert_eq!(moves(&bench.plan(&request)), ["qa=B1"]);
    // Naming the environment alone is no naming of the release.
    let whole = Request { release: None, ..request.clone() };
    assert_eq!(moves(&bench.plan(&whole)), ["qa=B2"]);
    let plan = bench.plan(&request);
    let entry = &plan.moves[0];
    assert_eq!((entry.movement, entry.from.as_ref()), (Movement::Promotion, Some(&entry.to)));
    assert!(entry.gates.iter().any(|g| g.reason == Reason::DeployedAgain));
    // S8.2: what the plan was asked with counts when it is planned again.
    assert_eq!(bench.stale(&plan), [""; 0]);
    let mut edited = plan.clone();
    edited.request.release = None;
    assert_ne!(bench.stale(&edited), [""; 0]);
    bench.apply(&plan);
    assert_eq!(stay(&bench.plan(&request), "qa").why, StayReason::UpToDate);
}

#[test]
fn s3_3_by_name_what_has_drifted_is_deployed_again() {
    let mut bench = settled("qa verify t");
    bench.observations.live.insert((name("qa"), name("default")), State::Absent);
    bench.places.insert("qa/default".into(), State::Absent);
    assert_eq!(moves(&bench.plan(&everything())), [""; 0], "drift is shown and nothing is done about it by itself");
    let plan = bench.plan(&by_name(&bench, "qa", "B1"));
    assert_eq!(moves(&plan), ["qa=B1"]);
    bench.apply(&plan);
}

#[test]
fn s3_3_a_failure_is_not_retried_by_naming_the_environment_alone() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2; start qa B2; finish qa B2 cancelled");
    let request = Request { environments: BTreeSet::from([name("qa")]), ..everything() };
    assert_eq!(codes(&bench.plan(&request), "qa"), ["tried-before"]);
}

#[test]
fn s0_4_a_newer_release_that_cannot_enter_does_not_hide_a_reconfiguration_and_is_told_beside_it() {
    let closed = |plan: &Plan| {
        let newer = plan.moves[0].newer.as_ref().expect("a newer one");
        let alias = newer.release.alias.clone().expect("tests give one");
        (alias, newer.gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.reason.code()).collect::<Vec<_>>())
    };
    let pipeline = "qa verify t\nprod after qa files values/prod.yaml soak qa=60";
    for (then, code) in [
        ("add B2; deploy qa B2; pass qa t B2; start prod B2; finish prod B2 cancelled; @200", "tried-before"),
        ("add B2; deploy qa B2; fail qa t B2", "check-failed"),
        ("add B2; deploy qa B2; pass qa t B2", "soaking"),
        ("add B2; deploy qa B2; pass qa t B2; reject B2 prod; @200", "quarantined"),
    ] {
        let mut bench = Bench::new(pipeline);
        bench.world.play("add B1; deploy qa B1; pass qa t B1; @60");
        let plan = bench.plan(&everything());
        bench.apply(&plan);
        bench.world.play(then);
        let prod = Request { environments: BTreeSet::from([name("prod")]), ..everything() };
        assert_eq!(codes(&bench.plan(&prod), "prod")[0], code);
        bench.file("values/prod.yaml", "replicas: 3");
        let plan = bench.plan(&prod);
        assert_eq!(
            (moves(&plan), plan.moves[0].movement),
            (vec!["prod=B1".into()], Movement::Reconfiguration),
            "{then}"
        );
        let (newer, codes) = closed(&plan);
        assert_eq!((newer.as_str(), codes[0]), ("B2", code));
        assert_eq!(bench.stale(&plan), [""; 0]);
        // By name it is the newer one that was asked for, and nothing else.
        assert_eq!(
            moves(&bench.plan(&by_name(&bench, "prod", "B2"))),
            if code == "tried-before" { vec!["prod=B2"] } else { vec![] }
        );
        bench.apply(&plan);
    }
    // Where what runs may be reconfigured only when somebody asks, a refused newer one does not hide that.
    let mut bench = Bench::new("qa verify t\nprod after qa files values/prod.yaml manual");
    bench.world.play("add B1; deploy qa B1; pass qa t B1; deploy prod B1; add B2; deploy qa B2; fail qa t B2");
    let asked = bench.plan(&Request { environments: BTreeSet::from([name("prod")]), ..everything() });
    bench.apply(&asked);
    bench.file("values/prod.yaml", "replicas: 3");
    let plan = bench.plan(&Request { invoker: Invoker::Automation, ..everything() });
    let prod = stay(&plan, "prod");
    let next = prod.next.as_ref().and_then(|next| next.release.alias.as_deref());
    let newer = prod.newer.as_ref().and_then(|newer| newer.release.alias.as_deref());
    assert_eq!((prod.why, next, newer), (StayReason::StartsByRequest, Some("B1"), Some("B2")));
    // Where the newer one can be in the plan it takes the environment's files along, also where it has to wait for people.
    let mut bench = settled("prod files values/prod.yaml approve 1");
    bench.file("values/prod.yaml", "replicas: 3").world.play("add B2");
    let plan = bench.plan(&everything());
    assert_eq!((moves(&plan), plan.moves[0].movement), (vec!["prod=B2".into()], Movement::Promotion));
    assert_eq!((plan.moves[0].files.len(), &plan.moves[0].newer), (1, &None));
}

#[test]
fn s2_3_a_taken_destination_refuses_a_rollback_and_is_no_way_back() {
    let mut bench = Bench::new("qa verify t");
    let qa = bench.world.pipeline.environments.get_mut("qa").unwrap();
    qa.mirror.insert("registry.test".into(), "mirror.test/x".into());
    for release in ["B1", "B2", "B3"] {
        bench.world.play(&format!("add {release}"));
        let plan = bench.plan(&everything());
        bench.apply(&plan);
    }
    bench.world.play("add B4");
    let way_back = |bench: &Bench| bench.plan(&everything()).moves[0].rollback.as_ref().map(|r| r.to.alias.clone());
    assert_eq!(way_back(&bench), Some(Some("B3".into())));
    let taken = State::Present(Digest::of(b"something else"));
    bench.places.insert("mirror.test/x/app:b3".into(), taken);
    bench.places.insert("mirror.test/x/app:b2".into(), taken);
    assert_eq!(way_back(&bench), Some(Some("B1".into())));
    // Asked to go back, it says why it does not, and goes nowhere else.
    let plan = bench.plan(&back("qa"));
    assert_eq!((moves(&plan), codes(&plan, "qa")), (vec![], vec!["destination-taken"]));
    bench.places.insert("mirror.test/x/app:b1".into(), taken);
    assert_eq!(way_back(&bench), None);
    // What would have been the best one is told, and why it is not.
    let lost = bench.plan(&everything()).moves[0].lost_target.clone().expect("a way back that is none");
    assert_eq!((lost.release.alias.as_deref(), lost.reason.code()), (Some("B3"), "destination-taken"));
}

#[test]
fn s10_1_a_move_without_a_way_back_says_what_bars_the_best_one() {
    let lost = |bench: &Bench| {
        let entry = bench.plan(&everything()).moves.remove(0);
        (entry.rollback.is_some(), entry.lost_target.map(|l| (l.release.alias.expect("one"), l.reason.code())))
    };
    let mut bench = Bench::new("qa verify t");
    bench.world.play("add B1");
    assert_eq!(lost(&bench), (false, None), "nothing was there before");
    let plan = bench.plan(&everything());
    bench.apply(&plan);
    bench.world.play("add B2");
    assert_eq!(lost(&bench), (true, None), "there is a way back");
    bench.world.play("reject B1");
    assert_eq!(lost(&bench), (false, Some(("B1".into(), "quarantined"))));
    // Of several that are barred the one that runs is told: it is what the failure would leave.
    bench.world.play("lift B1");
    let plan = bench.plan(&everything());
    bench.apply(&plan);
    bench.world.play("deploy qa B1; pass qa t B1; add B3; reject B2; reject B1");
    assert_eq!(lost(&bench), (false, Some(("B1".into(), "quarantined"))));
    bench.world.play("lift B1");
    assert_eq!(lost(&bench), (true, None));
}

#[test]
fn s10_1_what_was_verified_before_a_check_was_asked_for_stays_a_way_back_and_what_failed_one_is_none() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2");
    let plan = bench.plan(&everything());
    bench.apply(&plan);
    assert_eq!(moves(&bench.plan(&back("qa"))), ["qa=B1"]);
    let mut with = |pipeline: &str| bench.world = bench.world.under(support::history::pipeline(pipeline));
    // Nothing can ask it of what is not deployed: whoever adds a check would take every way back away.
    with("qa verify t slow");
    let plan = bench.plan(&back("qa"));
    assert_eq!(moves(&plan), ["qa=B1"]);
    assert_eq!(plan.moves[0].checks.len(), 2, "it is asked once it is there");
    bench.world.play("add B3");
    let moved = bench.plan(&everything()).moves.remove(0);
    assert_eq!(moved.rollback.expect("a way back").to.lineage, 2);
    // What failed one is no way back, and nor is what somebody rejected.
    for bars in ["fail qa t B1", "fail qa slow B1", "pass qa slow B1; withdraw qa slow B1", "reject B1"] {
        let mut bench = bench.clone();
        bench.world.play(bars);
        assert!(stay(&bench.plan(&back("qa")), "qa").next.is_none(), "{bars}");
    }
}

#[test]
fn s9_6_what_a_run_left_half_way_waits_for_the_end_of_that_run_before_it_is_gone_back_from() {
    let mut bench = settled("qa verify t");
    bench.world.play("add B2; start qa B2");
    let why = |bench: &Bench| (stay(&bench.plan(&back("qa")), "qa").why, codes(&bench.plan(&back("qa")), "qa"));
    assert!(stay(&bench.plan(&back("qa")), "qa").next.is_none(), "nothing was begun");
    bench.world.play("intent qa");
    assert_eq!(why(&bench), (StayReason::HeldBack, vec!["busy"]));
    bench.world.play("finish qa B2 held");
    assert_eq!(moves(&bench.plan(&back("qa"))), ["qa=B1"]);
}

#[test]
fn s6_6_what_a_run_is_moving_already_is_not_told_to_lack_the_approval_that_it_began_with() {
    let mut bench = settled("qa verify t");
    bench.world = bench.world.under(support::history::pipeline("qa verify t approve 1"));
    bench.world.play("add B2 B3; start qa B2");
    let kinds = |release: &str| {
        let plan = bench.plan(&by_name(&bench, "qa", release));
        let gates = stay(&plan, "qa").next.as_ref().expect("a run is in the way").gates.clone();
        let closed = |gates: &[Gate]| gates.iter().filter(|g| !g.outcome.is_open()).map(|g| g.kind).collect::<Vec<_>>();
        (closed(&gates), closed(&told(gates.clone(), &bench.world.id(release))))
    };
    let both = vec![GateKind::Approval, GateKind::Lock];
    assert_eq!(kinds("B2"), (both.clone(), vec![GateKind::Lock]));
    assert_eq!(kinds("B3"), (both.clone(), both), "of another release nothing was approved");
}
