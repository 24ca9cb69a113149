//! Releases enter the ledger and are rejected; environments are frozen. What must not live here: recalls.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::Digest;
use promo_core::ids::{ArtifactName, EnvironmentName, ReleaseId};
use promo_core::ledger::record::{ARTIFACT_METADATA, CONTRADICTED, METADATA, REASON, SAID_WHERE};
use promo_core::ledger::view::ReleaseEntry;
use promo_core::ledger::{Draft, Event, View};
use promo_core::planner::shared_files;
use promo_core::release::{Alias, Release, ReleaseContent};
use promo_core::requirement::{Nature, need};
use promo_ledger::{AppendError, Expect};
use promo_sdk::{Blobs as _, ResolveRequest, Resolved};
use serde::Serialize;

use crate::error::EngineError;
use crate::metadata::{AUTHORS, BUILDER};
use crate::session::Session;
use crate::{metadata, observe};

/// Where something stands that was given with a release, as gates name it.
const GIVEN: &str = "`--meta` of `release add`";

/// A release to be added: what the build reported.
#[derive(Debug, Clone, Default)]
pub struct NewRelease {
    /// Component to reference: `TAG`, `sha256:…`, `TAG@sha256:…`, or a whole reference in the artifact's repository.
    pub artifacts: BTreeMap<ArtifactName, String>,
    /// A name for people.
    pub alias: Option<Alias>,
    /// What the build said of itself.
    pub metadata: BTreeMap<String, String>,
    /// Whether what the registry shows of an artifact holds instead of what was recorded of it before.
    pub correct: bool,
}

/// What a registry shows of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    nature: Option<Nature>,
    pub(crate) platforms: BTreeMap<Digest, Option<Digest>>,
}

impl Described {
    /// What has no part that runs somewhere (a plugin, an index of attestations) is judged as one.
    fn of(resolved: &Resolved) -> Self {
        let platforms = match resolved.platforms.is_empty() {
            true => [(resolved.digest, None)].into(),
            false => resolved.platforms.clone(),
        };
        Self { nature: resolved.nature, platforms }
    }

    /// What is to be recorded beside what the ledger has: nothing where that says the same.
    ///
    /// # Errors
    /// Where it says otherwise, and nobody asked for a correction: one of the two is wrong, and a digest means one thing.
    fn against(&self, view: &View, artifact: Digest, correct: bool) -> Result<Option<Event>, EngineError> {
        let event = |corrects| {
            let (nature, platforms) = (self.nature, self.platforms.clone());
            Ok(Some(Event::ArtifactDescribed { artifact, platforms, nature, corrects }))
        };
        let Some(known) = view.described.get(&artifact) else { return event(false) };
        let same = known.platforms == self.platforms;
        match (same, known.nature == self.nature) {
            (true, true) => return Ok(None),
            // What nobody has said yet contradicts nothing.
            (true, false) if known.nature.is_none() => return event(false),
            _ if correct => return event(true),
            _ => {}
        }
        let stray = |one: &BTreeMap<Digest, Option<Digest>>, other: &BTreeMap<Digest, Option<Digest>>| {
            one.iter().find(|(manifest, config)| other.get(*manifest) != Some(*config)).map(|(manifest, _)| *manifest)
        };
        let word = |nature: Option<Nature>| nature.map_or("nothing that is known", Nature::name);
        let differs = match (stray(&self.platforms, &known.platforms), stray(&known.platforms, &self.platforms)) {
            (Some(here), Some(there)) if here == there => format!("the platform {here} has another configuration"),
            (Some(here), _) => format!("the ledger does not have its platform {here}"),
            (None, Some(there)) => format!("the ledger has a platform {there} of it, which is none"),
            (None, None) => format!("it is {}, and {} in the ledger", word(self.nature), word(known.nature)),
        };
        let note = view.described_by.get(&artifact).cloned();
        Err(EngineError::Described { artifact, differs, note: Box::new(note) })
    }
}

/// A shared file that differs from the newest release's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SharedChange {
    /// Its path, relative to the pipeline.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
}

