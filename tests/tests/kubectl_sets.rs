//! StatefulSets and DaemonSets under `deploy.kubectl`, with the controllers of a real control plane: what is waited for when they are
//! rolled out, when their pods never get ready, when nobody but a person replaces these (`OnDelete`), and when only some are (`partition`).
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::time::{Duration, Instant};

use promo_sdk::ErrorKind;
use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{Pipeline, kubectl};
use promo_tests::kubernetes::world::{DIGEST, World};
use serde_json::json;

/// How a set is told from a Deployment: its kind, what its `spec` has besides, and how many pods it has here, which has one node.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    spec: &'static str,
    pods: usize,
}

const STATEFUL: Kind = Kind { name: "StatefulSet", spec: "  serviceName: web\n  replicas: 3\n", pods: 3 };
const PARALLEL: Kind =
    Kind { spec: "  serviceName: web\n  replicas: 3\n  podManagementPolicy: Parallel\n", ..STATEFUL };
const DAEMON: Kind = Kind { name: "DaemonSet", spec: "", pods: 1 };
const BOTH: [Kind; 2] = [STATEFUL, DAEMON];

/// One of that kind: the number goes into its pods, which behave so, and `strategy` says how they are replaced.
fn set(kind: Kind, number: u8, behaves: &str, strategy: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {}\nmetadata: {{ name: web }}\nspec:\n{}  updateStrategy: {strategy}\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ number: \"{number}\", promo.test/kubelet: {behaves} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n",
        kind.name, kind.spec
    )
}

const ROLLING: &str = "{ type: RollingUpdate }";
const BY_HAND: &str = "{ type: OnDelete }";
const PARTED: &str = "{ type: RollingUpdate, rollingUpdate: { partition: 2 } }";

/// Deploys it, and waits until it runs.
async fn runs(world: &World, manifest: &str) {
    let inputs = world.with(&[manifest], json!({ "timeout": 60 }));
    world.deploy(&inputs).await;
    let settled = world.settle(&inputs).await.unwrap();
    let digests: Vec<_> = settled.images.iter().map(|image| image.digest.map(|digest| digest.to_string())).collect();
    assert_eq!(digests, [Some(DIGEST.to_owned())], "of all of its pods (S2.5)");
}

