//! Signatures over an artifact: whose there must be. What must not live here: checking one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::signer::{Signer, Signers, names, signed_as};
use super::term::ends;
use super::{Content, Fault, Piece, Reach, Scope, Subject, Verdict};
use crate::Digest;
use crate::evidence::{Form, Kind};

/// By whom an artifact has to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRequirement {
    /// Whose signatures count; never empty.
    pub by: Signers,
    /// How many of them must have signed; at least one, and no more than there are.
    pub least: u64,
    /// Whether what was signed has to name a repository in which the artifact is known to lie.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub repository: bool,
    /// What they must have signed: what releases name, or each of its platforms.
    #[serde(default = "Scope::index", skip_serializing_if = "Scope::is_index")]
    pub scope: Scope,
}

impl SignatureRequirement {
    /// Those of them who have signed all that has to be: by name, and as whom where it is by a certificate.
    #[must_use]
    pub fn signed_by(&self, subject: &Subject, pieces: &[Piece]) -> Vec<String> {
        let places = self.scope.places(subject);
        let of = |key: &Signer| {
            let in_each = places.iter().map(|place| {
                let holds = signatures(place, pieces).filter(|piece| piece.signed.by.contains(key));
                holds.map(|piece| piece.signed.named.get(key)).collect::<Vec<_>>()
            });
            let in_each: Vec<_> = in_each.collect();
            if in_each.iter().any(Vec::is_empty) { Vec::new() } else { in_each.into_iter().flatten().collect() }
        };
        let signed = self.by.iter().map(|(name, key)| (name, of(key))).filter(|(_, holds)| !holds.is_empty());
        signed.map(|(name, holds)| signed_as(name, holds.into_iter().flatten().flatten())).collect()
    }

    /// Those of the pieces that count where the repository matters, and a fault for each of the others that one of those has signed who are
    /// asked for. Where the artifact lies is known by its release and by where environments copy it: after a promotion a signature names
    /// the place that it came from.
    pub(super) fn of_place(&self, pieces: &[Piece], places: &BTreeSet<String>) -> (Vec<Piece>, Vec<Fault>) {
        let mut elsewhere = Vec::new();
        let counts = |piece: &&Piece| {
            let Some(report) =
                piece.report().filter(|report| self.repository && report.about.source() == Kind::Signature)
            else {
                return true;
            };
            let named = report.about.repository.as_deref();
            let known = named.is_some_and(|named| places.iter().any(|place| bare(place) == bare(named)));
            if !known && piece.signed.of(&self.by).next().is_some() {
                let (document, found) = (piece.document, named.map(String::from));
                elsewhere.push(Fault::OfAnotherPlace { document, found });
            }
            known
        };
        let pieces = pieces.iter().filter(counts).cloned().collect();
        (pieces, elsewhere)
    }

    /// Judges the signatures over an artifact. They have to be over what releases name, an index where there is one, unless another scope is
    /// asked for: the index says which manifest is for which platform, and nobody has signed that who signed the manifests alone.
    /// Signatures of others say nothing.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece]) -> Verdict {
        let mut verdict = Verdict::default();
        for place in self.scope.places(subject) {
            // Of a platform it is said which one.
            let platform = place.first().filter(|one| place.len() == 1 && **one != subject.digest);
            self.judge_place(&place, platform.copied(), pieces, &mut verdict);
        }
        if !verdict.faults.is_empty() {
            unread(subject, pieces, Kind::Signature, &mut verdict);
        }
        verdict
    }

    fn judge_place(&self, place: &BTreeSet<Digest>, platform: Option<Digest>, pieces: &[Piece], verdict: &mut Verdict) {
        let (mut signed, mut others, mut flawed) = (BTreeMap::<&str, Option<_>>::new(), Others::default(), Vec::new());
        for piece in signatures(place, pieces) {
            let mut counts = false;
            for (name, signer) in piece.signed.of(&self.by) {
                counts = true;
                let end = piece.signed.ends(signer).map(|end| (end, name));
                let known = signed.entry(signer.hand()).or_insert(end);
                // Of several by one hand the last counts.
                *known = known.zip(end).map(|(one, other)| one.max(other));
            }
            if counts {
                verdict.uses(piece);
                continue;
            }
            match piece.signed.flaw(&self.by) {
                Some((name, flaw)) => flawed.push((piece, name, flaw)),
                None => others.add(piece),
            }
        }
        let found = signed.len() as u64;
        verdict.lapses(ends(&signed, self.least));
        if found < self.least {
            verdict.fault(Fault::NotSigned { by: names(&self.by), found, least: self.least, others, platform });
            // Anybody can write the id of a key beside a signature that is none: what is enough is not taken away by that.
            for (piece, name, flaw) in flawed {
                verdict.uses(piece);
                verdict.fault(flaw.fault(piece.document, name.clone()));
            }
        }
    }
}

