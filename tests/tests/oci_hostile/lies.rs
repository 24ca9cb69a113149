//! Bytes, digests and sizes that are not what they are said to be.

use axum::http::Method;
use promo_core::Digest;
use promo_sdk::ErrorKind;
use promo_tests::oci_registry::{Behaviour, Fault, On, What};

use crate::world::{DESTINATION, SOURCE, TAG, World, document, kind};

/// Believes everything, so that a test sees what the client would have published.
fn credulous() -> Behaviour {
    Behaviour { credulous: true, ..Behaviour::default() }
}

/// Whenever this manifest or blob is read; a list about it is something else.
fn read(digest: &Digest, what: What) -> Behaviour {
    let on = |kind: &str| On::of(Method::GET, format!("/{kind}/{digest}"));
    Behaviour::faulty(["manifests", "blobs"].map(|kind| Fault::new(on(kind), what.clone())))
}

/// Everything that a copy reads, with its size.
fn objects(world: &World) -> Vec<(Digest, usize)> {
    let there = world.source.repository(SOURCE);
    let manifests = there.manifests.iter().map(|(digest, stored)| (*digest, stored.bytes.len()));
    manifests.chain(there.blobs.iter().map(|(digest, bytes)| (*digest, bytes.len()))).collect()
}

#[tokio::test]
async fn s2_2_a_bit_flipped_at_any_of_a_thousand_offsets_is_seen_and_nothing_of_it_is_published() {
    let world = World::start().await;
    let objects = objects(&world);
    // An index, two manifests, two configurations, three layers, a signature with its configuration and its payload.
    assert_eq!(objects.len(), 11);
    let mut tried = 0;
    for (digest, size) in objects {
        for i in 0..91 {
            let (byte, bit) = (i * size / 91, i);
            world.again(read(&digest, What::Flip { byte, bit }), credulous());
            let network = world.network();
            // The lie begins before the plan, or only after it.
            let error = match i % 2 {
                0 => world.promote(&network).await,
                _ => world.copy(&network).await,
            };
            let context = format!("bit {} of byte {byte} of {digest}", bit % 8);
            assert_eq!(kind(error.expect_err(&context)), ErrorKind::Integrity, "{context}");
            world.assert_nothing_published(&context);
            let lies = world.source.journal().iter().filter(|entry| entry.faulty).count();
            assert_eq!(lies, 1, "{context}: wrong bytes are not asked for again");
            tried += 1;
        }
    }
    assert!(tried >= 1000, "{tried}");
    world.again(Behaviour::default(), Behaviour::default());
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("and without a lie it is whole");
}

#[tokio::test]
async fn s2_2_children_that_change_places_are_refused() {
    let world = World::start().await;
    let (one, two) = (world.what.tree[0].digest, world.what.tree[1].digest);
    let there = world.source.repository(SOURCE);
    // Each child is served for the other one, with the digest that was asked for or with its own in the header.
    for honest in [false, true] {
        let swap = |asked: Digest, served: Digest| {
            let body = What::Body(there.manifests[&served].bytes.to_vec());
            let header = What::Header("docker-content-digest", Some(served.to_string()));
            let faults = if honest { vec![body, header] } else { vec![body] };
            faults.into_iter().map(move |what| Fault::new(On::of(Method::GET, format!("/manifests/{asked}")), what))
        };
        world.again(Behaviour::faulty(swap(one, two).chain(swap(two, one))), credulous());
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Integrity);
        assert_eq!(world.writes(), Vec::<String>::new());
        // After the plan the children are read again, and the lie is seen then.
        let error = world.copy(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Integrity);
        world.assert_nothing_published("children that change places");
    }
    // An index in which they have changed places is another index.
    let mut index = document(&world, &world.what.digest);
    let digests = [0, 1].map(|i| index["manifests"][i]["digest"].clone());
    index["manifests"][0]["digest"] = digests[1].clone();
    index["manifests"][1]["digest"] = digests[0].clone();
    let body = What::Body(index.to_string().into_bytes());
    world.again(read(&world.what.digest, body), credulous());
    assert_eq!(kind(world.promote(&world.network()).await.unwrap_err()), ErrorKind::Integrity);
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn s2_2_a_layer_that_is_another_layer_is_refused() {
    let world = World::start().await;
    let there = world.source.repository(SOURCE);
    let blobs: Vec<Digest> = world.what.blobs.iter().map(|blob| blob.digest).collect();
    for (n, asked) in blobs.iter().enumerate() {
        let served = &blobs[(n + 1) % blobs.len()];
        world.again(read(asked, What::Body(there.blobs[served].to_vec())), credulous());
        let error = world.copy(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Integrity, "{served} for {asked}");
        world.assert_nothing_published(&format!("{served} for {asked}"));
    }
}

