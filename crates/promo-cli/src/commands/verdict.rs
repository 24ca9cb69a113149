//! `promo verdict pass|fail|withdraw ENV CHECK`: a person's verdict, signed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use promo_core::eligibility::{self, CheckStatus};
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
    let (next, again) = lead_on(&project, arguments, &verdict)?;
    if ui.format() == Format::Json {
        let VerdictStatement { environment, release, check, decision, .. } = verdict;
        let next = ui.to_paste(&next);
        ui.answer(&VerdictRecorded { identity: who, environment, release, check, decision, again, next });
    } else {
        let VerdictStatement { environment, release, check, decision, .. } = &verdict;
        let release = planner::reference(&view, release);
        let said = match decision {
            VerdictDecision::Pass => format!("{who} says that {check} passed in {environment}: {release}"),
            VerdictDecision::Fail => format!("{who} says that {check} failed in {environment}: {release}"),
            VerdictDecision::Withdraw => format!("{who} withdrew the verdict of {check} in {environment}: {release}"),
        };
        let once_more =
            "  it failed there before, and counts once it has passed twice in a row: it must pass once more\n";
        let once_more = if again { once_more } else { "" };
        ui.data(&format!("{}\n{once_more}{}", escape::line(&said), ui.next(&next)));
    }
    Ok(DONE)
}

/// What leads on, and whether the check must pass once more. A pass that does not open anything leads to what is open still.
fn lead_on(project: &Project, arguments: &Arguments, verdict: &VerdictStatement) -> Result<(String, bool), CliError> {
    let VerdictStatement { environment, release, check, decision, .. } = verdict;
    let declared = &project.session.governance().pipeline.environments[environment];
    let verified = project.session.with_view(|view| eligibility::verification(view, environment, declared, release))?;
    let again = verified.checks.get(check) == Some(&CheckStatus::Flaky);
    let next = match decision {
        VerdictDecision::Pass if again => {
            let about = arguments.release.iter().flat_map(|release| ["--release", release]);
            let words = ["promo", "verdict", "pass", environment.as_str(), check.as_str()].into_iter();
            command_line(words.chain(about).chain(["--key", "KEY"]))
        }
        VerdictDecision::Pass if verified.holds_since.is_none() => {
            command_line(["promo", "why", environment.as_str(), release.as_str()])
        }
        _ => next(project, environment, *decision),
    };
    Ok((next, again))
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
