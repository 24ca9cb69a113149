//! Where the objects of a deployment come from: manifests as they are, templates that render to manifests, and an overlay of
//! kustomize. A pure function of the inputs. What must not live here: what becomes of the objects.

use std::collections::BTreeMap;

use promo_core::planner::matches;
use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde_json::{Map, Value};

use super::kustomize::Builds;
use super::render::Settings;
use crate::escape;
use crate::kubernetes::object::{self, Object};
use crate::templates::{Form, Templates};

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

/// For what objects are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// To be deployed.
    Deploying,
    /// To find what is wrong whatever the release and whatever this machine has.
    Linting,
}

/// The objects that a deployment declares; nothing where [`For::Linting`] cannot tell.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what is no manifest, template or overlay; what building an overlay gives.
pub(super) async fn read(
    cx: &Context,
    inputs: &Inputs,
    settings: &Settings,
    builds: &Builds,
    what_for: For,
) -> Result<Option<Vec<Object>>, ProviderError> {
    let covered = |patterns: &[String], path: &str| patterns.iter().any(|pattern| matches(pattern, path));
    let text = |path: &str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| invalid(format!("{path} is no text in UTF-8")))
    };
    let (mut objects, mut templates) = (Vec::new(), BTreeMap::new());
    for (path, digest) in &inputs.files {
        // A template that a glob of `manifests` also covers is a template.
        if covered(&settings.templates, path) {
            templates.insert(path.as_str(), text(path, cx.blobs.get(digest)?)?);
        } else if covered(&settings.manifests, path) {
            objects.extend(object::read(path, &text(path, cx.blobs.get(digest)?)?)?);
        }
    }
    if !templates.is_empty() {
        let values = values(cx, inputs, settings)?;
        let rendering = Templates::new(Form::Yaml, &templates, inputs, &values)?;
        for path in templates.keys() {
            if what_for == For::Linting && !rendering.lint(path)? {
                return Ok(None);
            }
            let rendered = text(path, rendering.render(path)?)?;
            objects.extend(object::read(&format!("{path} as rendered"), &rendered)?);
        }
    }
    if let Some(overlay) = &settings.kustomize {
        let covers = |path: &str| matches(overlay, path) || covered(&settings.files, path);
        let built = match builds.build(cx, inputs, overlay, covers).await {
            // Whoever looks at a pipeline need not have what its deployments take.
            Err(error) if what_for == For::Linting && error.kind != ErrorKind::Invalid => return Ok(None),
            built => built?,
        };
        objects.extend(object::read(&format!("{overlay} as built"), &built)?);
    }
    Ok(Some(objects))
}

/// What templates read as `values`: files in the order in which they are named, each over those before it, and the table over
/// all of them.
fn values(cx: &Context, inputs: &Inputs, settings: &Settings) -> Result<Value, ProviderError> {
    let mut all = Value::Object(Map::new());
    for pattern in &settings.values_files {
        for (path, digest) in inputs.files.iter().filter(|(path, _)| matches(pattern, path)) {
            // What stands around a mistake may be a secret, and is not told.
            let wrong = |why: String| invalid(format!("{path}: {}", escape::line(&why)));
            let bytes = cx.blobs.get(digest)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| invalid(format!("{path} is no text in UTF-8")))?;
            let read: Value = match path.rsplit_once('.').map(|(_, ending)| ending) {
                Some("toml") => toml::from_str(text).map_err(|error| wrong(crate::settings::told(&error, text)))?,
                Some("yaml" | "yml" | "json") => {
                    let options = serde_saphyr::options! { with_snippet: false };
                    serde_saphyr::from_str_with_options(text, options).map_err(|error| wrong(error.to_string()))?
                }
                _ => {
                    return Err(invalid(format!(
                        "{path}: values are in files that end in .yaml, .yml, .json or .toml"
                    )));
                }
            };
            match read {
                Value::Null => {}
                Value::Object(_) => merge(&mut all, read),
                _ => return Err(invalid(format!("{path}: values are a table"))),
            }
        }
    }
    let table = settings.values.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    merge(&mut all, table);
    Ok(all)
}

fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_a_later_file_go_over_those_of_an_earlier_one_key_by_key() {
        let mut all = json!({ "web": { "replicas": 1, "port": 80 }, "list": [1] });
        merge(&mut all, json!({ "web": { "replicas": 3 }, "list": [2] }));
        assert_eq!(all, json!({ "web": { "replicas": 3, "port": 80 }, "list": [2] }));
    }
}
