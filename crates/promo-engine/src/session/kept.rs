//! Whether the ledger still has the files that its records name: nothing can be gone back to, resumed or shown again without
//! them. What must not be here: whether what is kept has its digest, which the verification of the ledger says.

use std::collections::BTreeMap;

use promo_core::Digest;
use promo_core::ledger::View;
use promo_ledger::verify::MAX_FINDINGS;
use promo_ledger::{Finding, Store, StoreError, What};

/// How many digests are asked for at once.
const BATCH: usize = 1024;

/// A finding for each kept file that is gone, up to [`MAX_FINDINGS`].
pub(super) fn missing(store: &dyn Store, view: &View) -> Result<Vec<Finding>, StoreError> {
    let mut named = named(view);
    let mut after = None;
    while !named.is_empty() {
        let kept = store.blob_digests(after.as_ref(), BATCH)?;
        let Some(last) = kept.last() else { break };
        after = Some(*last);
        for digest in &kept {
            named.remove(digest);
        }
    }
    let gone = named.into_iter().take(MAX_FINDINGS).map(|(digest, what)| Finding {
        seq: None,
        what: What::Blob,
        expected: format!("{what}, {digest}"),
        found: "nothing".into(),
    });
    Ok(gone.collect())
}

/// What records name, and what each is: plans that were requested or used, files of releases and of deployments.
fn named(view: &View) -> BTreeMap<Digest, String> {
    let plans = view.requests.keys().chain(view.runs.values().map(|run| &run.plan));
    let mut named: BTreeMap<Digest, String> = plans.map(|digest| (*digest, "a plan".to_owned())).collect();
    for entry in &view.releases {
        let files = entry.release.content.files.iter();
        named.extend(files.map(|(path, digest)| (*digest, format!("{path} of {}", entry.release.id))));
    }
    for (name, environment) in &view.environments {
        for residence in &environment.residences {
            let files = residence.files.iter();
            named.extend(files.map(|(path, digest)| (*digest, format!("{path} of {} in {name}", residence.release))));
            named.insert(residence.settings, format!("the settings of {} in {name}", residence.release));
        }
    }
    named
}
