//! promo as a process of its own that promotes a chart into real namespaces (R30, R32-R34, R37), with both generations of helm: what does not
//! run is rolled back by itself, a run that was killed beside helm at work is gone on with, and what people do by hand is told.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Network, Store};
use promo_tests::binary;
use promo_tests::charts::{BOTH, web};
use promo_tests::kubernetes::{Helm, Namespace};
use promo_tests::oci_registry::{Behaviour, OciRegistry};
use serde_json::Value;

/// Objects beside the workload, each with the digest of the release.
const MANY: usize = 10;
/// Helm is broken off once it has changed so many of them.
const SOME: usize = 3;

/// A pipeline of two namespaces, and the registry from which they take their image.
struct World {
    dev: Namespace,
    staging: Namespace,
    helm: Helm,
    /// What stands in the place of helm.
    program: RefCell<Option<PathBuf>>,
    registry: OciRegistry,
    directory: tempfile::TempDir,
}

impl World {
    async fn new(helm: Helm) -> Option<Self> {
        let (dev, staging) = (Namespace::new()?, Namespace::new()?);
        let registry = OciRegistry::start(Behaviour::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let world = Self { dev, staging, helm, program: RefCell::default(), registry, directory };
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
             [defaults.deploy.helm]\nchart = \"chart\"\nname = \"shop\"\nvalues = [\"values.yaml\"]\nset = {{ replicas = 2 }}\n\
             inject = {{ \"image.repository\" = \"web.repository\", \"image.digest\" = \"web.digest\" }}\n\
             timeout = \"10s\"\n[checks.smoke]\ncommand = {{ run = [\"true\"] }}\n{}{}",
            environment("dev", "development", "", &world.dev),
            environment("staging", "staging", "after = [\"dev\"]\n", &world.staging),
        );
        world.write("promo.toml", &pipeline);
        let clusters =
            format!("format = 1\n[cluster.kit]\nkubeconfig = {:?}\ncontext = \"admin\"\n", world.dev.kubeconfig());
        world.write("clusters.toml", &clusters);
        world.write("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
        world.write("chart/templates/web.yaml", &web(", annotations: { promo.test/kubelet: {{ .Values.switch }} }"));
        world.pods("run");
        Some(world)
    }

    /// The same with a release that runs in both.
    async fn deployed(helm: Helm) -> Option<Self> {
        let world = Self::new(helm).await?;
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

    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// What becomes of the pods of the next release.
    fn pods(&self, switch: &str) {
        self.write("values.yaml", &format!("switch: {switch}\n"));
    }

    async fn release(&self, tag: &str) {
        let network = Network::of(&promo_sdk::testing::context(self.directory.path())).unwrap();
        let store = Store::Registry(network.repository(self.registry.address(), "team/web").unwrap());
        let labels = [("org.opencontainers.image.version", tag)];
        image(&store, tag, &Image::new(labels, vec![tag.as_bytes().to_vec()])).await.unwrap();
        self.ends(0, &["release", "add", &format!("web={tag}")]);
    }

    /// The same, planned for dev.
    async fn planned(&self, tag: &str) {
        self.release(tag).await;
        self.ends(0, &["plan", "dev", "--out", "plan.json"]);
    }

    fn promo(&self, words: &[&str]) -> Command {
        let mut command = binary::command(binary::promo());
        command.current_dir(self.directory.path()).args(words).env("PROMO_CLUSTERS", self.path("clusters.toml"));
        match &*self.program.borrow() {
            Some(program) => command.env("PROMO_HELM", program),
            None => command.env("PROMO_HELM", self.dev.helm(self.helm).get_program()),
        };
        // None of it counts.
        command.env("KUBECONFIG", "/nonexistent").env("HELM_NAMESPACE", "kube-system").env("HELM_DRIVER", "configmap");
        command.env("PROMO_ACTOR", "ci").env("HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    fn ends(&self, code: i32, words: &[&str]) -> String {
        let output = self.promo(words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{:?} {words:?}: {said}", self.helm);
        said
    }

    /// What the command says that is told next, as a person types it.
    fn next(&self, said: &str) -> String {
        let line = said.lines().find_map(|line| line.strip_prefix("Next: promo ")).unwrap_or_else(|| panic!("{said}"));
        self.ends(0, &shlex::split(line).unwrap().iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn json(&self, code: i32, words: &[&str]) -> Value {
        let said = self.ends(code, &[words, &["--format", "json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    /// From now on a script in the place of helm that does `body` where helm would upgrade for good; `$HELM` is the real one, and whoever makes
    /// the file `$MARK` says that it has got there.
    fn instead(&self, body: Option<&str>) {
        let program = body.map(|body| {
            let (helm, mark) = (self.dev.helm(self.helm).get_program().to_owned(), self.path("mark"));
            let (kubectl, config) = (self.dev.kubectl().get_program().to_owned(), self.dev.kubeconfig());
            let text = format!(
                "#!/bin/bash\nHELM={helm:?}\nKUBECTL={kubectl:?}\nCONFIG={config:?}\nMARK={mark:?}\n\
                 if [[ \"$1\" != upgrade || \"$*\" == *--dry-run* ]]; then exec \"$HELM\" \"$@\"; fi\n{body}\n"
            );
            self.write("helm-instead", &text);
            let file = self.path("helm-instead");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        });
        *self.program.borrow_mut() = program;
        let _ = std::fs::remove_file(self.path("mark"));
    }

    /// Applies the plan, and kills promo as soon as `there`; gives the run that it leaves.
    fn killed(&self, there: impl Fn() -> bool) -> String {
        let mut child =
            self.promo(&["apply", "plan.json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(there);
        assert!(child.try_wait().unwrap().is_none(), "{:?}: it is at work", self.helm);
        child.kill().unwrap();
        child.wait().unwrap();
        let runs = self.json(0, &["runs", "--unfinished"]);
        runs["runs"][0]["run"].as_str().unwrap_or_else(|| panic!("{runs:#}")).to_owned()
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let output = self.dev.kubectl().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn there(&self, kind: &str, name: &str) -> bool {
        self.dev.kubectl().args(["get", kind, name]).output().unwrap().status.success()
    }

    fn image_in(namespace: &Namespace) -> String {
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        let output = namespace.kubectl().args(["get", "deployment", "web", "-o", path]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many of the objects beside the workload have the digest of its image.
    fn alike(&self) -> usize {
        let digest = Self::image_in(&self.dev);
        let digest = digest.split_once('@').map(|(_, digest)| digest).unwrap_or_default();
        self.data().iter().filter(|found| *found == digest).count()
    }

    fn data(&self) -> Vec<String> {
        let found = self.kubectl(&["get", "configmaps", "-l", "many=yes", "-o", "jsonpath={.items[*].data.key}"]);
        found.split_whitespace().map(String::from).collect()
    }

    fn status(&self) -> String {
        let output = self.dev.helm(self.helm).args(["status", "shop", "-o", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        status["info"]["status"].as_str().unwrap_or_default().to_owned()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn wait_for(there: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn many() -> String {
    format!(
        "{{{{- range $i := until {MANY} }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: m{{{{ $i }}}}, labels: {{ many: \"yes\" }} }}\n\
         data: {{ key: {{{{ $.Values.image.digest }}}} }}\n{{{{- end }}}}\n"
    )
}

/// helm, which takes its time between two requests about an object.
const SLOW: &str = "\"$HELM\" \"$@\" --qps=5 --burst-limit=1";

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_does_not_run_is_rolled_back_and_goes_no_further() {
        for helm in BOTH {
            let Some(world) = World::deployed(helm).await else { return };
            world.ends(0, &["check"]);
            let good = World::image_in(&world.dev);
            assert!(good.contains("/team/web@sha256:") && good == World::image_in(&world.staging), "{good}");
            // What does not run is waited for shortly; what comes back is waited for as long as it was then.
            world.edit("promo.toml", "\"10s\"", "\"5s\"");
            for (tag, switch, reason) in [
                ("1.1.0", "crash", "CrashLoopBackOff"),
                ("1.2.0", "imagepull", "ImagePull"),
                ("1.3.0", "notready", "1 of 2 pods"),
            ] {
                world.pods(switch);
                world.release(tag).await;
                let plan = world.ends(0, &["plan", "dev"]);
                assert!(plan.contains("Deployment/web") && plan.contains(switch), "{plan}");
                let said = world.ends(40, &["advance"]);
                world.ends(0, &["unfreeze", "dev", "--reason", "the next one is better", "--actor-kind", "human"]);
                assert!(said.contains("not settled within 5 s: Deployment/web: ") && said.contains(reason), "{said}");
                let images = (World::image_in(&world.dev), World::image_in(&world.staging));
                assert_eq!((images, world.status()), ((good.clone(), good.clone()), "deployed".into()), "{helm:?}");
            }
            // What was left behind is what the release before declares, and nothing is under way.
            world.ends(0, &["drift", "--detailed-exitcode"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_killed_before_during_or_after_the_writes_of_helm_is_gone_on_with_to_its_end() {
        for helm in BOTH {
            let Some(world) = World::new(helm).await else { return };
            world.edit("promo.toml", "\"10s\"", "\"60s\"");
            world.write("chart/templates/many.yaml", &many());
            world.release("1.0.0").await;
            world.ends(0, &["advance"]);
            let marked = || world.path("mark").exists();
            for (number, body) in [
                "touch \"$MARK\"; sleep 600".to_owned(),
                format!("touch \"$MARK\"; exec {SLOW}"),
                "\"$HELM\" \"$@\" && touch \"$MARK\"; sleep 600".to_owned(),
            ]
            .iter()
            .enumerate()
            {
                world.planned(&format!("1.{}.0", number + 1)).await;
                let (before, image) = (world.data(), World::image_in(&world.dev));
                let changed = || world.data().iter().zip(&before).filter(|(now, before)| now != before).count();
                world.instead(Some(body));
                let run = world.killed(|| marked() && (number != 1 || changed() >= SOME));
                world.instead(None);
                // Nothing of helm outlives promo: what it did by then stays as it is.
                let (now, all) = (changed(), MANY);
                match number {
                    0 => assert_eq!((now, world.status().as_str()), (0, "deployed"), "{helm:?}"),
                    1 => assert!(now >= SOME && now < all && world.status() == "pending-upgrade", "{helm:?}: {now}"),
                    _ => assert_eq!((now, world.status().as_str()), (all, "deployed"), "{helm:?}"),
                }
                world.ends(0, &["resume", &run]);
                assert_ne!(World::image_in(&world.dev), image, "{helm:?} {number}");
                assert_eq!((world.alike(), world.status().as_str()), (MANY, "deployed"), "{helm:?} {number}");
                world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            }
            // Also of a revision that it could not record as made by it any more.
            world.kubectl(&["patch", "configmap", "m0", "--type=merge", "-p", r#"{"data":{"key":"by hand"}}"#]);
            let answer = world.json(2, &["drift", "dev", "--detailed-exitcode"]);
            let place = &answer["environments"][0]["places"][0];
            assert_eq!(place["note"].as_str(), None, "{helm:?}: {answer:#}");
            assert_eq!(place["objects"][0]["fields"][0]["by"], "kubectl-patch", "{helm:?}: {answer:#}");
            world.ends(0, &["ledger", "verify"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_killed_before_or_during_its_writes_is_rolled_back_and_after_them_it_is_done() {
        for helm in BOTH {
            let Some(world) = World::new(helm).await else { return };
            world.write("chart/templates/many.yaml", &many());
            world.release("1.0.0").await;
            world.ends(0, &["advance"]);
            let good = World::image_in(&world.dev);
            let during = format!(
                "old=$(\"$KUBECTL\" --kubeconfig \"$CONFIG\" get configmap m0 -o 'jsonpath={{.data.key}}')\n{SLOW} & pid=$!\n\
                 until [ $(\"$KUBECTL\" --kubeconfig \"$CONFIG\" get configmaps -l many=yes -o 'jsonpath={{.items[*].data.key}}' | tr ' ' '\\n' | grep -vc $old) -ge {SOME} ]\n\
                 do sleep 0.05; done\nkill -9 $pid; wait $pid; exit 137"
            );
            for (number, (body, code)) in
                [("kill -9 $$", 40), (&during, 40), ("\"$HELM\" \"$@\"; kill -9 $$", 0)].into_iter().enumerate()
            {
                world.planned(&format!("1.{}.0", number + 1)).await;
                world.instead(Some(body));
                // Only the way there: the way back takes helm as it is.
                if code == 40 {
                    let body = format!("if [ -e \"$MARK\" ]; then exec \"$HELM\" \"$@\"; fi; touch \"$MARK\"\n{body}");
                    world.instead(Some(&body));
                }
                let said = world.ends(code, &["apply", "plan.json"]);
                let same = World::image_in(&world.dev) == good;
                assert_eq!((same, world.alike()), (code == 40, MANY), "{helm:?} {number}: {said}");
                assert_eq!(world.status(), "deployed", "{helm:?} {number}: {said}");
                world.instead(None);
                world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
                if code == 40 {
                    world.ends(0, &["unfreeze", "dev", "--reason", "it was helm", "--actor-kind", "human"]);
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_killed_while_it_waits_for_a_hook_is_rolled_back_and_what_is_told_next_leads_on() {
        for helm in BOTH {
            let Some(world) = World::new(helm).await else { return };
            world.write("chart/templates/many.yaml", &many());
            world.release("1.0.0").await;
            world.ends(0, &["advance"]);
            let good = World::image_in(&world.dev);
            // The way back takes helm as it is.
            let waits = "if [ -e \"$MARK\" ]; then exec \"$HELM\" \"$@\"; fi\n\"$HELM\" \"$@\" & pid=$!\n\
                 until \"$KUBECTL\" --kubeconfig \"$CONFIG\" get job slow -o name; do sleep 0.05; done 2>/dev/null\n\
                 \"$KUBECTL\" --kubeconfig \"$CONFIG\" get deployment web -o 'jsonpath={..image}' > \"$MARK\"\n\
                 kill -9 $pid; wait $pid 2>/dev/null; exit 137";
            // Before its objects, and after all of them.
            for (number, when) in ["pre-upgrade", "post-upgrade"].into_iter().enumerate() {
                world.write("chart/templates/slow.yaml", &promo_tests::charts::hook("slow", when, "notready"));
                world.planned(&format!("1.{}.0", number + 1)).await;
                world.instead(Some(waits));
                let said = world.ends(40, &["apply", "plan.json"]);
                let found = std::fs::read_to_string(world.path("mark")).unwrap();
                assert_eq!(found == good, when == "pre-upgrade", "{helm:?} {when}: when it was killed: {found}");
                world.instead(None);
                // All of it is as it was and nothing is under way, but for the Job of the hook, of which both tell.
                let now = (World::image_in(&world.dev), world.alike(), world.status());
                assert_eq!(now, (good.clone(), MANY, "deployed".to_owned()), "{helm:?} {when}: {said}");
                assert!(said.contains("Job/slow"), "{helm:?} {when}: {said}");
                let drift = world.ends(2, &["drift", "dev", "--detailed-exitcode"]);
                assert!(drift.contains("Job/slow (left of a hook of revision "), "{helm:?} {when}: {drift}");
                let runs = world.json(0, &["runs", "--unfinished"]);
                assert_eq!(runs["runs"].as_array().map(Vec::len), Some(0), "{helm:?} {when}: {runs:#}");
                world.kubectl(&["delete", "job", "slow"]);
                world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
                // What is told next says what became of it, and by what.
                let why = world.next(&said);
                assert!(why.contains("failed in dev and was rolled back there") && why.contains("helm: "), "{why}");
                assert!(why.ends_with("Next: promo release add web=TAG\n"), "{why}");
                world.ends(0, &["unfreeze", "dev", "--reason", "it was helm", "--actor-kind", "human"]);
            }
            // And that leads on, as soon as the hook comes to its end.
            world.write("chart/templates/slow.yaml", &promo_tests::charts::hook("slow", "post-upgrade", "well"));
            world.release("1.3.0").await;
            world.ends(0, &["advance"]);
            assert_ne!(World::image_in(&world.dev), good, "{helm:?}");
            assert_eq!((world.alike(), world.status().as_str()), (MANY, "deployed"), "{helm:?}");
            world.ends(0, &["ledger", "verify"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_killed_while_helm_waits_for_a_hook_and_one_killed_in_promo_s_own_wait_are_gone_on_with() {
        for helm in BOTH {
            let Some(world) = World::deployed(helm).await else { return };
            world.edit("promo.toml", "\"10s\"", "\"60s\"");
            // promo waits for pods, once helm has come to its end.
            let before = World::image_in(&world.dev);
            world.pods("notready");
            world.planned("1.1.0").await;
            let run = world.killed(|| World::image_in(&world.dev) != before && world.status() == "deployed");
            let heal = |pods: &str| {
                let patch = r#"{"metadata":{"annotations":{"promo.test/kubelet":"well"}}}"#;
                let path = "jsonpath={.items[*].metadata.name}";
                for pod in world.kubectl(&["get", "pods", "-l", pods, "-o", path]).split_whitespace() {
                    let _ = world.dev.kubectl().args(["patch", "pod", pod, "--type=merge", "-p", patch]).output();
                }
            };
            let resumed = |run: &str, pods: &str| {
                let mut child =
                    world.promo(&["resume", run]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                while child.try_wait().unwrap().is_none() {
                    heal(pods);
                    std::thread::sleep(Duration::from_millis(100));
                }
                let output = child.wait_with_output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{helm:?}: {}", said(&output));
            };
            resumed(&run, "app=web");
            // helm waits for a hook, after its objects and before it says that it is done.
            world.pods("run");
            let slow = promo_tests::charts::hook("slow", "post-upgrade", "notready");
            world.write("chart/templates/slow.yaml", &slow);
            world.planned("1.2.0").await;
            let before = World::image_in(&world.dev);
            let run = world.killed(|| world.there("job", "slow"));
            assert_eq!(world.status(), "pending-upgrade", "{helm:?}");
            // The hook is made anew, and ends as soon as its pod does.
            resumed(&run, "job-name=slow");
            assert_ne!(World::image_in(&world.dev), before);
            assert_eq!(world.status(), "deployed");
            world.ends(0, &["resume", &run]);
            world.ends(0, &["ledger", "verify"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_somebody_else_has_left_half_way_is_left_alone_until_the_commands_that_are_told_are_typed() {
        for helm in BOTH {
            let Some(world) = World::deployed(helm).await else { return };
            let chart = world.path("chart").display().to_string();
            let mut person = world.dev.helm(helm);
            person.args(["upgrade", "shop", &chart, "--reuse-values", "--set", "switch=notready", "--wait"]);
            let mut person = person.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            wait_for(|| world.status() == "pending-upgrade");
            person.kill().unwrap();
            person.wait().unwrap();
            world.release("1.1.0").await;
            let said = world.ends(1, &["plan", "dev"]);
            assert!(said.contains("revision 2 of the release shop is pending-upgrade"), "{said}");
            // Every verb that looks leads to what shows it and names what ends it, and a check that passes there says nothing of the release.
            let next = |said: &str| said.lines().rev().find_map(|line| Some(line.strip_prefix("Next: ")?.to_owned()));
            let look = next(&said).unwrap();
            assert!(
                look.starts_with("helm history shop --kubeconfig ")
                    && said.contains("`helm rollback shop 1 --kubeconfig "),
                "{said}"
            );
            for (code, words) in [(1, &["drift", "dev"][..]), (1, &["adopt", "dev"]), (21, &["verify", "dev"])] {
                let said = world.ends(code, words);
                assert_eq!(next(&said), Some(look.clone()), "{words:?}: {said}");
            }
            assert!(world.ends(21, &["verify", "dev"]).contains("(not recorded)"));
            let at = said.find("`helm rollback shop 1 ").unwrap_or_else(|| panic!("{said}"));
            let command = said[at + 1..].split('`').next().unwrap().replace('\n', " ");
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            assert!(world.dev.helm(helm).args(&words).status().unwrap().success(), "{words:?}");
            world.ends(0, &["advance"]);
            assert_eq!(world.status(), "deployed");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn drift_of_a_release_is_told_by_field_and_taken_back_by_the_plan_that_it_names() {
        for helm in BOTH {
            let Some(world) = World::deployed(helm).await else { return };
            world.ends(0, &["drift", "--detailed-exitcode"]);
            world.kubectl(&["set", "env", "deployment/web", "DEBUG=1"]);
            world.kubectl(&["scale", "deployment", "web", "--replicas=5"]);
            let answer = world.json(2, &["drift", "dev", "--detailed-exitcode"]);
            let objects = answer["environments"][0]["places"][0]["objects"].as_array().unwrap();
            let fields: Vec<(&str, &str)> = objects
                .iter()
                .flat_map(|object| object["fields"].as_array().unwrap())
                .map(|field| (field["path"].as_str().unwrap(), field["class"].as_str().unwrap()))
                .collect();
            let env = "spec.template.spec.containers[name=\"web\"].env";
            assert!(fields.contains(&("spec.replicas", "scaled")), "{helm:?}: {answer:#}");
            assert!(
                fields.iter().any(|(path, class)| path.starts_with(env) && *class == "added"),
                "{helm:?}: {answer:#}"
            );
            let text = world.ends(0, &["drift", "dev"]);
            assert!(text.contains("2 → 5") && text.contains("by kubectl-set, "), "{text}");
            // What files would have to say cannot be told of a chart, and that is said.
            let text = world.ends(0, &["adopt", "dev"]);
            let shared =
                "change `values.yaml` (shared: a change of it is a new release) by hand to keep it. What was added";
            assert!(text.contains(shared), "{text}");
            assert!(text.contains("Also: promo release add web=TAG   (dev: keep it, once files that"), "{text}");
            assert!(text.contains(" set env deployment.apps/web --containers=web DEBUG-   (dev: take away"), "{text}");
            assert!(text.lines().last().unwrap().starts_with("Next: promo plan dev --release "), "{text}");
            world.ends(65, &["adopt", "dev", "--write"]);
            // Once somebody has changed that file, only a release brings it.
            world.write("values.yaml", "switch: run\n# kept\n");
            let text = world.ends(0, &["adopt", "dev"]);
            assert!(text.contains("enters only with a new one: `values.yaml`."), "{text}");
            assert_eq!(text.lines().last(), Some("Next: promo release add web=TAG"), "{text}");
            world.pods("run");
            let next = answer["next"].as_str().unwrap().to_owned();
            let words: Vec<&str> = next.split(' ').skip(1).collect();
            let said = world.ends(0, &words);
            assert!(said.contains("Deployment/web spec.replicas 5 → 2"), "{said}");
            world.ends(0, &["apply", words.last().unwrap()]);
            assert_eq!(world.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"]), "2");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_that_does_not_tell_its_version_is_told_with_how_it_ended_and_leads_to_this_machine() {
        let Some(world) = World::deployed(Helm::Four).await else { return };
        world.release("1.1.0").await;
        let file = world.path("no-helm");
        std::fs::write(&file, "#!/bin/sh\necho boom >&2\nexit 3\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        *world.program.borrow_mut() = Some(file);
        let said = world.ends(1, &["plan", "dev"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("could not be asked for its version: it ended with 3: boom"), "{said}");
        assert!(!said.contains("release add") && said.ends_with("Next: promo doctor"), "{said}");
        // One cluster that nobody names leads there too, and says who named the file.
        world.write("clusters.toml", "format = 2\n");
        let text = world.ends(0, &["plan", "staging"]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("(PROMO_CLUSTERS names this file)") && text.ends_with("Next: promo doctor"), "{text}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rollback_by_hand_is_kept_by_no_file_and_leads_back_with_promo_or_forward_again() {
        for helm in BOTH {
            let Some(world) = World::deployed(helm).await else { return };
            world.release("1.1.0").await;
            world.ends(0, &["advance"]);
            assert!(world.dev.helm(helm).args(["rollback", "shop", "1"]).status().unwrap().success());
            world.ends(0, &["drift", "dev"]);
            let text = world.ends(0, &["adopt", "dev"]);
            for words in [
                "revision 3 of release shop was made by hand, and no file keeps a revision: an older release is kept by going back to it \
                 with promo",
                "The image is the release's",
                "Also: promo rollback dev --out back.plan.json   (dev: go back with promo)",
            ] {
                assert!(text.contains(words), "{helm:?}: {words}: {text}");
            }
            // Going back with promo is what keeps it.
            let plan = world.ends(0, &["rollback", "dev", "--out", "back.plan.json"]);
            assert!(plan.contains("keeps what was changed by hand on default"), "{plan}");
            world.ends(0, &["apply", "back.plan.json"]);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_runs_already_is_adopted_as_a_plan_names_it() {
        for helm in BOTH {
            let Some(world) = World::new(helm).await else { return };
            world.release("1.0.0").await;
            let release = world.json(0, &["release", "list"]);
            let source = release["releases"][0]["artifacts"]["web"].to_string();
            let digest = &source[source.find("sha256:").unwrap()..][..71];
            let (chart, values) =
                (world.path("chart").display().to_string(), world.path("values.yaml").display().to_string());
            let set = format!("image.digest={digest},image.repository={}/team/web", world.registry.address());
            let words = ["install", "shop", &chart, "--values", &values, "--set", &set];
            assert!(world.dev.helm(helm).args(words).status().unwrap().success());
            let generation = || {
                world.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.metadata.uid} {.metadata.generation}"])
            };
            let before = generation();
            let refused = world.ends(1, &["plan", "dev"]);
            assert!(refused.contains("promo has not made it"), "{refused}");
            assert!(refused.contains("`promo adopt dev --out dev.plan.json` plans it"), "{refused}");
            assert!(refused.contains("write `adopt = true` beside the `chart` of its `deploy.helm`"), "{refused}");
            let refused = world.ends(65, &["adopt", "dev", "--out", "dev.plan.json"]);
            assert!(refused.contains("`adopt = true` beside the `chart` of its `deploy.helm`"), "{refused}");
            assert!(refused.contains("Next: promo explain request-invalid\n"), "{refused}");
            world.edit("promo.toml", "timeout = \"10s\"", "timeout = \"10s\"\nadopt = true");
            let plan = world.ends(0, &["adopt", "dev", "--out", "adopt.json", "--full"]);
            assert!(plan.contains("owner of the release") && plan.contains("helm, by hand: revision 1"), "{plan}");
            world.ends(0, &["apply", "adopt.json"]);
            assert_eq!(
                (generation(), world.status().as_str()),
                (before, "deployed"),
                "{helm:?}: nothing was restarted"
            );
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            world.ends(0, &["advance"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s8_2_a_plan_made_with_one_helm_is_stale_under_another() {
        let [three, four] = BOTH;
        let Some(mut world) = World::deployed(three).await else { return };
        world.planned("1.1.0").await;
        let plan = std::fs::read_to_string(world.path("plan.json")).unwrap();
        assert!(plan.contains("\"program helm\": \"v3.") || plan.contains("\"program helm\":\"v3."), "{plan}");
        let before = World::image_in(&world.dev);
        world.helm = four;
        let said = world.ends(22, &["apply", "plan.json"]);
        assert!(said.contains("program helm") && said.contains("v3.") && said.contains("v4."), "{said}");
        assert_eq!(World::image_in(&world.dev), before);
        // A run that has begun begins nothing more under another one.
        world.helm = three;
        world.instead(Some("touch \"$MARK\"; sleep 600"));
        world.ends(0, &["plan", "--until", "staging", "--out", "plan.json"]);
        let run = world.killed(|| world.path("mark").exists());
        world.instead(None);
        world.helm = four;
        let output = world.promo(&["resume", &run]).output().unwrap();
        assert!(super::said(&output).contains("program helm"), "{}", super::said(&output));
        assert_eq!(World::image_in(&world.staging), before, "nothing new was begun");
    }
}
