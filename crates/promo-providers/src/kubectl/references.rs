//! What an overlay refers to: every kustomization that it is made of is read, and only what is known to lead nowhere but to the recorded
//! files may stand in one. What must not live here: building it.
//!
//! kustomize itself takes keys in any spelling (`Resources`), loads paths that begin like an address, also of this machine, and runs
//! what generators and transformers say. So a key that is not known here, exactly as it is spelt, is refused.

use std::collections::{BTreeMap, BTreeSet};

use promo_sdk::{ErrorKind, ProviderError};
use serde_json::{Map, Value};

use crate::escape;

/// What the file of an overlay is called.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Keys of a kustomization below which nothing is loaded from anywhere.
const PLAIN: [&str; 15] = [
    "apiVersion",
    "kind",
    "metadata",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "images",
    "replicas",
    "vars",
    "sortOptions",
    "generatorOptions",
    "buildMetadata",
];
/// Keys that list files, and directories where one may stand.
const RESOURCES: [(&str, bool); 3] = [("resources", true), ("bases", true), ("components", true)];
/// Keys that list files.
const FILES: [&str; 2] = ["configurations", "crds"];
/// Keys that list what is done, in files or written out in place.
const PLUGINS: [&str; 3] = ["generators", "transformers", "validators"];
/// Keys of charts, which are not inflated here.
const CHARTS: [&str; 3] = ["helmCharts", "helmChartInflationGenerator", "helmGlobals"];
/// What may be patched or replaced, in a table that names a file or says it itself.
const PATCHES: [(&str, &[&str]); 3] = [
    ("patches", &["path", "patch", "target", "options"]),
    ("patchesJson6902", &["path", "patch", "target", "options"]),
    ("replacements", &["path", "source", "targets"]),
];
/// Keys of a table that makes a ConfigMap or a Secret.
const MAPS: [&str; 9] = ["name", "namespace", "behavior", "options", "type", "literals", "files", "envs", "env"];

/// What kustomize itself does, by the kind in which it is written out, with what such a table may say. Others are programs.
const BUILTIN: [(&str, &[&str]); 15] = [
    ("AnnotationsTransformer", &["annotations", "fieldSpecs"]),
    ("LabelTransformer", &["labels", "fieldSpecs"]),
    ("NamespaceTransformer", &["fieldSpecs", "unsetOnly", "setRoleBindingSubjects"]),
    ("PrefixTransformer", &["prefix", "fieldSpecs"]),
    ("SuffixTransformer", &["suffix", "fieldSpecs"]),
    ("PrefixSuffixTransformer", &["prefix", "suffix", "fieldSpecs"]),
    ("ImageTagTransformer", &["imageTag", "fieldSpecs"]),
    ("ReplicaCountTransformer", &["replica", "fieldSpecs"]),
    ("HashTransformer", &[]),
    ("PatchTransformer", PATCHES[0].1),
    ("PatchJson6902Transformer", &["path", "jsonOp", "target"]),
    ("PatchStrategicMergeTransformer", &["paths", "patches"]),
    ("ReplacementTransformer", &["replacements"]),
    ("ConfigMapGenerator", &MAPS),
    ("SecretGenerator", &MAPS),
];

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

/// Finds out whether an overlay leads to nothing but these files.
///
/// # Errors
/// [`ErrorKind::Invalid`] naming what leads elsewhere, or may.
pub(super) fn check(files: &BTreeMap<String, Vec<u8>>, overlay: &str) -> Result<(), ProviderError> {
    Follow { files, seen: BTreeSet::new() }.directory(overlay, "`kustomize`")
}

/// Follows what kustomizations refer to.
struct Follow<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    seen: BTreeSet<String>,
}

/// Where a reference stands: in which file, in which directory, under which key.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a str,
    directory: &'a str,
    key: &'a str,
}

impl<'a> At<'a> {
    fn under(self, key: &'a str) -> Self {
        Self { key, ..self }
    }

    fn wrong(self, why: &str) -> ProviderError {
        invalid(format!("{}: `{}` {why}", self.path, self.key))
    }
}

