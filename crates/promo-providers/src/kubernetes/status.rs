//! Whether an object is what it is to become, told from its status alone: the rules of kstatus
//! (<https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus>), by kind where a kind has its own and by the
//! conventions of conditions for all others. A pure function; waiting is done elsewhere.
//!
//! Where it differs from those rules, it is because they say whether a controller has done its part, and a release waits for what it
//! declared to run:
//! - A Job is waited for to its end, not to its beginning. A Pod that failed has failed, though nothing more will become of it.
//! - A Pod whose containers crash or that no node takes is on its way until the step's time is over: what it waits for, or a node, may come.
//! - A StatefulSet or DaemonSet with `OnDelete` is waited for until its pods are there and ready, of whatever version: nobody but a
//!   person replaces them, and one whose pods never ran does not run.
//! - What a controller of Kubernetes' own has not seen is not there yet, also where it has never written a status. An object of another
//!   kind without a status may have no controller. A condition that speaks of an earlier generation says nothing.
//! - A Deployment whose rollout is paused, and of which everything runs already, is there: the numbers say what the condition
//!   `Progressing` would.
//! - A claim to storage is waited for until it is bound. That one of a class which waits for a consumer is there without one does not
//!   stand in its status: who waits asks for the classes.
//! - Of two conditions that contradict each other the worse one counts, wherever it stands in the list.

use promo_core::counted::{self, counted};
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
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let seen = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    // Also where a controller has seen a later one: this is not what it speaks of.
    if seen.is_some() && generation.is_some() && seen != generation {
        return Status::InProgress("its controller has not seen it yet".into());
    }
    if let Some(("True", why)) = condition(object, "Stalled") {
        return Status::Failed(why);
    }
    if let Some(("True", why)) = condition(object, "Reconciling") {
        return Status::InProgress(why);
    }
    let group = object.pointer("/apiVersion").and_then(Value::as_str).unwrap_or_default();
    let group = group.split_once('/').map_or("", |(group, _)| group);
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    match (group, kind) {
        ("apps", "Deployment") => without_pods(object, deployment(object, seen)),
        ("apps", "StatefulSet") => stateful_set(object, seen),
        ("apps", "DaemonSet") => daemon_set(object, seen),
        ("apps", "ReplicaSet") => without_pods(object, replica_set(object)),
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
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    if found.get("observedGeneration").and_then(Value::as_i64).is_some_and(|seen| Some(seen) < generation) {
        return Some(("Unknown", "its controller has not seen it yet".into()));
    }
    let words: Vec<&str> = [text("reason"), text("message")].into_iter().filter(|word| !word.is_empty()).collect();
    Some((text("status"), words.join(": ")))
}

fn by_conditions(object: &Value) -> Status {
    match condition(object, "Ready") {
        Some(("False" | "Unknown", why)) => Status::InProgress(format!("it is not ready: {why}")),
        _ => Status::Current,
    }
}

fn unseen(kind: &str) -> Status {
    Status::InProgress(format!("the controller of {kind} has not seen it yet"))
}

/// Why pods cannot even be made, where a controller says so: a quota, an admission. That is the cause of whatever else is to be said,
/// and stands before it.
fn without_pods(object: &Value, status: Status) -> Status {
    let Some(("True", why)) = condition(object, "ReplicaFailure") else { return status };
    let why = refused(&why);
    match status {
        Status::InProgress(what) => Status::InProgress(format!("{why}; {what}")),
        Status::Failed(what) => Status::Failed(format!("{why}; {what}")),
        Status::Current => status,
    }
}

/// `FailedCreate: pods "NAME" is forbidden: exceeded quota: …` without the pod that was never made, whose name says nothing and is longer
/// than the cause.
fn refused(why: &str) -> String {
    let parts = || {
        let (reason, rest) = why.split_once(": pods \"")?;
        let (_, cause) = rest.split_once("\" is forbidden: ")?;
        Some(format!("{reason}: {cause}"))
    };
    parts().unwrap_or_else(|| why.to_owned())
}

