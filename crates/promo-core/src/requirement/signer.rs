//! Whose signatures count: by a key, or by the certificate of an identity. What must not live here: checking one (above the core), and what
//! has to be signed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};

use super::exception::matches;
use super::term::{BoundKey, Flaw, Times};
use crate::ids::SignerName;

/// What a public key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// RSA of 2048 bits or more: PKCS #1 v1.5 with SHA-256, as cosign signs.
    Rsa,
}

/// A public key: `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7) in DER.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    kind: KeyKind,
    /// The DER in base64.
    der: String,
}

/// Whom a certificate names that was valid when they signed, as Sigstore's authorities issue them (Fulcio: `certificate-specification`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The subject's alternative name: an address, or the URI of a workflow; `*` stands for anything.
    pub identity: String,
    /// Who says so: the issuer of OpenID Connect, to the letter.
    pub issuer: String,
    /// Whose certificates, logs and time stamps are believed: a `TrustedRoot` of Sigstore (protobuf-specs, `sigstore_trustroot.proto`) in JSON.
    pub trusted_root: String,
}

/// Whoever has a key, or is known by a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Signer {
    /// By a key.
    Key(PublicKey),
    /// By a key that counts for a time, or only where a log or a time stamp bears it out.
    Bound(BoundKey),
    /// By a certificate.
    Identity(Identity),
}

/// Those whose signatures count, by the names that a file gives them. A name means what the same file says: that of policy and that of a
/// pipeline are two.
pub type Signers = BTreeMap<SignerName, Signer>;

/// The media type of a trusted root begins so, with a version behind it.
const TRUSTED_ROOT: &str = "application/vnd.dev.sigstore.trustedroot";

impl Identity {
    /// Whether a certificate with these names is of them.
    #[must_use]
    pub fn is(&self, identity: &str, issuer: &str) -> bool {
        self.issuer == issuer && matches(&self.identity, identity)
    }

    /// Whether a text is a trusted root, as far as that can be told without reading a certificate.
    ///
    /// # Errors
    /// What it is instead, and what is expected.
    pub fn trusted_root(text: &str) -> Result<(), String> {
        let expected =
            "expected the JSON of a trusted root of Sigstore, such as `gh attestation trusted-root` prints a line each";
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("{error}: {expected}"))?;
        match json.get("mediaType").and_then(serde_json::Value::as_str) {
            Some(kind) if kind.starts_with(TRUSTED_ROOT) => Ok(()),
            Some(kind) => Err(format!("it says that it is `{}`: {expected}", kind.escape_debug())),
            None => Err(format!("it does not say what it is in `mediaType`: {expected}")),
        }
    }
}

impl From<BoundKey> for Signer {
    /// Without bounds it is a key like every other.
    fn from(bound: BoundKey) -> Self {
        match bound.term.is_always() && bound.trusted_root.is_none() {
            true => Self::Key(bound.key),
            false => Self::Bound(bound),
        }
    }
}

impl From<PublicKey> for Signer {
    fn from(key: PublicKey) -> Self {
        Self::Key(key)
    }
}

impl Signer {
    /// The key, where they are known by one.
    #[must_use]
    pub const fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Bound(bound) => Some(&bound.key),
            Self::Identity(_) => None,
        }
    }

    /// By whose certificates, logs and time stamps their signatures are borne out, where they must be.
    #[must_use]
    pub fn trusted_root(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Bound(bound) => bound.trusted_root.as_deref(),
            Self::Identity(identity) => Some(&identity.trusted_root),
        }
    }

    /// The identity, where they are known by that.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Key(_) | Self::Bound(_) => None,
            Self::Identity(identity) => Some(identity),
        }
    }

    /// By what one hand is told from another, where several have to sign: whoever is known under two issuers is one.
    #[must_use]
    pub fn hand(&self) -> &str {
        match self {
            Self::Key(key) | Self::Bound(BoundKey { key, .. }) => key.base64(),
            Self::Identity(identity) => &identity.identity,
        }
    }

    /// Whether a signature of theirs is always by the same hand: a pattern is of many.
    #[must_use]
    pub fn is_one(&self) -> bool {
        match self {
            Self::Key(_) | Self::Bound(_) => true,
            Self::Identity(identity) => !identity.identity.contains('*'),
        }
    }
}

/// Whose signature a document carries, of those who were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signed {
    /// Those whose signature holds.
    pub by: BTreeSet<Signer>,
    /// Those whose signature it claims to carry by the id of the key or by the certificate, and which does not hold.
    pub broken: BTreeSet<Signer>,
    /// Those whose signature holds, and whom no log and no time stamp of their trusted root bears out.
    pub unproven: BTreeSet<Signer>,
    /// When those signatures were seen by whom a trusted root believes, of each envelope: where nothing is said nobody has seen them.
    pub times: BTreeMap<Signer, BTreeSet<Times>>,
    /// Those whose signature holds, and whose key does not count; nobody before a gate judges it.
    pub outside: BTreeMap<Signer, Flaw>,
    /// Whom the certificates name, of identities whose signature holds: a pattern is of many.
    pub named: BTreeMap<Signer, BTreeSet<String>>,
    /// Whom certificates name that hold by a trusted root of those who were asked for, and who are none of them; and who says so.
    pub strangers: BTreeSet<(String, String)>,
}

