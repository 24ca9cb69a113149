//! One environment: its own table laid over the defaults, lowered. What lives here: what must hold within an
//! environment and between the targets of several. What must not: the graph as a whole and policy.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::check::{Checker, candidates, words};
use super::duration;
use super::lower::{
    Names, approval_rules, environment_references, names, placeholders, references, required_settings, settings,
};
use super::tree::{Data, Entry, Node, Span, Table, merge};
use super::waves;
use crate::diagnostic::Diagnostic;
use crate::ids::{CheckName, EnvironmentName, TargetName};
use crate::kinds::Place;
use crate::model::{
    After, Arrival, Attest, Check, Deployment, Environment, OnClose, OnFailure, OnUnhealthy, Pipeline, Soak, SoakMode,
    Start, Target, Tier, Watch, substitute,
};

/// The tier that a word names.
pub(crate) fn tier(text: &str) -> Option<Tier> {
    Tier::ALL.into_iter().find(|t| t.as_str() == text)
}

/// Lowers one environment; none where so much is missing that no environment can be made.
pub(crate) fn lower(
    name: &EnvironmentName,
    entry: &Entry,
    own: &Table,
    defaults: &Table,
    known: &Names<'_>,
    checker: &mut Checker<'_>,
) -> Option<Environment> {
    // Kinds of deployment are chosen apart: another kind than the default's starts from nothing.
    let without_deploy =
        |table: &Table| Table { entries: table.entries.iter().filter(|e| e.key != "deploy").cloned().collect() };
    let table = merge(&without_deploy(defaults), &without_deploy(own));
    references(checker, &table.texts("verify"), &known.checks, "check");
    references(checker, &table.texts("windows"), &known.windows, "window");
    references(checker, &table.texts("gates"), &known.gates, "gate");

    let after = after(name, own, known, checker);
    let soak = soak(&after, own, known, checker);
    let deployed = deployment(name, entry, own, defaults, known, checker);
    let targets = targets(name, own, deployed.as_ref().map(|d| (d.kind.as_str(), &d.span)), checker);
    let has_target = own.entry("target").or_else(|| own.entry("targets"));
    let control_only = own.text("deploy") == Some("none");
    match (&deployed, has_target) {
        (Some(deployed), None) => checker.push(
            Diagnostic::at(
                "environment-no-target",
                deployed.span.clone(),
                format!("`{name}` deploys, but names no place"),
            )
            .help("give it `target = {…}`, or take `deploy` out of it"),
        ),
        (None, Some(target))
            if control_only || (own.entry("deploy").is_none() && defaults.entry("deploy").is_none()) =>
        {
            checker.push(
                Diagnostic::at(
                    "environment-no-deploy",
                    target.key_span.clone(),
                    format!("`{name}` has a target, but nothing that deploys there"),
                )
                .help("name a provider: `deploy.directory = {…}`, here or in `[defaults]`"),
            );
        }
        (None, None) if !control_only && own.entry("deploy").is_none() && defaults.entry("deploy").is_some() => {
            checker.push(
                Diagnostic::at(
                    "environment-control-only",
                    entry.key_span.clone(),
                    format!("`{name}` deploys nothing, because it has no target"),
                )
                .help("give it `target = {…}`, or say `deploy = \"none\"` if it only joins and gates")
                .warning(),
            );
        }
        _ => {}
    }
    if deployed.is_some() && table.entry("verify").is_none() && !table.misspells("verify", core::iter::empty()) {
        checker.push(
            Diagnostic::at(
                "environment-no-verify",
                entry.key_span.clone(),
                format!("`{name}` deploys and verifies nothing"),
            )
            .help("name at least one check in `verify`, here or in `[defaults]`"),
        );
    }

    let tier = tier(table.text("tier")?)?;
    let start = if table.text("start") == Some("auto") { Start::Auto } else { Start::Manual };
    if tier == Tier::Production
        && start == Start::Auto
        && let Some(entry) = table.entry("start")
    {
        checker.push(
            Diagnostic::at(
                "environment-auto-production",
                entry.node.span.clone(),
                format!("`{name}` is a production-tier environment and must not start by itself"),
            )
            .label(own.get("tier").map_or_else(|| entry.key_span.clone(), |n| n.span.clone()), "production tier")
            .help("write `start = \"manual\"`: a person starts it, and `promo request` asks for approval"),
        );
    }
    let text_table = |key: &str| -> BTreeMap<String, String> {
        table
            .table(key)
            .map(|t| t.entries.iter().filter_map(|e| Some((e.key.clone(), fill(e.node.text()?, name)))).collect())
            .unwrap_or_default()
    };
    if let Some(node) = table.get("mirror") {
        placeholders(node, checker);
    }
    Some(Environment {
        tier,
        after,
        start,
        arrival: if table.text("arrival") == Some("replace") { Arrival::Replace } else { Arrival::Hold },
        soak,
        targets,
        deploy: deployed.and_then(|d| d.deployment),
        mirror: text_table("mirror"),
        verify: names(&table, "verify"),
        approval: approval_rules(&table),
        windows: names(&table, "windows"),
        gates: names(&table, "gates"),
        attest: attest(name, &table, checker),
        on_failure: if table.text("on_failure") == Some("hold") { OnFailure::Hold } else { OnFailure::Rollback },
        watch: watch(own.get("watch").or_else(|| defaults.get("watch"))),
        waves: waves::lower(name, own, checker),
        on_close: if table.text("on_close") == Some("stop-at-wave") { OnClose::StopAtWave } else { OnClose::Finish },
    })
}

