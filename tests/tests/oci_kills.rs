//! promo as a process of its own on a copy from registry to registry: what comes of killing it (SIGKILL)
//! between any two requests, and within the body of one that is on its way. Nothing is lost, nothing is done twice, one resume ends it, and a second one changes nothing. The
//! journals of the registries are the judge (R31, S9.2, S9.5).
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use promo_core::Digest;
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Limits, Network, OCI_INDEX, OCI_MANIFEST, Store, resolve_digest};
use promo_tests::cells::Host;
use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
use promo_tests::oci_registry::{Behaviour, Entry, Fault, OciRegistry, On, Reset, Stored, Told, What};
use serde_json::json;

struct World {
    source: OciRegistry,
    destination: OciRegistry,
    project: Project,
    digest: Digest,
    /// How often somebody else has gone on.
    recovered: AtomicUsize,
}

/// What goes in chunks is larger.
const CHUNK: usize = 8 << 20;
/// A layer of two whole chunks and a small one.
const LARGE: usize = 2 * CHUNK + 5;

impl World {
    async fn start() -> Self {
        Self::with(vec![vec![7; 50_000]], &[]).await
    }

    async fn with(layers: Vec<Vec<u8>>, variables: &[(&str, &str)]) -> Self {
        let source = OciRegistry::start(Behaviour::default()).await;
        let destination = OciRegistry::start(Behaviour::default()).await;
        let http = promo_sdk::http_clients().no_proxy().build().unwrap();
        let network = Network::new(http, source.clock());
        let store = Store::Registry(network.repository(source.address(), FROM).unwrap());
        let platforms = vec!["linux/amd64".into()];
        let image = Image { platforms, ..Image::new([], layers) };
        let digest = build::image(&store, TAG, &image).await.unwrap();
        let size = resolve_digest(&store, &digest, &Limits::default()).await.unwrap().size;
        sign(&source, &digest, size);
        let project = Project::new(source.address(), destination.address(), variables);
        let world = Self { source, destination, project, digest, recovered: AtomicUsize::new(0) };
        tokio::task::block_in_place(|| world.project.prepare());
        world
    }

    /// Applies the plan and dies where `fault` says. Whether it was killed there.
    fn killed(&self, at_source: bool, on: &On, when: Reset) -> bool {
        let pid = Arc::new(AtomicI32::new(0));
        let victim = pid.clone();
        let told = Told::new(move || {
            // The process may be faster than whoever writes its number down.
            while victim.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let _ = kill(Pid::from_raw(victim.load(Ordering::SeqCst)), Signal::SIGKILL);
        });
        let both = [What::Reset(when), What::Tell(told)].map(|what| Fault::new(on.clone(), what));
        let faults = Behaviour::faulty(both);
        let (source, destination) =
            if at_source { (faults, Behaviour::default()) } else { (Behaviour::default(), faults) };
        self.project.reset();
        self.destination.empty();
        self.source.behave(source);
        self.destination.behave(destination);
        let mut child = self.project.command(&["apply", PLAN]).spawn().unwrap();
        pid.store(i32::try_from(child.id()).unwrap(), Ordering::SeqCst);
        let status = child.wait().unwrap();
        let hit = [&self.source, &self.destination].iter().any(|r| r.journal().iter().any(|e| e.faulty));
        assert_eq!(hit, status.code().is_none(), "it is killed where it is hit, and only there");
        hit
    }

    /// The large layer is not there: neither whole nor a part of it, nor anything that needs it.
    fn assert_nothing_of_the_large_layer(&self, layer: &Digest, context: &str) {
        let there = self.destination.repository(TO);
        assert_eq!(there.blobs.get(layer).map(axum::body::Bytes::len), None, "{context}");
        assert_eq!(there.wrong(), [], "{context}");
        assert!(there.tags.is_empty() && there.manifests.is_empty(), "{context}");
    }

