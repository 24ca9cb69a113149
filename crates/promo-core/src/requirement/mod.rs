//! What gates require of evidence, and how they judge it (registry rules of S1 and S2; R5, R7).
//!
//! What lives here: requirements as a policy or a pipeline states them, and one pure function for each that says of the evidence for an
//! artifact whether it is met, and if not, why. What must not: fetching evidence, reading a format ([`crate::evidence`] has facts), and what
//! a gate's outcome does to a promotion.
//!
//! Three ways not to be met are kept apart, because three different people act on them: nothing is there, what is there cannot be read or
//! trusted, and what is there is bad. Nothing unknown ever counts as good: not a missing number, not a word that nobody knows, not a
//! report that does not say of what it speaks.

mod bill;
mod counted;
mod exception;
mod gate;
mod licences;
mod measure;
mod metadata;
pub mod need;
mod piece;
mod provenance;
mod scan;
mod signature;
mod signer;
mod source;
mod stated;
mod term;
#[cfg(test)]
mod tests;
mod vex;
mod words;

pub use bill::BillRequirement;
pub use counted::{NotCounted, WhyNot};
pub use exception::Exception;
pub use gate::{
    Assessment, Before, EvidenceGate, Excepted, NamedGate, ReleaseEvidence, Requirement, brought_by, source, told,
};
pub(crate) use gate::{format, lies_beside};
pub use licences::{LicenceRequirement, Unknown};
pub use measure::{Baseline, Compared, CoverageRequirement, NumberRequirement, Part, TestRequirement};
pub use metadata::{Built, MetadataRequirement};
pub use piece::{Content, Nature, Origin, Piece, Reach, Scope, Subject};
pub use provenance::ProvenanceRequirement;
pub use scan::{Fixes, Judged, ScanRequirement, Suppressions};
pub use signature::{Others, SignatureRequirement};
pub use signer::{Identity, KeyKind, PublicKey, Signed, Signer, Signers};
pub use source::SourceRequirement;
pub use term::{BoundKey, Flaw, Term, Times};

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::Digest;
use crate::evidence::{Finite, Level, Severity};
use crate::ids::SignerName;

/// How a requirement stands, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Met.
    Met,
    /// Nothing is there that speaks of it.
    Missing,
    /// It was good, and is too old by now.
    Expired,
    /// What is there cannot be read, or does not say what has to be known.
    Unreadable,
    /// What is there is bad.
    Bad,
}

