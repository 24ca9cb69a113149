//! Checks that fail on a real cluster, asked by promo as a process (R33, R34, S9.6, S10): whichever of them it is, at once or while the
//! release is watched, the release of before comes back by itself with its image and its configuration, or what failed stays and is held.
//! Each time the ledger names the check.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, wait_for};
use promo_tests::kubernetes::{Helm, Namespace};
use promo_tests::prometheus::Prometheus;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ASK_IMAGE: &str = "tools.example/ask@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A release, as it is told apart from another one.
struct Release<'a> {
    number: u8,
    /// What is written on its pods besides.
    pods: &'a str,
    /// Which pods its Service takes.
    serves: &'a str,
}

const FIRST: Release<'_> = Release { number: 1, pods: "", serves: "web" };

/// One namespace in which releases are judged by a check.
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
    async fn new(by: By, check: &str, also: &str) -> Option<Self> {
        let world = Self::empty(by, check, also).await?;
        world.adds(&FIRST).await;
        world.ends(0, &["advance"]);
        Some(world)
    }

    /// `check` is the table of the check `judge`, and `also` are further lines of the environment.
    async fn empty(by: By, check: &str, also: &str) -> Option<Self> {
        Some(Self::on(Namespace::new()?, by, check, also).await)
    }

    async fn on(namespace: Namespace, by: By, check: &str, also: &str) -> Self {
        let pipeline = Pipeline::on(vec![namespace], |namespaces| {
            format!(
                "{}[checks.judge]\n{check}\n[environments.dev]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"judge\"]\n{also}\
                 target = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
                by.settings("timeout = \"30s\"\n"),
                namespaces[0].name()
            )
        });
        let world = Self { pipeline: pipeline.await.with(by) };
        world.asks("well");
        world
    }

    /// The Job that a check asks: how its pod ends.
    fn asks(&self, how: &str) {
        self.write(
            "ask.yaml",
            &format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: ask }}\nspec:\n  backoffLimit: 0\n  template:\n    \
                 metadata: {{ annotations: {{ promo.test/kubelet: {how}, promo.test/log: \"expected 200, found 500\" }} }}\n    \
                 spec:\n      restartPolicy: Never\n      containers: [{{ name: ask, image: \"{ASK_IMAGE}\" }}]\n"
            ),
        );
    }

    /// Adds a release.
    async fn adds(&self, release: &Release<'_>) {
        let Release { number, pods, serves } = release;
        self.declare(
            &number.to_string(),
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata: {{ key: \"KEY\" }}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\n\
                 spec: {{ selector: {{ app: {serves} }}, ports: [{{ port: 80, protocol: TCP }}] }}\n---\n\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  \
                 selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
                 metadata: {{ labels: {{ app: web, number: \"{number}\" }}, annotations: {{ number: \"{number}\"{pods} }} }}\n    \
                 spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
            ),
        );
        self.release(&format!("1.{number}.0")).await;
    }

    /// What is in the cluster: the image, the template of its pods, the map, and whom the Service takes.
    fn live(&self) -> Vec<String> {
        let get = |kind: &str, name: &str, path: &str| {
            kubectl(self.dev(), &["get", kind, name, "-o", &format!("jsonpath={{{path}}}")])
        };
        vec![
            get("deployment", "web", ".spec.template.spec.containers[*].image"),
            get("deployment", "web", ".spec.template.metadata"),
            get("configmap", "a", ".data"),
            get("service", "web", ".spec.selector"),
        ]
    }

    /// What runs, by the pods that are there to stay.
    fn image_of_pods(&self) -> Vec<String> {
        let path = "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.spec.containers[0].image}{\"\\n\"}{end}";
        let mut images: Vec<String> =
            kubectl(self.dev(), &["get", "pods", "-l", "app=web", "-o", path]).lines().map(String::from).collect();
        images.dedup();
        images
    }

    /// The last release failed by that word of the check, in these words, and everything is as it was before.
    fn went_back(&self, before: &[String], word: &str) {
        let by = self.by;
        assert_eq!(self.live(), before, "{by:?}");
        self.names_the_check("rolled-back", word);
        // Nothing is done by itself any more, and nothing of it is under way.
        let plan = self.ends(20, &["plan", "dev", "--detailed-exitcode"]);
        assert!(plan.contains("automatic promotion is paused after a rollback"), "{by:?}: {plan}");
        self.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        self.ends(0, &["ledger", "verify"]);
        assert_eq!(self.unfinished(), None, "{by:?}");
        // Pods that go away, and those of a Job that was taken away, take a moment.
        wait_for("the pods of before", || self.image_of_pods() == before[..1]);
        wait_for("no Job", || kubectl(self.dev(), &["get", "jobs", "-o", "name"]).is_empty());
    }

    /// This release fails by that word of the check and stays, and whoever types what is told gets back.
    async fn is_held(&self, release: &Release<'_>, word: &str) {
        let before = self.live();
        self.adds(release).await;
        let said = self.ends(41, &["advance"]);
        let held = self.live();
        // Of the Service nothing is changed but by a release that leads it elsewhere.
        let other = if release.serves == FIRST.serves { 3 } else { 4 };
        assert!(held.iter().zip(&before).take(other).all(|(held, before)| held != before), "{held:?}");
        wait_for("the pods of what is held", || self.image_of_pods() == held[..1]);
        self.names_the_check("held", word);
        assert_eq!(self.unfinished(), None);
        let typed = self.follow(said, |_| self.live() == before);
        assert!(typed.iter().any(|words| words.starts_with("rollback dev")), "{typed:?}");
        self.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        self.ends(0, &["ledger", "verify"]);
    }

    /// The ledger says how the last release ended, and by which check.
    fn names_the_check(&self, outcome: &str, word: &str) {
        let last = self.last("dev");
        let says = |told: &Value, whose: &str| {
            let told = told.as_str().unwrap_or_default();
            assert!(told.contains("judge") && told.contains(word), "{whose}: {told}");
        };
        assert_eq!(last["outcome"], outcome, "{last:#}");
        says(&last["why"], "history");
        let release = last["to"].as_str().unwrap().to_owned();
        let why = self.json(0, &["why", "dev", &release]);
        assert_eq!(why["failed"], outcome, "{why:#}");
        says(&why["failed_because"], "why");
        says(&Value::from(self.ends(0, &["why", "dev", &release]).replace("\n", " ")), "why, as text");
        let runs = self.json(0, &["runs"]);
        assert_eq!((&runs["runs"][0]["run"], &runs["runs"][0]["outcome"]), (&last["run"], &outcome.into()), "{runs:#}");
        let run = last["run"].as_str().unwrap();
        says(&Value::from(self.ends(0, &["show", run])), "the run");
    }
}

/// What tells of a release without being a part of it: a check asks there, and what it says is another thing for each release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// Prometheus, which counts errors of what runs.
    Metric,
    /// A Deployment of somebody else, which does not run beside the second release.
    Rollout,
    /// Whatever the Service leads to, over HTTP.
    Http,
}

impl Witness {
    /// The first release in place, judged by the witness; with it what has to be kept for as long as that lasts.
    async fn world(self, by: By, also: &str) -> Option<(World, JoinSet<()>)> {
        let mut kept = JoinSet::new();
        let namespace = Namespace::new()?;
        let prometheus = if self == Self::Metric { Some(Prometheus::start()?) } else { None };
        let check = match (self, &prometheus) {
            (Self::Metric, Some(server)) => format!(
                "metric = {{ source = \"numbers\", query = \"errors\", max = \"0.25\" }}\n\
                 [sources.numbers]\nprometheus = \"{}\"",
                server.address()
            ),
            (Self::Rollout, _) => {
                let front = ["create", "deployment", "front", &format!("--image={ASK_IMAGE}")];
                kubectl(&namespace, &front);
                "rollout = { objects = [\"Deployment/front\"], timeout = \"3s\" }".into()
            }
            _ => format!("http = {{ url = \"{}\" }}", front(&namespace, &mut kept).await),
        };
        let client = namespace.client().await;
        kept.spawn(tend(self, client, namespace.name().to_owned(), prometheus));
        let world = World::on(namespace, by, &check, also).await;
        world.adds(&self.release(1)).await;
        world.ends(0, &["advance"]);
        Some((world, kept))
    }

    /// A release of which it knows before its pods are ready.
    fn release(self, number: u8) -> Release<'static> {
        let serves = if self == Self::Http && number == 2 { "nobody" } else { "web" };
        Release { number, pods: ", promo.test/kubelet: notready", serves }
    }

    /// What is said of the second release.
    fn says(self) -> &'static str {
        match self {
            Self::Metric => "9 is not at most 0.25",
            Self::Rollout => "Deployment/front: ",
            Self::Http => "503",
        }
    }
}

/// Has the pods of whatever release is there get ready, once the witness knows which one that is: so no check asks too early,
/// neither on the way there nor on the way back.
async fn tend(witness: Witness, client: kube::Client, namespace: String, prometheus: Option<Prometheus>) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let behave = async |of: &str, how: &str| {
        let how = Patch::Merge(json!({ "metadata": { "annotations": { "promo.test/kubelet": how } } }));
        for pod in pods.list(&ListParams::default().labels(of)).await.into_iter().flatten() {
            // One that goes away meanwhile is nobody's any more.
            let _ = pods.patch(&pod.metadata.name.unwrap(), &PatchParams::default(), &how).await;
        }
    };
    let mut known = String::new();
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(Some(web)) = deployments.get_opt("web").await else { continue };
        let number = web.spec.unwrap().template.metadata.unwrap().labels.unwrap()["number"].clone();
        if known != number {
            let well = number == "1";
            if let Some(server) = &prometheus {
                let value = if well { "0.1" } else { "9" };
                server.say(Some(&format!("errors {value}\n")));
                while server.shows("errors").as_deref() != Some(value) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            if witness == Witness::Rollout {
                let ready = async || {
                    let front = deployments.get("front").await.ok().and_then(|front| front.status);
                    front.is_some_and(|status| status.available_replicas == Some(1))
                };
                while ready().await != well {
                    behave("app=front", if well { "run" } else { "notready" }).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            known = number;
        }
        behave(&format!("number={known}"), "run").await;
    }
}

/// Answers 200 as long as the Service `web` leads to a pod that is ready, and else 503; gives where.
async fn front(namespace: &Namespace, kept: &mut JoinSet<()>) -> String {
    let (client, name) = (namespace.client().await, namespace.name().to_owned());
    let answer = move || {
        let (services, pods) =
            (Api::<Service>::namespaced(client.clone(), &name), Api::<Pod>::namespaced(client.clone(), &name));
        async move {
            let selector = services.get("web").await.unwrap().spec.unwrap().selector.unwrap();
            let of = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            let pods = pods.list(&ListParams::default().labels(&of)).await.unwrap();
            let conditions = pods.into_iter().filter_map(|pod| pod.status?.conditions).flatten();
            let ready =
                conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
            if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    kept.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    address
}

const JOB: &str = "job = { manifest = \"ask.yaml\", timeout = \"30s\" }";
const ENDPOINTS: &str = "endpoints = { service = \"web\", min = 2, timeout = \"6s\" }";

mod needs_kubernetes {
    use super::*;

    mod needs_helm {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn s2_4_what_fails_its_smoke_job_goes_back_with_its_values_and_is_judged_by_the_job_of_then() {
            for by in By::ALL {
                let Some(world) = World::new(by, JOB, "").await else { return };
                let before = world.live();
                world.asks("fail");
                world.adds(&Release { number: 2, ..FIRST }).await;
                let said = world.ends(40, &["advance"]);
                assert!(said.contains("✗ judge: ") && said.contains("ask exited with 1"), "{said}");
                assert!(said.contains("going back to"), "{said}");
                world.went_back(&before, "expected 200, found 500");
                // Asked again it is asked by the job of then too: that of here came with what failed.
                let again = world.ends(0, &["verify", "dev"]);
                assert!(again.contains("✓ judge"), "{again}");
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s10_2_what_fails_by_its_endpoints_goes_back_with_its_service() {
            for by in By::ALL {
                let Some(world) = World::new(by, ENDPOINTS, "").await else { return };
                let before = world.live();
                world.adds(&Release { number: 2, serves: "nobody", ..FIRST }).await;
                world.ends(40, &["advance"]);
                world.went_back(&before, "has 0 ready endpoints");
            }
        }

        mod needs_prometheus {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn s9_6_what_fails_by_what_is_measured_goes_back_or_is_held() {
                goes_back_or_is_held(Witness::Metric, By::Helm(Helm::Three)).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s9_6_what_fails_by_a_rollout_beside_it_goes_back_or_is_held() {
            goes_back_or_is_held(Witness::Rollout, By::Helm(Helm::Four)).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s9_6_what_does_not_answer_goes_back_or_is_held() {
            goes_back_or_is_held(Witness::Http, By::Kubectl).await;
        }
    }

    /// It goes back, but where it is deployed with that: there it is held, until somebody types what is told.
    async fn goes_back_or_is_held(witness: Witness, held: By) {
        for by in By::ALL {
            let also = if by == held { "on_failure = \"hold\"\n" } else { "" };
            let Some((world, _kept)) = witness.world(by, also).await else { return };
            if by == held {
                world.is_held(&witness.release(2), witness.says()).await;
            } else {
                let before = world.live();
                world.adds(&witness.release(2)).await;
                world.ends(40, &["advance"]);
                world.went_back(&before, witness.says());
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_6_what_writes_errors_goes_back_and_its_lines_do_not_count_against_what_is_there_again() {
        let logs = "logs = { pattern = \"^ERROR\", since = \"10m\" }";
        let Some(world) = World::new(By::Kubectl, logs, "").await else { return };
        let before = world.live();
        world.adds(&Release { number: 2, pods: ", promo.test/log: \"ERROR no route\"", ..FIRST }).await;
        world.ends(40, &["advance"]);
        world.went_back(&before, "ERROR no route");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s3_1_what_fails_while_it_is_watched_goes_back() {
        let Some(world) = World::new(By::Kubectl, ENDPOINTS, "").await else { return };
        let before = world.live();
        world.edit("promo.toml", "verify = ", "watch = { for = \"5m\", every = \"1s\" }\nverify = ");
        world.adds(&Release { number: 2, ..FIRST }).await;
        let mut child = world.promo(&["advance"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            // Its check has passed: now its pods fall ill.
            if line.contains("watched for") && line.contains("asked 0 times") {
                let words = ["annotate", "pods", "-l", "number=2", "promo.test/kubelet=notready"];
                kubectl(world.dev(), &words);
            }
            said.push_str(&format!("{line}\n"));
        }
        assert_eq!(child.wait().unwrap().code(), Some(40), "{said}");
        assert!(said.contains("✓ judge: ") && said.contains("✗ judge: ") && said.contains("going back to"), "{said}");
        world.went_back(&before, "while it was watched: ");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_6_what_is_held_stays_and_the_commands_that_are_told_lead_back() {
        let Some(world) = World::new(By::Kubectl, ENDPOINTS, "on_failure = \"hold\"\n").await else { return };
        world.is_held(&Release { number: 2, serves: "nobody", ..FIRST }, "has 0 ready endpoints").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_6_where_the_way_back_fails_its_check_as_well_it_is_held_and_both_are_told() {
        let front = ENDPOINTS.replace("web", "front");
        let Some(world) = World::empty(By::Kubectl, &front, "").await else { return };
        // It is nobody's release: what is broken about it, no way back mends.
        let leads_to =
            |app: &str| kubectl(world.dev(), &["set", "selector", "service", "front", &format!("app={app}")]);
        kubectl(world.dev(), &["create", "service", "clusterip", "front", "--tcp=80"]);
        leads_to("web");
        world.adds(&FIRST).await;
        world.ends(0, &["advance"]);
        let before = world.live();
        leads_to("nobody");
        world.adds(&Release { number: 2, ..FIRST }).await;
        let said = world.ends(41, &["advance"]);
        assert_eq!(world.live(), before, "{said}");
        world.names_the_check("held", "the rollback failed: judge failed");
        // Once that is mended, what is told leads on.
        leads_to("web");
        let typed = world.follow(said, |said| said.contains("is verified"));
        assert!(typed.iter().any(|words| words.starts_with("why dev")), "{typed:?}");
        assert_eq!(world.live()[0], before[0]);
        world.ends(0, &["ledger", "verify"]);
    }
}
