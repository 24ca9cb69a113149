//! promo as a process of its own on registries that lie, refuse, are too busy or send elsewhere: what `plan` and `apply` end
//! with, by exit code and error code, and that nothing is written at the destination (S9.1) or, where it comes out only while
//! the copy is on, nothing after it (S14, registry.md 1.3). The journals of the registries are the judge.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::path::PathBuf;

use axum::http::Method;
use promo_core::Digest;
use promo_core::gate::{Gate, Outcome};
use promo_core::plan::{Document, Plan};
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Limits, Network, OCI_INDEX, OCI_MANIFEST, Resolved, Store, resolve_digest};
use promo_tests::cells::End;
use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
use promo_tests::oci_registry::{
    Behaviour, Entry, Fault, OciRegistry, On, Repository, Reset, Stored, What, writes_after,
};
use serde_json::{Value, json};

/// Where a plan goes that is made while something is wrong.
const OTHER: &str = "other.plan.json";

struct World {
    source: OciRegistry,
    destination: OciRegistry,
    project: Project,
    what: Resolved,
}

impl World {
    /// An image that is released, and a plan of a time at which nothing was wrong.
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    /// The same, with something beside the image, or in place of its manifest.
    async fn with(beside: impl FnOnce(&mut Repository, &Resolved)) -> Self {
        let source = OciRegistry::start(Behaviour::default()).await;
        let destination = OciRegistry::start(Behaviour::default()).await;
        let network = Network::new(promo_sdk::http_clients().no_proxy().build().unwrap(), source.clock());
        let store = Store::Registry(network.repository(source.address(), FROM).unwrap());
        let digest = build::image(&store, TAG, &Image::new([], vec![vec![7; 50_000]])).await.unwrap();
        let what = resolve_digest(&store, &digest, &Limits::default()).await.unwrap();
        source.edit(FROM, |there| beside(there, &what));
        let digest = source.repository(FROM).tags[TAG];
        let what = resolve_digest(&store, &digest, &Limits::default()).await.unwrap();
        let project = Project::new(source.address(), destination.address(), &[]);
        tokio::task::block_in_place(|| project.prepare());
        Self { source, destination, project, what }
    }

    fn run(&self, words: &[&str]) -> End {
        tokio::task::block_in_place(|| self.project.run(words))
    }

    fn again(&self, source: &Behaviour, destination: &Behaviour) {
        self.project.reset();
        self.source.edit(FROM, |there| {
            there.tags.insert(TAG.into(), self.what.digest);
        });
        self.destination.empty();
        // Somebody else's, to which a tag there can be moved.
        if let Some(Fault { what: What::MoveTag { to, .. }, .. }) = destination.faults.first() {
            let theirs = self.source.repository(FROM).manifests[to].clone();
            self.destination.edit(TO, |there| drop(there.manifests.insert(*to, theirs)));
        }
        self.source.behave(source.clone());
        self.destination.behave(destination.clone());
    }

    /// What the plan says that was made meanwhile.
    fn other(&self) -> Plan {
        let folder = PathBuf::from(self.project.command(&[]).get_current_dir().unwrap());
        Document::from_bytes(&std::fs::read(folder.join(OTHER)).unwrap()).unwrap().0.body
    }

    /// What keeps everything out of it.
    fn closed(&self, context: &str) -> Gate {
        let made = self.other();
        assert!(made.moves.is_empty(), "{context}: {made:?}");
        let mut gates = made.stays[0].next.clone().expect(context).gates;
        gates.retain(|gate| !gate.outcome.is_open());
        assert_eq!(gates.len(), 1, "{context}: {gates:?}");
        gates.remove(0)
    }

    fn writes(&self) -> Vec<String> {
        self.destination.journal().iter().filter(|entry| entry.writes()).map(Entry::line).collect()
    }

    /// Nothing was written once the first thing had gone wrong, but that uploads were given up; and there is no tag.
    fn assert_no_write_after_it(&self, context: &str) {
        let all = self.destination.journal();
        let wrong = [self.source.journal(), all.clone()].concat().into_iter().filter(|e| e.faulty);
        let first = wrong.filter_map(|e| e.answered).min().expect(context);
        let late: Vec<String> = writes_after(&all, first)
            .into_iter()
            .filter(|e| e.publishes() && e.is_manifest())
            .map(Entry::line)
            .collect();
        assert_eq!(late, Vec::<String>::new(), "{context}");
        assert!(self.destination.repository(TO).tags.is_empty(), "{context}");
    }
}

