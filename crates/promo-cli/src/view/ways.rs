//! The commands that lead on from how an environment stands: what ends a hold, and what mends what runs there. One definition for
//! every screen. What must not live here: how it is drawn.

use promo_core::Digest;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::ledger::view::{Promotion, Said};
use promo_core::model::Check;
use promo_engine::Session;

use super::NextCommand;
use super::standing::Cause;
use crate::error::{CliError, command_line};

/// The command that ends a freeze or a pause, of all where no environment is named.
pub(super) fn unfreeze(session: &Session, name: Option<&EnvironmentName>) -> String {
    let key = session.governance().policy.iter().flat_map(|_| ["--key", "KEY"]);
    let name = name.map(EnvironmentName::as_str);
    command_line(["promo", "unfreeze"].into_iter().chain(name).chain(["--reason", "…"]).chain(key))
}

/// What a person does about an environment that a promotion left behind. What was cancelled, could not be deployed, or was not
/// looked at is done again; from what a check saw fail there is a way back, or a newer release. What was rejected since enters no
/// more, so that what leads on goes round it.
pub(super) fn way_out(
    session: &Session,
    view: &View,
    name: &EnvironmentName,
    promotion: &Promotion,
    (cancelled, cause, went_back): (bool, Cause, bool),
) -> Result<String, CliError> {
    let (here, to) = (view.current(name).map(|r| &r.release), &promotion.to);
    // What was mended, or put back, since enters before the release is left.
    if promo_engine::other_configuration(view, name, promotion).is_some()
        && session.reconfigured(view).is_ok_and(|names| names.get(name) == Some(&false))
    {
        return Ok(command_line(["promo", "plan", name.as_str(), "--out", &own_file(name)]));
    }
    let graph = &session.governance().graph;
    let free = |id: &&ReleaseId| view.quarantine(id, name, graph).is_none();
    let back = promotion.movement == Movement::Rollback;
    if back && here != Some(to) && free(&to) {
        return Ok(command_line(["promo", "rollback", name.as_str(), "--to", to.as_str(), "--out", "back.plan.json"]));
    }
    // It went back, and did not get there, or what is there now was not seen to be good: what failed is no way out of it.
    if went_back {
        if let Some(here) = here.filter(|here| *here != to).filter(free) {
            return Ok(enter(name, here));
        }
        if let Some(back) = way_back(session, view, name) {
            return Ok(back);
        }
    }
    if let Some(here) = here.filter(|here| *here != to && cause == Cause::Check).filter(free) {
        return Ok(enter(name, here));
    }
    let older = here.is_some_and(|here| view.lineage(here) > view.lineage(to));
    if (cancelled || back || cause != Cause::Check) && free(&to) && !older {
        return Ok(enter(name, to));
    }
    if let Some(back) = way_back(session, view, name) {
        return Ok(back);
    }
    let newer = eligibility::candidate(&session.governance().rules(), view, name, session.present()?);
    let other = newer.as_ref().or(here.filter(|here| *here != to).filter(free));
    Ok(other.map_or_else(|| new_release(session), |id| enter(name, id)))
}

/// The file that a plan of one environment is saved in: whoever types what several screens propose keeps every plan.
pub(crate) fn own_file(name: &EnvironmentName) -> String {
    format!("{name}.plan.json")
}

/// The command that plans a release by name.
fn enter(name: &EnvironmentName, release: &ReleaseId) -> String {
    let file = own_file(name);
    command_line(["promo", "plan", name.as_str(), "--release", release.as_str(), "--out", &file])
}

/// The command that plans the way back from what runs in an environment, where there is one.
pub(crate) fn way_back(session: &Session, view: &View, name: &EnvironmentName) -> Option<String> {
    let (rules, here) = (session.governance().rules(), &view.current(name)?.release);
    if !eligibility::left_half_way(&rules, view, name) {
        eligibility::rollback_targets(&rules, view, name, here).next()?;
    }
    Some(command_line(["promo", "rollback", name.as_str(), "--out", "back.plan.json"]))
}

/// What the command that ends a hold is for.
pub(crate) fn ends_it(ends: &str) -> &'static str {
    match ends.split(' ').nth(1) {
        Some("rollback") => "plans the way back, which ends the hold once it is applied",
        Some("release") => "adds a release that mends it",
        _ => "plans what ends the hold once it is applied",
    }
}

/// What leads on where what runs in an environment was rejected since: a newer release that can enter, the way back, one that is on
/// its way, or one that is still to be added; and the end of the quarantine, where the release was not at fault. Nothing where it was
/// not rejected.
pub(crate) fn instead(session: &Session, view: &View, name: &EnvironmentName) -> Result<Vec<NextCommand>, CliError> {
    let say = |command: String, why: String| NextCommand { command, why };
    let Some(here) = view.current(name).map(|current| &current.release) else { return Ok(Vec::new()) };
    let Some((scope, _)) = view.quarantine(here, name, &session.governance().graph) else { return Ok(Vec::new()) };
    let newer = eligibility::candidate(&session.governance().rules(), view, name, session.present()?);
    let newer = newer.map(|id| say(enter(name, &id), format!("plans a newer release into {name}")));
    let back = way_back(session, view, name);
    let back = back.map(|back| say(back, format!("plans the way back of {name} from what was rejected")));
    let mut out: Vec<NextCommand> = newer.into_iter().chain(back).collect();
    if out.is_empty() {
        // What is on its way is waited for, before another one is built.
        let lineage = view.lineage(here);
        let later = view.releases.iter().rev().take_while(|entry| entry.lineage > lineage);
        let mut later = later.map(|entry| &entry.release.id);
        let arriving = later.find(|id| view.quarantine(id, name, &session.governance().graph).is_none());
        out.push(arriving.map_or_else(
            || say(new_release(session), "adds a newer release".into()),
            |id| {
                let why = command_line(["promo", "why", name.as_str(), id.as_str()]);
                say(why, format!("says what keeps a newer release out of {name}"))
            },
        ));
    }
    out.push(say(lift(session, here, scope.as_ref()), "lifts the quarantine, if the release was not at fault".into()));
    Ok(out)
}

