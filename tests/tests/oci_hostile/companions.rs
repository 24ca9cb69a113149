//! What goes along with an artifact: it is counted in a preview, and found again whichever way a registry keeps it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use promo_providers::oci::Oci;
use promo_sdk::testing::FakeClock;
use promo_sdk::{EnsureRequest, ErrorKind, ObserveRequest, Preview, Provider as _};
use promo_tests::oci_registry::{Behaviour, Entry};

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

    let Preview { current: expected, desired, changes } = preview;
    let ensure = EnsureRequest { inputs, expected, desired, changes, token: "run/1".into(), epoch: 1 };
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
        let Preview { current: expected, desired, changes } =
            oci.preview(&cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
        let (which, words) = if gone {
            world.source.edit(SOURCE, |there| drop(there.manifests.remove(&world.signature)));
            (world.signature, "was to go along, and is not at")
        } else {
            (sign(&world.source, &world.what, "another"), "would go along, and came to")
        };
        // What a preview saw a moment ago is what is copied; by now that is too long ago.
        clock.advance(SignedDuration::from_secs(11));
        let ensure = EnsureRequest { inputs, expected, desired, changes, token: "run/1".into(), epoch: 1 };
        let error = oci.ensure(&cx, &ensure).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.message.contains(words) && error.message.contains(&which.to_string()), "{error}");
        assert_eq!(world.writes(), Vec::<String>::new(), "gone: {gone}");
    }
}
