//! The pipeline `two-registries` between two real registry servers, through the engine (R1, R2, S2.3).

mod layouts {
    use promo_core::plan::{Goal, Request, StayReason};
    use promo_core::windows::Invoker;
    use promo_engine::PLAN_LIFETIME;
    use promo_tests::world::{Setup, World};

    const REGIONS: &str = r#"
format = 1
[pipeline]
name = "regions"
[artifacts.app]
image = "oci-layout:build/app"
tags  = "[0-9]*"
[defaults]
verify = ["smoke"]
start = "auto"
[checks.smoke]
command = { run = ["true"] }
[defaults.deploy.directory]
templates = ["app.j2"]
[environments.east]
tier   = "staging"
target = { directory = "environments/east" }
mirror = { "oci-layout:build" = "oci-layout:east" }
[environments.west]
tier   = "staging"
target = { directory = "environments/west" }
mirror = { "oci-layout:build" = "oci-layout:west" }
"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_taken_destination_refuses_its_own_environment_and_no_other() {
        let world = World::of_files(
            &[("promo.toml", REGIONS), ("app.j2", "{{ artifacts.app.reference }}\n")],
            Setup::default(),
        );
        world.release("1.0.0").await;
        // In the west somebody else has put another image under the same tag.
        let foreign = World::of_files(
            &[("promo.toml", &REGIONS.replace("build/app", "west/app")), ("app.j2", "")],
            Setup::default(),
        );
        foreign.build("9.9.9").await;
        let (from, to) = (foreign.path("west/app"), world.path("west/app"));
        for entry in walkdir::WalkDir::new(&from) {
            let entry = entry.unwrap();
            let target = to.join(entry.path().strip_prefix(&from).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&target).unwrap();
            } else {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let renamed = if entry.file_name() == "index.json" { text.replace("9.9.9", "1.0.0") } else { text };
                std::fs::write(&target, renamed).unwrap();
            }
        }
        let request = Request {
            goal: Goal::Promote,
            environments: [].into(),
            release: None,
            until: None,
            drill: false,
            invoker: Invoker::Human,
        };
        let plan = world.session.plan(request, PLAN_LIFETIME).await.unwrap();
        let moves: Vec<&str> = plan.body.moves.iter().map(|m| m.environment.as_str()).collect();
        assert_eq!(moves, ["east"], "{:#?}", plan.body.stays);
        assert_eq!(plan.body.stays[0].why, StayReason::Refused);
        let codes: Vec<&str> =
            plan.body.stays[0].next.as_ref().unwrap().gates.iter().map(|g| g.reason.code()).collect();
        assert!(codes.contains(&"destination-taken"), "{codes:?}");
        let report = world.session.apply(&plan, plan.digest().unwrap(), world.options()).await.unwrap();
        assert_eq!(report.exit_code(), 0);
    }
}

#[cfg(test)]
mod needs_docker_registry {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use promo_core::Digest;
    use promo_core::approval::Decision;
    use promo_core::gate::{Gate, GateKind, Outcome, Reason};
    use promo_core::ids::ReleaseId;
    use promo_core::ledger::event::RunOutcome;
    use promo_core::plan::StayReason;
    use promo_engine::clock::SystemClock;
    use promo_engine::{EngineError, Progress, RunReport, exit};
    use promo_providers::oci::build::{Image, image};
    use promo_providers::oci::{Copy, Limits, Location, Network, Selector, Store, copy, resolve_digest};
    use promo_tests::registry::Registry;
    use promo_tests::world::{Setup, World};

    struct Two {
        build: Registry,
        release: Registry,
        world: World,
    }

    impl Two {
        fn start() -> Option<Self> {
            let (build, release) = (Registry::start()?, Registry::start()?);
            let replace = vec![
                ("oci-layout:registry-build".to_string(), build.address().to_string()),
                ("oci-layout:registry-release".to_string(), release.address().to_string()),
            ];
            // Registries are remote places: production needs a trust file behind it (S0.1).
            let world = World::with("two-registries", Setup { replace, trusted: true, ..Setup::default() });
            Some(Self { build, release, world })
        }

        fn store(&self, registry: &Registry, repository: &str) -> Store {
            let location: Location = format!("{}/{repository}", registry.address()).parse().unwrap();
            let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
            Store::open(&location, self.world.directory.path(), &network).unwrap()
        }

        fn digest(&self, release: &ReleaseId) -> Digest {
            let view = self.world.session.view().unwrap();
            *view.release(release).unwrap().release.content.components.values().next().unwrap()
        }

        /// A release that is verified in staging.
        async fn in_staging(&self, version: &str) -> ReleaseId {
            let release = self.world.release(version).await;
            let reports = self.world.session.advance(self.world.options()).await.unwrap().reports;
            assert!(reports.iter().all(|r| r.outcome == Some(RunOutcome::Done)), "{reports:?}");
            assert_eq!(self.world.current("staging"), Some(release.clone()));
            release
        }

