//! What keeps the tags at destinations where they are (docs/reference/registries.md), for whoever reads a plan, a release
//! or what the doctor found. What must not live here: anything that a plan carries; this is what this machine knows now.

use std::sync::Arc;

use promo_core::plan::{Action, Document};
use promo_core::planner::{mirror, split_reference};
use promo_core::{ids::EnvironmentName, model::Pipeline};
use promo_engine::clock::SystemClock;
use promo_providers::oci::{Location, Settings, TagLevel};
use promo_sdk::{Blobs, Context, ErrorKind, ProviderError};
use schemars::JsonSchema;
use serde::Serialize;

/// A tag that promo writes, and what keeps it where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub(crate) struct TagView {
    /// The tag with registry and repository, or the repository alone where any tag of it is meant.
    pub(crate) tag: String,
    /// The environment that it is for.
    pub(crate) environment: String,
    /// `enforced`, `declared` or `mutable`.
    pub(crate) level: &'static str,
    /// How that is known.
    pub(crate) known: String,
}

impl TagView {
    /// What is known of `repository`, and of its `tag` where there is one; none for what no registry holds.
    fn new(settings: &Settings, environment: &EnvironmentName, repository: &str, tag: Option<&str>) -> Option<Self> {
        let location: Location = repository.parse().ok()?;
        let standing = settings.tag_standing(&location, tag)?;
        Some(Self {
            tag: tag.map_or_else(|| repository.to_owned(), |tag| format!("{repository}:{tag}")),
            environment: environment.to_string(),
            level: standing.level.as_str(),
            known: standing.known,
        })
    }

    /// Whether whoever may push can move it, as far as is known.
    pub(crate) fn is_movable(&self) -> bool {
        self.level != TagLevel::Enforced.as_str()
    }
}

/// What the machine says about registries. Where that cannot be read it is told where registries are asked.
pub(crate) fn settings() -> Settings {
    Settings::of_user(&outside().secrets).unwrap_or_default()
}

/// The doors to the outside for commands without a session.
pub(crate) fn outside() -> Context {
    promo_engine::outside(Arc::new(SystemClock), Arc::new(NoContents), ".".into())
}

/// The tags that the copies of a plan write.
pub(crate) fn of_plan(document: &Document) -> Vec<TagView> {
    let settings = settings();
    let steps = document.body.moves.iter().flat_map(|m| m.steps.iter().map(move |step| (&m.environment, step)));
    let copies = steps.filter(|(_, step)| step.action == Action::Copy);
    let artifacts = copies.flat_map(|(name, step)| step.inputs.artifacts.values().map(move |a| (name, a)));
    artifacts.filter_map(|(name, a)| TagView::new(&settings, name, &a.repository, Some(a.tag.as_deref()?))).collect()
}

/// The tags that a release with these sources has, or would have, at the destinations of the pipeline.
pub(crate) fn of_sources<'a>(pipeline: &Pipeline, sources: impl Iterator<Item = &'a String> + Clone) -> Vec<TagView> {
    let settings = settings();
    let mut all = Vec::new();
    for (name, environment) in &pipeline.environments {
        for (repository, tag) in sources.clone().map(|source| split_reference(source)) {
            let Some((destination, tag)) = mirror(&environment.mirror, &repository).zip(tag) else { continue };
            all.extend(TagView::new(&settings, name, &destination, Some(&tag)));
        }
    }
    all
}

/// The repositories that the pipeline copies to.
pub(crate) fn of_destinations(pipeline: &Pipeline) -> Vec<TagView> {
    let settings = settings();
    let mut all = Vec::new();
    for (name, environment) in &pipeline.environments {
        let destinations = pipeline.artifacts.values().filter_map(|a| mirror(&environment.mirror, &a.repository));
        all.extend(destinations.filter_map(|destination| TagView::new(&settings, name, &destination, None)));
    }
    all.sort();
    all
}

/// There is no ledger behind these commands, so there are no contents of snapshots.
struct NoContents;

impl Blobs for NoContents {
    fn get(&self, digest: &promo_core::Digest) -> Result<Vec<u8>, ProviderError> {
        Err(ProviderError::new(ErrorKind::NotFound, format!("there is no content with digest {digest}")))
    }
}
