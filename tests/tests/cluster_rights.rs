//! What promo needs to be allowed, as docs/reference/clusters.md says (R30). The API server writes down what is asked of it by somebody who has
//! exactly the rights of the page, which are read from it: what is used is what is granted, no less and no more. And without one of
//! them it is refused with that one's name.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_providers::endpoints::Endpoints;
use promo_providers::job::Job;
use promo_providers::logs::Logs;
use promo_providers::rollout::Rollout;
use promo_sdk::{CheckRequest, Context, Inputs, ObserveRequest, Provider, ProviderError};
use promo_tests::charts;
use promo_tests::kubernetes::pipeline::{kubectl, wait_for};
use promo_tests::kubernetes::world::{self, Variables, World, config};
use promo_tests::kubernetes::{Helm, Namespace};
use serde_json::{Value, json};

/// Whom the rights are given.
const USER: &str = "deployer";

/// A right: a verb on a resource.
type Right = (&'static str, &'static str);

/// The Role of the page that is called so.
fn role(namespace: &Namespace, root: &Path, name: &str) -> Value {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/clusters.md");
    let page = std::fs::read_to_string(page).unwrap();
    let wanted = format!("metadata: {{ name: {name} }}");
    let blocks = page.split("```yaml\n").filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let mut all = blocks.flat_map(|block| block.split("---\n"));
    let text = all.find(|text| text.contains(&wanted)).unwrap_or_else(|| panic!("no {name} in the page"));
    let file = root.join("role.yaml");
    std::fs::write(&file, text).unwrap();
    let client = ["create", "--dry-run=client", "-o", "json", "-f", file.to_str().unwrap()];
    serde_json::from_str(&kubectl(namespace, &client)).unwrap()
}

/// What a Role gives: verbs, and resources with their groups.
fn given(role: &Value) -> BTreeSet<(String, String)> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut given = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let groups = texts(&rule["apiGroups"]);
        assert_eq!(groups.len(), 1, "{rule}");
        let group = if groups[0].is_empty() { String::new() } else { format!(".{}", groups[0]) };
        for resource in texts(&rule["resources"]) {
            for verb in texts(&rule["verbs"]) {
                assert!(given.insert((verb, format!("{resource}{group}"))), "twice: {rule}");
            }
        }
    }
    given
}

/// Binds a Role, or a ClusterRole, to the user under that name, and waits until the server knows.
fn bind(namespace: &Namespace, root: &Path, mut role: Value, name: &str) {
    let file = root.join("role.json");
    role["metadata"]["name"] = name.into();
    std::fs::write(&file, role.to_string()).unwrap();
    kubectl(namespace, &["apply", "-f", file.to_str().unwrap()]);
    let kind = role["kind"].as_str().unwrap().to_lowercase();
    let (of, user) = (format!("--{kind}={name}"), format!("--user={USER}"));
    kubectl(namespace, &["create", &format!("{kind}binding"), name, &of, &user]);
    // All of a Role counts at once. Asked as it is, since kubectl asks about no kind that nobody has defined yet.
    let rule = &role["rules"][0];
    let about = json!({ "group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": rule["verbs"][0] });
    let mut review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": about },
    });
    if kind == "role" {
        review["spec"]["resourceAttributes"]["namespace"] = namespace.name().into();
    }
    std::fs::write(&file, review.to_string()).unwrap();
    let ask = ["--context", USER, "create", "-f", file.to_str().unwrap(), "-o", "jsonpath={.status.allowed}"];
    wait_for("the server does not know the Role", || kubectl(namespace, &ask) == "true");
}

/// Gives the user a Role of the page, without that right.
fn grant(namespace: &Namespace, root: &Path, name: &str, without: Option<Right>) {
    let mut role = role(namespace, root, name);
    if let Some((verb, resource)) = without {
        let mut taken = 0;
        let mut rules = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            let verbs: Vec<&str> = rule["verbs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            for found in rule["resources"].as_array().unwrap() {
                let left: Vec<&&str> = verbs.iter().filter(|had| found != resource || **had != verb).collect();
                taken += verbs.len() - left.len();
                // A rule of no verb is none.
                if !left.is_empty() {
                    rules.push(json!({ "apiGroups": rule["apiGroups"], "resources": [found], "verbs": left }));
                }
            }
        }
        assert_eq!(taken, 1, "the page gives it: {verb} {resource}");
        role["rules"] = rules.into();
    }
    bind(namespace, root, role, name);
}

