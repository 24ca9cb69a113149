//! `cargo xtask bench`: whole processes of the release binary, measured from outside and next to their peers.
//!
//! Contenders of one row run in turns, so that a busy minute of a shared machine hits all of them. What lives here: which
//! groups of rows there are, and that a bar which is missed ends in an error. How a process is measured is in `measure`, how
//! rows are shown in `table`, and each group has a file of its own. Numbers that a person wrote down with their
//! circumstances are in `docs/performance.md`.

mod apply;
mod clusters;
mod copy;
mod eligibility;
mod evidence;
mod graph;
mod image;
mod ledger;
mod measure;
mod plan;
mod registry;
mod rollouts;
mod start;
mod table;

use crate::process::Run;
use crate::{Outcome, workspace};
pub(crate) use measure::{Args as MeasureArgs, run as measure};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

/// `cargo xtask bench …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Groups of rows; all when none is named: start, quickstart, plan, apply, copy, ledger, eligibility, evidence, clusters.
    names: Vec<String>,
    /// How often each contender runs.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    promo: Option<PathBuf>,
    /// Also what takes minutes: peers over 1,000 nodes, and ledgers of a million records.
    #[arg(long)]
    full: bool,
}

/// What every group works with.
struct Bench {
    promo: PathBuf,
    ledger_load: Option<PathBuf>,
    eligibility_load: Option<PathBuf>,
    runs: u32,
    full: bool,
    work: PathBuf,
    /// Rows that missed a bar, and how.
    missed: RefCell<Vec<String>>,
}

type Group = fn(&Bench) -> Outcome;

const GROUPS: [(&str, Group); 9] = [
    ("start", start::run),
    ("quickstart", start::quickstart),
    ("plan", plan::run),
    ("apply", apply::run),
    ("copy", copy::run),
    ("ledger", ledger::run),
    ("eligibility", eligibility::run),
    ("evidence", evidence::run),
    ("clusters", clusters::run),
];

/// Builds what is measured, and runs the groups.
pub(crate) fn run(args: &Args) -> Outcome {
    let chosen = chosen(&args.names)?;
    let work = tempfile::Builder::new().prefix("promo-bench-").tempdir().map_err(|error| error.to_string())?;
    let load = |group: &str, package: &str| -> Outcome<Option<PathBuf>> {
        let example = format!("{group}_load");
        let wanted = chosen.iter().any(|(name, _)| *name == group);
        let build = || build(&["-p", package, "--example", &example], &format!("examples/{example}"));
        wanted.then(build).transpose()
    };
    let bench = Bench {
        promo: match &args.promo {
            Some(path) => std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => build(&["-p", "promo-cli"], "promo")?,
        },
        ledger_load: load("ledger", "promo-ledger")?,
        eligibility_load: load("eligibility", "promo-core")?,
        runs: args.runs,
        full: args.full,
        work: work.path().to_path_buf(),
        missed: RefCell::default(),
    };
    for (name, group) in chosen {
        let before = bench.missed.borrow().len();
        let done = group(&bench);
        bench.missed.borrow_mut()[before..].iter_mut().for_each(|row| row.insert_str(0, &format!("{name}, ")));
        if let Err(why) = done {
            let missed = ended(&bench.missed.borrow()).err();
            return Err(missed.into_iter().fold(why, |why, missed| format!("{why}\n{missed}")));
        }
    }
    ended(&bench.missed.borrow())
}

/// All rows are shown by then; an error says which of them missed a bar.
fn ended(missed: &[String]) -> Outcome {
    if missed.is_empty() { Ok(()) } else { Err(format!("bars were missed:\n{}", missed.join("\n"))) }
}

fn chosen(names: &[String]) -> Outcome<Vec<(&'static str, Group)>> {
    let known = || GROUPS.map(|(name, _)| name).join(", ");
    if let Some(unknown) = names.iter().find(|name| !GROUPS.iter().any(|(known, _)| known == name)) {
        return Err(format!("no group of benchmarks is called `{unknown}`; there are: {}", known()));
    }
    Ok(GROUPS.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)).collect())
}

/// Builds in the release profile and returns the path of the binary.
fn build(what: &[&str], binary: &str) -> Outcome<PathBuf> {
    Run::cargo().args(["build", "--release", "--locked"]).args(what).pass_through()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    Ok(target.join("release").join(format!("{binary}{}", std::env::consts::EXE_SUFFIX)))
}

impl Bench {
    /// Keeps what a row says when it misses a bar.
    fn judge(&self, row: &str, verdict: &str) {
        if verdict.starts_with(table::MISSES) {
            self.missed.borrow_mut().push(format!("{row}: {verdict}"));
        }
    }

    /// A directory of its own for one fixture.
    fn dir(&self, name: &str) -> Outcome<PathBuf> {
        let dir = self.work.join(name);
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// `promo` in a directory, with nothing of the developer's own configuration.
    fn promo(&self, dir: &Path) -> Run {
        hermetic(Run::new(&self.promo).dir(dir), &self.work)
    }
}

/// Takes away what the developer's configuration would add to a run.
fn hermetic(run: Run, home: &Path) -> Run {
    run.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config")).env("NO_COLOR", "1").env("CI", "1")
}

fn write(path: &Path, text: impl AsRef<[u8]>) -> Outcome {
    let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
    parent.and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}

/// Copies the files of a directory, without those below it.
fn copy_files(from: &Path, to: &Path) -> Outcome {
    let failed = |error: std::io::Error| format!("{} -> {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).map_err(failed)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> Outcome {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", dir.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bench, GROUPS, chosen, ended, table};

    fn bench() -> Bench {
        Bench {
            promo: "promo".into(),
            ledger_load: None,
            eligibility_load: None,
            runs: 1,
            full: false,
            work: "work".into(),
            missed: Default::default(),
        }
    }

    #[test]
    fn a_row_that_misses_its_bar_ends_the_benchmarks_in_an_error_that_names_it() {
        let bench = bench();
        for verdict in ["", "meets", "meets 1.2"] {
            bench.judge("a row", verdict);
        }
        assert_eq!(ended(&bench.missed.borrow()), Ok(()));
        bench.judge("10 layers of 20 MiB", &format!("{} 40 MiB (41.000)", table::MISSES));
        let error = ended(&bench.missed.borrow()).unwrap_err();
        assert!(error.contains("10 layers of 20 MiB: MISSES 40 MiB (41.000)"), "{error}");
    }

    #[test]
    fn no_name_means_every_group_and_an_unknown_one_is_answered_with_the_known_ones() {
        assert_eq!(chosen(&[]).unwrap().len(), GROUPS.len());
        assert_eq!(chosen(&["copy".into()]).unwrap()[0].0, "copy");
        let error = chosen(&["copies".into()]).err().unwrap();
        assert!(
            error.contains("`copies`")
                && error.contains("start, quickstart, plan, apply, copy, ledger, eligibility, evidence, clusters"),
            "{error}"
        );
    }
}
