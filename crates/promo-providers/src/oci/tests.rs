//! Layouts end to end: what is promised about copies, tags and broken bytes. Registries have their own tests, against
//! servers that misbehave (`server_tests`) and against real ones (package `promo-tests`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use promo_core::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::build::{self, Image};
use super::referrers::Companions;
use super::*;

struct Place {
    _directory: TempDir,
    root: PathBuf,
    store: Store,
}

fn place(name: &str) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join(name);
    let store = Store::Layout(Layout::new(&root, format!("oci-layout:{name}")));
    Place { _directory: directory, root, store }
}

fn sample() -> Image {
    Image::new([("org.opencontainers.image.revision", "9fceb02")], vec![b"first layer".to_vec(), b"second".to_vec()])
}

async fn built(name: &str, tag: &str) -> (Place, Digest) {
    let place = place(name);
    let digest = build::image(&place.store, tag, &sample()).await.unwrap();
    (place, digest)
}

async fn found(store: &Store, digest: &Digest) -> Result<Resolved, OciError> {
    resolve_digest(store, digest, &Limits::default()).await
}

fn blob(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

/// Every file below a directory with its content.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_file())
        .map(|e| (e.path().to_path_buf(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn request<'a>(source: &'a Store, destination: &'a Store, resolved: &'a Resolved, tags: &'a [&'a str]) -> Copy<'a> {
    Copy { source, source_tag: None, destination, resolved, tags, limits: Limits::default() }
}

/// Puts a manifest as it is given, without any check, as a broken tool would.
fn plant(root: &Path, value: &Value) -> (Digest, u64) {
    let bytes = value.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    std::fs::write(blob(root, &digest), &bytes).unwrap();
    (digest, bytes.len() as u64)
}

#[tokio::test]
async fn s2_3_a_copy_keeps_every_byte_and_the_second_one_writes_nothing() {
    let (a, digest) = built("a", "1.0.0").await;
    let b = place("b");
    let resolved = found(&a.store, &digest).await.unwrap();
    assert_eq!(resolved.tree.len(), 3);
    assert_eq!(resolved.tree.last().unwrap().digest, digest, "the subject is written after its children");
    assert_eq!(resolved.blobs.len(), 4, "two layers, two configurations, each once");
    assert_eq!(resolved.labels()["org.opencontainers.image.revision"], "9fceb02");
    assert_eq!(resolved.images[1].platform.as_deref(), Some("linux/arm64"));

    let report = copy(request(&a.store, &b.store, &resolved, &["1.0.0"])).await.unwrap();
    assert_eq!((report.blobs_copied, report.manifests, report.tags), (4, 3, 1));
    assert_eq!(report.bytes, resolved.blobs.iter().map(|b| b.size).sum::<u64>());
    for digest in resolved.tree.iter().map(|m| m.digest).chain(resolved.blobs.iter().map(|b| b.digest)) {
        let bytes = std::fs::read(blob(&b.root, &digest)).unwrap();
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(bytes, std::fs::read(blob(&a.root, &digest)).unwrap());
    }
    assert_eq!(verify(&b.store, &digest, &Limits::default()).await.unwrap(), resolved);

    let before = snapshot(&b.root);
    let again = copy(request(&a.store, &b.store, &resolved, &["1.0.0"])).await.unwrap();
    assert!(!again.changed());
    assert_eq!(snapshot(&b.root), before);
    let another = copy(request(&a.store, &b.store, &resolved, &["1.0.0", "release-7"])).await.unwrap();
    assert_eq!((another.blobs_copied, another.manifests, another.tags, another.bytes), (0, 0, 1, 0));
    assert_eq!(b.store.list_tags().await.unwrap(), ["1.0.0", "release-7"]);
}

#[tokio::test]
async fn the_same_input_builds_the_same_layout() {
    let (a, one) = built("a", "1.0.0").await;
    let (b, two) = built("b", "1.0.0").await;
    assert_eq!(one, two);
    let files = |root: &Path| -> Vec<_> {
        snapshot(root).into_iter().map(|(p, c)| (p.strip_prefix(root).unwrap().to_path_buf(), c)).collect()
    };
    assert_eq!(files(&a.root), files(&b.root));
}

#[tokio::test]
async fn s2_2_a_flipped_byte_anywhere_is_found_and_never_published() {
    let (a, digest) = built("a", "1.0.0").await;
    let resolved = found(&a.store, &digest).await.unwrap();
    let parts = resolved.tree.iter().map(|m| m.digest).chain(resolved.blobs.iter().map(|b| b.digest));
    let mut tried = 0;
    for part in parts {
        let path = blob(&a.root, &part);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            let result = verify(&a.store, &digest, &Limits::default()).await;
            assert!(result.is_err(), "byte {at} of {part}");
            tried += 1;
            if at == 0 || at == good.len() - 1 {
                let b = place("b");
                let result = copy(request(&a.store, &b.store, &resolved, &["1.0.0"])).await;
                assert!(matches!(result, Err(OciError::Integrity { .. })), "byte {at} of {part}: {result:?}");
                assert!(b.store.list_tags().await.unwrap().is_empty());
                assert!(!blob(&b.root, &part).exists(), "a wrong blob came to be under its digest");
                let left =
                    snapshot(&b.root).into_keys().any(|p| p.file_name().unwrap().to_string_lossy().starts_with(".tmp"));
                assert!(!left, "a temporary file was left");
            }
        }
        for cut in [0, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(verify(&a.store, &digest, &Limits::default()).await.is_err(), "{part} cut to {cut} bytes");
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(tried > 1000, "{tried}");
    assert!(verify(&a.store, &digest, &Limits::default()).await.is_ok());
}

#[tokio::test]
async fn what_rotted_at_the_destination_is_found_and_mended_by_copying_again() {
    let (a, digest) = built("a", "1.0.0").await;
    let b = place("b");
    let resolved = found(&a.store, &digest).await.unwrap();
    copy(request(&a.store, &b.store, &resolved, &["1.0.0"])).await.unwrap();
    let rotten = blob(&b.root, &resolved.blobs[0].digest);
    let mut bytes = std::fs::read(&rotten).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&rotten, bytes).unwrap();
    assert!(verify(&b.store, &digest, &Limits::default()).await.is_err());
    let report = copy(request(&a.store, &b.store, &resolved, &[])).await.unwrap();
    assert_eq!((report.blobs_copied, report.blobs_skipped, report.manifests), (1, 3, 0));
    assert!(verify(&b.store, &digest, &Limits::default()).await.is_ok());
}

#[tokio::test]
async fn s2_3_a_tag_that_holds_something_else_is_refused_before_any_write() {
    let (a, digest) = built("a", "1.0.0").await;
    let b = place("b");
    let other = Image::new([], vec![b"something else".to_vec()]);
    let taken = build::image(&b.store, "1.0.0", &other).await.unwrap();
    let resolved = found(&a.store, &digest).await.unwrap();
    let before = snapshot(&b.root);
    let error = copy(request(&a.store, &b.store, &resolved, &["free", "1.0.0"])).await.unwrap_err();
    let OciError::TagConflict { wanted, found, .. } = error else { panic!("{error:?}") };
    assert_eq!((wanted, found), (digest, taken));
    assert_eq!(snapshot(&b.root), before, "nothing was written, not even the free tag");
}

#[tokio::test]
async fn r2_a_source_tag_that_moved_is_refused_with_both_digests() {
    let (a, digest) = built("a", "1.0.0").await;
    let b = place("b");
    let resolved = found(&a.store, &digest).await.unwrap();
    // Another image under the same tag, as a rebuild does it.
    let index = a.root.join("index.json");
    std::fs::remove_file(&index).unwrap();
    std::fs::remove_file(a.root.join("oci-layout")).unwrap();
    let other = Image::new([("rebuilt", "yes")], vec![b"first layer".to_vec()]);
    let moved = build::image(&a.store, "1.0.0", &other).await.unwrap();
    let request = Copy { source_tag: Some("1.0.0"), ..request(&a.store, &b.store, &resolved, &["1.0.0"]) };
    let error = copy(request).await.unwrap_err();
    assert!(error.to_string().contains(&digest.to_string()) && error.to_string().contains(&moved.to_string()));
    assert!(matches!(error, OciError::TagMoved { .. }));
    assert!(!b.root.exists());

    let both: Reference = format!("oci-layout:a:1.0.0@{digest}").parse().unwrap();
    let error = resolve(&a.store, &both, &Limits::default()).await.unwrap_err();
    assert!(matches!(error, OciError::TagMoved { expected, found, .. } if (expected, found) == (digest, moved)));
    let gone: Reference = "oci-layout:a:2.0.0".parse().unwrap();
    assert!(matches!(resolve(&a.store, &gone, &Limits::default()).await, Err(OciError::NotFound { .. })));
}

#[tokio::test]
async fn a_child_swapped_for_another_valid_manifest_is_found() {
    let (a, digest) = built("a", "1.0.0").await;
    let resolved = found(&a.store, &digest).await.unwrap();
    let (one, two) = (&resolved.tree[0].digest, &resolved.tree[1].digest);
    std::fs::copy(blob(&a.root, two), blob(&a.root, one)).unwrap();
    let error = found(&a.store, &digest).await.unwrap_err();
    assert!(matches!(&error, OciError::Integrity { expected, found, .. }
        if *expected == one.to_string() && *found == two.to_string()));
}

#[tokio::test]
async fn an_index_that_contains_itself_ends_as_an_integrity_error() {
    let (a, _) = built("a", "1.0.0").await;
    let fake = Digest::of(b"whatever");
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        { "mediaType": OCI_INDEX, "digest": fake.to_string(), "size": 1 },
    ] });
    std::fs::write(blob(&a.root, &fake), index.to_string()).unwrap();
    assert!(matches!(found(&a.store, &fake).await, Err(OciError::Integrity { .. })));
    let (outer, _) = plant(&a.root, &index);
    assert!(matches!(found(&a.store, &outer).await, Err(OciError::Integrity { .. })));
}

