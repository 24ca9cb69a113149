//! What providers really did, told by whoever stood in front of them and not by the ledger. What must not live here: what
//! should have happened.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use promo_core::state::State;
use serde::{Deserialize, Serialize};

use super::Point;

/// One thing that happened, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// A point was passed.
    Passed(Point),
    /// The fault happened here.
    Fired(Point),
    /// Somebody looked.
    Seen {
        /// Where.
        place: String,
        /// What was there.
        state: State,
    },
    /// A provider is told to act.
    Begun {
        /// Run and step.
        token: String,
        /// Where.
        place: String,
        /// What was there.
        state: State,
    },
    /// It has answered.
    Ended {
        /// Run and step.
        token: String,
        /// Where.
        place: String,
        /// What is there since.
        state: State,
    },
}

/// A change that a provider really made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Run and step; empty when nobody had been told to act.
    pub token: String,
    /// What was there.
    pub before: State,
    /// What is there since.
    pub after: State,
}

/// Every change of any place that these entries show. One that nobody saw being made belongs to whoever had begun there
/// and never ended.
#[must_use]
pub fn effects(entries: &[Entry]) -> Vec<Effect> {
    let mut effects = Vec::new();
    // By place: what was there last, and who is at work or died there.
    let mut places: BTreeMap<&str, (State, String)> = BTreeMap::new();
    for entry in entries {
        let (place, state) = match entry {
            Entry::Seen { place, state } | Entry::Begun { place, state, .. } | Entry::Ended { place, state, .. } => {
                (place, *state)
            }
            Entry::Passed(_) | Entry::Fired(_) => continue,
        };
        let (last, actor) = places.entry(place).or_insert_with(|| (state, String::new()));
        // What is between two states is not yet another one.
        if state != State::Unknown && *last != state {
            effects.push(Effect { token: actor.clone(), before: *last, after: state });
            *last = state;
        }
        match entry {
            Entry::Begun { token, .. } => actor.clone_from(token),
            Entry::Ended { .. } => actor.clear(),
            _ => {}
        }
    }
    effects
}

/// A journal that outlives whoever writes it: one line for each entry, on the disk before anything else happens.
#[derive(Debug)]
pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?)))
    }

    pub(super) fn write(&self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)?;
        file.sync_data()
    }
}

/// What a journal on disk says; nothing where there is none.
///
/// # Panics
/// When a line is none of a journal.
#[must_use]
pub fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of the journal is an entry")).collect()
}

#[cfg(test)]
mod tests {
    use promo_core::Digest;

    use super::*;

    fn present(text: &str) -> State {
        State::Present(Digest::of(text.as_bytes()))
    }

    fn begun(token: &str, state: State) -> Entry {
        Entry::Begun { token: token.into(), place: "here".into(), state }
    }

    fn ended(token: &str, state: State) -> Entry {
        Entry::Ended { token: token.into(), place: "here".into(), state }
    }

    fn seen(state: State) -> Entry {
        Entry::Seen { place: "here".into(), state }
    }

    #[test]
    fn a_change_belongs_to_whoever_had_begun_also_when_it_is_seen_after_its_death() {
        let (one, two) = (present("one"), present("two"));
        let entries = [begun("a", State::Absent), seen(one), begun("b", one), ended("b", two), seen(two)];
        let tokens: Vec<_> = effects(&entries).into_iter().map(|e| (e.token, e.after)).collect();
        assert_eq!(tokens, [("a".into(), one), ("b".into(), two)]);
    }

    #[test]
    fn a_change_that_nobody_was_told_to_make_is_told_apart() {
        let entries =
            [begun("a", State::Absent), ended("a", present("one")), seen(State::Unknown), seen(State::Absent)];
        let tokens: Vec<_> = effects(&entries).into_iter().map(|e| e.token).collect();
        assert_eq!(tokens, ["a", ""]);
    }

    #[test]
    fn a_step_that_acts_twice_has_two_effects() {
        let one = present("one");
        let entries =
            [begun("a", State::Absent), ended("a", one), seen(one), begun("a", one), ended("a", State::Absent)];
        assert_eq!(effects(&entries).iter().filter(|e| e.token == "a").count(), 2);
    }
}
