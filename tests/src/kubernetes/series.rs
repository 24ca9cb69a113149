//! Releases that follow each other into the namespaces of a pipeline, each with a number of its own in all that it declares, and what is
//! live of them. What must not live here: what is to come of it.
#![expect(clippy::missing_panics_doc, reason = "only tests use it: a panic is the report")]

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Namespace;
use super::kills::Faulty;
use super::pipeline::{Pipeline, kubectl};

/// The script of the check `smoke`, where releases are judged by one.
const SMOKE: &str = "smoke.sh";

/// A pipeline, and the number of its last release.
pub struct Series {
    pipeline: Pipeline,
    program: &'static str,
    /// How often it was released.
    pub number: usize,
}

impl std::ops::Deref for Series {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl Series {
    /// Nothing is released yet; `program` is the fault runner.
    #[must_use]
    pub fn of(pipeline: Pipeline, program: &'static str) -> Self {
        Self { pipeline, program, number: 0 }
    }

    /// promo with faults on it.
    #[must_use]
    pub fn faulty(&self) -> Faulty<'_> {
        Faulty::on(&self.pipeline, self.program)
    }

    /// Adds the next release: its number as a value, a map that no other one has, and pods that behave so; `also` are further objects.
    pub async fn adds(&mut self, behaves: &str, also: &str) {
        self.number += 1;
        let n = self.number;
        self.declare(
            &n.to_string(),
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata: {{ key: \"KEY\" }}\n---\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: only-{n} }}\n---\n{also}\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
                 selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
                 metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
                 spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
            ),
        );
        self.release(&format!("1.{n}.0")).await;
    }

    /// From now on releases are judged by a script, which is part of each of them; the next one's says this.
    pub fn judged_by(&self, script: &str) {
        self.write(SMOKE, script);
        if !self.read("promo.toml").contains(SMOKE) {
            self.edit(
                "promo.toml",
                "run = [\"true\"] }",
                &format!("run = [\"sh\", \"{SMOKE}\"], files = [\"{SMOKE}\"] }}"),
            );
        }
    }

    /// What is in each namespace.
    #[must_use]
    pub fn live(&self) -> Vec<Live> {
        self.namespaces.iter().map(Live::of).collect()
    }

    /// The run that was broken off, if one was, as whoever asks how things stand is told of it: `status` leads on with it, and it is
    /// shown as one that has not ended.
    #[must_use]
    pub fn named(&self, cell: &str) -> Option<String> {
        let status = self.ends(0, &["status"]);
        let run = status.split_once("promo resume ")?.1.split_whitespace().next().unwrap_or_default().to_owned();
        assert!(status.contains(&format!("\nNext: promo resume {run}")), "{cell}: {status}");
        let shown = self.ends(0, &["show", &run]);
        assert!(shown.contains(&format!("\nNext: promo resume {run}")), "{cell}: {shown}");
        Some(run)
    }
}

/// What is in a namespace of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Of the Deployment.
    pub image: String,
    /// How its pods are to behave.
    pub behaves: String,
    /// What the pods run that are there to stay.
    pub pods: Vec<String>,
    /// The number of the release, as the map has it that each of them changes.
    pub value: String,
    /// The numbers of the maps that only one release has.
    pub only: Vec<String>,
    /// Of each inventory of promo, whether all of it was applied.
    pub applied: Vec<bool>,
    /// How the newest revision of helm stands.
    pub status: Option<String>,
}

impl Live {
    fn of(namespace: &Namespace) -> Self {
        let text = kubectl(namespace, &["get", "deployments,pods,configmaps,secrets", "-o", "json"]);
        let all: Value = serde_json::from_str(&text).expect("it is JSON");
        let of = |kind: &'static str| {
            all["items"].as_array().expect("it is a list").iter().filter(move |object| object["kind"] == kind)
        };
        let name = |object: &Value| text_of(object, "/metadata/name");
        let web = of("Deployment").find(|object| name(object) == "web").cloned().unwrap_or_default();
        let stays =
            |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running";
        let pods = of("Pod").filter(|pod| text_of(pod, "/metadata/labels/app") == "web").filter(stays);
        let maps: Vec<&Value> = of("ConfigMap").collect();
        let value = maps.iter().find(|map| name(map) == "a").map(|map| text_of(map, "/data/key")).unwrap_or_default();
        let revision = |secret: &&Value| text_of(secret, "/metadata/labels/version").parse::<u64>().unwrap_or_default();
        let newest =
            of("Secret").filter(|secret| text_of(secret, "/metadata/labels/owner") == "helm").max_by_key(revision);
        Self {
            image: text_of(&web, "/spec/template/spec/containers/0/image"),
            behaves: text_of(&web, "/spec/template/metadata/annotations/promo.test~1kubelet"),
            pods: pods.map(|pod| text_of(pod, "/spec/containers/0/image")).collect(),
            value,
            only: maps.iter().filter_map(|map| Some(name(map).strip_prefix("only-")?.to_owned())).collect(),
            applied: of("Secret").filter(|secret| secret["type"] == "promo/inventory.v1").map(applied).collect(),
            status: newest.map(|secret| text_of(secret, "/metadata/labels/status")),
        }
    }

    /// All of the release with this number is there and nothing else, its pods run, and nothing is under way.
    #[must_use]
    pub fn is(&self, number: usize) -> bool {
        let number = number.to_string();
        self.pods == [self.image.as_str()]
            && !self.image.is_empty()
            && self.value == number
            && self.only == [number]
            && self.applied == [true]
            && self.status.as_deref().is_none_or(|status| status == "deployed")
    }
}

fn text_of(object: &Value, path: &str) -> String {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Whether all that an inventory says was applied.
fn applied(secret: &Value) -> bool {
    let packed = STANDARD.decode(text_of(secret, "/data/inventory")).expect("it is data of a Secret");
    let mut kept = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut kept).expect("it is packed");
    let kept: Value = serde_json::from_str(&kept).expect("it is JSON");
    kept["phase"] == "applied"
}
