//! `promo verdict pass|fail|withdraw ENV CHECK`: a person's verdict, signed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use promo_core::ids::{CheckName, EnvironmentName, RoleName};
use promo_core::model::Start;
use promo_core::planner;
use promo_engine::EngineError;
use promo_engine::verdicts::{VERDICT_NAMESPACE, VerdictDecision, VerdictKind, VerdictStatement, verdict_bytes};

use super::approve::{SignerChoice, sign};
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line, who};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access, Project};
use crate::select;
use crate::ui::Ui;
use crate::view::answers::VerdictRecorded;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What you say
    #[arg(value_enum)]
    decision: Choice,
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Which check
    #[arg(value_name = "CHECK")]
    check: CheckName,
    /// About this release instead of the one that runs there: its id, number or alias
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// The key to sign with
    #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
    key: PathBuf,
    /// Who signs
    #[arg(long, value_enum, default_value_t)]
    signer: SignerChoice,
    /// Why
    #[arg(long, value_parser = select::reason)]
    reason: Option<String>,
}

/// What a person says about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// It passed
    Pass,
    /// It failed
    Fail,
    /// The verdict before no longer stands
    Withdraw,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    arguments.reason.as_deref().map_or(Ok(()), select::own_words)?;
    let project = project::open(ui, global, Access::Write)?;
    project.session.known_environments([&arguments.environment])?;
    let view = project.session.view()?;
    let release = match &arguments.release {
        Some(text) => select::release(&view, text)?,
        None => view.current(&arguments.environment).map(|r| r.release.clone()).ok_or_else(|| {
            let message = format!("nothing was deployed to {} yet", arguments.environment);
            CliError::new("request-invalid", 65, message, "promo status")
        })?,
    };
    let verdict = VerdictStatement {
        kind: VerdictKind::V1,
        environment: arguments.environment.clone(),
        release,
        check: arguments.check.clone(),
        decision: match arguments.decision {
            Choice::Pass => VerdictDecision::Pass,
            Choice::Fail => VerdictDecision::Fail,
            Choice::Withdraw => VerdictDecision::Withdraw,
        },
        ledger: project.session.store().origin(),
        pipeline: project.session.governance().pipeline.name.to_string(),
        at: project.session.now()?,
        reason: arguments.reason.clone(),
    };
    let bytes = verdict_bytes(&verdict)?;
    let signature = sign(&project, &arguments.key, arguments.signer, VERDICT_NAMESPACE, &bytes)?;
    let who = project.session.record_verdict(&verdict, &signature);
    let who = who.map_err(|error| by_somebody_else(error, &project, arguments))?;
    if ui.format() == Format::Json {
        let VerdictStatement { environment, release, check, decision, .. } = verdict;
        ui.answer(&VerdictRecorded { identity: who, environment, release, check, decision });
    } else {
        let VerdictStatement { environment, release, check, decision, .. } = &verdict;
        let release = planner::reference(&view, release);
        let said = match decision {
            VerdictDecision::Pass => format!("{who} says that {check} passed in {environment}: {release}"),
            VerdictDecision::Fail => format!("{who} says that {check} failed in {environment}: {release}"),
            VerdictDecision::Withdraw => format!("{who} withdrew the verdict of {check} in {environment}: {release}"),
        };
        ui.data(&format!("{}\n{}", escape::line(&said), ui.next(&next(&project, environment, *decision))));
    }
    Ok(DONE)
}

/// What leads on: a pass may let the release go on, and the others keep it where it is.
fn next(project: &Project, environment: &EnvironmentName, decision: VerdictDecision) -> String {
    let all = &project.session.governance().pipeline.environments;
    let after: Vec<_> = all.iter().filter(|(_, one)| one.after.environments().contains(&environment)).collect();
    match (decision, after.iter().any(|(_, one)| one.start == Start::Auto)) {
        (VerdictDecision::Pass, true) => "promo advance".to_owned(),
        (VerdictDecision::Pass, false) if !after.is_empty() => {
            command_line(["promo", "plan"].into_iter().chain(after.iter().map(|(name, _)| name.as_str())))
        }
        _ => "promo status".to_owned(),
    }
}

/// Who could say it, where whoever signed could not.
fn by_somebody_else(error: EngineError, project: &Project, arguments: &Arguments) -> CliError {
    let Arguments { decision, environment, check, .. } = arguments;
    let governance = project.session.governance();
    if !matches!(error, EngineError::Approval(_)) {
        return error.into();
    }
    let error = CliError::from(error);
    let roles: Vec<&RoleName> = governance.may_speak(environment, check).into_iter().flatten().collect();
    let people =
        governance.roster.identities().filter(|one| one.human && roles.iter().any(|role| one.roles.contains(*role)));
    let people: Vec<&str> = people.map(|one| one.name.as_str()).collect();
    if people.is_empty() {
        return error.who(who::PLATFORM).go_on_with(&["promo", "explain", "approval-refused"]);
    }
    let roles: Vec<&str> = roles.into_iter().map(RoleName::as_str).collect();
    let decision = decision.to_possible_value().expect("invariant: no choice is hidden");
    let mut words = vec!["promo", "verdict", decision.get_name(), environment.as_str(), check.as_str()];
    let given = [("--release", &arguments.release), ("--reason", &arguments.reason)];
    words.extend(given.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?])).flatten());
    words.extend(["--key", "KEY"]);
    error.who(format!("{} ({}), with their key", people.join(" or "), roles.join(" or "))).go_on_with(&words)
}