impl Session {
    /// Adds a release: every component is resolved and verified, shared files are kept, and the digest that the build
    /// reported must be what the registry serves (S2.6). Adding the same release again changes nothing.
    ///
    /// # Errors
    /// When a component is missing, unknown, moving or damaged, the alias is taken, or the release is there by another one.
    pub async fn add_release(&self, new: NewRelease) -> Result<(ReleaseEntry, bool), EngineError> {
        let declared = &self.governance.pipeline.artifacts;
        if let Some(name) = new.artifacts.keys().find(|n| !declared.contains_key(*n)) {
            let known: Vec<&str> = declared.keys().map(ArtifactName::as_str).collect();
            let known = known.join(", ");
            return Err(EngineError::Invalid(format!("there is no artifact `{name}`: expected {known}")));
        }
        if let Some(name) = declared.keys().find(|n| !new.artifacts.contains_key(*n)) {
            return Err(EngineError::Invalid(format!("a release needs every artifact: `{name}` is missing")));
        }
        let (mut components, mut sources, mut said) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (mut described, mut contradicted) = (BTreeMap::new(), BTreeMap::new());
        for (name, given) in &new.artifacts {
            let artifact = &declared[name];
            let reference = full_reference(&artifact.repository, given).ok_or_else(|| {
                let repository = &artifact.repository;
                EngineError::Invalid(format!("`{given}` is not in the repository of `{name}`: expected {repository}"))
            })?;
            if let (Some(pattern), Some(tag)) = (&artifact.tags, tag_of(&artifact.repository, &reference))
                && !fast_glob::glob_match(pattern, &tag)
            {
                return Err(EngineError::Invalid(format!(
                    "the tag `{tag}` of `{name}` may not become a release: expected one that matches `{pattern}`"
                )));
            }
            if !self.governance.first_observation && !has_digest(&reference) {
                return Err(EngineError::Invalid(format!(
                    "policy takes an artifact only with the digest that its build reported: give `{name}={given}@sha256:…`"
                )));
            }
            let provider = self.providers.get("oci")?;
            let resolved = provider
                .resolve(&self.context, &ResolveRequest { reference: reference.clone() })
                .await
                .map_err(|source| EngineError::about(None, format!("resolving {name} ({reference})"), source))?;
            components.insert(name.clone(), resolved.digest);
            let bare = reference.split('@').next().unwrap_or_default();
            sources.insert(name.clone(), format!("{bare}@{}", resolved.digest));
            described.insert(resolved.digest, Described::of(&resolved));
            let fields = resolved.contradicted.into_iter();
            contradicted.extend(fields.map(|(key, told)| (format!("{CONTRADICTED}{name}.{key}"), told)));
            let places = resolved.said_where.into_iter().filter(|(key, _)| resolved.metadata.contains_key(key));
            let given = new.metadata.keys().filter(|key| need::is_known(key) && !resolved.metadata.contains_key(*key));
            let places = places.chain(given.map(|key| (key.clone(), GIVEN.to_owned())));
            contradicted.extend(places.map(|(key, place)| (format!("{SAID_WHERE}{name}.{key}"), place)));
            said.push(resolved.metadata);
        }
        let tree = observe::working_tree(self)?;
        let shared = shared_files(&self.governance.rules(), &tree);
        let files: BTreeMap<String, Digest> =
            tree.iter().filter(|(path, _)| shared.contains(path.as_str())).map(|(p, d)| (p.clone(), *d)).collect();
        let content = ReleaseContent { components, files };
        for digest in content.files.values() {
            let bytes =
                self.files().get(digest).map_err(|source| EngineError::about(None, "reading a shared file", source))?;
            self.store.put_blob(&bytes)?;
        }
        let correct = new.correct;
        let named: Vec<(&ArtifactName, &BTreeMap<String, String>)> = new.artifacts.keys().zip(&said).collect();
        let each = metadata::of_each(&named, &new.metadata).into_iter();
        let each = each.map(|(name, key, value)| (format!("{ARTIFACT_METADATA}{name}.{key}"), value.to_owned()));
        let each: BTreeMap<String, String> = each.chain(contradicted).collect();
        let metadata = metadata::of_release(&said, new.metadata).map_err(EngineError::Invalid)?;
        let release = Release { id: content.id(), content, sources, alias: new.alias.map(|alias| alias.to_string()) };
        self.enter(release, (&metadata, each), &described, correct)
    }

    /// Shared files of the working tree that differ from those of the newest release: what a release that is made from
    /// them would carry along. Without any release every shared file is new.
    ///
    /// # Errors
    /// When the ledger or a file cannot be read.
    pub fn shared_changes(&self) -> Result<Vec<SharedChange>, EngineError> {
        let tree = observe::working_tree(self)?;
        let shared = shared_files(&self.governance.rules(), &tree);
        let newest = self.with_view(|view| view.releases.last().map(|e| e.release.content.files.clone()))?;
        let newest = newest.unwrap_or_default();
        let paths: BTreeSet<&str> = newest.keys().map(String::as_str).chain(shared.iter().map(AsRef::as_ref)).collect();
        let change = |path: &&str| match (newest.get(*path), tree.get(*path).filter(|_| shared.contains(*path))) {
            (Some(before), Some(after)) if before == after => None,
            (Some(_), Some(_)) => Some("changed"),
            (None, _) => Some("added"),
            (Some(_), None) => Some("removed"),
        };
        let found = paths.iter().filter_map(|path| Some((path, change(path)?)));
        Ok(found.map(|(path, change)| SharedChange { path: (*path).to_owned(), change }).collect())
    }

