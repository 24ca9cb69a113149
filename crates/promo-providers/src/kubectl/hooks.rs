//! Jobs that run beside a deployment: before its first object is applied, or after all of them run. What lives here: which Jobs these
//! are, and under which name one is made. What must not: running them.
//!
//! A Job cannot be changed once it is made, so that each is made under a name of its own: that of the manifest and a part of the
//! digest of what it is. Whoever resumes finds the Job that was made for the same step. What has run to its good end is kept in the
//! inventory, and not in whether the Job is still there: a cluster may take finished Jobs away.

use std::fmt;

use kube::core::GroupVersionKind;
use promo_core::Digest;
use promo_sdk::{ErrorKind, ProviderError};
use serde_json::Value;

use crate::kubernetes::cluster::Place;
use crate::kubernetes::fingerprint;
use crate::kubernetes::mark;
use crate::kubernetes::object::{Id, Object};

/// Annotations under this prefix are promo's own: one that it does not know is a mistake, and not somebody else's.
const PREFIX: &str = "promo/";
const WHEN: &str = "promo/hook";
const ORDER: &str = "promo/hook-order";
const RUNS: &str = "promo/hook-runs";
const DELETE: &str = "promo/hook-delete";
/// What promo writes on a Job: for which step it was made.
const STEP: &str = "promo/step";

/// Hexadecimal digits of the digest in a name.
const DIGITS: usize = 10;
/// Characters that the name of a Job may have, since its pods carry it as a label.
const NAME: usize = 63;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before the first object is applied.
    Before,
    /// After all objects run.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// A Job that runs beside a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) when: When,
    /// Lower ones run first, and those of one number at the same time.
    pub(super) order: i32,
    /// Whether it runs in every step, also where the very same has run here before.
    always: bool,
    /// Whether it is taken away as soon as it has succeeded.
    pub(super) delete: bool,
    /// As it is declared.
    pub(super) object: Object,
}

impl Hook {
    /// The hook that an object is; nothing for any other object.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for annotations of promo's that make no sense.
    pub(super) fn of(object: &Object) -> Result<Option<Self>, ProviderError> {
        let invalid = |why: String| ProviderError::new(ErrorKind::Invalid, format!("{}: {why}", object.id));
        let annotations = object.value.pointer("/metadata/annotations").and_then(Value::as_object);
        let own: Vec<(&str, &Value)> = annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(key, _)| key.starts_with(PREFIX))
            .collect();
        if let Some((unknown, _)) = own.iter().find(|(key, _)| ![WHEN, ORDER, RUNS, DELETE].contains(key)) {
            let known = [WHEN, ORDER, RUNS, DELETE].join(", ");
            return Err(invalid(format!(
                "the annotation `{}` is unknown: expected {known}",
                crate::escape::line(unknown)
            )));
        }
        let text =
            |key: &str| own.iter().find(|(own, _)| *own == key).map(|(_, value)| value.as_str().unwrap_or_default());
        let wrong = |key: &str, found: &str, expected: &str| {
            invalid(format!("`{key}` is `{}`: expected {expected}", crate::escape::line(found)))
        };
        let Some(when) = text(WHEN) else {
            return match own.first() {
                Some((key, _)) => Err(invalid(format!("`{key}` says nothing without `{WHEN}`"))),
                None => Ok(None),
            };
        };
        let when = match when {
            "before" => When::Before,
            "after" => When::After,
            other => return Err(wrong(WHEN, other, "`before` or `after`")),
        };
        if object.id.kind != GroupVersionKind::gvk("batch", "v1", "Job") {
            return Err(invalid("only a Job of batch/v1 can be a hook".into()));
        }
        if object.value.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
            return Err(invalid("a hook that is suspended would never end".into()));
        }
        if object.id.name.len() > NAME - DIGITS - 1 {
            return Err(invalid(format!("the name of a hook has up to {} characters", NAME - DIGITS - 1)));
        }
        let order = text(ORDER).unwrap_or("0");
        let order = order.parse().map_err(|_| wrong(ORDER, order, "a whole number"))?;
        let always = match text(RUNS).unwrap_or("once") {
            "once" => false,
            "always" => true,
            other => return Err(wrong(RUNS, other, "`once` or `always`")),
        };
        let delete = match text(DELETE).unwrap_or("next") {
            "next" => false,
            "success" => true,
            other => return Err(wrong(DELETE, other, "`next` or `success`")),
        };
        Ok(Some(Self { when, order, always, delete, object: object.clone() }))
    }

    /// What tells whether it has run already: what it is, of which deployment, and the step where it runs in each.
    pub(super) fn digest(&self, place: &Place, name: &str, token: &str) -> Digest {
        let mut of = vec![self.object.value.clone(), Value::from(if self.always { token } else { "" })];
        // Without a name of its own a deployment is as it was when none had one.
        of.extend((name != mark::NAME).then(|| Value::from(name)));
        fingerprint::of(place, &Value::from(of))
    }

    /// The Job that runs it in a step of the deployment of that name.
    pub(super) fn job(&self, place: &Place, name: &str, token: &str) -> Object {
        let digest = self.digest(place, name, token).to_string();
        let digits: String = digest.trim_start_matches("sha256:").chars().take(DIGITS).collect();
        let mut job = mark::marked(&self.object, name);
        job.id.name = format!("{}-{digits}", job.id.name);
        job.value["metadata"]["name"] = Value::from(job.id.name.as_str());
        job.value["metadata"]["annotations"][STEP] = Value::from(token);
        // Whoever resumes tells by the Job whether it ran: promo takes it away, and the cluster must not.
        if let Some(spec) = job.value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("ttlSecondsAfterFinished");
        }
        job
    }
}

