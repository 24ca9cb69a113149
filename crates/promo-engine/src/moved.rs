//! Tags that would enter with another digest than they were recorded with. What must not live here: asking a registry.

use std::collections::BTreeMap;
use std::fmt;

use promo_core::Digest;
use promo_core::ids::ArtifactName;
use promo_core::ledger::View;
use promo_core::planner::split_reference;

use crate::error::EngineError;

/// What would be a release, if its tags named what they were recorded with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Each artifact as `repository:tag@digest`.
    sources: BTreeMap<ArtifactName, String>,
    /// What the tags of some of them named before, and in which release.
    before: BTreeMap<ArtifactName, (Digest, u64)>,
}

impl Moved {
    /// The same artifacts as `promo release add` takes them, those whose tag moved by their digests alone.
    #[must_use]
    pub fn by_digest(&self) -> Vec<String> {
        let given = self.sources.iter().map(|(name, source)| match (split_reference(source), digest(source)) {
            ((_, Some(tag)), _) if !self.before.contains_key(name) => format!("{name}={tag}"),
            (_, Some(digest)) => format!("{name}={digest}"),
            _ => format!("{name}={source}"),
        });
        given.collect()
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, (recorded, lineage))) in self.before.iter().enumerate() {
            let (place, found) = self.sources[name].split_once('@').unwrap_or_default();
            let then = if at == 0 { "" } else { "; " };
            write!(f, "{then}{place} names {found} now, and named {recorded} when release #{lineage} was added")?;
        }
        f.write_str(": a tag that moved is no name of a release")
    }
}

/// What the newest release is made of is no question, under whatever name it came.
///
/// # Errors
/// [`EngineError::Moved`] where a tag named something else when it was recorded last.
pub(crate) fn refuse(view: &View, sources: &BTreeMap<ArtifactName, String>) -> Result<(), EngineError> {
    let newest = view.releases.last().map(|entry| &entry.release.content.components);
    let before = sources.iter().filter_map(|(name, source)| {
        let (place, found) = (split_reference(source), digest(source)?);
        place.1.as_ref()?;
        let named = |known: &String| split_reference(known) == place;
        let mut entries = view.releases.iter().rev();
        let entry = entries.find(|entry| entry.release.sources.get(name).is_some_and(named))?;
        let recorded = *entry.release.content.components.get(name)?;
        let known = [Some(&recorded), newest.and_then(|newest| newest.get(name))];
        (!known.contains(&Some(&found))).then(|| (name.clone(), (recorded, entry.lineage)))
    });
    let before: BTreeMap<_, _> = before.collect();
    if before.is_empty() {
        return Ok(());
    }
    Err(EngineError::Moved(Box::new(Moved { sources: sources.clone(), before })))
}

/// The digest behind a reference.
pub(crate) fn digest(reference: &str) -> Option<Digest> {
    reference.rsplit_once('@')?.1.parse().ok()
}
