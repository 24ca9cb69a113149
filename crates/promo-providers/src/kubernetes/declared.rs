//! What manifests would have to say for what is live to be what is declared: each field is put where the file has it now, and
//! what comes out is read again before anybody is shown it. What must not live here: writing files.

use promo_core::inputs::FileChange;
use serde_json::Value;

use super::fields::Difference;
use super::object::{self, Id, Object};

/// The files that change, and which of these fields they took: one that is not spelt as a single value somewhere, such as
/// what is gone, is left to a person.
pub(crate) fn kept<'f>(
    files: &[(String, String)],
    fields: &'f [(Id, Difference)],
) -> (Vec<FileChange>, Vec<&'f (Id, Difference)>) {
    let mut texts: Vec<(String, String)> = files.to_vec();
    let mut taken = Vec::new();
    for one @ (id, field) in fields {
        let put = texts.iter_mut().any(|(path, text)| match with(path, text, id, field) {
            Some(changed) => {
                *text = changed;
                true
            }
            None => false,
        });
        taken.extend(put.then_some(one));
    }
    let changed = files.iter().zip(texts).filter(|(before, after)| before.1 != after.1);
    let change = |(before, after): (&(String, String), (String, String))| FileChange {
        path: after.0,
        before: Some(before.1.clone()),
        after: Some(after.1),
    };
    (changed.map(change).collect(), taken)
}

/// A manifest in which one field has what is live.
fn with(path: &str, text: &str, id: &Id, field: &Difference) -> Option<String> {
    let all = object::read(path, text).ok()?;
    let place = all.iter().position(|object| object.id.same(id))?;
    let new = field.after.as_ref().filter(|new| !new.is_object() && !new.is_array() && !new.is_null())?;
    let old = field.path.get(&all[place].value)?.clone();
    let mut wanted = all.clone();
    *field.path.get_mut(&mut wanted[place].value)? = new.clone();
    let name = field.path.last_name()?;
    for spelling in spellings(&old) {
        let found = format!("{name}: {spelling}");
        for (at, _) in text.match_indices(&found) {
            let end = at + found.len();
            // The whole value, and not the beginning of another one.
            if text[end..].chars().next().is_some_and(|next| !next.is_whitespace() && !matches!(next, ',' | '}' | ']'))
            {
                continue;
            }
            let before = at + name.len() + 2;
            for new in spellings(new) {
                let changed = format!("{}{new}{}", &text[..before], &text[end..]);
                if object::read(path, &changed).is_ok_and(|read| same(&read, &wanted)) {
                    return Some(changed);
                }
            }
        }
    }
    None
}

fn same(read: &[Object], wanted: &[Object]) -> bool {
    read.len() == wanted.len() && read.iter().zip(wanted).all(|(a, b)| a.value == b.value)
}

/// How a value may stand in YAML, the plainest first.
fn spellings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone(), Value::from(text.as_str()).to_string(), format!("'{text}'")],
        other => vec![other.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fields::differences;
    use serde_json::json;

    const TEXT: &str = "\
# What the shop is.
kind: Deployment
apiVersion: apps/v1
metadata: { name: web }
spec:
  replicas: 2 # enough
  template:
    spec:
      containers:
        - name: side
          env: [{ name: A, value: same }]
        - name: web
          env: [{ name: A, value: same }]
---
kind: ConfigMap
apiVersion: v1
metadata: { name: settings }
data: { color: blue, on: \"yes\" }
";

    fn change(object: usize, change: impl FnOnce(&mut Value)) -> Vec<(Id, Difference)> {
        let object = object::read("a.yaml", TEXT).unwrap().remove(object);
        let mut live = object.value.clone();
        change(&mut live);
        differences(&object.value, &live).into_iter().map(|field| (object.id.clone(), field)).collect()
    }

    #[test]
    fn a_field_is_put_where_the_file_has_it_and_nothing_else_changes() {
        let mut all = change(0, |live| {
            live["spec"]["replicas"] = json!(5);
            live["spec"]["template"]["spec"]["containers"][1]["env"][0]["value"] = json!("other");
        });
        all.extend(change(1, |live| {
            live["data"]["color"] = json!("red");
            live["data"]["on"] = json!("5");
        }));
        let (files, taken) = kept(&[("a.yaml".into(), TEXT.into())], &all);
        assert_eq!(taken.len(), 4);
        let expected = TEXT
            .replace("replicas: 2 # enough", "replicas: 5 # enough")
            .replace(
                "web\n          env: [{ name: A, value: same }]",
                "web\n          env: [{ name: A, value: other }]",
            )
            .replace("color: blue, on: \"yes\"", "color: red, on: \"5\"");
        assert_eq!(files[0].after.as_deref(), Some(expected.as_str()));
    }

    #[test]
    fn what_is_gone_or_no_single_value_is_left_to_a_person() {
        let gone = change(1, |live| {
            live["data"].as_object_mut().unwrap().remove("color");
        });
        let (files, taken) = kept(&[("a.yaml".into(), TEXT.into())], &gone);
        assert!(files.is_empty() && taken.is_empty(), "{files:?}");
    }
}
