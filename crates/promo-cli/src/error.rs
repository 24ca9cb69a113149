//! Errors: the one place where what went wrong anywhere becomes a code, a sentence, a place, who can fix it, the next
//! command and an exit code (S14). What must not live here: detecting anything.

use std::borrow::Cow;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::Format;
use crate::escape::{self, shell_word};
use crate::exit::Exit;
use crate::output::diagnostics::DiagnosticView;
use crate::output::labels::{Label, label};
use crate::ui::Ui;

/// The next command where only the line that was typed can help: [`CliError::of_verb`] makes it that of the verb.
pub(crate) const HELP: &str = "promo --help";

/// What a verb ends with when it does not do what it was asked for.
#[derive(Debug)]
pub(crate) struct CliError(Box<Problem>);

/// The frozen view of an error, format 1.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Problem {
    kind: &'static str,
    format: u32,
    /// The stable code, with a page in `docs/errors/`.
    pub(crate) code: &'static str,
    /// The exit code.
    pub(crate) exit: u8,
    /// One sentence.
    pub(crate) message: String,
    /// What caused it, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<String>,
    /// Where.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<String>,
    /// Everything that is wrong with files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) diagnostics: Vec<DiagnosticView>,
    /// More lines about it: inputs that moved, gates that are closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// Who can fix it.
    pub(crate) who: Cow<'static, str>,
    /// The next command, to paste.
    pub(crate) next: String,
    /// The same as text with excerpts, where files are at fault.
    #[serde(skip)]
    pub(crate) drawing: Option<String>,
}

/// A place in a file or in the ledger.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Place {
    /// The file, or the record.
    pub(crate) file: String,
    /// Its line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// The character in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) excerpt: Option<String>,
}

/// Who can fix something.
pub(crate) mod who {
    /// Whoever typed the command.
    pub(crate) const YOU: &str = "you";
    /// Whoever keeps the pipeline file.
    pub(crate) const PIPELINE: &str = "whoever keeps the pipeline";
    /// Whoever keeps the policy.
    pub(crate) const PLATFORM: &str = "whoever keeps the policy";
    /// Whoever runs the machine, the ledger or the registry.
    pub(crate) const OPERATOR: &str = "whoever runs this machine, the ledger or the registry";
}

impl CliError {
    /// An error with a code of the registry.
    ///
    /// # Panics
    /// When the code has no page: that would leave a reader alone.
    pub(crate) fn new(code: &'static str, exit: u8, message: impl Into<String>, next: impl Into<String>) -> Self {
        debug_assert!(crate::codes::find(code).is_some(), "invariant: every code has a page, and `{code}` has none");
        Self(Box::new(Problem {
            kind: "promo.error",
            format: 1,
            code,
            exit,
            message: message.into(),
            causes: Vec::new(),
            place: None,
            expected: None,
            found: None,
            diagnostics: Vec::new(),
            details: Vec::new(),
            who: who::YOU.into(),
            next: next.into(),
            drawing: None,
        }))
    }

