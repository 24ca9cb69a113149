//! What promo has copied, as other people's programs find it: skopeo the same digests, openssl and the JavaScript client of Sigstore the
//! signatures. promo is a process of its own, the registries are real ones.

#[cfg(test)]
mod needs_docker_registry {
    mod needs_clients {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use promo_providers::oci::build::{self, Image};
        use promo_providers::oci::{
            Limits, Network, OCI_INDEX, OCI_MANIFEST, OciError, RawManifest, Resolved, Store, resolve_digest,
        };
        use promo_sdk::Digest;
        use promo_tests::clients::{BUNDLE, Clients};
        use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
        use promo_tests::registry::Registry;
        use serde_json::{Value, json};

        const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
        const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

        /// The place from which it is copied.
        struct Source {
            store: Store,
            what: Resolved,
            _directory: tempfile::TempDir,
        }

        impl Source {
            async fn of(registry: &Registry) -> Self {
                let directory = tempfile::tempdir().unwrap();
                let network = Network::of(&promo_sdk::testing::context(directory.path())).unwrap();
                let store = Store::Registry(network.repository(registry.address(), FROM).unwrap());
                let digest = build::image(&store, TAG, &Image::new([], vec![b"layer".to_vec()])).await.unwrap();
                let what = resolve_digest(&store, &digest, &Limits::default()).await.unwrap();
                Self { store, what, _directory: directory }
            }

            async fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
                let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
                let part = Ok::<_, OciError>(bytes.to_vec().into());
                self.store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([part]))).await.unwrap();
                json!({ "digest": digest.to_string(), "mediaType": media_type, "size": size })
            }

            /// Puts a manifest with one layer, about a subject where there is one.
            async fn put(
                &self,
                media_type: &str,
                bytes: &[u8],
                annotations: Value,
                subject: Option<Digest>,
            ) -> RawManifest {
                let config = self.blob(b"{}", "application/vnd.oci.empty.v1+json").await;
                let mut layer = self.blob(bytes, media_type).await;
                layer["annotations"] = annotations;
                let mut manifest = json!({
                    "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": media_type, "config": config, "layers": [layer],
                });
                if let Some(subject) = subject {
                    let about = self.what.tree.iter().find(|entry| entry.digest == subject).unwrap();
                    manifest["subject"] =
                        json!({ "digest": subject.to_string(), "mediaType": about.media_type, "size": about.size });
                }
                self.raw(&manifest, OCI_MANIFEST).await
            }

            async fn raw(&self, manifest: &Value, media_type: &str) -> RawManifest {
                let bytes = manifest.to_string().into_bytes();
                let raw = RawManifest { digest: Digest::of(&bytes), media_type: media_type.into(), bytes };
                self.store.put_manifest(&raw).await.unwrap();
                raw
            }

            /// Attaches a bundle, and lists it as a client of a registry without the API for referrers does.
            async fn attach(&self, subject: Digest, bundle: &[u8]) {
                let raw = self.put(BUNDLE, bundle, json!({}), Some(subject)).await;
                let one = json!({ "digest": raw.digest.to_string(), "mediaType": OCI_MANIFEST, "size": raw.bytes.len(), "artifactType": BUNDLE });
                let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [one] });
                let raw = self.raw(&index, OCI_INDEX).await;
                self.store.put_tag(&tag(subject), &raw, None).await.unwrap();
            }
        }

        fn tag(subject: Digest) -> String {
            subject.to_string().replace(':', "-")
        }

        fn statement(subject: Digest, kind: &str) -> Value {
            json!({
                "_type": "https://in-toto.io/Statement/v1", "predicateType": kind, "predicate": {},
                "subject": [{ "name": "app", "digest": { "sha256": subject.hex() } }],
            })
        }

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
            let source = Source::of(&from).await;
            let (index, platform) = (source.what.digest, source.what.images[1].digest);
            let signed = [
                (index, statement(index, "https://sigstore.dev/cosign/sign/v1")),
                (platform, statement(platform, "https://cyclonedx.org/bom")),
            ];
            for (subject, statement) in &signed {
                source.attach(*subject, &clients.bundle(&private, statement)).await;
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
