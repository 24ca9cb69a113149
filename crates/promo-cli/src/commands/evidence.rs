//! `promo evidence`: documents of scanners, builds and tests, brought for what they speak of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use promo_core::Digest;
use promo_core::ids::{ArtifactName, ReleaseId, SuiteName};
use promo_core::ledger::View;
use promo_core::ledger::view::ReleaseEntry;
use promo_core::plan::ReleaseRef;
use promo_core::planner;
use promo_engine::EngineError;
use promo_engine::collect::Collected;
use promo_engine::evidence::{Brought, NewEvidence};
use promo_engine::lifts::Lift;

use super::unfreeze::{self, Signing};
use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::input;
use crate::output::labels::{Label, label};
use crate::project::{self, Access};
use crate::select;
use crate::ui::Ui;
use crate::view::answers::{EvidenceAdded, EvidenceCollected, EvidenceWithdrawn};
use crate::view::evidence::{AddedView, CollectedView, DocumentView};

/// The longest document that is taken, in bytes: what a reader of reports takes.
const LIMIT: usize = promo_providers::reports::LIMIT;

/// How much of a digest has to be said: fewer digits are soon those of several.
const LEAST_DIGITS: usize = 7;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring a document that speaks of what is promoted: a scan, a bill of materials, a report of tests
    Add {
        /// The document; its format is told from its content. A document on each line is several, as cosign downloads them
        file: PathBuf,
        /// For every artifact of this release: its id, number or alias; of what the document names itself when left out
        #[arg(long, value_name = "RELEASE")]
        release: Option<String>,
        /// Only for this artifact of the release
        #[arg(long, value_name = "ARTIFACT", requires = "release")]
        artifact: Option<ArtifactName>,
        /// For this digest: of an artifact, or of the manifest of one platform
        #[arg(long, value_name = "DIGEST", conflicts_with = "release")]
        digest: Option<Digest>,
        /// Which suite or run it is of: a later one of the same name replaces it
        #[arg(long, value_name = "NAME")]
        name: Option<SuiteName>,
        /// JSON of your own, of which gates name the numbers
        #[arg(long)]
        numbers: bool,
        /// Bring it also where somebody has withdrawn it
        #[arg(long)]
        again: bool,
    },
    /// Withdraw a document: it counts no more, whether it let something in or kept it out
    Withdraw {
        /// Its digest or the beginning of it, as `promo release show` names it
        #[arg(value_name = "DIGEST")]
        document: String,
        /// Why
        #[arg(long, value_parser = crate::select::reason)]
        reason: String,
        #[command(flatten)]
        signing: Signing,
    },
    /// Take what lies beside artifacts in their registries into the ledger: signatures, attestations, bills, scans; and what their repositories of source show
    Collect {
        /// Of this release: its id, number or alias; of the newest one and of all that run somewhere when left out
        #[arg(long, value_name = "RELEASE")]
        release: Vec<String>,
    },
}

impl Arguments {
    /// Whether artifacts are to be looked up.
    pub(crate) fn collects(&self) -> bool {
        matches!(self.verb, Verb::Collect { .. })
    }
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.verb {
        Verb::Add { .. } => add(ui, global, &arguments.verb),
        Verb::Collect { release } => collect(ui, global, release),
        Verb::Withdraw { document, reason, signing } => withdraw(ui, global, document, reason, signing),
    }
}

fn collect(ui: &Ui, global: &Global, releases: &[String]) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    let view = project.session.view()?;
    let mut ids: Vec<ReleaseId> = Vec::new();
    if releases.is_empty() {
        let running = project.session.governance().pipeline.environments.keys();
        ids.extend(running.filter_map(|name| Some(view.current(name)?.release.clone())));
        ids.extend(view.releases.last().map(|newest| newest.release.id.clone()));
    }
    for release in releases {
        ids.push(select::release(&view, release)?);
    }
    let mut entries: Vec<&ReleaseEntry> =
        view.releases.iter().filter(|entry| ids.contains(&entry.release.id)).collect();
    entries.reverse();
    let (mut all, mut failed) = (Vec::new(), None);
    for entry in entries {
        match project.runtime.block_on(project.session.collect_evidence(entry)) {
            Ok(collected) => {
                let release = planner::reference(&view, &entry.release.id);
                all.push(CollectedView::of(release, &collected, &project.session));
                // What was recorded stays, and whoever waits for the rest is told that it did not come.
                failed = failed.or_else(|| unasked(&entry.release.id, collected));
            }
            // A registry that is gone keeps nothing back of a release that came from another one.
            Err(error) if failed.is_none() => failed = Some(error),
            Err(error) => {
                ui.talk(&format!("{}: {}", label(Label::Warning, "warning"), escape::line(&error.to_string())));
            }
        }
    }
    if let Some(error) = failed {
        all.iter().for_each(|one| ui.talk(one.text().trim_end()));
        return Err(error.into());
    }
    let next = ui.to_paste("promo status");
    if ui.format() == Format::Json {
        ui.answer(&EvidenceCollected { releases: all, next });
        return Ok(DONE);
    }
    let mut out = String::new();
    if all.is_empty() {
        out.push_str("there is no release yet\n");
    }
    all.iter().for_each(|one| out.push_str(&one.text()));
    ui.data(&format!("{out}{}", ui.last_line(&next)));
    Ok(DONE)
}

