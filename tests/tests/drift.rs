//! Drift of clusters (R37): what somebody changed with a real kubectl in a real API server is told by
//! object and field.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::time::{Duration, Instant};

use promo_tests::kubernetes::Namespace;
use promo_tests::kubernetes::pipeline::{Pipeline, kubectl, said};
use serde_json::Value;

const MANIFESTS: &str = "\
# What the shop is.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2 # enough
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      containers:
        - name: web
          image: shop/web
          env:
            - name: GREETING
              value: hello
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  color: blue
  size: small
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { token: canary-secret }
";

/// A pipeline of two namespaces, which are declared alike but for one map.
async fn alike() -> Option<Pipeline> {
    alike_of(2).await
}

/// The same with further namespaces that are nobody's.
async fn alike_of(namespaces: usize) -> Option<Pipeline> {
    let world = Pipeline::new(namespaces, |namespaces| {
        format!(
            "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\", \"values/{{environment}}.yaml\"]\n\
             images = {{ \"shop/web\" = \"web\" }}\ntimeout = \"30s\"\n{}{}",
            Pipeline::environment("dev", "development", "", &namespaces[0]),
            Pipeline::environment("staging", "staging", "after = [\"dev\"]\n", &namespaces[1]),
        )
    });
    let world = world.await?;
    world.write("manifests/web.yaml", MANIFESTS);
    for name in ["dev", "staging"] {
        let own = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: own\ndata:\n  where: {name}\n");
        world.write(&format!("values/{name}.yaml"), &own);
    }
    Some(world)
}

/// The same with a release that runs in both.
async fn deployed() -> Option<Pipeline> {
    let world = alike().await?;
    world.release("1.0.0").await;
    world.ends(0, &["advance"]);
    Some(world)
}

/// The plan that takes back what differs in dev, applied; gives what it said.
fn take_back(world: &Pipeline) -> String {
    let next = world.json(0, &["drift", "dev"])["next"].as_str().unwrap().to_owned();
    let words: Vec<&str> = next.split(' ').skip(1).collect();
    let said = world.ends(0, &words);
    world.ends(0, &["apply", words.last().unwrap()]);
    said
}

/// What an answer tells of a field: its class, what was recorded, what is there and who changed it.
fn field<'v>(answer: &'v Value, object: &str, path: &str) -> &'v Value {
    let objects = answer["environments"][0]["places"][0]["objects"].as_array().unwrap();
    let object = objects.iter().find(|one| one["object"] == object).unwrap_or_else(|| panic!("{object} in {answer:#}"));
    let fields = object["fields"].as_array().unwrap();
    fields.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path} in {answer:#}"))
}

const IMAGE: &str = "spec.template.spec.containers[name=\"web\"].image";

