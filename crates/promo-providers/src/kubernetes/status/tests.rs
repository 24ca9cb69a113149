//! Tables: an object that is there, and everything that keeps one of its kind from being so, each changed by itself. The rules are those
//! of kstatus where the module does not say otherwise; the objects are written after what API servers answer.

use super::*;
use serde_json::json;

/// The parts of `good` that are changed, as a JSON pointer and what stands there then, and what is said of it: nothing where it is there
/// all the same, with a `!` before it where it has failed.
type Row = (&'static str, Value, &'static str);

/// Holds that `good` is there, and each row of it what it says.
fn table(good: &Value, rows: &[Row]) {
    let kind = &good["kind"];
    assert_eq!(of(good), Status::Current, "{kind}");
    for (pointer, value, said) in rows {
        let found = of(&with(good, pointer, value.clone()));
        match (said.strip_prefix('!'), &found) {
            (None, Status::Current) if said.is_empty() => {}
            (None, Status::InProgress(why)) if !said.is_empty() && why.contains(said) => {}
            (Some(failed), Status::Failed(why)) if why.contains(failed) => {}
            _ => panic!("{kind} with {pointer} = {value}: {found:?}, expected {said:?}"),
        }
    }
}

/// An object with another value there; without one for null.
fn with(good: &Value, pointer: &str, value: Value) -> Value {
    let mut object = good.clone();
    let mut at = &mut object;
    let (above, last) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    for part in above.split('/').skip(1) {
        at = &mut at[part];
    }
    if value.is_null() {
        at.as_object_mut().expect("it is an object").remove(last);
    } else {
        at[last] = value;
    }
    object
}

fn told(kind: &str, status: &str, reason: &str) -> Value {
    json!([{ "type": kind, "status": status, "reason": reason, "message": "so it says" }])
}

#[test]
fn what_every_object_says_of_itself_counts_before_what_its_kind_says() {
    for (api, kind) in [("apps/v1", "Deployment"), ("v1", "ConfigMap"), ("batch/v1", "Job"), ("example.com/v1", "Shop")]
    {
        let plain = json!({ "apiVersion": api, "kind": kind, "metadata": { "generation": 2 }, "status": {} });
        for (pointer, value, said) in [
            ("/metadata/deletionTimestamp", json!("2026-03-02T09:00:00Z"), "being deleted"),
            ("/status/observedGeneration", json!(1), "has not seen it"),
            ("/status/observedGeneration", json!(3), "has not seen it"),
            ("/status/conditions", told("Reconciling", "True", "Waiting"), "Waiting: so it says"),
        ] {
            let found = of(&with(&plain, pointer, value));
            assert!(matches!(&found, Status::InProgress(why) if why.contains(said)), "{kind} {pointer}: {found:?}");
        }
        let stalled = of(&with(&plain, "/status/conditions", told("Stalled", "True", "NoQuota")));
        assert_eq!(stalled, Status::Failed("NoQuota: so it says".into()), "{kind}");
    }
    let both = |first: &str, second: &str| {
        let conditions = json!([{ "type": first, "status": "True" }, { "type": second, "status": "True" }]);
        of(&json!({ "apiVersion": "example.com/v1", "kind": "Shop", "status": { "conditions": conditions } }))
    };
    assert_eq!(both("Reconciling", "Stalled"), both("Stalled", "Reconciling"), "the order says nothing");
}

