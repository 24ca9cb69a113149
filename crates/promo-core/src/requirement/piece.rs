//! Pieces of evidence, and of what in an artifact they speak. What must not live here: whether they are good.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Fault, Signed, Verdict};
use crate::Digest;
use crate::evidence::{About, Kind, Report};

/// What an artifact is, by what its manifests say that they have in them, whatever a pipeline calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// An image of containers, or an index with one in it.
    Image,
    /// A Helm chart.
    Chart,
    /// Neither: a plugin, a bundle of configuration, data.
    Other,
}

/// An artifact of which evidence speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// As a release names it.
    pub digest: Digest,
    /// What it is, where somebody has said so.
    pub nature: Option<Nature>,
    /// What of it runs somewhere: for each platform its manifest, with the configuration that the manifest names. Of an artifact that is no
    /// index that is the artifact itself.
    pub platforms: BTreeMap<Digest, Option<Digest>>,
}

/// Where a piece of evidence comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is attached to the artifact in its registry, by whoever may push there.
    Registry {
        /// When it was taken into the ledger.
        at: Timestamp,
    },
    /// Somebody brought it, and the ledger says who and when.
    Ledger {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A signer, to whoever takes nothing else of it: who brought it, when, for what and by which name is no part of what was signed.
    Signed,
}

/// What a document says, where it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Read whole. Shared, because each gate and artifact has pieces of its own.
    Read(Arc<Report>),
    /// A document of that kind that is broken, or of a version that promo does not know.
    Unreadable {
        /// What it is.
        kind: Kind,
        /// What is wrong with it.
        why: String,
    },
}

/// One document that somebody has attached or brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its digest.
    pub document: Digest,
    /// The digest of what was signed: of the type and the payload of an envelope. Another envelope around the same says nothing new. That of the
    /// document where it is none.
    pub stated: Digest,
    /// Where it comes from.
    pub origin: Origin,
    /// Under which name it was brought, such as that of a suite of tests: a later one of the same kind, tool and name replaces it.
    pub name: Option<String>,
    /// The digests to which somebody else than the document bound it: the subject of the referrer or of the attestation around it, or the
    /// digest for which it was brought.
    pub bound: BTreeSet<Digest>,
    /// Whose signature it carries.
    pub signed: Signed,
    /// What it says.
    pub content: Content,
}

impl Piece {
    /// What it says, where that can be read.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.content {
            Content::Read(report) => Some(report),
            Content::Unreadable { .. } => None,
        }
    }

    /// When somebody brought it.
    pub(crate) const fn brought(&self) -> Option<Timestamp> {
        match &self.origin {
            Origin::Ledger { at, .. } | Origin::Registry { at } => Some(*at),
            Origin::Signed => None,
        }
    }

    /// Whether it was made with a tool of that name, or is a document of that kind.
    pub(super) fn is_from(&self, tool: &str) -> bool {
        self.report().is_some_and(|report| {
            let about = &report.about;
            let kinds = [Some(about.kind), about.inside];
            kinds.into_iter().flatten().any(|kind| kind.name().eq_ignore_ascii_case(tool))
                || about.tools.iter().any(|known| known.name.eq_ignore_ascii_case(tool))
        })
    }
}

/// Of what in an artifact a document speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Nobody says.
    Nobody,
    /// Of something else: the first digest that it names.
    Another(Digest),
    /// Of the artifact, and it is not said of which of its several platforms.
    Somewhere,
    /// Of these platforms.
    Platforms(BTreeSet<Digest>),
}

impl Nature {
    /// The same in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Chart => "chart",
            Self::Other => "other",
        }
    }
}

impl Subject {
    /// An artifact of one manifest.
    #[must_use]
    pub fn single(digest: Digest, configuration: Option<Digest>) -> Self {
        Self { digest, nature: None, platforms: BTreeMap::from([(digest, configuration)]) }
    }

    /// Whether it counts as an image, of which the most is asked: also where nobody has said what it is.
    #[must_use]
    pub fn is_image(&self) -> bool {
        matches!(self.nature, None | Some(Nature::Image))
    }

    /// Adds what somebody else says of the same artifact: every platform that either names is one, and where they disagree on what it is, it
    /// is an image. More is asked of it so, never less.
    pub(crate) fn join(&mut self, other: Self) {
        for (manifest, configuration) in other.platforms {
            let known = self.platforms.entry(manifest).or_insert(configuration);
            if *known != configuration {
                // Of two configurations nobody knows which one it has.
                *known = None;
            }
        }
        self.nature = match (self.nature, other.nature) {
            (None, one) | (one, None) => one,
            (one, two) if one == two => one,
            _ => Some(Nature::Image),
        };
    }