/// Who signs what is written beside artifacts: only beside those that promo has put there itself.
fn attest(name: &EnvironmentName, table: &Table, checker: &mut Checker<'_>) -> Option<Attest> {
    let (entry, own) = (table.entry("attest")?, table.table("attest")?);
    if table.table("mirror").is_none_or(|mirror| mirror.entries.is_empty()) {
        let message = format!("`{name}` copies nothing, so there is nothing beside which promo could write");
        checker
            .push(Diagnostic::at("config-wrong-value", entry.key_span.clone(), message).help(
                "say with `mirror` where the artifacts of this environment are copied to, or leave `attest` out",
            ));
    }
    let (by, key) = (own.text("by")?, own.text("key")?);
    let scheme = by.split_once(':').map(|(scheme, _)| scheme);
    let letters =
        |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme.is_some_and(letters) || by.bytes().any(|b| !b.is_ascii_graphic()) {
        let at = own.get("by").map_or_else(|| entry.key_span.clone(), |node| node.span.clone());
        let diagnostic = Diagnostic::at("config-wrong-value", at, "`by` must be a URI".to_string());
        checker.push(diagnostic.help("whoever reads the statements knows promo by it: `https://ci.example/promo`"));
    }
    Some(Attest { by: by.into(), key: key.into() })
}

/// How long is watched, and how often is asked meanwhile where nothing else is said.
fn watch(node: Option<&Node>) -> Option<Watch> {
    let seconds = |text: Option<&str>| text.and_then(|text| duration::seconds(text).ok());
    let node = node?;
    let (length, every) = match node.table() {
        Some(table) => (table.text("for"), table.text("every")),
        None => (node.text(), None),
    };
    let length = seconds(length)?;
    Some(Watch { seconds: length, every: seconds(every).unwrap_or(60).clamp(1, length.max(1)) })
}