/// Why a requirement is not met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There is no evidence of this.
    Nothing {
        /// Of a named tool or suite, where one is required.
        from: Option<String>,
        /// For this platform; for all of the artifact when none is named.
        platform: Option<Digest>,
    },
    /// The build did not say this.
    NotSaid {
        /// The key.
        key: String,
    },
    /// What the build said of this was erased: nobody can look at it any more.
    Erased {
        /// The key.
        key: String,
    },
    /// What the artifact says of itself in one place contradicts what it says in another: nobody knows which is so.
    Contradicted {
        /// The key.
        key: String,
        /// What is said where, where that was not erased.
        said: Option<String>,
    },
    /// Two places say different things of one key of what was built: nobody knows which is so.
    Disagree {
        /// The key.
        key: String,
        /// The first of them by the order in which they count, and what it says.
        one: (String, String),
        /// Another, and what that says.
        other: (String, String),
    },
    /// What is said of this is a part of what it should be.
    Incomplete {
        /// The key.
        key: String,
        /// What is said, its first characters.
        said: String,
        /// What it should be.
        expected: String,
    },
    /// It is said that it was made at a time that has not come yet.
    NotYet {
        /// The key.
        key: String,
        /// Where that is said.
        from: String,
        /// The time.
        made: Timestamp,
    },
    /// What is said of this nobody has signed whose word counts.
    Unsigned {
        /// The key.
        key: String,
        /// Where it is said.
        from: String,
        /// Whether somebody has signed it of a part of the artifact.
        part: bool,
        /// Those whose word counts.
        by: Vec<String>,
    },
    /// The build said this in a form that it does not have.
    Malformed {
        /// The key.
        key: String,
        /// What it should be.
        expected: String,
    },
    /// A document names no digest, and nobody has bound it to one.
    Unbound {
        /// The document.
        document: Digest,
    },
    /// A document speaks of something else.
    OfAnother {
        /// The document.
        document: Digest,
        /// The first digest that it names.
        names: Digest,
    },
    /// A document cannot be read.
    Unreadable {
        /// The document.
        document: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// The run of which a document tells did not come to its end.
    Unfinished {
        /// The document.
        document: Digest,
    },
    /// A scanner looked into nothing, or a bill lists too little.
    Empty {
        /// The document.
        document: Digest,
        /// How many things it is about.
        found: u64,
        /// How many are needed.
        least: u64,
    },
    /// A document does not say when it was made, and may not be old.
    Undated {
        /// The document.
        document: Digest,
        /// Whether it is the database of the scanner of which that is not said.
        database: bool,
    },
    /// A document is too old.
    Old {
        /// The document.
        document: Digest,
        /// When it was made, or its database was built.
        made: Timestamp,
        /// How old it may be, in seconds.
        at_most: u64,
        /// Whether it is the database of the scanner.
        database: bool,
    },
    /// A document says that it comes from the future.
    FromTheFuture {
        /// The document.
        document: Digest,
        /// When it says that it was made, or its database was built.
        made: Timestamp,
    },
    /// A document may leave out what somebody suppressed.
    MayLeaveOut {
        /// The document.
        document: Digest,
    },
    /// A vulnerability that is denied.
    Vulnerable {
        /// The document.
        document: Digest,
        /// Its id.
        id: String,
        /// In which package.
        package: Option<String>,
        /// As the document says.
        severity: Severity,
        /// As it counts.
        level: Level,
        /// An exception that covered it until then.
        expired: Option<Timestamp>,
    },
    /// More vulnerabilities of a level than are taken.
    TooMany {
        /// The level.
        level: Level,
        /// How many there are.
        found: u64,
        /// How many may be.
        at_most: u64,
        /// Those among them that an exception covered, and until when.
        expired: Vec<(String, Timestamp)>,
    },
    /// A component with a licence that is not welcome.
    Licence {
        /// The document.
        document: Digest,
        /// The component.
        component: String,
        /// As it is stated.
        licence: String,
    },
    /// Components of which nothing readable is said about the licence.
    UnknownLicences {
        /// The document.
        document: Digest,
        /// Of how many.
        found: u64,
        /// Of how many in all.
        of: u64,
        /// The first of them.
        first: String,
    },
    /// Tests failed, erred, were skipped or were flaky more often than is taken.
    Tests {
        /// The document.
        document: Digest,
        /// What there is too much of.
        what: Part,
        /// How many.
        found: u64,
        /// How many may be.
        at_most: u64,
    },
    /// A number is out of its bounds.
    OutOfBounds {
        /// The document.
        document: Digest,
        /// Which number.
        name: String,
        /// What it is.
        found: Finite,
        /// What it may be at least.
        least: Option<Finite>,
        /// What it may be at most.
        most: Option<Finite>,
    },
    /// A document does not have a number that is needed.
    NotMeasured {
        /// The document.
        document: Digest,
        /// Which number.
        name: String,
    },
    /// There is nothing that a number could be compared with.
    NoBaseline {
        /// Which number.
        name: String,
    },
    /// Too few of those who have to have signed.
    NotSigned {
        /// Those whose signatures count.
        by: Vec<String>,
        /// How many of them have.
        found: u64,
        /// How many must.
        least: u64,
        /// What there is that they have not signed.
        others: Others,
        /// Of which platform; of the artifact as releases name it when none is named.
        platform: Option<Digest>,
    },
    /// A signature that says whose it is does not hold.
    BrokenSignature {
        /// The document.
        document: Digest,
        /// Whose it would be.
        by: SignerName,
    },
    /// A signature is for a repository in which the artifact is not known to lie.
    OfAnotherPlace {
        /// The document.
        document: Digest,
        /// For which one, where that was signed.
        found: Option<String>,
    },
    /// A signature holds, and no log and no authority of time stamps of the trusted root of the key bears it out.
    UnprovenSignature {
        /// The document.
        document: Digest,
        /// Whose it is.
        by: SignerName,
    },
    /// A signature holds, and the key does not count at the time with which its window is compared.
    KeyOutsideWindow {
        /// The document.
        document: Digest,
        /// Whose it is.
        by: SignerName,
        /// When the key counts.
        term: Term,
        /// When the signature was seen, where that is proven; else the time of judgement is outside.
        seen: Option<Timestamp>,
        /// Whether the key counts no more; else it does not count yet.
        over: bool,
    },
    /// It was built by somebody else than may.
    OtherBuilder {
        /// The document.
        document: Digest,
        /// By whom.
        found: String,
    },
    /// It was built from something else than it may be.
    OtherSource {
        /// The document.
        document: Digest,
        /// From what, where that is said.
        found: Option<String>,
    },
    /// It was built from another commit than the build itself said.
    OtherCommit {
        /// The document.
        document: Digest,
        /// From which one, where that is said.
        found: Option<String>,
        /// The one that the build said, where it said one.
        said: Option<String>,
    },
    /// Two documents that count say different things of the same: nobody knows which is so.
    Conflict {
        /// Of what.
        key: String,
        /// The first of them, and what it says.
        one: (Digest, String),
        /// Another, and what that says.
        other: (Digest, String),
    },
    /// What is said of the commit is none, so nobody can look for it.
    NotACommit {
        /// The key.
        key: String,
        /// What is said, its first characters.
        found: String,
    },
    /// Several commits are named for one artifact: nobody knows which one it is of.
    Commits {
        /// Each of them.
        named: Vec<String>,
    },
    /// Nobody has looked for the commit in its repository, or it could not be reached.
    NotSeen {
        /// The repository.
        repository: String,
        /// The commit.
        commit: String,
    },
    /// The repository does not have the commit.
    NoSuchCommit {
        /// The document that says what was seen.
        document: Digest,
        /// The repository.
        repository: String,
        /// The commit.
        commit: String,
    },
    /// The repository has the commit, and none of the refs from which it may be released leads to it.
    NotReachable {
        /// The document that says what was seen.
        document: Digest,
        /// The repository.
        repository: String,
        /// The commit.
        commit: String,
        /// Those refs.
        refs: Vec<String>,
    },
    /// A bound that the tool itself was given was not kept.
    Threshold {
        /// The document.
        document: Digest,
        /// The metric, and its bound.
        bound: String,
    },
}

