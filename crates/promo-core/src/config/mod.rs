//! Pipeline files: text to [`Pipeline`], with every diagnostic at once. What lives here: reading TOML with places,
//! the shape of the file, defaults, and every judgement that needs nothing but this one file. What must not: policy
//! ([`crate::policy`] lays that over the pipeline), drawing of diagnostics, and IO.
//!
//! First the whole file is checked against the tables of `keys`, then what those tables cannot say is judged while
//! the tree is lowered. The lowering passes silently over what the first step has told already.

mod check;
pub mod duration;
mod environment;
mod gates;
pub(crate) mod keys;
mod lower;
mod places;
mod repository;
mod schema;
mod tree;
mod waves;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

pub(crate) use check::{Checker, candidates, date, words};
pub(crate) use environment::tier;
pub(crate) use gates::{lower as gates, unused as unused_gates};
pub(crate) use lower::{approval_rules, names, references, window};
pub use places::Places;
pub use schema::{policy_schema, schema, trust_schema};
pub(crate) use tree::{Data, Entry, Node, Parsed, Table, parse};

use crate::diagnostic::Diagnostic;
use crate::kinds::KindSchema;
use crate::model::Pipeline;

/// What is refused before it is read (S13.2); policy may raise them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub bytes: usize,
    /// Deepest nesting of tables and lists.
    pub depth: usize,
    /// Longest text or key, in bytes.
    pub text: usize,
    /// Most environments of one pipeline.
    pub environments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, depth: 64, text: 4 << 10, environments: 200 }
    }
}

/// Ledger and policy as the pipeline repeats them; a difference from the trust file is refused (S0.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repeated {
    /// `ledger` of `[pipeline]`.
    pub ledger: Option<String>,
    /// `policy` of `[pipeline]`.
    pub policy: Option<String>,
}

/// A pipeline file that has been read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The pipeline; none as soon as one diagnostic is an error.
    pub pipeline: Option<Pipeline>,
    /// What it says of ledger and policy.
    pub repeated: Repeated,
    /// Where things stand in the text, for diagnostics of later steps.
    pub places: Places,
    /// Everything that is wrong, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a pipeline within the default [`Limits`]: the pipeline if it has no error, and every diagnostic.
#[must_use]
pub fn pipeline(text: &str, kinds: &[KindSchema]) -> (Option<Pipeline>, Vec<Diagnostic>) {
    let loaded = load(text, kinds, &Limits::default());
    (loaded.pipeline, loaded.diagnostics)
}

/// Reads a pipeline, with the places of its parts and what it repeats of the trust file.
#[must_use]
pub fn load(text: &str, kinds: &[KindSchema], limits: &Limits) -> Loaded {
    let Parsed { root, diagnostics: syntax } = parse(text, limits);
    let Some(root) = root else {
        return Loaded {
            pipeline: None,
            repeated: Repeated::default(),
            places: Places::default(),
            diagnostics: syntax,
        };
    };
    let mut checker = Checker::new(kinds);
    checker.table(&root, &START, keys::PIPELINE_FILE);
    let about = root.table("pipeline");
    let repeat = |key: &str| about.and_then(|t| t.text(key)).map(String::from);
    let repeated = Repeated { ledger: repeat("ledger"), policy: repeat("policy") };
    let pipeline = lower::pipeline(&root, &mut checker, limits);
    let diagnostics = settle(text, syntax, checker.out);
    let pipeline = pipeline.filter(|_| !diagnostics.iter().any(Diagnostic::is_error));
    Loaded { pipeline, repeated, places: Places::of(&root), diagnostics }
}

/// The text of a file, which must be UTF-8.
///
/// # Errors
/// `toml-encoding`, with the place of the first byte that is not, in the text up to there.
pub fn text(bytes: &[u8]) -> Result<&str, Diagnostic> {
    core::str::from_utf8(bytes).map_err(|error| {
        let valid = error.valid_up_to();
        let line = bytes[..valid].iter().filter(|b| **b == b'\n').count() + 1;
        Diagnostic::at("toml-encoding", valid..valid, format!("byte {valid}, in line {line}, is not UTF-8"))
            .help("save the file as UTF-8")
    })
}

/// The place of what a file as a whole lacks: its start.
pub(crate) const START: Range<usize> = 0..0;

/// All diagnostics in the order of the text, each once. Where the syntax is broken, what seems absent or unknown may
/// only be unreadable: such complaints are held back until the syntax is whole, as is everything on a broken line.
pub(crate) fn settle(text: &str, syntax: Vec<Diagnostic>, meaning: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut all = syntax;
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |d: &Diagnostic| d.labels.first().map(|l| newlines.partition_point(|at| *at < l.span.start));
    let broken: Vec<_> = all.iter().filter(|d| d.code == "toml-syntax").map(line).collect();
    let shaky = |d: &Diagnostic| {
        broken.contains(&line(d))
            || !(d.code.starts_with("config-wrong") || ["config-unknown-key", "config-duration"].contains(&d.code))
    };
    let mut seen: BTreeMap<(usize, usize, &'static str), Vec<String>> = BTreeMap::new();
    for diagnostic in meaning {
        if !broken.is_empty() && shaky(&diagnostic) {
            continue;
        }
        let place = diagnostic.labels.first().map_or((0, 0), |l| (l.span.start, l.span.end));
        let messages = seen.entry((place.0, place.1, diagnostic.code)).or_default();
        if !messages.contains(&diagnostic.message) {
            messages.push(diagnostic.message.clone());
            all.push(diagnostic);
        }
    }
    // What another format means by anything else in the file is not known.
    if all.iter().any(|d| d.code == "config-format") {
        all.retain(|d| d.code == "config-format");
    }
    all.sort_by_key(|d| d.labels.first().map_or((0, 0), |l| (l.span.start, l.span.end)));
    all
}
