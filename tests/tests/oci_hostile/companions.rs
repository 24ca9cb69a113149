//! What goes along with an artifact: it is counted in a preview, and found again whichever way a registry keeps it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use jiff::SignedDuration;
use promo_core::Digest;
use promo_providers::oci::{Network, OCI_INDEX, OCI_MANIFEST, Oci};
use promo_sdk::testing::FakeClock;
use promo_sdk::{AttachedRequest, EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider as _, ProviderError};
use promo_tests::oci_registry::{Behaviour, Entry, Fault, Hold, On, Repository, Stored, What};
use serde_json::{Value, json};

use crate::world::{DESTINATION, SOURCE, TAG, World, sign};

#[tokio::test]
async fn referrers_go_where_the_registry_lists_them_itself_and_where_it_does_not() {
    let world = World::start().await;
    let others = ["two", "three"].map(|text| sign(&world.source, &world.what, text));
    for referrers in [true, false] {
        let paged = Behaviour { referrers_page: Some(1), ..Behaviour::default() };
        world.again(paged, Behaviour { referrers, ..Behaviour::default() });
        let report = world.promote(&world.network()).await.unwrap();
        assert_eq!(report.referrers, 3, "{referrers}");
        let there = world.destination.repository(DESTINATION);
        assert!(others.iter().all(|digest| there.manifests.contains_key(digest)), "{referrers}");
        let list = world.what.digest.to_string().replace(':', "-");
        assert_eq!(there.tags.contains_key(&list), !referrers);
        // Whoever sees the tag finds its signatures.
        let last = world.destination.journal().into_iter().rfind(Entry::publishes).unwrap();
        assert!(last.is_tag() && last.path.ends_with(TAG), "{referrers}: {}", last.line());
        assert!(!world.promote(&world.network()).await.unwrap().changed, "{referrers}");
    }
}

/// Whoever may push to the source can put the very bytes of the artifact's manifest there as a blob, and refer to it.
#[tokio::test]
async fn a_referrer_that_holds_its_own_subject_as_a_blob_does_not_make_a_copy_wait_for_itself() {
    let world = World::start().await;
    let subject = world.source.repository(SOURCE).manifests[&world.what.digest].bytes.to_vec();
    sign(&world.source, &world.what, &String::from_utf8(subject).unwrap());
    let network = world.network();
    let copied = tokio::time::timeout(Duration::from_secs(20), world.promote(&network)).await;
    assert_eq!(copied.expect("the copy comes to an end").unwrap().referrers, 2);
    world.assert_whole("a signature of itself");
}

