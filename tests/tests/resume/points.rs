//! A fault at every point that a run passes, and a resume.

use super::*;

/// How a plan over `dev` and `stage` must end after a fault and a resume.
fn expected(point: &Point, mode: Mode, touched: bool) -> RunOutcome {
    match (point.name.as_str(), mode) {
        // What died, or was told to stop, goes on; what is only unreachable for now does too (S13.6).
        (_, Mode::Die | Mode::Fail(ErrorKind::Cancelled)) => RunOutcome::Done,
        ("observe" | "ensure before" | "verify", Mode::Fail(ErrorKind::Transient)) => RunOutcome::Done,
        (name, _) if name.starts_with("append") => RunOutcome::Done,
        // From here on a panic of a provider is an error like the others.
        // No data is never a pass (S1.3): a check that would fail again in the same way has failed.
        ("verify", _) => RunOutcome::RolledBack,
        ("ensure before", _) => RunOutcome::RolledBack,
        // Success is what observe says, not what the tool said (S9.2).
        ("ensure after", _) => RunOutcome::Done,
        // Before anything was touched the plan is given up; afterwards it is a failure.
        ("observe", _) if !touched => RunOutcome::Cancelled,
        ("observe", _) => RunOutcome::RolledBack,
        other => panic!("{other:?}"),
    }
}

/// What is tried at a point. Before the run has its first record every fault is the same; a ledger knows two.
fn modes(point: &Point, began: bool) -> Vec<Mode> {
    match point.name.as_str() {
        name if name.starts_with("append before") => vec![Mode::Fail(ErrorKind::Failed)],
        name if name.starts_with("append after") => vec![Mode::Panic],
        _ if !began => vec![Mode::Fail(ErrorKind::Transient)],
        _ => vec![
            Mode::Die,
            Mode::Panic,
            Mode::Fail(ErrorKind::Cancelled),
            Mode::Fail(ErrorKind::Transient),
            Mode::Fail(ErrorKind::Failed),
        ],
    }
}

/// Every point that `work` passes, and what to try there.
fn cells(points: &[Point]) -> Vec<(usize, Mode)> {
    let mut began = false;
    let mut out = Vec::new();
    for (index, point) in points.iter().enumerate() {
        out.extend(modes(point, began).into_iter().map(|mode| (index + 1, mode)));
        began |= point.name == "append after run.started";
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_at_any_point_a_resume_brings_the_run_to_its_documented_end() {
    promo_tests::faults::hush();
    let (clean, ..) = Cell::with_first(&PAIR).await;
    let plan = clean.plan_until("stage").await;
    assert_eq!(plan.body.moves.len(), 2);
    clean.faults.arm(usize::MAX, Mode::Die);
    let report = clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    let points = clean.faults.passed();
    for name in ["observe", "ensure before", "ensure after", "verify", "append before run.started"] {
        assert!(points.iter().any(|p| p.name == name), "{name} is never passed: {points:?}");
    }
    for (nth, mode) in cells(&points) {
        let (cell, first, second) = Cell::with_first(&PAIR).await;
        let plan = cell.plan_until("stage").await;
        cell.faults.arm(nth, mode);
        let _ = cell.apply(&cell.world.session, &plan).await;
        let point = cell.faults.fired().unwrap_or_else(|| panic!("nothing happened at {nth}"));
        let at = format!("{mode:?} at {nth}, {} of {}", point.name, point.about);
        cell.assert_sound(&at, false);
        let began = cell.run_of(&plan);
        let touched = cell.touched(&plan);
        let report = cell.finish(&plan, &at).await;
        cell.assert_sound(&at, true);
        cell.assert_settled(&at);
        let outcome = match began {
            // Before the first record nothing has happened, and the same plan can be applied (S9.1).
            None => RunOutcome::Done,
            Some(_) => expected(&point, mode, touched),
        };
        assert_eq!(report.outcome, Some(outcome), "{at}: {report:?}");
        let wanted = if outcome == RunOutcome::Done { &second } else { &first };
        assert_eq!(cell.current("stage").as_ref(), Some(wanted), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_dies_anywhere_is_finished_by_a_resume() {
    promo_tests::faults::hush();
    let failing = async || {
        let (cell, first, second) = Cell::with_first(&PAIR).await;
        cell.faults.fail_check(format!("stage/smoke/{second}"));
        let plan = cell.plan_until("stage").await;
        (cell, plan, first, second)
    };
    let (clean, plan, ..) = failing().await;
    clean.faults.arm(usize::MAX, Mode::Die);
    let report = clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    assert_eq!(report.exit_code(), exit::ROLLED_BACK, "{report:?}");
    let points = clean.faults.passed();
    let failed = points.iter().rposition(|p| p.name == "append before verdict.recorded").unwrap();
    let failed = points[..failed].iter().rposition(|p| p.name == "append before verdict.recorded").unwrap();
    for nth in failed + 1..=points.len() {
        let (cell, plan, first, second) = failing().await;
        cell.faults.arm(nth, Mode::Die);
        let _ = cell.apply(&cell.world.session, &plan).await;
        let point = cell.faults.fired().unwrap();
        let at = format!("death at {nth}, {} of {}", point.name, point.about);
        let report = cell.finish(&plan, &at).await;
        assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "{at}: {report:?}");
        cell.assert_sound(&at, true);
        cell.assert_settled(&at);
        assert_eq!((cell.current("dev"), cell.current("stage")), (Some(second.clone()), Some(first)), "{at}");
        // S10.4: in quarantine once, and paused.
        let view = cell.world.session.view().unwrap();
        assert!(view.quarantines.contains_key(&(second, Some(name("stage")))), "{at}");
        assert!(view.pauses.contains_key(&Some(name("stage"))), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_that_cannot_be_seen_for_a_moment_is_interrupted_and_not_given_up_s13_6() {
    let failing = async || {
        let (cell, first, second) = Cell::with_first(&PAIR).await;
        cell.faults.fail_check(format!("stage/smoke/{second}"));
        let plan = cell.plan_until("stage").await;
        (cell, plan, first)
    };
    let (clean, plan, _) = failing().await;
    clean.faults.arm(usize::MAX, Mode::Die);
    clean.apply(&clean.world.session, &plan).await.unwrap().unwrap();
    let points = clean.faults.passed();
    let verdicts = points.iter().enumerate().filter(|(_, p)| p.name == "append after verdict.recorded");
    let failed = verdicts.map(|(at, _)| at).nth(1).expect("dev passed, stage failed");
    let looks: Vec<usize> = (failed..points.len()).filter(|at| points[*at].name == "observe").collect();
    assert!(looks.len() >= 2, "{points:?}");
    for at in looks {
        let (cell, plan, first) = failing().await;
        cell.faults.arm(at + 1, Mode::Fail(ErrorKind::Transient));
        let report = cell.apply(&cell.world.session, &plan).await.unwrap().unwrap();
        assert_eq!(cell.faults.fired().unwrap().name, "observe");
        // The last look only confirms what was done; the others decide nothing until they succeed.
        if report.outcome.is_none() {
            assert_eq!(report.exit_code(), exit::TRANSIENT);
        }
        assert_ne!(report.outcome, Some(RunOutcome::Held), "look {at}: {report:?}");
        let report = cell.finish(&plan, "a look").await;
        assert_eq!(report.outcome, Some(RunOutcome::RolledBack), "look {at}: {report:?}");
        assert_eq!(cell.current("stage"), Some(first));
        cell.assert_sound("a look", true);
        cell.assert_settled("a look");
    }
}