/// A Job by its name.
pub(super) fn id(name: &str) -> Id {
    Id { kind: GroupVersionKind::gvk("batch", "v1", "Job"), name: name.to_owned() }
}

/// Whether a Job was made for this step.
pub(super) fn is_of(live: &Value, token: &str) -> bool {
    live.pointer("/metadata/annotations").and_then(|all| all.get(STEP)).and_then(Value::as_str) == Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kind: &str, annotations: &Value) -> Result<Option<Hook>, ProviderError> {
        let version = if kind == "Job" { "batch/v1" } else { "v1" };
        let value = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "migrate", "annotations": annotations } });
        Hook::of(&Object::try_from(value).unwrap())
    }

    #[test]
    fn a_hook_says_when_it_runs_and_what_becomes_of_it() {
        assert_eq!(of("Job", &json!({ "other/hook": "before", "promo.test/x": "y" })).unwrap(), None);
        let hook = of("Job", &json!({ "promo/hook": "before" })).unwrap().unwrap();
        assert_eq!((hook.when, hook.order, hook.always, hook.delete), (When::Before, 0, false, false));
        let all = json!({ "promo/hook": "after", "promo/hook-order": "-3", "promo/hook-runs": "always", "promo/hook-delete": "success" });
        let hook = of("Job", &all).unwrap().unwrap();
        assert_eq!((hook.when, hook.order, hook.always, hook.delete), (When::After, -3, true, true));
    }

    #[test]
    fn what_is_no_hook_that_could_be_run_is_refused_by_name() {
        for (kind, annotations, why) in [
            (
                "Job",
                json!({ "promo/hook": "pre-install" }),
                "`promo/hook` is `pre-install`: expected `before` or `after`",
            ),
            ("Job", json!({ "promo/hok": "before" }), "`promo/hok` is unknown"),
            ("Job", json!({ "promo/hook-order": "1" }), "says nothing without `promo/hook`"),
            ("Job", json!({ "promo/hook": "before", "promo/hook-order": "first" }), "a whole number"),
            ("Job", json!({ "promo/hook": "before", "promo/hook-runs": "twice" }), "`once` or `always`"),
            ("Job", json!({ "promo/hook": "before", "promo/hook-delete": "failed" }), "`next` or `success`"),
            ("Pod", json!({ "promo/hook": "before" }), "only a Job"),
        ] {
            let error = of(kind, &annotations).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{error}");
        }
    }
}