#[tokio::test]
async fn s2_3_a_preview_counts_what_goes_along() {
    let world = World::start().await;
    let cx = promo_sdk::testing::context("/nowhere");
    let inputs = world.inputs();
    let preview = Oci::new().preview(&cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
    let after: Vec<_> = preview.changes.iter().map(|change| change.after.clone().unwrap()).collect();
    assert_eq!(after, [world.what.digest.to_string(), world.signature.to_string()]);
    assert!(preview.changes[1].path.contains("application/vnd.example.signature"), "{preview:?}");
    assert_eq!(world.writes(), Vec::<String>::new());

    let Preview { current: expected, desired, changes, .. } = preview;
    let ensure =
        EnsureRequest { inputs, expected, desired, changes, token: "run/1".into(), epoch: 1, ledger: String::new() };
    let answer = Oci::new().ensure(&cx, &ensure).await.unwrap();
    assert!(answer.detail.ends_with("1 referrers"), "{}", answer.detail);
    world.assert_whole("as it was previewed");
}

#[tokio::test]
async fn s2_3_a_signature_that_came_or_went_since_the_plan_is_refused_before_a_write() {
    for gone in [false, true] {
        let world = World::start().await;
        let clock = Arc::new(FakeClock::default());
        let mut cx = promo_sdk::testing::context("/nowhere");
        cx.clock = clock.clone();
        let (oci, inputs) = (Oci::new(), world.inputs());
        let Preview { current: expected, desired, changes, .. } =
            oci.preview(&cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
        let (which, words) = if gone {
            world.source.edit(SOURCE, |there| drop(there.manifests.remove(&world.signature)));
            (world.signature, "was to go along, and is not at")
        } else {
            (sign(&world.source, &world.what, "another"), "would go along, and came to")
        };
        // What a preview saw a moment ago is what is copied; by now that is too long ago.
        clock.advance(SignedDuration::from_secs(11));
        let ensure = EnsureRequest {
            inputs,
            expected,
            desired,
            changes,
            token: "run/1".into(),
            epoch: 1,
            ledger: String::new(),
        };
        let error = oci.ensure(&cx, &ensure).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.message.contains(words) && error.message.contains(&which.to_string()), "{error}");
        assert_eq!(world.writes(), Vec::<String>::new(), "gone: {gone}");
    }
}

/// The tag under which the list of what refers to the artifact is kept.
fn list_tag(world: &World) -> String {
    world.what.digest.to_string().replace(':', "-")
}

/// Puts a list of what others have put there into the destination; under the tag only with `tagged`.
fn list_of_others(world: &World, texts: &[&str], tagged: bool) -> (Digest, Vec<Digest>) {
    let (mut list, mut others) = (None, Vec::new());
    world.destination.edit(DESTINATION, |there| {
        others = texts.iter().map(|text| there.put(text, Some((&world.what.digest, world.what.size)))).collect();
        let entry = |digest: &Digest| json!({ "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": there.manifests[digest].bytes.len() });
        let all: Vec<Value> = others.iter().map(entry).collect();
        let bytes = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all }).to_string().into_bytes();
        let digest = Digest::of(&bytes);
        there.manifests.insert(digest, Stored { media_type: OCI_INDEX.into(), bytes: bytes.into() });
        if tagged {
            there.tags.insert(list_tag(world), digest);
        }
        list = Some(digest);
    });
    (list.unwrap(), others)
}

