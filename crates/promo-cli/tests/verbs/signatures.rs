//! Signatures and provenance beside an image, from its registry into the ledger and to the gate that asks for them.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use promo_core::Digest;
use promo_providers::oci::{Location, Network, OCI_INDEX, OCI_MANIFEST, OciError, RawManifest, Store};
use serde_json::{Value, json};

use crate::fixture::{World, next, said};

const COMMIT: &str = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Somebody who signs.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &body[..64], &body[64..])
    }

    fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), bytes).unwrap())
    }

    /// An envelope around a statement.
    fn attest(&self, statement: &Value) -> String {
        let payload = statement.to_string();
        let signed = format!("DSSEv1 {} {STATEMENT} {} {payload}", STATEMENT.len(), payload.len());
        let signature = json!({ "keyid": "", "sig": self.sign(signed.as_bytes()) });
        json!({ "payloadType": STATEMENT, "payload": STANDARD.encode(payload), "signatures": [signature] }).to_string()
    }
}

/// What cosign signs of an image.
fn simple(digest: &str) -> String {
    let critical = json!({
        "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": digest },
        "type": "cosign container image signature",
    });
    json!({ "critical": critical, "optional": null }).to_string()
}

fn provenance(digest: &str, builder: &str) -> Value {
    let source = json!({ "uri": "git+https://git.test/shop@refs/heads/main", "digest": { "gitCommit": COMMIT } });
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": digest.strip_prefix("sha256:").unwrap() } }],
        "predicate": {
            "buildDefinition": { "buildType": "https://ci.test/build", "resolvedDependencies": [source] },
            "runDetails": { "builder": { "id": builder } },
        },
    })
}

/// A world whose staging asks for a signature and for provenance, and a release of which nothing is known.
struct Asked {
    world: World,
    digest: String,
    runtime: tokio::runtime::Runtime,
}

