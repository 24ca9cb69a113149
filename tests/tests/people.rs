//! What only a person may do, and what proves that one did: asking (S5.1, S9.1) and lifting (S10.4).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::approval::Decision;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::plan::{Document, Request};
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, Session, exit};
use promo_tests::world::{Setup, World};

fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

/// The quickstart's pipeline, whose qa starts only on request.
fn world() -> World {
    world_with(&[])
}

fn world_with(more: &[(&str, &str)]) -> World {
    let auto = "start  = \"auto\"\ntarget = { directory = \"environments/qa\" }";
    let manual = auto.replace("auto", "manual");
    let more = more.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
    let replace = more.chain([(auto.to_owned(), manual)]).collect();
    World::with("quickstart", Setup { replace, ..Setup::default() })
}

/// What a person asks for who names nothing: everything that can move.
async fn everything(world: &World) -> Document {
    let request = Request { environments: [].into(), ..world.request("dev") };
    world.session.plan(request, PLAN_LIFETIME).await.unwrap()
}

async fn apply(world: &World, session: &Session, plan: &Document) -> Result<u8, EngineError> {
    let report = session.apply(plan, plan.digest().unwrap(), world.options()).await;
    report.map(|report| report.exit_code())
}

/// A plan that waits, and says that nothing proves that a person asked for it.
fn assert_unproven(result: Result<u8, EngineError>) -> Vec<String> {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("waiting", exit::WAITING), "{error:?}");
    let EngineError::Waiting { notes, .. } = error else { panic!("{error:?}") };
    assert!(notes.iter().any(|n| n.contains("nothing proves") && n.contains("promo request FILE --key")), "{notes:?}");
    notes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_on_request_does_not_start_by_a_word_in_a_plan_s9_1() {
    let world = world();
    world.release("1.0.0").await;
    world.session.advance(world.options()).await.unwrap();
    assert_eq!((world.current("dev").is_some(), world.current("qa")), (true, None));
    let plan = everything(&world).await;
    assert!(plan.body.moves.iter().any(|m| m.environment.as_str() == "qa"), "{:#?}", plan.body);
    let notes = assert_unproven(apply(&world, &world.job(), &plan).await);
    assert!(notes.iter().any(|note| note.contains("qa starts only when a person asks")), "{notes:?}");
    assert_eq!(world.current("qa"), None);
    // Naming the environment asks for it, whoever does.
    let job = world.job();
    let asked = Request { invoker: job.invoker(), ..world.request("qa") };
    let asked = job.plan(asked, PLAN_LIFETIME).await.unwrap();
    assert_eq!(apply(&world, &job, &asked).await.unwrap(), exit::DONE);
    assert!(world.current("qa").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_a_person_over_the_plan_proves_that_one_asked_s9_1() {
    for proof in ["the applier", "a request", "an approval", "a revoked approval", "a machine's request"] {
        let machine = ("[\"developer\"]", "[\"developer\"]\nhuman = false");
        let world = if proof == "a machine's request" { world_with(&[machine]) } else { world() };
        let dana = world.session_as("dana");
        world.release("1.0.0").await;
        world.session.advance(world.options()).await.unwrap();
        let plan = everything(&world).await;
        let digest = plan.digest().unwrap();
        match proof {
            "the applier" => {
                assert_eq!(apply(&world, &dana, &plan).await.unwrap(), exit::DONE);
                continue;
            }
            "a request" | "a machine's request" => world.ask(&plan).await,
            _ => {
                world.session.record_approval(&digest, &world.sign(&plan, Decision::Approve)).unwrap();
                if proof == "a revoked approval" {
                    world.session.record_approval(&digest, &world.sign(&plan, Decision::Revoke)).unwrap();
                }
            }
        }
        let result = apply(&world, &world.job(), &plan).await;
        if proof == "a request" || proof == "an approval" {
            assert_eq!(result.unwrap(), exit::DONE, "{proof}");
        } else {
            assert_unproven(result);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_after_a_rollback_holds_for_whom_no_person_stands_s10_4() {
    let world = world();
    world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let pause = Event::Frozen { environments: [name("dev")].into(), automatic: true };
    let draft = world.session.draft(pause);
    world.session.append(&promo_ledger::Expect::default(), &[draft]).unwrap();
    assert_unproven(apply(&world, &world.job(), &plan).await);
    assert_eq!(apply(&world, &world.session_as("dana"), &plan).await.unwrap(), exit::DONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_automation_resumes_starts_nothing_on_the_word_of_its_plan_s9_1() {
    let world = world();
    world.release("1.0.0").await;
    let until = Some(name("staging"));
    let request = Request { environments: [].into(), until, ..world.request("dev") };
    let plan = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let mut options = world.options();
    let stop = options.stop.clone();
    options.progress = std::sync::Arc::new(move |said| {
        if matches!(said, Progress::CheckStarted { .. }) {
            stop.cancel();
        }
    });
    let stopped = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(stopped.outcome, None, "{stopped:?}");
    let resumed = world.job().resume(&stopped.run, world.options()).await.unwrap();
    let qa = resumed.environments.iter().find(|(name, ..)| name.as_str() == "qa").unwrap();
    let Fate::NotStarted { why, .. } = &qa.2 else { panic!("{qa:?}") };
    assert!(why.contains("starts only when a person asks") && why.contains("nothing proves"), "{why}");
    assert_eq!((world.current("perf").is_some(), world.current("qa")), (true, None));
}
