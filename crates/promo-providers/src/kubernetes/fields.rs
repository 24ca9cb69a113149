//! Fields of an object: where each is, in what two objects differ, and who changed it, as the server keeps it
//! (`metadata.managedFields`, <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>). Pure
//! functions; what must not live here: what is made of a difference.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::projection::KEYS;

/// A way to a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// A field of an object.
    Field(String),
    /// An element of a list: what tells it from the others, and the element, by which its owners are found.
    Item { shown: String, element: Value },
}

/// Where the template of pods has its containers.
const CONTAINERS: [&str; 4] = ["spec", "template", "spec", "containers"];

/// A step of a way in one very object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// A field of an object.
    Name(String),
    /// An element of a list, by its place.
    Place(usize),
}

/// Where a value is by which an element of a list is told from the others, and the value.
pub(crate) type Known = (Vec<At>, Value);

impl Path {
    fn field(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Field(name.to_owned()));
        path
    }

    fn item(&self, shown: String, element: &Value) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Item { shown, element: element.clone() });
        path
    }

    /// Whether it is the field of these names.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        self.0.len() == names.len() && self.begins(names)
    }

    /// Whether it leads through these names first.
    pub(crate) fn begins(&self, names: &[&str]) -> bool {
        names.iter().enumerate().all(|(at, name)| self.name(at) == Some(name))
    }

    /// Whether it is the image of a container.
    pub(crate) fn is_image(&self) -> bool {
        let length = self.0.len();
        length >= 3
            && self.name(length - 1) == Some("image")
            && matches!(self.name(length - 3), Some("containers" | "initContainers" | "ephemeralContainers"))
    }

    /// Whether it is a container of a template of pods, or all of a list of them.
    pub(crate) fn is_container(&self) -> bool {
        let list = match &self.0[..] {
            [.., Step::Field(list), Step::Item { .. }] | [.., Step::Field(list)] => list,
            _ => return false,
        };
        matches!(list.as_str(), "containers" | "initContainers")
    }

    /// The name of the field itself; nothing where it is an element of a list.
    pub(crate) fn last_name(&self) -> Option<&str> {
        self.name(self.0.len().checked_sub(1)?)
    }

    /// What an object has there.
    pub(crate) fn get<'v>(&self, object: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Item { shown, .. } => value.get(position(value, shown)?),
        })
    }

    /// The same, to be changed.
    pub(crate) fn get_mut<'v>(&self, object: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Field(name) => value.get_mut(name),
            Step::Item { shown, .. } => {
                let at = position(value, shown)?;
                value.get_mut(at)
            }
        })
    }

    /// The key of a table that it is: `LEVEL` where these names lead to the table.
    pub(crate) fn key_of(&self, table: &[&str]) -> Option<&str> {
        self.name(table.len()).filter(|_| self.0.len() == table.len() + 1 && self.begins(table))
    }

    /// The container and those variables of it that it is, one or all, in the template of pods of a live object.
    pub(crate) fn variables<'v>(&'v self, live: &'v Value) -> Option<(&'v str, Vec<&'v str>)> {
        let (container, rest) = match &self.0[..] {
            [_, _, _, _, Step::Item { element, .. }, rest @ ..] if self.begins(&CONTAINERS) => (element, rest),
            _ => return None,
        };
        let name = |of: &'v Value| of.get("name").and_then(Value::as_str);
        let all = match rest {
            [Step::Field(env)] if env == "env" => self.get(live)?.as_array()?.iter().map(name).collect(),
            [Step::Field(env), Step::Item { element, .. }] if env == "env" => Some(vec![name(element)?]),
            _ => None,
        };
        name(container).zip(all)
    }

    /// Where it is in that very object, by names and places, and what tells each element of a list on the way from the others;
    /// nothing where it leads nowhere there.
    pub(crate) fn places(&self, object: &Value) -> Option<(Vec<At>, Vec<Known>)> {
        let (mut way, mut known, mut value) = (Vec::new(), Vec::new(), object);
        for step in &self.0 {
            match step {
                Step::Field(name) => {
                    way.push(At::Name(name.clone()));
                    value = value.get(name)?;
                }
                Step::Item { element, .. } => {
                    let list = value.as_array()?;
                    let at = list.iter().position(|one| one == element)?;
                    way.push(At::Place(at));
                    value = &list[at];
                    let key = KEYS.iter().find_map(|key| Some((*key, element.get(*key)?)));
                    known.push(match key {
                        Some((key, value)) => {
                            let key = At::Name(key.to_owned());
                            (way.iter().cloned().chain([key]).collect(), value.clone())
                        }
                        None => (way.clone(), element.clone()),
                    });
                }
            }
        }
        Some((way, known))
    }

    fn name(&self, at: usize) -> Option<&str> {
        match self.0.get(at) {
            Some(Step::Field(name)) => Some(name),
            _ => None,
        }
    }
}