/// Deploys it, and tells why it does not run a second after its node has spoken of a pod of that number.
async fn runs_not(world: &World, number: u8, manifest: &str) -> String {
    let inputs = world.with(&[manifest], json!({ "timeout": 1 }));
    world.deploy(&inputs).await;
    let path =
        format!("jsonpath={{.items[?(@.metadata.annotations.number==\"{number}\")].status.containerStatuses[0].name}}");
    let until = Instant::now() + Duration::from_secs(30);
    while world.kubectl(&["get", "pods", "-o", &path]).is_empty() {
        assert!(Instant::now() < until, "no pod came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = world.settle(&inputs).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed, "{error}");
    error.message
}

/// The numbers of the pods that are there, by their names.
fn numbers(namespace: &Namespace) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.metadata.annotations.number}{\"\\n\"}{end}";
    let all = kubectl(namespace, &["get", "pods", "--sort-by=.metadata.name", "-o", path]);
    all.split_whitespace().map(String::from).collect()
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_set_is_waited_for_until_every_pod_is_of_the_new_version_and_ready() {
        for kind in BOTH {
            let Some(world) = World::new() else { return };
            for number in [1, 2] {
                runs(&world, &set(kind, number, "run", ROLLING)).await;
                assert_eq!(numbers(&world.namespace), vec![number.to_string(); kind.pods], "{kind:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_set_whose_pods_never_get_ready_has_failed_and_they_are_told() {
        for (kind, first, then) in [
            (STATEFUL, "; 0 of 3 pods are ready", "; 2 of 3 pods are ready"),
            (DAEMON, "; 0 of 1 pod is available", "; 0 of 1 pod is available"),
        ] {
            // From the beginning, also where nobody but a person would replace them.
            for strategy in [ROLLING, BY_HAND] {
                let Some(world) = World::new() else { return };
                let why = runs_not(&world, 1, &set(kind, 1, "imagepull", strategy)).await;
                assert!(
                    why.contains(first)
                        && why.contains(&format!("{}/web: pod web-", kind.name))
                        && why.contains("ImagePull"),
                    "{strategy}: {why}"
                );
            }
            let Some(world) = World::new() else { return };
            runs(&world, &set(kind, 1, "run", ROLLING)).await;
            let why = runs_not(&world, 2, &set(kind, 2, "notready", ROLLING)).await;
            assert!(why.contains(then), "{why}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_only_a_person_replaces_pods_those_of_before_are_left_and_are_to_run() {
        for kind in BOTH {
            let Some(world) = World::new() else { return };
            runs(&world, &set(kind, 1, "run", BY_HAND)).await;
            runs(&world, &set(kind, 2, "run", BY_HAND)).await;
            assert_eq!(numbers(&world.namespace), vec!["1"; kind.pods], "{kind:?}");
            world.kubectl(&["delete", "pods", "--all"]);
            runs(&world, &set(kind, 2, "run", BY_HAND)).await;
            assert_eq!(numbers(&world.namespace), vec!["2"; kind.pods], "{kind:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn pods_below_the_partition_of_a_stateful_set_are_left_and_those_above_waited_for() {
        let Some(world) = World::new() else { return };
        runs(&world, &set(STATEFUL, 1, "run", PARTED)).await;
        runs(&world, &set(STATEFUL, 2, "run", PARTED)).await;
        assert_eq!(numbers(&world.namespace), ["1", "1", "2"]);
        let why = runs_not(&world, 3, &set(STATEFUL, 3, "notready", PARTED)).await;
        assert!(why.contains("StatefulSet/web: pod web-2: web runs, is not ready; 2 of 3 pods are ready"), "{why}");
    }

    /// A pipeline of one namespace, with the first release in place as that kind and strategy.
    async fn deployed(kind: Kind, strategy: &str) -> Option<Pipeline> {
        let deploy = "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\nimages = { \"shop/web\" = \"web\" }\ntimeout = \"60s\"\n";
        let pipeline = Pipeline::new(1, |namespaces| {
            deploy.to_owned() + &Pipeline::environment("dev", "development", "", &namespaces[0])
        });
        let pipeline = pipeline.await?;
        pipeline.write("manifests/web.yaml", &set(kind, 1, "run", strategy));
        pipeline.release("1.0.0").await;
        pipeline.ends(0, &["advance"]);
        Some(pipeline)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_a_release_that_a_strategy_keeps_from_running_is_not_there_and_goes_back() {
        for (kind, strategy) in [(STATEFUL, BY_HAND), (DAEMON, BY_HAND), (STATEFUL, PARTED)] {
            let Some(pipeline) = deployed(kind, strategy).await else { return };
            pipeline.release("1.1.0").await;
            let said = pipeline.ends(40, &["advance"]);
            let why = format!("{}/web container web runs ", kind.name);
            assert!(said.contains(&why) && said.contains("expected sha256:"), "{said}");
            pipeline.ends(0, &["plan", "dev", "--detailed-exitcode"]);
        }
    }

    /// The second release, whose pods never get ready; what is said of it. From then on nothing is waited for longer than eight seconds.
    async fn fails(pipeline: &Pipeline, manifest: &str, code: i32) -> String {
        pipeline.edit("promo.toml", "\"60s\"", "\"8s\"");
        pipeline.ends(0, &["advance"]);
        pipeline.write("manifests/web.yaml", manifest);
        pipeline.release("1.1.0").await;
        let said = pipeline.ends(code, &["advance"]);
        assert!(said.contains("not settled within 8 s"), "{said}");
        said
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_of_a_set_that_never_gets_ready_goes_back() {
        for kind in [PARALLEL, DAEMON] {
            let Some(pipeline) = deployed(kind, ROLLING).await else { return };
            fails(&pipeline, &set(kind, 2, "notready", ROLLING), 40).await;
            assert_eq!(numbers(&pipeline.namespaces[0]), vec!["1"; kind.pods], "{kind:?}");
        }
    }

    /// Its controller waits for the pod that never gets ready, whatever the set declares by then
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback>).
    #[tokio::test(flavor = "multi_thread")]
    async fn a_stateful_set_that_waits_for_a_broken_pod_is_held_with_the_name_of_that_pod() {
        let Some(pipeline) = deployed(STATEFUL, ROLLING).await else { return };
        let said = fails(&pipeline, &set(STATEFUL, 2, "notready", ROLLING), 41).await;
        let hint = "pod web-2: web runs, is not ready: it is of another version and not ready, and the StatefulSet replaces none before it is: \
                    delete it";
        assert!(said.contains("the rollback failed") && said.contains(hint), "{said}");
        let namespace = &pipeline.namespaces[0];
        kubectl(namespace, &["delete", "pod", "web-2"]);
        kubectl(namespace, &["rollout", "status", "statefulset", "web", "--timeout=60s"]);
        assert_eq!(numbers(namespace), ["1", "1", "1"], "what was there before");
    }
}
