//! `promo approve FILE`: shows what is signed, signs it, and takes the statement into the ledger or a file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use promo_core::Digest;
use promo_core::approval::{Decision, Envelope, Fingerprint, MAX_BYTES, NAMESPACE};
use promo_core::ids::RoleName;
use promo_core::ledger::event::Movement;
use promo_core::plan::{Document, Move};
use promo_engine::approvals::{Weighed, taken_back};
use promo_engine::signature::{Key, SignatureError, SigningKey};
use promo_engine::{EngineError, Session};
use secrecy::SecretString;

use super::{apply, show};
use crate::cli::{Format, Global};
use crate::engine_error::{of_plan, of_plan_here};
use crate::error::{CliError, HELP, command_line};
use crate::escape::line;
use crate::exit::{DONE, Exit};
use crate::output::time;
use crate::project::{self, Access, Project};
use crate::ui::{self, Ui};
use crate::view::answers::{ApprovalRecorded, ApprovalSigned, ApprovalStanding};
use crate::view::approving;
use crate::view::row::Note;
use crate::{input, save, select};

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
    /// Why; kept beside the record in the ledger and no part of what is signed
    #[arg(long, value_parser = select::reason, conflicts_with = "out")]
    reason: Option<String>,
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
    /// Take back an earlier yes, for good: you cannot approve this plan again
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

impl SignerChoice {
    /// The words that choose it; none for the usual one.
    pub(crate) const fn words(self) -> &'static [&'static str] {
        match self {
            Self::SshKeygen => &[],
            Self::BuiltIn => &["--signer", "built-in"],
        }
    }
}

/// The key of whoever applies.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// The key to sign with that you apply this, where a rule excludes the applier: a private key file, or the public one of
    /// a key that ssh-agent holds; it is asked for nothing else
    #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
    key: Option<PathBuf>,
    /// Who signs
    #[arg(long, value_enum, default_value_t)]
    signer: SignerChoice,
}

impl Signing {
    /// The key; none where no rule of the pipeline asks for it.
    pub(crate) fn key(&self, session: &Session) -> Result<Option<Key>, CliError> {
        let mut environments = session.governance().pipeline.environments.keys();
        let asked = environments.any(|name| session.excludes_applier(name));
        let key = |path| {
            let key = self::key(path, self.signer)?;
            key.fingerprint().map_err(|e| refused_key(path, &e))?;
            Ok(key)
        };
        self.key.as_deref().filter(|_| asked).map(key).transpose()
    }
}

