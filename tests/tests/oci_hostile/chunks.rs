//! Uploads in chunks against registries that break off, lose sessions or say something wrong about them.

use axum::http::Method;
use promo_providers::oci::build::Image;
use promo_providers::oci::{Network, RegistrySettings, Settings};
use promo_sdk::{ErrorKind, ProviderError};
use promo_tests::oci_registry::{Behaviour, Entry, Fault, OciRegistry, On, Reset, What};

use crate::world::{World, kind};

const CHUNK: u64 = 8 << 20;
/// Two whole chunks and a small one.
const SIZE: u64 = 2 * CHUNK + 5;

async fn world() -> World {
    let layer = (0..SIZE).map(|i| (i * 31 + i / 251) as u8).collect();
    World::with(&Image { platforms: vec!["linux/amd64".into()], ..Image::new([], vec![layer]) }).await
}

fn network(world: &World, allow: &[&str]) -> Network {
    let allow = allow.iter().map(|a| (*a).to_string()).collect();
    let settings = RegistrySettings { chunk: Some(CHUNK), allow, ..RegistrySettings::default() };
    world
        .network()
        .with_settings([(world.destination.address().to_string(), settings)].into_iter().collect::<Settings>())
}

/// Copies to a destination with these faults.
async fn copy(world: &World, faults: impl IntoIterator<Item = Fault>) -> Result<(), ProviderError> {
    world.again(Behaviour::default(), Behaviour::faulty(faults));
    world.promote(&network(world, &[])).await.map(drop)
}

/// What was asked about uploads, as `METHOD range status`, without the small ones that go in one request.
fn chunks(world: &World) -> Vec<String> {
    let journal = world.destination.journal();
    let session = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
    let large: Vec<String> = journal.iter().filter(|e| e.method == "PATCH").map(|e| session(&e.path)).collect();
    journal
        .iter()
        .filter(|entry| large.contains(&session(&entry.path)))
        .map(|entry| format!("{} {} {}", entry.method, entry.range, entry.status).replace("  ", " "))
        .collect()
}

fn nothing_of_it(world: &World, context: &str) {
    world.assert_nothing_published(context);
    world.assert_no_upload_is_left(context);
}

fn patch() -> On {
    On::of(Method::PATCH, "/uploads/")
}

fn answer(status: u16) -> What {
    What::status(status)
}

fn range(text: &str) -> What {
    What::Header("range", Some(text.into()))
}

const FIRST: &str = "PATCH 0-8388607 202";
const SECOND: &str = "PATCH 8388608-16777215 202";
const THIRD: &str = "PATCH 16777216-16777220 202";
const CLOSED: &str = "PUT 201";

#[tokio::test]
async fn a_chunk_that_is_reset_midway_goes_on_behind_what_arrived() {
    let world = world().await;
    let kept = 3 << 20;
    copy(&world, [Fault::new(patch().after(1).times(1), What::Reset(Reset::InRequest(kept)))]).await.unwrap();
    world.assert_whole("reset in the second chunk");
    let begin = CHUNK + kept as u64;
    let expected = [
        FIRST.to_owned(),
        "PATCH 8388608-16777215 0".into(),
        "GET 204".into(),
        format!("PATCH {begin}-{} 202", SIZE - 1),
        CLOSED.into(),
    ];
    assert_eq!(chunks(&world), expected);
}

