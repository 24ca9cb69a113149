//! What promo needs to be allowed, as docs/reference/clusters.md says (R30): with exactly the rights of the page, which are read from it, a
//! release is deployed, replaced and read back; without any one of them it is refused with that one's name.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_sdk::{Context, Inputs, ObserveRequest, Provider, ProviderError};
use promo_tests::charts;
use promo_tests::kubernetes::pipeline::kubectl;
use promo_tests::kubernetes::world::{self, Variables, World, config};
use promo_tests::kubernetes::{Helm, Namespace};
use serde_json::{Value, json};

/// Whom the rights are given.
const USER: &str = "deployer";

/// The Role of the page that is called so.
fn role(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/clusters.md");
    let page = std::fs::read_to_string(page).unwrap();
    let name = format!("metadata: {{ name: {name} }}");
    let block = page.split("```yaml\n").filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    block.into_iter().find(|block| block.contains(&name)).unwrap_or_else(|| panic!("no {name} in the page")).to_owned()
}

/// A right: a verb on a resource.
type Right = (&'static str, &'static str);

/// Gives the user a Role of the page, without that right, and waits until the server knows.
fn grant(namespace: &Namespace, root: &Path, name: &str, without: Option<Right>) {
    let file = root.join("role.json");
    let apply = |text: &str| {
        std::fs::write(&file, text).unwrap();
        kubectl(namespace, &["apply", "-o", "json", "-f", file.to_str().unwrap()])
    };
    std::fs::write(&file, role(name)).unwrap();
    let client = ["create", "--dry-run=client", "-o", "json", "-f", file.to_str().unwrap()];
    let mut role: Value = serde_json::from_str(&kubectl(namespace, &client)).unwrap();
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
    apply(&role.to_string());
    kubectl(namespace, &["create", "rolebinding", name, &format!("--role={name}"), &format!("--user={USER}")]);
    // All of a Role counts at once.
    let until = Instant::now() + Duration::from_secs(30);
    let ask = ["--context", USER, "auth", "can-i", "get", "services"];
    while !namespace.kubectl().args(ask).output().unwrap().status.success() {
        assert!(Instant::now() < until, "the server does not know the Role");
        std::thread::sleep(Duration::from_millis(20));
    }
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

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_deploy_kubectl_takes_the_rights_of_the_page_and_each_that_is_missing_is_named() {
        let all: [Option<Right>; 11] = [
            None,
            Some(("get", "namespaces")),
            Some(("get", "secrets")),
            Some(("create", "secrets")),
            Some(("update", "secrets")),
            Some(("list", "pods")),
            Some(("get", "configmaps")),
            Some(("delete", "services")),
            Some(("watch", "deployments")),
            Some(("create", "deployments")),
            Some(("patch", "deployments")),
        ];
        for without in all {
            let Some(mut world) = World::new() else { return };
            grant(&world.namespace, world.root.path(), "promo-kubectl", without);
            let clusters = world::clusters(world.root.path(), &world.namespace.kubeconfig_of(USER), USER);
            world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
            // What is there already when it is looked for the first time needs no watch.
            let behave = if without == Some(("watch", "deployments")) { "notready" } else { "run" };
            let (a, b, web) = (config("a", "1"), config("a", "2"), web(behave));
            let both = [world.inputs(&[&a, &web, SERVICE, HOOK]), world.inputs(&[&b, &web])];
            let ended = deployed(&world.kubectl, &world.cx, &both).await;
            match without {
                None => ended.unwrap(),
                Some(right) => names("deploy.kubectl", right, ended),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r30_deploy_helm_takes_the_rights_of_the_page_and_each_that_is_missing_is_named() {
        for helm in charts::BOTH {
            // What promo itself asks is the same with both.
            let taken: &[Right] = match helm {
                Helm::Three => &[("patch", "deployments")],
                Helm::Four => {
                    &[("list", "secrets"), ("delete", "secrets"), ("patch", "deployments"), ("create", "jobs")]
                }
            };
            for without in std::iter::once(None).chain(taken.iter().copied().map(Some)) {
                let Some(mut world) = charts::World::new(helm) else { return };
                grant(&world.namespace, world.root.path(), "promo-helm", without);
                world.as_user(USER, None);
                // One revision is kept, so that helm takes some away.
                let of = |value: &str| {
                    let (a, web) = (charts::config("a", value), charts::web(""));
                    let migrate = charts::hook("migrate", "pre-install,pre-upgrade", "well");
                    let also = json!({ "history": 1 });
                    let mut files = vec![("chart/templates/a.yaml", a.as_str()), ("chart/templates/web.yaml", &web)];
                    if value == "1" {
                        files.extend([
                            ("chart/templates/migrate.yaml", migrate.as_str()),
                            ("chart/templates/s.yaml", SERVICE),
                        ]);
                    }
                    world.inputs(&files, &also)
                };
                let ended = deployed(&world.provider, &world.cx, &[of("1"), of("2"), of("3")]).await;
                match without {
                    None => ended.unwrap(),
                    Some(right) => names("deploy.helm", right, ended),
                }
            }
        }
    }
}
