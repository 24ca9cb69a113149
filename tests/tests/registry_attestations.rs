//! What promo writes beside an image once its promotion was verified, in real registries, which keep it in a list under a tag, and in one
//! with an API for referrers: other people's programs read and verify it, it is there once, whatever happens, and a registry that does
//! not take it keeps nothing back.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::path::Path;

use promo_core::attestation::{PROMOTION, SUMMARY, TEST_RESULT};
use promo_core::ledger::Record;
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Network, OCI_MANIFEST, OciError, RawManifest, Store};
use promo_sdk::Digest;
use promo_tests::clients::Clients;
use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
use serde_json::{Value, json};

const BY: &str = "https://ci.test/promo";

/// An image at the source, `from` being where that is.
async fn image(from: &str) -> Digest {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::of(&promo_sdk::testing::context(directory.path())).unwrap();
    let store = Store::Registry(network.repository(from, FROM).unwrap());
    build::image(&store, TAG, &Image::new([], vec![b"layer".to_vec()])).await.unwrap()
}

/// A bill of materials beside it there, as `cosign attach sbom` leaves one.
async fn bill(at: &str, of: &Digest) {
    let directory = tempfile::tempdir().unwrap();
    let network = Network::of(&promo_sdk::testing::context(directory.path())).unwrap();
    let store = Store::Registry(network.repository(at, FROM).unwrap());
    let document =
        r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library","name":"zlib"}]}"#;
    let mut descriptors = Vec::new();
    for (bytes, media_type) in
        [("{}", "application/vnd.oci.empty.v1+json"), (document, "application/vnd.cyclonedx+json")]
    {
        let (digest, size) = (Digest::of(bytes.as_bytes()), bytes.len() as u64);
        let part = Ok::<_, OciError>(bytes.as_bytes().to_vec().into());
        store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([part]))).await.unwrap();
        descriptors.push(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size }));
    }
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": [descriptors[1]] });
    let bytes = manifest.to_string().into_bytes();
    let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.into(), bytes };
    store.put_tag(&format!("{}.sbom", tag(of)), &raw, None).await.unwrap();
}

/// A pipeline that copies it and tells of that with a key that lies in a file. With `checks` it verifies something as well.
fn project(from: &str, to: &str, key: &Path, checks: bool) -> Project {
    let told = format!("attest = {{ by = \"{BY}\", key = \"promotion\" }}\n");
    let verified = "verify = [\"smoke\"]\n[checks.smoke]\ncommand = { run = [\"true\"] }\n";
    let project = Project::new(from, to, &[("PROMO_SECRET_PROMOTION", key.to_str().unwrap())]);
    project.and(&told).and(if checks { verified } else { "" })
}

/// The ledger is what it was before anything was applied, and the plan is made anew: what is there stays.
fn again(project: &Project) {
    project.reset();
    let end = project.run(&["plan", "prod", "--out", PLAN]);
    assert_eq!(end.code, Some(0), "{}", end.said);
}

/// How often each kind of record is there about each step.
fn recorded(records: &[Record]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for record in records.iter().filter(|record| record.kind != "step.intent") {
        let step = record.step.as_ref().map(ToString::to_string).unwrap_or_default();
        *out.entry(format!("{} {step}", record.kind)).or_default() += 1;
    }
    out
}

/// What a list of referrers has, by the type of its predicate.
fn listed(list: &[u8]) -> Vec<(String, String)> {
    let list: Value = serde_json::from_slice(list).unwrap();
    let text = |at: &Value| at.as_str().unwrap().to_owned();
    let all = list["manifests"].as_array().unwrap().iter();
    let mut all: Vec<_> =
        all.map(|one| (text(&one["annotations"]["dev.sigstore.bundle.predicateType"]), text(&one["digest"]))).collect();
    all.sort();
    all
}

fn kinds(listed: &[(String, String)]) -> Vec<&str> {
    listed.iter().map(|(kind, _)| kind.as_str()).collect()
}

fn tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

mod needs_docker_registry {
    mod needs_clients {
        use promo_tests::counting::{Counter, When};
        use promo_tests::registry::Registry;

        use crate::*;

        /// Two registries, and what is told of a promotion from one to the other.
        struct World {
            from: Registry,
            to: Registry,
            clients: Clients,
            digest: Digest,
        }

