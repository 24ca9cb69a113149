//! Copies from and to a registry that differs, fails or lies: what is refused, what is tried again, and that nothing is
//! written after a failure. The journal of the registry is the judge.

#[cfg(test)]
mod with_the_test_registry {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::Method;
    use promo_providers::oci::build::{self, Image};
    use promo_providers::oci::{
        Copy, CopyReport, Limits, Network, OCI_MANIFEST, Oci, OciError, RawManifest, RegistrySettings, Resolved, Store,
        copy, resolve_digest,
    };
    use promo_sdk::testing::FakeClock;
    use promo_sdk::{ArtifactInput, Context, Digest, EnsureRequest, Inputs, ObserveRequest, Provider, Secrets};
    use promo_tests::oci_registry::{
        Behaviour, Credential, Door, Fault, Mounting, OciRegistry, On, Reset, Tags, TokenDoor, What,
    };
    use secrecy::SecretString;

    const TAG: &str = "1.0.0";

    struct Auth(String);

    impl Secrets for Auth {
        fn get(&self, _: &str) -> Option<SecretString> {
            None
        }

        fn variable(&self, name: &str) -> Option<SecretString> {
            (name == "DOCKER_AUTH_CONFIG").then(|| self.0.as_str().into())
        }
    }

    struct World {
        a: OciRegistry,
        b: OciRegistry,
        cx: Context,
        clock: Arc<FakeClock>,
        what: Resolved,
    }

    impl World {
        /// An image of one platform with two layers in `a`; nothing in `b`, which takes whatever it is given.
        async fn start() -> Self {
            let a = OciRegistry::start(Behaviour::default()).await;
            let b = OciRegistry::start(Behaviour { credulous: true, ..Behaviour::default() }).await;
            let mut cx = promo_sdk::testing::context("/");
            let clock = b.clock();
            cx.clock = clock.clone();
            let auths = format!(
                r#"{{"auths":{{"{}":{{"username":"ci","password":"p"}},"{}":{{"username":"ci","password":"p"}}}}}}"#,
                a.address(),
                b.address()
            );
            cx.secrets = Arc::new(Auth(auths));
            let network = Network::of(&cx).unwrap();
            let source = Store::Registry(network.repository(a.address(), "team/app").unwrap());
            let layers = vec![(0..3000_u32).map(|i| (i * 7) as u8).collect(), b"small".to_vec()];
            let image = Image { platforms: vec!["linux/amd64".into()], ..Image::new([], layers) };
            let digest = build::image(&source, TAG, &image).await.unwrap();
            let what = resolve_digest(&source, &digest, &Limits::default()).await.unwrap();
            let world = Self { a, b, cx, clock, what };
            world.calm();
            world
        }

        /// Both behave, and their journals are empty.
        fn calm(&self) {
            self.a.behave(Behaviour::default());
            self.b.behave(Behaviour { credulous: true, ..Behaviour::default() });
        }

        fn network(&self) -> Network {
            Network::of(&self.cx).unwrap()
        }

        async fn copy_to(&self, network: &Network, repository: &str) -> Result<CopyReport, OciError> {
            let source = Store::Registry(network.repository(self.a.address(), "team/app").unwrap());
            let destination = Store::Registry(network.repository(self.b.address(), repository).unwrap());
            let limits = Limits::default();
            let request = Copy {
                source: &source,
                source_tag: None,
                destination: &destination,
                resolved: &self.what,
                tags: &[TAG],
                limits,
            };
            copy(request).await
        }

        fn is_whole(&self, repository: &str) -> bool {
            let there = self.b.repository(repository);
            there.tags.get(TAG) == Some(&self.what.digest)
                && there.wrong().is_empty()
                && self.what.blobs.iter().all(|blob| there.blobs.contains_key(&blob.digest))
                && self.what.tree.iter().all(|manifest| there.manifests.contains_key(&manifest.digest))
        }
    }