    /// The same once there is a release: before the first one nothing is said of files that are all new.
    ///
    /// # Errors
    /// As [`Session::shared_changes`].
    pub fn unreleased(&self) -> Result<Vec<SharedChange>, EngineError> {
        if self.with_view(|view| view.releases.is_empty())? { Ok(Vec::new()) } else { self.shared_changes() }
    }

    /// Lineage is the order of entry and an alias names one release, so a release enters only on top of what was looked
    /// at. Whoever else appends at the same moment makes this look again; each of them got on, so this ends.
    fn enter(
        &self,
        release: Release,
        (said, each): (&BTreeMap<String, String>, BTreeMap<String, String>),
        described: &BTreeMap<Digest, Described>,
        correct: bool,
    ) -> Result<(ReleaseEntry, bool), EngineError> {
        let id = release.id.clone();
        let (alias, content, sources) = (release.alias.clone(), release.content.clone(), release.sources.clone());
        let mut draft = self.draft(Event::ReleaseAdded { release });
        draft.private.extend(said.iter().map(|(key, value)| (format!("{METADATA}{key}"), value.clone())));
        draft.private.extend(each);
        loop {
            let view = self.view()?;
            // What runs of an artifact is a fact of its digest: told once, and also where a release came before anybody looked.
            let mut drafts: Vec<Draft> = Vec::new();
            for (artifact, shown) in described {
                drafts.extend(shown.against(&view, *artifact, correct)?.map(|event| self.draft(event)));
            }
            let expect = Expect { head: Some(view.size), ..Expect::default() };
            if let Some(entry) = view.release(&id) {
                // Whoever was first said who may not approve; a second one who says otherwise is not passed over.
                let known = &self.metadata(entry)?;
                if !known.contains_key(AUTHORS) && said.contains_key(AUTHORS) {
                    return Err(EngineError::Invalid(format!(
                        "{id} (#{}) is in the ledger already, and names no author: who wrote it is signed \
                         (`promo release authors {id} --author NAME --key KEY`)",
                        entry.lineage
                    )));
                }
                // What was erased cannot be said again, and is not contradicted.
                let differs = |key: &&str| {
                    let kept = known.get(*key);
                    said.get(*key) != kept
                        && !(said.contains_key(*key) && kept.is_some_and(|text| text == crate::ERASED))
                };
                if let Some(key) = [AUTHORS, BUILDER].into_iter().find(differs) {
                    let named =
                        |metadata: &BTreeMap<String, String>| metadata.get(key).cloned().unwrap_or("nobody".into());
                    return Err(EngineError::Invalid(format!(
                        "{id} is in the ledger already, and its {key} is {} there and {} here: reject it, or add it as it is there",
                        named(known),
                        named(said)
                    )));
                }
                if let (Some(given), known) = (&alias, &entry.release.alias)
                    && known.as_ref() != Some(given)
                {
                    let known = known.as_ref().map_or_else(|| "without an alias".into(), |a| format!("as `{a}`"));
                    return Err(EngineError::Invalid(format!(
                        "{id} (#{}) is in the ledger already, {known}, and a release keeps the alias that it came with: \
                         leave `--alias {given}` out, or build what is to have that name",
                        entry.lineage
                    )));
                }
                drafts.extend(self.found_recalled(&view, described)?);
                match drafts.is_empty() {
                    true => return Ok((entry.clone(), false)),
                    false => match self.append(&expect, &drafts) {
                        Ok(_) => return Ok((entry.clone(), false)),
                        Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => continue,
                        Err(error) => return Err(error),
                    },
                }
            }
            crate::moved::refuse(&view, &sources)?;
            if let Some(alias) = &alias
                && let Some(other) = view.releases.iter().find(|e| e.release.alias.as_ref() == Some(alias))
            {
                return Err(EngineError::Invalid(format!("the alias `{alias}` belongs to {}", other.release.id)));
            }
            drafts.push(draft.clone());
            drafts.extend(self.comes_recalled(&view, &id, &content, described)?);
            drafts.extend(self.found_recalled(&view, described)?);
            match self.append(&expect, &drafts) {
                Ok(_) => break,
                Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let entry = self.with_view(|view| view.release(&id).cloned())?;
        let entry = entry.ok_or_else(|| EngineError::Invalid(format!("{id} was added and is not there")))?;
        Ok((entry, true))
    }

    /// Quarantines a release everywhere, or for one environment and downstream.
    ///
    /// # Errors
    /// When the release or environment is not known.
    pub fn reject(&self, release: &ReleaseId, scope: Option<EnvironmentName>, reason: &str) -> Result<(), EngineError> {
        self.known(release, scope.as_ref())?;
        let release = release.clone();
        self.write(Event::ReleaseRejected { release, scope, automatic: false }, Some(reason))
    }

    /// Stops promotion into environments; none means all.
    ///
    /// # Errors
    /// When an environment is not known.
    pub fn freeze(&self, environments: BTreeSet<EnvironmentName>, reason: &str) -> Result<(), EngineError> {
        self.known_environments(&environments)?;
        self.write(Event::Frozen { environments, automatic: false }, Some(reason))
    }

    pub(crate) fn write(&self, event: Event, reason: Option<&str>) -> Result<(), EngineError> {
        let mut draft = self.draft(event);
        if let Some(reason) = reason {
            draft.private.insert(REASON.into(), reason.into());
        }
        self.append(&Expect::default(), &[draft]).map(|_| ())
    }

    pub(crate) fn known(&self, release: &ReleaseId, environment: Option<&EnvironmentName>) -> Result<(), EngineError> {
        if self.with_view(|view| view.release(release).is_none())? {
            return Err(EngineError::Invalid(format!("the release {release} is not in the ledger")));
        }
        self.known_environments(environment)
    }

    /// Refuses what is no environment of the pipeline.
    ///
    /// # Errors
    /// With the names of those that are.
    pub fn known_environments<'a>(
        &self,
        names: impl IntoIterator<Item = &'a EnvironmentName>,
    ) -> Result<(), EngineError> {
        let known = &self.governance.pipeline.environments;
        match names.into_iter().find(|n| !known.contains_key(*n)) {
            Some(name) => {
                let names: Vec<&str> = known.keys().map(EnvironmentName::as_str).collect();
                Err(EngineError::Invalid(format!(
                    "there is no environment `{name}`: expected one of {}",
                    names.join(", ")
                )))
            }
            None => Ok(()),
        }
    }
}

/// The whole reference of what was given for an artifact.
fn full_reference(repository: &str, given: &str) -> Option<String> {
    match given.strip_prefix(repository) {
        Some(rest) if rest.starts_with([':', '@']) => Some(given.to_string()),
        _ if given.starts_with("sha256:") => Some(format!("{repository}@{given}")),
        _ if given.contains('/') => None,
        _ => Some(format!("{repository}:{given}")),
    }
}

/// Whether a whole reference says by its digest which artifact is meant.
fn has_digest(reference: &str) -> bool {
    reference.rsplit_once('@').is_some_and(|(_, digest)| digest.parse::<Digest>().is_ok())
}

/// The tag of a reference in a repository, if it has one.
pub(crate) fn tag_of(repository: &str, reference: &str) -> Option<String> {
    let rest = reference.strip_prefix(repository)?;
    let tag = rest.split('@').next()?.strip_prefix(':')?;
    Some(tag.to_string())
}

/// The same reference without its tag. A colon before the last part of a path is of a scheme or a port.
pub(crate) fn untagged(reference: &str) -> String {
    let (place, digest) = reference.split_once('@').unwrap_or((reference, ""));
    let name = place.rfind('/').or_else(|| place.find(':')).map_or(0, |at| at + 1);
    let place = place[name..].find(':').map_or(place, |at| &place[..name + at]);
    if digest.is_empty() { place.to_owned() } else { format!("{place}@{digest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_its_tag_is_in_the_same_place() {
        for (tagged, bare) in [
            ("r/app:1.2@sha256:00", "r/app@sha256:00"),
            ("r:5000/app@sha256:00", "r:5000/app@sha256:00"),
            ("r:5000/app:1@sha256:00", "r:5000/app@sha256:00"),
            ("oci-layout:app@sha256:00", "oci-layout:app@sha256:00"),
            ("oci-layout:app:1@sha256:00", "oci-layout:app@sha256:00"),
            ("oci-layout:a/app:1@sha256:00", "oci-layout:a/app@sha256:00"),
        ] {
            assert_eq!(untagged(tagged), bare);
        }
    }

    #[test]
    fn what_the_build_reported_becomes_a_whole_reference() {
        for (given, whole, tag) in [
            ("1.2", "r/app:1.2", Some("1.2")),
            ("sha256:00", "r/app@sha256:00", None),
            ("1.2@sha256:00", "r/app:1.2@sha256:00", Some("1.2")),
            ("r/app:1.2", "r/app:1.2", Some("1.2")),
        ] {
            assert_eq!(full_reference("r/app", given).as_deref(), Some(whole));
            assert_eq!(tag_of("r/app", whole), tag.map(String::from));
        }
        for elsewhere in ["r/app-evil:1.2", "r/app/../other:1.2", "other/app:1.2"] {
            assert_eq!(full_reference("r/app", elsewhere), None, "{elsewhere}");
        }
    }
}
