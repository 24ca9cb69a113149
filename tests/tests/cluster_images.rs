//! promo as a process, and which images a deployment to a namespace lets run, with manifests and with charts (S2.5, R2): what runs is read back, what
//! can move is refused, and what the release does not name is told.
#![cfg(target_os = "linux")]

use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl};

/// A pipeline of two namespaces.
async fn world(by: By, also: &str) -> Option<Pipeline> {
    let pipeline = Pipeline::new(2, |namespaces| {
        let dev = Pipeline::environment("dev", "development", "", &namespaces[0]);
        let staging = Pipeline::environment("staging", "staging", "after = [\"dev\"]\n", &namespaces[1]);
        format!("{}{dev}{staging}", by.settings(&format!("timeout = \"10s\"\n{also}")))
    });
    let pipeline = pipeline.await?.with(by);
    pods(&pipeline, "run", "");
    Some(pipeline)
}

/// What the next release declares: pods that behave so, with further containers, and further objects.
fn pods(pipeline: &Pipeline, behaves: &str, containers: &str) {
    let image = pipeline.by.image();
    pipeline.objects(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
         spec:\n      containers:\n      - {{ name: web, image: \"{image}\" }}\n{containers}"
    ));
}

fn image_in(namespace: &Namespace) -> String {
    kubectl(namespace, &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"])
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_what_runs_is_read_back_and_another_image_than_the_release_s_is_rolled_back() {
        for by in By::ALL {
            let Some(world) = world(by, "").await else { return };
            world.release("1.0.0").await;
            world.ends(0, &["plan", "dev", "--out", "first.json"]);
            let plan: serde_json::Value = serde_json::from_str(&world.read("first.json")).unwrap();
            let tree = &plan["body"]["moves"][0]["steps"][0]["inputs"]["artifacts"]["web"]["tree"];
            // A node may name the manifest of its own platform, below the index that was asked for.
            pods(&world, &format!("run, promo.test/runs: {}", tree[0]), "");
            world.ends(0, &["advance"]);
            let good = image_in(&world.namespaces[0]);
            let other = format!("sha256:{}", "0".repeat(64));
            pods(&world, &format!("run, promo.test/runs: {other}"), "");
            world.release("1.1.0").await;
            let said = world.ends(40, &["advance"]);
            assert!(said.contains("Deployment/web container web runs ") && said.contains(&other), "{by:?}: {said}");
            assert_eq!(world.namespaces.iter().map(image_in).collect::<Vec<_>>(), [good.clone(), good], "{by:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r2_a_tag_in_a_manifest_is_refused_unless_policy_lets_it_and_told_where_it_does() {
        for by in By::ALL {
            let Some(world) = world(by, "").await else { return };
            pods(&world, "run", "      - { name: debug, image: \"tools.example/debug:1\" }\n");
            let moves = "the image tools.example/debug:1 can move";
            // Which images a chart names is known once it is rendered, by the plan.
            let said = world.ends(if by == By::Kubectl { 65 } else { 0 }, &["check"]);
            assert_eq!(said.contains(moves), by == By::Kubectl, "{said}");
            let policy = "format = 1\n[policy]\nname = \"platform\"\nversion = 1\n\
                          [tiers.development]\nmovable_images = [\"tools.example\"]\n\
                          [tiers.staging]\nmovable_images = [\"tools.example/debug\"]\n";
            world.write("policy.toml", policy);
            let ours = ["--policy", "policy.toml"];
            world.push("1.0.0").await;
            world.ends(0, &[&["release", "add", "web=1.0.0"][..], &ours].concat());
            world.write("next.toml", &policy.replace("version = 1", "version = 2").replace("development", "testing"));
            let said = world.ends(0, &["plan", "dev", "--policy", "next.toml"]);
            assert!(said.contains(moves) && said.contains("refused"), "{by:?}: {said}");
            let said = world.ends(0, &[&["plan", "dev"][..], &ours].concat());
            assert!(said.contains("also runs tools.example/debug:1 (its tag can move)"), "{by:?}: {said}");
            let said = world.ends(0, &[&["advance"][..], &ours].concat());
            assert!(said.contains("also runs tools.example/debug@sha256:"), "what it was at that moment: {said}");
            assert!(image_in(&world.namespaces[1]).contains("/team/web@sha256:"), "{by:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r2_what_a_custom_resource_runs_is_judged_in_parts_and_under_the_keys_that_are_named_as_well() {
        for by in By::ALL {
            let Some(world) = world(by, "image_keys = [\"runtime\"]\n").await else { return };
            let group = format!("{}.example.com", world.namespaces[0].name());
            world.definitions(&format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
                 spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  \
                 versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{ openAPIV3Schema: {{ type: object, \
                 properties: {{ spec: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }} }}\n"
            ));
            let shop = |spec: &str| {
                pods(
                    &world,
                    "run",
                    &format!("---\napiVersion: {group}/v1\nkind: Shop\nmetadata: {{ name: corner }}\nspec: {spec}\n"),
                );
            };
            let digest = format!("sha256:{}", "a".repeat(64));
            for (number, spec) in
                ["{ image: { name: \"tools.example/one:latest\" } }", "{ runtime: \"tools.example/one:3\" }"]
                    .iter()
                    .enumerate()
            {
                shop(spec);
                // Manifests are read before there is a release of them.
                let said = if by == By::Kubectl {
                    world.ends(65, &["check"])
                } else {
                    world.release(&format!("1.{number}.0")).await;
                    let said = world.ends(0, &["plan", "dev"]);
                    assert!(said.contains("refused"), "{by:?}, {spec}: {said}");
                    said
                };
                let moves = said.contains("the image tools.example/one:") && said.contains(" can move");
                assert!(moves, "{by:?}, {spec}: {said}");
            }
            shop(&format!("{{ runtime: \"tools.example/one@{digest}\" }}"));
            world.release("2.0.0").await;
            let said = world.ends(0, &["plan", "dev", "--out", "plan.json"]);
            assert!(said.contains("also runs tools.example/one@sha256:aaaaaaaaaaaa"), "{by:?}: {said}");
            world.ends(0, &["apply", "plan.json"]);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            kubectl(&world.namespaces[0], &["delete", "crd", &format!("shops.{group}")]);
        }
    }
}