/// Which element of a list is shown like this: `name="web"`, or its place.
fn position(list: &Value, shown: &str) -> Option<usize> {
    let Some((key, value)) = shown.split_once('=') else { return shown.parse().ok() };
    let value: Value = serde_json::from_str(value).ok()?;
    list.as_array()?.iter().position(|element| element.get(key) == Some(&value))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if !plain(name) => write!(f, "[{}]", Value::from(name.as_str()))?,
                Step::Field(name) if place == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item { shown, .. } => write!(f, "[{shown}]")?,
            }
        }
        Ok(())
    }
}

/// A field that is not the same in two objects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: Path,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// In what two objects differ, as deep as can be told; `null` is as what is not there.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut out = Vec::new();
    walk(&Path::default(), before, after, &mut out);
    out
}

fn walk(path: &Path, before: &Value, after: &Value, out: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let null = Value::Null;
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let (old, new) = (old.get(name).unwrap_or(&null), new.get(name).unwrap_or(&null));
                walk(&path.field(name), old, new, out);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() || key(old, new).is_some() => {
            items(path, old, new, out);
        }
        _ => {
            let some = |value: &Value| (!value.is_null()).then(|| value.clone());
            out.push(Difference { path: path.clone(), before: some(before), after: some(after) });
        }
    }
}

/// The key by which the elements of two lists are told apart.
fn key(old: &[Value], new: &[Value]) -> Option<&'static str> {
    let there: Vec<&Value> = old.iter().chain(new).filter(|element| !element.is_null()).collect();
    let scalar = |value: &Value| !value.is_object() && !value.is_array() && !value.is_null();
    KEYS.into_iter().find(|key| !there.is_empty() && there.iter().all(|element| element.get(key).is_some_and(scalar)))
}

fn items(path: &Path, old: &[Value], new: &[Value], out: &mut Vec<Difference>) {
    let null = Value::Null;
    let key = key(old, new);
    // As a projection has them, both lists are in one order, with `null` where an element is gone.
    if old.len() == new.len() {
        for (place, (before, after)) in old.iter().zip(new).enumerate() {
            let element = if after.is_null() { before } else { after };
            let shown = key.map_or_else(|| place.to_string(), |key| format!("{key}={}", element[key]));
            walk(&path.item(shown, element), before, after, out);
        }
        return;
    }
    let Some(key) = key else { return };
    let find = |all: &[Value], name: &Value| all.iter().find(|element| element.get(key) == Some(name)).cloned();
    let mut names: Vec<&Value> = Vec::new();
    for element in old.iter().chain(new) {
        if let Some(name) = element.get(key).filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    for name in names {
        let (before, after) = (find(old, name), find(new, name));
        let element = after.as_ref().or(before.as_ref()).unwrap_or(&null);
        let path = path.item(format!("{key}={name}"), element);
        walk(&path, before.as_ref().unwrap_or(&null), after.as_ref().unwrap_or(&null), out);
    }
}

/// Who owns fields of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) manager: String,
    pub(crate) operation: String,
    pub(crate) at: Option<Timestamp>,
}

impl Owner {
    /// Whether it was a verb of kubectl: a person or a script, and no controller.
    pub(crate) fn by_hand(&self) -> bool {
        self.manager == "kubectl" || self.manager.starts_with("kubectl-")
    }
}

/// Everybody who owns fields of an object, with the tree of them.
pub(crate) fn owners(live: &Value) -> Vec<(Owner, &Map<String, Value>)> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let one = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = entry.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
        Owner { manager: text("manager"), operation: text("operation"), at }
    };
    let entries = entries.into_iter().flatten();
    entries.filter_map(|entry| Some((one(entry), entry.get("fieldsV1")?.as_object()?))).collect()
}

/// Who changed the field at `path` last, among those who own it and are not `except`.
pub(crate) fn changed_by(live: &Value, path: &Path, except: &str) -> Option<Owner> {
    let owners = owners(live).into_iter();
    let owners = owners.filter(|(owner, fields)| owner.manager != except && owned(fields, &path.0));
    owners.map(|(owner, _)| owner).max_by_key(|owner| owner.at)
}