/// Waits until the user has asked for something in that way; `meanwhile` is done again and again.
async fn until_used(namespace: &Namespace, rights: &[Right], meanwhile: impl Fn()) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut used = namespace.used();
    while !rights.iter().all(|(verb, resource)| used.contains(&((*verb).to_owned(), (*resource).to_owned()))) {
        assert!(Instant::now() < deadline, "{rights:?} are not used: {used:?}");
        meanwhile();
        tokio::time::sleep(Duration::from_millis(50)).await;
        used = namespace.used();
    }
}

/// What was used is what the Role gives.
fn is_exactly(who: &str, used: &BTreeSet<(String, String)>, role: &Value) {
    let given = given(role);
    let (missing, idle): (Vec<_>, Vec<_>) = (used.difference(&given).collect(), given.difference(used).collect());
    assert!(
        missing.is_empty() && idle.is_empty(),
        "{who}: the page lacks {missing:?}, and gives without need {idle:?}"
    );
}

fn behave(namespace: &Namespace, pods: &str, how: &str) {
    kubectl(namespace, &["annotate", "pods", "-l", pods, "--overwrite", &format!("promo.test/kubelet={how}")]);
}

/// A pod that is there beside the first release: the labels are those of the workload, and no node takes it.
const STRAY: &str = "apiVersion: v1\nkind: Pod\nmetadata: { name: stray, labels: { app: web, stray: very }, \
                     annotations: { promo.test/kubelet: pending } }\nspec: { containers: [{ name: web, image: \"a:1\" }] }\n";

/// All of a life: what is new is deployed and waited for, also by its pods, what is declared no more goes, and what is being deleted
/// by somebody else is waited for as well. The last release declares ConfigMap b and Service late.
async fn lives(provider: &dyn Provider, cx: &Context, namespace: &Namespace, root: &Path, all: &[Inputs]) {
    let request = |inputs: &Inputs| ObserveRequest { inputs: inputs.clone() };
    for (place, inputs) in all.iter().enumerate() {
        let preview = provider.preview(cx, &request(inputs)).await.unwrap();
        provider.ensure(cx, &World::request(inputs, preview.current, preview.desired)).await.unwrap();
        if place == 0 {
            let file = root.join("stray.yaml");
            std::fs::write(&file, STRAY).unwrap();
            kubectl(namespace, &["apply", "-f", file.to_str().unwrap()]);
            let asked = request(inputs);
            let (settled, ()) = tokio::join!(provider.settle(cx, &asked), async {
                until_used(namespace, &[("watch", "deployments.apps")], || {}).await;
                // They come a moment after it.
                until_used(namespace, &[("watch", "pods")], || behave(namespace, "app=web,!stray", "run")).await;
                behave(namespace, "stray", "run");
            });
            settled.unwrap();
        } else {
            provider.settle(cx, &request(inputs)).await.unwrap();
        }
        assert_eq!(provider.observe(cx, &request(inputs)).await.unwrap(), preview.desired);
    }
    let slow = |finalizers: &str| {
        let patch = format!("{{\"metadata\":{{\"finalizers\":{finalizers}}}}}");
        for object in ["configmap/b", "service/late"] {
            kubectl(namespace, &["patch", object, "--type=merge", "-p", &patch]);
        }
    };
    slow("[\"promo.test/slow\"]");
    kubectl(namespace, &["delete", "--wait=false", "configmap/b", "service/late"]);
    let asked = request(all.last().unwrap());
    let (settled, ()) = tokio::join!(provider.settle(cx, &asked), async {
        until_used(namespace, &[("watch", "configmaps"), ("watch", "services")], || {}).await;
        slow("null");
    });
    let ended = settled.unwrap_err().message;
    assert!(ended.contains("is gone") || ended.contains("was deleted"), "{ended}");
}

/// Deploys all of these, one after the other, and reads back what runs.
async fn deployed(provider: &dyn Provider, cx: &Context, all: &[Inputs]) -> Result<(), ProviderError> {
    for inputs in all {
        let request = ObserveRequest { inputs: inputs.clone() };
        let preview = provider.preview(cx, &request).await?;
        provider.ensure(cx, &World::request(inputs, preview.current, preview.desired)).await?;
        let settled = provider.settle(cx, &request).await?;
        assert!(settled.images.iter().all(|image| image.digest.is_some()), "{settled:?}");
        assert_eq!(provider.observe(cx, &request).await?, preview.desired);
    }
    Ok(())
}

