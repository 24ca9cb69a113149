//! The provider over layouts: what the engine is told.

use std::collections::BTreeMap;

use promo_core::Digest;
use promo_sdk::{
    ArtifactInput, Context, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Provider, ProviderError, ResolveRequest,
    State,
};

use super::build::{self, Image};
use super::document::{self, RawManifest};
use super::{Layout, Limits, Oci, Selector, Store, verify};

struct World {
    directory: tempfile::TempDir,
    cx: Context,
    oci: Oci,
    digest: Digest,
}

/// `images` holds one artifact as `1.4.2`; `prod` is where it is copied to.
async fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let cx = promo_sdk::testing::context(directory.path());
    let image = Image {
        annotations: BTreeMap::from([("shared".into(), "annotation".into()), ("only.index".into(), "yes".into())]),
        ..Image::new([("shared", "label"), ("only.label", "yes")], vec![b"layer".to_vec()])
    };
    let digest = build::image(&layout(&cx, "images"), "1.4.2", &image).await.unwrap();
    World { directory, cx, oci: Oci::new(), digest }
}

fn layout(cx: &Context, name: &str) -> Store {
    Store::Layout(Layout::new(cx.path(name), format!("oci-layout:{name}")))
}

impl World {
    fn inputs(&self, tag: Option<&str>) -> Inputs {
        let artifact = ArtifactInput {
            repository: "oci-layout:prod".into(),
            digest: self.digest,
            tag: tag.map(Into::into),
            source: Some("oci-layout:images".into()),
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

    async fn observe(&self, tag: Option<&str>) -> Result<State, ProviderError> {
        self.oci.observe(&self.cx, &ObserveRequest { inputs: self.inputs(tag) }).await
    }

    async fn ensure(&self, tag: Option<&str>, expected: State) -> Result<bool, ProviderError> {
        let request = EnsureRequest {
            inputs: self.inputs(tag),
            expected,
            desired: State::Present(self.digest),
            changes: Vec::new(),
            token: "run/1".into(),
            epoch: 1,
            ledger: "ledger".into(),
        };
        self.oci.ensure(&self.cx, &request).await.map(|answer| answer.changed)
    }

    async fn resolve(&self, reference: &str) -> Result<promo_sdk::Resolved, ProviderError> {
        self.oci.resolve(&self.cx, &ResolveRequest { reference: reference.into() }).await
    }
}

#[tokio::test]
async fn a_reference_resolves_to_digest_tree_and_what_its_metadata_agree_on() {
    let world = world().await;
    let found = world.resolve("oci-layout:images:1.4.2").await.unwrap();
    assert_eq!(found.digest, world.digest);
    assert_eq!(found.tree.len(), 3);
    assert!(found.tree.contains(&world.digest));
    assert_eq!(found.metadata.get("only.label").map(String::as_str), Some("yes"));
    assert_eq!(found.metadata.get("only.index").map(String::as_str), Some("yes"));
    assert_eq!(found.metadata.get("shared"), None, "of sources that disagree none counts");
    let told = &found.contradicted["shared"];
    assert!(
        told.starts_with(&format!(
            "`annotation` by the annotation of {}, `label` by the label of sha256:",
            found.digest
        ))
    );
    assert_eq!(found.contradicted.len(), 1, "{:?}", found.contradicted);
}

#[tokio::test]
async fn what_an_artifact_is_stands_in_its_manifests_and_not_in_what_others_call_them() {
    let world = world().await;
    let found = world.resolve("oci-layout:images:1.4.2").await.unwrap();
    assert_eq!((found.nature, found.platforms.len()), (Some(promo_sdk::Nature::Image), 2));
    // An index that calls its image an attestation, which a runtime would take all the same.
    let store = layout(&world.cx, "images");
    let platform = *found.platforms.keys().next().unwrap();
    let limits = Limits::default();
    let manifest = store.get_manifest(Selector::Digest(&platform), None, &limits).await.unwrap();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": document::OCI_INDEX, "manifests": [{
        "mediaType": manifest.media_type, "digest": platform.to_string(), "size": manifest.bytes.len(),
        "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
    }] });
    let bytes = index.to_string().into_bytes();
    let index = RawManifest { digest: Digest::of(&bytes), media_type: document::OCI_INDEX.into(), bytes };
    store.put_manifest(&index).await.unwrap();
    store.put_tag("2.0.0", &index, None).await.unwrap();
    let found = world.resolve("oci-layout:images:2.0.0").await.unwrap();
    assert_eq!(found.nature, Some(promo_sdk::Nature::Image));
    assert_eq!(found.platforms.keys().collect::<Vec<_>>(), [&platform]);
}

