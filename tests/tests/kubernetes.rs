//! The control plane that the kit starts is what tests take it for: the real server and the real controllers with a stand-in
//! for the kubelet, known to the real kubectl and to two generations of helm. promo is not in it.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::process::{Command, Output};

use promo_tests::kubernetes::{ControlPlane, Helm, Namespace};

/// A Deployment of three with its Service. A server of 1.20 does not fill in the protocol before it merges.
const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: app }
spec:
  replicas: 3
  selector: { matchLabels: { app: app } }
  template:
    metadata: { labels: { app: app } }
    spec:
      containers: [{ name: app, image: "registry.test/team/IMAGE" }]
---
apiVersion: v1
kind: Service
metadata: { name: app }
spec: { selector: { app: app }, ports: [{ port: 80, protocol: TCP }] }
"#;

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: { name: job }
spec:
  backoffLimit: 0
  template:
    spec: { restartPolicy: Never, containers: [{ name: job, image: "registry.test/team/IMAGE" }] }
"#;

/// Runs a command to its end, which is to be a good one.
fn well(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command to its end, which is to be a bad one, and returns what it says.
fn badly(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A manifest with that image, in a file of its own.
fn file(manifest: &str, image: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, manifest.replace("IMAGE", image)).unwrap();
    file
}

fn apply(namespace: &Namespace, manifest: &str, image: &str) {
    let file = file(manifest, image);
    well(namespace.kubectl().args(["apply", "--server-side", "-f"]).arg(file.path()));
}

mod needs_kubernetes {
    use std::time::{Duration, Instant};

    use k8s_openapi::api::core::v1::{ConfigMap, Namespace as Object};
    use kube::Api;
    use kube::api::{DeleteParams, PostParams};

    use super::*;

    #[test]
    fn a_deleted_namespace_goes_away_with_what_is_in_it() {
        let Some(namespace) = Namespace::new() else { return };
        namespace.ask(async |client| {
            let map = ConfigMap {
                metadata: kube::api::ObjectMeta { name: Some("map".into()), ..Default::default() },
                ..Default::default()
            };
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace.name());
            maps.create(&PostParams::default(), &map).await.unwrap();
            let all: Api<Object> = Api::all(client);
            all.delete(namespace.name(), &DeleteParams::default()).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while all.get_opt(namespace.name()).await.unwrap().is_some() {
                assert!(Instant::now() < deadline, "it is still there");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(maps.get_opt("map").await.unwrap().is_none());
        });
    }

    #[test]
    fn one_of_a_single_test_keeps_its_objects_while_its_server_is_restarted_and_is_gone_afterwards() {
        let Some(mut own) = ControlPlane::private() else { return };
        let address = own.server().to_owned();
        let namespace = Namespace::on(&own);
        let there = |namespace: &Namespace| {
            namespace
                .ask(async |client| Api::<Object>::all(client).get_opt(namespace.name()).await.ok().flatten().is_some())
        };
        assert!(there(&namespace));
        own.stop_apiserver();
        assert!(!there(&namespace), "nobody answers");
        own.start_apiserver();
        assert!(there(&namespace));
        assert_eq!(own.server(), address);
        own.restart_apiserver();
        assert!(there(&namespace));
        drop(namespace);
        drop(own);
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
    }

    mod needs_kubectl {
        use super::*;

        #[test]
        fn a_deployment_of_three_is_rolled_out_behind_its_service() {
            let Some(namespace) = Namespace::new() else { return };
            let digest = format!("sha256:{}", "d".repeat(64));
            apply(&namespace, APP, &format!("app:1@{digest}"));
            let said = well(namespace.kubectl().args(["rollout", "status", "deployment/app", "--timeout=60s"]));
            assert!(said.contains("successfully rolled out"), "{said}");
            let path = "-ojsonpath={range .items[*]}{.status.containerStatuses[0].imageID} {end}";
            let images = well(namespace.kubectl().args(["get", "pods", path]));
            assert_eq!(
                images.split_whitespace().collect::<Vec<_>>(),
                vec![format!("registry.test/team/app@{digest}"); 3]
            );
            let ready = ["get", "endpoints", "app", "-ojsonpath={.subsets[*].addresses[*].ip}"];
            assert_eq!(well(namespace.kubectl().args(ready)).split_whitespace().count(), 3);
        }

        #[test]
        fn a_new_namespace_lets_a_pod_in_at_once() {
            let Some(namespace) = Namespace::new() else { return };
            well(namespace.kubectl().args(["run", "pod", "--image=registry.test/team/app:1"]));
            well(namespace.kubectl().args(["wait", "--for=condition=Ready", "--timeout=60s", "pod/pod"]));
        }

        #[test]
        fn what_is_never_ready_never_becomes_available_until_the_switch_is_removed() {
            let Some(namespace) = Namespace::new() else { return };
            apply(&namespace, APP, "never-ready:1");
            let wait = ["rollout", "status", "deployment/app", "--timeout=2s"];
            let said = badly(namespace.kubectl().args(wait));
            assert!(said.contains("timed out"), "{said}");
            let pods = ["get", "pods", "-ojsonpath={.items[*].status.phase}"];
            assert_eq!(well(namespace.kubectl().args(pods)), "Running Running Running");
            well(namespace.kubectl().args(["annotate", "pods", "--all", "promo.test/kubelet=well"]));
            well(namespace.kubectl().args(["rollout", "status", "deployment/app", "--timeout=60s"]));
        }

        #[test]
        fn containers_crash_and_images_are_missed_as_a_kubelet_tells_it() {
            let Some(namespace) = Namespace::new() else { return };
            for (image, reason) in [("crash:1", "CrashLoopBackOff"), ("no-such-image:1", "ImagePullBackOff")] {
                apply(&namespace, APP, image);
                let wait = "{.status.containerStatuses[0].state.waiting.reason}";
                let wait = format!("--for=jsonpath={wait}={reason}");
                // Those of the image before stay until the new ones are ready, which they never are.
                let pods = format!(
                    "-ojsonpath={{.items[?(@.spec.containers[0].image=='registry.test/team/{image}')].metadata.name}}"
                );
                let deadline = Instant::now() + Duration::from_secs(30);
                let pod = loop {
                    let names = well(namespace.kubectl().args(["get", "pods", &pods]));
                    if let Some(name) = names.split_whitespace().next() {
                        break name.to_owned();
                    }
                    assert!(Instant::now() < deadline, "no pod of {image}");
                };
                well(namespace.kubectl().args(["wait", "--timeout=60s", &wait, &format!("pod/{pod}")]));
            }
        }

        #[test]
        fn a_job_completes_and_a_failing_one_fails() {
            let Some(namespace) = Namespace::new() else { return };
            apply(&namespace, JOB, "migrate:1");
            well(namespace.kubectl().args(["wait", "--for=condition=Complete", "--timeout=60s", "job/job"]));
            well(namespace.kubectl().args(["delete", "job/job"]));
            apply(&namespace, JOB, "fails:1");
            well(namespace.kubectl().args(["wait", "--for=condition=Failed", "--timeout=60s", "job/job"]));
        }

        #[test]
        fn a_user_may_what_the_test_allows_and_nothing_else() {
            let Some(namespace) = Namespace::new() else { return };
            let get = |user: &str| {
                let mut kubectl = namespace.kubectl();
                kubectl.args(["--context", user, "get", "configmaps"]);
                kubectl
            };
            for user in ["deployer", "nobody"] {
                let said = badly(&mut get(user));
                assert!(said.contains("Forbidden") && said.contains(user), "{said}");
            }
            well(namespace.kubectl().args(["create", "rolebinding", "may", "--clusterrole=edit", "--user=deployer"]));
            let deadline = Instant::now() + Duration::from_secs(30);
            while !run(&mut get("deployer")).status.success() {
                assert!(Instant::now() < deadline, "{}", badly(&mut get("deployer")));
            }
            badly(&mut get("nobody"));
        }
    }

    /// helm of that generation installs a chart, and takes it away.
    fn installs(generation: Helm, version: &str) {
        let Some(namespace) = Namespace::new() else { return };
        let said = well(namespace.helm(generation).args(["version", "--short"]));
        assert!(said.starts_with(version), "{said}");
        let chart = tempfile::tempdir().unwrap();
        std::fs::create_dir(chart.path().join("templates")).unwrap();
        std::fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: app\nversion: 1.0.0\n").unwrap();
        std::fs::write(chart.path().join("values.yaml"), "image: app:1\n").unwrap();
        std::fs::write(chart.path().join("templates/app.yaml"), APP.replace("IMAGE", "{{ .Values.image }}")).unwrap();
        let mut install = namespace.helm(generation);
        install.args(["upgrade", "--install", "app"]).arg(chart.path());
        well(install.args(["--set", "image=app:2", "--wait", "--timeout", "60s"]));
        let deployments = |name: &str| {
            namespace.ask(async |client| {
                let deployments = Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client, namespace.name());
                deployments.get_opt(name).await.unwrap()
            })
        };
        let status = deployments("app").unwrap().status.unwrap();
        assert_eq!(status.available_replicas, Some(3));
        well(namespace.helm(generation).args(["uninstall", "app", "--wait"]));
        assert!(deployments("app").is_none());
    }

    mod needs_helm {
        use super::*;

        #[test]
        fn the_fourth_generation_installs_and_uninstalls() {
            installs(Helm::Four, "v4");
        }
    }

    mod needs_helm_3 {
        use super::*;

        #[test]
        fn the_third_generation_installs_and_uninstalls() {
            installs(Helm::Three, "v3");
        }
    }
}
