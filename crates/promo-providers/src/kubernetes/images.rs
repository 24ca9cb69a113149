//! Which images an object runs, and those of the release in their place. What must not live here: which images may run; that is
//! a rule, and the core has it.
//!
//! Where Kubernetes' own kinds name images is known. What an operator makes of an object of another kind is not: there every text
//! under a key that is called as images usually are counts, and under those that the deployment names besides.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::Digest;
use promo_core::ids::ArtifactName;
use promo_core::planner::split_reference;
use promo_sdk::{ArtifactInput, ErrorKind, ProviderError};
use serde_json::{Map, Value};

use super::object::{Id, Object};

/// The groups of kinds that are Kubernetes' own. Others are defined by somebody, also those of other projects below `k8s.io`.
const OWN: [&str; 20] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
];

/// Under which keys images stand in an object.
#[derive(Debug, Clone, Copy)]
enum Keys<'a> {
    /// Of containers and of volumes, and nowhere else.
    Known,
    /// Under the usual ones, and these.
    Usual(&'a [String]),
}

impl<'a> Keys<'a> {
    fn of(id: &Id, also: &'a [String]) -> Self {
        if OWN.contains(&id.kind.group.as_str()) { Self::Known } else { Self::Usual(also) }
    }

    fn has(self, key: &str) -> bool {
        match self {
            Self::Known => false,
            Self::Usual(also) => is_usual(key) || also.iter().any(|own| own == key),
        }
    }
}

/// Whether a key is called as those usually are under which an image stands: `image`, `images`, `imageName`, `imageRef`,
/// `initImage`, `sidecarImages`.
fn is_usual(key: &str) -> bool {
    matches!(key, "image" | "images" | "imageName" | "imageRef" | "imageReference")
        || key.ends_with("Image")
        || key.ends_with("Images")
}

/// Whether what an object of somebody's own kind has under this key is an image, as far as its name says.
pub(crate) fn is_image(id: &Id, key: &str) -> bool {
    Keys::of(id, &[]).has(key)
}

/// Puts the release's artifacts, by digest, where an object names images that `named` says are theirs. `keys` are those under which
/// images stand in objects of other kinds than Kubernetes' own, beside the usual ones.
///
/// # Errors
/// [`ErrorKind::Invalid`] for an artifact that there is not, or that no cluster could take from where it is.
pub(crate) fn pin(
    id: &Id,
    value: &mut Value,
    named: &BTreeMap<String, String>,
    keys: &[String],
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
) -> Result<(), ProviderError> {
    each(Keys::of(id, keys), value, &mut |_, image| {
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
    each(Keys::of(&object.id, &[]), &mut object.value.clone(), &mut |_, image| match image.split_once('@') {
        Some((_, digest)) if digest.parse::<Digest>().is_ok() => Ok(()),
        _ => {
            let (id, image) = (&object.id, crate::escape::line(image));
            let help = "name it by its digest, or say in `images` which artifact it is";
            Err(ProviderError::new(ErrorKind::Invalid, format!("{id}: the image `{image}` can move: {help}")))
        }
    })
}

/// The images that these objects would run, or mount, each once; `keys` as for [`pin`].
pub(crate) fn of<'a>(objects: impl Iterator<Item = &'a Object>, keys: &[String]) -> Vec<String> {
    let mut images = BTreeSet::new();
    for object in objects {
        note(Keys::of(&object.id, keys), &object.value, &mut |_, image| {
            images.insert(crate::escape::line(image));
        });
    }
    images.into_iter().collect()
}

/// The containers that an object declares, by name, with their images.
pub(crate) fn containers(value: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    note(Keys::Known, value, &mut |container, image| {
        found.extend(container.map(|name| (name.to_owned(), image.to_owned())));
    });
    found
}

fn note(keys: Keys<'_>, value: &Value, with: &mut dyn FnMut(Option<&str>, &str)) {
    let mut noted = |container: Option<&str>, image: &mut String| {
        with(container, image);
        Ok(())
    };
    each(keys, &mut value.clone(), &mut noted).expect("invariant: noting does not fail");
}

/// What is done with an image, and with the name of the container that runs it.
type Visit<'a> = &'a mut dyn FnMut(Option<&str>, &mut String) -> Result<(), ProviderError>;

/// Goes through every image below a value: of containers, of volumes that are images, which run nothing, and whose content
/// can move all the same, and under the keys of other kinds.
fn each(keys: Keys<'_>, value: &mut Value, visit: Visit<'_>) -> Result<(), ProviderError> {
    match value {
        Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| field(keys, key, value, visit)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| each(keys, item, visit)),
        _ => Ok(()),
    }
}

