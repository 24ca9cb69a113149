//! A key that can be asked to sign, in either of the two ways. What must not live here: what is signed.

use std::path::PathBuf;

use promo_core::approval::Fingerprint;

use super::error::SignatureError;
use super::keygen::{read_public_key, sign_bytes_with_ssh_keygen};
use super::signing::SigningKey;
use crate::process::Processes;

/// A key, and who signs with it.
#[derive(Debug, Clone)]
pub enum Key {
    /// `ssh-keygen`, with this private key file, or this public one of a key that ssh-agent holds.
    SshKeygen(PathBuf),
    /// This process.
    BuiltIn(Box<SigningKey>),
}

impl From<SigningKey> for Key {
    fn from(key: SigningKey) -> Self {
        Self::BuiltIn(Box::new(key))
    }
}

impl Key {
    /// Its fingerprint. Needs no passphrase.
    ///
    /// # Errors
    /// [`SignatureError::KeyFile`], [`SignatureError::PublicKey`].
    pub fn fingerprint(&self) -> Result<Fingerprint, SignatureError> {
        match self {
            Self::SshKeygen(path) => Ok(read_public_key(path)?.fingerprint().clone()),
            Self::BuiltIn(key) => Ok(key.public_key().fingerprint().clone()),
        }
    }

    /// An armored signature over these bytes, for a namespace.
    ///
    /// # Errors
    /// As [`sign_bytes_with_ssh_keygen`] and [`SigningKey::sign_bytes`].
    pub async fn sign(&self, bytes: &[u8], namespace: &str) -> Result<String, SignatureError> {
        match self {
            Self::SshKeygen(path) => sign_bytes_with_ssh_keygen(&Processes::default(), path, namespace, bytes).await,
            Self::BuiltIn(key) => key.sign_bytes(bytes, namespace),
        }
    }
}
