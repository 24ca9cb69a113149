//! Which workloads of a namespace a check is about: those that are named, those with labels, or those that a deployment
//! of promo's declared there. What must not live here: what is asked of them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kube::api::ListParams;
use kube::core::GroupVersionKind;
use promo_core::kinds::{KeySchema, ValueKind};
use promo_sdk::{CheckResult, Context, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;

use super::cluster::{Clusters, Place};
use super::error::{told, unseen};
use super::inventory;
use super::mark;
use super::object::Id;
use crate::settings::key;

/// Kinds that run pods, and stay.
const WORKLOADS: [&str; 3] = ["Deployment", "StatefulSet", "DaemonSet"];

/// The settings that say so, beside others of a check; at most one of them is given.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Selection {
    /// `KIND/NAME`, or `GROUP/VERSION/KIND/NAME`.
    #[serde(default)]
    objects: Vec<String>,
    /// A label selector.
    selector: Option<String>,
    /// The name under which `deploy.kubectl` keeps what it declares.
    name: Option<String>,
}

/// Their keys.
pub(crate) fn keys() -> [KeySchema; 3] {
    [
        key("objects", ValueKind::Texts, "Which workloads, as `Deployment/web` or `argoproj.io/v1alpha1/Rollout/web`"),
        key("selector", ValueKind::Text, "Deployments, StatefulSets and DaemonSets with these labels, as `app=web`"),
        key("name", ValueKind::Text, "The `name` of the `deploy.kubectl` whose workloads it is about; `promo`"),
    ]
}

impl Selection {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub(crate) fn check(&self) -> Result<(), ProviderError> {
        let given = [!self.objects.is_empty(), self.selector.is_some(), self.name.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(invalid("`objects`, `selector` and `name` each say which workloads: give one".into()));
        }
        self.objects.iter().try_for_each(|text| parse(text).map(drop))
    }

    /// The workloads, at least one of them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none: nothing that holds for all of no workloads is a pass (S1.4).
    pub(crate) async fn find(&self, place: &Place) -> Result<Vec<Id>, ProviderError> {
        self.check()?;
        if !self.objects.is_empty() {
            return self.objects.iter().map(|text| parse(text)).collect();
        }
        let (mut found, what) = match &self.selector {
            Some(selector) => (labelled(place, selector).await?, format!("no workload has the labels {selector}")),
            None => {
                let name = self.name.as_deref().unwrap_or(mark::NAME);
                // Of `deploy.kubectl`, else of the release of `deploy.helm` that is called so.
                let declared = match inventory::read(place, name).await? {
                    None => inventory::read(place, &format!("helm.{name}")).await?,
                    found => found,
                };
                let declared = declared
                    .map(|kept| kept.inventory.entries.into_iter().map(|entry| entry.object.id).collect::<Vec<_>>());
                let what = match declared {
                    None => {
                        format!("nothing was deployed under the name {name}: give `objects` or `selector`")
                    }
                    Some(_) => format!("what is deployed under the name {name} has no workloads"),
                };
                let runs = |id: &Id| id.kind.group == "apps" && WORKLOADS.contains(&id.kind.kind.as_str());
                (declared.unwrap_or_default().into_iter().filter(runs).collect(), what)
            }
        };
        if found.is_empty() {
            return Err(ProviderError::new(ErrorKind::NotFound, format!("namespace {}: {what}", place.namespace)));
        }
        found.sort();
        Ok(found)
    }
}

async fn labelled(place: &Place, selector: &str) -> Result<Vec<Id>, ProviderError> {
    let mut found = Vec::new();
    for kind in WORKLOADS {
        let kind = GroupVersionKind::gvk("apps", "v1", kind);
        let id = |name: String| Id { kind: kind.clone(), name };
        let known = place.kind(&id(String::new())).await?;
        let doing = format!("looking for {} with {selector}", known.resource.plural);
        let listed = place.api(&known).list(&ListParams::default().labels(selector)).await;
        let listed = listed.map_err(|error| told(&doing, &error))?;
        found.extend(listed.items.into_iter().filter_map(|item| item.metadata.name).map(id));
    }
    Ok(found)
}

