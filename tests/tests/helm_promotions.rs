//! promo as a process that promotes a chart, with both generations of helm: other people's hands in the middle of a run, credentials that a plugin
//! brings, a history that is kept short, and two environments beside each other.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use promo_tests::charts::BOTH;
use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, said};
use promo_tests::kubernetes::world::clusters;

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: {{ .Values.replicas | default 1 }}\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    metadata:\n      labels: { app: web }\n      \
                   annotations: { promo.test/kubelet: {{ .Values.switch | default \"run\" }} }\n    \
                   spec:\n      containers:\n      - { name: web, image: \"{{ .Values.image.repository }}@{{ .Values.image.digest }}\" }\n";

/// A pipeline of two namespaces.
async fn world(by: By, also: &str) -> Option<Pipeline> {
    let pipeline = Pipeline::new(2, |namespaces| {
        let dev = Pipeline::environment("dev", "development", "", &namespaces[0]);
        let staging = Pipeline::environment("staging", "staging", "after = [\"dev\"]\n", &namespaces[1]);
        format!("{}{dev}{staging}", by.settings(&format!("timeout = \"20s\"\n{also}")))
    });
    let pipeline = pipeline.await?.with(by);
    pipeline.objects(WEB);
    Some(pipeline)
}

fn image_in(namespace: &Namespace) -> String {
    kubectl(namespace, &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"])
}

/// The revisions that helm keeps, with their statuses.
fn revisions(namespace: &Namespace) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.metadata.labels.version} {.metadata.labels.status}{\"\\n\"}{end}";
    let listed = kubectl(namespace, &["get", "secrets", "-l", "owner=helm", "--sort-by=.metadata.name", "-o", path]);
    listed.lines().map(String::from).collect()
}

fn script(pipeline: &Pipeline, name: &str, body: &str) -> PathBuf {
    pipeline.write(name, &format!("#!/bin/bash\n{body}\n"));
    let file = pipeline.path(name);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

mod needs_kubernetes {
    use super::*;

    /// S9.6: it is known what is there, and whose it is.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_revision_that_somebody_begins_in_the_middle_of_a_run_holds_it_until_the_commands_that_are_told_are_typed()
     {
        for helm in BOTH {
            let Some(world) = world(By::Helm(helm), "").await else { return };
            world.release("1.0.0").await;
            world.ends(0, &["advance"]);
            let good = image_in(&world.namespaces[0]);
            world.release("1.1.0").await;
            world.ends(0, &["plan", "dev", "--out", "plan.json"]);
            let program = world.namespaces[0].helm(helm).get_program().to_owned();
            let (kubectl, config) =
                (world.namespaces[0].kubectl().get_program().to_owned(), world.namespaces[0].kubeconfig());
            // Once promo has looked at everything, somebody upgrades, waits for what does not come, and is killed.
            let other = script(
                &world,
                "helm-and-another",
                &format!(
                    "if [[ \"$1\" != upgrade || \"$*\" == *--dry-run* ]]; then exec {program:?} \"$@\"; fi\n\
                     {program:?} upgrade shop {:?} --kubeconfig {config:?} --reuse-values --set switch=notready --wait >&2 & pid=$!\n\
                     until {kubectl:?} --kubeconfig {config:?} get secret sh.helm.release.v1.shop.v2 -o name; do sleep 0.05; done\n\
                     kill -9 $pid; wait $pid\nexec {program:?} \"$@\"",
                    world.path("chart")
                ),
            );
            let output = world.promo(&["apply", "plan.json"]).env("PROMO_HELM", &other).output().unwrap();
            let told = said(&output);
            assert_eq!(output.status.code(), Some(41), "{helm:?}: {told}");
            assert_eq!(revisions(&world.namespaces[0]), ["1 deployed", "2 pending-upgrade"], "{helm:?}: {told}");
            let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains("revision 2 of the release shop is pending-upgrade"), "{helm:?}: {told}");
            assert_eq!(world.unfinished(), None, "{helm:?}: held, and not stuck");
            // As long as it is there, nothing moves.
            let refused = world.ends(0, &["plan", "dev"]);
            assert!(refused.contains("refused") && refused.contains("Held for a person: dev"), "{helm:?}: {refused}");
            let at = words.find("`helm rollback shop 1 ").unwrap_or_else(|| panic!("{helm:?}: {told}"));
            let command = words[at + 1..].split('`').next().unwrap();
            let typed: Vec<&str> = command.split(' ').skip(1).collect();
            assert!(world.namespaces[0].helm(helm).args(&typed).status().unwrap().success(), "{typed:?}");
            assert_eq!(image_in(&world.namespaces[0]), good, "{helm:?}");
            // What is held waits for a person, who asks for it by name.
            let person = ["--actor-kind", "human"];
            world.ends(0, &[&["plan", "dev", "--release", "#2", "--out", "again.json"][..], &person].concat());
            world.ends(0, &[&["apply", "again.json"][..], &person].concat());
            assert_ne!(image_in(&world.namespaces[0]), good, "{helm:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            world.ends(0, &["ledger", "verify"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_credential_plugin_is_asked_by_promo_and_by_helm() {
        for helm in BOTH {
            let Some(world) = world(By::Helm(helm), "").await else { return };
            let text = std::fs::read_to_string(world.namespaces[0].kubeconfig()).unwrap();
            let parsed = kube::config::Kubeconfig::from_yaml(&text).unwrap();
            let admin = parsed.auth_infos.iter().find(|user| user.name == "admin").unwrap();
            let token = admin.auth_info.as_ref().unwrap().token.as_ref().unwrap();
            let token = secrecy::ExposeSecret::expose_secret(token);
            let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
            world.write(
                "plugin.kubeconfig",
                &format!(
                    "apiVersion: v1\nkind: Config\nclusters:\n- name: kit\n  cluster: {{ server: {:?}, certificate-authority-data: {:?} }}\n\
                     contexts:\n- name: ci\n  context: {{ cluster: kit, user: ci }}\nusers:\n- name: ci\n  user:\n    exec:\n      \
                     apiVersion: client.authentication.k8s.io/v1\n      command: ./plugin\n      interactiveMode: Never\n",
                    cluster.server.as_ref().unwrap(),
                    cluster.certificate_authority_data.as_ref().unwrap()
                ),
            );
            // Whoever asks is its parent.
            let answer = format!(
                "{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}"
            );
            script(&world, "plugin", &format!("cat /proc/$PPID/comm >> {:?}\necho '{answer}'", world.path("asked")));
            clusters(world.directory(), &world.path("plugin.kubeconfig"), "ci");
            world.release("1.0.0").await;
            let told = world.ends(0, &["advance"]);
            assert!(!told.contains(token), "{helm:?}: {told}");
            assert!(image_in(&world.namespaces[1]).contains("/team/web@sha256:"), "{helm:?}");
            let asked = world.read("asked");
            let by_helm = asked.lines().filter(|line| line.starts_with("helm")).count();
            assert!(by_helm > 0 && by_helm < asked.lines().count(), "{helm:?}, promo as well: {asked}");
            // Without it nobody comes in, and that is said.
            std::fs::remove_file(world.path("plugin")).unwrap();
            world.release("1.1.0").await;
            let told = world.ends(65, &["plan", "dev"]);
            assert!(told.contains("error[provider-not-found]") && told.contains("./plugin"), "{helm:?}: {told}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn helm_keeps_no_more_revisions_than_it_is_told_and_any_release_can_be_gone_back_to() {
        for helm in BOTH {
            let Some(world) = world(By::Helm(helm), "history = 2\n").await else { return };
            let mut images = Vec::new();
            for tag in ["1.0.0", "1.1.0", "1.2.0"] {
                world.release(tag).await;
                world.ends(0, &["plan", "dev", "--out", "plan.json"]);
                world.ends(0, &["apply", "plan.json"]);
                images.push(image_in(&world.namespaces[0]));
            }
            assert_eq!(revisions(&world.namespaces[0]), ["2 superseded", "3 deployed"], "{helm:?}");
            // To the one whose revision is gone.
            world.ends(0, &["rollback", "dev", "--to", "#1", "--out", "back.json"]);
            world.ends(0, &["apply", "back.json"]);
            assert_eq!(image_in(&world.namespaces[0]), images[0], "{helm:?}");
            assert_eq!(revisions(&world.namespaces[0]), ["3 superseded", "4 deployed"], "{helm:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_releases_of_a_chart_differ_in_what_is_declared_and_in_what_was_changed_by_hand() {
        for helm in BOTH {
            let Some(world) = world(By::Helm(helm), "values = [\"values/{environment}.yaml\"]\n").await else { return };
            for environment in ["dev", "staging"] {
                world.write(&format!("values/{environment}.yaml"), "replicas: 1\n");
            }
            world.release("1.0.0").await;
            world.ends(0, &["advance"]);
            let text = world.ends(0, &["diff", "dev", "staging", "--detailed-exitcode"]);
            assert!(text.contains("dev and staging do not differ"), "{helm:?}: {text}");
            world.write("values/staging.yaml", "replicas: 2\n");
            world.ends(0, &["plan", "staging", "--out", "own.json"]);
            world.ends(0, &["apply", "own.json"]);
            kubectl(&world.namespaces[1], &["scale", "deployment", "web", "--replicas=5"]);
            let answer = world.json(2, &["diff", "dev", "staging", "--detailed-exitcode"]);
            let declared = answer["declared"].as_array().unwrap();
            assert_eq!(declared.len(), 1, "{helm:?}: {answer:#}");
            assert_eq!(declared[0]["name"], "values/{environment}.yaml", "{helm:?}: {answer:#}");
            let states: Vec<&str> =
                answer["undeclared"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
            assert_eq!(states, ["same", "differs"], "{helm:?}: {answer:#}");
            let text = world.ends(0, &["diff", "staging", "dev", "--undeclared"]);
            assert!(text.contains("spec.replicas") && !text.contains("values/"), "{helm:?}: {text}");
        }
    }
}
