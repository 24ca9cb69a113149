//! promo as a process of its own that promotes a release into real namespaces (R32-R34): what does not run is rolled back by
//! itself, and a run that was killed while it waited for the cluster is gone on with.
#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{Pipeline, kubectl, quota, said};

/// How long what is watched is watched.
const WATCHED: Duration = Duration::from_secs(4);
/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Development, then staging.
async fn two() -> Option<Pipeline> {
    with(|namespaces| {
        let dev = Pipeline::environment("dev", "development", "", &namespaces[0]);
        dev + &Pipeline::environment("staging", "staging", "after = [\"dev\"]\n", &namespaces[1])
    })
    .await
}

/// One environment of both namespaces, one after the other.
async fn waves() -> Option<Pipeline> {
    with(|namespaces| {
        format!(
            "[environments.world]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"smoke\"]\n\
             waves = [{{ targets = [\"eu\"], pause = \"1s\" }}, {{ targets = [\"us\"] }}]\n\
             [environments.world.targets]\neu = {{ cluster = \"kit\", namespace = \"{}\" }}\n\
             us = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
            namespaces[0].name(),
            namespaces[1].name()
        )
    })
    .await
}

/// One environment that is watched for a while by a Job, which runs until somebody says how it ends.
async fn watched() -> Option<Pipeline> {
    let world = with(|namespaces| {
        format!(
            "[checks.ask]\njob = {{ manifest = \"ask.yaml\" }}\n[environments.dev]\ntier = \"development\"\n\
             start = \"auto\"\nverify = [\"ask\"]\nwatch = {{ for = \"{}s\", every = \"1s\" }}\n\
             target = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
            WATCHED.as_secs(),
            namespaces[0].name()
        )
    });
    let world = world.await?;
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let text = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: ask }}\nspec:\n  backoffLimit: 0\n  template:\n    \
         metadata: {{ annotations: {{ promo.test/kubelet: run }} }}\n    spec:\n      restartPolicy: Never\n      \
         containers: [{{ name: ask, image: \"tools.example/ask@{digest}\" }}]\n"
    );
    world.write("ask.yaml", &text);
    Some(world)
}

async fn with(environments: impl FnOnce(&[Namespace]) -> String) -> Option<Pipeline> {
    let pipeline = Pipeline::new(2, |namespaces| {
        let deploy = "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\nimages = { \"shop/web\" = \"web\" }\n\
                      timeout = \"10s\"\n";
        format!("{deploy}{}", environments(namespaces))
    });
    let world = pipeline.await?;
    declare(&world, "run");
    Some(world)
}

/// What the next release declares, with what becomes of its pods.
fn declare(world: &Pipeline, switch: &str) {
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {switch} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
    );
    world.write("manifests/web.yaml", &text);
}

