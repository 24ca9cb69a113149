//! The stand-in for the kubelet, and for the scheduler: one node that takes every pod and says of it what `status.rs` makes
//! up. Nothing runs; what the API server and the controllers do with what is said is real.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent,
    WatchParams,
};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::logs::Logs;
use super::status::{self, Behaviour};

/// The name of the node.
pub(super) const NODE: &str = "node-0";

/// How often pods are looked at that change by themselves, and those of which something could not be said.
const TICK: Duration = Duration::from_millis(250);
/// A quarter of what the controllers wait for.
const RENEW: Duration = Duration::from_secs(10);
/// How long to wait when the API server does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// Works until the process ends, whatever the API server does.
pub(super) async fn run(client: Client) {
    let logs = Logs::default();
    let port = logs.serve().await;
    tokio::join!(keep_node(&client, port), keep_pods(&client, &logs));
}

/// Makes the node, and says again and again that it lives.
async fn keep_node(client: &Client, port: u16) {
    loop {
        let said = say_node(client, port).await;
        tokio::time::sleep(if said.is_ok() { RENEW } else { PAUSE }).await;
    }
}

async fn say_node(client: &Client, port: u16) -> kube::Result<()> {
    let ours = PatchParams::apply("kubelet").force();
    let nodes: Api<Node> = Api::all(client.clone());
    if nodes.get_opt(NODE).await?.is_none() {
        let labels =
            json!({ "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" });
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE, "labels": labels } });
        nodes.patch(NODE, &ours, &Patch::Apply(node)).await?;
        let room = json!({ "cpu": "1000", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": "100000" });
        let now = now();
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": "", "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            })
        };
        let status = json!({ "status": {
            "capacity": room,
            "allocatable": room,
            // Where logs are read: the API server goes there by itself.
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }, { "type": "Hostname", "address": NODE }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                condition("Ready", "True", "KubeletReady"),
            ],
        } });
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
    }
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": NODE },
        "spec": { "holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now_in_micros() },
    });
    leases.patch(NODE, &ours, &Patch::Apply(lease)).await?;
    Ok(())
}

/// A pod as it was last heard of.
struct Known {
    pod: Value,
    behaviour: Behaviour,
    since: Instant,
    ip: String,
    settled: bool,
}

/// Lists pods and follows what becomes of them, anew whenever the API server ends the one or the other.
async fn keep_pods(client: &Client, logs: &Logs) {
    let mut pods = Pods { client: client.clone(), known: HashMap::new(), addresses: 0, logs: logs.clone() };
    loop {
        // The reason does not matter: it begins again from what there is.
        let _ = pods.follow().await;
        tokio::time::sleep(PAUSE).await;
    }
}

struct Pods {
    client: Client,
    known: HashMap<String, Known>,
    addresses: u32,
    logs: Logs,
}

impl Pods {
    fn api(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<Pod>(&());
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        }
    }

    async fn follow(&mut self) -> kube::Result<()> {
        let api = self.api(None);
        let list = api.list(&ListParams::default()).await?;
        let there: Vec<_> = list.items.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.known.retain(|uid, _| there.contains(uid));
        for pod in list.items {
            self.hear(pod).await;
        }
        let version = list.metadata.resource_version.unwrap_or_default();
        let events = api.watch(&WatchParams::default().timeout(290), &version).await?;
        let mut events = std::pin::pin!(events.fuse());
        let mut tick = tokio::time::interval(TICK);
        // What was missed while there was much to do is not made up for: events come first.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.try_next() => match event? {
                    Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => self.hear(pod).await,
                    Some(WatchEvent::Deleted(pod)) => drop(self.known.remove(&pod.metadata.uid.unwrap_or_default())),
                    Some(WatchEvent::Bookmark(_)) => {}
                    Some(WatchEvent::Error(_)) | None => return Ok(()),
                },
                _ = tick.tick() => {
                    let open = self.known.iter().filter(|(_, known)| !known.settled).map(|(uid, _)| uid.clone());
                    for uid in open.collect::<Vec<_>>() {
                        self.act(&uid).await;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, pod: DynamicObject) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let pod = serde_json::to_value(pod).unwrap_or_default();
        self.logs.hear(&pod);
        let behaviour = Behaviour::of(&pod);
        let addresses = &mut self.addresses;
        let known = self.known.entry(uid.clone()).or_insert_with(|| {
            *addresses += 1;
            let [_, high, middle, low] = addresses.to_be_bytes();
            let ip = format!("10.{}.{middle}.{low}", 128 | high);
            Known { pod: Value::Null, behaviour, since: Instant::now(), ip, settled: false }
        });
        // A behaviour begins when its pod comes to the node, and when it is switched.
        let placed = |pod: &Value| pod["spec"]["nodeName"].is_string();
        if known.behaviour != behaviour || placed(&known.pod) != placed(&pod) {
            (known.behaviour, known.since) = (behaviour, Instant::now());
        }
        known.pod = pod;
        known.settled = false;
        self.act(&uid).await;
    }

    /// Does for a pod what is to be done now. What fails is tried again at the next tick, unless the pod is gone or another one
    /// than it was when it was last heard of: an event tells.
    async fn act(&mut self, uid: &str) {
        let Some(known) = self.known.get(uid) else { return };
        let settled = match self.serve(uid, known).await {
            Ok(settled) => settled,
            Err(kube::Error::Api(status)) => matches!(status.code, 404 | 409),
            Err(_) => false,
        };
        if let Some(known) = self.known.get_mut(uid) {
            known.settled = settled;
        }
    }

    /// Returns whether there is nothing more to do before the pod changes.
    async fn serve(&self, uid: &str, known: &Known) -> kube::Result<bool> {
        let pod = &known.pod;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let api = self.api(pod["metadata"]["namespace"].as_str());
        if pod["metadata"]["deletionTimestamp"].is_string() {
            let this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
            api.delete(name, &DeleteParams::default().grace_period(0).preconditions(this)).await?;
            return Ok(true);
        }
        if status::finished(pod) {
            return Ok(true);
        }
        let (said, settled) = match pod["spec"]["nodeName"].as_str() {
            None if known.behaviour == Behaviour::Pending => (status::unscheduled(pod, &now()), true),
            None => {
                let binding = json!({
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": { "name": name, "uid": uid },
                    "target": { "apiVersion": "v1", "kind": "Node", "name": NODE },
                });
                let bound = api.create_subresource("binding", name, &PostParams::default(), &binding).await;
                return bound.map(|_: Value| true);
            }
            Some(NODE) => {
                let said = status::of(pod, known.behaviour, known.since.elapsed(), &known.ip, &now());
                (said.status, said.settled)
            }
            Some(_) => return Ok(true),
        };
        if !status::says(&pod["status"], &said) {
            let patch = Patch::Merge(json!({ "metadata": { "uid": uid }, "status": said }));
            api.patch_status(name, &PatchParams::default(), &patch).await?;
        }
        Ok(settled)
    }
}

#[expect(clippy::disallowed_methods, reason = "a node tells the real time, as the servers around it do")]
fn time() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn now() -> String {
    format!("{:.0}", time())
}

fn now_in_micros() -> String {
    format!("{:.6}", time())
}
