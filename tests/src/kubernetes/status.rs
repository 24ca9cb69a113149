//! What the stand-in for the kubelet says of a pod: what a kubelet with containerd says of one whose containers behave in
//! one of a few ways. Pure; what is sent lives in `kubelet.rs`.

use std::time::Duration;

use serde_json::{Value, json};

/// How the containers of a pod behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// They run and are ready; those of a Job do their work and end.
    Well,
    /// They run and are never ready.
    NotReady,
    /// They end with an error and are started again, later each time.
    Crash,
    /// Their image cannot be had.
    NoImage,
    /// No node takes the pod.
    Pending,
    /// They end with an error, and the pod with them where it is not to be started again.
    Fail,
    /// They run and are ready, those of a Job as well, which goes on and on.
    RunOn,
}

/// The annotation on a pod that says how its containers behave.
pub(super) const SWITCH: &str = "promo.test/kubelet";
/// The annotation on a pod that says the digest which all its containers run, instead of the one that was asked for.
const RUNS: &str = "promo.test/runs";
/// The annotation on a pod that says how often all its containers were started again that run well by now.
const RESTARTED: &str = "promo.test/restarted";

/// The values of the annotation, and what the name of an image has in it that behaves so.
const BEHAVIOURS: [(&str, &str, Behaviour); 6] = [
    ("notready", "never-ready", Behaviour::NotReady),
    ("crash", "crash", Behaviour::Crash),
    ("imagepull", "no-such-image", Behaviour::NoImage),
    ("pending", "never-scheduled", Behaviour::Pending),
    ("fail", "fails", Behaviour::Fail),
    ("run", "runs-on", Behaviour::RunOn),
];

/// How long the containers of a Job work.
const WORK: Duration = Duration::from_millis(300);
/// How long a crashed container stays down for the first time.
const BACK_OFF: Duration = Duration::from_secs(2);
/// After how many restarts the counter stays where it is.
const RESTARTS: u64 = 5;

/// What to say of a pod, and whether it is to be said anew after a while.
pub(super) struct Said {
    pub(super) status: Value,
    /// Whether nothing changes any more unless the pod does.
    pub(super) settled: bool,
}

impl Behaviour {
    /// That of a pod: by its annotation, else by the command `false`, which ends with an error, else by an image. An annotation with another value means [`Behaviour::Well`].
    pub(super) fn of(pod: &Value) -> Self {
        if let Some(switch) = pod["metadata"]["annotations"][SWITCH].as_str() {
            return BEHAVIOURS.iter().find(|(value, ..)| *value == switch).map_or(Self::Well, |row| row.2);
        }
        if containers(pod, "containers").any(|container| container["command"] == json!(["false"])) {
            return Self::Crash;
        }
        let images: Vec<&str> =
            containers(pod, "containers").filter_map(|container| container["image"].as_str()).collect();
        let named = BEHAVIOURS.iter().find(|(_, part, _)| images.iter().any(|image| image.contains(part)));
        named.map_or(Self::Well, |row| row.2)
    }
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    pod["spec"][list].as_array().into_iter().flatten()
}

/// Whether a pod has come to its end: nothing is said of it any more.
pub(super) fn finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// What is said of a pod that no node takes.
pub(super) fn unscheduled(pod: &Value, now: &str) -> Value {
    let message = "0/1 nodes are available: 1 node(s) did not match the pod's node affinity.";
    let mut scheduled = condition(pod, "PodScheduled", false, now);
    scheduled["reason"] = "Unschedulable".into();
    scheduled["message"] = message.into();
    json!({ "phase": "Pending", "conditions": [scheduled] })
}

