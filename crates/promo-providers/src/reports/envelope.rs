//! What a signature stands around or beside: DSSE envelopes, Sigstore's bundles, and cosign's signatures as `cosign download signature`
//! writes them. What lives here: what they have in them, and of what that speaks. What must not: whether a signature holds.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use promo_core::Digest;
use promo_core::evidence::{About, Form, Kind, Link, Report};

use super::error::word;
use super::json::{self, Fault, Json, Read};
use super::{ReportError, intoto, text};

/// The media types of Sigstore's bundles begin so (sigstore protobuf-specs, `Bundle.media_type`).
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const BUNDLES: [&str; 5] =
    ["+json;version=0.1", "+json;version=0.2", "+json;version=0.3", ".v0.3+json", "+json;version=0.3.1"];
/// What an envelope around an attestation says that it has in it (in-toto attestation framework, "Envelope layer").
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What cosign signs of an image (containers/image, "simple signing").
const IMAGE: &str = "cosign container image signature";

/// How many signatures one envelope may have: each is tried with each key.
const SIGNATURES: usize = 32;

/// One signature, and whose it says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// The id of the key, as whoever signed wrote it; mostly empty.
    pub(crate) key: String,
    /// The signature.
    pub(crate) bytes: Vec<u8>,
}

/// What was signed, and the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// A payload of a type (DSSE, "Protocol").
    Dsse {
        /// Its type.
        payload_type: String,
        /// The payload.
        payload: Vec<u8>,
        /// At least one.
        signatures: Vec<Signature>,
    },
    /// The bytes of which only the digest is known.
    Message {
        /// The digest.
        digest: Digest,
        /// The signature.
        signature: Signature,
    },
    /// cosign's statement on an image.
    Image {
        /// The statement.
        payload: Vec<u8>,
        /// The signature.
        signature: Signature,
    },
}

pub(super) fn is(json: &Json) -> bool {
    let both = |one: &str, other: &str| json.peek(one).is_some() && json.peek(other).is_some();
    both("payloadType", "payload")
        || both("Base64Signature", "Payload")
        || json.peek_text("mediaType").is_some_and(|kind| kind.starts_with(BUNDLE))
}

/// The envelope that a document is; none where it is something else.
///
/// # Errors
/// When it is one, and broken, or of a version that promo does not know.
pub(crate) fn open(bytes: &[u8]) -> Result<Option<Envelope>, ReportError> {
    let text = text(bytes)?;
    if !text.trim_start().starts_with('{') {
        return Ok(None);
    }
    let json = json::parse(text)?;
    if !is(&json) {
        return Ok(None);
    }
    opened(&json).map(Some).map_err(|fault| json.error("a signed envelope", fault))
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    match opened(json)? {
        Envelope::Dsse { payload_type, payload, .. } if payload_type == IN_TOTO => inner(&payload, |statement| {
            if intoto::is(statement) {
                return intoto::read(statement);
            }
            statement.broken("an in-toto statement")
        }),
        Envelope::Dsse { payload_type, .. } => {
            let what = format!("an envelope around {}", word(&payload_type));
            Err(Fault::Inner(ReportError::NotKnown(what)))
        }
        Envelope::Message { digest, .. } => Ok(signature_over(digest)),
        Envelope::Image { payload, .. } => {
            let mut report = inner(&payload, image)?;
            report.about.form = json.get("Cert")?.map(|_| Form::CosignCertificate);
            Ok(report)
        }
    }
}

/// Reads numbers out of what an envelope around a statement says.
///
/// # Errors
/// [`ReportError`] for an envelope around anything else, or a broken one.
pub(super) fn numbers(envelope: &Envelope, find: impl Fn(&Json) -> Report) -> Result<Report, ReportError> {
    match envelope {
        Envelope::Dsse { payload_type, payload, .. } if payload_type == IN_TOTO => {
            let statement = text(payload).and_then(json::parse)?;
            intoto::numbers(&statement, find).map_err(|fault| statement.error("what was signed", fault))
        }
        Envelope::Dsse { .. } | Envelope::Message { .. } | Envelope::Image { .. } => {
            Err(ReportError::NotKnown("an envelope around something else than an in-toto statement".to_owned()))
        }
    }
}

