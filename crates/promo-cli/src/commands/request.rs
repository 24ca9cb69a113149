//! `promo request FILE`: asks for approval of a saved plan, and signs that it does.

use std::path::PathBuf;

use clap::Args;
use promo_core::ids::{EnvironmentName, IdentityName};
use promo_engine::requests::REQUEST_NAMESPACE;

use super::approve::{self, SignerChoice};
use super::{release, show};
use crate::cli::{Format, Global};
use crate::engine_error::of_plan_here;
use crate::error::{CliError, command_line};
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::time;
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::answers::{Requested, SupersededPlan};
use crate::view::approving;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The key to sign with: a private key file, or the public one of a key that ssh-agent holds; needed where a rule
    /// excludes the initiator
    #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
    key: Option<PathBuf>,
    /// Who signs
    #[arg(long, value_enum, default_value_t)]
    signer: SignerChoice,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let (document, digest) = show::read(&arguments.file)?;
    let project = project::open(ui, global, Access::Write)?;
    let signed = arguments.key.as_deref().map(|key| {
        let fingerprint = approve::fingerprint(key, arguments.signer)?;
        let statement = project.session.request_statement(&document, digest, fingerprint)?;
        let signature = approve::sign(&project, key, arguments.signer, REQUEST_NAMESPACE, &statement.to_bytes()?)?;
        Ok::<_, CliError>((statement, signature))
    });
    let signed = signed.transpose()?;
    let signed = signed.as_ref().map(|(statement, signature)| (statement, signature.as_str()));
    let requested = project.runtime.block_on(project.session.request(&document, digest, signed));
    let recorded =
        requested.map_err(|error| of_plan_here(error, &project.session, (&document, &digest), &[], &arguments.file))?;
    let file = arguments.file.to_string_lossy();
    let (session, now) = (&project.session, project.session.now()?);
    let ledger = session.view()?;
    let standings = session.standings(&document, &digest, &ledger, &[], None, now)?;
    let way =
        approving::lead_on(session, &ledger, (&document, &digest), &standings, (&file, arguments.signer.words()))?;
    let next = way.map_or_else(|| command_line(approve::apply_words(session, &document, &file)), |way| way.next);
    release::warn_where_nobody_can_approve(ui, &project, &document)?;
    if ui.format() == Format::Json {
        let superseded = recorded.superseded.into_iter().map(|one| SupersededPlan {
            plan: one.plan,
            environments: one.environments,
            approved_by: one.approved_by,
        });
        let (superseded, next) = (superseded.collect(), ui.to_paste(&next));
        ui.answer(&Requested { plan: digest, expires: recorded.expires, identity: recorded.by, superseded, next });
        return Ok(DONE);
    }
    let promo_engine::requests::Requested { expires, by, superseded } = recorded;
    let zone = ui::zone(global)?;
    let names: Vec<&str> = document.body.moves.iter().map(|m| m.environment.as_str()).collect();
    let by = by.map_or_else(|| "not signed".to_owned(), |by| format!("signed by {by}"));
    let until = time::long(expires, &zone);
    ui.data(&format!("requested {}, {by}\n  {digest}\n  open until {until}\n", names.join(", ")));
    for one in &superseded {
        let names: Vec<&str> = one.environments.iter().map(EnvironmentName::as_str).collect();
        let approved: Vec<&str> = one.approved_by.iter().map(IdentityName::as_str).collect();
        let plan = format!("the requested plan sha256:{}… for {}", one.plan.short(), names.join(", "));
        let text = match approved.is_empty() {
            true => format!("  took the place of {plan}\n"),
            false => {
                let (label, by) = (label(Label::Warning, "!"), approved.join(" and "));
                format!("{label} took the place of {plan}, which {by} approved: this one needs its own approvals\n")
            }
        };
        ui.data(&text);
    }
    for entry in &document.body.moves {
        for gate in entry.gates.iter().filter(|g| !g.outcome.is_open()) {
            ui.data(&format!("  {} waits: {}\n", entry.environment, gate));
        }
    }
    ui.data(&ui.next(&next));
    Ok(DONE)
}
