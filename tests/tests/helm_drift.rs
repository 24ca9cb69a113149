//! Drift of releases of helm (R37), and taking over those that helm made without promo, with both generations of helm: what somebody
//! changed with a real kubectl or helm is told by object and field.
#![cfg(target_os = "linux")]

use promo_sdk::{DriftAnswer, DriftClass, ErrorKind, FieldDrift, Inputs};
use promo_tests::charts::{BOTH, DIGEST, World, config, hook, web};
use serde_json::json;

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: login }\nstringData: { password: hunter2 }\n";

/// A Deployment, two ConfigMaps of which one has that value, a Secret and a hook.
fn shop(world: &World, value: &str, also: &serde_json::Value) -> Inputs {
    let (a, b, web, migrate) =
        (config("a", value), config("b", "1"), web(""), hook("migrate", "pre-install,pre-upgrade", "well"));
    let files = [
        ("chart/templates/a.yaml", a.as_str()),
        ("chart/templates/b.yaml", &b),
        ("chart/templates/login.yaml", SECRET),
        ("chart/templates/migrate.yaml", &migrate),
        ("chart/templates/web.yaml", &web),
    ];
    world.inputs(&files, also)
}

fn field<'a>(answer: &'a DriftAnswer, object: &str, path: &str) -> &'a FieldDrift {
    let object =
        answer.objects.iter().find(|one| one.object == object).unwrap_or_else(|| panic!("{object}: {answer:#?}"));
    object.fields.iter().find(|one| one.path == path).unwrap_or_else(|| panic!("{path}: {answer:#?}"))
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_changed_by_hand_in_a_release_is_told_by_object_field_and_who_and_nothing_else_is() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let inputs = shop(&world, "1", &json!({}));
            let recorded = world.deploy(&inputs).await.desired;
            world.kubectl(&["rollout", "restart", "deployment", "web"]);
            let quiet = world.drift(&inputs, recorded).await.unwrap();
            assert!(quiet.live == recorded && quiet.objects.is_empty() && quiet.note.is_none(), "{helm:?}: {quiet:#?}");
            // What nobody declares is told where nothing else differs too.
            world.kubectl(&["annotate", "secret", "login", "example.com/on-call=dana"]);
            let beside = world.drift(&inputs, recorded).await.unwrap();
            assert_eq!((beside.live, beside.objects.len()), (recorded, 1), "{helm:?}: {beside:#?}");
            world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"red"}}"#]);
            world.kubectl(&["patch", "secret", "login", "--type=merge", "-p", r#"{"data":{"password":"Y2FuYXJ5"}}"#]);
            world.kubectl(&["scale", "deployment", "web", "--replicas=5"]);
            world.kubectl(&["set", "image", "deployment/web", "web=shop/other:1"]);
            world.kubectl(&["delete", "configmap", "b"]);
            let answer = world.drift(&inputs, recorded).await.unwrap();
            let image = "spec.template.spec.containers[name=\"web\"].image";
            let ours = format!("registry.test/shop/web@{DIGEST}");
            for (object, path, class, recorded, live, by) in [
                ("ConfigMap/a", "data.key", DriftClass::Changed, Some("1"), "red", Some("kubectl-patch")),
                ("Deployment/web", "spec.replicas", DriftClass::Scaled, Some("2"), "5", None),
                ("Deployment/web", image, DriftClass::Image, Some(ours.as_str()), "shop/other:1", Some("kubectl-set")),
                (
                    "Secret/login",
                    "data.password",
                    DriftClass::Changed,
                    Some("(masked)"),
                    "(masked)",
                    Some("kubectl-patch"),
                ),
                (
                    "Secret/login",
                    "metadata.annotations[\"example.com/on-call\"]",
                    DriftClass::Added,
                    None,
                    "dana",
                    Some("kubectl-annotate"),
                ),
            ] {
                let told = field(&answer, object, path);
                assert_eq!(
                    (told.class, told.recorded.as_deref(), told.live.as_deref()),
                    (class, recorded, Some(live)),
                    "{told:?}"
                );
                // A server before 1.22 does not keep who scaled.
                if let Some(by) = by {
                    assert!(told.by.as_deref() == Some(by) && told.at.is_some(), "{helm:?}: {told:?}");
                }
            }
            let gone = answer.objects.iter().find(|one| one.object == "ConfigMap/b").unwrap();
            assert_eq!(gone.class, DriftClass::Deleted);
            let told: usize = answer.objects.iter().map(|one| one.fields.len()).sum();
            assert_eq!(
                (answer.objects.len(), told, &answer.note),
                (4, 5, &None),
                "{helm:?}: nothing else: {answer:#?}"
            );
            assert!(!format!("{answer:?}").contains("Y2FuYXJ5"), "{answer:?}");
            // It is taken back as anything is.
            world.ensure(&inputs, answer.live, recorded).await.unwrap();
            assert_eq!(world.drift(&inputs, recorded).await.unwrap().objects.len(), 1, "what was added stays");
        }
    }

    /// helm takes a hook away only where one of its name comes again: what is left where the release before is there is told.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_hook_of_a_failed_revision_has_left_is_told_by_the_way_back_and_by_drift_with_what_deletes_it() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let (value, fails) = (config("a", "1"), hook("migrate", "pre-upgrade", "fail"));
            let first = world.inputs(&[("chart/templates/a.yaml", value.as_str())], &json!({}));
            let recorded = world.deploy(&first).await.desired;
            let second = world.inputs(
                &[("chart/templates/a.yaml", value.as_str()), ("chart/templates/migrate.yaml", &fails)],
                &json!({}),
            );
            let preview = world.preview(&second).await.unwrap();
            world.ensure(&second, preview.current, preview.desired).await.unwrap_err();
            assert_eq!(world.names("jobs"), ["migrate"], "{helm:?}");
            let said = world.ensure(&first, world.observe(&first).await, recorded).await.unwrap();
            let told = "Job/migrate (left of a hook of revision 2)";
            assert!(said.contains(&format!("{told} is still there: `kubectl --kubeconfig ")), "{helm:?}: {said}");
            let answer = world.drift(&first, recorded).await.unwrap();
            let [left] = &answer.objects[..] else { panic!("{helm:?}: {answer:#?}") };
            assert_eq!((left.object.as_str(), left.class, answer.live), (told, DriftClass::Added, recorded));
            let [command] = &left.away[..] else { panic!("{left:?}") };
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            assert_eq!(words[words.len() - 2..], ["delete", "job.batch/migrate"], "{command}");
            world.kubectl(&words[words.len() - 2..]);
            assert_eq!(world.drift(&first, recorded).await.unwrap().objects, [], "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_somebody_did_with_helm_itself_is_told_as_helms_with_the_revision() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            world.deploy(&shop(&world, "1", &json!({}))).await;
            let second = shop(&world, "2", &json!({}));
            let recorded = world.deploy(&second).await.desired;
            world.helm(&["rollback", "shop", "1"]);
            let answer = world.drift(&second, recorded).await.unwrap();
            let told = field(&answer, "ConfigMap/a", "data.key");
            assert_eq!((told.recorded.as_deref(), told.live.as_deref()), (Some("2"), Some("1")), "{told:?}");
            assert!(told.by.as_deref() == Some("helm") && told.at.is_some(), "{helm:?}: {told:?}");
            assert_eq!(answer.objects.len(), 1, "{helm:?}: {answer:#?}");
            let note = answer.note.unwrap();
            assert!(
                note.starts_with("revision 3 of release shop (deployed: Rollback to 1) was not made by promo at 20"),
                "{note}"
            );
            // Another chart, hooks included, and what only that one declares.
            let mut other = shop(&world, "2", &json!({}));
            other.files.insert(
                "chart/Chart.yaml".into(),
                world.blobs.put("apiVersion: v2\nname: shop\nversion: 9.9.9\nappVersion: \"7\"\n"),
            );
            other.files.insert("chart/templates/new.yaml".into(), world.blobs.put(config("new", "1")));
            other
                .files
                .insert("chart/templates/migrate.yaml".into(), world.blobs.put(hook("migrate", "pre-upgrade", "fine")));
            let chart = world.chart_of(&other);
            world.helm(&["upgrade", "shop", &chart, "--reuse-values"]);
            let answer = world.drift(&second, recorded).await.unwrap();
            let version = field(&answer, "Release/shop", "chart.version");
            assert_eq!(
                (version.recorded.as_deref(), version.live.as_deref()),
                (Some("1.2.0"), Some("9.9.9")),
                "{version:?}"
            );
            assert_eq!((version.by.as_deref(), version.at.is_some()), (Some("helm"), true), "{version:?}");
            let classes: Vec<_> = answer.objects.iter().map(|one| (one.object.as_str(), one.class)).collect();
            assert!(classes.contains(&("ConfigMap/new", DriftClass::Added)), "{helm:?}: {classes:?}");
            assert!(classes.contains(&("Job/migrate (hook)", DriftClass::Changed)), "{helm:?}: {classes:?}");
            world.helm(&["uninstall", "shop", "--keep-history"]);
            let answer = world.drift(&second, recorded).await.unwrap();
            assert!(answer.objects.iter().all(|one| one.class == DriftClass::Deleted), "{helm:?}: {answer:#?}");
            let note = "release shop was uninstalled; its history, up to revision 4, is kept";
            assert_eq!((answer.objects.len(), answer.note.as_deref()), (6, Some(note)), "{helm:?}: {answer:#?}");
        }
    }

    /// S13.4: what a server says of what it refuses may quote it, and helm keeps that in the release.
    #[tokio::test(flavor = "multi_thread")]
    async fn why_a_revision_of_somebody_failed_is_left_to_helm_s_own_history() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let inputs = shop(&world, "1", &json!({}));
            let recorded = world.deploy(&inputs).await.desired;
            // A number where the server wants words.
            let secret = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: b, labels: { a: \"canary secret!\" } }\n";
            let mut theirs = shop(&world, "2", &json!({}));
            theirs.files.insert("chart/templates/b.yaml".into(), world.blobs.put(secret));
            let chart = world.chart_of(&theirs);
            let refused =
                world.namespace.helm(helm).args(["upgrade", "shop", &chart, "--reuse-values"]).output().unwrap();
            assert!(!refused.status.success(), "{helm:?}");
            let kept = world.helm(&["history", "shop", "-o", "json"]);
            assert!(kept.contains("failed") && kept.contains("canary"), "{helm:?} keeps it: {kept}");
            let answer = world.drift(&inputs, recorded).await.unwrap();
            let note = answer.note.as_deref().unwrap_or_default();
            assert!(note.contains("(failed: `helm history` has the reason)"), "{helm:?}: {note}");
            assert!(!format!("{answer:?}").contains("canary"), "{helm:?}: {answer:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_helm_made_without_promo_is_taken_over_where_that_is_asked_for_and_nothing_restarts() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let inputs = shop(&world, "1", &json!({}));
            let chart = world.chart_of(&inputs);
            let repository = "image.repository=registry.test/shop/web";
            let digest = format!("image.digest={DIGEST}");
            world.helm(&["install", "shop", &chart, "--set", repository, "--set", &digest]);
            let refused = world.preview(&inputs).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
            let why =
                "release shop is there already, and promo has not made it (revision 1, deployed: Install complete)";
            assert!(refused.message.contains(why) && refused.message.contains("`adopt = true`"), "{helm:?}: {refused}");
            let generation = || {
                world.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.metadata.uid} {.metadata.generation}"])
            };
            let before = generation();
            let adopting = shop(&world, "1", &json!({ "adopt": true }));
            let preview = world.preview(&adopting).await.unwrap();
            let [change] = &preview.changes[..] else {
                panic!("{helm:?}: nothing else changes: {:?}", preview.changes)
            };
            assert_eq!(change.path, "owner of the release");
            assert_eq!(change.before.as_deref(), Some("helm, by hand: revision 1, deployed: Install complete\n"));
            assert_eq!(change.after.as_deref(), Some("promo\n"));
            // Whoever goes on with it by hand meanwhile makes the plan stale.
            world.helm(&["upgrade", "shop", &chart, "--reuse-values"]);
            let stale = world.ensure(&adopting, preview.current, preview.desired).await.unwrap_err();
            assert!(stale.kind == ErrorKind::Conflict && stale.message.contains("something else"), "{helm:?}: {stale}");
            world.deploy(&adopting).await;
            assert_eq!(
                (generation(), world.history().last().unwrap().0),
                (before, 3),
                "{helm:?}: nothing was restarted"
            );
            // From now on it is promo's, with or without the word.
            let changes = world.deploy(&shop(&world, "2", &json!({}))).await.changes;
            assert_eq!(changes.len(), 1, "{helm:?}: {changes:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_that_was_to_be_taken_over_when_promo_was_killed_is_still_somebody_elses_and_is_taken_over_then()
    {
        for helm in BOTH {
            // Nothing else changes, and something does.
            for value in ["1", "2"] {
                let Some(mut world) = World::new(helm) else { return };
                let inputs = shop(&world, "1", &json!({}));
                let chart = world.chart_of(&inputs);
                let (repository, digest) =
                    ("image.repository=registry.test/shop/web", format!("image.digest={DIGEST}"));
                world.helm(&["install", "shop", &chart, "--set", repository, "--set", &digest]);
                let adopting = shop(&world, value, &json!({ "adopt": true }));
                let plan = world.preview(&adopting).await.unwrap();
                let killed = world.instead("kill -9 $$");
                world.with(Some(&killed));
                world.ensure(&adopting, plan.current, plan.desired).await.unwrap_err();
                assert_eq!(world.observe(&adopting).await, plan.current, "{helm:?}, {value}: nothing has been done");
                let refused = world.preview(&inputs).await.unwrap_err();
                assert!(refused.message.contains("promo has not made it"), "{helm:?}, {value}: {refused}");
                world.with(None);
                world.ensure(&adopting, plan.current, plan.desired).await.unwrap();
                let there = (world.observe(&adopting).await, world.history().last().unwrap().0);
                assert_eq!(there, (plan.desired, 2), "{helm:?}, {value}");
            }
        }
    }
}
