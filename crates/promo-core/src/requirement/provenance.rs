//! Provenance: who must have built an artifact, and from what. What must not live here: whether a commit may be released (its repository
//! says that).

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::exception::matches;
use super::need::REVISION;
use super::signature::{Others, names_it, unread};
use super::signer::{Signers, names};
use super::term::lapses;
use super::{Fault, Piece, Reach, Scope, Subject, Verdict};
use crate::Digest;
use crate::evidence::{Kind, Provenance, Source};

/// How an artifact has to be built, and who has to say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceRequirement {
    /// Whose word counts; never empty: what nobody has signed anybody can say.
    pub by: Signers,
    /// Who may have built it, each with `*` for anything; anybody when there are none, and then there are sources.
    pub builders: BTreeSet<String>,
    /// From which repositories it may be built, each with `*` for anything; from any when there are none. Where there are some, a
    /// document names the commit as well.
    pub sources: BTreeSet<String>,
    /// Of what it must speak; of the whole or of each of its platforms when that is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

impl ProvenanceRequirement {
    /// Judges what is said of how an artifact was built: of the whole, or of each of its platforms. `commit` is what the build itself
    /// said: both have to say the same. One good document is enough, since an artifact can be built twice; where there is none, what is
    /// wrong with the others is told. Those by the right builder and source that name different commits, of one platform or of several, or
    /// another one than the build, are a conflict: an artifact is of one commit.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], commit: Option<&str>) -> Verdict {
        let mut verdict = Verdict::default();
        let (mut good, mut bad, mut contradicting) = (Vec::new(), Vec::new(), Vec::new());
        let mut others = Others::default();
        for piece in pieces {
            let Some(provenance) = piece.report().and_then(|report| report.provenance.as_ref()) else { continue };
            let parts = parts(subject, piece, self.scope);
            if parts.is_empty() {
                continue;
            }
            if piece.signed.of(&self.by).next().is_none() {
                others.add(piece);
                if let Some((name, flaw)) = piece.signed.flaw(&self.by) {
                    bad.push((piece, parts, flaw.fault(piece.document, name.clone())));
                }
                continue;
            }
            match self.wrong(piece.document, provenance, commit) {
                Some(fault @ Fault::OtherCommit { found: Some(_), .. }) => contradicting.push((piece, parts, fault)),
                Some(fault) => bad.push((piece, parts, fault)),
                None => good.push((piece, parts)),
            }
        }
        let told: BTreeSet<Digest> = good.iter().flat_map(|(_, parts)| parts).copied().collect();
        good.iter().for_each(|(piece, _)| verdict.uses(piece));
        good.iter().for_each(|(piece, _)| verdict.lapses(lapses(piece, &self.by)));
        let pieces_of = good.iter().map(|(piece, _)| *piece);
        conflict(pieces_of, &mut verdict);
        let mut explained = BTreeSet::new();
        // Beside a good one as well: both count, and nobody knows which is so.
        for (piece, parts, fault) in contradicting {
            verdict.uses(piece);
            verdict.fault(fault);
            explained.extend(parts);
        }
        let all = whole(subject);
        let missing: BTreeSet<Digest> = all.difference(&told).copied().collect();
        if missing.is_empty() {
            return verdict;
        }
        for (piece, parts, fault) in bad {
            if !parts.is_disjoint(&missing) {
                verdict.uses(piece);
                verdict.fault(fault);
                explained.extend(parts);
            }
        }
        if let Some(platform) = missing.difference(&explained).next() {
            let platform = Some(*platform).filter(|_| !told.is_empty() || !explained.is_empty());
            verdict.fault(Fault::Nothing { from: None, platform });
            if others.documents > 0 {
                verdict.fault(Fault::NotSigned { by: names(&self.by), found: 0, least: 1, others, platform: None });
            }
            unread(subject, pieces, Kind::Provenance, &mut verdict);
        }
        verdict
    }

    /// What is wrong with a document that counts.
    fn wrong(&self, document: Digest, provenance: &Provenance, commit: Option<&str>) -> Option<Fault> {
        let fits = |patterns: &BTreeSet<String>, text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        if !self.builders.is_empty() && !fits(&self.builders, &provenance.builder) {
            return Some(Fault::OtherBuilder { document, found: provenance.builder.clone() });
        }
        // What else went in says nothing: anything can be built in.
        let source = provenance.source.as_ref();
        let welcome = |source: &Source| fits(&self.sources, source.place()) && !source.place().contains("..");
        if !self.sources.is_empty() && !source.is_some_and(welcome) {
            let found = source.map(|source| source.place().into());
            return Some(Fault::OtherSource { document, found });
        }
        let found = source.and_then(|source| source.commit.clone());
        match commit {
            Some(said) if found.as_deref() != Some(said) => {
                Some(Fault::OtherCommit { document, found, said: Some(said.into()) })
            }
            // A source is a commit of it: what names none could have been built from anything that was ever there.
            None if found.is_none() && !self.sources.is_empty() => {
                Some(Fault::OtherCommit { document, found, said: None })
            }
            _ => None,
        }
    }
}

/// Says where documents that count name different commits.
fn conflict<'a>(good: impl Iterator<Item = &'a Piece>, verdict: &mut Verdict) {
    let commit = |piece: &Piece| piece.report()?.provenance.as_ref()?.source.as_ref()?.commit.clone();
    let mut named = good.filter_map(|piece| Some((piece.document, commit(piece)?)));
    let Some(one) = named.next() else { return };
    for other in named.filter(|(_, commit)| *commit != one.1) {
        verdict.fault(Fault::Conflict { key: REVISION.into(), one: one.clone(), other });
    }
}

/// The platforms of an artifact; the artifact itself where it has none.
pub(super) fn whole(subject: &Subject) -> BTreeSet<Digest> {
    match subject.platforms.is_empty() {
        true => [subject.digest].into(),
        false => subject.platforms.keys().copied().collect(),
    }
}

/// Of which of them a statement speaks: by what was signed alone, since whoever brings it could say anything. That of the index is of all:
/// what is built are the manifests that it names, unless each is to be named.
pub(super) fn parts(subject: &Subject, piece: &Piece, scope: Option<Scope>) -> BTreeSet<Digest> {
    if piece.report().is_none_or(|report| report.about.bound.is_empty()) {
        return BTreeSet::new();
    }
    match (subject.reach(piece), scope) {
        (_, None | Some(Scope::Index | Scope::Any)) if names_it(piece, subject) => whole(subject),
        (_, Some(Scope::Index)) => BTreeSet::new(),
        (Reach::Platforms(_), Some(Scope::Any)) => whole(subject),
        (Reach::Platforms(platforms), _) => platforms,
        (Reach::Somewhere | Reach::Another(_) | Reach::Nobody, _) => BTreeSet::new(),
    }
}
