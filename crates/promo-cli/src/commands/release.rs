//! `promo release`: candidates and quarantine.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use promo_core::ids::{ArtifactName, EnvironmentName, IdentityName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::view::ReleaseEntry;
use promo_core::plan::{Document, Move, PlanFileError, ReleaseRef};
use promo_core::planner;
use promo_core::release::Alias;
use promo_engine::authors::AUTHORS_NAMESPACE;
use promo_engine::collect::Collected;
use promo_engine::lifts::Lift;
use promo_engine::{EngineError, NewRelease, Session};
use promo_sdk::ErrorKind;

use super::approve::{self, SignerChoice};
use super::check;
use super::newest;
use super::unfreeze::{self, Signing};
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{passages, standing as words, table, time};
use crate::project::{self, Access, Project};
use crate::select;
use crate::tags;
use crate::ui::{self, Ui};
use crate::view::answers::{ArtifactRecalled, ListedRelease, RecallLifted, Releases};
use crate::view::approving;
use crate::view::evidence::{CollectedView, DocumentView};
use crate::view::passage::{PassageView, QuarantineView, RecallView};
use crate::view::source::SinceView;
use crate::view::ways;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

impl Arguments {
    /// Whether artifacts are to be looked up.
    pub(crate) fn adds(&self) -> bool {
        matches!(self.verb, Verb::Add { .. } | Verb::Authors { .. })
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add what a build made: every artifact by tag, digest or both
    Add {
        /// `ARTIFACT=TAG`, `ARTIFACT=sha256:…` or `ARTIFACT=TAG@sha256:…`; the name may be left out when there is one
        #[arg(required_unless_present = "newest", value_name = "ARTIFACT=REFERENCE")]
        artifacts: Vec<String>,
        /// The newest tag of each artifact among those that the pipeline lets become releases, once nothing newer comes
        #[arg(long, conflicts_with_all = ["artifacts", "alias"])]
        newest: bool,
        /// Look again until they are a release
        #[arg(long, requires = "newest", conflicts_with = "artifacts")]
        wait: bool,
        /// A name for people, such as `1.4.2`
        #[arg(long, value_name = "NAME")]
        alias: Option<Alias>,
        /// What the build says of itself: `KEY=VALUE`, such as the commit; `authors` and `builder` are kept from approving
        #[arg(long = "meta", value_name = "KEY=VALUE")]
        metadata: Vec<String>,
        /// What the registry shows of the artifacts holds instead of what the ledger has of them
        #[arg(long)]
        correct: bool,
    },
    /// List releases, newest first
    List,
    /// Everything known of one release
    Show {
        /// Its id, number or alias
        release: String,
    },
    /// Say who wrote a release that came without authors, and sign that: whoever signs counts among them
    Authors {
        /// Its id, number or alias
        release: String,
        /// Who wrote it: an identity of the policy, or an address that policy maps to one
        #[arg(long = "author", value_name = "NAME", required = true)]
        authors: Vec<String>,
        /// The key to sign with: a private key file, or the public one of a key that ssh-agent holds
        #[arg(long, value_name = "KEY", env = "PROMO_KEY")]
        key: PathBuf,
        /// Who signs
        #[arg(long, value_enum, default_value_t)]
        signer: SignerChoice,
    },
    /// Quarantine a release, everywhere or for an environment and what comes after it
    Reject {
        /// Its id, number or alias
        release: String,
        /// Only for this environment and downstream
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentName>,
        /// Why
        #[arg(long, value_parser = select::reason)]
        reason: String,
    },
    /// Quarantine every release that has a digest in it, those that are there and those that come
    Recall {
        /// `sha256:…` of an artifact, or of the manifest or configuration of a platform; the first digits of one that is in a release
        #[arg(value_name = "DIGEST")]
        artifact: String,
        /// Why
        #[arg(long, value_parser = select::reason)]
        reason: String,
    },
    /// Lift a quarantine of one scope, or end the recall of a digest
    Lift {
        /// Its id, number or alias; or the recalled digest, `sha256:…`
        release: String,
        /// The scope that was rejected
        #[arg(long, value_name = "ENV")]
        environment: Option<EnvironmentName>,
        /// Why
        #[arg(long, value_parser = select::reason)]
        reason: String,
        #[command(flatten)]
        signing: Signing,
    },
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.verb {
        Verb::Add { artifacts, newest, wait, alias, metadata, correct } => {
            let project = project::open(ui, global, Access::Write)?;
            let found = match newest {
                true => match newest::find(ui, global, &project, *wait, |error| match error {
                    // `status` may lead here again: what is forming has no newest tag any more.
                    EngineError::Invalid(_) => CliError::from(error).go_on_with(&["promo", "release", "add", "--help"]),
                    error => pinned(error, &[], alias.as_ref(), metadata),
                })? {
                    Some(found) => found,
                    None => return Ok(DONE),
                },
                false => Vec::new(),
            };
            let artifacts = if *newest { &found } else { artifacts };
            add(ui, global, &project, artifacts, alias.as_ref(), metadata, *correct)
        }
        Verb::List => list(ui, global),
        Verb::Show { release } => show(ui, global, release),
        Verb::Authors { release, authors, key, signer } => {
            let project = project::open(ui, global, Access::Write)?;
            let id = select::release(&*project.session.view()?, release)?;
            let fingerprint = approve::fingerprint(key, *signer)?;
            let names = authors.iter().flat_map(|list| list.split(',')).map(|name| name.trim().to_owned());
            let statement = project.session.authors_statement(&id, names.collect(), fingerprint);
            let statement = project.runtime.block_on(statement)?;
            let signature = approve::sign(&project, key, *signer, AUTHORS_NAMESPACE, &statement.to_bytes()?)?;
            let by = project.session.name_authors(&statement, &signature)?;
            let named: Vec<&str> = statement.authors.iter().map(IdentityName::as_str).collect();
            let text = format!("{id} was written by {}\n  signed by {by}, who counts among them\n", named.join(", "));
            told(ui, &project, &id, &escape::block(&text), &["promo", "status"])
        }
        Verb::Reject { release, environment, reason } => {
            select::own_words(reason)?;
            let project = project::open(ui, global, Access::Write)?;
            let view = project.session.view()?;
            let id = select::release(&view, release)?;
            let before = view.quarantines.get(&(id.clone(), environment.clone()));
            let since = before.map(|note| (note.at, note.by.name.clone()));
            drop(view);
            project.session.reject(&id, environment.clone(), reason)?;
            let mut text = format!("{id} is quarantined {}\n", place(environment.as_ref()));
            if let Some((at, by)) = since {
                let at = time::long(at, &ui::zone(global)?);
                text.push_str(&format!(
                    "  as it was since {at}, by {}: your reason is on record too\n",
                    escape::line(&by)
                ));
            }
            told(ui, &project, &id, &text, &["promo", "status"])
        }
        Verb::Recall { artifact, reason } => {
            select::own_words(reason)?;
            let project = project::open(ui, global, Access::Write)?;
            let artifact = select::artifact(&*project.session.view()?, artifact)?;
            let before = project.session.view()?.recalled.get(&artifact).cloned();
            let hit = project.session.recall(artifact, reason)?;
            let view = project.session.view()?;
            let releases: Vec<ReleaseRef> = hit.iter().map(|id| planner::reference(&view, id)).collect();
            let next = ui.to_paste("promo status");
            if ui.format() == Format::Json {
                ui.answer(&ArtifactRecalled { artifact, releases, next });
                return Ok(DONE);
            }
            let mut text = format!("{artifact} is recalled\n");
            if let Some(note) = before {
                let (at, by) = (time::long(note.at, &ui::zone(global)?), escape::line(&note.by.name));
                let why = words::quoted(project.session.reason_given(note.seq)?.as_ref());
                text.push_str(&format!("  as it was since {at}, by {by}{why}: your reason is on record too\n"));
            }
            let line =
                |release: &ReleaseRef| format!("  {} is quarantined everywhere\n", escape::line(&release.to_string()));
            text.extend(releases.iter().map(line));
            text.push_str(match releases.is_empty() {
                true => "  no release has it in it; one that comes with it is quarantined as it enters\n",
                false => "  and so is every release that comes with it, as it enters\n",
            });
            ui.data(&format!("{text}{}", ui.next("promo status")));
            Ok(DONE)
        }
        Verb::Lift { release, environment, reason, signing } => {
            let project = project::open(ui, global, Access::Write)?;
            if release.starts_with("sha256:") {
                return lift_recall(ui, &project, (release, environment.as_ref()), (signing, reason));
            }
            let id = select::release(&*project.session.view()?, release)?;
            let what = Lift::Quarantine { release: id.clone(), scope: environment.clone() };
            let scope = environment.iter().flat_map(|scope| ["--environment", scope.as_str()]);
            let words = ["release", "lift", release].into_iter().chain(scope).collect();
            // Whoever lifts a quarantine to end a hold is told what ends it.
            unfreeze::lift(&project, what, signing, reason, words)
                .map_err(|error| unfreeze::rather_held(&project, global, environment.as_slice(), error))?;
            let mut text = format!("{id} is no longer quarantined {}\n", place(environment.as_ref()));
            for digest in project.session.recalled_in(&id)? {
                let ends = ways::end_recall(&project.session, &digest);
                text.push_str(&format!(
                    "  {digest} in it stays recalled: a later release with it is kept out again (ended by `{ends}`)\n"
                ));
            }
            let at = environment.iter().map(EnvironmentName::as_str);
            let plan: Vec<&str> = ["promo", "plan"].into_iter().chain(at).chain(["--release", id.as_str()]).collect();
            told(ui, &project, &id, &text, &plan)
        }
    }
}

/// Ends the recall of a digest, and names what was rejected because of it: that may have been rejected for more than the recall.
fn lift_recall(
    ui: &Ui,
    project: &Project,
    (typed, environment): (&str, Option<&EnvironmentName>),
    (signing, reason): (&Signing, &str),
) -> Result<Exit, CliError> {
    if environment.is_some() {
        let why = "a digest is recalled everywhere, and so is its recall ended";
        return Err(CliError::invalid_value("--environment", &why, None));
    }
    let session = &project.session;
    let artifact = select::recalled(&*session.view()?, typed)?;
    unfreeze::lift(project, Lift::Recall { artifact }, signing, reason, vec!["release", "lift", typed])?;
    let (view, barred) = (session.view()?, session.quarantined_with(&artifact)?);
    let next = if barred.is_empty() { "promo status".to_owned() } else { ways::lift(session, &barred[0], None) };
    if ui.format() == Format::Json {
        let releases = barred.iter().map(|id| planner::reference(&view, id)).collect();
        ui.answer(&RecallLifted { artifact, releases, next: ui.to_paste(&next) });
        return Ok(DONE);
    }
    let mut text = format!("{artifact} is no longer recalled: a release that comes with it enters as any other\n");
    for id in &barred {
        let (release, lift) = (planner::reference(&view, id).to_string(), ways::lift(session, id, None));
        text.push_str(&format!("  {} stays quarantined everywhere (ended by `{lift}`)\n", escape::line(&release)));
    }
    ui.data(&format!("{text}{}", ui.next(&next)));
    Ok(DONE)
}

/// How a release stands after a change: the words, or its view.
fn told(ui: &Ui, project: &Project, id: &ReleaseId, text: &str, next: &[&str]) -> Result<Exit, CliError> {
    if ui.format() == Format::Json {
        let view = project.session.view()?;
        let entry = view.release(id).expect("invariant: it was just changed");
        let next = ui.to_paste(&command_line(next.iter().copied()));
        ui.answer(&ListedRelease { next, ..view_of(&project.session, &view, entry)? });
    } else {
        ui.data(&format!("{text}{}", ui.next(&command_line(next.iter().copied()))));
    }
    Ok(DONE)
}

fn place(environment: Option<&EnvironmentName>) -> String {
    environment.map_or_else(|| "everywhere".into(), |name| format!("for {name} and what comes after it"))
}

/// What the registry serves is not what the build reported or the ledger has: its digest alone names what was built.
fn pinned(error: EngineError, artifacts: &[String], alias: Option<&Alias>, metadata: &[String]) -> CliError {
    let by_digest = |given: &String| match given.split_once('@') {
        Some((tag, digest)) => match tag.split_once('=') {
            Some((name, _)) => format!("{name}={digest}"),
            None => digest.to_owned(),
        },
        None => given.clone(),
    };
    let (artifacts, more) = match &error {
        EngineError::Described { .. } => (artifacts.to_vec(), Some("--correct")),
        EngineError::Moved(moved) => (moved.by_digest(), None),
        EngineError::Provider { source, .. } => match source.kind {
            ErrorKind::Moved => (artifacts.iter().map(by_digest).collect(), None),
            // The name is what was typed: this machine has nothing to do with it.
            ErrorKind::NotFound => {
                let known =
                    "the tags that there are, the registry lists; what its build pushed, its log names".to_owned();
                return CliError::from(error)
                    .who("whoever builds and pushes it")
                    .details([known])
                    .go_on_with(&["promo", "release", "add", "--help"]);
            }
            _ => return error.into(),
        },
        _ => return error.into(),
    };
    let words = ["promo", "release", "add"].into_iter().chain(artifacts.iter().map(String::as_str));
    let alias = alias.iter().flat_map(|alias| ["--alias", alias.as_str()]);
    let metadata = metadata.iter().flat_map(|pair| ["--meta", pair.as_str()]);
    CliError::from(error).go_on_with(&words.chain(alias).chain(metadata).chain(more).collect::<Vec<_>>())
}

fn add(
    ui: &Ui,
    global: &Global,
    project: &Project,
    artifacts: &[String],
    alias: Option<&Alias>,
    metadata: &[String],
    correct: bool,
) -> Result<Exit, CliError> {
    let declared: Vec<&ArtifactName> = project.session.governance().pipeline.artifacts.keys().collect();
    let mut new = NewRelease { alias: alias.cloned(), correct, ..NewRelease::default() };
    for given in artifacts {
        let (name, reference) = match given.split_once('=') {
            Some((name, reference)) => (select::parse::<ArtifactName>("ARTIFACT", name)?, reference),
            None if declared.len() == 1 => (declared[0].clone(), given.as_str()),
            None => return Err(CliError::invalid_value("ARTIFACT=REFERENCE", &"which artifact?", None)),
        };
        if let Some(other) = new.artifacts.insert(name.clone(), reference.to_owned()) {
            let why = format!("a release has one `{name}`, and two were given: `{other}` and `{reference}`");
            return Err(CliError::invalid_value("ARTIFACT=REFERENCE", &why, None));
        }
    }
    for pair in metadata {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| CliError::invalid_value("--meta", &format!("`{pair}` is not KEY=VALUE"), None))?;
        if let Some(other) = new.metadata.insert(key.to_owned(), value.to_owned()) {
            let why = format!("`{key}` was given twice: `{other}` and `{value}`");
            return Err(CliError::invalid_value("--meta", &why, None));
        }
    }
    // What no release can be deployed with would come with this one, and only a newer one could mend it.
    let (governance, providers) = (project.session.governance(), global.wiring.providers());
    let (pipeline, movable) = (&governance.pipeline, &governance.movable_images);
    let unsound = promo_engine::unsound(pipeline, movable, &providers, project.session.root());
    let unsound = project.runtime.block_on(unsound)?;
    if let Some(error) = check::wrong_templates(unsound) {
        return Err(error);
    }
    let added = project.runtime.block_on(project.session.add_release(new));
    let (entry, added) = added.map_err(|error| pinned(error, artifacts, alias, metadata))?;
    let collected = collect(ui, project, &entry);
    let view = project.session.view()?;
    let closed = project.session.closed_to(&view, &entry.release.id)?;
    if let Some(names) = (!closed.is_empty()).then(|| closed.iter().map(EnvironmentName::as_str).collect::<Vec<_>>()) {
        let id = &entry.release.id;
        let out = match entry.said.contains("authors") {
            true => "add those whom it names to the policy".to_owned(),
            false => ui.to_paste(&command_line(name_authors(id))),
        };
        ui.talk(&format!(
            "{}: {id} does not say who wrote it, as policy knows people: nobody can approve it for {}, nor anything after it \
             ({out})",
            label(Label::Warning, "warning"),
            names.join(", ")
        ));
    }
    let quarantined = view.quarantines.contains_key(&(entry.release.id.clone(), None));
    let next = if quarantined { "promo status" } else { "promo advance" };
    if ui.format() == Format::Json {
        let next = ui.to_paste(next);
        let release = planner::reference(&view, &entry.release.id);
        let collected = collected.map(|collected| CollectedView::of(release, &collected, &project.session));
        ui.answer(&ListedRelease { next, collected, ..view_of(&project.session, &view, &entry)? });
    } else {
        let what = if added { "added" } else { "was there already" };
        let alias = entry.release.alias.as_deref().map(|a| format!(" {}", escape::line(a))).unwrap_or_default();
        ui.data(&format!("{} (#{}){alias} {what}\n", entry.release.id, entry.lineage));
        for reference in entry.release.sources.values() {
            ui.data(&format!("  {}\n", escape::line(reference)));
        }
        for one in collected.iter().flat_map(|collected| &collected.new) {
            ui.data(&format!("  + {}\n", escape::line(&DocumentView::of(one, &project.session).text())));
        }
        // It may come with what was recalled.
        let rejected = view.quarantines.get(&(entry.release.id.clone(), None));
        if let Some(note) = rejected {
            let why = project.session.reason_given(note.seq)?.map(|why| format!(": {}", escape::line(&why)));
            ui.data(&format!(
                "  {}\n",
                label(Label::Bad, &format!("✗ quarantined everywhere{}", why.unwrap_or_default()))
            ));
        }
        ui.data(&ui.next(next));
    }
    Ok(DONE)
}

