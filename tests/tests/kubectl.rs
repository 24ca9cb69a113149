//! The `kubectl` deployment on a real control plane (R40, S8, S9): what a plan shows is what the cluster has afterwards,
//! what others own is left to them, what is no longer declared goes away, and a way that was broken off can be gone on.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_providers::kubectl::Kubectl;
use promo_sdk::{Context, ErrorKind, RunningImage, State};
use promo_tests::kubernetes::world::{DIGEST, Variables, World, clusters, config};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A Deployment of two pods, whose image is the release's; `also` goes into the pods' metadata.
fn web(also: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}{also} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web, resources: {{ requests: {{ cpu: 1000m }} }} }}] }}\n"
    )
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web }\n\
                       spec: { selector: { app: web }, ports: [{ port: 80, protocol: TCP }] }\n";

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_contract_of_deployments() {
        let Some(world) = World::new() else { return };
        let (first, second) = (config("a", "one"), config("b", "two"));
        let disturb = || {
            world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"by hand"}}"#]);
        };
        let snapshot = || {
            world.kubectl(&[
                "get",
                "configmaps,secrets",
                "-o",
                "json",
                "--field-selector",
                "metadata.name!=kube-root-ca.crt",
            ])
        };
        let cases = promo_sdk::conformance::DeploymentCases {
            first: world.inputs(&[&first]),
            second: world.inputs(&[&first, &second]),
            disturb: &disturb,
            snapshot: &snapshot,
        };
        promo_sdk::conformance::deployment(&world.kubectl, &world.cx, &cases).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_is_applied_runs_and_is_replaced_and_what_it_no_longer_declares_goes_away() {
        let Some(world) = World::new() else { return };
        world.kubectl(&["create", "configmap", "somebody-elses"]);
        let (one, two) = (config("one", "1"), config("two", "2"));
        let first = world.inputs(&[&one, &two, &web(""), SERVICE]);
        let preview = world.deploy(&first).await;
        let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["ConfigMap/one", "ConfigMap/two", "Deployment/web", "Service/web"]);
        let shown = preview.changes[2].after.as_deref().unwrap();
        assert!(shown.contains(&format!("registry.test/shop/web@{DIGEST}")), "{shown}");
        let settled = world.settle(&first).await.unwrap();
        let image = format!("registry.test/shop/web@{DIGEST}");
        assert_eq!(preview.images, [image.as_str()]);
        let expected = RunningImage {
            place: "Deployment/web container web".into(),
            declared: Some(image.clone()),
            running: image,
            digest: DIGEST.parse().ok(),
        };
        assert_eq!(settled.images, [expected], "of both pods, told once (S2.5)");
        let ready = world.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"]);
        assert_eq!(ready, "2", "it was waited for");
        // S8.5: planning again shows no change.
        let again = world.preview(&first).await.unwrap();
        assert_eq!((again.current, again.changes.len()), (again.desired, 0), "{:?}", again.changes);

        let changed = config("one", "other");
        let second = world.inputs(&[&changed, &web(""), SERVICE]);
        let preview = world.deploy(&second).await;
        let gone = preview.changes.iter().find(|change| change.path == "ConfigMap/two").unwrap();
        assert!(gone.before.is_some() && gone.after.is_none(), "{gone:?}");
        let one = preview.changes.iter().find(|change| change.path == "ConfigMap/one").unwrap();
        assert!(
            one.before.as_deref().unwrap().contains("key: '1'")
                || one.before.as_deref().unwrap().contains("key: \"1\""),
            "{one:?}"
        );
        assert_eq!(preview.changes.len(), 2, "{:?}", preview.changes);
        assert_eq!(world.names("configmaps"), ["one", "somebody-elses"], "and nothing of anybody else's");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_others_own_is_no_change_and_what_somebody_patches_by_hand_is() {
        let Some(world) = World::new() else { return };
        let inputs = world.inputs(&[&web("")]);
        let desired = world.deploy(&inputs).await.desired;
        world.kubectl(&["label", "deployment", "web", "team=other"]);
        world.kubectl(&["annotate", "deployment", "web", "note=seen"]);
        assert_eq!(world.observe(&inputs).await, desired, "nobody declared those");
        world.kubectl(&["scale", "deployment", "web", "--replicas=5"]);
        assert_ne!(world.observe(&inputs).await, desired);
        // The server canonicalises quantities: what is declared as 1000m it has as 1.
        let repair = world.deploy(&inputs).await;
        assert!(repair.changes[0].before.as_deref().unwrap().contains("replicas: 5"), "{:?}", repair.changes);
        assert_eq!(world.observe(&inputs).await, desired, "taken back, as the plan showed");
        world.kubectl(&["delete", "deployment", "web"]);
        assert_ne!(world.observe(&inputs).await, desired);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_field_that_another_manager_owns_is_named_with_its_owner_and_not_taken() {
        let Some(world) = World::new() else { return };
        let file = world.root.path().join("theirs.yaml");
        std::fs::write(&file, config("shared", "theirs")).unwrap();
        let file = file.display().to_string();
        world.kubectl(&["apply", "--server-side", "--field-manager=autoscaler", "-f", &file]);
        let ours = config("shared", "ours");
        let error = world.preview(&world.inputs(&[&ours])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.message.contains("ConfigMap/shared is there already, and promo has not made it"), "{error}");
        let value = world.kubectl(&["get", "configmap", "shared", "-o", "jsonpath={.data.key}"]);
        assert_eq!(value, "theirs");
        // One of promo's own that another manager has taken a field of.
        world.deploy(&world.inputs(&[&config("own", "1")])).await;
        std::fs::write(&file, config("own", "theirs")).unwrap();
        world.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=autoscaler", "-f", &file]);
        let error = world.preview(&world.inputs(&[&config("own", "2")])).await.unwrap_err();
        assert!(error.message.contains("ConfigMap/own: data.key belongs to \"autoscaler\""), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_2_a_way_that_was_broken_off_is_told_from_both_its_ends_and_can_be_gone_on_and_back() {
        let Some(world) = World::new() else { return };
        let first = world.inputs(&[&config("a", "1")]);
        let from = world.deploy(&first).await.desired;
        let second = world.inputs(&[&config("a", "2"), &config("b", "2")]);
        let to = world.preview(&second).await.unwrap().desired;
        // Stopped before the first object: what is to be done is known to the cluster, and nothing of it is done.
        let stopped = Context { cancelled: CancellationToken::new(), ..world.cx.clone() };
        stopped.cancelled.cancel();
        let error = world.ensure(&stopped, &second, from, to).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
        let between = State::between(&from, &to);
        assert_eq!(world.observe(&second).await, between);
        world.ensure(&world.cx, &second, between, to).await.unwrap();
        assert_eq!((world.observe(&second).await, world.names("configmaps")), (to, vec!["a".into(), "b".into()]));
        // And back from half of the way, with one object of the new state there already.
        let third = world.inputs(&[&config("a", "3"), &config("b", "3")]);
        let next = world.preview(&third).await.unwrap().desired;
        world.ensure(&stopped, &third, to, next).await.unwrap_err();
        let half = State::between(&to, &next);
        assert_eq!(world.observe(&third).await, half);
        world.ensure(&world.cx, &second, half, to).await.unwrap();
        assert_eq!(world.observe(&second).await, to);
        // The same way, broken off twice, is still the same way.
        world.ensure(&stopped, &third, to, next).await.unwrap_err();
        world.ensure(&stopped, &third, half, next).await.unwrap_err();
        assert_eq!(world.observe(&third).await, half);
        world.ensure(&world.cx, &second, half, to).await.unwrap();
        // What somebody does by hand in between is neither of the two.
        world.ensure(&stopped, &third, to, next).await.unwrap_err();
        world.kubectl(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"data":{"key":"by hand"}}"#]);
        assert_eq!(world.observe(&third).await, State::Unknown);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_does_not_run_in_time_is_named_with_the_reason_of_its_pods() {
        for (switch, reason) in [("imagepull", "ImagePull"), ("crash", "CrashLoopBackOff"), ("notready", "are ready")] {
            let Some(world) = World::new() else { return };
            let annotated = web(&format!(", annotations: {{ promo.test/kubelet: {switch} }}"));
            // A wait for what never comes ends by its own time alone, in which the pods have to say why: they do so at once.
            let inputs = world.with(&[&annotated], json!({ "timeout": 3 }));
            world.deploy(&inputs).await;
            let began = Instant::now();
            let error = world.settle(&inputs).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Failed, "{error}");
            assert!(error.message.contains("Deployment/web: ") && error.message.contains(reason), "{switch}: {error}");
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_definition_and_what_it_defines_can_be_in_one_release() {
        let Some(world) = World::new() else { return };
        let group = format!("{}.example.com", world.namespace.name());
        let definition = format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: shops.{group} }}\n\
             spec:\n  group: {group}\n  scope: Namespaced\n  names: {{ plural: shops, singular: shop, kind: Shop }}\n  \
             versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {{ openAPIV3Schema: {{ type: object, \
             properties: {{ spec: {{ type: object, properties: {{ size: {{ type: integer }} }} }} }} }} }}\n"
        );
        let shop = format!("apiVersion: {group}/v1\nkind: Shop\nmetadata: {{ name: corner }}\nspec: {{ size: 3 }}\n");
        let inputs = world.inputs(&[&shop, &definition]);
        world.deploy(&inputs).await;
        world.settle(&inputs).await.unwrap();
        assert_eq!(world.kubectl(&["get", &format!("shops.{group}"), "corner", "-o", "jsonpath={.spec.size}"]), "3");
        world.kubectl(&["delete", "crd", &format!("shops.{group}")]);
        assert_ne!(world.observe(&inputs).await, State::Absent, "the inventory is still there");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_secret_s_texts_are_deployed_and_seen_and_never_told() {
        let Some(world) = World::new() else { return };
        let secret = |text: &str| {
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: login }}\nstringData: {{ password: {text} }}\n")
        };
        world.deploy(&world.inputs(&[&secret("hunter2")])).await;
        let preview = world.deploy(&world.inputs(&[&secret("hunter3")])).await;
        let told = format!("{preview:?}");
        assert!(told.contains("changed") && !told.contains("hunter") && !told.contains("aHVudGVy"), "{told}");
        let found = world.kubectl(&["get", "secret", "login", "-o", "jsonpath={.data.password}"]);
        assert_eq!(found, "aHVudGVyMw==");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_the_namespace_s_or_not_promo_s_is_neither_taken_nor_taken_away() {
        let Some(world) = World::new() else { return };
        for (manifest, why) in [
            ("apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n", "made by who owns the cluster"),
            (
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: all }\nrules: []\n",
                "belongs to the whole cluster",
            ),
            ("apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: default }\n", "promo has not made it"),
        ] {
            let error = world.preview(&world.inputs(&[manifest])).await.unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
        // One that somebody has made anew under the same name is theirs.
        world.deploy(&world.inputs(&[&config("a", "1"), &config("b", "1")])).await;
        world.kubectl(&["delete", "configmap", "b"]);
        world.kubectl(&["create", "configmap", "b"]);
        world.deploy(&world.inputs(&[&config("a", "1")])).await;
        assert_eq!(world.names("configmaps"), ["a", "b"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_has_no_rights_is_told_so_and_nothing_is_written() {
        let Some(mut world) = World::new() else { return };
        let file = clusters(world.root.path(), &world.namespace.kubeconfig_of("nobody"), "nobody");
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), file)])));
        let error = world.preview(&world.inputs(&[&config("a", "1")])).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
        assert!(error.message.contains(world.namespace.name()), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_namespace_that_is_not_there_and_a_cluster_that_nobody_named_are_told_apart() {
        let Some(world) = World::new() else { return };
        let mut elsewhere = world.inputs(&[&config("a", "1")]);
        elsewhere.target.0.insert("namespace".into(), "nowhere".into());
        let error = world.preview(&elsewhere).await.unwrap_err();
        assert!(error.kind == ErrorKind::NotFound && error.message.contains("no namespace nowhere"), "{error}");
        elsewhere.target.0.insert("cluster".into(), "prod".into());
        let error = world.preview(&elsewhere).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::NotFound && error.message.contains("where cluster `prod` is (known: kit)"),
            "{error}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_credential_plugin_is_asked_and_what_it_says_wrong_is_told_without_its_secrets() {
        let Some(mut world) = World::new() else { return };
        let kubeconfig = std::fs::read_to_string(world.namespace.kubeconfig()).unwrap();
        let token =
            kubeconfig.lines().find(|line| line.contains("\"admin\"") || line.contains("name: \"admin\"")).unwrap();
        assert!(!token.is_empty());
        let parsed = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
        let admin = parsed.auth_infos.iter().find(|user| user.name == "admin").unwrap();
        let token = admin.auth_info.as_ref().unwrap().token.as_ref().unwrap();
        let token = secrecy::ExposeSecret::expose_secret(token).to_owned();
        let plugin = world.root.path().join("plugin");
        let file = world.root.path().join("plugin.kubeconfig");
        let cluster = parsed.clusters[0].cluster.as_ref().unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: kit\n  cluster: {{ server: {:?}, certificate-authority-data: {:?} }}\n\
             contexts:\n- name: ci\n  context: {{ cluster: kit, user: ci }}\nusers:\n- name: ci\n  user:\n    exec:\n      \
             apiVersion: client.authentication.k8s.io/v1\n      command: ./plugin\n      interactiveMode: Never\n      provideClusterInfo: true\n",
            cluster.server.as_ref().unwrap(),
            cluster.certificate_authority_data.as_ref().unwrap()
        );
        std::fs::write(&file, text).unwrap();
        let clusters = clusters(world.root.path(), &file, "ci");
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)])));
        let script = |body: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(&plugin, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let inputs = world.inputs(&[&config("a", "1")]);
        script("echo the password is hunter2; exit 0");
        let error = world.preview(&inputs).await.unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.message.contains("printed no ExecCredential"), "{error}");
        assert!(!error.message.contains("hunter2"), "{error}");
        script(&format!(
            "echo \"$KUBERNETES_EXEC_INFO\" > info; echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}'"
        ));
        world.deploy(&inputs).await;
        assert_eq!(world.names("configmaps"), ["a"]);
        // It asked to be told for which cluster.
        let told: serde_json::Value =
            serde_json::from_slice(&std::fs::read(plugin.with_file_name("info")).unwrap()).unwrap();
        let told = |key: &str| {
            told.pointer(&format!("/spec/cluster/{key}")).and_then(|value| value.as_str()).map(String::from)
        };
        assert_eq!(told("server"), cluster.server);
        assert_eq!(told("certificate-authority-data"), cluster.certificate_authority_data);
        std::fs::remove_file(&plugin).unwrap();
        // One run asks once; another one has to.
        world.observe(&inputs).await;
        world.kubectl = Kubectl::default();
        let error = world.preview(&inputs).await.unwrap_err();
        assert!(error.kind == ErrorKind::NotFound && error.message.contains("./plugin"), "{error}");
    }
}