        impl World {
            async fn start() -> Option<Self> {
                let (from, to) = (Registry::start()?, Registry::start()?);
                let digest = image(from.address()).await;
                Some(Self { from, to, clients: Clients::new(), digest })
            }

            /// What skopeo finds listed at the destination.
            fn listed(&self) -> Vec<(String, String)> {
                listed(&self.clients.manifest(&format!("{}/{TO}:{}", self.to.address(), tag(&self.digest))))
            }

            fn bundle(&self, digest: &str) -> Vec<u8> {
                self.clients.first_layer(&format!("{}/{TO}@{digest}", self.to.address())).0
            }

            fn writes(&self) -> usize {
                self.to.requests().iter().filter(|request| request.writes()).count()
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_promotion_is_told_beside_the_image_and_others_verify_what_is_told() {
            let Some(world) = World::start().await else { return };
            let ((private, public), (_, stranger)) = (world.clients.key("promo"), world.clients.key("stranger"));
            let project = project(world.from.address(), world.to.address(), &private, true);
            project.prepare();
            let shown = project.run(&["show", PLAN, "--full"]);
            for kind in [PROMOTION, SUMMARY, TEST_RESULT] {
                assert!(shown.said.contains(kind), "a plan shows what is told: {}", shown.said);
            }
            let end = project.run(&["apply", PLAN]);
            assert_eq!(end.code, Some(0), "{}", end.said);

            let all = world.listed();
            assert_eq!(kinds(&all), [PROMOTION, TEST_RESULT, SUMMARY]);
            let mut told = BTreeMap::new();
            for (kind, manifest) in &all {
                let bundle = world.bundle(manifest);
                let statement = world.clients.opened_by_sigstore(&public, &bundle).expect("signed by the key");
                assert_eq!(world.clients.opened_by_openssl(&public, &bundle).as_ref(), Some(&statement));
                assert_eq!(world.clients.opened_by_sigstore(&stranger, &bundle), None);
                assert_eq!(statement["predicateType"], *kind);
                assert_eq!(statement["subject"][0]["digest"]["sha256"], world.digest.hex());
                told.insert(kind.as_str(), statement["predicate"].clone());
            }
            let place = |registry: &Registry, name: &str| format!("{}/{name}@{}", registry.address(), world.digest);
            assert_eq!(told[PROMOTION]["srcRef"], place(&world.from, FROM));
            assert_eq!(told[PROMOTION]["dstRef"], place(&world.to, TO));
            assert_eq!((&told[PROMOTION]["builderId"], &told[SUMMARY]["verifier"]["id"]), (&BY.into(), &BY.into()));
            assert_eq!(told[SUMMARY]["verificationResult"], "PASSED");
            assert_eq!(
                (&told[TEST_RESULT]["result"], &told[TEST_RESULT]["passedTests"][0]),
                (&"PASSED".into(), &"smoke".into())
            );
            for (kind, moment) in [(PROMOTION, "timestamp"), (SUMMARY, "timeVerified"), (TEST_RESULT, "finishedOn")] {
                let moment = told[kind][moment].as_str().unwrap();
                assert!(moment.parse::<jiff::Timestamp>().is_ok() && moment.len() == 20, "{moment}");
            }
            // Nothing of the key is kept by promo.
            let key = std::fs::read_to_string(&private).unwrap();
            let secret = key.lines().nth(1).unwrap();
            assert!(!format!("{:?}", project.records()).contains(secret) && !end.said.contains(secret));

            // promo itself reads it back, and takes nothing twice.
            let collected = project.run(&["evidence", "collect"]);
            assert_eq!(collected.code, Some(0), "{}", collected.said);
            let added = || project.records().into_iter().filter(|record| record.kind == "evidence.added").count();
            assert_eq!(added(), 3, "{}", collected.said);
            assert_eq!(project.run(&["evidence", "collect"]).code, Some(0));
            assert_eq!(added(), 3);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_is_told_already_is_not_told_again_by_the_same_key() {
            let Some(world) = World::start().await else { return };
            let (private, public) = world.clients.key("promo");
            let first = project(world.from.address(), world.to.address(), &private, true);
            first.prepare();
            assert_eq!(first.run(&["apply", PLAN]).code, Some(0));
            let (all, writes) = (world.listed(), world.writes());
            again(&first);
            let end = first.run(&["apply", PLAN]);
            assert_eq!(end.code, Some(0), "{}", end.said);
            assert_eq!((world.listed(), world.writes()), (all.clone(), writes), "{}", end.said);

            // What is listed and is not signed by this key says nothing: of Ed25519, whose keys openssl writes otherwise.
            let (private, own) = world.clients.key_of("other", &["-algorithm", "ED25519"]);
            let other = first.with(&[("PROMO_SECRET_PROMOTION", private.to_str().unwrap())]);
            again(&other);
            let end = other.run(&["apply", PLAN]);
            assert_eq!(end.code, Some(0), "{}", end.said);
            let more = world.listed();
            assert_eq!(kinds(&more), [PROMOTION, PROMOTION, TEST_RESULT, TEST_RESULT, SUMMARY, SUMMARY]);
            let holds = |key: &Path| {
                let opened = |(_, manifest): &&(String, String)| {
                    world.clients.opened_by_sigstore(key, &world.bundle(manifest)).is_some()
                };
                more.iter().filter(opened).count()
            };
            assert_eq!((holds(&public), holds(&own)), (3, 3));
        }

        /// Kills promo at each write that tells of a promotion, and lets a resume end it.
        fn killed(world: &World, project: &Project, counter: &Counter, when: When) {
            let apply = |at: Option<(usize, When)>| {
                project.reset();
                let _ = std::fs::remove_dir_all(world.to.content());
                counter.again(at);
                let mut child = project.command(&["apply", PLAN]).spawn().unwrap();
                counter.watch(child.id());
                let code = child.wait().unwrap().code();
                (code, counter.struck())
            };
            assert_eq!(apply(None), (Some(0), None));
            let clean = recorded(&project.records());
            let heard = counter.heard();
            let tagged = heard.iter().position(|one| one.path.ends_with(&format!("/manifests/{TAG}")) && one.writes());
            let first = tagged.expect("the image is there before anything is told of it") + 1;
            let writes: Vec<usize> = (first..heard.len()).filter(|at| heard[*at].writes()).map(|at| at + 1).collect();
            // Of each a start and an end of an upload, a manifest, and the list; the empty configuration once.
            assert_eq!(writes.len(), 10, "{:?}", &heard[first..]);
            for number in writes {
                let (code, line) = apply(Some((number, when)));
                let context = format!("{when:?} {line:?}");
                assert!(code.is_none() && line.is_some(), "{context}: killed where it was meant");
                counter.again(None);
                let (run, _) = project.begun();
                let end = project.run(&["resume", &run.unwrap()]);
                assert_eq!(end.code, Some(0), "{context}: {}", end.said);
                assert_eq!(kinds(&world.listed()), [PROMOTION, SUMMARY], "{context}: each once");
                assert_eq!(recorded(&project.records()), clean, "{context}: as often as when nobody is killed");
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn killed_at_any_write_one_resume_ends_it_and_everything_is_told_once() {
            let Some(world) = World::start().await else { return };
            let (private, _) = world.clients.key("promo");
            let counter = Counter::default();
            let to = counter.before(world.to.address());
            let project = project(world.from.address(), &to, &private, false);
            project.prepare();
            tokio::task::block_in_place(|| killed(&world, &project, &counter, When::Done));
        }
    }
}

/// A registry with an API for referrers, one that takes none, and keys that are none: judged by what the registry itself holds.
mod needs_openssl {
    use promo_tests::oci_registry::{Behaviour, Fault, OciRegistry, On, What};

    use crate::*;

    struct World {
        to: OciRegistry,
        project: Project,
        digest: Digest,
        clients: Clients,
        from: OciRegistry,
    }

    impl World {
        async fn start() -> Self {
            let (from, to) =
                (OciRegistry::start(Behaviour::default()).await, OciRegistry::start(Behaviour::default()).await);
            let clients = Clients::new();
            let (private, _) = clients.key("promo");
            let digest = image(from.address()).await;
            let project = project(from.address(), to.address(), &private, false);
            tokio::task::block_in_place(|| project.prepare());
            Self { to, project, digest, clients, from }
        }

        /// What the registry says that refers to the image.
        async fn referrers(&self) -> Vec<(String, String)> {
            let address = format!("{}/v2/{TO}/referrers/{}", self.to.url(), self.digest);
            let http = promo_sdk::http_clients().no_proxy().build().unwrap();
            let answer = http.get(address).send().await.unwrap().error_for_status().unwrap();
            listed(&answer.bytes().await.unwrap())
        }

        /// Applies the plan, and gives what it said; the promotion is verified.
        fn applied(&self, project: &Project) -> String {
            let end = tokio::task::block_in_place(|| project.run(&["apply", PLAN]));
            assert_eq!(end.code, Some(0), "{}", end.said);
            let verified = project.records().iter().any(|record| {
                record.kind == "promotion.finished" && format!("{record:?}").to_lowercase().contains("verified")
            });
            assert!(verified, "{:?}", project.records().last());
            end.said
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_with_an_api_lists_it_by_itself_and_gets_no_list() {
        let world = World::start().await;
        world.applied(&world.project);
        let all = world.referrers().await;
        assert_eq!(kinds(&all), [PROMOTION, SUMMARY]);
        let lists =
            world.to.journal().into_iter().filter(|entry| entry.writes() && entry.line().contains(&tag(&world.digest)));
        assert_eq!(lists.count(), 0);
        tokio::task::block_in_place(|| again(&world.project));
        world.applied(&world.project);
        assert_eq!(world.referrers().await, all, "nothing is told twice");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_takes_no_referrers_is_told_and_keeps_no_promotion_back() {
        let world = World::start().await;
        // The image itself is put under its tag; by their digests come its platforms, and then what refers to it.
        let refused = On::of(axum::http::Method::PUT, "/manifests/sha256").after(2);
        world.to.behave(Behaviour::faulty([Fault::new(refused, What::status(405))]));
        let said = world.applied(&world.project);
        assert!(said.contains("prod/attest/app/promotion is left out") && said.contains("405"), "{said}");
        assert_eq!(world.referrers().await, []);
        // Nothing is left open: the run is over, and the environment takes the next release.
        let again = tokio::task::block_in_place(|| world.project.run(&["status"]));
        assert_eq!(again.code, Some(0), "{}", again.said);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_key_that_signs_nothing_is_told_and_what_the_secret_holds_is_not_printed() {
        let world = World::start().await;
        let encrypted = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x"];
        let encrypted = world.clients.private_key("encrypted", &encrypted);
        let mut project = world.project;
        for (held, why) in [
            ("a password of something else", "the file that it names"),
            ("-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----", "expected a key of ECDSA"),
            (encrypted.to_str().unwrap(), "the key is encrypted"),
        ] {
            project = project.with(&[("PROMO_SECRET_PROMOTION", held)]);
            let end = tokio::task::block_in_place(|| {
                again(&project);
                project.run(&["apply", PLAN])
            });
            assert_eq!(end.code, Some(0), "{}", end.said);
            assert!(end.said.contains("PROMO_SECRET_PROMOTION") && end.said.contains(why), "{}", end.said);
            assert!(!end.said.contains("password of something") && !end.said.contains("bm8="), "{}", end.said);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_place_of_copies_that_is_not_there_is_named_and_keeps_back_nothing_of_what_lies_at_the_source() {
        let world = World::start().await;
        world.applied(&world.project);
        bill(world.from.address(), &world.digest).await;
        let collected = |behaviour: Behaviour| {
            world.to.behave(behaviour);
            let end = tokio::task::block_in_place(|| world.project.run(&["evidence", "collect"]));
            let added = world.project.records().into_iter().filter(|record| record.kind == "evidence.added");
            (end, added.count())
        };
        let closed = Fault::new(On::of(axum::http::Method::GET, "/v2/"), What::status(403));
        let (end, added) = collected(Behaviour::faulty([closed]));
        assert_eq!((end.code, added), (Some(1), 1), "{}", end.said);
        for told in ["cyclonedx", "not asked", &format!("{}/{TO}", world.to.address()), "provider-denied"] {
            assert!(end.said.to_lowercase().contains(told), "{told}: {}", end.said);
        }
        assert!(!end.said.contains("nothing new"), "{}", end.said);
        // Once it answers the rest is taken, and nothing twice.
        let (end, added) = collected(Behaviour::default());
        assert_eq!((end.code, added), (Some(0), 3), "{}", end.said);
    }
}
