//! `promo check`: everything that is wrong with pipeline, policy and trust file, and what is probably not meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use promo_core::counted::counted;
use promo_core::diagnostic::Severity;
use promo_core::gate::{Instant, Reason};
use promo_core::ids::EnvironmentName;
use promo_core::requirement::Term;
use promo_core::windows::{self, WARNING_DAYS, Window};
use promo_engine::clock::SystemClock;
use promo_sdk::{Clock as _, ProviderError};
use schemars::JsonSchema;
use serde::Serialize;

use super::doctor;
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line, who};
use crate::escape::line;
use crate::exit::{DONE, Exit};
use crate::output::diagnostics::DiagnosticView;
use crate::output::labels::{Label, label};
use crate::project;
use crate::runtime;
use crate::ui::Ui;
use crate::view::gate::lacking;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End with 65 when there are warnings about the files too
    #[arg(long)]
    strict: bool,
}

/// What was checked.
#[derive(Serialize, JsonSchema)]
pub(crate) struct View {
    /// What the document is.
    kind: &'static str,
    /// Its format.
    format: u32,
    /// The pipeline.
    pipeline: String,
    /// How many environments it has.
    environments: usize,
    /// Whether there is no trust file (S0.1).
    local: bool,
    /// The policy, by name and version.
    policy: Option<String>,
    /// What is no error.
    warnings: Vec<DiagnosticView>,
    /// Hours that a clock change swallows or doubles, in words.
    windows: Vec<String>,
    /// Checks that could not be run on this machine, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_runnable: Vec<String>,
    /// The next command.
    next: String,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let rules = project::rules(global)?;
    let governance = &rules.governed;
    let now = SystemClock.now();
    let own = &governance.pipeline.windows;
    let policies = rules.policy.iter().flat_map(|policy| &policy.windows);
    let forecasts: Vec<(&str, String)> = own
        .iter()
        .map(|one| ("pipeline", one))
        .chain(policies.map(|one| ("policy", one)))
        .filter_map(|(whose, (name, spec))| Some((whose, Window::new(name.as_str(), spec.clone()).ok()?)))
        .flat_map(|(whose, window)| windows::warnings(&window, now, WARNING_DAYS).into_iter().map(move |w| (whose, w)))
        .map(|(whose, warning)| (whose, warning.message))
        .collect();
    // A file that is not there keeps every plan from being made, so it is an error here too; what this machine lacks may be
    // elsewhere, and is a warning.
    if let Err(error) = promo_engine::readable(&rules.governed.pipeline, &rules.root) {
        let error = CliError::from(error);
        let page = ["promo", "explain", error.problem().code];
        return Err(error.go_on_with(&page));
    }
    let providers = global.wiring.providers();
    let unsound =
        promo_engine::unsound(&rules.governed.pipeline, &rules.governed.movable_images, &providers, &rules.root);
    if let Some(error) = wrong_templates(runtime::wait(unsound)??) {
        return Err(error);
    }
    let policy_gates = rules.policy.iter().flat_map(|policy| policy.gates.values().map(|gate| ("policy", gate)));
    let gates = governance.pipeline.gates.values().map(|gate| ("pipeline", gate)).chain(policy_gates);
    let named = gates.flat_map(|(whose, gate)| gate.named_signers().map(move |named| (whose, named)));
    let ending: BTreeSet<(&str, String)> = named
        .filter_map(|(whose, (name, signer))| Some((whose, ending(name.as_str(), &signer.term(), now)?)))
        .collect();
    let mut lacks: Vec<Reason> = Vec::new();
    for (_, _, reason) in doctor::readiness(global, &rules)? {
        lacks.extend(reason.filter(|reason| !lacks.contains(reason)));
    }
    let mut warnings = rules.warning_views;
    warnings.extend(forecasts.iter().map(|(whose, message)| forecast(whose, message, &rules.files)));
    let key_outside = |(whose, message): &(&str, String)| DiagnosticView {
        code: "key-outside-window",
        ..forecast(whose, message, &rules.files)
    };
    warnings.extend(ending.iter().map(key_outside));
    let in_words = |(whose, message): (&str, String)| match whose {
        "policy" => format!("policy: {message}"),
        _ => message,
    };
    let windows: Vec<String> = forecasts.into_iter().map(in_words).collect();
    let ending: Vec<String> = ending.into_iter().map(in_words).collect();
    let count = warnings.len() + lacks.len();
    let refused =
        warnings.first().filter(|_| arguments.strict).map(|first| command_line(["promo", "explain", first.code]));
    let exit = if refused.is_some() { Exit(65) } else { DONE };
    let next = refused.or_else(|| lacking(lacks.iter().map(Reason::code))).unwrap_or_else(|| "promo graph".to_owned());
    let view = View {
        kind: "promo.check",
        format: 1,
        pipeline: governance.pipeline.name.to_string(),
        environments: governance.pipeline.environments.len(),
        local: governance.local,
        policy: governance.policy.as_ref().map(|p| format!("{} v{}", p.name, p.version)),
        warnings,
        windows,
        not_runnable: lacks.iter().map(ToString::to_string).collect(),
        next: ui.to_paste(&next),
    };
    if ui.format() == Format::Json {
        ui.json(&view);
    } else {
        if !rules.warnings.is_empty() {
            ui.talk(&rules.warnings);
        }
        for warning in view.windows.iter().chain(&ending).chain(&view.not_runnable) {
            ui.talk(&format!("{}: {}", label(Label::Warning, "warning"), line(warning)));
        }
        let verdict = if exit == DONE { "is well formed" } else { "has warnings, and --strict takes none" };
        let mut out = format!(
            "{} {verdict}: {}, {}",
            view.pipeline,
            counted(view.environments, "environment"),
            view.policy.as_deref().map_or_else(|| "no policy".to_owned(), |p| format!("policy {}", line(p)))
        );
        if view.local {
            out.push_str(", local mode");
        }
        match count {
            0 => out.push_str(", no warnings\n"),
            1 => out.push_str(", 1 warning\n"),
            _ => out.push_str(&format!(", {count} warnings\n")),
        }
        out.push_str(&ui.next(&next));
        ui.data(&out);
    }
    Ok(exit)
}

