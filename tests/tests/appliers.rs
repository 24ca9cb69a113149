//! Who applies a plan where its rule excludes the applier (S6.4): proved by a signature, never by a name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use promo_core::approval::{Decision, Envelope, Statement};
use promo_core::ids::RunId;
use promo_core::ledger::event::RunOutcome;
use promo_core::ledger::{Draft, Event};
use promo_core::plan::{Document, Request};
use promo_engine::appliers::{APPLY_NAMESPACE, ApplyKind, ApplyStatement};
use promo_engine::requests::REQUEST_NAMESPACE;
use promo_engine::signature::Key;
use promo_engine::{ApplyOptions, EngineError, PLAN_LIFETIME, Progress, Session, exit};
use promo_ledger::{Expect, Lease};
use promo_tests::small;
use promo_tests::world::{Time, World};

const ENVIRONMENTS: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.live]
tier   = "testing"
start  = "manual"
target = { directory = "environments/live" }
[[environments.live.approval]]
count   = 1
from    = ["release-manager"]
exclude = ["applier"]
"#;

const POLICY: &str = r#"
format = 1
[policy]
name    = "appliers"
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
[identities.robot]
human = false
roles = ["developer"]
keys  = ["ssh-ed25519 ROBOT"]
"#;

/// Two environments that stand for themselves, `dev`, and `live`, whose approvers may not apply. Time stands still.
async fn world() -> (World, Time) {
    let time = Time::at("2026-03-02T10:00:00Z");
    let files = [
        ("promo.toml", &*small::pipeline("appliers", ENVIRONMENTS)),
        ("policy.toml", POLICY),
        ("service.j2", "{{ environment }} runs {{ artifacts.shop.tag }}\n"),
    ];
    let world = World::of_files(&files, time.setup());
    world.release("1.0.0").await;
    (world, time)
}

/// A plan that riley approved.
async fn approved(world: &World, environments: &[&str]) -> Document {
    let environments = environments.iter().map(|name| name.parse().unwrap()).collect();
    let request = Request { environments, ..world.request("live") };
    let plan = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    world
        .session
        .record_approval(&plan, &plan.digest().unwrap(), &world.sign(&plan, Decision::Approve), &[], None)
        .unwrap();
    plan
}

/// Options of whoever has the key of `who`.
fn with_key(world: &World, who: &str) -> ApplyOptions {
    let key = world.keys.get(who).unwrap_or(&world.key).clone();
    ApplyOptions { key: Some(Key::from(key)), ..world.options() }
}

async fn apply(session: &Session, plan: &Document, options: ApplyOptions) -> Result<u8, EngineError> {
    session.apply(plan, plan.digest().unwrap(), options).await.map(|report| report.exit_code())
}

