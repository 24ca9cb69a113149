//! What another configuration of a release is (S0.4): in which files it differs from the one before it. What must not live here:
//! whether an environment has one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::view::{EnvironmentView, Promotion, Residence};
use promo_core::plan::{Document, Move};
use promo_core::planner::{self, Observations};

use crate::error::EngineError;
use crate::observe;
use crate::session::Session;

/// Stands for what the pipeline file says of a deployment, which is no file of its own.
pub const SETTINGS: &str = "the pipeline file";

/// The files of a deployment, and the digest of its settings.
type Parts<'a> = (&'a BTreeMap<String, Digest>, &'a Digest);

/// That an environment's own configuration came once with another release, and that failed. Which of the two was at fault nobody can
/// tell: it bars nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedWith {
    /// The run that failed.
    pub run: RunId,
    /// The release that it brought.
    pub release: ReleaseId,
    /// When it ended.
    pub at: Timestamp,
    /// The files that were new then, and would come again as they were; [`SETTINGS`] among them. Never empty.
    pub files: Vec<String>,
}

/// What of a configuration came somewhere with another release that failed there, and was not seen to be good there since.
/// `planned` reads a plan that was applied.
pub(crate) fn failed_with(
    view: &View,
    name: &EnvironmentName,
    (release, comes): (&ReleaseId, Parts<'_>),
    mut planned: impl FnMut(&Digest) -> Result<Option<Document>, EngineError>,
) -> Result<Option<FailedWith>, EngineError> {
    let Some(known) = view.environment(name) else { return Ok(None) };
    let cancelled =
        |run: &RunId| view.runs.get(run).is_some_and(|run| matches!(run.finished, Some((_, RunOutcome::Cancelled))));
    let brings = |p: &&Promotion| p.movement != Movement::Rollback && p.drill.is_none() && p.to != *release;
    for promotion in known.history.iter().rev().filter(brings).filter(|p| !cancelled(&p.run)) {
        let Some((at, PromotionOutcome::RolledBack | PromotionOutcome::Held)) = promotion.finished else { continue };
        let mut residences = known.residences.iter().rev();
        // Of a first one nothing is known that was otherwise.
        let before = residences.find(|r| r.run.as_ref() != Some(&promotion.run) && r.since <= promotion.started);
        let Some(before) = before else { continue };
        let there = |r: &&Residence| r.run.as_ref() == Some(&promotion.run) && r.release == promotion.to;
        let document;
        let failed = if let Some(there) = known.residences.iter().find(there) {
            parts(there)
        } else if let Some(brought) = &promotion.configuration {
            (&brought.files, &brought.settings)
        } else {
            // It came nowhere: what it was to bring stands in its plan.
            let Some(plan) = &promotion.plan else { continue };
            let Some(found) = planned(plan)? else { continue };
            document = found;
            let Some(entry) = document.body.moves.iter().find(|entry| entry.environment == *name) else { continue };
            (&entry.files, &entry.settings)
        };
        // What a release is made of is its own matter, and not the environment's.
        let travels = |path: &String| {
            let mut releases = [&promotion.to, release].into_iter().filter_map(|id| view.release(id));
            releases.any(|entry| entry.release.content.files.contains_key(path))
        };
        let again = differing(comes, failed);
        let suspect =
            |path: &String| !again.contains(path) && !travels(path) && !good_since(known, promotion, comes, path);
        let files: Vec<String> = differing(failed, parts(before)).into_iter().filter(suspect).collect();
        if !files.is_empty() {
            return Ok(Some(FailedWith { run: promotion.run.clone(), release: promotion.to.clone(), at, files }));
        }
    }
    Ok(None)
}

/// Whether a file, as it comes, was in a deployment that was verified after a promotion had failed.
fn good_since(known: &EnvironmentView, failed: &Promotion, comes: Parts<'_>, path: &String) -> bool {
    let later = known.history.iter().filter(|p| p.started > failed.started && p.movement != Movement::Rollback);
    let mut verified = later.filter(|p| matches!(p.finished, Some((_, PromotionOutcome::Verified))));
    verified.any(|good| {
        let mut there = known.residences.iter().filter(|r| r.run.as_ref() == Some(&good.run) && r.release == good.to);
        there.any(|residence| !differing(comes, parts(residence)).contains(path))
    })
}

impl Session {
    /// What of the configuration that a move brings came to its environment with another release that failed there, and was not seen
    /// to be good there since. It bars nothing; whoever plans is told.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn failed_with(&self, view: &View, entry: &Move) -> Result<Option<FailedWith>, EngineError> {
        if entry.drill || entry.movement == Movement::Rollback {
            return Ok(None);
        }
        let comes = (&entry.to.id, (&entry.files, &entry.settings));
        failed_with(view, &entry.environment, comes, |plan| self.applied(plan))
    }

    /// The same of releases and environments with the configuration of the working tree, in their order. Nothing where a file of it is
    /// in no release yet.
    ///
    /// # Errors
    /// When the ledger or a file that the pipeline names cannot be read.
    pub fn failed_with_here(
        &self,
        view: &View,
        questions: &[(&EnvironmentName, &ReleaseId)],
    ) -> Result<Vec<Option<FailedWith>>, EngineError> {
        let failed = |name: &EnvironmentName| {
            let ended = view.environment(name).into_iter().flat_map(|known| &known.history);
            ended.filter_map(|p| p.finished).any(|(_, outcome)| outcome != PromotionOutcome::Verified)
        };
        // Files are read only where something failed.
        if !questions.iter().any(|(name, _)| failed(name)) {
            return Ok(vec![None; questions.len()]);
        }
        let observations = Observations { files: observe::working_tree(self)?, ..Observations::default() };
        let all = planner::configurations(&self.governance.rules(), view, &observations, questions);
        let one = |((name, release), brought): (&(&EnvironmentName, &ReleaseId), Option<(_, _)>)| match &brought {
            Some((files, settings)) => failed_with(view, name, (release, (files, settings)), |plan| self.applied(plan)),
            None => Ok(None),
        };
        questions.iter().zip(all).map(one).collect()
    }

    /// A plan that was applied, where it is kept and this version reads it.
    fn applied(&self, plan: &Digest) -> Result<Option<Document>, EngineError> {
        let bytes = self.kept_where(false, plan, "an applied plan")?;
        Ok(bytes.and_then(|bytes| Document::from_bytes(&bytes).ok()).map(|(document, _)| document))
    }
}