impl Follow<'_> {
    /// A directory with a kustomization of its own, to which `from` refers.
    fn directory(&mut self, directory: &str, from: &str) -> Result<(), ProviderError> {
        let Some(name) = NAMES.iter().find(|name| self.files.contains_key(&below(directory, name))) else {
            return Err(invalid(format!("{from}: {directory} has no kustomization.yaml among the recorded files")));
        };
        let path = below(directory, name);
        if !self.seen.insert(path.clone()) {
            return Ok(());
        }
        let text = self.text(&path)?;
        let kustomization = match documents(&path, &text)?.as_slice() {
            [] => return Ok(()),
            [Value::Object(kustomization)] => kustomization.clone(),
            _ => return Err(invalid(format!("{path}: a kustomization is one table"))),
        };
        for (key, value) in kustomization.iter().filter(|(_, value)| !value.is_null()) {
            self.key(At { path: &path, directory, key }, value)?;
        }
        Ok(())
    }

    /// What stands under one key of a kustomization.
    fn key(&mut self, at: At<'_>, value: &Value) -> Result<(), ProviderError> {
        let key = at.key;
        if PLAIN.contains(&key) {
            return Ok(());
        }
        if CHARTS.contains(&key) {
            let none = value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
            let why = "charts are not inflated here: deploy them with `deploy.helm`";
            return if none { Ok(()) } else { Err(invalid(format!("{}: `{key}`: {why}", at.path))) };
        }
        if let Some((_, directories)) = RESOURCES.iter().find(|(known, _)| *known == key) {
            return texts(at, value)?.into_iter().try_for_each(|text| self.reference(at, text, *directories));
        }
        if FILES.contains(&key) {
            return texts(at, value)?.into_iter().try_for_each(|text| self.reference(at, text, false));
        }
        if key == "patchesStrategicMerge" {
            return texts(at, value)?.into_iter().try_for_each(|text| self.file_or_text(at, text));
        }
        if PLUGINS.contains(&key) {
            return texts(at, value)?.into_iter().try_for_each(|text| self.plugins(at, text));
        }
        if let Some((_, known)) = PATCHES.iter().find(|(patched, _)| *patched == key) {
            return tables(at, value)?.into_iter().try_for_each(|table| self.patch(at, table, known));
        }
        if matches!(key, "configMapGenerator" | "secretGenerator") {
            return tables(at, value)?.into_iter().try_for_each(|table| self.map(at, table));
        }
        if key == "openapi" {
            let table = value.as_object().ok_or_else(|| at.wrong("is to be a table"))?;
            known(at, table, &["path"])?;
            return self.path(at, table);
        }
        Err(at.wrong(&format!("is not known here{}", spelt(key))))
    }

    /// A table that names a file under `path`, or says itself what is to be done.
    fn patch(&mut self, at: At<'_>, table: &Map<String, Value>, keys: &[&str]) -> Result<(), ProviderError> {
        known(at, table, keys)?;
        self.path(at, table)
    }

    fn path(&mut self, at: At<'_>, table: &Map<String, Value>) -> Result<(), ProviderError> {
        match table.get("path") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(text)) if text.is_empty() => Ok(()),
            Some(Value::String(text)) => self.reference(at, text, false),
            Some(_) => Err(at.wrong("has a `path` that is no text")),
        }
    }

    /// A table that makes a ConfigMap or a Secret.
    fn map(&mut self, at: At<'_>, table: &Map<String, Value>) -> Result<(), ProviderError> {
        known(at, table, &MAPS)?;
        let null = Value::Null;
        for text in texts(at, table.get("files").unwrap_or(&null))? {
            // `KEY=PATH`; one with more is refused by kustomize.
            self.reference(at, text.split_once('=').map_or(text, |(_, path)| path), false)?;
        }
        let env = table.get("env").filter(|env| !env.is_null());
        let env = env.map(|env| env.as_str().ok_or_else(|| at.wrong("has an `env` that is no text"))).transpose()?;
        let mut all = texts(at, table.get("envs").unwrap_or(&null))?.into_iter().chain(env);
        all.try_for_each(|text| self.reference(at, text, false))
    }

    /// A generator, transformer or validator: what is written out in place or in a file, and what kustomize does itself.
    fn plugins(&mut self, at: At<'_>, text: &str) -> Result<(), ProviderError> {
        let (path, text) = if in_place(text) {
            (at.path.to_owned(), text.to_owned())
        } else {
            self.reference(at, text, false)?;
            let path = joined(at.directory, text).unwrap_or_default();
            let text = self.text(&path)?;
            (path, text)
        };
        for document in documents(&path, &text)? {
            let at = At { path: &path, ..at };
            let table = document.as_object().ok_or_else(|| at.wrong("is to be a table"))?;
            let word = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default();
            let found = BUILTIN.iter().find(|(kind, _)| *kind == word("kind"));
            let Some((kind, keys)) = found.filter(|_| word("apiVersion") == "builtin") else {
                let kind = escape::line(&format!("{} of {}", word("kind"), word("apiVersion")));
                return Err(at.wrong(&format!(
                    "names {kind}: only what kustomize does itself (`apiVersion: builtin`) is known here"
                )));
            };
            let at = at.under(kind);
            // A function would be run that an annotation names, or what was one before there were such annotations.
            if let Some(metadata) = table.get("metadata").and_then(Value::as_object) {
                known(at, metadata, &["name", "namespace", "labels", "annotations"])?;
                let annotations = metadata.get("annotations").and_then(Value::as_object);
                if annotations.into_iter().flatten().any(|(key, _)| key.starts_with("config.")) {
                    return Err(at.wrong("has annotations of functions, which are not run here"));
                }
            }
            let own: Map<String, Value> = table
                .iter()
                .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata"))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            known(at, &own, keys)?;
            match *kind {
                "ConfigMapGenerator" | "SecretGenerator" => self.map(at, &own)?,
                "PatchStrategicMergeTransformer" => {
                    let paths = own.get("paths").unwrap_or(&Value::Null);
                    texts(at, paths)?.into_iter().try_for_each(|text| self.file_or_text(at, text))?;
                }
                "ReplacementTransformer" => {
                    let all = own.get("replacements").unwrap_or(&Value::Null);
                    tables(at, all)?.into_iter().try_for_each(|table| self.patch(at, table, PATCHES[2].1))?;
                }
                _ => self.path(at, &own)?,
            }
        }
        Ok(())
    }

    fn file_or_text(&mut self, at: At<'_>, text: &str) -> Result<(), ProviderError> {
        if in_place(text) { Ok(()) } else { self.reference(at, text, false) }
    }

    /// One reference: a recorded file, or a directory where one may stand.
    fn reference(&mut self, at: At<'_>, reference: &str, directories: bool) -> Result<(), ProviderError> {
        let (path, key, shown) = (at.path, at.key, escape::line(reference));
        // Whatever is recorded: what begins like an address is loaded from there.
        let target = joined(at.directory, reference).filter(|_| !has_scheme(reference));
        if let Some(target) = &target {
            if self.files.contains_key(target) {
                return Ok(());
            }
            if directories && NAMES.iter().any(|name| self.files.contains_key(&below(target, name))) {
                return self.directory(target, path);
            }
        }
        if is_remote(reference) {
            let why = "what is elsewhere can change without a plan: copy it into the repository";
            return Err(invalid(format!("{path}: `{key}` refers to `{shown}`: {why}")));
        }
        match target {
            None => Err(invalid(format!(
                "{path}: `{key}` refers to `{shown}`, which leads out of the pipeline's directory"
            ))),
            Some(target) => Err(invalid(format!(
                "{path}: `{key}` refers to `{shown}`, which is not among the files of this deployment: name it in `files`, as \
                 `{}`",
                escape::line(&target)
            ))),
        }
    }

    fn text(&self, path: &str) -> Result<String, ProviderError> {
        let bytes = self.files.get(path).cloned().unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| invalid(format!("{path} is no text in UTF-8")))
    }
}

