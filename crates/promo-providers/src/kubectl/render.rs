//! What is to be applied: what the deployment declares, with the release's digests in the place of image names. A pure function of the
//! inputs.

use std::collections::BTreeMap;

use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;
use serde_json::Value;

use super::hooks::Hook;
use super::kustomize::Builds;
use super::sources::{self, For};
use crate::kubernetes::images;
use crate::kubernetes::mark;
use crate::kubernetes::object::{self, Object};
use crate::settings;

/// The settings of `deploy.kubectl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) manifests: Vec<String>,
    #[serde(default)]
    pub(super) templates: Vec<String>,
    #[serde(default)]
    pub(super) values: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) values_files: Vec<String>,
    #[serde(default)]
    pub(super) kustomize: Option<String>,
    /// What the overlay uses besides its own directory.
    #[serde(default)]
    pub(super) files: Vec<String>,
    #[serde(default)]
    images: BTreeMap<String, String>,
    /// Keys under which images stand in objects of kinds that somebody defined, beside the usual ones.
    #[serde(default)]
    image_keys: Vec<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pub(super) timeout: Option<u64>,
    #[serde(default)]
    pub(super) adopt: bool,
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
    let name = settings(inputs)?.name.unwrap_or_else(|| mark::NAME.to_owned());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        let message = format!("`name` is `{name}`: expected up to 63 small letters, digits and `-` between them");
        return Err(ProviderError::new(ErrorKind::Invalid, message));
    }
    Ok(name)
}

/// What a deployment declares.
#[derive(Debug)]
pub(super) struct Declared {
    /// In the order in which they are applied.
    pub(super) objects: Vec<Object>,
    /// Jobs that run beside them.
    pub(super) hooks: Vec<Hook>,
    image_keys: Vec<String>,
}

impl Declared {
    /// The images that all of it would run.
    pub(super) fn images(&self) -> Vec<String> {
        images::of(self.objects.iter().chain(self.hooks.iter().map(|hook| &hook.object)), &self.image_keys)
    }
}

/// The manifests as they are declared, by path.
pub(super) fn manifests(cx: &Context, inputs: &Inputs) -> Result<Vec<(String, String)>, ProviderError> {
    let settings = settings(inputs)?;
    let declared = |path: &str| settings.manifests.iter().any(|pattern| promo_core::planner::matches(pattern, path));
    let mut out = Vec::new();
    for (path, digest) in inputs.files.iter().filter(|(path, _)| declared(path)) {
        if let Ok(text) = String::from_utf8(cx.blobs.get(digest)?.to_vec()) {
            out.push((path.clone(), text));
        }
    }
    Ok(out)
}

/// What a deployment declares.
///
/// # Errors
/// [`ErrorKind::Invalid`] for manifests that make no sense, or that leave the namespace of the target.
pub(super) async fn render(
    cx: &Context,
    inputs: &Inputs,
    builds: &Builds,
    what_for: For,
) -> Result<Declared, ProviderError> {
    let settings = settings(inputs)?;
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    let namespace = inputs.target.0.get("namespace").map(String::as_str);
    let Some(mut objects) = sources::read(cx, inputs, &settings, builds, what_for).await? else {
        return Ok(Declared { objects: Vec::new(), hooks: Vec::new(), image_keys: Vec::new() });
    };
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
        object::as_data(&object.id, &mut object.value);
        images::pin(&object.id, &mut object.value, &settings.images, &settings.image_keys, &inputs.artifacts)?;
    }
    let (mut hooks, mut rest) = (Vec::new(), Vec::new());
    for object in object::in_order(objects)? {
        match Hook::of(&object)? {
            Some(hook) => hooks.push(hook),
            None => rest.push(object),
        }
    }
    Ok(Declared { objects: rest, hooks, image_keys: settings.image_keys })
}