#[tokio::test]
async fn descriptors_must_agree_with_what_they_point_at() {
    let (a, digest) = built("a", "1.0.0").await;
    let child = found(&a.store, &digest).await.unwrap().tree[0].clone();
    let entry = |size: u64, media_type: &str| json!({ "mediaType": media_type, "digest": child.digest.to_string(), "size": size });
    for entries in [
        vec![entry(child.size + 1, OCI_MANIFEST)],
        vec![entry(child.size, DOCKER_MANIFEST)],
        vec![entry(child.size, OCI_MANIFEST), entry(child.size - 1, OCI_MANIFEST)],
        vec![entry(child.size, OCI_MANIFEST), entry(child.size, OCI_INDEX)],
    ] {
        let (outer, _) = plant(&a.root, &json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }));
        let result = found(&a.store, &outer).await;
        assert!(matches!(result, Err(OciError::Integrity { .. })), "{entries:?}: {result:?}");
    }
    let (good, _) = plant(
        &a.root,
        &json!({ "schemaVersion": 2, "manifests": [entry(child.size, OCI_MANIFEST), entry(child.size, OCI_MANIFEST)] }),
    );
    assert_eq!(found(&a.store, &good).await.unwrap().tree.len(), 2, "the same child twice is one manifest");
}

#[tokio::test]
async fn confused_or_foreign_documents_are_refused() {
    let (a, _) = built("a", "1.0.0").await;
    let (both, _) = plant(&a.root, &json!({ "schemaVersion": 2, "manifests": [], "layers": [], "config": {} }));
    assert!(matches!(found(&a.store, &both).await, Err(OciError::Malformed { .. })));
    let (text, _) = plant(&a.root, &json!("just text"));
    assert!(matches!(found(&a.store, &text).await, Err(OciError::Malformed { .. })));
    let blob = json!({ "mediaType": "application/x", "digest": Digest::of(b"x").to_string(), "size": 1 });
    let (odd, _) = plant(&a.root, &json!({ "schemaVersion": 2, "manifests": [blob] }));
    assert!(found(&a.store, &odd).await.is_err(), "an entry that is no manifest");
    let sha512 = json!({ "mediaType": OCI_MANIFEST, "digest": format!("sha512:{}", "0".repeat(128)), "size": 1 });
    let (long, _) = plant(&a.root, &json!({ "schemaVersion": 2, "manifests": [sha512] }));
    assert!(matches!(found(&a.store, &long).await, Err(OciError::Unsupported { .. })));
}