impl Fault {
    /// How a requirement stands for this alone.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        match self {
            Self::Nothing { .. }
            | Self::NotSaid { .. }
            | Self::Erased { .. }
            | Self::Incomplete { .. }
            | Self::Unsigned { .. }
            | Self::Unbound { .. }
            | Self::OfAnother { .. }
            | Self::NotSigned { .. }
            | Self::OfAnotherPlace { .. }
            | Self::NotSeen { .. }
            | Self::KeyOutsideWindow { over: false, .. }
            | Self::NoBaseline { .. } => Standing::Missing,
            Self::Old { .. } | Self::KeyOutsideWindow { over: true, .. } => Standing::Expired,
            Self::Unreadable { .. }
            | Self::Unfinished { .. }
            | Self::Undated { .. }
            | Self::FromTheFuture { .. }
            | Self::MayLeaveOut { .. }
            | Self::NotACommit { .. }
            | Self::Commits { .. }
            | Self::NotMeasured { .. } => Standing::Unreadable,
            Self::Empty { .. }
            | Self::Malformed { .. }
            | Self::NotYet { .. }
            | Self::Disagree { .. }
            | Self::Contradicted { .. }
            | Self::Vulnerable { .. }
            | Self::TooMany { .. }
            | Self::Licence { .. }
            | Self::UnknownLicences { .. }
            | Self::Tests { .. }
            | Self::OutOfBounds { .. }
            | Self::BrokenSignature { .. }
            | Self::UnprovenSignature { .. }
            | Self::OtherBuilder { .. }
            | Self::OtherSource { .. }
            | Self::OtherCommit { .. }
            | Self::Conflict { .. }
            | Self::NoSuchCommit { .. }
            | Self::NotReachable { .. }
            | Self::Threshold { .. } => Standing::Bad,
        }
    }
}

/// What was found of one requirement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Everything that is wrong, in the order of the evidence; none when it is met.
    pub faults: Vec<Fault>,
    /// The same, to find one in.
    told: BTreeSet<Fault>,
    /// The documents that were judged, each once under each name under which it was brought.
    pub used: Vec<(Digest, Option<String>)>,
    /// When the first of them is too old, or the key counts no more that signed it, as far as time alone decides.
    pub until: Option<Timestamp>,
    /// Whose key it is that counts no more first of those without which it is not met, and when.
    pub lapses: Option<(Timestamp, SignerName)>,
}

impl Verdict {
    /// How the requirement stands: as its worst fault says.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.faults.iter().map(Fault::standing).max().unwrap_or(Standing::Met)
    }

    fn uses(&mut self, piece: &Piece) {
        let is = |(document, name): &(Digest, Option<String>)| *document == piece.document && *name == piece.name;
        if !self.used.iter().any(is) {
            self.used.push((piece.document, piece.name.clone()));
        }
    }

    fn fault(&mut self, fault: Fault) {
        if self.told.insert(fault.clone()) {
            self.faults.push(fault);
        }
    }

    /// Takes down that a key ends, where it is the first.
    fn lapses(&mut self, end: Option<(Timestamp, SignerName)>) {
        self.good_until(end.as_ref().map(|(at, _)| *at));
        self.lapses = lesser(self.lapses.take(), end);
    }

    fn good_until(&mut self, until: Option<Timestamp>) {
        self.until = lesser(self.until, until);
    }
}

/// The lesser of two bounds; one that is not there bounds nothing.
fn lesser<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
