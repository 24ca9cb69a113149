//! The tree to a [`Pipeline`]. What lives here: artifacts, checks, windows, the references between them and the graph.
//! What must not: shapes (told by [`super::check`]) and single environments ([`super::environment`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;

use serde_json::{Map, Number, Value};

use super::Limits;
use super::check::{Checker, candidates, files, words};
use super::duration;
use super::environment;
use super::tree::{Data, Entry, Node, Span, Table};
use crate::diagnostic::Diagnostic;
use crate::graph::Graph;
use crate::ids::{ArtifactName, CheckName, EnvironmentName, WindowName};
use crate::kinds::{KindSchema, Place, ValueKind};
use crate::model::{ApprovalRule, Artifact, ArtifactKind, Check, Environment, Party, Pipeline};
use crate::newest::Newest;
use crate::windows::{Window, WindowSpec};

/// Tags that are moved from release to release wherever they are used.
const MOVING: &[&str] = &[
    "latest",
    "stable",
    "main",
    "master",
    "edge",
    "nightly",
    "dev",
    "develop",
    "head",
    "current",
    "release",
    "prod",
    "production",
    "staging",
    "snapshot",
    "canary",
    "beta",
];

/// The names of everything that can be referred to, with the tables they come from.
pub(crate) struct Names<'t> {
    pub(crate) environments: Vec<&'t str>,
    /// The same, to look into: every environment may name every other one.
    pub(crate) environment_set: BTreeSet<&'t str>,
    pub(crate) artifacts: Vec<&'t str>,
    pub(crate) checks: Vec<&'t str>,
    pub(crate) windows: Vec<&'t str>,
    pub(crate) gates: Vec<&'t str>,
}

fn keys<'t>(root: &'t Table, section: &str) -> Vec<&'t str> {
    root.table(section).map(|t| t.entries.iter().map(|e| e.key.as_str()).collect()).unwrap_or_default()
}

fn entries<'t>(root: &'t Table, section: &str) -> &'t [Entry] {
    root.table(section).map(|t| t.entries.as_slice()).unwrap_or_default()
}

/// A value that only stands as long as no error has been told.
fn parsed<N: FromStr>(text: &str) -> Option<N> {
    text.parse().ok()
}

/// The names behind a key, silently without what is none.
pub(crate) fn names<N: FromStr>(table: &Table, key: &str) -> Vec<N> {
    table.texts(key).into_iter().filter_map(|(text, _)| parsed(text)).collect()
}

