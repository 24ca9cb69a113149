//! What promo has copied, as other people's programs find it: skopeo the same digests, openssl and the JavaScript client of Sigstore the
//! signatures. promo is a process of its own, the registries are real ones.

#[cfg(test)]
mod needs_docker_registry {
    mod needs_clients {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use promo_sdk::Digest;
        use promo_tests::beside::{Place, statement, tag};
        use promo_tests::clients::{BUNDLE, Clients};
        use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
        use promo_tests::registry::Registry;
        use serde_json::{Value, json};

        const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
        const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

        fn simple_signing(digest: Digest) -> Vec<u8> {
            let critical = json!({
                "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": digest.to_string() },
                "type": "cosign container image signature",
            });
            json!({ "critical": critical, "optional": null }).to_string().into_bytes()
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s2_3_others_find_the_same_digest_at_the_destination_and_verify_each_signature_there() {
            let (Some(from), Some(to)) = (Registry::start(), Registry::start()) else { return };
            let clients = Clients::new();
            let ((private, public), (_, stranger)) = (clients.key("release"), clients.key("stranger"));
            let source = Place::of(&from, FROM, TAG).await;
            let (index, platform) = (source.what.digest, source.what.images[1].digest);
            let signed = [
                (index, statement(index, "https://sigstore.dev/cosign/sign/v1")),
                (platform, statement(platform, "https://cyclonedx.org/bom")),
            ];
            for (subject, statement) in &signed {
                source.attach(BUNDLE, &clients.bundle(&private, statement), *subject).await;
            }
            let payload = simple_signing(index);
            let beside = json!({ SIGNATURE: STANDARD.encode(clients.sign(&private, &payload)) });
            let sig = source.put(SIMPLE, &payload, beside, None).await;
            source.store.put_tag(&format!("{}.sig", tag(index)), &sig, None).await.unwrap();

            let project = Project::new(from.address(), to.address(), &[]);
            project.prepare();
            let end = project.run(&["apply", PLAN]);
            assert_eq!(end.code, Some(0), "{}", end.said);

            // The same digest, and the whole of it: skopeo reads each manifest and blob, and takes nothing that is not what its digest says.
            let there = format!("{}/{TO}", to.address());
            assert_eq!(Digest::of(&clients.manifest(&format!("{there}:{TAG}"))), index);
            let pulled = clients.pull(&format!("{there}:{TAG}"));
            assert_eq!(Digest::of(&std::fs::read(pulled.join("manifest.json")).unwrap()), index);
            assert!(source.what.blobs.iter().all(|blob| pulled.join(blob.digest.hex()).is_file()), "{pulled:?}");

            // What skopeo finds in the lists holds for the key, says what was signed, and holds for nobody else.
            for (subject, statement) in &signed {
                let list: Value =
                    serde_json::from_slice(&clients.manifest(&format!("{there}:{}", tag(*subject)))).unwrap();
                let listed = list["manifests"].as_array().unwrap();
                assert_eq!((listed.len(), &listed[0]["artifactType"]), (1, &json!(BUNDLE)), "{list}");
                let (bundle, _) = clients.first_layer(&format!("{there}@{}", listed[0]["digest"].as_str().unwrap()));
                assert_eq!(clients.opened_by_sigstore(&public, &bundle).as_ref(), Some(statement));
                assert_eq!(clients.opened_by_openssl(&public, &bundle).as_ref(), Some(statement));
                assert_eq!(clients.opened_by_sigstore(&stranger, &bundle), None);
                assert_eq!(clients.opened_by_openssl(&stranger, &bundle), None);
            }
            let (found, beside) = clients.first_layer(&format!("{there}:{}.sig", tag(index)));
            assert_eq!(found, payload);
            let signature = STANDARD.decode(beside[SIGNATURE].as_str().unwrap()).unwrap();
            assert!(clients.holds(&public, &found, &signature));
            assert!(!clients.holds(&stranger, &found, &signature));
            assert!(!clients.holds(&public, &simple_signing(platform), &signature));
        }
    }
}
