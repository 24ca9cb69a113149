//! Checks that fail on a real cluster, asked by promo as a process (R33, R34, S9.6, S10): whichever of them it is, at once or while the
//! release is watched, the release of before comes back by itself with its image and its configuration, or what failed stays and is held.
//! Each time the ledger names the check.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, wait_for};
use serde_json::Value;

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
        let pipeline = Pipeline::new(1, |namespaces| {
            format!(
                "{}[checks.judge]\n{check}\n[environments.dev]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"judge\"]\n{also}\
                 target = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
                by.settings("timeout = \"30s\"\n"),
                namespaces[0].name()
            )
        });
        let world = Self { pipeline: pipeline.await?.with(by) };
        world.asks("well");
        Some(world)
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

    /// Types, as a person, the commands that are told, one after the other, until there is what is wanted; gives them.
    fn follow(&self, mut said: String, there: impl Fn(&str) -> bool) -> Vec<String> {
        let mut typed = Vec::new();
        while !there(&said) {
            assert!(typed.len() < 4, "{typed:?}: {said}");
            let mut words = next(&said);
            // What is held is for a person.
            words.extend(["--actor-kind".to_owned(), "human".to_owned()]);
            said = self.ends(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
            typed.push(words.join(" "));
        }
        typed
    }

    /// The last promotion into dev, as the ledger has it.
    fn last(&self) -> Value {
        self.json(0, &["history", "dev"])["promotions"][0].clone()
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

    /// The ledger says how the last release ended, and by which check.
    fn names_the_check(&self, outcome: &str, word: &str) {
        let last = self.last();
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

/// The words of the command that an answer ends with.
fn next(said: &str) -> Vec<String> {
    let line = said.lines().rev().find_map(|line| line.strip_prefix("Next: ")).unwrap_or_else(|| panic!("{said}"));
    let words = shlex::split(line).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(words[0], "promo", "{line}");
    words[1..].to_vec()
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
        let before = world.live();
        world.adds(&Release { number: 2, serves: "nobody", ..FIRST }).await;
        let said = world.ends(41, &["advance"]);
        let held = world.live();
        assert!(held.iter().zip(&before).all(|(held, before)| held != before), "{held:?}");
        wait_for("the pods of before", || world.image_of_pods() == held[..1]);
        world.names_the_check("held", "has 0 ready endpoints");
        assert_eq!(world.unfinished(), None);
        // Whoever types what is told gets back.
        let typed = world.follow(said, |_| world.live() == before);
        assert!(typed.iter().any(|words| words.starts_with("rollback dev")), "{typed:?}");
        world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        world.ends(0, &["ledger", "verify"]);
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