    /// With the chain of what caused it.
    pub(crate) fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let cause = error.to_string();
            // A wrapper that says what it wraps is told once.
            if !self.0.causes.last().is_some_and(|last| last.ends_with(&cause)) {
                self.0.causes.push(cause);
            }
            next = error.source();
        }
        self
    }

    /// With another next command, as it is to be pasted.
    pub(crate) fn with_next(mut self, next: String) -> Self {
        self.0.next = next;
        self
    }

    /// With another next command.
    pub(crate) fn go_on_with(mut self, words: &[&str]) -> Self {
        self.0.next = command_line(words.iter().copied());
        self
    }

    /// Of this verb: help that is the next command is its own.
    pub(crate) fn of_verb(mut self, verb: &str) -> Self {
        if self.0.next == HELP && !verb.is_empty() {
            self.0.next = format!("promo {verb} --help");
        }
        self
    }

    /// With who can fix it.
    pub(crate) fn who(mut self, who: impl Into<Cow<'static, str>>) -> Self {
        self.0.who = who.into();
        self
    }

    /// With what was expected and what was found.
    pub(crate) fn differs(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self.0.found = Some(found.into());
        self
    }

    /// With another exit code.
    pub(crate) fn ending_with(mut self, exit: u8) -> Self {
        self.0.exit = exit;
        self
    }

    /// With other words.
    pub(crate) fn said(mut self, message: &str) -> Self {
        message.clone_into(&mut self.0.message);
        self
    }

    /// With what was found.
    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// With what was expected.
    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// With more lines.
    pub(crate) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.0.details.extend(details);
        self
    }

    /// With the file it is about.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        let file = path.display().to_string();
        self.0.place = Some(Place { file, line: None, column: None, excerpt: None });
        self
    }

    /// A mistake in the command line, as clap words it.
    pub(crate) fn usage(error: &clap::Error, verb: &str) -> Self {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim_end);
        let first = lines.next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        // Of clap's the arguments that variables give are part; the verb's own is told instead.
        let told = |l: &&str| !l.is_empty() && !l.starts_with("For more information") && !l.starts_with("Usage:");
        let details = lines.filter(told).map(str::to_owned);
        Self::new("usage", 64, message, HELP).details(details).details([crate::cli::usage(verb)]).of_verb(verb)
    }

    /// A flag with a value that it does not take.
    pub(crate) fn invalid_value(flag: &str, why: &dyn std::fmt::Display, help: Option<String>) -> Self {
        let error = Self::new("usage", 64, format!("{flag}: {why}"), HELP);
        match help {
            Some(help) => error.details([help]),
            None => error,
        }
    }

    /// A file that cannot be read or written. Help says which flag names it; where there is more to do, the caller says so.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let shown = path.display().to_string();
        Self::new("file-unreadable", 65, format!("{shown} cannot be {doing}"), HELP).because(error).in_file(path)
    }

    /// Standard output took no more, after what was asked for was done, or failed.
    pub(crate) fn lost_answer(why: &str, done: bool) -> Self {
        let message = match done {
            true => "standard output cannot be written: what was asked for was done, and the answer is not whole",
            false => "standard output cannot be written: the command failed, and not all that it said is there",
        };
        Self::new("file-unreadable", 65, message, "promo status")
            .because(&std::io::Error::other(why))
            .who(who::OPERATOR)
    }

    /// With the excerpts of the files at fault.
    pub(crate) fn drawn(mut self, drawing: String) -> Self {
        self.0.drawing = Some(drawing);
        self
    }

    /// With what is wrong in files, as views; the first error among them is where it is.
    pub(crate) fn with_diagnostics(mut self, diagnostics: Vec<DiagnosticView>) -> Self {
        let first = diagnostics.iter().find(|d| d.severity == promo_core::diagnostic::Severity::Error);
        if let Some(first) = first {
            self.0.place = Some(Place {
                file: first.file.clone(),
                line: first.line,
                column: first.column,
                excerpt: first.excerpt.clone(),
            });
        }
        self.0.diagnostics = diagnostics;
        self
    }

    /// A document of a newer format: nothing in it is guessed at.
    pub(crate) fn newer(newer: &promo_core::format::Newer) -> Self {
        let (known, found) = (format!("format {}", newer.known), format!("format {}", newer.found));
        Self::new("format-newer", 65, newer.to_string(), "promo --version").differs(known, found)
    }

    /// The plan file is not one that this version can use.
    pub(crate) fn plan_file(path: &Path, error: &promo_core::plan::PlanFileError) -> Self {
        use promo_core::plan::PlanFileError as E;
        if let E::Newer(newer) = error {
            return Self::newer(newer).in_file(path);
        }
        let shown = path.display().to_string();
        // A file that never was a plan is the wrong one; a plan that does not add up is damaged.
        let exit = if matches!(error, E::Kind(_) | E::TooLarge(_)) { 65 } else { 30 };
        Self::new(
            "plan-unreadable",
            exit,
            format!("{shown} is not a plan that can be used"),
            "promo plan --out plan.json",
        )
        .because(error)
        .in_file(path)
        .expected("the very bytes that `promo plan --out` wrote")
    }

    /// A file that never was a plan, and what it is.
    pub(crate) fn no_plan(path: &Path, what: &str) -> Self {
        let message = format!("{} is no plan: {what}", path.display());
        Self::new("plan-unreadable", 65, message, "promo plan --out plan.json")
            .in_file(path)
            .expected("the very bytes that `promo plan --out` wrote")
    }

    /// The frozen view.
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }

    /// Prints it, and says how the process ends.
    pub(crate) fn report(&self, ui: &Ui) -> Exit {
        let mut problem = self.0.clone();
        problem.next = ui.to_paste(&problem.next);
        ui.view_event("error", &problem, false);
        if ui.format() != Format::Json {
            ui.talk(&self.text_to_paste(ui));
        }
        Exit(self.0.exit)
    }

    /// The text of it, whose last line is the next command with the flags of this call.
    pub(crate) fn text_to_paste(&self, ui: &Ui) -> String {
        let mut problem = self.0.clone();
        problem.next = ui.to_paste(&problem.next);
        Self(problem).text()
    }

    /// The text of it; the last line is the next command.
    pub(crate) fn text(&self) -> String {
        let problem = &*self.0;
        let head = label(Label::Error, &format!("error[{}]", problem.code));
        let mut out = format!("{head}: {}\n", escape::block(&problem.message));
        if let Some(drawing) = &problem.drawing {
            out.push_str(drawing);
        }
        let mut line = |what: &str, text: &str| {
            out.push_str(&format!("  {} {}\n", label(Label::Dim, what), escape::line(text)));
        };
        if let (Some(place), None) = (&problem.place, &problem.drawing) {
            let mut at = place.file.clone();
            for number in [place.line, place.column].into_iter().flatten() {
                at.push_str(&format!(":{number}"));
            }
            line("at:", &at);
            if let Some(excerpt) = &place.excerpt {
                line("|", excerpt);
            }
        }
        for cause in &problem.causes {
            line("because:", cause);
        }
        for (what, text) in [("expected:", &problem.expected), ("found:", &problem.found)] {
            if let Some(text) = text {
                line(what, text);
            }
        }
        for detail in &problem.details {
            out.push_str(&format!("  {}\n", escape::line(detail)));
        }
        let page = format!("promo explain {}", problem.code);
        out.push_str(&format!(
            "  {} {}; {page} says more\n",
            label(Label::Dim, "can be fixed by:"),
            escape::line(&problem.who)
        ));
        out.push_str(&format!("{} {}\n", label(Label::Next, "Next:"), problem.next));
        out
    }
}

