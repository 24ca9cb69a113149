use std::collections::BTreeSet;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use promo_core::Digest;
use promo_core::approval::{ApprovalProblem, Decision, LedgerRef, Move, Nonce, PolicyRef, StatementKind};
use promo_core::canonical;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::super::{SigningKey, allowed_signers};
use super::*;

fn key(fill: u8) -> SigningKey {
    SigningKey::from_seed(&[fill; 32], "test").unwrap()
}

fn statement(key: &PublicKey) -> Statement {
    Statement {
        kind: StatementKind::V1,
        decision: Decision::Approve,
        ledger: LedgerRef { origin: "promo/shop".into(), checkpoint_size: 7, checkpoint_root: Digest::of(b"root") },
        plan: Digest::of(b"plan"),
        pipeline: "shop".parse().unwrap(),
        environments: vec![Move {
            environment: "production".parse().unwrap(),
            from: Some("r-000000000001".parse().unwrap()),
            to: "r-000000000002".parse().unwrap(),
        }],
        policy: Some(PolicyRef { name: "company".into(), version: 3, digest: Digest::of(b"policy") }),
        role: "lead".parse().unwrap(),
        not_before: "2026-03-02T09:00:00Z".parse().unwrap(),
        expires: "2026-03-03T09:00:00Z".parse().unwrap(),
        nonce: Nonce::from_bytes([1; 16]),
        key: key.fingerprint().clone(),
        breakglass: None,
    }
}