#[tokio::test]
async fn s2_6_the_digest_that_the_build_reported_must_be_what_is_served() {
    let world = world().await;
    assert!(world.resolve(&format!("oci-layout:images:1.4.2@{}", world.digest)).await.is_ok());
    let other = Digest::of(b"other");
    let error = world.resolve(&format!("oci-layout:images:1.4.2@{other}")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Moved);
    assert_eq!((error.expected, error.found), (Some(other.to_string()), Some(world.digest.to_string())));
    for (reference, kind) in [
        ("oci-layout:images", ErrorKind::Reference),
        ("oci-layout:images:latest", ErrorKind::MovingTag),
        ("oci-layout:images@sha256:00", ErrorKind::Reference),
        ("oci-layout:images:9.9.9", ErrorKind::NotFound),
        ("oci-layout:nowhere:1.4.2", ErrorKind::NotFound),
    ] {
        assert_eq!(world.resolve(reference).await.unwrap_err().kind, kind, "{reference}");
    }
}

#[tokio::test]
async fn a_copy_is_observed_and_not_repeated() {
    let world = world().await;
    for tag in [None, Some("1.4.2")] {
        assert_eq!(world.observe(tag).await.unwrap(), State::Absent);
        assert!(world.ensure(tag, State::Absent).await.unwrap());
        assert_eq!(world.observe(tag).await.unwrap(), State::Present(world.digest));
        assert!(!world.ensure(tag, State::Absent).await.unwrap(), "what is there is not written again");
    }
    verify(&layout(&world.cx, "prod"), &world.digest, &Limits::default()).await.unwrap();
}

#[tokio::test]
async fn a_state_that_is_neither_expected_nor_wanted_is_a_conflict() {
    let world = world().await;
    let expected = State::Present(Digest::of(b"was there"));
    let error = world.ensure(Some("1.4.2"), expected).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(!world.directory.path().join("prod").exists());
}

#[tokio::test]
async fn a_copy_that_lost_a_part_is_never_reported_as_there() {
    let world = world().await;
    world.ensure(Some("1.4.2"), State::Absent).await.unwrap();
    let layer = world.directory.path().join("prod/blobs/sha256").join(Digest::of(b"layer").hex());
    std::fs::remove_file(&layer).unwrap();
    assert_eq!(world.observe(Some("1.4.2")).await.unwrap_err().kind, ErrorKind::Integrity);
    assert_eq!(world.observe(None).await.unwrap(), State::Absent);
    assert!(world.ensure(None, State::Absent).await.unwrap(), "copying again mends it");
    assert_eq!(world.observe(Some("1.4.2")).await.unwrap(), State::Present(world.digest));
}

#[tokio::test]
async fn a_source_tag_that_was_tidied_away_is_no_reason_to_stop() {
    let world = world().await;
    let index = world.directory.path().join("images/index.json");
    let text = std::fs::read_to_string(&index).unwrap().replace("\"1.4.2\"", "\"renamed\"");
    std::fs::write(&index, text).unwrap();
    assert!(world.ensure(Some("1.4.2"), State::Absent).await.unwrap());
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_anything_is_touched() {
    let world = world().await;
    let ask = |change: &dyn Fn(&mut EnsureRequest)| {
        let mut request = EnsureRequest {
            inputs: world.inputs(Some("1.4.2")),
            expected: State::Absent,
            desired: State::Present(world.digest),
            changes: Vec::new(),
            token: "run/1".into(),
            epoch: 1,
            ledger: "ledger".into(),
        };
        change(&mut request);
        request
    };
    let place = ask(&|r| r.inputs.artifacts.values_mut().for_each(|a| a.repository = "app".into()));
    assert_eq!(world.oci.ensure(&world.cx, &place).await.unwrap_err().kind, ErrorKind::Reference);
    for (what, request) in [
        ("nothing wanted", ask(&|r| r.desired = State::Absent)),
        ("another digest wanted", ask(&|r| r.desired = State::Present(Digest::of(b"other")))),
        ("no artifact", ask(&|r| r.inputs.artifacts.clear())),
        ("no source", ask(&|r| r.inputs.artifacts.values_mut().for_each(|a| a.source = None))),
    ] {
        let error = world.oci.ensure(&world.cx, &request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{what}: {error}");
    }
    assert!(!world.directory.path().join("prod").exists());
}

#[tokio::test]
async fn a_stopped_run_does_not_start_a_copy() {
    let world = world().await;
    world.cx.cancelled.cancel();
    assert_eq!(world.ensure(Some("1.4.2"), State::Absent).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(!world.directory.path().join("prod").exists());
}

/// Every file below a directory, by path and content.
fn files(directory: &std::path::Path) -> String {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(|f| format!("{} {}\n", f.path().display(), Digest::of(&std::fs::read(f.path()).unwrap()))).collect()
}

/// The digest of the bytes that a layout names by the tag of the first artifact, as its files say.
fn held(root: &std::path::Path, inputs: &Inputs) -> Option<Digest> {
    let artifact = inputs.artifacts.values().next().unwrap();
    let layout = root.join(artifact.repository.strip_prefix("oci-layout:").unwrap());
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).ok()?).unwrap();
    let named = |m: &&serde_json::Value| {
        m["annotations"]["org.opencontainers.image.ref.name"].as_str() == artifact.tag.as_deref()
    };
    let digest = index["manifests"].as_array()?.iter().find(named)?["digest"].as_str()?.to_owned();
    Some(Digest::of(&std::fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap()))
}

#[tokio::test]
async fn layouts_keep_the_contract_of_copies() {
    let world = world().await;
    let other = Image::new([("label", "other")], vec![b"another layer".to_vec()]);
    let other = build::image(&layout(&world.cx, "images"), "1.5.0", &other).await.unwrap();
    let inputs = |destination: &str, digest: Digest| {
        let mut inputs = world.inputs(Some("1.4.2"));
        let artifact = inputs.artifacts.values_mut().next().unwrap();
        (artifact.repository, artifact.digest) = (format!("oci-layout:copies/{destination}"), digest);
        inputs
    };
    let mut missing = inputs("b", Digest::of(b"nobody built this"));
    missing.artifacts.values_mut().for_each(|a| a.tag = Some("9.9.9".into()));
    let root = world.directory.path();
    let cases = promo_sdk::conformance::CopyCases {
        reference: "oci-layout:images:1.4.2",
        first: inputs("a", world.digest),
        other: inputs("a", other),
        missing,
        interrupted: inputs("c", world.digest),
        held: &|inputs| held(root, inputs),
        snapshot: &|| files(&root.join("copies")),
    };
    assert_eq!(promo_sdk::conformance::copies(&world.oci, &world.cx, &cases).await, Ok(()));
}

/// An image whose configuration says this of when it was created, under a tag.
async fn configured(store: &Store, tag: &str, config: &serde_json::Value) {
    let put = async |bytes: Vec<u8>| {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let stream = futures_util::stream::once(async move { Ok(bytes::Bytes::from(bytes)) });
        store.put_blob(&digest, size, Box::pin(stream)).await.unwrap();
        serde_json::json!({ "digest": digest, "size": size, "mediaType": super::nature::IMAGE_CONFIGS[0] })
    };
    let config = put(config.to_string().into_bytes()).await;
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": document::OCI_MANIFEST, "config": config, "layers": [],
    });
    let bytes = manifest.to_string().into_bytes();
    let raw = RawManifest { digest: Digest::of(&bytes), media_type: document::OCI_MANIFEST.into(), bytes };
    store.put_manifest(&raw).await.unwrap();
    store.put_tag(tag, &raw, None).await.unwrap();
}

