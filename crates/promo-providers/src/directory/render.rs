//! What would be there: plain files as they are, and templates rendered with strict undefined values and bounded work.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::{self, Write};

use globset::GlobBuilder;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde::{Deserialize, Serialize};

use super::tree::{ENTRIES, Manifest};
use crate::{escape, settings};

/// Steps that one template may take.
const FUEL: u64 = 1_000_000;
/// How deep templates may include each other.
const RECURSION: usize = 32;
/// Bytes that one template may render to.
const RENDERED: usize = 4 << 20;
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

/// The names that a template sees, as [`Scope`] and [`Artifact`] have them.
const ROOTS: [&str; 4] = ["environment", "release", "artifacts", "values"];
const ARTIFACT: [&str; 4] = ["repository", "digest", "reference", "tag"];

/// What a template sees.
#[derive(Serialize)]
struct Scope<'a> {
    environment: &'a str,
    release: &'a str,
    artifacts: BTreeMap<&'a str, Artifact<'a>>,
    values: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Artifact<'a> {
    repository: &'a str,
    digest: String,
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
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
        let environment = environment(&sources)?;
        let scope = scope(inputs, &settings.values);
        for path in sources.keys() {
            let out = text(&environment, path, &scope).map_err(|e| template_error(path, &e, &sources))?;
            tree.put(path, path.strip_suffix(".j2").unwrap_or(path), out)?;
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
    let environment = environment(&sources)?;
    let scope = scope(inputs, &settings.values);
    for path in sources.keys() {
        let Err(error) = text(&environment, path, &scope) else { continue };
        if is_certain(&environment, path, &error, &scope, (inputs, &settings.values)) {
            return Err(template_error(path, &error, &sources));
        }
    }
    Ok(())
}

/// Whether an error of rendering is certain whatever the release: what it names is nowhere, or is a name that no template
/// gets, without which rendering would not have ended there.
fn is_certain(
    environment: &Environment<'_>,
    path: &str,
    error: &minijinja::Error,
    scope: &Value,
    (inputs, values): (&Inputs, &BTreeMap<String, String>),
) -> bool {
    use minijinja::ErrorKind::{UndefinedError, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    let unknown = |name: &[&str]| match name {
        ["values", value, ..] => !values.contains_key(*value),
        ["artifacts", artifact, rest @ ..] => {
            !inputs.artifacts.contains_key(*artifact) || rest.first().is_some_and(|field| !ARTIFACT.contains(field))
        }
        [root, ..] => !ROOTS.contains(root) && environment.globals().all(|(known, _)| known != *root),
        [] => false,
    };
    let (inner, template, line) = innermost(path, error);
    let elsewhere = |scope: &Value| match text(environment, path, scope) {
        Ok(_) => true,
        Err(error) => {
            let (other, name, at) = innermost(path, &error);
            (other.kind(), name, at) != (inner.kind(), template, line)
        }
    };
    match inner.kind() {
        UnknownFilter | UnknownTest | UnknownFunction | UnknownMethod => true,
        UndefinedError => environment.get_template(template).is_ok_and(|found| {
            let names = found.undeclared_variables(true);
            let mut unknown = names.iter().map(|name| name.split('.').collect::<Vec<_>>()).filter(|name| unknown(name));
            unknown.any(|name| elsewhere(&with(scope, &name)))
        }),
        _ => false,
    }
}

/// What a template sees, and a value of that name besides.
fn with(scope: &Value, name: &[&str]) -> Value {
    let mut whole = serde_json::to_value(scope).unwrap_or_default();
    let mut at = &mut whole;
    for part in name {
        if !at.is_object() {
            *at = serde_json::Value::Object(serde_json::Map::new());
        }
        at = &mut at[*part];
    }
    *at = "0".into();
    Value::from(Serde(whole))
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

fn text(environment: &Environment<'_>, path: &str, scope: &Value) -> Result<Vec<u8>, minijinja::Error> {
    let mut out = Bounded(Vec::new());
    environment.get_template(path)?.render_captured_to(scope.clone(), &mut out)?;
    Ok(out.0)
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

fn environment<'s>(sources: &'s BTreeMap<&'s str, String>) -> Result<Environment<'s>, ProviderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    // A file is text of any format: escaping by its name would change HTML and nothing else.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_syntax(
        SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default syntax is a legal one"),
    );
    for (name, source) in sources {
        environment.add_template(name, source).map_err(|e| template_error(name, &e, sources))?;
    }
    Ok(environment)
}

fn scope(inputs: &Inputs, values: &BTreeMap<String, String>) -> Value {
    let artifacts = inputs.artifacts.iter().map(|(name, artifact)| {
        let digest = artifact.digest.to_string();
        let reference = format!("{}@{digest}", artifact.repository);
        let tag = artifact.tag.as_deref();
        (name.as_str(), Artifact { repository: &artifact.repository, digest, reference, tag })
    });
    let scope = Scope {
        environment: inputs.environment.as_str(),
        release: inputs.release.as_str(),
        artifacts: artifacts.collect(),
        values,
    };
    Value::from(Serde(scope))
}

/// The error beneath all others, the template that it is in, and its line from 1.
fn innermost<'e>(name: &'e str, error: &'e minijinja::Error) -> (&'e minijinja::Error, &'e str, usize) {
    let mut inner = error;
    while let Some(source) = inner.source().and_then(|e| e.downcast_ref::<minijinja::Error>()) {
        inner = source;
    }
    let name = inner.name().or_else(|| error.name()).unwrap_or(name);
    (inner, name, inner.line().or_else(|| error.line()).unwrap_or(1).max(1))
}

/// Where the error is, innermost template first, what it is, and the line that holds it.
fn template_error(name: &str, error: &minijinja::Error, sources: &BTreeMap<&str, String>) -> ProviderError {
    let (inner, name, line) = innermost(name, error);
    let what = match (inner.kind(), inner.detail()) {
        (minijinja::ErrorKind::WriteFailure, _) => format!("the template renders to more than {} MiB", RENDERED >> 20),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let excerpt = sources.get(name).and_then(|text| text.lines().nth(line - 1)).map_or("", str::trim);
    let message = escape::line(&format!("{name}:{line}: {what}"));
    if excerpt.is_empty() { invalid(message) } else { invalid(format!("{message}, in `{}`", escape::line(excerpt))) }
}

/// A buffer that takes no more than [`RENDERED`] bytes.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
