//! What is at a place, as far as promo needs to tell one state from another.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The state of one place: a target, or a tag in a registry. Providers fingerprint what they find; two states are the
/// same exactly when they compare equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing is there.
    Absent,
    /// This is there.
    Present(Digest),
    /// It could not be told, or what is there is between two states.
    Unknown,
}

impl State {
    /// The state of a place on its way from one to the other: the way was begun, has not come to its end, and everything there
    /// is as one of the two has it. A provider whose effects are several tells it by this, so that whoever comes afterwards
    /// can go on, or back, and never takes a place that is half-way for one that has arrived.
    #[must_use]
    pub fn between(from: &Self, to: &Self) -> Self {
        Self::Present(Digest::of(alloc::format!("promo/half-way/v1\n{from}\n{to}\n").as_bytes()))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Present(digest) => write!(f, "{digest}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