/// What is said of a pod of this node that has behaved so for some time.
pub(super) fn of(pod: &Value, behaviour: Behaviour, since: Duration, ip: &str, now: &str) -> Said {
    let restart = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
    let started = pod["status"]["startTime"].as_str().unwrap_or(now);
    let ends = restart != "Always";
    let fails = matches!(behaviour, Behaviour::Fail | Behaviour::Crash);
    let (phase, settled) = match behaviour {
        Behaviour::NoImage => ("Pending", since >= BACK_OFF),
        Behaviour::Well if ends && since >= WORK => ("Succeeded", true),
        Behaviour::Well if ends => ("Running", false),
        _ if fails && restart == "Never" && since >= WORK => ("Failed", true),
        _ if fails => ("Running", restarts(since) == RESTARTS),
        _ => ("Running", true),
    };
    let ready = phase == "Running" && matches!(behaviour, Behaviour::Well | Behaviour::RunOn);
    let terminated = |code: u8, reason: &str, container: &Value| {
        let id = id(container["name"].as_str().unwrap_or_default());
        json!({ "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": started, "containerID": id })
    };
    let runs = pod["metadata"]["annotations"][RUNS].as_str();
    let image_id = |image: &str| match (image_id(image).split_once('@'), runs) {
        (Some((name, _)), Some(digest)) => format!("{name}@{digest}"),
        _ => image_id(image),
    };
    let restarted =
        pod["metadata"]["annotations"][RESTARTED].as_str().and_then(|times| times.parse().ok()).unwrap_or(0_u64);
    let one = |container: &Value| {
        let (name, image) =
            (container["name"].as_str().unwrap_or_default(), container["image"].as_str().unwrap_or_default());
        let mut status = json!({
            "name": name, "image": image, "imageID": image_id(image), "containerID": id(name), "ready": ready,
            "started": phase == "Running", "restartCount": 0, "lastState": {},
            "state": { "running": { "startedAt": started } },
        });
        if restarted > 0 {
            status["restartCount"] = restarted.into();
            status["lastState"] = json!({ "terminated": terminated(1, "Error", container) });
        }
        match (phase, behaviour) {
            (_, Behaviour::NoImage) => {
                let reason = if settled { "ImagePullBackOff" } else { "ErrImagePull" };
                let message = if settled {
                    format!("Back-off pulling image \"{image}\"")
                } else {
                    format!("rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": not found")
                };
                status["state"] = json!({ "waiting": { "reason": reason, "message": message } });
                status["imageID"] = "".into();
                status.as_object_mut().expect("it is one").remove("containerID");
            }
            ("Succeeded", _) => status["state"] = json!({ "terminated": terminated(0, "Completed", container) }),
            ("Failed", _) => status["state"] = json!({ "terminated": terminated(1, "Error", container) }),
            (_, Behaviour::Crash | Behaviour::Fail) if restart != "Never" => {
                let message = format!("back-off 10s restarting failed container={name}");
                status["state"] = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
                status["lastState"] = json!({ "terminated": terminated(1, "Error", container) });
                status["restartCount"] = restarts(since).into();
                status["started"] = false.into();
            }
            _ => {}
        }
        status
    };
    let init = |container: &Value| {
        let (name, image) =
            (container["name"].as_str().unwrap_or_default(), container["image"].as_str().unwrap_or_default());
        json!({
            "name": name, "image": image, "imageID": image_id(image), "containerID": id(name), "ready": true,
            "restartCount": 0, "lastState": {}, "state": { "terminated": terminated(0, "Completed", container) },
        })
    };
    let conditions = [("Initialized", true), ("Ready", ready), ("ContainersReady", ready), ("PodScheduled", true)];
    let mut status = json!({
        "phase": phase,
        "startTime": started,
        "hostIP": "10.0.0.1",
        "podIP": ip,
        "podIPs": [{ "ip": ip }],
        "conditions": conditions.map(|(kind, holds)| {
            let mut condition = condition(pod, kind, holds, now);
            if !holds {
                let names: Vec<_> = containers(pod, "containers").filter_map(|container| container["name"].as_str()).collect();
                condition["reason"] = if phase == "Succeeded" { "PodCompleted" } else { "ContainersNotReady" }.into();
                condition["message"] = format!("containers with unready status: [{}]", names.join(" ")).into();
            }
            condition
        }),
        "containerStatuses": containers(pod, "containers").map(one).collect::<Vec<_>>(),
    });
    let inits: Vec<_> = containers(pod, "initContainers").map(init).collect();
    if !inits.is_empty() {
        status["initContainerStatuses"] = inits.into();
    }
    Said { status, settled }
}

/// How often a container was started again that crashes for so long.
fn restarts(since: Duration) -> u64 {
    (1 + since.as_secs() / BACK_OFF.as_secs()).min(RESTARTS)
}

/// A condition, which keeps the instant of its last change while it does not change.
fn condition(pod: &Value, kind: &str, holds: bool, now: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let known = pod["status"]["conditions"].as_array().into_iter().flatten();
    let same = known.into_iter().find(|condition| condition["type"] == kind && condition["status"] == status);
    let since = same.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(now);
    json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since })
}

