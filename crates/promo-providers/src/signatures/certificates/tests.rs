//! Bundles that were made with the public instance of Sigstore hold for who made them, and for nobody else; what is changed in them does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use promo_core::requirement::{BoundKey, Term};
use serde_json::{Value, json};

use super::super::signed;
use super::*;

/// The trusted root of the public instance and an attestation of GitHub Actions: sigstore-trust-root and sigstore-verify 0.15.1 on crates.io
/// (Apache-2.0).
const ROOT: &str = include_str!("../sigstore/trusted-root.json");
const ATTESTATION: &str = include_str!("../sigstore/github-attestation.json");
/// As `SOURCES.md` tells.
const WHEEL: &str = include_str!("../../reports/samples/envelope/wheel.json");
const PROVENANCE: &str = include_str!("../../reports/samples/envelope/npm-provenance.json");
const MANAGED: &str = include_str!("../../reports/samples/envelope/managed-key.json");

const ACTIONS: &str = "https://token.actions.githubusercontent.com";
const WORKFLOW: &str = "https://github.com/prefix-dev/sigstore-example/.github/workflows/action.yaml@refs/heads/main";
const RELEASE: &str = "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2";

fn of(identity: &str, issuer: &str, root: &str) -> Signer {
    Signer::Identity(Identity { identity: identity.into(), issuer: issuer.into(), trusted_root: root.into() })
}

fn by(bundle: &str, signer: &Signer) -> Signed {
    signed(bundle.as_bytes(), &[signer.clone()].into())
}

fn holds(bundle: &str, signer: &Signer) {
    let found = by(bundle, signer);
    assert_eq!((&found.by, found.broken.len(), found.strangers.len()), (&[signer.clone()].into(), 0, 0), "{signer:?}");
    let named: Vec<&String> = found.named[signer].iter().collect();
    assert!(
        matches!(named[..], [name] if signer.identity().is_some_and(|asked| asked.is(name, &asked.issuer))),
        "{named:?}"
    );
}

fn changed(bundle: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(bundle).expect("JSON");
    let before = value.clone();
    change(&mut value);
    assert_ne!(value, before);
    value.to_string()
}

#[test]
fn an_identity_has_signed_what_its_certificate_and_the_log_say() {
    for (bundle, identity) in [
        (ATTESTATION, WORKFLOW),
        (ATTESTATION, "https://github.com/prefix-dev/*/.github/workflows/*@refs/heads/main"),
        (WHEEL, RELEASE),
        (WHEEL, "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/*"),
        (PROVENANCE, "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"),
    ] {
        holds(bundle, &of(identity, ACTIONS, ROOT));
    }
}

#[test]
fn nobody_else_has_signed_it_and_nothing_is_broken_about_that_but_it_is_told_who_has() {
    let stranger = Signed { strangers: [(WORKFLOW.to_owned(), ACTIONS.to_owned())].into(), ..Signed::default() };
    for (identity, issuer) in [
        ("https://github.com/prefix-dev/sigstore-example/.github/workflows/other.yaml@refs/heads/main", ACTIONS),
        (&WORKFLOW[..WORKFLOW.len() - 1], ACTIONS),
        (WORKFLOW, "https://token.actions.githubusercontent.com/"),
        (WORKFLOW, "https://accounts.google.com"),
        (RELEASE, ACTIONS),
    ] {
        assert_eq!(by(ATTESTATION, &of(identity, issuer, ROOT)), stranger, "{identity} {issuer}");
        // By another root nobody knows who that is.
        assert_eq!(by(ATTESTATION, &of(identity, issuer, "{}")), Signed::default(), "{identity} {issuer}");
    }
    // A bundle of a key has no certificate, and what is no bundle has neither.
    for other in [MANAGED, "{}", r#"{"payloadType": "x", "payload": "", "signatures": []}"#] {
        assert_eq!(by(other, &of("*", ACTIONS, ROOT)), Signed::default(), "{other}");
    }
}

#[test]
fn what_is_changed_holds_for_nobody_and_is_told_of_whom_it_says_it_is() {
    let signer = of(WORKFLOW, ACTIONS, ROOT);
    let broken = Signed { broken: [signer.clone()].into(), ..Signed::default() };
    let entry = |value: &mut Value, pointer: &str, to: Value| {
        *value.pointer_mut(pointer).expect(pointer) = to;
    };
    let other: Value = serde_json::from_str(PROVENANCE).expect("JSON");
    for (pointer, to) in [
        // What was signed, and the signature.
        ("/dsseEnvelope/payload", "e30=".into()),
        ("/dsseEnvelope/signatures/0/sig", other.pointer("/dsseEnvelope/signatures/0/sig").expect("one").clone()),
        // No log has it, or something else is in the log.
        ("/verificationMaterial/tlogEntries", json!([])),
        ("/verificationMaterial/tlogEntries/0/inclusionProof/rootHash", "AAAA".into()),
        ("/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope", "x\n1\nAAAA\n\n— x AAAA\n".into()),
        (
            "/verificationMaterial/tlogEntries/0",
            other.pointer("/verificationMaterial/tlogEntries/0").expect("one").clone(),
        ),
        // At another time.
        ("/verificationMaterial/tlogEntries/0/integratedTime", "1".into()),
    ] {
        let bundle = changed(ATTESTATION, |value| entry(value, pointer, to));
        // Whoever cannot open it cannot say whose it would be either.
        let found = by(&bundle, &signer);
        assert!(found == broken || found == Signed::default(), "{pointer}: {found:?}");
        assert_eq!(found.by, BTreeSet::new(), "{pointer}");
    }
    let taken = changed(ATTESTATION, |value| {
        let payload = json!({ "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://example.test/x",
            "subject": [{ "digest": { "sha256": "0".repeat(64) } }], "predicate": {} });
        value["dsseEnvelope"]["payload"] = base64::Engine::encode(&super::super::STANDARD, payload.to_string()).into();
    });
    assert_eq!(by(&taken, &signer), broken);
}

