//! What fails for good, what is stopped or cancelled, and what somebody changes meanwhile.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_that_fails_is_held_and_may_be_repeated_by_name() {
    let cell = Cell::new(&PAIR);
    let release = cell.world.release("1.0.0").await;
    cell.faults.fail_check("dev/smoke");
    let plan = cell.world.plan("dev").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Held), exit::HELD));
    assert_eq!(cell.current("dev"), Some(release.clone()));
    cell.assert_sound("held", true);
    // Automation leaves it alone; a person asks by name (S3.3).
    assert!(cell.plan_all().await.body.moves.is_empty());
    let resumed = cell.resume(&cell.later(), &report.run).await.unwrap().unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Held), "a resume does not try again");
    // Naming the environment alone repeats nothing; naming the release deploys again what runs there and failed.
    assert!(cell.world.plan("dev").await.body.moves.is_empty());
    cell.faults.pass_check("dev/smoke");
    let plan = cell.plan_with(Some(release.clone()), Some(name("dev")), Invoker::Human).await;
    assert_eq!(plan.body.moves.iter().map(|m| &m.to.id).collect::<Vec<_>>(), [&release]);
    let report = cell.apply(&cell.later(), &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
    // What is good is not repeated, also by name (S8.5).
    let plan = cell.plan_with(Some(release), Some(name("dev")), Invoker::Human).await;
    assert!(plan.body.moves.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_fails_is_held_with_both_reasons() {
    let (cell, _, second) = Cell::with_first(&PAIR).await;
    cell.faults.fail_check("dev/smoke");
    let plan = cell.plan_until("stage").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Held));
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = fate(&report, "dev") else {
        panic!("{report:?}")
    };
    assert!(why.contains("the rollback failed") && why.matches("smoke failed").count() == 2, "{why}");
    assert!(matches!(fate(&report, "stage"), Fate::NotStarted { .. }));
    // Only a rollback that worked quarantines by itself.
    assert!(!cell.world.session.view().unwrap().quarantines.contains_key(&(second, Some(name("dev")))));
    cell.assert_sound("held", true);
    cell.assert_settled("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_failure_hold_leaves_the_failed_release_for_a_person() {
    let pipeline = PAIR.replace("start = \"auto\"\n", "start = \"auto\"\non_failure = \"hold\"\n");
    let (cell, _, second) = Cell::with_first(&pipeline).await;
    cell.faults.fail_check(format!("dev/smoke/{second}"));
    let plan = cell.world.plan("dev").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Held));
    assert_eq!(cell.current("dev"), Some(second));
    cell.assert_sound("held", true);
    cell.assert_settled("held");
}