/// Takes what lies beside the artifacts of a new release into the ledger, where a gate could ask for it. The release is there whatever comes of it.
fn collect(ui: &Ui, project: &Project, entry: &ReleaseEntry) -> Option<Collected> {
    if project.session.governance().gates.is_empty() {
        return None;
    }
    let warn = |told: &str| {
        let again =
            ui.to_paste(&command_line(["promo", "evidence", "collect", "--release", entry.release.id.as_str()]));
        ui.talk(&format!("{}: {} ({again})", label(Label::Warning, "warning"), escape::line(told)));
    };
    match project.runtime.block_on(project.session.collect_evidence(entry)) {
        Ok(collected) => {
            for broken in &collected.broken {
                warn(&format!("a document beside {} was not taken, {}: {}", broken.artifact, broken.at, broken.why));
            }
            for silent in &collected.silent {
                warn(&format!("nobody knows what promo has told of it at {}: {}", silent.repository, silent.why));
            }
            for unseen in &collected.unseen {
                warn(&format!("the release is added, and nobody knows where its commit is: {}", unseen.why));
            }
            Some(collected)
        }
        Err(error) => {
            warn(&format!("the release is added, and nobody knows what lies beside it: {error}"));
            None
        }
    }
}

/// The words of the command that says who wrote a release.
pub(crate) fn name_authors(release: &ReleaseId) -> [&str; 8] {
    ["promo", "release", "authors", release.as_str(), "--author", "NAME", "--key", "KEY"]
}

