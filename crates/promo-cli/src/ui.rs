//! Where a verb puts what it says: data to standard output, talk to standard error, in the format that was asked for.

use std::ffi::OsStr;
use std::io::{Error, ErrorKind, IsTerminal as _, Write as _};
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use promo_engine::Progress;
use serde::Serialize;

use crate::cli::{Color, Format, Global};
use crate::error::CliError;
use crate::escape::fenced;
use crate::output::events::Events;
use crate::output::labels::{Label, label};
use crate::view::Answer;

/// The two streams and how to write to them.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    format: Format,
    verbose: u8,
    events: Option<Arc<Events>>,
    lost: Lost,
    call: Arc<Global>,
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
        Self {
            format: global.format,
            verbose: global.verbose,
            events: None,
            lost: Arc::default(),
            call: Arc::new(global.clone()),
        }
    }

    /// The same with a stream of events: into a file where one is named, and to standard output in JSON.
    pub(crate) fn with_events(&self, global: &Global) -> Result<Self, CliError> {
        let events = Events::open(global.events.as_deref(), self.format == Format::Json, self.lost.clone())?;
        Ok(Self { events: Some(Arc::new(events)), ..self.clone() })
    }

    /// The same for another call, whose flags go into the commands that are suggested.
    pub(crate) fn for_call(&self, global: &Global) -> Self {
        Self { call: Arc::new(global.clone()), ..self.clone() }
    }

    /// A command that is suggested, with the flags of this call ([`Global::to_paste`]).
    pub(crate) fn to_paste(&self, command: &str) -> String {
        self.call.to_paste(command)
    }

    /// The last line of a result: the next command, with the flags of this call.
    pub(crate) fn next(&self, command: &str) -> String {
        self.last_line(&self.to_paste(command))
    }

    /// The last line of a result: the next command, which has the flags of this call already.
    pub(crate) fn last_line(&self, command: &str) -> String {
        match self.format {
            Format::Markdown => format!("\n{}\n", fenced("sh", command)),
            _ => format!("{} {command}\n", label(Label::Next, "Next:")),
        }
    }

    /// One event of the engine's.
    pub(crate) fn event(&self, event: &Progress) {
        if let Some(events) = &self.events {
            events.say(None, event, true);
        }
    }

    /// A view that is also an event. Standard output gets it as such with `streams`, or when it is a stream already; else
    /// as one document.
    pub(crate) fn view_event(&self, name: &str, view: &impl Serialize, streams: bool) {
        let events = self.events.as_deref();
        if let Some(events) = events {
            events.say(Some(name), view, streams);
        }
        if self.format == Format::Json && !events.is_some_and(Events::begun) {
            self.json(view);
        }
    }

    /// Ends the stream.
    pub(crate) fn end(&self, exit: u8) {
        if let Some(events) = &self.events {
            events.end(exit);
        }
    }

    /// The format of answers.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// How many cells a line has on the terminal that answers go to; none elsewhere, where whole lines are read.
    pub(crate) fn width(&self) -> Option<usize> {
        // Below that nothing is a table any more.
        terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0).max(40))
    }

    /// How often `-v` was given.
    pub(crate) fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Whether a person can be asked and shown things that move. In CI nobody watches, also where it gives a terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        !in_ci() && self.format == Format::Text && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Data. A reader that has gone away has what it wanted, so a closed pipe is no error; a full disk is one
    /// ([`Ui::lost`]).
    pub(crate) fn data(&self, text: &str) {
        let mut out = anstream::stdout().lock();
        lose(&self.lost, out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// Says that an answer is not whole because standard output took no more, as an exit code, and first what `failed`, where
    /// something did.
    pub(crate) fn lost(&self, failed: Option<&CliError>) -> Option<u8> {
        let error = CliError::lost_answer(self.lost.get()?, failed.is_none());
        // Always as text: where JSON would go, nothing goes any more. An error that went there is told here.
        let unsaid = failed.filter(|_| self.format == Format::Json);
        unsaid.iter().for_each(|failed| self.talk(&failed.text_to_paste(self)));
        self.talk(&error.text_to_paste(self));
        Some(error.problem().exit)
    }

    /// A frozen view as one JSON document.
    pub(crate) fn json(&self, view: &impl Serialize) {
        let text = serde_json::to_string_pretty(view).expect("invariant: views serialize");
        self.data(&format!("{text}\n"));
    }

    /// A frozen view, with its kind and format, as one JSON document.
    pub(crate) fn answer<A: Answer>(&self, answer: &A) {
        #[derive(Serialize)]
        struct Document<'a, A> {
            kind: &'static str,
            format: u32,
            #[serde(flatten)]
            answer: &'a A,
        }
        self.json(&Document { kind: A::KIND, format: 1, answer });
    }

    /// Talk: one or more lines for whoever watches.
    pub(crate) fn talk(&self, text: &str) {
        let mut err = anstream::stderr().lock();
        let _closed = writeln!(err, "{}", text.trim_end_matches('\n'));
    }
}

/// Why an answer is not whole: the first reason.
pub(crate) type Lost = Arc<OnceLock<String>>;

/// Keeps why standard output took no more; that nobody reads any more is no reason.
pub(crate) fn lose(lost: &Lost, written: Result<(), Error>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _first = lost.set(error.to_string());
    }
}

/// The zone in which times are shown. It comes from the bundled database like every zone, and moves no window.
pub(crate) fn zone(global: &Global) -> Result<TimeZone, CliError> {
    promo_core::windows::zone(&global.timezone)
        .map_err(|error| CliError::invalid_value("--timezone", &error, Some(error.help())))
}

/// Whether this is a job of CI: its variable says so, unless it is set to say that this is none.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| means_yes(&value))
}

fn means_yes(value: &OsStr) -> bool {
    !["", "0", "false"].map(OsStr::new).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_off_only_for_the_values_that_say_so() {
        for (value, yes) in [("true", true), ("1", true), ("yes", true), ("", false), ("0", false), ("false", false)] {
            assert_eq!(means_yes(OsStr::new(value)), yes, "CI={value}");
        }
    }
}
