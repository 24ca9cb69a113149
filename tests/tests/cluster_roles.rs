//! Roles and their bindings in one first deployment, by somebody who may bind no role but has the rights of this one (RBAC), with manifests
//! and with charts: <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#restrictions-on-role-binding-creation-or-update>.
#![cfg(target_os = "linux")]

use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl};

/// A Role with these verbs for ConfigMaps, its binding, and a map; `also` is what comes besides.
fn objects(verbs: &str, also: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{ name: reads }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads }}\nsubjects: [{{ kind: ServiceAccount, name: default }}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: reads }}\n\
         rules: [{{ apiGroups: [\"\"], resources: [configmaps], verbs: [{verbs}] }}]\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\n{also}"
    )
}

/// The same as hooks of a chart.
const HOOKS: &str = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
    metadata: { name: hooked, annotations: { helm.sh/hook: \"pre-install,pre-upgrade\", helm.sh/hook-weight: \"2\" } }\n\
    roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: hooked }\nsubjects: [{ kind: ServiceAccount, name: default }]\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
    metadata: { name: hooked, annotations: { helm.sh/hook: \"pre-install,pre-upgrade\", helm.sh/hook-weight: \"1\" } }\n\
    rules: [{ apiGroups: [\"\"], resources: [configmaps], verbs: [get] }]\n";

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_role_and_its_binding_come_together_from_whoever_has_its_rights_and_from_nobody_else() {
        for by in By::ALL {
            let world = Pipeline::new(1, |namespaces| {
                by.settings("timeout = \"20s\"\n") + &Pipeline::environment("dev", "development", "", &namespaces[0])
            });
            let Some(world) = world.await.map(|pipeline| pipeline.with(by)) else { return };
            let all = "get,list,watch,create,update,patch,delete";
            let resources = "namespaces,secrets,configmaps,pods,roles,rolebindings";
            kubectl(
                &world.namespaces[0],
                &["create", "role", "deploys", &format!("--verb={all}"), &format!("--resource={resources}")],
            );
            kubectl(&world.namespaces[0], &["create", "rolebinding", "deploys", "--role=deploys", "--user=deployer"]);
            world.until("deployer", true);
            world.user("deployer");
            // Rights that the deployer has not are given to nobody, and the server says so before anything is there.
            world.objects(&objects("deletecollection", ""));
            world.release("1.0.0").await;
            let said = world.ends(1, &["advance"]);
            let why = "attempting to grant RBAC permissions not currently held";
            assert!(said.contains("error[provider-denied]") && said.contains(why), "{by:?}: {said}");
            world.objects(&objects("get, list", if by == By::Kubectl { "" } else { HOOKS }));
            world.release("1.1.0").await;
            let plan = world.ends(0, &["plan", "dev", "--out", "plan.json"]);
            assert!(plan.contains("RoleBinding/reads") && plan.contains("Role/reads"), "{by:?}: {plan}");
            world.ends(0, &["apply", "plan.json"]);
            let bound =
                kubectl(&world.namespaces[0], &["get", "rolebinding", "reads", "-o", "jsonpath={.roleRef.name}"]);
            assert_eq!(bound, "reads", "{by:?}");
            world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            // A Role that nothing declares is not there either, and is not taken for one.
            world.objects(&objects("get, list", "").replace("kind: Role, name: reads", "kind: Role, name: others"));
            world.release("1.2.0").await;
            let said = world.ends(65, &["advance"]);
            assert!(said.contains("others") && said.contains("RoleBinding/reads"), "{by:?}: {said}");
        }
    }
}
