//! Where a verb puts what it says: data to standard output, talk to standard error, in the format that was asked for.

use std::io::{IsTerminal as _, Write as _};

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::{Color, Format, Global};
use crate::error::CliError;

/// The two streams and how to write to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    format: Format,
    verbose: u8,
}

impl Ui {
    /// Settles the format and the use of colour.
    pub(crate) fn new(global: &Global) -> Self {
        let choice = match global.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self { format: global.format, verbose: global.verbose }
    }

    /// The format of answers.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// How often `-v` was given.
    pub(crate) fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Whether a person can be asked and shown things that move.
    pub(crate) fn is_interactive(&self) -> bool {
        self.format == Format::Text && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Data. A reader that has gone away has what it wanted, so a closed pipe is no error.
    pub(crate) fn data(&self, text: &str) {
        let mut out = anstream::stdout().lock();
        let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A frozen view as one JSON document.
    pub(crate) fn json(&self, view: &impl Serialize) {
        let text = serde_json::to_string_pretty(view).expect("invariant: views serialize");
        self.data(&format!("{text}\n"));
    }

    /// One event as one line of JSON.
    pub(crate) fn json_line(&self, event: &impl Serialize) {
        let text = serde_json::to_string(event).expect("invariant: events serialize");
        self.data(&format!("{text}\n"));
    }

    /// Talk: one or more lines for whoever watches.
    pub(crate) fn talk(&self, text: &str) {
        let mut err = anstream::stderr().lock();
        let _closed = writeln!(err, "{}", text.trim_end_matches('\n'));
    }
}

/// The zone in which times are shown. It comes from the bundled database like every zone, and moves no window.
pub(crate) fn zone(global: &Global) -> Result<TimeZone, CliError> {
    promo_core::windows::zone(&global.timezone)
        .map_err(|error| CliError::invalid_value("--timezone", &error, Some(error.help())))
}
