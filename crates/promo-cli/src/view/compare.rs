//! The frozen view of how two environments differ, format 1. What must not live here: layout.

use promo_core::ids::EnvironmentName;
use promo_core::inputs::FileChange;
use promo_engine::compare::Declared;
use schemars::JsonSchema;
use serde::Serialize;

use super::Answer;
use super::drift::{DriftedEnvironment, Drifts};
use super::summary::NextCommand;
use crate::output::diff;

/// How two environments differ.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Compared {
    /// The first one.
    pub(crate) left: EnvironmentName,
    /// The second one.
    pub(crate) right: EnvironmentName,
    /// What is declared otherwise for them.
    pub(crate) declared: Vec<DeclaredView>,
    /// How many declared differences were left out, as only the others were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<usize>,
    /// How each of them differs from what is declared for it: what no declaration explains.
    pub(crate) undeclared: Vec<DriftedEnvironment>,
    /// Whether anything differs that was asked for.
    pub(crate) differs: bool,
    /// Whether every place could be looked at.
    pub(crate) whole: bool,
    /// Other commands that lead on, and what for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<NextCommand>,
    /// The next command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) next: String,
}

impl Answer for Compared {
    const KIND: &'static str = "promo.diff";
}

/// Something that is declared otherwise.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeclaredView {
    /// `release`, `artifact`, `provider`, `setting`, `file`, `target` or `checks`.
    pub(crate) what: &'static str,
    /// Which of them; names of environments and places stand in it as `{environment}`, `{namespace}` and so on.
    pub(crate) name: String,
    /// What the first one has; null where it has none. Of a file that both have nothing is shown: it may hold secrets.
    pub(crate) left: Option<String>,
    /// What the second one has.
    pub(crate) right: Option<String>,
    /// Of a file: how much of it differs, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lines: Option<String>,
}

impl DeclaredView {
    fn of(declared: Declared) -> Self {
        let Declared { what, name, left, right } = declared;
        if what != "file" {
            return Self { what, name, left, right, lines: None };
        }
        let there = |text: &Option<String>| text.as_ref().map(|_| "there".to_owned());
        let sides = (there(&left), there(&right));
        let lines = diff::summary(&FileChange { path: name.clone(), before: left, after: right });
        Self { what, name, left: sides.0, right: sides.1, lines: Some(lines) }
    }
}

impl Compared {
    /// Two environments that were looked at, the first one first. With `undeclared` only what no declaration explains.
    pub(crate) fn of(names: [EnvironmentName; 2], declared: Vec<Declared>, drifts: Drifts, undeclared: bool) -> Self {
        let [left, right] = names;
        let left_out = Some(declared.len()).filter(|number| undeclared && *number > 0);
        let declared: Vec<DeclaredView> =
            if undeclared { Vec::new() } else { declared.into_iter().map(DeclaredView::of).collect() };
        let Drifts { mut environments, differs, whole, also, next } = drifts;
        environments.sort_by_key(|one| one.environment != left);
        let differs = differs || !declared.is_empty();
        Self { left, right, declared, left_out, undeclared: environments, differs, whole, also, next }
    }
}
