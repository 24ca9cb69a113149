//! Whether checks could be run on this machine, which a plan, `why`, `check` and `doctor` ask before anything is changed, in
//! one wording; and whether what a pipeline names can be deployed at all, which `check` asks. No check is run. What must not
//! live here: what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use promo_core::Digest;
use promo_core::gate::Reason;
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::inputs::{ArtifactInput, Inputs};
use promo_core::model::{Check, Pipeline, Target};
use promo_core::planner::{mirror, refused_images};
use promo_sdk::{Blobs, CheckRequest, ErrorKind, ProviderError};

use crate::clock::SystemClock;
use crate::error::EngineError;
use crate::observe::contents;
use crate::session::{Providers, outside};

/// Of each automatic check of an environment, with the files of the directory `root` as they are now, the reason for which
/// it could not be run here.
///
/// # Errors
/// When a provider is not known, or its files change while they are looked at.
pub async fn readiness(
    pipeline: &Pipeline,
    providers: &Providers,
    root: &Path,
    environment: &EnvironmentName,
) -> Result<Vec<(CheckName, Option<Reason>)>, EngineError> {
    let mut out = Vec::new();
    for name in pipeline.environments.get(environment).iter().flat_map(|declared| &declared.verify) {
        let check = pipeline.checks.get(name).map(|check| check.for_environment(environment));
        let Some(Check::Automatic { provider, settings, files }) = check else { continue };
        let found = match contents(root, &files) {
            Err(error) => Some(Reason::CheckNotRunnable { check: name.clone(), why: with_causes(&error) }),
            Ok(contents) => {
                let contents: Vec<(String, Digest, Vec<u8>)> =
                    contents.into_iter().map(|(path, bytes)| (path, Digest::of(&bytes), bytes)).collect();
                let inputs = Inputs {
                    environment: environment.clone(),
                    release: no_release(),
                    target: Target(BTreeMap::new()),
                    settings,
                    artifacts: BTreeMap::new(),
                    files: contents.iter().map(|(path, digest, _)| (path.clone(), *digest)).collect(),
                };
                let contents = Contents(contents.into_iter().map(|(_, digest, bytes)| (digest, bytes)).collect());
                let cx = outside(Arc::new(SystemClock), Arc::new(contents), root.to_path_buf());
                let request = CheckRequest { inputs, check: name.to_string(), token: String::new() };
                unready(name, environment, providers.get(&provider)?.ready(&cx, &request).await)?
            }
        };
        out.push((name.clone(), found));
    }
    let watched = pipeline.environments.get(environment).is_some_and(|declared| declared.watch.is_some());
    if let (true, [(_, None), ..]) = (watched, out.as_slice()) {
        let provider = |name: &CheckName| match pipeline.checks.get(name) {
            Some(Check::Automatic { provider, .. }) => providers.get(provider).map(|provider| provider.looks_during()),
            _ => Ok(false),
        };
        let during = out.iter().map(|(name, _)| provider(name)).collect::<Result<Vec<_>, _>>()?;
        if during.iter().all(|during| *during) {
            out[0].1 = Some(nothing_to_watch(&out[0].0));
        }
    }
    Ok(out)
}

/// That an environment is watched in which no check can be asked again (S1.4).
pub(crate) fn nothing_to_watch(check: &CheckName) -> Reason {
    let why = "it looks only while something is deployed, and the environment is watched: name a check that can be asked again";
    Reason::CheckNotRunnable { check: check.clone(), why: why.to_owned() }
}

