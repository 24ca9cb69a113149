//! Signatures that others made hold, each form of each kind of key, and what is changed by one bit does not.

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// Keys and signatures made by OpenSSL 3.0 (`genpkey`, `dgst -sign`, `pkeyutl -sign`): of each kind of key a signature as `cosign download
/// signature` writes it, an envelope and a bundle.
const OPENSSL: &str = include_str!("made-by-openssl.json");

#[derive(Deserialize)]
struct Made {
    kind: KeyKind,
    key: String,
    documents: Vec<Value>,
}

fn made() -> (Vec<Made>, BTreeSet<PublicKey>) {
    let made: Vec<Made> = serde_json::from_str(OPENSSL).expect("the signatures");
    let keys = made.iter().map(|made| PublicKey::of_pem(&made.key).expect("a key")).collect();
    (made, keys)
}

#[test]
fn what_is_signed_is_what_the_specification_has() {
    let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(pre_authentication("http://example.com/HelloWorld", b"hello world"), expected);
}

#[test]
fn signatures_of_openssl_hold_for_their_key_and_for_no_other() {
    let (made, keys) = made();
    assert_eq!((made.len(), keys.len()), (4, 4));
    for one in &made {
        let key = PublicKey::of_pem(&one.key).expect("a key");
        assert_eq!(key.kind(), one.kind);
        assert_eq!(one.documents.len(), 3);
        for document in &one.documents {
            let found = signed(document.to_string().as_bytes(), &keys);
            assert_eq!(
                found,
                Signed { by: [key.clone()].into(), broken: BTreeSet::new() },
                "{:?}: {document}",
                one.kind
            );
            let others = keys.iter().filter(|other| **other != key).cloned().collect();
            assert_eq!(signed(document.to_string().as_bytes(), &others), Signed::default(), "{:?}", one.kind);
        }
    }
}

#[test]
fn what_is_changed_in_one_bit_was_signed_by_nobody() {
    let (made, keys) = made();
    let flipped = |text: &str, at: usize| {
        let mut bytes = STANDARD.decode(text).expect("base64");
        bytes[at] ^= 1;
        STANDARD.encode(bytes)
    };
    let mut tried = 0;
    for document in made.iter().flat_map(|one| &one.documents) {
        for pointer in [
            "/Payload",
            "/Base64Signature",
            "/payload",
            "/signatures/0/sig",
            "/dsseEnvelope/payload",
            "/dsseEnvelope/signatures/0/sig",
        ] {
            let Some(text) = document.pointer(pointer).and_then(Value::as_str) else { continue };
            for at in (0..STANDARD.decode(text).expect("base64").len()).step_by(7) {
                let mut changed = document.clone();
                *changed.pointer_mut(pointer).expect("it is there") = flipped(text, at).into();
                assert_eq!(signed(changed.to_string().as_bytes(), &keys).by, BTreeSet::new(), "{pointer} {at}");
                tried += 1;
            }
        }
        if document.get("payloadType").is_some() {
            let mut changed = document.clone();
            changed["payloadType"] = "application/vnd.in-toto+jsoN".into();
            assert_eq!(signed(changed.to_string().as_bytes(), &keys).by, BTreeSet::new());
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn one_good_signature_among_others_is_enough_and_an_id_that_is_no_digest_says_nothing() {
    let (made, keys) = made();
    let envelope = |at: usize| made[at].documents[1].clone();
    let mut both = envelope(0);
    let other = envelope(1)["signatures"][0].clone();
    both["signatures"].as_array_mut().expect("a list").push(other);
    let expected: BTreeSet<PublicKey> =
        made[..2].iter().map(|one| PublicKey::of_pem(&one.key).expect("a key")).collect();
    assert_eq!(signed(both.to_string().as_bytes(), &keys).by, expected);
    // The id of another key, over a signature that holds for none of them.
    let mut wrong = envelope(0);
    wrong["signatures"][0]["sig"] = STANDARD.encode([0_u8; 70]).into();
    for (id, broken) in [("", 0), ("release key", 0), (&Digest::of(&keys.first().expect("a key").der()).hex(), 1)] {
        wrong["signatures"][0]["keyid"] = id.into();
        let found = signed(wrong.to_string().as_bytes(), &keys);
        assert_eq!((found.by.len(), found.broken.len()), (0, broken), "{id}");
    }
}

#[test]
fn a_bundle_of_a_key_that_others_made_holds_over_the_digest_alone() {
    // sigstore-conformance's bundle of a key that is kept by its owner.
    let bundle = include_str!("../reports/samples/envelope/managed-key.json");
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExRRST79+PsrRBnGAI4cMu6Omz2Jh\n\
               fwlMW+gIutNKVRaMyS4rQKvgngc5p8UbLj55pVHhIoAxi/SRgURZI0J3Xw==\n-----END PUBLIC KEY-----\n";
    let key = PublicKey::of_pem(pem).expect("a key");
    let (_, mut keys) = made();
    keys.insert(key.clone());
    let found = signed(bundle.as_bytes(), &keys);
    assert_eq!(found, Signed { by: [key.clone()].into(), broken: BTreeSet::new() });
    let mut changed: Value = serde_json::from_str(bundle).expect("JSON");
    changed["messageSignature"]["messageDigest"]["digest"] = STANDARD.encode([7_u8; 32]).into();
    let found = signed(changed.to_string().as_bytes(), &keys);
    assert_eq!(found, Signed { by: BTreeSet::new(), broken: [key].into() });
}

#[test]
fn what_is_no_envelope_carries_no_signature() {
    let (_, keys) = made();
    for text in ["", "{}", "[]", "<testsuites/>", r#"{"payloadType": "x", "payload": "", "signatures": []}"#] {
        assert_eq!(signed(text.as_bytes(), &keys), Signed::default(), "{text}");
    }
}
