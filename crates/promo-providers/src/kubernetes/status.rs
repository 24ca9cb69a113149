//! Whether an object is what it is to become, told from its status alone: the rules of kstatus
//! (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>), by kind where a kind has its own and by the
//! conventions of conditions for all others. A pure function; waiting is done elsewhere.

use serde_json::Value;

use super::object::DEFINITION;

/// How an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is what it is to become.
    Current,
    /// It is on the way there, and what is still missing.
    InProgress(String),
    /// It says itself that it will not get there.
    Failed(String),
}

/// How `object` stands.
pub(crate) fn of(object: &Value) -> Status {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Status::InProgress("it is being deleted".into());
    }
    let generation = number(object, "/metadata/generation");
    let seen = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if seen.is_some_and(|seen| seen < generation) {
        return Status::InProgress("its controller has not seen it yet".into());
    }
    let group = object.pointer("/apiVersion").and_then(Value::as_str).unwrap_or_default();
    let group = group.split_once('/').map_or("", |(group, _)| group);
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    match (group, kind) {
        ("apps", "Deployment") => without_pods(object, deployment(object, seen)),
        ("apps", "StatefulSet") => stateful_set(object, seen),
        ("apps", "DaemonSet") => daemon_set(object, seen),
        ("apps", "ReplicaSet") => without_pods(object, replicas(object, "/status/availableReplicas", "available")),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => phase(object, "Bound"),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", DEFINITION) => definition(object),
        _ => by_conditions(object),
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn wanted(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

/// A condition's status, with its reason and message in words.
fn condition<'a>(object: &'a Value, name: &str) -> Option<(&'a str, String)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))?;
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
    let words: Vec<&str> = [text("reason"), text("message")].into_iter().filter(|word| !word.is_empty()).collect();
    Some((text("status"), words.join(": ")))
}

fn by_conditions(object: &Value) -> Status {
    if let Some(("True", why)) = condition(object, "Stalled") {
        return Status::Failed(why);
    }
    if let Some(("True", why)) = condition(object, "Reconciling") {
        return Status::InProgress(why);
    }
    match condition(object, "Ready") {
        Some(("False" | "Unknown", why)) => Status::InProgress(format!("it is not ready: {why}")),
        _ => Status::Current,
    }
}

fn unseen(kind: &str) -> Status {
    Status::InProgress(format!("the controller of {kind} has not seen it yet"))
}

/// Why pods cannot even be made, where a controller says so: a quota, an admission.
fn without_pods(object: &Value, status: Status) -> Status {
    match (status, condition(object, "ReplicaFailure")) {
        (Status::InProgress(what), Some(("True", why))) => Status::InProgress(format!("{what}: {why}")),
        (status, _) => status,
    }
}

fn deployment(object: &Value, seen: Option<i64>) -> Status {
    if seen.is_none() {
        return unseen("deployments");
    }
    if let Some(("False", why)) = condition(object, "Progressing")
        && why.starts_with("ProgressDeadlineExceeded")
    {
        return Status::Failed(why);
    }
    let of = |pointer: &str| number(object, pointer);
    let (wanted, replicas, updated) = (wanted(object), of("/status/replicas"), of("/status/updatedReplicas"));
    if updated < wanted {
        return Status::InProgress(format!("{updated} of {wanted} pods are of this version"));
    }
    if replicas > updated {
        return Status::InProgress(format!("{} pods of before are still there", replicas - updated));
    }
    let (ready, available) = (of("/status/readyReplicas"), of("/status/availableReplicas"));
    if ready < wanted {
        return Status::InProgress(format!("{ready} of {wanted} pods are ready"));
    }
    if available < updated {
        return Status::InProgress(format!("{available} of {updated} pods are available"));
    }
    match condition(object, "Available") {
        Some(("True", _)) => Status::Current,
        Some((_, why)) => Status::InProgress(format!("it is not available: {why}")),
        None if wanted == 0 => Status::Current,
        None => Status::InProgress("it is not said to be available yet".into()),
    }
}

fn stateful_set(object: &Value, seen: Option<i64>) -> Status {
    if object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete") {
        return Status::Current;
    }
    if seen.is_none() {
        return unseen("stateful sets");
    }
    let of = |pointer: &str| number(object, pointer);
    let (wanted, ready) = (wanted(object), of("/status/readyReplicas"));
    if of("/status/replicas") < wanted || ready < wanted {
        return Status::InProgress(format!("{ready} of {wanted} pods are ready"));
    }
    if of("/status/replicas") > wanted {
        return Status::InProgress(format!("{} pods are too many", of("/status/replicas") - wanted));
    }
    // Below the partition nothing is to be renewed.
    let partition = of("/spec/updateStrategy/rollingUpdate/partition");
    let (updated, to_update) = (of("/status/updatedReplicas"), (wanted - partition).max(0));
    if updated < to_update {
        return Status::InProgress(format!("{updated} of {to_update} pods are of this version"));
    }
    if partition == 0 && object.pointer("/status/currentRevision") != object.pointer("/status/updateRevision") {
        return Status::InProgress("its revision is not the current one yet".into());
    }
    Status::Current
}

