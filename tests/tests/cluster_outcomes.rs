//! promo as a process against clusters that say no, with manifests and with charts of both generations of helm: quotas, rights, other managers,
//! images that are not to be had, a namespace that goes away, a server that does. Each has its outcome, and nothing is half-applied without
//! being named.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use base64::Engine as _;
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, quota, said, wait_for};
use promo_tests::kubernetes::{ControlPlane, Helm, Namespace};

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
    async fn new(by: By) -> Option<Self> {
        Some(Self::on(by, Namespace::new()?).await)
    }

    async fn on(by: By, namespace: Namespace) -> Self {
        let pipeline = Pipeline::on(vec![namespace], |namespaces| {
            by.settings("timeout = \"10s\"\n") + &Pipeline::environment("dev", "development", "", &namespaces[0])
        });
        let world = Self { pipeline: pipeline.await.with(by) };
        world.declares("1", 2, "run", "");
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        world
    }

    /// What the next release declares: a map with that value, and pods that behave so.
    fn declares(&self, value: &str, replicas: u8, behaves: &str, also: &str) {
        self.objects(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata: {{ key: \"{value}\" }}\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: {replicas}\n  \
             selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
             metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
             spec: {{ containers: [{{ name: web, image: \"{IMAGE}\" }}] }}\n{also}"
        ));
    }

    fn kubectl(&self, words: &[&str]) -> String {
        kubectl(&self.namespaces[0], words)
    }

    /// Types, as a person, the command that an answer ends with.
    fn types(&self, code: i32, said: &str) -> String {
        let line = said.lines().rev().find_map(|line| line.strip_prefix("Next: promo ")).unwrap();
        let mut words = shlex::split(line).unwrap();
        words.extend(["--actor-kind".to_owned(), "human".to_owned()]);
        self.ends(code, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The value of the map: which release it is of.
    fn value(&self) -> String {
        self.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.key}"])
    }

    /// Gives `deployer` what promo needs.
    fn grant(&self) {
        let verbs = "--verb=get,list,watch,create,update,patch,delete";
        let resources = "--resource=namespaces,secrets,configmaps,pods,deployments.apps";
        self.kubectl(&["create", "role", "deploys", verbs, resources]);
        self.kubectl(&["create", "rolebinding", "deploys", "--role=deploys", "--user=deployer"]);
    }
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_image_that_cannot_be_had_and_pods_over_quota_are_told_and_rolled_back() {
        for by in By::ALL {
            let Some(world) = World::new(by).await else { return };
            // With helm this is tried in helm_runs.rs.
            if by == By::Kubectl {
                world.declares("2", 2, "imagepull", "");
                world.release("1.1.0").await;
                let said = world.ends(40, &["advance"]);
                assert!(said.contains("ImagePullBackOff") || said.contains("ErrImagePull"), "{said}");
                assert_eq!(world.value(), "1");
                world.ends(0, &["unfreeze", "dev", "--reason", "the next one is better", "--actor-kind", "human"]);
            }
            // The objects fit, their pods do not.
            quota(world.dev(), "small", "pods", 3);
            world.declares("3", 9, "run", "");
            world.release("1.2.0").await;
            let said = world.ends(40, &["advance"]);
            assert!(said.contains("exceeded quota: small"), "{by:?}: {said}");
            assert_eq!(world.value(), "1", "{by:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }
    }

    /// What promo's own first deployment left half-way is nothing of others: a newer release goes on by itself.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_first_deployment_that_failed_is_gone_on_with_by_automation_and_is_no_takeover() {
        for by in By::ALL {
            let Some(namespace) = Namespace::new() else { return };
            let pipeline = Pipeline::on(vec![namespace], |namespaces| {
                by.settings("timeout = \"10s\"\n") + &Pipeline::environment("dev", "development", "", &namespaces[0])
            });
            let world = World { pipeline: pipeline.await.with(by) };
            world.declares("1", 1, "imagepull", "");
            world.release("1.0.0").await;
            world.ends(41, &["advance"]);
            world.declares("2", 1, "run", "");
            world.release("1.1.0").await;
            let said = world.promo(&["advance"]).output().map(|output| super::said(&output)).unwrap();
            assert!(!said.contains("would take over"), "{by:?}: {said}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_cluster_would_refuse_is_told_by_the_plan_and_nothing_of_it_is_applied() {
        for by in By::ALL {
            let Some(world) = World::new(by).await else { return };
            // Objects over quota.
            let maps = world.kubectl(&["get", "configmaps", "-o", "name"]).lines().count();
            quota(world.dev(), "maps", "configmaps", maps);
            let more = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n";
            world.declares("2", 2, "run", more);
            world.release("1.1.0").await;
            let said = world.ends(1, &["advance"]);
            assert!(
                said.contains("error[provider-denied]")
                    && said.contains("ConfigMap/more")
                    && said.contains("exceeded quota: maps"),
                "{by:?}: {said}"
            );
            assert_eq!(world.value(), "1", "{by:?}");
            world.kubectl(&["delete", "quota", "maps"]);
            // Somebody without rights to what is declared.
            world.kubectl(&["create", "role", "some", "--verb=*", "--resource=secrets,configmaps,namespaces"]);
            world.kubectl(&["create", "rolebinding", "some", "--role=some", "--user=deployer"]);
            world.until("deployer", true);
            world.user("deployer");
            let said = world.ends(1, &["advance"]);
            let denied = said.contains("error[provider-denied]") && said.contains("deployments.apps");
            assert!(denied && said.contains("deployer"), "{by:?}: {said}");
            assert_eq!(world.value(), "1", "{by:?}");
            world.user("admin");
            // A field that another manager has taken.
            let theirs = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { key: theirs }\n";
            world.write("theirs.yaml", theirs);
            let file = world.path("theirs.yaml").display().to_string();
            world.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=autoscaler", "-f", &file]);
            // Another plan meets it again: as where it is planned.
            let said = world.ends(1, &["advance"]);
            assert!(said.contains("ConfigMap/a: data.key belongs to \"autoscaler\""), "{by:?}: {said}");
            assert!(said.contains("error[provider-conflict]"), "{by:?}: {said}");
            assert_eq!(world.value(), "theirs", "{by:?}: and it is theirs still");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rights_that_are_lost_between_the_plan_and_its_apply_are_missed_before_anything_is_begun() {
        for by in By::ALL {
            let Some(world) = World::new(by).await else { return };
            world.grant();
            world.until("deployer", true);
            world.user("deployer");
            world.declares("2", 2, "run", "");
            world.release("1.1.0").await;
            world.ends(0, &["plan", "dev", "--out", "plan.json"]);
            world.kubectl(&["delete", "rolebinding", "deploys"]);
            world.until("deployer", false);
            let said = world.ends(1, &["apply", "plan.json"]);
            assert!(said.contains("error[provider-denied]") && said.contains("deployer"), "{by:?}: {said}");
            assert_eq!((world.value().as_str(), world.unfinished()), ("1", None), "{by:?}: {said}");
            // The same plan, once they are there again.
            world.kubectl(&["create", "rolebinding", "deploys", "--role=deploys", "--user=deployer"]);
            world.until("deployer", true);
            world.ends(0, &["apply", "plan.json"]);
            assert_eq!(world.value(), "2", "{by:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_namespace_that_is_deleted_while_a_run_waits_leaves_it_held_and_what_is_told_leads_out() {
        for by in By::ALL {
            let Some(world) = World::new(by).await else { return };
            let namespace = world.dev().name().to_owned();
            world.edit("promo.toml", "\"10s\"", "\"60s\"");
            // It goes with the namespace.
            quota(world.dev(), "small", "pods", 2);
            world.declares("2", 3, "run", "");
            world.release("1.1.0").await;
            let child = world.promo(&["advance"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            wait_for("nothing was applied", || world.value() == "2" && waits(&world));
            world.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
            let output = child.wait_with_output().unwrap();
            let told = said(&output);
            assert_eq!(output.status.code(), Some(41), "{by:?}: {told}");
            assert!(
                told.contains("is gone") || told.contains("was deleted") || told.contains("is being deleted"),
                "{by:?}: {told}"
            );
            world.ends(0, &["ledger", "verify"]);
            // What is told, typed: as long as there is no namespace it is missed by name.
            let told = world.types(0, &told);
            wait_for("the namespace stays", || {
                !world.dev().kubectl().args(["get", "namespace", &namespace]).output().unwrap().status.success()
            });
            let missed = world.types(65, &told);
            assert!(missed.contains(&format!("has no namespace {namespace}")), "{by:?}: {missed}");
            assert!(missed.contains("who owns the cluster makes it"), "{by:?}: {missed}");
            let looked = world.types(1, &missed);
            assert!(looked.contains(&format!("has no namespace {namespace}")), "{by:?}: {looked}");
            world.kubectl(&["create", "namespace", &namespace]);
            let planned = world.types(0, &told);
            world.types(0, &planned);
            assert_eq!((world.value().as_str(), world.unfinished()), ("2", None), "{by:?}");
            world.ends(0, &["plan", "dev", "--detailed-exitcode"]);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_namespace_that_is_on_its_way_out_nothing_counts_as_deployed_or_verified() {
        let Some(world) = World::new(By::Kubectl).await else { return };
        let namespace = world.dev().name().to_owned();
        // Something in it is still waited for, so that everything else can be seen as before.
        world.kubectl(&["create", "configmap", "stays"]);
        let keep = |finalizers: &str| {
            let patch = format!("{{\"metadata\":{{\"finalizers\":{finalizers}}}}}");
            world.kubectl(&["patch", "configmap", "stays", "--type=merge", "-p", &patch]);
        };
        keep("[\"promo.test/stays\"]");
        world.kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
        let leaves = format!("namespace {namespace} of cluster kit is being deleted");
        for (code, words) in [(1, &["drift", "dev"][..]), (1, &["doctor"])] {
            let said = world.ends(code, words);
            assert!(said.contains(&leaves), "{words:?}: {said}");
        }
        let planned = world.ends(0, &["plan", "dev"]);
        assert!(!planned.contains("everything is where it should be"), "{planned}");
        keep("null");
    }

    /// Whether what changes the cluster has come to its end, and the run only waits for pods.
    fn waits(world: &World) -> bool {
        let secret = match world.by {
            By::Kubectl => "promo.promo",
            By::Helm(_) => "promo.helm.shop",
        };
        let kept = world.kubectl(&["get", "secret", secret, "-o", "jsonpath={.data.*}"]);
        let packed = base64::engine::general_purpose::STANDARD.decode(kept.trim()).unwrap_or_default();
        let mut kept = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut kept).is_ok()
            && kept.contains("\"applied\"")
    }

    /// How many maps there are, and after how many of them the server goes away.
    const MANY: usize = 24;
    const SOME: usize = 4;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_is_stopped_while_helm_writes_interrupts_the_run_which_a_resume_ends() {
        let Some(mut plane) = ControlPlane::private() else { return };
        for helm in [Helm::Three, Helm::Four] {
            let world = World::on(By::Helm(helm), Namespace::on(&plane)).await;
            let many = |value: &str| {
                let map = |n| {
                    format!(
                        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: m{n} }}\ndata: {{ key: \"{value}\" }}\n"
                    )
                };
                (0..MANY).map(map).collect::<String>()
            };
            let changed = || {
                let values = world.kubectl(&["get", "configmaps", "-o", "jsonpath={.items[*].data.key}"]);
                values.split(' ').filter(|value| *value == "new").count()
            };
            world.declares("1", 2, "run", &many("old"));
            world.release("1.1.0").await;
            world.ends(0, &["advance"]);
            world.declares("2", 2, "run", &many("new"));
            world.release("1.2.0").await;
            world.ends(0, &["plan", "dev", "--out", "plan.json"]);
            // helm, which takes its time between two requests.
            let program = world.namespaces[0].helm(helm).get_program().to_owned();
            let slow = format!(
                "#!/bin/bash\nif [[ \"$1\" != upgrade || \"$*\" == *--dry-run* ]]; then exec {program:?} \"$@\"; fi\n\
                 exec {program:?} \"$@\" --qps=4 --burst-limit=1\n"
            );
            world.write("slow-helm", &slow);
            let file = world.path("slow-helm");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut apply = world.promo(&["apply", "plan.json"]);
            let child = apply.env("PROMO_HELM", &file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            wait_for("helm never began", || changed() >= SOME);
            tokio::task::block_in_place(|| plane.stop_apiserver());
            let output = child.wait_with_output().unwrap();
            let told = said(&output);
            assert_eq!(output.status.code(), Some(75), "{helm:?}: nothing was seen to go wrong: {told}");
            assert!(told.contains("promo resume"), "{helm:?}: {told}");
            let run = world.unfinished().expect("what is half done is named");
            // As long as there is nobody to ask, a resume says so and changes nothing.
            let early = world.ends(75, &["resume", &run]);
            assert!(early.contains("promo resume"), "{helm:?}: {early}");
            tokio::task::block_in_place(|| plane.start_apiserver());
            let left = changed();
            assert!((SOME..MANY).contains(&left), "{helm:?}: {left} of {MANY}");
            world.ends(0, &["resume", &run]);
            assert_eq!((changed(), world.value().as_str()), (MANY, "2"), "{helm:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            world.ends(0, &["ledger", "verify"]);
        }
    }
}
