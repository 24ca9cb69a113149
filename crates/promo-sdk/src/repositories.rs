//! Repositories of source: what promo asks them. What must not live here: how one is reached, and what an answer is worth.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::evidence::Seen;

use crate::{Context, ProviderError};

/// Which repository is asked, and by which of its refs: texts that a pipeline or a policy has stated, and that were checked there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePlace {
    /// An address or an absolute path.
    pub repository: String,
    /// Whole names of branches and tags, each with at most one `*`. Nothing else of the repository counts.
    pub refs: BTreeSet<String>,
}

/// What a repository showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAnswer {
    /// For each commit that was asked for, in ascending order.
    pub seen: Vec<Seen>,
    /// The version of git that looked.
    pub version: Option<String>,
}

/// A commit, as people know it. Names and subjects are whatever somebody wrote: whoever prints them escapes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its whole hash.
    pub id: String,
    /// Who wrote it: a name, as the repository's mailmap has it where there is one.
    pub author: String,
    /// When it was written.
    pub at: Option<Timestamp>,
    /// Its first line.
    pub subject: String,
}

/// The way from one commit to another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    /// What the second has and the first has not, the newest first.
    pub commits: Vec<Commit>,
    /// How many more there are of those than are told.
    pub more: u64,
    /// How many the first has and the second has not: more than none where the second does not come after it.
    pub without: u64,
}

/// How promo looks into repositories of source. Whoever opens a session gives it.
#[async_trait]
pub trait Repositories: Send + Sync {
    /// Whether a repository has these commits, and from which of the refs each is reached. Nothing of it is run, and nobody is asked.
    ///
    /// # Errors
    /// When the repository cannot be reached, refuses, or does not have the history that tells it: that is never taken for a "no".
    async fn look(
        &self,
        cx: &Context,
        place: &SourcePlace,
        commits: &BTreeSet<String>,
    ) -> Result<SourceAnswer, ProviderError>;

    /// The way from `from` to `to`, both whole hashes of commits.
    ///
    /// # Errors
    /// As [`Repositories::look`]; [`crate::ErrorKind::NotFound`] where it does not have one of the two.
    async fn way(&self, cx: &Context, place: &SourcePlace, from: &str, to: &str) -> Result<Way, ProviderError>;
}