    #[tokio::test]
    async fn s9_2_a_connection_that_breaks_at_any_request_ends_in_the_whole_artifact() {
        let world = World::start().await;
        world.copy_to(&world.network(), "app").await.unwrap();
        let requests = world.b.journal().len();
        for (kind, reset) in
            [Reset::Before, Reset::InRequest(10), Reset::After, Reset::InAnswer(0)].into_iter().enumerate()
        {
            for number in 1..=requests {
                let repository = format!("app{kind}x{number}");
                world.b.behave(Behaviour {
                    credulous: true,
                    faults: vec![Fault::new(On::request(number), What::Reset(reset))],
                    ..Behaviour::default()
                });
                let result = world.copy_to(&world.network(), &repository).await;
                assert!(result.is_ok(), "{reset:?} {number}: {result:?}");
                assert!(world.is_whole(&repository), "{reset:?} {number}");
            }
        }
    }

    #[tokio::test]
    async fn s13_6_a_busy_registry_is_heard_at_any_request() {
        let world = World::start().await;
        world.copy_to(&world.network(), "app").await.unwrap();
        let requests = world.b.journal().len();
        for number in 1..=requests {
            let repository = format!("app{number}");
            let busy = What::Answer { status: 429, headers: vec![("retry-after", "7".into())] };
            world.b.behave(Behaviour {
                credulous: true,
                faults: vec![Fault::new(On::request(number), busy)],
                ..Behaviour::default()
            });
            let before = world.clock.sleeps().len();
            world.copy_to(&world.network(), &repository).await.unwrap();
            assert!(world.is_whole(&repository), "{number}");
            let waits = world.clock.sleeps();
            assert!(
                waits[before..].iter().any(|wait| *wait >= Duration::from_secs(7)),
                "{number}: {:?}",
                &waits[before..]
            );
        }
        // Without an end it is a transient error, and nothing was named.
        world.b.behave(Behaviour::faulty([Fault::new(On::of(Method::POST, "uploads"), What::status(503))]));
        let error = world.copy_to(&world.network(), "never").await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(world.b.repository("never"), Default::default());
    }

    #[tokio::test]
    async fn s2_2_bits_that_flip_at_a_thousand_places_never_arrive() {
        let world = World::start().await;
        let layer = world.what.blobs.iter().find(|blob| blob.size == 3000).unwrap();
        let parts: Vec<(String, u64)> = world
            .what
            .tree
            .iter()
            .map(|manifest| (format!("manifests/{}", manifest.digest), manifest.size))
            .chain([(format!("blobs/{}", layer.digest), layer.size)])
            .collect();
        for place in 0..1000_usize {
            let (path, size) = &parts[place % parts.len()];
            let byte = (place * 7919) % usize::try_from(*size).unwrap();
            let flip = What::Flip { byte, bit: place % 8 };
            world.a.behave(Behaviour::faulty([Fault::new(On::of(Method::GET, path.clone()), flip)]));
            let repository = format!("app{place}");
            let error = world.copy_to(&world.network(), &repository).await.unwrap_err();
            assert!(matches!(error, OciError::Integrity { .. }), "{path} {byte}: {error:?}");
            let there = world.b.repository(&repository);
            assert!(there.tags.is_empty() && there.wrong().is_empty(), "{path} {byte}: {there:?}");
        }
    }

    #[tokio::test]
    async fn bodies_that_are_too_short_or_never_end_are_refused() {
        let world = World::start().await;
        let layer = world.what.blobs.iter().find(|blob| blob.size == 3000).unwrap();
        let subject = world.what.digest;
        for (path, what) in [
            (format!("blobs/{}", layer.digest), What::Short(100)),
            (format!("blobs/{}", layer.digest), What::Endless),
            (format!("blobs/{}", layer.digest), What::Body(vec![0; 3000])),
            (format!("manifests/{subject}"), What::Short(10)),
            (format!("manifests/{subject}"), What::Endless),
            (format!("manifests/{subject}"), What::Header("docker-content-digest", Some(Digest::of(b"?").to_string()))),
            (format!("manifests/{subject}"), What::Header("content-type", Some(OCI_MANIFEST.into()))),
        ] {
            world.calm();
            world.a.behave(Behaviour::faulty([Fault::new(On::of(Method::GET, path.clone()), what.clone())]));
            let error = world.copy_to(&world.network(), "app").await.unwrap_err();
            let refused =
                matches!(error, OciError::Integrity { .. } | OciError::TooLarge { .. } | OciError::Malformed { .. });
            assert!(refused && !error.is_transient(), "{path} {what:?}: {error:?}");
            assert!(world.b.repository("app").tags.is_empty());
            assert!(world.b.repository("app").wrong().is_empty());
        }
    }