/// The digest of a text in hexadecimal digits.
fn digest(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(container: &str) -> String {
    format!("containerd://{}", digest(container))
}

/// What containerd says of an image: its whole name with the digest that was asked for. A tag points at a digest that is made
/// up, and is the same for the same tag.
pub(super) fn image_id(image: &str) -> String {
    let (name, asked) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/'));
    let repository = &name[..tag.unwrap_or(name.len())];
    let first = repository.split('/').next().unwrap_or_default();
    let hosted = repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let prefix = match (hosted, repository.contains('/')) {
        (true, _) => "",
        (false, true) => "docker.io/",
        (false, false) => "docker.io/library/",
    };
    let digest = asked.map_or_else(|| format!("sha256:{}", digest(name)), str::to_owned);
    format!("{prefix}{repository}@{digest}")
}

/// Whether a pod is said to be as it is: everything in `said` stands in `status`.
pub(super) fn says(status: &Value, said: &Value) -> bool {
    match (status, said) {
        (Value::Object(status), Value::Object(said)) => {
            said.iter().all(|(key, value)| says(status.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(status), Value::Array(said)) => {
            status.len() == said.len() && status.iter().zip(said).all(|(status, said)| says(status, said))
        }
        (Value::Null, Value::Object(said)) => said.is_empty(),
        // The server leaves out what is empty.
        (Value::Null, Value::String(said)) => said.is_empty(),
        _ => status == said,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Behaviour, Said, image_id, of, says};

    fn pod(restart: &str, image: &str) -> Value {
        json!({ "metadata": {}, "spec": { "restartPolicy": restart, "containers": [{ "name": "app", "image": image }] } })
    }

    fn after(pod: &Value, seconds: u64) -> Said {
        of(pod, Behaviour::of(pod), Duration::from_secs(seconds), "10.1.0.1", "2026-01-01T00:00:00Z")
    }

    #[test]
    fn the_annotation_wins_over_the_image_and_an_unknown_one_heals() {
        let mut pod = pod("Always", "registry.test/never-ready:1");
        assert_eq!(Behaviour::of(&pod), Behaviour::NotReady);
        pod["metadata"]["annotations"] = json!({ "promo.test/kubelet": "crash" });
        assert_eq!(Behaviour::of(&pod), Behaviour::Crash);
        pod["metadata"]["annotations"] = json!({ "promo.test/kubelet": "well" });
        assert_eq!(Behaviour::of(&pod), Behaviour::Well);
    }

    #[test]
    fn the_pod_of_a_job_runs_and_then_has_succeeded_or_failed() {
        let phases =
            |restart: &str, image: &str| [0, 1].map(|at| after(&pod(restart, image), at).status["phase"].clone());
        assert_eq!(phases("Never", "app"), ["Running", "Succeeded"]);
        assert_eq!(phases("Never", "fails"), ["Running", "Failed"]);
        assert_eq!(phases("OnFailure", "fails"), ["Running", "Running"]);
        assert_eq!(phases("Never", "runs-on"), ["Running", "Running"]);
    }

    #[test]
    fn restarts_are_counted_up_to_the_last() {
        let restarts =
            |seconds| after(&pod("Always", "crash"), seconds).status["containerStatuses"][0]["restartCount"].clone();
        assert_eq!([0, 3, 99].map(restarts), [1, 2, 5]);
        assert!(!after(&pod("Always", "crash"), 3).settled && after(&pod("Always", "crash"), 99).settled);
    }

    #[test]
    fn an_image_is_told_by_its_whole_name_and_its_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            image_id(&format!("127.0.0.1:5000/team/app:1@{digest}")),
            format!("127.0.0.1:5000/team/app@{digest}")
        );
        assert!(image_id("nginx:1.27").starts_with("docker.io/library/nginx@sha256:"));
        assert!(image_id("team/app").starts_with("docker.io/team/app@sha256:"));
        assert_eq!(image_id("app:1"), image_id("app:1"));
        assert_ne!(image_id("app:1"), image_id("app:2"));
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut pod = pod("Always", "app");
        let said = after(&pod, 0).status;
        assert!(!says(&pod["status"], &said));
        pod["status"] = said.clone();
        assert!(says(&pod["status"], &said));
    }
}
