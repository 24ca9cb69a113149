//! Servers that are busy, fail or reset connections, by the number of the request.

use std::time::Duration;

use axum::http::Method;
use promo_sdk::ErrorKind;
use promo_tests::oci_registry::{Behaviour, Entry, Fault, On, Reset, What};

use crate::world::{World, kind};

/// Nothing is written a second time before a look at what came of the first (S9.2, S13.6).
fn assert_no_blind_repetition(journal: &[Entry], context: &str) {
    let object = |entry: &Entry| match entry.query.split_once("digest=") {
        Some((_, digest)) => digest.replace("%3A", ":"),
        None => entry.path.rsplit('/').next().unwrap_or_default().to_owned(),
    };
    for (n, second) in journal.iter().enumerate().filter(|(_, entry)| entry.method == "PUT") {
        let Some(first) = journal[..n].iter().rposition(|e| e.method == "PUT" && object(e) == object(second)) else {
            continue;
        };
        let looks =
            |entry: &Entry| matches!(entry.method.as_str(), "HEAD" | "GET") && entry.path.ends_with(&object(second));
        assert!(journal[first + 1..n].iter().any(looks), "{context}: {} was repeated blindly", second.line());
    }
}

/// Runs the copy with one fault at each request in turn, until it is not reached any more.
async fn sweep(world: &World, at_source: bool, what: &What) -> usize {
    for number in 1.. {
        let fault = Behaviour::faulty([Fault::new(On::request(number), what.clone())]);
        let (source, destination) =
            if at_source { (fault, Behaviour::default()) } else { (Behaviour::default(), fault) };
        world.again(source, destination);
        let context =
            format!("{what:?} at request {number} to the {}", if at_source { "source" } else { "destination" });
        let before = world.clock.sleeps().len();
        let result = world.promote(&world.network()).await;
        let journal = if at_source { world.source.journal() } else { world.destination.journal() };
        let hit = journal.iter().find(|entry| entry.faulty).map(Entry::line);
        let context = format!("{context}: {hit:?}");
        if let Err(error) = result {
            panic!("{context}: {error:?}");
        }
        world.assert_whole(&context);
        assert_no_blind_repetition(&world.destination.journal(), &context);
        if hit.is_none() {
            return number - 1;
        }
        if let What::Answer { headers, .. } = what
            && let Some((_, seconds)) = headers.iter().find(|(name, _)| *name == "retry-after")
        {
            let asked = Duration::from_secs(seconds.parse().unwrap());
            let waits = &world.clock.sleeps()[before..];
            assert!(waits.iter().any(|wait| *wait >= asked), "{context}: {waits:?}");
        }
    }
    unreachable!("a copy has an end")
}

#[tokio::test]
async fn s13_6_a_reset_at_any_request_is_survived_and_nothing_is_repeated_blindly() {
    let world = World::start().await;
    for when in [Reset::Before, Reset::InRequest(5), Reset::After, Reset::InAnswer(0), Reset::InAnswer(5)] {
        let (source, destination) =
            (sweep(&world, true, &What::Reset(when)).await, sweep(&world, false, &What::Reset(when)).await);
        assert!(source >= 15 && destination >= 20, "{when:?}: {source} and {destination} requests");
    }
}

#[tokio::test]
async fn s13_6_a_busy_or_failing_server_at_any_request_is_asked_again() {
    let world = World::start().await;
    for status in [408, 429, 500, 502, 503, 504] {
        sweep(&world, true, &What::status(status)).await;
        sweep(&world, false, &What::status(status)).await;
    }
    let patient = What::Answer { status: 429, headers: vec![("retry-after", "7".into())] };
    sweep(&world, true, &patient).await;
    sweep(&world, false, &patient).await;
}

#[tokio::test]
async fn s13_6_retry_after_is_heard_up_to_its_cap_and_a_spent_budget_is_transient() {
    let world = World::start().await;
    let busy = |seconds: &str| What::Answer { status: 429, headers: vec![("retry-after", seconds.into())] };
    for (said, least) in [("7", 7), ("100", 100), ("99999", 120)] {
        let before = world.clock.sleeps().len();
        let faults = [Fault::new(On::of(Method::PUT, "/manifests/").times(1), busy(said))];
        world.again(Behaviour::default(), Behaviour::faulty(faults));
        world.promote(&world.network()).await.unwrap();
        let longest = world.clock.sleeps()[before..].iter().max().copied().unwrap();
        let within = Duration::from_secs(least)..=Duration::from_secs(120);
        assert!(within.contains(&longest), "{said}: {longest:?}");
        world.assert_whole(said);
    }
    // Always busy: given up, and nothing is written but what came before.
    for path in ["/manifests/", "/blobs/"] {
        world.again(Behaviour::faulty([Fault::new(On::of(Method::GET, path), busy("1"))]), Behaviour::default());
        let error = world.copy(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Transient, "{path}");
        world.assert_nothing_published(path);
    }
    for (method, path) in [(Method::PUT, "/manifests/"), (Method::POST, "/uploads/"), (Method::HEAD, "/manifests/")] {
        let faults = [Fault::new(On::of(method.clone(), path), busy("1"))];
        world.again(Behaviour::default(), Behaviour::faulty(faults));
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Transient, "{method} {path}");
        assert!(world.destination.repository(crate::world::DESTINATION).tags.is_empty());
        assert_no_blind_repetition(&world.destination.journal(), path);
    }
}

#[tokio::test]
async fn s13_6_what_is_no_trouble_of_the_moment_is_not_asked_again() {
    let world = World::start().await;
    // 404 and 410 say that the session has ended: `chunks` has them.
    for status in [400, 403, 405, 409, 412, 418, 501] {
        let faults = [Fault::new(On::of(Method::PUT, "/blobs/uploads/"), What::status(status))];
        world.again(Behaviour::default(), Behaviour::faulty(faults));
        let error = world.promote(&world.network()).await.unwrap_err();
        assert_ne!(kind(error), ErrorKind::Transient, "{status}");
        world.assert_nothing_published(&status.to_string());
        let mut asked: Vec<String> =
            world.destination.journal().iter().filter(|e| e.faulty).map(|e| e.query.clone()).collect();
        let all = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), all, "{status}: {asked:?}");
    }
}

#[tokio::test]
async fn s13_6_connections_that_always_break_in_the_answer_end_as_transient() {
    let world = World::start().await;
    for path in ["/blobs/", "/manifests/"] {
        let breaks = Fault::new(On::of(Method::GET, path), What::Reset(Reset::InAnswer(3)));
        world.again(Behaviour::faulty([breaks]), Behaviour::default());
        let error = world.copy(&world.network()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Transient, "{path}");
        world.assert_nothing_published(path);
    }
}