/// What the list at the destination names.
fn listed(world: &World) -> Vec<Digest> {
    let there = world.destination.repository(DESTINATION);
    let index: Value = serde_json::from_slice(&there.manifests[&there.tags[&list_tag(world)]].bytes).unwrap();
    index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn without_the_api(validators: bool, faults: Vec<Fault>) -> Behaviour {
    Behaviour { referrers: false, validators, faults, ..Behaviour::default() }
}

/// Two promos have read the same list, and the other one writes its own over that of this one.
#[tokio::test]
async fn what_another_writers_list_has_left_out_is_added_once_more_before_the_tag_is_written() {
    let world = World::start().await;
    world.again(Behaviour::default(), without_the_api(false, Vec::new()));
    let (list, others) = list_of_others(&world, &["of another promo"], false);
    let moved = What::MoveTag { repository: DESTINATION.into(), tag: list_tag(&world), to: list };
    // The first look is before the list is written, the second one after.
    let look = On::of(Method::GET, format!("/manifests/{}", list_tag(&world))).after(1).times(1);
    world.destination.behave(without_the_api(false, vec![Fault::new(look, moved)]));
    world.promote(&world.network()).await.unwrap();
    assert_eq!(world.destination.journal().iter().filter(|entry| entry.faulty).count(), 1, "it was reached");
    assert_eq!(listed(&world), [others[0], world.signature]);
    world.assert_whole("beside another writer");
    let last = world.destination.journal().into_iter().rfind(Entry::publishes).unwrap();
    assert!(last.path.ends_with(TAG), "{}", last.line());
}

/// Where the registry ties writes to what was read, nothing is written over.
#[tokio::test]
async fn a_list_is_written_only_on_what_was_read_where_the_registry_gives_a_validator() {
    for validators in [true, false] {
        let world = World::start().await;
        world.again(Behaviour::default(), without_the_api(validators, Vec::new()));
        let (first, _) = list_of_others(&world, &["one"], true);
        let (more, both) = list_of_others(&world, &["one", "two"], false);
        assert_ne!(first, more);
        let moved = What::MoveTag { repository: DESTINATION.into(), tag: list_tag(&world), to: more };
        let write = On::of(Method::PUT, format!("/manifests/{}", list_tag(&world))).times(1);
        world.destination.behave(without_the_api(validators, vec![Fault::new(write, moved)]));
        world.promote(&world.network()).await.unwrap();
        let refused = world.destination.journal().iter().filter(|entry| entry.status == 412).count();
        assert_eq!(refused, usize::from(validators));
        // Without one the other promo finds out, as this one does in the test above.
        let expected =
            if validators { vec![both[0], both[1], world.signature] } else { vec![both[0], world.signature] };
        assert_eq!(listed(&world), expected);
        world.assert_whole("beside another writer");
    }
}

/// Both have read the same list, or that there is none, and one writes when the other has come to its end: no look of that
/// one can find what is lost after.
#[tokio::test]
async fn two_that_add_to_one_list_at_once_lose_nothing_where_the_registry_gives_validators() {
    for earlier in [&["one"][..], &[]] {
        // Two sources of the very same artifact, each with a signature of its own.
        let world = World::start().await;
        let other = World::start().await;
        assert_eq!(world.what, other.what);
        let own = sign(&other.source, &other.what, "of the other source");
        let hold = Hold::default();
        let write = On::of(Method::PUT, format!("/manifests/{}", list_tag(&world))).times(1);
        let held = Fault::new(write, What::Hold(hold.clone()));
        world.again(Behaviour::default(), without_the_api(true, vec![held]));
        let mut expected = list_of_others(&world, earlier, !earlier.is_empty()).1;
        let cx = |root: &str| promo_sdk::testing::context(root);
        // Under tags of their own: what is there already under its tag is not copied.
        let ensure = |source: &World, tag: &str| {
            let mut inputs = world.inputs();
            for artifact in inputs.artifacts.values_mut() {
                artifact.tag = Some(tag.into());
                artifact.source = Some(format!("{}/{SOURCE}", source.source.address()));
            }
            let (expected, desired) = (promo_sdk::State::Absent, promo_sdk::State::Present(world.what.digest));
            EnsureRequest {
                inputs,
                expected,
                desired,
                changes: Vec::new(),
                token: "run/1".into(),
                epoch: 1,
                ledger: String::new(),
            }
        };
        let (first, second) = (ensure(&world, TAG), ensure(&other, "1.0.1"));
        let late = tokio::spawn(async move { Oci::new().ensure(&cx("/nowhere"), &first).await });
        hold.arrived().await;
        Oci::new().ensure(&cx("/elsewhere"), &second).await.unwrap();
        hold.release();
        late.await.unwrap().unwrap();
        let mut all = listed(&world);
        expected.extend([world.signature, own]);
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected, "there were {earlier:?}");
        let refused = world.destination.journal().iter().filter(|entry| entry.status == 412).count();
        assert_eq!(refused, 1, "there were {earlier:?}");
    }
}

/// How often the list was written, and with what success.
fn list_writes(world: &World) -> Vec<u16> {
    let path = format!("/manifests/{}", list_tag(world));
    let journal = world.destination.journal();
    journal.iter().filter(|entry| entry.method == "PUT" && entry.path.ends_with(&path)).map(|e| e.status).collect()
}

/// A look from a cache that lags behind shows once more what was read, after the write on that was refused.
#[tokio::test]
async fn what_a_refusal_has_kept_is_not_written_over_after_a_look_that_lags_behind() {
    let world = World::start().await;
    world.again(Behaviour::default(), without_the_api(true, Vec::new()));
    let (first, _) = list_of_others(&world, &["one"], true);
    let (more, both) = list_of_others(&world, &["one", "two"], false);
    let path = format!("/manifests/{}", list_tag(&world));
    let moved = What::MoveTag { repository: DESTINATION.into(), tag: list_tag(&world), to: more };
    // Looks at the list: whether there is one, right before the write, and after the refusal.
    let lags = || On::of(Method::HEAD, path.clone()).after(2).times(1);
    let faults = vec![
        Fault::new(On::of(Method::PUT, path.clone()).times(1), moved),
        Fault::new(lags(), What::Header("docker-content-digest", Some(first.to_string()))),
        Fault::new(lags(), What::Header("etag", Some(format!("\"{first}\"")))),
    ];
    world.destination.behave(without_the_api(true, faults));
    world.promote(&world.network()).await.unwrap();
    assert_eq!(list_writes(&world), [412, 412, 201]);
    assert_eq!(listed(&world), [both[0], both[1], world.signature]);
    world.assert_whole("beside another writer");
}

