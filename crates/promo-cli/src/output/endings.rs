//! How a promotion, and a run, stand or ended: the one place of these words, for every screen. What must not live here: what
//! becomes of it next.

use std::borrow::Cow;

use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::view::{Promotion, Run};
use promo_engine::Session;

use crate::escape::line;
use crate::output::labels::Label;

/// Where one that has ended since the ledger was read is told as it was then.
const UNDER_WAY: (&str, Label) = ("is under way", Label::Waiting);

/// How a run that has no end, and what it moves, stands: by [`crate::view::standing::OpenRunView::stands`].
pub(crate) fn open(state: Option<&str>) -> (&'static str, Label) {
    match state {
        None | Some("alive") => UNDER_WAY,
        Some("stale") => ("was interrupted, and goes no further", Label::Bad),
        Some("interrupted") => ("was interrupted, and can be resumed", Label::Waiting),
        Some(_) => ("has stopped without ending", Label::Bad),
    }
}

/// How a run ended; of a drill nothing is taken back but brought back.
pub(crate) const fn run(outcome: RunOutcome, drill: bool) -> (&'static str, Label) {
    match outcome {
        RunOutcome::RolledBack if drill => ("failed as a drill, and what ran is there again", Label::Bad),
        RunOutcome::Held if drill => ("did not come back from a drill and is held for a person", Label::Bad),
        RunOutcome::Done => ("is done", Label::Good),
        RunOutcome::Waiting => ("has ended, and a part of it waits", Label::Waiting),
        RunOutcome::RolledBack => ("failed and was rolled back", Label::Bad),
        RunOutcome::Held => ("failed and is held for a person", Label::Bad),
        RunOutcome::Stuck => ("is stuck: a person has to look", Label::Bad),
        RunOutcome::Cancelled => ("was cancelled", Label::Waiting),
    }
}

/// Where checks passed that promo runs, and those of people are open: nothing after it counts it as verified.
const BY_ITSELF: (&str, Label) = ("passed the checks that promo runs, and not those of people", Label::Waiting);

/// What a person went back to.
const BACK: (&str, Label) = ("is back, and verified", Label::Good);

/// How a promotion ended, by itself, by how its run ended, by whether that run had begun to go back, and by whether checks
/// that people answer are `open`.
pub(crate) const fn promotion(
    outcome: PromotionOutcome,
    run: Option<RunOutcome>,
    went_back: bool,
    open: bool,
) -> (&'static str, Label) {
    match outcome {
        PromotionOutcome::Verified if open => BY_ITSELF,
        PromotionOutcome::Verified => ("is verified", Label::Good),
        PromotionOutcome::RolledBack => ("failed and was rolled back", Label::Bad),
        // What a cancelled run left half-way did not fail.
        PromotionOutcome::Held if matches!(run, Some(RunOutcome::Cancelled)) => {
            ("was cancelled half-way and is held for a person", Label::Bad)
        }
        PromotionOutcome::Held if went_back => ("failed, as did going back, and is held for a person", Label::Bad),
        PromotionOutcome::Held => ("failed and is held for a person", Label::Bad),
        PromotionOutcome::Stuck => ("is stuck: a person has to look", Label::Bad),
        PromotionOutcome::Cancelled => ("was cancelled before anything was changed", Label::Waiting),
    }
}

/// How a drill ended, by itself, by how its run ended, and by whether its way back worked, where that is known.
pub(crate) const fn drill(
    outcome: PromotionOutcome,
    run: Option<RunOutcome>,
    passed: Option<bool>,
) -> (&'static str, Label) {
    match (outcome, passed) {
        (PromotionOutcome::Verified, Some(true)) => ("went back, came again and is verified", Label::Good),
        (PromotionOutcome::Verified, _) => ("could not go back as a drill, and is verified again", Label::Bad),
        (PromotionOutcome::Held, _) if matches!(run, Some(RunOutcome::Cancelled)) => {
            ("was cancelled half-way through a drill and is held for a person", Label::Bad)
        }
        (PromotionOutcome::Held | PromotionOutcome::RolledBack, _) => {
            ("did not come back from a drill and is held for a person", Label::Bad)
        }
        (PromotionOutcome::Stuck, _) => ("is stuck in a drill: a person has to look", Label::Bad),
        (PromotionOutcome::Cancelled, _) => ("was to go back as a drill, and nothing was changed", Label::Waiting),
    }
}

