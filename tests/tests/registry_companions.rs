//! Signatures, attestations and other companions of an artifact, and how few requests a copy takes: real registries,
//! which keep referrers under fallback tags.

#[cfg(test)]
mod needs_docker_registry {
    use bytes_of::json;
    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{
        Copy, CopyReport, Layout, Limits, Network, OCI_INDEX, OCI_MANIFEST, OciError, RawManifest, RegistrySettings,
        Resolved, Selector, Settings, Store, copy, resolve_digest, verify,
    };
    use promo_sdk::{Context, Digest};
    use promo_tests::registry::Registry;
    use serde_json::Value;

    mod bytes_of {
        pub(super) fn json(value: &serde_json::Value) -> Vec<u8> {
            serde_json::to_vec(value).unwrap()
        }
    }

    struct World {
        a: Registry,
        b: Registry,
        cx: Context,
        directory: tempfile::TempDir,
    }

    impl World {
        fn start() -> Option<Self> {
            let (a, b) = (Registry::start()?, Registry::start()?);
            let directory = tempfile::tempdir().unwrap();
            let cx = promo_sdk::testing::context(directory.path());
            Some(Self { a, b, cx, directory })
        }

        fn network(&self) -> Network {
            Network::of(&self.cx).unwrap()
        }
    }

    fn at(network: &Network, registry: &Registry, repository: &str) -> Store {
        Store::Registry(network.repository(registry.address(), repository).unwrap())
    }

    async fn bring(source: &Store, destination: &Store, what: &Resolved, tag: &str) -> Result<CopyReport, OciError> {
        let limits = Limits::default();
        copy(Copy { source, source_tag: None, destination, resolved: what, tags: &[tag], limits }).await
    }

    async fn resolved(store: &Store, digest: &Digest) -> Resolved {
        resolve_digest(store, digest, &Limits::default()).await.unwrap()
    }