/// The words of a command to paste.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(shell_word).collect();
    words.join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cli;

    /// Whether a command that promo tells people to paste is one that its own parser takes.
    pub(crate) fn assert_parses(next: &str) {
        let words = split(next);
        assert_eq!(words.first().map(String::as_str), Some("promo"), "{next}");
        match cli::command().try_get_matches_from(&words) {
            Ok(_) => {}
            Err(error) => assert!(!error.use_stderr(), "`{next}` does not parse: {error}"),
        }
    }

    fn split(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for ch in line.chars() {
            match ch {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                ch => word.push(ch),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn every_error_ends_with_a_command_that_parses_s14() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let usage = cli::command().try_get_matches_from(["promo", "plann"]).unwrap_err();
        let errors = [
            CliError::usage(&usage, ""),
            CliError::usage(&usage, "explain"),
            CliError::invalid_value("--timezone", &"no", None),
            CliError::invalid_value("--timezone", &"no", None).of_verb("ledger verify"),
            CliError::file("read", Path::new("a b.json"), &missing),
            CliError::plan_file(Path::new("a"), &promo_core::plan::PlanFileError::Format(0)),
            CliError::newer(&promo_core::format::Newer { what: "the plan", found: 2, known: 1 }),
        ];
        for error in errors {
            let text = anstream::adapter::strip_str(&error.text()).to_string();
            let next = text.lines().last().and_then(|l| l.strip_prefix("Next: ")).expect("the last line is a command");
            assert_parses(next);
        }
    }

    #[test]
    fn what_comes_from_outside_cannot_move_the_cursor_s13_3() {
        let text = CliError::new("usage", 64, "a\u{1b}[2Jb", "promo --help").details(["x\u{202e}y\nz".into()]).text();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.contains("a\\u{1b}[2Jb") && text.contains("x\\u{202e}y\\u{a}z"), "{text}");
    }
}