/// Tells of environments that say themselves that they are watched, and in which nothing would be asked (S1.4). What only stands
/// in the defaults does not count where there is nothing to watch.
pub(crate) fn watches(pipeline: &mut Pipeline, root: &Table, checker: &mut Checker<'_>) {
    let automatic = |check: &CheckName| matches!(pipeline.checks.get(check), Some(Check::Automatic { .. }));
    for (name, environment) in &mut pipeline.environments {
        if environment.watch.is_none() {
            continue;
        }
        let own = root.table("environments").and_then(|all| all.table(name.as_str())?.entry("watch"));
        let why = if environment.deploy.is_none() {
            Some("deploys nothing that could be watched")
        } else if !environment.verify.iter().any(automatic) {
            Some("has no automatic check in `verify` that could be asked again")
        } else {
            None
        };
        let Some(why) = why else { continue };
        environment.watch = None;
        if let Some(entry) = own {
            let diagnostic = Diagnostic::at("config-wrong-value", entry.node.span.clone(), format!("`{name}` {why}"));
            checker.push(diagnostic.help("leave `watch` out, or name a check that promo asks by itself"));
        }
    }
}

fn fill(text: &str, environment: &EnvironmentName) -> String {
    text.replace("{environment}", environment.as_str())
}

fn after(name: &EnvironmentName, own: &Table, known: &Names<'_>, checker: &mut Checker<'_>) -> After {
    let Some(node) = own.get("after") else { return After::Root };
    let itself = |texts: &[(&str, Span)], checker: &mut Checker<'_>| {
        for (_, span) in texts.iter().filter(|(text, _)| *text == name.as_str()) {
            checker.push(Diagnostic::at("graph-self", span.clone(), format!("`{name}` comes after itself")));
        }
    };
    let set = |texts: &[(&str, Span)]| -> BTreeSet<EnvironmentName> {
        texts.iter().filter(|(text, _)| *text != name.as_str()).filter_map(|(text, _)| text.parse().ok()).collect()
    };
    match &node.data {
        Data::List(_) => {
            let texts = node.texts();
            environment_references(checker, &texts, known);
            itself(&texts, checker);
            After::All(set(&texts))
        }
        Data::Table(table) => {
            let (of, always) = (table.texts("of"), table.texts("always"));
            environment_references(checker, &of, known);
            itself(&of, checker);
            let members: BTreeSet<&str> = of.iter().map(|(text, _)| *text).collect();
            for (text, span) in &always {
                if !members.contains(text) {
                    let message = format!("`{text}` is in `always`, but not in `of`");
                    checker.push(
                        Diagnostic::at("graph-always", span.clone(), message)
                            .nearest(text, members.iter().copied())
                            .help(format!("`always` names some of `of`: {}", words(of.iter().map(|(t, _)| *t)))),
                    );
                }
            }
            let at_least = table.get("at_least").and_then(Node::integer);
            let count = i64::try_from(of.len()).unwrap_or(i64::MAX);
            if let (Some(node), Some(wanted)) = (table.get("at_least"), at_least)
                && count > 0
                && !(1..=count).contains(&wanted)
            {
                let message = format!("`at_least` is {wanted}, and must be between 1 and the {count} of `of`");
                let mut diagnostic = Diagnostic::at("graph-at-least", node.span.clone(), message);
                if let Some(of) = table.get("of") {
                    diagnostic = diagnostic.label(of.span.clone(), format!("{count} of them"));
                }
                checker.push(diagnostic);
            }
            After::AtLeast {
                at_least: at_least.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
                of: set(&of),
                always: set(&always),
            }
        }
        _ => After::Root,
    }
}

/// The place in an environment's `after` at which `name` stands.
pub(crate) fn after_place(own: &Table, name: &str) -> Option<Span> {
    let node = own.get("after")?;
    let texts = node.table().map_or_else(|| node.texts(), |table| table.texts("of"));
    texts.into_iter().find(|(text, _)| *text == name).map(|(_, span)| span)
}