/// What no release could be deployed with, each once with the environments in which it is.
pub(super) fn wrong_templates(found: Vec<(EnvironmentName, ProviderError)>) -> Option<CliError> {
    let mut places: BTreeMap<String, Vec<EnvironmentName>> = BTreeMap::new();
    for (environment, error) in found {
        places.entry(error.message).or_default().push(environment);
    }
    let lines = places.iter().map(|(message, names)| {
        let names: Vec<&str> = names.iter().map(EnvironmentName::as_str).collect();
        format!("{message} (for {})", names.join(", "))
    });
    let lines: Vec<String> = lines.collect();
    let message = "what is to be deployed cannot be made of any release";
    let error = CliError::new("template-invalid", 65, message, "promo explain template-invalid");
    (!lines.is_empty()).then(|| error.who(who::PIPELINE).details(lines))
}

/// A forecast about a window, as a warning about the file that declares it.
/// How long before the end of a key people are told, in days.
const KEY_DAYS: i64 = 30;

/// That a key counts no more soon, or any more: what is signed with it has to be signed anew.
fn ending(name: &str, term: &Term, now: Timestamp) -> Option<String> {
    let to = term.to?;
    let left = to.duration_since(now);
    if left > SignedDuration::from_hours(24 * KEY_DAYS) {
        return None;
    }
    let (is, days) = if to <= now { ("counted", None) } else { ("counts", Some(left.as_hours() / 24)) };
    let left = days.map(|days| format!(", {days} days from now")).unwrap_or_default();
    let todo = "sign with a key that counts longer, and name both until then";
    Some(format!("the key of the signer {name} {is} until {}{left}: {todo}", Instant(to)))
}

fn forecast(declares: &str, message: &str, files: &[(&'static str, PathBuf)]) -> DiagnosticView {
    let file = files.iter().find(|(what, _)| *what == declares).map(|(_, path)| path.display().to_string());
    DiagnosticView {
        code: "window-forecast",
        severity: Severity::Warning,
        message: message.to_owned(),
        file: file.unwrap_or_default(),
        line: None,
        column: None,
        excerpt: None,
        help: None,
        suggestion: None,
    }
}
