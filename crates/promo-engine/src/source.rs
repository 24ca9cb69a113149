//! What repositories of source show of the commits of a release: asked once, recorded, and judged from the ledger ever after. What must not
//! live here: how a repository is asked (whoever opens a session gives that), and what a gate makes of the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use promo_core::Digest;
use promo_core::evidence::{Kind, Seen};
use promo_core::ids::ArtifactName;
use promo_core::ledger::view::ReleaseEntry;
use promo_core::ledger::{Event, View};
use promo_core::requirement::{Content, EvidenceGate, ReleaseEvidence, Requirement, Signed};
use promo_ledger::Expect;
use promo_sdk::{ErrorKind, ProviderError, Repositories, SourcePlace, Way};

use crate::collect::{Collected, Unseen};
use crate::error::EngineError;
use crate::evidence::Known;
use crate::session::Session;

/// For how many commits one release asks a repository at most: of more than one it is not known which it is of anyway.
const ASKED: usize = 8;

/// What a release came from, beside the release before it.
#[derive(Debug, Clone)]
pub struct Since {
    /// The repository.
    pub repository: String,
    /// The commit of this release.
    pub commit: String,
    /// The release before it, the last one of which a commit is known.
    pub before: ReleaseEntry,
    /// The commit of that.
    pub before_commit: String,
    /// The way from that to this one, where the repository tells it.
    pub way: Result<Way, ProviderError>,
}

/// Questions to repositories: by where is asked, for which commits, and for which artifacts.
type Questions = BTreeMap<SourcePlace, BTreeMap<String, BTreeSet<Digest>>>;

impl Session {
    /// The same session with what asks repositories. Without it no gate over the source is ever met.
    #[must_use]
    pub fn with_repositories(mut self, repositories: Arc<dyn Repositories>) -> Self {
        self.repositories = Some(repositories);
        self
    }

    /// What a document says that promo itself wrote of what it saw.
    pub(crate) fn seen(&self, document: &Digest) -> Result<Known, EngineError> {
        let unreadable = |why: String| Content::Unreadable { kind: Kind::Source, why };
        let content = match self.store.get_blob(document)? {
            Some(bytes) => Seen::report(&bytes).map_or_else(unreadable, |report| Content::Read(Arc::new(report))),
            None => unreadable("the ledger does not keep it".into()),
        };
        Ok(Known { content, signed: Signed::default(), stated: *document })
    }

