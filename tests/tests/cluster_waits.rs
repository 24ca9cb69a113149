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
use promo_providers::kubectl::Kubectl;
use promo_providers::rollout::Rollout;
use promo_sdk::{CheckRequest, Clock, Context, ObserveRequest, Provider, ProviderError};
use promo_tests::charts;
use promo_tests::kubernetes::pipeline::kubectl;
use promo_tests::kubernetes::world::World;
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
    let behave = format!("promo.test/kubelet={behave}");
    kubectl(namespace, &["annotate", "pods", "-l", "app=web", "--overwrite", &behave]);
}

/// Begins a wait, has the pods get ready once it waits, and holds that it ends without ever being woken by a clock.
async fn ends<T, F>(who: &str, namespace: &Namespace, cx: &Context, wait: impl FnOnce(Context) -> F)
where
    T: Send + 'static,
    F: Future<Output = Result<T, ProviderError>> + Send + 'static,
{
    let clock = Arc::new(Still::default());
    let waits = tokio::spawn(wait(Context { clock: clock.clone(), ..cx.clone() }));
    until(&format!("{who} does not wait"), || !clock.asked().is_empty()).await;
    assert!(!waits.is_finished(), "{who}: the pods are not ready");
    pods(namespace, "run");
    let ended = tokio::time::timeout(Duration::from_secs(60), waits).await;
    let ended =
        ended.unwrap_or_else(|_| panic!("{who} was not told of the end, and wanted to sleep {:?}", clock.asked()));
    ended.unwrap().unwrap_or_else(|error| panic!("{who}: {error}"));
    // Only the end of its own time woke it, or would have.
    let asked = clock.asked();
    assert!(asked.iter().all(|asked| *asked > Duration::from_secs(PATIENCE / 2)), "{who}: {asked:?}");
}

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 2\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    \
                   metadata: { labels: { app: web }, annotations: { promo.test/kubelet: notready } }\n    \
                   spec: { containers: [{ name: web, image: shop/web }] }\n";
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
    async fn a_release_of_helm_is_told_of_its_end_and_asks_nothing_again() {
        let Some(world) = charts::World::new(Helm::Four) else { return };
        let web = charts::web(", annotations: { promo.test/kubelet: notready }");
        let inputs = world.inputs(&[("chart/templates/web.yaml", &web)], &json!({ "timeout": PATIENCE }));
        world.deploy(&inputs).await;
        until("no pods came", || two_pods(&world.namespace)).await;
        ends("deploy.helm", &world.namespace, &world.cx, |cx| async move {
            Helms::default().settle(&cx, &ObserveRequest { inputs }).await
        })
        .await;
    }
}