fn roster(keys: &[(&str, &PublicKey)]) -> Roster {
    let roles: BTreeSet<_> = ["lead".parse().unwrap()].into();
    let identities = keys.iter().map(|(name, key)| Identity {
        name: name.parse().unwrap(),
        roles: roles.clone(),
        keys: vec![(*key).clone()],
        human: true,
        emails: vec![],
    });
    Roster::new(identities, &roles).unwrap()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn armor(blob: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(blob);
    let lines: Vec<&str> = body.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// The fields of a signature as `PROTOCOL.sshsig` lays them out, so that tests can write what no tool does.
#[derive(Clone)]
struct Raw {
    version: u32,
    key: Vec<u8>,
    namespace: &'static str,
    reserved: Vec<u8>,
    hash: &'static str,
    signature: Vec<u8>,
}

impl Raw {
    fn blob(&self) -> Vec<u8> {
        let mut out = b"SSHSIG".to_vec();
        out.extend(self.version.to_be_bytes());
        out.extend(string(&self.key));
        out.extend(string(self.namespace.as_bytes()));
        out.extend(string(&self.reserved));
        out.extend(string(self.hash.as_bytes()));
        out.extend(string(&self.signature));
        out
    }

    /// What the key signs.
    fn signed_data(&self, message: &[u8]) -> Vec<u8> {
        assert_eq!(self.hash, "sha256");
        let mut out = b"SSHSIG".to_vec();
        for field in [self.namespace.as_bytes(), &self.reserved, self.hash.as_bytes(), Digest::of(message).as_bytes()] {
            out.extend(string(field));
        }
        out
    }

    fn check(&self, message: &[u8]) -> Result<Fingerprint, SignatureError> {
        signed_by(message, &armor(&self.blob()), NAMESPACE)
    }
}

/// A raw Ed25519 signature, made without the code under test.
fn raw(message: &[u8]) -> (Raw, Ed25519KeyPair) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let key = [string(b"ssh-ed25519"), string(pair.public_key().as_ref())].concat();
    let mut raw = Raw { version: 1, key, namespace: NAMESPACE, reserved: vec![], hash: "sha256", signature: vec![] };
    let made = pair.sign(&raw.signed_data(message));
    raw.signature = [string(b"ssh-ed25519"), string(made.as_ref())].concat();
    (raw, pair)
}

#[test]
fn a_signed_statement_becomes_a_fact_about_the_rosters_identity() {
    let key = key(1);
    let envelope = key.sign(&statement(key.public_key())).unwrap();
    let read = Envelope::from_bytes(&envelope.to_bytes()).unwrap();
    let fact = verify(&read, &roster(&[("ana", key.public_key())])).unwrap();
    assert_eq!((fact.identity().as_str(), fact.human()), ("ana", true));
    assert_eq!(fact.statement(), &statement(key.public_key()));
    assert_eq!(fact.roles().iter().map(promo_core::ids::RoleName::as_str).collect::<Vec<_>>(), ["lead"]);
}

#[test]
fn a_signature_counts_only_for_its_namespace_s6_2() {
    let key = key(1);
    let text = statement(key.public_key()).to_bytes().unwrap();
    let signature = key.sign_bytes(&text, "git").unwrap();
    assert_eq!(signed_by(&text, &signature, "git").as_ref(), Ok(key.public_key().fingerprint()));
    assert_eq!(
        signed_by(&text, &signature, NAMESPACE),
        Err(SignatureError::Namespace { expected: NAMESPACE.into(), found: "git".into() })
    );
}

#[test]
fn a_signature_cut_at_any_byte_is_refused_as_cut_off() {
    let key = key(1);
    let signature = key.sign_bytes(b"text", NAMESPACE).unwrap();
    let whole = signature.trim_end().len();
    for length in 0..whole {
        assert_eq!(signed_by(b"text", &signature[..length], NAMESPACE), Err(SignatureError::Truncated), "{length}");
    }
    assert!(signed_by(b"text", &signature[..whole], NAMESPACE).is_ok(), "only the last line feed may go");
    let blob = raw(b"text").0.blob();
    for length in 0..blob.len() {
        let cut = signed_by(b"text", &armor(&blob[..length]), NAMESPACE);
        assert_eq!(cut, Err(SignatureError::Truncated), "{length}");
    }
    assert!(signed_by(b"text", &armor(&blob), NAMESPACE).is_ok());
}

#[test]
fn a_signature_with_any_byte_changed_is_refused() {
    let blob = raw(b"text").0.blob();
    for (at, bit) in (0..blob.len()).flat_map(|at| [(at, 0x01), (at, 0x80)]) {
        let mut changed = blob.clone();
        changed[at] ^= bit;
        assert!(signed_by(b"text", &armor(&changed), NAMESPACE).is_err(), "bit {bit:#x} of byte {at}");
    }
}

#[test]
fn something_before_or_after_a_signature_is_refused() {
    let mut blob = raw(b"text").0.blob();
    let good = armor(&blob);
    assert!(signed_by(b"text", &good.replace('\n', "\r\n"), NAMESPACE).is_ok());
    assert!(signed_by(b"text", &format!("{good}{good}"), NAMESPACE).is_err());
    assert_eq!(
        signed_by(b"text", &good.replace("SSH SIGNATURE", "PGP SIGNATURE"), NAMESPACE),
        Err(SignatureError::Armor)
    );
    blob.push(0);
    assert!(matches!(signed_by(b"text", &armor(&blob), NAMESPACE), Err(SignatureError::Malformed(_))));
    assert_eq!(signed_by(b"text", &"-".repeat(20_000), NAMESPACE), Err(SignatureError::TooLarge(20_000)));
}

/// Every value in a document that is no container, by its path.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{path}/{key}"), out)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| leaves(value, &format!("{path}/{i}"), out));
        }
        _ => out.push(path.into()),
    }
}

#[test]
fn a_statement_with_any_field_changed_is_refused_s6_1() {
    let key = key(1);
    let roster = roster(&[("ana", key.public_key())]);
    let signed = key.sign(&statement(key.public_key())).unwrap();
    let value: Value = serde_json::from_str(&signed.statement).unwrap();
    let mut paths = Vec::new();
    leaves(&value, "", &mut paths);
    assert_eq!(paths.len(), 18, "every field of S6.1: {paths:?}");
    for path in paths {
        let mut changed = value.clone();
        let leaf = changed.pointer_mut(&path).unwrap();
        *leaf = match &*leaf {
            Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            Value::String(text) => {
                let last = if text.ends_with('0') { '1' } else { '0' };
                format!("{}{last}", &text[..text.len() - 1]).into()
            }
            other => panic!("{path}: {other}"),
        };
        let text = String::from_utf8(canonical::to_vec(&changed).unwrap()).unwrap();
        let envelope = Envelope::new(text, signed.signature.clone());
        assert_eq!(verify(&envelope, &roster), Err(SignatureError::BadSignature), "{path}");
    }
    assert!(verify(&signed, &roster).is_ok());
}