        /// Somebody pushes other bytes under a tag.
        async fn push_other(&self, registry: &Registry, repository: &str, tag: &str) -> Digest {
            let other = Image::new([("org.opencontainers.image.version", "other")], vec![b"other bytes".to_vec()]);
            let layout: Location = "oci-layout:elsewhere".parse().unwrap();
            let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
            let layout = Store::open(&layout, self.world.directory.path(), &network).unwrap();
            let digest = image(&layout, tag, &other).await.unwrap();
            let there = self.store(registry, repository);
            let resolved = resolve_digest(&layout, &digest, &Limits::default()).await.unwrap();
            let free = ["elsewhere"];
            let pushed = Copy {
                source: &layout,
                source_tag: None,
                destination: &there,
                resolved: &resolved,
                tags: &free,
                limits: Limits::default(),
            };
            copy(pushed).await.unwrap();
            // promo never moves a tag, so the test does it as a push does.
            let raw = there.get_manifest(Selector::Digest(&digest), None, &Limits::default()).await.unwrap();
            let url = format!("http://{}/v2/{repository}/manifests/{tag}", registry.address());
            let put = reqwest::Client::new().put(url).header("content-type", raw.media_type).body(raw.bytes);
            assert!(put.send().await.unwrap().status().is_success());
            assert_eq!(there.head_tag(tag).await.unwrap().unwrap().digest, digest);
            digest
        }

        async fn to_production(&self) -> Result<RunReport, EngineError> {
            let plan = self.world.plan("production").await;
            self.world.ask(&plan).await;
            let mut options = self.world.options();
            options.approvals = vec![self.world.sign(&plan, Decision::Approve)];
            self.world.session.apply(&plan, plan.digest().unwrap(), options).await
        }
    }

    /// Every manifest and blob of a tree, byte for byte as the registry serves it.
    async fn everything(store: &Store, digest: &Digest) -> BTreeMap<Digest, Vec<u8>> {
        let what = resolve_digest(store, digest, &Limits::default()).await.unwrap();
        let mut out = BTreeMap::new();
        for manifest in &what.tree {
            let raw = store.get_manifest(Selector::Digest(&manifest.digest), None, &Limits::default()).await.unwrap();
            out.insert(manifest.digest, raw.bytes.to_vec());
        }
        for blob in &what.blobs {
            out.insert(blob.digest, store.read_blob(&blob.digest, blob.size, u64::MAX).await.unwrap().to_vec());
        }
        out
    }

