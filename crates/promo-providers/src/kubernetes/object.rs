//! Objects as manifests declare them: read from YAML, named, and put in the order in which they can be applied.

use std::collections::BTreeMap;
use std::fmt;

use kube::core::GroupVersionKind;
use promo_sdk::{ErrorKind, ProviderError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which object: its kind and its name. The namespace is that of the place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) kind: GroupVersionKind,
    pub(crate) name: String,
}

impl Id {
    /// The kind with its group and version, as manifests have it: `Deployment of apps/v1`.
    pub(crate) fn kind_in_words(&self) -> String {
        format!("{} of {}", self.kind.kind, self.kind.api_version())
    }

    /// What orders objects for a person, and tells two of them apart whatever version they are read in.
    fn key(&self) -> (&str, &str, &str) {
        (&self.kind.kind, &self.kind.group, &self.name)
    }

    /// Whether both name the same object.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key()).then_with(|| self.kind.version.cmp(&other.kind.version))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.kind, self.name)
    }
}

/// An object as it is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(crate) struct Object {
    pub(crate) id: Id,
    pub(crate) value: Value,
}

impl TryFrom<Value> for Object {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (version, kind) = (text("/apiVersion").ok_or("no apiVersion")?, text("/kind").ok_or("no kind")?);
        let name = text("/metadata/name").ok_or_else(|| match text("/metadata/generateName") {
            Some(_) => format!("{kind} with generateName: what is applied again and again needs a name"),
            None => format!("{kind} without metadata.name"),
        })?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        Ok(Self { id: Id { kind, name: name.to_owned() }, value })
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        object.value
    }
}