/// The words with which a plan is applied: with a key where a rule excludes the applier.
pub(crate) fn apply_words<'w>(session: &Session, document: &Document, file: &'w str) -> Vec<&'w str> {
    let mut words = vec!["promo", "apply", file];
    if document.body.moves.iter().any(|entry| session.excludes_applier(&entry.environment)) {
        words.extend(["--key", "KEY"]);
    }
    words
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    arguments.out.as_deref().map_or(Ok(()), |path| APPROVAL.may_be_at(path))?;
    arguments.reason.as_deref().map_or(Ok(()), select::own_words)?;
    let (document, digest) = show::read(&arguments.file)?;
    let project = project::open(ui, global, Access::Write)?;
    // What cannot be looked at from here is judged where the plan is applied.
    let genuine = project.runtime.block_on(project.session.genuine(&document, &digest));
    let unseen = match genuine.and_then(|()| project.session.unchanged(&document)) {
        // Refused below, behind what else has become of the plan, and only a yes is.
        Ok(()) | Err(EngineError::Stale { .. }) => None,
        Err(edited @ (EngineError::Edited { .. } | EngineError::NotAnExtension { .. })) => {
            return Err(of_plan(edited, &document, &arguments.file));
        }
        Err(error) => Some(CliError::from(error)),
    };
    let decision = match arguments.decision {
        Choice::Approve => Decision::Approve,
        Choice::Reject => Decision::Reject,
        Choice::Revoke => Decision::Revoke,
    };
    let fingerprint = fingerprint(&arguments.key, arguments.signer)?;
    let role = role(&project, &document, arguments, &fingerprint)?;
    let statement = project.session.statement(&document, digest, decision, role, fingerprint);
    let refused_here = |error| of_plan_here(error, &project.session, (&document, &digest), &[], &arguments.file);
    let statement = statement.map_err(refused_here)?;
    ui.talk(&format!("{} the plan {digest}", decision.as_str()));
    if let Some(why) = unseen.filter(|_| decision == Decision::Approve) {
        ui.talk(&format!("  {}", show::cannot_be_told(&why)));
    }
    let ledger = project.session.view()?;
    for entry in &document.body.moves {
        changes(entry).iter().for_each(|line| ui.talk(line));
        let behind = project.session.left_behind(&ledger, &entry.environment);
        let elsewhere = project.session.elsewhere(&ledger, entry)?;
        let (notes, _) = Note::taken_back(&document.body, entry, &ledger, (&behind, &elsewhere));
        notes.iter().for_each(|note| ui.talk(&format!("    {}", line(&note.text))));
        if decision == Decision::Approve && entry.rollback.is_none() {
            ui.talk("    if it fails there is nothing to go back to: approving it says so too");
        }
    }
    let until = time::long(statement.expires, &ui::zone(global)?);
    let role = &statement.role;
    ui.talk(&match decision {
        Decision::Reject => format!("  as {role}, for good: this plan can never be applied"),
        Decision::Revoke => format!("  as {role}, for good: whoever signs this can never approve this plan again"),
        Decision::Approve | Decision::Breakglass => format!("  as {role}, until {until}"),
    });
    let bytes = statement.to_bytes().map_err(|e| refused(&e.into()))?;
    let signature = sign(&project, &arguments.key, arguments.signer, NAMESPACE, &bytes)?;
    let envelope = Envelope::new(String::from_utf8_lossy(&bytes).into_owned(), signature);
    // Apply finds what lies beside the plan, so it counts here; what cannot be read there is told when it is applied.
    let beside: Vec<Envelope> = apply::beside(Some(&arguments.file))
        .iter()
        .filter_map(|path| Envelope::from_bytes(&input::at_most(path, MAX_BYTES).ok()?).ok())
        .collect();
    let (session, reason) = (&project.session, arguments.reason.as_deref());
    let weighed = match &arguments.out {
        Some(_) => session.weigh(&*session.view()?, &document, &digest, &envelope, &beside),
        None => session.record_approval(&document, &digest, &envelope, &beside, reason),
    };
    let weighed = weighed.map_err(refused_here)?;
    if let Some(path) = &arguments.out {
        APPROVAL.may_be_at(path)?;
        save::put(path, &envelope.to_bytes())?;
    }
    tell(ui, &project, arguments, &document, (digest, &weighed))?;
    Ok(DONE)
}

/// What a move of the plan does, in lines.
fn changes(entry: &Move) -> Vec<String> {
    let (name, to) = (&entry.environment, &entry.to);
    if let (Some(back), true) = (&entry.rollback, entry.drill) {
        return vec![format!("  {name} goes BACK from {to} to {}, and comes to {to} again: a drill", back.to)];
    }
    match (&entry.from, entry.movement) {
        (Some(_), Movement::Reconfiguration) => vec![format!("  {name} keeps {to}, and its configuration changes")],
        (Some(from), Movement::Rollback) if from.id == to.id => vec![
            format!("  {name} goes BACK to {to}, as it was deployed"),
            format!("    afterwards automatic promotion into {name} is paused"),
        ],
        (Some(from), Movement::Rollback) => vec![
            format!("  {name} goes BACK from {from} to {to}"),
            format!(
                "    afterwards {from} is quarantined for {name} and downstream, and automatic promotion into {name} is paused"
            ),
        ],
        (Some(from), _) if from.id == to.id => vec![format!("  {name} keeps {to}, and it is deployed again")],
        (Some(from), _) => vec![format!("  {name} from {from} to {to}")],
        (None, _) => {
            let there = entry.steps.iter().flat_map(|step| &step.changes).any(|change| change.before.is_some());
            vec![format!("  {name} from {} to {to}", if there { "what is there" } else { "nothing" })]
        }
    }
}