    async fn blob(store: &Store, bytes: &[u8]) -> Value {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let part = Ok::<_, OciError>(bytes.to_vec().into());
        store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([part]))).await.unwrap();
        serde_json::json!({ "digest": digest.to_string(), "mediaType": "application/json", "size": size })
    }

    /// Puts a small artifact that says `text`, about `subject` where there is one.
    async fn artifact(store: &Store, subject: Option<&RawManifest>, texts: &[&str]) -> RawManifest {
        let mut layers = Vec::new();
        for text in texts {
            layers.push(blob(store, text.as_bytes()).await);
        }
        let mut manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.test.signature",
            "config": blob(store, b"{}").await, "layers": layers, "annotations": { "says": texts.join(" ") },
        });
        if let Some(subject) = subject {
            manifest["subject"] = serde_json::json!({
                "digest": subject.digest.to_string(), "mediaType": subject.media_type, "size": subject.bytes.len(),
            });
        }
        let bytes = json(&manifest);
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.into(), bytes };
        store.put_manifest(&raw).await.unwrap();
        raw
    }

    fn fallback(subject: &Digest) -> String {
        subject.to_string().replace(':', "-")
    }

    /// Lists `referrers` under the fallback tag of `subject`, as a client of an old registry does.
    async fn list(store: &Store, subject: &Digest, referrers: &[&RawManifest]) {
        let manifests: Vec<Value> = referrers
            .iter()
            .map(|r| serde_json::json!({ "digest": r.digest.to_string(), "mediaType": r.media_type, "size": r.bytes.len() }))
            .collect();
        let bytes = json(&serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests }));
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
        store.put_tag(&fallback(subject), &raw, None).await.unwrap();
    }

    async fn manifest(store: &Store, digest: &Digest) -> RawManifest {
        store.get_manifest(Selector::Digest(digest), None, &Limits::default()).await.unwrap()
    }

    #[tokio::test]
    async fn s2_3_signatures_and_what_refers_to_them_travel_and_stay_findable() {
        let Some(world) = World::start() else { return };
        let network = world.network();
        let (a, b) = (at(&network, &world.a, "team/app"), at(&network, &world.b, "prod/app"));
        let digest = build::image(&a, "1.0.0", &Image::new([], vec![b"layer".to_vec()])).await.unwrap();
        let what = resolved(&a, &digest).await;
        let subject = manifest(&a, &digest).await;
        let platform = manifest(&a, &what.images[0].digest).await;
        let signature = artifact(&a, Some(&subject), &["signed"]).await;
        let sbom = artifact(&a, Some(&platform), &["parts"]).await;
        let about_sbom = artifact(&a, Some(&sbom), &["signed parts"]).await;
        let stranger = artifact(&a, None, &["about nobody"]).await;
        list(&a, &digest, &[&signature, &stranger]).await;
        list(&a, &platform.digest, &[&sbom]).await;
        list(&a, &sbom.digest, &[&about_sbom]).await;

        let report = bring(&a, &b, &what, "1.0.0").await.unwrap();
        assert_eq!(report.referrers, 3);
        for (raw, of) in [(&signature, &digest), (&sbom, &platform.digest), (&about_sbom, &sbom.digest)] {
            assert_eq!(manifest(&b, &raw.digest).await.bytes, raw.bytes);
            verify(&b, &raw.digest, &Limits::default()).await.unwrap();
            let tag = fallback(of);
            let index = b.get_manifest(Selector::Tag(&tag), None, &Limits::default()).await.unwrap();
            let index: Value = serde_json::from_slice(&index.bytes).unwrap();
            assert_eq!(index["manifests"][0]["digest"], raw.digest.to_string());
            assert_eq!(index["manifests"][0]["artifactType"], "application/vnd.test.signature");
            assert!(index["manifests"][0]["annotations"]["says"].is_string());
        }
        assert!(b.head_digest(&stranger.digest).await.unwrap().is_none(), "a list does not make a referrer");
        // Nobody saw the tag before the signatures: it was written last.
        let puts: Vec<_> = world.b.requests().into_iter().filter(|r| r.method == "PUT").map(|r| r.path).collect();
        assert_eq!(puts.last().unwrap(), "/v2/prod/app/manifests/1.0.0");

        // What another promotion put there stays, and the same again writes nothing.
        let own = artifact(&b, Some(&subject), &["only here"]).await;
        let index = b.get_manifest(Selector::Tag(&fallback(&digest)), None, &Limits::default()).await.unwrap();
        let mut list: Value = serde_json::from_slice(&index.bytes).unwrap();
        let entry =
            serde_json::json!({ "digest": own.digest.to_string(), "mediaType": OCI_MANIFEST, "size": own.bytes.len() });
        list["manifests"].as_array_mut().unwrap().push(entry);
        let bytes = json(&list);
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
        b.put_tag(&fallback(&digest), &raw, Some(&index.digest)).await.unwrap();
        let more = artifact(&a, Some(&subject), &["signed again"]).await;
        let old = a.head_tag(&fallback(&digest)).await.unwrap().unwrap().digest;
        let bytes = json(&serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            { "digest": signature.digest.to_string(), "mediaType": OCI_MANIFEST, "size": signature.bytes.len() },
            { "digest": more.digest.to_string(), "mediaType": OCI_MANIFEST, "size": more.bytes.len() },
        ] }));
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.into(), bytes };
        a.put_tag(&fallback(&digest), &raw, Some(&old)).await.unwrap();
        let report = bring(&a, &b, &what, "release-1").await.unwrap();
        assert_eq!((report.referrers, report.blobs_copied), (1, 1));
        let index = b.get_manifest(Selector::Tag(&fallback(&digest)), None, &Limits::default()).await.unwrap();
        let index = String::from_utf8(index.bytes).unwrap();
        for raw in [&signature, &own, &more] {
            assert!(index.contains(&raw.digest.to_string()), "{index}");
        }

        // And into a layout, where the list is a tag too.
        let back = Store::Layout(Layout::new(world.directory.path().join("back"), "oci-layout:back"));
        let report = bring(&b, &back, &what, "1.0.0").await.unwrap();
        assert_eq!(report.referrers, 5);
        verify(&back, &signature.digest, &Limits::default()).await.unwrap();
        assert!(back.head_tag(&fallback(&digest)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn tags_of_cosign_are_copied_grow_and_are_never_thrown_away() {
        let Some(world) = World::start() else { return };
        let network = world.network();
        let (a, b) = (at(&network, &world.a, "app"), at(&network, &world.b, "app"));
        let digest = build::image(&a, "1.0.0", &Image::new([], vec![b"layer".to_vec()])).await.unwrap();
        let what = resolved(&a, &digest).await;
        let tag = format!("{}.sig", fallback(&digest));
        let one = artifact(&a, None, &["one"]).await;
        a.put_tag(&tag, &one, None).await.unwrap();
        assert_eq!(bring(&a, &b, &what, "1.0.0").await.unwrap().referrers, 1);
        assert_eq!(b.head_tag(&tag).await.unwrap().unwrap().digest, one.digest);

        let two = artifact(&a, None, &["one", "two"]).await;
        a.put_tag(&tag, &two, Some(&one.digest)).await.unwrap();
        assert_eq!(bring(&a, &b, &what, "again").await.unwrap().referrers, 1);
        assert_eq!(b.head_tag(&tag).await.unwrap().unwrap().digest, two.digest);

        // Less at the source: the destination keeps what it has.
        a.put_tag(&tag, &one, Some(&two.digest)).await.unwrap();
        assert_eq!(bring(&a, &b, &what, "less").await.unwrap().referrers, 0);
        assert_eq!(b.head_tag(&tag).await.unwrap().unwrap().digest, two.digest);

        // Each side has something of its own: nothing is written.
        let three = artifact(&a, None, &["three"]).await;
        a.put_tag(&tag, &three, Some(&one.digest)).await.unwrap();
        let before = world.b.requests().iter().filter(|r| r.writes()).count();
        let error = bring(&a, &b, &what, "other").await.unwrap_err();
        assert!(matches!(error, OciError::TagConflict { found, .. } if found == two.digest), "{error:?}");
        assert_eq!(world.b.requests().iter().filter(|r| r.writes()).count(), before);
    }

    #[tokio::test]
    async fn a_large_blob_goes_in_chunks_where_the_settings_say_so() {
        let Some(world) = World::start() else { return };
        let settings = RegistrySettings { chunk: Some(8 << 20), ..RegistrySettings::default() };
        let settings: Settings = [(world.b.address().to_string(), settings)].into_iter().collect();
        let network = world.network().with_settings(settings);
        let (a, b) = (at(&network, &world.a, "app"), at(&network, &world.b, "app"));
        let layer: Vec<u8> = (0..20_000_000_u32).map(|i| (i * 31 + i / 251) as u8).collect();
        let digest = build::image(&a, "1.0.0", &Image::new([], vec![layer])).await.unwrap();
        let what = resolved(&a, &digest).await;
        bring(&a, &b, &what, "1.0.0").await.unwrap();
        assert_eq!(verify(&b, &digest, &Limits::default()).await.unwrap(), what);
        assert_eq!(world.b.requests().iter().filter(|r| r.method == "PATCH").count(), 3);

        // A byte that flips at the source: the chunks are sent, and never become a blob.
        let c = at(&network, &world.b, "other");
        let layer = what.blobs.iter().max_by_key(|blob| blob.size).unwrap();
        let file = world.a.file(&layer.digest.hex());
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[19_999_999] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let network = network.with_settings(
            [(world.b.address().to_string(), RegistrySettings { chunk: Some(8 << 20), ..RegistrySettings::default() })]
                .into_iter()
                .collect(),
        );
        let error = bring(&at(&network, &world.a, "app"), &at(&network, &world.b, "other"), &what, "1.0.0").await;
        assert!(matches!(error, Err(OciError::Integrity { .. })), "{error:?}");
        assert!(c.head_tag("1.0.0").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn ten_layers_take_36_requests_cold_and_15_within_a_registry() {
        let Some(world) = World::start() else { return };
        let network = world.network();
        let layers: Vec<Vec<u8>> = (0..10).map(|n| vec![n; 300_000]).collect();
        let image = Image { platforms: vec!["linux/amd64".into()], ..Image::new([], layers) };
        let (a, b) = (at(&network, &world.a, "app"), at(&network, &world.b, "app"));
        let index = build::image(&a, "1.0.0", &image).await.unwrap();
        let platform = resolved(&a, &index).await.images[0].digest;
        let what = resolved(&a, &platform).await;
        // The tag, two for the configuration, three for each of ten layers, the tag again, its PUT, and a look at it. A run
        // of promo asks for the tag once more: when it plans again.
        bring(&a, &b, &what, "1.0.0").await.unwrap();
        let cold = world.b.requests().len();
        assert_eq!(cold, 36);
        // The tag, a mount for each blob, the tag again, its PUT, and a look at it.
        let c = at(&network, &world.b, "other/app");
        let report = bring(&b, &c, &what, "1.0.0").await.unwrap();
        assert_eq!((report.blobs_mounted, report.bytes), (11, 0));
        let here = world.b.requests()[cold..].iter().filter(|r| r.path.contains("/other/app/")).count();
        assert_eq!(here, 15);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hundred_small_images_with_common_layers_take_at_most_1400_requests() {
        let Some(world) = World::start() else { return };
        let network = world.network();
        let common: Vec<Vec<u8>> = (0..3).map(|n| vec![n; 50_000]).collect();
        let mut images = Vec::new();
        for n in 0..100 {
            let (a, version) = (at(&network, &world.a, &format!("team/app{n}")), format!("{n}"));
            let mut layers = common.clone();
            layers.push(version.clone().into_bytes());
            let image = Image {
                platforms: vec!["linux/amd64".into()],
                ..Image::new([("org.opencontainers.image.version", version.as_str())], layers)
            };
            let index = build::image(&a, "1.0.0", &image).await.unwrap();
            // One manifest each, as most small images are.
            let platform = resolved(&a, &index).await.images[0].digest;
            images.push((n, resolved(&a, &platform).await));
        }
        // What was learnt while building is not known to a run.
        let network = world.network();
        let run = |(n, what): (i32, Resolved)| {
            let (a, b) =
                (at(&network, &world.a, &format!("team/app{n}")), at(&network, &world.b, &format!("prod/app{n}")));
            async move { bring(&a, &b, &what, "1.0.0").await.unwrap() }
        };
        let mut reports = Vec::new();
        for image in images.clone() {
            reports.push(run(image).await);
        }
        let sum = |f: fn(&CopyReport) -> u64| reports.iter().map(f).sum::<u64>();
        assert_eq!((sum(|r| r.blobs_copied), sum(|r| r.blobs_mounted)), (203, 297));
        let cold = world.b.requests().len();
        assert!(cold <= 1400, "{cold}");
        for image in images {
            assert!(!run(image).await.changed());
        }
        let again = world.b.requests().len() - cold;
        assert_eq!(again, 100, "one question each");
    }
}