/// The list has another validator than before, and is the same: what is written then is on the new one.
#[tokio::test]
async fn a_list_that_was_put_again_is_written_on_its_new_validator() {
    let world = World::start().await;
    world.again(Behaviour::default(), without_the_api(true, Vec::new()));
    list_of_others(&world, &["one"], true);
    let (more, both) = list_of_others(&world, &["one", "two"], false);
    let path = format!("/manifests/{}", list_tag(&world));
    let before = On::of(Method::HEAD, path.clone()).after(1).times(1);
    let old = Fault::new(before, What::Header("etag", Some("\"of an earlier time\"".into())));
    // And just before that write somebody else adds to it.
    let moved = What::MoveTag { repository: DESTINATION.into(), tag: list_tag(&world), to: more };
    let second = Fault::new(On::of(Method::PUT, path).after(1).times(1), moved);
    world.destination.behave(without_the_api(true, vec![old, second]));
    world.promote(&world.network()).await.unwrap();
    assert_eq!(list_writes(&world), [412, 412, 201]);
    assert_eq!(listed(&world), [both[0], both[1], world.signature]);
}

/// A validator that is refused twice for the very bytes that it stands for is none for writing.
#[tokio::test]
async fn a_registry_that_takes_no_validator_of_its_own_gets_the_list_without_one() {
    let world = World::start().await;
    world.again(Behaviour::default(), without_the_api(true, Vec::new()));
    let (_, others) = list_of_others(&world, &["one"], true);
    // It compares with something that no answer of it says.
    let path = format!("/manifests/{}", list_tag(&world));
    let said = Fault::new(On::of(Method::HEAD, path), What::Header("etag", Some("\"for reading\"".into())));
    world.destination.behave(without_the_api(true, vec![said]));
    world.promote(&world.network()).await.unwrap();
    assert_eq!(list_writes(&world), [412, 412, 201]);
    assert_eq!(listed(&world), [others[0], world.signature]);
}

#[tokio::test]
async fn a_list_that_is_taken_away_before_it_is_written_is_read_anew() {
    let world = World::start().await;
    world.again(Behaviour::default(), without_the_api(true, Vec::new()));
    list_of_others(&world, &["one"], true);
    // A tag of a manifest that is not there is no tag.
    let gone = What::MoveTag { repository: DESTINATION.into(), tag: list_tag(&world), to: Digest::of(b"gone") };
    let write = On::of(Method::PUT, format!("/manifests/{}", list_tag(&world))).times(1);
    world.destination.behave(without_the_api(true, vec![Fault::new(write, gone)]));
    world.promote(&world.network()).await.unwrap();
    assert_eq!(list_writes(&world), [412, 201]);
    // What whoever took it away wanted away stays so.
    assert_eq!(listed(&world), [world.signature]);
    world.assert_whole("beside one that deletes");
}

/// Everything that belongs to an artifact goes along, or the copy is refused: nothing is left behind without a word.
#[tokio::test]
async fn referrers_below_the_third_level_are_refused_by_the_preview_and_nothing_is_copied() {
    let world = World::start().await;
    let below = |subject: &Digest, text: &str| {
        let mut digest = None;
        world.source.edit(SOURCE, |there| {
            let size = there.manifests[subject].bytes.len() as u64;
            digest = Some(there.put(text, Some((subject, size))));
        });
        digest.unwrap()
    };
    let second = below(&world.signature, "two deep");
    let third = below(&second, "three deep");
    let cx = promo_sdk::testing::context("/nowhere");
    let look = async || Oci::new().preview(&cx, &ObserveRequest { inputs: world.inputs() }).await;
    assert_eq!(look().await.unwrap().changes.len(), 1 + 3);
    let fourth = below(&third, "four deep");
    let error = look().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.message.contains(&fourth.to_string()) && error.message.contains("at most 3, found 4"), "{error}");
    assert_eq!(world.copy(&world.network()).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(world.writes(), Vec::<String>::new());
}

