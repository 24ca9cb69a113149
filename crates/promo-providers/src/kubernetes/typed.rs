//! The commands of kubectl that a person types where promo does nothing by itself. What must not live here: running them, and
//! when they are told.

use std::collections::BTreeMap;

use promo_core::model::Target;
use promo_core::print::is_unsafe;
use promo_sdk::{Context, ProviderError};
use serde_json::{Value, json};

use super::fields::{At, Path};
use super::object::Id;
use super::settings::Settings;

/// kubectl for the namespace of a target, as promo reaches it.
///
/// # Errors
/// Where nothing says where its cluster is.
pub(crate) fn kubectl(cx: &Context, target: &Target) -> Result<String, ProviderError> {
    let text = |key: &str| target.0.get(key).map(String::as_str).unwrap_or_default();
    let settings = Settings::of_user(cx)?;
    let cluster = settings.named(text("cluster"))?;
    Ok(format!(
        "kubectl --kubeconfig {} --context {} --namespace {}",
        word(&cluster.kubeconfig.display().to_string()),
        word(&cluster.context),
        word(text("namespace"))
    ))
}

/// The commands that take fields away which somebody added to a live object, or nothing of what cannot be typed.
pub(crate) fn away(kubectl: &str, id: &Id, live: &Value, added: &[Path]) -> Vec<String> {
    let object = word(&named(id));
    let mut by_verb: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rest = Vec::new();
    for path in added {
        let (verb, keys) = if let Some(key) = path.key_of(&["metadata", "annotations"]) {
            (format!("annotate {object}"), vec![key])
        } else if let Some(key) = path.key_of(&["metadata", "labels"]) {
            (format!("label {object}"), vec![key])
        } else if let Some((container, variables)) = path.variables(live) {
            (format!("set env {object} --containers={}", word(container)), variables)
        } else {
            rest.push(path);
            continue;
        };
        by_verb.entry(verb).or_default().extend(keys.into_iter().map(|key| word(&format!("{key}-"))));
    }
    let mut all: Vec<String> =
        by_verb.into_iter().map(|(verb, keys)| format!("{kubectl} {verb} {}", keys.join(" "))).collect();
    // A variable that goes takes no place from the others: kubectl finds them by name.
    all.extend(
        patch(live, &rest).map(|patch| format!("{kubectl} patch {object} --type=json --patch={}", word(&patch))),
    );
    all.retain(|command| !command.chars().any(is_unsafe));
    all
}

/// The command that deletes an object.
pub(crate) fn delete(kubectl: &str, id: &Id) -> String {
    format!("{kubectl} delete {}", word(&named(id)))
}

/// One patch that removes them, and nothing where an element of a list is not the one that was seen any more.
fn patch(live: &Value, paths: &[&Path]) -> Option<String> {
    let (mut ways, mut tests) = (Vec::new(), Vec::new());
    for (way, known) in paths.iter().filter_map(|path| path.places(live)) {
        ways.push(way);
        tests.extend(known);
    }
    // From the end of a list on, so that none moves before it is its turn.
    ways.sort();
    ways.reverse();
    tests.dedup();
    let tests = tests.iter().map(|(way, value)| json!({ "op": "test", "path": pointer(way), "value": value }));
    let removed = ways.iter().map(|way| json!({ "op": "remove", "path": pointer(way) }));
    (!ways.is_empty()).then(|| Value::from_iter(tests.chain(removed)).to_string())
}

/// <https://www.rfc-editor.org/rfc/rfc6901>
fn pointer(way: &[At]) -> String {
    let one = |at: &At| match at {
        At::Name(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        At::Place(place) => format!("/{place}"),
    };
    way.iter().map(one).collect()
}

/// An object as kubectl takes it: `deployment.apps/api`.
fn named(id: &Id) -> String {
    let group = if id.kind.group.is_empty() { String::new() } else { format!(".{}", id.kind.group) };
    format!("{}{group}/{}", id.kind.kind.to_lowercase(), id.name)
}

/// A word for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fields::{owners, undeclared};
    use crate::kubernetes::object::Object;

    #[test]
    fn what_was_added_is_taken_away_by_name_and_an_element_of_a_list_only_where_it_is_the_one() {
        let declared = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "template": { "spec": { "containers": [{ "name": "web", "env": [{ "name": "A", "value": "1" }] }] } } },
        });
        let mut live = declared.clone();
        live["metadata"]["annotations"] = json!({ "example.com/on-call": "it's dana" });
        let pods = &mut live["spec"]["template"]["spec"];
        pods["containers"][0]["env"] = json!([{ "name": "A", "value": "1" }, { "name": "FOO", "value": "bar" }]);
        pods["containers"] = json!([pods["containers"][0], { "name": "x" }, { "name": "y" }]);
        live["metadata"]["managedFields"] = json!([{ "manager": "kubectl-edit", "operation": "Update", "fieldsV1": {
            "f:metadata": { "f:annotations": { ".": {}, "f:example.com/on-call": {} } },
            "f:spec": { "f:template": { "f:spec": { "f:containers": {
                "k:{\"name\":\"web\"}": { "f:env": { "k:{\"name\":\"FOO\"}": { ".": {}, "f:name": {}, "f:value": {} } } },
                "k:{\"name\":\"x\"}": { ".": {}, "f:name": {} }, "k:{\"name\":\"y\"}": { ".": {}, "f:name": {} },
            } } } },
        } }]);
        let (_, tree) = owners(&live).remove(0);
        let added: Vec<Path> = undeclared(tree, &declared, &live).into_iter().map(|(path, _)| path).collect();
        let id = Object::try_from(declared).unwrap().id;
        let patch = "[{\"op\":\"test\",\"path\":\"/spec/template/spec/containers/1/name\",\"value\":\"x\"},\
                     {\"op\":\"test\",\"path\":\"/spec/template/spec/containers/2/name\",\"value\":\"y\"},\
                     {\"op\":\"remove\",\"path\":\"/spec/template/spec/containers/2\"},\
                     {\"op\":\"remove\",\"path\":\"/spec/template/spec/containers/1\"}]";
        assert_eq!(
            away("kubectl -n dev", &id, &live, &added),
            [
                "kubectl -n dev annotate deployment.apps/web example.com/on-call-".to_owned(),
                "kubectl -n dev set env deployment.apps/web --containers=web FOO-".to_owned(),
                format!("kubectl -n dev patch deployment.apps/web --type=json --patch='{patch}'"),
            ]
        );
        assert_eq!(word("it's"), "'it'\\''s'");
    }
}
