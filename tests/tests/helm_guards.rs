//! What `deploy.helm` refuses before anything is written (S2.5, S8, S13), with both generations of helm: hooks that would touch what is not
//! the release's, charts that ask the cluster for what nobody has judged. And what it does not tell.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::io::Write as _;

use promo_sdk::{ErrorKind, Inputs};
use promo_tests::charts::{BOTH, World, config, hook};
use promo_tests::kubernetes::Helm;
use serde_json::json;

/// A chart with one ConfigMap of its own, and these templates.
fn chart(world: &World, value: &str, also: &[(&str, &str)]) -> Inputs {
    let a = config("a", value);
    let mut files = vec![("chart/templates/a.yaml", a.as_str())];
    files.extend(also);
    world.inputs(&files, &json!({}))
}

/// A ConfigMap as a hook of everything that promo has helm do.
fn map(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{ helm.sh/hook: \"pre-install,pre-upgrade\"{policy} }}\n"
    )
}

/// What is there of promo and of helm.
fn traces(world: &World) -> Vec<String> {
    let names = world.names("secrets").into_iter();
    names.filter(|name| name.starts_with("sh.helm") || name.starts_with("promo.")).collect()
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_that_touches_the_cluster_is_refused_and_so_is_one_that_is_also_an_object() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let role = |event: &str| {
                format!(
                    "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: {}, annotations: {{ helm.sh/hook: {event} }} }}\nrules: []\n",
                    world.namespace.name()
                )
            };
            let both = map("a", "");
            for (template, why) in [
                (role("pre-install"), "is a hook of the chart and belongs to the whole cluster"),
                (role("post-upgrade"), "is a hook of the chart and belongs to the whole cluster"),
                (both, "ConfigMap/a is both an object and a hook of the chart"),
            ] {
                let inputs = chart(&world, "1", &[("chart/templates/hook.yaml", &template)]);
                let error = world.preview(&inputs).await.unwrap_err();
                assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?} {why}: {error}");
            }
            assert_eq!(traces(&world), [""; 0]);
            // What only `helm test` or `helm uninstall` would make, promo never has made.
            world.deploy(&chart(&world, "1", &[("chart/templates/hook.yaml", &role("test"))])).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_deletes_nothing_that_somebody_else_has_made() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            world.kubectl(&["create", "configmap", "settings", "--from-literal=theirs=1"]);
            let hooked = map("settings", "");
            let first = chart(&world, "1", &[("chart/templates/hook.yaml", &hooked)]);
            for annotated in [false, true] {
                if annotated {
                    // Whoever made it took the manifest of another chart, say.
                    world.kubectl(&["annotate", "configmap", "settings", "helm.sh/hook=pre-install"]);
                }
                let error = world.preview(&first).await.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Conflict, "{helm:?}: {error}");
                let why = "ConfigMap/settings is there already, and no revision of release shop has it as a hook: helm would delete it first";
                assert!(error.message.contains(why), "{error}");
            }
            world.kubectl(&["delete", "configmap", "settings"]);
            let preview = world.preview(&first).await.unwrap();
            // Between the plan and its application.
            world.kubectl(&["create", "configmap", "settings", "--from-literal=theirs=1"]);
            let error = world.ensure(&first, preview.current, preview.desired).await.unwrap_err();
            assert!(error.kind == ErrorKind::Conflict && error.message.contains("settings"), "{helm:?}: {error}");
            let theirs = world.kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.theirs}"]);
            assert_eq!(
                (theirs.as_str(), traces(&world)),
                ("1", Vec::new()),
                "{helm:?}: it is theirs, and nothing was begun"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_release_s_own_hooks_are_made_anew_also_after_it_was_taken_away_and_its_history_kept() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            // Of a Job nothing can be changed that is there: it has to go first.
            let job = |switch: &str| hook("migrate", "pre-install,pre-upgrade", switch);
            let deploy = async |value: &str, switch: &str| {
                let job = job(switch);
                world.deploy(&chart(&world, value, &[("chart/templates/hook.yaml", &job)])).await
            };
            deploy("1", "well").await;
            // Also where a revision in between does not have it.
            world.deploy(&chart(&world, "2", &[])).await;
            deploy("3", "fine").await;
            let image =
                world.kubectl(&["get", "job", "migrate", "-o", "jsonpath={.spec.template.metadata.annotations}"]);
            assert!(image.contains("fine"), "{helm:?}: {image}");
            world.helm(&["uninstall", "shop", "--keep-history"]);
            assert_eq!(world.names("configmaps"), [""; 0]);
            deploy("4", "good").await;
            let (number, status) = world.history().pop().unwrap();
            assert_eq!((number, status.as_str()), (4, "deployed"), "{helm:?}");
            deploy("5", "good").await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_left_of_a_hook_that_nothing_takes_away_is_told_where_helm_would_fail_on_it() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            // Helm takes a policy that says nothing for one that is there.
            for policy in ["hook-failed", "\"\""] {
                let left = map("left", &format!(", helm.sh/hook-delete-policy: {policy}"));
                world.deploy(&chart(&world, "1", &[("chart/templates/hook.yaml", &left)])).await;
                let second = chart(&world, "2", &[("chart/templates/hook.yaml", &left)]);
                if helm == Helm::Four {
                    world.deploy(&second).await;
                    continue;
                }
                let error = world.preview(&second).await.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Conflict, "{policy}: {error}");
                assert!(error.message.contains("ConfigMap/left is left of an earlier hook"), "{policy}: {error}");
                // As helm does it, whatever promo says of it.
                world.helm(&["uninstall", "shop"]);
                world.kubectl(&["delete", "configmap", "left"]);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_that_the_server_would_not_take_is_refused_by_the_plan() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let wrong = hook("migrate", "pre-install,pre-upgrade", "well").replace("Never", "Always");
            let inputs = chart(&world, "1", &[("chart/templates/hook.yaml", &wrong)]);
            let error = world.preview(&inputs).await.unwrap_err();
            assert!(error.message.contains("trying Job/migrate: "), "{helm:?}: {error}");
            assert!(error.message.contains("restartPolicy"), "{helm:?}: {error}");
            // The same where one of that name is there, which would go first.
            let good = hook("migrate", "pre-install,pre-upgrade", "well");
            world.deploy(&chart(&world, "1", &[("chart/templates/hook.yaml", &good)])).await;
            let error = world.preview(&inputs).await.unwrap_err();
            assert!(error.message.contains("restartPolicy"), "{helm:?}: {error}");
            // A pod names an account that comes with it, which the server would look for.
            let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: check, annotations: { helm.sh/hook: post-upgrade } }\nspec:\n  \
                       serviceAccountName: own\n  restartPolicy: Never\n  \
                       containers: [{ name: check, image: \"{{ .Values.image.repository }}@{{ .Values.image.digest }}\" }]\n";
            let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: own }\n";
            let with = [("chart/templates/pod.yaml", pod), ("chart/templates/account.yaml", account)];
            world.preview(&chart(&world, "2", &with)).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn hooks_of_one_name_and_secrets_among_them_are_the_same_after_as_in_the_plan() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let (before, after) = (hook("work", "pre-upgrade", "well"), hook("work", "post-upgrade", "fine"));
            let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: login, annotations: { helm.sh/hook: \"pre-install,pre-upgrade\" } }\n\
                          stringData: { password: hunter2 }\n";
            let all = [
                ("chart/templates/before.yaml", before.as_str()),
                ("chart/templates/after.yaml", &after),
                ("chart/templates/login.yaml", secret),
            ];
            for value in ["1", "2"] {
                let preview = world.deploy(&chart(&world, value, &all)).await;
                let hooks = preview.changes.iter().filter(|change| change.path.contains("hook")).count();
                assert_eq!(hooks, if value == "1" { 3 } else { 0 }, "{helm:?}: {:?}", preview.changes);
                assert!(!format!("{preview:?}").contains("aHVudGVyMg"), "{preview:?}");
            }
            // Of two with one name the one that changes is seen.
            let other = hook("work", "post-upgrade", "good");
            let changed =
                [("chart/templates/before.yaml", before.as_str()), ("chart/templates/after.yaml", &other), all[2]];
            let preview = world.deploy(&chart(&world, "2", &changed)).await;
            assert_eq!(preview.changes.len(), 1, "{helm:?}: {:?}", preview.changes);
        }
    }

    /// An image that the cluster names, and nobody who reads the chart sees.
    const LOOKED_UP: &str = "{{ $found := lookup \"v1\" \"ConfigMap\" .Release.Namespace \"found\" }}\n\
        apiVersion: v1\nkind: Pod\nmetadata: { name: asks }\nspec:\n  containers:\n  - name: a\n    \
        image: {{ dig \"data\" \"image\" (printf \"%s@%s\" .Values.image.repository .Values.image.digest) $found }}\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_5_what_the_cluster_would_bring_into_a_chart_is_refused_before_anything_is_written() {
        // The word, and one that nobody finds.
        let hidden = LOOKED_UP.replace(
            "lookup \"v1\" \"ConfigMap\" .Release.Namespace \"found\"",
            "tpl (printf \"{{ %skup %q %q %q %q | toJson }}\" \"loo\" \"v1\" \"ConfigMap\" .Release.Namespace \"found\") . | fromJson",
        );
        for helm in BOTH {
            for (template, said) in [(LOOKED_UP, true), (&hidden, false)] {
                let Some(world) = World::new(helm) else { return };
                let asks = chart(&world, "1", &[("chart/templates/asks.yaml", template)]);
                // As long as there is no answer, both are the same.
                let preview = world.preview(&asks).await.unwrap();
                world.kubectl(&["create", "configmap", "found", "--from-literal=image=evil.test/image:latest"]);
                let error = world.ensure(&asks, preview.current, preview.desired).await.unwrap_err();
                let why = "Pod/asks is rendered otherwise in the cluster than for the plan";
                assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?} {said}: {error}");
                assert_eq!(
                    (traces(&world), world.names("pods")),
                    (Vec::new(), Vec::new()),
                    "{helm:?} {said}: nothing was written"
                );
                if said {
                    let error = world.preview(&asks).await.unwrap_err();
                    assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?}: {error}");
                }
                world.kubectl(&["delete", "configmap", "found"]);
                world.deploy(&asks).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chart_that_takes_another_api_in_the_cluster_than_for_the_plan_is_refused() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            // helm was built with kinds that no server of 1.20 has.
            let offers = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: offers }\n\
                          data: { key: {{ .Capabilities.APIVersions.Has \"flowcontrol.apiserver.k8s.io/v1\" | quote }} }\n";
            let error = world.preview(&chart(&world, "1", &[("chart/templates/o.yaml", offers)])).await.unwrap_err();
            let why = "ConfigMap/offers is rendered otherwise in the cluster";
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?}: {error}");
            // What both know is no reason.
            let known = offers.replace("flowcontrol.apiserver.k8s.io/v1", "apps/v1");
            world.deploy(&chart(&world, "1", &[("chart/templates/o.yaml", &known)])).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn packed_dependencies_are_looked_into_as_well() {
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let packed = |template: &str| {
                let below = [
                    ("low/Chart.yaml", "apiVersion: v2\nname: low\nversion: 1.0.0\n"),
                    ("low/templates/a.yaml", template),
                ];
                let low = archive(&below.map(|(path, text)| (path, text.as_bytes().to_vec())));
                let mid = [
                    ("mid/Chart.yaml", b"apiVersion: v2\nname: mid\nversion: 1.0.0\n".to_vec()),
                    ("mid/charts/low-1.0.0.tgz", low),
                ];
                let mut inputs = chart(&world, "1", &[]);
                inputs.files.insert("chart/charts/mid-1.0.0.tgz".into(), world.blobs.put(archive(&mid)));
                inputs
            };
            for (value, why) in [
                ("{{ randAlphaNum 8 }}", "ConfigMap/low is rendered otherwise each time"),
                ("{{ .Release.Revision }}", "the number of its revision"),
                ("{{ .Release.IsInstall }}", "when the chart is installed and when it is upgraded"),
            ] {
                let error = world.preview(&packed(&config("low", value))).await.unwrap_err();
                assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{helm:?}: {error}");
            }
            world.deploy(&packed(&config("low", "{{ .Release.Namespace }}"))).await;
            let found = world.kubectl(&["get", "configmap", "low", "-o", "jsonpath={.data.key}"]);
            assert_eq!(found, world.namespace.name(), "{helm:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s8_6_what_helm_says_of_values_that_it_refuses_names_the_place_and_not_the_value() {
        let schema = r#"{"type":"object","properties":{"login":{"properties":{"password":{"pattern":"^[a-z]+$"}}}}}"#;
        let failing = "{{ fail (printf \"no good: %s\" .Values.login.password) }}\n";
        // A number is written as `4.7110815e+07`.
        let number = "{{ fail (printf \"no good: %v %q\" .Values.login.pin (toString .Values.login.pin)) }}\n";
        for helm in BOTH {
            let Some(world) = World::new(helm) else { return };
            let values = ("values.yaml", "login: { password: hunter2-canary, pin: 47110815 }\n");
            let with = |file: (&str, &str)| {
                let a = config("a", "1");
                let files = [("chart/templates/a.yaml", a.as_str()), values, file];
                world.inputs(&files, &json!({ "values": ["values.yaml"] }))
            };
            for (file, place) in [
                (("chart/values.schema.json", schema), "password"),
                (("chart/templates/f.yaml", failing), "shop/templates/f.yaml:1:3"),
                (("chart/templates/f.yaml", number), "shop/templates/f.yaml:1:3"),
            ] {
                let error = world.preview(&with(file)).await.unwrap_err();
                assert!(error.message.contains(place) && !error.message.contains("canary"), "{helm:?}: {error}");
                assert!(!error.message.contains("7110815"), "{helm:?}: {error}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_lost_the_place_to_another_run_writes_nothing_more() {
        for helm in BOTH {
            let Some(mut world) = World::new(helm) else { return };
            let group = format!("guards{}.{}.example", u8::from(helm == Helm::Four), world.namespace.name());
            let definition = format!(
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: things.{group} }}\nspec:\n  \
                 group: {group}\n  scope: Namespaced\n  names: {{ plural: things, singular: thing, kind: Thing }}\n  versions:\n  \
                 - {{ name: v1, served: true, storage: true, schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }}\n"
            );
            let inputs = chart(&world, "1", &[("chart/crds/things.yaml", &definition)]);
            let preview = world.preview(&inputs).await.unwrap();
            // Once what is to be done is written and before helm does it, another run comes to write here.
            let other = world.script(
                "if [[ \"$*\" == *--dry-run* ]]; then \"$KUBECTL\" --kubeconfig \"$CONFIG\" label secret promo.helm.shop other=run >&2; fi\nexec \"$HELM\" \"$@\"\n",
            );
            world.with(Some(&other));
            let error = world.ensure(&inputs, preview.current, preview.desired).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Conflict, "{helm:?}: {error}");
            assert!(error.message.contains("another run writes to namespace"), "{helm:?}: {error}");
            assert_eq!(traces(&world), ["promo.helm.shop"], "{helm:?}: helm was not asked");
            world.kubectl(&["delete", "crd", &format!("things.{group}")]);
        }
    }
}

/// A packed chart.
fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, bytes) in files {
        let mut header = [0_u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        let size = format!("{:011o}\0", bytes.len());
        header[124..136].copy_from_slice(size.as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(&tar).unwrap();
    packer.finish().unwrap()
}
