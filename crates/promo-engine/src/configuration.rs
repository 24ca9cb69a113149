//! What another configuration of a release is (S0.4): in which files it differs from the one before it. What must not live here:
//! whether an environment has one.

use std::collections::BTreeMap;

use promo_core::Digest;
use promo_core::ids::{EnvironmentName, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::ledger::view::{Promotion, Residence};
use promo_core::plan::Move;

/// Stands for what the pipeline file says of a deployment, which is no file of its own.
pub const SETTINGS: &str = "the pipeline file";

/// The files of a deployment, and the digest of its settings.
type Parts<'a> = (&'a BTreeMap<String, Digest>, &'a Digest);

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
