//! Which documents count for a gate that says by whom they must be signed. What must not live here: checking a signature, and what a
//! document that counts is worth.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::bill::could_be_bill;
use super::measure::{could_be_coverage, could_be_numbers, could_be_tests};
use super::scan::could_be_scan;
use super::signature::Others;
use super::signer::{Signers, names};
use super::term::{Flaw, Outside, lapses};
use super::{Before, Content, EvidenceGate, Fault, Piece, Reach, ReleaseEvidence, Requirement, Subject, Verdict};
use crate::Digest;
use crate::evidence::{Kind, Report};
use crate::ids::{ArtifactName, SignerName};

/// A document on the matter of a gate which says nothing to it, for want of a signature or since somebody withdrew it: it neither opens nor
/// bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCounted {
    /// The document.
    pub document: Digest,
    /// Under which name it was brought.
    pub name: Option<String>,
    /// Why it does not count.
    pub why: WhyNot,
}

/// Why a document does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyNot {
    /// None of those who may has signed it.
    Unsigned {
        /// Those who may.
        by: Vec<String>,
    },
    /// It carries the signature of one of them, and that does not count.
    Flawed {
        /// Whose.
        by: SignerName,
        /// Why.
        flaw: Flaw,
    },
    /// Somebody has withdrawn it.
    Withdrawn {
        /// Who.
        by: String,
        /// The position of the record that says so.
        seq: u64,
    },
    /// A record withdraws it, and no signature bears that out.
    Contested {
        /// The position of the record.
        seq: u64,
    },
    /// It is signed, and what was signed names no artifact: whoever brings it could say that it is of any.
    NamesNothing,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned { by } => write!(f, "not signed by {}", by.join(" or ")),
            Self::Flawed { by, flaw: Flaw::Broken } => write!(f, "the signature of {by} does not hold"),
            Self::Flawed { by, flaw: Flaw::Unproven } => {
                write!(f, "no log or time stamp bears out the signature of {by}")
            }
            Self::Flawed { by, flaw: Flaw::Outside { term, seen, over } } => Outside(by, term, *seen, *over).fmt(f),
            Self::Withdrawn { by, seq } => write!(f, "withdrawn by {by}, record {seq}"),
            Self::Contested { seq } => {
                write!(f, "record {seq} withdraws it and nobody proves that: it can bar, and lets nothing in")
            }
            Self::NamesNothing => f.write_str("what was signed does not say of what it speaks"),
        }
    }
}

