//! What `deploy.helm` makes of what goes wrong (S9, S13), with both generations of helm: a helm that dies before, during and after its
//! writes, revisions of somebody else, refusals of the cluster. Nothing stays half-applied without being named.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use promo_sdk::{ErrorKind, Inputs, State};
use promo_tests::charts::{BOTH, World, config, hook, web};
use promo_tests::kubernetes::Helm;
use serde_json::{Value, json};

/// Two ConfigMaps, in the order in which helm makes them, of which the second is one that the server takes its time with, if at all:
/// its hook or webhook is what a test makes it.
fn chart(world: &World, a: &str, also: &[(&str, &str)]) -> Inputs {
    let a = config("a", a);
    let mut files = vec![("chart/templates/a.yaml", a.as_str())];
    files.extend(also);
    world.inputs(&files, &json!({}))
}

fn data(world: &World, name: &str) -> String {
    world.kubectl(&["get", "configmap", name, "-o", "jsonpath={.data}"])
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_that_dies_before_its_first_write_has_changed_nothing_and_the_step_can_be_taken_again() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let first = chart(&world, "1", &[]);
            let from = world.deploy(&first).await.desired;
            let second = chart(&world, "2", &[]);
            let to = world.preview(&second).await.unwrap().desired;
            let killed = world.instead("kill -9 $$");
            world.as_user("admin", Some(&killed));
            world.provider = promo_providers::helm::Helm::default();
            let error = world.ensure(&second, from, to).await.unwrap_err();
            assert!(error.message.contains("was ended by a signal"), "{helm:?}: {error}");
            assert_eq!(world.observe(&second).await, from, "{helm:?}: nothing has been done");
            world.as_user("admin", None);
            world.provider = promo_providers::helm::Helm::default();
            world.ensure(&second, from, to).await.unwrap();
            assert_eq!(world.observe(&second).await, to);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_helm_that_dies_during_its_writes_leaves_a_place_between_two_states_and_either_is_reached_from_there() {
        for helm in BOTH {
            for back in [true, false] {
                let Some(mut world) = World::new(helm) else { return };
                let (kept, gone) = (config("kept", "x"), config("gone", "x"));
                let first = chart(&world, "1", &[("chart/templates/g.yaml", &gone), ("chart/templates/k.yaml", &kept)]);
                let from = world.deploy(&first).await.desired;
                // What the second adds to an object, and an object that it adds.
                let more = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { key: '2', more: '2' }\n";
                let (new, slow) = (config("new", "2"), hook("slow", "post-upgrade", "notready"));
                let second = world.inputs(
                    &[
                        ("chart/templates/a.yaml", more),
                        ("chart/templates/k.yaml", &kept),
                        ("chart/templates/n.yaml", &new),
                        ("chart/templates/slow.yaml", &slow),
                    ],
                    &json!({}),
                );
                let to = world.preview(&second).await.unwrap().desired;
                // It waits for a hook that never ends, after its objects and before it says so: then it is killed.
                let dies = "\"$HELM\" \"$@\" & pid=$!\nuntil \"$KUBECTL\" --kubeconfig \"$CONFIG\" get job slow -o name; do sleep 0.05; done\nkill -9 $pid; wait $pid";
                let kubectl = world.namespace.kubectl().get_program().to_string_lossy().into_owned();
                let config_file = world.namespace.kubeconfig().display().to_string();
                let dies = format!("KUBECTL={kubectl:?}; CONFIG={config_file:?}\n{dies}");
                let killed = world.instead(&dies);
                world.as_user("admin", Some(&killed));
                world.provider = promo_providers::helm::Helm::default();
                world.ensure(&second, from, to).await.unwrap_err();
                let between = State::between(&from, &to);
                assert_eq!(world.observe(&second).await, between, "{helm:?}: {:?}", world.history());
                assert_eq!(world.history().last().unwrap(), &(2, "pending-upgrade".to_owned()));
                assert!(data(&world, "a").contains("more"), "it was there already");
                world.as_user("admin", None);
                world.provider = promo_providers::helm::Helm::default();
                world.kubectl(&["delete", "job", "slow"]);
                if back {
                    world.ensure(&first, between, from).await.unwrap();
                    assert_eq!(world.observe(&first).await, from, "{helm:?}");
                    assert!(
                        !data(&world, "a").contains("more"),
                        "{helm:?}: also what was only added: {}",
                        data(&world, "a")
                    );
                    assert_eq!(world.names("configmaps"), ["a", "gone", "kept"], "{helm:?}");
                } else {
                    let healed = "promo.test/kubelet: notready";
                    let good = slow.replace(healed, "promo.test/kubelet: well");
                    let third = world.inputs(
                        &[
                            ("chart/templates/a.yaml", more),
                            ("chart/templates/k.yaml", &kept),
                            ("chart/templates/slow.yaml", &good),
                        ],
                        &json!({}),
                    );
                    let preview = world.preview(&third).await.unwrap();
                    assert_eq!(preview.current, between, "{helm:?}");
                    world.ensure(&third, between, preview.desired).await.unwrap();
                    assert_eq!(world.observe(&third).await, preview.desired);
                    assert_eq!(
                        world.names("configmaps"),
                        ["a", "kept"],
                        "{helm:?}: what only the broken-off one made is gone"
                    );
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_somebody_changes_by_hand_in_a_place_that_is_half_way_makes_it_one_that_nobody_can_tell() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let first = chart(&world, "1", &[]);
            let from = world.deploy(&first).await.desired;
            let second = broken_off(&mut world, from).await;
            assert_ne!(world.observe(&second).await, State::Unknown);
            world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"by hand"}}"#]);
            assert_eq!(world.observe(&second).await, State::Unknown, "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_revision_of_somebody_else_that_is_not_finished_is_left_alone_and_the_commands_to_heal_it_are_told() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let inputs = chart(&world, "1", &[]);
            let desired = world.deploy(&inputs).await.desired;
            // As a person's helm leaves it: it copies promo's labels from one revision to the next.
            let text = world.kubectl(&["get", "secret", "sh.helm.release.v1.shop.v1", "-o", "json"]);
            let mut secret: Value = serde_json::from_str(&text).unwrap();
            pending(&mut secret, 2);
            let file = world.root.path().join("pending.json");
            std::fs::write(&file, secret.to_string()).unwrap();
            world.kubectl(&["create", "-f", &file.display().to_string()]);
            let error = world.look(&inputs).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
            let at = format!(
                "--kubeconfig {} --kube-context admin --namespace {}",
                world.namespace.kubeconfig().display(),
                world.namespace.name()
            );
            for word in [
                "revision 2 of the release shop is pending-upgrade",
                &format!("`helm history shop {at}`"),
                &format!("`helm rollback shop 1 {at}`"),
            ] {
                assert!(error.message.contains(word), "{helm:?} {word}: {error}");
            }
            assert!(world.ensure(&inputs, desired, desired).await.is_err());
            // The command does what is said of it.
            let words = format!("rollback shop 1 {at}");
            world.helm(&words.split(' ').collect::<Vec<_>>());
            assert_eq!(world.observe(&inputs).await, desired, "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_revision_that_somebody_else_makes_meanwhile_is_a_conflict_that_names_it() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let first = chart(&world, "1", &[]);
            let from = world.deploy(&first).await.desired;
            let second = chart(&world, "2", &[]);
            let to = world.preview(&second).await.unwrap().desired;
            let config = world.namespace.kubeconfig().display().to_string();
            let name = world.namespace.name().to_owned();
            let other = format!(
                "\"$HELM\" rollback shop 1 --kubeconfig {config:?} --namespace {name:?} >&2\nexec \"$HELM\" \"$@\""
            );
            let raced = world.instead(&other);
            world.as_user("admin", Some(&raced));
            world.provider = promo_providers::helm::Helm::default();
            let error = world.ensure(&second, from, to).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
            assert!(error.message.contains("expected this run's revision 2"), "{helm:?}: {error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_cluster_refuses_fails_the_step_and_the_way_back_takes_away_what_came_of_it() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let first = chart(&world, "1", &[]);
            let from = world.deploy(&first).await.desired;
            world.kubectl(&["create", "quota", "few", "--hard=count/configmaps=3"]);
            wait_for(|| {
                world.kubectl(&["get", "quota", "few", "-o", "jsonpath={.status.used}"]).contains("configmaps")
            });
            let (b, c) = (config("b", "2"), config("c", "2"));
            let second = chart(&world, "2", &[("chart/templates/b.yaml", &b), ("chart/templates/c.yaml", &c)]);
            let to = world.preview(&second).await;
            // A dry run counts as well, object by object: what passes there one by one is refused together.
            let to = to.unwrap().desired;
            let error = world.ensure(&second, from, to).await.unwrap_err();
            assert!(error.message.contains("exceeded quota"), "{helm:?}: {error}");
            let between = world.observe(&second).await;
            assert_eq!(between, State::between(&from, &to), "{helm:?}: {:?}", world.history());
            world.ensure(&first, between, from).await.unwrap();
            assert_eq!(
                (world.observe(&first).await, world.names("configmaps")),
                (from, vec!["a".to_owned()]),
                "{helm:?}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_that_fails_is_named() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let from = world.deploy(&chart(&world, "1", &[])).await.desired;
            let migrate = hook("migrate", "pre-upgrade", "crash");
            let second = chart(&world, "2", &[("chart/templates/m.yaml", &migrate)]);
            let preview = world.preview(&second).await.unwrap();
            assert!(preview.changes.iter().any(|change| change.path == "Job/migrate (hook)"), "{:?}", preview.changes);
            let error = world.ensure(&second, from, preview.desired).await.unwrap_err();
            assert!(error.message.contains("the hook Job/migrate (pre-upgrade) failed"), "{helm:?}: {error}");
            // Before the first object: everything is as it was, and it can be gone back to.
            let there = world.observe(&second).await;
            world.ensure(&chart(&world, "1", &[]), there, from).await.unwrap();
            assert_eq!(world.observe(&second).await, from, "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_has_no_rights_is_told_so_and_a_namespace_that_is_deleted_is_not_made_anew() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let inputs = chart(&world, "1", &[]);
            world.deploy(&inputs).await;
            world.as_user("nobody", None);
            world.provider = promo_providers::helm::Helm::default();
            let error = world.preview(&inputs).await.unwrap_err();
            assert!(error.kind == ErrorKind::Denied && error.message.contains(world.namespace.name()), "{error}");
            world.as_user("admin", None);
            world.provider = promo_providers::helm::Helm::default();
            let name = world.namespace.name().to_owned();
            world.kubectl(&["delete", "namespace", &name]);
            let error = world.preview(&inputs).await.unwrap_err();
            assert!(error.kind == ErrorKind::NotFound && error.message.contains("no namespace"), "{helm:?}: {error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn definitions_come_before_what_they_define_on_an_upgrade_as_well() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let group = format!("h{}.promo.test", helm_number(helm));
            let definition = format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\nspec:\n  \
                 group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  versions:\n  \
                 - {{ name: v1, served: true, storage: true, schema: {{ openAPIV3Schema: {{ type: object, properties: {{ spec: {{ type: object, properties: {{ size: {{ type: integer }} }} }} }} }} }} }}\n"
            );
            let shop = format!("apiVersion: {group}/v1\nkind: Shop\nmetadata: {{ name: one }}\nspec: {{ size: 3 }}\n");
            world.deploy(&chart(&world, "1", &[])).await;
            let second =
                chart(&world, "1", &[("chart/crds/shop.yaml", &definition), ("chart/templates/shop.yaml", &shop)]);
            let preview = world.deploy(&second).await;
            let crd = format!("CustomResourceDefinition/shops.{group}");
            assert!(preview.changes.iter().any(|change| change.path == crd), "{:?}", preview.changes);
            assert_eq!(world.kubectl(&["get", &format!("shops.{group}"), "one", "-o", "jsonpath={.spec.size}"]), "3");
            world.settle(&second).await.unwrap();
            let again = world.preview(&second).await.unwrap();
            assert_eq!((again.current, again.changes.len()), (again.desired, 0), "{:?}", again.changes);
            // In a template they would come too late for helm.
            let inside =
                chart(&world, "1", &[("chart/templates/d.yaml", &definition), ("chart/templates/shop.yaml", &shop)]);
            let error = world.preview(&inside).await.unwrap_err();
            assert!(error.message.contains("in the chart's `crds/`"), "{error}");
            world.kubectl(&["delete", "crd", &format!("shops.{group}")]);
        }
    }

    /// helm takes what lies in `crds/` of the chart itself for definitions, and everything below `templates/` for a template.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_definition_among_the_templates_is_helm_s_wherever_it_lies_there() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let group = format!("{}.example.com", world.namespace.name());
            let definition = |short: &str| {
                format!(
                    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
                     spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop, shortNames: [{short}] }}\n  \
                     versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{ openAPIV3Schema: {{ type: object }} }}\n"
                )
            };
            // One in `crds/` would be made once and never changed.
            for short in ["sh", "shp"] {
                let text = definition(short);
                let inputs = chart(&world, short, &[("chart/templates/crds/shop.yaml", &text)]);
                world.deploy(&inputs).await;
                let path = "jsonpath={.spec.names.shortNames[*]} {.metadata.annotations.meta\\.helm\\.sh/release-name}";
                let found = world.kubectl(&["get", "crd", &format!("shops.{group}"), "-o", path]);
                assert_eq!(found, format!("{short} shop"), "{helm:?}");
            }
            world.kubectl(&["delete", "crd", &format!("shops.{group}")]);
        }
    }

    /// What helm would make is asked before the release is touched that failed, so that a refusal leaves it as it was.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_failed_is_not_marked_before_helm_was_asked_what_it_would_make() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let first = chart(&world, "1", &[]);
            let from = world.deploy(&first).await.desired;
            // It fails on its hook, with its objects there: promo's own revision, and the one before it deployed still.
            let bad = hook("migrate", "post-upgrade", "fail");
            let second = chart(&world, "2", &[("chart/templates/hook.yaml", &bad)]);
            let to = world.preview(&second).await.unwrap().desired;
            world.ensure(&second, from, to).await.unwrap_err();
            let statuses = |world: &World| world.history().into_iter().map(|(_, status)| status).collect::<Vec<_>>();
            assert_eq!(statuses(&world), ["deployed", "failed"], "{helm:?}");
            // Going back, with a helm that makes something else of it now than for the plan.
            let there = world.observe(&first).await;
            let other = world.script(
                r#"if [[ "$*" == *--dry-run=server* ]]; then "$HELM" "$@" | sed 's/key: \\"1\\"/key: \\"other\\"/'; exit; fi; exec "$HELM" "$@""#,
            );
            world.with(Some(&other));
            let error = world.ensure(&first, there, from).await.unwrap_err();
            assert!(error.message.contains("ConfigMap/a"), "{helm:?}: {error}");
            world.with(None);
            assert_eq!(statuses(&world), ["deployed", "failed"], "{helm:?}: as it was");
            world.ensure(&first, there, from).await.unwrap();
            assert_eq!(world.observe(&first).await, from);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_does_not_run_in_time_is_named_with_the_reason_of_its_pods() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let web = web(", annotations: { promo.test/kubelet: imagepull }");
            let inputs = world.inputs(&[("chart/templates/web.yaml", &web)], &json!({ "timeout": 3 }));
            world.deploy(&inputs).await;
            let error = world.settle(&inputs).await.unwrap_err();
            assert!(
                error.message.contains("not settled within 3 s: Deployment/web") && error.message.contains("ImagePull"),
                "{error}"
            );
        }
    }
}