/// Without that right it is refused with its name.
fn names(who: &str, right: Right, ended: Result<(), ProviderError>) {
    let (verb, resource) = right;
    let error =
        ended.expect_err(&format!("{who} needs no right to {verb} {resource}: then the page is not to name it"));
    let named = format!("User \"{USER}\" cannot {verb} resource \"{resource}\"");
    // Of an object that is applied the server does not say so itself.
    let applied = format!("{resource}.");
    let applied = verb == "create" && error.message.contains(&applied) && error.message.contains("may not `create` it");
    assert!(applied || error.message.contains(&named), "{who} without {verb} {resource}: {error:?}");
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                       spec: { selector: { app: web }, ports: [{ port: 80, protocol: TCP }] }\n";
const HOOK: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: migrate, annotations: { promo/hook: before } }\n\
                    spec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      \
                    containers: [{ name: migrate, image: shop/web }]\n";

/// A Deployment whose pods behave so.
fn web(behave: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behave} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
    )
}

/// The same with these settings of a check, as somebody who has a Role of the page alone.
struct Asker {
    world: World,
    role: &'static str,
}

impl Asker {
    /// With a Deployment in place whose pods get ready when they are told to.
    async fn new(role: &'static str) -> Option<Self> {
        let mut world = World::new()?;
        world.deploy(&world.inputs(&[&web("notready"), SERVICE])).await;
        let there = ["get", "pods", "-l", "app=web", "-o", "name"];
        wait_for("its pod", || !kubectl(&world.namespace, &there).is_empty());
        grant(&world.namespace, world.root.path(), role, None);
        let clusters = world::clusters(world.root.path(), &world.namespace.kubeconfig_of(USER), USER);
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
        Some(Self { world, role })
    }

    fn request(&self, token: &str, settings: Value) -> CheckRequest {
        let fails = ASK.replace("promo.test/log", "promo.test/kubelet: fail, promo.test/log");
        let inputs = self.world.of_files(&[("ask.yaml", ASK), ("fails.yaml", &fails)], settings);
        CheckRequest { inputs, check: "judge".into(), token: token.into() }
    }

    /// Asks; `meanwhile` happens beside.
    async fn asks(&self, check: &dyn Provider, settings: Value, meanwhile: impl Future<Output = ()>) -> bool {
        let request = self.request("run", settings);
        let (result, ()) = tokio::join!(check.verify(&self.world.cx, &request), meanwhile);
        result.unwrap().passed
    }

    fn is_exactly(&self) {
        let namespace = &self.world.namespace;
        is_exactly(self.role, &namespace.used(), &role(namespace, self.world.root.path(), self.role));
    }
}

