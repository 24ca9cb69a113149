//! The `helm` deployment on a real control plane (R30, R40, S8, S9), with both generations of helm: what a plan shows is what the
//! cluster has afterwards, what others own is left to them, and what is no longer declared goes away.
#![cfg(target_os = "linux")]

use promo_sdk::ErrorKind;
use promo_tests::charts::{BOTH, DIGEST, World, config, web};
use serde_json::json;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                       spec: { selector: { app: web }, ports: [{ port: 80, protocol: TCP }] }\n";

mod needs_kubernetes {
    use super::*;

    /// Each takes a process and nobody waits for the other: this helm says what it is only once it renders.
    #[tokio::test(flavor = "multi_thread")]
    async fn helm_is_asked_what_it_is_while_it_renders() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let inputs = world.inputs(&[("chart/templates/a.yaml", &config("a", "1"))], &json!({}));
            let waits = world.script(
                "if [[ $1 == template ]]; then : >\"$0.renders\"; fi\n\
                 if [[ $1 == version ]]; then for _ in {1..300}; do [[ -e $0.renders ]] && break; sleep 0.1; done; [[ -e $0.renders ]] || exit 1; fi\n\
                 exec \"$HELM\" \"$@\"\n",
            );
            world.with(Some(&waits));
            world.deploy(&inputs).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_contract_of_deployments() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let (a, b) = (config("a", "one"), config("b", "two"));
            let disturb = || {
                world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"by hand"}}"#]);
            };
            let snapshot = || {
                let others = "metadata.name!=kube-root-ca.crt";
                world.kubectl(&["get", "configmaps,secrets", "-o", "json", "--field-selector", others])
            };
            let cases = promo_sdk::conformance::DeploymentCases {
                first: world.inputs(&[("chart/templates/a.yaml", &a)], &json!({})),
                second: world.inputs(&[("chart/templates/a.yaml", &a), ("chart/templates/b.yaml", &b)], &json!({})),
                disturb: &disturb,
                snapshot: &snapshot,
            };
            promo_sdk::conformance::deployment(&world.provider, &world.cx, &cases).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chart_is_installed_runs_and_is_upgraded_and_what_it_no_longer_declares_goes_away() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            world.kubectl(&["create", "configmap", "somebody-elses"]);
            let (one, two, web) = (config("one", "1"), config("two", "2"), web(""));
            let first = world.inputs(
                &[
                    ("chart/templates/one.yaml", &one),
                    ("chart/templates/two.yaml", &two),
                    ("chart/templates/web.yaml", &web),
                    ("chart/templates/service.yaml", SERVICE),
                    ("chart/templates/NOTES.txt", "revision {{ .Release.Revision }} of {{ now }}"),
                ],
                &json!({}),
            );
            let preview = world.deploy(&first).await;
            let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
            let expected = ["ConfigMap/one", "ConfigMap/two", "Deployment/web", "Release/shop", "Service/web"];
            assert_eq!(paths, expected, "{helm:?}");
            let shown = preview.changes[2].after.as_deref().unwrap();
            assert!(shown.contains(&format!("registry.test/shop/web@{DIGEST}")), "{shown}");
            world.settle(&first).await.unwrap();
            let ready = world.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"]);
            assert_eq!(ready, "2", "it was waited for");
            // S8.5: planning again shows no change, whatever the number of the revision.
            let again = world.preview(&first).await.unwrap();
            assert_eq!((again.current, again.changes.len()), (again.desired, 0), "{:?}", again.changes);

            let changed = config("one", "other");
            let second = world.inputs(
                &[
                    ("chart/templates/one.yaml", &changed),
                    ("chart/templates/web.yaml", &web),
                    ("chart/templates/service.yaml", SERVICE),
                ],
                &json!({}),
            );
            let upgrade = world.deploy(&second).await;
            let gone = upgrade.changes.iter().find(|change| change.path == "ConfigMap/two").unwrap();
            assert!(gone.before.is_some() && gone.after.is_none(), "{gone:?}");
            assert_eq!(upgrade.changes.len(), 2, "{:?}", upgrade.changes);
            assert_eq!(world.names("configmaps"), ["one", "somebody-elses"], "and nothing of anybody else's");
            // Going back is the same state as before.
            let back = world.deploy(&first).await;
            assert_eq!(back.desired, preview.desired, "{helm:?}");
            let expected =
                [(1, "superseded"), (2, "superseded"), (3, "deployed")].map(|(n, word)| (n, word.to_owned()));
            assert_eq!(world.history(), expected, "{helm:?}: it is helm's own release");
            let labels = "jsonpath={.metadata.labels}";
            let labels = world.kubectl(&["get", "secret", "sh.helm.release.v1.shop.v3", "-o", labels]);
            assert!(labels.contains(r#""promo.run":"run-1""#) && labels.contains(r#""promo.epoch":"1""#), "{labels}");
            let told = world.helm(&["history", "shop"]);
            assert!(told.contains("promo: r-000000000000, run run-1, epoch 1"), "{told}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn values_come_from_files_in_their_order_then_from_the_pipeline_and_last_from_the_release() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let template = config(
                "all",
                "{{ .Values.a }} {{ .Values.b }} {{ .Values.c }} {{ .Values.d }} {{ .Values.image.digest }}",
            );
            let files = [
                ("chart/templates/all.yaml", template.as_str()),
                ("chart/values.yaml", "a: chart\nb: chart\nc: chart\nd: chart\n"),
                ("values/common.yaml", "b: common\nc: common\nd: common\nimage: { digest: none }\n"),
                ("values/dev.yaml", "c: dev\nd: dev\n"),
            ];
            let also = json!({ "values": ["values/common.yaml", "values/dev.yaml"], "set": { "d": "set" } });
            world.deploy(&world.inputs(&files, &also)).await;
            let found = world.kubectl(&["get", "configmap", "all", "-o", "jsonpath={.data.key}"]);
            assert_eq!(found, format!("chart common dev set {DIGEST}"), "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_values_that_is_no_yaml_is_named_with_its_line_and_nothing_of_it_is_told() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let template = config("all", "{{ .Values.a }}");
            let files = [
                ("chart/templates/all.yaml", template.as_str()),
                ("values/common.yaml", "a: 1\na: 2\n"),
                ("values/dev.yaml", "a: 1\nreplicas: [hunter2-canary\n"),
            ];
            let of = |names: &[&str]| world.inputs(&files, &json!({ "values": names }));
            let both = of(&["values/common.yaml", "values/dev.yaml"]);
            let error = world.preview(&both).await.unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.starts_with("values/dev.yaml: "), "{error}");
            assert!(error.message.contains("line ") && !error.message.contains("canary"), "{error}");
            // The same before anything is rendered, as `promo check` asks.
            assert_eq!(world.lint(&both).await.unwrap_err().message, error.message, "{helm:?}");
            assert_eq!(world.lint(&of(&["values/common.yaml"])).await.unwrap(), [""; 0]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_others_own_is_no_change_and_what_somebody_patches_by_hand_is() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let web = web("");
            let inputs = world.inputs(&[("chart/templates/web.yaml", &web)], &json!({}));
            let desired = world.deploy(&inputs).await.desired;
            world.kubectl(&["label", "deployment", "web", "team=other"]);
            assert_eq!(world.observe(&inputs).await, desired, "nobody declared that");
            world.kubectl(&["scale", "deployment", "web", "--replicas=5"]);
            assert_ne!(world.observe(&inputs).await, desired);
            let repair = world.deploy(&inputs).await;
            assert!(repair.changes[0].before.as_deref().unwrap().contains("replicas: 5"), "{:?}", repair.changes);
            assert_eq!(world.observe(&inputs).await, desired, "taken back, as the plan showed");
            world.kubectl(&["delete", "deployment", "web"]);
            assert_ne!(world.observe(&inputs).await, desired);
            world.deploy(&inputs).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_field_that_another_manager_owns_is_named_with_its_owner_and_so_is_an_object_of_somebody_else() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let file = world.root.path().join("theirs.yaml");
            let file_name = file.display().to_string();
            let take = |text: String| {
                std::fs::write(&file, text).unwrap();
                world.kubectl(&[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--field-manager=autoscaler",
                    "-f",
                    &file_name,
                ]);
            };
            take(config("shared", "theirs"));
            let shared = config("shared", "ours");
            let error =
                world.preview(&world.inputs(&[("chart/templates/a.yaml", &shared)], &json!({}))).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
            let why = "ConfigMap/shared is there already, and does not say that it belongs to release shop";
            assert!(error.message.contains(why), "{error}");
            let (one, two) = (config("own", "1"), config("own", "2"));
            world.deploy(&world.inputs(&[("chart/templates/a.yaml", &one)], &json!({}))).await;
            take(config("own", "theirs"));
            let error =
                world.preview(&world.inputs(&[("chart/templates/a.yaml", &two)], &json!({}))).await.unwrap_err();
            assert!(error.message.contains("ConfigMap/own: data.key belongs to \"autoscaler\""), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s8_6_a_secret_is_compared_and_seen_and_never_told() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: login }\nstringData: { password: {{ .Values.password }} }\n";
            let with = |password: &str| {
                world.inputs(&[("chart/templates/s.yaml", secret)], &json!({ "set": { "password": password } }))
            };
            world.deploy(&with("hunter2")).await;
            let preview = world.deploy(&with("hunter3")).await;
            let told = format!("{preview:?}");
            assert!(told.contains("changed") && !told.contains("hunter") && !told.contains("aHVudGVy"), "{told}");
            let found = world.kubectl(&["get", "secret", "login", "-o", "jsonpath={.data.password}"]);
            assert_eq!(found, "aHVudGVyMw==");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chart_that_is_not_the_same_each_time_or_leaves_the_target_is_refused_with_the_reason() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let changing = config("a", "{{ randAlphaNum 8 }}");
            let revision = config("a", "{{ .Release.Revision }}");
            let installed = config("a", "{{ .Release.IsInstall }}");
            let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: other }\n";
            let broken = config("a", "{{ .Values.missing.deeper }}");
            for (template, why) in [
                (changing.as_str(), "ConfigMap/a is rendered otherwise each time"),
                (&revision, "the number of its revision"),
                (&installed, "when the chart is installed and when it is upgraded"),
                (elsewhere, "is declared in namespace other"),
                ("apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n", "made by who owns the cluster"),
                (&broken, "the chart cannot be rendered"),
                ("# nothing\n", "declares no object"),
            ] {
                let inputs = world.inputs(&[("chart/templates/a.yaml", template)], &json!({}));
                let error = world.preview(&inputs).await.unwrap_err();
                assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?} {why}: {error}");
            }
            assert!(world.names("secrets").iter().all(|name| !name.starts_with("sh.helm")), "nothing was written");
        }
    }
}
