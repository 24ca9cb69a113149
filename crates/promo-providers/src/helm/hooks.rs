//! Hooks of a chart, which helm makes as they are, without a word on them of whose they are: looked at before anything is written.
//! What must not live here: when and how they run, which is helm's own.

use promo_sdk::{ErrorKind, ProviderError};
use serde_json::Value;

use super::release::{self, Release};
use super::render::Rendered;
use super::tool::Tool;
use crate::kubernetes::cluster::Place;
use crate::kubernetes::fingerprint;
use crate::kubernetes::object::{self, Id, Object};
use crate::kubernetes::tried::of_release;

/// When a hook runs that promo's helm ever runs: <https://helm.sh/docs/topics/charts_hooks/>.
const INSTALLING: [&str; 2] = ["pre-install", "post-install"];
const UPGRADING: [&str; 2] = ["pre-upgrade", "post-upgrade"];

const EVENTS: &str = "/metadata/annotations/helm.sh~1hook";
const DELETED: &str = "/metadata/annotations/helm.sh~1hook-delete-policy";

/// The first generation of helm that applies a hook which is there, as it applies everything.
const APPLIES_SINCE: u32 = 4;

/// Hooks in an order that does not depend on how helm lists them.
pub(super) fn in_order(hooks: &[Object]) -> Vec<&Object> {
    let mut all: Vec<&Object> = hooks.iter().collect();
    all.sort_by_cached_key(|hook| (hook.id.clone(), fingerprint::spelt(&hook.value)));
    all
}

/// The words of an annotation, as helm reads them.
fn words(object: &Value, annotation: &str) -> Vec<String> {
    let text = object.pointer(annotation).and_then(Value::as_str).unwrap_or_default();
    text.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}

fn runs(hook: &Object, events: &[&str]) -> bool {
    words(&hook.value, EVENTS).iter().any(|word| events.contains(&word.as_str()))
}

/// Whether what is left of a hook goes before it is made anew. It does where nothing is said of it; a policy that is there and empty is
/// one, by which nothing goes.
fn goes_before(hook: &Object) -> bool {
    let said = hook.value.pointer(DELETED).is_some_and(|said| !said.is_null());
    !said || words(&hook.value, DELETED).iter().any(|policy| policy == "before-hook-creation")
}

/// Refuses hooks that would touch what is not the release's, or that the server would not take. Those that only tests, rollbacks of
/// helm's own and uninstalling run, none of which promo does, are whoever's who does that.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what no hook may be, [`ErrorKind::Conflict`] for one in whose place something else is.
pub(super) async fn guard(
    place: &Place,
    name: &str,
    rendered: &Rendered,
    latest: Option<&Release>,
    tool: &Tool,
) -> Result<(), ProviderError> {
    let invalid = |message: String| Err(ProviderError::new(ErrorKind::Invalid, message));
    let now = if latest.is_some() { UPGRADING } else { INSTALLING };
    for hook in rendered.hooks.iter().filter(|hook| runs(hook, &INSTALLING) || runs(hook, &UPGRADING)) {
        let id = &hook.id;
        if !is_namespaced(place, id, &rendered.definitions).await? {
            let why = "a target is a namespace, and nothing beside it is changed";
            return invalid(format!("{id} is a hook of the chart and belongs to the whole cluster: {why}"));
        }
        if rendered.objects.iter().any(|object| object.id.same(id)) {
            let why = "helm would delete the one to make the other";
            return invalid(format!("{id} is both an object and a hook of the chart: {why}"));
        }
        if !runs(hook, &now) {
            continue;
        }
        match place.live(id).await? {
            None if comes_with(place, hook, rendered).await? => {}
            None => tried(place, hook, false, rendered).await?,
            Some(live) if !is_ours(place, name, id, &live).await? => {
                let (what, why) = match goes_before(hook) {
                    true => {
                        ("delete it first", "take it away yourself where nobody needs it, or name the hook otherwise")
                    }
                    false => ("take it for the hook's own", "name the hook otherwise"),
                };
                let message = format!(
                    "{id} is there already, and no revision of release {name} has it as a hook: helm would {what}; {why}"
                );
                return Err(ProviderError::new(ErrorKind::Conflict, message));
            }
            Some(_) if goes_before(hook) => tried(place, hook, true, rendered).await?,
            Some(_) if tool.major >= APPLIES_SINCE => {
                place.apply("helm", hook, true, true).await?;
            }
            Some(_) => {
                let message = format!(
                    "{id} is left of an earlier hook, and its `helm.sh/hook-delete-policy` does not take it away before it is made anew: helm \
                     {} would fail on it; take it away, or add `before-hook-creation` to the policy",
                    tool.version
                );
                return Err(ProviderError::new(ErrorKind::Conflict, message));
            }
        }
    }
    Ok(())
}