    #[tokio::test]
    async fn r2_a_tag_that_somebody_takes_meanwhile_is_not_overwritten() {
        let world = World::start().await;
        world.copy_to(&world.network(), "app").await.unwrap();
        let lines: Vec<bool> = world.b.journal().iter().map(|e| e.method == "PUT" && e.is_tag()).collect();
        let other = Digest::of(b"other");
        for (at, is_put) in lines.iter().enumerate() {
            let number = at + 1;
            for tags in
                [Tags::Movable, Tags::BadRequest, Tags::Precondition, Tags::Conflict, Tags::Forbidden, Tags::Silent]
            {
                let repository = format!("app{at}{tags:?}").to_lowercase();
                let stored =
                    promo_tests::oci_registry::Stored { media_type: OCI_MANIFEST.into(), bytes: "other".into() };
                world.b.edit(&repository, |r| drop(r.manifests.insert(other, stored)));
                let theft = What::MoveTag { repository: repository.clone(), tag: TAG.into(), to: other };
                world.b.behave(Behaviour {
                    credulous: true,
                    tags,
                    faults: vec![Fault::new(On::request(number), theft.clone())],
                    ..Behaviour::default()
                });
                let result = world.copy_to(&world.network(), &repository).await;
                // Nothing stands between a look and a write where the registry lets tags move: that one is ours.
                let numbers = world.b.journal();
                let hit = numbers.iter().find(|e| e.number == number).is_some_and(|e| e.method == "PUT" && e.is_tag());
                if hit && tags == Tags::Movable {
                    continue;
                }
                assert!(
                    matches!(result, Err(OciError::TagConflict { .. } | OciError::TagRaced { .. })),
                    "{tags:?} {number} {is_put}: {result:?}"
                );
                assert_eq!(world.b.repository(&repository).tags.get(TAG), Some(&other), "{tags:?} {number}");
            }
        }
    }

    #[tokio::test]
    async fn s13_5_addresses_of_others_get_nothing_and_allowed_ones_no_credentials() {
        let world = World::start().await;
        let storage = world.a.beside(Behaviour::default()).await;
        let password = Door::Basic { user: "ci".into(), password: "p".into() };
        let blobs = On::of(Method::GET, "/blobs/");
        world.a.behave(Behaviour {
            door: password,
            faults: vec![Fault::new(blobs, What::Redirect(storage.url()))],
            ..Behaviour::default()
        });
        let error = world.copy_to(&world.network(), "app").await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{error:?}");
        assert!(storage.journal().is_empty());

        let allow = RegistrySettings { allow: [storage.address().to_string()].into(), ..RegistrySettings::default() };
        let network = world.network().with_settings([(world.a.address().to_string(), allow)].into_iter().collect());
        world.copy_to(&network, "app").await.unwrap();
        assert!(world.is_whole("app"));
        let seen = storage.journal();
        assert!(!seen.is_empty() && seen.iter().all(|entry| entry.credential == Credential::None), "{seen:?}");

        let locate = Fault::new(On::of(Method::POST, "uploads"), What::Locate(storage.url()));
        world.b.behave(Behaviour { credulous: true, faults: vec![locate], ..Behaviour::default() });
        storage.behave(Behaviour::default());
        world.a.behave(Behaviour::default());
        let error = world.copy_to(&world.network(), "elsewhere").await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{error:?}");
        assert!(storage.journal().is_empty());

        let realm = Some(format!("http://localhost:{}/token", storage.address().rsplit_once(':').unwrap().1));
        let door = Door::Token(TokenDoor { realm, ..TokenDoor::new("ci", "p") });
        world.b.behave(Behaviour { door, ..Behaviour::default() });
        let error = world.copy_to(&world.network(), "elsewhere").await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{error:?}");
        assert!(storage.journal().is_empty());
    }

