//! `cargo xtask fuzz`: builds the fuzz targets and lets each look for inputs that break promo, as many at once as there
//! are cores. What must not be here: the targets; they are in `fuzz/`.

use crate::process::Run;
use crate::{Outcome, components, workspace};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// `cargo xtask fuzz …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of targets, as `fuzz/fuzz_targets` has them; all when none is named.
    targets: Vec<String>,
    /// How long each target searches.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Builds, then runs the named targets for the time that was asked for.
pub(crate) fn run(args: &Args) -> Outcome {
    let cargo_fuzz = components::obtain(components::named("cargo-fuzz")?)?;
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        return Err(format!("no fuzz target is called `{unknown}`; there are: {}", all.join(", ")));
    }
    let wanted = if args.targets.is_empty() { &all } else { &args.targets };
    search(&cargo_fuzz, wanted, args.seconds, Ground::New)
}

/// Every target, for `seconds` at most: the step of `cargo xtask test`. What that command says of a commit must be as little luck as can
/// be, and not how fast the machine is; new ground is for `cargo xtask fuzz`.
pub(crate) fn all(cargo_fuzz: &Path, seconds: u32) -> Outcome {
    search(cargo_fuzz, &targets()?, seconds, Ground::Same)
}

/// Where a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// On from what earlier searches have found, another way each time.
    New,
    /// Nearly the same way for the same commit: from one seed, from what is in the repository alone, and no further than [`RUNS`]. The
    /// keys of hash maps are others each time, and with them what counts as new.
    Same,
}

/// How many inputs a search over the same ground tries. Most targets come to that within a minute; the slow ones stop for the time.
const RUNS: u32 = 300_000;

fn search(cargo_fuzz: &Path, targets: &[String], seconds: u32, ground: Ground) -> Outcome {
    let built = build(cargo_fuzz)?;
    let queue: Mutex<VecDeque<&String>> = Mutex::new(targets.iter().collect());
    let failed = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    // Not in the head of the loop: the lock would be held for as long as the target searches.
                    let next = lock(&queue).pop_front();
                    let Some(target) = next else { break };
                    let began = Instant::now();
                    match one(&built, target, seconds, ground) {
                        Ok(()) => eprintln!("    {target}: nothing found in {:.0} s", began.elapsed().as_secs_f64()),
                        Err(why) => {
                            eprintln!("    {target}: FOUND SOMETHING\n{why}");
                            lock(&failed).push(target.clone());
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() { Ok(()) } else { Err(format!("the input is in target/fuzz-findings; {}", failed.join(", "))) }
}

/// Where the built targets are. Without a sanitizer, which only a nightly compiler knows: safe Rust has little for one
/// to find, and the targets are built with overflow checks and debug assertions.
fn build(cargo_fuzz: &Path) -> Outcome<PathBuf> {
    let to = workspace::root().join("target/fuzz");
    let to_text = to.display().to_string();
    Run::new(cargo_fuzz)
        .args(["build", "--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir", &to_text])
        .pass_through()?;
    let host = Run::new("rustc").args(["--print", "host-tuple"]).capture()?;
    Ok(to.join(host.trim()).join("release"))
}

/// What a search finds is kept below `target`, and what is in `fuzz/corpus` is where it starts.
fn one(built: &Path, target: &str, seconds: u32, ground: Ground) -> Outcome {
    let root = workspace::root();
    let findings = root.join("target/fuzz-findings");
    let grown = match ground {
        Ground::New => root.join("target/fuzz-corpus").join(target),
        Ground::Same => root.join("target/fuzz-same").join(target),
    };
    if ground == Ground::Same && grown.exists() {
        std::fs::remove_dir_all(&grown).map_err(|error| format!("{}: {error}", grown.display()))?;
    }
    for directory in [&grown, &findings] {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let mut corpora = vec![root.join("fuzz/corpus").join(target)];
    if target == "pipeline" {
        // Everything that the tests refuse is a good start, too.
        corpora.push(root.join("crates/promo-core/tests/negatives"));
    }
    let mut run = Run::new(built.join(target)).args([
        format!("-max_total_time={seconds}"),
        format!("-artifact_prefix={}/{target}-", findings.display()),
        "-verbosity=0".into(),
        "-timeout=10".into(),
    ]);
    // The first directory is the one that the search adds to.
    run = match ground {
        Ground::New => run.args([&grown]).args(&corpora),
        Ground::Same => {
            // In their order: a directory has one of its own on every machine.
            let list = grown.with_extension("seeds");
            let seeds = seeds(&corpora)?.join(",");
            std::fs::write(&list, seeds).map_err(|error| format!("{}: {error}", list.display()))?;
            let same = ["-seed=1".into(), format!("-runs={RUNS}"), format!("-seed_inputs=@{}", list.display())];
            run.args(same).args([&grown])
        }
    };
    run.quiet()
}

/// The files of these directories, sorted.
fn seeds(directories: &[PathBuf]) -> Outcome<Vec<String>> {
    let mut files = Vec::new();
    for directory in directories {
        let failed = |error| format!("{}: {error}", directory.display());
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_file() {
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn targets() -> Outcome<Vec<String>> {
    let directory = workspace::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(String::from))
        .collect();
    names.sort();
    Ok(names)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::targets;
    use crate::workspace;

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let manifest = std::fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        for target in targets().unwrap() {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
            let seeds = std::fs::read_dir(workspace::root().join("fuzz/corpus").join(&target)).unwrap().count();
            assert!(seeds > 0, "{target} has no seeds");
        }
    }
}
