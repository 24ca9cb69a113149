//! Recalls: a digest that may be in no release any more. What must not live here: how a release enters, and who lets in again.

use std::collections::BTreeMap;

use promo_core::Digest;
use promo_core::ids::ReleaseId;
use promo_core::ledger::record::REASON;
use promo_core::ledger::{Draft, Event, View};
use promo_core::release::ReleaseContent;
use promo_ledger::{AppendError, Expect};

use crate::error::EngineError;
use crate::releases::Described;
use crate::session::Session;

impl Session {
    /// Recalls a digest: every release that has it in it, as an artifact, as the manifest of a platform or as a configuration, is
    /// quarantined everywhere, and so is each that comes later. Gives those that are there.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn recall(&self, artifact: Digest, reason: &str) -> Result<Vec<ReleaseId>, EngineError> {
        loop {
            let view = self.view()?;
            let parts = |part: &Digest| view.described.get(part).map(|known| &known.platforms);
            let hit = view.releases.iter().map(|entry| &entry.release);
            let hit: Vec<ReleaseId> =
                hit.filter(|one| contains(&one.content, parts, &artifact)).map(|one| one.id.clone()).collect();
            let mut recalled = self.draft(Event::ArtifactRecalled { artifact });
            recalled.private.insert(REASON.into(), reason.into());
            let mut drafts = vec![recalled];
            drafts.extend(hit.iter().map(|id| self.rejected(id, &format!("{artifact} was recalled: {reason}"))));
            let expect = Expect { head: Some(view.size), ..Expect::default() };
            drop(view);
            match self.append(&expect, &drafts) {
                Ok(_) => return Ok(hit),
                Err(EngineError::Append(error)) if matches!(*error, AppendError::HeadMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The recalled digests that a release has in it. They stay so where it is let in again: what comes with them later is kept out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn recalled_in(&self, release: &ReleaseId) -> Result<Vec<Digest>, EngineError> {
        self.with_view(|view| {
            let parts = |part: &Digest| view.described.get(part).map(|known| &known.platforms);
            let content = view.release(release).map(|entry| &entry.release.content);
            let mine = |digest: &&Digest| content.is_some_and(|content| contains(content, parts, digest));
            view.recalled.keys().filter(mine).copied().collect()
        })
    }

    /// The releases that have a digest in them and are quarantined everywhere.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn quarantined_with(&self, artifact: &Digest) -> Result<Vec<ReleaseId>, EngineError> {
        self.with_view(|view| {
            let parts = |part: &Digest| view.described.get(part).map(|known| &known.platforms);
            let barred = view.releases.iter().map(|entry| &entry.release).filter(|one| {
                view.quarantines.contains_key(&(one.id.clone(), None)) && contains(&one.content, parts, artifact)
            });
            barred.map(|one| one.id.clone()).collect()
        })
    }

    fn rejected(&self, release: &ReleaseId, reason: &str) -> Draft {
        let release = release.clone();
        let mut draft = self.draft(Event::ReleaseRejected { release, scope: None, automatic: false });
        draft.private.insert(REASON.into(), reason.into());
        draft
    }

    /// What bars a release that comes with something that was recalled before: it is kept out as what had it then.
    pub(crate) fn comes_recalled(
        &self,
        view: &View,
        release: &ReleaseId,
        content: &ReleaseContent,
        described: &BTreeMap<Digest, Described>,
    ) -> Result<Option<Draft>, EngineError> {
        let parts = |part: &Digest| described.get(part).map(|shown| &shown.platforms);
        let found = view.recalled.keys().find(|digest| contains(content, parts, digest));
        found.map(|digest| self.barred_by(view, release, digest)).transpose()
    }

    /// What bars releases that are there, and of which only what a registry shows now tells that they have something in them that was
    /// recalled. What somebody let in again, knowing that it is in it, stays so.
    pub(crate) fn found_recalled(
        &self,
        view: &View,
        described: &BTreeMap<Digest, Described>,
    ) -> Result<Vec<Draft>, EngineError> {
        let known = |part: &Digest| view.described.get(part).map(|known| &known.platforms);
        let shown = |part: &Digest| described.get(part).map(|shown| &shown.platforms).or_else(|| known(part));
        let mut out = Vec::new();
        for release in view.releases.iter().map(|entry| &entry.release) {
            let has = |digest: &&Digest| {
                contains(&release.content, shown, digest) && !contains(&release.content, known, digest)
            };
            if let Some(digest) = view.recalled.keys().find(has) {
                out.push(self.barred_by(view, &release.id, digest)?);
            }
        }
        Ok(out)
    }

    fn barred_by(&self, view: &View, release: &ReleaseId, recalled: &Digest) -> Result<Draft, EngineError> {
        let note = view.recalled.get(recalled);
        let why = note.map(|note| self.reason_given(note.seq)).transpose()?.flatten();
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Ok(self.rejected(release, &format!("{recalled} is in it, which was recalled{why}")))
    }
}

/// Whether a release has a digest in it; `parts` are the platforms of an artifact, with their configurations, as far as they are known.
fn contains<'d>(
    content: &ReleaseContent,
    parts: impl Fn(&Digest) -> Option<&'d BTreeMap<Digest, Option<Digest>>>,
    digest: &Digest,
) -> bool {
    content.components.values().any(|artifact| {
        let mut platforms = parts(artifact).into_iter().flatten();
        artifact == digest || platforms.any(|(manifest, config)| manifest == digest || config.as_ref() == Some(digest))
    })
}
