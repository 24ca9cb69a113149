//! A release, as every screen names it.

use promo_core::plan::ReleaseRef;
use schemars::JsonSchema;
use serde::Serialize;

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ReleaseView {
    /// Its id.
    pub(crate) id: String,
    /// Its lineage number.
    pub(crate) lineage: u64,
    /// Its name for people.
    pub(crate) alias: Option<String>,
}

impl ReleaseView {
    /// A release of a plan.
    pub(crate) fn of(release: &ReleaseRef) -> Self {
        Self { id: release.id.to_string(), lineage: release.lineage, alias: release.alias.clone() }
    }

    /// `r-7a3f9c2e41b0 (#57)`, with the alias where there is one.
    pub(crate) fn text(&self) -> String {
        match &self.alias {
            Some(alias) => format!("{} (#{} {alias})", self.id, self.lineage),
            None => format!("{} (#{})", self.id, self.lineage),
        }
    }
}
