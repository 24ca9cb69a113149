//! The newest tags of the artifacts, and whether they are one release yet. What must not live here: how one enters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use promo_core::clock::MAX_SKEW;
use promo_core::ids::ArtifactName;
use promo_core::ledger::{Event, View};
use promo_core::model::Artifact;
use promo_core::newest::{self, Newest};
use promo_core::planner::split_reference;
use promo_ledger::{AppendError, Expect};
use promo_sdk::{ErrorKind, Provider, ProviderError, ResolveRequest};
use semver::Version;

use crate::error::EngineError;
use crate::moved::{self, digest};
use crate::releases::{tag_of, untagged};
use crate::session::Session;

/// How long nothing newer may have come, where there are several artifacts and the pipeline says nothing.
const QUIET: Duration = Duration::from_secs(600);

/// Tags that are asked when they were created: each costs two or three questions.
const CREATED: usize = 1000;

/// Of so many at once.
const AT_ONCE: usize = 8;

/// Which is newer than another; only those of one kind are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Version(Version),
    Created(Timestamp),
}

/// What a look for the newest tags found: each artifact as `repository:tag@digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// They can be a release, and are added as any other: what stands behind `=` of [`crate::NewRelease::artifacts`].
    Ready(BTreeMap<ArtifactName, String>),
    /// Something newer may come yet.
    Quiet {
        /// What was found.
        sources: BTreeMap<ArtifactName, String>,
        /// Since when that has been the newest, as far as anybody looked.
        since: Timestamp,
        /// From when on it is a release, if it stays so.
        until: Timestamp,
    },
}

