//! What a document says of itself: what it is, who made it, when, and of what it speaks.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::Timestamp;

use crate::Digest;

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Trivy's own JSON.
    Trivy,
    /// Grype's own JSON.
    Grype,
    /// Static Analysis Results Interchange Format (OASIS).
    Sarif,
    /// OSV-Scanner's own JSON.
    OsvScanner,
    /// An in-toto statement with a list of vulnerabilities, or with another document of these kinds in it.
    InToto,
    /// CycloneDX in JSON: a bill of materials, vulnerabilities, or both.
    CycloneDx,
    /// SPDX 2.2 and 2.3 in JSON.
    Spdx2,
    /// SPDX 3 in JSON-LD.
    Spdx3,
    /// syft's own JSON.
    Syft,
    /// OpenVEX.
    OpenVex,
    /// JUnit's XML, as many tools write it.
    Junit,
    /// Cobertura's XML.
    Cobertura,
    /// LCOV's trace files.
    Lcov,
    /// Summaries of k6.
    K6,
    /// SLSA provenance: how the artifact was built, from what and by whom.
    Provenance,
    /// A signature over the artifact itself, which says nothing else of it.
    Signature,
    /// That the artifact was copied from one place to another.
    Promotion,
    /// That somebody has verified the artifact.
    Verification,
    /// Which tests somebody has run on the artifact, where it runs.
    TestResult,
    /// What promo saw in a repository of source.
    Source,
    /// JSON of anybody's own, from which named numbers are taken.
    Numbers,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Trivy,
        Self::Grype,
        Self::Sarif,
        Self::OsvScanner,
        Self::InToto,
        Self::CycloneDx,
        Self::Spdx2,
        Self::Spdx3,
        Self::Syft,
        Self::OpenVex,
        Self::Junit,
        Self::Cobertura,
        Self::Lcov,
        Self::K6,
        Self::Provenance,
        Self::Signature,
        Self::Promotion,
        Self::Verification,
        Self::TestResult,
        Self::Source,
        Self::Numbers,
    ];

    /// Its name, for people and for configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trivy => "trivy",
            Self::Grype => "grype",
            Self::Sarif => "sarif",
            Self::OsvScanner => "osv-scanner",
            Self::InToto => "in-toto",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx2 => "spdx",
            Self::Spdx3 => "spdx3",
            Self::Syft => "syft",
            Self::OpenVex => "openvex",
            Self::Junit => "junit",
            Self::Cobertura => "cobertura",
            Self::Lcov => "lcov",
            Self::K6 => "k6",
            Self::Provenance => "provenance",
            Self::Signature => "signature",
            Self::Promotion => "promotion",
            Self::Verification => "verification",
            Self::TestResult => "test-result",
            Self::Source => "source",
            Self::Numbers => "numbers",
        }
    }

    /// Whether a document of this kind lists what is bad and does not show that anybody has looked: in CycloneDX an empty list of
    /// vulnerabilities is that of a bill for which nobody did, and a full one may only say what others have found (VEX).
    #[must_use]
    pub const fn lists_what_is_bad(self) -> bool {
        matches!(self, Self::CycloneDx)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program, with its version when it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name, as the document has it.
    pub name: String,
    /// Its version, as the document has it.
    pub version: Option<String>,
}

/// A form of signatures that is known and that nobody here verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// cosign's before its bundles, without a key: the tag `.sig` of an image has the certificate, and the log's promise and nothing more of the
    /// log. With a key that form is verified.
    CosignCertificate,
    /// notation's: JWS or COSE of the Notary Project with X.509 certificates.
    Notation,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CosignCertificate => "cosign's older form without a key (a certificate at the tag `.sig`)",
            Self::Notation => "the form of notation",
        })
    }
}

/// By what a digest that a document names is related to an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// The subject of an attestation: the strongest, when its signature holds.
    Subject,
    /// A manifest or an index, as a registry has it.
    Manifest,
    /// The configuration of an image, which its manifest names. Many tools call it the image's id.
    Config,
    /// The bytes of a file.
    Content,
}

/// A digest that a document names as that of which it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// What the digest is of.
    pub link: Link,
    /// The digest.
    pub digest: Digest,
}

/// What a document says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub kind: Kind,
    /// The version of its format, as it is written. `None` for formats without versions.
    pub version: Option<String>,
    /// What an attestation has in it, when that is a document of another kind.
    pub inside: Option<Kind>,
    /// The programs that made it, in the order in which it names them.
    pub tools: Vec<Tool>,
    /// When it was made, or the scan ended. `None` where it does not say, or gives a local time of an unknown zone, which is no instant.
    pub made: Option<Timestamp>,
    /// When the database that was asked was built.
    pub database: Option<Timestamp>,
    /// Of what it speaks, in ascending order and each once. Empty for a document that binds itself to nothing: names, tags and paths are no binding.
    pub bound: Vec<Binding>,
    /// Whether the run that it reports came to its end, where the format can say so. `Some(false)` is a report that must not be
    /// taken for a clean one.
    pub completed: Option<bool>,
    /// What the document itself calls what it is a run of: suites of tests, or the last part of the type of somebody's own predicate.
    pub suites: BTreeSet<String>,
    /// In which form of those it is signed that nobody here verifies.
    pub form: Option<Form>,
    /// For which repository a signature over an image is, as it was signed; nothing where it does not say.
    pub repository: Option<String>,
}

impl About {
    /// A document that says nothing of itself but what it is.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            version: None,
            inside: None,
            tools: Vec::new(),
            made: None,
            database: None,
            bound: Vec::new(),
            completed: None,
            suites: BTreeSet::new(),
            form: None,
            repository: None,
        }
    }

    /// What the facts come from: the document that an attestation has in it, or the document itself.
    #[must_use]
    pub fn source(&self) -> Kind {
        self.inside.unwrap_or(self.kind)
    }

    /// Adds a digest of which the document speaks.
    pub fn bind(&mut self, link: Link, digest: Digest) {
        let binding = Binding { link, digest };
        if let Err(at) = self.bound.binary_search(&binding) {
            self.bound.insert(at, binding);
        }
    }

    /// Whether it names this digest, as whatever.
    #[must_use]
    pub fn names(&self, digest: &Digest) -> bool {
        self.bound.iter().any(|binding| binding.digest == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_are_sorted_and_stand_once() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut about = About::new(Kind::Trivy);
        for (link, digest) in [(Link::Config, one), (Link::Manifest, two), (Link::Config, one), (Link::Subject, two)] {
            about.bind(link, digest);
        }
        let links: Vec<Link> = about.bound.iter().map(|binding| binding.link).collect();
        assert_eq!(links, [Link::Subject, Link::Manifest, Link::Config]);
        assert!(about.names(&one) && about.names(&two) && !about.names(&Digest::of(b"3")));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: alloc::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
