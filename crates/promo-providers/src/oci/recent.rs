//! What this run saw at registries a moment ago, so that the same is not asked twice. What lives here: what may be said
//! again, and for how long. What must not: anything that a tag is written on; who writes one looks itself, right before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_sdk::State;

use super::referrers::Companions;
use super::resolve::Resolved;

/// How long something that was seen may be said again.
const RECENT: SignedDuration = SignedDuration::from_secs(10);
/// Above so many entries those that are too old are thrown away.
const MANY: usize = 1024;

/// Something by the name of a place.
#[derive(Debug)]
pub(super) struct Seen<T>(Mutex<BTreeMap<String, (Timestamp, T)>>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Seen<T> {
    pub(super) fn note(&self, now: Timestamp, place: String, what: T) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MANY {
            seen.retain(|_, (at, _)| is_recent(*at, now));
        }
        seen.insert(place, (now, what));
    }

    /// What was seen there a moment ago; said once.
    pub(super) fn take(&self, now: Timestamp, place: &str) -> Option<T> {
        let (at, what) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(place)?;
        is_recent(at, now).then_some(what)
    }

    /// The same; it may be said again.
    pub(super) fn get(&self, now: Timestamp, place: &str) -> Option<T>
    where
        T: Clone,
    {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(place).filter(|(at, _)| is_recent(*at, now)).map(|(_, what)| what.clone())
    }
}

/// A clock that went back says nothing about how long ago something was.
fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(at);
    !age.is_negative() && age <= RECENT
}

/// An artifact, and what goes along with it.
pub(super) type Beside = (Resolved, Companions);

/// What was seen, by what it is good for.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Destinations that held what they should: in the check of everything before a run begins, and when a tag that was
    /// written was read back. Good for one observation: of a step that has nothing to do, or has just done it.
    pub(super) settled: Seen<State>,
    /// Destinations that a step has looked at before it acts. Good for the action that follows.
    pub(super) before: Seen<State>,
    /// What tags of sources name. Whatever they name later, what travels is the digest.
    pub(super) source_tags: Seen<Digest>,
    /// What digests at sources mean.
    pub(super) trees: Seen<Resolved>,
    /// What goes along with a copy, as its preview told it.
    pub(super) along: Seen<Companions>,
    /// What lies beside digests, for whoever asks what is attached: releases have artifacts in common.
    pub(super) beside: Seen<Arc<Beside>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_was_seen_is_said_for_ten_seconds_and_taken_once() {
        let seen = Seen::default();
        seen.note(at(100), "here".into(), 1);
        assert_eq!(seen.get(at(100), "there"), None);
        assert_eq!(
            (seen.get(at(110), "here"), seen.get(at(111), "here"), seen.get(at(99), "here")),
            (Some(1), None, None)
        );
        assert_eq!((seen.take(at(110), "here"), seen.take(at(110), "here")), (Some(1), None));
        seen.note(at(100), "here".into(), 2);
        assert_eq!((seen.take(at(111), "here"), seen.take(at(105), "here")), (None, None), "what is too old is gone");
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let seen = Seen::default();
        for n in 0..5_000 {
            seen.note(at(n), n.to_string(), n);
        }
        assert!(seen.0.lock().unwrap().len() <= MANY);
        assert_eq!(seen.get(at(5_000), "4999"), Some(4_999));
    }
}