#[test]
fn a_deployment() {
    let good = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 3 },
        "status": {
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": told("Available", "True", "MinimumReplicasAvailable"),
        },
    });
    table(
        &good,
        &[
            ("/status/observedGeneration", Value::Null, "the controller of deployments has not seen it yet"),
            ("/status/updatedReplicas", json!(2), "2 of 3 pods are of this version"),
            ("/status/replicas", json!(4), "1 pod of before is still there"),
            ("/status/readyReplicas", json!(1), "1 of 3 pods are ready"),
            ("/status/readyReplicas", Value::Null, "0 of 3 pods are ready"),
            ("/status/availableReplicas", json!(2), "2 of 3 pods are available"),
            ("/status/conditions", told("Available", "False", "TooFew"), "it is not available: TooFew"),
            ("/status/conditions", json!([]), "not said to be available"),
            ("/status/conditions", told("Progressing", "False", "ProgressDeadlineExceeded"), "!so it says"),
            // One pod where none is declared, as the server would write.
            ("/spec/replicas", Value::Null, "2 pods are too many"),
            ("/spec/replicas", json!(2), "1 pod is too many"),
            ("/spec/replicas", json!(0), "3 pods are too many"),
            // Everything runs; that nothing goes on is no matter.
            ("/spec/paused", json!(true), ""),
        ],
    );
    // What keeps pods from being made stands before how many are missing.
    let refused = with(&good, "/status/updatedReplicas", json!(2));
    let refused = with(&refused, "/status/conditions", told("ReplicaFailure", "True", "FailedCreate"));
    let expected = "FailedCreate: so it says; 2 of 3 pods are of this version";
    assert_eq!(of(&refused), Status::InProgress(expected.into()));
    // As a server writes it of a quota, and once the rollout's own time is over.
    let quota = r#"pods "api-5c9c8b7f6d-x2k4p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"#;
    let conditions = json!([
        { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "it timed out" },
        { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota },
    ]);
    let refused = with(&refused, "/status/conditions", conditions);
    let expected = "FailedCreate: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2; \
                    ProgressDeadlineExceeded: it timed out";
    assert_eq!(of(&refused), Status::Failed(expected.into()));
}

#[test]
fn a_stateful_set() {
    let good = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "generation": 2 },
        "spec": { "replicas": 3, "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } } },
        "status": {
            "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3,
            "currentRevision": "web-2", "updateRevision": "web-2",
        },
    });
    table(
        &good,
        &[
            ("/status/observedGeneration", Value::Null, "the controller of stateful sets has not seen it yet"),
            ("/status/replicas", json!(2), "3 of 3 pods are ready"),
            ("/status/readyReplicas", json!(1), "1 of 3 pods are ready"),
            ("/status/readyReplicas", Value::Null, "0 of 3 pods are ready"),
            ("/status/replicas", json!(4), "1 pod is too many"),
            ("/spec/replicas", Value::Null, "2 pods are too many"),
            ("/status/updatedReplicas", json!(2), "2 of 3 pods are of this version"),
            ("/status/updateRevision", json!("web-3"), "its revision is not the current one yet"),
            ("/status/currentReplicas", json!(2), "2 of 3 pods are of the current revision"),
            ("/spec/updateStrategy", Value::Null, ""),
        ],
    );
    let mut steady = with(&good, "/spec/minReadySeconds", json!(60));
    steady["status"]["availableReplicas"] = json!(3);
    table(&steady, &[("/status/availableReplicas", json!(2), "2 of 3 pods are available")]);
    // Of three pods the first two stay what they are.
    let mut parted = with(&good, "/spec/updateStrategy/rollingUpdate/partition", json!(2));
    for (field, value) in
        [("updateRevision", json!("web-3")), ("currentReplicas", json!(2)), ("updatedReplicas", json!(1))]
    {
        parted["status"][field] = value;
    }
    table(
        &parted,
        &[
            ("/status/updatedReplicas", json!(0), "0 of 1 pod is of this version"),
            ("/status/readyReplicas", json!(2), "2 of 3 pods are ready"),
            ("/spec/updateStrategy/rollingUpdate/partition", json!(1), "1 of 2 pods are of this version"),
            ("/spec/updateStrategy/rollingUpdate/partition", json!(7), ""),
        ],
    );
    // None is replaced by a controller: those that are there are to run.
    let mut by_hand = with(&parted, "/spec/updateStrategy", json!({ "type": "OnDelete" }));
    by_hand["status"]["updatedReplicas"] = json!(0);
    table(
        &by_hand,
        &[
            ("/status/readyReplicas", json!(2), "2 of 3 pods are ready"),
            ("/status/replicas", Value::Null, "3 of 3 pods are ready"),
            ("/status/replicas", json!(4), "1 pod is too many"),
            ("/status/observedGeneration", Value::Null, "has not seen it yet"),
        ],
    );
}