#[test]
fn the_signer_must_be_in_the_roster_and_named_in_the_statement_s6_3() {
    let (ana, bo) = (key(1), key(2));
    let signed = ana.sign(&statement(ana.public_key())).unwrap();
    let unknown = SignatureError::UnknownKey(ana.public_key().fingerprint().clone());
    assert_eq!(verify(&signed, &roster(&[("bo", bo.public_key())])), Err(unknown));
    // ana signs a statement that says it was bo: the signature is good, the statement is not.
    let text = String::from_utf8(statement(bo.public_key()).to_bytes().unwrap()).unwrap();
    let forged = Envelope::new(text.clone(), ana.sign_bytes(text.as_bytes(), NAMESPACE).unwrap());
    let both = roster(&[("ana", ana.public_key()), ("bo", bo.public_key())]);
    assert!(matches!(verify(&forged, &both), Err(SignatureError::Approval(ApprovalProblem::OtherKey { .. }))));
    assert!(matches!(
        ana.sign(&statement(bo.public_key())),
        Err(SignatureError::Approval(ApprovalProblem::OtherKey { .. }))
    ));
}

#[test]
fn signed_bytes_that_are_no_statement_are_refused() {
    let key = key(1);
    let roster = roster(&[("ana", key.public_key())]);
    let good = String::from_utf8(statement(key.public_key()).to_bytes().unwrap()).unwrap();
    for text in [format!("{good}\n"), good.replace("\":", "\": "), "{}".into()] {
        let envelope = Envelope::new(text.clone(), key.sign_bytes(text.as_bytes(), NAMESPACE).unwrap());
        assert!(matches!(verify(&envelope, &roster), Err(SignatureError::Statement(_))), "{text}");
    }
}

#[test]
fn what_is_not_accepted_is_named() {
    let (good, _) = raw(b"text");
    assert!(good.check(b"text").is_ok());
    let named = |raw: Raw| raw.check(b"text").unwrap_err();
    assert_eq!(named(Raw { version: 2, ..good.clone() }), SignatureError::Version(2));
    assert_eq!(named(Raw { version: 0, ..good.clone() }), SignatureError::Version(0));
    assert_eq!(named(Raw { hash: "sha1", ..good.clone() }), SignatureError::HashAlgorithm("sha1".into()));
    assert_eq!(named(Raw { hash: "sha512", ..good.clone() }), SignatureError::BadSignature);
    assert_eq!(named(Raw { reserved: b"x".to_vec(), ..good.clone() }), SignatureError::Reserved);
    let dsa = [string(b"ssh-dss"), string(&[1]), string(&[1]), string(&[1]), string(&[1])].concat();
    assert_eq!(named(Raw { key: dsa, ..good.clone() }), SignatureError::UnsupportedAlgorithm("ssh-dss".into()));
    let modulus = |bytes: usize| [vec![0], vec![0xff; bytes]].concat();
    let rsa = |bytes| [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&modulus(bytes))].concat();
    let sha1 = Raw { key: rsa(384), signature: [string(b"ssh-rsa"), string(&[1; 384])].concat(), ..good.clone() };
    assert_eq!(named(sha1), SignatureError::UnsupportedAlgorithm("ssh-rsa".into()));
    for (bytes, bits) in [(256, 2048), (383, 3064), (1025, 8200)] {
        let signature = [string(b"rsa-sha2-512"), string(&vec![1; bytes])].concat();
        assert_eq!(named(Raw { key: rsa(bytes), signature, ..good.clone() }), SignatureError::RsaSize { bits });
    }
    let three = Raw { key: rsa(384), signature: [string(b"rsa-sha2-256"), string(&[1; 384])].concat(), ..good.clone() };
    assert_eq!(named(three), SignatureError::BadSignature);
    let crossed = Raw { key: rsa(384), ..good.clone() };
    assert_eq!(
        named(crossed),
        SignatureError::AlgorithmMismatch { key: "ssh-rsa".into(), signature: "ssh-ed25519".into() }
    );
}

