//! What a gate over evidence came to, as its reason tells it: the documents that were judged, and what is wrong with them. What must not
//! live here: judging them ([`crate::requirement`]).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Instant, Outcome, Reason, Words};
use crate::Digest;
use crate::ids::{ArtifactName, GateName};
use crate::requirement::{self, Assessment, NamedGate, NotCounted, Piece, Standing};

/// How many faults of a gate are told one by one.
const FAULTS_TOLD: usize = 10;
/// How many documents of a gate are told one by one.
const DOCUMENTS_TOLD: usize = 20;
/// How much of a text out of a document is told: the rest stands in the document.
const TEXT_TOLD: usize = 300;

/// The beginning of a text that somebody else wrote.
fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_TOLD) {
        Some((at, _)) => alloc::format!("{}…", &text[..at]),
        None => text,
    }
}

/// What a gate over evidence came to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Evidenced {
    /// Which gate.
    pub gate: GateName,
    /// Whether policy states it; else the pipeline does.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub policy: bool,
    /// Of which artifact; none of what is said of the release as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactName>,
    /// What there is, in a few words: `0 critical, 2 high`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The documents that were judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<EvidenceDocument>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_documents: u64,
    /// Documents on the matter that say nothing to the gate, since none of those whom it takes has signed them, or
    /// somebody withdrew them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_counted: Vec<EvidenceDocument>,
    /// How many more there are of those.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_not_counted: u64,
    /// What is wrong, the first of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<EvidenceFault>,
    /// How many things more are wrong.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A document that a gate judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EvidenceDocument {
    /// Its digest.
    pub document: Digest,
    /// Its format, as `promo evidence` names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// Who made it: a tool and its version, or a format.
    pub source: String,
    /// When it says that it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Timestamp>,
    /// Of when its tool's database of vulnerabilities is, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Timestamp>,
    /// When the ledger took it; none of what counts by its signature alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The repository where it was attached to the artifact; none where somebody brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Who brought it, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Under which name it was brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub says: String,
    /// Why it does not count, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// One thing that is wrong with evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EvidenceFault {
    /// The stable code.
    pub code: String,
    /// The same in words.
    pub text: String,
}

impl Evidenced {
    /// What a gate came to, for the reason that it gives: `pieces` are those that it looked at. `about` is the artifact, and the repository
    /// that its release names for it.
    #[must_use]
    pub fn new(
        named: &NamedGate,
        about: Option<(&ArtifactName, Option<&str>)>,
        came_to: &Assessment,
        pieces: &[&Piece],
    ) -> Self {
        let (artifact, repository) =
            (about.map(|(artifact, _)| artifact), about.and_then(|(_, repository)| repository));
        let requirement = &named.gate.requirement;
        // Under `by` the name is that of what was signed, and not that under which it was brought.
        let piece = |(document, name): &(Digest, Option<String>)| {
            let mut same = pieces.iter().copied().filter(|piece| piece.document == *document);
            let found = same.clone().find(|piece| piece.name == *name).or_else(|| same.next())?;
            Some((found, name.clone()))
        };
        let told = |(piece, name): (&Piece, Option<String>)| EvidenceDocument {
            document: piece.document,
            format: requirement::format(piece).into(),
            source: cut(requirement::source(piece)),
            made: piece.report().and_then(|report| report.about.made),
            database: piece.report().and_then(|report| report.about.database),
            at: piece.brought(),
            repository: repository.filter(|_| requirement::lies_beside(piece)).map(|place| cut(place.into())),
            by: requirement::brought_by(piece).map(|by| cut(by.into())),
            name: name.map(cut),
            says: piece.report().map(|report| cut(requirement::told(requirement, report))).unwrap_or_default(),
            why_not: None,
        };
        let not_counted = |one: &NotCounted| {
            let told = told(piece(&(one.document, one.name.clone()))?);
            Some(EvidenceDocument { why_not: Some(cut(one.why.to_string())), ..told })
        };
        let passed_over = &came_to.not_counted;
        let (faults, used) = (&came_to.verdict.faults, &came_to.verdict.used);
        let documents: Vec<EvidenceDocument> = used.iter().take(DOCUMENTS_TOLD).filter_map(piece).map(told).collect();
        let mut summary = cut(came_to.summary.clone());
        if let (Some((at, by)), true) = (&came_to.verdict.lapses, faults.is_empty()) {
            if summary.is_empty() {
                let says: BTreeSet<&str> = documents.iter().map(|document| document.says.as_str()).collect();
                summary = cut(says.into_iter().filter(|says| !says.is_empty()).collect::<Vec<_>>().join(", "));
            }
            let between = if summary.is_empty() { "" } else { ", " };
            summary.push_str(&alloc::format!("{between}the key of {by} counts until {}", Instant(*at)));
        }
        Self {
            gate: named.name.clone(),
            policy: named.policy,
            artifact: artifact.cloned(),
            summary,
            documents,
            more_documents: used.len().saturating_sub(DOCUMENTS_TOLD) as u64,
            not_counted: passed_over.iter().take(DOCUMENTS_TOLD).filter_map(not_counted).collect(),
            more_not_counted: passed_over.len().saturating_sub(DOCUMENTS_TOLD) as u64,
            faults: faults
                .iter()
                .take(FAULTS_TOLD)
                .map(|fault| EvidenceFault { code: fault.code().into(), text: cut(requirement.words(fault)) })
                .collect(),
            more: faults.len().saturating_sub(FAULTS_TOLD) as u64,
        }
    }