#[tokio::test]
async fn foreign_layers_are_seen_and_not_copied() {
    let (a, digest) = built("a", "1.0.0").await;
    let inner = found(&a.store, &digest).await.unwrap();
    let entry = |b: &BlobEntry, t: &str| json!({ "mediaType": t, "digest": b.digest.to_string(), "size": b.size });
    let mut layer = entry(&inner.blobs[1], "application/vnd.oci.image.layer.v1.tar");
    layer["urls"] = json!(["https://elsewhere.example/layer"]);
    let (outer, _) = plant(
        &a.root,
        &json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer],
                 "config": entry(&inner.blobs[0], "application/vnd.oci.empty.v1+json") }),
    );
    let resolved = found(&a.store, &outer).await.unwrap();
    assert_eq!(resolved.foreign, [inner.blobs[1].digest]);
    let b = place("b");
    let result = copy(request(&a.store, &b.store, &resolved, &["1"])).await;
    assert!(matches!(result, Err(OciError::Unsupported { .. })), "{result:?}");
    assert!(!b.root.exists());
}

#[tokio::test]
async fn trees_above_the_limits_are_refused() {
    let (a, digest) = built("a", "1.0.0").await;
    let small = Limits { manifest_bytes: 100, ..Limits::default() };
    assert!(matches!(resolve_digest(&a.store, &digest, &small).await, Err(OciError::TooLarge { limit: 100, .. })));
    let few = Limits { manifests: 2, ..Limits::default() };
    assert!(matches!(
        resolve_digest(&a.store, &digest, &few).await,
        Err(OciError::TooLarge { limit: 2, found: 3, .. })
    ));
    let light = Limits { tree_bytes: 100, ..Limits::default() };
    let heavy = resolve_digest(&a.store, &digest, &light).await;
    assert!(matches!(&heavy, Err(OciError::TooLarge { limit: 100, what, .. }) if what.contains("bytes")), "{heavy:?}");
    let raised = Limits { manifest_bytes: u64::MAX, ..Limits::default() };
    std::fs::write(blob(&a.root, &digest), vec![b' '; (MANIFEST_HARD_LIMIT + 1) as usize]).unwrap();
    let result = resolve_digest(&a.store, &digest, &raised).await;
    assert!(matches!(result, Err(OciError::TooLarge { limit: MANIFEST_HARD_LIMIT, .. })), "{result:?}");

    let (mut digest, mut size) = plant(&a.root, &json!({ "schemaVersion": 2, "manifests": [] }));
    for level in 1..=5 {
        let child = json!({ "mediaType": OCI_INDEX, "digest": digest.to_string(), "size": size });
        (digest, size) = plant(&a.root, &json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child] }));
        let result = found(&a.store, &digest).await;
        assert_eq!(result.is_ok(), level <= 4, "{level} levels: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_different_tags_never_lose_each_others() {
    let (a, digest) = built("a", "1.0.0").await;
    let manifest = a.store.get_manifest(Selector::Digest(&digest), None, &Limits::default()).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            // Each writer opens the layout by itself, as another process would.
            let store = Store::Layout(Layout::new(&a.root, "oci-layout:a"));
            let manifest = manifest.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    store.put_tag(&format!("{writer}-{n}"), &manifest, None).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(a.store.list_tags().await.unwrap().len(), 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_of_one_tag_exactly_one_wins_and_the_other_is_told() {
    for round in 0..10 {
        let (a, one) = built("a", "1.0.0").await;
        let two = build::image(&a.store, "other", &Image::new([], vec![b"x".to_vec()])).await.unwrap();
        let mut writers = Vec::new();
        for digest in [one, two] {
            let store = a.store.clone();
            writers.push(tokio::spawn(async move {
                let manifest = store.get_manifest(Selector::Digest(&digest), None, &Limits::default()).await.unwrap();
                (digest, store.put_tag("contested", &manifest, None).await)
            }));
        }
        let mut winner = None;
        let mut losers = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                (digest, Ok(())) => assert!(winner.replace(digest).is_none(), "two winners in round {round}"),
                (_, Err(error)) => losers.push(error),
            }
        }
        let winner = winner.expect("one of them wins");
        assert!(matches!(&losers[..], [OciError::TagConflict { found, .. }] if *found == winner), "{losers:?}");
        assert_eq!(a.store.head_tag("contested").await.unwrap().unwrap().digest, winner);
    }
}

