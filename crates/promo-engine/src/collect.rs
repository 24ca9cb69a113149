//! Evidence that lies beside artifacts in their registries, taken into the ledger: gates judge only what the ledger has, so that everybody
//! comes to the same (S1.1). What must not live here: what a document says, and how a registry keeps it.

use std::collections::BTreeSet;

use promo_core::Digest;
use promo_core::evidence::{Kind, Report};
use promo_core::ids::{ArtifactName, ReleaseId};
use promo_core::ledger::Event;
use promo_core::ledger::view::ReleaseEntry;
use promo_core::planner::{mirror, split_reference};
use promo_ledger::Expect;
use promo_sdk::{Attached, AttachedRequest, ErrorKind, ProviderError};

use crate::error::EngineError;
use crate::evidence::Brought;
use crate::session::Session;

/// What was found beside the artifacts of a release.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// Documents that the ledger did not have.
    pub new: Vec<Brought>,
    /// Documents of a format that is known, which are broken or of a version that is not known: they are not taken.
    pub broken: Vec<BrokenDocument>,
    /// Documents that lie there and that somebody has withdrawn: they do not come back.
    pub withdrawn: BTreeSet<Digest>,
    /// How many are of no format that is known, and so say nothing to any gate.
    pub others: usize,
    /// Repositories of source that could not be asked, and why: what they would have said is not known to be no.
    pub unseen: Vec<Unseen>,
    /// Places to which artifacts were copied and that could not be asked, and why: what promo has told there is not known to be nothing.
    pub silent: Vec<Unseen>,
}

/// A repository that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// Which one.
    pub repository: String,
    /// Why.
    pub why: ProviderError,
}

/// A document that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenDocument {
    /// Beside which artifact.
    pub artifact: ArtifactName,
    /// The manifest that has it, where the artifact lies.
    pub at: String,
    /// What is wrong with it.
    pub why: String,
}

impl Session {
    /// Takes what is known elsewhere of the artifacts of a release into the ledger: what is attached to them, all of it that can be read, at
    /// once, and then what the repositories of source show of their commits, where gates ask for that.
    ///
    /// # Errors
    /// When the registry from which an artifact came cannot be asked or refuses: what it would have said is not known to be nothing. Nothing
    /// is recorded then. A place to which it was copied, where only promo tells of that, and a repository of source that cannot be
    /// asked are told as that, beside what is recorded.
    pub async fn collect_evidence(&self, release: &ReleaseEntry) -> Result<Collected, EngineError> {
        let mut out = self.collect_attached(release).await?;
        self.collect_source(release, &mut out).await?;
        Ok(out)
    }

