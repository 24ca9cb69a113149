//! S8.2, S8.3: whatever is edited in a saved plan, and digested anew, apply refuses it, and says that it was edited.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use promo_core::ledger::Event;
use promo_core::plan::{Document, Request};
use promo_engine::{EngineError, Fate, PLAN_LIFETIME, Progress, exit};
use promo_ledger::Expect;
use promo_tests::world::{Time, World};
use serde_json::Value;

/// Parts of a plan that can be edited, because promo itself would write just that for somebody else, or at another moment
/// before the next record: who asked is shown as a claim, and how far times can be edited has a test of its own.
const FREE: [&str; 3] = ["/body/initiator", "/body/planned_at", "/body/expires"];

/// Parts that the present alone knows: what is there now may have changed since, or the plan may say something else. Such a plan
/// is refused as what it may be, and nobody gains anything by the edit.
const PRESENT: [(&str, &str); 10] = [
    ("/body/inputs", "plan-stale"),
    ("/body/request", "plan-stale"),
    ("/rollback/steps/", "plan-stale"),
    ("/drift/default/live", "plan-stale"),
    // What lies beside an artifact that is copied, and what could be gone back to, are seen as they are now.
    ("/steps/0/changes", "plan-stale"),
    ("/lost_target", "plan-stale"),
    ("/rollback/to", "plan-stale"),
    ("/further_targets", "plan-stale"),
    ("/body/ledger", "ledger-rewritten"),
    ("/body", "plan-elsewhere"),
];

/// Words that stand for something in a plan.
const WORDS: [&str; 24] = [
    "human",
    "automation",
    "promote",
    "rollback",
    "satisfied",
    "overridden",
    "deferred",
    "waiting",
    "expired",
    "refused",
    "development",
    "staging",
    "production",
    "dev",
    "qa",
    "promotion",
    "reconfiguration",
    "up-to-date",
    "held-back",
    "window-open",
    "not-frozen",
    "hold",
    "absent",
    "unknown",
];

/// A document with one thing changed: where, and what came of it.
fn edits(document: &Value) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    walk(document, String::new(), &mut paths);
    let mut out = Vec::new();
    for path in paths {
        let here = document.pointer(&path).unwrap();
        let mut put = |value: Value| {
            let mut edited = document.clone();
            *edited.pointer_mut(&path).unwrap() = value;
            out.push((path.clone(), edited));
        };
        match here {
            Value::Null => put("x".into()),
            Value::Bool(said) => put((!said).into()),
            Value::Number(number) => {
                let number = number.as_u64().unwrap();
                put((number + 1).into());
                put(number.saturating_sub(1).into());
            }
            Value::String(text) => {
                let (rest, last) = text.split_at(text.len().saturating_sub(1));
                put(format!("{rest}{}", if last == "0" { "1" } else { "0" }).into());
                if let Ok(at) = text.parse::<jiff::Timestamp>() {
                    for seconds in [-3_600, -1, 1, 3_600] {
                        put((at + jiff::SignedDuration::from_secs(seconds)).to_string().into());
                    }
                }
                if WORDS.contains(&text.as_str()) {
                    WORDS.iter().for_each(|word| put((*word).into()));
                }
            }
            Value::Array(items) => {
                for at in 0..items.len() {
                    let (mut less, mut more) = (items.clone(), items.clone());
                    less.remove(at);
                    more.insert(at, items[at].clone());
                    put(less.into());
                    put(more.into());
                }
                let mut turned = items.clone();
                turned.reverse();
                put(turned.into());
                put(items.iter().cloned().chain(["dev".into()]).collect());
            }
            Value::Object(entries) => {
                for key in entries.keys() {
                    let mut less = entries.clone();
                    less.remove(key);
                    put(less.into());
                }
                let mut more = entries.clone();
                more.insert("zz".into(), "1".into());
                put(more.into());
            }
        }
    }
    out.retain(|(_, edited)| edited != document);
    out
}

fn walk(value: &Value, path: String, paths: &mut Vec<String>) {
    paths.push(path.clone());
    let below: Vec<(String, &Value)> = match value {
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        walk(value, format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), paths);
    }
}

