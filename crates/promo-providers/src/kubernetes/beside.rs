//! Containers that stand in a template of pods beside the declared ones, and in no file: a server merges lists of them by name, so
//! that no deployment takes them away. What must not live here: who put them there.

use promo_core::inputs::FileChange;
use serde_json::{Map, Value, json};

use super::object::{Id, Object};

/// The lists of containers of a template.
const LISTS: [&str; 2] = ["containers", "initContainers"];
/// Under what name a plan shows what stays.
const STAYS: &str = "stays beside what is declared";

/// A container that no file declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Beside {
    id: Id,
    /// The way to its list.
    list: Vec<String>,
    name: String,
    /// What it runs.
    pub(crate) image: String,
}

/// The containers of an object that its manifest does not declare. What is no template is left out: a webhook of the cluster puts
/// containers into pods all day.
pub(crate) fn of(object: &Object, there: &Value) -> Vec<Beside> {
    let mut out = Vec::new();
    if object.id.kind.kind != "Pod" {
        walk(&object.id, &mut Vec::new(), &object.value, there, &mut out);
    }
    out
}

fn walk(id: &Id, way: &mut Vec<String>, declared: &Value, there: &Value, out: &mut Vec<Beside>) {
    let (Value::Object(declared), Value::Object(there)) = (declared, there) else { return };
    if declared.get(LISTS[0]).is_some_and(Value::is_array) {
        for list in LISTS {
            let names = |of: &Map<String, Value>| of.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
            let (declared, there) = (names(declared), names(there));
            for one in there.iter().filter(|one| !declared.iter().any(|known| known.get("name") == one.get("name"))) {
                let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                let list = way.iter().cloned().chain([list.to_owned()]).collect();
                out.push(Beside { id: id.clone(), list, name: text("name"), image: text("image") });
            }
        }
    }
    for (key, declared) in declared {
        let Some(there) = there.get(key) else { continue };
        way.push(key.clone());
        walk(id, way, declared, there, out);
        way.pop();
    }
}

/// Draws these, as far as they are of this object, into the part of it that its manifest declares.
pub(crate) fn drawn(id: &Id, mut value: Value, all: &[Beside]) -> Value {
    for one in all.iter().filter(|one| one.id.same(id)) {
        let (last, way) = one.list.split_last().expect("invariant: a list has a name");
        let at = way.iter().try_fold(&mut value, |value, key| value.get_mut(key)).and_then(Value::as_object_mut);
        let list = at.map(|at| at.entry(last.clone()).or_insert(Value::Null));
        let Some(list) = list else { continue };
        // What is declared and not there has no place among what is.
        let mut items = list.as_array().cloned().unwrap_or_default();
        items.retain(|item| !item.is_null());
        items.push(json!({ "name": one.name, "image": one.image }));
        *list = Value::Array(items);
    }
    value
}

/// How a plan says that these stay; nothing where there are none.
pub(crate) fn told(all: &[Beside]) -> Option<FileChange> {
    let line = |one: &Beside| {
        let kind = if one.list.last().is_some_and(|list| list == LISTS[1]) { "init container" } else { "container" };
        let (name, image) = (crate::escape::line(&one.name), crate::escape::line(&one.image));
        format!("{}: keeps {kind} {name} ({image}), which no file declares\n", one.id)
    };
    let mut text: String = all.iter().map(line).collect();
    text.push_str(
        "declare what is to stay; `promo drift` names the command that takes away the rest, once this is applied\n",
    );
    (!all.is_empty()).then(|| FileChange { path: STAYS.into(), before: Some(text.clone()), after: Some(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, containers: &Value) -> Object {
        let pod = json!({ "containers": containers });
        let spec = if kind == "Pod" { pod } else { json!({ "template": { "spec": pod } }) };
        let version = if kind == "Pod" { "v1" } else { "apps/v1" };
        let value = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "api" }, "spec": spec });
        Object::try_from(value).unwrap()
    }

    #[test]
    fn a_container_that_no_file_declares_stands_beside_what_does_and_in_nobodys_place() {
        let declared = object("Deployment", &json!([{ "name": "api", "image": "shop/api:1" }]));
        let mut live = object("Deployment", &json!([{ "name": "nginx", "image": "nginx:1", "tty": true }])).value;
        live["spec"]["template"]["spec"]["initContainers"] = json!([{ "name": "wait", "image": "busy:1" }]);
        let all = of(&declared, &live);
        assert_eq!(all.iter().map(|one| one.image.as_str()).collect::<Vec<_>>(), ["nginx:1", "busy:1"]);
        let before = super::super::projection::object(&declared.value, &live);
        let spec = &drawn(&declared.id, before, &all)["spec"]["template"]["spec"];
        assert_eq!(spec["containers"], json!([{ "name": "nginx", "image": "nginx:1" }]), "{spec}");
        assert_eq!(spec["initContainers"], json!([{ "name": "wait", "image": "busy:1" }]), "{spec}");
        let text = told(&all).unwrap().after.unwrap();
        assert!(text.contains("Deployment/api: keeps container nginx (nginx:1), which no file declares\n"), "{text}");
        assert!(text.contains("keeps init container wait (busy:1)"), "{text}");
        assert_eq!((of(&declared, &declared.value), told(&[])), (Vec::new(), None));
    }

    #[test]
    fn what_a_webhook_puts_into_a_pod_is_nobodys_to_declare() {
        let declared = object("Pod", &json!([{ "name": "api", "image": "shop/api:1" }]));
        let live = object("Pod", &json!([{ "name": "mesh", "image": "mesh:1" }])).value;
        assert_eq!(of(&declared, &live), Vec::new());
    }
}