/// What stands in a file, empty documents left out. What is around a mistake may be a secret, and is not told.
fn documents(path: &str, text: &str) -> Result<Vec<Value>, ProviderError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(text, options);
    let all = read.map_err(|error| invalid(format!("{path}: {}", escape::line(&error.to_string()))))?;
    Ok(all.into_iter().filter(|document| !document.is_null()).collect())
}

/// The texts of a list; nothing is none.
fn texts<'v>(at: At<'_>, value: &'v Value) -> Result<Vec<&'v str>, ProviderError> {
    let wrong = || at.wrong("is to be a list of texts");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

/// The tables of a list; nothing is none.
fn tables<'v>(at: At<'_>, value: &'v Value) -> Result<Vec<&'v Map<String, Value>>, ProviderError> {
    let wrong = || at.wrong("is to be a list of tables");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_object().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

/// Refuses a table with any other key.
fn known(at: At<'_>, table: &Map<String, Value>, keys: &[&str]) -> Result<(), ProviderError> {
    match table.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            Err(at.wrong(&format!("has a key `{}`, which is not known here{}", escape::line(key), spelt(key))))
        }
    }
}

/// What helps where only the spelling is another one.
fn spelt(key: &str) -> &'static str {
    if key.starts_with(|first: char| first.is_ascii_uppercase()) { ": keys begin with a small letter" } else { "" }
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// A path relative to a directory, without `.` and `..`; nothing where it leads out.
pub(super) fn joined(directory: &str, reference: &str) -> Option<String> {
    if reference.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a text is no path and no address, but what could stand in a file: no path is a table in YAML, and no address has two lines.
fn in_place(text: &str) -> bool {
    let read: Result<Vec<Value>, _> = serde_saphyr::from_multiple(text);
    let scheme = text.split(':').next().unwrap_or_default();
    let address = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (!address || text.trim_end().contains('\n'))
        && read.is_ok_and(|all| all.iter().all(|value| value.is_object() || value.is_null()))
}

/// Whether a reference begins like an address: `http:`, in any spelling.
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Whether kustomize would take it for an address.
fn is_remote(reference: &str) -> bool {
    let host = reference.split(['/', ':']).next().unwrap_or_default();
    has_scheme(reference)
        || reference.contains("://")
        || reference.contains("?ref=")
        || reference.contains(".git")
        || reference.starts_with("git::")
        || reference.contains('@')
        || (host.contains('.') && !host.starts_with('.') && reference.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(files: &[(&str, &str)]) -> Result<(), ProviderError> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        check(&files, "over")
    }

    #[test]
    fn s2_4_everything_that_an_overlay_uses_is_among_what_was_recorded() {
        let base = ("base/kustomization.yml", "resources: [web.yaml]");
        let over = "resources: [../base, own.yaml]\npatches: [{ path: patch.yaml }]\n\
                    configMapGenerator: [{ name: a, files: [key=data/a.txt], envs: [a.env] }]\n\
                    patchesStrategicMerge:\n- |-\n  kind: Deployment\n";
        let files = [
            ("over/kustomization.yaml", over),
            base,
            ("base/web.yaml", ""),
            ("over/own.yaml", ""),
            ("over/patch.yaml", ""),
            ("over/data/a.txt", ""),
            ("over/a.env", ""),
        ];
        follow(&files).unwrap();
        for (missing, named) in [
            (
                1,
                "over/kustomization.yaml: `resources` refers to `../base`, which is not among the files of this deployment: name it in `files`, as `base`",
            ),
            (2, "base/kustomization.yml: `resources` refers to `web.yaml`"),
            (4, "as `over/patch.yaml`"),
            (5, "`configMapGenerator` refers to `data/a.txt`"),
            (6, "as `over/a.env`"),
        ] {
            let mut without = files.to_vec();
            without.remove(missing);
            let error = follow(&without).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(named), "{error}");
        }
        // One that refers to itself ends.
        follow(&[("over/kustomization.yaml", "resources: [../over]")]).unwrap();
    }

    #[test]
    fn what_is_elsewhere_is_refused_by_name() {
        for reference in [
            "https://example.com/base?ref=v1",
            "github.com/example/app/base",
            "git@github.com:example/app.git",
            "ssh://git.example/app",
            "git::https://git.example/app",
        ] {
            let error = follow(&[("over/kustomization.yaml", &format!("resources: [\"{reference}\"]"))]).unwrap_err();
            assert!(error.message.contains("copy it into the repository"), "{error}");
            let patch = format!("patches: [{{ path: \"{reference}\" }}]");
            assert!(follow(&[("over/kustomization.yaml", &patch)]).is_err(), "{patch}");
        }
        for (text, why) in [
            ("resources: [../../etc]", "leads out of"),
            ("resources: [/etc/passwd]", "leads out of"),
            ("helmCharts: [{ name: a }]", "deploy.helm"),
            ("resources: [", "kustomization.yaml"),
        ] {
            let error = follow(&[("over/kustomization.yaml", text)]).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
        assert!(follow(&[]).unwrap_err().message.contains("no kustomization.yaml"));
    }
    #[test]
    fn what_is_spelt_otherwise_or_not_known_is_refused_since_kustomize_may_load_or_run_it() {
        let loopback = "http://127.0.0.1:9/a.yaml";
        let inline = |kind: &str, also: &str| {
            format!("transformers:\n- |-\n  apiVersion: builtin\n  kind: {kind}\n  metadata: {{ name: a }}\n  {also}\n")
        };
        for (text, why) in [
            (format!("Resources: [\"{loopback}\"]"), "`Resources` is not known here: keys begin with a small letter"),
            (format!("resources: \"{loopback}\""), "`resources` is to be a list of texts"),
            (format!("patches: [{{ Path: \"{loopback}\" }}]"), "`patches` has a key `Path`"),
            (format!("patches: [\"{loopback}\"]"), "list of tables"),
            (format!("patchesStrategicMerge: [\"{loopback}\"]"), "copy it into the repository"),
            ("patchesStrategicMerge: [\"HTTP://127.0.0.1:9/a: b\"]".into(), "copy it into the repository"),
            ("resources: [\"http:own.yaml\"]".into(), "copy it into the repository"),
            (format!("configMapGenerator: [{{ name: a, files: [\"k={loopback}\"] }}]"), "copy it into the repository"),
            (
                format!("configMapGenerator: [{{ name: a, envs: [\"{loopback}?a=own.yaml\"] }}]"),
                "copy it into the repository",
            ),
            (format!("openapi: {{ path: \"{loopback}\" }}"), "copy it into the repository"),
            (inline("PatchTransformer", &format!("path: {loopback}")), "`PatchTransformer` refers to `http:"),
            (inline("PatchTransformer", &format!("Path: {loopback}")), "`PatchTransformer` has a key `Path`"),
            (inline("ReplacementTransformer", &format!("replacements: [{{ path: \"{loopback}\" }}]")), "refers to"),
            (inline("PatchStrategicMergeTransformer", &format!("paths: [\"{loopback}\"]")), "refers to"),
            (inline("ConfigMapGenerator", &format!("files: [\"{loopback}\"]")), "refers to"),
            (inline("HelmChartInflationGenerator", "name: a"), "names HelmChartInflationGenerator of builtin"),
            (
                inline("LabelTransformer", "labels: {}").replace("builtin", "example.com/v1"),
                "names LabelTransformer of example.com/v1",
            ),
            ("generators: [own.yaml]".into(), "`PatchTransformer` refers to"),
            ("generators: [../base]".into(), "`generators` refers to `../base`"),
            (
                inline("LabelTransformer", "labels: {}")
                    .replace("name: a", "name: a, annotations: { config.kubernetes.io/function: x }"),
                "annotations of functions",
            ),
            ("a: 1\n---\nresources: []".into(), "is one table"),
        ] {
            let plugin =
                format!("apiVersion: builtin\nkind: PatchTransformer\nmetadata: {{ name: a }}\npath: {loopback}\n");
            let files = [
                ("over/kustomization.yaml", text.as_str()),
                ("over/own.yaml", &plugin),
                ("over/http:own.yaml", ""),
                ("over/http:/127.0.0.1:9/a.yaml", ""),
                ("base/kustomization.yaml", ""),
            ];
            let error = follow(&files).map_err(|error| error.message);
            assert!(error.as_ref().is_err_and(|error| error.contains(why)), "{text}: {error:?}");
        }
        // What is known is let through, in place and in files.
        let all = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\nlabels: [{{ pairs: {{ a: b }} }}]\n\
             generators: [maps.yaml]\nreplacements: [{{ path: own.yaml }}]\nconfigurations: [own.yaml]\n\
             buildMetadata: [originAnnotations]\n{}",
            inline("PatchTransformer", "path: own.yaml")
        );
        let maps = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: { name: a }\nliterals: [a=b]\nfiles: [own.yaml]\n";
        follow(&[("over/kustomization.yaml", &all), ("over/own.yaml", ""), ("over/maps.yaml", maps)]).unwrap();
    }
}