    /// Whether a digest is its own, or that of a part of it.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.digest == *digest
            || self.platforms.iter().any(|(manifest, config)| manifest == digest || config.as_ref() == Some(digest))
    }

    /// Of what in it a document speaks. What a document names itself counts before what it is bound to from outside, and both have to be
    /// of this artifact.
    #[must_use]
    pub fn reach(&self, piece: &Piece) -> Reach {
        let inside: BTreeSet<Digest> =
            piece.report().map(|report| report.about.bound.iter().map(|b| b.digest).collect()).unwrap_or_default();
        for named in [&inside, &piece.bound] {
            if let (Some(first), false) = (named.first(), named.iter().any(|digest| self.has(digest))) {
                return Reach::Another(*first);
            }
        }
        if inside.is_empty() && piece.bound.is_empty() {
            return Reach::Nobody;
        }
        for named in [&inside, &piece.bound] {
            let meant = |(manifest, config): &(&Digest, &Option<Digest>)| {
                named.contains(*manifest) || config.is_some_and(|config| named.contains(&config))
            };
            let platforms: BTreeSet<Digest> =
                self.platforms.iter().filter(meant).map(|(manifest, _)| *manifest).collect();
            if !platforms.is_empty() {
                return Reach::Platforms(platforms);
            }
        }
        match self.platforms.len() {
            1 => Reach::Platforms(self.platforms.keys().copied().collect()),
            _ => Reach::Somewhere,
        }
    }
}

impl Subject {
    /// The same beside the other pieces of evidence. A document that names the index and no part of it tells of one of its platforms: which one
    /// somebody may say from outside, and whoever says several says nothing.
    fn reach_among(&self, piece: &Piece, all: &[Piece]) -> Reach {
        let reach = self.reach(piece);
        let Reach::Platforms(here) = &reach else { return reach };
        let Some(report) = piece.report() else { return reach };
        let names = &report.about.bound;
        let is_part = |digest: &Digest| *digest != self.digest && self.has(digest);
        if self.platforms.len() < 2 || names.is_empty() || names.iter().any(|named| is_part(&named.digest)) {
            return reach;
        }
        let same = all.iter().filter(|other| other.document == piece.document);
        let said = same.filter_map(|other| match self.reach(other) {
            Reach::Platforms(platforms) => Some(platforms),
            _ => None,
        });
        let said: BTreeSet<Digest> = said.flatten().chain(here.iter().copied()).collect();
        if said.len() > 1 { Reach::Somewhere } else { reach }
    }
}

/// How much of an artifact evidence has to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Of what releases name: of an index, where there is one.
    Index,
    /// Of every platform, each.
    #[default]
    EachPlatform,
    /// Of the artifact, whichever part.
    Any,
}

impl Scope {
    /// Whether it is of what releases name.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
    pub(super) fn is_index(&self) -> bool {
        *self == Self::Index
    }

    /// The same for what must be signed where nobody says of what.
    pub(super) const fn index() -> Self {
        Self::Index
    }

    /// Of what something must speak, where it has to name that itself: each of these, by one of its digests.
    pub(super) fn places(self, subject: &Subject) -> Vec<BTreeSet<Digest>> {
        let platforms = || subject.platforms.keys().copied();
        match self {
            Self::EachPlatform if !subject.platforms.is_empty() => platforms().map(|one| [one].into()).collect(),
            Self::Index | Self::EachPlatform => alloc::vec![[subject.digest].into()],
            Self::Any => alloc::vec![platforms().chain([subject.digest]).collect()],
        }
    }
}

/// Evidence that speaks of an artifact, and of what in it: of nothing in particular where there are no platforms.
#[derive(Clone)]
pub(super) struct Bound<'a> {
    pub(super) piece: &'a Piece,
    pub(super) report: &'a Report,
    pub(super) platforms: BTreeSet<Digest>,
}

/// What of the evidence speaks of an artifact and of a matter; what cannot be read, and might, is a fault. What speaks of something else
/// is one only where it is missed: [`missed`].
pub(super) fn bound<'a>(
    subject: &Subject,
    pieces: &'a [Piece],
    matters: impl Fn(&Report) -> bool,
    could: impl Fn(Kind) -> bool,
    verdict: &mut Verdict,
) -> Vec<Bound<'a>> {
    let mut out = Vec::new();
    for piece in pieces {
        match (&piece.content, subject.reach_among(piece, pieces)) {
            (Content::Unreadable { kind, why }, Reach::Somewhere | Reach::Platforms(_)) if could(*kind) => {
                verdict.uses(piece);
                verdict.fault(Fault::Unreadable { document: piece.document, why: why.clone() });
            }
            (Content::Read(report), Reach::Somewhere) if matters(report) => {
                out.push(Bound { piece, report, platforms: BTreeSet::new() });
            }
            (Content::Read(report), Reach::Platforms(platforms)) if matters(report) => {
                out.push(Bound { piece, report, platforms });
            }
            _ => {}
        }
    }
    out
}