/// Reads the documents of a YAML stream; lists (`kind: List`) are taken apart, empty documents left out.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what is no manifest, with the file and which document.
pub(crate) fn read(path: &str, text: &str) -> Result<Vec<Object>, ProviderError> {
    let invalid = |why: String| ProviderError::new(ErrorKind::Invalid, format!("{path}: {why}"));
    // As kubectl reads it: `0400` is a mode. What stands around a mistake may be a secret, and is not told.
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| invalid(crate::escape::line(&error.to_string())))?;
    let mut objects = Vec::new();
    for (place, document) in documents.into_iter().enumerate() {
        let items = match document {
            Value::Null => continue,
            Value::Object(mut map) if map.get("kind").and_then(Value::as_str).is_some_and(|kind| kind == "List") => {
                match map.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                }
            }
            other => vec![other],
        };
        for item in items {
            let object = Object::try_from(item).map_err(|why| invalid(format!("document {}: {why}", place + 1)))?;
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The group of roles and their bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// The kind of objects that define kinds.
pub(crate) const DEFINITION: &str = "CustomResourceDefinition";

/// What others need to be there first, in the order of Kubernetes' own tools; what is not named comes with the workloads' own
/// resources, and webhooks and services of the API last.
const FIRST: [&str; 14] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolumeClaim",
    DEFINITION,
    "Role",
    "RoleBinding",
    "Service",
    "PodDisruptionBudget",
];
const LAST: [&str; 4] = ["Ingress", "APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

/// Sorts objects into the order in which they are applied, each kind by name.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an object that is declared twice.
pub(crate) fn in_order(mut objects: Vec<Object>) -> Result<Vec<Object>, ProviderError> {
    let rank = |kind: &str| match FIRST.iter().position(|first| *first == kind) {
        Some(place) => place,
        None => FIRST.len() + LAST.iter().position(|last| *last == kind).map_or(0, |place| place + 1),
    };
    objects.sort_by(|a, b| rank(&a.id.kind.kind).cmp(&rank(&b.id.kind.kind)).then_with(|| a.id.cmp(&b.id)));
    let mut seen = BTreeMap::new();
    for object in &objects {
        if let Some(()) = seen.insert(object.id.key(), ()) {
            return Err(ProviderError::new(ErrorKind::Invalid, format!("{} is declared twice", object.id)));
        }
    }
    Ok(objects)
}

/// Writes a Secret's `stringData` as the `data` that a server makes of it: it gives the former back to nobody, so that a change
/// of it could not be seen.
pub(crate) fn as_data(id: &Id, value: &mut Value) {
    use base64::Engine as _;
    if id.kind.kind != "Secret" || !id.kind.group.is_empty() {
        return;
    }
    let Some(Value::Object(texts)) = value.as_object_mut().and_then(|map| map.remove("stringData")) else { return };
    for (key, text) in texts {
        let text = text.as_str().map_or_else(|| text.to_string(), String::from);
        value["data"][key] = Value::from(base64::engine::general_purpose::STANDARD.encode(text));
    }
}

/// Whether an object is the definition of another one's kind.
pub(crate) fn defines(object: &Object, id: &Id) -> bool {
    let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
    object.id.kind.kind == DEFINITION
        && text("/spec/group") == Some(&id.kind.group)
        && text("/spec/names/kind") == Some(&id.kind.kind)
}

/// Whether an object is the Role that another one binds: whoever may not bind any may bind one of whose rights the server sees that
/// he has them himself.
fn is_bound_by(object: &Object, binding: &Object) -> bool {
    let text = |pointer: &str| binding.value.pointer(pointer).and_then(Value::as_str);
    let is = |object: &Object, kind: &str| object.id.kind.group == RBAC && object.id.kind.kind == kind;
    is(object, "Role")
        && is(binding, "RoleBinding")
        && text("/roleRef/kind") == Some("Role")
        && text("/roleRef/name") == Some(&object.id.name)
}

/// Whether a server could only not try an object because another one of these is not there yet, or not yet like this: the definition of
/// its kind, or the Role that it binds.
pub(crate) fn waits<'a>(object: &Object, error: &ProviderError, mut others: impl Iterator<Item = &'a Object>) -> bool {
    others.any(|other| match error.kind {
        ErrorKind::NotFound => defines(other, &object.id) || is_bound_by(other, object),
        ErrorKind::Invalid => defines(other, &object.id),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_documents_and_lists_becomes_objects_in_the_order_of_applying() {
        let text = "\
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
---
# nothing
---
apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: ConfigMap, metadata: { name: b } }
- { apiVersion: v1, kind: ConfigMap, metadata: { name: a } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: shops.example.com }
";
        let objects = in_order(read("all.yaml", text).unwrap()).unwrap();
        let names: Vec<String> = objects.iter().map(|object| object.id.to_string()).collect();
        let expected = ["ConfigMap/a", "ConfigMap/b", "CustomResourceDefinition/shops.example.com", "Deployment/web"];
        assert_eq!(names, expected);
        assert_eq!(objects[3].id.kind_in_words(), "Deployment of apps/v1");
    }

    #[test]
    fn a_manifest_is_read_as_kubectl_reads_it_and_a_mistake_shows_nothing_of_what_is_around_it() {
        let volume = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: { defaultMode: 0400 }\n";
        let read_as = read("a.yaml", volume).unwrap().remove(0).value;
        assert_eq!(read_as.pointer("/spec/defaultMode"), Some(&Value::from(0o400)));
        let secret = "apiVersion: v1\nkind: Secret\ndata:\n  password: aHVudGVyMg==\n wrong: [\n";
        let error = read("s.yaml", secret).unwrap_err();
        assert!(!error.message.contains("aHVudGVyMg"), "{error}");
    }

    #[test]
    fn what_is_no_object_or_twice_there_is_refused_with_its_place() {
        for (text, why) in [
            ("kind: Pod", "no apiVersion"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {}", "Pod without metadata.name"),
            ("apiVersion: v1\nkind: Pod\nmetadata: { generateName: a- }", "generateName"),
            ("a: 1\n---\nb: [", "x.yaml"),
        ] {
            let error = read("x.yaml", text).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{text}: {error}");
        }
        let twice = "{ apiVersion: v1, kind: Pod, metadata: { name: a } }";
        let twice = [read("a", twice).unwrap(), read("b", twice).unwrap()].concat();
        assert!(in_order(twice).unwrap_err().message.contains("Pod/a is declared twice"));
    }
}
