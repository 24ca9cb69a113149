//! TOML text to a tree in which every key and value knows its place. What lives here: the limits of S13.2, the syntax
//! errors, and plain access. What must not: any knowledge of what a key means.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use super::Limits;
use crate::diagnostic::{Diagnostic, nearest};

/// How many syntax errors are told at once: a file of another format has one on every line.
const SYNTAX_ERRORS: usize = 50;

/// How the parser words a key or a table that is there twice.
const DUPLICATE: &str = "duplicate key";

/// Bytes of the text.
pub(crate) type Span = Range<usize>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

/// What a value is. Numbers beyond 64 bits and floats have no meaning in any of promo's files, so only their text stays.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Text(String),
    Integer(Option<i64>),
    Float,
    Flag(bool),
    /// A TOML date or time, in the words that windows use: `09:00`, `2026-12-24`, `2026-12-24T18:00`.
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key, its place and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    /// What the value is, with its article, for messages.
    pub(crate) const fn what(&self) -> &'static str {
        match self.data {
            Data::Text(_) => "a text",
            Data::Integer(_) => "a whole number",
            Data::Float => "a fraction",
            Data::Flag(_) => "a flag",
            Data::Date(_) => "a date or time",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Data::Text(text) = &self.data { Some(text) } else { None }
    }

    pub(crate) const fn integer(&self) -> Option<i64> {
        if let Data::Integer(number) = self.data { number } else { None }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Data::List(items) = &self.data { Some(items) } else { None }
    }

    pub(crate) const fn table(&self) -> Option<&Table> {
        if let Data::Table(table) = &self.data { Some(table) } else { None }
    }

    /// The texts of a list, with their places; whatever is no text is left out.
    pub(crate) fn texts(&self) -> Vec<(&str, Span)> {
        self.list().unwrap_or_default().iter().filter_map(|n| Some((n.text()?, n.span.clone()))).collect()
    }
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    /// Whether a key stands here that is none of `known`, and was probably meant to be this one.
    pub(crate) fn misspells<'k>(&self, key: &str, known: impl Iterator<Item = &'k str> + Clone) -> bool {
        let unknown = self.entries.iter().filter(|e| !known.clone().any(|known| known == e.key));
        unknown.into_iter().any(|e| nearest(&e.key, [key]).is_some())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.node)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    pub(crate) fn table(&self, key: &str) -> Option<&Self> {
        self.get(key)?.table()
    }

    pub(crate) fn list(&self, key: &str) -> &[Node] {
        self.get(key).and_then(Node::list).unwrap_or_default()
    }

    /// The texts of the list behind `key`, with their places.
    pub(crate) fn texts(&self, key: &str) -> Vec<(&str, Span)> {
        self.get(key).map(Node::texts).unwrap_or_default()
    }
}

/// A tree, whatever of it could be read, and what is wrong with the text.
pub(crate) struct Parsed {
    /// None where the limits forbid to read it at all.
    pub(crate) root: Option<Table>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads `text` within `limits`.
pub(crate) fn parse(text: &str, limits: &Limits) -> Parsed {
    let refuse = |diagnostic| Parsed { root: None, diagnostics: alloc::vec![diagnostic] };
    if text.len() > limits.bytes {
        let span = 0..text.chars().next().map_or(0, char::len_utf8);
        let message = format!("the file is larger than {} bytes, and no more are read", limits.bytes);
        return refuse(Diagnostic::at("limit-file-size", span, message));
    }
    if let Some(span) = too_deep(text, limits.depth) {
        let message = format!("nested deeper than {} levels", limits.depth);
        return refuse(Diagnostic::at("limit-depth", span, message));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    // Recovery that starts again at the same place repeats its error, and one slip often breaks the rest of its line.
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut lines = BTreeSet::new();
    let mut diagnostics = Vec::new();
    let mut twice: Option<usize> = None;
    for error in errors {
        let span = within(text, error.span().unwrap_or(text.len()..text.len()));
        // A table that is there twice is one mistake, and not one for each of its keys.
        if error.message() == DUPLICATE {
            let line = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
            if text[line..].trim_start().starts_with('[') {
                twice = Some(span.start);
            } else if twice.is_some_and(|header| header < span.start && !text[header..span.start].contains("\n[")) {
                continue;
            }
        }
        if lines.insert(newlines.partition_point(|at| *at < span.start)) && lines.len() <= SYNTAX_ERRORS {
            let message = if lacks_value(text, span.start) { NO_VALUE } else { error.message() };
            diagnostics.push(Diagnostic::at("toml-syntax", span, message.to_string()));
        }
    }
    let root = lower_table(table.get_ref());
    let (roots, others): (Vec<&Entry>, Vec<&Entry>) = root.entries.iter().partition(|one| one.key == "trusted_roots");
    long_texts(others, limits.text, &mut diagnostics);
    long_texts(roots, limits.text.max(TRUSTED_ROOT), &mut diagnostics);
    Parsed { root: Some(root), diagnostics }
}

/// What the parser says of a key without a value is about what might stand there.
const NO_VALUE: &str = "nothing stands behind `=`: expected a value";

/// Whether the line at `place` ends where the value of its key would begin.
fn lacks_value(text: &str, place: usize) -> bool {
    let (before, after) = text.split_at(place);
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = after.split('\n').next().unwrap_or_default().trim();
    before[begin..].trim_end().ends_with('=') && (rest.is_empty() || rest.starts_with('#'))
}

/// `span` moved onto character boundaries inside `text`.
fn within(text: &str, span: Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// The place of the first token that is nested too deep. The parser's own limit counts brackets and dotted keys apart,
/// so that their product could still exhaust the stack when the tree is dropped: this counts before anything is built.
fn too_deep(text: &str, limit: usize) -> Option<Span> {
    let mut outer: Vec<usize> = Vec::new();
    let mut depth = 0usize;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                depth += 1;
                outer.push(depth);
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                outer.pop();
                depth = outer.last().copied().unwrap_or(0);
            }
            TokenKind::Dot => depth += 1,
            TokenKind::Comma | TokenKind::Newline => depth = outer.last().copied().unwrap_or(0),
            _ => {}
        }
        if depth > limit {
            return Some(within(text, token.span().start()..token.span().end()));
        }
    }
    None
}

