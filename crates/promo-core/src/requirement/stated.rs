//! What was signed, apart from what is around it: the envelope, who brought it, when, for what and under which name. What must not live here:
//! checking a signature, and what a document is worth.
//!
//! Whoever may push to a registry can put what somebody signed into another envelope, as often and beside whatever they like. None of that
//! changes what a gate comes to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use super::signer::{Signed, Signers};
use super::{Content, EvidenceGate, Origin, Piece, Requirement};
use crate::Digest;
use crate::evidence::Kind;

impl EvidenceGate {
    /// The pieces as the gate takes them. What one of those signed whom it asks for is what they signed and nothing beside it, and stands once;
    /// what was pushed to a registry though it was there before stands once as well. As of an instant keys count in their windows alone.
    pub(super) fn taken(&self, pieces: &[Piece], at: Option<Timestamp>) -> Vec<Piece> {
        let mut holds: BTreeMap<Digest, Signed> = BTreeMap::new();
        for piece in pieces {
            holds.entry(piece.stated).or_default().join(&piece.signed);
        }
        let mut out: Vec<Piece> = Vec::new();
        let mut known = BTreeSet::new();
        for piece in pieces {
            let mut piece = piece.clone();
            // A signature is over what was signed, whichever envelope it stands in.
            let mut signed = holds.get(&piece.stated).cloned().unwrap_or_default();
            signed.broken = core::mem::take(&mut piece.signed.broken);
            signed.broken.retain(|key| !signed.by.contains(key));
            signed.unproven = core::mem::take(&mut piece.signed.unproven);
            signed.unproven.retain(|key| !signed.by.contains(key));
            if let Some(at) = at {
                signed.at(at);
            }
            piece.signed = signed;
            for piece in self.as_signed(piece) {
                let pushed = !matches!(piece.origin, Origin::Ledger { .. });
                let key = (piece.stated, piece.bound.clone(), kind(&piece.content), told_name(&piece));
                if known.insert(key) || !pushed {
                    out.push(piece);
                }
            }
        }
        out
    }

    /// What counts of a document that one of those signed whom the gate asks for; the document itself, where none of them has. One that cannot be
    /// read speaks of what it was brought for: else it would hold nothing.
    fn as_signed(&self, piece: Piece) -> Vec<Piece> {
        let asked = match &self.requirement {
            Requirement::Signature(signature) => &signature.by,
            Requirement::Provenance(provenance) => &provenance.by,
            _ => &self.by,
        };
        let signed = |by: &Signers| piece.signed.of(by).next().is_some();
        let Some(report) = piece.report().filter(|_| signed(asked) || signed(&self.by)) else {
            return alloc::vec![piece];
        };
        if report.about.bound.is_empty() {
            return alloc::vec![piece];
        }
        let names = names(&self.requirement, &report.about.suites);
        let of = |name| Piece { name, origin: Origin::Signed, bound: BTreeSet::new(), ..piece.clone() };
        names.into_iter().map(of).collect()
    }
}

/// By which names a gate knows a run that calls itself so: each of the suites that it asks for. One of which nobody signed what it is of has none.
fn names(requirement: &Requirement, own: &BTreeSet<String>) -> Vec<Option<String>> {
    let asked = match requirement {
        Requirement::Tests(tests) => &tests.suites,
        Requirement::Coverage(coverage) => &coverage.suites,
        Requirement::Number(number) => &number.suites,
        _ => return alloc::vec![None],
    };
    let is_own = |name: &&String| own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let names: Vec<Option<String>> = asked.iter().filter(is_own).cloned().map(Some).collect();
    match (names.is_empty(), asked.is_empty() && !own.is_empty()) {
        (false, _) => names,
        (true, true) => alloc::vec![Some(own.iter().cloned().collect::<Vec<_>>().join(", "))],
        (true, false) => alloc::vec![None],
    }
}

/// The name of what was signed; what was pushed has none of its own.
fn told_name(piece: &Piece) -> Option<String> {
    piece.name.clone().filter(|_| matches!(piece.origin, Origin::Signed))
}

/// Of which kind the facts are: numbers may be read of a document that is a report as well.
fn kind(content: &Content) -> Kind {
    match content {
        Content::Read(report) => report.about.source(),
        Content::Unreadable { kind, .. } => *kind,
    }
}