/// Of a promotion that brought what ran there another configuration: the files in which that differs from the one before, and
/// [`SETTINGS`]; empty where this is not known. None of any other promotion.
#[must_use]
pub fn other_configuration(view: &View, name: &EnvironmentName, promotion: &Promotion) -> Option<Vec<String>> {
    if promotion.movement != Movement::Reconfiguration || promotion.drill.is_some() {
        return None;
    }
    let mut residences = view.environment(name)?.residences.iter().rev();
    let before = residences.find(|r| r.run.as_ref() != Some(&promotion.run) && r.since <= promotion.started);
    let brought = promotion.configuration.as_ref().map(|brought| (&brought.files, &brought.settings));
    Some(brought.zip(before).map(|(brought, before)| differing(brought, parts(before))).unwrap_or_default())
}

/// The same of a move that a run makes.
pub(crate) fn brought(view: &View, run: &RunId, entry: &Move) -> Option<Vec<String>> {
    if entry.movement != Movement::Reconfiguration || entry.drill {
        return None;
    }
    let known = view.environment(&entry.environment);
    let mut before = known.into_iter().flat_map(|known| known.residences.iter().rev());
    let before = before.find(|residence| residence.run.as_ref() != Some(run));
    Some(before.map(|before| differing((&entry.files, &entry.settings), parts(before))).unwrap_or_default())
}

const fn parts(residence: &Residence) -> Parts<'_> {
    (&residence.files, &residence.settings)
}

fn differing((files, settings): Parts<'_>, (before, set_before): Parts<'_>) -> Vec<String> {
    let mut paths: Vec<&String> = files.keys().chain(before.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let changed = paths.into_iter().filter(|path| files.get(*path) != before.get(*path)).cloned();
    changed.chain((settings != set_before).then(|| SETTINGS.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s0_4_files_that_were_added_left_out_or_edited_differ_and_so_does_what_the_pipeline_file_says() {
        let files = |all: &[(&str, &str)]| -> BTreeMap<String, Digest> {
            all.iter().map(|(path, text)| ((*path).to_owned(), Digest::of(text.as_bytes()))).collect()
        };
        let (before, now) =
            (files(&[("a", "1"), ("b", "1"), ("c", "1")]), files(&[("b", "2"), ("c", "1"), ("d", "1")]));
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        assert_eq!(differing((&now, &old), (&before, &old)), ["a", "b", "d"]);
        assert_eq!(differing((&before, &new), (&before, &old)), [SETTINGS]);
    }
}