/// Warns of each environment of a plan that nobody can approve (S6.4): because a release comes along of which it is not known
/// who wrote it, where a rule wants to know, or because too few are left whom no rule excludes.
pub(super) fn warn_where_nobody_can_approve(ui: &Ui, project: &Project, document: &Document) -> Result<(), CliError> {
    if !document.body.moves.iter().any(Move::needs_approval) {
        return Ok(());
    }
    let view = project.session.view()?;
    let warning = label(Label::Warning, "warning");
    let digest = document.digest().map_err(|error| EngineError::from(PlanFileError::from(error)))?;
    let standings = project.session.standings(document, &digest, &view, &[], None, project.session.now()?)?;
    let roster = &project.session.governance().roster;
    for (environment, standing) in &standings {
        if let Some(text) = approving::nobody(standing, roster) {
            ui.talk(&format!("{warning}: nobody can approve {environment}: {text}"));
        }
    }
    let mut unwritten = Vec::new();
    for entry in &document.body.moves {
        unwritten.extend(project.session.unwritten(&view, entry)?);
    }
    for one in unwritten {
        let (release, environment) = (planner::reference(&view, &one.release).to_string(), &one.environment);
        let text = match &one.author {
            None => {
                let next = ui.to_paste(&command_line(name_authors(&one.release)));
                format!("nobody is named as an author of {release}, which comes along ({next})")
            }
            Some(author) => format!("policy does not know the author {author} of {release}, which comes along"),
        };
        ui.talk(&format!("{warning}: nobody can approve {environment}: {}", escape::line(&text)));
    }
    Ok(())
}

