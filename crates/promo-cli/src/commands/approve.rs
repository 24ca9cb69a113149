//! `promo approve FILE`: shows what is signed, signs it, and takes the statement into the ledger or a file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use promo_core::approval::{Decision, Envelope, Fingerprint, MAX_BYTES, NAMESPACE};
use promo_core::ids::RoleName;
use promo_engine::process::Processes;
use promo_engine::signature::{self, SigningKey};
use secrecy::SecretString;

use super::show;
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::exit::{DONE, Exit};
use crate::output::time;
use crate::project::{self, Access, Project};
use crate::ui::{self, Ui};
use crate::view::answers::{ApprovalRecorded, ApprovalSigned};
use crate::{input, save};

/// The most that a key file may have, in bytes.
const KEY_BYTES: usize = 64 * 1024;

/// What `--out` writes.
const APPROVAL: save::Kind =
    save::Kind { what: "an approval", bytes: MAX_BYTES, is: |bytes| Envelope::from_bytes(bytes).is_ok() };

/// What the built-in signer signs with.
const KEY: &str = "an OpenSSH private key file of an Ed25519 key without passphrase";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The key to sign with: a private key file, or the public one of a key that ssh-agent holds
    #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
    key: PathBuf,
    /// In which of your roles; the one that the rules ask for when left out
    #[arg(long)]
    role: Option<RoleName>,
    /// What to say
    #[arg(long, value_enum, default_value_t)]
    decision: Choice,
    /// Who signs
    #[arg(long, value_enum, default_value_t)]
    signer: SignerChoice,
    /// Write the statement beside the plan instead of into the ledger; `promo apply --approval` takes it
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What an approver can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Choice {
    /// Yes, to exactly this plan
    #[default]
    Approve,
    /// No: this plan can never be applied
    Reject,
    /// Take back an earlier yes
    Revoke,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SignerChoice {
    /// ssh-keygen -Y: passphrases, agents and hardware keys work
    #[default]
    SshKeygen,
    /// promo itself, with an Ed25519 key file without passphrase
    BuiltIn,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    arguments.out.as_deref().map_or(Ok(()), |path| APPROVAL.may_be_at(path))?;
    let (document, digest) = show::read(&arguments.file)?;
    let project = project::open(ui, global, Access::Write)?;
    let decision = match arguments.decision {
        Choice::Approve => Decision::Approve,
        Choice::Reject => Decision::Reject,
        Choice::Revoke => Decision::Revoke,
    };
    let fingerprint = fingerprint(&arguments.key, arguments.signer)?;
    let role = role(&project, &document, arguments, &fingerprint)?;
    let statement = project.session.statement(&document, digest, decision, role, fingerprint);
    let statement = statement.map_err(|error| super::request::signed_first(error, &arguments.file))?;
    ui.talk(&format!("{} the plan {digest}", decision.as_str()));
    for entry in &document.body.moves {
        let from = entry.from.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        ui.talk(&format!("  {} from {from} to {}", entry.environment, entry.to));
    }
    let until = time::long(statement.expires, &ui::zone(global)?);
    ui.talk(&format!("  as {}, until {until}", statement.role));
    let bytes = statement.to_bytes().map_err(|e| refused(&e.into()))?;
    let signature = sign(&project, &arguments.key, arguments.signer, NAMESPACE, &bytes)?;
    let envelope = Envelope::new(String::from_utf8_lossy(&bytes).into_owned(), signature);
    store(ui, &project, arguments, digest, &envelope)
}

fn store(
    ui: &Ui,
    project: &Project,
    arguments: &Arguments,
    digest: promo_core::Digest,
    envelope: &Envelope,
) -> Result<Exit, CliError> {
    let file = arguments.file.to_string_lossy();
    if let Some(path) = &arguments.out {
        let fact = signature::verify(envelope, &project.session.governance().roster).map_err(|e| refused(&e))?;
        APPROVAL.may_be_at(path)?;
        save::put(path, &envelope.to_bytes())?;
        let shown = path.to_string_lossy();
        let next = command_line(["promo", "apply", &file, "--approval", &shown]);
        if ui.format() == Format::Json {
            ui.answer(&ApprovalSigned {
                plan: digest,
                identity: fact.identity().clone(),
                file: shown.into_owned(),
                next: ui.to_paste(&next),
            });
        } else {
            ui.data(&format!("signed by {}, in {shown}\n{}", fact.identity(), ui.next(&next)));
        }
        return Ok(DONE);
    }
    let fact = project.session.record_approval(&digest, envelope)?;
    let next = command_line(["promo", "apply", &file]);
    if ui.format() == Format::Json {
        let (identity, next) = (fact.identity().clone(), ui.to_paste(&next));
        ui.answer(&ApprovalRecorded { plan: digest, identity, next });
    } else {
        ui.data(&format!("signed by {}, and in the ledger\n{}", fact.identity(), ui.next(&next)));
    }
    Ok(DONE)
}

/// The fingerprint of the key that is to sign.
pub(crate) fn fingerprint(key: &Path, signer: SignerChoice) -> Result<Fingerprint, CliError> {
    Ok(match signer {
        SignerChoice::SshKeygen => signature::read_public_key(key).map_err(|e| refused(&e))?.fingerprint().clone(),
        SignerChoice::BuiltIn => read_key(key)?.public_key().fingerprint().clone(),
    })
}

/// An armored signature over these bytes, for a namespace.
pub(crate) fn sign(
    project: &Project,
    key: &Path,
    signer: SignerChoice,
    namespace: &str,
    bytes: &[u8],
) -> Result<String, CliError> {
    match signer {
        SignerChoice::SshKeygen => {
            let processes = Processes::default();
            project.runtime.block_on(signature::sign_bytes_with_ssh_keygen(&processes, key, namespace, bytes))
        }
        SignerChoice::BuiltIn => read_key(key)?.sign_bytes(bytes, namespace),
    }
    .map_err(|e| refused(&e))
}

/// Reads a private key file without passphrase.
fn read_key(path: &Path) -> Result<SigningKey, CliError> {
    let text = input::text_at_most(path, KEY_BYTES).map_err(|e| CliError::file("read", path, &e).expected(KEY))?;
    SigningKey::from_openssh(&SecretString::from(text)).map_err(|e| refused(&e).in_file(path).expected(KEY))
}

/// The role that was named, else the first role of the signer that a rule asks for.
fn role(
    project: &Project,
    document: &promo_core::plan::Document,
    arguments: &Arguments,
    key: &Fingerprint,
) -> Result<RoleName, CliError> {
    if let Some(role) = &arguments.role {
        return Ok(role.clone());
    }
    let governance = project.session.governance();
    let Some((identity, _)) = governance.roster.by_key(key) else {
        let message = format!("policy does not know the key {key}");
        return Err(CliError::new("approval-refused", 21, message, "promo approve --help"));
    };
    let rules = document.body.moves.iter().filter_map(|m| governance.approval.get(&m.environment)).flatten();
    let asked = rules.flat_map(|rule| &rule.from).find(|role| identity.roles.contains(*role));
    asked.or_else(|| identity.roles.first()).cloned().ok_or_else(|| {
        let message = format!("{} holds no role", identity.name);
        CliError::new("approval-refused", 21, message, "promo approve --help")
    })
}

/// A signature that cannot be made or taken, or a key file that cannot be read.
pub(crate) fn refused(error: &signature::SignatureError) -> CliError {
    if let signature::SignatureError::KeyFile { path, problem } = error {
        let message = format!("the key {path} cannot be used: {problem}");
        return CliError::new("file-unreadable", 65, message, "promo approve --help")
            .in_file(Path::new(path))
            .expected("an OpenSSH key: a private key file, or its public half");
    }
    let refused =
        CliError::new("approval-refused", 21, "the statement cannot be signed or taken", "promo approve --help")
            .because(error);
    match error {
        signature::SignatureError::Process(_) => {
            refused.details(["install OpenSSH, or sign with `--signer built-in`".to_owned()])
        }
        _ => refused,
    }
}
