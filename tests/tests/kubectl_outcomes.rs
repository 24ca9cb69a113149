//! promo as a process against clusters that say no: quotas, rights, other managers, images that are not to be had, a namespace that goes
//! away. Each has its outcome, and nothing is half-applied without being named.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_engine::clock::SystemClock;
use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network, Store};
use promo_tests::binary;
use promo_tests::kubernetes::Namespace;

const IMAGE: &str = "registry.test/shop@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A pipeline of one namespace.
struct World {
    namespace: Namespace,
    directory: tempfile::TempDir,
}

impl World {
    /// With the first release in place.
    async fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let world = Self { namespace, directory: tempfile::tempdir().unwrap() };
        world.write(
            "promo.toml",
            &format!(
                "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.web]\nimage = \"oci-layout:registry/web\"\ntags = \"[0-9]*\"\n\
                 [defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\ntimeout = \"5s\"\n\
                 [checks.smoke]\ncommand = {{ run = [\"true\"] }}\n[environments.dev]\ntier = \"development\"\nstart = \"auto\"\n\
                 verify = [\"smoke\"]\ntarget = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
                world.namespace.name()
            ),
        );
        world.user("admin");
        world.manifests("1", 2, "run", "");
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

    /// As whom promo speaks to the cluster.
    fn user(&self, user: &str) {
        let kubeconfig = self.namespace.kubeconfig_of(user);
        let text = format!("format = 1\n[cluster.kit]\nkubeconfig = {kubeconfig:?}\ncontext = \"{user}\"\n");
        self.write("clusters.toml", &text);
    }

    /// What the next release declares: a map with that value, and pods that behave so.
    fn manifests(&self, value: &str, replicas: u8, behaves: &str, also: &str) {
        self.write(
            "manifests/all.yaml",
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata: {{ key: \"{value}\" }}\n---\n\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: {replicas}\n  \
                 selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
                 metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
                 spec: {{ containers: [{{ name: web, image: \"{IMAGE}\" }}] }}\n{also}"
            ),
        );
    }

    async fn release(&self, tag: &str) {
        let location: Location = "oci-layout:registry/web".parse().unwrap();
        let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
        std::fs::create_dir_all(self.path("registry")).unwrap();
        let store = Store::open(&location, self.directory.path(), &network).unwrap();
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
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let output = self.namespace.kubectl().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The value of the map: which release it is of.
    fn value(&self) -> String {
        self.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.key}"])
    }
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_image_that_cannot_be_had_and_pods_over_quota_are_told_and_rolled_back() {
        let Some(world) = World::new().await else { return };
        world.manifests("2", 2, "imagepull", "");
        world.release("1.1.0").await;
        let said = world.ends(40, &["advance"]);
        assert!(said.contains("ImagePullBackOff") || said.contains("ErrImagePull"), "{said}");
        assert_eq!(world.value(), "1");
        // The objects fit, their pods do not.
        let Some(world) = World::new().await else { return };
        world.kubectl(&["create", "quota", "small", "--hard=pods=3"]);
        world.manifests("3", 9, "run", "");
        world.release("1.1.0").await;
        let said = world.ends(40, &["advance"]);
        assert!(said.contains("exceeded quota: small"), "{said}");
        assert_eq!(world.value(), "1");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_cluster_would_refuse_is_told_by_the_plan_and_nothing_of_it_is_applied() {
        let Some(world) = World::new().await else { return };
        // Objects over quota.
        let maps = world.kubectl(&["get", "configmaps", "-o", "name"]).lines().count();
        world.kubectl(&["create", "quota", "maps", &format!("--hard=configmaps={maps}")]);
        let used = || world.kubectl(&["get", "quota", "maps", "-o", "jsonpath={.status.used.configmaps}"]);
        let deadline = Instant::now() + Duration::from_secs(20);
        while used() != maps.to_string() {
            assert!(Instant::now() < deadline, "the quota is not counted");
            std::thread::sleep(Duration::from_millis(50));
        }
        let more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n";
        world.manifests("2", 2, "run", more);
        world.release("1.1.0").await;
        let said = world.ends(1, &["advance"]);
        assert!(
            said.contains("error[provider-denied]")
                && said.contains("ConfigMap/more")
                && said.contains("exceeded quota: maps"),
            "{said}"
        );
        assert_eq!(world.value(), "1");
        world.kubectl(&["delete", "quota", "maps"]);
        // Somebody without rights to what is declared.
        world.kubectl(&["create", "role", "some", "--verb=*", "--resource=secrets,configmaps,namespaces"]);
        world.kubectl(&["create", "rolebinding", "some", "--role=some", "--user=deployer"]);
        world.user("deployer");
        let said = world.ends(1, &["advance"]);
        assert!(said.contains("deployments.apps") && said.contains("deployer"), "{said}");
        assert_eq!(world.value(), "1");
        world.user("admin");
        // A field that another manager has taken.
        let theirs = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { key: theirs }\n";
        world.write("theirs.yaml", theirs);
        let file = world.path("theirs.yaml").display().to_string();
        world.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=autoscaler", "-f", &file]);
        let said = world.ends(22, &["advance"]);
        assert!(said.contains("ConfigMap/a: data.key belongs to \"autoscaler\""), "{said}");
        assert_eq!(world.value(), "theirs", "and it is theirs still");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_namespace_that_is_deleted_while_a_run_waits_leaves_it_held_and_named() {
        let Some(world) = World::new().await else { return };
        let promo = std::fs::read_to_string(world.path("promo.toml")).unwrap();
        world.write("promo.toml", &promo.replace("\"5s\"", "\"60s\""));
        world.manifests("2", 2, "notready", "");
        world.release("1.1.0").await;
        let child = world.promo(&["advance"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while world.value() != "2" {
            assert!(Instant::now() < deadline, "nothing was applied");
            std::thread::sleep(Duration::from_millis(50));
        }
        world.kubectl(&["delete", "namespace", world.namespace.name(), "--wait=false"]);
        let output = child.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(41), "{said}");
        assert!(
            said.contains("is gone") || said.contains("was deleted") || said.contains("is being deleted"),
            "{said}"
        );
        world.ends(0, &["ledger", "verify"]);
    }
}