    /// The reason and the outcome for how it stands. What nobody brought can still be brought, and what cannot be read replaced: only what is
    /// bad is a verdict on the release (S1.1).
    #[must_use]
    pub fn outcome(self, standing: Standing) -> (Outcome, Reason) {
        match standing {
            Standing::Met => (Outcome::Satisfied, Reason::EvidenceMet(self)),
            Standing::Missing => (Outcome::Waiting, Reason::EvidenceMissing(self)),
            Standing::Expired => (Outcome::Expired, Reason::EvidenceExpired(self)),
            Standing::Unreadable => (Outcome::Waiting, Reason::EvidenceUnreadable(self)),
            Standing::Bad => (Outcome::Refused, Reason::EvidenceBad(self)),
        }
    }
}

impl Reason {
    /// What a gate over evidence came to, where it is the reason of one.
    #[must_use]
    pub const fn evidenced(&self) -> Option<&Evidenced> {
        match self {
            Self::EvidenceMet(told)
            | Self::EvidenceMissing(told)
            | Self::EvidenceExpired(told)
            | Self::EvidenceUnreadable(told)
            | Self::EvidenceBad(told) => Some(told),
            _ => None,
        }
    }
}

impl fmt::Display for Evidenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.gate)?;
        let of = self.artifact.as_ref().map(|artifact| alloc::format!(" of {artifact}")).unwrap_or_default();
        let says: Vec<&str> = self.documents.iter().map(|document| document.says.as_str()).collect();
        let (mut all, summary) = (Vec::new(), self.summary.as_str());
        if self.faults.is_empty() {
            let said = if summary.is_empty() { says.join(", ") } else { summary.to_string() };
            let sources: BTreeSet<&str> = self.documents.iter().map(|document| document.source.as_str()).collect();
            all.extend((!said.is_empty()).then_some(said));
            if !sources.is_empty() {
                all.push(alloc::format!("by {}", Words(&sources)));
                all.extend(
                    (self.more_documents > 0).then(|| alloc::format!("and {} more documents", self.more_documents)),
                );
            }
        } else {
            all.extend(self.faults.iter().map(|fault| fault.text.clone()));
            all.extend((self.more > 0).then(|| alloc::format!("and {} more", self.more)));
        }
        let between = if self.faults.is_empty() { " " } else { "; " };
        write!(f, "{of}: {}", all.join(between))?;
        // Each in words once: of ten scans that nobody signed one tells enough.
        let words = |one: &EvidenceDocument| match &one.why_not {
            Some(why) => alloc::format!("{} ({why})", one.source),
            None => one.source.clone(),
        };
        let passed_over: BTreeSet<String> = self.not_counted.iter().map(words).collect();
        if passed_over.is_empty() {
            return Ok(());
        }
        let passed_over: Vec<String> = passed_over.into_iter().collect();
        write!(f, "; not counted: {}", passed_over.join(", "))?;
        match self.more_not_counted {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
