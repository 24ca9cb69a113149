//! `cargo xtask test`: every check and every test, in an order that ends with the test runner's own summary.
//!
//! All steps run even when an early one fails, so that one run tells everything; the failed ones are named at the end.

use crate::components::{self, COMPONENTS, Need};
use crate::process::Run;
use crate::{Outcome, fuzz, races, tidy, workspace};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `cargo xtask test …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out clippy, the dependency rules, the documentation and its tests, the fuzz targets: the inner loop.
    #[arg(long)]
    fast: bool,
}

/// What is on this machine for this run.
struct Setting {
    ci: bool,
    nextest: Option<PathBuf>,
    deny: Option<PathBuf>,
    fuzz: Option<PathBuf>,
    /// Variables for the tests: where each component is.
    environment: Vec<(String, PathBuf)>,
    /// Names of the components that tests have to do without.
    missing: Vec<&'static str>,
}

/// Runs the steps; an error names those that failed.
pub(crate) fn run(args: &Args) -> Outcome {
    let setting = prepare()?;
    let mut failed = Vec::new();
    let mut step = |name: &'static str, task: &dyn Fn() -> Outcome| {
        eprintln!("==> {name}");
        let began = Instant::now();
        match task() {
            Ok(()) => eprintln!("    {name}: ok in {:.1} s", began.elapsed().as_secs_f64()),
            Err(why) => {
                eprintln!("    {name}: FAILED: {why}");
                failed.push(name);
            }
        }
    };

    step("format", &|| Run::cargo().args(["fmt", "--all", "--check"]).pass_through());
    step("tidy", &tidy::run);
    if !args.fast {
        step("clippy", &|| {
            let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
            Run::cargo().args(lint).pass_through()
        });
        // Feature unification hides in the workspace build what the core alone would lack.
        step("promo-core alone", &|| Run::cargo().args(["check", "-p", "promo-core", "--locked"]).pass_through());
        match &setting.deny {
            Some(deny) => step("dependencies", &|| {
                Run::new(deny)
                    .args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
                    .pass_through()
            }),
            None => eprintln!("==> dependencies: SKIPPED, cargo-deny is missing"),
        }
        step("documentation", &|| {
            let doc = ["doc", "--workspace", "--no-deps", "--locked"];
            Run::cargo().args(doc).env("RUSTDOCFLAGS", "-D warnings").pass_through()
        });
        step("documentation tests", &|| {
            with_components(Run::cargo().args(["test", "--workspace", "--doc", "--locked", "--quiet"]), &setting)
                .pass_through()
        });
    }
    if !args.fast {
        let seconds = if setting.ci { 60 } else { 5 };
        match &setting.fuzz {
            Some(cargo_fuzz) => step("fuzz targets", &|| fuzz::all(cargo_fuzz, seconds)),
            None => eprintln!("==> fuzz targets: SKIPPED, cargo-fuzz is missing"),
        }
    }
    // Last, so that the output closes with the runner's summary.
    eprintln!("==> tests");
    if let Err(why) = tests(&setting) {
        eprintln!("    tests: FAILED: {why}");
        failed.push("tests");
    }

    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// Installs what is missing. On CI everything must be there; elsewhere what is missing is named and left out.
fn prepare() -> Outcome<Setting> {
    let ci = workspace::on_ci();
    let mut setting =
        Setting { ci, nextest: None, deny: None, fuzz: None, environment: Vec::new(), missing: Vec::new() };
    for component in COMPONENTS {
        match components::obtain(component) {
            Ok(path) => {
                match component.name {
                    "cargo-nextest" => setting.nextest = Some(path.clone()),
                    "cargo-deny" => setting.deny = Some(path.clone()),
                    "cargo-fuzz" => setting.fuzz = Some(path.clone()),
                    _ => {}
                }
                setting.environment.push((components::variable(component.name), path));
            }
            Err(why) if ci => return Err(format!("on CI every component must be there; {why}")),
            Err(why) => {
                eprintln!("warning: {why}");
                if component.need == Need::Tests {
                    setting.missing.push(component.name);
                }
            }
        }
    }
    for name in &setting.missing {
        let modules: Vec<_> =
            markers(name).iter().map(|marker| format!("`{}`", marker.trim_end_matches(':'))).collect();
        eprintln!("warning: {name} is missing, the tests in modules {} are skipped", modules.join(" and "));
    }
    Ok(setting)
}

fn tests(setting: &Setting) -> Outcome {
    let run = match &setting.nextest {
        Some(nextest) => Run::new(nextest).args(nextest_args(setting.ci, &setting.missing)),
        None => Run::cargo().args(cargo_test_args(&setting.missing)),
    };
    // The whole workspace is built for them, and so is promo.
    with_components(run.env(races::PRODUCT, races::product()), setting).pass_through()
}

fn with_components(mut run: Run, setting: &Setting) -> Run {
    for (key, path) in &setting.environment {
        run = run.env(key, path_or_dot(path));
    }
    run
}

/// A relative variable would mean another file in every test's own directory.
fn path_or_dot(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// How the modules whose tests need a component stand in their names: `needs_docker_registry::` for `docker-registry`. To its
/// end, since `helm-3` begins as `helm` does.
fn markers(component: &str) -> Vec<String> {
    let mut modules = vec![format!("needs_{}::", component.replace('-', "_"))];
    // Nobody talks to etcd but the control plane that stands on it, and hardly a test of a cluster does without the others.
    if CLUSTER.contains(&component) {
        modules.push("needs_kubernetes::".into());
    }
    if CLIENTS.contains(&component) {
        modules.push("needs_clients::".into());
    }
    modules
}

/// What a test of a cluster needs besides the control plane.
const CLUSTER: [&str; 4] = ["etcd", "kubectl", "helm", "helm-3"];

/// Other people's programs, which judge together what promo leaves in a registry.
const CLIENTS: [&str; 4] = ["skopeo", "openssl", "sigstore-verify", "sigstore-sign"];

/// The same of all that are missing, each once.
fn skipped(missing: &[&str]) -> BTreeSet<String> {
    missing.iter().flat_map(|name| markers(name)).collect()
}

fn nextest_args(ci: bool, missing: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["nextest", "run", "--workspace", "--locked"].map(String::from).into();
    if ci {
        args.extend(["--profile".into(), "ci".into()]);
    }
    // The longest tests wait for locks to run out and for servers to answer: half as many again keep the cores busy.
    if std::env::var_os("NEXTEST_TEST_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        args.extend(["--test-threads".into(), (cores + cores / 2).to_string()]);
    }
    if !missing.is_empty() {
        let skips: Vec<_> = skipped(missing).iter().map(|marker| format!("not test(/{marker}/)")).collect();
        args.extend(["-E".into(), skips.join(" and ")]);
    }
    args
}

fn cargo_test_args(missing: &[&str]) -> Vec<String> {
    let mut args: Vec<String> =
        ["test", "--workspace", "--all-targets", "--locked", "--no-fail-fast", "--"].map(String::from).into();
    for marker in skipped(missing) {
        args.extend(["--skip".into(), marker]);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::{cargo_test_args, nextest_args};

    #[test]
    fn a_missing_component_skips_its_tests_by_name_under_both_runners() {
        let nextest = nextest_args(false, &["docker-registry", "act"]);
        assert_eq!(nextest.last().unwrap(), "not test(/needs_act::/) and not test(/needs_docker_registry::/)");
        let cargo = cargo_test_args(&["act"]);
        assert_eq!(cargo[cargo.len() - 2..], ["--skip", "needs_act::"]);
    }

    #[test]
    fn a_cluster_whose_tools_are_missing_is_none() {
        for tool in ["etcd", "kubectl", "helm", "helm-3"] {
            let skips = nextest_args(false, &[tool]).pop().unwrap();
            let own = format!("not test(/needs_{}::/)", tool.replace('-', "_"));
            assert!(skips.contains(&own) && skips.contains("not test(/needs_kubernetes::/)"), "{skips}");
        }
        let both = cargo_test_args(&["helm", "kubernetes"]);
        assert_eq!(both.iter().filter(|word| *word == "needs_kubernetes::").count(), 1, "{both:?}");
    }

    #[test]
    fn without_one_of_the_clients_nothing_is_judged_by_them() {
        for client in ["skopeo", "openssl", "sigstore-verify", "sigstore-sign"] {
            assert!(cargo_test_args(&[client]).contains(&"needs_clients::".to_owned()), "{client}");
        }
    }

    #[test]
    fn ci_runs_the_profile_without_fail_fast_and_skips_nothing() {
        let args = nextest_args(true, &[]);
        assert!(args.windows(2).any(|pair| pair == ["--profile", "ci"]), "{args:?}");
        assert!(!args.contains(&"-E".to_owned()));
    }
}
