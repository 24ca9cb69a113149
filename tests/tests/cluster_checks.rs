//! Checks of clusters on a real control plane (R33, S1.3, S1.4): what a rollout, a Service and a Job say, when they say it,
//! and what is no answer.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_engine::clock::SystemClock;
use promo_engine::process::Processes;
use promo_providers::endpoints::Endpoints;
use promo_providers::job::Job;
use promo_providers::kubectl::Kubectl;
use promo_providers::logs::Logs;
use promo_providers::rollout::Rollout;
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{
    ArtifactInput, CheckRequest, CheckResult, Context, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Provider,
    ProviderError, Secrets,
};
use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{kubectl, wait_for};
use promo_tests::kubernetes::world::{self, DIGEST, Variables};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A namespace, and the machine from which it is asked.
struct World {
    namespace: Namespace,
    blobs: Arc<MemoryBlobs>,
    cx: Context,
    _root: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let root = tempfile::tempdir().unwrap();
        let blobs = Arc::new(MemoryBlobs::default());
        let mut cx = Context {
            clock: Arc::new(SystemClock),
            blobs: blobs.clone(),
            processes: Arc::new(Processes::new(CancellationToken::new())),
            ..context(root.path())
        };
        cx.secrets = clusters(&root, &namespace, "admin");
        Some(Self { namespace, blobs, cx, _root: root })
    }

    fn request(&self, check: &str, settings: Value, manifest: &str) -> CheckRequest {
        let target = [("cluster", "kit"), ("namespace", self.namespace.name())];
        let artifact = ArtifactInput {
            repository: "registry.test/shop/web".into(),
            digest: DIGEST.parse().unwrap(),
            tag: Some("1.0.0".into()),
            source: None,
            tree: Vec::new(),
        };
        let inputs = Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target(target.map(|(key, value)| (key.into(), value.into())).into()),
            settings,
            artifacts: [("web".parse().unwrap(), artifact)].into(),
            files: [("check.yaml".to_owned(), self.blobs.put(manifest))].into(),
        };
        CheckRequest { inputs, check: check.into(), token: "run-1".into() }
    }

    async fn ask(&self, provider: &dyn Provider, settings: Value) -> Result<CheckResult, ProviderError> {
        provider.verify(&self.cx, &self.request("check", settings, "")).await
    }

    fn kubectl(&self, words: &[&str]) -> String {
        let output = self.namespace.kubectl().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn apply(&self, manifest: &str) {
        let mut kubectl = self.namespace.kubectl();
        let mut child = kubectl.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn jobs(&self) -> Vec<String> {
        let names = self.kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split_whitespace().map(String::from).collect()
    }
}

/// What the machine says about clusters, with that user.
fn clusters(root: &tempfile::TempDir, namespace: &Namespace, user: &str) -> Arc<dyn Secrets> {
    let file = world::clusters(root.path(), &namespace.kubeconfig_of(user), user);
    Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), file)])))
}

fn deployment(name: &str, replicas: u32, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name}, labels: {{ app: {name} }} }}\nspec:\n  \
         replicas: {replicas}\n  progressDeadlineSeconds: 600\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  \
         template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: {image} }}] }}\n"
    )
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\n\
         spec: {{ selector: {{ app: {name} }}, ports: [{{ port: 80, protocol: TCP }}] }}\n"
    )
}