impl Asked {
    fn of(release: &Signer, ci: &Signer) -> Self {
        let world = World::new();
        let gates = format!(
            "\n[signers.release]\nkey = \"\"\"\n{}\"\"\"\n[signers.ci]\nkey = \"\"\"\n{}\"\"\"\n[gates]\nsigned = {{ signature = {{ by = [\"release\"] }} }}\n\
             built = {{ provenance = {{ by = [\"ci\"], builders = [\"https://ci.test/*\"], sources = [\"https://git.test/shop\"] }} }}\n\n\
             [environments.staging]\ngates = [\"signed\", \"built\"]\n",
            release.pem(),
            ci.pem()
        );
        world.edit("promo.toml", "\n[environments.staging]\n", &gates);
        // A release more of the same image.
        world.write("config/common.env", "NEEDS_WORKERS=3\n");
        let revision = format!("org.opencontainers.image.revision={COMMIT}");
        let added = world.run(0, &["release", "add", "shop=1.1.0", "--alias", "1.2.0", "--meta", &revision]);
        let digest = added["artifacts"]["shop"].as_str().or(added["sources"]["shop"].as_str()).unwrap_or_default();
        let digest = digest.rsplit_once('@').map_or(digest, |(_, digest)| digest).to_owned();
        assert!(digest.starts_with("sha256:"), "{added}");
        world.run(0, &["advance"]);
        Self { world, digest, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    fn store(&self) -> Store {
        let cx = promo_sdk::testing::context(&self.world.at);
        Store::open(&Location::Layout { path: "registry/shop".into() }, &self.world.at, &Network::of(&cx).unwrap())
            .unwrap()
    }

    /// Puts a manifest with one layer, under this tag where there is one.
    fn put(&self, tag: Option<&str>, media_type: &str, text: &str, annotations: &Value, subject: bool) -> RawManifest {
        let store = self.store();
        let blob = async |bytes: &[u8]| {
            let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
            let part = Ok::<_, OciError>(bytes.to_vec().into());
            store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([part]))).await.unwrap();
            json!({ "digest": digest.to_string(), "mediaType": "application/vnd.oci.empty.v1+json", "size": size })
        };
        self.runtime.block_on(async {
            let config = blob(b"{}").await;
            let mut layer = blob(text.as_bytes()).await;
            (layer["mediaType"], layer["annotations"]) = (media_type.into(), annotations.clone());
            let mut manifest = json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": media_type, "config": config, "layers": [layer],
            });
            if subject {
                manifest["subject"] = json!({ "digest": self.digest, "mediaType": OCI_INDEX, "size": 1 });
            }
            let bytes = manifest.to_string().into_bytes();
            let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.into(), bytes };
            store.put_manifest(&raw).await.unwrap();
            if let Some(tag) = tag {
                store.put_tag(tag, &raw, None).await.unwrap();
            }
            raw
        })
    }

    /// Makes these refer to the image, as a client does where there is no API for it.
    fn refer(&self, referrers: &[&RawManifest]) {
        let one = |r: &&RawManifest| json!({ "digest": r.digest.to_string(), "mediaType": r.media_type, "size": r.bytes.len() });
        let list: Vec<Value> = referrers.iter().map(one).collect();
        let bytes = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list }).to_string().into_bytes();
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
        let (store, tag) = (self.store(), self.digest.replace(':', "-"));
        self.runtime.block_on(async {
            store.put_manifest(&raw).await.unwrap();
            let before = store.head_tag(&tag).await.unwrap().map(|head| head.digest);
            store.put_tag(&tag, &raw, before.as_ref()).await.unwrap();
        });
    }

    /// Signs as cosign did before it made bundles.
    fn sign(&self, by: &Signer) {
        self.sign_with(by, &json!({}));
    }

    /// The same, with more beside the signature.
    fn sign_with(&self, by: &Signer, beside: &Value) {
        let payload = simple(&self.digest);
        let tag = format!("{}.sig", self.digest.replace(':', "-"));
        let mut signature = beside.clone();
        signature["dev.cosignproject.cosign/signature"] = by.sign(payload.as_bytes()).into();
        self.put(Some(&tag), "application/vnd.dev.cosign.simplesigning.v1+json", &payload, &signature, false);
    }

    /// The gates of the release for staging over evidence: the code of each, and what is told of it.
    fn gates(&self) -> Vec<(String, String)> {
        let why = self.world.run(0, &["why", "staging", "1.2.0"]);
        let gates = why["gates"].as_array().unwrap().iter().zip(why["codes"].as_array().unwrap());
        let of_evidence = gates.filter(|(gate, _)| gate["kind"] == "evidence");
        of_evidence
            .map(|(gate, _)| {
                let (code, said) = gate["reason"].as_object().unwrap().iter().next().unwrap();
                (code.clone(), said.to_string())
            })
            .collect()
    }
}

