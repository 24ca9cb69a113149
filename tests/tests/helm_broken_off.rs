//! A helm that is broken off in the middle of its objects, and one whose server goes away while it writes (S9.3, S13.6), with both generations
//! of helm: nobody knows then how far it came. And charts from a real registry, by digest.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::time::{Duration, Instant};

use promo_sdk::{ErrorKind, Inputs, State};
use promo_tests::charts::{BOTH, World};
use promo_tests::front::Way;
use promo_tests::kubernetes::Helm;
use serde_json::json;

/// How many objects there are beside each other.
const MANY: usize = 12;
/// After so many helm is broken off.
const SOME: usize = 4;

/// Many objects with one value.
fn many(world: &World, value: &str) -> Inputs {
    let template = format!(
        "{{{{- range $i := until {MANY} }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: m{{{{ $i }}}} }}\ndata: {{ key: {value:?} }}\n{{{{- end }}}}\n"
    );
    world.inputs(&[("chart/templates/many.yaml", &template)], &json!({}))
}

/// How many of them have that value.
fn with(world: &World, value: &str) -> usize {
    let values = world.kubectl(&["get", "configmaps", "-o", "jsonpath={.items[*].data.key}"]);
    values.split(' ').filter(|found| *found == value).count()
}

/// Waits until something is so.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// helm, which takes its time between two requests about an object.
const SLOW: &str = "\"$HELM\" \"$@\" --qps=5 --burst-limit=1";

