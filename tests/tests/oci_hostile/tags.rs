//! Tags that move while they are looked at, and tags that do not move.

use std::collections::BTreeSet;

use axum::http::Method;
use promo_core::Digest;
use promo_sdk::{ErrorKind, ProviderError};
use promo_tests::oci_registry::{Behaviour, Entry, Fault, On, Tags, What, writes_after};

use crate::world::{DESTINATION, SOURCE, TAG, World, kind};

/// Puts another image beside the first one, in both registries' repositories.
fn other(world: &World) -> Digest {
    let source = world.source.repository(SOURCE);
    let child = &world.what.tree[0].digest;
    let stored = source.manifests[child].clone();
    world.destination.edit(DESTINATION, |there| drop(there.manifests.insert(*child, stored)));
    *child
}

fn moving(number: usize, repository: &str, to: Digest) -> Behaviour {
    let what = What::MoveTag { repository: repository.into(), tag: TAG.into(), to };
    Behaviour::faulty([Fault::new(On::request(number), what)])
}

#[tokio::test]
async fn r2_a_source_tag_that_moves_at_any_request_is_refused_before_a_write_or_does_not_matter() {
    let world = World::start().await;
    let other = other(&world);
    let (mut refused, mut whole) = (0, 0);
    for number in 1.. {
        world.source.edit(SOURCE, |there| {
            there.tags.insert(TAG.into(), world.what.digest);
        });
        world.again(moving(number, SOURCE, other), Behaviour::default());
        let result = world.promote(&world.network()).await;
        let journal = world.source.journal();
        // The tag is looked at once, before the first write; whatever it does later, the planned digest is what travels.
        let look = journal.iter().find(|e| e.path.ends_with(&format!("/manifests/{TAG}"))).unwrap().number;
        if number <= look {
            let error = result.expect_err("moved before it was looked at");
            let both = (error.expected.clone(), error.found.clone());
            assert_eq!(both, (Some(world.what.digest.to_string()), Some(other.to_string())), "{number}: {error}");
            assert_eq!(kind(error), ErrorKind::Moved);
            assert_eq!(world.writes(), Vec::<String>::new(), "{number}");
            refused += 1;
        } else {
            result.unwrap();
            world.assert_whole(&format!("moved at request {number}, after it was looked at"));
            whole += 1;
        }
        if !journal.iter().any(|entry| entry.faulty) {
            break;
        }
    }
    assert!(refused >= 5 && whole >= 5, "{refused} refused, {whole} copied");
}

#[tokio::test]
async fn s2_3_a_destination_tag_that_is_taken_at_any_request_is_refused_and_nothing_is_written_after() {
    let world = World::start().await;
    let mut seen = BTreeSet::new();
    for number in 1.. {
        world.again(Behaviour::default(), Behaviour::default());
        let other = other(&world);
        world.destination.behave(moving(number, DESTINATION, other));
        let result = world.promote(&world.network()).await;
        let journal = world.destination.journal();
        let Some(taken) = journal.iter().find(|entry| entry.faulty) else {
            result.unwrap();
            world.assert_whole("never taken");
            break;
        };
        let is_put = taken.method == "PUT" && taken.is_tag();
        let context = format!("taken at request {number}: {}", taken.line());
        match result {
            Err(error) => {
                assert_eq!(kind(error), ErrorKind::Conflict, "{context}");
                assert_eq!(world.destination.repository(DESTINATION).tags[TAG], other, "{context}: it is theirs");
                // The look that found it is the end.
                let path = format!("/manifests/{TAG}");
                let look = journal.iter().find(|e| e.number >= number && e.method == "HEAD" && e.path.ends_with(&path));
                let late = writes_after(&journal, look.expect(&context).answered.unwrap());
                assert!(late.is_empty(), "{context}: {:?}", late.into_iter().map(Entry::line).collect::<Vec<_>>());
                seen.insert("refused");
            }
            // Between the last look and the write nobody can see it: only tags that never move help (registry.md 1.6).
            Ok(_) => {
                assert!(is_put, "{context}: taken, and not seen");
                assert_eq!(world.destination.repository(DESTINATION).tags[TAG], world.what.digest);
                seen.insert("overtaken");
            }
        }
    }
    assert_eq!(seen, BTreeSet::from(["overtaken", "refused"]));
}

