//! What a binary of promo is made of beside the command line. What must not live here: a switch that a user could turn.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use promo_core::Digest;
use promo_core::evidence::{Kind, Report};
use promo_core::kinds::KindSchema;
use promo_core::requirement::{Signed, Signer};
use promo_engine::Providers;
use promo_engine::evidence::{Documents, Unread};
use promo_ledger::Store;
use promo_providers::reports::{self, ReportError};
use promo_providers::signatures;
use promo_sdk::Provider;

/// Puts something in front of the ledger that a command opened.
type InFront = dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync;

/// The parts of a binary that are not the same in every one. Whoever has a provider in a crate of their own builds a
/// `promo` that knows it:
///
/// ```no_run
/// use std::sync::Arc;
///
/// # use promo_sdk::{Description, EffectClass, Provider};
/// # struct Mine;
/// # impl Provider for Mine {
/// #     fn describe(&self) -> Description {
/// #         let (name, version) = ("mine".to_owned(), "1".to_owned());
/// #         Description { name, version, effects: EffectClass::Observable, kinds: Vec::new() }
/// #     }
/// # }
/// fn main() -> std::process::ExitCode {
///     let mut wiring = promo_cli::Wiring::default();
///     wiring.providers.push(Arc::new(Mine));
///     promo_cli::run(wiring)
/// }
/// ```
#[derive(Clone)]
pub struct Wiring {
    /// The providers that pipelines can name; the built-in ones by default. Of two with the same name the later one is
    /// used.
    pub providers: Vec<Arc<dyn Provider>>,
    /// What stands in front of the ledger; nothing by default. It sees every call, and must keep every promise of
    /// [`Store`].
    pub ledger: Option<Arc<InFront>>,
}

impl Wiring {
    /// The providers, ready to be asked.
    pub(crate) fn providers(&self) -> Providers {
        Providers::new(self.providers.clone())
    }

    /// What pipeline files may say of deployments and checks.
    pub(crate) fn kinds(&self) -> Vec<KindSchema> {
        self.providers().kinds()
    }

    /// A ledger as commands use it.
    pub(crate) fn ledger(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.ledger {
            Some(in_front) => in_front(store),
            None => store,
        }
    }
}

/// How documents of evidence are read; of JSON that is no report, the numbers behind these pointers that are there.
pub(crate) struct Formats;

impl Documents for Formats {
    fn read(&self, bytes: &[u8], numbers: Option<&[&str]>) -> Result<Report, Unread> {
        let unread = |error: ReportError| Unread {
            kind: numbers.map(|_| Kind::Numbers),
            broken: !matches!(error, ReportError::NotKnown(_)),
            why: error.to_string(),
        };
        let Some(pointers) = numbers else { return reports::read(bytes).map_err(unread) };
        reports::numbers_there(bytes, pointers).map_err(unread)
    }

    fn signed(&self, bytes: &[u8], signers: &BTreeSet<Signer>) -> Signed {
        signatures::signed(bytes, signers)
    }

    fn stated(&self, bytes: &[u8]) -> Digest {
        signatures::stated(bytes)
    }
}

impl Default for Wiring {
    fn default() -> Self {
        Self { providers: promo_providers::builtin(), ledger: None }
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.providers.iter().map(|provider| provider.describe().name).collect();
        f.debug_struct("Wiring").field("providers", &names).field("ledger", &self.ledger.is_some()).finish()
    }
}