/// Whether its controller says that pods cannot even be made.
pub(crate) fn makes_no_pods(object: &Value) -> bool {
    matches!(condition(object, "ReplicaFailure"), Some(("True", _)))
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
        return Status::InProgress(few(updated, wanted, "of this version"));
    }
    if replicas > updated {
        let old = replicas - updated;
        return Status::InProgress(format!("{} of before {} still there", counted(old, "pod"), counted::is(old)));
    }
    let (ready, available) = (of("/status/readyReplicas"), of("/status/availableReplicas"));
    if replicas > wanted {
        return too_many(replicas - wanted);
    }
    if ready < wanted {
        return Status::InProgress(few(ready, wanted, "ready"));
    }
    if available < updated {
        return Status::InProgress(few(available, updated, "available"));
    }
    match condition(object, "Available") {
        Some(("True", _)) => Status::Current,
        Some((_, why)) => Status::InProgress(format!("it is not available: {why}")),
        None => Status::InProgress("it is not said to be available yet".into()),
    }
}

/// Whether nobody but a person replaces its pods.
fn on_delete(object: &Value) -> bool {
    object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete")
}

/// How many of its pods are what they should be, where those are too few.
fn few(found: i64, wanted: i64, what: &str) -> String {
    format!("{} {} {what}", counted::of(found, wanted, "pod"), counted::is(wanted))
}

fn too_many(pods: i64) -> Status {
    Status::InProgress(format!("{} {} too many", counted(pods, "pod"), counted::is(pods)))
}

fn stateful_set(object: &Value, seen: Option<i64>) -> Status {
    if seen.is_none() {
        return unseen("stateful sets");
    }
    let of = |pointer: &str| number(object, pointer);
    let (wanted, replicas, ready) = (wanted(object), of("/status/replicas"), of("/status/readyReplicas"));
    if replicas < wanted || ready < wanted {
        return Status::InProgress(few(ready, wanted, "ready"));
    }
    // Only since they can be told to have been ready for a time do servers count for how many of them that holds.
    let available = of("/status/availableReplicas");
    if of("/spec/minReadySeconds") > 0 && available < wanted {
        return Status::InProgress(few(available, wanted, "available"));
    }
    if replicas > wanted {
        return too_many(replicas - wanted);
    }
    if on_delete(object) {
        return Status::Current;
    }
    // Below the partition nothing is to be renewed. A server says 0 where none is declared.
    let partition = of("/spec/updateStrategy/rollingUpdate/partition");
    let (updated, to_update) = (of("/status/updatedReplicas"), (wanted - partition).max(0));
    if updated < to_update {
        return Status::InProgress(few(updated, to_update, "of this version"));
    }
    if partition > 0 {
        return Status::Current;
    }
    if object.pointer("/status/currentRevision") != object.pointer("/status/updateRevision") {
        return Status::InProgress("its revision is not the current one yet".into());
    }
    let current = of("/status/currentReplicas");
    if current < wanted {
        return Status::InProgress(few(current, wanted, "of the current revision"));
    }
    Status::Current
}

fn daemon_set(object: &Value, seen: Option<i64>) -> Status {
    let of = |field: &str| object.pointer(&format!("/status/{field}")).and_then(Value::as_i64);
    let (Some(_), Some(wanted)) = (seen, of("desiredNumberScheduled")) else { return unseen("daemon sets") };
    let renewed = !on_delete(object);
    for (field, word, counts) in [
        ("currentNumberScheduled", "there", true),
        ("updatedNumberScheduled", "of this version", renewed),
        ("numberAvailable", "available", true),
        ("numberReady", "ready", true),
    ] {
        let found = of(field).unwrap_or(0);
        if counts && found < wanted {
            return Status::InProgress(few(found, wanted, word));
        }
    }
    Status::Current
}

fn replica_set(object: &Value) -> Status {
    let of = |field: &str| number(object, &format!("/status/{field}"));
    let (wanted, replicas) = (wanted(object), of("replicas"));
    for (field, word) in
        [("fullyLabeledReplicas", "there"), ("availableReplicas", "available"), ("readyReplicas", "ready")]
    {
        if of(field) < wanted {
            return Status::InProgress(few(of(field), wanted, word));
        }
    }
    if replicas > wanted {
        return too_many(replicas - wanted);
    }
    match condition(object, "ReplicaFailure") {
        Some(("True", _)) => Status::InProgress("not all of its pods could be made or taken away".into()),
        _ => Status::Current,
    }
}

