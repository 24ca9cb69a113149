//! Who may say what, and what a record is worth: the policy that the ledger has seen, and signatures inside records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::approval::{Decision, Envelope, Statement};
use promo_core::eligibility::{CheckStatus, verification};
use promo_core::ids::{CheckName, ReleaseId};
use promo_core::ledger::Event;
use promo_core::ledger::event::{POLICY_ADOPTED, PromotionOutcome};
use promo_core::plan::{Document, Request};
use promo_engine::authors::AUTHORS_NAMESPACE;
use promo_engine::lifts::Lift;
use promo_engine::requests::{REQUEST_NAMESPACE, RequestStatement};
use promo_engine::verdicts::{VERDICT_NAMESPACE, VerdictDecision, VerdictKind, VerdictStatement, verdict_bytes};
use promo_engine::{EngineError, Fate, Governance, Progress, Providers, Session};
use promo_ledger::{Checkpoint, Expect};
use promo_tests::world::{Setup, Time, World};

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
    assert_eq!(world.lift(&old, Lift::Freeze { environments: [].into() }).unwrap_err().code(), "policy-replaced");
    policy(&world, 2, "b");
    let other = world.session_as("dana");
    assert_eq!(world.lift(&other, Lift::Freeze { environments: [].into() }).unwrap_err().code(), "policy-reused");
    assert_eq!(old.store().head().unwrap().size, size, "a refusal writes nothing");

    policy(&world, 3, "b");
    let third = world.session_as("dana");
    world.lift(&third, Lift::Freeze { environments: [].into() }).unwrap();
    assert_eq!(adoptions(&third), 2);
    // A session that was opened before somebody else adopted the next version learns of it.
    assert_eq!(second.freeze([].into(), "a reason").unwrap_err().code(), "policy-replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_adopted_a_policy_is_not_worked_on_without_it_or_under_another_name_s7_1() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let size = world.session.store().head().unwrap().size;
    let own = std::fs::read_to_string(world.path("policy.toml")).unwrap();
    let renamed = own.replace("\"quickstart\"", "\"another\"");
    assert_ne!(own, renamed);
    for text in [None, Some(&renamed)] {
        match text {
            None => std::fs::remove_file(world.path("policy.toml")).unwrap(),
            Some(text) => std::fs::write(world.path("policy.toml"), text).unwrap(),
        }
        let session = world.session_as("dana");
        let refused = [
            session.admit_policy().unwrap_err(),
            session.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap_err(),
            session.freeze([].into(), "a reason").unwrap_err(),
            session.advance(world.options()).await.unwrap_err().error,
        ];
        for refused in refused {
            assert_eq!((refused.code(), refused.exit_code()), ("policy-not-adopted", promo_engine::exit::BAD_INPUT));
            assert!(refused.to_string().contains("quickstart v1"), "{refused}");
        }
    }
    assert_eq!(world.session.store().head().unwrap().size, size, "a refusal writes nothing");
    // Whoever keeps the runner pins the new policy: from then on it is the ledger's, and the old one is not.
    let pinned = world.session_with("dana", &Setup { trusted: true, ..world.setup().clone() });
    pinned.freeze([].into(), "a reason").unwrap();
    world.session_as("dana").admit_policy().unwrap();
    assert_eq!(world.session.admit_policy().unwrap_err().code(), "policy-not-adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_ledger_that_extends_the_pinned_checkpoint_is_read_at_every_reading_s0_1() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let store = world.session.store().clone();
    let session = |pin: Checkpoint| {
        let governance = Governance { checkpoint: Some(pin), ..world.session.governance().clone() };
        let providers = Providers::new(world.setup().providers.clone());
        let actor = world.session.actor().clone();
        Session::new(governance, store.clone(), providers, world.setup().clock.clone(), actor, world.path(""))
    };
    let now = store.checkpoint().unwrap();
    let held = session(now.clone());
    held.admit_policy().unwrap();
    held.freeze(["qa".parse().unwrap()].into(), "a reason").unwrap();
    held.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap();
    session(now.clone()).view().unwrap();

    let size = store.head().unwrap().size;
    let other = promo_core::Digest::of(b"other");
    for (pin, why) in [
        (Checkpoint { origin: "another".into(), ..now.clone() }, "another origin"),
        (Checkpoint { size: size + 1, ..now.clone() }, "and the pin says"),
        (Checkpoint { root: other, ..now.clone() }, "records are others"),
        // The right records, and one more or one less than was pinned.
        (Checkpoint { size: now.size + 1, ..now.clone() }, "records are others"),
        (Checkpoint { size: now.size - 1, ..now.clone() }, "records are others"),
    ] {
        let session = session(pin);
        let refused = [
            session.admit_policy().unwrap_err(),
            // What was read before stays read: it is refused all the same.
            session.view().unwrap_err(),
            session.present().unwrap_err(),
            session.plan(world.request("dev"), promo_engine::PLAN_LIFETIME).await.unwrap_err(),
            session.freeze([].into(), "a reason").unwrap_err(),
            session.advance(world.options()).await.unwrap_err().error,
        ];
        for refused in refused {
            assert_eq!((refused.code(), refused.exit_code()), ("ledger-other", promo_engine::exit::INTEGRITY), "{why}");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
    assert_eq!(store.head().unwrap().size, size, "a refusal writes nothing");
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
async fn a_run_begins_nothing_more_once_its_policy_was_replaced_s7_1() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    let request = Request { until: Some("staging".parse().unwrap()), environments: [].into(), ..world.request("dev") };
    let plan = world.session.plan(request, promo_engine::PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves.len(), 4, "dev, qa, perf, staging");
    policy(&world, 2, "");
    let newer = world.session_as("dana");
    let mut options = world.options();
    options.progress = std::sync::Arc::new(move |event| {
        if matches!(event, Progress::StepStarted { .. })
            && newer.view().unwrap().policy_in_force().unwrap().version == 1
        {
            newer.freeze(["production".parse().unwrap()].into(), "the first verb under the next version").unwrap();
        }
    });
    let report = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(report.exit_code(), promo_engine::exit::STALE, "{report:?}");
    let dev = &report.environments[0];
    assert!(
        matches!(&dev.2, Fate::Ended { outcome: PromotionOutcome::Verified, .. }),
        "what had begun ends: {report:?}"
    );
    for (environment, _, fate) in &report.environments[1..] {
        assert!(matches!(fate, Fate::NotStarted { .. }), "{environment}: {fate:?}");
    }
    let qa = report.environments.iter().find(|(name, ..)| name.as_str() == "qa").unwrap();
    let Fate::NotStarted { why, .. } = &qa.2 else { panic!("{qa:?}") };
    assert!(why.contains("v2"), "{why}");
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

/// A world in which a release waits in qa for the acceptance that testers give.
async fn in_qa() -> (World, Time, ReleaseId) {
    let time = Time::at("2026-03-23T09:00:00Z");
    let world = World::with("eleven-environments", time.setup());
    let release = world.release("1.0.0").await;
    world.session.advance(world.options()).await.unwrap();
    (world, time, release)
}

fn says(world: &World, time: &Time, release: &ReleaseId, check: &str, decision: VerdictDecision) -> VerdictStatement {
    time.pass(std::time::Duration::from_secs(1));
    VerdictStatement {
        kind: VerdictKind::V1,
        environment: "qa".parse().unwrap(),
        release: release.clone(),
        check: check.parse().unwrap(),
        decision,
        ledger: world.session.store().origin(),
        pipeline: world.session.governance().pipeline.name.to_string(),
        at: promo_sdk::Clock::now(time),
        reason: Some("a test of what counts".into()),
    }
}

fn signed_by(world: &World, who: &str, statement: &VerdictStatement) -> String {
    let key = world.keys.get(who).unwrap_or(&world.key);
    key.sign_bytes(&verdict_bytes(statement).unwrap(), VERDICT_NAMESPACE).unwrap()
}

/// Writes a record as somebody does who can write the ledger and does not ask the engine.
fn forge(world: &World, statement: &VerdictStatement, by: Option<&str>, signature: Option<String>) {
    let VerdictStatement { environment, release, check, decision, .. } = statement.clone();
    let by = by.map(|name| name.parse().unwrap());
    let text = String::from_utf8(verdict_bytes(statement).unwrap()).unwrap();
    let signed = signature.map(|signature| serde_json::json!({"statement": text, "signature": signature}));
    let event = match decision {
        VerdictDecision::Withdraw => Event::VerdictWithdrawn { environment, release, check, by, signed },
        _ => Event::VerdictRecorded {
            environment,
            release,
            check,
            passed: decision == VerdictDecision::Pass,
            unanswered: false,
            by,
            signed,
        },
    };
    let draft = world.session.draft(event);
    world.session.store().append_if_head(&Expect::default(), &[draft]).unwrap();
}

fn status(session: &Session, release: &ReleaseId, check: &str) -> CheckStatus {
    let (view, qa) = (session.view().unwrap(), "qa".parse().unwrap());
    let check: CheckName = check.parse().unwrap();
    verification(&view, &qa, &session.governance().pipeline.environments[&qa], release).checks[&check]
}

fn why_not(session: &Session) -> Vec<String> {
    session.view().unwrap().uncounted.iter().map(|u| u.why.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_without_a_valid_signature_counts_for_nothing_s12_3() {
    use VerdictDecision::{Fail, Pass, Withdraw};
    let (world, time, release) = in_qa().await;
    let status = |session: &Session| status(session, &release, "acceptance");
    let pass = says(&world, &time, &release, "acceptance", Pass);
    forge(&world, &pass, None, None);
    forge(&world, &pass, Some("tess"), None);
    forge(&world, &pass, Some("tess"), Some(signed_by(&world, "riley", &pass)));
    let elsewhere = VerdictStatement { environment: "dev".parse().unwrap(), ..pass.clone() };
    forge(&world, &pass, Some("tess"), Some(signed_by(&world, "tess", &elsewhere)));
    forge(&world, &pass, Some("riley"), Some(signed_by(&world, "tess", &pass)));
    assert_eq!(status(&world.session), CheckStatus::Missing, "{:?}", why_not(&world.session));
    let why = why_not(&world.session);
    assert_eq!(why.len(), 5, "{why:?}");
    assert_eq!(why[0], "nobody signed it");
    assert_eq!(why[2], "riley holds none of the roles tester");
    assert_eq!(why[4], "tess signed it, and the record names somebody else");

    world.session.record_verdict(&pass, &signed_by(&world, "tess", &pass)).unwrap();
    assert!(matches!(status(&world.session), CheckStatus::Passed { .. }));
    // A withdrawal is a statement like any other.
    forge(&world, &says(&world, &time, &release, "acceptance", Withdraw), Some("tess"), None);
    assert!(matches!(status(&world.session), CheckStatus::Passed { .. }));
    // Once it failed, the old pass cannot be brought back by recording it again.
    let fail = says(&world, &time, &release, "acceptance", Fail);
    world.session.record_verdict(&fail, &signed_by(&world, "tess", &fail)).unwrap();
    let again = world.session.record_verdict(&pass, &signed_by(&world, "tess", &pass)).unwrap_err();
    assert_eq!(again.code(), "approval-refused");
    forge(&world, &pass, Some("tess"), Some(signed_by(&world, "tess", &pass)));
    assert_eq!(status(&world.session), CheckStatus::Failed);
    assert_eq!(why_not(&world.session).last().unwrap(), "it was recorded before, and counts once");
}

/// A record that no ledger may hold is no less illegal at the second reading, and its statement has not spoken by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_verdict_that_may_not_stand_there_is_refused_at_every_reading_s12_3() {
    let (world, time, _) = in_qa().await;
    let unknown: ReleaseId = "r-000000000000".parse().unwrap();
    let pass = says(&world, &time, &unknown, "acceptance", VerdictDecision::Pass);
    forge(&world, &pass, Some("tess"), Some(signed_by(&world, "tess", &pass)));
    for reading in 1..=3 {
        let refused = world.session.view().map(|_| ()).unwrap_err();
        assert_eq!(refused.code(), "ledger-damaged", "reading {reading}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_stops_counting_with_the_key_that_signed_it_s12_3() {
    let (world, time, release) = in_qa().await;
    let pass = says(&world, &time, &release, "acceptance", VerdictDecision::Pass);
    world.session.record_verdict(&pass, &signed_by(&world, "tess", &pass)).unwrap();
    assert!(matches!(status(&world.session, &release, "acceptance"), CheckStatus::Passed { .. }));
    let text = std::fs::read_to_string(world.path("policy.toml")).unwrap();
    let other = promo_engine::signature::SigningKey::generate("tess").unwrap();
    let text = text.replace(&world.keys["tess"].public_key().to_string(), &other.public_key().to_string());
    std::fs::write(world.path("policy.toml"), text).unwrap();
    policy(&world, 2, "");
    assert_eq!(status(&world.session_as("dana"), &release, "acceptance"), CheckStatus::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_withdrawn_by_a_role_that_may_s3_1() {
    use VerdictDecision::{Pass, Withdraw};
    let (world, time, release) = in_qa().await;
    let pass = says(&world, &time, &release, "acceptance", Pass);
    world.session.record_verdict(&pass, &signed_by(&world, "tess", &pass)).unwrap();
    let back = says(&world, &time, &release, "acceptance", Withdraw);
    let refused = world.session.record_verdict(&back, &signed_by(&world, "riley", &back)).unwrap_err();
    assert_eq!(refused.to_string(), "the statement cannot be taken: riley holds none of the roles tester");
    world.session.record_verdict(&back, &signed_by(&world, "tess", &back)).unwrap();
    assert_eq!(status(&world.session, &release, "acceptance"), CheckStatus::Withdrawn);

    // An automatic check: nobody, until policy names a role for the tier.
    let qa = &world.session.governance().pipeline.environments["qa"];
    let automatic = qa.verify.iter().find(|c| c.as_str() != "acceptance").unwrap().to_string();
    let back = says(&world, &time, &release, &automatic, Withdraw);
    let refused = world.session.record_verdict(&back, &signed_by(&world, "riley", &back)).unwrap_err();
    assert!(refused.to_string().contains("lets nobody withdraw"), "{refused}");
    forge(&world, &back, Some("riley"), Some(signed_by(&world, "riley", &back)));
    assert!(matches!(status(&world.session, &release, &automatic), CheckStatus::Passed { .. }));
    let tier = qa.tier.as_str();
    let text = std::fs::read_to_string(world.path("policy.toml")).unwrap();
    std::fs::write(world.path("policy.toml"), format!("{text}\n[tiers.{tier}]\nwithdraw = [\"release-manager\"]\n"))
        .unwrap();
    policy(&world, 2, "");
    let session = world.session_as("dana");
    let refused = session.record_verdict(&back, &signed_by(&world, "tess", &back)).unwrap_err();
    assert_eq!(refused.to_string(), "the statement cannot be taken: tess holds none of the roles release-manager");
    // The statement from before says the same, and counts now that its signer may.
    assert_eq!(status(&session, &release, &automatic), CheckStatus::Withdrawn);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_nobody_valid_signed_opens_nothing_and_is_named_s12_3() {
    let world = World::of("quickstart");
    world.release("1.0.0").await;
    world.session.advance(world.options()).await.unwrap();
    let plan = world.plan("production").await;
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    let mut envelope = world.sign(&plan, Decision::Approve);
    envelope.statement = envelope.statement.replace("release-manager", "release-manages");
    let event = Event::ApprovalRecorded { envelope: serde_json::to_value(&envelope).unwrap() };
    let mut draft = world.session.draft(event);
    draft.plan = Some(digest);
    world.session.store().append_if_head(&Expect::default(), &[draft]).unwrap();
    let error = world.session.apply(&plan, digest, world.options()).await.unwrap_err();
    let EngineError::Waiting { notes, .. } = &error else { panic!("{error:?}") };
    assert!(notes.iter().any(|note| note.starts_with("a statement does not count: ")), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_beside_a_plan_that_does_not_hold_or_is_for_another_is_refused_and_not_recorded_s12_3() {
    let world = World::of("quickstart");
    let plan = waits_for_approval(&world, "1.0.0").await;
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    let good = world.sign(&plan, Decision::Approve);
    let statement = Statement::from_bytes(good.statement.as_bytes()).unwrap();
    let signed = |statement: Statement| world.key.sign(&statement).unwrap();
    let hours = |hours| jiff::SignedDuration::from_hours(hours);
    let mut forged = good.clone();
    forged.statement = good.statement.replace("release-manager", "release-manages");
    let other = signed(Statement { plan: promo_core::Digest::of(b"another"), ..statement.clone() });
    let late = signed(Statement {
        not_before: statement.not_before + hours(48),
        expires: statement.not_before + hours(9 * 24),
        ..statement
    });
    let size = world.session.store().head().unwrap().size;
    for bad in [forged, other, late.clone()] {
        let options = promo_engine::ApplyOptions { approvals: vec![good.clone(), bad], ..world.options() };
        let refused = world.session.apply(&plan, digest, options).await.unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("approval-refused", 21), "{refused}");
    }
    // S6.5: no longer than seven days from when it is taken, also where it begins later.
    assert_eq!(world.session.record_approval(&plan, &digest, &late, &[], None).unwrap_err().code(), "approval-refused");
    assert_eq!(world.session.store().head().unwrap().size, size, "a refusal writes nothing");
    let options = promo_engine::ApplyOptions { approvals: vec![good], ..world.options() };
    world.session.apply(&plan, digest, options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_any_release_since_the_running_one_may_not_approve_and_an_empty_list_is_unknown_s6_4() {
    // What the releases say of their authors, and whether riley may approve the last of them.
    for (said, may) in [
        (&[Some("dana")][..], true),
        (&[Some(",")], false),
        (&[Some(" , ")], false),
        (&[None], false),
        (&[Some("riley"), Some("dana")], false),
        (&[Some(","), Some("dana")], false),
        (&[None, Some("dana")], false),
        (&[Some("dana"), Some("dana")], true),
    ] {
        let excluding = ("exclude = [\"initiator\"]".into(), "exclude = [\"initiator\", \"author\"]".into());
        let world = World::with("quickstart", Setup { replace: vec![excluding], ..Setup::default() });
        let session = &world.session;
        for (number, authors) in said.iter().enumerate() {
            let version = format!("1.{number}.0");
            world.build(&version).await;
            let metadata = authors.iter().map(|list| ("authors".to_owned(), (*list).to_owned())).collect();
            session.add_release(promo_engine::NewRelease { metadata, ..world.new_release(&version) }).await.unwrap();
        }
        session.advance(world.options()).await.unwrap();
        let plan = session.plan(world.request("production"), promo_engine::PLAN_LIFETIME).await.unwrap();
        world.ask(&plan).await;
        let digest = plan.digest().unwrap();
        let yes = world.sign(&plan, Decision::Approve);
        let recorded = session.record_approval(&plan, &digest, &yes, &[], None).map(|_| ());
        assert_eq!(
            recorded.map_err(|error| error.code()),
            if may { Ok(()) } else { Err("approval-refused") },
            "{said:?}"
        );
        let now = session.now().unwrap();
        let standings = session.standings(&plan, &digest, &session.view().unwrap(), &[yes], None, now).unwrap();
        assert_eq!(
            standings.values().map(promo_core::approval::Evaluation::satisfied).collect::<Vec<_>>(),
            [may],
            "{said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_says_of_itself_is_not_overridden_by_what_is_given_with_it_s6_4() {
    let world = World::of("quickstart");
    world.build("1.0.0").await;
    let said = |version: &str| promo_engine::NewRelease {
        metadata: [("org.opencontainers.image.version".to_owned(), version.to_owned())].into(),
        ..world.new_release("1.0.0")
    };
    let refused = world.session.add_release(said("9.9.9")).await.unwrap_err();
    assert_eq!(refused.code(), "request-invalid", "{refused}");
    assert!(refused.to_string().contains("`1.0.0`") && refused.to_string().contains("`9.9.9`"), "{refused}");
    world.session.add_release(said("1.0.0")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_adds_a_release_first_does_not_settle_who_wrote_it_unseen_s6_4() {
    let world = World::of("quickstart");
    world.build("1.0.0").await;
    let by = |author: &str| promo_engine::NewRelease {
        metadata: [("authors".to_owned(), author.to_owned())].into(),
        ..world.new_release("1.0.0")
    };
    let (entry, new) = world.session.add_release(by("dana")).await.unwrap();
    assert!(new);
    assert_eq!(world.session.add_release(by("dana")).await.unwrap(), (entry, false));
    for other in [by("riley"), world.new_release("1.0.0")] {
        let refused = world.session.add_release(other).await.unwrap_err();
        assert_eq!(refused.code(), "request-invalid");
        assert!(refused.to_string().contains("authors is dana there"), "{refused}");
    }
}

/// A release without authors below one with them: nobody can approve, and the message names the release. Whoever says afterwards
/// who wrote it signs that, and is kept out themself.
#[tokio::test(flavor = "multi_thread")]
async fn authors_can_be_named_afterwards_by_a_person_who_signs_and_counts_among_them_s6_4() {
    let excluding = ("exclude = [\"initiator\"]".into(), "exclude = [\"initiator\", \"author\"]".into());
    for (signer, may) in [("dana", true), ("riley", false)] {
        let world = World::with("quickstart", Setup { replace: vec![excluding.clone()], ..Setup::default() });
        let session = &world.session;
        let first = world.release("1.0.0").await;
        world.build("1.1.0").await;
        let metadata = [("authors".to_owned(), "dana".to_owned())].into();
        let (second, _) =
            session.add_release(promo_engine::NewRelease { metadata, ..world.new_release("1.1.0") }).await.unwrap();
        session.advance(world.options()).await.unwrap();
        let plan = session.plan(world.request("production"), promo_engine::PLAN_LIFETIME).await.unwrap();
        let digest = plan.digest().unwrap();
        world.ask(&plan).await;
        let yes = world.sign(&plan, Decision::Approve);
        let record = || session.record_approval(&plan, &digest, &yes, &[], None).map(|_| ());
        let EngineError::Uncounted { why, over: false, .. } = record().unwrap_err() else { panic!("{signer}") };
        assert!(why.iter().any(|why| why.contains(&format!("nobody is named as the author of {first}"))), "{why:?}");
        let unwritten =
            |session: &Session| session.unwritten(&session.view().unwrap(), &plan.body.moves[0]).unwrap().len();
        assert_eq!(unwritten(session), 1);

        let key = world.keys.get(signer).unwrap_or(&world.key);
        let says = |release: &ReleaseId, who: &str| {
            let (release, authors) = (release.clone(), [who.to_owned()].into());
            let fingerprint = key.public_key().fingerprint().clone();
            async move { session.authors_statement(&release, authors, fingerprint).await }
        };
        for refused in [says(&second.release.id, "dana").await, says(&first, "nobody-known").await] {
            assert_eq!(refused.unwrap_err().code(), "request-invalid");
        }
        let statement = says(&first, "dana").await.unwrap();
        let bytes = statement.to_bytes().unwrap();
        // Signed for something else, by somebody else, or written past the engine without a signature.
        let elsewhere = key.sign_bytes(&bytes, VERDICT_NAMESPACE).unwrap();
        let stranger = promo_engine::signature::SigningKey::generate("stranger").unwrap();
        let unknown = stranger.sign_bytes(&bytes, AUTHORS_NAMESPACE).unwrap();
        for signature in [&elsewhere, &unknown] {
            assert_eq!(session.name_authors(&statement, signature).unwrap_err().code(), "approval-refused");
        }
        let (authors, by) = (statement.authors.clone(), signer.parse().unwrap());
        let forged = Event::AuthorsNamed { release: first.clone(), authors, by, signed: serde_json::json!("riley") };
        session.store().append_if_head(&Expect::default(), &[session.draft(forged)]).unwrap();
        assert_eq!((why_not(session).len(), unwritten(session)), (1, 1), "{:?}", why_not(session));

        let good = key.sign_bytes(&bytes, AUTHORS_NAMESPACE).unwrap();
        assert_eq!(session.name_authors(&statement, &good).unwrap().as_str(), signer);
        assert_eq!(unwritten(session), 0);
        match record() {
            Ok(()) => assert!(may),
            Err(EngineError::Uncounted { why, .. }) => {
                assert!(!may && why.iter().any(|why| why.contains("riley may not approve this, being its author")));
                continue;
            }
            Err(other) => panic!("{other:?}"),
        }
        session.apply(&plan, digest, world.options()).await.unwrap();
        assert_eq!(world.current("production"), Some(second.release.id));
    }
}

/// A plan for production that only its approval keeps back.
async fn waits_for_approval(world: &World, version: &str) -> Document {
    world.release(version).await;
    world.session.advance(world.options()).await.unwrap();
    world.plan("production").await
}

/// Writes a request as somebody does who can write the ledger and does not ask the engine.
fn forge_request(world: &World, plan: &Document, by: &str, statement: &RequestStatement, signature: &str) {
    let text = String::from_utf8(statement.to_bytes().unwrap()).unwrap();
    let mut draft = world.session.draft(Event::PlanRequested {
        environments: statement.environments.clone(),
        expires: plan.body.expires,
        initiator: "dana".into(),
        by: Some(by.parse().unwrap()),
        signed: Some(serde_json::json!({"statement": text, "signature": signature})),
    });
    draft.plan = Some(plan.digest().unwrap());
    world.session.store().append_if_head(&Expect::default(), &[draft]).unwrap();
}

/// Why a plan cannot be applied although riley says yes to it beside the plan.
async fn notes(world: &World, session: &Session, plan: &Document, yes: &Envelope) -> Vec<String> {
    let mut options = world.options();
    options.approvals = vec![yes.clone()];
    match session.apply(plan, plan.digest().unwrap(), options).await {
        Err(EngineError::Waiting { notes, .. }) => notes,
        other => panic!("{other:?}"),
    }
}

/// Riley's yes to a plan, with or without a request.
fn yes(world: &World, plan: &Document) -> Envelope {
    // The engine makes no statement that would not count: a no becomes a yes, and is signed again.
    let no = Statement::from_bytes(world.sign(plan, Decision::Reject).statement.as_bytes()).unwrap();
    world.key.sign(&Statement { decision: Decision::Approve, ..no }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_where_the_initiator_is_excluded_and_no_request_is_signed_s6_3() {
    let world = World::of("quickstart");
    let plan = waits_for_approval(&world, "1.0.0").await;
    let digest = plan.digest().unwrap();
    let yes = yes(&world, &plan);
    let approved = world.session.record_approval(&plan, &digest, &yes, &[], None).unwrap_err();
    let key = world.key.public_key().fingerprint().clone();
    let role = || "release-manager".parse().unwrap();
    let stated = world.session.statement(&plan, digest, Decision::Approve, role(), key.clone()).unwrap_err();
    let asked = world.session.request(&plan, digest, None).await.unwrap_err();
    for refused in [approved, stated, asked] {
        assert_eq!((refused.code(), refused.exit_code()), ("request-unsigned", 21), "{refused}");
    }
    // Whoever claims to be somebody else is stopped as well, and told what is missing.
    for claimed in ["dana", "riley", "nobody-known"] {
        let notes = notes(&world, &world.session_as(claimed), &plan, &yes).await;
        assert!(notes.iter().any(|note| note.contains("promo request FILE --key KEY")), "{claimed}: {notes:?}");
    }
    // A no needs no request.
    world.session.statement(&plan, digest, Decision::Reject, role(), key).unwrap();
    world.ask(&plan).await;
    world.session.record_approval(&plan, &digest, &yes, &[], None).unwrap();
    world.session.apply(&plan, digest, world.options()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_valid_signature_counts_as_unsigned_and_is_named_s12_3() {
    let world = World::of("quickstart");
    let old = waits_for_approval(&world, "1.0.0").await;
    let (of_old, of_old_signature) = world.asked(&old, "dana");
    let plan = waits_for_approval(&world, "1.1.0").await;
    let yes = yes(&world, &plan);
    let (good, signature) = world.asked(&plan, "dana");
    // Edited after signing, another plan's replayed, under another plan's digest, another namespace, another name.
    let edited =
        RequestStatement { at: good.at.checked_add(jiff::SignedDuration::from_secs(1)).unwrap(), ..good.clone() };
    forge_request(&world, &plan, "dana", &edited, &signature);
    forge_request(&world, &plan, "dana", &of_old, &of_old_signature);
    let elsewhere = world.keys["dana"].sign_bytes(&good.to_bytes().unwrap(), VERDICT_NAMESPACE).unwrap();
    forge_request(&world, &plan, "dana", &good, &elsewhere);
    let (rileys, by_riley) = world.asked(&plan, "riley");
    forge_request(&world, &plan, "dana", &rileys, &by_riley);
    // Signed by riley's key over a statement that names dana's.
    let named = world.key.sign_bytes(&good.to_bytes().unwrap(), REQUEST_NAMESPACE).unwrap();
    forge_request(&world, &plan, "riley", &good, &named);
    let why = why_not(&world.session);
    assert_eq!(why.len(), 5, "{why:?}");
    assert_eq!(why[1], "what was signed is another statement");
    assert_eq!(why[3], "riley signed it, and the record names somebody else");
    assert_eq!(why[4], "what was signed is another statement");
    let notes = notes(&world, &world.session, &plan, &yes).await;
    assert_eq!(notes.iter().filter(|note| note.contains("counts as unsigned: ")).count(), 5, "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("before its request is signed")), "{notes:?}");
    // The engine takes none of them either.
    let digest = plan.digest().unwrap();
    for (statement, signature) in [(&edited, &signature), (&of_old, &of_old_signature), (&good, &named)] {
        let refused = world.session.request(&plan, digest, Some((statement, signature))).await.unwrap_err();
        assert_eq!(refused.code(), "approval-refused", "{refused}");
    }
    world.session.request(&plan, digest, Some((&good, &signature))).await.unwrap();
    world.session.record_approval(&plan, &digest, &yes, &[], None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_name_does_not_let_anybody_approve_what_they_asked_for_s6_3() {
    let world = World::of("quickstart");
    let plan = waits_for_approval(&world, "1.0.0").await;
    let digest = plan.digest().unwrap();
    // Riley asks under dana's name, with the only key they have: their own.
    let (statement, signature) = world.asked(&plan, "riley");
    let asked = world.session.request(&plan, digest, Some((&statement, &signature))).await.unwrap();
    assert_eq!(asked.by.unwrap().as_str(), "riley");
    let yes = world.sign(&plan, Decision::Approve);
    let closed = notes(&world, &world.session, &plan, &yes).await;
    assert!(closed.contains(&"riley may not approve this, being its initiator".into()), "{closed:?}");
    // Another request takes nobody away who asked before.
    world.ask(&plan).await;
    let closed = notes(&world, &world.session, &plan, &yes).await;
    assert!(closed.contains(&"riley may not approve this, being its initiator".into()), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stops_counting_with_the_key_that_signed_it_s12_3() {
    let world = World::of("quickstart");
    let before = waits_for_approval(&world, "1.0.0").await;
    world.ask(&before).await;
    assert_eq!(world.session.view().unwrap().requests[&before.digest().unwrap()].signers.len(), 1);
    let text = std::fs::read_to_string(world.path("policy.toml")).unwrap();
    let key = world.keys["dana"].public_key().to_string();
    let other = promo_engine::signature::SigningKey::generate("dana").unwrap().public_key().to_string();
    std::fs::write(world.path("policy.toml"), text.replace(&key, &other)).unwrap();
    let session = world.session_as("dana");
    let view = session.view().unwrap();
    let request = &view.requests[&before.digest().unwrap()];
    assert!(request.signers.is_empty() && request.initiators.contains("dana"), "{request:?}");
    assert!(why_not(&session)[0].ends_with("belongs to nobody whom policy knows"), "{:?}", why_not(&session));
    let refused = session.needs_signed_request(&before.digest().unwrap(), &request.environments).unwrap_err();
    assert_eq!(refused.code(), "request-unsigned");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_rule_excludes_the_initiator_a_request_needs_no_signature() {
    let replace = [(", exclude = [\"initiator\"]", ""), ("exclude = [\"initiator\"]\n", "")];
    let replace = replace.map(|(from, to)| (from.to_owned(), to.to_owned())).to_vec();
    let world = World::with("quickstart", Setup { replace, ..Setup::default() });
    let plan = waits_for_approval(&world, "1.0.0").await;
    let digest = plan.digest().unwrap();
    assert_eq!(world.session.request(&plan, digest, None).await.unwrap().by, None);
    world.session.record_approval(&plan, &digest, &world.sign(&plan, Decision::Approve), &[], None).unwrap();
    world.session.apply(&plan, digest, world.options()).await.unwrap();
}