#[tokio::test]
async fn r1_when_it_was_created_is_what_its_annotation_says_or_its_configuration() {
    let world = world().await;
    let store = layout(&world.cx, "images");
    let base =
        serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    for (tag, created) in [
        ("build-2026", "2026-01-02T03:04:05.123Z".into()),
        ("build-zoned", "2026-01-02T04:04:05.123+01:00".into()),
        ("build-1970", "1970-01-01T00:00:00Z".into()),
        ("build-words", "yesterday".into()),
        ("build-null", serde_json::Value::Null),
    ] {
        let mut config = base.clone();
        config["created"] = created;
        configured(&store, tag, &config).await;
    }
    let annotations = BTreeMap::from([("org.opencontainers.image.created".into(), "2026-05-06T07:08:09Z".into())]);
    let annotated = Image { annotations, ..Image::new([], vec![b"layer".to_vec()]) };
    build::image(&store, "build-annotated", &annotated).await.unwrap();
    let asked = async |tag: &str| {
        let reference = format!("oci-layout:images:{tag}");
        world.oci.created(&world.cx, &ResolveRequest { reference }).await.map(|at| at.map(|at| at.to_string()))
    };
    assert_eq!(asked("build-2026").await.unwrap().unwrap(), "2026-01-02T03:04:05.123Z");
    assert_eq!(asked("build-zoned").await, asked("build-2026").await);
    assert_eq!(asked("build-annotated").await.unwrap().unwrap(), "2026-05-06T07:08:09Z");
    // An index asks its first image; a build that is always the same, and one that says nothing, say nothing.
    for nothing in ["1.4.2", "build-1970", "build-null"] {
        assert_eq!(asked(nothing).await.unwrap(), None, "{nothing}");
    }
    let error = asked("build-words").await.unwrap_err();
    assert!(error.message.contains("`created` is yesterday, expected a time"), "{error}");
    assert_eq!(asked("build-none").await.unwrap_err().kind, ErrorKind::NotFound);
    let tags = world.oci.tags(&world.cx, "oci-layout:images").await.unwrap();
    assert_eq!((tags.len(), tags.contains("1.4.2")), (7, true), "{tags:?}");
    let signature = format!("sha256-{}.sig", world.digest.hex());
    for moves in ["latest", "v1", &signature] {
        build::image(&store, moves, &annotated).await.unwrap();
    }
    assert_eq!(world.oci.tags(&world.cx, "oci-layout:images").await.unwrap(), tags);
}