/// Says what is missing, and what of the evidence would have been it if it spoke of this artifact.
pub(super) fn missed(
    subject: &Subject,
    pieces: &[Piece],
    matters: impl Fn(&Piece) -> bool,
    fault: Fault,
    verdict: &mut Verdict,
) {
    verdict.fault(fault);
    for piece in pieces.iter().filter(|piece| matters(piece)) {
        let document = piece.document;
        match subject.reach(piece) {
            Reach::Nobody => verdict.fault(Fault::Unbound { document }),
            Reach::Another(names) => verdict.fault(Fault::OfAnother { document, names }),
            Reach::Somewhere | Reach::Platforms(_) => {}
        }
    }
}

impl Bound<'_> {
    fn made(&self) -> Option<Timestamp> {
        self.report.about.made
    }

    /// Whether two documents are of the same make: of one kind, by one tool, under one name. Only such a one tells the same anew.
    fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (&self.report.about, &other.report.about);
        let tool = |about: &'_ About| about.tools.first().map(|tool| tool.name.to_ascii_lowercase());
        one.source() == two.source() && tool(one) == tool(two) && self.piece.name == other.piece.name
    }

    /// Whether it speaks at least of what another one speaks of.
    fn covers(&self, other: &Self, subject: &Subject) -> bool {
        match other.platforms.is_empty() {
            // Of which platform that speaks nobody knows.
            true => self.platforms.is_empty() || self.platforms.len() == subject.platforms.len(),
            false => self.platforms.is_superset(&other.platforms),
        }
    }

    /// Whether it was made after another one, as far as both say so; or was brought after it, where neither does.
    fn is_later(&self, other: &Self) -> bool {
        match (self.made(), other.made()) {
            (Some(one), Some(two)) => one > two,
            (None, None) => self.piece.brought() > other.piece.brought() && other.piece.brought().is_some(),
            _ => false,
        }
    }
}

/// How far a clock of another machine may be ahead (S12.6).
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// The latest time that a document may name as that at which something was: what is later has not come yet.
pub(super) fn latest(now: Timestamp) -> Timestamp {
    now.checked_add(SKEW).unwrap_or(Timestamp::MAX)
}

/// Those of several documents that count: all that no later one of the same make replaces, which speaks of as much. One that says that it
/// or its database comes from the future is a fault, and replaces nothing; nor does one that does not show that anybody has looked.
pub(super) fn current<'a, 'b>(
    subject: &Subject,
    several: impl IntoIterator<Item = &'b Bound<'a>>,
    now: Timestamp,
    verdict: &mut Verdict,
) -> Vec<&'b Bound<'a>>
where
    'a: 'b,
{
    let several: Vec<&Bound<'a>> = several.into_iter().collect();
    let latest = latest(now);
    let dates = |bound: &Bound<'_>| [bound.made(), bound.report.about.database];
    let ahead = |bound: &Bound<'_>| dates(bound).into_iter().flatten().find(|made| *made > latest);
    let replaces = |new: &Bound<'_>, old: &Bound<'_>| {
        // What somebody brought, whoever may push to a registry does not take back.
        let pushed = |bound: &Bound<'_>| matches!(bound.piece.origin, Origin::Registry { .. });
        (!pushed(new) || pushed(old))
            && ahead(new).is_none()
            && !new.report.about.source().lists_what_is_bad()
            && new.is_later(old)
            && new.is_like(old)
            && new.covers(old, subject)
    };
    let current: Vec<&Bound<'a>> =
        several.iter().filter(|old| !several.iter().any(|new| replaces(new, old))).copied().collect();
    for bound in &current {
        verdict.uses(bound.piece);
        let document = bound.piece.document;
        if let Some(made) = ahead(bound) {
            verdict.fault(Fault::FromTheFuture { document, made });
        }
        if bound.report.about.completed == Some(false) {
            verdict.fault(Fault::Unfinished { document });
        }
    }
    current
}

/// What of an artifact nothing speaks of that should: platforms, or nothing in particular.
pub(super) fn untold<'a>(
    subject: &Subject,
    scope: Scope,
    told: impl Iterator<Item = &'a Bound<'a>>,
) -> Vec<Option<Digest>> {
    let told: Vec<&Bound<'_>> = told.collect();
    match scope {
        // Where nothing speaks of it at all, no platform is missed before another.
        _ if told.is_empty() => alloc::vec![None],
        Scope::EachPlatform => {
            let is_told = |platform: &Digest| told.iter().any(|bound| bound.platforms.contains(platform));
            subject.platforms.keys().filter(|platform| !is_told(platform)).copied().map(Some).collect()
        }
        Scope::Index => {
            let names = |bound: &&Bound<'_>| {
                bound.piece.bound.contains(&subject.digest) || bound.report.about.names(&subject.digest)
            };
            if told.iter().any(names) { Vec::new() } else { alloc::vec![None] }
        }
        Scope::Any => Vec::new(),
    }
}