/// The first place that could not be asked, where there is one.
fn unasked(release: &ReleaseId, collected: Collected) -> Option<EngineError> {
    let silent = collected.silent.into_iter().map(|one| (format!("for what promo has told of {release}"), one));
    let unseen = collected.unseen.into_iter().map(|one| (format!("for the commit of {release}"), one));
    let (what, one) = silent.chain(unseen).next()?;
    let doing = format!("looking {what} in {}", one.repository);
    Some(EngineError::Provider { doing: doing.into(), environment: None, source: one.why })
}

fn withdraw(ui: &Ui, global: &Global, named: &str, reason: &str, signing: &Signing) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Write)?;
    let before = project.session.view()?;
    let document = &of_document(&before, named)?;
    let standing: Vec<u64> = before.standing(document).map(|entry| entry.seq).collect();
    let text = document.to_string();
    unfreeze::lift(
        &project,
        Lift::Evidence { document: *document },
        signing,
        reason,
        vec!["evidence", "withdraw", &text],
    )?;
    let view = project.session.view()?;
    let mine = |entry: &&ReleaseEntry| {
        let known = project.session.evidence_of(&view, entry).unwrap_or_default();
        known.iter().any(|one| standing.contains(&one.entry.seq))
    };
    let releases: Vec<ReleaseRef> =
        view.releases.iter().filter(mine).map(|entry| planner::reference(&view, &entry.release.id)).collect();
    let next = ui.to_paste("promo status");
    if ui.format() == Format::Json {
        ui.answer(&EvidenceWithdrawn { document: *document, releases, next });
        return Ok(DONE);
    }
    let mut out = format!("{document} counts no more\n");
    for release in &releases {
        out.push_str(&format!("  of {}\n", escape::line(&release.to_string())));
    }
    ui.data(&format!("{out}{}", ui.last_line(&next)));
    Ok(DONE)
}

/// The document whose digest begins so.
fn of_document(view: &View, named: &str) -> Result<Digest, CliError> {
    let digits = named.strip_prefix("sha256:").unwrap_or(named).to_ascii_lowercase();
    let begins = |document: &Digest| digits.len() >= LEAST_DIGITS && document.hex().starts_with(&digits);
    let found: BTreeSet<Digest> = view.evidence.iter().map(|entry| entry.document).filter(begins).collect();
    let why = match found.iter().copied().collect::<Vec<_>>().as_slice() {
        [one] => return Ok(*one),
        [] => {
            format!("the ledger has no evidence whose digest begins with `{digits}`, in {LEAST_DIGITS} digits or more")
        }
        several => format!("{} documents have a digest that begins with `{digits}`", several.len()),
    };
    Err(EngineError::Invalid(why).into())
}

fn add(ui: &Ui, global: &Global, verb: &Verb) -> Result<Exit, CliError> {
    let Verb::Add { file, release, artifact, digest, name, numbers, again } = verb else { return Ok(DONE) };
    let bytes = read(file)?;
    let project = project::open(ui, global, Access::Write)?;
    let view = project.session.view()?;
    let subjects = match (release, digest) {
        (Some(release), _) => of_release(&view, release, artifact.as_ref())?,
        (None, Some(digest)) => [*digest].into(),
        (None, None) => BTreeSet::new(),
    };
    drop(view);
    let new = |(_, bytes): &(usize, &[u8])| NewEvidence {
        bytes: bytes.to_vec(),
        name: name.clone(),
        subjects: subjects.clone(),
        numbers: *numbers,
        again: *again,
    };
    let lines = promo_providers::reports::lines(&bytes);
    let all: Vec<NewEvidence> = lines.iter().map(new).collect();
    let brought = project.session.add_all_evidence(&all).map_err(|(at, error)| match lines.get(at) {
        Some((line, _)) if lines.len() > 1 => {
            CliError::from(*error).details([format!("it is line {line} of {}", escape::line(&file.to_string_lossy()))])
        }
        _ => (*error).into(),
    })?;
    let next = ui.to_paste("promo status");
    if ui.format() == Format::Json {
        let added = |one: &Brought| AddedView { evidence: DocumentView::of(one, &project.session), new: !one.known };
        let mut each = brought.iter().map(added);
        if let Some(AddedView { evidence, new }) = each.next() {
            ui.answer(&EvidenceAdded { evidence, new, more: each.collect(), next });
        }
        return Ok(DONE);
    }
    let mut out = String::new();
    for one in &brought {
        let what = if one.known { "was there already" } else { "added" };
        let shown = DocumentView::of(one, &project.session);
        out.push_str(&format!("{} {what}\n  {}\n", one.entry.document, escape::line(&shown.text())));
        for subject in &one.entry.subjects {
            out.push_str(&format!("  for {subject}\n"));
        }
    }
    ui.data(&format!("{out}{}", ui.last_line(&next)));
    Ok(DONE)
}

/// The digests of a release, or of one artifact of it.
fn of_release(view: &View, release: &str, artifact: Option<&ArtifactName>) -> Result<BTreeSet<Digest>, CliError> {
    let id = select::release(view, release)?;
    let entry = view.release(&id).expect("invariant: it was just found");
    let components = &entry.release.content.components;
    match artifact {
        None => Ok(components.values().copied().collect()),
        Some(name) => match components.get(name) {
            Some(digest) => Ok([*digest].into()),
            None => {
                let known: Vec<&str> = components.keys().map(ArtifactName::as_str).collect();
                let why = format!("{id} has no artifact `{name}`: it has {}", known.join(", "));
                Err(CliError::invalid_value("--artifact", &why, None))
            }
        },
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    input::at_most(file, LIMIT).map_err(|error| CliError::file("read", file, &error))
}
