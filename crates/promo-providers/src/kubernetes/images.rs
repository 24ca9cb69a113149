//! Which images the containers of an object run: those of the release by its digests, any other by its own.

use std::collections::BTreeMap;

use promo_core::ids::ArtifactName;
use promo_sdk::{ArtifactInput, ErrorKind, ProviderError};
use serde_json::Value;

use super::object::Id;

/// Puts the release's digests where an object names its images, which are `named` by artifact. Every image is named by its
/// digest then (R2).
///
/// # Errors
/// [`ErrorKind::Invalid`] for an image that can move, and for an artifact that there is not.
pub(crate) fn pin(
    id: &Id,
    value: &mut Value,
    named: &BTreeMap<String, String>,
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
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
                    // A volume that is an image: it runs nothing, and what it holds can move all the same.
                    Value::Array(volumes) if key == "volumes" => {
                        for volume in volumes {
                            if let Some(Value::String(image)) = volume.pointer_mut("/image/reference") {
                                *image = pinned(id, image, named, artifacts)?;
                            }
                        }
                    }
                    other => pin(id, other, named, artifacts)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| pin(id, item, named, artifacts)),
        _ => Ok(()),
    }
}

fn pinned(
    id: &Id,
    image: &str,
    named: &BTreeMap<String, String>,
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
) -> Result<String, ProviderError> {
    let (repository, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = repository.rfind(':').filter(|colon| !repository[*colon..].contains('/'));
    let repository = tag.map_or(repository, |colon| &repository[..colon]);
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    if let Some(artifact) = named.get(repository) {
        let found = artifacts.iter().find(|(name, _)| name.as_str() == artifact).map(|(_, artifact)| artifact);
        let known: Vec<&str> = artifacts.keys().map(ArtifactName::as_str).collect();
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
    use crate::kubernetes::object::Object;
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
        pin(&object.id, &mut value, &named, &BTreeMap::from([("api".parse().unwrap(), artifact)]))?;
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
        let mut value = json!({ "spec": { "volumes": [{ "name": "model", "image": { "reference": "shop/api:1" } }] } });
        let id =
            Object::try_from(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } })).unwrap().id;
        let error = pin(&id, &mut value, &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
        assert!(error.message.contains("Pod/p: the image `shop/api:1` can move"), "{error}");
        let error = put_from("oci-layout:build/api", "shop/api").unwrap_err();
        assert!(error.message.contains("no cluster takes an image from a directory"), "{error}");
        assert!(put("gone:1").unwrap_err().message.contains("expected one of api"));
    }
}
