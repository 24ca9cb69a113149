//! The source of a release: that its commit is in a repository of git, and reachable from a ref that may be released. What must not live
//! here: asking a repository; what was seen there comes as a document of its own ([`crate::evidence::Seen`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::need::{REVISION, is_commit};
use super::signature::unread;
use super::{Assessment, Fault, Piece, Reach, Subject, Verdict};
use crate::evidence::{Kind, Seen};

/// Where the commit of a release has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRequirement {
    /// The repository: an address or an absolute path.
    pub repository: String,
    /// The branches and tags from one of which it has to be reachable, never empty: whole names, each with at most one `*` for anything.
    pub refs: BTreeSet<String>,
}

/// What the build said, by key; nothing behind a key whose text was erased.
type Said = BTreeMap<String, Option<String>>;

impl SourceRequirement {
    /// The commits that are named for an artifact: by its build, and by documents on how it was built. More than one is a contradiction.
    #[must_use]
    pub fn commits(subject: &Subject, pieces: &[Piece], said: &Said) -> BTreeSet<String> {
        let own = said.get(REVISION).cloned().flatten().filter(|text| !text.is_empty());
        let here = |piece: &&Piece| matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_));
        let built = |piece: &Piece| piece.report()?.provenance.as_ref()?.source.as_ref()?.commit.clone();
        own.into_iter().chain(pieces.iter().filter(here).filter_map(built)).collect()
    }

    /// Whether something that was seen answers what this asks of a commit: the same repository and the same refs were asked for it.
    #[must_use]
    pub fn asks(&self, seen: &Seen, commit: &str) -> bool {
        seen.repository == self.repository && seen.refs == self.refs && seen.commit == commit
    }

    /// Judges what is known of the commit of an artifact. That it was reachable once is a fact that stays: what somebody does to the
    /// repository later takes nothing back.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], said: &Said) -> Assessment {
        let mut verdict = Verdict::default();
        let named = Self::commits(subject, pieces, said);
        let malformed = named.iter().find(|commit| !is_commit(commit));
        let commit = match (named.first(), malformed) {
            (None, _) => {
                let key = REVISION.into();
                let erased = said.get(REVISION).is_some_and(Option::is_none);
                verdict.fault(if erased { Fault::Erased { key } } else { Fault::NotSaid { key } });
                return verdict.into();
            }
            (_, Some(found)) => {
                verdict.fault(Fault::NotACommit { key: REVISION.into(), found: found.chars().take(100).collect() });
                return verdict.into();
            }
            (Some(one), None) if named.len() == 1 => one,
            _ => {
                verdict.fault(Fault::Commits { named: named.into_iter().collect() });
                return verdict.into();
            }
        };
        let here = |piece: &&Piece| matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_));
        let asked = |piece: &Piece| piece.report()?.seen.clone().filter(|seen| self.asks(seen, commit));
        let answers: Vec<(&Piece, Seen)> =
            pieces.iter().filter(here).filter_map(|piece| Some((piece, asked(piece)?))).collect();
        if let Some((piece, seen)) = answers.iter().find(|(_, seen)| seen.reached.is_some()) {
            verdict.uses(piece);
            return Assessment { summary: format!("{seen}"), ..verdict.into() };
        }
        // Of several that found it nowhere the last one says how it is by now.
        let last = answers.iter().max_by_key(|(piece, _)| piece.report().and_then(|report| report.about.made));
        let (repository, commit) = (self.repository.clone(), commit.clone());
        match last {
            None => {
                verdict.fault(Fault::NotSeen { repository, commit });
                unread(subject, pieces, Kind::Source, &mut verdict);
            }
            Some((piece, seen)) => {
                verdict.uses(piece);
                let document = piece.document;
                verdict.fault(match seen.exists {
                    false => Fault::NoSuchCommit { document, repository, commit },
                    true => {
                        let refs = self.refs.iter().cloned().collect();
                        Fault::NotReachable { document, repository, commit, refs }
                    }
                });
            }
        }
        verdict.into()
    }
}