/// A job is waited for to its end: what follows it counts on what it did.
fn job(object: &Value) -> Status {
    if let Some(("True", why)) = condition(object, "Failed") {
        return Status::Failed(why);
    }
    if let Some(("True", _)) = condition(object, "Complete") {
        return Status::Current;
    }
    let suspended = matches!(condition(object, "Suspended"), Some(("True", _)));
    if suspended && object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Status::Current;
    }
    let pods = number(object, "/status/succeeded");
    Status::InProgress(format!("{} {} succeeded", counted(pods, "pod"), counted::has(pods)))
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
        Some(("False", why)) if !why.starts_with("Installing") => Status::Failed(why),
        _ => Status::InProgress("it is not established yet".into()),
    }
}

/// Whether a pod is of another version than `object` is to become, as far as the two say of which they are. Of a Deployment its
/// condition names the ReplicaSet of the version that comes, so that nobody needs the right to list those.
pub(crate) fn is_replaced(object: &Value, pod: &Value) -> bool {
    let text = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (comes, is) = match object.get("kind").and_then(Value::as_str) {
        Some("Deployment") => {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
            let mut progress = conditions.filter(|one| text(one, "/type").as_deref() == Some("Progressing"));
            let named = progress.find_map(|one| text(one, "/message")?.split('"').nth(1).map(str::to_owned));
            (named, text(pod, "/metadata/ownerReferences/0/name"))
        }
        Some("StatefulSet") => {
            (text(object, "/status/updateRevision"), text(pod, "/metadata/labels/controller-revision-hash"))
        }
        Some("DaemonSet") => (
            text(object, "/metadata/annotations/deprecated.daemonset.template.generation"),
            text(pod, "/metadata/labels/pod-template-generation"),
        ),
        _ => (None, None),
    };
    comes.zip(is).is_some_and(|(comes, is)| comes != is)
}

/// What a person has to know of a pod that its StatefulSet waits for before it replaces any: one of another version that is not ready.
pub(crate) fn waited_for(object: &Value, pod: &Value) -> Option<&'static str> {
    let ordered = object.pointer("/spec/podManagementPolicy").and_then(Value::as_str) != Some("Parallel");
    let version = object.pointer("/status/updateRevision").filter(|_| ordered && !on_delete(object))?;
    let other = pod.pointer("/metadata/labels/controller-revision-hash").is_some_and(|of| of != version);
    let ready = matches!(condition(pod, "Ready"), Some(("True", _)));
    (other && !ready)
        .then_some("it is of another version and not ready, and the StatefulSet replaces none before it is: delete it")
}

/// Why a pod's containers do not run, or run and are not ready, as far as they say: `web: ImagePullBackOff: …`.
pub(crate) fn waiting(pod: &Value) -> Option<String> {
    let of = |list: &str| pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
    let containers = of("/status/initContainerStatuses").chain(of("/status/containerStatuses"));
    let told: Vec<String> = containers.filter_map(container).collect();
    if !told.is_empty() {
        return Some(told.join(", "));
    }
    // One that goes away is not to become ready.
    let stays = pod.pointer("/metadata/deletionTimestamp").is_none();
    let unready = || of("/status/containerStatuses").filter(|container| container["ready"] == false);
    let names: Vec<&str> = unready().filter_map(|container| running(container)?.get("name")?.as_str()).collect();
    if stays && !names.is_empty() {
        return Some(format!("{} runs, is not ready", names.join(", ")));
    }
    match condition(pod, "PodScheduled") {
        Some(("False", why)) => Some(why),
        _ => None,
    }
}

fn running(container: &Value) -> Option<&Value> {
    container.pointer("/state/running").map(|_| container)
}

/// Why a container does not run.
fn container(container: &Value) -> Option<String> {
    let name = container.get("name")?.as_str()?;
    let waits = container.pointer("/state/waiting");
    let state = waits.or_else(|| container.pointer("/state/terminated"))?;
    let text = |key: &str| state.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    // The message of one that ended is what the application wrote last, and may be anything.
    let message = text("message").filter(|_| waits.is_some());
    let words: Vec<&str> = [text("reason"), message].into_iter().flatten().collect();
    // One that did its work and ended is not waiting.
    if words.is_empty() || words == ["Completed"] {
        return None;
    }
    // Of one that waits to be started again, how it ended before.
    let ended = if waits.is_some() { "/lastState/terminated/exitCode" } else { "/state/terminated/exitCode" };
    let code = container.pointer(ended).and_then(Value::as_i64);
    let code = code.map(|code| format!(", exited with {code}")).unwrap_or_default();
    Some(format!("{name}: {}{code}", words.join(": ")))
}

#[cfg(test)]
mod tests;