/// The scope of a quarantine that names no environment.
const EVERYWHERE: &str = "everywhere";

fn view_of(session: &Session, view: &View, entry: &ReleaseEntry) -> Result<ListedRelease, CliError> {
    let release = &entry.release;
    let here = |name: &&EnvironmentName| view.current(name).is_some_and(|r| r.release == release.id);
    Ok(ListedRelease {
        id: release.id.clone(),
        lineage: entry.lineage,
        alias: release.alias.clone(),
        added: entry.added,
        by: entry.by.name.clone(),
        artifacts: release.sources.clone(),
        files: release.content.files.len(),
        metadata: session.metadata(entry)?,
        authors: entry.authors.iter().map(ToString::to_string).collect(),
        environments: view.environments.keys().filter(here).map(ToString::to_string).collect(),
        quarantined: view
            .quarantines
            .keys()
            .filter(|(id, _)| *id == release.id)
            .map(|(_, scope)| scope.as_ref().map_or_else(|| EVERYWHERE.into(), ToString::to_string))
            .collect(),
        passages: Vec::new(),
        quarantines: Vec::new(),
        recalls: Vec::new(),
        tags: Vec::new(),
        evidence: Vec::new(),
        since: None,
        collected: None,
        next: String::new(),
    })
}

/// Where a quarantine holds, in words, by how [`ListedRelease`] names its scope.
fn barred_where(scope: &str) -> String {
    if scope == EVERYWHERE { scope.to_owned() } else { format!("for {scope} and downstream") }
}

