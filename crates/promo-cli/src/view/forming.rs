//! The newest tags of the artifacts while they are no release yet.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::ids::ArtifactName;
use promo_core::ledger::View;
use promo_engine::Session;
use promo_engine::found::Looked;
use schemars::JsonSchema;
use serde::Serialize;

/// Artifacts that are to be a release once nothing newer has come for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Forming {
    /// Where each is: `repository:tag@digest`.
    pub(crate) artifacts: BTreeMap<ArtifactName, String>,
    /// Since when that is the newest, as far as anybody looked.
    pub(crate) since: Timestamp,
    /// From when on it is a release, if nothing newer comes.
    pub(crate) until: Timestamp,
}

impl Forming {
    /// As the ledger has it; none where no release is forming.
    pub(crate) fn of(session: &Session, view: &View) -> Option<Self> {
        match session.forming(view)? {
            Looked::Quiet { sources, since, until } => Some(Self { artifacts: sources, since, until }),
            Looked::Ready(_) => None,
        }
    }
}