fn owned(fields: &Map<String, Value>, way: &[Step]) -> bool {
    let Some((step, rest)) = way.split_first() else { return true };
    // A list or a table that is owned as one.
    if fields.is_empty() {
        return true;
    }
    let below = match step {
        Step::Field(name) => fields.get(&format!("f:{name}")),
        Step::Item { element, .. } => fields.iter().find(|(name, _)| is_item(name, element)).map(|(_, below)| below),
    };
    below.and_then(Value::as_object).is_some_and(|below| owned(below, rest))
}

/// Whether `k:{"name":"web"}` or `v:"web"` is this element.
fn is_item(name: &str, element: &Value) -> bool {
    if let Some(value) = name.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *element);
    }
    let keys = name.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok());
    keys.is_some_and(|keys| keys.iter().all(|(key, value)| element.get(key) == Some(value)))
}

/// The fields that an owner put into a live object and that its manifest does not declare, each with what is there.
pub(crate) fn undeclared(fields: &Map<String, Value>, declared: &Value, live: &Value) -> Vec<(Path, Value)> {
    let mut out = Vec::new();
    beside(&Path::default(), fields, Some(declared), live, &mut out);
    out
}

fn beside(
    path: &Path,
    fields: &Map<String, Value>,
    declared: Option<&Value>,
    live: &Value,
    out: &mut Vec<(Path, Value)>,
) {
    for (name, below) in fields {
        let Some(below) = below.as_object() else { continue };
        let (path, declared, live, item) = if let Some(name) = name.strip_prefix("f:") {
            let Some(live) = live.get(name) else { continue };
            (path.field(name), declared.and_then(|declared| declared.get(name)), live, false)
        } else if name.starts_with("k:") || name.starts_with("v:") {
            let find = |list: Option<&Value>| -> Option<Value> {
                list?.as_array()?.iter().find(|element| is_item(name, element)).cloned()
            };
            let Some(there) = live.as_array().into_iter().flatten().find(|element| is_item(name, element)) else {
                continue;
            };
            // What a manifest leaves to a default, as the protocol of a port, does not make it another element.
            let known = find(declared).is_some() || declared.is_some_and(|declared| like(declared, there));
            if known {
                let found = declared.and_then(Value::as_array).into_iter().flatten().find(|one| is_like(one, there));
                let path = path.item(shown(there), there);
                beside(&path, below, found, there, out);
                continue;
            }
            (path.item(shown(there), there), None, there, true)
        } else {
            continue;
        };
        // What is new as a whole is told as a whole where it is an element of a list.
        if declared.is_none() && (item || below.keys().all(|key| key == ".") || live.is_array()) {
            out.push((path, live.clone()));
        } else {
            beside(&path, below, declared, live, out);
        }
    }
}

/// Whether an owner has any field that a manifest declares.
pub(crate) fn declares(fields: &Map<String, Value>, declared: &Value, live: &Value) -> bool {
    fields.iter().any(|(name, below)| {
        let Some(below) = below.as_object() else { return false };
        if let Some(name) = name.strip_prefix("f:") {
            let (Some(declared), Some(live)) = (declared.get(name), live.get(name)) else { return false };
            // A table that it made, and of which it has nothing, is nothing of its own.
            let leaf = below.keys().all(|key| key == ".");
            return if leaf { !declared.is_object() } else { declares(below, declared, live) };
        }
        let find = |list: &Value| list.as_array().into_iter().flatten().find(|one| is_item(name, one)).cloned();
        let Some(there) = find(live) else { return false };
        let known = declared.as_array().into_iter().flatten().find(|one| is_like(one, &there));
        known.is_some_and(|declared| below.is_empty() || declares(below, declared, &there))
    })
}

/// The owners of an object once whatever `to` has is no longer `from`'s too; nothing where nothing changes.
pub(crate) fn disowned(live: &Value, to: &str, from: &BTreeSet<String>) -> Option<Vec<Value>> {
    let all = live.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tree = |entry: &Value| entry.get("fieldsV1").and_then(Value::as_object).cloned();
    let ours = all.iter().find(|entry| text(entry, "manager") == to && text(entry, "operation") == "Apply");
    let ours = tree(ours?)?;
    let left = |entry: &Value| {
        if text(entry, "manager") == to || !from.contains(&text(entry, "manager")) {
            return Some(entry.clone());
        }
        let mut entry = entry.clone();
        entry["fieldsV1"] = Value::Object(without(&tree(&entry)?, &ours)?);
        Some(entry)
    };
    let left: Vec<Value> = all.iter().filter_map(left).collect();
    (left != *all).then_some(left)
}

