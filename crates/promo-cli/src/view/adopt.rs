//! The frozen view of what files would have to say for what is live to be what is declared, format 1. What must not live here:
//! layout.

use promo_core::ids::EnvironmentName;
use schemars::JsonSchema;
use serde::Serialize;

use super::Answer;
use super::drift::{DriftedEnvironment, Drifts};
use super::summary::NextCommand;
use crate::error::command_line;

/// What files would have to say for what is live to be what is declared.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Adopted {
    /// How the environment differs from what was deployed to it.
    pub(crate) environment: DriftedEnvironment,
    /// The files that would change.
    pub(crate) files: Vec<Kept>,
    /// What that comes to, in words.
    pub(crate) says: String,
    /// Other commands that lead on, and what for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<NextCommand>,
    /// The next command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) next: String,
}

impl Answer for Adopted {
    const KIND: &'static str = "promo.adopt";
}

/// A file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Kept {
    /// Its path.
    pub(crate) path: String,
    /// Whether other environments use it too: then a change of it is a new release.
    pub(crate) shared: bool,
    /// `can-be-written`, `written`, `declared` where it says so already, or `changed-since`: it is not as it was deployed any more, and
    /// a person has to change it.
    pub(crate) state: &'static str,
    /// The lines that change, and nothing around them.
    pub(crate) lines: String,
}

impl Adopted {
    /// What was found, with what to do about it; `release` adds the next release, and `values` is where what a chart is given stands,
    /// for a place of one.
    pub(crate) fn of(
        drifts: Drifts,
        files: Vec<Kept>,
        (name, release): (&EnvironmentName, &str),
        values: Option<&str>,
        to_paste: impl Fn(&str) -> String,
    ) -> Self {
        let Drifts { mut environments, mut also, next: back, .. } = drifts;
        let environment = environments.remove(0);
        let any = |state: &str| files.iter().any(|file| file.state == state);
        let there = |shared: bool| {
            files.iter().any(|file| file.shared == shared && matches!(file.state, "written" | "declared"))
        };
        let keep = "What is live stays only where the files declare it: recorded alone, the next promotion would take it back.";
        let (says, next) = if any("can-be-written") {
            let next = to_paste(&command_line(["promo", "adopt", name.as_str(), "--write"]));
            (format!("{keep} These files would say so:"), next)
        } else if there(true) {
            let says = format!(
                "{keep} The files say so now; a shared one goes its way as a new release, from the first environment on:"
            );
            (says, to_paste(release))
        } else if there(false) {
            let next = to_paste(&command_line(["promo", "plan", name.as_str()]));
            (format!("{keep} The files say so now; those are of {name} alone:"), next)
        } else {
            match values {
                Some(values) => {
                    let says = format!(
                        "{keep} Which value of a chart a field comes from cannot be told, and --write writes none: change {values} by \
                         hand and plan that, or take it back."
                    );
                    (says, to_paste(&command_line(["promo", "plan", name.as_str()])))
                }
                None => {
                    let says = format!(
                        "{keep} Where that is cannot be told here: change the manifests by hand, or take it back."
                    );
                    (says, back.clone())
                }
            }
        };
        // Whoever reads this has typed it.
        let this = to_paste(&command_line(["promo", "adopt", name.as_str()]));
        also.retain(|other| other.command != this);
        if next != back && !back.is_empty() {
            also.insert(0, NextCommand { command: back, why: format!("{name}: take it back") });
        }
        // Nothing is to be kept, and nothing to be taken back.
        let (also, next) = if environment.state == "differs" { (also, next) } else { (Vec::new(), String::new()) };
        Self { environment, files, says, also, next }
    }
}
