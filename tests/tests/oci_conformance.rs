//! The rules of the distribution specification 1.1 for registries, held against the test registry and, as a check of the
//! rules themselves, against a real one. Each rule names the section that it reads; what a registry does not keep is
//! listed by name, and a rule that it keeps after all is an error as well.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

#[path = "oci_conformance/client.rs"]
mod client;
#[path = "oci_conformance/discovery.rs"]
mod discovery;
#[path = "oci_conformance/pull.rs"]
mod pull;
#[path = "oci_conformance/push.rs"]
mod push;

use std::collections::{BTreeMap, BTreeSet};

use client::{Broken, Subject};
use promo_tests::oci_registry::{Behaviour, Mounting, OciRegistry, Tags};

/// Which rules a registry breaks, with what it did.
async fn broken(base: &str) -> BTreeMap<&'static str, String> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let mut broken = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let rules = pull::rules().into_iter().chain(push::rules()).chain(discovery::rules());
    for (name, rule) in rules {
        assert!(seen.insert(name), "{name} is there twice");
        if let Err(Broken(why)) = rule(Subject::new(&http, base, name)).await {
            broken.insert(name, why);
        }
    }
    assert!(seen.len() >= 60, "{} rules", seen.len());
    broken
}

/// Exactly these rules are broken.
fn are(broken: &BTreeMap<&str, String>, expected: &[&str]) {
    let names: BTreeSet<&str> = broken.keys().copied().collect();
    assert_eq!(names, expected.iter().copied().collect(), "{broken:#?}");
}

async fn breaks(behaviour: Behaviour, expected: &[&str]) {
    let registry = OciRegistry::start(behaviour).await;
    are(&broken(&registry.url()).await, expected);
}

#[tokio::test]
async fn the_test_registry_keeps_every_rule() {
    breaks(Behaviour::default(), &[]).await;
}

#[tokio::test]
async fn what_the_specification_leaves_open_breaks_no_rule() {
    let small = Behaviour {
        page: Some(2),
        referrers_page: Some(1),
        mount: Mounting::Session,
        single_post: false,
        least_chunk: Some(4),
        ..Behaviour::default()
    };
    breaks(small, &[]).await;
    // Tags that never move are no concern of the specification; a rule that moves one says so.
    for tags in [Tags::BadRequest, Tags::Precondition, Tags::Conflict, Tags::Forbidden, Tags::Silent] {
        breaks(Behaviour { tags, ..Behaviour::default() }, &["push_tag_moves"]).await;
    }
}

#[tokio::test]
async fn a_switch_that_leaves_the_specification_breaks_the_rules_about_it_and_no_others() {
    let referrers: Vec<&str> =
        discovery::rules().iter().map(|(name, _)| *name).filter(|n| n.contains("referrers")).collect();
    assert!(referrers.len() >= 8);
    breaks(Behaviour { referrers: false, ..Behaviour::default() }, &referrers).await;
    let quirk = Behaviour { repeats_last: true, ..Behaviour::default() };
    breaks(quirk, &["tags_last_is_left_out", "tags_links_lead_to_every_tag_once"]).await;
    let silent = Behaviour { digest_header: false, ..Behaviour::default() };
    breaks(silent, &["pull_blob", "pull_blob_head", "pull_manifest", "pull_manifest_head"]).await;
    let credulous = Behaviour { credulous: true, ..Behaviour::default() };
    breaks(credulous, &["push_blob_of_another_digest_is_refused", "push_manifest_of_another_digest_is_refused"]).await;
    let refusing = Behaviour { mount: Mounting::Refuse(405), ..Behaviour::default() };
    breaks(refusing, &["push_mount", "push_mount_of_what_is_not_there_opens_a_session", "push_mount_without_a_source"])
        .await;
    breaks(Behaviour { largest_manifest: 1 << 20, ..Behaviour::default() }, &["push_manifest_of_four_megabytes"]).await;
    // Refusing to delete is allowed; the rules about deletion then have nothing to look at.
    breaks(Behaviour { deletes: false, ..Behaviour::default() }, &[]).await;
}

mod needs_docker_registry {
    use promo_tests::registry::Registry;

    /// What docker-registry 2.8 does not keep. It is older than version 1.1 of the specification.
    const NOT_KEPT: &[&str] = &[
        // It ends the connection in the middle of its 416.
        "pull_blob_range_behind_the_end",
        // It looks at no `Content-Range`, and appends whatever comes.
        "push_chunk_out_of_order_is_refused",
        "push_chunk_twice_is_refused",
        "push_last_chunk_out_of_order_is_refused",
        // It has a limit, and says 400.
        "push_manifest_that_is_too_large",
        // It has no referrers API.
        "referrers_are_confirmed_when_they_are_pushed",
        "referrers_are_listed",
        "referrers_by_type",
        "referrers_in_other_repositories_are_not_listed",
        "referrers_links_lead_to_every_one_once",
        "referrers_may_come_before_their_subject",
        "referrers_of_a_malformed_digest",
        "referrers_of_nothing_are_none",
        "referrers_that_are_deleted_are_not_listed",
        "referrers_that_are_indexes",
        // It lists all tags, in no order, whatever `n` and `last` say: so the one after which it was asked comes again.
        "tags_are_listed_in_order",
        "tags_last_is_left_out",
        "tags_links_lead_to_every_tag_once",
        "tags_no_more_than_asked_for",
        "tags_none_when_none_is_asked_for",
    ];

    #[tokio::test]
    async fn a_real_registry_keeps_the_rules_but_those_it_is_known_to_break() {
        let Some(registry) = Registry::start() else { return };
        super::are(&super::broken(&format!("http://{}", registry.address())).await, NOT_KEPT);
    }
}
