//! The doors through which providers see the world: clock, programs, HTTP, secrets, and contents by digest. What must not be
//! here: what the ledger says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use promo_core::Digest;
use promo_ledger::Store;
use promo_sdk::{Blobs, Clock, Context, ErrorKind, ProviderError, Secrets};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::process::Processes;

/// Contents by digest: what was read from the working tree, else what the ledger keeps.
pub(crate) struct Files {
    pub(super) store: Arc<dyn Store>,
    pub(super) tree: Mutex<BTreeMap<Digest, PathBuf>>,
    pub(super) root: PathBuf,
}

impl Files {
    /// Remembers that a file of the working tree has this content.
    pub(crate) fn remember(&self, digest: Digest, path: &str) {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, self.root.join(path));
    }
}

impl Blobs for Files {
    fn get(&self, digest: &Digest) -> Result<Vec<u8>, ProviderError> {
        let integrity = |found: &dyn std::fmt::Display| {
            let message = format!("a stored file is damaged: expected {digest}, found {found}");
            ProviderError::new(ErrorKind::Integrity, message).differs(digest, found)
        };
        let kept = self.store.get_blob(digest).map_err(|error| integrity(&error))?;
        let path = self.tree.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        let found = |bytes: &[u8]| Some(Digest::of(bytes)).filter(|found| found != digest);
        match (kept, path) {
            (Some(bytes), _) => found(&bytes).map_or(Ok(bytes), |found| Err(integrity(&found))),
            // Nobody damaged anything: a file of the working tree is its author's to edit.
            (None, Some(path)) => {
                let bytes = blocking(|| std::fs::read(&path)).ok();
                let now =
                    bytes.as_deref().map_or_else(|| Some("no such file".to_owned()), |b| Some(found(b)?.to_string()));
                match (bytes, now) {
                    (Some(bytes), None) => Ok(bytes),
                    (_, now) => {
                        let shown = path.strip_prefix(&self.root).unwrap_or(&path).display();
                        let message =
                            format!("{shown} was edited while promo was at work with it, so nothing was done");
                        let error = ProviderError::new(ErrorKind::Conflict, message);
                        Err(error.differs(digest, now.unwrap_or_default()))
                    }
                }
            }
            (None, None) => {
                let message = format!(
                    "a kept file is gone: the ledger has nothing with the digest {digest}, and `promo ledger verify` says what else"
                );
                Err(ProviderError::new(ErrorKind::Integrity, message).differs(digest, "nothing"))
            }
        }
    }
}

/// The doors to the outside world, with the contents that `blobs` holds.
#[must_use]
pub fn outside(clock: Arc<dyn Clock>, blobs: Arc<dyn Blobs>, root: PathBuf) -> Context {
    let cancelled = CancellationToken::new();
    Context {
        clock,
        processes: Arc::new(Processes::new(cancelled.clone())),
        http: Some(promo_sdk::Http::default()),
        cancelled,
        secrets: Arc::new(EnvironmentSecrets),
        blobs,
        root,
    }
}

/// Secrets from `PROMO_SECRET_NAME` in the environment of the run.
struct EnvironmentSecrets;

impl Secrets for EnvironmentSecrets {
    fn get(&self, name: &str) -> Option<SecretString> {
        let variable = format!("PROMO_SECRET_{}", name.to_uppercase().replace('-', "_"));
        std::env::var(variable).ok().map(SecretString::from)
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        std::env::var(name).ok().map(SecretString::from)
    }
}
