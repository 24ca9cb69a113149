//! One environment over two real clusters (R30, R34): what is deployed to both at once, in waves, and what becomes of a run when the API
//! server of one of them is away or a release does not come up in one of them, with manifests and with charts.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, quota, said, wait_for};
use promo_tests::kubernetes::{ControlPlane, Helm, Namespace};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// `eu` in the cluster that the tests share, `us` and `asia` in another.
async fn pipeline(by: By, plane: &ControlPlane) -> Option<Pipeline> {
    let namespaces = vec![Namespace::new()?, Namespace::on(plane), Namespace::on(plane)];
    let pipeline = Pipeline::on(namespaces, |namespaces| {
        let at = |name: &str, cluster: &str, place: usize| {
            format!("{name} = {{ cluster = \"{cluster}\", namespace = \"{}\" }}\n", namespaces[place].name())
        };
        format!(
            "{}[environments.world]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"smoke\"]\n\
             waves = [{{ targets = [\"eu\", \"us\"], at_once = 2 }}, {{ targets = [\"asia\"] }}]\n\
             [environments.world.targets]\n{}{}{}",
            by.settings("timeout = \"90s\"\n"),
            at("eu", "one", 0),
            at("us", "other", 1),
            at("asia", "other", 2)
        )
    })
    .await
    .with(by);
    let cluster = |name: &str, place: usize| {
        let file = pipeline.namespaces[place].kubeconfig();
        format!("[cluster.{name}]\nkubeconfig = {file:?}\ncontext = \"admin\"\n")
    };
    pipeline.write("clusters.toml", &format!("format = 1\n{}{}", cluster("one", 0), cluster("other", 1)));
    Some(pipeline)
}

/// What the next release declares, with what becomes of its pod.
fn web(behaves: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
    )
}

