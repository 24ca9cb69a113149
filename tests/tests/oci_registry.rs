//! Copies between two real registries: what must arrive, what must be refused, and how many requests that takes.

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::BTreeMap;

    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{
        Copy, Layout, Limits, Location, Network, Oci, OciError, Resolved, Selector, Store, copy, resolve_digest, verify,
    };
    use promo_sdk::{
        ArtifactInput, Context, Digest, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Provider, ResolveRequest,
        State,
    };
    use promo_tests::registry::{Registry, Request};

    struct World {
        a: Registry,
        b: Registry,
        cx: Context,
        network: Network,
        _directory: tempfile::TempDir,
    }

    impl World {
        fn start() -> Option<Self> {
            let (a, b) = (Registry::start()?, Registry::start()?);
            let directory = tempfile::tempdir().unwrap();
            let cx = promo_sdk::testing::context(directory.path());
            let network = Network::new(cx.http().expect("a client").clone(), cx.clock.clone());
            Some(Self { a, b, cx, network, _directory: directory })
        }

        fn open(&self, location: &str) -> Store {
            let location: Location = location.parse().unwrap();
            Store::open(&location, &self.cx.root, &self.network).unwrap()
        }

        fn at(&self, registry: &Registry, repository: &str) -> Store {
            self.open(&format!("{}/{repository}", registry.address()))
        }
    }

    fn image(mark: &str, layers: usize, size: usize) -> Image {
        let layer = |n: usize| (0..size).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect();
        Image::new([("org.opencontainers.image.version", mark)], (0..layers).map(layer).collect())
    }

    async fn resolved(store: &Store, digest: &Digest) -> Resolved {
        resolve_digest(store, digest, &Limits::default()).await.unwrap()
    }

    fn request<'a>(source: &'a Store, destination: &'a Store, what: &'a Resolved, tags: &'a [&'a str]) -> Copy<'a> {
        Copy { source, source_tag: None, destination, resolved: what, tags, limits: Limits::default() }
    }

    async fn everything(store: &Store, what: &Resolved) -> BTreeMap<Digest, Vec<u8>> {
        let mut out = BTreeMap::new();
        for manifest in &what.tree {
            let raw = store.get_manifest(Selector::Digest(&manifest.digest), None, &Limits::default()).await.unwrap();
            assert_eq!(raw.media_type, manifest.media_type);
            out.insert(manifest.digest, raw.bytes);
        }
        for blob in &what.blobs {
            out.insert(blob.digest, store.read_blob(&blob.digest, blob.size, u64::MAX).await.unwrap());
        }
        out
    }

    fn writes(requests: &[Request]) -> Vec<&Request> {
        requests.iter().filter(|r| r.writes()).collect()
    }

    #[tokio::test]
    async fn a_multi_arch_index_goes_from_one_registry_to_another_byte_for_byte() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "team/app"), world.at(&world.b, "prod/app"));
        let layout = Store::Layout(Layout::new(world.cx.root.join("images"), "oci-layout:images"));
        let digest = build::image(&layout, "1.0.0", &image("1.0.0", 3, 300_000)).await.unwrap();
        let built = resolved(&layout, &digest).await;
        copy(request(&layout, &a, &built, &["1.0.0"])).await.unwrap();
        let there = resolved(&a, &digest).await;
        assert_eq!(there, built, "what a registry serves is what the layout holds");

        let report = copy(request(&a, &b, &there, &["1.0.0"])).await.unwrap();
        // The index is written with its tag.
        assert_eq!((report.blobs_copied, report.manifests, report.tags), (5, 2, 1));
        assert_eq!(b.head_tag("1.0.0").await.unwrap().unwrap().digest, digest);
        assert_eq!(everything(&b, &there).await, everything(&layout, &built).await);
        assert_eq!(verify(&b, &digest, &Limits::default()).await.unwrap(), built);

        // And back into a layout, as an air-gapped site takes it.
        let back = Store::Layout(Layout::new(world.cx.root.join("back"), "oci-layout:back"));
        copy(request(&b, &back, &there, &["1.0.0"])).await.unwrap();
        assert_eq!(everything(&back, &there).await, everything(&layout, &built).await);
    }

    #[tokio::test]
    async fn the_second_copy_is_one_question_and_no_write() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "app"), world.at(&world.b, "app"));
        let digest = build::image(&a, "1.0.0", &image("1", 2, 1000)).await.unwrap();
        let what = resolved(&a, &digest).await;
        copy(request(&a, &b, &what, &["1.0.0"])).await.unwrap();
        let (before_a, before_b) = (world.a.requests().len(), world.b.requests().len());
        let report = copy(request(&a, &b, &what, &["1.0.0"])).await.unwrap();
        assert!(!report.changed());
        let after = world.b.requests();
        assert_eq!(after.len(), before_b + 1);
        assert_eq!(after[before_b].method, "HEAD");
        assert_eq!(world.a.requests().len(), before_a, "the source is not even asked");
    }

    #[tokio::test]
    async fn a_cold_copy_keeps_to_its_budget_of_requests() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "app"), world.at(&world.b, "app"));
        let digest = build::image(&a, "1.0.0", &image("1", 8, 1000)).await.unwrap();
        let what = resolved(&a, &digest).await;
        copy(request(&a, &b, &what, &["1.0.0"])).await.unwrap();
        let (n, m) = (what.blobs.len(), what.tree.len());
        // For each small blob the mount that asks for it and opens its upload, and PUT; for each child PUT, since what has
        // new parts cannot be there; the tag looked at twice, put (which brings the subject), read back.
        let all = world.b.requests();
        assert_eq!(all.len(), 2 * n + (m - 1) + 4);
        // Blobs, then children, then the tag: nobody ever sees a name for half an artifact.
        let puts: Vec<_> = all.iter().filter(|r| r.method == "PUT").map(|r| r.path.as_str()).collect();
        assert!(puts[..n].iter().all(|path| path.contains("/blobs/uploads/")), "{puts:?}");
        let order: Vec<_> = what.tree[..m - 1].iter().map(|m| format!("/v2/app/manifests/{}", m.digest)).collect();
        assert_eq!(puts[n..n + m - 1], order);
        assert_eq!(puts[n + m - 1..], ["/v2/app/manifests/1.0.0"]);

        // Another repository of the same registry: nothing is uploaded.
        let c = world.at(&world.b, "other/app");
        let before = world.b.requests().len();
        let report = copy(request(&b, &c, &what, &["1.0.0"])).await.unwrap();
        assert_eq!((report.blobs_mounted, report.blobs_copied, report.bytes), (n as u64, 0, 0));
        let all = world.b.requests();
        let here: Vec<_> = all[before..].iter().filter(|r| r.path.contains("/other/app/")).collect();
        assert!(here.len() <= n + 2 * (m - 1) + 4, "{} requests for {n} blobs and {m} manifests", here.len());
        assert!(here.iter().all(|r| r.method != "PATCH" && !(r.method == "PUT" && r.path.contains("/blobs/"))));

        // Another name in the same repository: only the tag is written.
        let before = world.b.requests().len();
        copy(request(&c, &c, &what, &["release-7"])).await.unwrap();
        let all = world.b.requests();
        assert_eq!(writes(&all[before..]).len(), 1);
        assert_eq!(c.list_tags().await.unwrap(), ["1.0.0", "release-7"]);
    }

    #[tokio::test]
    async fn r2_a_tag_that_moved_is_refused_with_both_digests_before_any_write() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "app"), world.at(&world.b, "app"));
        let planned = build::image(&a, "1.0.0", &image("one", 1, 100)).await.unwrap();
        let what = resolved(&a, &planned).await;
        let rebuilt = build::image(&a, "rebuilt", &image("two", 1, 100)).await.unwrap();
        let manifest = a.get_manifest(Selector::Digest(&rebuilt), None, &Limits::default()).await.unwrap();
        a.put_tag("1.0.0", &manifest, Some(&planned)).await.unwrap();

        let moved = Copy { source_tag: Some("1.0.0"), ..request(&a, &b, &what, &["1.0.0"]) };
        let error = copy(moved).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, OciError::TagMoved { .. }), "{text}");
        assert!(text.contains(&planned.to_string()) && text.contains(&rebuilt.to_string()), "{text}");
        assert_eq!(writes(&world.b.requests()), Vec::<&Request>::new());
    }

    #[tokio::test]
    async fn s2_3_a_destination_tag_that_holds_something_else_is_refused_before_any_write() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "app"), world.at(&world.b, "app"));
        let wanted = build::image(&a, "1.0.0", &image("one", 1, 100)).await.unwrap();
        let taken = build::image(&b, "1.0.0", &image("two", 1, 100)).await.unwrap();
        let what = resolved(&a, &wanted).await;
        let before = writes(&world.b.requests()).len();
        let error = copy(request(&a, &b, &what, &["free", "1.0.0"])).await.unwrap_err();
        assert!(
            matches!(error, OciError::TagConflict { wanted: w, found, .. } if (w, found) == (wanted, taken)),
            "{error}"
        );
        assert_eq!(writes(&world.b.requests()).len(), before);
        assert_eq!(b.head_tag("1.0.0").await.unwrap().unwrap().digest, taken);
    }

    #[tokio::test]
    async fn s2_2_a_byte_that_flips_in_the_source_registry_never_arrives() {
        let Some(world) = World::start() else { return };
        let (a, b) = (world.at(&world.a, "app"), world.at(&world.b, "app"));
        let digest = build::image(&a, "1.0.0", &image("1", 1, 200_000)).await.unwrap();
        let what = resolved(&a, &digest).await;
        let layer = what.blobs.iter().find(|blob| blob.size == 200_000).unwrap();
        let file = world.a.file(&layer.digest.hex());
        let good = std::fs::read(&file).unwrap();
        for at in [0, 65_536, 131_071, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&file, bad).unwrap();
            let error = copy(request(&a, &b, &what, &["1.0.0"])).await.unwrap_err();
            assert!(matches!(error, OciError::Integrity { .. }), "byte {at}: {error:?}");
            assert!(!b.blob_exists(&layer.digest, layer.size).await.unwrap(), "byte {at}");
            assert_eq!(b.head_tag("1.0.0").await.unwrap(), None);
        }
        std::fs::write(&file, good).unwrap();
        copy(request(&a, &b, &what, &["1.0.0"])).await.unwrap();
        verify(&b, &digest, &Limits::default()).await.unwrap();

        let child = world.a.file(&what.tree[0].digest.hex());
        let mut bad = std::fs::read(&child).unwrap();
        bad[10] ^= 1;
        std::fs::write(&child, bad).unwrap();
        assert!(resolve_digest(&a, &digest, &Limits::default()).await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_to_be_missing() {
        let Some(world) = World::start() else { return };
        let a = world.at(&world.a, "nobody/app");
        assert_eq!(a.head_tag("1.0.0").await.unwrap(), None);
        assert_eq!(a.list_tags().await.unwrap(), Vec::<String>::new());
        let error = resolve_digest(&a, &Digest::of(b"nothing"), &Limits::default()).await.unwrap_err();
        assert!(matches!(error, OciError::NotFound { .. }), "{error:?}");
    }

    fn inputs(world: &World, digest: Digest, tag: &str) -> Inputs {
        let artifact = ArtifactInput {
            repository: format!("{}/prod/app", world.b.address()),
            digest,
            tag: Some(tag.into()),
            source: Some(format!("{}/team/app", world.a.address())),
            tree: Vec::new(),
        };
        Inputs {
            environment: "production".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target(BTreeMap::new()),
            settings: serde_json::Value::Null,
            artifacts: BTreeMap::from([("app".parse().unwrap(), artifact)]),
            files: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn the_provider_resolves_previews_copies_and_observes() {
        let Some(world) = World::start() else { return };
        let (oci, cx) = (Oci::new(), &world.cx);
        let a = world.at(&world.a, "team/app");
        let digest = build::image(&a, "1.4.2", &image("1.4.2", 2, 1000)).await.unwrap();
        let reference = format!("{}/team/app:1.4.2", world.a.address());
        let found = oci.resolve(cx, &ResolveRequest { reference }).await.unwrap();
        assert_eq!((found.digest, found.tree.len()), (digest, 3));
        assert_eq!(found.metadata["org.opencontainers.image.version"], "1.4.2");
        let moving = ResolveRequest { reference: format!("{}/team/app:latest", world.a.address()) };
        assert_eq!(oci.resolve(cx, &moving).await.unwrap_err().kind, ErrorKind::MovingTag);

        let inputs = inputs(&world, digest, "1.4.2");
        let observe = ObserveRequest { inputs: inputs.clone() };
        let preview = oci.preview(cx, &observe).await.unwrap();
        assert_eq!((preview.current, preview.desired), (State::Absent, State::Present(digest)));
        assert_eq!(preview.changes.len(), 1);
        assert!(writes(&world.b.requests()).is_empty(), "a preview only reads");
        let ensure = EnsureRequest {
            inputs,
            expected: preview.current,
            desired: preview.desired,
            changes: preview.changes,
            token: "run/1".into(),
            epoch: 1,
            ledger: "ledger".into(),
        };
        assert!(oci.ensure(cx, &ensure).await.unwrap().changed);
        assert_eq!(oci.observe(cx, &observe).await.unwrap(), State::Present(digest));
        let before = writes(&world.b.requests()).len();
        assert!(!oci.ensure(cx, &ensure).await.unwrap().changed);
        assert_eq!(writes(&world.b.requests()).len(), before);
        assert!(oci.preview(cx, &observe).await.unwrap().changes.is_empty());
    }

    #[tokio::test]
    async fn r2_the_provider_refuses_moved_and_taken_tags_at_plan_and_at_apply() {
        let Some(world) = World::start() else { return };
        let (oci, cx) = (Oci::new(), &world.cx);
        let (a, b) = (world.at(&world.a, "team/app"), world.at(&world.b, "prod/app"));
        let planned = build::image(&a, "1.4.2", &image("one", 1, 100)).await.unwrap();
        let rebuilt = build::image(&a, "rebuilt", &image("two", 1, 100)).await.unwrap();
        let inputs = inputs(&world, planned, "1.4.2");
        let observe = ObserveRequest { inputs: inputs.clone() };
        let desired = State::Present(planned);
        let ensure = EnsureRequest {
            inputs,
            expected: State::Absent,
            desired,
            changes: Vec::new(),
            token: "run/1".into(),
            epoch: 1,
            ledger: "ledger".into(),
        };

        let manifest = a.get_manifest(Selector::Digest(&rebuilt), None, &Limits::default()).await.unwrap();
        a.put_tag("1.4.2", &manifest, Some(&planned)).await.unwrap();
        for error in [oci.preview(cx, &observe).await.unwrap_err(), oci.ensure(cx, &ensure).await.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Moved, "{error}");
            assert_eq!((error.expected, error.found), (Some(planned.to_string()), Some(rebuilt.to_string())));
        }
        let taken = build::image(&b, "1.4.2", &image("three", 1, 100)).await.unwrap();
        let before = writes(&world.b.requests()).len();
        for error in [oci.preview(cx, &observe).await.unwrap_err(), oci.ensure(cx, &ensure).await.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
            assert_eq!((error.expected, error.found), (Some(planned.to_string()), Some(taken.to_string())));
        }
        assert_eq!(writes(&world.b.requests()).len(), before);
    }
}
