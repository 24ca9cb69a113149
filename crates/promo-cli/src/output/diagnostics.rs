//! Diagnostics of files with their source, as rustc draws them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use promo_core::diagnostic::{Diagnostic, Severity};

use crate::escape;

/// Every diagnostic with the lines it is about.
pub(crate) fn draw(name: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let renderer = Renderer::styled();
    let mut out = String::new();
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
            group = group.element(Snippet::source(text).path(name).annotations(annotations));
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
