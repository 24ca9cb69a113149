//! What a build says in a real registry: annotations, labels, the configuration of a chart and signed provenance, read in that order, all of
//! which have to agree (registry rules, 5.1). promo is a process of its own.

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::BTreeMap;

    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{Limits, OCI_MANIFEST, Oci, resolve_digest};
    use promo_sdk::{Digest, Provider as _, ResolveRequest};
    use promo_tests::beside::Place;
    use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
    use promo_tests::registry::Registry;
    use serde_json::{Value, json};

    const COMMIT: &str = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";
    const REVISION: &str = "org.opencontainers.image.revision";
    const SOURCE: &str = "org.opencontainers.image.source";
    const VERSION: &str = "org.opencontainers.image.version";
    const CREATED: &str = "org.opencontainers.image.created";
    const STATEMENT: &str = "application/vnd.in-toto+json";
    const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

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

        /// An envelope around a statement.
        fn attest(&self, statement: &Value) -> Vec<u8> {
            let payload = statement.to_string();
            let signed = format!("DSSEv1 {} {STATEMENT} {} {payload}", STATEMENT.len(), payload.len());
            let signature = STANDARD.encode(self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap());
            let signature = json!({ "keyid": "", "sig": signature });
            json!({ "payloadType": STATEMENT, "payload": STANDARD.encode(payload), "signatures": [signature] })
                .to_string()
                .into_bytes()
        }
    }

    fn provenance(of: &Digest, commit: &str) -> Value {
        let source =
            json!({ "uri": "git+https://git.test/shop.git@refs/heads/main", "digest": { "gitCommit": commit } });
        json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
            "subject": [{ "name": "app", "digest": { "sha256": of.hex() } }],
            "predicate": {
                "buildDefinition": { "buildType": "https://ci.test/build", "resolvedDependencies": [source] },
                "runDetails": {
                    "builder": { "id": "https://ci.test/runner" },
                    "metadata": { "invocationId": "https://ci.test/runs/42", "finishedOn": "2026-11-20T14:02:07Z" },
                },
            },
        })
    }

    /// An image of these annotations and labels in the place of the one that is there.
    async fn image(place: &mut Place, tag: &str, annotations: &[(&str, &str)], labels: &[(&str, &str)]) -> Digest {
        let owned = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let image = Image {
            annotations: owned(annotations),
            labels: owned(labels),
            ..Image::new([], vec![tag.as_bytes().to_vec()])
        };
        let digest = build::image(&place.store, tag, &image).await.unwrap();
        place.what = resolve_digest(&place.store, &digest, &Limits::default()).await.unwrap();
        digest
    }

    /// How the gate of the only environment stands: its code, and all that it tells.
    fn stands(project: &Project) -> (String, String) {
        let end = project.run(&["why", "prod", "--format", "json"]);
        let why = serde_json::Deserializer::from_str(&end.said).into_iter::<Value>().next().unwrap().unwrap();
        let gates = why["gates"].as_array().unwrap().iter();
        let asked = gates.filter(|gate| ["metadata", "evidence"].contains(&gate["kind"].as_str().unwrap()));
        let mut told: Vec<(String, String)> = asked
            .flat_map(|gate| gate["reason"].as_object().unwrap())
            .map(|(c, s)| (c.clone(), s.to_string()))
            .collect();
        assert_eq!(told.len(), 1, "{why:#}");
        told.remove(0)
    }

    fn run(project: &Project, words: &[&str]) -> String {
        let end = project.run(words);
        assert_eq!(end.code, Some(0), "{words:?}: {}", end.said);
        end.said
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s5_1_what_only_labels_say_is_not_signed_and_signed_provenance_says_it() {
        let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
        let (ci, mallory) = (Signer::new(), Signer::new());
        let mut place = Place::of(&from, FROM, "0.9.0").await;
        let epoch = (CREATED, "1970-01-01T00:00:00Z");
        let index = image(&mut place, TAG, &[(REVISION, COMMIT), epoch], &[(SOURCE, "https://git.test/shop")]).await;
        let gate = format!(
            "gates = [\"said\"]\n[gates]\nsaid = {{ metadata = {{ keys = [\"{REVISION}\", \"{SOURCE}\", \"{CREATED}\", \"run-id\"], \
             signed = true, by = [\"ci\"] }} }}\n[signers.ci]\nkey = \"\"\"\n{}\"\"\"\n",
            ci.pem()
        );
        let project = Project::new(from.address(), to.address(), &[]).and(&gate);
        run(&project, &["release", "add", &format!("app={TAG}")]);
        let (code, told) = stands(&project);
        assert_eq!(code, "evidence-bad", "the time of a reproducible build says nothing: {told}");
        let unsigned = |key: &str, place: &str| format!("{key} is said by the {place} of sha256:");
        for words in
            [unsigned(REVISION, "annotation"), unsigned(SOURCE, "label"), "not in provenance signed by ci".into()]
        {
            assert!(told.contains(&words), "{words}: {told}");
        }
        // By somebody whom nobody asks for it is as if it were not there, also where it says another commit.
        place.attach(ENVELOPE, &mallory.attest(&provenance(&index, &COMMIT.replace('1', "2"))), index).await;
        run(&project, &["evidence", "collect"]);
        let (code, told) = stands(&project);
        assert!(code == "evidence-bad" && !told.contains("metadata-conflict"), "{told}");
        place.attach(ENVELOPE, &ci.attest(&provenance(&index, COMMIT)), index).await;
        run(&project, &["evidence", "collect"]);
        let (code, told) = stands(&project);
        assert!(code == "evidence-met" && told.contains("signed by ci says"), "{code} {told}");
        run(&project, &["plan", "prod", "--out", PLAN]);
        run(&project, &["apply", PLAN]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s5_1_provenance_that_names_another_commit_than_the_annotation_is_a_conflict_that_names_both() {
        let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
        let ci = Signer::new();
        let mut place = Place::of(&from, FROM, "0.9.0").await;
        let index = image(&mut place, TAG, &[(REVISION, COMMIT), ("team", "shop")], &[]).await;
        let other = COMMIT.replace('1', "2");
        let attested = ci.attest(&provenance(&index, &other));
        place.attach(ENVELOPE, &attested, index).await;
        let gate = format!(
            "gates = [\"said\"]\n[gates]\nsaid = {{ metadata = {{ keys = [\"team\"], by = [\"ci\"] }} }}\n[signers.ci]\nkey = \"\"\"\n{}\"\"\"\n",
            ci.pem()
        );
        let project = Project::new(from.address(), to.address(), &[]).and(&gate);
        run(&project, &["release", "add", &format!("app={TAG}")]);
        let (code, told) = stands(&project);
        assert_eq!(code, "evidence-bad", "{told}");
        for words in ["metadata-conflict", COMMIT, &other, "signed by ci", &format!("the annotation of {index}")] {
            assert!(told.contains(words), "{words}: {told}");
        }
        // The one that says another commit is taken out: the others agree.
        let attested = Digest::of(&attested).to_string();
        run(&project, &["--actor-kind", "human", "evidence", "withdraw", &attested, "--reason", "of another build"]);
        assert_eq!(stands(&project).0, "evidence-met");
    }

    /// Each gate with its code.
    fn codes(project: &Project) -> BTreeMap<String, String> {
        let end = project.run(&["why", "prod", "--format", "json"]);
        let why = serde_json::Deserializer::from_str(&end.said).into_iter::<Value>().next().unwrap().unwrap();
        let asked = why["gates"].as_array().unwrap().iter().filter(|gate| gate["kind"] == "evidence");
        let reasons = asked.flat_map(|gate| gate["reason"].as_object().unwrap());
        reasons.map(|(code, told)| (told["gate"].as_str().unwrap().to_owned(), code.clone())).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s1_3_numbers_coverage_and_the_bill_of_syft_are_read_beside_an_image() {
        let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
        let place = Place::of(&from, FROM, TAG).await;
        let index = place.what.digest;
        let syft = json!({
            "artifacts": [{ "name": "zlib", "version": "1.2.13", "type": "deb", "licenses": [] }],
            "source": { "type": "image", "metadata": { "manifestDigest": index.to_string() } },
            "descriptor": { "name": "syft", "version": "1.18.1" }, "schema": { "version": "16.0.18" },
        })
        .to_string();
        let lcov = "TN:unit\nSF:a.rs\nDA:1,1\nDA:2,1\nLF:2\nLH:2\nend_of_record\n";
        let title = json!({ "org.opencontainers.image.title": "lcov.info" });
        let octets = "application/octet-stream";
        for (media_type, annotations) in [("text/plain", json!({})), ("text/x-lcov", json!({})), (octets, title)] {
            let beside = [
                place.put("application/json", br#"{"p95":120}"#, json!({}), Some(index)).await,
                place.put(media_type, lcov.as_bytes(), annotations, Some(index)).await,
                place.put("application/vnd.syft+json", syft.as_bytes(), json!({}), Some(index)).await,
                place.put("text/plain", b"read me", json!({}), Some(index)).await,
            ];
            place.list(index, &beside.each_ref()).await;
            let project = Project::new(from.address(), to.address(), &[]).and(
                "gates = [\"fast\", \"small\", \"reached\", \"bill\"]\n[gates]\n\
                 fast = { number = { name = \"/p95\", max = \"250\" } }\nsmall = { number = { name = \"/bytes\", max = \"9\" } }\n\
                 reached = { coverage = { lines = \"80\" } }\nbill = { sbom = { scope = \"any\" } }\n",
            );
            let said = run(&project, &["release", "add", &format!("app={TAG}")]);
            let (met, other) = ("evidence-met", "evidence-unreadable");
            let expected = [("bill", met), ("fast", met), ("reached", met), ("small", other)];
            let expected = expected.map(|(gate, code)| (gate.to_owned(), code.to_owned())).into();
            assert_eq!(codes(&project), expected, "{media_type}: {said}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s5_2_a_signature_of_cosign_as_a_referrer_counts_like_one_at_its_tag() {
        let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
        let release = Signer::new();
        let here = format!("{}/{FROM}", from.address());
        let (there, other) = (format!("{}/{TO}:{TAG}", to.address()), "registry.example/elsewhere".to_owned());
        let (met, missing, stranger) = ("evidence-met", "evidence-missing", Signer::new());
        for (signer, named, asked, code) in [
            (&release, &other, "false", met),
            (&release, &here, "true", met),
            (&release, &there, "true", met),
            (&release, &other, "true", missing),
            (&stranger, &here, "false", missing),
        ] {
            let place = Place::of(&from, FROM, TAG).await;
            let index = place.what.digest;
            let simple = json!({
                "critical": {
                    "identity": { "docker-reference": named },
                    "image": { "docker-manifest-digest": index.to_string() }, "type": "cosign container image signature",
                },
                "optional": null,
            })
            .to_string();
            let signature = STANDARD.encode(signer.0.sign(&SystemRandom::new(), simple.as_bytes()).unwrap());
            let annotations = json!({ "dev.cosignproject.cosign/signature": signature });
            let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
            let one = place.put(kind, simple.as_bytes(), annotations, Some(index)).await;
            // What cosign calls it with `--registry-referrers-mode=oci-1-1`.
            let mut manifest: Value = serde_json::from_slice(&one.bytes).unwrap();
            let artifact = "application/vnd.dev.cosign.artifact.sig.v1+json";
            manifest["artifactType"] = artifact.into();
            manifest["config"]["mediaType"] = artifact.into();
            let raw = place.raw(&manifest, OCI_MANIFEST).await;
            place.list(index, &[&raw]).await;
            let gate = format!(
                "gates = [\"signed\"]\n[gates]\nsigned = {{ signature = {{ by = [\"release\"], repository = {asked} }} }}\n[signers.release]\nkey = \"\"\"\n{}\"\"\"\n",
                release.pem()
            );
            let project = Project::new(from.address(), to.address(), &[]).and(&gate);
            run(&project, &["release", "add", &format!("app={TAG}")]);
            let (found, told) = stands(&project);
            assert_eq!(found, code, "{told}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s5_1_spellings_of_one_repository_agree_and_the_version_of_a_chart_stands_in_its_configuration() {
        let Some(from) = Registry::start() else { return };
        let mut place = Place::of(&from, FROM, "0.9.0").await;
        let (cx, at) = (place.cx.clone(), from.address());
        let resolve = async |digest: &Digest| {
            let reference = format!("{at}/{FROM}@{digest}");
            Oci::new().resolve(&cx, &ResolveRequest { reference }).await.unwrap()
        };
        let (address, other) = ("https://git.test/shop", "git+https://git.test/shop.git");
        let index = image(&mut place, "1.1.0", &[(SOURCE, address), (REVISION, COMMIT)], &[(SOURCE, other)]).await;
        let found = resolve(&index).await;
        assert_eq!((found.contradicted.len(), found.metadata[SOURCE].as_str()), (0, address), "the first that says it");
        assert_eq!(found.said_where[SOURCE], format!("the annotation of {index}"));
        let index = image(&mut place, "1.2.0", &[(SOURCE, address)], &[(SOURCE, "https://git.test/fork")]).await;
        let found = resolve(&index).await;
        let told = &found.contradicted[SOURCE];
        assert!(told.contains(address) && told.contains("https://git.test/fork") && told.contains("label"), "{told}");

        let chart = async |annotations: Value| {
            let config = "application/vnd.cncf.helm.config.v1+json";
            let text = br#"{"name":"shop","version":"2.0.1","appVersion":"1.4.2","apiVersion":"v2"}"#;
            // A manifest of one layer, whose configuration is that of a chart.
            let layer = place.put(config, text, json!({}), None).await;
            let layer: Value = serde_json::from_slice(&layer.bytes).unwrap();
            let mut of = layer["layers"][0].clone();
            of.as_object_mut().unwrap().remove("annotations");
            let content = place.put("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"packed", json!({}), None);
            let content: Value = serde_json::from_slice(&content.await.bytes).unwrap();
            let manifest = json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": of, "annotations": annotations,
                "layers": content["layers"],
            });
            place.raw(&manifest, OCI_MANIFEST).await.digest
        };
        let found = resolve(&chart(json!({})).await).await;
        assert_eq!((found.metadata[VERSION].as_str(), found.metadata["appVersion"].as_str()), ("2.0.1", "1.4.2"));
        assert!(found.said_where[VERSION].starts_with("the chart in sha256:"), "{:?}", found.said_where);
        let found = resolve(&chart(json!({ VERSION: "2.0.2" })).await).await;
        let told = &found.contradicted[VERSION];
        assert!(
            told.contains("`2.0.1` by the chart in sha256:") && told.contains("`2.0.2` by the annotation"),
            "{told}"
        );
        assert_eq!(found.metadata.get(VERSION), None);
    }
}