/// The pipeline, as far as the tree has one.
pub(crate) fn pipeline(root: &Table, checker: &mut Checker<'_>, limits: &Limits) -> Option<Pipeline> {
    if let Some(entry) = root.entry("environments") {
        let count = entry.node.table().map_or(0, |t| t.entries.len());
        if count > limits.environments {
            let message = format!("{count} environments, and at most {} are taken", limits.environments);
            checker.push(Diagnostic::at("limit-environments", entry.key_span.clone(), message));
            return None;
        }
        if count == 0 && entry.node.table().is_some() {
            let message = "a pipeline needs at least one environment";
            checker.push(Diagnostic::at("config-no-environment", entry.key_span.clone(), message));
        }
    }
    if let Some(entry) = root.entry("artifacts")
        && entry.node.table().is_some_and(|t| t.entries.is_empty())
    {
        let message = "a release needs at least one artifact";
        checker.push(Diagnostic::at("config-empty", entry.key_span.clone(), message));
    }
    let mut artifacts = BTreeMap::new();
    for entry in entries(root, "artifacts") {
        if let (Some(artifact), Some(name)) = (artifact(entry, checker), parsed::<ArtifactName>(&entry.key)) {
            artifacts.insert(name, artifact);
        }
    }
    for entry in entries(root, "sources") {
        placeholders(&entry.node, checker);
    }
    let mut checks = BTreeMap::new();
    for entry in entries(root, "checks") {
        if let (Some(check), Some(name)) = (check(entry, root, checker), parsed::<CheckName>(&entry.key)) {
            checks.insert(name, check);
        }
    }
    let known = Names {
        environments: keys(root, "environments"),
        environment_set: keys(root, "environments").into_iter().collect(),
        artifacts: keys(root, "artifacts"),
        checks: keys(root, "checks"),
        windows: keys(root, "windows"),
        gates: keys(root, "gates"),
    };
    let gates = super::gates::lower(root, Some(&known.artifacts), checker);
    let mut windows = BTreeMap::new();
    for entry in entries(root, "windows") {
        if let Some(table) = entry.node.table() {
            references(checker, &table.texts("environments"), &known.environments, "environment");
            references(checker, &table.texts("artifacts"), &keys(root, "artifacts"), "artifact");
        }
        if let (Some(spec), Some(name)) = (window(entry, checker), parsed::<WindowName>(&entry.key)) {
            windows.insert(name, spec);
        }
    }
    let empty = Table::default();
    let defaults = root.table("defaults").unwrap_or(&empty);
    references(checker, &defaults.texts("verify"), &known.checks, "check");
    references(checker, &defaults.texts("windows"), &known.windows, "window");
    references(checker, &defaults.texts("gates"), &known.gates, "gate");
    let mut environments = BTreeMap::new();
    for entry in entries(root, "environments") {
        if let (Some(own), Some(name)) = (entry.node.table(), parsed::<EnvironmentName>(&entry.key))
            && let Some(environment) = environment::lower(&name, entry, own, defaults, &known, checker)
        {
            environments.insert(name, environment);
        }
    }
    let named = environments.values().flat_map(|environment: &Environment| &environment.gates).map(ToString::to_string);
    super::gates::unused(root, &named.collect(), "environment", checker);
    let named = root.table("pipeline")?;
    let name = parsed(named.text("name")?)?;
    let quiet = named.text("quiet").and_then(|text| duration::seconds(text).ok());
    let mut pipeline = Pipeline { name, quiet, artifacts, checks, windows, gates, environments };
    environment::watches(&mut pipeline, root, checker);
    environment::shared_targets(&pipeline, root, checker);
    cycles(&pipeline, root, checker);
    Some(pipeline)
}

/// As [`references`], for environments.
pub(crate) fn environment_references(checker: &mut Checker<'_>, texts: &[(&str, Span)], known: &Names<'_>) {
    let unknown: Vec<_> = texts.iter().filter(|(text, _)| !known.environment_set.contains(text)).cloned().collect();
    references(checker, &unknown, &known.environments, "environment");
}

/// Texts that must be among `known`.
pub(crate) fn references(checker: &mut Checker<'_>, texts: &[(&str, Span)], known: &[&str], what: &str) {
    for (text, span) in texts {
        if !known.contains(text)
            && let Some(known) = candidates(text, known)
        {
            let message = format!("there is no {what} `{text}`");
            let diagnostic =
                Diagnostic::at("config-unknown-name", span.clone(), message).nearest(text, known.iter().copied());
            let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            checker.push(if known.is_empty() {
                diagnostic.help(format!("the file has no {article} {what} of any name"))
            } else {
                diagnostic.help(format!("known: {}", words(known.iter().copied())))
            });
        }
    }
}

