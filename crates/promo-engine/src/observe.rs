//! Reads what the planner needs from outside: files, live states, artifacts. Nothing here changes anything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::PoisonError;

use promo_core::Digest;
use promo_core::eligibility::ArtifactFindings;
use promo_core::gate::Reason;
use promo_core::ids::{EnvironmentName, ReleaseId, TargetName};
use promo_core::inputs::Inputs;
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::model::{Check, Pipeline};
use promo_core::plan::{Document, PlannedCheck};
use promo_core::planner::{self, DeploymentSettings, Draft, Observations, Selection, split_reference};
use promo_core::state::State;
use promo_sdk::{ErrorKind, ObserveRequest, ResolveRequest};

use crate::error::EngineError;
use crate::session::Session;

/// Files larger than this are refused as configuration (S13.2).
const MAX_FILE: u64 = 1 << 20;

/// What no provider has to be asked for: the files of the working tree, and the settings of earlier residences.
pub(crate) fn here(session: &Session, view: &View) -> Result<Observations, EngineError> {
    let files = working_tree(session)?;
    Ok(Observations { files, ..recorded(session, view)? })
}

/// The settings of earlier residences alone.
pub(crate) fn recorded(session: &Session, view: &View) -> Result<Observations, EngineError> {
    let mut observations = Observations::default();
    for residence in view.environments.values().flat_map(|environment| &environment.residences) {
        if let Some(settings) = recorded_settings(session, &residence.settings)? {
            observations.settings.insert(residence.settings, settings);
        }
    }
    Ok(observations)
}

/// Everything but the artifacts.
pub(crate) async fn observe(session: &Session, view: &View) -> Result<Observations, EngineError> {
    let mut observations = here(session, view)?;
    for name in view.environments.keys() {
        look_at(session, view, name, &mut observations).await?;
    }
    Ok(observations)
}

/// Adds what is live on the targets of one environment.
pub(crate) async fn look_at(
    session: &Session,
    view: &View,
    name: &EnvironmentName,
    observations: &mut Observations,
) -> Result<(), EngineError> {
    let Some(current) = view.current(name) else { return Ok(()) };
    let Some(settings) = observations.settings.get(&current.settings).cloned() else { return Ok(()) };
    for target in current.targets.keys() {
        let state = live(session, name, target, &current.release, &current.files, &settings).await?;
        observations.live.insert((name.clone(), target.clone()), state);
    }
    Ok(())
}

/// What is live on one target.
async fn live(
    session: &Session,
    name: &EnvironmentName,
    target: &TargetName,
    release: &ReleaseId,
    files: &BTreeMap<String, Digest>,
    settings: &DeploymentSettings,
) -> Result<State, EngineError> {
    let (Some(provider), Some(place)) = (&settings.provider, settings.targets.get(target)) else {
        return Ok(State::Absent);
    };
    let inputs = Inputs {
        environment: name.clone(),
        release: release.clone(),
        target: place.clone(),
        settings: settings.settings.clone(),
        artifacts: BTreeMap::new(),
        files: files.clone(),
    };
    let provider = session.providers.get(provider)?;
    match provider.observe(&session.context, &ObserveRequest { inputs }).await {
        Ok(state) => {
            session.unseen.lock().unwrap_or_else(PoisonError::into_inner).remove(&(name.clone(), target.clone()));
            Ok(state)
        }
        Err(error) if error.kind == ErrorKind::Cancelled => Err(EngineError::Stopped),
        // One place that cannot be read must not stop what has nothing to do with it: it is shown as unknown, and a move
        // there fails at its own preview.
        Err(error) => {
            tracing::debug!(%error, environment = %name, place = place.address(), "cannot be observed");
            let place = (name.clone(), target.clone());
            session.unseen.lock().unwrap_or_else(PoisonError::into_inner).insert(place, error);
            Ok(State::Unknown)
        }
    }
}

/// Adds what judged each release that a selection goes back to when it was there, which stands in the plan of then. Whether one
/// was judged with other files than those that were drafted: then the selection is to be made anew. Where a check has no files of
/// its environment's own there is nothing to look for: shared ones are the release's.
pub(crate) fn judged(
    session: &Session,
    view: &View,
    selection: &Selection,
    observations: &mut Observations,
) -> Result<bool, EngineError> {
    let (mut other, mut plans) = (false, BTreeMap::new());
    for Draft { head, .. } in &selection.moves {
        let comes_back = head.drill || head.movement == Movement::Rollback;
        let back = head.rollback.iter().map(|back| (&back.to.id, &back.checks));
        for (release, checks) in back.chain(comes_back.then_some((&head.to.id, &head.checks))) {
            let place = (head.environment.clone(), release.clone());
            if observations.judged.contains_key(&place) {
                continue;
            }
            let before = match own_files(view, release, checks).next() {
                Some(_) => judges(session, view, &place, &mut plans)?,
                None => Ok(Vec::new()),
            };
            let before = before.unwrap_or_else(|plan| {
                observations.unread.insert(place.clone(), plan);
                Vec::new()
            });
            let differs = |now: &PlannedCheck| {
                before.iter().any(|before| before.name == now.name && before.inputs.files != now.inputs.files)
            };
            other |= checks.iter().any(differs);
            observations.judged.insert(place, before);
        }
    }
    Ok(other)
}

