//! `promo explain CODE`: the long form of an error, a diagnostic or a reason.

use clap::Args;

use crate::cli::{Format, Global};
use crate::codes::{self, CODES};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::ui::Ui;
use crate::view::answers::{CodeLine, Codes, Explained};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The code, as it stands in brackets in a message, or the number of a rule: S10.4
    #[arg(value_name = "CODE", required_unless_present = "list")]
    code: Option<String>,
    /// List every code with one line about it
    #[arg(long, conflicts_with = "code")]
    list: bool,
}

pub(crate) fn run(ui: &Ui, _global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let Some(wanted) = &arguments.code else {
        list(ui);
        return Ok(DONE);
    };
    let Some(code) = codes::find(wanted) else {
        if let Some(page) = codes::rule(wanted) {
            match ui.format() {
                Format::Json => ui.answer(&Explained { code: wanted.clone(), about: "A rule.".into(), page }),
                Format::Text | Format::Markdown | Format::Html => ui.data(&page),
            }
            return Ok(DONE);
        }
        let near = promo_near(wanted);
        let next = near.map_or_else(|| "promo explain --list".to_owned(), |near| format!("promo explain {near}"));
        let details = near.map(|near| format!("tip: a similar code exists: '{near}'"));
        return Err(CliError::new("usage", 64, format!("there is no code `{wanted}`"), next).details(details));
    };
    match ui.format() {
        Format::Json => {
            ui.answer(&Explained { code: code.name.into(), about: code.about().into(), page: code.page.into() });
        }
        Format::Text | Format::Markdown | Format::Html => ui.data(code.page),
    }
    Ok(DONE)
}

/// The code that was probably meant.
fn promo_near(wanted: &str) -> Option<&'static str> {
    let wanted: String = wanted.chars().take(100).collect();
    let nearest = CODES.iter().map(|c| (strsim::damerau_levenshtein(&wanted, c.name), c.name)).min()?;
    (nearest.0 <= (wanted.chars().count() / 3).max(1)).then_some(nearest.1)
}

fn list(ui: &Ui) {
    match ui.format() {
        Format::Json => {
            let line = |code: &codes::Code| CodeLine { code: code.name, about: code.about() };
            ui.answer(&Codes { codes: CODES.iter().map(line).collect() });
        }
        Format::Text | Format::Markdown | Format::Html => {
            let width = CODES.iter().map(|c| c.name.len()).max().unwrap_or(0);
            let lines: Vec<String> = CODES.iter().map(|c| format!("{:<width$}  {}\n", c.name, c.about())).collect();
            ui.data(&lines.concat());
        }
    }
}