    fn closed(gates: &[Gate]) -> BTreeSet<GateKind> {
        gates.iter().filter(|g| g.outcome >= Outcome::Expired).map(|g| g.kind).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_multi_arch_index_travels_through_the_pipeline_byte_for_byte() {
        let Some(two) = Two::start() else { return };
        let release = two.in_staging("1.0.0").await;
        let report = two.to_production().await.unwrap();
        assert_eq!(report.outcome, Some(RunOutcome::Done), "{report:?}");
        let digest = two.digest(&release);
        let source = two.store(&two.build, "app");
        let built = everything(&source, &digest).await;
        // An index, two images, two configurations, two layers.
        assert_eq!(built.len(), 7, "{:?}", built.keys());
        for repository in ["staging/app", "production/app"] {
            let there = two.store(&two.release, repository);
            assert_eq!(there.head_tag("1.0.0").await.unwrap().unwrap().digest, digest);
            assert_eq!(everything(&there, &digest).await, built, "{repository}");
        }
        // What is deployed names the release registry and the digest of the build.
        let deployed = two.world.deployed("production", "templates/app.toml");
        assert!(deployed.contains(&format!("{}/production/app", two.release.address())), "{deployed}");
        assert!(deployed.contains(&digest.to_string()), "{deployed}");
        // The build registry was only read since the build.
        let writes: Vec<_> = two.build.requests().into_iter().filter(promo_tests::registry::Request::writes).collect();
        let pushed = |path: &str| path.contains("/v2/app/");
        assert!(writes.iter().all(|r| pushed(&r.path)), "{writes:?}");
        promo_ledger::verify(two.world.session.store().as_ref()).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tag_that_moves_between_plan_and_apply_is_refused_with_both_digests() {
        let Some(two) = Two::start() else { return };
        let release = two.in_staging("1.0.0").await;
        let plan = two.world.plan("production").await;
        two.world.ask(&plan).await;
        let recorded = two.digest(&release);
        let found = two.push_other(&two.build, "app", "1.0.0").await;
        let before = two.release.requests().len();
        let mut options = two.world.options();
        options.approvals = vec![two.world.sign(&plan, Decision::Approve)];
        let refused = two.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("denied", exit::DENIED), "{refused:?}");
        let EngineError::Denied { gates, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(closed(gates), [GateKind::Artifact].into());
        let moved = gates.iter().find(|g| g.kind == GateKind::Artifact).unwrap();
        assert!(
            matches!(&moved.reason, Reason::TagMoved { recorded: r, found: f, .. } if *r == recorded && *f == found),
            "{moved:?}"
        );
        let words = moved.reason.to_string();
        assert!(words.contains(&recorded.to_string()) && words.contains(&found.to_string()), "{words}");
        let later = two.release.requests();
        assert!(later[before..].iter().all(|r| !r.writes()), "{later:?}");
        assert_eq!(two.world.current("production"), None);
        // A plan that is made now refuses as well.
        let plan = two.world.plan("production").await;
        assert!(plan.body.moves.is_empty());
        assert_eq!(plan.body.stays[0].why, StayReason::Refused);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_destination_tag_that_holds_something_else_is_refused_when_the_plan_is_made() {
        let Some(two) = Two::start() else { return };
        let release = two.in_staging("1.0.0").await;
        let taken = two.push_other(&two.release, "production/app", "1.0.0").await;
        let plan = two.world.plan("production").await;
        assert!(plan.body.moves.is_empty(), "{:?}", plan.body.moves);
        let stay = &plan.body.stays[0];
        assert_eq!(stay.why, StayReason::Refused);
        let gates = &stay.next.as_ref().unwrap().gates;
        let wanted = two.digest(&release);
        assert_eq!(closed(gates), [GateKind::Artifact].into());
        let gate = gates.iter().find(|g| g.outcome == Outcome::Refused).unwrap();
        let Reason::DestinationTaken { reference, wanted: w, found, .. } = &gate.reason else { panic!("{gate:?}") };
        assert_eq!((*w, *found), (wanted, taken));
        assert_eq!(*reference, format!("{}/production/app:1.0.0", two.release.address()));
        // It is left as it is.
        let there = two.store(&two.release, "production/app");
        assert_eq!(there.head_tag("1.0.0").await.unwrap().unwrap().digest, taken);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_destination_tag_that_is_taken_after_the_plan_is_refused_when_it_is_applied() {
        let Some(two) = Two::start() else { return };
        two.in_staging("1.0.0").await;
        let plan = two.world.plan("production").await;
        two.world.ask(&plan).await;
        assert_eq!(plan.body.moves.len(), 1);
        let approval = two.world.sign(&plan, Decision::Approve);
        let taken = two.push_other(&two.release, "production/app", "1.0.0").await;
        let mut options = two.world.options();
        options.approvals = vec![approval];
        let refused = two.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap_err();
        assert_eq!((refused.code(), refused.exit_code()), ("denied", exit::DENIED), "{refused:?}");
        let EngineError::Denied { gates, .. } = &refused else { panic!("{refused:?}") };
        let destination = |g: &&Gate| matches!(g.reason, Reason::DestinationTaken { found, .. } if found == taken);
        assert!(gates.iter().any(|g| destination(&g)), "{gates:?}");
        assert_eq!(two.world.session.view().unwrap().consumed.len(), 2, "the plan was not used up");
        let there = two.store(&two.release, "production/app");
        assert_eq!(there.head_tag("1.0.0").await.unwrap().unwrap().digest, taken);
        assert_eq!(two.world.current("production"), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_destination_tag_that_is_taken_while_the_run_is_on_is_not_overwritten() {
        let Some(two) = Two::start() else { return };
        two.in_staging("1.0.0").await;
        let two = Arc::new(two);
        let plan = two.world.plan("production").await;
        two.world.ask(&plan).await;
        let mut options = two.world.options();
        options.approvals = vec![two.world.sign(&plan, Decision::Approve)];
        // Between the check of everything and the first step.
        let thief = two.clone();
        options.progress = Arc::new(move |p| {
            if matches!(p, Progress::RunStarted { .. }) {
                let thief = thief.clone();
                let push = async move { thief.push_other(&thief.release, "production/app", "1.0.0").await };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(push));
            }
        });
        let report = two.world.session.apply(&plan, plan.digest().unwrap(), options).await.unwrap();
        // Nothing of ours was changed there, so the promotion is given up and the plan is used.
        assert_eq!(report.outcome, Some(RunOutcome::Cancelled), "{report:?}");
        let words = format!("{report:?}");
        assert!(words.contains("production/app"), "{words}");
        let there = two.store(&two.release, "production/app");
        let tag = there.head_tag("1.0.0").await.unwrap().unwrap().digest;
        assert_eq!(there.head_tag("elsewhere").await.unwrap().unwrap().digest, tag);
        assert_eq!(two.world.current("production"), None);
        promo_ledger::verify(two.world.session.store().as_ref()).unwrap();
    }
}