fn soak(after: &After, own: &Table, known: &Names<'_>, checker: &mut Checker<'_>) -> BTreeMap<EnvironmentName, Soak> {
    let mut soaks = BTreeMap::new();
    let before: Vec<&str> = after.environments().into_iter().map(EnvironmentName::as_str).collect();
    for entry in own.table("soak").map(|t| t.entries.as_slice()).unwrap_or_default() {
        if !before.contains(&entry.key.as_str()) && candidates(&entry.key, &known.environments).is_some() {
            let exists = known.environment_set.contains(entry.key.as_str());
            let message = if exists {
                format!(
                    "`{}` does not come directly before this environment, so nothing can soak there for it",
                    entry.key
                )
            } else {
                format!("there is no environment `{}`", entry.key)
            };
            let code = if exists { "soak-not-predecessor" } else { "config-unknown-name" };
            let diagnostic =
                Diagnostic::at(code, entry.key_span.clone(), message).nearest(&entry.key, before.iter().copied());
            checker.push(if before.is_empty() {
                diagnostic.help("a root has no predecessors, so it has no soak")
            } else {
                diagnostic.help(format!("it comes after {}", words(before.iter().copied())))
            });
        }
        let (text, table) = match &entry.node.data {
            Data::Table(table) => (table.text("duration"), Some(table)),
            _ => (entry.node.text(), None),
        };
        let word = |key: &str| table.and_then(|t| t.text(key));
        if let (Ok(name), Some(seconds)) = (entry.key.parse(), text.and_then(|t| duration::seconds(t).ok())) {
            let soak = Soak {
                seconds,
                mode: if word("mode") == Some("accumulate") { SoakMode::Accumulate } else { SoakMode::Reset },
                unhealthy: if word("unhealthy") == Some("pause") { OnUnhealthy::Pause } else { OnUnhealthy::Reset },
            };
            soaks.insert(name, soak);
        }
    }
    soaks
}

/// How an environment is deployed, and where the file says so.
struct Deployed {
    kind: String,
    span: Span,
    deployment: Option<Deployment>,
}

fn deployment(
    name: &EnvironmentName,
    entry: &Entry,
    own: &Table,
    defaults: &Table,
    known: &Names<'_>,
    checker: &mut Checker<'_>,
) -> Option<Deployed> {
    let inherited = defaults.table("deploy");
    let has_target = own.entry("target").is_some() || own.entry("targets").is_some();
    let (kinds, stated) = match own.entry("deploy") {
        Some(stated) => (stated.node.table()?, Some(stated)),
        None if has_target => (inherited?, None),
        None => return None,
    };
    let [kind] = kinds.entries.as_slice() else {
        let place = stated.map_or_else(|| entry.key_span.clone(), |e| e.key_span.clone());
        let message = format!("`{name}` must have exactly one kind of deployment, and has {}", kinds.entries.len());
        let mut diagnostic = Diagnostic::at("config-one-kind", place, message);
        for kind in &kinds.entries {
            diagnostic = diagnostic.label(kind.key_span.clone(), "a kind");
        }
        checker.push(if stated.is_none() {
            diagnostic.help("the defaults have several: name one with `deploy.KIND = {}` in the environment")
        } else {
            diagnostic
        });
        return None;
    };
    let span = if stated.is_some() { kind.key_span.clone() } else { entry.key_span.clone() };
    let schema = checker.schema(Place::Deploy, &kind.key);
    let below = inherited.and_then(|t| t.table(&kind.key)).filter(|_| stated.is_some());
    let deployment = schema.zip(kind.node.table()).map(|(schema, above)| {
        let table = below.map_or_else(|| above.clone(), |below| merge(below, above));
        required_settings(&table, &span, schema, checker);
        for setting in &table.entries {
            placeholders(&setting.node, checker);
        }
        let (values, files) = settings(&table, schema, &known.artifacts);
        Deployment {
            provider: kind.key.clone(),
            settings: substitute(&values, name),
            files: files.iter().map(|f| fill(f, name)).collect(),
        }
    });
    Some(Deployed { kind: kind.key.clone(), span, deployment })
}