#[tokio::test(flavor = "multi_thread")]
async fn independent_branches_go_on_and_what_depends_on_the_failed_one_does_not_start() {
    let (cell, first, second) = Cell::with_first(&FORK).await;
    cell.faults.fail_check(format!("left/smoke/{second}"));
    let plan = cell.plan_until("join").await;
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{report:?}");
    assert_eq!(ended(&report, "left"), PromotionOutcome::RolledBack);
    assert_eq!(ended(&report, "right"), PromotionOutcome::Verified);
    let Fate::NotStarted { why, .. } = fate(&report, "join") else { panic!("{report:?}") };
    assert!(why.contains("left"), "{why}");
    assert_eq!((cell.current("left"), cell.current("right")), (Some(first.clone()), Some(second.clone())));
    assert_eq!(cell.current("join"), Some(first));
    cell.assert_sound("forked", true);
    cell.assert_settled("forked");
    // What is behind the good branch alone goes on (S9.7).
    let plan = cell.plan_all().await;
    let moves: Vec<&str> = plan.body.moves.iter().map(|m| m.environment.as_str()).collect();
    assert_eq!(moves, ["far"]);
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(cell.current("far"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_steps_end_begins_nothing_new_and_is_resumed() {
    let (cell, _, second) = Cell::with_first(&FORK).await;
    let plan = cell.plan_until("join").await;
    let mut options = cell.world.options();
    let (stop, said) = (options.stop.clone(), cell.world.said.clone());
    said.lock().unwrap().clear();
    options.progress = Arc::new(move |p| {
        if matches!(&p, Progress::StepStarted { environment, .. } if environment.as_str() == "left") {
            stop.cancel();
        }
        said.lock().unwrap().push(p);
    });
    let report = cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
    // The step that had begun was finished and recorded; the second target of `left` was not touched.
    let live = |place: &str| std::fs::read_to_string(cell.world.path(&format!("environments/{place}/current/service")));
    assert_eq!(live("left-one").unwrap(), "left runs 2.0.0\n");
    assert_eq!(live("left-two").unwrap(), "left runs 1.0.0\n");
    assert!(matches!(fate(&report, "join"), Fate::Interrupted));
    assert!(cell.world.session.view().unwrap().runs[&report.run].interrupted);
    cell.assert_sound("stopped", false);
    // Nothing waits for a lease: a stopped run gives it back.
    let other = cell.world.session_as("riley");
    let resumed = cell.resume(&other, &report.run).await.unwrap().unwrap();
    assert_eq!(resumed.outcome, Some(RunOutcome::Done), "{resumed:?}");
    assert_eq!(cell.current("join"), Some(second));
    cell.assert_sound("resumed", true);
    cell.assert_settled("resumed");
}

/// Where a stop comes while something fails, and what is left to do then.
async fn stopped(at: fn(&Progress) -> bool) -> (Cell, ReleaseId, RunReport) {
    let (cell, first, second) = Cell::with_first(&FORK).await;
    cell.faults.fail_check(format!("left/smoke/{second}"));
    let plan = cell.plan_until("left").await;
    let mut options = cell.world.options();
    let stop = options.stop.clone();
    options.progress = Arc::new(move |p| {
        if at(&p) {
            stop.cancel();
        }
    });
    let report = cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    (cell, first, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_5_a_stop_begins_no_way_back_nor_goes_on_with_one_and_a_resume_does() {
    let begins: fn(&Progress) -> bool =
        |p| matches!(p, Progress::CheckStarted { environment, .. } if environment.as_str() == "left");
    let goes_on: fn(&Progress) -> bool =
        |p| matches!(p, Progress::StepStarted { step, .. } if step == "left/rollback/deploy/one");
    for (at, lives) in [(begins, ["2.0.0", "2.0.0"]), (goes_on, ["1.0.0", "2.0.0"])] {
        let (cell, first, report) = stopped(at).await;
        assert_eq!((report.outcome, report.exit_code()), (None, exit::TRANSIENT), "{report:?}");
        assert!(matches!(fate(&report, "left"), Fate::Interrupted), "{report:?}");
        let live = |place: &str| {
            std::fs::read_to_string(cell.world.path(&format!("environments/{place}/current/service"))).unwrap()
        };
        let expected = lives.map(|version| format!("left runs {version}\n"));
        assert_eq!([live("left-one"), live("left-two")], expected);
        assert!(cell.world.session.view().unwrap().runs[&report.run].interrupted);
        cell.assert_sound("stopped", false);
        // What had failed is on record: the resume goes back, and does not try again.
        let resumed = cell.resume(&cell.world.session_as("riley"), &report.run).await.unwrap().unwrap();
        assert_eq!(resumed.outcome, Some(RunOutcome::RolledBack), "{resumed:?}");
        assert_eq!(cell.current("left"), Some(first));
        cell.assert_sound("resumed", true);
        cell.assert_settled("resumed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_hand_between_two_steps_is_not_overwritten() {
    let (cell, first, second) = Cell::with_first(&FORK).await;
    let plan = cell.world.plan("dev").await;
    cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    let plan = cell.world.plan("left").await;
    assert_eq!(plan.body.moves[0].steps.len(), 2);
    let file = cell.world.path("environments/left-two/current/service");
    let mut options = cell.world.options();
    let by_hand = file.clone();
    options.progress = Arc::new(move |p| {
        if matches!(&p, Progress::StepDone { step, .. } if step == "left/deploy/one") {
            std::fs::write(&by_hand, "somebody was here\n").unwrap();
        }
    });
    let report = cell.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
    // The first target went back; what somebody else made of the second one is for a person to judge (S9.6).
    let Fate::Ended { outcome: PromotionOutcome::Held, why: Some(why) } = fate(&report, "left") else {
        panic!("{report:?}")
    };
    assert!(why.contains("environments/left-two holds sha256:"), "{why}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody was here\n");
    let one = std::fs::read_to_string(cell.world.path("environments/left-one/current/service")).unwrap();
    assert_eq!(one, "left runs 1.0.0\n");
    assert_eq!(cell.current("left"), Some(first));
    assert_ne!(cell.current("dev"), cell.current("left"));
    assert_eq!(cell.current("dev"), Some(second));
    cell.assert_sound("held", true);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_holds_what_was_touched_and_frees_what_was_not() {
    for (point, outcome) in
        [("append after promotion.started", PromotionOutcome::Cancelled), ("ensure after", PromotionOutcome::Held)]
    {
        promo_tests::faults::hush();
        let (clean, ..) = Cell::with_first(&PAIR).await;
        let plan = clean.plan_until("stage").await;
        clean.faults.arm(usize::MAX, Mode::Die);
        clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
        let nth = clean.faults.passed().iter().position(|p| p.name == point).unwrap() + 1;

        let (cell, _, second) = Cell::with_first(&PAIR).await;
        let plan = cell.plan_until("stage").await;
        // A ledger dies by a panic, a provider without a word.
        cell.faults.arm(nth, if point.starts_with("append") { Mode::Panic } else { Mode::Die });
        let _ = cell.apply(&cell.world.session, &plan).await;
        let run = cell.run_of(&plan).unwrap();
        let report = cell.later().cancel(&run).await.unwrap();
        assert_eq!((report.outcome, report.exit_code()), (Some(RunOutcome::Cancelled), exit::STALE));
        assert_eq!(ended(&report, "dev"), outcome);
        assert!(matches!(fate(&report, "stage"), Fate::NotStarted { .. }));
        cell.assert_sound(point, false);
        // It has ended: it is neither resumed nor cancelled again, and a person can ask for the release once more.
        let size = cell.store.head().unwrap().size;
        let resumed = cell.resume(&cell.later(), &run).await.unwrap().unwrap();
        assert_eq!(resumed.outcome, Some(RunOutcome::Cancelled));
        let again = cell.later().cancel(&run).await.unwrap_err();
        assert_eq!(again.code(), "request-invalid");
        assert_eq!(cell.store.head().unwrap().size, size);
        // S3.3: what was tried is not repeated by itself, and is when it is asked for by name.
        assert!(cell.plan_until("stage").await.body.moves.is_empty());
        let plan = cell.plan_with(Some(second), Some(name("stage")), Invoker::Human).await;
        let report = cell.apply(&cell.later(), &plan).await.unwrap().unwrap();
        assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
        cell.assert_sound(point, false);
        cell.assert_settled(point);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_record_that_was_refused_leaves_it_open_whether_the_run_began() {
    let cell = Cell::new(&PAIR);
    cell.world.release("1.0.0").await;
    let plan = cell.world.plan("dev").await;
    cell.faults.arm(usize::MAX, Mode::Die);
    cell.world.plan("dev").await;
    cell.faults.arm(cell.faults.passed().len() + 1, Mode::Fail(ErrorKind::Failed));
    let lost = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap_err();
    assert_eq!(cell.faults.fired().unwrap().name, "append before run.started", "{lost:?}");
    let EngineError::Began { recorded: false, .. } = lost else { panic!("{lost:?}") };
    assert_eq!(cell.run_of(&plan), None);
    let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done), "the same plan can be applied");
}

/// The providers of a user, with effects that nothing tells about.
struct Opaque(Arc<dyn Provider>);

#[async_trait::async_trait]
impl Provider for Opaque {
    fn describe(&self) -> Description {
        Description { effects: EffectClass::Opaque, ..self.0.describe() }
    }
    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        self.0.observe(cx, request).await
    }
    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        self.0.preview(cx, request).await
    }
    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        self.0.ensure(cx, request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_provider_that_panics_leaves_the_run_stuck_unless_its_work_is_seen_s9_3() {
    promo_tests::faults::hush();
    for (point, outcome, code) in
        [("ensure before", RunOutcome::Stuck, exit::STUCK), ("ensure after", RunOutcome::Done, exit::DONE)]
    {
        let opaque = || {
            let (time, faults) = (Time::at("2026-03-02T09:00:00Z"), Faults::default());
            let store: Arc<dyn Store> = Arc::new(time.ledger());
            let providers = promo_providers::builtin().into_iter().map(|provider| match provider.describe() {
                directory if directory.name == "directory" => Arc::new(Opaque(provider)) as Arc<dyn Provider>,
                _ => provider,
            });
            let setup = Setup {
                store: Some(faults.store(store.clone())),
                providers: faults.providers(providers.collect()),
                clock: Arc::new(time.clone()),
                ..Setup::default()
            };
            let files = [
                ("promo.toml", PAIR.as_str()),
                ("service.j2", TEMPLATE),
                ("config/dev.env", ""),
                ("config/stage.env", ""),
            ];
            Cell { world: World::of_files(&files, setup), faults, time, store }
        };
        let clean = opaque();
        clean.world.release("1.0.0").await;
        let plan = clean.world.plan("dev").await;
        assert_eq!(plan.body.inputs["effects of directory"], "opaque");
        clean.faults.arm(usize::MAX, Mode::Die);
        clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
        let nth = clean.faults.passed().iter().position(|p| p.name == point).unwrap() + 1;

        let cell = opaque();
        cell.world.release("1.0.0").await;
        let plan = cell.world.plan("dev").await;
        cell.faults.arm(nth, Mode::Panic);
        let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
        assert_eq!(cell.faults.fired().unwrap().name, point);
        assert_eq!((report.outcome, report.exit_code()), (Some(outcome), code), "{report:?}");
        if let Fate::Ended { why: Some(why), .. } = fate(&report, "dev") {
            assert!(why.contains("cannot be told") && why.contains("broke its contract in `ensure`"), "{why}");
        }
        let size = cell.store.head().unwrap().size;
        assert_eq!(cell.resume(&cell.later(), &report.run).await.unwrap().unwrap().outcome, Some(outcome));
        assert_eq!(cell.store.head().unwrap().size, size, "a resume guesses nothing");
    }
}
