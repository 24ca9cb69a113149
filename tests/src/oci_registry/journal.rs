//! What was asked of the registry. What lives here: one entry for each request, and the questions that tests ask about
//! them. What must not: bodies and credentials.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One order over all registries of a process.
static INSTANT: AtomicU64 = AtomicU64::new(1);

/// What a request carried to prove who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A user and a password.
    Basic,
    /// A token.
    Bearer,
    /// Something else.
    Other,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number at this registry, from 1, in the order of arrival.
    pub number: usize,
    /// When it came, in an order over all registries of the process.
    pub arrived: u64,
    /// When its answer was ready, in the same order; none while it was not.
    pub answered: Option<u64>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// What it carried.
    pub credential: Credential,
    /// Its `Content-Range`; empty when it has none.
    pub range: String,
    /// The status; 0 when the connection was reset in place of an answer, or the request never came to its end.
    pub status: u16,
    /// Bytes of its body that were read.
    pub received: u64,
    /// Bytes of the answer's body that were handed to the connection.
    pub sent: u64,
    /// Whether a fault happened to it.
    pub faulty: bool,
}

impl Entry {
    /// Whether it can change anything: a request for a token does not.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD") && self.path != "/token"
    }

    /// Whether it publishes something: a manifest under a tag or a digest, or a whole blob.
    #[must_use]
    pub fn publishes(&self) -> bool {
        self.method == "PUT" || (self.method == "POST" && self.query.contains("mount="))
    }

    /// Whether it is for a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }

    /// Whether it is for a manifest by its tag.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        self.path.rsplit_once("/manifests/").is_some_and(|(_, reference)| !reference.contains(':'))
    }

    /// Method, path and query in one text.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }
}

/// An entry that is still written.
#[derive(Debug, Clone)]
pub(super) struct Slot(Arc<Mutex<Entry>>);

impl Slot {
    pub(super) fn note(&self, write: impl FnOnce(&mut Entry)) {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn answered(&self, status: u16) {
        self.note(|entry| {
            entry.status = status;
            entry.answered = Some(INSTANT.fetch_add(1, Ordering::SeqCst));
        });
    }
}

/// The requests so far.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Vec<Slot>>);

impl Journal {
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arrive(&self, mut entry: Entry) -> (usize, Slot) {
        let mut slots = self.slots();
        entry.number = slots.len() + 1;
        entry.arrived = INSTANT.fetch_add(1, Ordering::SeqCst);
        let number = entry.number;
        let slot = Slot(Arc::new(Mutex::new(entry)));
        slots.push(slot.clone());
        (number, slot)
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.slots().iter().map(|slot| slot.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    pub(super) fn clear(&self) {
        self.slots().clear();
    }
}

/// The requests that could change something and came when `moment` (an [`Entry::answered`]) had passed.
#[must_use]
pub fn writes_after(entries: &[Entry], moment: u64) -> Vec<&Entry> {
    entries.iter().filter(|entry| entry.writes() && entry.arrived > moment).collect()
}