/// Edits that apply took for a plan of promo's, and how many were tried that are plans at all.
async fn taken(world: &World, plan: &Document) -> (Vec<(String, String)>, usize) {
    let honest = apply(world, plan).await;
    assert!(!refused(&honest), "{honest:?}");
    let (mut taken, mut tried) = (Vec::new(), 0);
    let whole = serde_json::to_value(plan).unwrap();
    for (path, edited) in edits(&whole) {
        let Ok(bytes) = promo_core::canonical::to_vec(&edited) else { continue };
        let Ok((document, _)) = Document::from_bytes(&bytes) else { continue };
        tried += 1;
        let result = apply(world, &document).await;
        let code = result.as_ref().map_or_else(EngineError::code, |()| "taken");
        let present = PRESENT.iter().any(|(part, said)| path.contains(part) && *said == code);
        // What was found to have drifted is no longer there to be compared.
        let present = present || (path == "/body/stays/0" && code == "plan-stale");
        // A way back that was taken out may be one that is not to be had.
        let ways = ["/body/moves/0/rollback", "/body/moves/0/further_targets", "/body/moves/0/lost_target"];
        let taken_out = ways.iter().any(|way| edited.pointer(way).is_none() && whole.pointer(way).is_some());
        let present = present || (path == "/body/moves/0" && code == "plan-stale" && taken_out);
        let present = present && !path.contains("generation of");
        if code != "plan-edited" && !present {
            let now = edited.pointer(&path).map(ToString::to_string).unwrap_or_default();
            taken.push((path, format!("{code}: {}", now.chars().take(80).collect::<String>())));
        }
    }
    (taken, tried)
}

/// Whether a plan was refused for what it says. One that only waits for its gates was believed.
fn refused(result: &Result<(), EngineError>) -> bool {
    match result {
        Ok(()) | Err(EngineError::Waiting { .. }) => false,
        Err(_) => true,
    }
}

/// Everything of an apply but the run.
async fn apply(world: &World, plan: &Document) -> Result<(), EngineError> {
    let options = world.options();
    options.stop.cancel();
    match world.session.apply(plan, plan.digest().unwrap(), options).await {
        Err(EngineError::Stopped) => Ok(()),
        Err(error) => Err(error),
        Ok(report) => panic!("{report:?}"),
    }
}