/// The command that lifts a quarantine.
pub(crate) fn lift(session: &Session, release: &ReleaseId, scope: Option<&EnvironmentName>) -> String {
    let place = scope.into_iter().flat_map(|scope| ["--environment", scope.as_str()]);
    let key = session.governance().policy.iter().flat_map(|_| ["--key", "KEY"]);
    let words = ["promo", "release", "lift", release.as_str()].into_iter().chain(place);
    command_line(words.chain(["--reason", "…"]).chain(key))
}

/// The command that ends the recall of a digest.
pub(crate) fn end_recall(session: &Session, digest: &Digest) -> String {
    let (digest, key) = (digest.to_string(), session.governance().policy.iter().flat_map(|_| ["--key", "KEY"]));
    command_line(["promo", "release", "lift", &digest, "--reason", "…"].into_iter().chain(key))
}

/// What leads on where a check of what runs in an environment does not hold, best first; nothing where all hold. `looked` where
/// what is there was compared with what was deployed.
pub(crate) fn open_checks(session: &Session, view: &View, name: &EnvironmentName, looked: bool) -> Vec<NextCommand> {
    let say = |words: &[&str], why: String| NextCommand { command: command_line(words.iter().copied()), why };
    let pipeline = &session.governance().pipeline;
    let (Some(environment), Some(current)) = (pipeline.environments.get(name), view.current(name)) else {
        return Vec::new();
    };
    let checks = eligibility::verification(view, name, environment, &current.release).checks;
    let mut open = checks.iter().filter(|(_, status)| !matches!(status, CheckStatus::Passed { .. }));
    let manual = |check: &CheckName| matches!(pipeline.checks.get(check), Some(Check::Manual { .. }));
    let again = || say(&["promo", "verify", name.as_str()], "runs its checks again".into());
    match open.clone().find(|(check, _)| !manual(check)).or_else(|| open.next()) {
        None => Vec::new(),
        Some((check, status)) if manual(check) => {
            let pass = say(
                &["promo", "verdict", "pass", name.as_str(), check.as_str(), "--key", "KEY"],
                format!("says that {check} passed, where it did"),
            );
            // Somebody looked, and said no: what mends that comes before their taking it back.
            match status {
                CheckStatus::Failed => vec![mends(session, view, name), pass],
                _ => vec![pass],
            }
        }
        // Only a plan looks at the place: somebody may have changed there what the check saw.
        Some((_, CheckStatus::Failed)) if !looked => {
            let look = NextCommand {
                command: look_at(session, view, name, &current.release),
                why: "looks whether what is there is what was deployed".into(),
            };
            vec![look, again()]
        }
        // What passed as it stands and failed once may be the fault of the check; what failed twice is not gone round again.
        Some((check, CheckStatus::Failed)) if failed_once(view, name, &current.release, check) => {
            vec![again(), mends(session, view, name)]
        }
        Some((_, CheckStatus::Failed)) => vec![mends(session, view, name), again()],
        Some(_) => vec![again()],
    }
}

/// The command that plans with a look at what is there: by name, which puts it back, where a plan without one would speak of a newer
/// release that was there, or is barred from there (S3.3).
pub(crate) fn look_at(session: &Session, view: &View, name: &EnvironmentName, here: &ReleaseId) -> String {
    match newer_that_was_there(session, view, name, here) {
        true => enter(name, here),
        false => command_line(["promo", "plan", name.as_str()]),
    }
}

/// Whether the newest release is not what runs in an environment, and enters it no more by itself: it was there, or it was rejected.
pub(crate) fn newer_that_was_there(session: &Session, view: &View, name: &EnvironmentName, here: &ReleaseId) -> bool {
    let newest = view.releases.last().map(|entry| &entry.release.id).filter(|newest| *newest != here);
    newest.is_some_and(|newest| {
        view.environment(name).is_some_and(|known| known.fired.contains(newest))
            || view.quarantine(newest, name, &session.governance().graph).is_some()
    })
}

/// Whether the verdict before the latest one of a check was that it passed.
fn failed_once(view: &View, name: &EnvironmentName, release: &ReleaseId, check: &CheckName) -> bool {
    let known = view.environment(name).and_then(|known| known.verdicts.get(release)?.get(check));
    let before = known.and_then(|verdicts| verdicts.iter().rev().nth(1));
    before.is_some_and(|verdict| verdict.said == Said::Passed)
}

/// What leads on where a check failed and what is there is what was deployed: the way back, or a newer release.
fn mends(session: &Session, view: &View, name: &EnvironmentName) -> NextCommand {
    let back = way_back(session, view, name).map(|command| NextCommand {
        command,
        why: format!("plans the way back of {name} from what failed its check"),
    });
    back.unwrap_or_else(|| NextCommand { command: new_release(session), why: "adds a release that mends it".into() })
}

/// The command that adds the next release, with every artifact that it needs; where one is forming, the one that goes on with that.
pub(crate) fn new_release(session: &Session) -> String {
    if session.view().is_ok_and(|view| session.forming(&view).is_some()) {
        return "promo release add --newest --wait".to_owned();
    }
    let artifacts: Vec<String> =
        session.governance().pipeline.artifacts.keys().map(|name| format!("{name}=TAG")).collect();
    command_line(["promo", "release", "add"].into_iter().chain(artifacts.iter().map(String::as_str)))
}
