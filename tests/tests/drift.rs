//! Drift of clusters (R37): what somebody changed with a real kubectl in a real API server is told by
//! object and field.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Network, Store};
use promo_tests::binary;
use promo_tests::kubernetes::Namespace;
use promo_tests::oci_registry::{Behaviour, OciRegistry};
use serde_json::Value;

/// A pipeline of two namespaces, and the registry from which they take their image.
struct World {
    dev: Namespace,
    staging: Namespace,
    registry: OciRegistry,
    directory: tempfile::TempDir,
}

const MANIFESTS: &str = "\
# What the shop is.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2 # enough
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      containers:
        - name: web
          image: shop/web
          env:
            - name: GREETING
              value: hello
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  color: blue
  size: small
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { token: canary-secret }
";

impl World {
    async fn new() -> Option<Self> {
        let (dev, staging) = (Namespace::new()?, Namespace::new()?);
        let registry = OciRegistry::start(Behaviour::default()).await;
        let world = Self { dev, staging, registry, directory: tempfile::tempdir().unwrap() };
        let address = world.registry.address();
        let environment = |name: &str, tier: &str, also: &str, namespace: &Namespace| {
            format!(
                "[environments.{name}]\ntier = \"{tier}\"\nstart = \"auto\"\nverify = [\"smoke\"]\n{also}\
                 target = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
                namespace.name()
            )
        };
        let pipeline = format!(
            "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.web]\nimage = \"{address}/team/web\"\ntags = \"[0-9]*\"\n\
             [defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\", \"values/{{environment}}.yaml\"]\n\
             images = {{ \"shop/web\" = \"web\" }}\ntimeout = \"30s\"\n[checks.smoke]\ncommand = {{ run = [\"true\"] }}\n{}{}",
            environment("dev", "development", "", &world.dev),
            environment("staging", "staging", "after = [\"dev\"]\n", &world.staging),
        );
        world.write("promo.toml", &pipeline);
        world.write(
            "clusters.toml",
            &format!("format = 1\n[cluster.kit]\nkubeconfig = {:?}\ncontext = \"admin\"\n", world.dev.kubeconfig()),
        );
        world.write("manifests/web.yaml", MANIFESTS);
        for name in ["dev", "staging"] {
            let own = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: own\ndata:\n  where: {name}\n");
            world.write(&format!("values/{name}.yaml"), &own);
        }
        Some(world)
    }

