//! How live objects differ from what was deployed: by field, with who changed it. What must not live here: what was deployed,
//! which each provider knows.

use jiff::Timestamp;
use promo_sdk::{DriftClass, FieldDrift, ObjectDrift, ProviderError};
use serde_json::Value;

use super::cluster::Place;
use super::fields::{self, Difference, Path};
use super::images;
use super::object::{Id, Object};
use super::projection;
use super::typed;

/// Bytes of a value that are told.
const SHOWN: usize = 4 << 10;
/// What kubectl itself leaves on an object: it says nothing of what runs.
const MARKS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
    "kubernetes.io/change-cause",
];

/// How objects differ from what they are declared to be, given what is there of each. Those of which `same` says that they are
/// as they were left are asked only for what others have added. `own` is the manager that deploys, and is not told; `kubectl` is how
/// a person types it for this place. Also the fields that a manifest could declare otherwise: no secret, and
/// no image, which is the release's.
pub(crate) async fn objects(
    place: &Place,
    objects: &[(Object, Option<Value>)],
    same: impl Fn(&Object, &Value) -> bool,
    own: &str,
    kubectl: &str,
) -> Result<(Vec<ObjectDrift>, Vec<(Id, Difference)>), ProviderError> {
    let (mut out, mut fields) = (Vec::new(), Vec::new());
    for (object, live) in objects {
        // Two kinds of one name differ in their group.
        let alone = objects.iter().filter(|(other, _)| other.id.to_string() == object.id.to_string()).count() == 1;
        let name = if alone { object.id.to_string() } else { format!("{} of {}", object.id, object.id.kind.group) };
        let Some(live) = live else {
            out.push(ObjectDrift::whole(name, DriftClass::Deleted));
            continue;
        };
        let recorded = if same(object, live) {
            None
        } else {
            // In the server's own spelling, where it still takes the manifest.
            Some(place.as_declared(object).await?.unwrap_or_else(|| object.value.clone()))
        };
        if let Some(recorded) = recorded.as_ref().filter(|_| !is_secret(object)) {
            let all = differences(object, recorded, live).into_iter().filter(|field| !is_image(object, &field.path));
            fields.extend(all.map(|field| (object.id.clone(), field)));
        }
        out.extend(
            one(object, recorded.as_ref(), live, own, kubectl).map(|drift| ObjectDrift { object: name, ..drift }),
        );
    }
    Ok((out, fields))
}

/// How one object differs from what was recorded of it, where that may be, and what others added to it.
fn one(object: &Object, recorded: Option<&Value>, live: &Value, own: &str, kubectl: &str) -> Option<ObjectDrift> {
    let differing = recorded.map(|recorded| differences(object, recorded, live));
    let mut told: Vec<FieldDrift> =
        differing.into_iter().flatten().map(|difference| field(object, live, difference, own)).collect();
    let (added, ways) = added(object, live, own);
    told.extend(added);
    let class = match told.iter().all(|field| field.class == DriftClass::Added) {
        true if told.is_empty() => return None,
        true => DriftClass::Added,
        false => DriftClass::Changed,
    };
    let away = typed::away(kubectl, &object.id, live, &ways);
    Some(ObjectDrift { fields: told, away, ..ObjectDrift::whole(object.id.to_string(), class) })
}

/// How a changed field is named.
pub(crate) fn named(object: &str, field: &Difference) -> String {
    format!("{object} {}", crate::escape::line(&field.path.to_string()))
}

/// What of this was changed, and is not among what files took.
pub(crate) fn undeclared(objects: &[ObjectDrift], taken: &[String]) -> Vec<String> {
    let changed = |class| matches!(class, DriftClass::Changed | DriftClass::Scaled | DriftClass::Deleted);
    let fields = objects.iter().flat_map(|object| object.fields.iter().map(move |field| (object, field)));
    let left = fields.filter(|(_, field)| changed(field.class)).filter_map(|(object, field)| {
        // Two kinds of one name are told with their group.
        let plain = object.object.split(" of ").next().unwrap_or_default();
        let name = format!("{plain} {}", field.path);
        (!taken.contains(&name)).then_some(name)
    });
    left.collect()
}

fn differences(object: &Object, recorded: &Value, live: &Value) -> Vec<Difference> {
    let declared = &object.value;
    fields::differences(&projection::object(declared, recorded), &projection::object(declared, live))
}