fn image(namespace: &Namespace) -> String {
    kubectl(namespace, &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"])
}

fn images(pipeline: &Pipeline) -> Vec<String> {
    pipeline.namespaces.iter().map(image).collect()
}

/// What runs, each pod.
const RUNNING: &str = "jsonpath={.items[?(@.status.phase==\"Running\")].spec.containers[0].image}";

/// The revision of helm that is deployed.
fn deployed(namespace: &Namespace) -> String {
    let path = "jsonpath={.items[*].metadata.labels.version}";
    kubectl(namespace, &["get", "secrets", "-l", "owner=helm,status=deployed", "-o", path])
}

/// Has the pods of a namespace get ready that are not yet.
fn heal(namespace: &Namespace) {
    // One that goes away meanwhile is healed as well.
    let _ = namespace.kubectl().args(["annotate", "pods", "--all", "--overwrite", "promo.test/kubelet=run"]).output();
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// promo at work, and what it says meanwhile.
struct Work {
    child: Child,
    said: PathBuf,
}

impl Work {
    fn begin(pipeline: &Pipeline, words: &[&str]) -> Self {
        let said = pipeline.path("said");
        let file = File::create(&said).unwrap();
        let child = pipeline.promo(words).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, said }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    fn goes_on(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
    }

    /// How it ends, while pods get ready there.
    fn ended(mut self, healed: &[&Namespace]) -> (Option<i32>, String) {
        until("it does not end", || {
            healed.iter().for_each(|namespace| heal(namespace));
            self.child.try_wait().unwrap().is_some()
        });
        (self.child.wait().unwrap().code(), self.said())
    }
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r34_two_clusters_are_deployed_to_at_once_and_one_that_is_away_interrupts_the_run_which_a_resume_ends() {
        let Some(mut plane) = ControlPlane::private() else { return };
        for by in [By::Kubectl, By::Helm(Helm::Four)] {
            let Some(pipeline) = pipeline(by, &plane).await else { return };
            let [eu, us, asia] = &pipeline.namespaces[..] else { panic!("three of them") };
            pipeline.declare("", &web("run"));
            pipeline.release("1.0.0").await;
            pipeline.ends(0, &["advance"]);
            let first = image(eu);
            assert!(first.contains("/team/web@sha256:"), "{first}");
            assert_eq!(images(&pipeline), vec![first.clone(); 3]);

            // Neither gets ready: the second of a wave has begun while the first is waited for, and the next wave has not.
            pipeline.declare("", &web("notready"));
            pipeline.release("1.1.0").await;
            pipeline.ends(0, &["plan", "world", "--out", "plan.json"]);
            let mut apply = Work::begin(&pipeline, &["apply", "plan.json"]);
            until("not both of the first wave were begun", || {
                apply.goes_on();
                image(eu) != first && image(us) != first
            });
            let second = image(eu);
            assert_eq!([image(us), image(asia)], [second.clone(), first.clone()], "one wave after the other");
            until("the one does not come there", || {
                heal(us);
                apply.said().contains("world/deploy/us: ")
            });
            apply.goes_on();

            // By the time the other one has come there the cluster of the next wave is away.
            tokio::task::block_in_place(|| plane.stop_apiserver());
            let (code, told) = apply.ended(&[eu]);
            assert_eq!(code, Some(75), "nothing was seen to go wrong: {told}");
            assert!(told.contains("promo resume") && told.contains("world/deploy/eu: "), "{told}");
            let run = pipeline.unfinished().expect("what is half done is named");
            // As long as there is nobody to ask, a resume says so and changes nothing.
            let early = pipeline.ends(75, &["resume", &run]);
            assert!(early.contains("promo resume"), "{early}");
            assert_eq!(image(eu), second, "what runs is left");

            tokio::task::block_in_place(|| plane.start_apiserver());
            let (code, told) = Work::begin(&pipeline, &["resume", &run]).ended(&[us, asia]);
            assert_eq!(code, Some(0), "{told}");
            assert_eq!(images(&pipeline), vec![second.clone(); 3]);
            pipeline.ends(0, &["plan", "world", "--detailed-exitcode"]);

            // A plan tells what it cannot look at, and begins nothing.
            tokio::task::block_in_place(|| plane.stop_apiserver());
            pipeline.release("1.2.0").await;
            let away = pipeline.promo(&["advance"]).output().unwrap();
            let told = said(&away);
            assert_eq!(away.status.code(), Some(75), "{told}");
            assert!(told.contains("provider-transient"), "{told}");
            assert_eq!(image(eu), second);
            assert_eq!(pipeline.unfinished(), None, "nothing was begun");
            pipeline.ends(0, &["ledger", "verify"]);
            tokio::task::block_in_place(|| plane.start_apiserver());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r34_what_does_not_come_up_in_one_of_two_clusters_goes_back_in_both_and_never_reaches_the_waves_after_it() {
        let Some(plane) = ControlPlane::private() else { return };
        // Where it fails, and where it is deployed to until then.
        for (helm, fails, reached) in
            [(Helm::Three, "us", &["eu", "us"][..]), (Helm::Four, "asia", &["eu", "us", "asia"])]
        {
            let Some(pipeline) = pipeline(By::Helm(helm), &plane).await else { return };
            let place = |name: &str| ["eu", "us", "asia"].iter().position(|place| *place == name).unwrap();
            pipeline.declare("", &web("run"));
            pipeline.release("1.0.0").await;
            pipeline.ends(0, &["advance"]);
            let first = images(&pipeline);
            // The pod of before stays until the new one is ready, and there is room for one alone.
            quota(&pipeline.namespaces[place(fails)], "small", "pods", 1);
            pipeline.edit("promo.toml", "\"90s\"", "\"10s\"");
            pipeline.release("1.1.0").await;
            let told = pipeline.ends(40, &["advance"]);
            let at = format!("world/deploy/{fails}");
            assert!(told.contains(&at) && told.contains("exceeded quota: small"), "{helm:?}, {fails}: {told}");
            assert_eq!(images(&pipeline), first, "{helm:?}, {fails}: {told}");
            for name in ["eu", "us", "asia"] {
                // There, and back again.
                let revisions = if reached.contains(&name) { 3 } else { 1 };
                let namespace = &pipeline.namespaces[place(name)];
                assert_eq!(deployed(namespace), format!("{revisions}"), "{helm:?}, {fails}: {name}");
                let runs = || kubectl(namespace, &["get", "pods", "-l", "app=web", "-o", RUNNING]) == first[0];
                wait_for("the pods of before alone", runs);
            }
            assert_eq!(pipeline.unfinished(), None);
            pipeline.ends(0, &["drift", "world", "--detailed-exitcode"]);
            pipeline.ends(0, &["ledger", "verify"]);
        }
    }
}