fn targets(
    name: &EnvironmentName,
    own: &Table,
    deployed: Option<(&str, &Span)>,
    checker: &mut Checker<'_>,
) -> BTreeMap<TargetName, Target> {
    let mut targets = BTreeMap::new();
    if let (Some(one), Some(many)) = (own.entry("target"), own.entry("targets")) {
        checker.push(
            Diagnostic::new("config-duplicate", format!("`{name}` has both `target` and `targets`"))
                .label(many.key_span.clone(), "several")
                .label(one.key_span.clone(), "one")
                .help("move the one among the several, with a name"),
        );
    }
    let one = own.get("target").map(|node| ("default", node));
    let many = own.table("targets").map(|t| t.entries.as_slice()).unwrap_or_default();
    for (target_name, node) in one.into_iter().chain(many.iter().map(|e| (e.key.as_str(), &e.node))) {
        let Some(table) = node.table() else { continue };
        placeholders(node, checker);
        if let Some((kind, _)) = deployed
            && let Some(schema) = checker.schema(Place::Deploy, kind)
            && !schema.target_keys.is_empty()
            && !table.entries.is_empty()
        {
            let wanted = || schema.target_keys.iter().map(String::as_str);
            for entry in table.entries.iter().filter(|e| !schema.target_keys.contains(&e.key)) {
                let message = format!("`{kind}` does not deploy to a `{}`", entry.key);
                checker.push(
                    Diagnostic::at("target-keys", entry.key_span.clone(), message)
                        .nearest(&entry.key, wanted())
                        .help(format!("its targets have {}", words(wanted()))),
                );
            }
            let missing: Vec<&str> = wanted().filter(|key| table.entry(key).is_none()).collect();
            if !missing.is_empty() && table.entries.iter().all(|e| schema.target_keys.contains(&e.key)) {
                let message = format!("a target of `{kind}` also needs {}", words(missing));
                checker.push(Diagnostic::at("target-keys", node.span.clone(), message));
            }
        }
        let address = table.entries.iter().filter_map(|e| Some((e.key.clone(), fill(e.node.text()?, name)))).collect();
        if let Ok(target_name) = target_name.parse() {
            targets.insert(target_name, Target(address));
        }
    }
    targets
}

/// The place of one target of an environment.
fn target_place(table: &Table, target: &str) -> Option<Span> {
    let node = match table.table("targets").and_then(|t| t.get(target)) {
        Some(node) => node,
        None => table.get("target")?,
    };
    Some(node.span.clone())
}

/// A target in one spelling: `./a//b/` and `a/b` are the same directory.
fn normal(target: &Target) -> String {
    let mut same = target.clone();
    if let Some(path) = same.0.get_mut("directory") {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let root = if path.starts_with('/') { "/" } else { "" };
        *path = format!("{root}{}", parts.join("/"));
    }
    same.address()
}

/// Tells of places to which two environments deploy.
pub(crate) fn shared_targets(pipeline: &Pipeline, root: &Table, checker: &mut Checker<'_>) {
    let mut seen: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let entries = root.table("environments").map_or(&[][..], |table| table.entries.as_slice());
    let tables: BTreeMap<&str, &Table> =
        entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.node.table()?))).collect();
    for (name, environment) in &pipeline.environments {
        let Some(table) = tables.get(name.as_str()) else { continue };
        for (target_name, target) in environment.targets.iter().filter(|(_, t)| !t.0.is_empty()) {
            let Some(span) = target_place(table, target_name.as_str()) else { continue };
            let address = normal(target);
            if let Some((other, first)) = seen.get(&address) {
                let message = if other == name.as_str() {
                    format!("`{name}` deploys twice to the same place, {address}")
                } else {
                    format!("`{other}` and `{name}` deploy to the same place, {address}")
                };
                checker.push(
                    Diagnostic::new("target-duplicate", message)
                        .label(span, format!("`{name}`"))
                        .label(first.clone(), format!("`{other}`"))
                        .help("each would undo the other: give each environment a place of its own"),
                );
            } else {
                seen.insert(address, (name.to_string(), span));
            }
        }
    }
}
