//! Reads what the planner needs from outside: files, live states, artifacts. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use promo_core::Digest;
use promo_core::gate::Reason;
use promo_core::ids::{EnvironmentName, ReleaseId, TargetName};
use promo_core::inputs::Inputs;
use promo_core::ledger::View;
use promo_core::model::Check;
use promo_core::planner::{DeploymentSettings, Observations};
use promo_core::state::State;
use promo_sdk::{ErrorKind, ObserveRequest, ResolveRequest};

use crate::error::EngineError;
use crate::session::Session;

/// Files larger than this are refused as configuration (S13.2).
const MAX_FILE: u64 = 1 << 20;

/// Everything but the artifacts.
pub(crate) async fn observe(session: &Session, view: &View) -> Result<Observations, EngineError> {
    let files = working_tree(session)?;
    let mut observations = Observations { files, ..Observations::default() };
    for (name, environment) in &view.environments {
        for residence in &environment.residences {
            if let Some(settings) = recorded_settings(session, &residence.settings)? {
                observations.settings.insert(residence.settings, settings);
            }
        }
        let Some(current) = environment.residences.last() else { continue };
        let Some(settings) = observations.settings.get(&current.settings).cloned() else { continue };
        for target in current.targets.keys() {
            let state = live(session, name, target, &current.release, &current.files, &settings).await?;
            observations.live.insert((name.clone(), target.clone()), state);
        }
    }
    Ok(observations)
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
        Ok(state) => Ok(state),
        Err(error) if error.kind == ErrorKind::Cancelled => Err(EngineError::Stopped),
        // One place that cannot be read must not stop what has nothing to do with it: it is shown as unknown, and a move
        // there fails at its own preview.
        Err(error) => {
            tracing::warn!(%error, environment = %name, place = place.address(), "cannot be observed");
            Ok(State::Unknown)
        }
    }
}

/// The settings of that digest; none where they are not to be had.
pub(crate) fn recorded_settings(session: &Session, digest: &Digest) -> Result<Option<DeploymentSettings>, EngineError> {
    let Some(bytes) = session.store.get_blob(digest)? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// What an artifact is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// Its digest: a way back needs nothing else, and a tag that moved must not bar it (S10.1).
    ForDigest,
    /// Its tag, which must still name the digest (R2).
    ForTag,
}

/// What is wrong with the artifacts of these releases (R2): a tag that moved, or a manifest that is gone.
pub(crate) async fn artifacts(
    session: &Session,
    view: &View,
    releases: &BTreeMap<ReleaseId, Ask>,
    observations: &mut Observations,
) -> Result<(), EngineError> {
    for (id, ask) in releases {
        let Some(entry) = view.release(id) else { continue };
        let mut findings = Vec::new();
        for (artifact, recorded) in &entry.release.content.components {
            let Some(reference) = entry.release.sources.get(artifact) else { continue };
            // The tag is asked for, not the digest: whether it moved is the question.
            let request = ResolveRequest { reference: reference.split('@').next().unwrap_or_default().to_string() };
            let tagged = request.reference.rsplit('/').next().is_some_and(|last| last.contains(':'))
                && !is_bare_layout(&request.reference);
            let request =
                if tagged && *ask == Ask::ForTag { request } else { ResolveRequest { reference: reference.clone() } };
            match session.providers.get("oci")?.resolve(&session.context, &request).await {
                Ok(resolved) if resolved.digest == *recorded => {}
                Ok(resolved) => findings.push(Reason::TagMoved {
                    artifact: artifact.clone(),
                    reference: request.reference,
                    recorded: *recorded,
                    found: resolved.digest,
                }),
                Err(error) if error.kind == ErrorKind::Cancelled => return Err(EngineError::Stopped),
                Err(error) => {
                    findings.push(Reason::ArtifactUnavailable { artifact: artifact.clone(), why: error.to_string() });
                }
            }
        }
        observations.artifacts.insert(id.clone(), findings);
    }
    Ok(())
}

/// `oci-layout:PATH` without a tag: its colon belongs to the scheme.
fn is_bare_layout(reference: &str) -> bool {
    reference.strip_prefix("oci-layout:").is_some_and(|path| !path.rsplit('/').next().unwrap_or(path).contains(':'))
}

/// Every file of the working tree that the pipeline uses, with its digest. Contents are remembered for previews.
pub(crate) fn working_tree(session: &Session) -> Result<BTreeMap<String, Digest>, EngineError> {
    let pipeline = &session.governance.pipeline;
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
        matches(session.root(), pattern, &mut paths)?;
    }
    let mut files = BTreeMap::new();
    for path in paths {
        let digest = digest_of(session.root(), &path)?;
        session.files().remember(digest, &path);
        files.insert(path, digest);
    }
    Ok(files)
}

/// Reads a file of the working tree and returns its digest. The file itself must lie in the tree: what a link leads to is
/// a file of the runner, and would be shown in a plan and kept in the ledger (S13.2).
fn digest_of(root: &Path, path: &str) -> Result<Digest, EngineError> {
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
    Ok(Digest::of(&bytes))
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
