//! Labels: what a piece of text is, not which colour it has. Signs carry the meaning, colour only helps; anstream takes it
//! away where it is not wanted.

use anstyle::{AnsiColor, Style};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// The name of something that matters.
    Strong,
    /// Open, passed, added.
    Good,
    /// Waits.
    Waiting,
    /// Refused, failed, removed.
    Bad,
    /// The word `error`.
    Error,
    /// The word `warning`.
    Warning,
    /// Less important than the rest.
    Dim,
    /// The next command.
    Next,
}

impl Label {
    const fn style(self) -> Style {
        match self {
            Self::Strong => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Waiting => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Error => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Next => AnsiColor::Cyan.on_default().bold(),
        }
    }
}

/// `text` as what it is. The text has been escaped already.
pub(crate) fn label(label: Label, text: &str) -> String {
    let style = label.style();
    format!("{style}{text}{style:#}")
}