fn job(image: &str, also: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: smoke }}\nspec:\n  backoffLimit: 0\n  template:\n    \
         metadata: {{ annotations: {{ {also} }} }}\n    spec:\n      restartPolicy: Never\n      \
         containers: [{{ name: smoke, image: {image} }}]\n"
    )
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rollout_is_done_when_the_workloads_run_and_what_does_not_is_told_with_its_pods() {
        let Some(world) = World::new() else { return };
        let rollout = Rollout::default();
        world.apply(&deployment("web", 2, "web:1"));
        world.apply(&deployment("other", 1, "never-ready:1"));
        let result = world.ask(&rollout, json!({"objects": ["Deployment/web"], "timeout": 30})).await.unwrap();
        assert_eq!((result.passed, result.detail.as_str()), (true, "Deployment/web runs"));
        let result = world.ask(&rollout, json!({"selector": "app in (web, other)", "timeout": 2})).await.unwrap();
        assert!(!result.passed && result.detail.contains("Deployment/other"), "{result:?}");
        assert!(
            result.detail.contains("0 of 1 pod is ready") && !result.detail.contains("Deployment/web:"),
            "{result:?}"
        );
        assert!(
            result.detail.contains("Deployment/other: pod other-")
                && result.detail.contains(": web runs, is not ready; 0"),
            "{result:?}"
        );
        world.apply(&deployment("other", 1, "crash:1"));
        let result = world.ask(&rollout, json!({"objects": ["Deployment/other"], "timeout": 6})).await.unwrap();
        assert!(!result.passed && result.detail.contains("exited with 1"), "{result:?}");
        world.apply(&deployment("other", 1, "no-such-image:1"));
        let result = world.ask(&rollout, json!({"objects": ["Deployment/other"], "timeout": 4})).await.unwrap();
        assert!(!result.passed && result.detail.contains("ImagePullBackOff"), "{result:?}");
        // Nothing that holds for no workload is a pass.
        for (settings, word) in [
            (json!({"selector": "app=nobody"}), "no workload has the labels"),
            (json!({}), "give `objects` or `selector`"),
        ] {
            let result = world.ask(&rollout, settings).await.unwrap();
            assert!(!result.passed && result.detail.contains(word), "{result:?}");
        }
        let result = world.ask(&rollout, json!({"objects": ["Deployment/gone"], "timeout": 2})).await.unwrap();
        assert!(!result.passed && result.detail.contains("Deployment/gone is gone"), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn by_itself_a_rollout_is_that_of_what_was_deployed() {
        let Some(world) = World::new() else { return };
        // Somebody else's, which does not run.
        world.apply(&deployment("other", 1, "never-ready:1"));
        let kubectl = Kubectl::default();
        let manifests = [deployment("web", 2, "shop/web"), service("web")].join("---\n");
        let mut inputs = world.request("x", json!({}), &manifests).inputs;
        inputs.settings = json!({"manifests": ["check.yaml"], "images": {"shop/web": "web"}});
        let preview = kubectl.preview(&world.cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap();
        let (expected, desired, changes) = (preview.current, preview.desired, preview.changes);
        let ensure = EnsureRequest {
            inputs,
            expected,
            desired,
            changes,
            token: "run/step".into(),
            epoch: 1,
            ledger: "kit".into(),
        };
        kubectl.ensure(&world.cx, &ensure).await.unwrap();
        let result = world.ask(&Rollout::default(), json!({"timeout": 30})).await.unwrap();
        assert_eq!((result.passed, result.detail.as_str()), (true, "Deployment/web runs"));
        let result = world.ask(&Endpoints::default(), json!({"service": "web", "min": 2})).await.unwrap();
        assert_eq!((result.passed, result.evidence["ready"].as_str()), (true, "2"), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn endpoints_are_waited_for_and_a_service_that_is_not_there_is_named() {
        let Some(world) = World::new() else { return };
        let endpoints = Endpoints::default();
        world.apply(&[deployment("web", 2, "never-ready:1"), service("web")].join("---\n"));
        let result = world.ask(&endpoints, json!({"service": "web", "timeout": 3})).await.unwrap();
        assert!(!result.passed && result.evidence["ready"] == "0", "{result:?}");
        let wait = world.ask(&endpoints, json!({"service": "web", "min": 2, "timeout": 60}));
        let (result, ()) = tokio::join!(wait, async {
            tokio::task::block_in_place(|| {
                world.kubectl(&["annotate", "pods", "-l", "app=web", "promo.test/kubelet=well"]);
            });
        });
        assert!(result.unwrap().passed);
        let result = world.ask(&endpoints, json!({"service": "nobody"})).await.unwrap();
        assert!(!result.passed && result.detail.contains("no Service/nobody"), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_runs_the_release_s_image_tells_how_it_ended_and_is_gone() {
        let Some(world) = World::new() else { return };
        let check = Job::default();
        let settings = json!({"manifest": "check.yaml", "images": {"shop/smoke": "web"}, "timeout": 30});
        let request = world.request("smoke", settings.clone(), &job("shop/smoke:latest", ""));
        let result = check.verify(&world.cx, &request).await.unwrap();
        assert!(result.passed && result.detail.contains("completed"), "{result:?}");
        assert_eq!(result.evidence["pods"], "1");
        assert!(world.jobs().is_empty(), "{:?}", world.jobs());
        // It fails, and says why in its last words.
        let words = format!("promo.test/kubelet: fail, promo.test/log: {:?}", "one\nexpected 200, found 500");
        let request = world.request("smoke", settings.clone(), &job("shop/smoke", &words));
        let result = check.verify(&world.cx, &request).await.unwrap();
        assert!(!result.passed && result.detail.contains("smoke exited with 1"), "{result:?}");
        assert!(result.detail.ends_with("expected 200, found 500"), "{result:?}");
        let log = result.evidence.iter().find(|(key, _)| key.starts_with("log ")).unwrap().1;
        assert_eq!(log, "one\nexpected 200, found 500");
        assert!(world.jobs().is_empty());
        // What never starts is told when the time is over.
        let mut short = settings.clone();
        short["timeout"] = 3.into();
        let request = world.request("smoke", short, &job("shop/smoke", "promo.test/kubelet: imagepull"));
        let result = check.verify(&world.cx, &request).await.unwrap();
        assert!(!result.passed && result.detail.contains("did not end within 3 s"), "{result:?}");
        assert!(result.detail.contains("ImagePull"), "{result:?}");
        assert!(world.jobs().is_empty());
        for (manifest, word) in [
            (job("other:1", ""), "can move"),
            (deployment("web", 1, "shop/smoke"), "must declare a Job"),
            ([job("shop/smoke", ""), service("a")].join("---\n"), "one Job, and nothing else"),
            (job("shop/smoke", "").replace("name: smoke }\nspec", "name: smoke, namespace: b }\nspec"), "namespace b"),
        ] {
            let error =
                check.verify(&world.cx, &world.request("smoke", settings.clone(), &manifest)).await.unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(word), "{error}");
        }
        assert!(world.jobs().is_empty(), "nothing was started");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_3_a_job_that_was_left_behind_is_found_again_and_another_run_has_its_own() {
        let Some(world) = World::new() else { return };
        let check = Job::default();
        let settings = json!({"manifest": "check.yaml", "timeout": 60});
        let manifest = job(&format!("registry.test/smoke@{DIGEST}"), "promo.test/kubelet: run");
        let request = world.request("smoke", settings, &manifest);
        let token = CancellationToken::new();
        let cx = Context { cancelled: token.clone(), ..world.cx.clone() };
        let started = async {
            while world.jobs().is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            token.cancel();
        };
        let (result, ()) = tokio::join!(check.verify(&cx, &request), started);
        assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
        let left = world.jobs();
        assert_eq!(left.len(), 1);
        let uid = || world.kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.uid}"]);
        let before = uid();
        // The same run goes on with it, as another process; a second run has one of its own.
        let (again, mut other) = (Job::default(), request.clone());
        other.token = "run-2".into();
        let second = Job::default();
        let (first, second, ()) =
            tokio::join!(again.verify(&world.cx, &request), second.verify(&world.cx, &other), async {
                while world.jobs().len() < 2 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                assert!(uid().contains(&before), "the first is still the first");
                while world.kubectl(&["get", "pods", "-o", "name"]).lines().count() < 2 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                world.kubectl(&["annotate", "pods", "--all", "--overwrite", "promo.test/kubelet=well"]);
            });
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first.passed && second.passed, "{first:?} {second:?}");
        assert_eq!(first.evidence["job"], left[0]);
        assert_ne!(second.evidence["job"], left[0]);
        assert!(world.jobs().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_may_not_look_has_no_verdict() {
        let Some(mut world) = World::new() else { return };
        world.apply(&[deployment("web", 1, "web:1"), service("web")].join("---\n"));
        world.cx.secrets = clusters(&world._root, &world.namespace, "nobody");
        let checks: [(&dyn Provider, Value); 2] = [
            (&Rollout::default(), json!({"objects": ["Deployment/web"]})),
            (&Endpoints::default(), json!({"service": "web"})),
        ];
        for (check, settings) in checks {
            let error = world.ask(check, settings).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Transient, "{error}");
        }
        // Nor is there one where the place is not there, or nobody says where it is.
        for (key, value, kind) in
            [("namespace", "nowhere", ErrorKind::NotFound), ("cluster", "nobody-s", ErrorKind::NotFound)]
        {
            let mut request = world.request("check", json!({"objects": ["Deployment/web"]}), "");
            request.inputs.target.0.insert(key.to_owned(), value.to_owned());
            world.cx.secrets = clusters(&world._root, &world.namespace, "admin");
            let error = Rollout::default().verify(&world.cx, &request).await.unwrap_err();
            assert!(error.kind == kind && error.message.contains(value), "{error}");
        }
        // Where no server may be reached, neither is one asked.
        world.cx.http = None;
        let error = world.ask(&Rollout::default(), json!({"objects": ["Deployment/web"]})).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Offline, "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_of_logs_that_match_are_counted_and_what_cannot_be_read_is_no_pass() {
        let Some(world) = World::new() else { return };
        let logs = Logs::default();
        world.apply(&deployment("web", 2, "web:1"));
        world.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let write = |lines: &str| {
            world.kubectl(&["annotate", "pods", "-l", "app=web", "--overwrite", &format!("promo.test/log={lines}")]);
        };
        write("started\nERROR one");
        let of = |also: Value| {
            let mut settings = json!({"objects": ["Deployment/web"], "pattern": "^ERROR"});
            settings.as_object_mut().unwrap().extend(also.as_object().unwrap().clone());
            settings
        };
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let result = world.ask(&logs, of(json!({"max": 2}))).await.unwrap();
            if result.evidence["lines"] == "4" {
                assert!(result.passed && result.evidence["matches"] == "2", "{result:?}");
                break;
            }
            assert!(Instant::now() < until, "{result:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let result = world.ask(&logs, of(json!({"max": 1}))).await.unwrap();
        assert!(
            !result.passed && result.detail.contains("2 of 4 lines") && result.detail.contains("ERROR one"),
            "{result:?}"
        );
        // From now on: what was written before says nothing.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let (quiet, ()) = tokio::join!(world.ask(&logs, of(json!({"for": 1}))), async {
            tokio::task::block_in_place(|| write("fine"));
        });
        let quiet = quiet.unwrap();
        assert!(quiet.passed && quiet.evidence["matches"] == "0", "{quiet:?}");
        let (loud, ()) = tokio::join!(world.ask(&logs, of(json!({"for": 3}))), async {
            tokio::task::block_in_place(|| write("ERROR two"));
        });
        let loud = loud.unwrap();
        assert!(!loud.passed && loud.evidence["first"].ends_with("ERROR two"), "{loud:?}");
        // Nothing to read is nothing seen.
        world.apply(&deployment("none", 0, "web:1"));
        let result = world.ask(&logs, json!({"objects": ["Deployment/none"], "pattern": "x"})).await.unwrap();
        assert!(!result.passed && result.detail.contains("has no pods"), "{result:?}");
        world.apply(&deployment("stuck", 1, "no-such-image:1"));
        wait_for("its pod", || {
            !kubectl(&world.namespace, &["get", "pods", "-l", "app=stuck", "-o", "name"]).is_empty()
        });
        let result = world.ask(&logs, json!({"objects": ["Deployment/stuck"], "pattern": "x"})).await.unwrap();
        assert!(!result.passed && result.detail.starts_with("no data"), "{result:?}");
        for (settings, word) in [
            (json!({"pattern": "("}), "no regular expression"),
            (json!({"pattern": "a", "for": 5, "since": 5}), "give one of them"),
        ] {
            let error = world.ask(&logs, settings).await.unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(word), "{error}");
        }
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn s1_3_what_was_written_before_a_container_was_started_again_and_is_not_kept_is_no_pass() {
        let Some(world) = World::new() else { return };
        let logs = Logs::default();
        for (name, image) in [("web", "web:1"), ("loops", "crash:1")] {
            world.apply(&deployment(name, 1, image));
        }
        world.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        let ask = async |name: &str| {
            world.ask(&logs, json!({"objects": [format!("Deployment/{name}")], "pattern": "ERROR"})).await.unwrap()
        };
        assert!(ask("web").await.passed);
        for (restarted, why) in [("1", "wrote before it was started again is not kept"), ("3", "started again 3 times")]
        {
            let restarted = format!("promo.test/restarted={restarted}");
            world.kubectl(&["annotate", "pods", "-l", "app=web", "--overwrite", &restarted]);
            let until = Instant::now() + Duration::from_secs(20);
            let result = loop {
                let result = ask("web").await;
                if result.detail.contains(why) {
                    break result;
                }
                assert!(Instant::now() < until, "{result:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            assert!(!result.passed && result.detail.starts_with("no data"), "{result:?}");
        }
        // While nothing runs, what there is to be read is the last log alone.
        let count =
            ["get", "pods", "-l", "app=loops", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}"];
        let until = Instant::now() + Duration::from_secs(20);
        while world.kubectl(&count).is_empty() {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let result = ask("loops").await;
        assert!(!result.passed && result.detail.contains("started again"), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn endpoints_are_read_from_slices_and_take_no_right_to_anything_else() {
        let Some(mut world) = World::new() else { return };
        world.apply(&[deployment("web", 2, "web:1"), service("web")].join("---\n"));
        let resources = "--resource=services,endpointslices.discovery.k8s.io";
        world.kubectl(&["create", "role", "some", "--verb=get,list,watch", resources]);
        world.kubectl(&["create", "role", "own", "--verb=get", "--resource=namespaces"]);
        for role in ["some", "own"] {
            world.kubectl(&["create", "rolebinding", role, &format!("--role={role}"), "--user=deployer"]);
        }
        world.cx.secrets = clusters(&world._root, &world.namespace, "deployer");
        let endpoints = Endpoints::default();
        let result = world.ask(&endpoints, json!({"service": "web", "min": 2, "timeout": 30})).await.unwrap();
        assert!(result.passed && result.evidence["ready"] == "2", "{result:?}");
    }
}