/// The files of checks that are an environment's own: those that a release carries are its own wherever it goes.
fn own_files<'a>(
    view: &'a View,
    release: &ReleaseId,
    checks: &'a [PlannedCheck],
) -> impl Iterator<Item = (&'a PlannedCheck, &'a String)> {
    let carried = view.release(release).map(|entry| &entry.release.content.files);
    let all = checks.iter().flat_map(|check| check.inputs.files.keys().map(move |path| (check, path)));
    all.filter(move |(_, path)| carried.is_none_or(|carried| !carried.contains_key(*path)))
}

/// Adds what judged the release that an environment has when it came there: asked again, it is asked with the same files (S2.4).
/// Gives the checks that are asked with others than those of here, and the files in which that shows.
pub(crate) fn judged_here(
    session: &Session,
    view: &View,
    name: &EnvironmentName,
    release: &ReleaseId,
    observations: &mut Observations,
) -> Result<Vec<PlannedCheck>, EngineError> {
    let rules = session.governance.rules();
    let now = planner::checks_of(&rules, view, observations, name, release);
    if own_files(view, release, &now).next().is_none() {
        return Ok(now);
    }
    let place = (name.clone(), release.clone());
    match judges(session, view, &place, &mut BTreeMap::new())? {
        Ok(before) => observations.judged.insert(place, before),
        // It was said already, and the files of here are all that there is.
        Err(_) => None,
    };
    let then = planner::checks_of(&rules, view, observations, name, release);
    for (now, then) in now.iter().zip(&then) {
        let other = then.inputs.files.iter().filter(|(path, digest)| now.inputs.files.get(*path) != Some(digest));
        let other: Vec<&str> = other.map(|(path, _)| path.as_str()).collect();
        if !other.is_empty() {
            let (check, files) = (now.name.as_str(), other.join(", "));
            tracing::warn!(check, files, "asked with the files that came with the deployment: here they are others");
        }
    }
    Ok(then)
}

/// The checks that were planned for a release when it last came to an environment; none where nobody planned it. The plan that
/// brought it, where that is there and cannot be read: a newer version of promo may have made it, and no way back may depend on
/// that. One that is not there is damage, on which nothing is decided.
fn judges(
    session: &Session,
    view: &View,
    (name, release): &(EnvironmentName, ReleaseId),
    plans: &mut BTreeMap<Digest, Option<Document>>,
) -> Result<Result<Vec<PlannedCheck>, Digest>, EngineError> {
    let none = Ok(Ok(Vec::new()));
    let mut residences = view.environment(name).into_iter().flat_map(|known| known.residences.iter().rev());
    let Some(residence) = residences.find(|residence| residence.release == *release) else { return none };
    let Some((id, run)) = residence.run.as_ref().and_then(|run| view.runs.get_key_value(run)) else { return none };
    let plan = match plans.entry(run.plan) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => {
            let bytes = session.kept(&run.plan, &format!("the plan of run {id}"))?;
            let plan = Document::from_bytes(&bytes).map_err(|error| {
                let plan = run.plan;
                tracing::warn!(%error, %plan, environment = %name, %release, "the files that judged it cannot be told");
            });
            new.insert(plan.ok().map(|(document, _)| document))
        }
    };
    let Some(plan) = plan else { return Ok(Err(run.plan)) };
    let Some(entry) = plan.body.moves.iter().find(|entry| entry.environment == *name) else { return none };
    let there = (&entry.to.id, &entry.settings, &entry.files, &entry.checks);
    let back = entry.rollback.as_ref().map(|back| (&back.to.id, &back.settings, &back.files, &back.checks));
    let came = |(id, settings, files, _): &(&ReleaseId, &Digest, &BTreeMap<String, Digest>, _)| {
        *id == release && **settings == residence.settings && **files == residence.files
    };
    let way = [Some(there), back].into_iter().flatten().find(came);
    Ok(Ok(way.map(|(.., checks)| checks.clone()).unwrap_or_default()))
}

