//! What would be there: plain files as they are, and rendered templates.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;

use super::tree::{ENTRIES, Manifest};
use crate::settings;
use crate::templates::{Form, Templates};

/// Bytes of a whole tree (S13.2, as for archives).
const TREE: usize = 256 << 20;

/// The settings of `deploy.directory`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    templates: Vec<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    strip: Option<String>,
}

/// A tree of files, by path below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tree(pub(super) BTreeMap<String, Vec<u8>>);

impl Tree {
    /// What will be read from the disk once it is there.
    pub(super) fn manifest(&self) -> Manifest {
        self.0.iter().map(|(path, bytes)| (path.clone(), Digest::of(bytes).to_string())).collect()
    }
}

/// Renders the tree that `inputs` describe.
///
/// # Errors
/// [`ErrorKind::Invalid`] for settings, paths and templates that make no sense, with the file and line of a template;
/// what reading a content gives.
pub(super) fn render(cx: &Context, inputs: &Inputs) -> Result<Tree, ProviderError> {
    let settings: Settings = settings::read("directory", inputs)?;
    let (sources, plain) = read(cx, inputs, &settings)?;

    let mut tree =
        Destination { strip: settings.strip.as_deref(), tree: BTreeMap::new(), from: BTreeMap::new(), size: 0 };
    for (path, bytes) in plain {
        tree.put(path, path, bytes)?;
    }
    if !sources.is_empty() {
        let values = json(&settings.values);
        let templates = Templates::new(Form::Text, &sources, inputs, &values)?;
        for path in sources.keys() {
            tree.put(path, path.strip_suffix(".j2").unwrap_or(path), templates.render(path)?)?;
        }
    }
    tree.finish()
}

/// Finds templates that cannot be parsed, and names in them that no release gives a value. What depends on the values that
/// `inputs` only stand in for is never taken for wrong: a name is told only where it is none of those that a template sees,
/// and rendering would not end there if it were.
///
/// # Errors
/// [`ErrorKind::Invalid`] for the first of them; what reading a content gives.
pub(super) fn lint(cx: &Context, inputs: &Inputs) -> Result<(), ProviderError> {
    let settings: Settings = settings::read("directory", inputs)?;
    let (sources, _) = read(cx, inputs, &settings)?;
    let values = json(&settings.values);
    let templates = Templates::new(Form::Text, &sources, inputs, &values)?;
    sources.keys().try_for_each(|path| templates.lint(path).map(drop))
}

fn json(values: &BTreeMap<String, String>) -> serde_json::Value {
    values.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str()))).collect()
}

/// The contents of templates and of plain files, by path.
type Contents<'a> = (BTreeMap<&'a str, String>, BTreeMap<&'a str, Vec<u8>>);

fn read<'a>(cx: &Context, inputs: &'a Inputs, settings: &Settings) -> Result<Contents<'a>, ProviderError> {
    let templates = Patterns::new("templates", &settings.templates)?;
    let files = Patterns::new("files", &settings.files)?;
    let mut sources = BTreeMap::new();
    let mut plain = BTreeMap::new();
    for (path, digest) in &inputs.files {
        // A template that a glob of `files` also covers is a template.
        if templates.cover(path) {
            let text = String::from_utf8(cx.blobs.get(digest)?)
                .map_err(|e| invalid(format!("{path}: a template must be UTF-8 text: {}", e.utf8_error())))?;
            sources.insert(path.as_str(), text);
        } else if files.cover(path) {
            plain.insert(path.as_str(), cx.blobs.get(digest)?);
        } else {
            return Err(invalid(format!(
                "{path}: the file belongs to the deployment, but neither `files` nor `templates` covers it"
            )));
        }
    }
    Ok((sources, plain))
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

/// Paths and globs: a text covers the path that it is, what is below it, and what it matches as a glob.
struct Patterns<'a>(Vec<(&'a str, Option<globset::GlobMatcher>)>);

impl<'a> Patterns<'a> {
    fn new(key: &str, texts: &'a [String]) -> Result<Self, ProviderError> {
        let compile = |text: &'a String| {
            let path = text.trim_start_matches("./");
            // Most are plain paths, and compiling a glob costs more than all the rest of a small deployment.
            let glob = path.contains(['*', '?', '[', ']', '{', '}', '\\']).then(|| {
                let glob = GlobBuilder::new(path).literal_separator(true).build();
                glob.map_err(|e| invalid(format!("`{key}`: `{text}` is not a glob: {}", e.kind())))
            });
            Ok((path.trim_end_matches('/'), glob.transpose()?.map(|glob| glob.compile_matcher())))
        };
        texts.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    fn cover(&self, path: &str) -> bool {
        self.0.iter().any(|(text, glob)| {
            glob.as_ref().is_some_and(|glob| glob.is_match(path))
                || path.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// Collects files under their destinations.
struct Destination<'a> {
    strip: Option<&'a str>,
    tree: BTreeMap<String, Vec<u8>>,
    from: BTreeMap<String, String>,
    size: usize,
}

impl Destination<'_> {
    fn put(&mut self, source: &str, path: &str, bytes: Vec<u8>) -> Result<(), ProviderError> {
        let strip = self.strip.map(|prefix| prefix.trim_start_matches("./").trim_end_matches('/'));
        let path = match strip {
            Some(prefix) if !prefix.is_empty() => {
                path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
            }
            _ => path,
        };
        let safe = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !path.split('/').all(safe) {
            return Err(invalid(format!("{source}: `{path}` is not a plain relative path")));
        }
        self.size += bytes.len();
        if self.size > TREE {
            return Err(invalid(format!("{source}: the files together are larger than {} MiB", TREE >> 20)));
        }
        if let Some(other) = self.from.insert(path.to_owned(), source.to_owned()) {
            return Err(invalid(format!("{source} and {other} both become `{path}`")));
        }
        self.tree.insert(path.to_owned(), bytes);
        if self.tree.len() > ENTRIES {
            return Err(invalid(format!("{source}: more than {ENTRIES} files in one deployment")));
        }
        Ok(())
    }

    fn finish(self) -> Result<Tree, ProviderError> {
        if self.tree.is_empty() {
            return Err(invalid("there is no file to deploy: `files` and `templates` cover none".to_owned()));
        }
        for path in self.tree.keys() {
            let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(parent) = parents.find(|parent| self.tree.contains_key(*parent)) {
                let (file, below) = (&self.from[parent], &self.from[path]);
                return Err(invalid(format!(
                    "{file} becomes the file `{parent}`, but {below} needs it as a directory"
                )));
            }
        }
        Ok(Tree(self.tree))
    }
}