#[test]
fn a_pod_that_a_stateful_set_waits_for_before_it_goes_back_is_named_to_who_can_delete_it() {
    let set = json!({ "kind": "StatefulSet", "spec": {}, "status": { "updateRevision": "web-1" } });
    let pod = |version: &str, ready: &str| {
        let labels = json!({ "controller-revision-hash": version });
        json!({ "metadata": { "labels": labels }, "status": { "conditions": told("Ready", ready, "") } })
    };
    assert!(waited_for(&set, &pod("web-2", "False")).is_some_and(|why| why.ends_with("delete it")));
    assert_eq!([waited_for(&set, &pod("web-2", "True")), waited_for(&set, &pod("web-1", "False"))], [None, None]);
    for (key, value) in [("podManagementPolicy", json!("Parallel")), ("updateStrategy", json!({ "type": "OnDelete" }))]
    {
        let mut other = set.clone();
        other["spec"][key] = value;
        assert_eq!(waited_for(&other, &pod("web-2", "False")), None, "{key}");
    }
    // Of other kinds nothing is known that would wait so.
    assert_eq!(waited_for(&json!({ "kind": "DaemonSet", "status": {} }), &pod("web-2", "False")), None);
}

#[test]
fn a_daemon_set() {
    let good = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "generation": 2 },
        "spec": { "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } } },
        "status": {
            "observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "updatedNumberScheduled": 3,
            "numberAvailable": 3, "numberReady": 3, "numberMisscheduled": 0,
        },
    });
    table(
        &good,
        &[
            ("/status/observedGeneration", Value::Null, "the controller of daemon sets has not seen it yet"),
            ("/status/desiredNumberScheduled", Value::Null, "the controller of daemon sets has not seen it yet"),
            ("/status/currentNumberScheduled", json!(2), "2 of 3 pods are there"),
            ("/status/updatedNumberScheduled", json!(2), "2 of 3 pods are of this version"),
            ("/status/numberAvailable", Value::Null, "0 of 3 pods are available"),
            ("/status/numberReady", json!(1), "1 of 3 pods are ready"),
            // No node is to have one.
            ("/status/desiredNumberScheduled", json!(0), ""),
        ],
    );
    let mut by_hand = with(&good, "/spec/updateStrategy", json!({ "type": "OnDelete" }));
    by_hand["status"]["updatedNumberScheduled"] = json!(0);
    table(
        &by_hand,
        &[
            ("/status/numberReady", json!(2), "2 of 3 pods are ready"),
            ("/status/numberAvailable", json!(2), "2 of 3 pods are available"),
            ("/status/observedGeneration", json!(1), "has not seen it yet"),
        ],
    );
}

#[test]
fn a_replica_set() {
    let good = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "generation": 1 }, "spec": { "replicas": 2 },
        "status": {
            "observedGeneration": 1, "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        },
    });
    table(
        &good,
        &[
            ("/status/fullyLabeledReplicas", json!(1), "1 of 2 pods are there"),
            ("/status/availableReplicas", Value::Null, "0 of 2 pods are available"),
            ("/status/readyReplicas", json!(1), "1 of 2 pods are ready"),
            ("/status/replicas", json!(3), "1 pod is too many"),
            ("/spec/replicas", Value::Null, "1 pod is too many"),
            ("/status", json!({}), "0 of 2 pods are there"),
            ("/status/conditions", told("ReplicaFailure", "True", "FailedDelete"), "FailedDelete: so it says"),
            ("/status/conditions", told("ReplicaFailure", "False", "x"), ""),
        ],
    );
}

#[test]
fn a_pod() {
    let good = json!({
        "apiVersion": "v1", "kind": "Pod",
        "status": { "phase": "Running", "conditions": told("Ready", "True", "") },
    });
    let waits = |reason: &str| {
        let state = json!({ "waiting": { "reason": reason, "message": "not found" } });
        json!({ "phase": "Running", "containerStatuses": [{ "name": "web", "state": state }] })
    };
    let unscheduled = json!({ "phase": "Pending", "conditions": told("PodScheduled", "False", "Unschedulable") });
    table(
        &good,
        &[
            ("/status", json!({}), "it is not ready"),
            ("/status/conditions", told("Ready", "False", "ContainersNotReady"), "it is not ready"),
            ("/status", json!({ "phase": "Succeeded" }), ""),
            // Here kstatus is content: nothing more becomes of it.
            ("/status", json!({ "phase": "Failed" }), "!its containers ended in errors"),
            ("/status", json!({ "phase": "Failed", "message": "evicted" }), "!evicted"),
            // And here it gives up: with the step's time over so does promo, with the reason.
            ("/status", waits("CrashLoopBackOff"), "web: CrashLoopBackOff: not found"),
            ("/status", waits("ErrImagePull"), "web: ErrImagePull: not found"),
            ("/status", unscheduled, "Unschedulable: so it says"),
            ("/status/phase", json!("Unknown"), ""),
        ],
    );
}