/// How a command ends: its exit code, and the code of the error or, where a plan says it, of the closed gate.
type Ends = (i32, &'static str);

/// One way to go wrong, and what comes of it.
struct Case {
    name: &'static str,
    source: Behaviour,
    destination: Behaviour,
    /// Of a plan that is made meanwhile. With 0 it moves nothing and says why.
    plan: Ends,
    /// Of applying the plan that was made before.
    apply: Ends,
}

fn at_source(name: &'static str, on: On, what: What, plan: Ends, apply: Ends) -> Case {
    let source = Behaviour::faulty([Fault::new(on, what)]);
    Case { name, source, destination: Behaviour::default(), plan, apply }
}

fn at_destination(name: &'static str, on: On, what: What, plan: Ends, apply: Ends) -> Case {
    let destination = Behaviour::faulty([Fault::new(on, what)]);
    Case { name, source: Behaviour::default(), destination, plan, apply }
}

/// What is found out before anything is written, whatever a plan or its application looks at first.
fn before_the_first_write(world: &World) -> Vec<Case> {
    const DAMAGED: Ends = (30, "artifact-damaged");
    const DENIED: Ends = (1, "provider-denied");
    const LATER: Ends = (75, "provider-transient");
    const FAILED: Ends = (1, "provider-failed");
    let read = || On::of(Method::GET, "/manifests/");
    let referrers = || On::path("/referrers/");
    let head = || On::of(Method::HEAD, "/manifests/");
    let other = world.what.tree[0].digest;
    let header = |name, value: &str| What::Header(name, Some(value.into()));
    let moves = |repository: &str, to| What::MoveTag { repository: repository.into(), tag: TAG.into(), to };
    let always = |what: fn(&'static str, On, What, Ends, Ends) -> Case, name, on: On, wrong, ends| {
        what(name, on, wrong, ends, ends)
    };
    let (here, there) = (at_source, at_destination);
    vec![
        always(here, "a flipped bit", read(), What::Flip { byte: 9, bit: 2 }, DAMAGED),
        always(here, "a body cut short", read(), What::Short(20), DAMAGED),
        always(
            here,
            "a digest that lies",
            read(),
            header("docker-content-digest", &Digest::of(b"").to_string()),
            DAMAGED,
        ),
        always(here, "another media type", read(), header("content-type", "text/html"), DAMAGED),
        always(here, "401", read(), What::status(401), DENIED),
        always(here, "403", read(), What::status(403), DENIED),
        always(here, "a foreign redirect", read(), What::Redirect("http://169.254.169.254/x".into()), DENIED),
        always(here, "429 without end", read(), What::status(429), LATER),
        always(here, "503 without end", read(), What::status(503), LATER),
        always(here, "resets without end", read(), What::Reset(Reset::Before), LATER),
        always(here, "a manifest without end", read(), What::Endless, FAILED),
        // It may be pushed again: that is waited for, and a plan says so.
        here("404", read(), What::status(404), (0, "artifact-unavailable"), (20, "waiting")),
        here("a tag that moved", On::all(), moves(FROM, other), (0, "tag-moved"), (21, "denied")),
        always(here, "referrers: 403", referrers(), What::status(403), DENIED),
        always(here, "referrers: 429 without end", referrers(), What::status(429), LATER),
        always(there, "destination: 403", head(), What::status(403), DENIED),
        always(there, "destination: 503 without end", head(), What::status(503), LATER),
        there("destination: taken", On::all(), moves(TO, other), (0, "destination-taken"), (21, "denied")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_what_is_wrong_before_the_first_write_ends_plan_and_apply_with_its_code_and_nothing_is_written() {
    let world = World::start().await;
    let (_, recorded) = world.project.begun();
    for case in before_the_first_write(&world) {
        let Case { name, source, destination, plan, apply } = case;
        world.again(&source, &destination);
        let end = world.run(&["plan", "prod", "--out", OTHER]);
        assert_eq!(end.code, Some(plan.0), "{name}: plan: {}", end.said);
        if plan.0 == 0 {
            assert_eq!(world.closed(name).reason.code(), plan.1, "{name}");
        } else {
            assert_eq!(end.error.as_deref(), Some(plan.1), "{name}: plan: {}", end.said);
        }
        assert_eq!(world.writes(), Vec::<String>::new(), "{name}: plan");
        world.again(&source, &destination);
        let end = world.run(&["apply", PLAN]);
        assert_eq!((end.code, end.error.as_deref()), (Some(apply.0), Some(apply.1)), "{name}: apply: {}", end.said);
        assert_eq!(world.writes(), Vec::<String>::new(), "{name}: apply");
        assert_eq!(world.project.begun(), (None, recorded), "{name}: no run has begun");
    }
}

/// What comes out only while bytes are on their way: the plan cannot know it, and the environment is held, since there is
/// no release to go back to.
fn while_it_is_copied(world: &World) -> Vec<Case> {
    const FINE: Ends = (0, "");
    const HELD: Ends = (41, "");
    let layer = world.what.blobs.iter().max_by_key(|blob| blob.size).unwrap().digest;
    let layer = || On::of(Method::GET, format!("/blobs/{layer}"));
    let open = || On::of(Method::POST, "/uploads/");
    let child = format!("/manifests/{}", world.what.tree[0].digest);
    let put = |path: &str| On::of(Method::PUT, path);
    let lies = What::Header("docker-content-digest", Some(Digest::of(b"").to_string()));
    let foreign = What::Header("location", Some("http://169.254.169.254/x".into()));
    vec![
        at_source("a layer with a flipped bit", layer(), What::Flip { byte: 30_000, bit: 1 }, FINE, HELD),
        at_source("a layer cut short", layer(), What::Short(1_000), FINE, HELD),
        at_source("a layer that may not be read", layer(), What::status(403), FINE, HELD),
        at_destination("uploads are refused", open(), What::status(403), FINE, HELD),
        at_destination("a foreign place for an upload", open(), foreign, FINE, HELD),
        at_destination("a child that is said to be another one", put(&child), lies, FINE, HELD),
        at_destination("a child that is refused", put(&child), What::status(400), FINE, HELD),
        // The run is left as it is, and can be resumed.
        at_destination("uploads: 503 without end", open(), What::status(503), FINE, (75, "")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_what_goes_wrong_while_it_is_copied_holds_or_interrupts_the_run_and_publishes_nothing_after_it() {
    let world = World::start().await;
    for case in while_it_is_copied(&world) {
        let Case { name, source, destination, plan, apply } = case;
        world.again(&source, &destination);
        let end = world.run(&["plan", "prod", "--out", OTHER]);
        assert_eq!(end.code, Some(plan.0), "{name}: plan: {}", end.said);
        assert_eq!(world.other().moves.len(), 1, "{name}");
        world.again(&source, &destination);
        let end = world.run(&["apply", PLAN]);
        assert_eq!(end.code, Some(apply.0), "{name}: apply: {}", end.said);
        world.assert_no_write_after_it(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_kept_elsewhere_is_refused_by_the_plan_and_not_in_the_middle_of_a_run() {
    let world = World::with(|there, what| {
        let child = &there.manifests[&what.tree[0].digest];
        let mut document: Value = serde_json::from_slice(&child.bytes).unwrap();
        document["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
        document["layers"][0]["urls"] = json!(["https://layers.example/7"]);
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        there.manifests.insert(digest, Stored { media_type: OCI_MANIFEST.into(), bytes: bytes.into() });
        there.tags.insert(TAG.into(), digest);
    })
    .await;
    let end = world.run(&["plan", "prod", "--out", OTHER]);
    assert_eq!(end.code, Some(0), "{}", end.said);
    let gate = world.closed("a foreign layer");
    assert_eq!((gate.reason.code(), gate.outcome), ("artifact-unavailable", Outcome::Refused));
    let layer = world.what.foreign[0].to_string();
    assert!(gate.reason.to_string().contains(&layer) && end.said.contains(&layer), "{gate:?}: {}", end.said);
    for words in [&["apply", OTHER][..], &["advance"]] {
        let end = world.run(words);
        assert!(end.code == Some(65) || words == ["advance"] && end.code == Some(0), "{words:?}: {}", end.said);
    }
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.project.begun().0, None, "no run has begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_another_one_at_the_destination_is_refused_by_plan_and_apply() {
    let sidecar = |there: &mut Repository, subject: &Digest, text: &str| {
        let digest = there.put(text, None);
        there.tags.insert(format!("sha256-{}.sig", subject.hex()), digest);
        digest
    };
    let world = World::with(|there, what| drop(sidecar(there, &what.digest, "ours").to_string())).await;
    let (_, recorded) = world.project.begun();
    world.again(&Behaviour::default(), &Behaviour::default());
    let mut theirs = None;
    world.destination.edit(TO, |there| theirs = Some(sidecar(there, &world.what.digest, "theirs").to_string()));
    let end = world.run(&["plan", "prod", "--out", OTHER]);
    assert_eq!(end.code, Some(0), "{}", end.said);
    let gate = world.closed("another sidecar");
    assert_eq!((gate.reason.code(), gate.outcome), ("artifact-unavailable", Outcome::Refused));
    let words = gate.reason.to_string();
    assert!(words.contains(".sig") && words.contains(&theirs.unwrap()), "{words}");
    let end = world.run(&["apply", PLAN]);
    assert_eq!((end.code, end.error.as_deref()), (Some(21), Some("denied")), "{}", end.said);
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.project.begun(), (None, recorded), "no run has begun");
}

/// A list of referrers as the registry gives it.
fn list(world: &World, signatures: &[Digest]) -> What {
    let manifests = &world.source.repository(FROM).manifests;
    let entry = |digest: &Digest| json!({ "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": manifests[digest].bytes.len() });
    let all: Vec<Value> = signatures.iter().map(entry).collect();
    What::Body(json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all }).to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_3_a_signature_that_comes_or_goes_after_the_plan_is_not_copied_unseen_and_not_dropped_in_silence() {
    let sign = |there: &mut Repository, what: &Resolved, text: &str| there.put(text, Some((&what.digest, what.size)));
    let mut first = None;
    let world = World::with(|there, what| first = Some(sign(there, what, "one"))).await;
    let (first, of_all) = (first.unwrap(), || On::path(format!("/referrers/{}", world.what.digest)));
    let (_, recorded) = world.project.begun();

    // Gone before the plan is applied, or with another one beside it: another plan.
    let unsigned = Behaviour::faulty([Fault::new(of_all(), list(&world, &[]))]);
    world.again(&unsigned, &Behaviour::default());
    let stale = |end: &End, context: &str| {
        assert_eq!((end.code, end.error.as_deref()), (Some(22), Some("plan-stale")), "{context}: {}", end.said);
        assert_eq!(world.writes(), Vec::<String>::new(), "{context}");
        assert_eq!(world.project.begun(), (None, recorded), "{context}");
    };
    stale(&world.run(&["apply", PLAN]), "gone before it is applied");
    let mut second = None;
    world.source.edit(FROM, |there| second = Some(sign(there, &world.what, "two")));
    world.again(&Behaviour::default(), &Behaviour::default());
    stale(&world.run(&["apply", PLAN]), "come before it is applied");

    // Between the look of the precheck and the step: what was seen a moment ago is copied, just as it was planned; where that is
    // too long ago the step is refused before it writes.
    let (second, old) = (second.unwrap(), || list(&world, &[first]));
    let exactly = |source: Behaviour, context: &str| {
        world.again(&source, &Behaviour::default());
        let end = world.run(&["apply", PLAN]);
        let there = world.destination.repository(TO).manifests;
        match end.code {
            Some(0) => assert!(there.contains_key(&first) && !there.contains_key(&second), "{context}"),
            code => {
                assert_eq!(code, Some(41), "{context}: {}", end.said);
                assert_eq!(world.writes(), Vec::<String>::new(), "{context}");
            }
        }
    };
    exactly(Behaviour::faulty([Fault::new(of_all().times(1), old())]), "come before the step");
    let gone = [Fault::new(of_all().times(1), old()), Fault::new(of_all().after(1), list(&world, &[]))];
    exactly(Behaviour::faulty(gone), "gone before the step");

    // As it was planned it goes.
    world.again(&Behaviour::faulty([Fault::new(of_all(), old())]), &Behaviour::default());
    let end = world.run(&["apply", PLAN]);
    assert_eq!(end.code, Some(0), "{}", end.said);
    assert!(world.destination.repository(TO).manifests.contains_key(&first));
}
