//! What the provider saw a moment ago stands for asking again only where nothing is risked on it
//! (docs/design/0009-what-was-just-seen.md).

use std::sync::Arc;

use jiff::SignedDuration;
use promo_core::Digest;
use promo_core::state::State;
use promo_providers::oci::Oci;
use promo_sdk::testing::FakeClock;
use promo_sdk::{Context, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Provider as _, ProviderError};
use promo_tests::oci_registry::{Behaviour, Entry, OciRegistry};

use crate::world::{DESTINATION, SOURCE, TAG, World, sign};

/// A provider in one process, with a clock of its own.
struct Process {
    oci: Oci,
    cx: Context,
    clock: Arc<FakeClock>,
    inputs: Inputs,
}

impl Process {
    fn start(world: &World) -> Self {
        let clock = Arc::new(FakeClock::default());
        let mut cx = promo_sdk::testing::context("/nowhere");
        cx.clock = clock.clone();
        Self { oci: Oci::new(), cx, clock, inputs: world.inputs() }
    }

    async fn preview(&self) -> State {
        self.oci.preview(&self.cx, &ObserveRequest { inputs: self.inputs.clone() }).await.unwrap().current
    }

    async fn observe(&self) -> State {
        self.oci.observe(&self.cx, &ObserveRequest { inputs: self.inputs.clone() }).await.unwrap()
    }

    async fn ensure(&self, world: &World) -> Result<bool, ProviderError> {
        let desired = State::Present(world.what.digest);
        let inputs = self.inputs.clone();
        let (expected, changes) = (State::Absent, Vec::new());
        let request = EnsureRequest {
            inputs,
            expected,
            desired,
            changes,
            token: "run/1".into(),
            epoch: 1,
            ledger: String::new(),
        };
        self.oci.ensure(&self.cx, &request).await.map(|answer| answer.changed)
    }
}

/// Somebody else points the tag at something else.
fn taken(world: &World) -> Digest {
    let source = world.source.repository(SOURCE);
    let other = world.what.tree[0].digest;
    world.destination.edit(DESTINATION, |there| {
        there.manifests.insert(other, source.manifests[&other].clone());
        there.tags.insert(TAG.into(), other);
    });
    other
}

fn point(registry: &OciRegistry, repository: &str, to: Digest) {
    registry.edit(repository, |there| {
        there.tags.insert(TAG.into(), to);
    });
}

fn looks(world: &World) -> usize {
    world.destination.journal().iter().filter(|entry| entry.method == "HEAD" && entry.is_tag()).count()
}

#[tokio::test]
async fn s2_3_a_tag_that_is_taken_between_any_two_calls_is_found_and_never_written_over() {
    let world = World::start().await;
    for after in ["preview", "observe"] {
        world.again(Behaviour::default(), Behaviour::default());
        let process = Process::start(&world);
        assert_eq!(process.preview().await, State::Absent);
        let other = if after == "preview" { Some(taken(&world)) } else { None };
        let seen = process.observe().await;
        let other = match other {
            Some(other) => {
                assert_eq!(seen, State::Present(other), "a free tag is looked at again before a step acts");
                other
            }
            None => taken(&world),
        };
        let error = process.ensure(&world).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{after}");
        assert_eq!(world.destination.repository(DESTINATION).tags[TAG], other, "{after}: it is theirs");
        assert_eq!(process.observe().await, State::Present(other), "{after}: after a failure it is looked at");
    }
}

#[tokio::test]
async fn s9_2_what_is_settled_is_said_once_more_for_ten_seconds_and_then_looked_at() {
    let world = World::start().await;
    world.again(Behaviour::default(), Behaviour::default());
    let process = Process::start(&world);
    assert_eq!(process.observe().await, State::Absent);
    assert!(process.ensure(&world).await.unwrap());
    let settled = State::Present(world.what.digest);
    // The copy has read its tag back.
    let before = looks(&world);
    assert_eq!(process.observe().await, settled);
    assert_eq!(looks(&world), before);
    let other = taken(&world);
    assert_eq!(process.observe().await, State::Present(other), "said once");
    for (seconds, asked) in [(10, 0), (11, 1)] {
        point(&world.destination, DESTINATION, world.what.digest);
        assert_eq!(process.preview().await, settled);
        process.clock.advance(SignedDuration::from_secs(seconds));
        let before = looks(&world);
        assert_eq!(process.observe().await, settled);
        assert_eq!(looks(&world) - before, asked, "after {seconds} s");
    }
    // Another process has seen nothing.
    taken(&world);
    assert_eq!(Process::start(&world).observe().await, State::Present(other));
}

#[tokio::test]
async fn what_comes_to_refer_to_an_artifact_after_its_preview_is_not_copied_unseen() {
    let world = World::start().await;
    world.again(Behaviour::default(), Behaviour::default());
    let process = Process::start(&world);
    process.preview().await;
    let late = sign(&world.source, &world.what, "a signature that nobody has reviewed");
    process.observe().await;
    process.ensure(&world).await.unwrap();
    world.assert_whole("as it was previewed");
    assert!(!world.destination.repository(DESTINATION).manifests.contains_key(&late));
}

#[tokio::test]
async fn r2_a_source_tag_that_moves_is_seen_by_every_resolution_and_after_ten_seconds_by_a_copy() {
    let world = World::start().await;
    let other = world.what.tree[0].digest;
    for (seconds, refused) in [(0, false), (11, true)] {
        world.again(Behaviour::default(), Behaviour::default());
        point(&world.source, SOURCE, world.what.digest);
        let process = Process::start(&world);
        process.preview().await;
        point(&world.source, SOURCE, other);
        let reference = format!("{}/{SOURCE}:{TAG}", world.source.address());
        process.clock.advance(SignedDuration::from_secs(seconds));
        process.observe().await;
        let copied = process.ensure(&world).await;
        if refused {
            assert_eq!(copied.unwrap_err().kind, ErrorKind::Moved);
            assert_eq!(world.writes(), Vec::<String>::new());
        } else {
            // Whatever the tag names by now, what travels is what was planned.
            assert!(copied.unwrap());
            world.assert_whole("as it was planned");
        }
        let request = promo_sdk::ResolveRequest { reference };
        assert_eq!(process.oci.resolve(&process.cx, &request).await.unwrap().digest, other);
    }
}

#[tokio::test]
async fn a_small_blob_is_asked_for_with_the_request_that_opens_its_upload() {
    let world = World::start().await;
    world.again(Behaviour::default(), Behaviour::default());
    let process = Process::start(&world);
    process.ensure(&world).await.unwrap();
    let journal = world.destination.journal();
    let asked = journal.iter().filter(|e| e.method == "HEAD" && e.path.contains("/blobs/")).count();
    assert_eq!(asked, 0, "{:#?}", journal.iter().map(Entry::line).collect::<Vec<_>>());
    let posts = journal.iter().filter(|e| e.method == "POST").count();
    let uploads = journal.iter().filter(|e| e.method == "PUT" && e.path.contains("/uploads/")).count();
    assert_eq!(posts, uploads);
    // Once more under another tag, from a process that has seen nothing: what is there is said to be, and not sent.
    world.destination.behave(Behaviour::default());
    world.destination.edit(DESTINATION, |there| {
        there.tags.clear();
        there.manifests.clear();
    });
    Process::start(&world).ensure(&world).await.unwrap();
    world.assert_whole("once more");
    let journal = world.destination.journal();
    assert!(!journal.iter().any(|e| e.method == "PUT" && e.path.contains("/uploads/")), "nothing is sent twice");
    assert_eq!(world.destination.open_uploads(), 0);
}
