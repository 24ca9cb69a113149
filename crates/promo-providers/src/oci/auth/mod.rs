//! Credentials towards registries. What lives here: what a server asks for, where credentials are found, and which of
//! them goes into a request. What must not: sending the requests of the distribution protocol, and any way to show or
//! to write down a secret (S13.4).

mod authfile;
mod challenge;
mod finder;
mod program;
mod scope;
mod session;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use promo_sdk::Secrets;
use secrecy::{ExposeSecret as _, SecretString};

use super::error::tame;

#[cfg(any(test, fuzzing))]
pub(super) use authfile::{AuthFile, Entry};
#[cfg(any(test, fuzzing))]
pub(super) use challenge::{Challenge, challenges};
pub(super) use finder::Finder;
pub(super) use scope::Scopes;
pub(super) use session::{Answer, Auth};

/// What proves to a registry who asks. Neither shown nor written anywhere.
#[derive(Clone)]
pub(super) enum Credential {
    /// Nothing: what the registry gives to everybody.
    Anonymous,
    /// A user with a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A token that is exchanged for others (OAuth 2 refresh token; docker calls it identity token).
    Identity(SecretString),
    /// A token that is sent as it is.
    Ready(SecretString),
}

impl Credential {
    /// Docker's helpers and files say `<token>` in place of a user when the secret is an identity token.
    fn of(user: String, secret: SecretString) -> Self {
        if user == "<token>" { Self::Identity(secret) } else { Self::Basic { user, password: secret } }
    }

    /// Whether it is the same secret.
    fn is(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Basic { user: a, password: p }, Self::Basic { user: b, password: q }) => a == b && same(p, q),
            (Self::Identity(a), Self::Identity(b)) | (Self::Ready(a), Self::Ready(b)) => same(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic",
            Self::Identity(_) => "Identity",
            Self::Ready(_) => "Ready",
        })
    }
}

/// A credential and where it comes from, in words that may be shown.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) credential: Credential,
    /// `credentials of r.example/team in ~/.docker/config.json`; also what tells identities apart.
    pub(super) source: String,
    /// Until when it is kept, unless it is refused before.
    until: Timestamp,
}

/// The variables of the environment that lead to credentials.
#[derive(Clone)]
pub(super) struct Variables(Arc<dyn Secrets>);

impl Variables {
    pub(super) fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self(secrets)
    }

    /// A variable that is no secret; an empty one counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.secret(name).map(|value| value.expose_secret().to_owned())
    }

    /// A variable that is a secret.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.0.variable(name).filter(|value| !value.expose_secret().is_empty())
    }

    /// A secret of promo's own: `PROMO_SECRET_<NAME>`.
    pub(super) fn own(&self, name: &str) -> Option<SecretString> {
        self.0.get(name)
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> Arc<dyn Secrets> {
        self.0
    }

    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(Arc::new(FakeSecrets(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())))
    }
}

#[cfg(test)]
struct FakeSecrets(std::collections::BTreeMap<String, String>);

#[cfg(test)]
impl Secrets for FakeSecrets {
    fn get(&self, name: &str) -> Option<SecretString> {
        self.variable(&format!("PROMO_SECRET_{}", name.to_uppercase().replace('-', "_")))
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        self.0.get(name).map(|value| value.as_str().into())
    }
}