#[tokio::test]
async fn a_tag_moves_only_from_where_it_is_said_to_be() {
    let (a, one) = built("a", "pointer").await;
    let two = build::image(&a.store, "other", &Image::new([], vec![b"x".to_vec()])).await.unwrap();
    let manifest = a.store.get_manifest(Selector::Digest(&two), None, &Limits::default()).await.unwrap();
    let wrong = a.store.put_tag("pointer", &manifest, Some(&Digest::of(b"?"))).await;
    assert!(matches!(wrong, Err(OciError::TagConflict { .. })));
    a.store.put_tag("pointer", &manifest, Some(&one)).await.unwrap();
    assert_eq!(a.store.head_tag("pointer").await.unwrap().unwrap().digest, two);
    a.store.put_tag("pointer", &manifest, Some(&one)).await.expect("there already");
}

#[tokio::test]
async fn a_directory_that_is_no_layout_is_neither_read_nor_written() {
    let (a, digest) = built("a", "1.0.0").await;
    let b = place("b");
    std::fs::create_dir_all(&b.root).unwrap();
    std::fs::write(b.root.join("thesis.txt"), "mine").unwrap();
    let resolved = found(&a.store, &digest).await.unwrap();
    let result = copy(request(&a.store, &b.store, &resolved, &["1.0.0"])).await;
    assert!(matches!(result, Err(OciError::Malformed { .. })), "{result:?}");
    assert_eq!(snapshot(&b.root).len(), 1);
    let strange = place("c");
    std::fs::create_dir_all(&strange.root).unwrap();
    std::fs::write(strange.root.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(strange.store.head_tag("x").await, Err(OciError::Unsupported { .. })));
}