fn artifact(entry: &Entry, checker: &mut Checker<'_>) -> Option<Artifact> {
    let table = entry.node.table()?;
    let (image, chart) = (table.entry("image"), table.entry("chart"));
    let (kind, reference) = match (image, chart) {
        (Some(image), None) => (ArtifactKind::Image, image),
        (None, Some(chart)) => (ArtifactKind::Chart, chart),
        (Some(image), Some(chart)) => {
            let message = format!("`{}` is an image and a chart at once", entry.key);
            checker.push(
                Diagnostic::new("config-one-kind", message)
                    .label(chart.key_span.clone(), "a chart")
                    .label(image.key_span.clone(), "an image")
                    .help("give each artifact a name of its own"),
            );
            return None;
        }
        (None, None) => {
            let message = format!("`{}` is neither an image nor a chart", entry.key);
            let diagnostic = Diagnostic::at("config-one-kind", entry.key_span.clone(), message);
            checker.push(diagnostic.help("write `image = \"registry/repository\"` or `chart = \"oci://…\"`"));
            return None;
        }
    };
    let repository = reference.node.text().filter(|t| !t.is_empty()).and_then(|text| match repository(text, kind) {
        Ok(repository) => Some(repository),
        Err(why) => {
            let message = format!("`{text}` names no repository: {why}");
            checker.push(Diagnostic::at("artifact-reference", reference.node.span.clone(), message));
            None
        }
    });
    let tags = table.get("tags").and_then(|node| Some((node, node.text().filter(|t| !t.is_empty())?)));
    if let Some((node, pattern)) = tags
        && let Some(why) = moving(pattern)
    {
        checker.push(
            Diagnostic::at("artifact-moving-tag", node.span.clone(), format!("the pattern `{pattern}` {why}"))
                .help("tags that become releases are written once, such as `sha-*` or `v*`"),
        );
    }
    let newest = table.entry("newest");
    if let (Some(entry), None) = (newest, &tags) {
        let message = "`newest` says which of the tags that may become releases is taken, and there is no `tags`";
        checker.push(
            Diagnostic::at("config-missing-key", entry.key_span.clone(), message)
                .help("write which they are, such as `tags = \"v*\"`, or leave `newest` out"),
        );
    }
    let newest = newest.and_then(|entry| entry.node.text()).and_then(Newest::parse).unwrap_or_default();
    Some(Artifact { kind, repository: repository?, tags: tags.map(|(_, pattern)| pattern.into()), newest })
}

/// `registry/repository` or `oci-layout:PATH`, as the model wants it (OCI distribution specification, "Pulling").
fn repository(text: &str, kind: ArtifactKind) -> Result<String, &'static str> {
    if let Some(path) = text.strip_prefix("oci-layout:") {
        return if path.is_empty() {
            Err("the path is missing")
        } else if path.contains('@') {
            Err("the digest belongs to a release, not here")
        } else {
            Ok(text.into())
        };
    }
    let plain = text.strip_prefix("oci://").unwrap_or(text);
    if plain.contains("://") {
        return Err(if kind == ArtifactKind::Chart {
            "charts come from `oci://` only"
        } else {
            "leave the scheme out"
        });
    }
    if plain.contains('@') {
        return Err("the digest belongs to a release, not here");
    }
    let Some((host, path)) = plain.split_once('/') else {
        return Err("expected `registry/repository`");
    };
    if path.contains(':') {
        return Err("the tag belongs to a release, not here; patterns stand in `tags`");
    }
    let host_name = host.split_once(':').map_or(host, |(name, _)| name);
    if host_name.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)) {
        return Err("expected a registry's host before the first `/`");
    }
    if !(host.contains(['.', ':']) || host == "localhost") {
        return Err("the registry must be named: a host with a dot or a port before the first `/`");
    }
    let part = |p: &str| {
        !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    if path.split('/').all(part) {
        Ok(plain.into())
    } else {
        Err("a repository has lower-case letters, digits, `.`, `_`, `-` and `/`")
    }
}

/// Why a pattern lets in tags that move.
fn moving(pattern: &str) -> Option<String> {
    if !pattern.contains(['*', '?', '[']) {
        return Some("names one tag, which every release would have to move".into());
    }
    MOVING
        .iter()
        .find(|tag| glob(pattern.as_bytes(), tag.as_bytes()))
        .map(|tag| format!("also means `{tag}`, which moves"))
}

