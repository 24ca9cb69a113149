//! What a plan shows of a change: each object's declared fields, before and after, in YAML, with secrets masked. What must
//! not live here: what is compared; a state is.

use std::collections::BTreeMap;

use promo_sdk::{ErrorKind, FileChange, ProviderError};
use serde_json::Value;

use super::object::Object;

/// The objects that differ. What is there is shown with the fields that it was declared with, what is wanted with those that
/// are declared now.
///
/// # Errors
/// When an object cannot be written as YAML, which no object of a server is.
pub(crate) fn changes(
    there: &[(Object, Option<Value>)],
    wanted: &[(Object, Value)],
) -> Result<Vec<FileChange>, ProviderError> {
    type Sides<'a> = (Option<&'a Value>, Option<&'a Value>);
    let key = |object: &Object| (object.id.to_string(), object.id.kind.group.clone());
    let mut all: BTreeMap<(String, String), Sides<'_>> = BTreeMap::new();
    for (object, live) in there {
        all.entry(key(object)).or_default().0 = live.as_ref();
    }
    for (object, value) in wanted {
        all.entry(key(object)).or_default().1 = Some(value);
    }
    let names: Vec<String> = all.keys().map(|(name, _)| name.clone()).collect();
    let mut changes = Vec::new();
    for ((path, group), (before, after)) in all {
        // Two kinds of one name differ in their group.
        let path = match names.iter().filter(|name| **name == path).count() {
            1 => path,
            _ => format!("{path} of {group}"),
        };
        if before == after {
            continue;
        }
        let (before, after) = (before.map(|value| masked(value, after)), after.map(|value| masked(value, before)));
        let drawn = |value: Option<Value>| value.map(|value| yaml(&without_nothing(value))).transpose();
        let (before, after) = (drawn(before)?, drawn(after)?);
        changes.push(FileChange { path, before, after });
    }
    Ok(changes)
}

/// The fields in which the two sides of such a change differ: where each is, what was there and what would be; nothing where
/// the change is none of an object, or of a whole one.
pub(crate) fn fields(change: &FileChange) -> Vec<(String, Option<String>, Option<String>)> {
    let read = |text: &Option<String>| serde_saphyr::from_str::<Value>(text.as_deref()?).ok().filter(Value::is_object);
    let (Some(before), Some(after)) = (read(&change.before), read(&change.after)) else { return Vec::new() };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let one = |field: super::fields::Difference| {
        (crate::escape::line(&field.path.to_string()), field.before.map(text), field.after.map(text))
    };
    super::fields::differences(&before, &after).into_iter().map(one).collect()
}

/// The same without the `null`s that stand for what is declared and not there: a list does not have them.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Array(all) => all.into_iter().filter(|one| !one.is_null()).map(without_nothing).collect(),
        Value::Object(all) => {
            let some = all.into_iter().filter(|(_, one)| !one.is_null());
            Value::Object(some.map(|(key, one)| (key, without_nothing(one))).collect())
        }
        other => other,
    }
}

fn yaml(value: &Value) -> Result<String, ProviderError> {
    serde_saphyr::to_string(value)
        .map_err(|error| ProviderError::new(ErrorKind::Failed, format!("an object cannot be shown: {error}")))
}

/// A Secret without what is secret in it. What differs from `other` says that it does, and not how.
fn masked(value: &Value, other: Option<&Value>) -> Value {
    let mut value = value.clone();
    if value.get("kind").and_then(Value::as_str) != Some("Secret") {
        return value;
    }
    // kubectl leaves all of it there.
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    for field in ["data", "stringData"] {
        let Some(entries) = value.get_mut(field).and_then(Value::as_object_mut) else { continue };
        for (key, entry) in entries.iter_mut() {
            let same = other.is_none_or(|other| other.get(field).and_then(|map| map.get(key)) == Some(&*entry));
            *entry = Value::from(if same { "(masked)" } else { "(masked, changed)" });
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(token: &str) -> (Object, Value) {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "token": token, "user": "YQ==" },
        });
        (Object::try_from(value.clone()).unwrap(), value)
    }

    #[test]
    fn s8_6_a_secret_is_never_shown_and_that_it_changes_is() {
        let (object, old) = secret("b2xk");
        let (_, new) = secret("bmV3");
        let changes = changes(&[(object.clone(), Some(old))], &[(object, new)]).unwrap();
        let told = format!("{changes:?}");
        assert!(!told.contains("b2xk") && !told.contains("bmV3"), "{told}");
        let after = changes[0].after.as_deref().unwrap();
        assert!(after.contains("token: (masked, changed)") && after.contains("user: (masked)"), "{after}");
    }

    #[test]
    fn what_is_as_it_should_be_is_no_change() {
        let (object, value) = secret("YQ==");
        assert_eq!(changes(&[(object.clone(), Some(value.clone()))], &[(object, value)]).unwrap(), []);
    }
}
