//! Diagnostics of files with their source, as rustc draws them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use promo_core::diagnostic::{Diagnostic, Severity, Source};
use schemars::JsonSchema;
use serde::Serialize;

use crate::escape;

/// The frozen view of a diagnostic.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DiagnosticView {
    /// Its code.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// One sentence.
    pub(crate) message: String,
    /// The file.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: Option<usize>,
    /// Character in the line, from 1.
    pub(crate) column: Option<usize>,
    /// The line itself.
    pub(crate) excerpt: Option<String>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// What was probably meant.
    pub(crate) suggestion: Option<String>,
}

impl DiagnosticView {
    /// The view of a diagnostic of a text.
    pub(crate) fn of(source: &Source<'_>, diagnostic: &Diagnostic) -> Self {
        let place = source.place(diagnostic);
        let excerpt = place.and_then(|p| source.text.lines().nth(p.line - 1)).map(str::to_owned);
        Self {
            code: diagnostic.code,
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            file: source.name.to_owned(),
            line: place.map(|p| p.line),
            column: place.map(|p| p.column),
            excerpt,
            help: diagnostic.help.clone(),
            suggestion: diagnostic.suggestion.clone(),
        }
    }
}

/// The views of all diagnostics of a text.
pub(crate) fn views(name: &str, text: &str, diagnostics: &[Diagnostic]) -> Vec<DiagnosticView> {
    let source = Source { name, text };
    diagnostics.iter().map(|diagnostic| DiagnosticView::of(&source, diagnostic)).collect()
}

/// Every diagnostic with the lines it is about.
pub(crate) fn draw(name: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let renderer = Renderer::styled();
    let mut out = String::new();
    let (name, text) = (escape::line(name), visible(text));
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = escape::line(&diagnostic.message);
        let title = level.primary_title(message.as_str()).id(diagnostic.code);
        let labels: Vec<String> = diagnostic.labels.iter().map(|l| escape::line(&l.message)).collect();
        let mut group = Group::with_title(title);
        if !diagnostic.labels.is_empty() {
            let annotations = diagnostic.labels.iter().zip(&labels).enumerate().map(|(index, (label, message))| {
                let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                kind.span(label.span.clone()).label(message.as_str())
            });
            group = group.element(Snippet::source(text.as_str()).path(name.as_str()).annotations(annotations));
        }
        let meant = diagnostic.suggestion.as_deref().map(|s| format!("did you mean `{}`?", escape::line(s)));
        if let Some(meant) = &meant {
            group = group.element(Level::HELP.message(meant.as_str()));
        }
        let help = diagnostic.help.as_deref().map(escape::line);
        if let Some(help) = &help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]).to_string());
        out.push_str("\n\n");
    }
    out
}

/// The text with every character that could fool a terminal made visible, each by as many bytes as it had, so that places
/// stay where they are.
fn visible(text: &str) -> String {
    text.split_inclusive('\n')
        .flat_map(|line| line.chars())
        .map(|ch| {
            let safe = ch == '\n' || ch == '\t' || escape::line(ch.encode_utf8(&mut [0; 4])).starts_with(ch);
            if safe { ch.to_string() } else { "?".repeat(ch.len_utf8()) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_its_line_and_nothing_of_it_moves_the_cursor_s13_3() {
        let text = "a = 1\nb\u{202e} = \"\u{1b}[2J\"\n";
        let diagnostic =
            Diagnostic::at("config-unknown-key", 6..7, "`b` means nothing").help("take it out").nearest("b", ["ba"]);
        let diagnostics = [diagnostic];
        let drawn = anstream::adapter::strip_str(&draw("promo.toml", text, &diagnostics)).to_string();
        assert!(drawn.contains("error[config-unknown-key]: `b` means nothing"), "{drawn}");
        assert!(drawn.contains("promo.toml:2:1") && drawn.contains("take it out"), "{drawn}");
        assert!(!drawn.contains('\u{1b}') && !drawn.contains('\u{202e}'), "{drawn}");
        let view = &views("promo.toml", text, &diagnostics)[0];
        assert_eq!((view.line, view.column), (Some(2), Some(1)));
    }
}