/// Of each environment, what is certainly wrong with what is deployed there, whatever the release, with the files of the
/// directory `root` as they are now: a template that names a value that there is not, an image that can move although policy
/// (`movable`, by environment) does not let it. No server is asked.
///
/// # Errors
/// When a provider is not known, or a file cannot be read.
pub async fn unsound(
    pipeline: &Pipeline,
    movable: &BTreeMap<EnvironmentName, BTreeSet<String>>,
    providers: &Providers,
    root: &Path,
) -> Result<Vec<(EnvironmentName, ProviderError)>, EngineError> {
    let (mut out, none) = (Vec::new(), BTreeSet::new());
    for (name, environment) in &pipeline.environments {
        let Some(deploy) = &environment.deploy else { continue };
        let found: Vec<(String, Digest, Vec<u8>)> =
            contents(root, &deploy.files)?.into_iter().map(|(path, bytes)| (path, Digest::of(&bytes), bytes)).collect();
        let artifacts = pipeline.artifacts.iter().map(|(artifact, declared)| {
            let repository = mirror(&environment.mirror, &declared.repository);
            let input = ArtifactInput {
                repository: repository.unwrap_or_else(|| declared.repository.clone()),
                digest: Digest::of(b""),
                tag: Some("0.0.0".into()),
                source: None,
                tree: Vec::new(),
            };
            (artifact.clone(), input)
        });
        let inputs = Inputs {
            environment: name.clone(),
            release: no_release(),
            target: environment.targets.values().next().cloned().unwrap_or_else(|| Target(BTreeMap::new())),
            settings: deploy.settings.clone(),
            artifacts: artifacts.collect(),
            files: found.iter().map(|(path, digest, _)| (path.clone(), *digest)).collect(),
        };
        let contents = Contents(found.into_iter().map(|(_, digest, bytes)| (digest, bytes)).collect());
        let cx = outside(Arc::new(SystemClock), Arc::new(contents), root.to_path_buf());
        match providers.get(&deploy.provider)?.lint(&cx, &inputs).await {
            Ok(images) => {
                let reasons = refused_images(&images, &inputs.artifacts, movable.get(name).unwrap_or(&none));
                let invalid = |reason: Reason| ProviderError::new(ErrorKind::Invalid, reason.to_string());
                out.extend(reasons.into_iter().map(|reason| (name.clone(), invalid(reason))));
            }
            Err(error) if error.kind == ErrorKind::Invalid => out.push((name.clone(), error)),
            Err(source) => {
                return Err(EngineError::about(None, format!("looking at what is deployed to {name}"), source));
            }
        }
    }
    Ok(out)
}

/// The programs of this machine that the deployments of a pipeline are made with, such as helm, each with its version; where one
/// cannot be asked, by the name of its provider, why. Programs of one name are told once.
///
/// # Errors
/// When a provider is not known.
pub async fn programs(
    pipeline: &Pipeline,
    providers: &Providers,
    root: &Path,
) -> Result<BTreeMap<String, Result<String, ProviderError>>, EngineError> {
    let cx = outside(Arc::new(SystemClock), Arc::new(Contents(BTreeMap::new())), root.to_path_buf());
    let mut out = BTreeMap::new();
    for (name, environment) in &pipeline.environments {
        let Some(deploy) = &environment.deploy else { continue };
        let inputs = Inputs {
            environment: name.clone(),
            release: no_release(),
            target: Target(BTreeMap::new()),
            settings: deploy.settings.clone(),
            artifacts: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        match providers.get(&deploy.provider)?.programs(&cx, &inputs).await {
            Ok(found) => out.extend(found.into_iter().map(|(program, version)| (program, Ok(version)))),
            Err(error) => {
                out.entry(deploy.provider.clone()).or_insert(Err(error));
            }
        }
    }
    Ok(out)
}

/// What stands for a release where there is none yet.
fn no_release() -> ReleaseId {
    "r-000000000000".parse().expect("invariant: it has the form of a release's id")
}

/// What a provider's answer says of this machine. What may be so for a moment only says nothing.
pub(crate) fn unready(
    check: &CheckName,
    environment: &EnvironmentName,
    answer: Result<(), ProviderError>,
) -> Result<Option<Reason>, EngineError> {
    let Err(source) = answer else { return Ok(None) };
    match source.kind {
        ErrorKind::Transient | ErrorKind::Offline => Ok(None),
        ErrorKind::Cancelled => Err(EngineError::Stopped),
        // Its files are not what they were a moment ago: that is no news about the machine.
        ErrorKind::Conflict | ErrorKind::Integrity | ErrorKind::Moved => {
            let doing = format!("looking whether {check} could be run for {environment}");
            Err(EngineError::about(None, doing, source))
        }
        _ => Ok(Some(Reason::CheckNotRunnable { check: check.clone(), why: source.to_string() })),
    }
}

/// An error with everything beneath it, in a line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let words: Vec<String> = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    words.join(": ")
}

/// The files of one check.
struct Contents(BTreeMap<Digest, Vec<u8>>);

impl Blobs for Contents {
    fn get(&self, digest: &Digest) -> Result<Vec<u8>, ProviderError> {
        let none = || ProviderError::new(ErrorKind::NotFound, format!("there is no content with digest {digest}"));
        self.0.get(digest).cloned().ok_or_else(none)
    }
}
