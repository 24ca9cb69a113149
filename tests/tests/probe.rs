//! The `probe` during real runs (S1.3, S9.5): it asks while a deployment is under way, what fails then takes the release back,
//! and a run that was resumed says what nobody saw.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::record::DETAIL;
use promo_engine::{Fate, PLAN_LIFETIME, Progress, RunReport};
use promo_providers::directory::Directory;
use promo_sdk::{
    Context, Description, EnsureAnswer, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider, ProviderError,
    Settled, State,
};
use promo_tests::world::{Setup, World};

const PIPELINE: &str = r#"
format = 1
[pipeline]
name = "probed"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[checks.downtime]
probe = { url = "ADDRESS", every = "1s" }
[environments.dev]
tier   = "development"
target = { directory = "environments/dev" }
verify = ["downtime"]
deploy.directory = { templates = ["service.j2"] }
"#;

/// What is deployed, as its users see it: a server, and how long a deployment takes.
#[derive(Default)]
struct Site {
    requests: AtomicU64,
    /// Whether it answers with an error.
    down: AtomicBool,
    /// Whether it goes down while it is deployed to.
    falls: AtomicBool,
    /// Whether the next wait for it is broken off.
    breaks: AtomicBool,
}

impl Site {
    fn open() -> (Arc<Self>, String) {
        let (site, listener) = (Arc::new(Self::default()), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, served) = (format!("http://{}/", listener.local_addr().unwrap()), site.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                let _ = stream.read(&mut [0; 2048]);
                let status = if served.down.load(Ordering::SeqCst) { "502 Bad Gateway" } else { "200 OK" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                served.requests.fetch_add(1, Ordering::SeqCst);
            }
        });
        (site, address)
    }

    /// Returns once so many more requests have been answered.
    async fn answers(&self, more: u64) {
        let wanted = self.requests.load(Ordering::SeqCst) + more;
        while self.requests.load(Ordering::SeqCst) < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// `deploy.directory`, whose deployments run after two requests have been made meanwhile.
struct Slow(Arc<Site>);

#[async_trait]
impl Provider for Slow {
    fn describe(&self) -> Description {
        Directory.describe()
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        Directory.observe(cx, request).await
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        Directory.preview(cx, request).await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        Directory.ensure(cx, request).await
    }

    async fn settle(&self, _cx: &Context, _request: &ObserveRequest) -> Result<Settled, ProviderError> {
        let site = &self.0;
        if site.breaks.swap(false, Ordering::SeqCst) {
            site.answers(1).await;
            return Err(ProviderError::new(ErrorKind::Transient, "the connection broke"));
        }
        let falls = site.falls.swap(false, Ordering::SeqCst);
        site.down.store(falls, Ordering::SeqCst);
        site.answers(2).await;
        site.down.store(false, Ordering::SeqCst);
        Ok(Settled::default())
    }
}

fn world() -> (World, Arc<Site>) {
    let (site, address) = Site::open();
    let mut providers = promo_providers::builtin();
    providers.retain(|provider| provider.describe().name != "directory");
    providers.push(Arc::new(Slow(site.clone())));
    let files = [("promo.toml", PIPELINE), ("service.j2", "{{ artifacts.shop.tag }}\n")];
    let setup = Setup { providers, replace: vec![("ADDRESS".into(), address)], ..Setup::default() };
    (World::of_files(&files, setup), site)
}

async fn apply(world: &World, version: &str) -> RunReport {
    world.release(version).await;
    let plan = world.plan("dev").await;
    world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap()
}

fn outcome(mut report: RunReport) -> (PromotionOutcome, String) {
    match report.environments.remove(0).2 {
        Fate::Ended { outcome, why } => (outcome, why.unwrap_or_default()),
        fate => panic!("{fate:?}"),
    }
}

/// What the probe said, by the last verdict.
fn said(world: &World) -> String {
    let store = world.session.store();
    let records = store.records(0, usize::MAX).unwrap();
    let last = records.iter().rev().find(|record| record.kind == "verdict.recorded").unwrap();
    store.sides(last.seq).unwrap().into_iter().find(|side| side.field == DETAIL).unwrap().text
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_while_the_deployment_is_under_way_and_what_fails_then_takes_the_release_back() {
    let (world, site) = world();
    assert_eq!(outcome(apply(&world, "1.0.0").await).0, PromotionOutcome::Verified);
    let seen = site.requests.load(Ordering::SeqCst);
    assert!(seen >= 3, "two while it was deployed, and one when it ran: {seen}");
    assert!(said(&world).starts_with(&format!("0 of {seen} requests")), "{}", said(&world));
    // It is well before and after, and not meanwhile.
    site.falls.store(true, Ordering::SeqCst);
    let (outcome, why) = outcome(apply(&world, "2.0.0").await);
    assert_eq!(outcome, PromotionOutcome::RolledBack, "{why}");
    assert!(why.contains("downtime failed: ") && why.contains("found 502"), "{why}");
    assert_eq!(world.deployed("dev", "service"), "1.0.0\n");
    assert!(said(&world).starts_with("0 of "), "the way back is looked at too: {}", said(&world));
    // Its deployment is over: it is not asked again.
    assert!(world.session.verify_again(&"dev".parse().unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_run_that_is_resumed_says_what_nobody_saw() {
    let (world, site) = world();
    site.breaks.store(true, Ordering::SeqCst);
    let broken = apply(&world, "1.0.0").await;
    assert_eq!(broken.outcome, None, "{broken:?}");
    let resumed = world.session.resume(&broken.run, world.options()).await.unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Done), "{resumed:?}");
    assert!(said(&world).contains("the run was resumed: of 1 steps 0 had been taken and 1 begun"), "{}", said(&world));
}

const SMOKE: &str = "#!/bin/sh\ntest ! -e \"$PROMO_TARGET_DIRECTORY.broken\"\n";

/// What was seen on the way back is on record: the process that comes after has seen nothing of it, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_run_that_is_resumed_once_it_was_back_does_not_look_again() {
    let (site, address) = Site::open();
    let checked = PIPELINE.replace("verify = [\"downtime\"]", "verify = [\"downtime\", \"smoke\"]");
    let smoke = "[checks.smoke]\ncommand = { run = [\"smoke.sh\"], files = [\"smoke.sh\"] }\n[environments.dev]";
    let pipeline = checked.replace("[environments.dev]", smoke);
    let files = [("promo.toml", &*pipeline), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", SMOKE)];
    let mut providers = promo_providers::builtin();
    providers.retain(|provider| provider.describe().name != "directory");
    providers.push(Arc::new(Slow(site.clone())));
    let setup = Setup { providers, replace: vec![("ADDRESS".into(), address)], ..Setup::default() };
    let world = World::of_files(&files, setup);
    assert_eq!(outcome(apply(&world, "1.0.0").await).0, PromotionOutcome::Verified);
    // Another configuration of the same release, which passes the probe and not the other check.
    std::fs::write(world.path("service.j2"), "{{ artifacts.shop.tag }} anew\n").unwrap();
    let broken = world.path("environments/dev.broken");
    std::fs::write(&broken, "").unwrap();
    let session = world.session_as("dana");
    let plan = session.plan(world.request("dev"), PLAN_LIFETIME).await.unwrap();
    assert_eq!(plan.body.moves[0].movement, Movement::Reconfiguration, "{plan:?}");
    let (mut options, stop) = (world.options(), world.options().stop);
    options.stop = stop.clone();
    let passes = AtomicU64::new(0);
    options.progress = Arc::new(move |said| match said {
        Progress::RollingBack { .. } => std::fs::remove_file(&broken).unwrap(),
        // Once on the way there, once on the way back.
        Progress::CheckDone { check, passed: true, .. }
            if check.as_str() == "downtime" && passes.fetch_add(1, Ordering::SeqCst) == 1 =>
        {
            stop.cancel();
        }
        _ => {}
    });
    let stopped = session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!(stopped.outcome, None, "{stopped:?}");
    let asked = site.requests.load(Ordering::SeqCst);
    let resumed = world.session.resume(&stopped.run, world.options()).await.unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::RolledBack), "{resumed:?}");
    assert_eq!(site.requests.load(Ordering::SeqCst), asked, "nobody looks any more");
    assert_eq!(world.deployed("dev", "service"), "1.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_4_an_environment_that_is_watched_by_a_probe_alone_is_not_begun() {
    let (site, address) = Site::open();
    let watched = PIPELINE.replace("verify = [\"downtime\"]", "verify = [\"downtime\"]\nwatch = \"5m\"");
    let files = [("promo.toml", watched.as_str()), ("service.j2", "{{ artifacts.shop.tag }}\n")];
    let world = World::of_files(&files, Setup { replace: vec![("ADDRESS".into(), address)], ..Setup::default() });
    world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    let told = format!("{:?} {:?}", plan.body.moves, plan.body.stays);
    assert!(told.contains("name a check that can be asked again"), "{told}");
    assert_eq!(site.requests.load(Ordering::SeqCst), 0);
}