    /// The same with a release that runs in both.
    async fn deployed() -> Option<Self> {
        let world = Self::new().await?;
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn release(&self, tag: &str) {
        let network = Network::of(&promo_sdk::testing::context(self.directory.path())).unwrap();
        let store = Store::Registry(network.repository(self.registry.address(), "team/web").unwrap());
        let labels = [("org.opencontainers.image.version", tag)];
        image(&store, tag, &Image::new(labels, vec![tag.as_bytes().to_vec()])).await.unwrap();
        self.ends(0, &["release", "add", &format!("web={tag}")]);
    }

    fn promo(&self, words: &[&str]) -> Command {
        let mut command = binary::command(binary::promo());
        command.current_dir(self.directory.path()).args(words).env("PROMO_CLUSTERS", self.path("clusters.toml"));
        command.env("PROMO_ACTOR", "ci").env("HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    fn ends(&self, code: i32, words: &[&str]) -> String {
        let output = self.promo(words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(!said.contains("canary-secret") && !said.contains("Y2FuYXJ5"), "{words:?} tells a secret: {said}");
        said
    }

    fn json(&self, code: i32, words: &[&str]) -> Value {
        let said = self.ends(code, &[words, &["--format", "json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What somebody does by hand.
fn kubectl(namespace: &Namespace, words: &[&str]) -> String {
    let output = namespace.kubectl().args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What an answer tells of a field: its class, what was recorded, what is there and who changed it.
fn field<'v>(answer: &'v Value, object: &str, path: &str) -> &'v Value {
    let objects = answer["environments"][0]["places"][0]["objects"].as_array().unwrap();
    let object = objects.iter().find(|one| one["object"] == object).unwrap_or_else(|| panic!("{object} in {answer:#}"));
    let fields = object["fields"].as_array().unwrap();
    fields.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path} in {answer:#}"))
}

const IMAGE: &str = "spec.template.spec.containers[name=\"web\"].image";

/// A patch, a scale, another image, a deletion, a key that is gone, and what nothing declares.
fn by_hand(namespace: &Namespace) {
    kubectl(namespace, &["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"color":"red"}}"#]);
    kubectl(namespace, &["scale", "deployment", "web", "--replicas=5"]);
    kubectl(namespace, &["set", "image", "deployment/web", "web=shop/other:1"]);
    let patch = r#"{"metadata":{"annotations":{"example.com/on-call":"dana"}},"data":{"more":"Y2FuYXJ5"}}"#;
    kubectl(namespace, &["patch", "secret", "keys", "--type=merge", "-p", patch]);
    kubectl(namespace, &["delete", "configmap", "own"]);
}

mod needs_kubernetes {
    mod needs_kubectl {
        use super::super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn what_was_changed_by_hand_is_told_by_object_field_and_who_and_nothing_else_is() {
            let Some(world) = World::deployed().await else { return };
            let quiet = world.json(0, &["drift", "--detailed-exitcode"]);
            assert_eq!(quiet["differs"], false, "{quiet:#}");
            // What controllers, a restart and kubectl's own marks leave is no difference.
            kubectl(&world.dev, &["rollout", "restart", "deployment", "web"]);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            by_hand(&world.dev);
            let ledger = world.json(0, &["status"])["ledger"]["size"].clone();
            let answer = world.json(2, &["drift", "dev", "--detailed-exitcode"]);
            for (object, path, class, recorded, live, by) in [
                ("ConfigMap/settings", "data.color", "changed", "blue", "red", "kubectl-patch"),
                ("Deployment/web", "spec.replicas", "scaled", "2", "5", "kubectl"),
                ("Deployment/web", IMAGE, "image", "", "shop/other:1", "kubectl-set"),
                ("Secret/keys", "data.more", "added", "", "(masked)", "kubectl-patch"),
                ("Secret/keys", "metadata.annotations[\"example.com/on-call\"]", "added", "", "dana", "kubectl-patch"),
            ] {
                let told = field(&answer, object, path);
                let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
                assert_eq!((text("class").as_str(), text("live").as_str()), (class, live), "{told}");
                assert!(recorded.is_empty() || text("recorded") == recorded, "{told}");
                // A server before 1.22 does not keep who scaled.
                let known = !text("by").is_empty() || class != "scaled";
                assert!(!known || text("by").starts_with(by) && told["at"].is_string(), "{told}");
            }
            assert!(
                field(&answer, "Deployment/web", IMAGE)["recorded"].as_str().unwrap().contains("/team/web@sha256:")
            );
            let objects = answer["environments"][0]["places"][0]["objects"].as_array().unwrap();
            let own = objects.iter().find(|one| one["object"] == "ConfigMap/own").unwrap();
            assert_eq!(own["class"], "deleted", "{answer:#}");
            let told: usize = objects.iter().map(|one| one["fields"].as_array().map_or(0, Vec::len)).sum();
            assert_eq!((objects.len(), told), (4, 5), "nothing else: {answer:#}");
            let text = world.ends(0, &["drift", "dev"]);
            assert!(text.contains("dev: 4 objects differ from r-"), "{text}");
            assert!(text.contains("2 → 5") && text.contains("scaled") && text.contains("by kubectl-patch, "), "{text}");
            assert!(text.trim_end().lines().last().unwrap().starts_with("Next: promo plan dev --release r-"), "{text}");
            assert_eq!(world.json(0, &["status"])["ledger"]["size"], ledger, "drift wrote");
            // The other one is as it was.
            world.ends(0, &["drift", "staging", "--detailed-exitcode"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_place_that_cannot_be_looked_at_is_named_and_no_pass() {
            let Some(world) = World::deployed().await else { return };
            world.write("clusters.toml", "format = 1\n");
            let answer = world.json(1, &["drift"]);
            assert_eq!(
                (&answer["whole"], &answer["environments"][0]["state"]),
                (&false.into(), &"not-looked-at".into())
            );
            let text = world.ends(1, &["drift", "dev"]);
            assert!(
                text.contains("dev: cannot be looked at") && text.contains("nothing says where cluster `kit` is"),
                "{text}"
            );
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_promo_keeps_of_a_place_and_is_gone_is_said() {
            let Some(world) = World::deployed().await else { return };
            kubectl(&world.dev, &["delete", "secret", "promo.promo"]);
            let answer = world.json(0, &["drift", "dev"]);
            assert_eq!(answer["environments"][0]["state"], "differs");
            let note = answer["environments"][0]["places"][0]["note"].as_str().unwrap_or_default();
            assert!(note.contains("Secret/promo.promo") && note.ends_with("is gone"), "{answer:#}");
        }
    }
}
