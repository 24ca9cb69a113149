//! promo as a process of its own, killed (SIGKILL) at the requests of a copy to and from real registry servers, which end
//! their own way with what is cut off. Nothing is lost, nothing is done twice, one resume ends it, and a second one changes
//! nothing (R31, S9.2, S9.5). What must not live here: kills within a body, which `oci_kills.rs` has.
#![cfg(unix)]

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use promo_core::Digest;
    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{Network, OCI_INDEX, OCI_MANIFEST, RawManifest, Store};
    use promo_tests::cells::Host;
    use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
    use promo_tests::counting::{Counter, Heard, When};
    use promo_tests::registry::{Held, Registry};
    use serde_json::{Value, json};

    struct World {
        /// The source; the destination as well, where that is no other registry.
        source: Registry,
        other: Option<Registry>,
        counter: Counter,
        project: Project,
        digest: Digest,
        signature: Digest,
        /// What is recorded when nobody is killed.
        clean: BTreeMap<String, usize>,
        /// How often somebody else has gone on.
        recovered: AtomicUsize,
    }

    async fn blob(store: &Store, bytes: &'static [u8]) -> Value {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        store.put_blob(&digest, size, Box::pin(futures_util::stream::iter([Ok(bytes.into())]))).await.unwrap();
        json!({ "digest": digest.to_string(), "mediaType": "application/vnd.example", "size": size })
    }

    fn manifest(media_type: &str, value: &Value) -> RawManifest {
        let bytes = promo_core::canonical::to_vec(value).unwrap();
        RawManifest { digest: Digest::of(&bytes), media_type: media_type.into(), bytes }
    }

    /// A signature that has to go along, in the list under the fallback tag: these servers have no referrers API.
    async fn sign(store: &Store, subject: &Digest, size: usize) -> Digest {
        let kind = "application/vnd.example.signature";
        let signature = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
            "config": blob(store, b"{}").await, "layers": [blob(store, b"signed").await],
            "subject": { "mediaType": OCI_INDEX, "digest": subject.to_string(), "size": size },
        });
        let signature = manifest(OCI_MANIFEST, &signature);
        store.put_manifest(&signature).await.unwrap();
        let listed = json!({
            "digest": signature.digest.to_string(), "mediaType": OCI_MANIFEST, "artifactType": kind,
            "size": signature.bytes.len(),
        });
        let list = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [listed] });
        store.put_tag(&subject.to_string().replace(':', "-"), &manifest(OCI_INDEX, &list), None).await.unwrap();
        signature.digest
    }

    impl World {
        /// An index of two platforms with a signature, and a plan that copies it.
        async fn start(two: bool) -> Option<Self> {
            let source = Registry::start()?;
            let other = if two { Some(Registry::start()?) } else { None };
            let directory = tempfile::tempdir().unwrap();
            let network = Network::of(&promo_sdk::testing::context(directory.path())).unwrap();
            let store = Store::Registry(network.repository(source.address(), FROM).unwrap());
            let image = Image::new([], vec![b"a layer".to_vec()]);
            let digest = build::image(&store, TAG, &image).await.unwrap();
            let signature = sign(&store, &digest, source.held(FROM).manifests[&digest.hex()].len()).await;
            let counter = Counter::default();
            let from = counter.before(source.address());
            let to = other.as_ref().map_or_else(|| from.clone(), |registry| counter.before(registry.address()));
            let project = Project::new(&from, &to, &[]);
            tokio::task::block_in_place(|| project.prepare());
            let (clean, recovered) = (BTreeMap::new(), AtomicUsize::new(0));
            Some(Self { source, other, counter, project, digest, signature, clean, recovered })
        }

        fn held(&self) -> Held {
            self.other.as_ref().unwrap_or(&self.source).held(TO)
        }

        /// Applies the plan with nothing at the destination; `at` is where it is killed. At which request it was.
        fn applied(&self, at: Option<(usize, When)>) -> Option<String> {
            self.project.reset();
            let emptied = match &self.other {
                Some(registry) => std::fs::remove_dir_all(registry.content()),
                None => std::fs::remove_dir_all(self.source.content().join("repositories/prod")),
            };
            assert!(emptied.is_ok() || !self.held().tags.contains_key(TAG));
            self.counter.again(at);
            let mut child = self.project.command(&["apply", PLAN]).spawn().unwrap();
            self.counter.watch(child.id());
            let status = child.wait().unwrap();
            let struck = self.counter.struck();
            // Whoever was told of the last of all may have ended before it could be killed.
            let ended =
                struck.is_none() || (status.code() == Some(0) && at.is_some_and(|(_, when)| when == When::Told));
            assert_eq!(status.code(), ended.then_some(0), "killed where it was meant, and only there");
            struck
        }

        /// Every blob, manifest and tag was taken once, over the death and the recovery, and the tag last, and right.
        fn assert_once(&self, heard: &[Heard], context: &str) {
            let mut taken: BTreeMap<String, usize> = BTreeMap::new();
            let mut last = "";
            // To mount is also how promo asks whether a blob is there: what is mounted again is not taken again.
            for entry in heard.iter().filter(|entry| entry.method == "PUT" && entry.status == 201) {
                let object = match entry.path.split_once("digest=") {
                    Some((_, rest)) => rest.split('&').next().unwrap(),
                    None => entry.path.rsplit('/').next().unwrap(),
                };
                *taken.entry(object.replace("%3A", ":")).or_default() += 1;
                last = object;
                if object == TAG {
                    assert_eq!(entry.digest, Some(self.digest.to_string()), "{context}");
                }
            }
            // Only the answer to a signature says whether the registry lists it by itself; one that is not listed is put again.
            let signature = taken.remove(&self.signature.to_string());
            assert!(matches!(signature, Some(1..=2)), "{context}: {signature:?}");
            let twice: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{context}: taken more than once: {twice:?}");
            assert_eq!(last, TAG, "{context}: the tag is last");
        }

        fn assert_whole(&self, context: &str) {
            assert_eq!(self.held(), self.source.held(FROM), "{context}");
            assert_eq!(self.held().tags[TAG], self.digest.to_string(), "{context}");
        }

        /// Every kind of record with its step, and how often it is there. That a step is about to be taken is recorded by each
        /// process that is about to; whether it was taken, once.
        fn recorded(&self) -> BTreeMap<String, usize> {
            let mut out = BTreeMap::new();
            for record in self.project.records().into_iter().filter(|record| record.kind != "step.intent") {
                let step = record.step.map(|step| step.to_string()).unwrap_or_default();
                *out.entry(format!("{} {step}", record.kind)).or_default() += 1;
            }
            out
        }

        /// One resume, or where no run had begun one apply, ends it on another host; then there is nothing more to do.
        fn recover(&self, context: &str) {
            let mut heard = self.counter.heard();
            // The tag is absent, or right, with everything there that goes along with it.
            if self.held().tags.contains_key(TAG) {
                self.assert_whole(context);
            }
            self.counter.again(None);
            let (run, _) = self.project.begun();
            let words = run.as_ref().map_or(["apply", PLAN], |run| ["resume", run.as_str()]);
            let turn = self.recovered.fetch_add(1, Ordering::SeqCst);
            // Another machine cannot see who died and waits until the lock runs out: only now and then. A lock without a run is
            // nobody's to resume.
            let host = if run.is_some() && turn % 8 == 7 { Host::Elsewhere } else { Host::Two };
            let end = self.project.run_on(host, &words);
            assert_eq!(end.code, Some(0), "{context}: {words:?} as {host:?}: {}", end.said);
            self.assert_whole(context);
            heard.extend(self.counter.heard());
            self.assert_once(&heard, context);
            let recorded = self.recorded();
            assert_eq!(recorded, self.clean, "{context}: as often as when nobody is killed");
            let run = self.project.begun().0.expect(context);
            self.counter.again(None);
            let again = self.project.run_on(host, &["resume", &run]);
            assert_eq!(again.code, Some(0), "{context}: a second resume: {}", again.said);
            let writes: Vec<Heard> = self.counter.heard().into_iter().filter(Heard::writes).collect();
            assert_eq!(writes, [], "{context}: a second resume writes nothing");
            assert_eq!(self.recorded(), recorded, "{context}: and tells nothing new");
            let verified = self.project.run(&["ledger", "verify"]);
            assert_eq!(verified.code, Some(0), "{context}: {}", verified.said);
        }
    }

    /// Of how many requests in the middle one is taken; all are at both ends.
    type Every = usize;
    /// How many are an end.
    const END: usize = 4;

    /// Kills at request after request, until an apply ends in which there is none of that number.
    fn sweep(world: &mut World, when: When, every: Every) {
        assert_eq!(world.applied(None), None);
        world.assert_whole("nobody is killed");
        world.assert_once(&world.counter.heard(), "nobody is killed");
        world.clean = world.recorded();
        let all = world.counter.arrived();
        let chosen = |n: &usize| *n <= END || n + END > all || n.is_multiple_of(every);
        for number in (1..=all).filter(chosen) {
            let line = world.applied(Some((number, when)));
            let line = line.unwrap_or_else(|| panic!("there was no request {number} of {all}"));
            world.recover(&format!("killed at request {number} of {all}, {when:?}: {line}"));
        }
        assert_eq!(world.applied(Some((all + 1, when))), None, "there is none after the last one");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_when_any_request_arrives_one_resume_ends_it() {
        let Some(mut world) = World::start(true).await else { return };
        tokio::task::block_in_place(|| sweep(&mut world, When::Arrived, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_when_any_request_is_done_and_not_answered_one_resume_ends_it() {
        let Some(mut world) = World::start(true).await else { return };
        tokio::task::block_in_place(|| sweep(&mut world, When::Done, 1));
    }

    // The registry is then where it is when the next request arrives; what differs is how far promo itself has got.
    #[tokio::test(flavor = "multi_thread")]
    async fn killed_when_a_request_was_answered_one_resume_ends_it() {
        let Some(mut world) = World::start(true).await else { return };
        tokio::task::block_in_place(|| sweep(&mut world, When::Told, 4));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_while_blobs_are_mounted_from_another_repository_one_resume_ends_it() {
        let Some(mut world) = World::start(false).await else { return };
        tokio::task::block_in_place(|| {
            for when in [When::Arrived, When::Done, When::Told] {
                sweep(&mut world, when, 4);
            }
        });
        let puts = world.counter.heard().into_iter().filter(|entry| entry.method == "PUT");
        let blobs: Vec<Heard> = puts.filter(|entry| entry.path.contains("/blobs/")).collect();
        assert_eq!(blobs, [], "no blob was sent");
    }
}
