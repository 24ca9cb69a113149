//! One environment over two real clusters (R30, R34): what is deployed to both at once, in waves, and what becomes of a run when the API
//! server of one of them is away.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use promo_tests::kubernetes::pipeline::{Pipeline, kubectl, said};
use promo_tests::kubernetes::{ControlPlane, Namespace};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// `eu` in the cluster that the tests share, `us` and `asia` in another.
async fn pipeline(plane: &ControlPlane) -> Option<Pipeline> {
    let namespaces = vec![Namespace::new()?, Namespace::on(plane), Namespace::on(plane)];
    let pipeline = Pipeline::on(namespaces, |namespaces| {
        let at = |name: &str, cluster: &str, place: usize| {
            format!("{name} = {{ cluster = \"{cluster}\", namespace = \"{}\" }}\n", namespaces[place].name())
        };
        format!(
            "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\nimages = {{ \"shop/web\" = \"web\" }}\n\
             timeout = \"90s\"\n\
             [environments.world]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"smoke\"]\n\
             waves = [{{ targets = [\"eu\", \"us\"], at_once = 2 }}, {{ targets = [\"asia\"] }}]\n\
             [environments.world.targets]\n{}{}{}",
            at("eu", "one", 0),
            at("us", "other", 1),
            at("asia", "other", 2)
        )
    })
    .await;
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
        let Some(pipeline) = pipeline(&plane).await else { return };
        let [eu, us, asia] = &pipeline.namespaces[..] else { panic!("three of them") };
        pipeline.write("manifests/web.yaml", &web("run"));
        pipeline.release("1.0.0").await;
        pipeline.ends(0, &["advance"]);
        let first = image(eu);
        assert!(first.contains("/team/web@sha256:"), "{first}");
        assert_eq!(images(&pipeline), vec![first.clone(); 3]);

        // Neither gets ready: the second of a wave has begun while the first is waited for, and the next wave has not.
        pipeline.write("manifests/web.yaml", &web("notready"));
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
    }
}
