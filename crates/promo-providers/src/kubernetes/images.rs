//! Which images the containers of an object run, and those of the release in their place. What must not live here: which
//! images may run; that is a rule, and the core has it.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::Digest;
use promo_core::ids::ArtifactName;
use promo_core::planner::split_reference;
use promo_sdk::{ArtifactInput, ErrorKind, ProviderError};
use serde_json::Value;

use super::object::{Id, Object};

/// Puts the release's artifacts, by digest, where an object names images that `named` says are theirs.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an artifact that there is not, or that no cluster could take from where it is.
pub(crate) fn pin(
    id: &Id,
    value: &mut Value,
    named: &BTreeMap<String, String>,
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
) -> Result<(), ProviderError> {
    each(value, &mut |_, image| {
        let Some(artifact) = named.get(&split_reference(image).0) else { return Ok(()) };
        let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
        let found = artifacts.iter().find(|(name, _)| name.as_str() == artifact).map(|(_, artifact)| artifact);
        let known: Vec<&str> = artifacts.keys().map(ArtifactName::as_str).collect();
        let found = found.ok_or_else(|| {
            invalid(format!("`images` names the artifact `{artifact}`: expected one of {}", known.join(", ")))
        })?;
        if found.repository.starts_with("oci-layout:") {
            let why = "no cluster takes an image from a directory: copy it to a registry with `mirror`";
            return Err(invalid(format!("{id}: `{artifact}` is in {}; {why}", found.repository)));
        }
        *image = format!("{}@{}", found.repository, found.digest);
        Ok(())
    })
}

/// Refuses an object of which an image can move, where no list of images goes to the core that would judge them.
///
/// # Errors
/// [`ErrorKind::Invalid`].
pub(crate) fn fixed(object: &Object) -> Result<(), ProviderError> {
    each(&mut object.value.clone(), &mut |_, image| match image.split_once('@') {
        Some((_, digest)) if digest.parse::<Digest>().is_ok() => Ok(()),
        _ => {
            let (id, image) = (&object.id, crate::escape::line(image));
            let help = "name it by its digest, or say in `images` which artifact it is";
            Err(ProviderError::new(ErrorKind::Invalid, format!("{id}: the image `{image}` can move: {help}")))
        }
    })
}

/// The images that these objects would run, or mount, each once.
pub(crate) fn of<'a>(objects: impl Iterator<Item = &'a Object>) -> Vec<String> {
    let mut images = BTreeSet::new();
    for object in objects {
        note(&object.value, &mut |_, image| {
            images.insert(crate::escape::line(image));
        });
    }
    images.into_iter().collect()
}

/// The containers that an object declares, by name, with their images.
pub(crate) fn containers(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    note(value, &mut |container, image| {
        found.extend(container.map(|name| (name.to_owned(), image.to_owned())));
    });
    found
}

fn note(value: &Value, with: &mut dyn FnMut(Option<&str>, &str)) {
    let mut noted = |container: Option<&str>, image: &mut String| {
        with(container, image);
        Ok(())
    };
    each(&mut value.clone(), &mut noted).expect("invariant: noting does not fail");
}

/// What is done with an image, and with the name of the container that runs it.
type Visit<'a> = &'a mut dyn FnMut(Option<&str>, &mut String) -> Result<(), ProviderError>;

/// Goes through every image below a value: of containers, and of volumes that are images, which run nothing, and whose content
/// can move all the same.
fn each(value: &mut Value, visit: Visit<'_>) -> Result<(), ProviderError> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Array(containers) if matches!(key.as_str(), "containers" | "initContainers") => {
                        for container in containers {
                            let name = container.get("name").and_then(Value::as_str).map(String::from);
                            if let Some(Value::String(image)) = container.get_mut("image") {
                                visit(name.as_deref(), image)?;
                            }
                        }
                    }
                    Value::Array(volumes) if key == "volumes" => {
                        for volume in volumes {
                            if let Some(Value::String(image)) = volume.pointer_mut("/image/reference") {
                                visit(None, image)?;
                            }
                        }
                    }
                    other => each(other, visit)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| each(item, visit)),
        _ => Ok(()),
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
            tree: Vec::new(),
        };
        let mut value = object.value;
        let named = BTreeMap::from([("shop/api".to_owned(), "api".to_owned()), ("gone".into(), "web".into())]);
        pin(&object.id, &mut value, &named, &BTreeMap::from([("api".parse().unwrap(), artifact)]))?;
        Ok(value.pointer("/spec/template/spec/containers/0/image").unwrap().as_str().unwrap().to_owned())
    }

    #[test]
    fn s2_5_an_image_of_the_release_is_named_by_its_digest_and_any_other_is_left() {
        let ours = format!("registry.prod.example/shop/api@{DIGEST}");
        for image in ["shop/api", "shop/api:latest", "shop/api:1@sha256:00"] {
            assert_eq!(put(image).unwrap(), ours, "{image}");
        }
        for other in [format!("mesh.example:5000/proxy@{DIGEST}"), "mesh.example:5000/proxy".into()] {
            assert_eq!(put(&other).unwrap(), other);
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
            "spec": { "volumes": [{ "name": "model", "image": { "reference": "shop/api:1" } }] },
        });
        let pod = Object::try_from(pod).unwrap();
        assert_eq!(of([&pod].into_iter()), ["shop/api:1"]);
        let error = fixed(&pod).unwrap_err();
        assert!(error.message.contains("Pod/p: the image `shop/api:1` can move"), "{error}");
        let error = put_from("oci-layout:build/api", "shop/api").unwrap_err();
        assert!(error.message.contains("no cluster takes an image from a directory"), "{error}");
        assert!(put("gone:1").unwrap_err().message.contains("expected one of api"));
    }
}
