//! Which images `deploy.kubectl` lets run, and what it reads back of those that do (S2.5, R2).
#![cfg(target_os = "linux")]

use std::time::Duration;

use promo_providers::kubectl::Kubectl;
use promo_sdk::{Inputs, ObserveRequest, Provider as _, Settled};
use promo_tests::kubernetes::world::{DIGEST, World};
use serde_json::json;

const NEXT: &str = "sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7";

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 1\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    \
                   spec: { containers: [{ name: web, image: shop/web }] }\n";

/// The same of another release.
fn next(mut inputs: Inputs) -> Inputs {
    for artifact in inputs.artifacts.values_mut() {
        artifact.digest = NEXT.parse().expect("it is a digest");
    }
    inputs
}

fn digests(settled: &Settled) -> Vec<Option<String>> {
    settled.images.iter().map(|image| image.digest.map(|digest| digest.to_string())).collect()
}

/// A pod beside those of the Deployment, with their labels.
fn beside(world: &World, behaves: &str) {
    let overrides = json!({
        "metadata": { "annotations": { "promo.test/kubelet": behaves } },
        "spec": { "containers": [{ "name": "web", "image": format!("registry.test/shop/web@{DIGEST}") }] },
    });
    let overrides = format!("--overrides={overrides}");
    world.kubectl(&["run", "beside", "--image=replaced", "--labels=app=web", &overrides]);
}

/// A kind that somebody defined, and an object of it.
fn shop(world: &World, spec: &str) -> [String; 2] {
    let group = format!("{}.example.com", world.namespace.name());
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
         spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  \
         versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{ openAPIV3Schema: {{ type: object, \
         properties: {{ spec: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }} }}\n"
    );
    let shop = format!("apiVersion: {group}/v1\nkind: Shop\nmetadata: {{ name: corner }}\nspec: {spec}\n");
    [definition, shop]
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r2_images_of_custom_resources_are_the_release_s_or_are_told_under_whatever_key_they_stand() {
        let Some(world) = World::new() else { return };
        let [definition, object] = shop(
            &world,
            "{ image: \"shop/web:latest\", initImage: \"tools.test/init:1\", runtime: \"shop/web\", engine: \"tools.test/engine:2\", \
             cache: { image: { repository: tools.test/cache, tag: \"7\" } } }",
        );
        let inputs = world.with(&[&definition, &object], json!({ "image_keys": ["runtime", "engine"] }));
        let preview = world.deploy(&inputs).await;
        let ours = format!("registry.test/shop/web@{DIGEST}");
        let expected = [&ours, "tools.test/cache:7", "tools.test/engine:2", "tools.test/init:1"];
        assert_eq!(preview.images, expected, "what policy judges");
        assert_eq!(world.kubectl.lint(&world.cx, &inputs).await.unwrap(), expected, "and check");
        let shops = format!("shops.{}.example.com", world.namespace.name());
        let spec =
            world.kubectl(&["get", &shops, "corner", "-o", "jsonpath={.spec.image} {.spec.runtime} {.spec.initImage}"]);
        assert_eq!(spec, format!("{ours} {ours} tools.test/init:1"));
        world.kubectl(&["delete", "crd", &shops]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_a_pod_of_before_that_was_evicted_says_nothing_of_what_runs_now() {
        let Some(world) = World::new() else { return };
        let first = world.inputs(&[WEB]);
        world.deploy(&first).await;
        assert_eq!(digests(&world.settle(&first).await.unwrap()), [Some(DIGEST.to_owned())]);
        let [pod] = &world.names("pods")[..] else { panic!("one pod") };
        let evicted = r#"{"status":{"phase":"Failed","reason":"Evicted"}}"#;
        world.kubectl(&["patch", "pod", pod, "--subresource=status", "--type=merge", "-p", evicted]);
        assert_eq!(digests(&world.settle(&first).await.unwrap()), [Some(DIGEST.to_owned())]);
        let second = next(world.inputs(&[WEB]));
        world.deploy(&second).await;
        let settled = world.settle(&second).await.unwrap();
        assert!(world.names("pods").contains(pod), "a cluster keeps what was evicted");
        assert_eq!(digests(&settled), [Some(NEXT.to_owned())], "{settled:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_a_pod_that_just_starts_is_waited_for_and_one_that_never_does_is_told() {
        let Some(world) = World::new() else { return };
        let inputs = world.inputs(&[WEB]);
        world.deploy(&inputs).await;
        world.settle(&inputs).await.unwrap();
        beside(&world, "imagepull");
        let short = world.with(&[WEB], json!({ "timeout": 2 }));
        let late = world.settle(&short).await.unwrap();
        assert_eq!(digests(&late), [None, Some(DIGEST.to_owned())], "{late:?}");
        // Also one that no machine has taken yet, of which nothing is said at all.
        for behaves in ["imagepull", "pending"] {
            world.kubectl(&["delete", "pod", "beside", "--wait=true"]);
            beside(&world, behaves);
            // A task of its own: it waits while kubectl works.
            let (kubectl, cx) = (Kubectl::default(), world.cx.clone());
            let request = ObserveRequest { inputs: inputs.clone() };
            let settled = tokio::spawn(async move { kubectl.settle(&cx, &request).await });
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!settled.is_finished(), "it was not waited for");
            world.kubectl(&["annotate", "pod", "beside", "--overwrite", "promo.test/kubelet=well"]);
            let settled = settled.await.unwrap().unwrap();
            assert_eq!(digests(&settled), [Some(DIGEST.to_owned())], "{settled:?}");
        }
    }

    /// A machine on which whatever was waited for took all of the time that there was.
    struct Late(std::sync::atomic::AtomicI64);

    #[async_trait::async_trait]
    impl promo_sdk::Clock for Late {
        fn now(&self) -> jiff::Timestamp {
            let hours = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(hours)
        }

        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_what_runs_is_read_back_also_where_nothing_is_left_of_the_time_of_the_step() {
        let Some(world) = World::new() else { return };
        let inputs = world.inputs(&[WEB]);
        world.deploy(&inputs).await;
        world.settle(&inputs).await.unwrap();
        let late = promo_sdk::Context { clock: std::sync::Arc::new(Late(0.into())), ..world.cx.clone() };
        let settled = Kubectl::default().settle(&late, &ObserveRequest { inputs }).await.unwrap();
        assert_eq!(digests(&settled), [Some(DIGEST.to_owned())], "{settled:?}");
    }
}