/// Counts what helm has changed so far, in a shell.
const CHANGED: &str = "$(\"$KUBECTL\" --kubeconfig \"$CONFIG\" get configmaps -o 'jsonpath={.items[*].data.key}' | tr ' ' '\\n' | grep -c two)";

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_that_is_killed_between_two_objects_leaves_a_place_from_which_both_ends_are_reached() {
        for helm in BOTH {
            for back in [true, false] {
                let Some(mut world) = World::new(helm) else { return };
                let (first, second) = (many(&world, "one"), many(&world, "two"));
                let from = world.deploy(&first).await.desired;
                let to = world.preview(&second).await.unwrap().desired;
                let killed = format!(
                    "{SLOW} & pid=$!\nuntil [ {CHANGED} -ge {SOME} ]; do sleep 0.02; done\nkill -9 $pid; wait $pid"
                );
                let killed = world.instead(&killed);
                world.with(Some(&killed));
                world.ensure(&second, from, to).await.unwrap_err();
                world.with(None);
                let (old, new) = (with(&world, "one"), with(&world, "two"));
                assert!(old > 0 && new >= SOME && old + new == MANY, "{helm:?}: it was in the middle: {old} and {new}");
                let between = State::between(&from, &to);
                assert_eq!(world.observe(&second).await, between, "{helm:?}: {:?}", world.history());
                let (end, state, value) = if back { (&first, from, "one") } else { (&second, to, "two") };
                world.ensure(end, between, state).await.unwrap();
                assert_eq!((world.observe(end).await, with(&world, value)), (state, MANY), "{helm:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s13_6_a_server_that_goes_away_while_helm_writes_is_no_failure_of_the_release_and_is_gone_on_with() {
        // helm takes its time before it gives up, all of them at once.
        let cases = BOTH.into_iter().flat_map(|helm| [false, true].map(|mended| tokio::spawn(goes_away(helm, mended))));
        for case in cases.collect::<Vec<_>>() {
            case.await.unwrap();
        }
    }

    /// The server is away for good, or there again when promo looks what helm could not say.
    async fn goes_away(helm: Helm, mended: bool) {
        let Some(mut world) = World::new(helm) else { return };
        let (first, second) = (many(&world, "one"), many(&world, "two"));
        let from = world.deploy(&first).await.desired;
        let text = std::fs::read_to_string(world.namespace.kubeconfig()).unwrap();
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
        let way = Way::to(server).await;
        let kubeconfig = world.root.path().join("through.kubeconfig");
        std::fs::write(&kubeconfig, text.replace(server, &way.address())).unwrap();
        // helm has failed, and promo does not know it yet.
        let (failed, on) = (world.root.path().join("failed"), world.root.path().join("on"));
        let slow = format!("{SLOW}; code=$?; touch {failed:?}; until [ -e {on:?} ]; do sleep 0.02; done; exit $code");
        let slow = world.instead(&slow);
        world.by(&kubeconfig, "admin", Some(&slow));
        world.provider = promo_providers::helm::Helm::default();
        let to = world.preview(&second).await.unwrap().desired;
        let cut = async {
            until("helm never began", || with(&world, "two") >= SOME).await;
            way.cut();
            until("helm does not give up", || failed.exists()).await;
            if mended {
                way.mend();
            }
            std::fs::write(&on, "").unwrap();
        };
        let (ended, ()) = tokio::join!(world.ensure(&second, from, to), cut);
        let error = ended.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "{helm:?} {mended}: what has failed is the way: {error}");
        // What promo could see for itself is told in helm's words.
        assert_eq!(error.message.contains("UPGRADE FAILED"), mended, "{helm:?}: {error}");
        let (old, new) = (with(&world, "one"), with(&world, "two"));
        assert!(old > 0 && new >= SOME, "{helm:?}: it was in the middle: {old} and {new}");
        if !mended {
            // Nobody can tell, and nobody guesses.
            let error = world.look(&second).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Transient, "{helm:?}: {error}");
            way.mend();
        }
        let between = State::between(&from, &to);
        assert_eq!(world.observe(&second).await, between, "{helm:?} {mended}: {:?}", world.history());
        world.by(&kubeconfig, "admin", None);
        world.provider = promo_providers::helm::Helm::default();
        world.ensure(&second, between, to).await.unwrap();
        assert_eq!((world.observe(&second).await, with(&world, "two")), (to, MANY), "{helm:?}");
    }

    mod needs_docker_registry {
        use super::*;
        use promo_sdk::ArtifactInput;
        use promo_tests::charts::{config, web};
        use promo_tests::registry::Registry;

        /// Packs and pushes the chart of these inputs as a person does; gives its digest.
        fn push(world: &World, inputs: &Inputs, registry: &Registry) -> String {
            let chart = world.chart_of(inputs);
            let packed = world.root.path().join("packed");
            world.helm(&["package", &chart, "--destination", &packed.display().to_string()]);
            let file = packed.join("shop-1.2.0.tgz").display().to_string();
            let to = format!("oci://{}/charts", registry.address());
            let mut command = world.namespace.helm(world.helm);
            let output = command.args(["push", &file, &to, "--plain-http"]).output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{said}");
            said.lines()
                .find_map(|line| line.trim().strip_prefix("Digest: "))
                .unwrap_or_else(|| panic!("{said}"))
                .to_owned()
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s2_3_a_chart_of_a_registry_is_the_one_of_its_digest_whatever_its_tag_says_by_now() {
            for helm in BOTH {
                let Some(world) = World::new(helm) else { return };
                let Some(registry) = Registry::start() else { return };
                let templates = |value: &str| {
                    let (a, web) = (config("a", value), web(""));
                    world.inputs(&[("chart/templates/a.yaml", &a), ("chart/templates/web.yaml", &web)], &json!({}))
                };
                let digest = push(&world, &templates("pinned"), &registry);
                let other = push(&world, &templates("pushed over it"), &registry);
                assert_ne!(digest, other);
                let with = |repository: &str, digest: &str| {
                    let mut inputs = world.inputs(&[], &json!({ "chart": "chart" }));
                    inputs.files.clear();
                    let artifact = ArtifactInput {
                        repository: format!("{}/{repository}", registry.address()),
                        digest: digest.parse().unwrap(),
                        tag: Some("1.2.0".into()),
                        source: None,
                        tree: Vec::new(),
                    };
                    inputs.artifacts.insert("chart".parse().unwrap(), artifact);
                    inputs
                };
                let pinned = with("charts/shop", &digest);
                world.deploy(&pinned).await;
                world.settle(&pinned).await.unwrap();
                let found = || world.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.key}"]);
                assert_eq!(found(), "pinned", "{helm:?}");
                let chart = world.helm(&["list", "-o", "json"]);
                assert!(chart.contains("shop-1.2.0"), "{chart}");
                world.deploy(&with("charts/shop", &other)).await;
                assert_eq!(found(), "pushed over it", "{helm:?}");
                // Bytes that are not what the digest says are nobody's chart.
                let file = registry.file(digest.trim_start_matches("sha256:"));
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(&file, text.replace("1.2.0", "1.2.1")).unwrap();
                let error = world.preview(&pinned).await.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Integrity, "{helm:?}: {error}");
                assert_eq!(found(), "pushed over it");
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn an_image_is_no_chart_and_a_chart_that_is_not_there_is_named() {
            use promo_providers::oci::build::{Image, image};
            use promo_providers::oci::{Network, Store};
            let helm = BOTH[0];
            let Some(world) = World::new(helm) else { return };
            let Some(registry) = Registry::start() else { return };
            let network = Network::of(&promo_sdk::testing::context(world.root.path())).unwrap();
            let store = Store::Registry(network.repository(registry.address(), "charts/shop").unwrap());
            let pushed = image(&store, "1.2.0", &Image::new([], vec![b"no chart".to_vec()])).await.unwrap();
            let absent = format!("sha256:{}", "0".repeat(64));
            for (digest, kind, why) in [
                (pushed.to_string(), ErrorKind::Invalid, "is no chart: it is an index"),
                (absent.clone(), ErrorKind::NotFound, absent.as_str()),
            ] {
                let mut inputs = world.inputs(&[], &json!({ "chart": "chart" }));
                let artifact = ArtifactInput {
                    repository: format!("{}/charts/shop", registry.address()),
                    digest: digest.parse().unwrap(),
                    tag: None,
                    source: None,
                    tree: Vec::new(),
                };
                inputs.artifacts.insert("chart".parse().unwrap(), artifact);
                let error = world.preview(&inputs).await.unwrap_err();
                assert!(error.kind == kind && error.message.contains(why), "{error:?}");
            }
        }
    }
}
