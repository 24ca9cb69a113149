//! The checks `probe` and `http` beside real rollouts on a cluster (R33, S1.3). No container runs here. What answers is a real server of
//! the test, as a Service would: with 200 as long as its EndpointSlices name a pod that is ready, at the moment of the request,
//! and else with 503. Which pods are ready, the controllers of the cluster say.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{Pipeline, kubectl, said, wait_for};

/// What the Service `web` of a namespace answers, and what it has answered.
struct Front {
    address: String,
    slices: Api<DynamicObject>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Front {
    async fn of(namespace: &Namespace) -> Self {
        // As servers before 1.21 have it.
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("discovery.k8s.io", "v1beta1", "EndpointSlice"));
        let slices = Api::namespaced_with(namespace.client().await, namespace.name(), &kind);
        let answers: Arc<Mutex<Vec<u16>>> = Arc::default();
        let (kept, slices_asked) = (answers.clone(), slices.clone());
        let answer = move || {
            let (slices, kept) = (slices_asked.clone(), kept.clone());
            async move {
                let ready = ready(&slices).await;
                let status = if ready > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                kept.lock().unwrap().push(status.as_u16());
                (status, format!("{ready} pods"))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { address, slices, answers }
    }

    /// How many of its answers, from that one on, had this status.
    fn since(&self, first: usize, status: u16) -> usize {
        self.answers.lock().unwrap()[first..].iter().filter(|answered| **answered == status).count()
    }

    fn all(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

/// How many pods get what is sent to the Service.
async fn ready(slices: &Api<DynamicObject>) -> usize {
    let of = ListParams::default().labels("kubernetes.io/service-name=web");
    let listed = slices.list(&of).await.unwrap();
    let endpoints = listed.items.iter().filter_map(|slice| slice.data["endpoints"].as_array()).flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}

const ROLLING: &str = "{ type: RollingUpdate, rollingUpdate: { maxUnavailable: 0, maxSurge: 2 } }";
const AT_ONCE: &str = "{ type: Recreate }";

/// A Deployment and its Service; the number tells one from the next.
fn manifests(number: u8, strategy: &str, behaves: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  strategy: {strategy}\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    metadata:\n      \
         labels: {{ app: web, number: \"{number}\" }}\n      annotations: {{ promo.test/kubelet: {behaves} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\n\
         spec: {{ selector: {{ app: web }}, ports: [{{ port: 80, protocol: TCP }}] }}\n"
    )
}

/// The next release is under way, and its pods get ready once `then`; how it ends.
fn ends(pipeline: &Pipeline, then: impl Fn() -> bool) -> (Option<i32>, String) {
    let mut child: Child = pipeline.promo(&["advance"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut healing = false;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        healing = healing || then();
        if healing {
            let all = ["annotate", "pods", "--all", "--overwrite", "promo.test/kubelet=run"];
            // One that goes away meanwhile is healed as well.
            let _ = pipeline.namespaces[0].kubectl().args(all).output();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), said(&output))
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r33_a_rollout_that_keeps_pods_ready_passes_the_probe_and_one_that_leaves_none_goes_back() {
        let Some(namespace) = Namespace::new() else { return };
        let front = Front::of(&namespace).await;
        let pipeline = Pipeline::on(vec![namespace], |namespaces| {
            let dev = Pipeline::environment("dev", "development", "", &namespaces[0]);
            let address = &front.address;
            format!(
                "[checks.downtime]\nprobe = {{ url = \"{address}\", every = \"1s\" }}\n\
                 [checks.answers]\nhttp = {{ url = \"{address}\", contains = \" pods\" }}\n\
                 [checks.ready]\nendpoints = {{ service = \"web\", min = 2 }}\n\
                 [defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\nimages = {{ \"shop/web\" = \"web\" }}\n\
                 timeout = \"60s\"\n{}",
                dev.replace("verify = [\"smoke\"]", "verify = [\"ready\"]")
            )
        })
        .await;
        let namespace = &pipeline.namespaces[0];
        let pods = |number: u8| {
            let of = format!("number={number}");
            kubectl(namespace, &["get", "pods", "-l", &of, "-o", "name"]).lines().count()
        };
        pipeline.write("manifests/all.yaml", &manifests(1, ROLLING, "run"));
        pipeline.release("1.0.0").await;
        pipeline.ends(0, &["advance"]);
        pipeline.edit("promo.toml", "verify = [\"ready\"]", "verify = [\"downtime\", \"answers\"]");

        // The pods of before stay until the new ones are ready, however long that takes.
        pipeline.write("manifests/all.yaml", &manifests(2, ROLLING, "notready"));
        pipeline.release("1.1.0").await;
        let asked = front.all();
        let (code, told) = ends(&pipeline, || pods(2) == 2 && front.since(asked, 200) >= 3);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!((pods(2), front.since(asked, 503)), (2, 0), "{told}");
        wait_for("those of before go", || pods(1) == 0);

        // All of before go first: for as long as the new ones take nobody is served.
        pipeline.write("manifests/all.yaml", &manifests(3, AT_ONCE, "notready"));
        pipeline.release("1.2.0").await;
        let asked = front.all();
        let (code, told) = ends(&pipeline, || pods(3) == 2 && front.since(asked, 503) >= 1);
        assert_eq!(code, Some(40), "{told}");
        assert!(told.contains("downtime failed: ") && told.contains("found 503"), "{told}");
        wait_for("what was there before is there again", || (pods(2), pods(3)) == (2, 0));

        // And `http` sees of what runs what the cluster says of it.
        kubectl(namespace, &["scale", "deployment", "web", "--replicas=0"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while ready(&front.slices).await > 0 {
            assert!(Instant::now() < deadline, "they stay");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = pipeline.promo(&["verify", "dev"]).output().unwrap();
        let told = super::said(&said);
        assert!(!said.status.success() && told.contains("answers") && told.contains("503"), "{told}");
    }
}
