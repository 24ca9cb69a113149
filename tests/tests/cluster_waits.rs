//! Waits for a cluster are told of each change (watch) and ask nothing again and again (R33), so that an end is seen when it comes, on a
//! machine of any speed. How soon that is, `cargo xtask bench clusters` measures beside `kubectl rollout status`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use promo_engine::clock::SystemClock;
use promo_providers::endpoints::Endpoints;
use promo_providers::helm::Helm as Helms;
use promo_providers::job::Job;
use promo_providers::kubectl::Kubectl;
use promo_providers::rollout::Rollout;
use promo_sdk::{CheckRequest, Clock, Context, ObserveRequest, Provider, ProviderError};
use promo_tests::charts;
use promo_tests::kubernetes::pipeline::kubectl;
use promo_tests::kubernetes::world::{World, config};
use promo_tests::kubernetes::{Helm, Namespace};
use serde_json::json;

/// How long each of them may wait: far longer than anything that asks again would.
const PATIENCE: u64 = 600;

/// The real time, in which nobody who sleeps is ever woken: whoever would ask again after a while never does.
#[derive(Default)]
struct Still(Mutex<Vec<Duration>>);

impl Still {
    fn asked(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Clock for Still {
    fn now(&self) -> jiff::Timestamp {
        SystemClock.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
        std::future::pending::<()>().await;
    }
}

async fn until(what: &str, there: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !there() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says how all pods behave from now on.
fn pods(namespace: &Namespace, behave: &str) {
    labelled(namespace, "app=web", behave);
}

fn labelled(namespace: &Namespace, label: &str, behave: &str) {
    let behave = format!("promo.test/kubelet={behave}");
    kubectl(namespace, &["annotate", "pods", "-l", label, "--overwrite", &behave]);
}

/// Has the pod of a Job succeed, once it is there.
async fn succeeds(namespace: &Namespace) {
    let of = ["get", "pods", "-l", "runs=once", "--field-selector=status.phase=Running", "-o", "name"];
    until("the Job has no pod", || !kubectl(namespace, &of).is_empty()).await;
    labelled(namespace, "runs=once", "well");
}

/// Begins a wait, has the pods get ready once it waits, and holds that it ends without ever being woken by a clock.
async fn ends<T, F>(who: &str, namespace: &Namespace, cx: &Context, wait: impl FnOnce(Context) -> F)
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProviderError>> + Send + 'static,
{
    let asked = ends_once(who, cx, wait, async { pods(namespace, "run") }).await;
    // Only the end of its own time woke it, or would have.
    assert!(asked.iter().all(|asked| *asked > Duration::from_secs(PATIENCE / 2)), "{who}: {asked:?}");
}

/// The same with what ends the wait; gives how long it wanted to sleep.
async fn ends_once<T, F>(
    who: &str,
    cx: &Context,
    wait: impl FnOnce(Context) -> F,
    comes: impl Future<Output = ()>,
) -> Vec<Duration>
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProviderError>> + Send + 'static,
{
    let clock = Arc::new(Still::default());
    let waits = tokio::spawn(wait(Context { clock: clock.clone(), ..cx.clone() }));
    until(&format!("{who} does not wait"), || !clock.asked().is_empty()).await;
    assert!(!waits.is_finished(), "{who}: what it waits for has not come");
    comes.await;
    let ended = tokio::time::timeout(Duration::from_secs(60), waits).await;
    let ended =
        ended.unwrap_or_else(|_| panic!("{who} was not told of the end, and wanted to sleep {:?}", clock.asked()));
    ended.unwrap().unwrap_or_else(|error| panic!("{who}: {error}"));
    clock.asked()
}

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 2\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    \
                   metadata: { labels: { app: web }, annotations: { promo.test/kubelet: notready } }\n    \
                   spec: { containers: [{ name: web, image: shop/web }] }\n";
/// A Job whose pod runs until it is told to end; `also` stands in its metadata.
fn job(also: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: once{also} }}\nspec:\n  backoffLimit: 0\n  template:\n    \
         metadata: {{ labels: {{ runs: once }}, annotations: {{ promo.test/kubelet: run }} }}\n    \
         spec: {{ restartPolicy: Never, containers: [{{ name: once, image: shop/web }}] }}\n"
    )
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                       spec: { selector: { app: web }, ports: [{ port: 80, protocol: TCP }] }\n";

fn two_pods(namespace: &Namespace) -> bool {
    kubectl(namespace, &["get", "pods", "-l", "app=web", "-o", "name"]).lines().count() == 2
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_deployment_and_the_checks_of_it_are_told_of_the_end_and_ask_nothing_again() {
        let Some(world) = World::new() else { return };
        let inputs = world.with(&[WEB, SERVICE], json!({ "timeout": PATIENCE }));
        world.deploy(&inputs).await;
        let namespace = &world.namespace;
        until("no pods came", || two_pods(namespace)).await;
        ends("deploy.kubectl", namespace, &world.cx, |cx| async move {
            Kubectl::default().settle(&cx, &ObserveRequest { inputs }).await
        })
        .await;
        let checks: [(&str, Arc<dyn Provider>, _); 2] = [
            ("rollout", Arc::new(Rollout::default()), json!({ "timeout": PATIENCE })),
            ("endpoints", Arc::new(Endpoints::default()), json!({ "service": "web", "min": 2, "timeout": PATIENCE })),
        ];
        for (name, check, settings) in checks {
            pods(namespace, "notready");
            let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
            let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", path];
            let ready = ["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"];
            let gone = || !kubectl(namespace, &slices).contains("true") && kubectl(namespace, &ready).is_empty();
            until("the pods are ready still", gone).await;
            let inputs = world.of_files(&[], settings);
            let request = CheckRequest { inputs, check: name.into(), token: "run".into() };
            ends(name, namespace, &world.cx, |cx| async move {
                let result = check.verify(&cx, &request).await?;
                assert!(result.passed, "{result:?}");
                Ok(())
            })
            .await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_and_the_job_of_a_check_are_told_of_their_end_and_ask_nothing_again() {
        let Some(world) = World::new() else { return };
        let namespace = &world.namespace;
        for when in ["before", "after"] {
            let hook = job(&format!(", annotations: {{ promo/hook: {when} }}"));
            let inputs = world.with(&[&config("a", when), &hook], json!({ "timeout": PATIENCE }));
            let preview = world.preview(&inputs).await.unwrap();
            let request = World::request(&inputs, preview.current, preview.desired);
            let ensure = |cx| async move { Kubectl::default().ensure(&cx, &request).await };
            ends_once(&format!("a hook that runs {when}"), &world.cx, ensure, succeeds(namespace)).await;
            assert_eq!(world.observe(&inputs).await, preview.desired);
            kubectl(namespace, &["delete", "jobs", "--all", "--cascade=foreground"]);
        }
        let settings = json!({ "manifest": "ask.yaml", "images": { "shop/web": "web" }, "timeout": PATIENCE });
        let inputs = world.of_files(&[("ask.yaml", &job(""))], settings);
        let request = CheckRequest { inputs, check: "job".into(), token: "run".into() };
        let verify = |cx| async move {
            let result = Job::default().verify(&cx, &request).await?;
            assert!(result.passed, "{result:?}");
            Ok(())
        };
        ends_once("the check job", &world.cx, verify, succeeds(namespace)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_of_helm_is_told_of_its_end_and_asks_nothing_again() {
        for helm in charts::BOTH {
            told(helm).await;
        }
    }

    async fn told(helm: Helm) {
        let Some(world) = charts::World::new(helm) else { return };
        let web = charts::web(", annotations: { promo.test/kubelet: notready }");
        let inputs = world.inputs(&[("chart/templates/web.yaml", &web)], &json!({ "timeout": PATIENCE }));
        world.deploy(&inputs).await;
        until("no pods came", || two_pods(&world.namespace)).await;
        ends(&format!("deploy.helm, {helm:?}"), &world.namespace, &world.cx, |cx| async move {
            Helms::default().settle(&cx, &ObserveRequest { inputs }).await
        })
        .await;
    }
}