fn list(ui: &Ui, global: &Global) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let view = project.session.view()?;
    let zone = ui::zone(global)?;
    let newest_first = view.releases.iter().rev();
    let views = newest_first.map(|entry| view_of(&project.session, &view, entry)).collect::<Result<Vec<_>, _>>()?;
    if ui.format() == Format::Json {
        ui.answer(&Releases { releases: views });
        return Ok(DONE);
    }
    if views.is_empty() {
        ui.data(&format!("There are no releases yet.\n{}", ui.next(&ways::new_release(&project.session))));
    }
    let mut lines = Vec::new();
    for release in views {
        let alias = escape::line(release.alias.as_deref().unwrap_or("-"));
        let places = if release.environments.is_empty() {
            "runs nowhere".into()
        } else {
            format!("runs in {}", release.environments.join(", "))
        };
        // A list of its own, with its place: it runs in one place and may be quarantined for another.
        let barred = match release.quarantined.is_empty() {
            true => String::new(),
            false => {
                let places: Vec<String> = release.quarantined.iter().map(|scope| barred_where(scope)).collect();
                label(Label::Bad, &format!("quarantined {}", places.join(", ")))
            }
        };
        let (id, number, added) = (release.id, release.lineage, time::short(release.added, &zone));
        lines.push(vec![format!("#{number}"), id.to_string(), alias, added, places, barred]);
    }
    ui.data(&table::columns(&lines, "", ui.width()));
    Ok(DONE)
}