fn is_image(object: &Object, path: &Path) -> bool {
    path.is_image() || path.last_name().is_some_and(|name| images::is_image(&object.id, name))
}

fn is_secret(object: &Object) -> bool {
    object.id.kind.kind == "Secret" && object.id.kind.group.is_empty()
}

fn field(object: &Object, live: &Value, difference: Difference, own: &str) -> FieldDrift {
    let Difference { path, before, after } = difference;
    let class = match &after {
        None => DriftClass::Deleted,
        Some(_) if path.is(&["spec", "replicas"]) => DriftClass::Scaled,
        Some(_) if is_image(object, &path) => DriftClass::Image,
        Some(_) => DriftClass::Changed,
    };
    // Nobody owns what is gone.
    let by = after.as_ref().and_then(|_| fields::changed_by(live, &path, own));
    FieldDrift {
        class,
        recorded: before.map(|value| text(object, &path, &value)),
        live: after.map(|value| text(object, &path, &value)),
        at: by.as_ref().and_then(|by| by.at),
        by: by.map(|by| crate::escape::line(&by.manager)),
        path: crate::escape::line(&path.to_string()),
    }
}

/// How something that is kept as a whole, and is no object of the server, differs from what was recorded of it.
pub(crate) fn values(
    object: &Object,
    recorded: &Value,
    live: &Value,
    by: Option<&(String, Option<Timestamp>)>,
) -> Option<ObjectDrift> {
    let one = |difference| FieldDrift {
        by: by.map(|(by, _)| by.clone()),
        at: by.and_then(|(_, at)| *at),
        ..field(object, live, difference, "")
    };
    let fields: Vec<FieldDrift> = fields::differences(recorded, live).into_iter().map(one).collect();
    (!fields.is_empty())
        .then(|| ObjectDrift { fields, ..ObjectDrift::whole(object.id.to_string(), DriftClass::Changed) })
}

/// What people put into an object beside what it declares, and where each of it is; a container whoever put it there, since what it
/// runs is not the release.
fn added(object: &Object, live: &Value, own: &str) -> (Vec<FieldDrift>, Vec<Path>) {
    let mut out: Vec<FieldDrift> = Vec::new();
    let mut seen: Vec<Path> = Vec::new();
    let applied = live.pointer("/metadata/annotations").and_then(|annotations| annotations.get(MARKS[0]));
    let applied = applied.and_then(Value::as_str).and_then(|text| serde_json::from_str::<Value>(text).ok());
    // A webhook of the cluster puts containers into pods all day.
    let template = object.id.kind.kind != "Pod";
    for (owner, tree) in fields::owners(live).into_iter().filter(|(owner, _)| owner.manager != own) {
        for (path, value) in fields::undeclared(tree, &object.value, live) {
            let mark = MARKS.iter().any(|mark| {
                path.is(&["metadata", "annotations", mark])
                    || path.is(&["spec", "template", "metadata", "annotations", mark])
            });
            // Whoever made an object owns what the server filled in too: what they declared themselves is what they kept of it.
            let theirs = match owner.manager.as_str() {
                "kubectl-client-side-apply" => applied.as_ref().is_some_and(|applied| path.get(applied).is_some()),
                "kubectl-create" => false,
                _ => owner.by_hand(),
            };
            let container = !theirs && template && path.is_container();
            if !(theirs || container) || mark || path.begins(&["status"]) || seen.contains(&path) {
                continue;
            }
            out.push(FieldDrift {
                path: crate::escape::line(&path.to_string()),
                class: DriftClass::Added,
                recorded: None,
                live: Some(text(object, &path, &if container { in_short(&value) } else { value })),
                by: Some(crate::escape::line(&owner.manager)),
                at: owner.at,
            });
            seen.push(path);
        }
    }
    (out, seen)
}

/// A container, or a list of them, without what a server fills in.
fn in_short(value: &Value) -> Value {
    let all = value.as_array().map(|all| all.iter().map(in_short).collect());
    all.unwrap_or_else(|| serde_json::json!({ "name": value.get("name"), "image": value.get("image") }))
}

