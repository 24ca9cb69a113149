//! Public keys as text, in the form of `authorized_keys` (OpenSSH `sshd(8)`), and their fingerprints. What must not live
//! here: arithmetic on keys; whether an RSA key is large enough is for the verifier to say.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use base64ct::{Base64, Base64Unpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// Longest accepted text of a public key, in bytes (S13.2: strings of 4 KiB).
const MAX_TEXT: usize = 4096;

/// The kinds of key that may sign an approval (S6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// `ssh-ed25519` (RFC 8709).
    Ed25519,
    /// `ecdsa-sha2-nistp256` (RFC 5656).
    EcdsaP256,
    /// `ecdsa-sha2-nistp384` (RFC 5656).
    EcdsaP384,
    /// `ssh-rsa` keys (RFC 4253), which sign with SHA-2 only (RFC 8332).
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`: Ed25519 in a security key (OpenSSH `PROTOCOL.u2f`).
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`: P-256 in a security key (OpenSSH `PROTOCOL.u2f`).
    SkEcdsaP256,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::Rsa, Self::SkEd25519, Self::SkEcdsaP256];

    /// The name that stands in front of a key of this kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }
}

/// The fingerprint of a key as OpenSSH writes it: `SHA256:` and unpadded base64 of the SHA-256 of the key's blob.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint: expected `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints it")]
pub struct InvalidFingerprint(pub String);

impl Fingerprint {
    /// The fingerprint of a key blob (the bytes that stand base64-encoded in a `.pub` file).
    #[must_use]
    pub fn of_blob(blob: &[u8]) -> Self {
        Self(format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(blob))))
    }

    /// The fingerprint as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.strip_prefix("SHA256:").and_then(|b64| Base64Unpadded::decode_vec(b64).ok());
        match bytes {
            Some(bytes) if bytes.len() == 32 => Ok(Self(text.to_string())),
            _ => Err(InvalidFingerprint(text.chars().take(100).collect())),
        }
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a usable public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Longer than 4 KiB.
    #[error("the public key is {0} bytes long; at most 4096 are read")]
    TooLong(usize),
    /// Not of the form `algorithm base64 [comment]`.
    #[error("not a public key: expected one line `algorithm base64 [comment]`, as in a `.pub` file")]
    Form,
    /// A kind of key that may not sign (S6.2).
    #[error("keys of the kind `{0}` may not sign approvals")]
    Algorithm(String),
    /// The base64 cannot be decoded, or is not in its one canonical spelling.
    #[error("the body of the public key is not base64")]
    Base64,
    /// The blob names another kind than the text does.
    #[error("the public key says `{0}`, but its body is of another kind")]
    Mismatch(&'static str),
}

/// A public key. Two keys are equal when their blobs are; the comment is not part of a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    fingerprint: Fingerprint,
    algorithm: KeyAlgorithm,
    base64: String,
}

impl PublicKey {
    /// Its fingerprint.
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Its kind.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(InvalidKey::TooLong(text.len()));
        }
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(InvalidKey::Form);
        }
        let (name, rest) = text.split_once(' ').ok_or(InvalidKey::Form)?;
        let base64 = rest.split(' ').next().filter(|b64| !b64.is_empty()).ok_or(InvalidKey::Form)?;
        let algorithm = KeyAlgorithm::ALL
            .into_iter()
            .find(|a| a.as_str() == name)
            .ok_or_else(|| InvalidKey::Algorithm(name.chars().take(100).collect()))?;
        // Refuses other spellings of the same bytes, so that one key cannot hide behind two texts.
        let blob = Base64::decode_vec(base64).map_err(|_| InvalidKey::Base64)?;
        let length = u32::try_from(name.len()).map_err(|_| InvalidKey::Form)?.to_be_bytes();
        let inner = blob.strip_prefix(&length).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        if inner.is_none_or(<[u8]>::is_empty) {
            return Err(InvalidKey::Mismatch(algorithm.as_str()));
        }
        Ok(Self { fingerprint: Fingerprint::of_blob(&blob), algorithm, base64: base64.to_string() })
    }
}

impl fmt::Display for PublicKey {
    /// `algorithm base64`, without a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.as_str(), self.base64)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.as_str(), self.fingerprint)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The text of an Ed25519 key whose 32 bytes are all `fill`: well formed, with no private half.
    pub(crate) fn key_text(fill: u8) -> String {
        let name = KeyAlgorithm::Ed25519.as_str();
        let mut blob = Vec::new();
        blob.extend_from_slice(&(u32::try_from(name.len()).unwrap()).to_be_bytes());
        blob.extend_from_slice(name.as_bytes());
        blob.extend_from_slice(&32u32.to_be_bytes());
        blob.extend_from_slice(&[fill; 32]);
        format!("{name} {}", Base64::encode_string(&blob))
    }

    #[test]
    fn a_key_has_the_fingerprint_that_ssh_keygen_prints() {
        // Made and printed by OpenSSH 9.2: `ssh-keygen -t ed25519`, `ssh-keygen -lf`.
        let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC2aBORswLwnVYI+k/Jtwe1/EglQdt2RayQ82K3PHFmH dana@laptop";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.fingerprint().as_str(), "SHA256:9bFRkK3fc8iUaAS3OrgxnUcKJ2JR1ngQmi/oL1EtaGI");
        assert_eq!(key.to_string(), text.strip_suffix(" dana@laptop").unwrap());
        assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
        assert_eq!(key.fingerprint().as_str().parse::<Fingerprint>().as_ref(), Ok(key.fingerprint()));
    }

    #[test]
    fn other_texts_are_refused_with_their_reason() {
        let good = key_text(7);
        let body = good.split(' ').nth(1).unwrap();
        assert_eq!("ssh-dss AAAA".parse::<PublicKey>(), Err(InvalidKey::Algorithm("ssh-dss".into())));
        assert_eq!(format!("ssh-rsa {body}").parse::<PublicKey>(), Err(InvalidKey::Mismatch("ssh-rsa")));
        assert_eq!(format!("ssh-ed25519 {body}*").parse::<PublicKey>(), Err(InvalidKey::Base64));
        assert_eq!("ssh-ed25519".parse::<PublicKey>(), Err(InvalidKey::Form));
        assert_eq!(format!("{good}\nssh-ed25519 {body}").parse::<PublicKey>(), Err(InvalidKey::Form));
        assert_eq!("a".repeat(5000).parse::<PublicKey>(), Err(InvalidKey::TooLong(5000)));
        assert_eq!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".parse::<PublicKey>(), Err(InvalidKey::Mismatch("ssh-ed25519")));
        for bad in ["SHA256:", "MD5:00", "SHA256:AAAA", &format!("SHA256:{}=", "A".repeat(43))] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