/// The settings of that digest, which a deployment of the ledger names; none where they are of a form that nobody knows here.
pub(crate) fn recorded_settings(session: &Session, digest: &Digest) -> Result<Option<DeploymentSettings>, EngineError> {
    let bytes = session.kept(digest, "the settings of a deployment")?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// What an artifact is asked for. For one release it can be its digest and its tag: two questions, each with its answer, so that
/// the one does not depend on whether the other was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Its digest, as a way back: where that is refused another release is one, or none is, and the plan says so (S10.1).
    AsWayBack,
    /// Its digest: a tag that moved must not bar a rollback (S10.1).
    ForDigest,
    /// Its tag, which must still name the digest (R2).
    ForTag,
}

impl Ask {
    /// What is known already of what is asked for.
    pub(crate) const fn known(self, observations: &Observations) -> &ArtifactFindings {
        match self {
            Self::AsWayBack | Self::ForDigest => &observations.restored,
            Self::ForTag => &observations.artifacts,
        }
    }
}

/// What is wrong with the artifacts of these releases (R2): a tag that moved, or a manifest that is gone. Nobody is asked what is
/// known.
///
/// # Errors
/// What could not be looked at is no finding: bytes that are not what their digest says (S2.2), a registry that refuses or
/// does not answer. A plan would otherwise take them for something that is merely not there yet.
pub(crate) async fn artifacts(
    session: &Session,
    view: &View,
    releases: &BTreeSet<(ReleaseId, Ask)>,
    observations: &mut Observations,
) -> Result<(), EngineError> {
    // By its tag first: where that names what was recorded, the digest is there as well. And how a rollback looks, before how a way
    // back does, which is content with less.
    for (id, ask) in releases.iter().rev() {
        if ask.known(observations).contains_key(id) {
            continue;
        }
        let mut findings = Vec::new();
        let Some(entry) = view.release(id) else {
            observations.artifacts.entry(id.clone()).or_default();
            observations.restored.entry(id.clone()).or_default();
            continue;
        };
        for (artifact, recorded) in &entry.release.content.components {
            let Some(source) = entry.release.sources.get(artifact) else { continue };
            // Not both at once: with the digest alone nobody asks whether the tag moved, and with the tag that is the question.
            let reference = match split_reference(source) {
                (repository, Some(tag)) if *ask == Ask::ForTag => format!("{repository}:{tag}"),
                (repository, _) => format!("{repository}@{recorded}"),
            };
            let request = ResolveRequest { reference: reference.clone() };
            let error = match session.providers.get("oci")?.resolve(&session.context, &request).await {
                Ok(mut resolved) if resolved.digest == *recorded => {
                    resolved.tree.retain(|digest| digest != recorded);
                    if !resolved.tree.is_empty() {
                        resolved.tree.sort_unstable();
                        observations.trees.insert(*recorded, resolved.tree);
                    }
                    continue;
                }
                Ok(resolved) => {
                    let (artifact, found) = (artifact.clone(), resolved.digest);
                    findings.push(Reason::TagMoved { artifact, reference, recorded: *recorded, found });
                    continue;
                }
                Err(error) => error,
            };
            let unavailable = match error.kind {
                ErrorKind::Cancelled => return Err(EngineError::Stopped),
                ErrorKind::NotFound | ErrorKind::Offline => true,
                ErrorKind::Integrity | ErrorKind::Transient | ErrorKind::Broken | ErrorKind::Newer => false,
                _ => *ask == Ask::AsWayBack,
            };
            if !unavailable {
                let doing = format!("resolving {artifact} of {id} ({reference})");
                return Err(EngineError::about(None, doing, error));
            }
            let why = match without_tag(session, source, recorded, &reference, &error).await {
                Some(why) => why,
                None => error.to_string(),
            };
            findings.push(Reason::ArtifactUnavailable { artifact: artifact.clone(), why });
        }
        match ask {
            Ask::AsWayBack | Ask::ForDigest => observations.restored.insert(id.clone(), findings),
            Ask::ForTag => {
                if findings.is_empty() {
                    observations.restored.entry(id.clone()).or_default();
                }
                observations.artifacts.insert(id.clone(), findings)
            }
        };
    }
    Ok(())
}

/// Says where only the tag is gone, and what it named is there: whoever reads that the artifact is gone looks for it in vain.
async fn without_tag(
    session: &Session,
    source: &str,
    recorded: &Digest,
    asked: &str,
    error: &promo_sdk::ProviderError,
) -> Option<String> {
    let (repository, tag) = split_reference(source);
    let reference = format!("{repository}@{recorded}");
    let tag = tag.filter(|_| error.kind == ErrorKind::NotFound && asked != reference)?;
    let request = ResolveRequest { reference };
    let found = session.providers.get("oci").ok()?.resolve(&session.context, &request).await.ok()?;
    (found.digest == *recorded)
        .then(|| format!("the registry has no tag `{tag}` any more, and has what it named: {recorded}"))
}