/// Names more of the files of a configuration than this are counted.
const NAMED: usize = 3;

/// Another configuration of a release, by the files in which it differs, where they are known.
pub(crate) fn another(files: &[String]) -> String {
    let (named, more) = files.split_at(files.len().min(NAMED));
    let named = named.iter().map(|file| line(file)).collect::<Vec<_>>().join(", ");
    match (files.len(), more.len()) {
        (0, _) => "another configuration".to_owned(),
        (_, 0) => format!("another configuration ({named})"),
        (_, more) => format!("another configuration ({named} and {more} more)"),
    }
}

/// The same of one that holds its environment no more.
pub(crate) fn over(words: Cow<'static, str>) -> Cow<'static, str> {
    let now = [("is held for a person", "was held for a person"), ("is stuck", "was stuck")];
    match now.iter().find(|(is, _)| words.contains(is)) {
        Some((is, was)) => words.replace(is, was).into(),
        None => words,
    }
}

/// How a promotion ended, of what brought another configuration: that failed, and not the release.
pub(crate) fn brought(
    (words, kind): (&'static str, Label),
    configuration: Option<&[String]>,
) -> (Cow<'static, str>, Label) {
    let told = configuration.and_then(|files| {
        let another = || another(files);
        let failed = words.strip_prefix("failed").map(|rest| format!("failed with {}{rest}", another()));
        failed.or_else(|| {
            words
                .strip_prefix("was cancelled half-way")
                .map(|rest| format!("was cancelled half-way to {}{rest}", another()))
        })
    });
    (told.map_or(Cow::Borrowed(words), Cow::Owned), kind)
}

/// How a promotion of this ledger ended, where nothing beside it says that it brought another configuration.
pub(crate) fn told(
    session: &Session,
    view: &View,
    name: &EnvironmentName,
    promotion: &Promotion,
    outcome: PromotionOutcome,
) -> (Cow<'static, str>, Label) {
    let configuration = promo_engine::other_configuration(view, name, promotion);
    brought(of(session, view, name, promotion, outcome), configuration.as_deref())
}

/// The same where that is said beside it.
pub(crate) fn of(
    session: &Session,
    view: &View,
    name: &EnvironmentName,
    promotion: &Promotion,
    outcome: PromotionOutcome,
) -> (&'static str, Label) {
    let run = view.runs.get(&promotion.run);
    let ended = run.and_then(|run| run.finished).map(|(_, outcome)| outcome);
    if let Some(drill) = &promotion.drill {
        return self::drill(outcome, ended, drill.turned.as_ref().map(|turned| turned.passed));
    }
    let open = !session.unspoken(view, name, &promotion.to).is_empty();
    // Beside others it is no success of what came before it.
    if (outcome, promotion.movement, open) == (PromotionOutcome::Verified, Movement::Rollback, false) {
        return BACK;
    }
    self::promotion(outcome, ended, run.is_some_and(|run| went_back(run, name)), open)
}

/// Whether a run tries a way back.
pub(crate) fn is_drill(view: &View, id: &RunId, run: &Run) -> bool {
    let known = run.environments.keys().filter_map(|name| view.environment(name));
    known.flat_map(|known| known.history.iter().chain(&known.active)).any(|p| p.run == *id && p.drill.is_some())
}

/// Whether a run began to take an environment back to what it was.
pub(crate) fn went_back(run: &Run, name: &EnvironmentName) -> bool {
    run.steps.keys().any(|step| is_way_back(step, name))
}

/// Whether a step is one of the way back that a run takes by itself.
pub(crate) fn is_way_back(step: &str, name: &EnvironmentName) -> bool {
    step.strip_prefix(name.as_str()).is_some_and(|step| step.starts_with("/rollback/"))
}
