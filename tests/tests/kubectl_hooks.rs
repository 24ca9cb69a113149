//! Jobs that run before and after a deployment of `deploy.kubectl`: in which order, how often, and what becomes of a step whose hook
//! fails, is killed or is late.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use promo_providers::kubectl::Kubectl;
use promo_sdk::{Context, ErrorKind, Inputs, Provider as _, State};
use promo_tests::kubernetes::world::{Variables, World, clusters, config};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const IMAGE: &str = "registry.test/tool@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A Job with these annotations of promo's whose pod behaves so.
fn job(name: &str, annotations: &str, behaves: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: {name}, annotations: {{ {annotations} }} }}\nspec:\n  backoffLimit: 0\n  \
         template:\n    metadata: {{ annotations: {{ promo.test/kubelet: {behaves} }}, labels: {{ hook: {name} }} }}\n    \
         spec: {{ restartPolicy: Never, containers: [{{ name: job, image: \"{IMAGE}\" }}] }}\n"
    )
}

fn web(behaves: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
         spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
    )
}

/// Names of Jobs, without the digest behind them.
fn jobs(world: &World) -> Vec<String> {
    let names = world.names("jobs").into_iter().filter(|name| !name.is_empty());
    names.map(|name| name.rsplit_once('-').map_or(name.clone(), |(name, _)| name.to_owned())).collect()
}

/// The ids of Jobs: the same as long as they are the very same.
fn ids(world: &World) -> String {
    world.kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.uid}"])
}

/// Lets the pods of that label go on well.
fn heal(world: &World, label: &str) {
    let patch = r#"{"metadata":{"annotations":{"promo.test/kubelet":"well"}}}"#;
    for pod in
        world.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]).split_whitespace()
    {
        world.kubectl(&["patch", "pod", pod, "--type=merge", "-p", patch]);
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Applies beside the test, as that step.
fn begin(
    world: &World,
    inputs: &Inputs,
    (from, to): (State, State),
    cancelled: &CancellationToken,
) -> tokio::task::JoinHandle<Result<(), promo_sdk::ProviderError>> {
    let (kubectl, request) = (Kubectl::default(), World::request(inputs, from, to));
    let cx = Context { cancelled: cancelled.clone(), ..world.cx.clone() };
    tokio::spawn(async move { kubectl.ensure(&cx, &request).await.map(drop) })
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn hooks_run_before_the_first_object_and_after_the_last_one_runs_in_their_order() {
        let Some(world) = World::new() else { return };
        let inputs = world.inputs(&[
            &config("a", "1"),
            &web("notready"),
            &job("second", "promo/hook: before, promo/hook-order: \"2\"", "well"),
            &job("first", "promo/hook: before, promo/hook-order: \"1\"", "run"),
            &job("smoke", "promo/hook: after", "well"),
        ]);
        let preview = world.preview(&inputs).await.unwrap();
        let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["ConfigMap/a", "Deployment/web", "Job/first", "Job/second", "Job/smoke"]);
        assert_eq!(jobs(&world), [""; 0], "a plan runs nothing");
        let applied = begin(&world, &inputs, (preview.current, preview.desired), &CancellationToken::new());
        until("the first hook is not run", || jobs(&world) == ["first"]).await;
        until("it has no pod", || world.kubectl(&["get", "pods", "-o", "name"]).lines().count() == 1).await;
        assert!(!world.names("configmaps").contains(&"a".into()), "nothing is applied before it has ended");
        heal(&world, "hook=first");
        until("nothing is applied after it", || world.names("deployments") == ["web"]).await;
        assert_eq!(jobs(&world), ["first", "second"], "and the last one waits for pods that are not ready");
        until("there is no pod", || !world.kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]).is_empty()).await;
        heal(&world, "app=web");
        applied.await.unwrap().unwrap();
        assert_eq!(jobs(&world), ["first", "second", "smoke"]);
        assert_eq!(world.observe(&inputs).await, preview.desired);
        world.settle(&inputs).await.unwrap();
        // S8.5, and also where the cluster takes finished Jobs away: having run is what is to be there.
        world.kubectl(&["delete", "jobs", "--all"]);
        let again = world.preview(&inputs).await.unwrap();
        assert_eq!((again.current, again.changes.len()), (again.desired, 0), "{:?}", again.changes);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_runs_once_for_what_it_is_or_in_every_step_and_goes_away_when_it_is_declared_no_more() {
        let Some(world) = World::new() else { return };
        let once = job("once", "promo/hook: before", "well");
        let always = job("always", "promo/hook: before, promo/hook-runs: always, promo/hook-delete: success", "well");
        let inputs = |value: &str, hooks: &[&str]| {
            let value = config("a", value);
            world.inputs(&[&[value.as_str()], hooks].concat())
        };
        let one = inputs("1", &[&once, &always]);
        let first = world.deploy(&one).await.desired;
        assert_eq!(jobs(&world), ["once"], "the other one was taken away when it had succeeded");
        let made = ids(&world);
        // Another configuration: what the hook is has not changed.
        let two = inputs("2", &[&once, &always]);
        let preview = world.deploy(&two).await;
        let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["ConfigMap/a"]);
        assert_eq!(ids(&world), made, "it is the very same");
        let events = world.kubectl(&[
            "get",
            "events",
            "-o",
            "jsonpath={range .items[?(@.reason==\"SuccessfulCreate\")]}{.involvedObject.name}{\"\\n\"}{end}",
        ]);
        let begun = events.lines().filter(|name| name.starts_with("always-")).count();
        assert_eq!(begun, 1, "under the token of the same step it was run once as well: {events}");
        // In another step it runs again.
        let three = inputs("3", &[&once, &always]);
        let preview = world.preview(&three).await.unwrap();
        let mut request = World::request(&three, preview.current, preview.desired);
        request.token = "run/another".into();
        let answer = world.kubectl.ensure(&world.cx, &request).await.unwrap();
        assert_eq!(answer.detail, "1 object applied, 1 hook run");
        // One that changed is another one; the old one goes away with what is declared no more.
        let changed = once.replace("backoffLimit: 0", "backoffLimit: 1");
        world.deploy(&inputs("3", &[&changed])).await;
        assert_eq!(jobs(&world), ["once"]);
        assert_ne!(ids(&world), made);
        // Back to the first release: its hook has run here, and a migration of then is not run against the present.
        let back = world.preview(&one).await.unwrap();
        assert_eq!(back.desired, first);
        let mut request = World::request(&one, back.current, back.desired);
        request.token = "run/back".into();
        world.kubectl.ensure(&world.cx, &request).await.unwrap();
        assert_eq!(jobs(&world), [""; 0]);
        world.deploy(&world.inputs(&[&config("a", "1")])).await;
        assert_eq!(world.names("configmaps"), ["a"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hook_that_fails_or_is_late_fails_the_step_before_anything_is_applied_and_is_made_anew_by_the_next_one() {
        let Some(world) = World::new() else { return };
        let first = world.inputs(&[&config("a", "1")]);
        let from = world.deploy(&first).await.desired;
        let with = |behaves: &str| {
            let manifests = [config("a", "2"), job("migrate", "promo/hook: before", behaves)];
            world.with(&[&manifests[0], &manifests[1]], json!({ "timeout": 3 }))
        };
        let failing = with("fail");
        let to = world.preview(&failing).await.unwrap().desired;
        let error = world.ensure(&world.cx, &failing, from, to).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        for word in [
            "a hook that runs before the rest: Job/migrate-",
            "BackoffLimitExceeded",
            "job: Error",
            "logs job/migrate-",
        ] {
            assert!(error.message.contains(word), "{word}: {error}");
        }
        assert_eq!(world.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.key}"]), "1");
        let between = State::between(&from, &to);
        assert_eq!(world.observe(&failing).await, between);
        // The same step, gone on with, finds it failed; another one makes it anew.
        let made = ids(&world);
        world.ensure(&world.cx, &failing, between, to).await.unwrap_err();
        assert_eq!(ids(&world), made);
        let mut request = World::request(&failing, between, to);
        request.token = "run/retried".into();
        world.kubectl.ensure(&world.cx, &request).await.unwrap_err();
        assert_ne!(ids(&world), made);
        // The way back takes it away.
        world.ensure(&world.cx, &first, between, from).await.unwrap();
        assert_eq!((world.observe(&first).await, jobs(&world)), (from, vec![]));
        // One that goes on and on is ended: nothing may work beside the way back.
        let late = with("run");
        let to = world.preview(&late).await.unwrap().desired;
        let error = world.ensure(&world.cx, &late, from, to).await.unwrap_err();
        assert!(error.kind == ErrorKind::Failed && error.message.contains("not settled within 3 s"), "{error}");
        until("it goes on", || jobs(&world).is_empty()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s9_3_a_step_that_was_broken_off_in_its_hook_finds_it_again_and_does_not_run_it_twice() {
        let Some(world) = World::new() else { return };
        let inputs =
            world.inputs(&[&config("a", "1"), &job("migrate", "promo/hook: before, promo/hook-runs: always", "run")]);
        let preview = world.preview(&inputs).await.unwrap();
        let way = (preview.current, preview.desired);
        let stop = CancellationToken::new();
        let applied = begin(&world, &inputs, way, &stop);
        until("it has no pod", || !world.kubectl(&["get", "pods", "-o", "name"]).is_empty()).await;
        let made = ids(&world);
        stop.cancel();
        assert_eq!(applied.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(ids(&world), made, "it goes on by itself");
        let between = State::between(&way.0, &way.1);
        assert_eq!(world.observe(&inputs).await, between);
        // It ends while nobody looks.
        heal(&world, "hook=migrate");
        until("it does not end", || {
            world.kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].status.succeeded}"]) == "1"
        })
        .await;
        world.ensure(&world.cx, &inputs, between, way.1).await.unwrap();
        assert_eq!((world.observe(&inputs).await, ids(&world)), (way.1, made));
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn s9_3_a_hook_that_the_cluster_was_to_take_away_is_found_again_and_does_not_run_twice() {
        let Some(world) = World::new() else { return };
        let short = |behaves: &str| {
            let job = job("migrate", "promo/hook: before", behaves);
            job.replace("backoffLimit: 0", "backoffLimit: 0\n  ttlSecondsAfterFinished: 0")
        };
        // A Job of somebody else's goes away like this: the cluster does what it is told.
        let theirs = world.root.path().join("theirs.yaml");
        std::fs::write(&theirs, short("well").replace("name: migrate", "name: theirs")).unwrap();
        world.kubectl(&["apply", "-f", &theirs.display().to_string()]);
        until("finished Jobs do not go away", || world.names("jobs") == [""]).await;
        let inputs = world.inputs(&[&config("a", "1"), &short("run")]);
        let preview = world.preview(&inputs).await.unwrap();
        let stop = CancellationToken::new();
        let applied = begin(&world, &inputs, (preview.current, preview.desired), &stop);
        until("it has no pod", || !world.kubectl(&["get", "pods", "-l", "hook=migrate", "-o", "name"]).is_empty())
            .await;
        let made = ids(&world);
        stop.cancel();
        applied.await.unwrap().unwrap_err();
        // It ends while nobody looks, and so long before somebody does that the cluster had time enough.
        heal(&world, "hook=migrate");
        until("it does not end", || {
            world.kubectl(&["get", "jobs", "-o", "jsonpath={.items[*].status.succeeded}"]) == "1"
        })
        .await;
        std::fs::write(&theirs, short("well").replace("name: migrate", "name: theirs")).unwrap();
        world.kubectl(&["apply", "-f", &theirs.display().to_string()]);
        until("finished Jobs do not go away", || !jobs(&world).contains(&"theirs".into())).await;
        assert_eq!(ids(&world), made, "it is there");
        world
            .ensure(&world.cx, &inputs, State::between(&preview.current, &preview.desired), preview.desired)
            .await
            .unwrap();
        assert_eq!(ids(&world), made, "and was not made anew");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_late_hook_is_over_only_when_its_pods_are_and_so_is_one_that_a_broken_off_run_left_behind() {
        let Some(world) = World::new() else { return };
        let first = world.inputs(&[&config("a", "1")]);
        let from = world.deploy(&first).await.desired;
        // Its pods take their time to end.
        let slow = job("migrate", "promo/hook: before", "run")
            .replace("labels: {", "finalizers: [promo.test/slow], labels: {");
        let late = world.with(&[&config("a", "2"), &slow], json!({ "timeout": 2 }));
        let to = world.preview(&late).await.unwrap().desired;
        let ends = |world: &World| {
            let pods = world.kubectl(&[
                "get",
                "pods",
                "-l",
                "hook=migrate",
                "-o",
                "jsonpath={.items[*].metadata.deletionTimestamp}",
            ]);
            !pods.is_empty()
        };
        let let_go = |world: &World| {
            let patch = r#"{"metadata":{"finalizers":null}}"#;
            for pod in world.names("pods") {
                world.kubectl(&["patch", "pod", &pod, "--type=merge", "-p", patch]);
            }
        };
        let applied = begin(&world, &late, (from, to), &CancellationToken::new());
        until("it is not told to end", || ends(&world)).await;
        // What must not come tells nobody that it does not: here and below a second is far longer than it would take.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!applied.is_finished(), "a pod of it still runs");
        let_go(&world);
        let error = applied.await.unwrap().unwrap_err();
        assert!(error.kind == ErrorKind::Failed && error.message.contains("not settled within 2 s"), "{error}");
        assert_eq!(jobs(&world), [""; 0]);
        // A run is broken off in its hook, and the way back is taken by somebody else: not beside the hook.
        let between = State::between(&from, &to);
        let stop = CancellationToken::new();
        let slower = world.with(&[&config("a", "2"), &slow], json!({ "timeout": 60 }));
        let applied = begin(&world, &slower, (between, to), &stop);
        until("it has no pod", || !world.kubectl(&["get", "pods", "-l", "hook=migrate", "-o", "name"]).is_empty())
            .await;
        stop.cancel();
        applied.await.unwrap().unwrap_err();
        let back = world.inputs(&[&config("a", "1"), &config("b", "1")]);
        let way = (between, world.preview(&back).await.unwrap().desired);
        let back = begin(&world, &back, way, &CancellationToken::new());
        until("it is not told to end", || ends(&world)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!world.names("configmaps").contains(&"b".into()), "nothing is applied beside it");
        let_go(&world);
        back.await.unwrap().unwrap();
        assert!(world.names("configmaps").contains(&"b".into()) && jobs(&world).is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_late_hook_that_cannot_be_ended_is_named_and_nothing_is_decided_beside_it() {
        let Some(mut world) = World::new() else { return };
        for role in [
            &["all", "--verb=*", "--resource=secrets,configmaps,namespaces,pods"][..],
            &["jobs", "--verb=get,list,watch,create,patch", "--resource=jobs.batch"],
        ] {
            world.kubectl(&[&["create", "role"], role].concat());
            let name = role[0];
            world.kubectl(&["create", "rolebinding", name, &format!("--role={name}"), "--user=deployer"]);
        }
        let file = clusters(world.root.path(), &world.namespace.kubeconfig_of("deployer"), "deployer");
        world.cx.secrets = Arc::new(Variables(BTreeMap::from([("PROMO_CLUSTERS".to_owned(), file)])));
        let hook = job("migrate", "promo/hook: before", "run");
        let late = world.with(&[&config("a", "1"), &hook], json!({ "timeout": 2 }));
        let preview = world.preview(&late).await.unwrap();
        let error = world.ensure(&world.cx, &late, preview.current, preview.desired).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient, "it goes neither on nor back: {error}");
        for word in
            ["not settled within 2 s", "Job/migrate-", " could not be ended and may still run: ", "cannot delete"]
        {
            assert!(error.message.contains(word), "{word}: {error}");
        }
    }
}