    #[tokio::test]
    async fn tokens_that_are_spent_or_end_on_the_way_are_fetched_anew() {
        let world = World::start().await;
        for (name, door) in [
            ("once", TokenDoor { uses: Some(1), ..TokenDoor::new("ci", "p") }),
            ("thrice", TokenDoor { uses: Some(3), ..TokenDoor::new("ci", "p") }),
            ("silent", TokenDoor { said: None, ..TokenDoor::new("ci", "p") }),
        ] {
            world.b.behave(Behaviour { credulous: true, door: Door::Token(door), ..Behaviour::default() });
            world.copy_to(&world.network(), name).await.unwrap();
            assert!(world.is_whole(name), "{name}");
        }
        world.b.behave(Behaviour { door: Door::Token(TokenDoor::new("ci", "other")), ..Behaviour::default() });
        let error = world.copy_to(&world.network(), "refused").await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
        assert!(world.b.journal().iter().all(|entry| !entry.writes()));
        // A usual token serves the whole copy: one to look, one to write.
        let door = Door::Token(TokenDoor::new("ci", "p"));
        world.b.behave(Behaviour { credulous: true, door, ..Behaviour::default() });
        world.copy_to(&world.network(), "usual").await.unwrap();
        assert!(world.b.journal().iter().filter(|entry| entry.path == "/token").count() <= 3);
    }

    #[tokio::test]
    async fn a_mount_is_the_only_question_and_its_session_is_used() {
        let world = World::start().await;
        for (mount, open) in [(Mounting::Honour, 0), (Mounting::Session, 0), (Mounting::Refuse(405), 0)] {
            world.a.behave(Behaviour { mount, ..Behaviour::default() });
            let network = world.network();
            let at = |repository: &str| Store::Registry(network.repository(world.a.address(), repository).unwrap());
            let name = format!("prod{mount:?}").to_lowercase().replace(['(', ')'], "");
            let (source, destination, limits) = (at("team/app"), at(&name), Limits::default());
            let request = Copy {
                source: &source,
                source_tag: None,
                destination: &destination,
                resolved: &world.what,
                tags: &[TAG],
                limits,
            };
            let report = copy(request).await.unwrap();
            assert_eq!(report.blobs_mounted > 0, mount == Mounting::Honour, "{mount:?}");
            assert_eq!(world.a.open_uploads(), open, "{mount:?}: no session is left open");
            let journal = world.a.journal();
            let asked = journal.iter().filter(|e| e.method == "HEAD" && e.path.contains("/blobs/")).count();
            assert_eq!(asked > 0, matches!(mount, Mounting::Refuse(_)), "{mount:?}");
        }
    }

    /// Puts a signature of the image into `a`.
    async fn sign(world: &World, text: &str) -> Digest {
        let network = world.network();
        let store = Store::Registry(network.repository(world.a.address(), "team/app").unwrap());
        let (layer, empty) = (text.as_bytes().to_vec(), b"{}".to_vec());
        for bytes in [&layer, &empty] {
            let part = Ok::<_, OciError>(bytes.clone().into());
            let stream = Box::pin(futures_util::stream::iter([part]));
            store.put_blob(&Digest::of(bytes), bytes.len() as u64, stream).await.unwrap();
        }
        let descriptor = |bytes: &[u8], media_type: &str| serde_json::json!({ "digest": Digest::of(bytes).to_string(), "mediaType": media_type, "size": bytes.len() });
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.test.signature",
            "config": descriptor(&empty, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(&layer, "text/plain")],
            "subject": { "digest": world.what.digest.to_string(), "mediaType": world.what.media_type, "size": world.what.size },
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let raw = RawManifest { digest: Digest::of(&bytes), media_type: OCI_MANIFEST.into(), bytes };
        store.put_manifest(&raw).await.unwrap();
        raw.digest
    }

