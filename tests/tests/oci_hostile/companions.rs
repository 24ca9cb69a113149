//! What goes along with an artifact: it is counted in a preview, and found again whichever way a registry keeps it.

use std::collections::BTreeMap;

use promo_providers::oci::Oci;
use promo_sdk::{ArtifactInput, EnsureRequest, Inputs, ObserveRequest, Provider as _};
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
        assert!(!world.promote(&world.network()).await.unwrap().changed(), "{referrers}");
    }
}

#[tokio::test]
async fn s2_3_a_preview_counts_what_goes_along() {
    let world = World::start().await;
    let cx = promo_sdk::testing::context("/nowhere");
    let artifact = ArtifactInput {
        repository: format!("{}/{DESTINATION}", world.destination.address()),
        digest: world.what.digest,
        tag: Some(TAG.into()),
        source: Some(format!("{}/{SOURCE}", world.source.address())),
    };
    let inputs = Inputs {
        environment: "production".parse().unwrap(),
        release: "r-0123456789ab".parse().unwrap(),
        target: promo_core::model::Target(BTreeMap::new()),
        settings: serde_json::Value::Null,
        artifacts: BTreeMap::from([("app".parse().unwrap(), artifact)]),
        files: BTreeMap::new(),
    };
    let preview = Oci::new().preview(&cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
    let after: Vec<_> = preview.changes.iter().map(|change| change.after.clone().unwrap()).collect();
    assert_eq!(after, [world.what.digest.to_string(), world.signature.to_string()]);
    assert!(preview.changes[1].path.contains("application/vnd.example.signature"), "{preview:?}");
    assert_eq!(world.writes(), Vec::<String>::new());

    let (expected, desired) = (preview.current, preview.desired);
    let ensure = EnsureRequest { inputs, expected, desired, token: "run/1".into(), epoch: 1 };
    let answer = Oci::new().ensure(&cx, &ensure).await.unwrap();
    assert!(answer.detail.ends_with("1 referrers"), "{}", answer.detail);
    world.assert_whole("as it was previewed");
}