/// How the plan stands with what was signed, and the command that leads on from there.
fn tell(
    ui: &Ui,
    project: &Project,
    arguments: &Arguments,
    document: &Document,
    (plan, weighed): (Digest, &Weighed),
) -> Result<(), CliError> {
    let (file, session) = (arguments.file.to_string_lossy(), &project.session);
    let place = arguments.out.as_deref().map(Path::to_string_lossy);
    let ledger = session.view()?;
    let signer = arguments.signer.words();
    let way = approving::lead_on(session, &ledger, (document, &plan), &weighed.standings, (&file, signer))?;
    let next = way.map_or_else(
        || {
            let approval = place.iter().flat_map(|place| ["--approval", place.as_ref()]);
            command_line(apply_words(session, document, &file).into_iter().chain(approval))
        },
        |way| way.next,
    );
    let identity = weighed.fact.identity().clone();
    if ui.format() == Format::Json {
        let (next, environments) = (ui.to_paste(&next), standings(weighed));
        match place {
            Some(place) => {
                ui.answer(&ApprovalSigned { plan, identity, file: place.into_owned(), environments, next });
            }
            None => ui.answer(&ApprovalRecorded { plan, identity, environments, next }),
        }
        return Ok(());
    }
    let place = place.map_or_else(|| "and in the ledger".to_owned(), |place| format!("in {}", line(&place)));
    let mut out = format!("signed by {identity}, {place}\n");
    for (name, standing) in &weighed.standings {
        for no in &standing.rejections {
            out.push_str(&format!("  {name}: {} rejected this plan, for good\n", no.identity));
        }
        for rule in standing.rules.iter().filter(|_| standing.rejections.is_empty()) {
            let who: Vec<&str> = rule.filled.iter().map(|slot| slot.identity.as_str()).collect();
            let by = if who.is_empty() { String::new() } else { format!(", by {}", who.join(" and ")) };
            out.push_str(&format!("  {name}: {} of {} approved{by}\n", who.len(), rule.count));
        }
        if standing.rejections.is_empty() && standing.lost(&session.governance().roster) {
            out.push_str(&format!("  {name}: {}: plan and request anew\n", taken_back(standing)));
            continue;
        }
        session.missing(name, standing).iter().for_each(|missing| out.push_str(&format!("  {missing}\n")));
    }
    if weighed.standings.is_empty() {
        out.push_str(match weighed.fact.statement().decision {
            Decision::Approve => "  no rule asks for an approval here; a person stands behind the plan now\n",
            _ => "  no rule asks for an approval here; what was said for the plan before is taken back\n",
        });
    }
    ui.data(&format!("{out}{}", ui.next(&next)));
    Ok(())
}

/// The same as views.
fn standings(weighed: &Weighed) -> Vec<ApprovalStanding> {
    let rules = weighed.standings.iter().flat_map(|(name, standing)| {
        standing.rules.iter().map(move |rule| ApprovalStanding {
            environment: name.clone(),
            approved: rule.filled.iter().map(|slot| slot.identity.clone()).collect(),
            needed: rule.count,
            from: rule.who_can.iter().cloned().collect(),
            rejected: standing.rejections.iter().map(|no| no.identity.clone()).collect(),
        })
    });
    rules.collect()
}

/// The fingerprint of the key that is to sign.
pub(crate) fn fingerprint(key: &Path, signer: SignerChoice) -> Result<Fingerprint, CliError> {
    self::key(key, signer)?.fingerprint().map_err(|e| refused_key(key, &e))
}

