//! The lock of a process that died, or may have.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_holds_its_lock_until_the_lease_ends_and_no_longer() {
    let faults = Faults::default();
    let setup = Setup {
        providers: faults.providers(promo_providers::builtin()),
        lease: Some(Duration::from_millis(1500)),
        ..Setup::default()
    };
    let world = World::of_files(
        &[("promo.toml", &PAIR), ("service.j2", TEMPLATE), ("config/dev.env", "A=1\n"), ("config/stage.env", "A=2\n")],
        setup,
    );
    let release = world.release("1.0.0").await;
    let plan = world.plan("dev").await;
    faults.arm(usize::MAX, Mode::Die);
    let digest = plan.digest().unwrap();
    // Planning again passes as many points as planning did; the next one is the first of the run itself.
    world.plan("dev").await;
    let planning = faults.passed().len();
    faults.arm(planning + 1, Mode::Die);
    let (session, options) = (world.session.clone(), world.options());
    let mut process = tokio::spawn(async move { session.apply(&plan, digest, options).await });
    tokio::select! {
        ended = &mut process => panic!("{ended:?}"),
        () = faults.died() => process.abort(),
    }
    let _ = process.await;
    faults.disarm();
    let other = world.session_as("riley");
    let run = other.view().unwrap().runs.keys().next().unwrap().clone();
    // What was a process there is a task here, so its death cannot be proven. Waiting for it can be stopped,
    let impatient = world.options();
    let stop = impatient.stop.clone();
    let impatient = ApplyOptions { progress: Arc::new(move |_| stop.cancel()), ..impatient };
    let stopped = other.resume(&run, impatient).await.unwrap_err();
    assert_eq!((stopped.code(), stopped.exit_code()), ("stopped", exit::TRANSIENT), "{stopped}");
    // and says who holds what until when.
    world.said.lock().unwrap().clear();
    let report = other.resume(&run, world.options()).await.unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(world.current("dev"), Some(release));
    let said = world.said.lock().unwrap();
    let Progress::WaitingForLock { resource, holder, until } = &said[0] else { panic!("{said:?}") };
    assert_eq!(resource, "environment pair/dev");
    assert!(holder.starts_with(&format!("{run}/")), "{holder}");
    assert!(*until <= other.now().unwrap(), "it was not waited for");
    assert_eq!(said.iter().filter(|p| matches!(p, Progress::WaitingForLock { .. })).count(), 1);
}

/// A run that died after its first record, and the lock that it left, in the name of `holder`.
async fn abandoned(holder: &str) -> (Cell, RunId, promo_ledger::Lease) {
    promo_tests::faults::hush();
    let cell = Cell::new(&PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    cell.faults.arm(usize::MAX, Mode::Die);
    cell.world.plan("dev").await;
    // Planning once more, then the first record.
    let nth = cell.faults.passed().len() + 2;
    cell.faults.arm(nth, Mode::Fail(ErrorKind::Failed));
    let lost = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap_err();
    assert_eq!(cell.faults.fired().unwrap().name, "append after run.started", "{lost:?}");
    let run = cell.run_of(&plan).unwrap();
    // The error names the run, and that it has begun.
    assert_eq!((lost.code(), lost.exit_code()), ("run-began", exit::LEDGER_IO));
    assert_eq!(lost.to_string(), format!("the ledger did not answer when run {run} began: it has begun"));
    let resources = ["environment pair/dev".to_string()];
    let lease = cell.store.acquire(&resources, &format!("{run}/{holder}"), Duration::from_secs(60)).unwrap();
    (cell, run, lease)
}

/// How this process appears in the lock of a run that it works at, in its parts.
async fn own_process() -> Vec<String> {
    let cell = Cell::new(&PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    let (store, holder) = (cell.store.clone(), Arc::new(std::sync::Mutex::new(String::new())));
    let (mut options, kept) = (cell.world.options(), holder.clone());
    options.progress = Arc::new(move |p| {
        if matches!(p, Progress::PromotionStarted { .. }) {
            *kept.lock().unwrap() = store.leases().unwrap()[0].holder.clone();
        }
    });
    cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    let holder = holder.lock().unwrap();
    holder.split('@').nth(1).unwrap().split(':').map(String::from).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_process_that_is_gone_from_this_machine_is_taken_at_once() {
    let mut process = own_process().await;
    process[2] = u32::MAX.to_string();
    // The time of this ledger stands still: whoever waited would wait for ever.
    let (cell, run, dead) = abandoned(&format!("uuid@{}", process.join(":"))).await;
    let report = cell.resume(&cell.world.session_as("riley"), &run).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert!(!cell.world.said.lock().unwrap().iter().any(|p| matches!(p, Progress::WaitingForLock { .. })));
    // Whatever the dead one would still write is refused by its epoch.
    let records = cell.store.records(0, usize::MAX).unwrap();
    let epochs = records.iter().filter_map(|r| r.epoch).collect::<Vec<_>>();
    assert!(*epochs.last().unwrap() > dead.epoch, "{epochs:?} against {}", dead.epoch);
    assert!(cell.store.leases().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lives_or_was_elsewhere_keeps_its_lock_while_it_renews_it() {
    let process = own_process().await;
    let elsewhere = [&["00000000-0000-0000-0000-000000000000".to_string()], &process[1..]].concat();
    for holder in [process, elsewhere] {
        let (cell, run, lease) = abandoned(&format!("uuid@{}", holder.join(":"))).await;
        let (store, time, options) = (cell.store.clone(), cell.time.clone(), cell.world.options());
        let renews = ApplyOptions {
            progress: Arc::new(move |_| {
                time.pass(Duration::from_secs(15));
                store.renew(&lease, Duration::from_secs(60)).unwrap();
            }),
            ..options
        };
        let error = cell.world.session_as("riley").resume(&run, renews).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("locked", exit::WAITING), "{error}");
    }
}
