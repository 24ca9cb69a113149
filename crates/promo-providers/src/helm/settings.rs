//! What `deploy.helm` is told: its settings, and the values that it hands to a chart. A pure function of the inputs.

use std::collections::BTreeMap;
use std::time::Duration;

use promo_core::ids::ArtifactName;
use promo_sdk::{ArtifactInput, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::settings;

/// How long objects may take to settle, where nothing else is said.
const TIMEOUT: u64 = 300;
/// How many revisions helm keeps, where nothing else is said. A way back is a new revision made of what was deployed before, so
/// that none is needed for it: they are for people.
const HISTORY: u64 = 20;
/// The longest name of a release that helm takes.
const LONGEST: usize = 53;

/// The settings of `deploy.helm`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    chart: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    inject: BTreeMap<String, String>,
    #[serde(default)]
    timeout: Option<u64>,
    #[serde(default)]
    history: Option<u64>,
    #[serde(default)]
    adopt: bool,
    #[serde(default)]
    image_keys: Vec<String>,
}

/// The same, looked at.
#[derive(Debug)]
pub(super) struct Settings {
    /// An artifact's name, or the path of a directory.
    pub(super) chart: String,
    /// The release's name.
    pub(super) name: String,
    /// Paths and globs of values, in the order in which they count.
    pub(super) values: Vec<String>,
    set: Map<String, Value>,
    inject: BTreeMap<String, String>,
    pub(super) timeout: Duration,
    pub(super) history: u64,
    /// Whether a release that helm has made without promo is taken over.
    pub(super) adopt: bool,
    /// Keys under which images stand in objects of kinds that somebody defined, beside the usual ones.
    pub(super) image_keys: Vec<String>,
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

impl Settings {
    /// The settings of a deployment.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a release that cannot be called so.
    pub(super) fn of(inputs: &Inputs) -> Result<Self, ProviderError> {
        let given: Given = settings::read("helm", inputs)?;
        let name = given.name.unwrap_or_else(|| "promo".to_owned());
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty()
            || name.len() > LONGEST
            || !name.chars().all(fits)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            let what = format!("expected up to {LONGEST} small letters, digits and `-` between them");
            return Err(invalid(format!("`name` is `{}`: {what}", crate::escape::line(&name))));
        }
        Ok(Self {
            chart: given.chart,
            name,
            values: given.values,
            set: given.set,
            inject: given.inject,
            timeout: Duration::from_secs(given.timeout.unwrap_or(TIMEOUT)),
            history: given.history.unwrap_or(HISTORY),
            adopt: given.adopt,
            image_keys: given.image_keys,
        })
    }

    /// What is set here.
    pub(super) fn set(&self) -> Value {
        Value::Object(self.set.clone())
    }

    /// The same with what the release brings in its places.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an artifact or a word that there is not, and for a path that leads through a text.
    pub(super) fn own_values(&self, artifacts: &BTreeMap<ArtifactName, ArtifactInput>) -> Result<Value, ProviderError> {
        let mut values = self.set.clone();
        for (path, source) in &self.inject {
            let text = injected(path, source, artifacts)?;
            put(&mut values, path, path, text)?;
        }
        Ok(Value::Object(values))
    }
}

/// What `inject` brings from an artifact: `api.repository`, `api.digest`, `api.tag`.
fn injected(
    path: &str,
    source: &str,
    artifacts: &BTreeMap<ArtifactName, ArtifactInput>,
) -> Result<String, ProviderError> {
    let wrong = |why: String| invalid(format!("`inject` has `{path} = {source}`: {why}"));
    let (name, word) = source
        .rsplit_once('.')
        .ok_or_else(|| wrong("expected an artifact and one of its words, such as `api.digest`".into()))?;
    let known: Vec<&str> = artifacts.keys().map(ArtifactName::as_str).collect();
    let artifact = artifacts.iter().find(|(artifact, _)| artifact.as_str() == name).map(|(_, artifact)| artifact);
    let artifact = artifact
        .ok_or_else(|| wrong(format!("there is no artifact `{name}`: expected one of {}", known.join(", "))))?;
    match word {
        "digest" => Ok(artifact.digest.to_string()),
        "repository" if artifact.repository.starts_with("oci-layout:") => {
            let why = "no cluster takes an image from a directory: copy it to a registry with `mirror`";
            Err(wrong(format!("`{name}` is in {}; {why}", artifact.repository)))
        }
        "repository" => Ok(artifact.repository.clone()),
        "tag" => artifact.tag.clone().ok_or_else(|| wrong(format!("`{name}` has no tag in this release"))),
        _ => Err(wrong(format!("`{word}` is nothing of an artifact: expected repository, digest or tag"))),
    }
}

/// Puts a text at a path of names with points between them; `\.` is a point within a name.
fn put(values: &mut Map<String, Value>, whole: &str, path: &str, text: String) -> Result<(), ProviderError> {
    let bytes = path.as_bytes();
    let point = (0..bytes.len()).find(|&at| bytes[at] == b'.' && (at == 0 || bytes[at - 1] != b'\\'));
    let (name, rest) = point.map_or((path, None), |at| (&path[..at], Some(&path[at + 1..])));
    let name = name.replace("\\.", ".");
    if name.is_empty() {
        return Err(invalid(format!("`inject` has the path `{whole}`: a name between two points is missing")));
    }
    let Some(rest) = rest else {
        values.insert(name, Value::from(text));
        return Ok(());
    };
    match values.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(below) => put(below, whole, rest, text),
        _ => Err(invalid(format!("`inject` has the path `{whole}`, and `set` says that `{name}` is no table"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn values(settings: Value, repository: &str) -> Result<Value, ProviderError> {
        let artifact = ArtifactInput {
            repository: repository.into(),
            digest: DIGEST.parse().unwrap(),
            tag: Some("1.0.0".into()),
            source: None,
            tree: Vec::new(),
        };
        let artifacts = BTreeMap::from([("api".parse().unwrap(), artifact)]);
        let inputs = Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings,
            artifacts: artifacts.clone(),
            files: [].into(),
        };
        Settings::of(&inputs)?.own_values(&artifacts)
    }

    #[test]
    fn what_the_release_brings_stands_where_the_chart_looks_for_it() {
        let inject =
            json!({ "image.repository": "api.repository", "image.digest": "api.digest", "a\\.b.tag": "api.tag" });
        let given = json!({ "chart": "c", "set": { "image": { "pull": "Always" } }, "inject": inject });
        let expected = json!({
            "image": { "pull": "Always", "repository": "r.example/api", "digest": DIGEST }, "a.b": { "tag": "1.0.0" },
        });
        assert_eq!(values(given, "r.example/api").unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_brought_is_refused_by_name() {
        for (inject, why) in [
            (json!({ "a": "web.digest" }), "no artifact `web`: expected one of api"),
            (json!({ "a": "api.name" }), "expected repository, digest or tag"),
            (json!({ "a": "api" }), "such as `api.digest`"),
            (json!({ "a..b": "api.tag" }), "a name between two points is missing"),
            (json!({ "text.b": "api.tag" }), "`text` is no table"),
            (json!({ "a": "api.repository" }), "no cluster takes an image from a directory"),
        ] {
            let given = json!({ "chart": "c", "set": { "text": "t" }, "inject": inject });
            let error = values(given, "oci-layout:build").unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{error}");
        }
        for name in ["", "-a", "A", &"a".repeat(54), "--kubeconfig"] {
            assert!(values(json!({ "chart": "c", "name": name }), "r").unwrap_err().message.contains("`name`"));
        }
    }
}
