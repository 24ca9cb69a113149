//! promo as a process against clusters that say no: quotas, rights, other managers, images that are not to be had, a namespace that goes
//! away. Each has its outcome, and nothing is half-applied without being named.
#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use promo_tests::kubernetes::pipeline::{Pipeline, kubectl, said};

const IMAGE: &str = "registry.test/shop@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A pipeline of one namespace.
struct World {
    pipeline: Pipeline,
}

impl std::ops::Deref for World {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl World {
    /// With the first release in place.
    async fn new() -> Option<Self> {
        let pipeline = Pipeline::new(1, |namespaces| {
            let deploy = "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\ntimeout = \"5s\"\n";
            format!("{deploy}{}", Pipeline::environment("dev", "development", "", &namespaces[0]))
        });
        let world = Self { pipeline: pipeline.await? };
        world.manifests("1", 2, "run", "");
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        Some(world)
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

    fn kubectl(&self, words: &[&str]) -> String {
        kubectl(&self.namespaces[0], words)
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
        world.edit("promo.toml", "\"5s\"", "\"60s\"");
        world.manifests("2", 2, "notready", "");
        world.release("1.1.0").await;
        let child = world.promo(&["advance"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while world.value() != "2" {
            assert!(Instant::now() < deadline, "nothing was applied");
            std::thread::sleep(Duration::from_millis(50));
        }
        world.kubectl(&["delete", "namespace", world.namespaces[0].name(), "--wait=false"]);
        let output = child.wait_with_output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(41), "{said}");
        assert!(
            said.contains("is gone") || said.contains("was deleted") || said.contains("is being deleted"),
            "{said}"
        );
        world.ends(0, &["ledger", "verify"]);
    }
}