fn field(keys: Keys<'_>, key: &str, value: &mut Value, visit: Visit<'_>) -> Result<(), ProviderError> {
    match value {
        Value::Array(all) if matches!(key, "containers" | "initContainers") => {
            all.iter_mut().try_for_each(|one| container(keys, one, visit))
        }
        Value::Array(all) if key == "volumes" => all.iter_mut().try_for_each(|one| volume(keys, one, visit)),
        value if keys.has(key) => under(keys, value, true, visit),
        other => each(keys, other, visit),
    }
}

fn container(keys: Keys<'_>, value: &mut Value, visit: Visit<'_>) -> Result<(), ProviderError> {
    let name = value.get("name").and_then(Value::as_str).map(String::from);
    let Value::Object(map) = value else { return each(keys, value, visit) };
    map.iter_mut().try_for_each(|(key, value)| match value {
        Value::String(image) if key == "image" => visit(name.as_deref(), image),
        // An operator may have it bring more than one.
        other => field(keys, key, other, visit),
    })
}

fn volume(keys: Keys<'_>, value: &mut Value, visit: Visit<'_>) -> Result<(), ProviderError> {
    if !keys.has("image")
        && let Some(Value::String(image)) = value.pointer_mut("/image/reference")
    {
        return visit(None, image);
    }
    each(keys, value, visit)
}