/// How `SubjectPublicKeyInfo` begins, and how long it is: nothing in it is open but the point of the curve (RFC 5480, RFC 8410).
const FIXED: [(KeyKind, usize, &[u8]); 3] = [
    (
        KeyKind::P256,
        91,
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ],
    ),
    (
        KeyKind::P384,
        120,
        &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
        ],
    ),
    (KeyKind::Ed25519, 44, &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]),
];

/// The algorithm of a key of RSA, as it stands behind the outer length (RFC 8017, appendix A.1).
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82];
/// The shortest key of 2048 bits: 256 bytes of modulus and an exponent of one, with all that stands around them.
const RSA_LEAST: usize = 292;

impl PublicKey {
    /// A key as PEM writes it (RFC 7468, section 13).
    ///
    /// # Errors
    /// What is wrong with it, and what is expected.
    pub fn of_pem(text: &str) -> Result<Self, &'static str> {
        let body = text
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or("expected one public key in PEM, `-----BEGIN PUBLIC KEY-----`, such as cosign.pub")?;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = Base64::decode_vec(&body).map_err(|_| "between its first and its last line there must be base64")?;
        let kind =
            kind(&der).ok_or("expected a key of ECDSA (P-256 or P-384), Ed25519, or RSA of 2048 bits or more")?;
        Ok(Self { kind, der: body })
    }

    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its DER in base64: what stands between the first and the last line of PEM.
    #[must_use]
    pub fn base64(&self) -> &str {
        &self.der
    }

    /// Its DER.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        Base64::decode_vec(&self.der).unwrap_or_default()
    }
}

fn kind(der: &[u8]) -> Option<KeyKind> {
    let fixed = FIXED.iter().find(|(_, length, start)| der.len() == *length && der.starts_with(start));
    let rsa = || {
        (der.len() >= RSA_LEAST && der.starts_with(&[0x30, 0x82]) && der[4..].starts_with(RSA)).then_some(KeyKind::Rsa)
    };
    fixed.map(|(kind, ..)| *kind).or_else(rsa)
}

impl Signed {
    /// Which of these have signed.
    pub(super) fn of<'a>(&self, signers: &'a Signers) -> impl Iterator<Item = (&'a SignerName, &'a Signer)> {
        signers.iter().filter(|(_, signer)| self.by.contains(*signer))
    }

    /// Adds what holds by another envelope around the same.
    pub(super) fn join(&mut self, other: &Self) {
        self.by.extend(other.by.iter().cloned());
        for (signer, names) in &other.named {
            self.named.entry(signer.clone()).or_default().extend(names.iter().cloned());
        }
        for (signer, times) in &other.times {
            self.times.entry(signer.clone()).or_default().extend(times);
        }
        self.strangers.extend(other.strangers.iter().cloned());
    }
}

/// One of them by name, and as whom they have signed where certificates say that.
pub(super) fn signed_as<'a>(name: &SignerName, named: impl IntoIterator<Item = &'a String>) -> String {
    let named: BTreeSet<&str> = named.into_iter().map(String::as_str).collect();
    if named.is_empty() {
        return name.to_string();
    }
    format!("{name} ({})", Vec::from_iter(named).join(", "))
}

/// Their names, for people.
pub(super) fn names(signers: &Signers) -> Vec<String> {
    signers.keys().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyQfmL5YwHbn9xrrgG3vgbU0KJxMY
BibYLJ5L4VSMvGxeMLnBGdM48w5IE//6idUPj3rscigFdHs7GDMH4LLAng==
-----END PUBLIC KEY-----
";

    #[test]
    fn a_key_is_told_by_what_it_is_for() {
        let key = PublicKey::of_pem(P256).unwrap();
        assert_eq!((key.kind(), key.der().len()), (KeyKind::P256, 91));
        assert_eq!(PublicKey::of_pem(&P256.replace('\n', "\r\n")).as_ref(), Ok(&key), "as Windows ends lines");
        for (wrong, told) in [
            ("", "in PEM"),
            ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", "in PEM"),
            (&P256.replace("PUBLIC", "PRIVATE"), "in PEM"),
            (&P256.replace("MFkw", "MF!w"), "base64"),
            (&P256.replace("MFkw", "MFow"), "expected a key of ECDSA"),
            (&P256.replace("ng==", "ngA="), "expected a key of ECDSA"),
            (&alloc::format!("{P256}{P256}"), "base64"),
        ] {
            let error = PublicKey::of_pem(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