#[tokio::test]
async fn a_tag_given_twice_with_different_digests_is_nobodys() {
    let (a, _) = built("a", "1.0.0").await;
    build::image(&a.store, "other", &Image::new([], vec![b"x".to_vec()])).await.unwrap();
    let index = a.root.join("index.json");
    let text = std::fs::read_to_string(&index).unwrap().replace("\"other\"", "\"1.0.0\"");
    std::fs::write(&index, text).unwrap();
    assert!(matches!(a.store.head_tag("1.0.0").await, Err(OciError::Malformed { .. })));
}

#[tokio::test]
async fn unknown_fields_of_an_index_survive_a_new_tag() {
    let (a, digest) = built("a", "1.0.0").await;
    let index = a.root.join("index.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    value["annotations"] = json!({ "kept": "yes" });
    value["manifests"][0]["artifactType"] = json!("application/x");
    std::fs::write(&index, value.to_string()).unwrap();
    let manifest = a.store.get_manifest(Selector::Digest(&digest), None, &Limits::default()).await.unwrap();
    a.store.put_tag("2.0.0", &manifest, None).await.unwrap();
    let after: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    assert_eq!(after["annotations"]["kept"], "yes");
    assert_eq!(after["manifests"][0]["artifactType"], "application/x");
    assert_eq!(a.store.list_tags().await.unwrap(), ["1.0.0", "2.0.0"]);
}

/// Lists manifests as what refers to an artifact, and gives what is gathered then.
async fn gathered(
    a: &Place,
    digest: &Digest,
    listed: &[(Digest, u64)],
    limits: &Limits,
) -> Result<Companions, OciError> {
    let one = |(digest, size): &(Digest, u64)| json!({ "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": size });
    let manifests: Vec<Value> = listed.iter().map(one).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests }).to_string().into_bytes();
    let raw = RawManifest { digest: Digest::of(&index), media_type: OCI_INDEX.into(), bytes: index };
    let tag = digest.to_string().replace(':', "-");
    let before = a.store.head_tag(&tag).await.unwrap().map(|head| head.digest);
    a.store.put_manifest(&raw).await.unwrap();
    a.store.put_tag(&tag, &raw, before.as_ref()).await.unwrap();
    referrers::gather(&a.store, &found(&a.store, digest).await.unwrap(), limits).await
}