fn daemon_set(object: &Value, seen: Option<i64>) -> Status {
    if object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete") {
        return Status::Current;
    }
    if seen.is_none() {
        return unseen("daemon sets");
    }
    let of = |field: &str| number(object, &format!("/status/{field}"));
    let wanted = of("desiredNumberScheduled");
    for (field, word) in
        [("updatedNumberScheduled", "of this version"), ("numberAvailable", "available"), ("numberReady", "ready")]
    {
        if of(field) < wanted {
            return Status::InProgress(format!("{} of {wanted} pods are {word}", of(field)));
        }
    }
    Status::Current
}

fn replicas(object: &Value, pointer: &str, word: &str) -> Status {
    let (wanted, found) = (wanted(object), number(object, pointer));
    if found < wanted {
        return Status::InProgress(format!("{found} of {wanted} pods are {word}"));
    }
    Status::Current
}

/// A job is waited for to its end: what follows it counts on what it did.
fn job(object: &Value) -> Status {
    if let Some(("True", why)) = condition(object, "Failed") {
        return Status::Failed(why);
    }
    match condition(object, "Complete") {
        Some(("True", _)) => Status::Current,
        _ if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) => Status::Current,
        _ => Status::InProgress(format!("{} pods have succeeded", number(object, "/status/succeeded"))),
    }
}

fn pod(object: &Value) -> Status {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded") => Status::Current,
        Some("Failed") => Status::Failed(
            object
                .pointer("/status/message")
                .and_then(Value::as_str)
                .unwrap_or("its containers ended in errors")
                .into(),
        ),
        _ => match condition(object, "Ready") {
            Some(("True", _)) => Status::Current,
            _ => Status::InProgress(waiting(object).unwrap_or_else(|| "it is not ready".into())),
        },
    }
}

fn phase(object: &Value, wanted: &str) -> Status {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) if phase == wanted => Status::Current,
        found => Status::InProgress(format!("it is {}, not {wanted}", found.unwrap_or("without a phase"))),
    }
}

fn service(object: &Value) -> Status {
    let balanced = object.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    let address = object.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default();
    if balanced && address.is_empty() {
        return Status::InProgress("it has no address yet".into());
    }
    Status::Current
}

fn definition(object: &Value) -> Status {
    if let Some(("False", why)) = condition(object, "NamesAccepted") {
        return Status::Failed(why);
    }
    match condition(object, "Established") {
        Some(("True", _)) => Status::Current,
        _ => Status::InProgress("it is not established yet".into()),
    }
}

