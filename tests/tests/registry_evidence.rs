//! Documents beside an image in a real registry, which keeps referrers under fallback tags and cosign's under tags of their own: all of them
//! are found, and a registry that refuses is no registry without evidence.

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::BTreeSet;

    use promo_providers::oci::{Limits, OCI_INDEX, OCI_MANIFEST, Oci, RawManifest, Selector};
    use promo_sdk::{Attached, AttachedRequest, Digest, ErrorKind, Provider as _};
    use promo_tests::beside::{self, Place};
    use promo_tests::registry::Registry;
    use serde_json::{Value, json};

    struct World {
        registry: Registry,
        place: Place,
    }

    impl World {
        async fn start() -> Option<Self> {
            let registry = Registry::start()?;
            let place = Place::of(&registry, "team/app", "1.0.0").await;
            Some(Self { registry, place })
        }

        /// A manifest with one layer, about a subject where there is one.
        async fn put(&self, text: &str, media_type: &str, annotations: Value, subject: Option<&Digest>) -> RawManifest {
            self.place.put(media_type, text.as_bytes(), annotations, subject.copied()).await
        }

        async fn list(&self, subject: &Digest, referrers: &[&RawManifest]) {
            self.place.list(*subject, referrers).await;
        }

        async fn attached(&self, of: &Digest, known: BTreeSet<(Digest, Digest)>) -> Vec<Attached> {
            let reference = format!("{}/team/app@{of}", self.registry.address());
            Oci::new().attached(&self.place.cx, &AttachedRequest { reference, known }).await.unwrap()
        }
    }

    fn texts(attached: &[Attached]) -> BTreeSet<(String, Digest)> {
        attached.iter().map(|one| (String::from_utf8(one.bytes.clone()).unwrap(), one.subject)).collect()
    }

    const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

    #[tokio::test]
    async fn s1_3_documents_are_found_in_every_way_in_which_they_are_kept() {
        let Some(world) = World::start().await else { return };
        let (index, platform) = (world.place.subject.digest, world.place.what.images[0].digest);
        let sbom = world.put("{\"bill\": 1}", "application/vnd.cyclonedx+json", json!({}), Some(&platform)).await;
        let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let attested = world.put("{\"bundle\": 1}", bundle, json!({}), Some(&index)).await;
        let picture = world.put("not a text", "image/png", json!({}), Some(&index)).await;
        world.list(&platform, &[&sbom]).await;
        world.list(&index, &[&attested, &picture]).await;
        let tag = |of: &Digest, end: &str| format!("{}.{end}", beside::tag(*of));
        let signature = json!({ "dev.cosignproject.cosign/signature": "c2lnbmVk" });
        let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
        let signed = world.put("{\"critical\": {}}", simple, signature, None).await;
        world.place.store.put_tag(&tag(&index, "sig"), &signed, None).await.unwrap();
        let att = world.put("{\"att\": 1}", ENVELOPE, json!({}), None).await;
        world.place.store.put_tag(&tag(&platform, "att"), &att, None).await.unwrap();

        let found = world.attached(&index, BTreeSet::new()).await;
        let cosign = r#"{"Base64Signature":"c2lnbmVk","Payload":"eyJjcml0aWNhbCI6IHt9fQ=="}"#;
        let expected =
            [("{\"bill\": 1}", platform), ("{\"bundle\": 1}", index), (cosign, index), ("{\"att\": 1}", platform)];
        let expected: BTreeSet<(String, Digest)> = expected.map(|(text, of)| (text.to_owned(), of)).into();
        assert_eq!(texts(&found), expected);
        // What is known is not read again.
        let known = [(platform, Digest::of(b"{\"bill\": 1}")), (index, Digest::of(b"{\"bundle\": 1}"))].into();
        assert_eq!(world.attached(&index, known).await.len(), 2);
        // The same document elsewhere is another matter.
        let known = [(index, Digest::of(b"{\"bill\": 1}"))].into();
        assert_eq!(world.attached(&index, known).await.len(), 4);
    }

    #[tokio::test]
    async fn what_lies_beside_an_artifact_of_several_releases_is_gathered_once() {
        let Some(world) = World::start().await else { return };
        let index = world.place.subject.digest;
        let attested = world.put("{\"att\": 1}", ENVELOPE, json!({}), Some(&index)).await;
        world.list(&index, &[&attested]).await;
        let before = world.registry.requests().len();
        let (oci, reference) = (Oci::new(), format!("{}/team/app@{index}", world.registry.address()));
        for known in [BTreeSet::new(), [(index, Digest::of(b"{\"att\": 1}"))].into()] {
            let (expected, request) = (1 - known.len(), AttachedRequest { reference: reference.clone(), known });
            assert_eq!(oci.attached(&world.place.cx, &request).await.unwrap().len(), expected);
        }
        let asked = world.registry.requests().split_off(before);
        let manifest = format!("/manifests/{}", attested.digest);
        let times = asked.iter().filter(|request| request.path.ends_with(&manifest)).count();
        assert_eq!(times, 1, "a manifest is read once: {asked:?}");
    }

    #[tokio::test]
    async fn s1_3_attestations_within_an_index_are_found_and_are_no_platforms() {
        let Some(world) = World::start().await else { return };
        let platform = world.place.what.images[0].digest;
        let statement = world.put("{\"_type\": 1}", "application/vnd.in-toto+json", json!({}), None).await;
        let descriptor = |raw: &RawManifest| json!({ "digest": raw.digest.to_string(), "mediaType": raw.media_type, "size": raw.bytes.len() });
        let image =
            world.place.store.get_manifest(Selector::Digest(&platform), None, &Limits::default()).await.unwrap();
        let (mut first, mut second) = (descriptor(&image), descriptor(&statement));
        first["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        second["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        second["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": platform.to_string(),
        });
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [first, second] });
        let index = world.place.raw(&index, OCI_INDEX).await;
        let found = world.attached(&index.digest, BTreeSet::new()).await;
        assert_eq!(texts(&found), [("{\"_type\": 1}".to_owned(), index.digest)].into());
    }

    #[tokio::test]
    async fn s1_3_a_list_whose_entry_is_gone_is_an_error_and_not_nothing() {
        let Some(world) = World::start().await else { return };
        let index = world.place.subject.digest;
        let gone = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": [] }).to_string();
        let gone =
            RawManifest { digest: Digest::of(gone.as_bytes()), media_type: OCI_MANIFEST.into(), bytes: gone.into() };
        let attested = world.put("{}", ENVELOPE, json!({}), Some(&index)).await;
        world.list(&index, &[&attested]).await;
        let held = world.registry.file(&attested.digest.hex());
        std::fs::remove_dir_all(held.parent().unwrap()).unwrap();
        let reference = format!("{}/team/app@{index}", world.registry.address());
        let request = AttachedRequest { reference, known: BTreeSet::new() };
        let error = Oci::new().attached(&world.place.cx, &request).await.unwrap_err();
        assert_ne!(error.kind, ErrorKind::Invalid, "{error:?} {}", gone.digest);
    }
}