/// What stands under a key for images: one, a list or a table of them, or one in parts. Where it is not `sure` that a text is one, as
/// beside an image in parts, only those count that say a tag or a digest.
fn under(keys: Keys<'_>, value: &mut Value, sure: bool, visit: Visit<'_>) -> Result<(), ProviderError> {
    match value {
        Value::String(image) if is_reference(image) && (sure || is_whole(image)) => visit(None, image),
        Value::Array(items) => items.iter_mut().try_for_each(|item| under(keys, item, sure, visit)),
        Value::Object(parts) => {
            let joined = joined(parts);
            let sure = sure && joined.is_none();
            if let Some(mut image) = joined.clone() {
                // Judged, and not replaced: what an operator makes of the parts is its own.
                visit(None, &mut image)?;
            }
            let is_part = |key: &str, text: &str| {
                PARTS.contains(&key) && joined.as_ref().is_none_or(|image| image.contains(text))
            };
            for (key, value) in parts {
                match value {
                    Value::String(text) if is_part(key, text) => {}
                    value if keys.has(key) => under(keys, value, true, visit)?,
                    value => under(keys, value, sure, visit)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Keys of a table that says an image in parts.
const PARTS: [&str; 10] = [
    "registry",
    "repository",
    "name",
    "tag",
    "newName",
    "newTag",
    "digest",
    "pullPolicy",
    "imagePullPolicy",
    "version",
];

/// The image that a table says in parts: `{ repository: shop/web, tag: "1" }`. A single word under `name` with nothing of an image
/// beside it is as a rule the name of something else.
fn joined(parts: &Map<String, Value>) -> Option<String> {
    let part = |key: &str| match parts.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        // `tag: 1.20` is a number, of which the server keeps what is told here: 1.2.
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let name = part("newName").or_else(|| part("repository")).or_else(|| part("name"))?;
    let (tag, digest) = (part("newTag").or_else(|| part("tag")).or_else(|| part("version")), part("digest"));
    let said = PARTS.iter().any(|key| !matches!(*key, "name" | "newName") && part(key).is_some());
    let alone = is_reference(&name) && name.contains(['/', ':', '@']);
    if !said && !alone {
        return None;
    }
    let mut image = part("registry").map_or_else(|| name.clone(), |registry| format!("{registry}/{name}"));
    for (part, before) in [(tag, ':'), (digest, '@')] {
        image.extend(part.map(|part| format!("{before}{part}")));
    }
    Some(image)
}

/// Whether the name of an image says which one of its repository.
fn is_whole(image: &str) -> bool {
    image.contains('@') || split_reference(image).1.is_some()
}

/// Whether a text can be the name of an image: no address, no sentence, no file of this machine
/// (<https://github.com/distribution/reference>).
fn is_reference(text: &str) -> bool {
    let (name, _) = split_reference(text);
    let path = name.split_once('/').map_or(name.as_str(), |(_, path)| path);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    !text.contains("//")
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(fits)
        && !path.contains(|c: char| c.is_ascii_uppercase())
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
        pin(&object.id, &mut value, &named, &[], &BTreeMap::from([("api".parse().unwrap(), artifact)]))?;
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
        assert_eq!(of([&pod].into_iter(), &[]), ["shop/api:1"]);
        let error = fixed(&pod).unwrap_err();
        assert!(error.message.contains("Pod/p: the image `shop/api:1` can move"), "{error}");
        let error = put_from("oci-layout:build/api", "shop/api").unwrap_err();
        assert!(error.message.contains("no cluster takes an image from a directory"), "{error}");
        assert!(put("gone:1").unwrap_err().message.contains("expected one of api"));
    }
    #[test]
    fn r2_images_of_kinds_that_somebody_defined_are_found_under_the_usual_keys_and_those_that_are_named() {
        let shop = |spec: Value| {
            let value = json!({ "apiVersion": "example.com/v1", "kind": "Shop", "metadata": { "name": "corner" }, "spec": spec });
            Object::try_from(value).unwrap()
        };
        let images = |spec: Value, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            of([&shop(spec)].into_iter(), &keys)
        };
        for (spec, found) in [
            (json!({ "image": "shop/api:1" }), &["shop/api:1"][..]),
            (json!({ "imageName": "pg:16", "a": [{ "initImage": "b:1" }] }), &["b:1", "pg:16"]),
            (json!({ "images": ["a:1", "b:1"], "sidecarImages": { "mesh": "c:1" } }), &["a:1", "b:1", "c:1"]),
            (json!({ "image": { "repository": "shop/api", "tag": "1" } }), &["shop/api:1"]),
            (
                json!({ "image": { "registry": "r.test:5000", "repository": "shop/api", "digest": DIGEST } }),
                &["r.test:5000/shop/api@DIGEST"],
            ),
            (json!({ "images": [{ "name": "shop/api", "newTag": "2" }] }), &["shop/api:2"]),
            // All of it in the name.
            (json!({ "image": { "name": "shop/api:latest" } }), &["shop/api:latest"]),
            (json!({ "image": { "name": "shop/api" } }), &["shop/api"]),
            (json!({ "image": { "name": "shop/api@DIGEST", "pullPolicy": "Always" } }), &["shop/api@DIGEST"]),
            (json!({ "image": { "name": "postgres", "version": 16 } }), &["postgres:16"]),
            (json!({ "image": { "name": "postgres", "imagePullPolicy": "Always" } }), &["postgres"]),
            // Numbers.
            (json!({ "image": { "repository": "shop/api", "tag": 1.20 } }), &["shop/api:1.2"]),
            (json!({ "image": { "repository": "shop/api", "tag": 7 } }), &["shop/api:7"]),
            // What stands beside or below one in parts, or in a container.
            (
                json!({ "image": { "repository": "shop/api", "tag": "1", "debug": { "repository": "tools/debug", "tag": "latest" } } }),
                &["shop/api:1", "tools/debug:latest"],
            ),
            (
                json!({ "image": { "repository": "shop/api", "digest": DIGEST, "name": "tools/other:1", "debug": "tools/debug:2" } }),
                &["shop/api@DIGEST", "tools/debug:2", "tools/other:1"],
            ),
            (
                json!({ "image": { "repository": "shop/api", "tag": "1", "initImage": "tools", "sidecars": [{ "image": "mesh" }] } }),
                &["mesh", "shop/api:1", "tools"],
            ),
            (
                json!({ "containers": [{ "name": "a", "image": "c:1", "helper": { "image": "d:1" }, "initImage": "e:1" }] }),
                &["c:1", "d:1", "e:1"],
            ),
            (
                json!({ "volumes": [{ "name": "v", "image": { "reference": "m:1" }, "sourceImage": "n:1" }] }),
                &["m:1", "n:1"],
            ),
            (
                json!({ "image": {
                    "repository": "shop/api", "tag": "1", "registry": "r.test:5000", "pullSecrets": ["login", { "name": "other" }],
                    "platform": "linux/amd64", "pullPolicy": "Always",
                } }),
                &["r.test:5000/shop/api:1"],
            ),
            (json!({ "image": { "web": { "image": "w:1", "pullPolicy": "Always" } } }), &["w:1"]),
            (json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "c:1" }] } } }), &["c:1"]),
            // What is no image, and what nobody would take for one.
            (
                json!({ "image": "https://shop.test/logo.png", "baseImage": "A picture of a shop", "imagePullPolicy": "Always" }),
                &[],
            ),
            (json!({ "image": { "name": "logo" }, "runtime": "shop/runtime:1" }), &[]),
            (json!({ "image": { "name": "https://shop.test/logo.png", "registry": "" } }), &[]),
            (json!({ "image": { "registry": "r.test:5000", "width": 20 } }), &[]),
        ] {
            let found: Vec<String> = found.iter().map(|image| image.replace("DIGEST", DIGEST)).collect();
            let spec: Value =
                serde_json::from_str(&spec.to_string().replace("@DIGEST", &format!("@{DIGEST}"))).unwrap();
            assert_eq!(images(spec.clone(), &[]), found, "{spec}");
        }
        assert_eq!(images(json!({ "runtime": "shop/runtime:1" }), &["runtime"]), ["shop/runtime:1"]);
        // Kinds of Kubernetes' own say it in containers.
        let map =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "image": "a:1" } });
        assert_eq!(of([&Object::try_from(map).unwrap()].into_iter(), &[]), [""; 0]);
        let error = fixed(&shop(json!({ "image": "a:1" }))).unwrap_err();
        assert!(error.message.contains("Shop/corner: the image `a:1` can move"), "{error}");
    }
}
