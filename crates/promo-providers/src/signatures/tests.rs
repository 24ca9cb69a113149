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

fn key(pem: &str) -> Signer {
    PublicKey::of_pem(pem).expect("a key").into()
}

fn made() -> (Vec<Made>, BTreeSet<Signer>) {
    let made: Vec<Made> = serde_json::from_str(OPENSSL).expect("the signatures");
    let keys = made.iter().map(|made| key(&made.key)).collect();
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
        let key = super::tests::key(&one.key);
        assert_eq!(key.key().map(PublicKey::kind), Some(one.kind));
        assert_eq!(one.documents.len(), 3);
        for document in &one.documents {
            let found = signed(document.to_string().as_bytes(), &keys);
            assert_eq!(found, Signed { by: [key.clone()].into(), ..Signed::default() }, "{:?}: {document}", one.kind);
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
    let expected: BTreeSet<Signer> = made[..2].iter().map(|one| key(&one.key)).collect();
    assert_eq!(signed(both.to_string().as_bytes(), &keys).by, expected);
    // The id of another key, over a signature that holds for none of them.
    let mut wrong = envelope(0);
    wrong["signatures"][0]["sig"] = STANDARD.encode([0_u8; 70]).into();
    for (id, broken) in
        [("", 0), ("release key", 0), (&Digest::of(&keys.first().and_then(Signer::key).expect("a key").der()).hex(), 1)]
    {
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
    let key = super::tests::key(pem);
    let (_, mut keys) = made();
    keys.insert(key.clone());
    let found = signed(bundle.as_bytes(), &keys);
    assert_eq!(found, Signed { by: [key.clone()].into(), ..Signed::default() });
    let mut changed: Value = serde_json::from_str(bundle).expect("JSON");
    changed["messageSignature"]["messageDigest"]["digest"] = STANDARD.encode([7_u8; 32]).into();
    let found = signed(changed.to_string().as_bytes(), &keys);
    assert_eq!(found, Signed { broken: [key].into(), ..Signed::default() });
}

#[test]
fn what_is_no_envelope_carries_no_signature() {
    let (_, keys) = made();
    for text in ["", "{}", "[]", "<testsuites/>", r#"{"payloadType": "x", "payload": "", "signatures": []}"#] {
        assert_eq!(signed(text.as_bytes(), &keys), Signed::default(), "{text}");
    }
}

/// Private keys of each kind, as PEM writes them.
fn private() -> Vec<(KeyKind, String)> {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
    };
    let ecdsa = |kind| {
        let pair = EcdsaKeyPair::generate(kind).expect("a key");
        pair.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec()
    };
    let ed25519 = Ed25519KeyPair::generate().expect("a key");
    let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key").as_der().expect("PKCS#8");
    let all = [
        (KeyKind::P256, ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING)),
        (KeyKind::P384, ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING)),
        (KeyKind::Ed25519, ed25519.to_pkcs8v1().expect("PKCS#8").as_ref().to_vec()),
        (KeyKind::Rsa, rsa.as_ref().to_vec()),
    ];
    let pem =
        |der: Vec<u8>| format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    all.into_iter().map(|(kind, der)| (kind, pem(der))).collect()
}

#[test]
fn what_is_signed_with_a_key_of_each_kind_holds_for_its_public_key_alone() {
    use super::signing::SigningKey;
    let keys: Vec<SigningKey> = private()
        .iter()
        .map(|(kind, pem)| {
            let key = SigningKey::of_pem(pem).expect("a key");
            assert_eq!(key.public().kind(), *kind);
            key
        })
        .collect();
    let text = br#"{"_type":"https://in-toto.io/Statement/v1"}"#;
    for key in &keys {
        let bundle = key.bundle(text).expect("signed");
        let publics = keys.iter().map(|key| key.public().clone().into()).collect();
        let found = signed(&bundle, &publics);
        assert_eq!(found, Signed { by: [key.public().clone().into()].into(), ..Signed::default() });
        assert_eq!(statement(&bundle, key.public()).as_deref(), Some(&text[..]));
        let others = keys.iter().filter(|other| other.public() != key.public());
        assert!(others.map(|other| statement(&bundle, other.public())).all(|opened| opened.is_none()));
        // Whoever has the public key finds by the hint which one it is.
        let hint = STANDARD.encode(Digest::of(&key.public().der()).as_bytes());
        assert!(String::from_utf8(bundle).expect("JSON").contains(&hint));
    }
}

#[test]
fn what_is_no_private_key_is_refused_in_words_that_have_nothing_of_it() {
    use super::signing::SigningKey;
    let (_, good) = &private()[0];
    let body = good.lines().nth(1).expect("a body").to_owned();
    for (text, words) in [
        (String::new(), "expected one private key"),
        (good.replace("PRIVATE", "PUBLIC"), "expected one private key"),
        (good.replace("PRIVATE", "EC PRIVATE"), "expected one private key"),
        (good.replace("PRIVATE", "ENCRYPTED PRIVATE"), "is encrypted"),
        (good.replace(&body, "not base64!"), "there must be base64"),
        (good.replace(&body, &body[..40]), "expected a key of"),
        (format!("{good}{good}"), "there must be base64"),
    ] {
        let why = SigningKey::of_pem(&text).expect_err(words);
        assert!(why.contains(words) && !why.contains(&body[..12]), "{why}");
    }
    assert!(!format!("{:?}", SigningKey::of_pem(good)).contains(&body[..12]));
}

#[test]
fn what_was_signed_is_known_by_it_and_not_by_the_envelope() {
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1"}"#;
    let envelope = |payload: &str, kind: &str, signatures: &[&str]| {
        let signatures: Vec<Value> =
            signatures.iter().map(|key| serde_json::json!({ "keyid": key, "sig": STANDARD.encode(key) })).collect();
        serde_json::json!({ "payloadType": kind, "payload": payload, "signatures": signatures })
    };
    let (plain, url) = (STANDARD.encode(payload), base64::engine::general_purpose::URL_SAFE.encode(payload));
    let one = envelope(&plain, IN_TOTO, &["a"]);
    let known = stated(one.to_string().as_bytes());
    assert_eq!(known, Digest::of(&pre_authentication(IN_TOTO, payload)));
    let bundle = serde_json::json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "mine" } }, "dsseEnvelope": one,
    });
    for (case, same) in [
        ("other spaces", serde_json::to_string_pretty(&one).expect("JSON")),
        ("another id of a key", envelope(&plain, IN_TOTO, &["b"]).to_string()),
        ("a second signature", envelope(&plain, IN_TOTO, &["a", "b"]).to_string()),
        ("the other base64", envelope(&url, IN_TOTO, &["a"]).to_string()),
        ("a bundle", bundle.to_string()),
    ] {
        assert_eq!(stated(same.as_bytes()), known, "{case}");
    }
    let other = STANDARD.encode(br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#);
    assert_ne!(stated(envelope(&other, IN_TOTO, &["a"]).to_string().as_bytes()), known);
    assert_ne!(stated(envelope(&plain, "application/json", &["a"]).to_string().as_bytes()), known);
    // A document of its own is known by its bytes, and so is an envelope that cannot be opened.
    for own in ["{}", "{ }", r#"{"payloadType":"x","payload":"!"}"#] {
        assert_eq!(stated(own.as_bytes()), Digest::of(own.as_bytes()));
    }
}
