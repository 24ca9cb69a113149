//! Several deployments of `deploy.kubectl` in one namespace, under names of their own: none of them takes from another, neither by
//! adopting nor by taking away, and each runs its own hooks.
#![cfg(target_os = "linux")]

use promo_sdk::{ErrorKind, Inputs, ObserveRequest, Provider as _};
use promo_tests::kubernetes::world::{World, config};
use serde_json::json;

const IMAGE: &str = "registry.test/tool@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn named(world: &World, name: &str, manifests: &[&str]) -> Inputs {
    world.with(manifests, json!({ "name": name, "adopt": name == "two" }))
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_belongs_to_another_deployment_is_neither_taken_over_nor_taken_away() {
        let Some(world) = World::new() else { return };
        let (a, b, c) = (config("a", "1"), config("b", "1"), config("c", "1"));
        world.deploy(&named(&world, "one", &[&a, &b])).await;
        // What somebody else has made could be taken over; what another deployment has could not.
        let two = named(&world, "two", &[&a, &c]);
        let error = world.preview(&two).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::Conflict && error.message.contains("belongs to the deployment `one`"),
            "{error}"
        );
        // Unless it is given away.
        world.kubectl(&["annotate", "configmap", "a", "--overwrite", "promo/deployment=two"]);
        world.deploy(&two).await;
        let error = world.preview(&named(&world, "one", &[&config("a", "2"), &b])).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::Conflict && error.message.contains("belongs to the deployment `two`"),
            "{error}"
        );
        world.deploy(&named(&world, "one", &[&b])).await;
        assert_eq!(world.names("configmaps"), ["a", "b", "c"], "what was given away stays");
        world.deploy(&named(&world, "two", &[&c])).await;
        assert_eq!(world.names("configmaps"), ["b", "c"], "and goes with whom it belongs to");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_does_not_say_to_which_deployment_it_belongs_is_named_by_the_plan_that_takes_it_over() {
        let Some(world) = World::new() else { return };
        let a = config("a", "1");
        world.deploy(&named(&world, "one", &[&a])).await;
        // As it was applied before objects said so.
        world.kubectl(&["annotate", "configmap", "a", "promo/deployment-"]);
        let preview = world.deploy(&named(&world, "one", &[&config("a", "2")])).await;
        assert_eq!(preview.changes.len(), 1);
        world.kubectl(&["annotate", "configmap", "a", "promo/deployment-"]);
        let preview = world.preview(&named(&world, "two", &[&a])).await.unwrap();
        let owners = preview.changes.iter().find(|change| change.path == "owners of fields").unwrap();
        assert_eq!(owners.before.as_deref(), Some("ConfigMap/a: promo\n"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_same_hook_of_two_deployments_runs_for_each_of_them() {
        let Some(world) = World::new() else { return };
        let hook = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: migrate, annotations: {{ promo/hook: before }} }}\nspec:\n  \
             template: {{ spec: {{ restartPolicy: Never, containers: [{{ name: job, image: \"{IMAGE}\" }}] }} }}\n"
        );
        for name in ["one", "two"] {
            world.deploy(&named(&world, name, &[&config(name, "1"), &hook])).await;
        }
        assert_eq!(world.names("jobs").len(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_rendered_is_no_empty_place_to_adopt() {
        let Some(world) = World::new() else { return };
        world.kubectl(&["create", "configmap", "a"]);
        let broken = world.with(&["kind: ConfigMap\n"], json!({ "adopt": true }));
        let error = world.kubectl.observe(&world.cx, &ObserveRequest { inputs: broken }).await.unwrap_err();
        assert!(error.kind == ErrorKind::Invalid && error.message.contains("no apiVersion"), "{error}");
    }
}