impl Session {
    /// How long nothing newer may have come before the newest tags are a release.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        let pipeline = &self.governance.pipeline;
        let said = pipeline.quiet.map(Duration::from_secs);
        said.unwrap_or(if pipeline.artifacts.len() > 1 { QUIET } else { Duration::ZERO })
    }

    /// The newest tags of the artifacts that the ledger knows of and that no release has yet, with since when they are known.
    #[must_use]
    pub fn forming(&self, view: &View) -> Option<Looked> {
        let found = view.found.as_ref()?;
        let released = view.releases.iter().any(|entry| entry.release.sources == found.sources);
        (!released).then(|| self.quiet_since(&found.sources, found.note.at))
    }

    fn quiet_since(&self, sources: &BTreeMap<ArtifactName, String>, since: Timestamp) -> Looked {
        let quiet = SignedDuration::try_from(self.quiet()).unwrap_or(SignedDuration::MAX);
        let until = since.checked_add(quiet).unwrap_or(Timestamp::MAX);
        Looked::Quiet { sources: sources.clone(), since, until }
    }

    /// Looks for the newest tag of each artifact. They are a release once nothing newer has come for as long as the pipeline says, from
    /// the first look that found just these; that look is on record, so that whoever looks next goes on with it.
    ///
    /// # Errors
    /// Where policy takes only what a build reported; where it cannot be said which tag of an artifact is the newest, or that one is
    /// older than what the newest release has; when the ledger or a registry cannot be read.
    pub async fn look_for_newest(&self) -> Result<Looked, EngineError> {
        if !self.governance.first_observation {
            return Err(EngineError::Invalid(
                "policy takes an artifact only with the digest that its build reported, and `--newest` finds what nobody reported: \
                 let the build add it (`promo release add --help`)"
                    .into(),
            ));
        }
        let mut sources = BTreeMap::new();
        for (name, artifact) in &self.governance.pipeline.artifacts {
            sources.insert(name.clone(), self.newest_of(name, artifact).await?);
        }
        loop {
            let view = self.view()?;
            moved::refuse(&view, &sources)?;
            let newest = view.releases.last().map(|entry| &entry.release.sources);
            // What the newest release has been made of needs no waiting: another file alone can make another release.
            let same = newest.is_some_and(|known| {
                sources.iter().all(|(name, found)| known.get(name).and_then(|known| digest(known)) == digest(found))
            });
            if same || self.quiet().is_zero() {
                return Ok(Looked::Ready(sources));
            }
            if let Some(found) = view.found.as_ref().filter(|found| found.sources == sources) {
                let looked = self.quiet_since(&sources, found.note.at);
                let Looked::Quiet { until, .. } = &looked else { return Ok(looked) };
                // A clock in doubt has not come that far (S12.6).
                let over = self.present()?.reached(*until) == Some(true);
                return Ok(if over { Looked::Ready(sources) } else { looked });
            }
            let expect = Expect { head: Some(view.size), ..Expect::default() };
            drop(view);
            match self.append(&expect, &[self.draft(Event::ArtifactsFound { sources: sources.clone() })]) {
                Ok(_) => {}
                Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The newest tag of an artifact, with its digest.
    async fn newest_of(&self, name: &ArtifactName, artifact: &Artifact) -> Result<String, EngineError> {
        let repository = &artifact.repository;
        let Some(pattern) = &artifact.tags else {
            return Err(EngineError::Invalid(format!(
                "`tags` of `{name}` does not say which tags of {repository} may become releases, so that none is the newest: \
                 write it into the pipeline"
            )));
        };
        let provider = self.providers.get("oci")?;
        let failed = |source| EngineError::about(None, format!("looking for the newest {name} ({repository})"), source);
        let listed = provider.tags(&self.context, repository).await.map_err(failed)?;
        if listed.is_empty() {
            return Err(EngineError::Invalid(format!(
                "{repository} has no tag that could become a release, if it is there at all: nothing of `{name}` was pushed yet, or the \
                 pipeline names another place than the build"
            )));
        }
        let tags: Vec<&String> = listed.iter().filter(|tag| fast_glob::glob_match(pattern, tag)).collect();
        if tags.is_empty() {
            return Err(EngineError::Invalid(format!(
                "no tag of {repository} matches `{pattern}`: nothing of `{name}` was pushed that may become a release"
            )));
        }
        if artifact.newest == Newest::Created && tags.len() > CREATED {
            return Err(EngineError::Invalid(format!(
                "{} tags of {repository} match `{pattern}`, and no more than {CREATED} are asked when they were created: have `tags` of \
                 `{name}` mean fewer, or tags that name a version",
                tags.len()
            )));
        }
        let ranked = futures_util::stream::iter(tags).map(|tag| {
            let provider = provider.clone();
            async move {
                let reference = format!("{repository}:{tag}");
                Ok::<_, EngineError>((self.rank(name, artifact, provider.as_ref(), &reference).await?, reference))
            }
        });
        let ranked: Vec<(Rank, String)> = ranked.buffered(AT_ONCE).try_collect().await?;
        let newest = ranked.iter().map(|(rank, _)| rank).max().expect("invariant: there is a tag").clone();
        let mut sources = Vec::new();
        for (_, reference) in ranked.into_iter().filter(|(rank, _)| *rank == newest) {
            let request = ResolveRequest { reference: reference.clone() };
            let resolved = provider.resolve(&self.context, &request).await.map_err(failed)?;
            sources.push(format!("{reference}@{}", resolved.digest));
        }
        let view = self.view()?;
        let released = view.releases.last().and_then(|entry| entry.release.sources.get(name));
        // Of several that are equally new somebody may have added one: the others are not newer.
        if let Some(known) = released.filter(|known| sources.iter().any(|source| digest(source) == digest(known))) {
            sources.retain(|source| digest(source) == digest(known));
        }
        let found = sources.swap_remove(0);
        if let Some(other) = sources.iter().find(|other| digest(other) != digest(&found)) {
            return Err(EngineError::Invalid(format!(
                "neither {found} nor {other} is the newer one: add the one that is meant (`promo release add --help`)"
            )));
        }
        self.no_step_back((name, artifact), provider.as_ref(), (&found, &newest), (&listed, &view)).await?;
        Ok(found)
    }

    async fn rank(
        &self,
        name: &ArtifactName,
        artifact: &Artifact,
        provider: &dyn Provider,
        reference: &str,
    ) -> Result<Rank, EngineError> {
        let pattern = artifact.tags.as_deref().unwrap_or_default();
        match artifact.newest {
            Newest::Version => {
                let tag = tag_of(&artifact.repository, reference);
                tag.as_deref().and_then(newest::version).map(Rank::Version).ok_or_else(|| {
                    EngineError::Invalid(format!(
                        "{reference} matches `{pattern}` and names no version, so that nobody can say whether it is the newest: have `tags` \
                         of `{name}` mean only tags such as `v1.4.2`, or write `newest = \"created\"`"
                    ))
                })
            }
            Newest::Created => {
                let request = ResolveRequest { reference: reference.to_owned() };
                let failed = |source| EngineError::about(None, format!("asking when {reference} was created"), source);
                let created = provider.created(&self.context, &request).await.map_err(failed)?.ok_or_else(|| {
                    EngineError::Invalid(format!(
                        "{reference} does not say when it was created, so that nobody can say whether it is the newest: have the build say \
                         so (`org.opencontainers.image.created`), or leave `newest` of `{name}` out and have `tags` mean only tags that \
                         name a version"
                    ))
                })?;
                let now = self.now()?;
                if created.duration_since(now) > MAX_SKEW {
                    return Err(EngineError::Invalid(format!(
                        "{reference} says that it was created {created}, and it is {now}: what is yet to come is newer than everything, so \
                         that nobody can say which is the newest; have the clock of its build set right, and the tag removed"
                    )));
                }
                Ok(Rank::Created(created))
            }
        }
    }

    /// A tag that is gone makes an older one the newest. A release of that would be a newer one with something older in it.
    async fn no_step_back(
        &self,
        (name, artifact): (&ArtifactName, &Artifact),
        provider: &dyn Provider,
        (found, newest): (&str, &Rank),
        (listed, view): (&BTreeSet<String>, &View),
    ) -> Result<(), EngineError> {
        let entry = view.releases.last();
        let known = entry.and_then(|entry| Some((entry.lineage, entry.release.sources.get(name)?)));
        let Some((lineage, known)) = known.filter(|(_, known)| digest(known) != digest(found)) else {
            return Ok(());
        };
        // One that names something else now is told as such.
        if split_reference(known) == split_reference(found) {
            return Ok(());
        }
        let pattern = artifact.tags.as_deref().unwrap_or_default();
        let tag = tag_of(&artifact.repository, known);
        let gone = match &tag {
            Some(tag) if !listed.contains(tag) => format!(", whose tag `{tag}` is gone"),
            Some(tag) if !fast_glob::glob_match(pattern, tag) => {
                format!(", whose tag `{tag}` does not match `{pattern}`")
            }
            _ => String::new(),
        };
        let add = "add the one that is meant (`promo release add --help`)";
        let asked = match artifact.newest {
            Newest::Version => known.clone(),
            // Its tag may point elsewhere by now.
            Newest::Created => untagged(known),
        };
        let rank = self.rank(name, artifact, provider, &asked).await;
        if rank.as_ref().is_ok_and(|known| known < newest) {
            return Ok(());
        }
        // What made way for something older may be a tag that names that now.
        if let (Some(tag), Some(entry)) = (tag.filter(|tag| listed.contains(tag)), entry) {
            let reference = format!("{}:{tag}", artifact.repository);
            let failed = |source| EngineError::about(None, format!("reading {reference}"), source);
            let request = ResolveRequest { reference: reference.clone() };
            let resolved = provider.resolve(&self.context, &request).await.map_err(failed)?;
            let mut sources = entry.release.sources.clone();
            sources.insert(name.clone(), format!("{reference}@{}", resolved.digest));
            moved::refuse(view, &sources)?;
        }
        match rank {
            Ok(_) => Err(EngineError::Invalid(format!(
                "{found} is the newest {name} that is there, and is not newer than {known} of release #{lineage}{gone}: nothing is added; {add}"
            ))),
            Err(
                EngineError::Invalid(_)
                | EngineError::Provider { source: ProviderError { kind: ErrorKind::NotFound, .. }, .. },
            ) => Err(EngineError::Invalid(format!(
                "nobody can say whether {found} is newer than {known} of release #{lineage}{gone}: nothing is added; {add}"
            ))),
            Err(error) => Err(error),
        }
    }
}