impl EvidenceGate {
    /// The documents that count, and those on the matter which would if somebody else had signed them.
    pub(super) fn counted(&self, subject: &Subject, pieces: Vec<Piece>) -> (Vec<Piece>, Vec<NotCounted>) {
        if self.by.is_empty() {
            return (pieces, Vec::new());
        }
        let mut not_counted = Vec::new();
        let counts = |piece: &Piece| {
            let Some(why) = why_not(&self.by, piece) else { return true };
            if is_statement(&self.requirement, piece) || is_seen(&self.requirement, piece) {
                return true;
            }
            let here = matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_));
            if here && concerns(&self.requirement, &piece.content) {
                not_counted.push(NotCounted { document: piece.document, name: piece.name.clone(), why });
            }
            false
        };
        let counted: Vec<Piece> = pieces.into_iter().filter(counts).collect();
        (counted, not_counted)
    }

    /// What is on the matter, and was withdrawn.
    pub(super) fn withdrawn(&self, subject: &Subject, evidence: &ReleaseEvidence) -> Vec<NotCounted> {
        let mine = |(piece, ..): &&(Piece, String, u64)| self.is_about(subject, piece);
        let told = |(piece, by, seq): &(Piece, String, u64)| NotCounted {
            document: piece.document,
            name: piece.name.clone(),
            why: WhyNot::Withdrawn { by: by.clone(), seq: *seq },
        };
        evidence.withdrawn.iter().filter(mine).map(told).collect()
    }

    /// What is on the matter, and a record withdraws without proof; also of what is compared with.
    pub(super) fn contested(
        &self,
        artifact: &ArtifactName,
        evidence: &ReleaseEvidence,
        before: Before<'_>,
    ) -> Vec<NotCounted> {
        let before = match before {
            Before::Known(known) if self.requirement.compares() => Some(known),
            _ => None,
        };
        let mut out = Vec::new();
        for known in [Some(evidence), before].into_iter().flatten() {
            let Some(subject) = known.subjects.get(artifact) else { continue };
            for (piece, seq) in known.contested.iter().filter(|(piece, _)| self.is_about(subject, piece)) {
                let why = WhyNot::Contested { seq: *seq };
                out.push(NotCounted { document: piece.document, name: piece.name.clone(), why });
            }
        }
        out
    }

    /// Whether a document speaks of an artifact and is on the matter. What says that a finding does not matter, or that it does, is on the matter of
    /// a scan as much as the finding.
    fn is_about(&self, subject: &Subject, piece: &Piece) -> bool {
        let states = || matches!(self.requirement, Requirement::Scan(_)) && states(&piece.content);
        matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_))
            && (concerns(&self.requirement, &piece.content) || states())
    }

    /// The same of what a number is compared with: without it there is nothing to compare with, or something better.
    pub(super) fn withdrawn_before(&self, artifact: &ArtifactName, before: Before<'_>) -> Vec<NotCounted> {
        match before {
            Before::Known(known) if self.requirement.compares() => {
                known.subjects.get(artifact).map(|subject| self.withdrawn(subject, known)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Says of what is missing that it is there, by others.
    pub(super) fn told_of_others(&self, not_counted: &[NotCounted], verdict: &mut Verdict) {
        let missing = verdict.faults.iter().any(|fault| matches!(fault, Fault::Nothing { .. }));
        if missing && !not_counted.is_empty() {
            let others = Others { documents: not_counted.len() as u64, ..Others::default() };
            verdict.fault(Fault::NotSigned { by: names(&self.by), found: 0, least: 1, others, platform: None });
            for NotCounted { document, why, .. } in not_counted {
                // One that does not hold is by nobody knows whom; the others are by those who are asked for.
                if let WhyNot::Flawed { by, flaw: flaw @ (Flaw::Unproven | Flaw::Outside { .. }) } = why {
                    verdict.fault(flaw.clone().fault(*document, by.clone()));
                }
            }
        }
    }

    /// Statements on exploitability by somebody who is asked for, and whose key does not count.
    pub(super) fn statements_outside(&self, subject: &Subject, pieces: &[Piece]) -> Vec<NotCounted> {
        let Requirement::Scan(scan) = &self.requirement else { return Vec::new() };
        let here = |piece: &&Piece| {
            matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_)) && states(&piece.content)
        };
        let none = |piece: &&Piece| piece.signed.of(&scan.vex).next().is_none();
        let told = |piece: &Piece| {
            let (by, flaw) = piece.signed.flaw(&scan.vex)?;
            let why = WhyNot::Flawed { by: by.clone(), flaw };
            Some(NotCounted { document: piece.document, name: piece.name.clone(), why })
        };
        let outside = pieces.iter().filter(here).filter(none).filter_map(told);
        outside.filter(|one| !matches!(one.why, WhyNot::Flawed { flaw: Flaw::Broken, .. })).collect()
    }

    /// When the first of what was judged counts no more, since the key of whoever signed it does not.
    pub(super) fn lapsing(&self, pieces: &[Piece], verdict: &mut Verdict) {
        let used = |piece: &&Piece| verdict.used.iter().any(|(document, _)| *document == piece.document);
        let by = pieces.iter().filter(used).filter_map(|piece| lapses(piece, &self.by));
        let vex = match &self.requirement {
            Requirement::Scan(scan) => Some(&scan.vex),
            _ => None,
        };
        let stated = pieces.iter().filter(|piece| states(&piece.content));
        let vex = stated.flat_map(|piece| vex.and_then(|vex| lapses(piece, vex)));
        let all: Vec<_> = by.chain(vex).collect();
        all.into_iter().for_each(|end| verdict.lapses(Some(end)));
    }
}

/// Why a document does not count; nothing where it does. A signature binds what was signed and nothing beside it: who brought it for what
/// is no part of that.
fn why_not(by: &Signers, piece: &Piece) -> Option<WhyNot> {
    if piece.signed.of(by).next().is_some() {
        let names_nothing = piece.report().is_some_and(|report| report.about.bound.is_empty());
        return names_nothing.then_some(WhyNot::NamesNothing);
    }
    Some(match piece.signed.flaw(by) {
        Some((name, flaw)) => WhyNot::Flawed { by: name.clone(), flaw },
        None => WhyNot::Unsigned { by: names(by) },
    })
}

/// Whether a document is one of statements on exploitability, and nothing else: whose are believed a scan's own `vex` says.
fn is_statement(requirement: &Requirement, piece: &Piece) -> bool {
    let Requirement::Scan(scan) = requirement else { return false };
    let finds = piece.report().is_some_and(|report| report.findings.is_some());
    piece.signed.of(&scan.vex).next().is_some() && states(&piece.content) && !finds
}

/// Whether a document is what promo itself saw in the repository of a gate over the source: nobody signs it, and nobody else brings it.
fn is_seen(requirement: &Requirement, piece: &Piece) -> bool {
    let seen = match &piece.content {
        Content::Read(report) => report.seen.is_some(),
        Content::Unreadable { kind, .. } => *kind == Kind::Source,
    };
    matches!(requirement, Requirement::Source(_)) && seen
}

/// Whether a document has statements on exploitability, or may have where it cannot be read.
fn states(content: &Content) -> bool {
    match content {
        Content::Read(report) => report.statements.is_some(),
        Content::Unreadable { kind, .. } => matches!(kind, Kind::OpenVex | Kind::InToto),
    }
}

/// Whether a report is on a matter.
type Has = fn(&Report) -> bool;
/// Whether what cannot be read might be.
type Could = fn(Kind) -> bool;

/// Whether a document is on the matter of a requirement, or may be where it cannot be read.
fn concerns(requirement: &Requirement, content: &Content) -> bool {
    let (has, could): (Has, Could) = match requirement {
        Requirement::Scan(_) => (|report| report.findings.is_some(), could_be_scan),
        Requirement::Licences(_) | Requirement::Sbom(_) => (|report| report.bill.is_some(), could_be_bill),
        Requirement::Tests(_) => (|report| report.tests.is_some(), could_be_tests),
        Requirement::Coverage(_) => (|report| report.coverage.is_some(), could_be_coverage),
        Requirement::Number(_) => (|report| report.numbers.is_some(), could_be_numbers),
        Requirement::Signature(_) => {
            (|report| report.about.source() == Kind::Signature, |kind| kind == Kind::Signature)
        }
        Requirement::Provenance(_) | Requirement::Metadata(_) => {
            (|report| report.provenance.is_some(), |kind| kind == Kind::Provenance)
        }
        Requirement::Source(_) => (
            |report| report.seen.is_some() || report.provenance.is_some(),
            |kind| matches!(kind, Kind::Source | Kind::Provenance),
        ),
    };
    match content {
        Content::Read(report) => has(report),
        Content::Unreadable { kind, .. } => could(*kind),
    }
}
