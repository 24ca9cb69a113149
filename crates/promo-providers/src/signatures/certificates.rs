//! Whose certificate a bundle of Sigstore was signed with: chain, time, log and identity, all of it offline and against a trusted root; and
//! whether such a root bears out what a key has signed. What must not live here: keys by themselves, which need none of that.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::requirement::{Identity, PublicKey, Signed, Signer, Times};
use sigstore_verify::crypto::parse_certificate_info;
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{ArtifactDigest, Bundle, DerPublicKey, DigestBytes, HashAlgorithm, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, Verifier};

use crate::reports::envelope::Envelope;

/// Whether a trusted root can be used: what a file says it is, [`Identity::trusted_root`] tells.
///
/// # Errors
/// What is wrong with it.
pub fn trusted_root(json: &str) -> Result<(), String> {
    let root = TrustedRoot::from_json(json).map_err(|error| error.to_string())?;
    if root.certificate_authorities.is_empty() {
        return Err("it has no authority of certificates".into());
    }
    Verifier::new(&root).map(drop).map_err(|error| error.to_string())
}

/// Whether a trusted root can bear out what a key has signed: by its logs, or where it has none by its authorities of time stamps.
///
/// # Errors
/// What is wrong with it.
pub fn witnesses(json: &str) -> Result<(), String> {
    let root = TrustedRoot::from_json(json).map_err(|error| error.to_string())?;
    if root.tlogs.is_empty() && root.timestamp_authorities.is_empty() {
        return Err("it has no log and no authority of time stamps, so that nothing could bear a signature out".into());
    }
    Verifier::new(&root).map(drop).map_err(|error| error.to_string())
}

/// Whether a trusted root bears out that a key has signed a bundle, and when that was seen first and last where somebody proves it. A root with
/// logs asks for an entry in one, one without for a time stamp. Nothing where either is missing, or anything does not hold.
pub(super) fn borne_out(bytes: &[u8], envelope: &Envelope, key: &PublicKey, root: &str) -> Option<Option<Times>> {
    let bundle: Bundle = serde_json::from_slice(bytes).ok()?;
    let subject = subject(&bundle, envelope)?;
    let root = TrustedRoot::from_json(root).ok()?;
    let mut policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.der()));
    if root.tlogs.is_empty() {
        policy = policy.skip_tlog_unsafe();
    } else if bundle.verification_material.tlog_entries.is_empty() {
        // Of no entries all are in the log.
        return None;
    }
    let found = Verifier::new(&root).ok()?.verify(subject, &bundle, &policy).ok()?;
    let times = found.verified_timestamps();
    let seen = times.iter().min().copied().zip(times.iter().max().copied());
    (!root.tlogs.is_empty() || seen.is_some()).then_some(seen)
}

/// Adds whose of these identities a bundle was signed by, and who else it was where it holds by one of their roots; `envelope` is what was read of the same bytes.
///
/// What a trusted root names is demanded: an entry in a log where it has logs, and a time stamp of a log of certificates in the certificate
/// where it has any of those. One that has neither (that of GitHub for private repositories) goes by its authorities of time stamps.
pub(super) fn add(bytes: &[u8], envelope: &Envelope, identities: &BTreeSet<&Identity>, signed: &mut Signed) {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(bytes) else { return };
    let Some(certificate) = bundle.signing_certificate() else { return };
    let Ok(info) = parse_certificate_info(certificate) else { return };
    let claimed = info.identity.as_ref().map(sigstore_verify::SubjectAltName::as_str).zip(info.issuer.as_deref());
    let Some((name, issuer)) = claimed else { return };
    let mut holds: BTreeMap<&str, bool> = BTreeMap::new();
    let mut asked = false;
    let mut holds_by =
        |root| *holds.entry(root).or_insert_with(|| verified(&bundle, envelope, root, (name, issuer)).is_some());
    for identity in identities.iter().filter(|identity| identity.is(name, issuer)) {
        asked = true;
        let signer = Signer::Identity((*identity).clone());
        if holds_by(&identity.trusted_root) {
            signed.named.entry(signer.clone()).or_default().insert(name.to_owned());
            signed.by.insert(signer);
        } else {
            signed.broken.insert(signer);
        }
    }
    if !asked && identities.iter().any(|identity| holds_by(&identity.trusted_root)) {
        signed.strangers.insert((name.to_owned(), issuer.to_owned()));
    }
}

/// Nothing where anything does not hold.
fn verified(bundle: &Bundle, envelope: &Envelope, root: &str, (name, issuer): (&str, &str)) -> Option<()> {
    let subject = subject(bundle, envelope)?;
    let root = TrustedRoot::from_json(root).ok()?;
    let mut policy = VerificationPolicy::new(name, issuer);
    if root.tlogs.is_empty() {
        policy = policy.skip_tlog_unsafe();
    }
    if root.ctlogs.is_empty() {
        policy = policy.skip_sct();
    }
    Verifier::new(&root).ok()?.verify(subject, bundle, &policy).ok().map(drop)
}

/// A digest of which the bundle speaks: whoever verifies has to name one, and of which it speaks is judged by what was read. Nothing where
/// something else was read than is verified here.
fn subject(bundle: &Bundle, envelope: &Envelope) -> Option<ArtifactDigest> {
    match (&bundle.content, envelope) {
        (SignatureContent::DsseEnvelope(there), Envelope::Dsse { payload_type, payload, .. })
            if there.payload_type == *payload_type && there.payload.as_bytes() == payload.as_slice() =>
        {
            let statement: serde_json::Value = serde_json::from_slice(payload).ok()?;
            let of = |key: &str, algorithm| {
                let mut found = statement["subject"].as_array()?.iter();
                let hex = found.find_map(|subject| subject.get("digest")?.get(key)?.as_str())?;
                ArtifactDigest::new(algorithm, DigestBytes::from_hex(hex).ok()?).ok()
            };
            of("sha256", HashAlgorithm::Sha2256).or_else(|| of("sha512", HashAlgorithm::Sha2512))
        }
        (SignatureContent::MessageSignature(_), Envelope::Message { digest, .. }) => {
            ArtifactDigest::new(HashAlgorithm::Sha2256, digest.as_bytes().to_vec()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
