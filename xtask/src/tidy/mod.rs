//! `cargo xtask tidy`: the house rules that neither rustfmt nor clippy knows.
//!
//! One file per group of rules. A rule is a function from one file (or all files) to findings; it reads nothing itself,
//! except that links ask whether a file exists.

mod links;
mod manifests;
mod source;
mod text;

use crate::process::Run;
use crate::{Outcome, workspace};
use std::fmt;
use std::path::Path;

/// A file that git tracks or would track, with its text.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|ext| ext.to_str()).unwrap_or("")
    }

    fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.split('\n').enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: Option<usize>,
    message: String,
    /// A warning is shown and does not fail the run.
    warning: bool,
}

impl Finding {
    fn at(file: &File, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: Some(line), message: message.into(), warning: false }
    }

    fn whole(file: &File, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line: None, message: message.into(), warning: false }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        match self.line {
            Some(line) => write!(f, "{kind}: {}:{line}: {}", self.path, self.message),
            None => write!(f, "{kind}: {}: {}", self.path, self.message),
        }
    }
}

/// Every rule over a single file.
const RULES: &[fn(&File) -> Vec<Finding>] = &[
    source::length,
    source::unfinished,
    source::name,
    text::whitespace,
    text::machine_paths,
    manifests::dependencies,
    manifests::changelog,
];

/// Checks every file; an error when a rule is broken.
pub(crate) fn run() -> Outcome {
    let files = tracked_files()?;
    let root = workspace::root();
    let mut findings: Vec<Finding> = Vec::new();
    for file in &files {
        for rule in RULES {
            findings.extend(rule(file));
        }
        findings.extend(links::local(file, &|path| root.join(path).exists()));
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    if errors > 0 {
        return Err(format!("tidy: {errors} rules broken in {} files", files.len()));
    }
    println!("tidy: {} files, {} warnings", files.len(), findings.len());
    Ok(())
}

/// What git tracks and what it would track, so that a new file is checked before it is added. Binary files are left out.
fn tracked_files() -> Outcome<Vec<File>> {
    let listed = Run::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).capture()?;
    let root = workspace::root();
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file that is deleted but not yet staged is still listed.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    if files.is_empty() {
        return Err("git lists no file here; tidy would check nothing".into());
    }
    Ok(files)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::tracked_files;

    #[test]
    fn the_list_of_files_holds_this_file_with_its_text() {
        let files = tracked_files().unwrap();
        let this = files.iter().find(|file| file.path == "xtask/src/tidy/mod.rs").unwrap();
        assert!(this.text.contains("the_list_of_files_holds_this_file_with_its_text"));
    }
}