/// Shell patterns with `*`, `?` and classes. Only for telling what a pattern could mean: providers match tags.
/// Backtracks to the last `*` alone, so it takes at most the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], text[t]),
            Some(byte) if *byte == text[t] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                p += step;
                t += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// The length of the class at the start of `pattern`, if it holds `byte`.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = 2 + pattern.get(2..)?.iter().position(|b| *b == b']')?;
    let negated = matches!(pattern[1], b'!' | b'^');
    let inner = &pattern[1 + usize::from(negated)..end];
    let mut found = false;
    let mut i = 0;
    while i < inner.len() {
        if inner.get(i + 1) == Some(&b'-') && i + 2 < inner.len() {
            found |= (inner[i]..=inner[i + 2]).contains(&byte);
            i += 3;
        } else {
            found |= inner[i] == byte;
            i += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

fn check(entry: &Entry, root: &Table, checker: &mut Checker<'_>) -> Option<Check> {
    let [kind] = entry.node.table()?.entries.as_slice() else { return None };
    let table = kind.node.table()?;
    if kind.key == "manual" {
        return Some(Check::Manual { from: names(table, "from").into_iter().collect() });
    }
    let schema = checker.schema(Place::Check, &kind.key)?;
    required_settings(table, &kind.key_span, schema, checker);
    placeholders(&kind.node, checker);
    let (mut settings, files) = settings(table, schema, &keys(root, "artifacts"));
    for key in schema.keys.iter().filter(|key| key.value == ValueKind::Source) {
        let Some(node) = table.get(&key.name) else { continue };
        let Some(name) = node.text() else { continue };
        references(checker, &[(name, node.span.clone())], &keys(root, "sources"), "source");
        let declared = root.table("sources").and_then(|sources| sources.get(name));
        if let Some(mut source @ Value::Object(_)) = declared.map(json) {
            source["name"] = name.into();
            settings[key.name.as_str()] = source;
        }
    }
    Some(Check::Automatic { provider: kind.key.clone(), settings, files })
}

/// Tells of settings that must be given and are not.
pub(crate) fn required_settings(table: &Table, span: &Span, schema: &KindSchema, checker: &mut Checker<'_>) {
    for key in schema.keys.iter().filter(|k| k.required) {
        if table.entry(&key.name).is_none() {
            checker.missing(&key.name, span, &key.about);
        }
    }
}

/// The settings as a provider gets them, durations in seconds, and the files that they name. What is one of `artifacts` is no file.
pub(crate) fn settings(table: &Table, schema: &KindSchema, artifacts: &[&str]) -> (Value, Vec<String>) {
    let mut out = Map::new();
    let mut paths = Vec::new();
    for entry in &table.entries {
        let Some(key) = schema.keys.iter().find(|k| k.name == entry.key) else { continue };
        let artifact = || entry.node.text().is_some_and(|text| artifacts.contains(&text));
        if key.files && !(key.value == ValueKind::ArtifactOrPath && artifact()) {
            paths.extend(files(&entry.node).into_iter().map(|(text, _)| text.to_string()));
        }
        let value = match (key.value, entry.node.text()) {
            (ValueKind::Duration, Some(text)) => Value::from(duration::seconds(text).unwrap_or(0)),
            _ => json(&entry.node),
        };
        out.insert(entry.key.clone(), value);
    }
    let distinct: BTreeSet<String> = paths.into_iter().collect();
    (Value::Object(out), distinct.into_iter().collect())
}

/// A node as JSON. Fractions, which no key takes, become null.
pub(crate) fn json(node: &Node) -> Value {
    match &node.data {
        Data::Text(text) | Data::Date(text) => Value::String(text.clone()),
        Data::Integer(number) => number.map_or(Value::Null, |n| Value::Number(Number::from(n))),
        Data::Float => Value::Null,
        Data::Flag(flag) => Value::Bool(*flag),
        Data::List(items) => items.iter().map(json).collect(),
        Data::Table(table) => Value::Object(table.entries.iter().map(|e| (e.key.clone(), json(&e.node))).collect()),
    }
}

/// Tells of `{enviroment}` and the like. Braces around anything else are left alone: settings may be templates.
pub(crate) fn placeholders(node: &Node, checker: &mut Checker<'_>) {
    match &node.data {
        Data::Text(text) => {
            for part in text.split('{').skip(1) {
                let Some((word, _)) = part.split_once('}') else { continue };
                let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
                if plain && word != "environment" && crate::diagnostic::nearest(word, ["environment"]).is_some() {
                    let message = format!("`{{{word}}}` is not replaced; the placeholder is `{{environment}}`");
                    let mut diagnostic = Diagnostic::at("config-placeholder", node.span.clone(), message);
                    diagnostic.suggestion = Some("{environment}".into());
                    checker.push(diagnostic);
                }
            }
        }
        Data::List(items) => items.iter().for_each(|item| placeholders(item, checker)),
        Data::Table(table) => table.entries.iter().for_each(|e| placeholders(&e.node, checker)),
        _ => {}
    }
}

/// The rules behind `approval`.
pub(crate) fn approval_rules(table: &Table) -> Vec<ApprovalRule> {
    let party = |text: &str| match text {
        "initiator" => Some(Party::Initiator),
        "author" => Some(Party::Author),
        "builder" => Some(Party::Builder),
        "applier" => Some(Party::Applier),
        _ => None,
    };
    let rule = |table: &Table| ApprovalRule {
        count: table.get("count").and_then(Node::integer).and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        from: names(table, "from").into_iter().collect(),
        exclude: table.texts("exclude").into_iter().filter_map(|(text, _)| party(text)).collect(),
    };
    table.list("approval").iter().filter_map(Node::table).map(rule).collect()
}

/// A window, with what [`Window::new`] refuses told at the field that it names.
pub(crate) fn window(entry: &Entry, checker: &mut Checker<'_>) -> Option<WindowSpec> {
    let table = entry.node.table()?;
    // What has no shape has been told; it would only be told again in the reader's words.
    let spec: WindowSpec = serde_json::from_value(json(&entry.node)).ok()?;
    if let Err(errors) = Window::new(entry.key.clone(), spec.clone()) {
        // Told by its shape already: the same thing in other words helps nobody.
        let before = checker.out.len();
        let told = |span: &Span, out: &[Diagnostic]| out.iter().any(|d| d.labels.iter().any(|l| l.span == *span));
        for error in errors {
            let span = field(table, &error.field).unwrap_or_else(|| entry.key_span.clone());
            if told(&span, &checker.out[..before]) {
                continue;
            }
            let message = format!("window `{}`: {}", entry.key, error.message);
            let diagnostic = Diagnostic::at("window-invalid", span, message);
            checker.push(match error.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
    }
    Some(spec)
}

/// The place of a field such as `weekly.start` or `except[2]`, or of the nearest part above it that is there.
fn field(table: &Table, path: &str) -> Option<Span> {
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, index) = match head.split_once('[') {
        Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
        None => (head, None),
    };
    let entry = table.entry(name)?;
    let inner = match index {
        Some(index) => entry.node.list().and_then(|items| items.get(index)).map(|node| node.span.clone()),
        None if rest.is_empty() => Some(entry.node.span.clone()),
        None => entry.node.table().and_then(|table| field(table, rest)),
    };
    Some(inner.unwrap_or_else(|| entry.key_span.clone()))
}

/// Tells of each circle as the whole loop, with a label at every `after` of it.
fn cycles(pipeline: &Pipeline, root: &Table, checker: &mut Checker<'_>) {
    for cycle in Graph::new(pipeline).cycles() {
        let shown: Vec<&str> = cycle.iter().chain(cycle.first()).map(EnvironmentName::as_str).collect();
        let message = format!("environments come after each other in a circle: {}", shown.join(" -> "));
        let mut diagnostic = Diagnostic::new("graph-cycle", message);
        for (i, name) in cycle.iter().enumerate() {
            let before = &cycle[(i + cycle.len() - 1) % cycle.len()];
            let place = root
                .table("environments")
                .and_then(|t| t.table(name.as_str()))
                .and_then(|t| environment::after_place(t, before.as_str()));
            if let Some(span) = place {
                diagnostic = diagnostic.label(span, format!("`{name}` comes after `{before}`"));
            }
        }
        checker.push(diagnostic.help("take one of these out: a release has to enter somewhere"));
    }
}