fn image_in(namespace: &Namespace) -> String {
    kubectl(namespace, &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"])
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_does_not_run_is_rolled_back_and_goes_no_further() {
        let Some(world) = two().await else { return };
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        let good = image_in(world.dev());
        assert!(good.contains("/team/web@sha256:") && good == image_in(world.staging()), "{good}");
        declare(&world, "crash");
        world.release("1.1.0").await;
        let plan = world.ends(0, &["plan", "dev"]);
        assert!(plan.contains("Deployment/web") && plan.contains("promo.test/kubelet: crash"), "{plan}");
        let said = world.ends(40, &["advance"]);
        assert!(said.contains("not settled within 10 s: Deployment/web: "), "{said}");
        assert!(said.contains("CrashLoopBackOff"), "the reason of its pods: {said}");
        assert_eq!((image_in(world.dev()), image_in(world.staging())), (good.clone(), good));
        // What was left behind is what the release before it declares, and nothing is under way.
        world.ends(0, &["plan", "dev", "--detailed-exitcode"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn why_a_rollout_does_not_end_tells_what_comes_from_what_goes_and_is_whole_where_its_run_ends() {
        let Some(world) = two().await else { return };
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        // What runs there falls ill, and what comes does not run at all.
        kubectl(world.dev(), &["annotate", "--overwrite", "pods", "-l", "app=web", "promo.test/kubelet=notready"]);
        declare(&world, "crash");
        world.release("1.1.0").await;
        let output = world.promo(&["advance"]).output().unwrap();
        assert_eq!(output.status.code(), Some(41), "what is ill does not get well by being gone back to");
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let whole = out.lines().find(|line| line.contains("not settled within 10 s: Deployment/web: ")).unwrap();
        let (there, back) = whole.split_once("the rollback failed: ").unwrap();
        // First that of the version that comes, whichever way it goes.
        for (way, comes, goes) in
            [(there, "CrashLoopBackOff", "is not ready"), (back, "is not ready", "CrashLoopBackOff")]
        {
            let pods: Vec<&str> =
                way.split("; ").filter_map(|part| part.find("pod web-").map(|at| &part[at..])).collect();
            let (left, new): (Vec<&str>, Vec<&str>) = pods.iter().partition(|pod| pod.contains(", to be replaced: "));
            assert!(pods.starts_with(&new) && !new.is_empty() && !left.is_empty(), "{whole}");
            assert!(new.iter().all(|pod| pod.contains(comes)) && left.iter().all(|pod| pod.contains(goes)), "{whole}");
        }
        assert!(
            err.contains("not settled within 10 s: Deployment/web: pod web-") && err.contains("CrashLoopBackOff"),
            "the cause: {err}"
        );
        assert!(!err.contains(", to be replaced"), "and no more than that: {err}");
        let run = world.last("dev")["run"].as_str().unwrap().to_owned();
        assert!(world.ends(0, &["show", &run]).contains(there.trim().trim_end_matches(';')), "{whole}");
        for words in [&["history", "dev"][..], &["why", "dev"], &["status"], &["plan", "dev"]] {
            let text = world.ends(0, words);
            assert!(!text.contains(", to be replaced"), "{words:?}: {text}");
            assert!(
                text.contains(&format!("`promo show {run}`")) == matches!(words[0], "history" | "why"),
                "{words:?}: {text}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r10_what_does_not_run_in_the_second_wave_goes_back_in_both() {
        let Some(world) = waves().await else { return };
        let (eu, us) = (world.dev(), world.staging());
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        let good = image_in(us);
        assert!(good.contains("/team/web@sha256:") && good == image_in(eu), "{good}");
        // There is no room for another pod in the second one, so that the new image never gets ready there.
        quota(us, "full", "pods", 2);
        world.release("1.1.0").await;
        let plan = world.ends(0, &["plan", "world"]);
        assert!(plan.contains("in 2 waves: eu, then 1 s; us"), "{plan}");
        let said = world.ends(40, &["advance"]);
        assert!(said.contains("waiting 1 s until wave 2"), "{said}");
        assert!(said.contains("world/deploy/us failed: ") && said.contains("not settled within 10 s"), "{said}");
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(at("world/deploy/eu: ") < at("waiting 1 s"), "{said}");
        assert!(at("waiting 1 s") < at("world/deploy/us …"), "{said}");
        assert_eq!((image_in(eu), image_in(us)), (good.clone(), good));
        world.ends(0, &["plan", "world", "--detailed-exitcode"]);
        world.ends(0, &["ledger", "verify"]);
    }

    /// S1.3: what was asked within the watch has seen nothing of its end.
    #[tokio::test(flavor = "multi_thread")]
    async fn s1_3_a_job_that_was_left_behind_within_a_watch_does_not_answer_its_last_question() {
        let Some(world) = watched().await else { return };
        world.release("1.0.0").await;
        world.ends(0, &["plan", "dev", "--out", "plan.json"]);
        let mut child =
            world.promo(&["apply", "plan.json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let first = job_besides(world.dev(), &[], || child.try_wait().unwrap().is_none());
        ends(world.dev(), &first, "well");
        let within = job_besides(world.dev(), &[&first], || child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // It passes, and nobody is there to hear it until the time is over.
        ends(world.dev(), &within, "well");
        let over = Instant::now() + WATCHED;
        let passed = || kubectl(world.dev(), &["get", "job", &within.0, "-o", "jsonpath={.status.succeeded}"]) == "1";
        while !passed() || Instant::now() < over {
            assert!(Instant::now() < over + PATIENCE, "the Job does not end");
            std::thread::sleep(Duration::from_millis(100));
        }
        let run = world.unfinished().unwrap();
        let mut resume = world.promo(&["resume", &run]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let last = job_besides(world.dev(), &[&first, &within], || resume.try_wait().unwrap().is_none());
        ends(world.dev(), &last, "fail");
        let output = resume.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(41), "{}", said(&output));
        assert!(said(&output).contains("ask failed while it was watched"), "{}", said(&output));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s10_a_drill_proves_the_way_back_of_a_namespace_and_says_how_long_it_took() {
        let Some(world) = two().await else { return };
        for tag in ["1.0.0", "1.1.0"] {
            world.release(tag).await;
            world.ends(0, &["advance"]);
        }
        let good = image_in(world.dev());
        let plan = world.ends(0, &["rollback", "dev", "--drill", "--out", "drill.json"]);
        assert!(plan.contains("and comes again") && plan.contains("Deployment/web"), "{plan}");
        let said = world.ends(0, &["apply", "drill.json"]);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(at("dev/rollback/deploy/default: ") < at("is back and verified after"), "{said}");
        assert!(at("is back and verified after") < at("dev/deploy/default: "), "{said}");
        assert_eq!(image_in(world.dev()), good);
        let drill = |field: &str| {
            let history: serde_json::Value =
                serde_json::from_str(&world.ends(0, &["history", "dev", "--format", "json"])).unwrap();
            history["promotions"][0]["drill"][field].clone()
        };
        assert_eq!((drill("state").as_str(), drill("milliseconds").is_u64()), (Some("passed"), true));
        // There is no room for the pods of the older release, which is what a drill is there to find.
        quota(world.dev(), "full", "pods", 2);
        world.ends(0, &["rollback", "dev", "--drill", "--out", "again.json"]);
        let said = world.ends(40, &["apply", "again.json"]);
        assert!(said.contains("could not go back as a drill") && said.contains("not settled within 10 s"), "{said}");
        assert_eq!((drill("state").as_str(), image_in(world.dev())), (Some("failed"), good));
        let status = world.ends(0, &["status"]);
        assert!(status.contains("the drill of a rollback to") && status.contains("verified"), "{status}");
        // Nothing is left to do, nothing is held, paused or quarantined.
        world.ends(0, &["plan", "--detailed-exitcode"]);
        world.ends(0, &["ledger", "verify"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_run_that_is_killed_while_it_waits_for_the_cluster_is_gone_on_with() {
        let Some(world) = two().await else { return };
        world.release("1.0.0").await;
        world.ends(0, &["advance"]);
        let before = image_in(world.dev());
        declare(&world, "notready");
        let pipeline = std::fs::read_to_string(world.path("promo.toml")).unwrap();
        world.write("promo.toml", &pipeline.replace("\"10s\"", "\"60s\""));
        world.release("1.1.0").await;
        world.ends(0, &["plan", "dev", "--out", "plan.json"]);
        let mut child =
            world.promo(&["apply", "plan.json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let there = || image_in(world.dev()) != before && pods(world.dev()).len() > 2;
        while !there() {
            assert!(Instant::now() < deadline, "nothing was applied");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(child.try_wait().unwrap().is_none(), "it waits for pods that are not ready");
        child.kill().unwrap();
        child.wait().unwrap();
        let run = world.unfinished().unwrap();
        let resume = world.promo(&["resume", &run]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let patch = r#"{"metadata":{"annotations":{"promo.test/kubelet":"run"}}}"#;
        // Each pod that comes is healed, so that the new ones can take the place of the old.
        let mut resume = Some(resume);
        while resume.as_mut().unwrap().try_wait().unwrap().is_none() {
            for pod in pods(world.dev()) {
                let _ = world.dev().kubectl().args(["patch", "pod", &pod, "--type=merge", "-p", patch]).output();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = resume.take().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_ne!(image_in(world.dev()), before);
        // A second one changes nothing (S9.5).
        world.ends(0, &["resume", &run]);
        world.ends(0, &["ledger", "verify"]);
    }
}

fn pods(namespace: &Namespace) -> Vec<String> {
    let names = kubectl(namespace, &["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"]);
    names.split_whitespace().map(String::from).collect()
}

/// The name and id of a Job that is none of these, once it has a pod, as long as `alive`.
fn job_besides(
    namespace: &Namespace,
    others: &[&(String, String)],
    mut alive: impl FnMut() -> bool,
) -> (String, String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
        let all = kubectl(namespace, &["get", "jobs", "-o", path]);
        let mut jobs =
            all.lines().filter_map(|line| line.split_once(' ')).map(|(name, uid)| (name.to_owned(), uid.to_owned()));
        let other = jobs.find(|job| others.iter().all(|(_, uid)| *uid != job.1));
        if let Some(job) = other.filter(|job| !pods_of(namespace, job).is_empty()) {
            return job;
        }
        assert!(alive(), "it has ended without another Job: {all}");
        assert!(Instant::now() < deadline, "no other Job comes: {all}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn pods_of(namespace: &Namespace, (_, uid): &(String, String)) -> String {
    let chosen = format!("controller-uid={uid}");
    kubectl(namespace, &["get", "pods", "-l", &chosen, "-o", "jsonpath={.items[*].metadata.name}"])
}

/// Says how the pods of a Job end.
fn ends(namespace: &Namespace, (_, uid): &(String, String), how: &str) {
    let (chosen, how) = (format!("controller-uid={uid}"), format!("promo.test/kubelet={how}"));
    kubectl(namespace, &["annotate", "pods", "--overwrite", "-l", &chosen, &how]);
}