fn helm_number(helm: Helm) -> u8 {
    match helm {
        Helm::Three => 3,
        Helm::Four => 4,
    }
}

fn wait_for(there: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !there() {
        assert!(std::time::Instant::now() < deadline, "it never came");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Breaks off a second release after its writes; gives what it was.
async fn broken_off(world: &mut World, from: State) -> Inputs {
    let slow = hook("slow", "post-upgrade", "notready");
    let second = chart(world, "2", &[("chart/templates/slow.yaml", &slow)]);
    let to = world.preview(&second).await.unwrap().desired;
    let kubectl = world.namespace.kubectl().get_program().to_string_lossy().into_owned();
    let config = world.namespace.kubeconfig().display().to_string();
    let body = format!(
        "\"$HELM\" \"$@\" & pid=$!\nuntil {kubectl:?} --kubeconfig {config:?} get job slow -o name; do sleep 0.05; done\nkill -9 $pid; wait $pid"
    );
    let killed = world.instead(&body);
    world.as_user("admin", Some(&killed));
    world.provider = promo_providers::helm::Helm::default();
    world.ensure(&second, from, to).await.unwrap_err();
    world.as_user("admin", None);
    world.provider = promo_providers::helm::Helm::default();
    second
}

/// Makes of a revision's Secret one that is pending under another number, with all its labels.
fn pending(secret: &mut Value, revision: u64) {
    use base64::Engine as _;
    use std::io::Read as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let packed = engine.decode(secret["data"]["release"].as_str().unwrap()).unwrap();
    let packed = engine.decode(packed).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    let mut release: Value = serde_json::from_str(&text).unwrap();
    release["version"] = revision.into();
    release["info"]["status"] = "pending-upgrade".into();
    let plain = engine.encode(release.to_string());
    secret["data"]["release"] = engine.encode(plain).into();
    let metadata = json!({
        "name": format!("sh.helm.release.v1.shop.v{revision}"), "labels": secret["metadata"]["labels"].clone(),
        "namespace": secret["metadata"]["namespace"].clone(),
    });
    secret["metadata"] = metadata;
    secret["metadata"]["labels"]["status"] = "pending-upgrade".into();
    secret["metadata"]["labels"]["version"] = revision.to_string().into();
}
