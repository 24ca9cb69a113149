//! Whether a signature holds: DSSE envelopes, Sigstore's bundles and cosign's signatures against public keys, offline; in `certificates`
//! against identities, and in `signing` how one is made. What must not live here: what a document says (`reports`), and whose signatures
//! count for what (promo-core).
//!
//! Where a key alone is asked for, neither a log nor a certificate is: what a bundle has of those is neither needed nor looked at. Where a
//! trusted root stands beside the key, its logs or time stamps must bear the signature out.

mod certificates;
pub mod signing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Digest as Hashed, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use promo_core::Digest;
use promo_core::requirement::{Identity, KeyKind, PublicKey, Signed, Signer};

use crate::reports::envelope::{self, Envelope, IN_TOTO, Signature};

pub use certificates::{trusted_root, witnesses};

/// What is known by its digest is told apart by these from what stands in an envelope: what cosign signs of an image, and a message.
const IMAGE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const MESSAGE: &str = "messageSignature";

/// Whose signatures a document carries, of these. One that is no envelope, or a broken one, carries none.
#[must_use]
pub fn signed(bytes: &[u8], signers: &BTreeSet<Signer>) -> Signed {
    let mut out = Signed::default();
    if signers.is_empty() {
        return out;
    }
    let Ok(Some(envelope)) = envelope::open(bytes) else { return out };
    let identities: BTreeSet<&Identity> = signers.iter().filter_map(Signer::identity).collect();
    if !identities.is_empty() {
        certificates::add(bytes, &envelope, &identities, &mut out);
    }
    let message = match &envelope {
        Envelope::Dsse { payload_type, payload, .. } => Some(pre_authentication(payload_type, payload)),
        Envelope::Image { payload, .. } => Some(payload.clone()),
        Envelope::Message { .. } => None,
    };
    for (signer, key) in signers.iter().filter_map(|signer| Some((signer, signer.key()?))) {
        // Ed25519 is over the bytes (RFC 8032): of a digest alone nobody can tell.
        if message.is_none() && key.kind() == KeyKind::Ed25519 {
            continue;
        }
        let der = key.der();
        let holds = |signature: &Signature| {
            algorithms(key.kind()).iter().any(|algorithm| {
                let key = UnparsedPublicKey::new(*algorithm, &der);
                match (&envelope, &message) {
                    (_, Some(message)) => key.verify(message, &signature.bytes),
                    (Envelope::Message { digest, .. }, None) => Hashed::import_less_safe(digest.as_bytes(), &SHA256)
                        .and_then(|digest| key.verify_digest(&digest, &signature.bytes)),
                    (_, None) => return false,
                }
                .is_ok()
            })
        };
        let signatures = match &envelope {
            Envelope::Dsse { signatures, .. } => signatures.as_slice(),
            Envelope::Image { signature, .. } | Envelope::Message { signature, .. } => std::slice::from_ref(signature),
        };
        if signatures.iter().any(holds) {
            let Some(root) = signer.trusted_root() else {
                out.by.insert(signer.clone());
                continue;
            };
            match certificates::borne_out(bytes, &envelope, key, root) {
                Some(seen) => {
                    out.by.insert(signer.clone());
                    out.times.extend(seen.map(|seen| (signer.clone(), [seen].into())));
                }
                None => _ = out.unproven.insert(signer.clone()),
            }
        } else if signatures.iter().any(|signature| is_of(&signature.key, &der)) {
            out.broken.insert(signer.clone());
        }
    }
    out
}

/// The digest of what was signed, whatever stands around it: how the envelope is written, by which ids it names keys, which signatures it has and
/// whether it stands in a bundle is up to whoever passes it on. Of a document that is no envelope, its own.
#[must_use]
pub fn stated(bytes: &[u8]) -> Digest {
    match envelope::open(bytes) {
        Ok(Some(Envelope::Dsse { payload_type, payload, .. })) => {
            Digest::of(&pre_authentication(&payload_type, &payload))
        }
        // Each form by itself, since each is read as something else.
        Ok(Some(Envelope::Image { payload, .. })) => Digest::of(&pre_authentication(IMAGE, &payload)),
        Ok(Some(Envelope::Message { digest, .. })) => Digest::of(&pre_authentication(MESSAGE, digest.as_bytes())),
        Ok(None) | Err(_) => Digest::of(bytes),
    }
}

/// The statement of in-toto that a key has signed; none where a document is something else, or somebody else's.
pub(crate) fn statement(bytes: &[u8], key: &PublicKey) -> Option<Vec<u8>> {
    if signed(bytes, &[key.clone().into()].into()).by.is_empty() {
        return None;
    }
    match envelope::open(bytes) {
        Ok(Some(Envelope::Dsse { payload_type, payload, .. })) if payload_type == IN_TOTO => Some(payload),
        _ => None,
    }
}

/// What may have been signed with: of P-384 cosign hashes with either.
fn algorithms(kind: KeyKind) -> &'static [&'static dyn VerificationAlgorithm] {
    match kind {
        KeyKind::P256 => &[&ECDSA_P256_SHA256_ASN1],
        KeyKind::P384 => &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1],
        KeyKind::Ed25519 => &[&ED25519],
        KeyKind::Rsa => &[&RSA_PKCS1_2048_8192_SHA256],
    }
}

/// Whether the id of a key, or the hint of a bundle, is of this key: the SHA-256 of its DER, in hexadecimal digits or in base64. Any other
/// id is somebody's own, and says nothing.
fn is_of(id: &str, der: &[u8]) -> bool {
    let digest = Digest::of(der);
    id.strip_prefix("SHA256:").unwrap_or(id) == digest.hex() || id == STANDARD.encode(digest.as_bytes())
}

/// What a signature of DSSE is over (DSSE 1.0, "Signature Definition").
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}