/// What is left of an owner's fields once those of another one are its own alone; nothing where all of them are.
pub(crate) fn without(fields: &Map<String, Value>, taken: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut left = Map::new();
    for (name, below) in fields {
        let Some(also) = taken.get(name) else {
            left.insert(name.clone(), below.clone());
            continue;
        };
        let (Some(mine), Some(theirs)) = (below.as_object(), also.as_object()) else { continue };
        if mine.is_empty() || theirs.is_empty() {
            continue;
        }
        if let Some(rest) = without(mine, theirs) {
            left.insert(name.clone(), Value::Object(rest));
        }
    }
    // That a table is there at all is nothing to own beside nothing.
    (left.keys().any(|key| key != ".")).then_some(left)
}

fn shown(element: &Value) -> String {
    let key = KEYS.iter().find_map(|key| Some((key, element.get(*key)?)));
    key.map_or_else(|| element.to_string(), |(key, value)| format!("{key}={value}"))
}

fn like(declared: &Value, element: &Value) -> bool {
    declared.as_array().into_iter().flatten().any(|one| is_like(one, element))
}

/// Whether a declared element is that live one: by the most telling key that it has.
fn is_like(declared: &Value, element: &Value) -> bool {
    let key = KEYS.iter().find(|key| declared.get(**key).is_some());
    key.is_some_and(|key| declared.get(*key) == element.get(*key)) || declared == element
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live() -> Value {
        json!({
            "metadata": { "name": "web", "annotations": { "example.com/on-call": "dana" }, "managedFields": [
                { "manager": "promo", "operation": "Apply", "time": "2026-11-22T08:00:00Z", "fieldsV1": {
                    "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:name": {} } } } } },
                } },
                { "manager": "kubectl-set", "operation": "Update", "time": "2026-11-22T09:00:00Z", "fieldsV1": {
                    "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { "f:image": {} } } } } },
                } },
                { "manager": "kubectl-edit", "operation": "Update", "time": "2026-11-22T09:01:00Z", "fieldsV1": {
                    "f:metadata": { "f:annotations": { ".": {}, "f:example.com/on-call": {} } },
                    "f:spec": { "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"debug\"}": { ".": {}, "f:image": {}, "f:name": {} } } } } },
                } },
            ] },
            "spec": { "template": { "spec": { "containers": [
                { "name": "debug", "image": "shell" }, { "name": "web", "image": "other" },
            ] } } },
        })
    }

    fn declared() -> Value {
        json!({ "metadata": { "name": "web" }, "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "shop" }] } } } })
    }

    #[test]
    fn a_field_is_told_with_its_way_and_with_who_changed_it_last() {
        let found = super::super::projection::object(&declared(), &live());
        let all = differences(&declared(), &found);
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!(one.path.to_string(), "spec.template.spec.containers[name=\"web\"].image");
        assert!(one.path.is_image());
        let by = changed_by(&live(), &one.path, "promo").unwrap();
        assert_eq!((by.manager.as_str(), by.by_hand()), ("kubectl-set", true));
        assert_eq!(by.at, Some("2026-11-22T09:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_others_put_beside_what_is_declared_is_told_elements_as_a_whole() {
        let live = live();
        let edit = owners(&live).into_iter().find(|(owner, _)| owner.manager == "kubectl-edit").unwrap().1;
        let all = undeclared(edit, &declared(), &live);
        let told: Vec<String> = all.iter().map(|(path, value)| format!("{path} {value}")).collect();
        assert_eq!(
            told,
            [
                "metadata.annotations[\"example.com/on-call\"] \"dana\"",
                "spec.template.spec.containers[name=\"debug\"] {\"image\":\"shell\",\"name\":\"debug\"}",
            ]
        );
        let set = owners(&live).into_iter().find(|(owner, _)| owner.manager == "kubectl-set").unwrap().1;
        assert_eq!(undeclared(set, &declared(), &live), []);
    }

    #[test]
    fn elements_that_are_gone_and_lists_without_names_are_told_as_what_they_are() {
        let old =
            json!({ "a": [{ "name": "x", "v": 1 }, { "name": "y", "v": 2 }], "args": ["-v"], "gone": { "b": 1 } });
        let new = json!({ "a": [{ "name": "x", "v": 3 }, null], "args": ["-v", "-q"], "gone": null });
        let told: Vec<String> = differences(&old, &new)
            .iter()
            .map(|d| format!("{} {} {}", d.path, Value::from(d.before.clone()), Value::from(d.after.clone())))
            .collect();
        assert_eq!(
            told,
            [
                "a[name=\"x\"].v 1 3",
                "a[name=\"y\"] {\"name\":\"y\",\"v\":2} null",
                "args [\"-v\"] [\"-v\",\"-q\"]",
                "gone {\"b\":1} null",
            ]
        );
    }
}