const ASK: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: ask }\nspec:\n  backoffLimit: 0\n  template:\n    \
                   metadata: { annotations: { promo.test/log: \"well\" } }\n    \
                   spec: { restartPolicy: Never, containers: [{ name: ask, image: shop/web }] }\n";

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_deploy_kubectl_uses_the_rights_of_the_page_and_nothing_else() {
        let Some(mut world) = World::new() else { return };
        let root = world.root.path().to_owned();
        grant(&world.namespace, &root, "promo-kubectl", None);
        let clusters = world::clusters(&root, &world.namespace.kubeconfig_of(USER), USER);
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
        let (a, b, web, late) =
            (config("a", "1"), config("b", "1"), web("notready"), SERVICE.replace("name: web", "name: late"));
        let all = [world.inputs(&[&a, &web, SERVICE, HOOK]), world.inputs(&[&b, &late])];
        lives(&world.kubectl, &world.cx, &world.namespace, &root, &all).await;
        is_exactly("deploy.kubectl", &world.namespace.used(), &role(&world.namespace, &root, "promo-kubectl"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_deploy_helm_uses_the_rights_of_the_page_and_nothing_else() {
        for helm in charts::BOTH {
            let Some(mut world) = charts::World::new(helm) else { return };
            let root = world.root.path().to_owned();
            grant(&world.namespace, &root, "promo-helm", None);
            world.as_user(USER, None);
            // One revision is kept, so that helm takes some away.
            let of = |value: &str| {
                let (a, b, late) = (
                    charts::config("a", value),
                    charts::config("b", value),
                    SERVICE.replace("name: web", "name: late"),
                );
                let web = charts::web(", annotations: { promo.test/kubelet: notready }");
                let migrate = charts::hook("migrate", "pre-install,pre-upgrade", "well");
                let once =
                    charts::hook("once", "", "well").replace("helm.sh/hook: \"\"", &format!("number: {value:?}"));
                let mut files =
                    vec![("chart/templates/migrate.yaml", migrate.as_str()), ("chart/templates/once.yaml", &once)];
                match value {
                    "1" => files.extend([
                        ("chart/templates/a.yaml", a.as_str()),
                        ("chart/templates/web.yaml", &web),
                        ("chart/templates/s.yaml", SERVICE),
                    ]),
                    _ => files.extend([("chart/templates/b.yaml", b.as_str()), ("chart/templates/late.yaml", &late)]),
                }
                world.inputs(&files, &json!({ "history": 1 }))
            };
            lives(&world.provider, &world.cx, &world.namespace, &root, &[of("1"), of("2"), of("3")]).await;
            is_exactly(
                &format!("deploy.helm, {helm:?}"),
                &world.namespace.used(),
                &role(&world.namespace, &root, "promo-helm"),
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_a_check_of_a_cluster_uses_the_rights_of_the_page_and_nothing_else() {
        let Some(asker) = Asker::new("promo-rollout").await else { return };
        let rollout = Rollout::default();
        assert!(!asker.asks(&rollout, json!({ "timeout": 1 }), async {}).await);
        let heals = async {
            until_used(&asker.world.namespace, &[("watch", "deployments.apps")], || {}).await;
            behave(&asker.world.namespace, "app=web", "run");
        };
        assert!(asker.asks(&rollout, json!({ "timeout": 30 }), heals).await);
        asker.is_exactly();

        let asker = Asker::new("promo-endpoints").await.unwrap();
        let heals = async {
            until_used(&asker.world.namespace, &[("watch", "endpointslices.discovery.k8s.io")], || {}).await;
            behave(&asker.world.namespace, "app=web", "run");
        };
        assert!(asker.asks(&Endpoints::default(), json!({ "service": "web", "timeout": 30 }), heals).await);
        asker.is_exactly();

        let asker = Asker::new("promo-job").await.unwrap();
        let job = |file: &str| json!({ "manifest": file, "images": { "shop/web": "web" }, "timeout": 30 });
        assert!(!asker.asks(&Job::default(), job("fails.yaml"), async {}).await);
        // Of two that ask the same at once one finds the other's Job when it makes it, as whoever has lost an answer does.
        let mut rounds = 0;
        while !asker.world.namespace.used().contains(&("get".into(), "jobs.batch".into())) {
            rounds += 1;
            assert!(rounds < 20, "neither ever finds the other's");
            let request = asker.request(&format!("run-{rounds}"), job("ask.yaml"));
            let (one, other) = (Job::default(), Job::default());
            let both = tokio::join!(one.verify(&asker.world.cx, &request), other.verify(&asker.world.cx, &request));
            // The other one takes it away, maybe before it has been seen.
            assert!(both.0.is_ok() || both.1.is_ok(), "{both:?}");
        }
        asker.is_exactly();

        let asker = Asker::new("promo-logs").await.unwrap();
        behave(&asker.world.namespace, "app=web", "run");
        let ready = ["wait", "--for=condition=available", "deployment/web", "--timeout=30s"];
        kubectl(&asker.world.namespace, &ready);
        assert!(asker.asks(&Logs::default(), json!({ "pattern": "^ERROR" }), async {}).await);
        asker.is_exactly();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_definitions_take_the_rights_of_the_page_in_the_whole_cluster_and_nothing_else() {
        let mut used = BTreeSet::new();
        let mut whole = Value::Null;
        for helm in [None, Some(Helm::Three), Some(Helm::Four)] {
            let Some(namespace) = Namespace::new() else { return };
            let root = tempfile::tempdir().unwrap();
            let group = format!("{}.example.com", namespace.name());
            grant(&namespace, root.path(), if helm.is_some() { "promo-helm" } else { "promo-kubectl" }, None);
            let kinds = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [{
                "apiGroups": [group], "resources": ["shops"], "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            }] });
            bind(&namespace, root.path(), kinds, "shops");
            whole = role(&namespace, root.path(), "promo-definitions");
            bind(&namespace, root.path(), whole.clone(), namespace.name());
            let definition = format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
                 spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  \
                 versions:\n  - {{ name: v1, served: true, storage: true, schema: {{ openAPIV3Schema: {{ type: object }} }} }}\n"
            );
            let shop = format!("apiVersion: {group}/v1\nkind: Shop\nmetadata: {{ name: corner }}\n");
            let name = namespace.name().to_owned();
            let asked = defines(namespace, helm, &definition, &shop).await;
            let definitions =
                asked.into_iter().filter(|(_, resource)| resource.starts_with("customresourcedefinitions."));
            let definitions: BTreeSet<_> = definitions.collect();
            let beyond: Vec<_> = definitions.difference(&given(&whole)).cloned().collect();
            assert!(!definitions.is_empty() && beyond.is_empty(), "{helm:?} in {name}: {beyond:?} of {definitions:?}");
            used.extend(definitions);
        }
        is_exactly("definitions", &used, &whole);
    }

    /// Deploys a definition with an object of it; then somebody deletes the definition, which is waited for. Gives what was used.
    async fn defines(
        namespace: Namespace,
        helm: Option<Helm>,
        definition: &str,
        shop: &str,
    ) -> BTreeSet<(String, String)> {
        let crd = definition.split("name: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let (provider, cx, inputs, namespace, _root): (
            Box<dyn Provider>,
            Context,
            Vec<Inputs>,
            Namespace,
            tempfile::TempDir,
        ) = match helm {
            None => {
                let mut world = World::on(namespace);
                let clusters = world::clusters(world.root.path(), &world.namespace.kubeconfig_of(USER), USER);
                world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
                let all = vec![world.inputs(&[definition, shop]), world.inputs(&[definition])];
                (Box::new(world.kubectl), world.cx, all, world.namespace, world.root)
            }
            Some(helm) => {
                let mut world = charts::World::on(namespace, helm);
                world.as_user(USER, None);
                let (crds, shops) = (("chart/crds/shops.yaml", definition), ("chart/templates/shop.yaml", shop));
                let all = vec![world.inputs(&[crds, shops], &json!({}))];
                (Box::new(world.provider), world.cx, all, world.namespace, world.root)
            }
        };
        deployed(&*provider, &cx, &inputs).await.unwrap();
        let slow = |finalizers: &str| {
            let patch = format!("{{\"metadata\":{{\"finalizers\":{finalizers}}}}}");
            kubectl(&namespace, &["patch", "crd", &crd, "--type=merge", "-p", &patch]);
        };
        slow("[\"promo.test/slow\"]");
        kubectl(&namespace, &["delete", "crd", &crd, "--wait=false"]);
        let last = ObserveRequest { inputs: inputs.last().unwrap().clone() };
        if helm.is_none() {
            let (settled, ()) = tokio::join!(provider.settle(&cx, &last), async {
                until_used(&namespace, &[("watch", "customresourcedefinitions.apiextensions.k8s.io")], || {}).await;
                slow("null");
            });
            settled.unwrap_err();
        } else {
            slow("null");
        }
        let name = namespace.name();
        kubectl(&namespace, &["delete", "clusterrolebinding,clusterrole", name]);
        namespace.used()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_a_right_that_deploy_kubectl_misses_is_named() {
        let all: [Right; 4] = [
            ("get", "namespaces"),
            ("update", "secrets"),
            ("watch", "deployments"),
            // Of which the server does not say it itself.
            ("create", "deployments"),
        ];
        for without in all {
            let Some(mut world) = World::new() else { return };
            grant(&world.namespace, world.root.path(), "promo-kubectl", Some(without));
            let clusters = world::clusters(world.root.path(), &world.namespace.kubeconfig_of(USER), USER);
            world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
            // What is there already when it is looked for the first time needs no watch.
            let behave = if without == ("watch", "deployments") { "notready" } else { "run" };
            let (a, b, web) = (config("a", "1"), config("a", "2"), web(behave));
            let both = [world.inputs(&[&a, &web, SERVICE, HOOK]), world.inputs(&[&b, &web])];
            let ended = deployed(&world.kubectl, &world.cx, &both).await;
            names("deploy.kubectl", without, ended);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_a_right_that_deploy_helm_misses_is_named() {
        // One that helm misses, and one that promo does.
        for (helm, right) in [(Helm::Three, ("create", "jobs")), (Helm::Four, ("list", "secrets"))] {
            let Some(mut world) = charts::World::new(helm) else { return };
            grant(&world.namespace, world.root.path(), "promo-helm", Some(right));
            world.as_user(USER, None);
            let (web, migrate) = (charts::web(""), charts::hook("migrate", "pre-install,pre-upgrade", "well"));
            let files = [("chart/templates/web.yaml", web.as_str()), ("chart/templates/migrate.yaml", &migrate)];
            let ended = deployed(&world.provider, &world.cx, &[world.inputs(&files, &json!({}))]).await;
            names("deploy.helm", right, ended);
        }
    }
}