    fn assert_whole(&self, context: &str) {
        let (from, to) = (self.source.repository(FROM), self.destination.repository(TO));
        assert_eq!(to.tags.get(TAG), Some(&self.digest), "{context}");
        assert_eq!(to.blobs, from.blobs, "{context}");
        assert_eq!(to.manifests, from.manifests, "{context}");
    }

    /// One resume, or where no run had begun one apply, ends it on another host; then there is nothing more to do.
    fn recover(&self, context: &str) {
        let before = self.destination.journal();
        self.source.behave(Behaviour::default());
        self.destination.behave(Behaviour::default());
        let (run, _) = self.project.begun();
        let words = run.as_ref().map_or(["apply", PLAN], |run| ["resume", run.as_str()]);
        // Another user of the same machine, who can see that the first is gone, and another machine in turn.
        let turn = self.recovered.fetch_add(1, Ordering::SeqCst);
        let host = if turn.is_multiple_of(2) { Host::Two } else { Host::Elsewhere };
        let mut end = self.project.run_on(host, &words);
        if run.is_none() && (end.code, end.error.as_deref()) == (Some(20), Some("locked")) {
            // A lock without a run: nobody resumes it, it runs out.
            std::thread::sleep(Duration::from_secs(1));
            end = self.project.run_on(host, &words);
        }
        assert_eq!(end.code, Some(0), "{context}: {words:?} as {host:?}: {}", end.said);
        self.assert_whole(context);
        once(before.iter().chain(&self.destination.journal()), context);
        let (run, records) = self.project.begun();
        self.destination.behave(Behaviour::default());
        let again = self.project.run_on(host, &["resume", run.as_deref().expect(context)]);
        // A run that has ended is told again, with its code.
        assert_eq!(again.code, Some(0), "{context}: a second resume: {}", again.said);
        let writes: Vec<String> =
            self.destination.journal().iter().filter(|entry| entry.writes()).map(Entry::line).collect();
        assert_eq!(writes, Vec::<String>::new(), "{context}: a second resume writes nothing");
        assert_eq!(self.project.begun().1, records, "{context}: and tells nothing new");
        let verified = self.project.run(&["ledger", "verify"]);
        assert_eq!(verified.code, Some(0), "{context}: {}", verified.said);
    }
}

/// A signature that has to go along.
fn sign(source: &OciRegistry, digest: &Digest, size: u64) {
    let of = |bytes: &[u8]| json!({ "mediaType": "application/vnd.example", "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let document = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.signature",
        "config": of(b"{}"), "layers": [of(b"signed")],
        "subject": { "mediaType": OCI_INDEX, "digest": digest.to_string(), "size": size },
    });
    let bytes = document.to_string().into_bytes();
    source.edit(FROM, |there| {
        for blob in [&b"{}"[..], b"signed"] {
            there.blobs.insert(Digest::of(blob), blob.to_vec().into());
        }
        there.manifests.insert(Digest::of(&bytes), Stored { media_type: OCI_MANIFEST.into(), bytes: bytes.into() });
    });
}

/// Every blob, manifest and tag was taken once, over the death and the recovery, and the tag last.
fn once<'a>(journal: impl Iterator<Item = &'a Entry>, context: &str) {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut last = String::new();
    for entry in journal.filter(|entry| entry.method == "PUT" && entry.status == 201) {
        let object = match entry.query.split_once("digest=") {
            Some((_, digest)) => digest.replace("%3A", ":"),
            None => entry.path.rsplit('/').next().unwrap().to_owned(),
        };
        *taken.entry(object.clone()).or_default() += 1;
        last = object;
    }
    let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{context}: taken more than once: {twice:?}");
    assert!(!taken.contains_key(TAG) || last == TAG, "{context}: {last} came after the tag");
}