/// What lies beside the artifact, for somebody who has it in `repository` of the source.
async fn beside(world: &World, network: &Network, repository: &str) -> Result<usize, ProviderError> {
    let reference = format!("{}/{repository}@{}", world.source.address(), world.what.digest);
    let request = AttachedRequest { reference, known: BTreeSet::new() };
    let mut cx = promo_sdk::testing::context("/nowhere");
    cx.clock = world.clock.clone();
    Ok(Oci::new().with_network(network.clone()).attached(&cx, &request).await?.len())
}

/// A signature of the artifact under cosign's tag for it.
fn sidecar(there: &mut Repository, of: &Digest) {
    let layer = Digest::of(b"{}");
    there.blobs.insert(layer, Bytes::from_static(b"{}"));
    let layer = json!({ "mediaType": "application/vnd.dsse.envelope.v1+json", "digest": layer.to_string(), "size": 2 });
    let config = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": layer["digest"], "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer] });
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    there.manifests.insert(digest, Stored { media_type: OCI_MANIFEST.into(), bytes: bytes.into() });
    there.tags.insert(format!("{}.att", of.to_string().replace(':', "-")), digest);
}

/// One name may stand before several registries: what one of them does not have says nothing of the other.
#[tokio::test]
async fn r1_5_that_one_repository_has_no_referrers_api_says_nothing_of_another_on_the_same_host() {
    let world = World::start().await;
    const OLD: &str = "old/app";
    let held = world.source.repository(SOURCE);
    world.source.edit(OLD, |there| *there = held);
    let missing = Fault::new(On::path(format!("/v2/{OLD}/referrers/")), What::status(404));
    world.again(Behaviour::faulty([missing]), Behaviour::default());
    let network = world.network();
    assert_eq!(beside(&world, &network, OLD).await.unwrap(), 0);
    let asked = |from: usize| {
        let journal = world.source.journal();
        journal[from..].iter().filter(|entry| entry.path.contains("/referrers/")).map(Entry::line).collect::<Vec<_>>()
    };
    assert!(!asked(0).is_empty());
    let again = world.source.journal().len();
    assert_eq!(beside(&world, &network, OLD).await.unwrap(), 0);
    assert_eq!(asked(again), Vec::<String>::new(), "what is known of a repository is not asked of it again");
    let before = world.source.journal().len();
    let _ = beside(&world, &network, SOURCE).await.unwrap();
    assert!(!asked(before).is_empty(), "the other one is asked");
    let read = format!("/manifests/{}", world.signature);
    assert!(world.source.journal()[before..].iter().any(|entry| entry.path.ends_with(&read)), "and its answer is read");
}

#[tokio::test]
async fn r1_5_a_registry_that_lists_no_tags_is_asked_for_the_tags_of_cosign_one_by_one() {
    let world = World::start().await;
    world.source.edit(SOURCE, |there| sidecar(there, &world.what.digest));
    for status in [404, 403, 405] {
        let hidden = Fault::new(On::path("/tags/list"), What::status(status));
        world.again(Behaviour::faulty([hidden]), Behaviour::default());
        assert_eq!(beside(&world, &world.network(), SOURCE).await.unwrap(), 1, "{status}");
    }
    for (status, kind) in [(403, ErrorKind::Denied), (429, ErrorKind::Transient), (503, ErrorKind::Transient)] {
        for path in ["/tags/list", "/referrers/", ".att", ".sig"] {
            if path == "/tags/list" && status == 403 {
                continue;
            }
            let hidden = Fault::new(On::path("/tags/list"), What::status(404));
            let refused = Fault::new(On::path(path), What::status(status));
            world.again(Behaviour::faulty([refused, hidden]), Behaviour::default());
            let error = beside(&world, &world.network(), SOURCE).await.unwrap_err();
            assert_eq!(error.kind, kind, "{status} {path}: {error}");
        }
    }
}

#[tokio::test]
async fn r1_5_a_list_of_referrers_whose_manifest_is_lost_is_an_error_that_names_it() {
    let world = World::start().await;
    let tag = list_tag(&world);
    let gone = Digest::of(b"nobody has this");
    world.source.edit(SOURCE, |there| {
        there.tags.insert(tag.clone(), gone);
    });
    world.again(without_the_api(false, Vec::new()), Behaviour::default());
    let error = beside(&world, &world.network(), SOURCE).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Integrity, "{error}");
    assert!(error.message.contains(&tag), "{error}");
}
