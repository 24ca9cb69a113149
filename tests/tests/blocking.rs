//! A ledger that blocks holds up only whoever asked it: every test runs on one worker thread.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use promo_core::ledger::event::RunOutcome;
use promo_core::plan::Request;
use promo_engine::{ApplyOptions, Fate, PLAN_LIFETIME, Progress};
use promo_sdk::Clock;
use promo_tests::small;
use promo_tests::watched_store::WatchedStore;
use promo_tests::world::{Setup, Time, World};
use tokio::sync::{mpsc, oneshot, watch};

/// `dev`, then `left` and `right` side by side.
const FORK: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
[environments.left]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/left" }
[environments.right]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/right" }
"#;

fn fork(setup: Setup) -> World {
    let pipeline = small::pipeline("fork", FORK);
    World::of_files(&[("promo.toml", &pipeline), ("service.j2", "of {{ environment }}\n")], setup)
}

/// How long a call waits for what must come; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

type Ask = (&'static str, std::sync::mpsc::Sender<()>);

/// A world whose ledger does nothing before a task of the runtime let it.
fn asking() -> (World, mpsc::UnboundedReceiver<Ask>) {
    let (asks, asked) = mpsc::unbounded_channel::<Ask>();
    let before = move |call| {
        let (answer, answered) = std::sync::mpsc::channel();
        // Nobody is asked once the test is over.
        if asks.send((call, answer)).is_ok() {
            answered.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("`{call}` holds up the only worker"));
        }
    };
    let time = Time::at("2026-01-05T10:00:00Z");
    let store = WatchedStore { inner: Arc::new(time.ledger()), before: Box::new(before), read: None };
    let setup = Setup { store: Some(Arc::new(store)), ..time.setup() };
    (fork(setup), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_call_of_a_ledger_that_blocks_holds_up_another_task() {
    let (world, mut asked) = asking();
    let lets = tokio::spawn(async move {
        let mut calls = BTreeSet::new();
        while let Some((call, answer)) = asked.recv().await {
            calls.insert(call);
            let _ = answer.send(());
        }
        calls
    });
    let world = tokio::spawn(async move {
        world.release("1.0.0").await;
        let reports = world.session.advance(world.options()).await.unwrap().reports;
        assert_eq!(reports.iter().map(|r| r.outcome).collect::<Vec<_>>(), [Some(RunOutcome::Done); 2]);
        world
    });
    drop(world.await.unwrap());
    let calls = lets.await.unwrap();
    for call in ["append_if_head", "head", "raw", "now", "put_blob", "get_blob", "acquire", "release"] {
        assert!(calls.contains(call), "{call} was never waited for: {calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_waits_for_another_reader_of_the_ledger_holds_up_nobody() {
    let (world, mut asked) = asking();
    let (first, second) = (world.session.clone(), world.session.clone());
    let first = tokio::spawn(async move { first.view() });
    let lets = tokio::spawn(async move {
        // The first one holds what it has folded, and the second one wants it.
        let (_, answer) = asked.recv().await.unwrap();
        let (begins, begun) = oneshot::channel();
        let second = tokio::spawn(async move {
            begins.send(()).unwrap();
            second.view()
        });
        // On the only worker this goes on once the second one has let go of it.
        begun.await.unwrap();
        answer.send(()).unwrap();
        while let Some((_, answer)) = asked.recv().await {
            let _ = answer.send(());
        }
        second.await.unwrap()
    });
    assert_eq!(first.await.unwrap().unwrap().size, 0);
    drop(world);
    assert_eq!(lets.await.unwrap().unwrap().size, 0);
}

/// Sleeps end when the test moves the time; which were begun is told.
struct Sleeps {
    time: Time,
    now: watch::Sender<jiff::Timestamp>,
    begun: watch::Sender<BTreeSet<Duration>>,
}

impl Sleeps {
    fn pass(&self, duration: Duration) {
        self.time.pass(duration);
        self.now.send_replace(self.time.now());
    }

    async fn begun(&self, wanted: [Duration; 2]) {
        let mut begun = self.begun.subscribe();
        let all = begun.wait_for(|begun| wanted.iter().all(|w| begun.contains(w)));
        tokio::time::timeout(PATIENCE, all).await.expect("it sleeps").unwrap();
    }
}

#[async_trait::async_trait]
impl Clock for Sleeps {
    fn now(&self) -> jiff::Timestamp {
        self.time.now()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.time.now() + duration;
        self.begun.send_modify(|begun| {
            begun.insert(duration);
        });
        let mut now = self.now.subscribe();
        now.wait_for(|now| *now >= until).await.expect("the clock outlives its sleepers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s9_4_a_ledger_that_gives_no_answer_stops_the_run_before_its_lease_lapses() {
    let time = Time::at("2026-01-05T10:00:00Z");
    let sleeps = Arc::new(Sleeps {
        time: time.clone(),
        now: watch::Sender::new(time.now()),
        begun: watch::Sender::new(BTreeSet::new()),
    });
    // Closed once the first step has begun: whatever is asked of the ledger then hangs.
    let door = Arc::new((Mutex::new(false), Condvar::new()));
    let (hangs, mut hanging) = mpsc::unbounded_channel();
    let before = {
        let door = door.clone();
        move |call| {
            let (closed, opens) = &*door;
            let closed = closed.lock().unwrap();
            if *closed {
                hangs.send(call).unwrap();
                let waited = opens.wait_timeout_while(closed, PATIENCE, |closed| *closed).unwrap();
                assert!(!waited.1.timed_out(), "`{call}` hangs and nothing stops the run");
            }
        }
    };
    let ledger: Arc<dyn promo_ledger::Store> = Arc::new(time.ledger());
    let store = WatchedStore { inner: ledger.clone(), before: Box::new(before), read: None };
    let setup = Setup {
        store: Some(Arc::new(store)),
        clock: sleeps.clone(),
        lease: Some(Duration::from_secs(60)),
        ..Setup::default()
    };
    let world = fork(setup);
    world.release("1.0.0").await;
    let request =
        Request { until: Some("left".parse().unwrap()), environments: BTreeSet::new(), ..world.request("dev") };
    let plan = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves.len(), 2);

    let closes = door.clone();
    let options = ApplyOptions {
        progress: Arc::new(move |said| {
            if matches!(said, Progress::StepStarted { .. }) {
                *closes.0.lock().unwrap() = true;
            }
        }),
        ..world.options()
    };
    let (session, stop, digest) = (world.session.clone(), options.stop.clone(), plan.digest().unwrap());
    let run = tokio::spawn(async move { session.apply(&plan, digest, options).await });
    assert_eq!(hanging.recv().await, Some("head"), "what the intent of the first step is to follow");
    let (quarter, two_thirds) = (Duration::from_secs(15), Duration::from_secs(40));
    sleeps.begun([quarter, two_thirds]).await;
    sleeps.pass(quarter);
    assert_eq!(hanging.recv().await, Some("renew"));
    sleeps.pass(two_thirds - quarter - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert!(!stop.is_cancelled(), "not before two thirds");
    sleeps.pass(Duration::from_millis(1));
    tokio::time::timeout(PATIENCE, stop.cancelled()).await.expect("the run stops by itself");
    assert!(!ledger.leases().unwrap().is_empty(), "nobody else can have begun");

    *door.0.lock().unwrap() = false;
    door.1.notify_all();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.outcome, None, "it can be resumed");
    assert!(report.environments.iter().all(|(_, _, fate)| *fate == Fate::Interrupted), "{report:?}");
    assert!(ledger.leases().unwrap().is_empty(), "what it held is given back");
}
