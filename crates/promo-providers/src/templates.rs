//! Templates (minijinja): strict undefined values, bounded work, and nothing of the outside: no file but the other templates, no
//! environment, no clock, no randomness. What must not live here: which files are templates, and what becomes of what they render to.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};
use promo_sdk::{ErrorKind, Inputs, ProviderError};
use serde::Serialize;

use crate::escape;

/// Steps that one template may take.
const FUEL: u64 = 1_000_000;
/// How deep templates may include each other.
const RECURSION: usize = 32;
/// Bytes that one template may render to.
const RENDERED: usize = 4 << 20;

/// What templates render to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text of any kind: values stand in it as they are.
    Text,
    /// Manifests in YAML: a value with a line break is refused unless a template says how it is to be written, since what
    /// comes after the break could be another object. Templates see the target as well.
    Yaml,
}

/// The names that a template sees, as [`Scope`] and [`Artifact`] have them; the last one where it renders manifests.
const ROOTS: [&str; 5] = ["environment", "release", "artifacts", "values", "target"];
const ARTIFACT: [&str; 4] = ["repository", "digest", "reference", "tag"];

/// What a template sees.
#[derive(Serialize)]
struct Scope<'a> {
    environment: &'a str,
    release: &'a str,
    artifacts: BTreeMap<&'a str, Artifact<'a>>,
    values: &'a serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Artifact<'a> {
    repository: &'a str,
    digest: String,
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
}

/// Templates with what they see.
pub(crate) struct Templates<'s> {
    environment: Environment<'s>,
    sources: &'s BTreeMap<&'s str, String>,
    scope: Value,
    form: Form,
    inputs: &'s Inputs,
    values: &'s serde_json::Value,
}

impl<'s> Templates<'s> {
    /// Parses templates, which find each other by their paths.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for the first that cannot be parsed, with its file and line.
    pub(crate) fn new(
        form: Form,
        sources: &'s BTreeMap<&'s str, String>,
        inputs: &'s Inputs,
        values: &'s serde_json::Value,
    ) -> Result<Self, ProviderError> {
        let environment = environment(form, sources)?;
        Ok(Self { environment, sources, scope: scope(form, inputs, values), form, inputs, values })
    }

    /// Renders one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the file and line of a template.
    pub(crate) fn render(&self, path: &str) -> Result<Vec<u8>, ProviderError> {
        text(&self.environment, path, &self.scope).map_err(|error| template_error(path, &error, self.sources))
    }

    /// Renders one to find what is wrong in it whatever the release; gives whether it could be rendered. What depends on values that
    /// `inputs` only stand in for is never taken for wrong.
    ///
    /// # Errors
    /// As [`Templates::render`], for what is certain.
    pub(crate) fn lint(&self, path: &str) -> Result<bool, ProviderError> {
        let Err(error) = text(&self.environment, path, &self.scope) else { return Ok(true) };
        match self.is_certain(path, &error) {
            true => Err(template_error(path, &error, self.sources)),
            false => Ok(false),
        }
    }

    /// Whether an error of rendering is certain whatever the release: what it names is nowhere, or is a name that no template
    /// gets, without which rendering would not have ended there.
    fn is_certain(&self, path: &str, error: &minijinja::Error) -> bool {
        let Self { environment, scope, inputs, values, .. } = self;
        let roots = match self.form {
            Form::Text => &ROOTS[..4],
            Form::Yaml => &ROOTS[..],
        };
        use minijinja::ErrorKind::{UndefinedError, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
        let unknown = |name: &[&str]| match name {
            ["values", value, ..] => values.get(*value).is_none(),
            ["target", key, ..] if roots.contains(&"target") => !inputs.target.0.contains_key(*key),
            ["artifacts", artifact, rest @ ..] => {
                !inputs.artifacts.contains_key(*artifact) || rest.first().is_some_and(|field| !ARTIFACT.contains(field))
            }
            [root, ..] => !roots.contains(root) && environment.globals().all(|(known, _)| known != *root),
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
                let mut unknown =
                    names.iter().map(|name| name.split('.').collect::<Vec<_>>()).filter(|name| unknown(name));
                unknown.any(|name| elsewhere(&with(scope, &name)))
            }),
            _ => false,
        }
    }
}

fn text(environment: &Environment<'_>, path: &str, scope: &Value) -> Result<Vec<u8>, minijinja::Error> {
    let mut out = Bounded(Vec::new());
    environment.get_template(path)?.render_captured_to(scope.clone(), &mut out)?;
    Ok(out.0)
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

fn environment<'s>(form: Form, sources: &'s BTreeMap<&'s str, String>) -> Result<Environment<'s>, ProviderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    match form {
        // A file is text of any format: escaping by its name would change HTML and nothing else.
        Form::Text => environment.set_auto_escape_callback(|_| AutoEscape::None),
        Form::Yaml => {
            // What a macro or a block has put together went through here already, and is safe then.
            environment.set_auto_escape_callback(|_| AutoEscape::Custom("yaml".into()));
            environment.set_formatter(in_one_line);
        }
    }
    environment.add_filter("tojson", to_json);
    environment.set_syntax(
        SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default syntax is a legal one"),
    );
    for (name, source) in sources {
        environment.add_template(name, source).map_err(|e| template_error(name, &e, sources))?;
    }
    Ok(environment)
}