#[tokio::test]
async fn a_reset_at_any_request_of_an_upload_in_chunks_is_survived_and_nothing_is_sent_twice() {
    let world = world().await;
    for when in [Reset::Before, Reset::InRequest(1 << 20), Reset::After, Reset::InAnswer(0)] {
        for at in 0..3 {
            let context = format!("{when:?} at chunk {at}");
            copy(&world, [Fault::new(patch().after(at).times(1), What::Reset(when))]).await.unwrap();
            world.assert_whole(&context);
            let journal = world.destination.journal();
            assert_eq!(journal.iter().filter(|e| e.faulty).count(), 1, "{context}");
            // What the registry has is never sent again: every chunk begins where the one before has ended.
            let mut reached = 0;
            for entry in journal.iter().filter(|e| e.method == "PATCH") {
                let begin: u64 = entry.range.split('-').next().unwrap().parse().unwrap();
                assert_eq!(begin, reached, "{context}: {}", entry.range);
                reached = match (entry.status, when) {
                    (202, _) | (_, Reset::After) => entry.range.split('-').nth(1).unwrap().parse::<u64>().unwrap() + 1,
                    (_, Reset::InRequest(kept)) => begin + entry.received.min(kept as u64),
                    _ => reached,
                };
            }
            assert_eq!(reached, SIZE, "{context}");
        }
    }
}

#[tokio::test]
async fn a_session_that_claims_more_or_less_than_was_sent_is_not_believed() {
    let world = world().await;
    for lie in ["0-16777216", "0-99999999", "0-100"] {
        // In the answer to the question how far it came: there is no status beside it that says otherwise.
        let faults = [
            Fault::new(patch().after(1).times(1), answer(503)),
            Fault::new(On::of(Method::GET, "/uploads/"), range(lie)),
        ];
        let error = copy(&world, faults).await.expect_err(lie);
        assert_eq!(kind(error), ErrorKind::Integrity, "{lie}");
        nothing_of_it(&world, lie);
    }
    for nonsense in ["lots", "0-", "0-18446744073709551615", "0-x"] {
        let faults = [
            Fault::new(patch().after(1).times(1), answer(503)),
            Fault::new(On::of(Method::GET, "/uploads/"), range(nonsense)),
        ];
        let error = copy(&world, faults).await.expect_err(nonsense);
        assert!(error.kind == ErrorKind::Failed, "{nonsense}: {error:?}");
        nothing_of_it(&world, nonsense);
    }
}

#[tokio::test]
async fn a_chunk_that_is_said_to_be_taken_in_part_is_followed_by_a_question_and_arrives_once() {
    let world = world().await;
    // It was taken whole: the next chunk begins too early, is refused (416), and the registry then says the truth.
    copy(&world, [Fault::new(patch().after(1).times(1), range("0-9999999"))]).await.unwrap();
    world.assert_whole("taken in part, as it says");
    let expected = [FIRST, SECOND, "PATCH 10000000-16777220 416", "GET 204", THIRD, CLOSED];
    let refused = chunks(&world);
    assert_eq!(refused, expected);
}

#[tokio::test]
async fn a_chunk_that_is_said_to_be_taken_is_taken_whatever_the_registry_counts() {
    let world = world().await;
    // One too many, far too many, only those of another chunk, and no count at all: in the answer to each chunk in turn.
    for (said, at) in [
        ("0-8388608", 0),
        ("0-16777216", 1),
        ("0-16777221", 2),
        ("0-99999999", 1),
        ("0-100", 1),
        ("0-4", 2),
        ("0-0", 0),
        ("bytes=0-8388607", 0),
        ("lots", 1),
    ] {
        copy(&world, [Fault::new(patch().after(at).times(1), range(said))]).await.expect(said);
        world.assert_whole(said);
        assert_eq!(
            chunks(&world),
            [FIRST, SECOND, THIRD, CLOSED],
            "{said}: nothing is asked and nothing is sent twice"
        );
    }
    // One that always counts from one.
    let faults = [("0-8388608", 0), ("0-16777216", 1), ("0-16777221", 2)];
    let faults = faults.map(|(said, at)| Fault::new(patch().after(at).times(1), range(said)));
    copy(&world, faults).await.unwrap();
    world.assert_whole("counts from one");
    assert_eq!(chunks(&world), [FIRST, SECOND, THIRD, CLOSED]);
}

