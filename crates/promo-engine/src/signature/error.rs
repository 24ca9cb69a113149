//! What can be wrong with a signature, each case by its name.

use promo_core::approval::{ApprovalProblem, Fingerprint, InvalidKey, StatementError};
use promo_sdk::ProviderError;

/// Why a signature is refused or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The armored text is larger than 16 KiB.
    #[error("a signature of {0} bytes is too large: at most 16384 are read")]
    TooLarge(usize),
    /// Not an armored SSHSIG at all.
    #[error("not an SSH signature: expected what `ssh-keygen -Y sign` writes, from `BEGIN SSH SIGNATURE` to its end")]
    Armor,
    /// It ends too early.
    #[error("the SSH signature is cut off")]
    Truncated,
    /// It has the fields of a signature, but one cannot be read.
    #[error("the SSH signature is malformed: {0}")]
    Malformed(String),
    /// A version of the format other than 1.
    #[error("the SSH signature has version {0}; version 1 is read")]
    Version(u32),
    /// Made for another purpose.
    #[error("the signature was made for `{found}`, not for `{expected}`")]
    Namespace {
        /// The namespace that was asked for.
        expected: String,
        /// The namespace in the signature, cut to 100 characters.
        found: String,
    },
    /// The field that OpenSSH reserves is not empty.
    #[error("the signature fills a reserved field, which no version of OpenSSH does")]
    Reserved,
    /// A hash other than SHA-256 and SHA-512.
    #[error("the signature uses the hash `{0}`; `sha256` and `sha512` are accepted")]
    HashAlgorithm(String),
    /// A kind of key or signature that may not sign (S6.2).
    #[error("signatures of the kind `{0}` are not accepted")]
    UnsupportedAlgorithm(String),
    /// The key is of one kind and the signature of another.
    #[error("a key of the kind `{key}` cannot have made a signature of the kind `{signature}`")]
    AlgorithmMismatch {
        /// Kind of the key.
        key: String,
        /// Kind of the signature.
        signature: String,
    },
    /// An RSA key outside of 3072 to 8192 bits.
    #[error("an RSA key of {bits} bits is not accepted: at least 3072 and at most 8192")]
    RsaSize {
        /// Length of its modulus.
        bits: usize,
    },
    /// A security key signed without being touched.
    #[error("the security key did not see its user: touch is required")]
    UserPresence,
    /// The key belongs to nobody in the roster.
    #[error("the key {0} belongs to nobody whom policy knows")]
    UnknownKey(Fingerprint),
    /// The signature is not one by this key over these bytes.
    #[error("the signature does not fit: the text or the signature was changed, or another key signed")]
    BadSignature,
    /// The signed bytes are not a statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The statement and its signer do not fit together.
    #[error(transparent)]
    Approval(#[from] ApprovalProblem),
    /// A public key cannot be used.
    #[error(transparent)]
    PublicKey(#[from] InvalidKey),
    /// A private key cannot be used here.
    #[error("the private key cannot be used: {0}")]
    PrivateKey(String),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
    /// A key file cannot be read.
    #[error("cannot read the key `{path}`: {problem}")]
    KeyFile {
        /// Its path.
        path: String,
        /// What happened.
        problem: String,
    },
    /// `ssh-keygen` could not be run.
    #[error("cannot run `ssh-keygen`")]
    Process(#[source] ProviderError),
    /// `ssh-keygen` did not sign.
    #[error("`ssh-keygen` did not sign: {0}")]
    Keygen(String),
}

impl SignatureError {
    /// Whether nothing was signed because of this machine: the program that signs is missing or refused, as for a wrong
    /// passphrase. The statement may be signed elsewhere, or in another way.
    #[must_use]
    pub const fn is_of_this_machine(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Keygen(_) | Self::Random)
    }

    /// Whether the file that was given as a key is none that can sign.
    #[must_use]
    pub const fn is_of_the_key(&self) -> bool {
        matches!(self, Self::KeyFile { .. } | Self::PublicKey(_) | Self::PrivateKey(_))
    }
}
