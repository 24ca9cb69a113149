//! What is to be applied: the manifests of the working tree, with the release's digests in the place of image names. A pure
//! function of the inputs.

use std::collections::BTreeMap;

use promo_sdk::{ArtifactInput, Context, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;
use serde_json::Value;

use crate::kubernetes::object::{self, DEFINITION, Id, Object};
use crate::settings;

/// The name under which a deployment is kept where it has none of its own.
const NAME: &str = "promo";

/// The settings of `deploy.kubectl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(default)]
    manifests: Vec<String>,
    #[serde(default)]
    images: BTreeMap<String, String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pub(super) timeout: Option<u64>,
}

/// The settings of a deployment.
pub(super) fn settings(inputs: &Inputs) -> Result<Settings, ProviderError> {
    settings::read("kubectl", inputs)
}

/// The name under which what is applied belongs together.
///
/// # Errors
/// [`ErrorKind::Invalid`] for one that a Secret could not be called after.
pub(super) fn name(inputs: &Inputs) -> Result<String, ProviderError> {
    let name = settings(inputs)?.name.unwrap_or_else(|| NAME.to_owned());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        let message = format!("`name` is `{name}`: expected up to 63 small letters, digits and `-` between them");
        return Err(ProviderError::new(ErrorKind::Invalid, message));
    }
    Ok(name)
}

/// The objects of a deployment, in the order in which they are applied.
///
/// # Errors
/// [`ErrorKind::Invalid`] for manifests that make no sense, that leave the namespace of the target, or whose images can move.
pub(super) fn render(cx: &Context, inputs: &Inputs) -> Result<Vec<Object>, ProviderError> {
    let settings = settings(inputs)?;
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    let namespace = inputs.target.0.get("namespace").map(String::as_str);
    let mut objects = Vec::new();
    for (path, digest) in &inputs.files {
        if !settings.manifests.iter().any(|pattern| promo_core::planner::matches(pattern, path)) {
            continue;
        }
        let bytes = cx.blobs.get(digest)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid(format!("{path} is no text in UTF-8")))?;
        objects.extend(object::read(path, text)?);
    }
    if objects.is_empty() {
        return Err(invalid(
            "the manifests declare no object: nothing would be deployed, and everything taken away".into(),
        ));
    }
    for object in &mut objects {
        let own = object.value.pointer("/metadata/namespace").and_then(Value::as_str);
        if let Some(own) = own.filter(|own| Some(*own) != namespace) {
            let there = namespace.unwrap_or_default();
            return Err(invalid(format!("{} is declared in namespace {own}: the target is {there}", object.id)));
        }
        if object.id.kind.kind == "Namespace" {
            return Err(invalid(format!("{}: namespaces are made by who owns the cluster", object.id)));
        }
        as_data(&object.id, &mut object.value);
        images(&object.id, &mut object.value, &settings.images, &inputs.artifacts)?;
    }
    object::in_order(objects)
}

/// Writes a Secret's `stringData` as the `data` that a server makes of it: it gives the former back to nobody, so that a change
/// of it could not be seen.
fn as_data(id: &Id, value: &mut Value) {
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
pub(super) fn defines(object: &Object, id: &Id) -> bool {
    let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
    object.id.kind.kind == DEFINITION
        && text("/spec/group") == Some(&id.kind.group)
        && text("/spec/names/kind") == Some(&id.kind.kind)
}

/// Puts the release's digests where the manifests name its images. Every image is named by its digest then (R2).
fn images(
    id: &Id,
    value: &mut Value,
    named: &BTreeMap<String, String>,
    artifacts: &BTreeMap<promo_core::ids::ArtifactName, ArtifactInput>,
) -> Result<(), ProviderError> {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::Array(containers) if matches!(key.as_str(), "containers" | "initContainers") => {
                        for container in containers {
                            if let Some(Value::String(image)) = container.get_mut("image") {
                                *image = pinned(id, image, named, artifacts)?;
                            }
                        }
                    }
                    other => images(id, other, named, artifacts)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| images(id, item, named, artifacts)),
        _ => Ok(()),
    }
}

fn pinned(
    id: &Id,
    image: &str,
    named: &BTreeMap<String, String>,
    artifacts: &BTreeMap<promo_core::ids::ArtifactName, ArtifactInput>,
) -> Result<String, ProviderError> {
    let (repository, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = repository.rfind(':').filter(|colon| !repository[*colon..].contains('/'));
    let repository = tag.map_or(repository, |colon| &repository[..colon]);
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    if let Some(artifact) = named.get(repository) {
        let found = artifacts.iter().find(|(name, _)| name.as_str() == artifact).map(|(_, artifact)| artifact);
        let known: Vec<&str> = artifacts.keys().map(promo_core::ids::ArtifactName::as_str).collect();
        let found = found.ok_or_else(|| {
            invalid(format!("`images` names the artifact `{artifact}`: expected one of {}", known.join(", ")))
        })?;
        if found.repository.starts_with("oci-layout:") {
            let why = "no cluster takes an image from a directory: copy it to a registry with `mirror`";
            return Err(invalid(format!("{id}: `{artifact}` is in {}; {why}", found.repository)));
        }
        return Ok(format!("{}@{}", found.repository, found.digest));
    }
    match digest {
        Some(digest) if digest.parse::<promo_core::Digest>().is_ok() => Ok(image.to_owned()),
        _ => Err(invalid(format!(
            "{id}: the image `{}` can move: name it by its digest, or say in `images` which artifact it is",
            crate::escape::line(image)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn put(image: &str) -> Result<String, ProviderError> {
        put_from("registry.prod.example/shop/api", image)
    }

    fn put_from(repository: &str, image: &str) -> Result<String, ProviderError> {
        let object = Object::try_from(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } },
        }))
        .unwrap();
        let artifact = ArtifactInput {
            repository: repository.into(),
            digest: DIGEST.parse().unwrap(),
            tag: Some("1.0.0".into()),
            source: None,
        };
        let mut value = object.value;
        let named = BTreeMap::from([("shop/api".to_owned(), "api".to_owned()), ("gone".into(), "web".into())]);
        images(&object.id, &mut value, &named, &BTreeMap::from([("api".parse().unwrap(), artifact)]))?;
        Ok(value.pointer("/spec/template/spec/containers/0/image").unwrap().as_str().unwrap().to_owned())
    }

    #[test]
    fn s2_5_an_image_of_the_release_is_named_by_its_digest_and_any_other_must_be() {
        let ours = format!("registry.prod.example/shop/api@{DIGEST}");
        for image in ["shop/api", "shop/api:latest", "shop/api:1@sha256:00"] {
            assert_eq!(put(image).unwrap(), ours, "{image}");
        }
        let other = format!("mesh.example:5000/proxy@{DIGEST}");
        assert_eq!(put(&other).unwrap(), other);
        for image in ["mesh.example:5000/proxy", "mesh.example/proxy:1.2", "mesh@sha256:00"] {
            let error = put(image).unwrap_err();
            assert!(error.message.contains("can move") && error.message.contains("Deployment/web"), "{error}");
        }
        let error = put_from("oci-layout:build/api", "shop/api").unwrap_err();
        assert!(error.message.contains("no cluster takes an image from a directory"), "{error}");
        assert!(put("gone:1").unwrap_err().message.contains("expected one of api"));
    }
}