/// Dies at each request in turn; how many there were.
fn sweep(world: &World, at_source: bool, when: Reset) -> usize {
    for number in 1.. {
        let side = if at_source { "source" } else { "destination" };
        if !world.killed(at_source, &On::request(number), when) {
            world.assert_whole("nobody was killed");
            once(world.destination.journal().iter(), "nobody was killed");
            return number - 1;
        }
        let registry = if at_source { &world.source } else { &world.destination };
        let hit = registry.journal().iter().find(|entry| entry.faulty).map(Entry::line).unwrap();
        world.recover(&format!("killed {when:?} request {number} to the {side}: {hit}"));
    }
    unreachable!("a copy has an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_request_to_the_destination_is_heard_one_resume_ends_it() {
    let world = World::start().await;
    let requests = tokio::task::block_in_place(|| sweep(&world, false, Reset::Before));
    assert!(requests >= 16, "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_request_to_the_destination_is_done_one_resume_ends_it() {
    let world = World::start().await;
    let requests = tokio::task::block_in_place(|| sweep(&world, false, Reset::After));
    assert!(requests >= 16, "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_to_the_source_one_resume_ends_it() {
    let world = World::start().await;
    let requests = tokio::task::block_in_place(|| sweep(&world, true, Reset::Before));
    assert!(requests >= 8, "{requests}");
}

fn large_layer() -> (Vec<u8>, Digest) {
    let layer: Vec<u8> = (0..LARGE as u64).map(|i| (i * 31 + i / 251) as u8).collect();
    let digest = Digest::of(&layer);
    (layer, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_in_the_one_body_of_a_large_blob_nothing_of_it_is_there_and_one_resume_ends_it() {
    let (layer, digest) = large_layer();
    let world = World::with(vec![layer], &[]).await;
    tokio::task::block_in_place(|| {
        for sent in [1, CHUNK, LARGE / 2, LARGE - 1] {
            let context = format!("killed when {sent} of {LARGE} bytes were sent");
            let on = On::of(Method::PUT, digest.hex()).times(1);
            assert!(world.killed(false, &on, Reset::InRequest(sent)), "{context}: it is reached");
            let journal = world.destination.journal();
            let body = journal.iter().find(|entry| entry.faulty).unwrap();
            assert!(body.received >= sent as u64 && body.status == 0, "{context}: {}", body.line());
            world.assert_nothing_of_the_large_layer(&digest, &context);
            world.recover(&context);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_in_a_chunk_of_a_large_blob_nothing_of_it_is_there_and_one_resume_ends_it() {
    let (layer, digest) = large_layer();
    // The file is made before the registries have their addresses, and read by each promo anew.
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("registries.toml");
    std::fs::write(&file, "format = 1\n").unwrap();
    let world = World::with(vec![layer], &[("PROMO_REGISTRIES", file.to_str().unwrap())]).await;
    let chunks = format!("format = 1\n[registry.\"{}\"]\nchunk = {CHUNK}\n", world.destination.address());
    std::fs::write(&file, chunks).unwrap();
    tokio::task::block_in_place(|| {
        let (first, second) = ([1, CHUNK / 2, CHUNK - 1], [1, CHUNK - 1]);
        let points = [(0, &first[..]), (1, &second), (2, &[1, 4])];
        for (chunk, sent) in points.into_iter().flat_map(|(chunk, all)| all.iter().map(move |sent| (chunk, *sent))) {
            let context = format!("killed when {sent} bytes of chunk {chunk} were sent");
            let on = On::of(Method::PATCH, "/uploads/").after(chunk).times(1);
            assert!(world.killed(false, &on, Reset::InRequest(sent)), "{context}: it is reached");
            world.assert_nothing_of_the_large_layer(&digest, &context);
            let left = world.destination.open_uploads();
            assert!(left >= 1, "{context}: what the registry kept of it lies in an upload");
            world.recover(&context);
            assert!(world.destination.repository(TO).wrong().is_empty(), "{context}");
        }
    });
}