#[tokio::test]
async fn tags_that_never_move_turn_the_last_race_into_a_refusal_in_every_style() {
    let world = World::start().await;
    for tags in [Tags::BadRequest, Tags::Precondition, Tags::Conflict, Tags::Forbidden, Tags::NotAllowed, Tags::Silent]
    {
        let race = |to: Digest| {
            let what = What::MoveTag { repository: DESTINATION.into(), tag: TAG.into(), to };
            let on = On::of(Method::PUT, format!("/manifests/{TAG}"));
            Behaviour { tags, faults: vec![Fault::new(on, what)], ..Behaviour::default() }
        };
        world.again(Behaviour::default(), Behaviour::default());
        let other = other(&world);
        world.destination.behave(race(other));
        let error = world.promote(&world.network()).await.unwrap_err();
        let expected = |error: &ProviderError| match tags {
            Tags::Silent => error.message.contains("another writer was faster"),
            _ => error.found == Some(other.to_string()),
        };
        assert!(expected(&error), "{tags:?}: {error:?}");
        // What the registry did is told: nobody needs to look for another writer.
        let told = error.to_string().contains("the registry keeps the tag where it is");
        assert_eq!(told, tags != Tags::Silent, "{error}");
        assert_eq!(kind(error), ErrorKind::Conflict, "{tags:?}");
        assert_eq!(world.destination.repository(DESTINATION).tags[TAG], other);
        // Somebody else was faster with the very same artifact: that is what was wanted.
        world.again(Behaviour::default(), race(world.what.digest));
        let digest = world.what.digest;
        let stored = world.source.repository(SOURCE).manifests[&digest].clone();
        world.destination.edit(DESTINATION, |there| drop(there.manifests.insert(digest, stored)));
        world.promote(&world.network()).await.unwrap_or_else(|error| panic!("{tags:?}: {error:?}"));
        assert_eq!(world.destination.repository(DESTINATION).tags[TAG], digest, "{tags:?}");
        // And the second time there is nothing to write, so that such registries can be promoted to again.
        world.destination.behave(Behaviour { tags, ..Behaviour::default() });
        assert!(!world.promote(&world.network()).await.unwrap().changed, "{tags:?}");
        assert_eq!(world.writes(), Vec::<String>::new(), "{tags:?}");
    }
}

#[tokio::test]
async fn a_refusal_to_write_a_tag_that_is_free_stays_what_it_is() {
    let world = World::start().await;
    for (status, expected) in [(400, ErrorKind::Failed), (403, ErrorKind::Denied), (409, ErrorKind::Failed)] {
        let faults = [Fault::new(On::of(Method::PUT, format!("/manifests/{TAG}")), What::status(status))];
        world.again(Behaviour::default(), Behaviour::faulty(faults));
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), expected, "{status}");
        let puts = world.destination.journal().iter().filter(|entry| entry.faulty).count();
        assert_eq!(puts, 1, "{status}: it is not asked again");
    }
}

#[tokio::test]
async fn all_tags_are_found_over_pages_and_a_list_without_end_ends() {
    let world = World::start().await;
    let digest = world.what.digest;
    let wanted: BTreeSet<String> = (0..7).map(|n| format!("v{n}")).chain([TAG.to_string()]).collect();
    world.source.edit(SOURCE, |there| there.tags.extend(wanted.iter().map(|tag| (tag.clone(), digest))));
    for page in [None, Some(1), Some(2), Some(3), Some(100)] {
        for repeats_last in [false, true] {
            world.source.behave(Behaviour { page, repeats_last, ..Behaviour::default() });
            let network = world.network();
            let found = world.from(&network).list_tags().await.unwrap();
            let context = format!("pages of {page:?}, repeats {repeats_last}: {found:?}");
            // A page of one that repeats its last tag never says anything else.
            if (page, repeats_last) == (Some(1), true) {
                assert_eq!(found.len(), 1, "{context}");
            } else {
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted, "{context}");
            }
            assert!(world.source.journal().len() <= wanted.len() + 2, "{context}");
        }
    }
}