fn show(ui: &Ui, global: &Global, release: &str) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let view = project.session.view()?;
    let id = select::release(&view, release)?;
    let entry = view.release(&id).expect("invariant: it was just found");
    let mut shown = view_of(&project.session, &view, entry)?;
    shown.tags = tags::of_sources(&project.session.governance().pipeline, entry.release.sources.values());
    shown.evidence = project
        .session
        .evidence_of(&view, entry)?
        .iter()
        .map(|brought| DocumentView::of(brought, &project.session))
        .collect();
    shown.passages = PassageView::all(&project.session, &view, &id)?;
    shown.quarantines = QuarantineView::all(&project.session, &view, &id)?;
    shown.recalls = RecallView::all(&project.session, &view, &id)?;
    let since = project.runtime.block_on(project.session.since(entry))?;
    shown.since = since.map(|since| SinceView::of(since, &view));
    if ui.format() == Format::Json {
        ui.answer(&shown);
        return Ok(DONE);
    }
    let zone = ui::zone(global)?;
    let alias = escape::line(shown.alias.as_deref().unwrap_or(""));
    let now = project.session.now()?;
    let mut out = format!("{id} (#{}) {alias}\n  {}\n", shown.lineage, passages::answer(&shown.passages));
    out.extend(shown.quarantines.iter().map(|one| passages::quarantine(one, &zone)));
    out.extend(shown.recalls.iter().map(|one| passages::recall(one, &zone)));
    out.push_str(&passages::text(&shown.passages, now, &zone));
    out.push_str(&format!("  added {} by {}\n", time::long(shown.added, &zone), escape::line(&shown.by)));
    for (name, reference) in &shown.artifacts {
        out.push_str(&format!("  {name:<12} {}\n", escape::line(reference)));
    }
    for tag in &shown.tags {
        let (name, known) = (escape::line(&tag.tag), escape::line(&tag.known));
        out.push_str(&format!("  tag {name} for {}: {}, {known}\n", escape::line(&tag.environment), tag.level));
    }
    for (path, digest) in &entry.release.content.files {
        out.push_str(&format!("  file {} {digest}\n", escape::line(path)));
    }
    for (key, value) in &shown.metadata {
        out.push_str(&format!("  {} = {}\n", escape::line(key), escape::line(value)));
    }
    if !shown.authors.is_empty() {
        let names: Vec<String> = shown.authors.iter().map(|name| escape::line(name)).collect();
        out.push_str(&format!("  written by {}, as was signed afterwards\n", names.join(", ")));
    }
    if let Some(since) = &shown.since {
        out.push_str(&since.text());
    }
    for document in &shown.evidence {
        let made = document.made.map(|made| format!(", of {}", time::short(made, &zone))).unwrap_or_default();
        let by = escape::line(&document.by);
        let short = document.document.short();
        out.push_str(&format!("  evidence {short}… {}{made}, brought by {by}\n", escape::line(&document.text())));
    }
    ui.data(&table::fold(&out, ui.width()));
    Ok(DONE)
}