    #[tokio::test]
    async fn referrers_go_where_the_registry_lists_them_itself_and_where_it_does_not() {
        let world = World::start().await;
        let mut signatures = Vec::new();
        for text in ["one", "two", "three"] {
            signatures.push(sign(&world, text).await);
        }
        for (name, referrers) in [("native", true), ("fallback", false)] {
            world.a.behave(Behaviour { referrers_page: Some(1), ..Behaviour::default() });
            world.b.behave(Behaviour { referrers, ..Behaviour::default() });
            let report = world.copy_to(&world.network(), name).await.unwrap();
            assert_eq!(report.referrers, 3, "{name}");
            let there = world.b.repository(name);
            assert!(signatures.iter().all(|digest| there.manifests.contains_key(digest)), "{name}");
            let list = world.what.digest.to_string().replace(':', "-");
            assert_eq!(there.tags.contains_key(&list), !referrers, "{name}");
            let last = world.b.journal().into_iter().rfind(promo_tests::oci_registry::Entry::publishes).unwrap();
            assert!(last.is_tag() && last.path.ends_with(TAG), "{name}: {}", last.line());
            assert!(!world.copy_to(&world.network(), name).await.unwrap().changed(), "{name}");
        }
    }

    #[tokio::test]
    async fn s2_3_a_preview_counts_what_goes_along() {
        let world = World::start().await;
        let signature = sign(&world, "one").await;
        let artifact = ArtifactInput {
            repository: format!("{}/prod/app", world.b.address()),
            digest: world.what.digest,
            tag: Some(TAG.into()),
            source: Some(format!("{}/team/app", world.a.address())),
        };
        let inputs = Inputs {
            environment: "production".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target(BTreeMap::new()),
            settings: serde_json::Value::Null,
            artifacts: BTreeMap::from([("app".parse().unwrap(), artifact)]),
            files: BTreeMap::new(),
        };
        let preview = Oci::new().preview(&world.cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
        let after: Vec<_> = preview.changes.iter().map(|change| change.after.clone().unwrap()).collect();
        assert_eq!(after, [world.what.digest.to_string(), signature.to_string()]);
        assert!(preview.changes[1].path.contains("application/vnd.test.signature"), "{preview:?}");
        assert!(world.b.journal().iter().all(|entry| !entry.writes()));

        let (expected, desired) = (preview.current, preview.desired);
        let ensure = EnsureRequest { inputs, expected, desired, token: "run/1".into(), epoch: 1 };
        let answer = Oci::new().ensure(&world.cx, &ensure).await.unwrap();
        assert!(answer.detail.ends_with("1 referrers"), "{}", answer.detail);
        assert!(world.is_whole("prod/app"));
    }

    #[tokio::test]
    async fn a_refusal_on_the_way_to_signatures_is_never_taken_for_none() {
        let world = World::start().await;
        sign(&world, "one").await;
        for status in [401, 403, 429, 500, 503] {
            for path in ["/referrers/", "/tags/list"] {
                // Listing tags may be forbidden: then they are asked for one by one.
                if path == "/tags/list" && matches!(status, 401 | 403) {
                    continue;
                }
                world.calm();
                world.a.behave(Behaviour::faulty([Fault::new(On::path(path), What::status(status))]));
                let error = world.copy_to(&world.network(), "app").await.unwrap_err();
                let named = matches!(error, OciError::Status { .. } | OciError::Unauthorized { .. });
                assert!(named, "{path} {status}: {error:?}");
                assert!(world.b.journal().iter().all(|entry| !entry.writes()), "{path} {status}");
            }
        }
    }
}