#[tokio::test]
async fn s2_2_a_digest_in_a_header_is_compared_wherever_it_is_said() {
    let world = World::start().await;
    let other = Digest::of(b"something else").to_string();
    let lie = || What::Header("docker-content-digest", Some(other.clone()));
    // Of what is read.
    for manifest in &world.what.tree {
        world.again(read(&manifest.digest, lie()), credulous());
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Integrity, "{manifest:?}");
        assert_eq!(world.writes(), Vec::<String>::new());
    }
    // Of what was written, by digest and by tag: the copy ends there.
    let child = world.what.tree[0].digest.to_string();
    for path in [format!("manifests/{child}"), format!("manifests/{TAG}")] {
        let wrong = Behaviour::faulty([Fault::new(On::of(Method::PUT, &path), lie())]);
        world.again(Behaviour::default(), wrong);
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Integrity, "{path}");
        let all = world.destination.journal();
        let last = all.iter().rfind(|entry| entry.writes()).unwrap();
        assert!(last.path.ends_with(&path), "{path}: and then {}", last.line());
    }
    // A registry that leaves the header out is asked for the bytes instead.
    let silent = Behaviour { digest_header: false, ..Behaviour::default() };
    world.again(silent.clone(), silent);
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("without digests in headers");
}

#[tokio::test]
async fn s2_2_a_media_type_that_is_not_the_promised_one_is_refused() {
    let world = World::start().await;
    for manifest in &world.what.tree {
        let others = [promo_providers::oci::OCI_INDEX, promo_providers::oci::OCI_MANIFEST, "text/html", "a/b"];
        for other in others.into_iter().filter(|other| *other != manifest.media_type) {
            let context = format!("{other} for {manifest:?}");
            world.again(read(&manifest.digest, What::Header("content-type", Some(other.into()))), credulous());
            let error = world.copy(&world.network()).await.expect_err(&context);
            assert_eq!(kind(error), ErrorKind::Integrity, "{context}");
            world.assert_nothing_published(&context);
        }
    }
}

#[tokio::test]
async fn s2_2_sizes_that_lie_are_refused() {
    let world = World::start().await;
    for blob in &world.what.blobs {
        for wrong in [blob.size - 1, blob.size + 1, 0, u64::MAX / 2] {
            let context = format!("{wrong} for {} bytes", blob.size);
            let lie = || What::Header("content-length", Some(wrong.to_string()));
            world.again(read(&blob.digest, lie()), credulous());
            let error = world.copy(&world.network()).await.expect_err(&context);
            assert_eq!(kind(error), ErrorKind::Integrity, "{context}");
            world.assert_nothing_published(&context);
            // At the destination: a blob of another size is said to lie under this digest.
            let there = Fault::new(On::of(Method::HEAD, blob.digest.to_string()), lie());
            world.again(Behaviour::default(), Behaviour::faulty([there]));
            let bytes = world.source.repository(SOURCE).blobs[&blob.digest].clone();
            world.destination.edit(DESTINATION, |there| drop(there.blobs.insert(blob.digest, bytes)));
            let error = world.copy(&world.network()).await.expect_err(&context);
            assert_eq!(kind(error), ErrorKind::Integrity, "{context}");
            world.assert_nothing_published(&context);
        }
    }
}

#[tokio::test]
async fn s2_2_bodies_that_are_short_with_an_honest_length_are_refused_at_once() {
    let world = World::start().await;
    for (digest, size) in objects(&world) {
        for keep in [0, 1, size / 2, size - 1] {
            let context = format!("{keep} of {size} bytes of {digest}");
            world.again(read(&digest, What::Short(keep)), credulous());
            let error = world.promote(&world.network()).await.expect_err(&context);
            assert_eq!(kind(error), ErrorKind::Integrity, "{context}");
            world.assert_nothing_published(&context);
        }
    }
}

#[tokio::test]
async fn s13_2_bodies_without_end_are_cut_off() {
    let world = World::start().await;
    for (digest, _) in objects(&world) {
        world.again(read(&digest, What::Endless), credulous());
        let error = world.promote(&world.network()).await.unwrap_err();
        let is_manifest = world.source.repository(SOURCE).manifests.contains_key(&digest);
        let expected = if is_manifest { ErrorKind::Invalid } else { ErrorKind::Integrity };
        assert_eq!(kind(error), expected, "{digest}");
        world.assert_nothing_published(&digest.to_string());
    }
    // Also the ones that hold lists, and the words of an error.
    for path in ["/referrers/", "/tags/list"] {
        let endless = Behaviour::faulty([Fault::new(On::of(Method::GET, path), What::Endless)]);
        world.again(endless, credulous());
        let error = world.promote(&world.network()).await.unwrap_err();
        assert!(matches!(kind(error), ErrorKind::Invalid), "{path}");
        world.assert_nothing_published(path);
    }
    let on = On::of(Method::GET, "/manifests/");
    let wordy = Behaviour::faulty([Fault::new(on.clone(), What::status(403)), Fault::new(on, What::Endless)]);
    world.again(wordy, credulous());
    assert_eq!(kind(world.promote(&world.network()).await.unwrap_err()), ErrorKind::Denied);
}