/// `KIND/NAME` of a kind that everybody knows, or `VERSION/KIND/NAME`, or `GROUP/VERSION/KIND/NAME`.
fn parse(text: &str) -> Result<Id, ProviderError> {
    let parts: Vec<&str> = text.split('/').collect();
    let (group, version, kind, name) = match parts[..] {
        [kind @ ("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"), name] => ("apps", "v1", kind, name),
        [kind @ "Job", name] => ("batch", "v1", kind, name),
        [kind @ ("Pod" | "Service" | "PersistentVolumeClaim"), name] => ("", "v1", kind, name),
        [version, kind, name] => ("", version, kind, name),
        [group, version, kind, name] => (group, version, kind, name),
        _ => ("", "", "", ""),
    };
    if [version, kind, name].iter().any(|part| part.is_empty()) {
        let text = crate::escape::line(text);
        let message = format!("`{text}` names no object: expected `Deployment/NAME`, or `GROUP/VERSION/KIND/NAME`");
        return Err(invalid(message));
    }
    Ok(Id { kind: GroupVersionKind::gvk(group, version, kind), name: name.to_owned() })
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

/// What a check asks about the place that it looks at.
#[async_trait]
pub(crate) trait Question: Sync {
    /// Asks it.
    async fn ask(&self, cx: &Context, place: &Place) -> Result<CheckResult, ProviderError>;
}

impl Clusters {
    /// Asks something about the place of a check, once more with new credentials where those that it began with are refused.
    /// Whoever may not look has seen nothing go wrong: that is no verdict. That what it asks about is not there is one.
    ///
    /// # Errors
    /// Those of the question.
    pub(crate) async fn asked(
        &self,
        cx: &Context,
        inputs: &Inputs,
        question: &dyn Question,
    ) -> Result<CheckResult, ProviderError> {
        self.looked(|| self.asked_once(cx, inputs, question)).await
    }

    /// Looks at a cluster, once more with new credentials where those that it began with are refused: a wait can outlive them.
    ///
    /// # Errors
    /// Those of `look`; where it may not look, [`ErrorKind::Transient`], as [`unseen`] has it.
    pub(crate) async fn looked<T, F>(&self, look: impl Fn() -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let mut answer = look().await;
        if matches!(&answer, Err(error) if error.kind == ErrorKind::Denied) {
            self.forget();
            answer = look().await;
        }
        answer.map_err(unseen)
    }

    /// Ends with the run, also in the middle of a request.
    async fn asked_once(
        &self,
        cx: &Context,
        inputs: &Inputs,
        question: &dyn Question,
    ) -> Result<CheckResult, ProviderError> {
        let work = async {
            let place = self.place(cx, &inputs.target).await?;
            match question.ask(cx, &place).await {
                // The place was looked at: that something is not there is what was found, and no pass (S1.3).
                Err(error) if error.kind == ErrorKind::NotFound => {
                    let detail = crate::escape::line(&error.message);
                    Ok(CheckResult { passed: false, detail, evidence: BTreeMap::new() })
                }
                answer => answer,
            }
        };
        tokio::select! {
            biased;
            () = cx.cancelled.cancelled() => Err(ProviderError::new(ErrorKind::Cancelled, "the check was stopped")),
            answer = work => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_its_kind_and_others_with_group_and_version() {
        let shown = |text: &str| parse(text).map(|id| format!("{} {id}", id.kind.api_version())).ok();
        assert_eq!(shown("Deployment/web").as_deref(), Some("apps/v1 Deployment/web"));
        assert_eq!(shown("v1/ConfigMap/a").as_deref(), Some("v1 ConfigMap/a"));
        assert_eq!(shown("argoproj.io/v1alpha1/Rollout/web").as_deref(), Some("argoproj.io/v1alpha1 Rollout/web"));
        for text in ["web", "deployment/web", "Deployment/", "a/b/c/d/e", "//web"] {
            assert_eq!(shown(text), None, "{text}");
        }
        let two = Selection { selector: Some("a=b".into()), name: Some("web".into()), ..Selection::default() };
        assert!(two.check().is_err());
    }

    #[test]
    fn it_stands_beside_other_settings_and_lets_none_pass_that_is_nobody_s() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Check {
            #[serde(flatten)]
            selection: Selection,
            timeout: u64,
        }
        let read = |settings: serde_json::Value| serde_json::from_value::<Check>(settings);
        let check = read(serde_json::json!({ "name": "web", "timeout": 5 })).unwrap();
        assert_eq!((check.selection.name.as_deref(), check.timeout), (Some("web"), 5));
        let error = read(serde_json::json!({ "nam": "web", "timeout": 5 })).unwrap_err();
        assert!(error.to_string().contains("unknown field `nam`"), "{error}");
    }
}
