//! Checking SSHSIGs (OpenSSH `PROTOCOL.sshsig`). `ssh-key` parses and checks everything but RSA, for which it would need
//! the `rsa` crate (RUSTSEC-2023-0071); RSA goes to aws-lc-rs.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use base64::Engine as _;
use promo_core::approval::{
    Envelope, Fingerprint, Identity, KeyAlgorithm, MAX_BYTES, NAMESPACE, PublicKey, Roster, Statement, StatementError,
    VerifiedApproval,
};
use promo_core::ids::IdentityName;
use ssh_key::public::{EcdsaPublicKey, KeyData, RsaPublicKey};
use ssh_key::{Algorithm, HashAlg, SshSig};

use super::error::SignatureError;

/// Shortest RSA modulus that is accepted, in bits (S6.2).
pub const MIN_RSA_BITS: usize = 3072;
/// Longest RSA modulus, in bits: what aws-lc-rs verifies.
const MAX_RSA_BITS: usize = 8192;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Flag in a security key's signature: the user touched it (OpenSSH `PROTOCOL.u2f`).
const USER_PRESENT: u8 = 0x01;
/// Flags (1 byte) and counter (4 bytes) at the end of a security key's signature.
const SK_TRAILER: usize = 5;

/// Who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer<'r> {
    /// The identity, as the roster has it.
    pub identity: &'r Identity,
    /// The key that signed.
    pub key: &'r PublicKey,
}

/// Checks an envelope and makes a fact of it. The only way from a signature to a [`VerifiedApproval`].
///
/// # Errors
/// [`SignatureError`], naming the first thing that is wrong. The statement is not parsed before its signature is checked.
pub fn verify(envelope: &Envelope, roster: &Roster) -> Result<VerifiedApproval, SignatureError> {
    let bytes = envelope.statement.as_bytes();
    Statement::admit(bytes).map_err(StatementError::from)?;
    let signer = verify_bytes(bytes, &envelope.signature, NAMESPACE, roster)?;
    let statement = Statement::from_bytes(bytes)?;
    Ok(VerifiedApproval::after_signature_check(statement, signer.key.fingerprint(), roster)?)
}

/// Checks that `armored` is a signature over `message`, made for `namespace` by a key of the roster, and says whose.
///
/// # Errors
/// [`SignatureError`], naming the first thing that is wrong.
pub fn verify_bytes<'r>(
    message: &[u8],
    armored: &str,
    namespace: &str,
    roster: &'r Roster,
) -> Result<Signer<'r>, SignatureError> {
    let signed_by = signed_by(message, armored, namespace)?;
    match roster.by_key(&signed_by) {
        Some((identity, key)) => Ok(Signer { identity, key }),
        None => Err(SignatureError::UnknownKey(signed_by)),
    }
}

/// Checks that `armored` is a signature over `message`, made for `namespace` by a kind of key that may sign, and gives
/// the fingerprint of that key. Says nothing about whose it is: for that, [`verify_bytes`].
///
/// # Errors
/// [`SignatureError`], naming the first thing that is wrong.
pub fn signed_by(message: &[u8], armored: &str, namespace: &str) -> Result<Fingerprint, SignatureError> {
    if armored.len() > MAX_BYTES {
        return Err(SignatureError::TooLarge(armored.len()));
    }
    let blob = unarmor(armored)?;
    let key_blob = framing(&blob).unwrap_or(Err(SignatureError::Truncated))?;
    let signature = SshSig::from_pem(armored).map_err(|error| SignatureError::Malformed(error.to_string()))?;
    if signature.namespace() != namespace {
        let found = signature.namespace().chars().take(100).collect();
        return Err(SignatureError::Namespace { expected: namespace.into(), found });
    }
    if !signature.reserved().is_empty() {
        return Err(SignatureError::Reserved);
    }
    let key = signature.public_key();
    let fingerprint = core_fingerprint(key)?;
    if Fingerprint::of_blob(key_blob) != fingerprint {
        return Err(SignatureError::Malformed("the public key is not in its canonical encoding".into()));
    }
    check_key(key)?;
    if let KeyData::Rsa(rsa) = key {
        verify_rsa(rsa, &signature, message)?;
    } else {
        if signature.algorithm() != key.algorithm() {
            return Err(SignatureError::AlgorithmMismatch {
                key: key.algorithm().to_string(),
                signature: signature.algorithm().to_string(),
            });
        }
        if matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_)) {
            let bytes = signature.signature_bytes();
            let flags = bytes.len().checked_sub(SK_TRAILER).map(|at| bytes[at]);
            if flags.is_none_or(|flags| flags & USER_PRESENT == 0) {
                return Err(SignatureError::UserPresence);
            }
        }
        ssh_key::PublicKey::from(key.clone())
            .verify(namespace, message, &signature)
            .map_err(|_| SignatureError::BadSignature)?;
    }
    Ok(fingerprint)
}

/// The fingerprint of a public key in the form of a `.pub` file.
///
/// # Errors
/// [`SignatureError::PublicKey`].
pub fn fingerprint(public_key: &str) -> Result<Fingerprint, SignatureError> {
    Ok(public_key.parse::<PublicKey>()?.fingerprint().clone())
}

/// The keys of the roster with which nobody could sign: RSA keys that are too short, bodies that are no key. To be asked
/// when policy is read, so that a weak key is a mistake in policy and not a surprise at approval.
#[must_use]
pub fn check_roster(roster: &Roster) -> Vec<(IdentityName, Fingerprint, SignatureError)> {
    let mut wrong = Vec::new();
    for identity in roster.identities() {
        for key in &identity.keys {
            if let Err(error) = check_public_key(key) {
                wrong.push((identity.name.clone(), key.fingerprint().clone(), error));
            }
        }
    }
    wrong
}