#[test]
fn s1_2_a_release_is_let_in_once_its_signature_and_its_provenance_were_collected() {
    let (release, ci) = (Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    let told = asked.gates();
    assert!(told.iter().all(|(code, _)| code == "evidence-missing") && told.len() == 2, "{told:?}");
    assert!(told.iter().any(|(_, text)| text.contains("not signed by release")), "{told:?}");
    let why = asked.world.run(0, &["why", "staging", "1.2.0"]);
    assert!(next(&why).starts_with("promo evidence collect --release r-"), "{why}");

    asked.sign(&release);
    let attested = ci.attest(&provenance(&asked.digest, "https://ci.test/runner"));
    let envelope = asked.put(None, "application/vnd.dsse.envelope.v1+json", &attested, &json!({}), true);
    let other = asked.put(None, "application/vnd.test+json", "{\"hello\": 1}", &json!({}), true);
    asked.refer(&[&envelope, &other]);
    // What lies in the registry and was not taken into the ledger is known to nobody.
    assert_eq!(asked.gates(), told);

    let collected = asked.world.run(0, &["evidence", "collect"]);
    let of = &collected["releases"][0];
    let new = of["new"].as_array().unwrap();
    assert_eq!(
        (new.len(), of["others"].as_u64(), of["broken"].as_array().map(Vec::len)),
        (2, Some(1), Some(0)),
        "{of}"
    );
    let signed: Vec<_> =
        new.iter().map(|one| (one["format"].as_str().unwrap(), one["signed_by"][0].as_str().unwrap())).collect();
    assert!(signed.contains(&("signature", "release")) && signed.contains(&("provenance", "ci")), "{signed:?}");
    // Once more there is nothing new.
    let again = asked.world.run(0, &["evidence", "collect"]);
    assert_eq!(again["releases"][0]["new"].as_array().map(Vec::len), Some(0), "{again}");

    let told = asked.gates();
    assert!(told.iter().all(|(code, _)| code == "evidence-met"), "{told:?}");
    assert!(told.iter().any(|(_, text)| text.contains(&format!("at {COMMIT}"))), "{told:?}");
    asked.world.run(0, &["advance"]);
    let status = asked.world.run(0, &["status"]);
    assert!(status.to_string().contains("staging"), "{status}");
}

#[test]
fn s1_2_what_others_signed_or_built_lets_nothing_in_and_is_told() {
    let (release, ci, mallory) = (Signer::new(), Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    asked.sign(&mallory);
    let wrong = ci.attest(&provenance(&asked.digest, "https://laptop.test"));
    let wrong = asked.put(None, "application/vnd.dsse.envelope.v1+json", &wrong, &json!({}), true);
    asked.refer(&[&wrong]);
    asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"]);
    let told = asked.gates();
    let of =
        |code: &str| told.iter().filter(|(found, _)| found == code).map(|(_, text)| text.clone()).collect::<String>();
    assert!(
        of("evidence-missing").contains("not signed by release (1 document has another signature or none)"),
        "{told:?}"
    );
    assert!(of("evidence-bad").contains("it was built by https://laptop.test"), "{told:?}");
}

#[test]
fn s1_2_forms_of_signatures_that_nobody_verifies_are_named_and_let_nothing_in() {
    let (release, ci) = (Signer::new(), Signer::new());
    let payload = |digest: &str| json!({ "targetArtifact": { "mediaType": OCI_INDEX, "digest": digest, "size": 1 } });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let told = |asked: &Asked, form: &str| {
        let collected = asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"]);
        let gates = asked.gates();
        let mut missing = gates.iter().filter(|(code, _)| code == "evidence-missing");
        let expected =
            format!("not signed by release (1 document has another signature or none; promo does not verify {form}");
        assert!(missing.any(|(_, text)| text.contains(&expected)), "{gates:?}");
        let show = asked.world.run(0, &["release", "show", "1.2.0"]);
        assert_eq!(show["evidence"][0]["format"], "signature", "{show:#}");
        let says = show["evidence"][0]["says"].as_str().unwrap();
        assert!(says.starts_with(&format!("promo does not verify {form}")), "{says}");
        collected
    };

    let asked = Asked::of(&release, &ci);
    let header = json!({ "alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json" });
    let jws = json!({ "payload": part(payload(&asked.digest)), "protected": part(header), "header": {}, "signature": "AAAA" });
    let in_json = asked.put(None, "application/jose+json", &jws.to_string(), &json!({}), true);
    let in_cose = asked.put(None, "application/cose", "\u{1}", &json!({}), true);
    asked.refer(&[&in_json, &in_cose]);
    let collected = told(&asked, "the form of notation");
    let broken = &collected["releases"][0]["broken"];
    assert_eq!(broken.as_array().map(Vec::len), Some(1), "{collected}");
    assert!(broken[0]["why"].as_str().unwrap().starts_with("a signature of notation in COSE"), "{broken}");

    // What cosign signed without a key before it made bundles has the certificate beside the signature.
    let asked = Asked::of(&release, &ci);
    asked.sign_with(&Signer::new(), &json!({ "dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----\n" }));
    told(&asked, "cosign's older form without a key");
    // A key that is asked for counts there all the same.
    let asked = Asked::of(&release, &ci);
    asked.sign_with(&release, &json!({ "dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----\n" }));
    asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"]);
    assert!(asked.gates().iter().any(|(code, text)| code == "evidence-met" && text.contains("\"signed\"")));
}

#[test]
fn s1_3_a_broken_document_beside_an_image_is_named_and_the_rest_is_taken() {
    let (release, ci) = (Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    asked.sign(&release);
    let cut = asked.put(None, "application/json", "{\"SchemaVersion\": 2, \"Results\": 1}", &json!({}), true);
    asked.refer(&[&cut]);
    let collected = asked.world.run(0, &["evidence", "collect"]);
    let of = &collected["releases"][0];
    assert_eq!(of["new"].as_array().map(Vec::len), Some(1), "{of}");
    assert!(of["broken"][0]["at"].as_str().unwrap().contains(&cut.digest.to_string()), "{of}");
    assert!(of["broken"][0]["why"].as_str().unwrap().contains("Trivy"), "{of}");
    assert_eq!(next(&collected), "promo status");
}

#[test]
fn s1_3_what_was_withdrawn_and_still_lies_beside_an_image_does_not_come_back_by_collecting_it() {
    let (release, ci) = (Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    asked.sign(&release);
    let collect = || asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"])["releases"][0].clone();
    let document = collect()["new"][0]["document"].as_str().unwrap().to_owned();
    let signed = || asked.gates().iter().any(|(code, text)| code == "evidence-met" && text.contains("\"signed\""));
    assert!(signed());
    let withdraw = [
        "evidence",
        "withdraw",
        &document,
        "--reason",
        "the key was lost",
        "--key",
        "keys/riley",
        "--signer",
        "built-in",
    ];
    asked.world.run(0, &withdraw);
    assert!(!signed());
    for _ in 0..2 {
        let again = collect();
        assert_eq!(again["new"].as_array().map(Vec::len), Some(0), "{again}");
        assert_eq!(again["withdrawn"][0].as_str(), Some(&*document), "{again}");
        assert!(!signed());
    }
    assert!(asked.gates().iter().any(|(_, text)| text.contains("withdrawn by riley")));
}

/// A scan of an image by Trivy, as cosign attests it.
fn scanned(digest: &str, severities: &[&str]) -> Value {
    let found: Vec<Value> = severities
        .iter()
        .enumerate()
        .map(|(at, severity)| json!({ "VulnerabilityID": format!("CVE-2026-{at}"), "PkgName": "openssl", "Severity": severity }))
        .collect();
    let report = json!({
        "SchemaVersion": 2, "ArtifactName": "shop", "ArtifactType": "container_image",
        "Results": [{ "Target": "shop", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": found }],
    });
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": digest.strip_prefix("sha256:").unwrap() } }],
        "predicate": {
            "scanner": { "uri": "trivy", "result": report },
            "metadata": { "scanFinishedOn": "2026-11-01T00:00:00Z" },
        },
    })
}

#[test]
fn s1_3_a_scan_counts_that_was_signed_by_whom_the_gate_names_and_others_are_named_and_neither_open_nor_bar() {
    let (ci, mallory) = (Signer::new(), Signer::new());
    let asked = Asked::of(&ci, &mallory);
    let scan = "by-ci = { scan = { deny = [\"critical\"], by = [\"release\"], scope = \"any\" } }\nsigned = ";
    asked.world.edit("promo.toml", "signed = ", scan);
    asked.world.edit("promo.toml", "gates = [\"signed\", \"built\"]", "gates = [\"by-ci\"]");
    asked.world.run(0, &["evidence", "collect"]);
    let attach = |texts: &[String]| {
        let all: Vec<_> = texts
            .iter()
            .map(|text| asked.put(None, "application/vnd.dsse.envelope.v1+json", text, &json!({}), true))
            .collect();
        asked.refer(&all.iter().collect::<Vec<_>>());
        asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"]);
        asked.gates().remove(0)
    };
    let (clean, bad) = (scanned(&asked.digest, &["LOW"]), scanned(&asked.digest, &["CRITICAL"]));

    // Nobody signed it: it opens nothing, and is named.
    let unsigned = clean.to_string();
    let (code, told) = attach(std::slice::from_ref(&unsigned));
    assert_eq!(code, "evidence-missing", "{told}");
    assert!(
        told.contains("\"why_not\":\"not signed by release\"") && told.contains("1 document has another"),
        "{told}"
    );
    let why = said(&asked.world, &["why", "staging", "1.2.0"]);
    assert!(why.contains("not counted: Trivy (not signed by release)"), "{why}");

    // One by others that is bad bars nothing beside a good one that counts.
    let (good, others) = (ci.attest(&clean), mallory.attest(&bad));
    let (code, told) = attach(&[unsigned.clone(), others.clone(), good.clone()]);
    assert_eq!(code, "evidence-met", "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let not_counted: Vec<&str> =
        told["not_counted"].as_array().unwrap().iter().filter_map(|one| one["says"].as_str()).collect();
    assert_eq!((told["documents"].as_array().map(Vec::len), not_counted.len()), (Some(1), 2), "{told}");
    assert!(not_counted.contains(&"1 critical"), "{told}");

    // One that counts and is bad bars, whatever others say.
    let (code, told) = attach(&[unsigned, others, good, ci.attest(&bad)]);
    assert_eq!(code, "evidence-bad", "{told}");
}

/// The same in another envelope: other spaces, the id of a key, and a signature of somebody else beside it.
fn wrapped(envelope: &str, other: &Signer) -> String {
    let mut envelope: Value = serde_json::from_str(envelope).unwrap();
    let signatures = envelope["signatures"].as_array_mut().unwrap();
    signatures[0]["keyid"] = "mine".into();
    signatures.push(json!({ "keyid": "", "sig": other.sign(b"anything") }));
    serde_json::to_string_pretty(&envelope).unwrap()
}

#[test]
fn s1_3_what_was_withdrawn_is_withdrawn_in_every_envelope_and_comes_back_in_none() {
    let (release, ci, mallory) = (Signer::new(), Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    asked.sign(&release);
    let attested = ci.attest(&provenance(&asked.digest, "https://ci.test/runner"));
    let again = wrapped(&attested, &mallory);
    let put = |text: &str| asked.put(None, "application/vnd.dsse.envelope.v1+json", text, &json!({}), true);
    let collect = || asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"])["releases"][0].clone();
    let built = || asked.gates().iter().any(|(code, text)| code == "evidence-met" && text.contains("\"built\""));
    let (first, second) = (put(&attested), put(&again));
    asked.refer(&[&first, &second]);
    assert_eq!(collect()["new"].as_array().map(Vec::len), Some(3));
    assert!(built());
    // One of the two envelopes is withdrawn: what was signed is.
    let document = Digest::of(attested.as_bytes()).to_string();
    let withdraw = ["evidence", "withdraw", &document, "--reason", "the runner was broken into"];
    asked.world.run(0, &[&withdraw[..], &["--key", "keys/riley", "--signer", "built-in"]].concat());
    assert!(!built(), "{:?}", asked.gates());
    let shown = asked.world.run(0, &["release", "show", "1.2.0"]);
    let of =
        |shown: &Value| shown["evidence"].as_array().unwrap().iter().filter(|one| !one["withdrawn"].is_null()).count();
    assert_eq!(of(&shown), 2, "{shown}");
    // Nor does a third one bring it back, pushed or by hand.
    let more = wrapped(&again, &release);
    asked.refer(&[&first, &second, &put(&more)]);
    let again = collect();
    assert_eq!(again["new"].as_array().map(Vec::len), Some(0), "{again}");
    assert_eq!(again["withdrawn"].as_array().map(Vec::len), Some(3), "{again}");
    asked.world.write("evidence.json", &more);
    asked.world.refuses(65, "request-invalid", &["evidence", "add", "evidence.json", "--release", "1.2.0"]);
    assert!(!built());
    asked.world.run(0, &["evidence", "add", "evidence.json", "--release", "1.2.0", "--again"]);
    assert!(built(), "{:?}", asked.gates());
    assert_eq!(collect()["withdrawn"].as_array().map(Vec::len), None, "nothing that is there is told as withdrawn");
}

/// A report of JUnit, attested as a document of somebody's own.
fn attested_run(digest: &str, suite: &str, failures: u64, at: Option<&str>) -> Value {
    let failed = if failures > 0 { "<failure/>" } else { "" };
    let junit = format!(
        "<testsuite name=\"{suite}\" tests=\"1\" failures=\"{failures}\"><testcase name=\"a\">{failed}</testcase></testsuite>"
    );
    let mut predicate = json!({ "Data": junit });
    predicate["Timestamp"] = at.into();
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://cosign.sigstore.dev/attestation/v1",
        "subject": [{ "name": "shop", "digest": { "sha256": digest.strip_prefix("sha256:").unwrap() } }],
        "predicate": predicate,
    })
}

#[test]
fn s1_3_an_older_signed_run_in_a_new_envelope_is_no_newer_and_no_name_makes_it_another_suite() {
    let (ci, mallory) = (Signer::new(), Signer::new());
    let asked = Asked::of(&ci, &mallory);
    let tests = "unit = { tests = { suites = [\"unit\"], by = [\"release\"] } }\nsigned = ";
    asked.world.edit("promo.toml", "signed = ", tests);
    asked.world.edit("promo.toml", "gates = [\"signed\", \"built\"]", "gates = [\"unit\"]");
    let run = |suite: &str, failures, at| ci.attest(&attested_run(&asked.digest, suite, failures, at));
    // As `cosign download attestation` writes several: one on each line.
    let (old, bad) = (run("unit", 0, None), run("unit", 1, None));
    asked.world.write("evidence.json", &format!("{old}\n{bad}\n"));
    let added = asked.world.run(0, &["evidence", "add", "evidence.json", "--release", "1.2.0"]);
    assert_eq!((added["new"].as_bool(), added["more"][0]["new"].as_bool()), (Some(true), Some(true)), "{added}");
    assert_eq!(asked.gates()[0].0, "evidence-bad");
    let again = wrapped(&old, &mallory);
    let pushed = asked.put(None, "application/vnd.dsse.envelope.v1+json", &again, &json!({}), true);
    asked.refer(&[&pushed]);
    asked.world.run(0, &["evidence", "collect", "--release", "1.2.0"]);
    assert_eq!(asked.gates()[0].0, "evidence-bad", "{:?}", asked.gates());
    // What was signed of its day counts: cosign's is that of the attestation.
    let more = [run("unit", 1, Some("2026-11-20T00:00:00Z")), run("unit", 0, Some("2026-11-21T00:00:00Z"))].join("\n");
    asked.world.write("evidence.json", &more);
    asked.world.run(0, &["evidence", "add", "evidence.json", "--release", "1.2.0"]);
    asked.world.run(
        0,
        &[
            "evidence",
            "withdraw",
            &Digest::of(bad.as_bytes()).to_string(),
            "--reason",
            "no date",
            "--key",
            "keys/riley",
            "--signer",
            "built-in",
        ],
    );
    assert_eq!(asked.gates()[0].0, "evidence-met", "{:?}", asked.gates());

    // A run of another suite is not the one that is asked for, whatever it is called where it is brought.
    asked.world.edit("promo.toml", "suites = [\"unit\"]", "suites = [\"e2e\"]");
    asked.world.write("evidence.json", &run("unit", 0, Some("2026-11-21T10:00:00Z")));
    asked.world.run(0, &["evidence", "add", "evidence.json", "--release", "1.2.0", "--name", "e2e"]);
    assert_eq!(asked.gates()[0].0, "evidence-missing", "{:?}", asked.gates());
    asked.world.write("evidence.json", &run("e2e", 0, Some("2026-11-21T10:00:00Z")));
    asked.world.run(0, &["evidence", "add", "evidence.json", "--release", "1.2.0"]);
    assert_eq!(asked.gates()[0].0, "evidence-met", "{:?}", asked.gates());
}

#[test]
fn s1_3_where_one_line_of_several_is_refused_none_is_brought_and_the_line_is_named() {
    let (release, ci) = (Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    let good = ci.attest(&provenance(&asked.digest, "https://ci.test/runner"));
    asked.world.write("evidence.json", &format!("{good}\n\n{}\n", "{\"hello\": 1}"));
    let refused =
        asked.world.refuses(65, "evidence-invalid", &["evidence", "add", "evidence.json", "--release", "1.2.0"]);
    assert!(refused.to_string().contains("it is line 3 of evidence.json"), "{refused}");
    assert!(asked.world.run(0, &["release", "show", "1.2.0"])["evidence"].is_null());
}

#[test]
fn s1_2_what_a_release_is_added_with_says_what_was_found_beside_it() {
    let (release, ci) = (Signer::new(), Signer::new());
    let asked = Asked::of(&release, &ci);
    asked.sign(&release);
    asked.world.write("config/common.env", "NEEDS_WORKERS=4\n");
    let added = asked.world.run(0, &["release", "add", "shop=1.1.0", "--alias", "1.3.0"]);
    assert_eq!(added["collected"]["new"][0]["format"].as_str(), Some("signature"), "{added}");
    assert_eq!(added["collected"]["release"]["alias"].as_str(), Some("1.3.0"), "{added}");
}
