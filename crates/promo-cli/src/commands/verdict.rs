//! `promo verdict pass|fail|withdraw ENV CHECK`: a person's verdict, signed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use promo_core::ids::{CheckName, EnvironmentName};
use promo_engine::verdicts::{VERDICT_NAMESPACE, VerdictDecision, VerdictKind, VerdictStatement, verdict_bytes};

use super::approve::{SignerChoice, sign};
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::project::{self, Access};
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
    let who = project.session.record_verdict(&verdict, &signature)?;
    if ui.format() == Format::Json {
        let VerdictStatement { environment, release, check, decision, .. } = verdict;
        ui.answer(&VerdictRecorded { identity: who, environment, release, check, decision });
    } else {
        ui.data(&format!("{who} has spoken about {} in {}\n", arguments.check, arguments.environment));
    }
    Ok(DONE)
}