#[test]
fn the_root_that_a_file_names_is_the_only_one_that_is_believed() {
    let without = |list: &str| {
        let signer = of(WORKFLOW, ACTIONS, &changed(ROOT, |root| root[list] = json!([])));
        let found = by(ATTESTATION, &signer);
        assert_eq!(found, Signed { broken: [signer].into(), ..Signed::default() }, "{list}");
    };
    without("certificateAuthorities");
    // A root without logs asks for none, and then nothing says when it was signed but its authorities of time.
    let only = |keep: &[&str]| {
        changed(ROOT, |root| {
            for list in ["tlogs", "ctlogs", "timestampAuthorities"] {
                if !keep.contains(&list) {
                    root[list] = json!([]);
                }
            }
        })
    };
    let signer = of(WORKFLOW, ACTIONS, &only(&[]));
    assert_eq!(by(ATTESTATION, &signer).by, BTreeSet::new());
    holds(ATTESTATION, &of(WORKFLOW, ACTIONS, &only(&["tlogs"])));
    // Of two roots each is asked by itself.
    let (good, bad) = (of(WORKFLOW, ACTIONS, ROOT), of(WORKFLOW, ACTIONS, "{}"));
    let found = signed(ATTESTATION.as_bytes(), &[good.clone(), bad.clone()].into());
    assert_eq!((found.by, found.broken), ([good].into(), [bad].into()));
}

#[test]
fn a_root_that_cannot_be_used_is_told() {
    assert_eq!(trusted_root(ROOT), Ok(()));
    for (root, says) in [
        ("{}".to_owned(), "mediaType"),
        (changed(ROOT, |root| root["certificateAuthorities"] = json!([])), "no authority of certificates"),
        (changed(ROOT, |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into()), ""),
        (changed(ROOT, |root| root["certificateAuthorities"][0]["certChain"]["certificates"] = json!([])), ""),
    ] {
        let why = trusted_root(&root).expect_err(says);
        assert!(why.contains(says) && !why.is_empty(), "{why}");
    }
}

/// The key of sigstore-conformance's bundle, and that bundle, which the log of the public instance has.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExRRST79+PsrRBnGAI4cMu6Omz2Jh\n\
                   fwlMW+gIutNKVRaMyS4rQKvgngc5p8UbLj55pVHhIoAxi/SRgURZI0J3Xw==\n-----END PUBLIC KEY-----\n";

fn borne_out_by(root: &str) -> Signer {
    let key = PublicKey::of_pem(KEY).expect("a key");
    BoundKey { key, term: Term::default(), trusted_root: Some(root.into()) }.into()
}

#[test]
fn r5_3_a_key_that_a_log_must_bear_out_counts_with_the_entry_alone_and_says_when_it_signed() {
    let own = borne_out_by(ROOT);
    let found = by(MANAGED, &own);
    assert_eq!((&found.by, found.broken.len(), found.unproven.len()), (&[own.clone()].into(), 0, 0), "{found:?}");
    let seen: Vec<_> = found.times.values().flatten().collect();
    assert_eq!(seen.len(), 1, "the log says when: {seen:?}");

    let logs = "/verificationMaterial/tlogEntries";
    let flip = |text: &Value| {
        let mut bytes = STANDARD.decode(text.as_str().expect("base64")).expect("base64");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Value::from(STANDARD.encode(bytes))
    };
    let entry = |field: &str| format!("{logs}/0/{field}");
    let flipped = |field: &str| {
        changed(MANAGED, |bundle| {
            let place = bundle.pointer_mut(&entry(field)).unwrap_or_else(|| panic!("{field}"));
            *place = flip(place);
        })
    };
    let root_without = |field: &str| changed(ROOT, |root| root[field] = json!([]));
    let unstamped = changed(MANAGED, |bundle| {
        let material = bundle["verificationMaterial"].as_object_mut().expect("it is there");
        material.remove("timestampVerificationData").expect("it has a time stamp");
    });
    // A root without logs goes by the time stamp.
    let stamped = borne_out_by(&root_without("tlogs"));
    assert_eq!(by(MANAGED, &stamped).by, [stamped].into());
    for (case, bundle, root) in [
        ("no entry", changed(MANAGED, |bundle| *bundle.pointer_mut(logs).expect("it is there") = json!([])), ROOT),
        ("another entry", flipped("canonicalizedBody"), ROOT),
        ("another proof", flipped("inclusionProof/rootHash"), ROOT),
        ("a root without logs, and no time stamp", unstamped, &root_without("tlogs")),
    ] {
        let signer = borne_out_by(root);
        let found = by(&bundle, &signer);
        assert_eq!((found.by.len(), &found.unproven), (0, &[signer].into()), "{case}: {found:?}");
        // The key by itself has signed it all the same: only who asks for more is not content.
        let key: Signer = PublicKey::of_pem(KEY).expect("a key").into();
        assert_eq!(by(&bundle, &key).by, [key].into(), "{case}");
    }
    assert!(witnesses(ROOT).is_ok());
    let none = changed(&root_without("tlogs"), |root| root["timestampAuthorities"] = json!([]));
    assert!(witnesses(&none).unwrap_err().contains("no log and no authority of time stamps"));
}