#[tokio::test]
async fn whoever_gets_ahead_has_its_attempts_anew() {
    let world = world().await;
    // More breaks than there are attempts, and after each of them a mebibyte more is there.
    let breaks = 12;
    let resets = Fault::new(patch().times(breaks), What::Reset(Reset::InRequest(1 << 20)));
    copy(&world, [resets]).await.unwrap();
    world.assert_whole("a mebibyte at a time");
    let broken = chunks(&world).iter().filter(|line| line.ends_with(" 0")).count();
    assert_eq!(broken, breaks);
    // Standing still uses them up.
    let error = copy(&world, [Fault::new(patch().after(1), What::Reset(Reset::InRequest(0)))]).await.unwrap_err();
    assert!(error.kind == ErrorKind::Transient, "{error:?}");
    nothing_of_it(&world, "never ahead");
    let all = chunks(&world);
    let first = all.split(|line| line.starts_with("DELETE")).next().unwrap();
    assert_eq!(first.iter().filter(|line| line.ends_with(" 0")).count(), 5, "attempts in one session: {all:?}");
}

#[tokio::test]
async fn a_refused_range_is_followed_by_a_question_and_without_end_by_an_error() {
    let world = world().await;
    copy(&world, [Fault::new(patch().after(1).times(1), answer(416))]).await.unwrap();
    world.assert_whole("416 once");
    assert_eq!(chunks(&world), [FIRST, "PATCH 8388608-16777215 416", "GET 204", SECOND, THIRD, CLOSED]);
    let error = copy(&world, [Fault::new(patch().after(1), answer(416))]).await.unwrap_err();
    assert!(error.message.contains("unexpected status 416"), "{error:?}");
    nothing_of_it(&world, "416 for ever");
    assert!(chunks(&world).len() <= 12, "{:?}", chunks(&world));
}

#[tokio::test]
async fn what_is_too_large_for_one_request_goes_in_chunks_and_what_is_too_large_for_that_is_an_error() {
    let world = world().await;
    let capped = |most| Behaviour { largest_request: Some(most), ..Behaviour::default() };
    world.again(Behaviour::default(), capped(CHUNK));
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("413, and then chunks");
    let journal = world.destination.journal();
    assert_eq!(journal.iter().filter(|e| e.status == 413).count(), 1, "it is tried once");
    assert_eq!(chunks(&world), [FIRST, SECOND, THIRD, CLOSED]);
    world.again(Behaviour::default(), capped(CHUNK - 1));
    let error = world.promote(&world.network()).await.unwrap_err();
    assert!(error.message.contains("unexpected status 413"), "{error:?}");
    let there = world.destination.repository(crate::world::DESTINATION);
    assert!(there.tags.is_empty() && there.manifests.is_empty() && there.wrong().is_empty());
    world.assert_no_upload_is_left("too large in every way");
}

/// Several are on their way when the limit is found out.
#[tokio::test]
async fn every_layer_that_is_too_large_for_one_request_goes_in_chunks() {
    let layer = |own: u64| (0..SIZE).map(|i| (i * 31 + i / 251 + own) as u8).collect::<Vec<u8>>();
    let layers = (0..4).map(layer).collect();
    let world = World::with(&Image { platforms: vec!["linux/amd64".into()], ..Image::new([], layers) }).await;
    world.again(Behaviour::default(), Behaviour { largest_request: Some(CHUNK), ..Behaviour::default() });
    world.promote(&world.network()).await.unwrap();
    world.assert_whole("413 for several at once");
    let refused = world.destination.journal().iter().filter(|entry| entry.status == 413).count();
    assert!((1..=4).contains(&refused), "each is tried at most once: {refused}");
}

