//! `promo unfreeze [ENV…]`: lifts a freeze, or the pause after a rollback. Here is also how any lift is signed.

use std::path::PathBuf;

use clap::Args;
use promo_core::eligibility;
use promo_core::ids::EnvironmentName;
use promo_core::windows::Invoker;
use promo_engine::EngineError;
use promo_engine::lifts::Lift;

use super::approve::{SignerChoice, sign};
use crate::cli::Global;
use crate::error::{CliError, command_line};
use crate::exit::{DONE, Exit};
use crate::output::standing as words;
use crate::project::{self, Access, Project};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::answers::Unfrozen;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which; the freeze of all when none is named
    #[arg(value_name = "ENV")]
    environments: Vec<EnvironmentName>,
    /// Why
    #[arg(long, value_parser = crate::select::reason)]
    reason: String,
    #[command(flatten)]
    signing: Signing,
}

/// How a lift is signed.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// The key to sign with: a private key file, or the public one of a key that ssh-agent holds; needed under a policy
    #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
    key: Option<PathBuf>,
    /// Who signs
    #[arg(long, value_enum, default_value_t)]
    signer: SignerChoice,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    let environments = &arguments.environments;
    // A pause after a rollback is a freeze that promo itself began.
    let scopes: Vec<Option<EnvironmentName>> = match environments.as_slice() {
        [] => vec![None],
        names => names.iter().cloned().map(Some).collect(),
    };
    let stopped: Vec<bool> = project.session.with_view(|view| {
        let freezes = scopes.iter().filter_map(|scope| view.lifted_next(scope));
        freezes.map(|freeze| freeze.note.automatic).collect()
    })?;
    // A freeze of everything holds each of them, and is lifted as a whole.
    let whole = project.session.with_view(|view| {
        let free = environments.iter().find(|name| view.lifted_next(&Some((*name).clone())).is_none());
        free.cloned().zip(view.lifted_next(&None).map(|freeze| freeze.note.automatic))
    })?;
    if let Some((name, automatic)) = whole {
        project.session.known_environments([&name])?;
        let stopped = if automatic { "paused" } else { "frozen" };
        let message = format!(
            "{name} is {stopped} with everything else, and not by itself: `promo unfreeze` without a name lifts that"
        );
        let signed = project.session.governance().policy.iter().flat_map(|_| ["--key", "KEY"]);
        let words: Vec<&str> = ["promo", "unfreeze", "--reason", &arguments.reason].into_iter().chain(signed).collect();
        return Err(CliError::new("request-invalid", 65, message, "promo status").go_on_with(&words));
    }
    let typed = ["unfreeze"].into_iter().chain(environments.iter().map(EnvironmentName::as_str));
    lift(
        &project,
        Lift::Freeze { environments: environments.iter().cloned().collect() },
        &arguments.signing,
        &arguments.reason,
        typed.collect(),
    )
    .map_err(|error| rather_held(&project, global, environments, error))?;
    let next = match environments.as_slice() {
        [name] if tried(&project, name)? => command_line(["promo", "why", name.as_str()]),
        names => command_line(["promo", "plan"].into_iter().chain(names.iter().map(EnvironmentName::as_str))),
    };
    let answer = Unfrozen { environments: environments.clone(), next: ui.to_paste(&next) };
    let paused = project.session.with_view(|view| scopes.iter().any(|scope| view.pauses.contains_key(scope)))?;
    let words = match (stopped.contains(&true), stopped.contains(&false)) {
        (_, true) if paused => {
            "no longer frozen, and paused as before after a rollback, until it is unfrozen once more"
        }
        (true, false) => "no longer paused",
        (true, true) => "no longer frozen or paused",
        (false, _) => "no longer frozen",
    };
    super::freeze::told(ui, &answer, words, environments, &next);
    Ok(DONE)
}

/// Whether what would enter an environment was tried there before, so that a plan without its name refuses it (S3.3).
fn tried(project: &Project, name: &EnvironmentName) -> Result<bool, CliError> {
    let session = &project.session;
    let (view, present) = (session.view()?, session.present()?);
    let candidate = eligibility::candidate(&session.governance().rules(), &view, name, present);
    let fired = view.environment(name).zip(candidate).is_some_and(|(known, id)| known.fired.contains(&id));
    // A file that cannot be read is told of by whoever plans.
    Ok(fired && session.reconfigured(&view).unwrap_or_default().get(name) != Some(&false))
}

/// Of an environment in which nothing of the kind is to be lifted: that a promotion which did not end well holds it, and what ends
/// that. Nobody lifts such a hold.
pub(crate) fn rather_held(
    project: &Project,
    global: &Global,
    environments: &[EnvironmentName],
    error: CliError,
) -> CliError {
    let held = || -> Result<Option<(String, String)>, CliError> {
        let (session, zone) = (&project.session, ui::zone(global)?);
        let (view, now) = (session.view()?, session.now()?);
        let standing = Standing::of(session, &view)?;
        let mut holds = environments.iter().flat_map(|name| standing.holds_of(name));
        let hold = holds.find(|hold| hold.run.is_some());
        Ok(hold.map(|hold| (words::held(hold, now, &zone), hold.ends.clone())))
    };
    if error.problem().code != "request-invalid" {
        return error;
    }
    match held() {
        Ok(Some((held, ends))) => {
            let message = format!("{}: {held}", error.problem().message);
            error.said(&message).with_next(ends)
        }
        _ => error,
    }
}

/// Signs under a policy, and lifts. `words` are the command, without reason and key.
pub(crate) fn lift<'a>(
    project: &Project,
    what: Lift,
    signing: &Signing,
    reason: &'a str,
    mut words: Vec<&'a str>,
) -> Result<(), CliError> {
    crate::select::own_words(reason)?;
    let session = &project.session;
    let statement = session.lift_statement(what)?;
    let key = signing.key.as_deref().filter(|_| session.governance().policy.is_some());
    let bytes = statement.to_bytes()?;
    let signature =
        key.map(|key| sign(project, key, signing.signer, statement.lift.namespace(), &bytes)).transpose()?;
    match session.lift(&statement, signature.as_deref(), reason) {
        Err(error @ EngineError::Lift(_)) if signature.is_none() && session.invoker() == Invoker::Human => {
            words.insert(0, "promo");
            words.extend(["--reason", reason, "--key", "KEY"]);
            Err(CliError::from(error).go_on_with(&words))
        }
        lifted => Ok(lifted.map(|_| ())?),
    }
}
