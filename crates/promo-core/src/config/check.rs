//! Whether a tree has the shape that the tables of [`super::keys`] describe. What lives here: unknown and missing keys,
//! types, words, names, empty lists. What must not: anything that needs two values to judge.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::civil::Date;

use super::duration;
use super::keys::{AFTER, Key, MANUAL, SOAK, Shape, WATCH};
use super::tree::{Data, Node, Span, Table};
use crate::diagnostic::Diagnostic;
use crate::ids::EnvironmentName;
use crate::kinds::{KeySchema, KindSchema, Place, ValueKind};

/// Kinds that later versions bring, so that a reader of their documentation is not told of a spelling mistake.
const LATER: &[(Place, &[&str])] =
    &[(Place::Deploy, &["helm", "kubectl", "gitops", "flags", "external"]), (Place::Check, &["external"])];

/// Checks trees and collects what is wrong.
pub(crate) struct Checker<'a> {
    pub(crate) kinds: &'a [KindSchema],
    pub(crate) out: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub(crate) const fn new(kinds: &'a [KindSchema]) -> Self {
        Self { kinds, out: Vec::new() }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }

    /// A table with known keys; `span` is the place that missing keys are told at.
    pub(crate) fn table(&mut self, table: &Table, span: &Span, keys: &[Key]) {
        for entry in &table.entries {
            match keys.iter().find(|k| k.name == entry.key) {
                Some(Key { shape: Shape::Later, about, .. }) => self.push(
                    Diagnostic::at(
                        "config-unsupported",
                        entry.key_span.clone(),
                        format!("`{}` is not supported by this version of promo", entry.key),
                    )
                    .help(format!("leave it out: {about} come with a later version")),
                ),
                Some(key) => self.shape(&entry.node, key.shape, key.name),
                None => {
                    let names = keys.iter().filter(|k| !matches!(k.shape, Shape::Later)).map(|k| k.name);
                    self.unknown_key(&entry.key, &entry.key_span, names.collect());
                }
            }
        }
        for key in keys.iter().filter(|k| k.required) {
            // What is only misspelt is told as that.
            let misspelt = || table.misspells(key.name, keys.iter().map(|k| k.name));
            if table.entry(key.name).is_none() && !misspelt() {
                self.missing(key.name, span, key.about);
            }
        }
    }

    fn unknown_key(&mut self, key: &str, span: &Span, names: Vec<&str>) {
        let diagnostic = Diagnostic::at("config-unknown-key", span.clone(), format!("`{key}` means nothing here"))
            .nearest(key, names.iter().copied());
        let known = words(names.iter().copied());
        // Where one was probably meant, the others only hide it.
        self.push(if known.is_empty() || diagnostic.suggestion.is_some() {
            diagnostic
        } else {
            diagnostic.help(format!("known keys: {known}"))
        });
    }

    pub(crate) fn missing(&mut self, name: &str, span: &Span, about: &str) {
        let diagnostic = Diagnostic::at("config-missing-key", span.clone(), format!("`{name}` is missing"));
        self.push(diagnostic.help(format!("`{name}`: {about}")));
    }

    fn wrong_type(&mut self, node: &Node, key: &str, expected: &str) {
        let message = format!("`{key}` takes {expected}, and this is {}", node.what());
        self.push(Diagnostic::at("config-wrong-type", node.span.clone(), message));
    }

    fn wrong_value(&mut self, node: &Node, message: String) {
        self.push(Diagnostic::at("config-wrong-value", node.span.clone(), message));
    }

    fn text<'n>(&mut self, node: &'n Node, key: &str, expected: &str) -> Option<&'n str> {
        match node.text() {
            Some("") => {
                self.push(Diagnostic::at("config-empty", node.span.clone(), format!("`{key}` must not be empty")));
                None
            }
            Some(text) => Some(text),
            None => {
                self.wrong_type(node, key, expected);
                None
            }
        }
    }

    fn items<'n>(&mut self, node: &'n Node, key: &str, expected: &str) -> &'n [Node] {
        match node.list() {
            Some([]) => {
                self.push(
                    Diagnostic::at("config-empty", node.span.clone(), format!("the list `{key}` must not be empty"))
                        .help("name at least one, or leave the key out"),
                );
                &[]
            }
            Some(items) => items,
            None => {
                self.wrong_type(node, key, expected);
                &[]
            }
        }
    }

    /// A list of different texts; `each` judges one.
    fn distinct(&mut self, node: &Node, key: &str, expected: &str, mut each: impl FnMut(&mut Self, &Node, &str)) {
        // A join may name every other environment.
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for item in self.items(node, key, expected) {
            let Some(text) = self.text(item, key, expected) else { continue };
            if let Some(&first) = seen.get(text) {
                let diagnostic = Diagnostic::new("config-duplicate", format!("`{text}` stands twice in `{key}`"))
                    .label(item.span.clone(), "again here")
                    .label(first.clone(), "first here");
                self.push(diagnostic);
            } else {
                seen.insert(text, &item.span);
                each(self, item, text);
            }
        }
    }

    fn one_of(&mut self, node: &Node, key: &str, text: &str, allowed: &[&str]) {
        if !allowed.contains(&text) {
            let message = format!("`{text}` is no `{key}`: expected {}", words(allowed.iter().copied()));
            let diagnostic = Diagnostic::at("config-wrong-value", node.span.clone(), message);
            self.push(diagnostic.nearest(text, allowed.iter().copied()));
        }
    }

    /// Whether `text` is a name, told if not.
    pub(crate) fn name(&mut self, text: &str, span: &Span) -> bool {
        if is_name(text) {
            return true;
        }
        let shown: String = text.chars().take(100).collect();
        let mut diagnostic = Diagnostic::at("config-name", span.clone(), format!("`{shown}` is not a name"))
            .help("names have 1 to 63 lower-case letters, digits and inner hyphens");
        diagnostic.suggestion = proper(text);
        self.push(diagnostic);
        false
    }

    fn names(&mut self, node: &Node, key: &str) {
        self.distinct(node, key, "a list of names", |checker, item, text| {
            checker.name(text, &item.span);
        });
    }

    /// A table that must not be empty; told and empty otherwise.
    fn entries<'n>(&mut self, node: &'n Node, key: &str, expected: &str) -> &'n [super::tree::Entry] {
        match node.table() {
            Some(table) => &table.entries,
            None => {
                self.wrong_type(node, key, expected);
                &[]
            }
        }
    }

    pub(crate) fn shape(&mut self, node: &Node, shape: Shape, key: &str) {
        match shape {
            Shape::Format => match node.data {
                Data::Integer(Some(1)) => {}
                Data::Integer(found) => {
                    let found = found.map_or("another format".into(), |found| format!("format {found}"));
                    let message = format!("the file has {found}, and this version of promo reads format 1 only");
                    self.push(
                        Diagnostic::at("config-format", node.span.clone(), message).help("a newer promo may read it"),
                    );
                }
                _ => self.wrong_type(node, key, "the number 1"),
            },
            Shape::Text => {
                self.text(node, key, "a text");
            }
            Shape::Name => {
                if let Some(text) = self.text(node, key, "a name") {
                    self.name(text, &node.span);
                }
            }
            Shape::Number(low, high) => match node.data {
                Data::Integer(number) if number.is_some_and(|n| (low..=high).contains(&n)) => {}
                Data::Integer(_) if high == i64::MAX => self.wrong_value(node, format!("`{key}` is at least {low}")),
                Data::Integer(_) => self.wrong_value(node, format!("`{key}` is a number from {low} to {high}")),
                _ => self.wrong_type(node, key, "a whole number"),
            },
            Shape::Flag => {
                if !matches!(node.data, Data::Flag(_)) {
                    self.wrong_type(node, key, "`true` or `false`");
                }
            }
            Shape::Duration => {
                self.duration(node, key);
            }
            Shape::OneOf(allowed) => {
                if let Some(text) = self.text(node, key, "a word") {
                    self.one_of(node, key, text, allowed);
                }
            }
            Shape::Names => self.names(node, key),
            Shape::Words(allowed) => {
                self.distinct(node, key, "a list of words", |c, item, text| c.one_of(item, key, text, allowed));
            }
            Shape::Texts => {
                for item in self.items(node, key, "a list of texts") {
                    self.text(item, key, "a list of texts");
                }
            }
            Shape::Civil => self.civil(node, key),
            Shape::Civils => match node.list() {
                Some(items) => items.iter().for_each(|item| self.civil(item, key)),
                None => self.wrong_type(node, key, "a list of dates"),
            },
            Shape::Nth => match &node.data {
                Data::Integer(number) if number.is_some_and(|n| (1..=5).contains(&n)) => {}
                Data::Integer(_) => self.wrong_value(node, format!("`{key}` is a number from 1 to 5, or `last`")),
                Data::Text(text) => self.one_of(node, key, text, &["last"]),
                _ => self.wrong_type(node, key, "a number from 1 to 5, or `last`"),
            },
            Shape::Table(keys) => match node.table() {
                Some(table) => self.table(table, &node.span, keys),
                None => self.wrong_type(node, key, "a table"),
            },
            Shape::Named(keys) => {
                for entry in self.entries(node, key, "a table of names") {
                    self.name(&entry.key, &entry.key_span);
                    match entry.node.table() {
                        Some(table) => self.table(table, &entry.key_span, keys),
                        None => self.wrong_type(&entry.node, &entry.key, "a table"),
                    }
                }
            }
            Shape::Tables(keys) => {
                for item in self.items(node, key, "a list of tables, `[[…]]`") {
                    match item.table() {
                        Some(table) => self.table(table, &item.span, keys),
                        None => self.wrong_type(item, key, "a list of tables"),
                    }
                }
            }
            Shape::TextTable => self.text_table(node, key),
            Shape::NamedTextTables => {
                let entries = self.entries(node, key, "a table of names");
                if entries.is_empty() && node.table().is_some() {
                    self.push(Diagnostic::at("config-empty", node.span.clone(), format!("`{key}` must not be empty")));
                }
                for entry in entries {
                    self.name(&entry.key, &entry.key_span);
                    self.text_table(&entry.node, &entry.key);
                }
            }
            Shape::Kinds(place) => {
                if node.text() != Some("none") {
                    for entry in self.entries(node, key, "a kind and its settings, as in `deploy.directory = {…}`") {
                        self.kind(entry, place);
                    }
                }
            }
            Shape::NamedKinds(place) => {
                for entry in self.entries(node, key, "a table of names") {
                    self.name(&entry.key, &entry.key_span);
                    let kinds = self.entries(&entry.node, &entry.key, "a kind and its settings, as in `http = {…}`");
                    if entry.node.table().is_some() && kinds.len() != 1 {
                        let message = format!("`{}` must have exactly one kind, and has {}", entry.key, kinds.len());
                        let mut diagnostic = Diagnostic::at("config-one-kind", entry.key_span.clone(), message);
                        for kind in kinds {
                            diagnostic = diagnostic.label(kind.key_span.clone(), "a kind");
                        }
                        let known = words(self.kind_names(place));
                        self.push(diagnostic.help(format!("kinds: {known}")));
                    }
                    for kind in kinds {
                        self.kind(kind, place);
                    }
                }
            }
            Shape::After => match &node.data {
                Data::List(items) if items.is_empty() => self.push(
                    Diagnostic::at("graph-after-empty", node.span.clone(), "`after` names nothing")
                        .help("an environment that takes releases as they are added simply has no `after`"),
                ),
                Data::List(_) => self.names(node, key),
                Data::Table(table) => self.table(table, &node.span, AFTER),
                Data::Text(text) => {
                    let text: String = text.chars().take(100).collect();
                    let message = format!("`{key}` takes a list of environments, and this is a text");
                    let diagnostic = Diagnostic::at("config-wrong-type", node.span.clone(), message);
                    self.push(diagnostic.help(format!("write [\"{text}\"]")));
                }
                _ => self.wrong_type(node, key, "a list of environments or `{ at_least = …, of = […] }`"),
            },
            Shape::Soaks => {
                for entry in self.entries(node, key, "a table such as `{ staging = \"1h\" }`") {
                    self.name(&entry.key, &entry.key_span);
                    match &entry.node.data {
                        Data::Table(table) => self.table(table, &entry.node.span, SOAK),
                        _ => {
                            self.duration(&entry.node, &entry.key);
                        }
                    }
                }
            }
            Shape::Watch => match &node.data {
                Data::Table(table) => self.table(table, &node.span, WATCH),
                _ => {
                    self.duration(node, key);
                }
            },
            Shape::NamesOrAlways => match &node.data {
                Data::Text(text) => self.one_of(node, key, text, &["always"]),
                _ => self.names(node, key),
            },
            Shape::Decimal => self.decimal(node, key),
            Shape::RequiredOr(keys) => match &node.data {
                Data::Text(text) => self.one_of(node, key, text, &["required"]),
                Data::Table(table) => self.table(table, &node.span, keys),
                _ => self.wrong_type(node, key, "the word `required` or a table"),
            },
            Shape::TextsOr(keys) => match &node.data {
                Data::Table(table) => self.table(table, &node.span, keys),
                Data::List(_) => self.shape(node, Shape::Texts, key),
                _ => self.wrong_type(node, key, "a list of texts or a table"),
            },
            Shape::Later => {}
        }
    }

    fn civil(&mut self, node: &Node, key: &str) {
        if !matches!(node.data, Data::Date(_)) {
            self.text(node, key, "a date or time");
        }
    }

    fn duration(&mut self, node: &Node, key: &str) -> Option<u64> {
        match &node.data {
            Data::Text(text) => match duration::seconds(text) {
                Ok(seconds) => return Some(seconds),
                Err(why) => {
                    let shown: String = text.chars().take(100).collect();
                    let message = format!("`{shown}` is not a duration: {why}");
                    self.push(Diagnostic::at("config-duration", node.span.clone(), message));
                }
            },
            Data::Integer(Some(number)) => {
                let message = format!("`{key}` takes a duration with its unit, and this is a number");
                let diagnostic = Diagnostic::at("config-wrong-type", node.span.clone(), message);
                self.push(diagnostic.help(format!("seconds are written \"{number}s\"")));
            }
            _ => self.wrong_type(node, key, "a duration such as \"30s\" or \"1h 30m\""),
        }
        None
    }

    /// Tells of fractions, at any depth: no value of a plan is one of binary digits.
    fn whole_numbers(&mut self, node: &Node, key: &str) {
        match &node.data {
            Data::Float => {
                let message = format!("`{key}` has a fraction, and a plan has none");
                let diagnostic = Diagnostic::at("config-wrong-type", node.span.clone(), message);
                self.push(diagnostic.help("put it in quotes, or into a file of values"));
            }
            Data::List(items) => items.iter().for_each(|item| self.whole_numbers(item, key)),
            Data::Table(table) => table.entries.iter().for_each(|entry| self.whole_numbers(&entry.node, key)),
            _ => {}
        }
    }

    fn decimal(&mut self, node: &Node, key: &str) {
        if let Data::Integer(_) | Data::Float = node.data {
            let message = format!("`{key}` takes a decimal number as a text, and this is {}", node.what());
            let diagnostic = Diagnostic::at("config-wrong-type", node.span.clone(), message);
            return self.push(diagnostic.help("put it in quotes: \"0.25\""));
        }
        if let Some(text) = self.text(node, key, "a decimal number as a text, such as \"0.25\"")
            && !is_decimal(text)
        {
            let shown: String = text.chars().take(100).collect();
            let message = format!("`{shown}` is no decimal number: expected one such as `0.25`, `12` or `-1.5`");
            self.push(Diagnostic::at("config-wrong-value", node.span.clone(), message));
        }
    }

    fn text_table(&mut self, node: &Node, key: &str) {
        let entries = self.entries(node, key, "a table of texts");
        if entries.is_empty() && node.table().is_some() {
            self.push(Diagnostic::at("config-empty", node.span.clone(), format!("`{key}` must not be empty")));
        }
        for entry in entries {
            self.text(&entry.node, &entry.key, "a text");
        }
    }

    /// The kinds that may stand at `place`; `manual` is the core's own.
    pub(crate) fn kind_names(&self, place: Place) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = (place == Place::Check).then_some("manual");
        self.kinds
            .iter()
            .filter(move |k| k.place == place)
            .map(|k| k.kind.as_str())
            .filter(|k| *k != "manual")
            .chain(own)
    }

    pub(crate) fn schema(&self, place: Place, kind: &str) -> Option<&'a KindSchema> {
        self.kinds.iter().find(|k| k.place == place && k.kind == kind)
    }

    /// One kind with its settings: unknown keys and types. Required keys wait until the defaults are laid below.
    fn kind(&mut self, entry: &super::tree::Entry, place: Place) {
        if place == Place::Check && entry.key == "manual" {
            return match entry.node.table() {
                Some(table) => self.table(table, &entry.key_span, MANUAL),
                None => self.wrong_type(&entry.node, "manual", "a table"),
            };
        }
        let Some(schema) = self.schema(place, &entry.key) else {
            let later = LATER.iter().any(|(p, kinds)| *p == place && kinds.contains(&entry.key.as_str()));
            let diagnostic = if later {
                let message = format!("the kind `{}` is not supported by this version of promo", entry.key);
                Diagnostic::at("config-unsupported", entry.key_span.clone(), message)
            } else {
                let message = format!("no provider is called `{}`", entry.key);
                Diagnostic::at("config-unknown-kind", entry.key_span.clone(), message)
                    .nearest(&entry.key, self.kind_names(place))
            };
            let known = words(self.kind_names(place));
            return self.push(if known.is_empty() { diagnostic } else { diagnostic.help(format!("kinds: {known}")) });
        };
        let Some(table) = entry.node.table() else {
            return self.wrong_type(&entry.node, &entry.key, "a table of settings");
        };
        for setting in &table.entries {
            match schema.keys.iter().find(|k| k.name == setting.key) {
                Some(known) => self.setting(&setting.node, known),
                None => {
                    let names = schema.keys.iter().map(|k| k.name.as_str()).collect();
                    self.unknown_key(&setting.key, &setting.key_span, names);
                }
            }
        }
    }

    fn setting(&mut self, node: &Node, key: &KeySchema) {
        let before = self.out.len();
        match key.value {
            ValueKind::Text => self.shape(node, Shape::Text, &key.name),
            ValueKind::Number => self.shape(node, Shape::Number(0, i64::MAX), &key.name),
            ValueKind::Flag => self.shape(node, Shape::Flag, &key.name),
            ValueKind::Duration => self.shape(node, Shape::Duration, &key.name),
            ValueKind::Texts => self.shape(node, Shape::Texts, &key.name),
            ValueKind::TextTable => self.shape(node, Shape::TextTable, &key.name),
            ValueKind::Table => match node.table() {
                Some(_) => self.whole_numbers(node, &key.name),
                None => self.wrong_type(node, &key.name, "a table"),
            },
            ValueKind::ArtifactOrPath => self.shape(node, Shape::Text, &key.name),
            ValueKind::Decimal => self.decimal(node, &key.name),
            ValueKind::Source => self.shape(node, Shape::Name, &key.name),
        }
        if key.files && before == self.out.len() {
            for (text, span) in files(node) {
                if let Some(why) = leaves_directory(text) {
                    let diagnostic = Diagnostic::at("config-path", span, format!("`{text}` {why}"));
                    self.push(diagnostic.help("files are relative to the pipeline file and stay beside or below it"));
                }
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.parse::<EnvironmentName>().is_ok()
}

/// The date that a value is, as `YYYY-MM-DD`; of what is neither a text nor a date nothing is told, since its type was.
///
/// # Errors
/// The words that are none.
pub(crate) fn date(node: &Node) -> Option<Result<Date, &str>> {
    let (Data::Text(written) | Data::Date(written)) = &node.data else { return None };
    Some(written.parse::<Date>().ok().filter(|date| date.to_string() == *written).ok_or(written))
}

/// Whether a text is a decimal number: digits, with a point between some and a sign before them if need be.
fn is_decimal(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 30 && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// The name that a text which is none was probably meant to be.
fn proper(text: &str) -> Option<String> {
    Some(text.to_lowercase().replace(['_', ' ', '.'], "-")).filter(|better| is_name(better))
}

/// Those of `known` that `text` could have been meant to be: the names among them. None where `text` is no name, or what it
/// means is declared under a text that is none: that is told there, and the one says nothing of the other's way out.
pub(crate) fn candidates<'k>(text: &str, known: &[&'k str]) -> Option<Vec<&'k str>> {
    let (names, wrong): (Vec<&str>, Vec<&str>) = known.iter().copied().partition(|known| is_name(known));
    let declared = || wrong.iter().any(|wrong| proper(wrong).as_deref() == Some(text));
    (is_name(text) && !declared()).then_some(names)
}

/// The texts of a setting that names files.
pub(crate) fn files(node: &Node) -> Vec<(&str, Span)> {
    match &node.data {
        Data::Text(text) => alloc::vec![(text.as_str(), node.span.clone())],
        Data::Table(table) => {
            table.entries.iter().filter_map(|e| Some((e.node.text()?, e.node.span.clone()))).collect()
        }
        _ => node.texts(),
    }
}

/// Why a path does not stay below the directory that it is relative to.
pub(crate) fn leaves_directory(path: &str) -> Option<&'static str> {
    let drive = path.as_bytes().get(1) == Some(&b':');
    if path.starts_with(['/', '\\', '~']) || drive {
        Some("is absolute")
    } else if path.split(['/', '\\']).any(|part| part == "..") {
        Some("leads out of the pipeline's directory")
    } else {
        None
    }
}

/// Words for a message: `a`, `b` and `c`, each in backquotes.
pub(crate) fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|w| format!("`{w}`")).collect();
    quoted.join(", ")
}