/// A patch, a scale, another image, and a deletion.
fn by_hand(namespace: &Namespace) {
    kubectl(namespace, &["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"color":"red"}}"#]);
    kubectl(namespace, &["scale", "deployment", "web", "--replicas=5"]);
    kubectl(namespace, &["set", "image", "deployment/web", "web=shop/other:1"]);
    kubectl(namespace, &["delete", "configmap", "own"]);
}

/// What nothing declares.
fn beside(namespace: &Namespace) {
    let patch = r#"{"metadata":{"annotations":{"example.com/on-call":"dana"}},"data":{"more":"Y2FuYXJ5"}}"#;
    kubectl(namespace, &["patch", "secret", "keys", "--type=merge", "-p", patch]);
}

fn get(namespace: &Namespace, object: &str, path: &str) -> String {
    kubectl(namespace, &["get", object, "-o", &format!("jsonpath={path}")])
}

/// The pods, once there are so many and all are ready.
fn pods(namespace: &Namespace, number: usize) -> Vec<String> {
    let ready = "{.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    let deadline = Instant::now() + Duration::from_secs(30);
    while get(namespace, "pods", ready).split_whitespace().filter(|ready| *ready == "True").count() != number {
        assert!(Instant::now() < deadline, "{}", kubectl(namespace, &["get", "pods"]));
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut names: Vec<String> =
        get(namespace, "pods", "{.items[*].metadata.uid}").split_whitespace().map(String::from).collect();
    names.sort();
    names
}

/// Who owns fields of an object.
fn managers(namespace: &Namespace, object: &str) -> String {
    let path = "jsonpath={.metadata.managedFields[*].manager}";
    kubectl(namespace, &["get", object, "--show-managed-fields", "-o", path])
}

/// Types a command of kubectl that promo has told, with the kubectl of the tests.
fn types(namespace: &Namespace, command: &str) {
    let words = shlex::split(command).unwrap();
    let (program, words) = words.split_first().unwrap();
    assert_eq!(program, "kubectl", "{command}");
    // All of it stands in the command: where the cluster is, and who asks.
    let kubectl = namespace.kubectl().get_program().to_owned();
    let output = promo_tests::binary::command(kubectl).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", said(&output));
}

mod needs_kubernetes {
    mod needs_kubectl {
        use super::super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn what_was_added_stays_and_the_commands_that_are_told_take_it_away_and_nothing_else() {
            let Some(world) = deployed().await else { return };
            let before = get(world.dev(), "deployment/web", "{.spec.template}");
            kubectl(world.dev(), &["set", "env", "deployment/web", "FOO=bar", "MORE=x"]);
            kubectl(world.dev(), &["annotate", "deployment", "web", "example.com/on-call=dana"]);
            kubectl(world.dev(), &["label", "configmap", "settings", "team=shop"]);
            let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"debug","image":"shell"}]}}}}"#;
            kubectl(world.dev(), &["patch", "deployment", "web", "--type=strategic", "-p", patch]);
            beside(world.dev());
            // No deployment takes it back, and none is told to.
            let next = |answer: &Value| answer["next"].as_str().unwrap().to_owned();
            for words in [&["drift", "dev"][..], &["adopt", "dev"]] {
                let text = world.ends(0, words);
                assert!(
                    text.contains("stays, also with the next promotion: declare it too, or take it away"),
                    "{text}"
                );
                assert!(!text.contains("takes it back") && !text.contains("would take it back"), "{text}");
                let ways: Vec<&str> =
                    text.lines().filter(|line| line.starts_with("Also:") || line.starts_with("Next:")).collect();
                assert!(ways.iter().all(|way| way.contains(": kubectl ") || way.contains(" kubectl --")), "{ways:#?}");
                assert!(next(&world.json(0, words)).starts_with("kubectl --kubeconfig "), "{text}");
            }
            let text = world.ends(65, &["adopt", "dev", "--write"]);
            assert!(text.contains("Nothing was written."), "{text}");
            // One after the other, as they stand behind `Next:`.
            let mut typed = Vec::new();
            loop {
                let answer = world.json(0, &["drift", "dev"]);
                let Some(command) = answer["next"].as_str() else { break };
                types(world.dev(), command);
                typed.push(command.to_owned());
                assert!(typed.len() < 9, "{typed:#?}");
            }
            let verbs = ["annotate", "label", "set env", "patch"];
            assert!(verbs.iter().all(|verb| typed.iter().any(|one| one.contains(&format!(" {verb} ")))), "{typed:#?}");
            assert_eq!(get(world.dev(), "deployment/web", "{.spec.template}"), before);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_no_file_can_keep_is_said_and_leads_to_what_can_be_done() {
            let Some(world) = deployed().await else { return };
            kubectl(world.dev(), &["set", "image", "deployment/web", "web=shop/other:1"]);
            kubectl(world.dev(), &["delete", "configmap", "own"]);
            kubectl(world.dev(), &["annotate", "deployment", "web", "example.com/on-call=dana"]);
            let text = world.ends(0, &["adopt", "dev"]);
            for words in [
                "The image is the release's: build what is to run and add it as a release, or take it back.",
                "ConfigMap/own is gone, which no value keeps so: the next deployment puts it back unless the files declare it no more.",
                "What was added beside what is declared stays",
                "Also: promo release add web=TAG   (dev: keep an image, once it is built)",
                "annotate deployment.apps/web example.com/on-call-   (dev: take away what was added)",
            ] {
                assert!(text.contains(words), "{words}: {text}");
            }
            assert!(!text.contains("by hand to keep it") && !text.contains("adopt dev "), "{text}");
            let drift = world.json(0, &["drift", "dev"]);
            assert_eq!(world.json(0, &["adopt", "dev"])["next"], drift["next"], "it is taken back");
            assert!(drift["also"].to_string().contains("dev: what keeping it takes"), "{drift:#}");
            world.ends(65, &["adopt", "dev", "--write"]);
            take_back(&world);
            assert!(get(world.dev(), "configmap/own", "{.data.where}") == "dev");
        }

        /// Who follows that advice is told what the plan does: it keeps what is there.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_plan_of_what_was_declared_since_as_it_was_changed_by_hand_keeps_it() {
            let Some(world) = deployed().await else { return };
            kubectl(world.dev(), &["patch", "configmap", "own", "--type=merge", "-p", r#"{"data":{"where":"there"}}"#]);
            let text = world.ends(0, &["adopt", "dev", "--write"]);
            assert!(text.contains("Next: promo plan dev\n"), "{text}");
            let plan = world.ends(0, &["plan", "dev", "--out", "keep.json"]);
            assert!(
                plan.contains(
                    "keeps what was changed by hand on default: it is declared so now, and nothing there changes"
                ),
                "{plan}"
            );
            assert!(!plan.contains("takes back"), "{plan}");
            let applied = world.ends(0, &["apply", "keep.json"]);
            assert!(applied.contains("nothing to change"), "{applied}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            assert_eq!(get(world.dev(), "configmap/own", "{.data.where}"), "there");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_was_changed_by_hand_is_told_by_object_field_and_who_and_nothing_else_is() {
            let Some(world) = deployed().await else { return };
            let quiet = world.json(0, &["drift", "--detailed-exitcode"]);
            assert_eq!(quiet["differs"], false, "{quiet:#}");
            // What controllers, a restart and kubectl's own marks leave is no difference.
            kubectl(world.dev(), &["rollout", "restart", "deployment", "web"]);
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            by_hand(world.dev());
            beside(world.dev());
            let ledger = world.json(0, &["status"])["ledger"]["size"].clone();
            let answer = world.json(2, &["drift", "dev", "--detailed-exitcode"]);
            for (object, path, class, recorded, live, by) in [
                ("ConfigMap/settings", "data.color", "changed", "blue", "red", "kubectl-patch"),
                ("Deployment/web", "spec.replicas", "scaled", "2", "5", "kubectl"),
                ("Deployment/web", IMAGE, "image", "", "shop/other:1", "kubectl-set"),
                ("Secret/keys", "data.more", "added", "", "(masked)", "kubectl-patch"),
                ("Secret/keys", "metadata.annotations[\"example.com/on-call\"]", "added", "", "dana", "kubectl-patch"),
            ] {
                let told = field(&answer, object, path);
                let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
                assert_eq!((text("class").as_str(), text("live").as_str()), (class, live), "{told}");
                assert!(recorded.is_empty() || text("recorded") == recorded, "{told}");
                // A server before 1.22 does not keep who scaled.
                let known = !text("by").is_empty() || class != "scaled";
                assert!(!known || text("by").starts_with(by) && told["at"].is_string(), "{told}");
            }
            assert!(
                field(&answer, "Deployment/web", IMAGE)["recorded"].as_str().unwrap().contains("/team/web@sha256:")
            );
            let objects = answer["environments"][0]["places"][0]["objects"].as_array().unwrap();
            let own = objects.iter().find(|one| one["object"] == "ConfigMap/own").unwrap();
            assert_eq!(own["class"], "deleted", "{answer:#}");
            let told: usize = objects.iter().map(|one| one["fields"].as_array().map_or(0, Vec::len)).sum();
            assert_eq!((objects.len(), told), (4, 5), "nothing else: {answer:#}");
            let text = world.ends(0, &["drift", "dev"]);
            assert!(text.contains("dev: 4 objects differ from r-"), "{text}");
            assert!(text.contains("2 → 5") && text.contains("scaled") && text.contains("by kubectl-patch, "), "{text}");
            assert!(text.trim_end().lines().last().unwrap().starts_with("Next: promo plan dev --release r-"), "{text}");
            assert_eq!(world.json(0, &["status"])["ledger"]["size"], ledger, "drift wrote");
            // The other one is as it was.
            world.ends(0, &["drift", "staging", "--detailed-exitcode"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_place_that_cannot_be_looked_at_is_named_and_no_pass() {
            let Some(world) = deployed().await else { return };
            world.write("clusters.toml", "format = 1\n");
            let answer = world.json(1, &["drift"]);
            assert_eq!(
                (&answer["whole"], &answer["environments"][0]["state"]),
                (&false.into(), &"not-looked-at".into())
            );
            let text = world.ends(1, &["drift", "dev"]);
            assert!(
                text.contains("dev: cannot be looked at") && text.contains("nothing says where cluster `kit` is"),
                "{text}"
            );
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_promo_keeps_of_a_place_and_is_gone_is_said() {
            let Some(world) = deployed().await else { return };
            kubectl(world.dev(), &["delete", "secret", "promo.promo"]);
            let answer = world.json(0, &["drift", "dev"]);
            assert_eq!(answer["environments"][0]["state"], "differs");
            let note = answer["environments"][0]["places"][0]["note"].as_str().unwrap_or_default();
            assert!(note.contains("Secret/promo.promo") && note.ends_with("is gone"), "{answer:#}");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_plan_names_every_field_that_it_takes_back_and_apply_takes_them_back() {
            let Some(world) = deployed().await else { return };
            by_hand(world.dev());
            let said = take_back(&world);
            assert!(said.contains("takes back what was changed by hand on default: "), "{said}");
            for words in [
                "ConfigMap/own is put back",
                "ConfigMap/settings data.color red → blue",
                "Deployment/web spec.replicas 5 → 2",
                &format!("Deployment/web {IMAGE} shop/other:1 → "),
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            assert_eq!(get(world.dev(), "deployment/web", "{.spec.replicas}"), "2");
            assert_eq!(get(world.dev(), "configmap/settings", "{.data.color}"), "blue");
            // Of what nothing declares no plan takes anything back, and that is said.
            beside(world.dev());
            let text = world.ends(2, &["drift", "dev", "--detailed-exitcode"]);
            assert!(text.contains("What was added beside what is declared stays"), "{text}");
            world.ends(0, &["plan", "dev", "--detailed-exitcode"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn what_is_kept_is_written_into_the_manifests_that_declare_it_and_travels_from_there() {
            let Some(world) = deployed().await else { return };
            kubectl(
                world.dev(),
                &["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"color":"red"}}"#],
            );
            kubectl(world.dev(), &["scale", "deployment", "web", "--replicas=5"]);
            let answer = world.json(0, &["adopt", "dev"]);
            assert_eq!(answer["files"][0]["state"], "can-be-written", "{answer:#}");
            assert_eq!(answer["files"][0]["shared"], true);
            assert_eq!(world.read("manifests/web.yaml"), MANIFESTS, "nothing is written unasked");
            // Beside what no file keeps, what the files say is named, and the long row of it draws no other apart.
            kubectl(world.dev(), &["set", "image", "deployment/web", "web=shop/other:1"]);
            let text = world.ends(0, &["adopt", "dev", "--write"]);
            assert!(
                text.contains("stays only where the files declare it") && text.contains("(written; shared"),
                "{text}"
            );
            let of = "The files say so of ConfigMap/settings data.color, Deployment/web spec.replicas now;";
            assert!(text.contains(of), "{text}");
            assert!(text.contains("another image by kubectl-set") && !text.contains(&" ".repeat(60)), "{text}");
            let expected = MANIFESTS.replace("replicas: 2 # enough", "replicas: 5 # enough");
            assert_eq!(world.read("manifests/web.yaml"), expected.replace("color: blue", "color: red"));
            world.release("1.1.0").await;
            world.ends(0, &["advance"]);
            assert_eq!(get(world.staging(), "configmap/settings", "{.data.color}"), "red");
            assert_eq!(get(world.dev(), "deployment/web", "{.spec.replicas}"), "5");
            world.ends(0, &["drift", "--detailed-exitcode"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn two_environments_differ_in_what_is_declared_and_in_what_is_not() {
            let Some(world) = deployed().await else { return };
            // Names of namespaces and of the environments themselves are no difference.
            let text = world.ends(0, &["diff", "dev", "staging", "--detailed-exitcode"]);
            assert!(text.contains("dev and staging do not differ"), "{text}");
            world.edit("values/staging.yaml", "where: staging", "where: elsewhere");
            world.ends(0, &["plan", "staging", "--out", "own.json"]);
            world.ends(0, &["apply", "own.json"]);
            let text = world.ends(0, &["diff", "dev", "staging", "--undeclared", "--detailed-exitcode"]);
            assert!(text.contains("dev and staging differ only in what is declared (1)."), "{text}");
            kubectl(world.staging(), &["scale", "deployment", "web", "--replicas=5"]);
            let answer = world.json(2, &["diff", "dev", "staging", "--detailed-exitcode"]);
            let declared = answer["declared"].as_array().unwrap();
            assert_eq!(declared.len(), 1, "{answer:#}");
            assert_eq!(declared[0]["name"], "values/{environment}.yaml");
            let states: Vec<&str> =
                answer["undeclared"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
            assert_eq!(states, ["same", "differs"], "{answer:#}");
            let text = world.ends(0, &["diff", "staging", "dev", "--undeclared"]);
            assert!(
                text.contains("1 declared difference, left out here, and some that no declaration explains."),
                "{text}"
            );
            assert!(text.contains("spec.replicas") && !text.contains("values/"), "{text}");
        }

        /// Everything as somebody deployed it before there was promo: one object with kubectl, one as helm does.
        #[tokio::test(flavor = "multi_thread")]
        async fn what_runs_already_is_taken_over_as_a_plan_names_it_and_no_pod_restarts() {
            let Some(world) = alike().await else { return };
            world.release("1.0.0").await;
            let release = world.json(0, &["release", "list"]);
            let source = release["releases"][0]["artifacts"]["web"].to_string();
            let digest = &source[source.find("sha256:").unwrap()..][..71];
            let ours = format!("{}/team/web@{digest}", world.registry.address());
            let text = MANIFESTS.replace("shop/web", &ours);
            let objects: Vec<&str> = text.split("---\n").collect();
            for (file, object, how) in [
                ("web", objects[0], &[][..]),
                ("settings", objects[1], &["--server-side", "--field-manager=helm"]),
                ("keys", objects[2], &[]),
            ] {
                world.write(&format!("{file}.yaml"), object);
                let path = world.path(&format!("{file}.yaml"));
                kubectl(world.dev(), &[&["apply", "-f", path.to_str().unwrap()], how].concat());
            }
            let before = pods(world.dev(), 2);
            // Nothing is taken over that nobody asked for.
            let refused = world.ends(1, &["plan", "dev"]);
            assert!(refused.contains("promo has not made it"), "{refused}");
            assert!(
                refused.contains("write `adopt = true` beside the `manifests` of its `deploy.kubectl`"),
                "{refused}"
            );
            // That plan would be refused: what comes first is a line in a file.
            assert!(refused.contains("once it says so, `promo adopt dev --out dev.plan.json` plans it"), "{refused}");
            assert!(refused.contains("Next: promo explain provider-conflict\n"), "{refused}");
            let refused = world.ends(65, &["adopt", "dev", "--out", "dev.plan.json"]);
            assert!(
                refused.contains("`adopt = true`") && refused.contains("`promo adopt dev --out dev.plan.json`"),
                "{refused}"
            );
            assert!(refused.contains("Next: promo explain request-invalid\n"), "{refused}");
            world.edit("promo.toml", "timeout = \"30s\"", "timeout = \"30s\"\nadopt = true");
            world.edit("manifests/web.yaml", "color: blue", "color: green");
            world.ends(0, &["release", "add", "web=1.0.0"]);
            let plan = world.ends(0, &["adopt", "dev", "--out", "adopt.json", "--full"]);
            for words in [
                "Deployment/web: kubectl-client-side-apply",
                "ConfigMap/settings: helm",
                "-  color: blue",
                "+  color: green",
            ] {
                assert!(plan.contains(words), "{words}: {plan}");
            }
            assert!(!plan.contains("replicas"), "what does not differ is no change: {plan}");
            // Something runs there, and the plan does not say otherwise.
            assert!(plan.contains("what is there → r-") && !plan.contains("nothing ran here before"), "{plan}");
            world.ends(0, &["apply", "adopt.json"]);
            assert_eq!(pods(world.dev(), 2), before, "no pod was made anew");
            let history = world.ends(0, &["history", "dev"]);
            assert!(history.contains("what was there → r-") && !history.contains("nothing → "), "{history}");
            assert_eq!(get(world.dev(), "configmap/settings", "{.data.color}"), "green");
            for object in ["deployment/web", "configmap/settings"] {
                let managers = managers(world.dev(), object);
                assert!(managers.contains("promo") && !managers.contains("helm"), "{object}: {managers}");
            }
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            // From now on it is promo's: the next release changes what was helm's, and what comes new is nobody's to take.
            world.edit("manifests/web.yaml", "color: green", "color: black");
            world.release("1.1.0").await;
            world.ends(0, &["plan", "dev", "--out", "next.json"]);
            world.ends(0, &["apply", "next.json"]);
            assert_eq!(get(world.dev(), "configmap/settings", "{.data.color}"), "black");
            kubectl(world.dev(), &["create", "configmap", "theirs", "--from-literal=a=b"]);
            world.write(
                "manifests/theirs.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: theirs }\ndata: { a: c }\n",
            );
            world.release("1.2.0").await;
            let refused = world.promo(&["plan", "dev"]).output().unwrap();
            assert!(said(&refused).contains("ConfigMap/theirs is there already"), "{}", said(&refused));
        }

        /// A person made it with `kubectl create`, with a container of another name: the server keeps that beside the declared one.
        #[tokio::test(flavor = "multi_thread")]
        async fn a_container_that_no_file_declares_stays_is_told_by_the_plan_and_goes_by_the_command_that_drift_names()
        {
            let Some(world) = alike().await else { return };
            world.release("1.0.0").await;
            world.write(
                "theirs.yaml",
                &MANIFESTS[..MANIFESTS.find("---").unwrap()]
                    .replace("name: web\n          image: shop/web", "name: nginx\n          image: nginx:1"),
            );
            let path = world.path("theirs.yaml");
            kubectl(world.dev(), &["create", "-f", path.to_str().unwrap()]);
            world.edit("promo.toml", "timeout = \"30s\"", "timeout = \"30s\"\nadopt = true");
            // Automation leaves it to a plan that somebody has looked at.
            let waits = world.ends(20, &["advance"]);
            assert!(
                waits.contains("would take over what is there: only a plan that somebody has looked at"),
                "{waits}"
            );
            assert!(waits.contains("Next: promo adopt dev --out dev.plan.json\n"), "{waits}");
            assert_eq!(get(world.dev(), "deployment/web", "{.spec.template.spec.containers[*].name}"), "nginx");
            let plan = world.ends(0, &["adopt", "dev", "--out", "dev.plan.json", "--full"]);
            // What the dry run of the server gives: nothing goes, and one comes.
            let gone: Vec<&str> = plan.lines().filter(|line| line.starts_with("  -")).collect();
            assert_eq!(gone, ["  -Deployment/web: kubectl-create"], "{plan}");
            assert!(plan.contains("         - image: nginx:1\n") && !plan.contains("null"), "{plan}");
            let keeps = "Deployment/web: keeps container nginx (nginx:1), which no file declares";
            assert!(plan.contains(keeps), "{plan}");
            world.ends(0, &["apply", "dev.plan.json"]);
            let names = get(world.dev(), "deployment/web", "{.spec.template.spec.containers[*].name}");
            assert!(names.contains("nginx") && names.contains("web"), "as the plan said: {names}");
            let answer = world.json(2, &["drift", "dev", "--detailed-exitcode"]);
            let added = field(&answer, "Deployment/web", "spec.template.spec.containers[name=\"nginx\"]");
            assert_eq!((&added["class"], &added["by"]), (&"added".into(), &"kubectl-create".into()), "{answer:#}");
            assert_eq!(added["live"], r#"{"image":"nginx:1","name":"nginx"}"#);
            types(world.dev(), answer["next"].as_str().unwrap());
            assert_eq!(get(world.dev(), "deployment/web", "{.spec.template.spec.containers[*].name}"), "web");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            // Nothing is left to take over, and whoever waits for the file is told.
            let nothing = world.ends(0, &["adopt", "dev", "--out", "again.plan.json"]);
            assert!(nothing.contains("again.plan.json was not written"), "{nothing}");
            assert!(!world.path("again.plan.json").exists());
        }

        /// Another namespace is as new as any is before a first deployment, and what somebody has there is theirs.
        #[tokio::test(flavor = "multi_thread")]
        async fn in_another_namespace_than_before_a_person_decides_too_what_is_taken_over() {
            let Some(world) = alike_of(3).await else { return };
            world.release("1.0.0").await;
            world.ends(0, &["plan", "dev", "--out", "first.json"]);
            world.ends(0, &["apply", "first.json"]);
            let (old, new) = (world.dev(), &world.namespaces[2]);
            kubectl(new, &["create", "configmap", "settings", "--from-literal=color=red"]);
            world.edit("promo.toml", &format!("\"{}\"", old.name()), &format!("\"{}\"", new.name()));
            // Nothing says that it is to be taken over, and every way leads to where that is said.
            let refused = world.ends(1, &["plan", "dev"]);
            assert!(refused.contains("write `adopt = true` beside the `manifests`"), "{refused}");
            let refused = world.ends(65, &["adopt", "dev", "--out", "dev.plan.json"]);
            assert!(refused.contains("write `adopt = true` beside the `manifests`"), "{refused}");
            world.edit("promo.toml", "timeout = \"30s\"", "timeout = \"30s\"\nadopt = true");
            let waits = world.ends(20, &["advance"]);
            assert!(waits.contains("Next: promo adopt dev --out dev.plan.json\n"), "{waits}");
            assert_eq!(get(new, "configmap/settings", "{.data.color}"), "red");
            let plan = world.ends(0, &["adopt", "dev", "--out", "dev.plan.json", "--full"]);
            assert!(plan.contains("ConfigMap/settings: kubectl-create"), "{plan}");
            let one_line = plan.split_whitespace().collect::<Vec<_>>().join(" ");
            let left = format!("namespace={}: what was deployed there is not taken away", old.name());
            assert!(one_line.contains(&left) && !one_line.contains("changed by hand"), "{plan}");
            world.ends(0, &["apply", "dev.plan.json"]);
            assert_eq!(get(new, "configmap/settings", "{.data.color}"), "blue");
            assert_eq!(get(old, "configmap/settings", "{.data.color}"), "blue", "it is not taken away");
            let kept = world.ends(0, &["adopt", "dev", "--out", "again.plan.json"]);
            assert!(kept.contains("again.plan.json was not written"), "{kept}");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn nothing_is_taken_from_whoever_the_plan_does_not_name() {
            let Some(world) = alike().await else { return };
            world.release("1.0.0").await;
            world.write("settings.yaml", MANIFESTS.split("---\n").nth(1).unwrap());
            let path = world.path("settings.yaml");
            let apply = |manager: &str| {
                let manager = format!("--field-manager={manager}");
                let how = ["apply", "--server-side", "--force-conflicts", &manager, "-f", path.to_str().unwrap()];
                kubectl(world.dev(), &how);
            };
            apply("helm");
            world.edit("promo.toml", "timeout = \"30s\"", "timeout = \"30s\"\nadopt = true");
            world.ends(0, &["adopt", "dev", "--out", "adopt.json"]);
            world.edit("settings.yaml", "color: blue", "color: red");
            apply("stranger");
            world.ends(22, &["apply", "adopt.json"]);
            assert_eq!(get(world.dev(), "configmap/settings", "{.data.color}"), "red");
        }
    }
}