#[test]
fn of_a_pod_that_is_not_ready_it_is_told_which_container_runs_all_the_same_and_of_one_that_crashes_how_it_ended() {
    let of = |containers: Value| waiting(&json!({ "status": { "phase": "Running", "containerStatuses": containers } }));
    let runs = json!({ "running": { "startedAt": "2026-03-02T09:00:00Z" } });
    let (web, proxy) = (
        json!({ "name": "web", "ready": false, "state": runs }),
        json!({ "name": "proxy", "ready": true, "state": runs }),
    );
    assert_eq!(of(json!([web, proxy])).as_deref(), Some("web runs, is not ready"));
    assert_eq!(of(json!([proxy])), None);
    let ended = json!({ "terminated": { "reason": "Error", "exitCode": 137, "message": "a secret" } });
    let back_off = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } });
    let crashes = json!({ "name": "api", "ready": false, "state": back_off, "lastState": ended });
    assert_eq!(of(json!([crashes, web])).as_deref(), Some("api: CrashLoopBackOff: back-off 10s, exited with 137"));
    let down = json!({ "name": "api", "ready": false, "state": ended });
    assert_eq!(of(json!([down])).as_deref(), Some("api: Error, exited with 137"));
    let away = json!({ "metadata": { "deletionTimestamp": "2026-03-02T09:00:00Z" }, "status": { "containerStatuses": [web] } });
    assert_eq!(waiting(&away), None, "one that goes away is not to become ready");
}

#[test]
fn a_job() {
    let good = json!({
        "apiVersion": "batch/v1", "kind": "Job", "spec": {},
        "status": { "conditions": told("Complete", "True", ""), "succeeded": 1 },
    });
    table(
        &good,
        &[
            ("/status", json!({}), "0 pods have succeeded"),
            // Here kstatus is content: it has begun.
            ("/status", json!({ "startTime": "2026-03-02T09:00:00Z", "active": 1 }), "0 pods have succeeded"),
            ("/status/conditions", told("Complete", "False", ""), "1 pod has succeeded"),
            ("/status/conditions", told("Failed", "True", "BackoffLimitExceeded"), "!BackoffLimitExceeded: so it says"),
            // Nobody has said to hold it.
            ("/status/conditions", told("Suspended", "True", "JobSuspended"), "1 pod has succeeded"),
        ],
    );
    let held = with(&good, "/spec/suspend", json!(true));
    let held = with(&held, "/status/conditions", told("Suspended", "True", "JobSuspended"));
    // What is to be held and runs still is not held yet.
    table(&held, &[("/status/conditions", json!([]), "1 pod has succeeded")]);
}

#[test]
fn a_claim_a_service_and_a_definition() {
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": { "phase": "Bound" } });
    table(
        &claim,
        &[
            ("/status/phase", json!("Pending"), "it is Pending, not Bound"),
            ("/status/phase", json!("Lost"), "it is Lost, not Bound"),
            ("/status", json!({}), "it is without a phase, not Bound"),
        ],
    );
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "spec": { "type": "LoadBalancer", "clusterIP": "10.96.0.7" }, "status": {},
    });
    table(
        &service,
        &[
            ("/spec/clusterIP", Value::Null, "it has no address yet"),
            ("/spec/clusterIP", json!(""), "it has no address yet"),
            ("/spec", json!({ "type": "ClusterIP" }), ""),
            ("/spec", json!({ "type": "ExternalName", "externalName": "shop.example" }), ""),
            ("/spec", json!({}), ""),
        ],
    );
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "status": { "conditions": told("Established", "True", "InitialNamesAccepted") },
    });
    table(
        &definition,
        &[
            ("/status", json!({}), "it is not established yet"),
            ("/status/conditions", told("Established", "False", "Installing"), "it is not established yet"),
            ("/status/conditions", told("Established", "False", "NotAccepted"), "!NotAccepted: so it says"),
            ("/status/conditions", told("NamesAccepted", "False", "ListKindConflict"), "!ListKindConflict: so it says"),
            ("/status/conditions", told("NamesAccepted", "True", "NoConflicts"), "it is not established yet"),
        ],
    );
}

