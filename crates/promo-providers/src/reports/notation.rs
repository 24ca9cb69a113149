//! Signatures of notation (Notary Project, "JWS signature envelope"): of what they speak. What must not live here: whether one holds, which
//! nobody here can tell; that is said of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use promo_core::evidence::{About, Form, Kind, Link, Report};

use super::json::{self, Fault, Json, Read};
use super::text;

/// What is in the envelope, as its protected header says.
const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";

pub(super) fn is(json: &Json) -> bool {
    let header = || {
        let bytes = URL_SAFE_NO_PAD.decode(json.peek_text("protected")?).ok()?;
        json::parse(text(&bytes).ok()?).ok()
    };
    json.peek_text("payload").is_some()
        && json.peek_text("signature").is_some()
        && header().is_some_and(|header| header.peek_text("cty") == Some(PAYLOAD))
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let at = json.need("payload")?;
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(at.text()?) else {
        return at.broken("base64 of the alphabet for addresses");
    };
    let payload = text(&bytes).and_then(json::parse).map_err(Fault::Inner)?;
    let about = about(&payload).map_err(|fault| Fault::Inner(payload.error("what was signed", fault)))?;
    Ok(Report::new(about))
}

fn about(payload: &Json) -> Read<'_, About> {
    let at = payload.need("targetArtifact")?.need("digest")?;
    let Some(digest) = at.digest_in(at.text()?)? else { return at.broken("a digest of SHA-256") };
    let mut about = About { form: Some(Form::Notation), ..About::new(Kind::Signature) };
    about.bind(Link::Subject, digest);
    Ok(about)
}

#[cfg(test)]
mod tests {
    use promo_core::Digest;
    use promo_core::evidence::Binding;
    use serde_json::{Value, json};

    use super::super::{ReportError, read};
    use super::*;

    fn signature(header: &Value, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        json!({ "protected": part(&header.to_string()), "payload": part(payload), "header": {}, "signature": "AAAA" })
            .to_string()
    }

    #[test]
    fn a_signature_of_notation_names_its_artifact_and_its_form() {
        let digest = Digest::of(b"an image");
        let target = |digest: &str| json!({ "targetArtifact": { "digest": digest, "size": 1 } }).to_string();
        let header = json!({ "alg": "PS384", "cty": PAYLOAD });
        let read = |header: &Value, payload: &str| read(signature(header, payload).as_bytes());
        let about = read(&header, &target(&digest.to_string())).unwrap().about;
        assert_eq!((about.kind, about.form), (Kind::Signature, Some(Form::Notation)));
        assert_eq!(about.bound, [Binding { link: Link::Subject, digest }]);
        for broken in ["{}", "no JSON", &target("1"), &target("sha512:00")] {
            let error = read(&header, broken).unwrap_err();
            assert!(!matches!(error, ReportError::NotKnown(what) if what.contains("no such format")), "{broken}");
        }
        // JWS of somebody else is no document of promo's.
        let other = read(&json!({ "alg": "PS384", "typ": "JWT" }), &target(&digest.to_string())).unwrap_err();
        assert!(matches!(other, ReportError::NotKnown(_)), "{other:?}");
    }
}
