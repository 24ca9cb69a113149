//! `deploy.kubectl` where a cluster, its rights or other writers are not as they should be: what is told, what is left, and that what can be
//! gone on with is.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use promo_providers::kubectl::Kubectl;
use promo_sdk::{ErrorKind, Provider as _, State};
use promo_tests::front::{Proxy, Way};
use promo_tests::kubernetes::world::{Variables, World, clusters, config};
use promo_tests::kubernetes::{ControlPlane, Namespace};
use serde_json::json;

/// A Deployment of one pod that behaves so.
fn web(behaves: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
    )
}

/// Lets every pod of the namespace run well.
fn heal(world: &World) {
    for pod in world.names("pods").iter().filter(|pod| !pod.is_empty()) {
        let patch = r#"{"metadata":{"annotations":{"promo.test/kubelet":"run"}}}"#;
        world.kubectl(&["patch", "pod", pod, "--type=merge", "-p", patch]);
    }
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_4_whoever_has_lost_its_lock_does_not_begin_however_the_place_looks() {
        let Some(world) = World::new() else { return };
        let (one, two) = (world.inputs(&[&config("a", "1")]), world.inputs(&[&config("a", "2")]));
        let first = world.deploy(&one).await.desired;
        let second = world.preview(&two).await.unwrap().desired;
        let as_of = |inputs, expected, desired, epoch| {
            let mut request = World::request(inputs, expected, desired);
            request.epoch = epoch;
            request
        };
        // The holder of a later lock goes there and back: the place looks as the earlier one was told to find it.
        world.kubectl.ensure(&world.cx, &as_of(&two, first, second, 7)).await.unwrap();
        world.kubectl.ensure(&world.cx, &as_of(&one, second, first, 8)).await.unwrap();
        assert_eq!(world.observe(&one).await, first);
        let late = as_of(&two, first, second, 6);
        let error = world.kubectl.ensure(&world.cx, &late).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.message.contains("under epoch 8") && error.message.contains("run/step"), "{error}");
        assert_eq!(world.observe(&one).await, first, "nothing was done");
        // Of another ledger nothing is known.
        let mut other = late;
        other.ledger = "another".into();
        world.kubectl.ensure(&world.cx, &other).await.unwrap();
        assert_eq!(world.observe(&one).await, second);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_behind_a_proxy_is_reached_through_it_wherever_that_is_named() {
        let Some(mut world) = World::new() else { return };
        let kubeconfig = std::fs::read_to_string(world.namespace.kubeconfig()).unwrap();
        let server =
            kubeconfig.lines().find_map(|line| Some(line.trim().strip_prefix("server: https://")?.to_owned())).unwrap();
        // Only the proxy knows where this name leads.
        let proxy = Proxy::start(&[("kube.test:6443", &server)]).await;
        let file = world.root.path().join("behind.kubeconfig");
        let inputs = world.inputs(&[&config("a", "1")]);
        let set = |proxied: &str, variables: &[(&str, &str)]| {
            let named = format!("https://kube.test:6443\n    tls-server-name: 127.0.0.1\n    {proxied}");
            std::fs::write(&file, kubeconfig.replace(&format!("https://{server}"), &named)).unwrap();
            let mut all = BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters(world.root.path(), &file, "admin"))]);
            all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            Arc::new(Variables(all))
        };
        let url = proxy.url();
        for (proxied, variables) in [
            (format!("proxy-url: {url}"), vec![]),
            (String::new(), vec![("HTTPS_PROXY", url.as_str()), ("NO_PROXY", "other.test")]),
        ] {
            let before = proxy.heads().len();
            let cx = promo_sdk::Context { secrets: set(&proxied, &variables), ..world.cx.clone() };
            let request = promo_sdk::ObserveRequest { inputs: inputs.clone() };
            Kubectl::default().preview(&cx, &request).await.unwrap();
            let heads = proxy.heads().split_off(before);
            assert!(heads.iter().any(|head| head.starts_with("CONNECT kube.test:6443 ")), "{heads:?}");
        }
        world.cx.secrets = set("proxy-url: socks5://hunter2@proxy.test", &[]);
        let error = world.preview(&inputs).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.message.contains("`socks5`") && !error.message.contains("hunter2"), "{error}");
    }

    /// A clock by which the time of the step is over at once, and from then on the server answers nobody.
    struct Over {
        way: Way,
        step: Duration,
        is_over: tokio::sync::Notify,
    }

    #[async_trait::async_trait]
    impl promo_sdk::Clock for Over {
        fn now(&self) -> jiff::Timestamp {
            promo_sdk::Clock::now(&promo_engine::clock::SystemClock)
        }

        async fn sleep(&self, duration: Duration) {
            if duration != self.step {
                return tokio::time::sleep(duration).await;
            }
            self.way.hang();
            self.is_over.notify_one();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_5_the_last_look_of_a_wait_ends_with_the_run_also_where_nobody_answers() {
        let Some(mut world) = World::new() else { return };
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: late }\n\
                   spec: { containers: [{ name: web, image: registry.test/never-ready@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 }] }\n";
        let inputs = world.with(&[pod], serde_json::json!({ "timeout": 33 }));
        world.deploy(&inputs).await;
        let text = std::fs::read_to_string(world.namespace.kubeconfig()).unwrap();
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
        let (way, file) = (Way::to(server).await, world.root.path().join("through.kubeconfig"));
        std::fs::write(&file, text.replace(server, &way.address())).unwrap();
        let through = BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters(world.root.path(), &file, "admin"))]);
        let clock = Arc::new(Over { way, step: Duration::from_secs(33), is_over: tokio::sync::Notify::new() });
        world.cx.secrets = Arc::new(Variables(through));
        world.cx.clock = clock.clone();
        world.kubectl = Kubectl::default();
        let stopped = world.cx.cancelled.clone();
        let stops = async {
            clock.is_over.notified().await;
            stopped.cancel();
        };
        let waited = async { tokio::join!(world.settle(&inputs), stops).0 };
        let ended = tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it hangs with the server");
        assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
    }

    /// Whoever declares a claim of such a class does not wait for somebody else's pod; any other pending claim is waited for.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_claim_of_a_class_that_waits_for_its_consumer_is_there_without_one() {
        let Some(world) = World::new() else { return };
        let class = |mode: &str| {
            let name = format!("{}-{}", world.namespace.name(), mode.to_lowercase());
            let class = format!(
                "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{ name: {name} }}\n\
                 provisioner: kit.test/nobody\nvolumeBindingMode: {mode}\n"
            );
            let file = world.root.path().join(&name);
            std::fs::write(&file, class).unwrap();
            world.kubectl(&["apply", "-f", &file.display().to_string()]);
            name
        };
        let claim = |class: &str| {
            format!(
                "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: data }}\nspec: {{ accessModes: [ReadWriteOnce], \
                 storageClassName: {class}, resources: {{ requests: {{ storage: 1Gi }} }} }}\n"
            )
        };
        let (waits, at_once) = (class("WaitForFirstConsumer"), class("Immediate"));
        let inputs = world.inputs(&[&claim(&waits)]);
        world.deploy(&inputs).await;
        world.settle(&inputs).await.unwrap();
        assert_eq!(world.kubectl(&["get", "pvc", "data", "-o", "jsonpath={.status.phase}"]), "Pending");
        // Somebody mounts it, and a node was chosen: now it is on its way.
        let chosen = "volume.kubernetes.io/selected-node=kit";
        world.kubectl(&["annotate", "pvc", "data", chosen]);
        let short = world.with(&[&claim(&waits)], serde_json::json!({ "timeout": 2 }));
        let error = world.settle(&short).await.unwrap_err();
        assert!(error.message.contains("PersistentVolumeClaim/data"), "{error}");
        world.kubectl(&["delete", "pvc", "data"]);
        let inputs = world.with(&[&claim(&at_once)], serde_json::json!({ "timeout": 2 }));
        world.deploy(&inputs).await;
        let error = world.settle(&inputs).await.unwrap_err();
        assert!(error.message.contains("PersistentVolumeClaim/data"), "{error}");
        for class in [waits, at_once] {
            world.kubectl(&["delete", "storageclass", &class]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_writers_at_once_one_wins_and_the_other_says_so() {
        let Some(world) = World::new() else { return };
        let mut from = world.deploy(&world.inputs(&[&config("a", "0")])).await.desired;
        let many = |round: u64, value: &str| {
            let texts: Vec<String> = (0..30).map(|n| config(&format!("r{round}-{n}"), value)).collect();
            world.inputs(&texts.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // The later the other comes, the further is the first: it looks, tries each object, writes what it is about to do, and does it.
        for round in 0..10 {
            let (left, right) = (many(round, "left"), many(round, "right"));
            let (to_left, to_right) =
                (world.preview(&left).await.unwrap().desired, world.preview(&right).await.unwrap().desired);
            let other = Kubectl::default();
            let requests = (World::request(&left, from, to_left), World::request(&right, from, to_right));
            let later = async {
                tokio::time::sleep(Duration::from_millis(10 * round)).await;
                other.ensure(&world.cx, &requests.1).await
            };
            let ends = tokio::join!(world.kubectl.ensure(&world.cx, &requests.0), later);
            let (won, winner, lost) = match ends {
                (Ok(_), Err(error)) => (to_left, &left, error),
                (Err(error), Ok(_)) => (to_right, &right, error),
                ends => panic!("{ends:?}"),
            };
            assert_eq!(lost.kind, ErrorKind::Conflict, "{lost}");
            let told = ["another run writes", "something else"].iter().any(|words| lost.message.contains(words));
            assert!(told, "round {round}: {lost}");
            // What the other had under way when it lost is made good by whoever goes on: the state is that of the winner or cannot be told.
            let seen = world.observe(winner).await;
            assert!(seen == won || seen != to_left && seen != to_right, "{seen} is the loser's");
            from = world.deploy(winner).await.desired;
            assert_eq!(from, won);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_object_whose_version_is_served_no_more_is_still_there_and_is_taken_over_and_away() {
        let Some(world) = World::new() else { return };
        let group = format!("{}.example.org", world.namespace.name());
        let definition = |old_is_served: bool| {
            let version = |name: &str, served: bool, storage: bool| {
                format!(
                    "  - name: {name}\n    served: {served}\n    storage: {storage}\n    schema: {{ openAPIV3Schema: {{ type: object, \
                     properties: {{ spec: {{ type: object, properties: {{ size: {{ type: integer }} }} }} }} }} }}\n"
                )
            };
            format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
                 spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  \
                 versions:\n{}{}",
                version("v1alpha1", old_is_served, false),
                version("v1", true, true)
            )
        };
        let shop = |version: &str, size: u8| {
            format!(
                "apiVersion: {group}/{version}\nkind: Shop\nmetadata: {{ name: corner }}\nspec: {{ size: {size} }}\n"
            )
        };
        let old = world.inputs(&[&definition(true), &shop("v1alpha1", 3)]);
        let desired = world.deploy(&old).await.desired;
        let file = world.root.path().join("crd.yaml");
        std::fs::write(&file, definition(false)).unwrap();
        world.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.display().to_string()]);
        let served = |version: &str| {
            let kind = format!("shops.{version}.{group}");
            world.namespace.kubectl().args(["get", &kind, "corner"]).output().unwrap().status.success()
        };
        until("v1alpha1 is served on", || !served("v1alpha1") && served("v1")).await;
        let error = world.preview(&world.inputs(&[&config("a", "1"), &shop("v1alpha1", 4)])).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::NotFound && error.message.contains(&format!("has it in {group}/v1")),
            "{error}"
        );
        // The definition differs; the shop is not gone.
        let only_shop = world.with(&[&definition(false), &shop("v1", 3)], json!({}));
        let preview = world.preview(&only_shop).await.unwrap();
        assert_ne!(preview.current, desired, "the definition was changed by hand");
        let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
        assert!(!paths.contains(&"Shop/corner"), "it is there as it is declared: {paths:?}");
        world.ensure(&world.cx, &only_shop, preview.current, preview.desired).await.unwrap();
        world.settle(&only_shop).await.unwrap();
        // And one that is declared no more goes away.
        world.deploy(&world.inputs(&[&definition(false)])).await;
        assert!(!served("v1"), "it was taken away");
        world.kubectl(&["delete", "crd", &format!("shops.{group}")]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wait_that_loses_its_credentials_asks_for_new_ones_and_is_interrupted_where_there_are_none() {
        let Some(mut world) = World::new() else { return };
        let admin = world.namespace.kubeconfig();
        let machine = world.root.path().join("machine.kubeconfig");
        std::fs::copy(&admin, &machine).unwrap();
        let file = clusters(world.root.path(), &machine, "admin");
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), file.clone())])));
        let inputs = world.inputs(&[&web("notready")]);
        world.deploy(&inputs).await;
        // Known to the run is a credential that the server takes no more: a wait begins with it.
        let good = std::fs::read_to_string(&machine).unwrap();
        let token =
            |text: &str| text.lines().rev().find_map(|line| Some(line.split_once("token: \"")?.1.to_owned())).unwrap();
        assert!(!token(&good).is_empty());
        let bad: String = good
            .lines()
            .map(|line| {
                if line.contains("token:") {
                    "  user: { token: \"outdated\" }\n".to_owned()
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        std::fs::write(&machine, &bad).unwrap();
        world.kubectl = Kubectl::default();
        let error = world.preview(&inputs).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        let error = world.settle(&inputs).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "nothing was seen to go wrong: {error}");
        // Connected with the outdated one; by the time it is refused, there is a new one.
        world.kubectl = Kubectl::default();
        let _ = world.preview(&inputs).await.unwrap_err();
        std::fs::write(&machine, &good).unwrap();
        heal(&world);
        world.settle(&inputs).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wait_goes_on_over_a_server_that_is_restarted_and_applying_that_lost_it_is_gone_on_with() {
        let Some(mut plane) = ControlPlane::private() else { return };
        let world = World::on(Namespace::on(&plane));
        let inputs = world.with(&[&web("notready")], json!({ "timeout": 90 }));
        world.deploy(&inputs).await;
        until("there is no pod", || world.names("pods").iter().any(|pod| !pod.is_empty())).await;
        let settled = {
            let (kubectl, cx) = (Kubectl::default(), world.cx.clone());
            let request = promo_sdk::ObserveRequest { inputs: inputs.clone() };
            tokio::spawn(async move { kubectl.settle(&cx, &request).await })
        };
        // It waits, on a watch.
        tokio::time::sleep(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| plane.stop_apiserver());
        assert!(!settled.is_finished(), "a server that is away is no failure");
        // Meanwhile nobody can begin; whoever tries is told that it may be tried again.
        let error = world.preview(&world.inputs(&[&config("a", "1")])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{error}");
        tokio::task::block_in_place(|| plane.start_apiserver());
        heal(&world);
        settled.await.unwrap().unwrap();

        // In the middle of applying: whatever was done by then, what is left is told from both ends, and gone on with.
        let many: Vec<String> = (0..600).map(|n| config(&format!("c{n:03}"), "1")).collect();
        let texts: Vec<&str> = many.iter().map(String::as_str).collect();
        let next = world.inputs(&texts);
        let preview = world.preview(&next).await.unwrap();
        let begun = {
            let (kubectl, cx) = (Kubectl::default(), world.cx.clone());
            let request = World::request(&next, preview.current, preview.desired);
            tokio::spawn(async move { kubectl.ensure(&cx, &request).await })
        };
        let there = || {
            world.namespace.ask(async |client| {
                let api = kube::Api::<ConfigMap>::namespaced(client, world.namespace.name());
                api.get_opt("c050").await.unwrap().is_some()
            })
        };
        until("nothing is applied", there).await;
        tokio::task::block_in_place(|| plane.stop_apiserver());
        let ended = begun.await.unwrap();
        tokio::task::block_in_place(|| plane.start_apiserver());
        let error = ended.expect_err("the server was taken away in the middle");
        assert_eq!(error.kind, ErrorKind::Transient, "{error}");
        let between = State::between(&preview.current, &preview.desired);
        assert_eq!(world.observe(&next).await, between);
        world.ensure(&world.cx, &next, between, preview.desired).await.unwrap();
        assert_eq!(world.observe(&next).await, preview.desired);
        assert_eq!(world.names("configmaps").iter().filter(|name| name.starts_with('c')).count(), 600);
        assert_eq!(world.names("deployments"), [""], "what is no longer declared went away");
    }
}