/// The key that is to sign. One that `ssh-keygen` signs with is not looked at before it is used.
fn key(path: &Path, signer: SignerChoice) -> Result<Key, CliError> {
    Ok(match signer {
        SignerChoice::SshKeygen => Key::SshKeygen(path.to_owned()),
        SignerChoice::BuiltIn => read_key(path)?.into(),
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
    let path = key;
    let key = self::key(path, signer)?;
    project.runtime.block_on(key.sign(bytes, namespace)).map_err(|e| refused_key(path, &e))
}

/// Reads a private key file without passphrase.
fn read_key(path: &Path) -> Result<SigningKey, CliError> {
    let unread = |e: &std::io::Error| match path.to_str() {
        Some("KEY") if e.kind() == std::io::ErrorKind::NotFound => {
            refused_key(path, &SignatureError::KeyFile { path: "KEY".into(), problem: String::new() })
        }
        _ => CliError::file("read", path, e).expected(KEY),
    };
    let text = input::text_at_most(path, KEY_BYTES).map_err(|e| unread(&e))?;
    SigningKey::from_openssh(&SecretString::from(text)).map_err(|e| refused_key(path, &e))
}

/// The role that was named, else the first role of the signer that a rule asks for.
fn role(
    project: &Project,
    document: &Document,
    arguments: &Arguments,
    key: &Fingerprint,
) -> Result<RoleName, CliError> {
    if let Some(role) = &arguments.role {
        return Ok(role.clone());
    }
    let governance = project.session.governance();
    let Some((identity, _)) = governance.roster.by_key(key) else {
        let message = format!("policy does not know the key {key}");
        return Err(CliError::new("approval-refused", 21, message, HELP));
    };
    let rules = document.body.moves.iter().filter_map(|m| governance.approval.get(&m.environment)).flatten();
    let asked = rules.flat_map(|rule| &rule.from).find(|role| identity.roles.contains(*role));
    asked.or_else(|| identity.roles.first()).cloned().ok_or_else(|| {
        let message = format!("{} holds no role", identity.name);
        CliError::new("approval-refused", 21, message, HELP)
    })
}

/// A signature that cannot be made or taken.
pub(crate) fn refused(error: &SignatureError) -> CliError {
    if error.is_of_this_machine() {
        return unsigned(error);
    }
    CliError::new("approval-refused", 21, "the statement cannot be signed or taken", HELP).because(error)
}

/// The same where the file of a key is at hand: one that is none was the wrong one, whoever it belongs to.
fn refused_key(path: &Path, error: &SignatureError) -> CliError {
    if !error.is_of_the_key() {
        return refused(error);
    }
    let because = match error {
        SignatureError::KeyFile { problem, .. } => problem.clone(),
        error => error.to_string(),
    };
    let shown = path.to_string_lossy();
    // What stands in suggested commands for something that only the reader knows.
    let message = if shown == "KEY" && !path.exists() {
        "KEY stands for the path of your own key: put that in its place".to_owned()
    } else {
        format!("the key {shown} cannot be used: {because}")
    };
    CliError::new("file-unreadable", 65, message, HELP).in_file(path).expected(match error {
        SignatureError::PrivateKey(_) => KEY,
        _ => "an OpenSSH key: a private key file, or its public half",
    })
}

/// Nothing was signed, and the statement is not at fault.
pub(crate) fn unsigned(error: &SignatureError) -> CliError {
    let (next, way) = match error {
        SignatureError::Process(_) => (
            "promo doctor",
            "install OpenSSH; or add `--signer built-in`, which signs with an Ed25519 key without passphrase",
        ),
        _ => (
            "promo explain signing-failed",
            "nothing was signed and nothing recorded: the same command can be repeated",
        ),
    };
    CliError::new("signing-failed", 1, "the statement cannot be signed here", next)
        .because(error)
        .details([way.to_owned()])
}
