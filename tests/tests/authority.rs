//! Who may say what, and what a record is worth: the policy that the ledger has seen, and signatures inside records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::ledger::event::POLICY_ADOPTED;
use promo_engine::{EngineError, Session};
use promo_ledger::Expect;
use promo_tests::world::World;

/// Writes another version of the policy, with some text behind it that changes its bytes.
fn policy(world: &World, version: u64, note: &str) {
    let path = world.path("policy.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("# note"));
    let lines =
        lines.map(|line| if line.starts_with("version") { format!("version = {version}") } else { line.into() });
    let text: Vec<String> = lines.chain([format!("# note {note}")]).collect();
    std::fs::write(path, text.join("\n")).unwrap();
}

fn adoptions(session: &Session) -> usize {
    let store = session.store();
    let records = store.records(0, 1_000).unwrap();
    records.iter().filter(|record| record.kind == POLICY_ADOPTED).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_adopted_by_the_first_verb_that_writes_and_a_lower_version_is_refused_s7_1() {
    let world = World::of("quickstart");
    policy(&world, 2, "a");
    let second = world.session_as("dana");
    // S0.6: reading adopts nothing.
    second.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap();
    second.admit_policy().unwrap();
    assert_eq!(adoptions(&second), 0);
    world.build("1.0.0").await;
    second.add_release(world.new_release("1.0.0")).await.unwrap();
    second.freeze([].into(), "a reason").unwrap();
    let first_record = second.store().records(0, 1).unwrap().remove(0);
    assert_eq!((adoptions(&second), first_record.kind.as_str()), (1, POLICY_ADOPTED));

    policy(&world, 1, "a");
    let old = world.session_as("dana");
    let size = old.store().head().unwrap().size;
    let refused = old.admit_policy().unwrap_err();
    assert!(matches!(refused, EngineError::PolicyReplaced { .. }), "{refused:?}");
    let refused = old.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), ("policy-replaced", promo_engine::exit::BAD_INPUT));
    assert_eq!(old.unfreeze([].into(), "a reason").unwrap_err().code(), "policy-replaced");
    policy(&world, 2, "b");
    let other = world.session_as("dana");
    assert_eq!(other.unfreeze([].into(), "a reason").unwrap_err().code(), "policy-reused");
    assert_eq!(old.store().head().unwrap().size, size, "a refusal writes nothing");

    policy(&world, 3, "b");
    let third = world.session_as("dana");
    third.unfreeze([].into(), "a reason").unwrap();
    assert_eq!(adoptions(&third), 2);
    // A session that was opened before somebody else adopted the next version learns of it.
    assert_eq!(second.freeze([].into(), "a reason").unwrap_err().code(), "policy-replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_no_other_verb_went_before_adopts_the_policy_s7_1() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    policy(&world, 7, "");
    let session = world.session_as("dana");
    let plan = session.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap();
    let digest = plan.digest().unwrap();
    session.apply(&plan, digest, world.options()).await.unwrap();
    assert_eq!(session.view().unwrap().policies.values().map(|p| p.version).collect::<Vec<_>>(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_pipeline_adopted_binds_the_others_of_its_ledger_s7_1() {
    let world = World::of("quickstart");
    policy(&world, 2, "");
    let mut draft = world.session_as("dana").draft(promo_core::ledger::Event::PolicyAdopted {
        policy: world.session_as("dana").governance().policy.clone().unwrap(),
    });
    draft.pipeline = "another".parse().unwrap();
    world.session.store().append_if_head(&Expect::default(), &[draft]).unwrap();
    assert_eq!(world.session.admit_policy().unwrap_err().code(), "policy-replaced");
}
