//! When a key counts, and what must bear that out: a key with an end, or one whose signatures must be in a log or carry a time stamp. What
//! must not live here: checking a signature (above the core).
//!
//! With what a window is compared: with the time at which a log or an authority of time stamps saw the signature, where the trusted root of the
//! key names one and it holds; else with the time of judgement. Whoever signs may write any date beside a signature, so a date without
//! proof is none.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::signer::{PublicKey, Signed, Signer, Signers};
use super::{Fault, Piece};
use crate::Digest;
use crate::gate::Instant;
use crate::ids::SignerName;

/// A key that does not count always, or not by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundKey {
    /// The key.
    pub key: PublicKey,
    /// When it counts.
    #[serde(default, skip_serializing_if = "Term::is_always")]
    pub term: Term,
    /// By whose logs or time stamps its signatures must be borne out: a `TrustedRoot` of Sigstore in JSON. By none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<String>,
}

/// From when to when something counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The first instant at which it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The first instant at which it does no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// The first and the last time at which somebody who is believed saw one signature.
pub type Times = (Timestamp, Timestamp);

impl Term {
    /// Whether it has no bounds.
    #[must_use]
    pub const fn is_always(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether it lasts from one instant to another.
    #[must_use]
    pub fn covers(&self, (first, last): Times) -> bool {
        self.from.is_none_or(|from| from <= first) && self.to.is_none_or(|to| last < to)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (None, None) => f.write_str("at any time"),
            (Some(from), None) => write!(f, "from {}", Instant(from)),
            (None, Some(to)) => write!(f, "until {}", Instant(to)),
            (Some(from), Some(to)) => write!(f, "from {} until {}", Instant(from), Instant(to)),
        }
    }
}

/// Why a signature that is there by somebody who is asked for does not count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// It does not hold.
    Broken,
    /// It holds, and no log and no authority of time stamps of the trusted root bears it out.
    Unproven,
    /// It holds, and not in the time in which the key counts.
    Outside {
        /// When the key counts.
        term: Term,
        /// When the signature was seen, where that is proven; else it is the time of judgement that is outside.
        seen: Option<Timestamp>,
        /// Whether the key counts no more; else it does not count yet.
        over: bool,
    },
}

impl Flaw {
    /// The fault of a document with a signature of theirs.
    pub(super) fn fault(self, document: Digest, by: SignerName) -> Fault {
        match self {
            Self::Broken => Fault::BrokenSignature { document, by },
            Self::Unproven => Fault::UnprovenSignature { document, by },
            Self::Outside { term, seen, over } => Fault::KeyOutsideWindow { document, by, term, seen, over },
        }
    }
}

/// What is said of a key outside its window: when it counts, and what to do.
pub(super) struct Outside<'a>(pub &'a SignerName, pub &'a Term, pub Option<Timestamp>, pub bool);

impl fmt::Display for Outside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(by, term, seen, over) = self;
        write!(f, "the key of {by} counts {term}")?;
        match (seen, over) {
            (Some(seen), _) => write!(f, ", and it signed {}", Instant(*seen))?,
            (None, true) => f.write_str(", which is over")?,
            (None, false) => return f.write_str(", which has not begun"),
        }
        f.write_str(": sign with a key that counts, or name a later `not_after`")
    }
}

impl Signer {
    /// What bounds their key, where anything does.
    #[must_use]
    pub const fn bound(&self) -> Option<&BoundKey> {
        match self {
            Self::Bound(bound) => Some(bound),
            Self::Key(_) | Self::Identity(_) => None,
        }
    }

    /// When their key counts.
    #[must_use]
    pub fn term(&self) -> Term {
        self.bound().map(|bound| bound.term).unwrap_or_default()
    }
}

impl Signed {
    /// Takes out, as of an instant, those whose keys do not count.
    pub(super) fn at(&mut self, now: Timestamp) {
        let counts = |signer: &Signer, times: &BTreeMap<Signer, BTreeSet<Times>>| {
            let term = signer.term();
            match times.get(signer) {
                Some(seen) => seen.iter().any(|times| term.covers(*times)),
                None => term.covers((now, now)),
            }
        };
        let (by, outside) = core::mem::take(&mut self.by).into_iter().partition(|one| counts(one, &self.times));
        self.by = by;
        for signer in outside {
            let signer: Signer = signer;
            let term = signer.term();
            let seen = self.times.get(&signer).and_then(|seen| seen.first()).map(|(first, _)| *first);
            let over = term.to.is_some_and(|to| to <= seen.unwrap_or(now));
            self.outside.insert(signer, Flaw::Outside { term, seen, over });
        }
    }

    /// When a signature that counts now counts no more; never where nothing is there.
    pub(super) fn ends(&self, signer: &Signer) -> Option<Timestamp> {
        // What was seen in time stays so.
        if self.times.contains_key(signer) { None } else { signer.term().to }
    }

    /// When the last of those who signed counts no more, with their name; nothing where one always does, or none has signed.
    pub(super) fn last<'a>(&self, signers: &'a Signers) -> Option<(Timestamp, &'a SignerName)> {
        let ends: Option<BTreeSet<_>> =
            self.of(signers).map(|(name, signer)| Some((self.ends(signer)?, name))).collect();
        ends?.pop_last()
    }

    /// Why no signature counts of one of these, of whom one is there, with their name.
    pub(super) fn flaw<'a>(&self, signers: &'a Signers) -> Option<(&'a SignerName, Flaw)> {
        let outside = |signer: &Signer| self.outside.get(signer).cloned();
        let unproven = |signer: &Signer| self.unproven.contains(signer).then_some(Flaw::Unproven);
        let broken = |signer: &Signer| self.broken.contains(signer).then_some(Flaw::Broken);
        let find =
            |of: &dyn Fn(&Signer) -> Option<Flaw>| signers.iter().find_map(|(name, signer)| Some((name, of(signer)?)));
        find(&outside).or_else(|| find(&unproven)).or_else(|| find(&broken))
    }
}

/// The end after which too few of several count, where that is so: of each hand the last of its signatures counts.
pub(super) fn ends(
    hands: &BTreeMap<&str, Option<(Timestamp, &SignerName)>>,
    least: u64,
) -> Option<(Timestamp, SignerName)> {
    let forever = hands.values().filter(|end| end.is_none()).count() as u64;
    let mut ends: alloc::vec::Vec<_> = hands.values().flatten().collect();
    ends.sort_unstable();
    // So many with an end are needed beside those without one: the first of them to end is the one that is missed.
    let needed = usize::try_from(least.checked_sub(forever).filter(|needed| *needed > 0)?).ok()?;
    let (at, name) = ends.get(ends.len().checked_sub(needed)?)?;
    Some((*at, (*name).clone()))
}

/// When what a document says counts no more, for whom its signature ends.
pub(super) fn lapses(piece: &Piece, signers: &Signers) -> Option<(Timestamp, SignerName)> {
    piece.signed.last(signers).map(|(at, name)| (at, name.clone()))
}
