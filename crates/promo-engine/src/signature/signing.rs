//! Signing in this process, with an unencrypted Ed25519 key: for the quickstart and for machines. People sign with
//! `ssh-keygen`, which knows their agent, their security key and their passphrase.

use core::fmt;

use promo_core::approval::{Envelope, NAMESPACE, Nonce, PublicKey, Statement};
use secrecy::{ExposeSecret as _, SecretString};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::error::SignatureError;

/// A private Ed25519 key in memory. Its `Debug` shows the fingerprint of the public half.
#[derive(Clone)]
pub struct SigningKey {
    private: PrivateKey,
    public: PublicKey,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SignatureError::Random`] when the system gives no random numbers.
    pub fn generate(comment: &str) -> Result<Self, SignatureError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| SignatureError::Random)?;
        Self::from_seed(&seed, comment)
    }

    /// The key that belongs to 32 random bytes (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`SignatureError::PrivateKey`] when the comment is no text that a key can carry.
    pub fn from_seed(seed: &[u8; 32], comment: &str) -> Result<Self, SignatureError> {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(seed));
        Self::new(PrivateKey::new(pair, comment).map_err(unusable)?)
    }

    /// Reads a key in OpenSSH's format (`PROTOCOL.key`).
    ///
    /// # Errors
    /// [`SignatureError::PrivateKey`] for an encrypted key and any kind but Ed25519: `ssh-keygen` signs with those.
    pub fn from_openssh(text: &SecretString) -> Result<Self, SignatureError> {
        Self::new(PrivateKey::from_openssh(text.expose_secret()).map_err(unusable)?)
    }

    fn new(private: PrivateKey) -> Result<Self, SignatureError> {
        if private.is_encrypted() {
            return Err(SignatureError::PrivateKey("it has a passphrase; sign with `ssh-keygen`".into()));
        }
        if private.key_data().ed25519().is_none() {
            return Err(SignatureError::PrivateKey("it is no Ed25519 key; sign with `ssh-keygen`".into()));
        }
        let public = private.public_key().to_openssh().map_err(unusable)?.parse()?;
        Ok(Self { private, public })
    }

    /// The key in OpenSSH's format, unencrypted.
    ///
    /// # Errors
    /// [`SignatureError::PrivateKey`], which would be a defect of the encoder.
    pub fn to_openssh(&self) -> Result<SecretString, SignatureError> {
        let text = self.private.to_openssh(LineEnding::LF).map_err(unusable)?;
        Ok(SecretString::from(text.as_str()))
    }

    /// Its public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a statement. The statement must name this key.
    ///
    /// # Errors
    /// [`SignatureError::Statement`], [`SignatureError::Approval`] when the statement names another key.
    pub fn sign(&self, statement: &Statement) -> Result<Envelope, SignatureError> {
        let text = statement_text(statement, &self.public)?;
        let signature = self.sign_bytes(text.as_bytes(), NAMESPACE)?;
        Ok(Envelope::new(text, signature))
    }

    /// Signs any bytes for a namespace: an armored SSHSIG with SHA-512, as `ssh-keygen -Y sign` makes it.
    ///
    /// # Errors
    /// [`SignatureError::PrivateKey`] for an empty namespace.
    pub fn sign_bytes(&self, message: &[u8], namespace: &str) -> Result<String, SignatureError> {
        let signature = self.private.sign(namespace, HashAlg::Sha512, message).map_err(unusable)?;
        signature.to_pem(LineEnding::LF).map_err(unusable)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.fingerprint())
    }
}

/// A number that nobody has signed before.
///
/// # Errors
/// [`SignatureError::Random`] when the system gives no random numbers.
pub(crate) fn nonce() -> Result<Nonce, SignatureError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| SignatureError::Random)?;
    Ok(Nonce::from_bytes(bytes))
}

/// The signed bytes as text, when the statement names the key that is about to sign it.
pub(super) fn statement_text(statement: &Statement, key: &PublicKey) -> Result<String, SignatureError> {
    if statement.key != *key.fingerprint() {
        let (named, signed) = (statement.key.clone(), key.fingerprint().clone());
        return Err(promo_core::approval::ApprovalProblem::OtherKey { named, signed }.into());
    }
    Ok(String::from_utf8(statement.to_bytes()?).expect("invariant: JSON is UTF-8"))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn unusable(error: ssh_key::Error) -> SignatureError {
    SignatureError::PrivateKey(error.to_string())
}