/// A value as it is told: a secret is not.
fn text(object: &Object, path: &Path, value: &Value) -> String {
    if is_secret(object) && (path.begins(&["data"]) || path.begins(&["stringData"])) {
        return "(masked)".to_owned();
    }
    let mut text = value.as_str().map_or_else(|| value.to_string(), String::from);
    if text.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(declared: Value, recorded: &Value, live: &Value) -> Option<ObjectDrift> {
        one(&Object::try_from(declared).unwrap(), Some(recorded), live, "promo", "kubectl")
    }

    #[test]
    fn a_change_is_told_by_what_it_is_and_what_controllers_do_is_none() {
        let declared = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "name": "web", "image": "a" }] } } },
        });
        let mut live = declared.clone();
        live["spec"]["progressDeadlineSeconds"] = json!(600);
        assert_eq!(told(declared.clone(), &declared, &live), None);
        live["spec"]["replicas"] = json!(5);
        live["spec"]["template"]["spec"]["containers"][0]["image"] = json!("b");
        let drift = told(declared.clone(), &declared, &live).unwrap();
        let classes: Vec<DriftClass> = drift.fields.iter().map(|field| field.class).collect();
        assert_eq!((drift.class, classes), (DriftClass::Changed, vec![DriftClass::Scaled, DriftClass::Image]));
        assert_eq!((drift.fields[0].recorded.as_deref(), drift.fields[0].live.as_deref()), (Some("2"), Some("5")));
    }

    #[test]
    fn a_container_that_no_file_declares_is_told_whoever_made_the_object() {
        let declared = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "a" }] } } },
        });
        for manager in ["kubectl-create", "terraform", "before-first-apply"] {
            let mut live = declared.clone();
            let nginx = json!({ "name": "nginx", "image": "nginx:1", "imagePullPolicy": "IfNotPresent" });
            live["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(nginx);
            live["spec"]["replicas"] = json!(1);
            let items = json!({ "k:{\"name\":\"nginx\"}": { ".": {}, "f:name": {}, "f:image": {} } });
            let pod = json!({ "f:template": { "f:spec": { "f:containers": items } }, "f:replicas": {} });
            live["metadata"]["managedFields"] =
                json!([{ "manager": manager, "operation": "Update", "fieldsV1": { "f:spec": pod } }]);
            let drift = told(declared.clone(), &declared, &live).unwrap();
            let paths: Vec<&str> = drift.fields.iter().map(|field| field.path.as_str()).collect();
            assert_eq!(
                paths,
                ["spec.template.spec.containers[name=\"nginx\"]"],
                "{manager}: what a server fills in is none"
            );
            assert_eq!(drift.fields[0].live.as_deref(), Some(r#"{"image":"nginx:1","name":"nginx"}"#));
            assert!(drift.away[0].contains("patch deployment.apps/web --type=json"), "{:?}", drift.away);
            live["metadata"]["managedFields"][0]["manager"] = json!("promo");
            assert_eq!(told(declared.clone(), &declared, &live), None, "what promo itself has is its own");
        }
    }

    #[test]
    fn s8_6_nothing_of_a_secret_is_told_but_where_it_changed_or_was_added() {
        let declared = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "token": "b2xk" },
        });
        let mut live = declared.clone();
        live["data"] = json!({ "token": "bmV3", "more": "aHVudGVyMg==" });
        live["metadata"]["annotations"] = json!({ MARKS[0]: "{\"data\":\"aHVudGVyMg==\"}" });
        live["metadata"]["managedFields"] = json!([{
            "manager": "kubectl-edit", "operation": "Update", "time": "2026-11-22T09:00:00Z",
            "fieldsV1": {
                "f:data": { "f:token": {}, "f:more": {} },
                "f:metadata": { "f:annotations": { ".": {}, (format!("f:{}", MARKS[0])): {} } },
            },
        }]);
        let drift = told(declared.clone(), &declared, &live).unwrap();
        let said = format!("{drift:?}");
        assert!(!said.contains("b2xk") && !said.contains("bmV3") && !said.contains("aHVudGVyMg"), "{said}");
        let paths: Vec<(&str, DriftClass)> = drift.fields.iter().map(|f| (f.path.as_str(), f.class)).collect();
        assert_eq!(paths, [("data.token", DriftClass::Changed), ("data.more", DriftClass::Added)]);
        // Also where all of it is gone at once.
        live["data"] = Value::Null;
        let gone = format!("{:?}", told(declared.clone(), &declared, &live).unwrap());
        assert!(!gone.contains("b2xk"), "{gone}");
    }
}