/// A repository without tag and digest, as it is compared.
fn bare(place: &str) -> String {
    let place = place.split('@').next().unwrap_or_default();
    let name = place.rfind('/').map_or(0, |at| at + 1);
    let place = place[name..].find(':').map_or(place, |at| &place[..name + at]);
    // Docker's own registry has two names.
    match place.strip_prefix("index.docker.io/") {
        Some(rest) => alloc::format!("docker.io/{rest}"),
        None => place.into(),
    }
}

/// What there is that nobody of those has signed who were asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Others {
    /// How many documents.
    pub documents: u64,
    /// Who has signed them, by certificates that hold, and who says that they are who they are.
    pub strangers: BTreeSet<(String, String)>,
    /// In which forms they are that nobody verifies.
    pub forms: BTreeSet<Form>,
}

impl Others {
    /// One more.
    pub(super) fn add(&mut self, piece: &Piece) {
        self.documents += 1;
        self.strangers.extend(piece.signed.strangers.iter().cloned());
        self.forms.extend(piece.report().and_then(|report| report.about.form));
    }
}

/// How many strangers are named: anybody may sign.
const NAMED: usize = 3;

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.documents {
            0 => return Ok(()),
            1 => f.write_str(" (1 document has another signature or none")?,
            documents => write!(f, " ({documents} documents have other signatures or none")?,
        }
        for (at, (name, issuer)) in self.strangers.iter().take(NAMED).enumerate() {
            write!(f, "{} {name}, whom {issuer} knows", if at == 0 { ": signed by" } else { "; by" })?;
        }
        if let Some(more) = self.strangers.len().checked_sub(NAMED).filter(|more| *more > 0) {
            write!(f, "; by {more} more")?;
        }
        for form in &self.forms {
            write!(f, "; promo does not verify {form}")?;
        }
        f.write_str(")")
    }
}

/// Those over one of these digests, whoever made them.
fn signatures<'a>(place: &BTreeSet<Digest>, pieces: &'a [Piece]) -> impl Iterator<Item = &'a Piece> {
    let is = |piece: &&Piece| {
        piece.report().is_some_and(|report| {
            report.about.source() == Kind::Signature && place.iter().any(|digest| report.about.names(digest))
        })
    };
    pieces.iter().filter(is)
}

/// Whether what was signed names the artifact as releases do.
pub(super) fn names_it(piece: &Piece, subject: &Subject) -> bool {
    piece.report().is_some_and(|report| report.about.names(&subject.digest))
}

/// Says what could have been what is missed, and cannot be read.
pub(super) fn unread(subject: &Subject, pieces: &[Piece], of: Kind, verdict: &mut Verdict) {
    for piece in pieces {
        if let (Content::Unreadable { kind, why }, Reach::Somewhere | Reach::Platforms(_)) =
            (&piece.content, subject.reach(piece))
            && (*kind == of || *kind == Kind::InToto)
        {
            verdict.uses(piece);
            verdict.fault(Fault::Unreadable { document: piece.document, why: why.clone() });
        }
    }
}
