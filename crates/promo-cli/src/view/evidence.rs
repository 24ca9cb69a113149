//! A document of evidence, as every screen shows it.

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::requirement::Content;
use promo_engine::evidence::Brought;
use schemars::JsonSchema;
use serde::Serialize;

/// A document of evidence.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DocumentView {
    /// Its digest.
    pub(crate) document: Digest,
    /// Its format.
    pub(crate) format: String,
    /// Who made it: a tool and its version, or the format.
    pub(crate) source: String,
    /// When it says that it was made.
    pub(crate) made: Option<Timestamp>,
    /// Who brought it.
    pub(crate) by: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Under which name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// For which digests.
    pub(crate) subjects: Vec<Digest>,
    /// What it says, in a few words.
    pub(crate) says: String,
}

impl DocumentView {
    /// What was brought.
    pub(crate) fn of(brought: &Brought) -> Self {
        let entry = &brought.entry;
        let piece = brought.piece();
        Self {
            document: entry.document,
            format: entry.format.clone(),
            source: promo_core::requirement::source(&piece),
            made: piece.report().and_then(|report| report.about.made),
            by: entry.by.name.clone(),
            at: entry.at,
            name: entry.name.clone(),
            subjects: entry.subjects.iter().copied().collect(),
            says: match &brought.content {
                Content::Read(report) => report.summary(),
                Content::Unreadable { why, .. } => format!("cannot be read: {why}"),
            },
        }
    }

    /// One line: who made it, under which name it was brought, and what it says.
    pub(crate) fn text(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{}{name}: {}", self.source, self.says)
    }
}
