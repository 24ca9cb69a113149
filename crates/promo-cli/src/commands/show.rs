//! `promo show FILE`: a saved plan, rendered again. Without forecasts: those are no part of a plan (S8.2).

use std::path::{Path, PathBuf};

use clap::Args;
use promo_core::Digest;
use promo_core::plan::{Document, MAX_BYTES, PlanFileError};

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::plan_text::Options;
use crate::output::{plan_html, plan_markdown, plan_text};
use crate::ui::{self, Ui};
use crate::view::{Forecasts, PlanView};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The saved plan
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show whole differences and routine gates too
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let (document, digest) = read(&arguments.file)?;
    let file = arguments.file.to_string_lossy();
    let view = PlanView::new(&document, digest, Some(&file), &Forecasts::new());
    print(ui, global, &view, arguments.full)?;
    Ok(DONE)
}

/// Reads a saved plan; a file that is larger than any plan is not read (S13.2).
pub(crate) fn read(path: &Path) -> Result<(Document, Digest), CliError> {
    let read = |error: &std::io::Error| CliError::file("read", path, error);
    let size = std::fs::metadata(path).map_err(|e| read(&e))?.len();
    if size > MAX_BYTES as u64 + 1 {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        return Err(CliError::plan_file(path, &PlanFileError::TooLarge(size)));
    }
    let bytes = std::fs::read(path).map_err(|e| read(&e))?;
    Document::from_bytes(&bytes).map_err(|error| CliError::plan_file(path, &error))
}

/// Prints a plan in the format that was asked for.
pub(crate) fn print(ui: &Ui, global: &Global, view: &PlanView, full: bool) -> Result<(), CliError> {
    let options = Options { zone: ui::zone(global)?, full };
    match ui.format() {
        Format::Json => ui.json(view),
        Format::Text => ui.data(&plan_text::render(view, &options)),
        Format::Markdown => ui.data(&plan_markdown::render(view, &options)),
        Format::Html => ui.data(&plan_html::render(view, &options)),
    }
    Ok(())
}