fn kinds(world: &World) -> Vec<String> {
    let records = world.session.store().records(0, 1_000).unwrap();
    records.into_iter().map(|record| record.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_unsigned_where_the_applier_is_excluded_whatever_name_is_claimed_s6_4() {
    let (world, _) = world().await;
    let plan = approved(&world, &["dev", "live"]).await;
    let before = kinds(&world);
    // The approver's own name, somebody else's, one that nobody knows, and a machine's.
    let claimed = ["riley", "sam", "nobody-known"].map(|name| world.session_as(name));
    for session in claimed.into_iter().chain([world.job()]) {
        let refused = apply(&session, &plan, world.options()).await.unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("apply-unsigned", exit::DENIED), "{refused}");
        assert!(refused.to_string().contains("live"), "{refused}");
    }
    assert_eq!(kinds(&world), before, "nothing was written");
    assert_eq!((world.current("dev"), world.current("live")), (None, None), "nothing was changed");
    // What the rule is not about needs no signature.
    let dev = world.plan("dev").await;
    assert_eq!(apply(&world.session, &dev, world.options()).await.unwrap(), exit::DONE);
    assert!(!kinds(&world).contains(&"run.signed".into()), "and gets none");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_is_needed_does_not_apply_under_any_name_and_a_third_does_s6_4() {
    let (world, _) = world().await;
    let plan = approved(&world, &["live"]).await;
    let before = kinds(&world);
    for name in ["riley", "sam", "nobody-known"] {
        let refused = apply(&world.session_as(name), &plan, with_key(&world, "riley")).await.unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("approval-refused", exit::DENIED), "{name}: {refused}");
        assert!(refused.to_string().contains("without riley"), "{name}: {refused}");
    }
    // A claim keeps somebody out, and never lets anybody in.
    let refused = apply(&world.session_as("riley"), &plan, with_key(&world, "sam")).await.unwrap_err();
    assert!(refused.to_string().contains("without sam and riley"), "{refused}");
    // A key that policy does not know says nothing.
    let stranger = promo_engine::signature::SigningKey::generate("sam").unwrap();
    let options = ApplyOptions { key: Some(Key::from(stranger)), ..world.options() };
    let refused = apply(&world.session, &plan, options).await.unwrap_err();
    assert_eq!(refused.code(), "approval-refused");
    assert!(refused.to_string().contains("nobody whom policy knows"), "{refused}");
    assert_eq!((kinds(&world), world.current("live")), (before, None), "nothing was written or changed");

    assert_eq!(apply(&world.session_as("nobody-known"), &plan, with_key(&world, "sam")).await.unwrap(), exit::DONE);
    let view = world.session.view().unwrap();
    let (run, known) = view.runs.iter().next().unwrap();
    assert_eq!(known.applier, "nobody-known", "a claim, and kept as one");
    assert_eq!(view.appliers[run].iter().map(|a| a.by.as_str()).collect::<Vec<_>>(), ["sam"]);
    let after = kinds(&world);
    let signed = after.iter().position(|kind| kind == "run.signed").unwrap();
    assert_eq!(after[signed + 1], "run.started", "in one transaction, one behind the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_is_not_needed_may_apply_and_so_may_a_machine_s6_4() {
    let (world, _) = world().await;
    let plan = approved(&world, &["live"]).await;
    let digest = plan.digest().unwrap();
    let alex = &world.keys["alex"];
    let role = "release-manager".parse().unwrap();
    let key = alex.public_key().fingerprint().clone();
    let yes = world.session.statement(&plan, digest, Decision::Approve, role, key).unwrap();
    world.session.record_approval(&plan, &digest, &alex.sign(&yes).unwrap(), &[], None).unwrap();
    assert_eq!(apply(&world.session, &plan, with_key(&world, "alex")).await.unwrap(), exit::DONE, "riley's is enough");

    world.release("1.1.0").await;
    let plan = approved(&world, &["live"]).await;
    assert_eq!(apply(&world.job(), &plan, with_key(&world, "robot")).await.unwrap(), exit::DONE);
    assert_eq!(world.deployed("live", "service"), "live runs 1.1.0\n");
}

/// What somebody writes who has a key and does not ask the engine to begin a run.
struct Forger<'w> {
    world: &'w World,
    plan: &'w Document,
    run: RunId,
    lease: Lease,
}

impl<'w> Forger<'w> {
    fn new(world: &'w World, plan: &'w Document, run: &str) -> Self {
        let resources = ["environment appliers/live".to_owned()];
        let lease = world.session.store().acquire(&resources, run, Duration::from_secs(60)).unwrap();
        Self { world, plan, run: run.parse().unwrap(), lease }
    }

    /// The statement that a holder of sam's key would sign now.
    fn statement(&self) -> ApplyStatement {
        let now = self.world.session.now().unwrap();
        ApplyStatement {
            kind: ApplyKind::V1,
            plan: self.plan.digest().unwrap(),
            ledger: self.world.session.store().origin(),
            pipeline: "appliers".parse().unwrap(),
            environments: self.plan.body.moves.iter().map(|m| m.environment.clone()).collect(),
            run: self.run.clone(),
            key: self.world.keys["sam"].public_key().fingerprint().clone(),
            not_before: now,
            expires: now + SignedDuration::from_hours(1),
            nonce: "00112233445566778899aabbccddeeff".parse().unwrap(),
        }
    }

    fn sign(&self, who: &str, statement: &ApplyStatement) -> String {
        let key = self.world.keys.get(who).unwrap_or(&self.world.key);
        key.sign_bytes(&statement.to_bytes().unwrap(), APPLY_NAMESPACE).unwrap()
    }

    fn draft(&self, event: Event) -> Draft {
        let mut draft = self.world.session.draft(event);
        draft.run = Some(self.run.clone());
        draft.plan = Some(self.plan.digest().unwrap());
        draft.epoch = Some(self.lease.epoch);
        draft
    }

    fn signed(&self, by: &str, statement: &ApplyStatement, signature: &str) -> Draft {
        let text = String::from_utf8(statement.to_bytes().unwrap()).unwrap();
        self.draft(Event::RunSigned {
            environments: self.plan.body.moves.iter().map(|m| m.environment.clone()).collect(),
            by: by.parse().unwrap(),
            signed: serde_json::json!({"statement": text, "signature": signature}),
        })
    }

    fn started(&self) -> Draft {
        let moves = self.plan.body.moves.iter();
        let environments = moves.map(|m| (m.environment.clone(), m.to.id.clone())).collect();
        self.draft(Event::RunStarted { environments, approvals: Vec::new(), applier: "sam".into() })
    }

    fn append(&self, drafts: &[Draft]) -> Result<(), EngineError> {
        let expect = Expect { fences: vec![self.lease.fence()], ..Expect::default() };
        self.world.session.append(&expect, drafts).map(|_| ())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_into_the_ledger_begins_a_run_with_a_statement_that_does_not_hold_s6_4() {
    let (world, time) = world().await;
    let old = approved(&world, &["live"]).await;
    let other = Forger::new(&world, &old, "another-run").statement();
    world.release("1.1.0").await;
    time.pass(Duration::from_secs(61));
    let plan = approved(&world, &["live"]).await;
    let forger = Forger::new(&world, &plan, "this-run");
    let good = forger.statement();
    let hour = SignedDuration::from_hours(1);
    let before = kinds(&world);
    let refusals = [
        ("what was signed is another statement", ApplyStatement { plan: other.plan, ..good.clone() }),
        ("what was signed is another statement", ApplyStatement { run: other.run, ..good.clone() }),
        ("what was signed is another statement", ApplyStatement { ledger: "another ledger".into(), ..good.clone() }),
        ("what was signed is another statement", ApplyStatement { pipeline: "other".parse().unwrap(), ..good.clone() }),
        (
            "what was signed is another statement",
            ApplyStatement { environments: ["dev".parse().unwrap()].into(), ..good.clone() },
        ),
        (
            "what was signed is another statement",
            ApplyStatement { key: world.key.public_key().fingerprint().clone(), ..good.clone() },
        ),
        (
            "it expired at",
            ApplyStatement { not_before: good.not_before - hour, expires: good.expires - hour, ..good.clone() },
        ),
        (
            "it cannot be used before",
            ApplyStatement { not_before: good.not_before + hour, expires: good.expires + hour, ..good.clone() },
        ),
        (
            "longer than an hour",
            ApplyStatement { expires: good.expires + SignedDuration::from_secs(1), ..good.clone() },
        ),
    ];
    for (why, statement) in refusals {
        let signature = forger.sign("sam", &statement);
        let refused = forger.append(&[forger.signed("sam", &statement, &signature), forger.started()]).unwrap_err();
        assert!(refused.to_string().contains(why), "{statement:?}: {refused}");
        assert_eq!(refused.code(), "approval-refused");
    }
    // Another's signature, another name, another purpose, changed after it was signed, none.
    let signature = forger.sign("sam", &good);
    let later = ApplyStatement { nonce: "ffeeddccbbaa99887766554433221100".parse().unwrap(), ..good.clone() };
    let purpose = world.keys["sam"].sign_bytes(&good.to_bytes().unwrap(), REQUEST_NAMESPACE).unwrap();
    for draft in [
        forger.signed("sam", &good, &forger.sign("riley", &good)),
        forger.signed("alex", &good, &signature),
        forger.signed("sam", &good, &purpose),
        forger.signed("sam", &later, &signature),
        forger.signed("sam", &good, ""),
    ] {
        assert_eq!(forger.append(&[draft, forger.started()]).unwrap_err().code(), "approval-refused");
    }
    let unsigned = forger.append(&[forger.started()]).unwrap_err();
    assert_eq!(unsigned.code(), "apply-unsigned", "{unsigned}");
    assert_eq!(kinds(&world), before, "nothing was written");
    // The very statement that all of these were made from is taken, once.
    let signed = forger.signed("sam", &good, &signature);
    forger.append(&[signed, forger.started()]).unwrap();
    let again = forger.append(&[forger.signed("sam", &good, &signature)]).unwrap_err();
    assert!(again.to_string().contains("counts once"), "{again}");
    // A record that says nothing of any run that could begin, or go on, is no record.
    let fresh = forger.signed("sam", &later, &forger.sign("sam", &later));
    for (why, draft) in [
        ("run this-run is of another plan", Draft { plan: Some(other.plan), ..fresh.clone() }),
        ("its plan was used by run this-run", Draft { run: Some("third-run".parse().unwrap()), ..fresh.clone() }),
        ("it names no epoch", Draft { epoch: None, ..fresh.clone() }),
        ("it names no plan", Draft { plan: None, ..fresh.clone() }),
        ("it names no run", Draft { run: None, ..fresh }),
    ] {
        assert_eq!(forger.append(&[draft]).unwrap_err().to_string(), why);
    }
    // What was signed under one lock says nothing of what is begun under another.
    let entry = &plan.body.moves[0];
    let mut promotion = forger.draft(Event::PromotionStarted {
        environment: entry.environment.clone(),
        from: None,
        to: entry.to.id.clone(),
        movement: entry.movement,
    });
    promotion.environment = Some(entry.environment.clone());
    let other_lock = Draft { epoch: Some(forger.lease.epoch + 1), ..promotion.clone() };
    assert_eq!(forger.append(&[other_lock]).unwrap_err().code(), "apply-unsigned");
    forger.append(&[promotion]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_hold_and_is_in_the_ledger_counts_for_nothing_and_is_named_s12_3() {
    let (world, time) = world().await;
    let plan = approved(&world, &["live"]).await;
    let forger = Forger::new(&world, &plan, "this-run");
    let statement = forger.statement();
    let by_riley = forger.signed("sam", &statement, &forger.sign("riley", &statement));
    let good = forger.signed("sam", &statement, &forger.sign("sam", &statement));
    // Straight into the store, past everything that would refuse it.
    let write = |drafts: &[Draft]| world.session.store().append_if_head(&Expect::default(), drafts).unwrap();
    write(&[by_riley]);
    write(std::slice::from_ref(&good));
    write(&[Draft { rid: "twice".into(), ..good.clone() }]);
    time.pass(Duration::from_secs(3600));
    let late = ApplyStatement { nonce: "ffeeddccbbaa99887766554433221100".parse().unwrap(), ..statement };
    write(&[forger.signed("sam", &late, &forger.sign("sam", &late))]);
    let view = world.session.view().unwrap();
    let why: Vec<&str> = view.uncounted.iter().map(|uncounted| uncounted.why.as_str()).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert_eq!(why[0], "what was signed is another statement");
    assert!(why[1].contains("counts once"), "{why:?}");
    assert!(why[2].contains("it expired at"), "{why:?}");
    assert_eq!(view.appliers[&forger.run].len(), 1, "the good one counts");
}

/// A run of `dev` and `live` that sam signed for, and that stopped before it had begun either.
async fn stopped(world: &World) -> RunId {
    let plan = approved(world, &["dev", "live"]).await;
    let options = with_key(world, "sam");
    let stop = options.stop.clone();
    let stops = move |progress| {
        if matches!(progress, Progress::RunStarted { .. }) {
            stop.cancel();
        }
    };
    let options = ApplyOptions { progress: Arc::new(stops), ..options };
    let report = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(report.outcome, None, "{report:?}");
    assert_eq!((world.current("dev"), world.current("live")), (None, None));
    report.run
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_resumes_a_run_signs_for_what_it_has_not_begun_and_for_nothing_else_s6_4_s6_6() {
    let (world, _) = world().await;
    let run = stopped(&world).await;
    // Sam's word was for the process that they began; the rest goes on without a signature, under any name.
    let refused = world.session_as("riley").resume(&run, world.options()).await.unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), ("apply-unsigned", exit::DENIED), "{refused}");
    assert!(matches!(&refused, EngineError::ApplyUnsigned { run: Some(named), .. } if *named == run), "{refused:?}");
    assert_eq!((world.current("dev").is_some(), world.current("live")), (true, None));
    // The one approver does not go on with it either, and the run is still there to be resumed.
    let before = kinds(&world);
    let refused = world.session_as("sam").resume(&run, with_key(&world, "riley")).await.unwrap_err();
    assert_eq!(refused.code(), "approval-refused", "{refused}");
    assert_eq!(kinds(&world), before, "nothing was written");
    // A fourth person does. No new approval is needed.
    let report = world.session.resume(&run, with_key(&world, "alex")).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    let signers = |who: &World| who.session.view().unwrap().appliers[&run].iter().map(|a| a.by.to_string()).collect();
    let both: Vec<String> = signers(&world);
    assert_eq!(both, ["sam", "alex"]);
    assert_eq!(world.deployed("live", "service"), "live runs 1.0.0\n");
    // A second resume changes nothing (S9.5), and asks for no signature.
    let size = kinds(&world).len();
    world.session.resume(&run, with_key(&world, "sam")).await.unwrap();
    assert_eq!(kinds(&world).len(), size);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_somebody_who_signed_for_the_run_does_not_count_in_it_s6_4() {
    let (world, _) = world().await;
    let run = stopped(&world).await;
    let plan = world.session.view().unwrap().runs[&run].plan;
    let bytes = world.session.store().get_blob(&plan).unwrap().unwrap();
    let (document, _) = Document::from_bytes(&bytes).unwrap();
    // Alex signs for the run, which then stops again; then riley takes their approval back, and alex gives one.
    let options = with_key(&world, "alex");
    options.stop.cancel();
    world.session.resume(&run, options).await.unwrap();
    world.session.record_approval(&document, &plan, &world.sign(&document, Decision::Revoke), &[], None).unwrap();
    let envelope = serde_json::to_value(alex_says_yes(&world, &document)).unwrap();
    let mut yes = world.session.draft(Event::ApprovalRecorded { envelope });
    yes.plan = Some(plan);
    world.session.append(&Expect::default(), &[yes]).unwrap();
    let refused = world.session.resume(&run, with_key(&world, "sam")).await.unwrap_err();
    assert_eq!(refused.code(), "approval-refused", "{refused}");
    assert_eq!(world.current("live"), None);
    assert_eq!(world.session.view().unwrap().runs[&run].finished, None, "another approval would help");
}

fn alex_says_yes(world: &World, plan: &Document) -> Envelope {
    let alex = &world.keys["alex"];
    let no = Statement::from_bytes(world.sign(plan, Decision::Reject).statement.as_bytes()).unwrap();
    let key = alex.public_key().fingerprint().clone();
    alex.sign(&Statement { decision: Decision::Approve, key, ..no }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_is_finished_by_anybody_s16() {
    let (world, _) = world().await;
    let plan = approved(&world, &["live"]).await;
    let options = with_key(&world, "sam");
    let stop = options.stop.clone();
    let stops = move |progress| {
        if matches!(progress, Progress::PromotionStarted { .. }) {
            stop.cancel();
        }
    };
    let options = ApplyOptions { progress: Arc::new(stops), ..options };
    let report = world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!((report.outcome, world.current("live")), (None, None), "{report:?}");
    let report = world.session_as("riley").resume(&report.run, world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    assert_eq!(world.deployed("live", "service"), "live runs 1.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_applies_may_change_nothing_about_who_asks_or_approves_s6_4() {
    let (world, _) = world().await;
    let plan = world.plan("live").await;
    // Whoever approves, or asks, does not apply yet: neither needs a signature of an applier.
    let digest = plan.digest().unwrap();
    let asking = world.session_as("riley");
    asking.request(&plan, digest, None).await.unwrap();
    let view = world.session.view().unwrap();
    let weighed = world.session.weigh(&view, &plan, &digest, &world.sign(&plan, Decision::Approve), &[]).unwrap();
    assert!(weighed.standings.values().all(promo_core::approval::Evaluation::satisfied), "{weighed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_nobody_can_apply_any_more_is_told_as_that_before_a_signature_is_asked_for() {
    let (world, _) = world().await;
    let plan = approved(&world, &["live"]).await;
    assert_eq!(apply(&world.session, &plan, with_key(&world, "sam")).await.unwrap(), exit::DONE);
    assert_eq!(apply(&world.session, &plan, world.options()).await.unwrap_err().code(), "plan-spent");
}