/// Writes a value. One with a line break could end what it stands in and begin something else.
fn in_one_line(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let broken = value.as_str().is_some_and(|text| text.contains(['\n', '\r']));
    if broken && !value.is_safe() {
        let why = "a value with a line break could become another object: write it with `| tojson`";
        return Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, why));
    }
    write!(out, "{value}").map_err(minijinja::Error::from)
}

/// A value as JSON, which is YAML as well: quoted, on one line.
fn to_json(value: &Value) -> Result<Value, minijinja::Error> {
    let text = serde_json::to_string(value);
    let text =
        text.map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from_safe_string(text))
}

fn scope(form: Form, inputs: &Inputs, values: &serde_json::Value) -> Value {
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
        target: (form == Form::Yaml).then_some(&inputs.target.0),
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

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
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

#[cfg(test)]
mod tests {
    use promo_sdk::ArtifactInput;
    use serde_json::json;

    use super::*;

    fn inputs() -> Inputs {
        let target = [("cluster", "prod"), ("namespace", "shop")];
        Inputs {
            environment: "production".parse().unwrap(),
            release: format!("r-{}", "0".repeat(12)).parse().unwrap(),
            target: promo_core::model::Target(target.map(|(key, value)| (key.into(), value.into())).into()),
            settings: json!({}),
            artifacts: BTreeMap::from([(
                "web".parse().unwrap(),
                ArtifactInput {
                    repository: "registry.test/web".into(),
                    digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
                    tag: None,
                    source: None,
                    tree: Vec::new(),
                },
            )]),
            files: BTreeMap::new(),
        }
    }

    fn render(form: Form, text: &str, values: &serde_json::Value) -> Result<String, ProviderError> {
        let sources = BTreeMap::from([("a.j2", text.to_owned())]);
        let inputs = inputs();
        let rendered = Templates::new(form, &sources, &inputs, values)?.render("a.j2")?;
        Ok(String::from_utf8(rendered).unwrap())
    }

    #[test]
    fn manifests_see_the_target_and_quote_what_could_be_anything() {
        let values = json!({ "replicas": 3, "note": "a: \"b\"\n---\nkind: Secret", "list": ["x", "y: z"] });
        let text = "{{ target.namespace }} {{ environment }} {{ values.replicas }} {{ values.note | tojson }} {{ values.list | tojson }}";
        let rendered = render(Form::Yaml, text, &values).unwrap();
        assert_eq!(rendered, "shop production 3 \"a: \\\"b\\\"\\n---\\nkind: Secret\" [\"x\",\"y: z\"]");
        assert!(render(Form::Text, "{{ target.namespace }}", &values).is_err(), "a place in a directory has none");
    }

    #[test]
    fn a_value_with_a_line_break_cannot_begin_another_object() {
        let values = json!({ "note": "x\n---\nkind: Secret", "map": { "a": "x\n---\n" } });
        for text in [
            "{{ values.note }}",
            "a\n{{ 'b' ~ values.note }}",
            "{{ values.note | indent(2) }}",
            "{% set x = values.note %}{{ x }}",
        ] {
            let error = render(Form::Yaml, text, &values).unwrap_err();
            assert!(error.message.contains("line break") && error.message.contains("tojson"), "{text}: {error}");
        }
        assert!(!render(Form::Yaml, "{{ values.map }}", &values).unwrap().contains('\n'));
        // What the template itself breaks is its own.
        let macros = "{% macro two() %}a: 1\nb: {{ values.map.a | tojson }}\n{% endmacro %}{{ two() }}";
        assert_eq!(render(Form::Yaml, macros, &values).unwrap(), "a: 1\nb: \"x\\n---\\n\"\n");
        assert!(render(Form::Text, "{{ values.note }}", &values).is_ok(), "a file is of any kind");
    }

    #[test]
    fn what_has_no_end_or_no_value_is_refused_with_its_line() {
        let values = json!({});
        for (text, why) in [
            ("a\n{{ values.nope }}", "a.j2:2: "),
            ("{% for a in range(9999) %}{% for b in range(9999) %}.{% endfor %}{% endfor %}", "fuel"),
            ("{% include 'a.j2' %}", "recursion"),
            ("{{ 'x' * 5000000 }}", ""),
            ("{% include '/etc/passwd' %}", "a.j2:1: "),
            ("{{ now() }}", "a.j2:1: "),
        ] {
            let error = render(Form::Yaml, text, &values).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{text}: {error}");
        }
    }
}