/// What a hook has left.
pub(super) struct Left {
    /// What is still there.
    pub(super) id: Id,
    /// The revision whose hook made it.
    revision: u64,
}

impl Left {
    /// What it is, for a person.
    pub(super) fn told(&self) -> String {
        format!("{} (left of a hook of revision {})", self.id, self.revision)
    }
}

/// What hooks of the last revisions that did not succeed have left, and the newest revision has not itself: helm takes a hook away only where one of
/// that name comes again. It is told and not deleted: a hook that still runs may be what somebody looks at.
///
/// # Errors
/// When the revisions cannot be read.
pub(super) async fn left(place: &Place, name: &str, latest: &Release) -> Result<Vec<Left>, ProviderError> {
    let mut known: Vec<Id> = latest.hooks()?.into_iter().chain(latest.objects()?).map(|object| object.id).collect();
    let mut all = Vec::new();
    for before in release::before(place, name, latest.revision).await? {
        for hook in before.unfinished_hooks()? {
            if known.iter().any(|known| known.same(&hook.id)) {
                continue;
            }
            known.push(hook.id.clone());
            // It stands beside the release, which can be told of without it: whoever may not look, or finds no such kind any more, is
            // told of the release.
            let Ok(Some(live)) = place.live(&hook.id).await else { continue };
            // helm writes nothing on a hook; what the chart writes on it is there.
            if live.pointer(EVENTS).is_some() && live.pointer("/metadata/deletionTimestamp").is_none() {
                all.push(Left { id: hook.id, revision: before.revision });
            }
        }
    }
    Ok(all)
}

/// Whether a kind lives in namespaces, as the server says, or the definition that comes with the chart.
async fn is_namespaced(place: &Place, id: &Id, definitions: &[Object]) -> Result<bool, ProviderError> {
    match place.kind(id).await {
        Ok(kind) => Ok(kind.namespaced),
        Err(error) => match definitions.iter().find(|definition| object::defines(definition, id)) {
            Some(definition) => {
                Ok(definition.value.pointer("/spec/scope").and_then(Value::as_str) == Some("Namespaced"))
            }
            None => Err(error),
        },
    }
}

/// Whether what is there was made by a hook of this release, or is an object of it that becomes one.
async fn is_ours(place: &Place, name: &str, id: &Id, live: &Value) -> Result<bool, ProviderError> {
    if of_release(place, name, live) {
        return Ok(true);
    }
    // helm writes nothing on a hook; what the chart writes on it is there.
    Ok(live.pointer(EVENTS).is_some() && release::had_hook(place, name, id).await?)
}

/// Whether the server could not try a hook before another object of the chart is there: a pod names the account that it runs as.
async fn comes_with(place: &Place, hook: &Object, rendered: &Rendered) -> Result<bool, ProviderError> {
    if hook.id.kind.kind != "Pod" {
        return Ok(false);
    }
    let account = hook.value.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default();
    let is_it = |object: &&Object| object.id.kind.kind == "ServiceAccount" && object.id.name == account;
    match rendered.objects.iter().chain(&rendered.hooks).find(is_it) {
        Some(object) => Ok(place.live(&object.id).await?.is_none()),
        None => Ok(false),
    }
}

/// Lets the server try to make a hook.
async fn tried(place: &Place, hook: &Object, renamed: bool, rendered: &Rendered) -> Result<(), ProviderError> {
    match place.try_new("helm", hook, renamed).await {
        Err(error) if object::waits(hook, &error, rendered.definitions.iter().chain(rendered.all())) => Ok(()),
        // What is there counts in its quota until it goes.
        Err(error) if renamed && error.message.contains("exceeded quota") => Ok(()),
        tried => tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hook(annotations: Value) -> Object {
        let value =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "annotations": annotations } });
        Object::try_from(value).unwrap()
    }

    #[test]
    fn the_words_of_a_hook_are_read_as_helm_reads_them() {
        let both = hook(json!({ "helm.sh/hook": "Test, pre-upgrade" }));
        assert!(runs(&both, &UPGRADING) && !runs(&both, &INSTALLING));
        assert!(!runs(&hook(json!({ "helm.sh/hook": "test,post-delete" })), &UPGRADING));
        assert!(goes_before(&both));
        for (policy, goes) in
            [("hook-succeeded", false), ("hook-failed, Before-hook-creation", true), ("", false), (" ,", false)]
        {
            let annotations = json!({ "helm.sh/hook": "test", "helm.sh/hook-delete-policy": policy });
            assert_eq!(goes_before(&hook(annotations)), goes, "{policy}");
        }
    }
}