/// Why a pod's containers do not run, as far as they say: `web: ImagePullBackOff: …`.
pub(crate) fn waiting(pod: &Value) -> Option<String> {
    let of = |list: &str| pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
    let containers = of("/status/initContainerStatuses").chain(of("/status/containerStatuses"));
    let told: Vec<String> = containers
        .filter_map(|container| {
            let name = container.get("name")?.as_str()?;
            let state = container.pointer("/state/waiting").or_else(|| container.pointer("/state/terminated"))?;
            let text = |key: &str| state.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
            // The message of one that ended is what the application wrote last, and may be anything.
            let message = text("message").filter(|_| container.pointer("/state/waiting").is_some());
            let words: Vec<&str> = [text("reason"), message].into_iter().flatten().collect();
            // One that did its work and ended is not waiting.
            (!words.is_empty() && words != ["Completed"]).then(|| format!("{name}: {}", words.join(": ")))
        })
        .collect();
    if !told.is_empty() {
        return Some(told.join(", "));
    }
    match condition(pod, "PodScheduled") {
        Some(("False", why)) => Some(why),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment_of(status: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "generation": 2 },
            "spec": { "replicas": 3 }, "status": status,
        })
    }

    #[test]
    fn a_deployment_is_current_when_all_its_pods_are_new_ready_and_alone() {
        let available = json!([{ "type": "Available", "status": "True" }]);
        let good = json!({
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": available,
        });
        assert_eq!(of(&deployment_of(good.clone())), Status::Current);
        for (field, value, why) in [
            ("observedGeneration", 1, "has not seen it"),
            ("updatedReplicas", 2, "2 of 3 pods are of this version"),
            ("replicas", 4, "1 pods of before"),
            ("readyReplicas", 1, "1 of 3 pods are ready"),
            ("availableReplicas", 2, "2 of 3 pods are available"),
        ] {
            let mut status = good.clone();
            status[field] = json!(value);
            let Status::InProgress(said) = of(&deployment_of(status)) else { panic!("{field}") };
            assert!(said.contains(why), "{field}: {said}");
        }
        let late = json!([{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow",
        }]);
        let late = deployment_of(json!({ "observedGeneration": 2, "conditions": late }));
        assert_eq!(of(&late), Status::Failed("ProgressDeadlineExceeded: too slow".into()));
        assert_eq!(of(&deployment_of(json!({}))), unseen("deployments"));
        let refused = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota" }]);
        let refused = deployment_of(json!({ "observedGeneration": 2, "updatedReplicas": 2, "conditions": refused }));
        let Status::InProgress(said) = of(&refused) else { panic!("{refused}") };
        assert!(said.contains("2 of 3 pods") && said.ends_with("FailedCreate: exceeded quota"), "{said}");
    }

    #[test]
    fn a_job_is_waited_for_to_its_end_and_a_failed_one_says_why() {
        let job = |conditions: Value| json!({ "apiVersion": "batch/v1", "kind": "Job", "status": { "conditions": conditions, "succeeded": 0 } });
        assert_eq!(of(&job(json!([{ "type": "Complete", "status": "True" }]))), Status::Current);
        assert_eq!(of(&job(json!([]))), Status::InProgress("0 pods have succeeded".into()));
        let failed = json!([{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded" }]);
        assert_eq!(of(&job(failed)), Status::Failed("BackoffLimitExceeded".into()));
    }

    #[test]
    fn other_kinds_follow_the_conventions_of_conditions() {
        let custom = |conditions: Value| json!({ "apiVersion": "example.com/v1", "kind": "Shop", "status": { "conditions": conditions } });
        assert_eq!(of(&custom(json!([]))), Status::Current);
        let ready = |status: &str| json!([{ "type": "Ready", "status": status, "reason": "Waiting" }]);
        assert_eq!(of(&custom(ready("True"))), Status::Current);
        assert_eq!(of(&custom(ready("False"))), Status::InProgress("it is not ready: Waiting".into()));
        let stalled = json!([{ "type": "Stalled", "status": "True", "message": "no quota" }]);
        assert_eq!(of(&custom(stalled)), Status::Failed("no quota".into()));
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": {} });
        assert_eq!(of(&config), Status::Current);
    }

    #[test]
    fn a_pod_that_cannot_run_says_which_container_and_why() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "status": { "phase": "Pending", "containerStatuses": [
                { "name": "web", "state": { "waiting": { "reason": "ErrImagePull", "message": "not found" } } },
            ] },
        });
        assert_eq!(of(&pod), Status::InProgress("web: ErrImagePull: not found".into()));
    }
}