fn check_public_key(key: &PublicKey) -> Result<(), SignatureError> {
    let parsed = ssh_key::PublicKey::from_openssh(&key.to_string())
        .map_err(|error| SignatureError::Malformed(error.to_string()))?;
    // A body that reads as a key but is not its one encoding could never match a signature's key.
    if core_fingerprint(parsed.key_data())? != *key.fingerprint() {
        return Err(SignatureError::Malformed("the public key is not in its canonical encoding".into()));
    }
    check_key(parsed.key_data())
}

/// Whether a key is of a kind and size that may sign (S6.2).
fn check_key(key: &KeyData) -> Result<(), SignatureError> {
    match key {
        KeyData::Ed25519(_)
        | KeyData::SkEd25519(_)
        | KeyData::SkEcdsaSha2NistP256(_)
        | KeyData::Ecdsa(EcdsaPublicKey::NistP256(_) | EcdsaPublicKey::NistP384(_)) => Ok(()),
        KeyData::Rsa(rsa) => match rsa_bits(rsa) {
            MIN_RSA_BITS..=MAX_RSA_BITS => Ok(()),
            bits => Err(SignatureError::RsaSize { bits }),
        },
        other => Err(SignatureError::UnsupportedAlgorithm(other.algorithm().to_string())),
    }
}

fn rsa_bits(key: &RsaPublicKey) -> usize {
    let modulus = key.n.as_positive_bytes().unwrap_or_default();
    let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    modulus.len() * 8 - zeros
}

fn verify_rsa(key: &RsaPublicKey, signature: &SshSig, message: &[u8]) -> Result<(), SignatureError> {
    let parameters = match signature.algorithm() {
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) } => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) } => &RSA_PKCS1_2048_8192_SHA512,
        other => {
            return Err(SignatureError::AlgorithmMismatch { key: "ssh-rsa".into(), signature: other.to_string() });
        }
    };
    let signed = SshSig::signed_data(signature.namespace(), signature.hash_alg(), message)
        .map_err(|error| SignatureError::Malformed(error.to_string()))?;
    let (Some(n), Some(e)) = (key.n.as_positive_bytes(), key.e.as_positive_bytes()) else {
        return Err(SignatureError::Malformed("an RSA key has a negative number in it".into()));
    };
    RsaPublicKeyComponents { n, e }
        .verify(parameters, &signed, signature.signature_bytes())
        .map_err(|_| SignatureError::BadSignature)
}

/// The fingerprint in the core's type.
fn core_fingerprint(key: &KeyData) -> Result<Fingerprint, SignatureError> {
    key.fingerprint(HashAlg::Sha256).to_string().parse().map_err(|error| SignatureError::Malformed(format!("{error}")))
}

/// The bytes inside of the armor.
fn unarmor(armored: &str) -> Result<Vec<u8>, SignatureError> {
    let Some(body) = armored.trim_start().strip_prefix(BEGIN) else {
        return Err(if BEGIN.starts_with(armored.trim()) { SignatureError::Truncated } else { SignatureError::Armor });
    };
    let (body, _) = body.split_once(END).ok_or(SignatureError::Truncated)?;
    let body: String = body.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).map_err(|_| SignatureError::Armor)
}

/// Walks over the fields of a signature and gives the blob of its key; none where it ends too early.
///
/// `ssh-key` 0.6 passes over a wrong length around the key and around the signature, and its errors do not tell a cut
/// text from a foreign one; hence this second look, by which each signature has one spelling and each failure a name.
fn framing(mut rest: &[u8]) -> Option<Result<&[u8], SignatureError>> {
    fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
        let (taken, left) = rest.split_at_checked(length)?;
        *rest = left;
        Some(taken)
    }
    fn number(rest: &mut &[u8]) -> Option<u32> {
        Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
    }
    fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = number(rest)?;
        take(rest, usize::try_from(length).ok()?)
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(100).collect::<String>();
    if take(&mut rest, 6)? != b"SSHSIG" {
        return Some(Err(SignatureError::Armor));
    }
    let version = number(&mut rest)?;
    if version != SshSig::VERSION {
        return Some(Err(SignatureError::Version(version)));
    }
    let key = field(&mut rest)?;
    let kind = text(field(&mut &*key)?);
    if KeyAlgorithm::ALL.iter().all(|known| known.as_str() != kind) {
        return Some(Err(SignatureError::UnsupportedAlgorithm(kind)));
    }
    let _namespace = field(&mut rest)?;
    let _reserved = field(&mut rest)?;
    let hash = text(field(&mut rest)?);
    if hash != "sha256" && hash != "sha512" {
        return Some(Err(SignatureError::HashAlgorithm(hash)));
    }
    let mut signature = field(&mut rest)?;
    let made_as = text(field(&mut signature)?);
    if made_as == "ssh-rsa" {
        // An RSA signature that does not name SHA-2 is one with SHA-1.
        return Some(Err(SignatureError::UnsupportedAlgorithm(made_as)));
    }
    let _made = field(&mut signature)?;
    let trailer = if made_as.starts_with("sk-") { SK_TRAILER } else { 0 };
    if signature.len() != trailer || !rest.is_empty() {
        return Some(Err(SignatureError::Malformed("its fields do not fill it exactly".into())));
    }
    Some(Ok(key))
}

#[cfg(test)]
mod tests;
