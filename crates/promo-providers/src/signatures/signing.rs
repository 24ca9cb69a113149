//! Signing with a private key that somebody else keeps: an envelope (DSSE) in a bundle of Sigstore that names a key, with no log and
//! no certificate. What must not live here: what is signed, and where the key comes from.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use promo_core::requirement::PublicKey;
use promo_core::{Digest, canonical};
use serde_json::json;

use super::pre_authentication;
use crate::reports::envelope::IN_TOTO;

/// The media type of the bundles that are made (sigstore protobuf-specs, `Bundle.media_type`).
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A private key, with its public one.
#[derive(Debug)]
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl SigningKey {
    /// A key as PEM writes it (RFC 7468, section 10): PKCS#8, not encrypted.
    ///
    /// # Errors
    /// What is wrong with it, and what is expected. Never anything of the text.
    pub fn of_pem(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.starts_with("-----BEGIN ENCRYPTED") {
            return Err("the key is encrypted: `openssl pkey -in KEY` writes it as it is expected here");
        }
        let body = text
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or("expected one private key in PEM, `-----BEGIN PRIVATE KEY-----` (PKCS#8), as `openssl genpkey` writes it")?;
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).map_err(|_| "between its first and its last line there must be base64")?;
        let pair = Pair::of_der(&der)
            .ok_or("expected a key of ECDSA (P-256 or P-384), Ed25519, or RSA of 2048 bits or more")?;
        let public = pair.public().map_err(|Unspecified| "its public key cannot be told")?;
        let public = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(public));
        Ok(Self { pair, public: PublicKey::of_pem(&public)? })
    }

    /// The public key, by which others check what is signed.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A statement of in-toto, signed.
    ///
    /// # Errors
    /// Where there is no randomness to be had.
    pub fn bundle(&self, statement: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let signature = self.pair.sign(&pre_authentication(IN_TOTO, statement)).map_err(|Unspecified| Unsigned)?;
        let envelope = json!({
            "payload": STANDARD.encode(statement), "payloadType": IN_TOTO,
            "signatures": [{ "keyid": "", "sig": STANDARD.encode(signature) }],
        });
        let hint = STANDARD.encode(Digest::of(&self.public.der()).as_bytes());
        let bundle = json!({
            "dsseEnvelope": envelope, "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": hint }, "tlogEntries": [] },
        });
        Ok(canonical::to_vec(&bundle).expect("invariant: texts have a canonical form"))
    }
}

/// Nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key does not sign")]
pub struct Unsigned;

impl Pair {
    fn of_der(der: &[u8]) -> Option<Self> {
        let ecdsa = |kind| EcdsaKeyPair::from_pkcs8(kind, der).map(Self::Ecdsa);
        ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .or_else(|_| ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING))
            // openssl writes no public key beside a private one of Ed25519.
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::Ed25519))
            .or_else(|_| RsaKeyPair::from_pkcs8(der).map(|pair| Self::Rsa(Box::new(pair))))
            .ok()
    }

    fn public(&self) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ecdsa(pair) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
            Self::Rsa(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}
