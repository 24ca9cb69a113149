//! Never the ambient context (R30): whatever `KUBECONFIG`, the home directory, helm's own variables and the current context of the very file
//! lead to, promo and what it starts go to the cluster and the namespace that the target names. There are always two live clusters here, and
//! what promo has deployed in the other one stays as it is, byte by byte; nobody even asks there.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, said};
use promo_tests::kubernetes::{ControlPlane, Namespace};
use serde_json::{Value, json};

const OBJECTS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { key: \"KEY\" }\n---\n\
                       apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                       spec: { selector: { app: web }, ports: [{ port: 80, protocol: TCP }] }\n---\n\
                       apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 1\n  \
                       selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    \
                       spec: { containers: [{ name: web, image: shop/web }] }\n";

/// A pipeline of one namespace, deployed and checked.
async fn pipeline(by: By, namespace: Namespace) -> Pipeline {
    let pipeline = Pipeline::on(vec![namespace], |namespaces| {
        let dev = Pipeline::environment("dev", "development", "", &namespaces[0]);
        format!(
            "[checks.runs]\nrollout = {{ objects = [\"Deployment/web\"], timeout = \"20s\" }}\n\
             [checks.leads]\nendpoints = {{ service = \"web\", timeout = \"20s\" }}\n{}{}",
            by.settings("timeout = \"30s\"\n"),
            dev.replace("verify = [\"smoke\"]", "verify = [\"runs\", \"leads\"]")
        )
    });
    let pipeline = pipeline.await.with(by);
    pipeline.declare("1", OBJECTS);
    pipeline
}

/// A context of a kubeconfig: its name, whose cluster and user it takes, and its namespace.
type Context<'a> = (&'a str, &'a Namespace, &'a str);

/// A kubeconfig of these contexts, of which the last one is current.
fn kubeconfig(contexts: &[Context<'_>]) -> String {
    let mut config = json!({ "apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [] });
    for (name, at, namespace) in contexts {
        let view = kubectl(at, &["config", "view", "--raw", "--minify", "-o", "json"]);
        let view: Value = serde_json::from_str(&view).unwrap();
        let mut add = |list: &str, key: &str, what: Value| {
            config[list].as_array_mut().unwrap().push(json!({ "name": name, key: what }));
        };
        add("clusters", "cluster", view["clusters"][0]["cluster"].clone());
        add("users", "user", view["users"][0]["user"].clone());
        add("contexts", "context", json!({ "cluster": name, "user": name, "namespace": namespace }));
        config["current-context"] = (*name).into();
    }
    config.to_string()
}

/// Everything in a namespace, with the version of each object, which any write changes.
fn everything(at: &Namespace, namespace: &str) -> Vec<String> {
    let kinds = "configmaps,secrets,services,deployments,replicasets,pods,endpoints,jobs";
    let row = "{.kind} {.metadata.name} {.metadata.uid} {.metadata.resourceVersion}";
    let path = format!("jsonpath={{range .items[*]}}{row}{{\"\\n\"}}{{end}}");
    let listed = kubectl(at, &["get", kinds, "--namespace", namespace, "-o", &path]);
    assert!(listed.contains("ConfigMap a "), "{namespace}: {listed}");
    listed.lines().map(String::from).collect()
}

/// How it runs here: the image, and the map.
fn live(pipeline: &Pipeline) -> [String; 2] {
    let get = |what: &str, path: &str| kubectl(pipeline.dev(), &["get", what, "-o", &format!("jsonpath={{{path}}}")]);
    [get("deployment/web", ".spec.template.spec.containers[0].image"), get("configmap/a", ".data.key")]
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_nothing_but_the_named_cluster_and_namespace_is_touched_wherever_the_machine_leads_to() {
        let Some(mut plane) = ControlPlane::private() else { return };
        for by in By::ALL {
            // The other cluster, with the same release under the same names.
            let there = pipeline(by, Namespace::on(&plane)).await;
            there.release("1.0.0").await;
            there.ends(0, &["advance"]);
            let here = pipeline(by, Namespace::new().unwrap()).await;
            // A namespace there with the name of ours, and one beside ours with the same objects.
            let twin = here.dev().name().to_owned();
            let beside = Namespace::new().unwrap();
            here.write("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { key: theirs }\n");
            let map = here.path("a.yaml").display().to_string();
            kubectl(there.dev(), &["create", "namespace", &twin]);
            kubectl(there.dev(), &["apply", "--namespace", &twin, "-f", &map]);
            kubectl(&beside, &["apply", "-f", &map]);

            // Of the file that is named neither the current context counts, nor the namespace of the one that does.
            here.write(
                "named.kubeconfig",
                &kubeconfig(&[("named", here.dev(), beside.name()), ("elsewhere", there.dev(), there.dev().name())]),
            );
            here.write(
                "clusters.toml",
                "format = 1\n[cluster.kit]\nkubeconfig = \"named.kubeconfig\"\ncontext = \"named\"\n",
            );
            // Where everything else leads to.
            let ambient = kubeconfig(&[
                ("kit", there.dev(), &twin),
                ("elsewhere", there.dev(), &twin),
                ("named", there.dev(), &twin),
            ]);
            here.write(".kube/config", &ambient);
            here.write("ambient.kubeconfig", &ambient);
            let config: Value = serde_json::from_str(&ambient).unwrap();
            let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
            let token = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
            let (host, port) = server.trim_start_matches("https://").split_once(':').unwrap();
            let variables = [
                ("KUBECONFIG", here.path("ambient.kubeconfig").display().to_string()),
                ("KUBERNETES_SERVICE_HOST", host.into()),
                ("KUBERNETES_SERVICE_PORT", port.into()),
                ("HELM_KUBECONTEXT", "elsewhere".into()),
                ("HELM_NAMESPACE", there.dev().name().into()),
                ("HELM_KUBEAPISERVER", server.clone()),
                ("HELM_KUBETOKEN", token),
                ("HELM_DRIVER", "configmap".into()),
            ];
            let ends = |words: &[&str]| {
                let output = here.promo(words).envs(variables.clone()).output().unwrap();
                assert_eq!(output.status.code(), Some(0), "{by:?}: {words:?}: {}", said(&output));
            };
            let theirs = || {
                let namespaces =
                    [(there.dev(), there.dev().name()), (there.dev(), twin.as_str()), (&beside, beside.name())];
                namespaces.map(|(at, namespace)| everything(at, namespace))
            };
            let before = theirs();

            here.release("1.0.0").await;
            ends(&["advance"]);
            let first = live(&here);
            assert!(first[0].contains("/team/web@sha256:") && first[1] == "1", "{by:?}: {first:?}");
            here.declare("2", OBJECTS);
            here.release("1.1.0").await;
            ends(&["plan", "dev", "--out", "plan.json"]);
            ends(&["apply", "plan.json"]);
            assert_eq!(live(&here)[1], "2", "{by:?}");
            ends(&["drift", "dev", "--detailed-exitcode"]);
            ends(&["verify", "dev"]);
            assert_eq!(theirs(), before, "{by:?}: what is elsewhere is somebody else's");

            // Where nobody answers any more, nobody is missed.
            tokio::task::block_in_place(|| plane.stop_apiserver());
            ends(&["rollback", "dev", "--to", "#1", "--out", "back.json"]);
            ends(&["apply", "back.json"]);
            assert_eq!(live(&here), first, "{by:?}");
            ends(&["drift", "dev", "--detailed-exitcode"]);
            tokio::task::block_in_place(|| plane.start_apiserver());
            assert_eq!(theirs(), before, "{by:?}");
        }
    }
}
