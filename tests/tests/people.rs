//! What only a person may do, and what proves that one did: asking (S5.1, S9.1) and lifting (S10.4).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::approval::Decision;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::Event;
use promo_core::plan::{Document, Request};
use promo_engine::lifts::{LIFT_NAMESPACE, Lift, LiftStatement};
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, Session, exit};
use promo_tests::small;
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
                world
                    .session
                    .record_approval(&plan, &digest, &world.sign(&plan, Decision::Approve), &[], None)
                    .unwrap();
                if proof == "a revoked approval" {
                    world
                        .session
                        .record_approval(&plan, &digest, &world.sign(&plan, Decision::Revoke), &[], None)
                        .unwrap();
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

fn freeze(environments: &[&str]) -> Lift {
    Lift::Freeze { environments: environments.iter().map(|e| name(e)).collect() }
}

fn signed(world: &World, who: &str, statement: &LiftStatement) -> String {
    let key = world.keys.get(who).unwrap_or(&world.key);
    key.sign_bytes(&statement.to_bytes().unwrap(), LIFT_NAMESPACE).unwrap()
}

/// Asks for a lift as somebody who signs: none, or why not.
fn lifts(world: &World, session: &Session, who: &str, lift: Lift) -> Option<String> {
    let statement = session.lift_statement(lift).unwrap();
    match session.lift(&statement, Some(&signed(world, who, &statement)), "a reason") {
        Ok(by) => {
            assert_eq!(by.unwrap().as_str(), who);
            None
        }
        Err(error) => {
            assert_eq!((error.code(), error.exit_code()), ("lift-refused", exit::DENIED), "{error:?}");
            Some(error.to_string())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_person_with_a_role_and_a_signature_lifts_under_a_policy_s10_4() {
    let world = World::of("quickstart");
    let release = world.release("1.0.0").await;
    let dana = world.session_as("dana");
    let quarantine = |scope: Option<&str>| Lift::Quarantine { release: release.clone(), scope: scope.map(name) };
    for (lift, environments) in [(freeze(&["production"]), Some("production")), (freeze(&[]), None)] {
        let stop = || {
            // What a person stops over a pause is lifted like it.
            let pause = Event::Frozen { environments: environments.iter().map(|e| name(e)).collect(), automatic: true };
            world.session.append(&promo_ledger::Expect::default(), &[world.session.draft(pause)]).unwrap();
            dana.freeze(environments.iter().map(|e| name(e)).collect(), "a reason").unwrap();
        };
        stop();
        let statement = dana.lift_statement(lift.clone()).unwrap();
        let size = dana.store().head().unwrap().size;
        let unsigned = dana.lift(&statement, None, "a reason").unwrap_err();
        assert_eq!((unsigned.code(), unsigned.exit_code()), ("lift-refused", exit::DENIED));
        let why = lifts(&world, &world.job(), "riley", lift.clone()).unwrap();
        assert!(why.contains("only a person lifts"), "{why}");
        let why = lifts(&world, &dana, "dana", lift.clone()).unwrap();
        assert!(why.contains("dana holds none of the roles that approve for production: release-manager"), "{why}");
        assert_eq!(dana.store().head().unwrap().size, size, "a refusal writes nothing");
        assert_eq!(lifts(&world, &dana, "riley", lift.clone()), None);
        assert!(dana.view().unwrap().freezes.is_empty());
        // It was about that freeze: the next one is another.
        stop();
        let again = dana.lift(&statement, Some(&signed(&world, "riley", &statement)), "a reason").unwrap_err();
        assert!(again.to_string().contains("no longer in force"), "{again}");
        assert_eq!(lifts(&world, &dana, "riley", lift), None);
    }
    // A scope bars what is reachable from it too, so a rejection of dev takes whoever may let the release into production.
    for scope in [Some("production"), None, Some("qa"), Some("dev")] {
        dana.reject(&release, scope.map(name), "a reason").unwrap();
        let why = lifts(&world, &dana, "dana", quarantine(scope)).unwrap();
        assert!(why.contains("dana holds none of the roles that approve for production"), "{scope:?}: {why}");
        assert_eq!(lifts(&world, &dana, "riley", quarantine(scope)), None);
        assert!(dana.view().unwrap().quarantines.is_empty());
    }
    let nothing = dana.lift_statement(quarantine(None)).unwrap_err();
    assert_eq!(nothing.code(), "request-invalid");
}

/// Two approvers, of whom one wrote the release and a rule keeps out who wrote it; and an environment on no way to the other.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_lifts_what_they_could_not_approve_wherever_it_was_stopped_s10_4() {
    const ENVIRONMENTS: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.lab]
tier   = "testing"
target = { directory = "environments/lab" }
[environments.live]
tier   = "testing"
after  = ["dev"]
start  = "manual"
target = { directory = "environments/live" }
[[environments.live.approval]]
count   = 1
from    = ["release-manager"]
exclude = ["author", "builder"]
"#;
    const POLICY: &str = r#"
format = 1
[policy]
name    = "authors"
version = 1
[identities.riley]
roles = ["release-manager"]
keys  = ["ssh-ed25519 RILEY"]
[identities.alex]
roles = ["release-manager"]
keys  = ["ssh-ed25519 ALEX"]
[identities.sam]
roles = ["developer"]
keys  = ["ssh-ed25519 SAM"]
"#;
    let pipeline = small::pipeline("authors", ENVIRONMENTS);
    let files = [("promo.toml", &*pipeline), ("policy.toml", POLICY), ("service.j2", "{{ environment }}\n")];
    for (part, other) in [("authors", "builder"), ("builder", "authors")] {
        let world = World::of_files(&files, Setup::default());
        world.build("1.0.0").await;
        let said =
            |riley: &str, sam: &str| [(riley.to_owned(), "riley".to_owned()), (sam.to_owned(), "sam".to_owned())];
        let metadata = said(part, other).into();
        let release = promo_engine::NewRelease { metadata, ..world.new_release("1.0.0") };
        let release = world.session.add_release(release).await.unwrap().0.release.id;
        let quarantine = |scope: Option<&str>| Lift::Quarantine { release: release.clone(), scope: scope.map(name) };
        for scope in [Some("dev"), Some("live"), None, Some("lab")] {
            world.session.reject(&release, scope.map(name), "a reason").unwrap();
            let (riley, sam) = ("riley", "sam");
            if scope == Some("lab") {
                // Nobody approves for it, nor for what comes after it.
                assert_eq!(lifts(&world, &world.session, sam, quarantine(scope)), None);
                continue;
            }
            let why = lifts(&world, &world.session, sam, quarantine(scope)).unwrap();
            assert!(why.contains("sam holds none of the roles that approve for live: release-manager"), "{why}");
            let why = lifts(&world, &world.session, riley, quarantine(scope)).unwrap();
            let part = part.trim_end_matches('s');
            assert!(
                why.contains(&format!("the rule of live excludes the {part} of the release, and riley is that")),
                "{why}"
            );
            assert_eq!(lifts(&world, &world.session, "alex", quarantine(scope)), None);
        }
        // Of whom it is not said who they are, or not whom policy knows, nobody can be told apart.
        for unknown in [None, Some("somebody@old.example")] {
            let version = if unknown.is_none() { "1.1.0" } else { "1.2.0" };
            world.build(version).await;
            let metadata = [(other.to_owned(), "sam".to_owned())].into_iter();
            let metadata = metadata.chain(unknown.map(|who| (part.to_owned(), who.to_owned()))).collect();
            let release = promo_engine::NewRelease { metadata, ..world.new_release(version) };
            let release = world.session.add_release(release).await.unwrap().0.release.id;
            world.session.reject(&release, Some(name("dev")), "a reason").unwrap();
            let lift = Lift::Quarantine { release: release.clone(), scope: Some(name("dev")) };
            let why = lifts(&world, &world.session, "alex", lift).unwrap();
            assert!(why.contains("or it cannot be told who is"), "{why}");
        }
        // A freeze is about no release.
        world.session.freeze([name("live")].into(), "a reason").unwrap();
        assert_eq!(lifts(&world, &world.session, "riley", freeze(&["live"])), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lift_that_no_signature_bears_out_counts_for_nothing_s12_3() {
    let world = World::of("quickstart");
    let release = world.release("1.0.0").await;
    world.session.freeze([name("production")].into(), "a reason").unwrap();
    world.session.reject(&release, None, "a reason").unwrap();
    let statement = world.session.lift_statement(freeze(&["production"])).unwrap();
    let forge = |who: Option<&str>, signature: Option<String>| {
        let text = String::from_utf8(statement.to_bytes().unwrap()).unwrap();
        let signed = signature.map(|s| serde_json::json!({"statement": text, "signature": s}));
        let by = who.map(|who| who.parse().unwrap());
        let event = Event::Unfrozen { environments: [name("production")].into(), by, signed };
        let draft = world.session.draft(event);
        world.session.store().append_if_head(&promo_ledger::Expect::default(), &[draft]).unwrap();
        world.session.view().unwrap()
    };
    forge(None, None);
    forge(Some("riley"), None);
    forge(Some("dana"), Some(signed(&world, "dana", &statement)));
    let view = forge(Some("dana"), Some(signed(&world, "riley", &statement)));
    assert_eq!((view.freezes.len(), view.uncounted.len()), (1, 4), "{:?}", view.uncounted);
    let lifted = Event::ReleaseLifted { release, scope: None, by: None, signed: None };
    let draft = world.session.draft(lifted);
    world.session.store().append_if_head(&promo_ledger::Expect::default(), &[draft]).unwrap();
    assert_eq!(world.session.view().unwrap().quarantines.len(), 1);
    // Signed by who may, it counts, and once: recorded again it neither lifts a later freeze nor damages the ledger.
    let riley = || forge(Some("riley"), Some(signed(&world, "riley", &statement)));
    assert!(riley().freezes.is_empty());
    assert!(riley().freezes.is_empty());
    world.session.freeze([name("production")].into(), "a reason").unwrap();
    assert_eq!(riley().freezes.len(), 1);
}