    async fn collect_attached(&self, release: &ReleaseEntry) -> Result<Collected, EngineError> {
        let view = self.view()?;
        let withdrawals = self.withdrawals(&view)?;
        // What was withdrawn is read again, so that it is told that it still lies there.
        let attached = self.evidence_of(&view, release)?.into_iter().map(|one| one.entry);
        let attached = attached.filter(|entry| entry.attached.is_some() && entry.withdrawn.is_none());
        let known: BTreeSet<(Digest, Digest)> =
            attached.flat_map(|e| e.subjects.into_iter().map(move |subject| (subject, e.document))).collect();
        let (mut out, mut events, mut taken) = (Collected::default(), Vec::new(), BTreeSet::new());
        for (name, digest) in &release.release.content.components {
            let source = release.release.sources.get(name);
            let Some(repository) = source.and_then(|source| source.split('@').next()) else { continue };
            let mut found = self.attached(name, (repository, digest), &known).await?;
            for place in self.told_at(&release.release.id, repository)? {
                let mut there = match self.attached(name, (&place, digest), &known).await {
                    Ok(there) => there,
                    // Whoever stops waits for nothing more.
                    Err(
                        stopped @ EngineError::Provider {
                            source: ProviderError { kind: ErrorKind::Cancelled, .. }, ..
                        },
                    ) => {
                        return Err(stopped);
                    }
                    Err(EngineError::Provider { source: why, .. }) => {
                        out.silent.push(Unseen { repository: place, why });
                        continue;
                    }
                    Err(other) => return Err(other),
                };
                // Whoever may push there only copies: what they say beside that is nothing that a gate asks for.
                there
                    .retain(|one| self.reports.read(&one.bytes, None).is_ok_and(|report| tells(report.about.source())));
                found.extend(there);
            }
            let subject = self.with_view(|view| view.described.get(digest).cloned())?;
            let is_part = |of: &Digest| of == digest || subject.as_ref().is_some_and(|subject| subject.has(of));
            let mut broken = |at: &str, why: String| {
                out.broken.push(BrokenDocument { artifact: name.clone(), at: format!("{repository}@{at}"), why });
            };
            for one in found {
                // What is attached to an attestation speaks of that, and not of the artifact.
                if !is_part(&one.subject) {
                    out.others += 1;
                    continue;
                }
                let (document, at) = (Digest::of(&one.bytes), one.manifest.to_string());
                if let Some(why) = one.unread {
                    broken(&at, why);
                    continue;
                }
                let stated = self.reports.stated(&one.bytes);
                if withdrawals.of(&stated).is_some() {
                    out.withdrawn.extend(self.taken_out(&view, &withdrawals, &stated)?.map(|_| document));
                    continue;
                }
                if known.contains(&(one.subject, document)) || !taken.insert((one.subject, document)) {
                    continue;
                }
                let read = self.reports.read(&one.bytes, None).or_else(|unread| match unread.broken {
                    true => Err(unread),
                    false => self.numbers_in(&one.bytes).ok_or(unread),
                });
                match read {
                    Ok(report) => {
                        self.store.put_blob(&one.bytes)?;
                        events.push(self.draft(Event::EvidenceAdded {
                            document,
                            format: report.about.source().name().to_owned(),
                            name: None,
                            subjects: [one.subject].into(),
                            attached: Some(at),
                        }));
                    }
                    Err(unread) if unread.broken => broken(&at, unread.why),
                    Err(_) => out.others += 1,
                }
            }
        }
        if events.is_empty() {
            return Ok(out);
        }
        let before = self.with_view(|view| view.evidence.len())?;
        self.append(&Expect::default(), &events)?;
        let view = self.view()?;
        let documents: BTreeSet<Digest> = taken.into_iter().map(|(_, document)| document).collect();
        let brought = self.evidence_of(&view, release)?.into_iter();
        let first = view.evidence.get(before).map_or(u64::MAX, |entry| entry.seq);
        out.new = brought.filter(|one| one.entry.seq >= first && documents.contains(&one.entry.document)).collect();
        Ok(out)
    }

    /// What is no report and has a number for which a gate asks. Anything may be such a document, and without a gate nothing is.
    fn numbers_in(&self, bytes: &[u8]) -> Option<Report> {
        let pointers = self.pointers();
        let report = (!pointers.is_empty()).then(|| self.reports.read(bytes, Some(&pointers)).ok()).flatten()?;
        let found = report.numbers.as_ref().is_some_and(|numbers| !numbers.list.is_empty());
        found.then_some(report)
    }

    async fn attached(
        &self,
        name: &ArtifactName,
        (repository, digest): (&str, &Digest),
        known: &BTreeSet<(Digest, Digest)>,
    ) -> Result<Vec<Attached>, EngineError> {
        let request = AttachedRequest { reference: format!("{repository}@{digest}"), known: known.clone() };
        self.providers.get("oci")?.attached(&self.context, &request).await.map_err(|source| {
            EngineError::about(None, format!("asking what is attached to {name} ({repository}@{digest})"), source)
        })
    }

    /// Where promo has told of promotions of a release: the places to which environments have copied it that are told of.
    fn told_at(&self, release: &ReleaseId, repository: &str) -> Result<BTreeSet<String>, EngineError> {
        let (repository, _) = split_reference(repository);
        self.with_view(|view| {
            let told = self.governance.pipeline.environments.iter().filter(|(_, declared)| declared.attest.is_some());
            let been = told.filter(|(name, _)| {
                view.environment(name).is_some_and(|known| known.residences.iter().any(|r| r.release == *release))
            });
            been.filter_map(|(_, declared)| mirror(&declared.mirror, &repository)).collect()
        })
    }
}

/// Whether it tells of a promotion.
fn tells(kind: Kind) -> bool {
    matches!(kind, Kind::Promotion | Kind::Verification | Kind::TestResult)
}
