//! What a release came from beside the one before it: its commits, and who wrote them. What must not live here: asking a repository.

use std::collections::BTreeMap;

use jiff::Timestamp;
use promo_core::ledger::View;
use promo_core::plan::ReleaseRef;
use promo_core::planner;
use promo_engine::source::Since;
use schemars::JsonSchema;
use serde::Serialize;

use crate::escape;

/// How many commits a screen tells; JSON has all that are known.
const TOLD: usize = 10;
/// How many authors a screen tells.
const AUTHORS: usize = 10;
/// As many digits as tell commits apart for people.
const SHORT: usize = 12;

/// What came since the release before, where a gate says in which repository the source is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SinceView {
    /// The repository.
    pub(crate) repository: String,
    /// The commit of the release.
    pub(crate) commit: String,
    /// The release before it, the last one whose commit is known.
    pub(crate) before: ReleaseRef,
    /// The commit of that.
    pub(crate) before_commit: String,
    /// What this one has and that one has not, the newest first.
    pub(crate) commits: Vec<CommitView>,
    /// How many more there are of those.
    pub(crate) more: u64,
    /// How many commits that one has and this one has not: more than none where this one does not come after it.
    pub(crate) without: u64,
    /// Who wrote the commits that are told, by name as the repository's mailmap has it, whoever wrote the most of them first. Names are
    /// what somebody wrote into a commit: a claim.
    pub(crate) authors: Vec<AuthorView>,
    /// Why nothing of that is known, where the repository could not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
}

/// A commit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CommitView {
    /// Its hash.
    pub(crate) id: String,
    /// Who wrote it.
    pub(crate) author: String,
    /// When.
    pub(crate) at: Option<Timestamp>,
    /// Its first line.
    pub(crate) subject: String,
}

/// Somebody who wrote commits.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct AuthorView {
    /// The name.
    pub(crate) name: String,
    /// How many commits.
    pub(crate) commits: u64,
}

impl SinceView {
    pub(crate) fn of(since: Since, view: &View) -> Self {
        let Since { repository, commit, before, before_commit, way } = since;
        let (way, unknown) = match way {
            Ok(way) => (way, None),
            Err(why) => (promo_sdk::Way::default(), Some(why.to_string())),
        };
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for one in &way.commits {
            *counted.entry(&one.author).or_default() += 1;
        }
        let mut authors: Vec<AuthorView> =
            counted.into_iter().map(|(name, commits)| AuthorView { name: name.to_owned(), commits }).collect();
        authors.sort_by(|one, other| other.commits.cmp(&one.commits).then_with(|| one.name.cmp(&other.name)));
        let commits = way.commits.into_iter().map(|one| CommitView {
            id: one.id,
            author: one.author,
            at: one.at,
            subject: one.subject,
        });
        let before = planner::reference(view, &before.release.id);
        let (more, without) = (way.more, way.without);
        Self { repository, commit, before, before_commit, commits: commits.collect(), more, without, authors, unknown }
    }

    /// What there is to say, in lines.
    pub(crate) fn text(&self) -> String {
        let before = escape::line(&self.before.to_string());
        if let Some(unknown) = &self.unknown {
            return format!("  what came since {before} is not known: {}\n", escape::line(unknown));
        }
        let all = self.commits.len() as u64 + self.more;
        let counted = |number: u64| if number == 1 { "1 commit".to_owned() } else { format!("{number} commits") };
        let mut out = format!("  {} since {before}, in {}\n", counted(all), escape::line(&self.repository));
        if self.without > 0 {
            out.push_str(&format!("    it does not come after that: {} of it are not in this one\n", self.without));
        }
        if !self.authors.is_empty() {
            let name = |author: &AuthorView| format!("{} ({})", escape::line(&author.name), author.commits);
            let names: Vec<String> = self.authors.iter().take(AUTHORS).map(name).collect();
            let rest = self.authors.len().saturating_sub(AUTHORS);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            let of = if self.more > 0 { format!(", of the last {}", self.commits.len()) } else { String::new() };
            out.push_str(&format!("    written by {}{rest}{of}\n", names.join(", ")));
        }
        for one in self.commits.iter().take(TOLD) {
            let short = one.id.get(..SHORT).unwrap_or(&one.id);
            let (author, subject) = (escape::line(&one.author), escape::line(&one.subject));
            out.push_str(&format!("    {} {author}: {subject}\n", escape::line(short)));
        }
        let rest = all.saturating_sub(TOLD as u64);
        if rest > 0 {
            out.push_str(&format!("    and {rest} more\n"));
        }
        out
    }
}