#[tokio::test]
async fn a_session_that_ends_is_replaced_by_a_new_one_once() {
    let world = world().await;
    let closing = || On::of(Method::PUT, "/uploads/").after(3);
    for (context, on) in [("second chunk", patch().after(1)), ("first chunk", patch())] {
        copy(&world, [Fault::new(on.times(1), What::EndSessions)]).await.unwrap();
        world.assert_whole(context);
        let all = chunks(&world);
        assert_eq!(all[all.len() - 4..], [FIRST, SECOND, THIRD, CLOSED], "{context}");
        assert_eq!(all.iter().filter(|line| line.ends_with("404")).count(), 1, "{context}: {all:?}");
        assert!(!all.iter().any(|line| line.starts_with("DELETE")), "{context}: there is nothing to give up");
    }
    // While it is asked how far it came.
    let faults = [
        Fault::new(patch().after(1).times(1), answer(503)),
        Fault::new(On::of(Method::GET, "/uploads/"), What::EndSessions),
    ];
    copy(&world, faults).await.unwrap();
    world.assert_whole("in between");
    let all = chunks(&world);
    assert_eq!(all, [FIRST, "PATCH 8388608-16777215 503", "GET 404", FIRST, SECOND, THIRD, CLOSED]);
    // At the last request: the small blobs are closed before.
    copy(&world, [Fault::new(closing().times(1), What::EndSessions)]).await.unwrap();
    world.assert_whole("closing request");
    // 410 says the same, and a second end is the end.
    for status in [404, 410] {
        let error = copy(&world, [Fault::new(patch().after(1), answer(status))]).await.unwrap_err();
        assert!(error.message.contains(&format!("unexpected status {status}")), "{error:?}");
        let all = world.destination.journal();
        assert_eq!(all.iter().filter(|e| e.faulty).count(), 1 + 1, "{status}: one session and one more");
        let there = world.destination.repository(crate::world::DESTINATION);
        assert!(there.tags.is_empty() && there.manifests.is_empty(), "{status}");
    }
}

#[tokio::test]
async fn s13_5_every_place_that_a_session_moves_to_is_checked() {
    let world = world().await;
    let other = OciRegistry::start(Behaviour { credulous: true, ..Behaviour::default() }).await;
    for target in ["http://169.254.169.254/x", "http://10.0.0.1/x", "ftp://registry.example/x", &other.url()] {
        let to = || What::Header("location", Some(target.into()));
        let broken = Fault::new(patch().after(1).times(1), answer(503));
        for (context, faults) in [
            ("after the first chunk", vec![Fault::new(patch().times(1), to())]),
            ("with what is there", vec![broken, Fault::new(On::of(Method::GET, "/uploads/"), to())]),
        ] {
            let context = format!("{target} {context}");
            let error = copy(&world, faults).await.expect_err(&context);
            assert_eq!(kind(error), ErrorKind::Denied, "{context}");
            nothing_of_it(&world, &context);
        }
    }
    assert_eq!(other.journal(), [], "nobody went there");
    // One that is allowed is followed, and the rest of the blob goes there without a word about who sends it.
    let storage = world.destination.beside(Behaviour::default()).await;
    let moved = Fault::new(patch().times(1), What::Locate(storage.url()));
    world.again(Behaviour::default(), Behaviour::faulty([moved]));
    world.promote(&network(&world, &[storage.address()])).await.unwrap();
    world.assert_whole("moved to the storage beside");
    let there: Vec<String> = storage.journal().iter().map(|e| format!("{} {}", e.method, e.status)).collect();
    assert_eq!(there, ["PATCH 202", "PATCH 202", "PUT 201"]);
}

#[tokio::test]
async fn an_upload_that_comes_to_nothing_is_given_up_at_the_registry_and_its_answer_changes_nothing() {
    let world = world().await;
    let layer = world.what.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    let lie = || Fault::new(On::of(Method::GET, format!("/blobs/{}", layer.digest)), What::Flip { byte: 99, bit: 1 });
    let goodbye = On::of(Method::DELETE, "/uploads/");
    for in_chunks in [true, false] {
        for what in [None, Some(answer(405)), Some(answer(500)), Some(What::Reset(Reset::Before))] {
            let faults = what.iter().map(|what| Fault::new(goodbye.clone(), what.clone()));
            world.again(Behaviour::faulty([lie()]), Behaviour::faulty(faults));
            let network = if in_chunks { network(&world, &[]) } else { world.network() };
            let error = world.promote(&network).await.unwrap_err();
            assert_eq!(kind(error), ErrorKind::Integrity, "{what:?}");
            let given_up = world.destination.journal().iter().filter(|e| e.method == "DELETE").count();
            assert_eq!(given_up, 1, "{what:?}: it is asked once");
            if what.is_none() {
                nothing_of_it(&world, "a lie in a layer");
            }
        }
    }
    // Nothing is given up of a copy that comes to its end.
    copy(&world, []).await.unwrap();
    assert!(world.destination.journal().iter().all(|e: &Entry| e.method != "DELETE"));
}