/// Production runs the first release, and the second is in staging.
async fn world() -> World {
    let world = World::with("quickstart", Time::at("2026-03-02T10:00:00Z").setup());
    world.release("1.0.0").await;
    world.session.advance(world.options()).await.unwrap();
    let plan = world.plan("production").await;
    world.ask(&plan).await;
    let mut options = world.options();
    options.approvals = vec![world.sign(&plan, promo_core::approval::Decision::Approve)];
    world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    world.release("1.1.0").await;
    world.session.advance(world.options()).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_edited_in_a_production_plan_is_refused_s8_3() {
    let world = world().await;
    let plan = world.plan("production").await;
    assert!(plan.body.moves[0].rollback.is_some() && plan.body.moves[0].needs_approval());
    let (taken, tried) = taken(&world, &plan).await;
    let taken: Vec<_> = taken.into_iter().filter(|(path, _)| !FREE.contains(&path.as_str())).collect();
    assert_eq!(taken, [], "of {tried}");
    assert!(tried > 300, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_edited_about_what_stays_is_refused_s8_3() {
    let world = world().await;
    world.release("1.2.0").await;
    for environment in ["dev", "qa"] {
        let plan = world.plan(environment).await;
        world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap();
    }
    world.release("1.3.0").await;
    std::fs::write(world.path("environments/staging/current/config/staging.env"), "WORKERS=99\n").unwrap();
    let request = Request {
        environments: ["dev", "staging", "production"].map(|e| e.parse().unwrap()).into(),
        ..world.request("dev")
    };
    let plan = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    let body = &plan.body;
    assert!(body.stays.iter().any(|s| !s.drift.is_empty()) && body.stays.iter().any(|s| s.next.is_some()), "{body:#?}");
    let (taken, tried) = taken(&world, &plan).await;
    let taken: Vec<_> = taken.into_iter().filter(|(path, _)| !FREE.contains(&path.as_str())).collect();
    assert_eq!(taken, [], "of {tried}");
}

/// S12.3: a request is a row that whoever can write the ledger writes. Unsigned, it makes an edited plan no truer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_signed_does_not_make_an_edited_plan_genuine_s8_3() {
    let world = world().await;
    let plan = world.plan("production").await;
    world.session.genuine(&plan, &plan.digest().unwrap()).await.unwrap();
    let mut edited = plan.clone();
    edited.body.moves[0].gates.pop();
    assert_ne!(edited, plan);
    let digest = edited.digest().unwrap();
    let store = world.session.store();
    store.put_blob(&edited.to_bytes().unwrap()).unwrap();
    let mut draft = world.session.draft(Event::PlanRequested {
        environments: ["production".parse().unwrap()].into(),
        expires: plan.body.expires,
        initiator: "dana".into(),
        by: None,
        signed: None,
    });
    draft.plan = Some(digest);
    world.session.append(&Expect::default(), &[draft]).unwrap();
    assert_eq!(world.session.genuine(&edited, &digest).await.unwrap_err().code(), "plan-edited");
}

/// A plan that no approval names can be given another time: it is then what promo would have written at that time, from the
/// same ledger, and lives no longer than a plan may.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_whose_times_are_edited_is_taken_where_promo_would_have_written_it_so_and_lives_a_day_at_most_s8_4() {
    let time = Time::at("2026-03-02T10:00:00Z");
    let world = World::with("quickstart", time.setup());
    world.release("1.0.0").await;
    let short = world.session.plan(world.request("dev"), jiff::SignedDuration::from_secs(1)).await.unwrap();
    let seconds = jiff::SignedDuration::from_secs;
    let edited = |later: i64, lives: i64| {
        let mut plan = short.clone();
        plan.body.planned_at += seconds(later);
        plan.body.expires = plan.body.planned_at + seconds(lives);
        plan
    };
    const DAY: i64 = 86_400;
    time.pass(std::time::Duration::from_secs(3_600));
    assert_eq!(apply(&world, &short).await.unwrap_err().code(), "plan-spent", "its second is over");
    apply(&world, &edited(0, DAY)).await.unwrap();
    apply(&world, &edited(3_600, DAY)).await.unwrap();
    for (later, lives) in [(0, DAY + 1), (3_631, DAY), (3_600, DAY + 1)] {
        assert_eq!(apply(&world, &edited(later, lives)).await.unwrap_err().code(), "plan-edited", "{later} {lives}");
    }
    // The next record ends that: from then on it is of an earlier time, and over a day after it.
    world.session.freeze(["production".parse().unwrap()].into(), "a test").unwrap();
    time.pass(std::time::Duration::from_secs(60));
    assert_eq!(apply(&world, &edited(3_660, DAY)).await.unwrap_err().code(), "plan-edited");
    time.pass(std::time::Duration::from_hours(24));
    assert_eq!(apply(&world, &edited(3_600, DAY)).await.unwrap_err().code(), "plan-spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_no_fold_would_take_is_not_written_under_a_lock_either() {
    let world = World::with("quickstart", Time::at("2026-03-02T10:00:00Z").setup());
    let store = world.session.store();
    let lease = store.acquire(&["dev".into()], "a test", std::time::Duration::from_secs(60)).unwrap();
    let mut draft = world.session.draft(Event::RunInterrupted {});
    draft.run = Some("never-started".parse().unwrap());
    draft.epoch = Some(lease.epoch);
    let expect = Expect { fences: vec![lease.fence()], ..Expect::default() };
    let illegal = world.session.append(&expect, std::slice::from_ref(&draft)).unwrap_err();
    assert_eq!(illegal.to_string(), "run never-started has not started");
    // A lock that was lost is told first.
    store.release(&lease).unwrap();
    assert_eq!(world.session.append(&expect, &[draft]).unwrap_err().code(), "lock-lost");
    assert_eq!(store.head().unwrap().size, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_begins_nothing_more_under_another_pipeline_and_finishes_what_it_began_s8_2() {
    let soak = "soak = { qa = \"10h\" }\nafter  = [\"qa\", \"perf\"] ";
    let world = World::with("quickstart", Time::at("2026-03-02T10:00:00Z").setup());
    let pipeline = world.path("promo.toml");
    let without = std::fs::read_to_string(&pipeline).unwrap();
    let with = without.replace("after  = [\"qa\", \"perf\"] ", soak);
    assert_ne!(with, without);
    std::fs::write(&pipeline, &with).unwrap();
    let session = world.session_as("dana");
    let release = world.release("1.0.0").await;
    let until = Some("staging".parse().unwrap());
    let request = Request { environments: [].into(), until, ..world.request("dev") };
    let plan = session.plan(request, PLAN_LIFETIME).await.unwrap();
    let mut options = world.options();
    let stop = options.stop.clone();
    options.progress = std::sync::Arc::new(move |said| {
        if matches!(said, Progress::CheckStarted { .. }) {
            stop.cancel();
        }
    });
    let stopped = session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(stopped.outcome, None, "{stopped:?}");
    // The soak is taken out of the way.
    std::fs::write(&pipeline, &without).unwrap();
    let session = world.session_as("dana");
    let resumed = session.resume(&stopped.run, world.options()).await.unwrap();
    assert_eq!(resumed.exit_code(), exit::STALE, "{resumed:?}");
    assert_eq!(world.current("dev"), Some(release));
    assert!(matches!(resumed.environments[0].2, Fate::Ended { .. }), "{resumed:?}");
    assert!(resumed.environments.len() > 1);
    for (environment, _, fate) in &resumed.environments[1..] {
        let Fate::NotStarted { why, .. } = fate else { panic!("{environment}: {fate:?}") };
        let stale = "the plan is stale: since it was made, this changed: pipeline";
        assert!(why == stale || (environment.as_str() == "staging" && why.ends_with("did not get there")), "{why}");
        assert_eq!(world.current(environment.as_str()), None);
    }
    assert_eq!(session.resume(&stopped.run, world.options()).await.unwrap().exit_code(), exit::STALE);
}