/// What was signed of an image.
fn image(payload: &Json) -> Read<'_, Report> {
    let critical = payload.need("critical")?;
    let kind = critical.need("type")?;
    if kind.text()? != IMAGE {
        return kind.broken(format!("`{IMAGE}`"));
    }
    let at = critical.need("image")?.need("docker-manifest-digest")?;
    let Some(digest) = at.digest_in(at.text()?)? else { return at.broken("a digest of SHA-256") };
    let mut report = signature_over(digest);
    let identity = critical.get_object("identity")?;
    let named = identity.map_or(Ok(None), |identity| identity.get_text("docker-reference"))?;
    report.about.repository = named.filter(|name| !name.is_empty());
    Ok(report)
}

fn signature_over(digest: Digest) -> Report {
    let mut about = About::new(Kind::Signature);
    about.bind(Link::Subject, digest);
    Report::new(about)
}

/// Reads what stands in an envelope, whose own tree nothing outlives.
fn inner<'t>(payload: &[u8], read: impl for<'i> Fn(&'i Json) -> Read<'i, Report>) -> Read<'t, Report> {
    let json = text(payload).and_then(json::parse).map_err(Fault::Inner)?;
    read(&json).map_err(|fault| Fault::Inner(json.error("what was signed", fault)))
}

fn opened(json: &Json) -> Read<'_, Envelope> {
    if let Some(media_type) = json.get_text("mediaType")?.filter(|kind| kind.starts_with(BUNDLE)) {
        return bundle(json, &media_type[BUNDLE.len()..]);
    }
    if json.get("Base64Signature")?.is_some() {
        let payload = base64(json.need("Payload")?)?;
        let bytes = base64(json.need("Base64Signature")?)?;
        return Ok(Envelope::Image { payload, signature: Signature { key: String::new(), bytes } });
    }
    dsse(json, "")
}

fn bundle<'t>(json: &'t Json, version: &str) -> Read<'t, Envelope> {
    if !BUNDLES.contains(&version) {
        let found = version.trim_start_matches(['.', '+']).to_owned();
        return Err(Fault::Version { format: "a bundle of Sigstore", found, known: "0.1 to 0.3" });
    }
    let material = json.need("verificationMaterial")?;
    let hint = match material.get_object("publicKey")? {
        Some(key) => key.get_text("hint")?.unwrap_or_default(),
        None => String::new(),
    };
    if let Some(envelope) = json.get_object("dsseEnvelope")? {
        if json.get("messageSignature")?.is_some() {
            return json.broken("either `dsseEnvelope` or `messageSignature`");
        }
        return dsse(envelope, &hint);
    }
    let message = json.need("messageSignature")?;
    let stated = message.need("messageDigest")?;
    let algorithm = stated.need("algorithm")?;
    if algorithm.text()? != "SHA2_256" {
        return Err(Fault::Inner(ReportError::NotKnown("a signature over a digest that is not of SHA-256".to_owned())));
    }
    let at = stated.need("digest")?;
    let digest = match base64(at)?.try_into() {
        Ok(digest) => Digest::from_bytes(digest),
        Err(_) => return at.broken("32 bytes"),
    };
    let bytes = base64(message.need("signature")?)?;
    Ok(Envelope::Message { digest, signature: Signature { key: hint, bytes } })
}

fn dsse<'t>(json: &'t Json, hint: &str) -> Read<'t, Envelope> {
    let list = json.need("signatures")?;
    if list.items()?.len() > SIGNATURES {
        return list.broken(format!("at most {SIGNATURES} signatures"));
    }
    let mut signatures = Vec::new();
    for one in list.items()? {
        let key = one.get_text("keyid")?.unwrap_or_else(|| hint.to_owned());
        signatures.push(Signature { key, bytes: base64(one.need("sig")?)? });
    }
    if signatures.is_empty() {
        return list.broken("at least one signature");
    }
    Ok(Envelope::Dsse {
        payload_type: json.need_text("payloadType")?,
        payload: base64(json.need("payload")?)?,
        signatures,
    })
}

/// Bytes in base64, of either alphabet, as DSSE has it.
fn base64(at: &Json) -> Read<'_, Vec<u8>> {
    let text = at.text()?;
    match STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)) {
        Ok(bytes) => Ok(bytes),
        Err(_) => at.broken("base64"),
    }
}