#[test]
fn a_security_key_counts_only_when_it_was_touched_s6_2() {
    let message = b"text";
    let application = "ssh:";
    let sk_data = |raw: &Raw, flags: u8| {
        let inner = raw.signed_data(message);
        [Digest::of(application.as_bytes()).as_bytes(), &[flags, 0, 0, 0, 9][..], Digest::of(&inner).as_bytes()]
            .concat()
    };
    let mpint = |bytes: &[u8]| {
        let start = bytes.iter().position(|&b| b != 0).unwrap();
        let sign = if bytes[start] & 0x80 == 0 { vec![] } else { vec![0] };
        string(&[sign, bytes[start..].to_vec()].concat())
    };
    let (mut ed, pair) = raw(message);
    let name = KeyAlgorithm::SkEd25519.as_str().as_bytes();
    ed.key = [string(name), string(pair.public_key().as_ref()), string(application.as_bytes())].concat();
    let ec_pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ec_name = KeyAlgorithm::SkEcdsaP256.as_str().as_bytes();
    let point = ec_pair.public_key().as_ref();
    let mut ec = ed.clone();
    ec.key = [string(ec_name), string(b"nistp256"), string(point), string(application.as_bytes())].concat();
    for flags in [0x01, 0x05, 0x00, 0x04] {
        let trailer = [flags, 0, 0, 0, 9];
        ed.signature = [string(name), string(pair.sign(&sk_data(&ed, flags)).as_ref()), trailer.to_vec()].concat();
        let made = ec_pair.sign(&SystemRandom::new(), &sk_data(&ec, flags)).unwrap();
        let (r, s) = made.as_ref().split_at(32);
        ec.signature = [string(ec_name), string(&[mpint(r), mpint(s)].concat()), trailer.to_vec()].concat();
        for signed in [&ed, &ec] {
            let touched = flags & 1 == 1;
            let expected =
                if touched { Ok(Fingerprint::of_blob(&signed.key)) } else { Err(SignatureError::UserPresence) };
            assert_eq!(signed.check(message), expected, "flags {flags}");
            if touched {
                assert_eq!(signed.check(b"other"), Err(SignatureError::BadSignature));
            }
        }
        // The flags are under the signature: a touch cannot be claimed afterwards.
        let mut claimed = ed.clone();
        let at = claimed.signature.len() - 5;
        claimed.signature[at] ^= 0x05;
        assert!(claimed.check(message).is_err());
    }
}

#[test]
fn weak_keys_in_the_roster_are_found_when_policy_is_read() {
    let rsa = |bytes: usize| {
        let blob = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&[vec![0], vec![0xff; bytes]].concat())].concat();
        let text = format!("ssh-rsa {}", base64::engine::general_purpose::STANDARD.encode(blob));
        text.parse::<PublicKey>().unwrap()
    };
    let (weak, strong, ana) = (rsa(256), rsa(384), key(1));
    let roster = roster(&[("ana", ana.public_key()), ("bo", &weak), ("cy", &strong)]);
    let wrong = check_roster(&roster);
    assert_eq!(wrong, [("bo".parse().unwrap(), weak.fingerprint().clone(), SignatureError::RsaSize { bits: 2048 })]);
}

#[test]
fn a_new_key_survives_its_file_and_shows_nothing_secret() {
    let key = SigningKey::generate("quickstart").unwrap();
    let text = key.to_openssh().unwrap();
    let again = SigningKey::from_openssh(&text).unwrap();
    assert_eq!(again.public_key(), key.public_key());
    assert_ne!(SigningKey::generate("quickstart").unwrap().public_key(), key.public_key());
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public_key().fingerprint()));
    assert!(!format!("{key:?}").contains(text.expose_secret().lines().nth(2).unwrap()));
    assert_eq!(fingerprint(&key.public_key().to_string()).unwrap(), *key.public_key().fingerprint());
}

#[test]
fn the_roster_renders_as_allowed_signers() {
    let (ana, bo) = (key(1), key(2));
    let text = allowed_signers(&roster(&[("bo", bo.public_key()), ("ana", ana.public_key())]));
    assert_eq!(
        text,
        format!(
            "ana namespaces=\"promo.approval.v1\" {}\nbo namespaces=\"promo.approval.v1\" {}\n",
            ana.public_key(),
            bo.public_key()
        )
    );
}
