//! The tools and servers that tests and checks need, and the commands over them.
//!
//! The table lives in `table.rs`, getting a component in `install.rs`, running servers in `servers.rs`. `terraform.py` starts
//! the terraform that comes as a library, `sigstore-verify` and `sigstore-sign` are what calls the JavaScript clients of Sigstore; `kubernetes.rs` and `kubernetes.sh` build the control plane of Kubernetes.

mod install;
mod kubernetes;
pub(crate) mod servers;
mod table;

use crate::{Outcome, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use table::Source;
pub(crate) use table::{COMPONENTS, Component, Need};

/// `cargo xtask components …`
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show every component: where it comes from, how it starts, when it is ready, and where it was found.
    List,
    /// Install the named components (all that tests need when none is named) below `target/components`.
    Ensure {
        /// Names as `list` shows them.
        names: Vec<String>,
    },
    /// Print `export` lines for a shell: one variable per component that is there.
    Env,
    /// Start two OCI registries on 127.0.0.1, on free ports, with private storage; prints their addresses.
    Up,
    /// Stop what `up` started and remove its storage.
    Down,
}

/// Runs one of the component commands.
pub(crate) fn run(command: &Command) -> Outcome {
    match command {
        Command::List => list(),
        Command::Ensure { names } => ensure(names),
        Command::Env => env(),
        Command::Up => servers::up(),
        Command::Down => servers::down(),
    }
}

/// The variable that tells a test where a component is: `PROMO_COMPONENT_DOCKER_REGISTRY` for `docker-registry`.
pub(crate) fn variable(name: &str) -> String {
    format!("PROMO_COMPONENT_{}", name.to_uppercase().replace('-', "_"))
}

/// The component of that name.
pub(crate) fn named(name: &str) -> Outcome<&'static Component> {
    COMPONENTS.iter().find(|component| component.name == name).ok_or_else(|| {
        let names: Vec<_> = COMPONENTS.iter().map(|component| component.name).collect();
        format!("no component is called `{name}`; there are: {}", names.join(", "))
    })
}

/// Where a component is now, without installing anything.
///
/// The developer's own variable wins, then a directory of Kubernetes' programs that the developer names, then the pinned
/// copy below `target/components`, then `PATH`.
pub(crate) fn find(component: &Component) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable(component.name)).map(PathBuf::from) {
        return path.is_file().then_some(path);
    }
    if let Some(path) = kubernetes::given(component.program) {
        return Some(path);
    }
    let on_path = || which::which(component.program).ok().filter(|_| component.source.may_be_on_path());
    pinned(component).filter(|path| is_current(component, path)).or_else(on_path)
}

/// Whether a pinned copy is there, and is what the table says: a program that the table holds itself changes without its version.
fn is_current(component: &Component, path: &Path) -> bool {
    match component.source.program() {
        Some(program) => fs::read_to_string(path).is_ok_and(|there| there == program),
        None => path.is_file(),
    }
}

/// Where the pinned version is, or would be. The version is in the path, so a changed pin is not met by an old copy.
fn pinned(component: &Component) -> Option<PathBuf> {
    let version = component.source.pin()?;
    let dir = workspace::components_dir().join(format!("{}-{version}", component.name));
    Some(dir.join(component.program))
}

/// Finds a component or installs it.
///
/// On CI a pinned component is installed even when the machine has one of its own, so that a machine which happens to
/// have it does not hide that the installation is broken; only when that fails the machine's own is taken, loudly.
pub(crate) fn obtain(component: &Component) -> Outcome<PathBuf> {
    if let Source::Kubernetes { .. } = component.source {
        kubernetes::check_given()?;
    }
    let found = find(component);
    let given = std::env::var_os(variable(component.name)).is_some() || kubernetes::given(component.program).is_some();
    let pinned = pinned(component);
    let installs_over = workspace::on_ci() && !given && pinned.is_some() && found != pinned;
    match found {
        Some(path) if !installs_over => Ok(path),
        other => install::install(component).or_else(|why| match other {
            Some(path) => {
                eprintln!("warning: {}: {why}\n  using {}", component.name, path.display());
                Ok(path)
            }
            None => Err(format!("{}: {why}\n  {}", component.name, component.when_missing)),
        }),
    }
}

fn list() -> Outcome {
    for component in COMPONENTS {
        let place = find(component).map_or_else(|| "missing".to_owned(), |path| path.display().to_string());
        println!("{}  ({})", component.name, component.need);
        println!("  found    {place}");
        println!("  from     {}", component.source);
        println!("  starts   {}", component.starts);
        println!("  ready    {}", component.ready);
        println!("  missing  {}", component.when_missing);
    }
    Ok(())
}

fn ensure(names: &[String]) -> Outcome {
    let wanted: Vec<&Component> = if names.is_empty() {
        COMPONENTS.iter().collect()
    } else {
        names.iter().map(|name| named(name)).collect::<Outcome<_>>()?
    };
    let mut failed = Vec::new();
    for component in wanted {
        match obtain(component) {
            Ok(path) => println!("{:<16} {}", component.name, path.display()),
            Err(why) => {
                eprintln!("{why}");
                failed.push(component.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("missing: {}", failed.join(", "))) }
}

fn env() -> Outcome {
    for component in COMPONENTS {
        if let Some(path) = find(component) {
            println!("export {}={}", variable(component.name), shell_quoted(&path.display().to_string()));
        }
    }
    Ok(())
}

/// Quotes for a POSIX shell, since the output of `env` is meant for `eval`.
fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{is_current, named, shell_quoted, variable};

    #[test]
    fn a_component_and_its_variable_differ_only_in_spelling() {
        assert_eq!(variable("docker-registry"), "PROMO_COMPONENT_DOCKER_REGISTRY");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = named("docker").err().unwrap();
        assert!(error.contains("`docker`") && error.contains("docker-registry"), "{error}");
    }

    #[test]
    fn a_program_of_the_table_is_taken_as_it_stands_there_and_not_as_it_once_was() {
        let component = named("sigstore-verify").unwrap();
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(copy.path(), component.source.program().unwrap()).unwrap();
        assert!(is_current(component, copy.path()));
        std::fs::write(copy.path(), "#!/usr/bin/env node\n").unwrap();
        assert!(!is_current(component, copy.path()));
        assert!(is_current(named("docker-registry").unwrap(), copy.path()), "the table has no text of it");
    }

    #[test]
    fn what_env_prints_survives_eval() {
        assert_eq!(shell_quoted("/usr/bin/git"), "/usr/bin/git");
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