#[tokio::test]
async fn a_list_of_referrers_that_lies_brings_nothing_that_does_not_refer_to_the_artifact() {
    let world = World::start().await;
    let stray = world.what.tree[0].clone();
    let entry = |digest: Digest, size: usize| serde_json::json!({ "mediaType": promo_providers::oci::OCI_MANIFEST, "digest": digest.to_string(), "size": size });
    let list = |entries: Vec<serde_json::Value>| {
        let list = serde_json::json!({
            "schemaVersion": 2, "mediaType": promo_providers::oci::OCI_INDEX, "manifests": entries,
        });
        Behaviour::faulty([Fault::new(On::of(Method::GET, "/referrers/"), What::Body(list.to_string().into_bytes()))])
    };
    // A manifest that is there, but names another subject or none.
    world.again(list(vec![entry(stray.digest, 1)]), Behaviour::default());
    let report = world.promote(&world.network()).await.unwrap();
    assert_eq!(report.referrers, 0, "{report:?}");
    // One that is not there at all: what is listed must be had, or signatures would be lost silently.
    world.again(list(vec![entry(Digest::of(b"nobody"), 1)]), Behaviour::default());
    let error = world.promote(&world.network()).await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::NotFound);
    assert_eq!(world.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_or_a_busy_server_is_never_an_empty_list_of_referrers() {
    let world = World::start().await;
    let denied = [401, 403].map(|status| (status, ErrorKind::Denied));
    let busy = [429, 500, 503].map(|status| (status, ErrorKind::Transient));
    for (status, expected) in denied.into_iter().chain(busy) {
        world.again(
            Behaviour::faulty([Fault::new(On::path("/referrers/"), What::status(status))]),
            Behaviour::default(),
        );
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), expected, "{status}");
        assert_eq!(world.writes(), Vec::<String>::new(), "{status}");
    }
    // Whoever may not list the tags can still ask for each; whoever is busy cannot be passed over.
    world.again(Behaviour::faulty([Fault::new(On::path("/tags/list"), What::status(403))]), Behaviour::default());
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("without a list of tags");
    world.again(Behaviour::faulty([Fault::new(On::path("/tags/list"), What::status(429))]), Behaviour::default());
    assert_eq!(kind(world.promote(&world.network()).await.unwrap_err()), ErrorKind::Transient);
    assert_eq!(world.writes(), Vec::<String>::new());
    // Nor is an answer that has lost its list.
    for (path, body) in [("/referrers/", r#"{"schemaVersion":2,"lanifests":[]}"#), ("/tags/list", r#"{"name":"x"}"#)] {
        world.again(Behaviour::faulty([Fault::new(On::path(path), What::Body(body.into()))]), Behaviour::default());
        let error = world.promote(&world.network()).await.unwrap_err();
        assert!(error.kind == ErrorKind::Failed, "{path}: {error:?}");
        assert_eq!(world.writes(), Vec::<String>::new(), "{path}");
    }
    // Where there is no API the list lies under a tag, and that may be refused as well.
    let busy = Fault::new(On::path("/manifests/sha256-"), What::status(429));
    let old = Behaviour { referrers: false, faults: vec![busy], ..Behaviour::default() };
    let fallback = format!("sha256-{}", world.what.digest.hex());
    let list = serde_json::json!({
        "schemaVersion": 2, "mediaType": promo_providers::oci::OCI_INDEX,
        "manifests": [{
            "mediaType": promo_providers::oci::OCI_MANIFEST, "digest": world.signature.to_string(),
            "size": world.source.repository(SOURCE).manifests[&world.signature].bytes.len(),
        }],
    });
    let bytes = list.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    world.source.edit(SOURCE, |there| {
        let media_type = promo_providers::oci::OCI_INDEX.into();
        there.manifests.insert(digest, promo_tests::oci_registry::Stored { media_type, bytes: bytes.into() });
        there.tags.insert(fallback, digest);
    });
    world.again(old.clone(), Behaviour::default());
    assert_eq!(kind(world.promote(&world.network()).await.unwrap_err()), ErrorKind::Transient);
    assert_eq!(world.writes(), Vec::<String>::new());
    world.again(Behaviour { faults: Vec::new(), ..old }, Behaviour { referrers: false, ..Behaviour::default() });
    let report = world.promote(&world.network()).await.unwrap();
    assert_eq!(report.referrers, 1, "{report:?}");
    world.assert_whole("through fallback tags on both sides");
}