/// Every file of the working tree that the pipeline uses, with its digest. Contents are remembered for previews.
pub(crate) fn working_tree(session: &Session) -> Result<BTreeMap<String, Digest>, EngineError> {
    let mut files = BTreeMap::new();
    for path in used(&session.governance.pipeline, session.root())? {
        let digest = Digest::of(&read(session.root(), &path)?);
        session.files().remember(digest, &path);
        files.insert(path, digest);
    }
    Ok(files)
}

/// Whether every file below `root` that a pipeline uses can be read, as a plan reads them.
///
/// # Errors
/// When one cannot be read, or a path names none.
pub fn readable(pipeline: &Pipeline, root: &Path) -> Result<(), EngineError> {
    used(pipeline, root)?.iter().try_for_each(|path| read(root, path).map(drop))
}

/// The files below `root` that a pipeline uses.
fn used(pipeline: &Pipeline, root: &Path) -> Result<BTreeSet<String>, EngineError> {
    let mut patterns: BTreeSet<String> = BTreeSet::new();
    for (name, environment) in &pipeline.environments {
        patterns.extend(environment.deploy.iter().flat_map(|d| d.files.iter().cloned()));
        for check in environment.verify.iter().filter_map(|c| pipeline.checks.get(c)) {
            if let Check::Automatic { files, .. } = check.for_environment(name) {
                patterns.extend(files);
            }
        }
    }
    let mut paths = BTreeSet::new();
    for pattern in &patterns {
        matches(root, pattern, &mut paths)?;
    }
    Ok(paths)
}

/// The files of a directory that these paths and globs name, with their contents, as a plan would read them.
///
/// # Errors
/// When one cannot be read, or a path names none.
pub(crate) fn contents(root: &Path, patterns: &[String]) -> Result<BTreeMap<String, Vec<u8>>, EngineError> {
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        matches(root, pattern, &mut paths)?;
    }
    paths.into_iter().map(|path| Ok((path.clone(), read(root, &path)?))).collect()
}

/// Reads a file of the working tree. The file itself must lie in the tree: what a link leads to is
/// a file of the runner, and would be shown in a plan and kept in the ledger (S13.2).
fn read(root: &Path, path: &str) -> Result<Vec<u8>, EngineError> {
    let file = |source| EngineError::File { path: path.to_string(), source };
    let refuse = |kind, why: String| Err(file(std::io::Error::new(kind, why)));
    let full = root.join(path);
    let real = full.canonicalize().map_err(file)?;
    if real != root.canonicalize().map_err(file)?.join(path) {
        let why = "it is a link, or lies behind one: put the file itself there".to_string();
        return refuse(std::io::ErrorKind::InvalidInput, why);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&real).map_err(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(file)?;
    if bytes.len() as u64 > MAX_FILE {
        let why = format!("it is larger than {MAX_FILE} bytes, the most that a configuration file may have");
        return refuse(std::io::ErrorKind::FileTooLarge, why);
    }
    Ok(bytes)
}

/// Adds the files below `root` that match. A pattern without wildcards that names nothing is an error: a typing mistake
/// must not quietly deploy less.
fn matches(root: &Path, pattern: &str, paths: &mut BTreeSet<String>) -> Result<(), EngineError> {
    if !pattern.contains(['*', '?', '[', '{']) {
        let named = root.join(pattern);
        if named.is_file() {
            paths.insert(pattern.to_string());
            return Ok(());
        }
        if named.is_dir() {
            let mut below = BTreeSet::new();
            walk(root, pattern, &named, &mut below)?;
            if !below.is_empty() {
                paths.append(&mut below);
                return Ok(());
            }
        }
        let why = match std::fs::metadata(&named) {
            Ok(found) if found.is_dir() => "there is no file in this directory",
            Ok(_) => "it is no regular file",
            Err(_) => "there is no such file, and `promo.toml` names it",
        };
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, why);
        return Err(EngineError::File { path: pattern.to_string(), source });
    }
    let fixed: Vec<&str> = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect();
    let base = root.join(fixed.join("/"));
    if !base.is_dir() {
        return Ok(());
    }
    walk(root, pattern, &base, paths)
}

fn walk(root: &Path, pattern: &str, base: &Path, paths: &mut BTreeSet<String>) -> Result<(), EngineError> {
    let hidden = |entry: &walkdir::DirEntry| {
        entry.depth() > 0 && matches!(entry.file_name().to_str(), Some(".git" | ".promo") | None)
    };
    for entry in walkdir::WalkDir::new(base).into_iter().filter_entry(|e| !hidden(e)) {
        let entry = entry.map_err(|e| EngineError::File {
            path: pattern.to_string(),
            source: e.into_io_error().unwrap_or_else(|| std::io::ErrorKind::Other.into()),
        })?;
        let relative = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
        if let (true, Some(relative)) = (entry.file_type().is_file(), relative)
            && promo_core::planner::matches(pattern, relative)
        {
            paths.insert(relative.to_string());
        }
    }
    Ok(())
}