    /// Asks the repositories of gates over the source for the commits of a release, and records what they show. One that has shown a commit
    /// where it may be released is not asked for it again for that artifact: what was so once stays.
    pub(crate) async fn collect_source(&self, release: &ReleaseEntry, out: &mut Collected) -> Result<(), EngineError> {
        let (questions, known) = {
            let view = self.view()?;
            (self.questions(&view, release)?, self.answers(&view, release)?)
        };
        let mut events = Vec::new();
        for (place, commits) in questions {
            let open =
                |commit: &&String| !known.iter().any(|seen| asks(&place, seen, commit) && seen.reached.is_some());
            let asked: BTreeSet<String> = commits.keys().filter(open).take(ASKED).cloned().collect();
            let (Some(repositories), false) = (&self.repositories, asked.is_empty()) else { continue };
            let answer = match repositories.look(&self.context, &place, &asked).await {
                Ok(answer) => answer,
                Err(why) if why.kind == ErrorKind::Cancelled => {
                    return Err(EngineError::about(None, format!("asking {}", place.repository), why));
                }
                Err(why) => {
                    out.unseen.push(Unseen { repository: place.repository.clone(), why });
                    continue;
                }
            };
            let at = self.now()?;
            for seen in answer.seen.iter().filter(|seen| asked.contains(&seen.commit)) {
                // The same once more is no news.
                let last = known.iter().rev().find(|known| asks(&place, known, &seen.commit));
                if last.is_some_and(|last| (last.exists, &last.reached) == (seen.exists, &seen.reached)) {
                    continue;
                }
                let bytes = seen.to_bytes(at, answer.version.as_deref()).map_err(EngineError::Evidence)?;
                self.store.put_blob(&bytes)?;
                events.push(self.draft(Event::EvidenceAdded {
                    document: Digest::of(&bytes),
                    format: Kind::Source.name().to_owned(),
                    name: None,
                    subjects: commits[&seen.commit].clone(),
                    attached: None,
                }));
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let before = self.with_view(|view| view.evidence.len())?;
        self.append(&Expect::default(), &events)?;
        let view = self.view()?;
        let first = view.evidence.get(before).map_or(u64::MAX, |entry| entry.seq);
        let brought = self.evidence_of(&view, release)?.into_iter();
        out.new.extend(brought.filter(|one| one.entry.seq >= first && one.entry.format == Kind::Source.name()));
        Ok(())
    }

    /// What the gates over the source ask for a release.
    fn questions(&self, view: &View, release: &ReleaseEntry) -> Result<Questions, EngineError> {
        let mut out = Questions::new();
        let Some(known) = self.known_of(view, release)? else { return Ok(out) };
        for (gate, place) in self.source_gates() {
            for (artifact, digest) in &release.release.content.components {
                for commit in gate.commits(artifact, &known) {
                    out.entry(place.clone()).or_default().entry(commit).or_default().insert(*digest);
                }
            }
        }
        Ok(out)
    }

    /// What was seen of a release and counts, in the order of the ledger.
    fn answers(&self, view: &View, release: &ReleaseEntry) -> Result<Vec<Seen>, EngineError> {
        let all = self.evidence_of(view, release)?.into_iter().filter(|brought| brought.entry.withdrawn.is_none());
        Ok(all.filter_map(|brought| brought.piece().report()?.seen.clone()).collect())
    }

    fn known_of(&self, view: &View, release: &ReleaseEntry) -> Result<Option<ReleaseEvidence>, EngineError> {
        let id = &release.release.id;
        Ok(self.evidence(view, [id])?.remove(id))
    }

    /// The gates over the source that an environment names, each with where it asks.
    fn source_gates(&self) -> impl Iterator<Item = (&EvidenceGate, SourcePlace)> {
        self.governance.gates.values().flatten().filter_map(|named| match &named.gate.requirement {
            Requirement::Source(source) => {
                let place = SourcePlace { repository: source.repository.clone(), refs: source.refs.clone() };
                Some((&named.gate, place))
            }
            _ => None,
        })
    }

    /// What a release came from beside the one before it: nothing where no gate says in which repository its source is, no commit is known of
    /// it, or no release came before.
    ///
    /// # Errors
    /// When the ledger cannot be read. That a repository cannot be asked is part of the answer.
    pub async fn since(&self, release: &ReleaseEntry) -> Result<Option<Since>, EngineError> {
        let found = {
            let view = self.view()?;
            self.between(&view, release)?
        };
        let (Some((place, commit, before, before_commit)), Some(repositories)) = (found, &self.repositories) else {
            return Ok(None);
        };
        let way = repositories.way(&self.context, &place, &before_commit, &commit).await;
        Ok(Some(Since { repository: place.repository, commit, before, before_commit, way }))
    }

    /// Where to ask, and for which two commits: of the first artifact of which both are known.
    fn between(
        &self,
        view: &View,
        release: &ReleaseEntry,
    ) -> Result<Option<(SourcePlace, String, ReleaseEntry, String)>, EngineError> {
        let Some(known) = self.known_of(view, release)? else { return Ok(None) };
        let one = |gate: &EvidenceGate, artifact: &ArtifactName, evidence: &ReleaseEvidence| {
            let commits = gate.commits(artifact, evidence);
            commits.first().filter(|_| commits.len() == 1).cloned()
        };
        let gates: Vec<(&EvidenceGate, SourcePlace)> = self.source_gates().collect();
        for before in view.releases.iter().rev().filter(|before| before.lineage < release.lineage).take(20) {
            if gates.is_empty() {
                break;
            }
            let Some(earlier) = self.known_of(view, before)? else { continue };
            for (gate, place) in &gates {
                for artifact in release.release.content.components.keys() {
                    let both = (one(gate, artifact, &known), one(gate, artifact, &earlier));
                    if let (Some(commit), Some(before_commit)) = both {
                        return Ok(Some((place.clone(), commit, before.clone(), before_commit)));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Whether something that was seen is an answer to a question.
fn asks(place: &SourcePlace, seen: &Seen, commit: &str) -> bool {
    seen.repository == place.repository && seen.refs == place.refs && seen.commit == commit
}