#[test]
fn a_budget_and_what_others_define() {
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "generation": 1 },
        "status": { "observedGeneration": 1, "disruptionsAllowed": 0, "conditions": told("DisruptionAllowed", "False", "x") },
    });
    table(&budget, &[("/metadata/generation", json!(2), "has not seen it"), ("/status", json!({}), "")]);
    let custom = json!({
        "apiVersion": "example.com/v1", "kind": "Shop", "metadata": { "generation": 1 },
        "status": { "conditions": told("Ready", "True", "") },
    });
    table(
        &custom,
        &[
            ("/status", json!({}), ""),
            ("/status/conditions", told("Ready", "False", "Waiting"), "it is not ready: Waiting: so it says"),
            ("/status/conditions", told("Ready", "Unknown", "Asking"), "it is not ready: Asking: so it says"),
            ("/status/conditions", told("Synced", "False", "Waiting"), ""),
            ("/status/conditions", told("Stalled", "False", "x"), ""),
            ("/status/conditions", json!("neither a list"), ""),
            ("/status/observedGeneration", json!("1"), ""),
        ],
    );
    // Its conditions alone say of which generation they speak.
    let mut told_of = custom.clone();
    told_of["status"]["conditions"][0]["observedGeneration"] = json!(1);
    table(&told_of, &[("/metadata/generation", json!(2), "has not seen it yet")]);
    let mut stalled = told("Stalled", "True", "x");
    stalled[0]["observedGeneration"] = json!(0);
    table(&custom, &[("/status/conditions", stalled, "")]);
    // Kinds of the same name in other groups are other kinds.
    let theirs = json!({ "apiVersion": "serving.example/v1", "kind": "Service", "status": { "conditions": told("Ready", "False", "x") } });
    assert!(matches!(of(&theirs), Status::InProgress(_)));
    for plain in ["ConfigMap", "Secret", "ServiceAccount"] {
        assert_eq!(of(&json!({ "apiVersion": "v1", "kind": plain, "data": {} })), Status::Current);
    }
}

#[test]
fn a_pod_that_is_to_be_replaced_is_told_from_one_that_comes_where_both_say_of_which_version_they_are() {
    let deployment = |message: &str| {
        let conditions =
            json!([{ "type": "Available", "message": "of \"none\"" }, { "type": "Progressing", "message": message }]);
        json!({ "kind": "Deployment", "status": { "conditions": conditions } })
    };
    let owned = |by: &str| json!({ "metadata": { "ownerReferences": [{ "kind": "ReplicaSet", "name": by }] } });
    for message in ["ReplicaSet \"web-2\" is progressing.", "ReplicaSet \"web-2\" has timed out progressing."] {
        let object = deployment(message);
        assert_eq!(
            (is_replaced(&object, &owned("web-1")), is_replaced(&object, &owned("web-2"))),
            (true, false),
            "{message}"
        );
    }
    // What nobody says is not told.
    assert!(!is_replaced(&deployment("it goes on"), &owned("web-1")));
    assert!(!is_replaced(&deployment("ReplicaSet \"web-2\" is progressing."), &json!({ "metadata": {} })));
    let of = |key: &str, value: &str| json!({ "metadata": { "labels": { key: value } } });
    let set = json!({ "kind": "StatefulSet", "status": { "updateRevision": "db-b" } });
    assert!(is_replaced(&set, &of("controller-revision-hash", "db-a")));
    assert!(!is_replaced(&set, &of("controller-revision-hash", "db-b")));
    let daemons = json!({ "kind": "DaemonSet", "metadata": { "annotations": { "deprecated.daemonset.template.generation": "3" } } });
    assert!(is_replaced(&daemons, &of("pod-template-generation", "2")));
    assert!(!is_replaced(&daemons, &of("pod-template-generation", "3")));
    assert!(!is_replaced(&json!({ "kind": "Job" }), &of("pod-template-generation", "2")));
}
