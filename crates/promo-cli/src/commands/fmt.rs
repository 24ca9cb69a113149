//! `promo fmt`: pipeline and policy files in one form. Comments, order and values stay; only blank space changes.

use std::path::{Path, PathBuf};

use clap::Args;
use promo_core::config::Limits;
use promo_core::diagnostic::Diagnostic;
use toml_edit::{DocumentMut, Item, Table};

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::project::{self, PIPELINE_FILE as PIPELINE};
use crate::ui::Ui;
use crate::view::answers::Formatted;
use crate::{input, save};

/// The policy file that `promo init` writes.
const POLICY: &str = "policy.toml";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which files; those of the directory when none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing, and end with 1 when something would change
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(ui: &Ui, _global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut files = arguments.files.clone();
    if files.is_empty() {
        files.extend([PIPELINE, POLICY].map(PathBuf::from).into_iter().filter(|p| p.symlink_metadata().is_ok()));
    }
    if files.is_empty() {
        let message = format!("there is neither {PIPELINE} nor {POLICY} here");
        return Err(CliError::new("pipeline-not-found", 65, message, "promo init"));
    }
    if arguments.files.is_empty() && !files.iter().any(|file| file == Path::new(PIPELINE)) {
        ui.talk(&format!("There is no {PIPELINE} here: only {POLICY} was looked at"));
    }
    let (mut others, mut formatted) = (Vec::new(), Vec::new());
    for path in &files {
        let before =
            input::text_at_most(path, Limits::default().bytes).map_err(|e| CliError::file("read", path, &e))?;
        let after = format(&before).map_err(|error| broken(path, &before, &error))?;
        if before == after {
            continue;
        }
        if arguments.check {
            others.push(path.display().to_string());
        } else {
            save::put(path, after.as_bytes())?;
            formatted.push(path.display().to_string());
        }
    }
    if others.is_empty() {
        if ui.format() == Format::Json {
            ui.answer(&Formatted { formatted });
        } else {
            let line = |file: &String| format!("formatted {}\n", escape::line(file));
            ui.data(&formatted.iter().map(line).collect::<String>());
        }
        return Ok(DONE);
    }
    let named = others.iter().map(String::as_str).filter(|_| !arguments.files.is_empty());
    let next = command_line(["promo", "fmt"].into_iter().chain(named));
    Err(CliError::new("not-formatted", 1, format!("not formatted: {}", others.join(", ")), next))
}

fn broken(path: &Path, text: &str, error: &toml_edit::TomlError) -> CliError {
    let at = error.span().unwrap_or_default();
    project::invalid(path, text, &[Diagnostic::at("toml-syntax", at, error.message())])
}

/// The text in one form: one blank line before each table, keys of a table lined up, one final line break.
fn format(text: &str) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    keys(document.as_table_mut());
    let text = document.to_string();
    let mut out: Vec<&str> = Vec::new();
    let mut multiline = Quotes::default();
    for line in text.lines() {
        let inside = multiline.open.is_some();
        multiline.read(line);
        let line = if inside || multiline.open.is_some() { line } else { line.trim_end() };
        let blank = line.is_empty() && !inside;
        if blank && out.last().is_none_or(|last| last.is_empty()) {
            continue;
        }
        out.push(line);
    }
    while out.last().is_some_and(|last| last.is_empty()) {
        out.pop();
    }
    let mut out = out.join("\n");
    out.push('\n');
    Ok(out)
}

/// Puts one space around every equals sign, recursively.
fn keys(table: &mut Table) {
    for (mut key, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            keys(inner);
        } else if let Item::ArrayOfTables(list) = item {
            list.iter_mut().for_each(keys);
        } else if let Item::Value(value) = item {
            let leaf = key.leaf_decor_mut();
            let aligned = leaf.suffix().and_then(|s| s.as_str()).is_some_and(|s| s.len() > 1);
            if !aligned {
                leaf.set_suffix(" ");
            }
            value.decor_mut().set_prefix(" ");
        }
    }
}

/// Whether a line ends within a text of several lines, whose blank lines and spaces mean something.
#[derive(Default)]
struct Quotes {
    open: Option<&'static str>,
}

impl Quotes {
    fn read(&mut self, line: &str) {
        let mut rest = line;
        loop {
            match self.open {
                Some(quote) => match rest.find(quote) {
                    Some(at) => {
                        rest = &rest[at + 3..];
                        self.open = None;
                    }
                    None => return,
                },
                None => {
                    let found = ["\"\"\"", "'''"].into_iter().filter_map(|q| rest.find(q).map(|at| (at, q))).min();
                    let Some((at, quote)) = found else { return };
                    if rest[..at].contains('#') {
                        return;
                    }
                    rest = &rest[at + 3..];
                    self.open = Some(quote);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_order_alignment_and_texts_stay() {
        let text =
            "# top\nformat=1\n\n\n\n[b]   # why\nx =   1 # one\nlong   = 2\n\n[a]\ny = \"\"\"\n\n\n  z\n\"\"\"\n\n\n";
        let formatted = format(text).unwrap();
        assert_eq!(
            formatted,
            "# top\nformat = 1\n\n[b]   # why\nx = 1 # one\nlong   = 2\n\n[a]\ny = \"\"\"\n\n\n  z\n\"\"\"\n"
        );
        assert_eq!(format(&formatted).unwrap(), formatted, "formatting again changes nothing");
    }

    #[test]
    fn what_is_not_toml_is_left_alone() {
        assert!(format("a = ").is_err());
    }
}
