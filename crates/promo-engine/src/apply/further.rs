//! Whether a run that stopped between two waves can go further at all. What must not live here: what a run does when it is
//! resumed, which `waves` decides by the same rules.

use promo_core::ids::RunId;
use promo_core::ledger::View;
use promo_core::ledger::view::Promotion;
use promo_core::model::OnClose;
use promo_core::plan::{Document, Move};

use crate::session::Session;

impl Session {
    /// Why a run without an end can only be ended here: all that it has begun waits between two waves, and the next one does not
    /// begin under other rules than those of the plan (S5.5). Nothing where there is something to finish, or where only resuming
    /// it tells. A program of this machine that is another one counts as nothing: the next machine may have the plan's.
    #[must_use]
    pub fn goes_no_further(&self, view: &View, id: &RunId) -> Option<String> {
        let run = view.runs.get(id).filter(|run| run.finished.is_none())?;
        let begun = view.environments.iter().filter_map(|(name, known)| Some((name, known.active.as_ref()?)));
        let begun: Vec<_> = begun.filter(|(_, promotion)| promotion.run == *id).collect();
        // Most runs are not between waves, and need no plan to be read.
        if begun.is_empty() || begun.iter().any(|(_, promotion)| promotion.waves.is_empty()) {
            return None;
        }
        let bytes = self.kept(&run.plan, &format!("the plan of run {id}")).ok()?;
        let (document, _) = Document::from_bytes(&bytes).ok()?;
        let waits = |entry: &Move, promotion: &Promotion| {
            let (by_target, next) = (entry.wave_by_target(), promotion.waves.len());
            let mut steps = entry.steps.iter().filter(|step| {
                step.target.as_ref().and_then(|target| by_target.get(target)).is_some_and(|wave| *wave == next)
            });
            let mut back = entry.rollback.iter().flat_map(|back| &back.steps);
            entry.on_close == OnClose::StopAtWave
                && next < entry.waves.len()
                && !steps.any(|step| run.steps.contains_key(&step.id))
                && !back.any(|step| run.steps.contains_key(&step.id))
        };
        let moves = &document.body.moves;
        let waiting = begun.iter().all(|(name, promotion)| {
            moves.iter().find(|entry| entry.environment == **name).is_some_and(|entry| waits(entry, promotion))
        });
        if !waiting {
            return None;
        }
        let replaced = self.adoption(view).err().map(|replaced| replaced.to_string());
        replaced.or_else(|| self.other_rules(&document.body).ok().flatten())
    }
}