/// A source that breaks off while a chunk is on its way: the chunk is broken off too, and both go on from where the
/// registry says that it stands. Nothing that it has is sent again.
#[tokio::test]
async fn a_source_that_breaks_off_in_a_chunk_is_read_on_from_where_the_upload_stands() {
    let world = world().await;
    let layer = world.what.blobs.iter().max_by_key(|blob| blob.size).unwrap().digest;
    let get = || On::of(Method::GET, format!("/blobs/{layer}"));
    for sent in [0, 3 << 20, CHUNK as usize, (CHUNK + CHUNK / 2) as usize, SIZE as usize - 1] {
        let context = format!("{sent} bytes of the source");
        let breaks = Fault::new(get().times(1), What::Reset(Reset::InAnswer(sent)));
        world.again(Behaviour::faulty([breaks]), Behaviour::default());
        world.promote(&network(&world, &[])).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        world.assert_whole(&context);
        let journal = world.source.journal();
        assert_eq!(journal.iter().filter(|entry| entry.faulty).count(), 1, "{context}: it is reached");
        let mut reached = 0;
        for entry in world.destination.journal().iter().filter(|entry| entry.method == "PATCH") {
            let begin: u64 = entry.range.split('-').next().unwrap().parse().unwrap();
            assert_eq!(begin, reached, "{context}: {}", entry.range);
            reached = begin + entry.received;
        }
        assert_eq!(reached, SIZE, "{context}");
    }
}

#[tokio::test]
async fn a_source_that_never_gives_a_byte_to_the_first_chunk_ends_as_transient_and_leaves_nothing() {
    let world = world().await;
    let layer = world.what.blobs.iter().max_by_key(|blob| blob.size).unwrap().digest;
    let breaks = Fault::new(On::of(Method::GET, format!("/blobs/{layer}")), What::Reset(Reset::InAnswer(0)));
    world.again(Behaviour::faulty([breaks]), Behaviour::default());
    let error = world.promote(&network(&world, &[])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    assert!(
        error.message.contains(&format!("/blobs/{layer}")) || error.message.contains(&layer.to_string()),
        "{error}"
    );
    nothing_of_it(&world, "a source that never gives a byte");
}

/// However large the blob is, a copy of which hardly a byte comes with each answer comes to an end.
#[tokio::test]
async fn a_source_or_a_registry_that_gets_hardly_ahead_uses_up_its_attempts() {
    let world = world().await;
    let layer = world.what.blobs.iter().max_by_key(|blob| blob.size).unwrap().digest;
    let breaks = Fault::new(On::of(Method::GET, format!("/blobs/{layer}")), What::Reset(Reset::InAnswer(9_000)));
    world.again(Behaviour::faulty([breaks]), Behaviour::default());
    let error = world.promote(&network(&world, &[])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    nothing_of_it(&world, "a source that gives some bytes each time");
    let error = copy(&world, [Fault::new(patch(), What::Reset(Reset::InRequest(9_000)))]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
    nothing_of_it(&world, "a registry that takes some bytes each time");
    let all = chunks(&world);
    let first = all.split(|line| line.starts_with("DELETE")).next().unwrap();
    assert_eq!(first.iter().filter(|line| line.ends_with(" 0")).count(), 5, "attempts in one session: {all:?}");
}