/// A trusted root is no text that people write: that of the public instance of Sigstore has 7 KiB, that of GitHub 32.
const TRUSTED_ROOT: usize = 128 * 1024;

fn long_texts(entries: Vec<&Entry>, limit: usize, out: &mut Vec<Diagnostic>) {
    let mut report = |text: &str, span: &Span| {
        if text.len() > limit {
            let message = format!("a text of {} bytes, and at most {limit} are read", text.len());
            out.push(Diagnostic::at("limit-text", span.clone(), message));
        }
    };
    let mut stack: Vec<&Node> = Vec::new();
    let mut tables = alloc::vec![entries];
    loop {
        while let Some(entries) = tables.pop() {
            for entry in entries {
                report(&entry.key, &entry.key_span);
                stack.push(&entry.node);
            }
        }
        let Some(node) = stack.pop() else { return };
        match &node.data {
            Data::Text(text) => report(text, &node.span),
            Data::List(items) => stack.extend(items),
            Data::Table(table) => tables.push(table.entries.iter().collect()),
            _ => {}
        }
    }
}

fn lower_table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry { key: key.get_ref().clone().into_owned(), key_span: key.span(), node: lower(value) })
        .collect();
    entries.sort_by_key(|e| e.key_span.start);
    Table { entries }
}

fn lower(value: &Spanned<DeValue<'_>>) -> Node {
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Data::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Data::Float,
        DeValue::Boolean(flag) => Data::Flag(*flag),
        DeValue::Datetime(date) => Data::Date(date_text(date)),
        DeValue::Array(items) => Data::List(items.iter().map(lower).collect()),
        DeValue::Table(table) => Data::Table(lower_table(table)),
    };
    Node { span: value.span(), data }
}

/// TOML wants seconds in a time; where they are zero the text is the one that windows use.
fn date_text(value: &toml::value::Datetime) -> String {
    let mut text = String::new();
    if let Some(date) = &value.date {
        text.push_str(&date.to_string());
    }
    if let Some(time) = &value.time {
        if value.date.is_some() {
            text.push('T');
        }
        if time.second.unwrap_or(0) == 0 && time.nanosecond.unwrap_or(0) == 0 {
            text.push_str(&format!("{:02}:{:02}", time.hour, time.minute));
        } else {
            text.push_str(&time.to_string());
        }
    }
    if let Some(offset) = &value.offset {
        text.push_str(&offset.to_string());
    }
    text
}

/// `base` with `over` laid on top: tables key by key, everything else replaced.
pub(crate) fn merge(base: &Table, over: &Table) -> Table {
    let mut merged = base.clone();
    for entry in &over.entries {
        match merged.entries.iter_mut().find(|e| e.key == entry.key) {
            Some(existing) => {
                let node = match (&existing.node.data, &entry.node.data) {
                    (Data::Table(below), Data::Table(above)) => {
                        Node { span: entry.node.span.clone(), data: Data::Table(merge(below, above)) }
                    }
                    _ => entry.node.clone(),
                };
                *existing = Entry { key: entry.key.to_owned(), key_span: entry.key_span.clone(), node };
            }
            None => merged.entries.push(entry.clone()),
        }
    }
    merged
}