/// A manifest that refers to an artifact, and has these layers in it, none of which is there.
fn referring(a: &Place, subject: Option<&Digest>, number: u32, sizes: &[u64]) -> (Digest, u64) {
    let layer = |(at, size): (usize, &u64)| {
        let digest = Digest::of(format!("{number} {at}").as_bytes()).to_string();
        json!({ "mediaType": "application/json", "digest": digest, "size": size })
    };
    let config =
        json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 });
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "annotations": { "n": number.to_string() },
        "layers": sizes.iter().enumerate().map(layer).collect::<Vec<_>>(),
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": OCI_INDEX, "digest": subject.to_string(), "size": 1 });
    }
    plant(&a.root, &manifest)
}

#[tokio::test]
async fn s1_3_what_is_said_to_refer_to_an_artifact_is_looked_at_within_limits_and_beyond_them_is_an_error() {
    let (a, digest) = built("a", "1.0.0").await;
    let strangers: Vec<_> = (0..1_001).map(|number| referring(&a, None, number, &[])).collect();
    let within = gathered(&a, &digest, &strangers[..1_000], &Limits::default()).await.unwrap();
    assert!(within.referrers.is_empty(), "a list does not make a referrer");
    let beyond = gathered(&a, &digest, &strangers, &Limits::default()).await;
    assert!(matches!(beyond, Err(OciError::TooLarge { limit: 1_000, found: 1_001, .. })), "{beyond:?}");
    for subject in [None, Some(&digest)] {
        let some: Vec<_> = (0..20).map(|number| referring(&a, subject, number, &[])).collect();
        let light = Limits { tree_bytes: some.iter().map(|(_, size)| size).sum(), ..Limits::default() };
        assert!(gathered(&a, &digest, &some, &light).await.is_ok());
        let lighter = Limits { tree_bytes: light.tree_bytes - 1, ..light };
        let heavy = gathered(&a, &digest, &some, &lighter).await;
        assert!(matches!(&heavy, Err(OciError::TooLarge { found, .. }) if *found == light.tree_bytes), "{heavy:?}");
    }
}

#[tokio::test]
async fn s1_3_documents_beyond_the_limits_are_an_error_before_any_is_read_and_one_that_is_too_long_is_named() {
    let (a, digest) = built("a", "1.0.0").await;
    let resolved = found(&a.store, &digest).await.unwrap();
    let limits = Limits::default();
    let mib = 1_u64 << 20;
    for (sizes, most) in [(vec![1; 1_001], 1_000), (vec![60 * mib; 5], 256 * mib)] {
        let listed = [referring(&a, Some(&digest), 0, &sizes)];
        let companions = gathered(&a, &digest, &listed, &limits).await.unwrap();
        assert_eq!(companions.referrers.len(), 1);
        let read = attached::read(&a.store, &resolved, &companions, &BTreeSet::new(), &limits).await;
        assert!(matches!(&read, Err(OciError::TooLarge { limit, .. }) if *limit == most), "{read:?}");
    }
    let listed = [referring(&a, Some(&digest), 0, &[65 * mib])];
    let companions = gathered(&a, &digest, &listed, &limits).await.unwrap();
    let read = attached::read(&a.store, &resolved, &companions, &BTreeSet::new(), &limits).await.unwrap();
    let unread: Vec<&str> = read.iter().filter_map(|one| one.unread.as_deref()).collect();
    assert_eq!(unread, ["it says that it has 68157440 bytes, and 67108864 are read at most"]);
}

#[tokio::test]
async fn r1_5_a_list_of_referrers_that_a_layout_has_lost_is_an_error_that_names_it() {
    let (a, digest) = built("a", "1.0.0").await;
    let resolved = found(&a.store, &digest).await.unwrap();
    let listed = [referring(&a, Some(&digest), 0, &[])];
    assert_eq!(gathered(&a, &digest, &listed, &Limits::default()).await.unwrap().referrers.len(), 1);
    let tag = digest.to_string().replace(':', "-");
    let list = a.store.head_tag(&tag).await.unwrap().unwrap().digest;
    std::fs::remove_file(blob(&a.root, &list)).unwrap();
    let lost = referrers::gather(&a.store, &resolved, &Limits::default()).await;
    assert!(matches!(&lost, Err(OciError::Integrity { what, .. }) if what.ends_with(&tag)), "{lost:?}");
}
