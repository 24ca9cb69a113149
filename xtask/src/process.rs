//! The one place where tasks spawn processes. Callers say what to run; this module says where, with which environment,
//! and turns a failure into a sentence.
#![expect(clippy::disallowed_methods, reason = "a development task runs cargo, git and package managers")]

use crate::{Outcome, workspace};
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command line with its environment, run in the root of the workspace unless told otherwise.
pub(crate) struct Run {
    shown: String,
    command: Command,
}

impl Run {
    /// A run of `program`, found on `PATH` or by its path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.current_dir(workspace::root()).stdin(Stdio::null());
        for (key, _) in std::env::vars_os() {
            // `cargo run` describes xtask to us in these. Inherited by a nested cargo they would look like changed
            // inputs to build scripts and rebuild half of the graph.
            if key.to_str().is_some_and(describes_this_package) {
                command.env_remove(&key);
            }
        }
        Self { shown: program.as_ref().to_string_lossy().into_owned(), command }
    }

    /// A run of the cargo that started this task.
    pub(crate) fn cargo() -> Self {
        let mut run = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        "cargo".clone_into(&mut run.shown);
        run
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets one variable of the child's environment.
    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs in `dir` instead of the root of the workspace.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs with this task's own output streams; an exit code other than 0 is an error that names the command.
    pub(crate) fn pass_through(mut self) -> Outcome {
        let status = self.command.status().map_err(|error| format!("`{}` does not start: {error}", self.shown))?;
        if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", self.shown)) }
    }

    /// Runs and returns standard output; on failure the error carries what the command said.
    pub(crate) fn capture(mut self) -> Outcome<String> {
        let output = self.command.output().map_err(|error| format!("`{}` does not start: {error}", self.shown))?;
        if output.status.success() {
            return String::from_utf8(output.stdout)
                .map_err(|error| format!("`{}` printed what is not UTF-8: {error}", self.shown));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{}` failed ({}): {}", self.shown, output.status, said.trim()))
    }

    /// Runs without standard output; on failure the error carries what stood on standard error.
    pub(crate) fn quiet(mut self) -> Outcome {
        self.command.stdout(Stdio::null());
        self.capture().map(drop)
    }

    /// Starts a server that ends with the guard that is returned; its output goes to `log`.
    pub(crate) fn start_guarded(mut self, log: &Path) -> Outcome<Server> {
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let started = self.command.stdout(out).stderr(err).spawn();
        started.map(Server).map_err(|error| format!("`{}` does not start: {error}", self.shown))
    }

    /// Starts a server that outlives this task, its output going to `log`, and returns its process id.
    ///
    /// It gets a process group of its own, so that Ctrl-C in the developer's terminal does not stop it.
    #[cfg(unix)]
    pub(crate) fn start_server(mut self, log: &Path) -> Outcome<u32> {
        use std::os::unix::process::CommandExt as _;
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let child = self
            .command
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("`{}` does not start: {error}", self.shown))?;
        Ok(child.id())
    }
}

/// A server that is stopped when this is dropped.
pub(crate) struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn describes_this_package(key: &str) -> bool {
    key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_") || key == "CARGO_BIN_NAME"
}

#[cfg(test)]
mod tests {
    use super::{Run, describes_this_package};

    #[test]
    fn a_failing_command_is_named_with_what_it_said() {
        let error = Run::new("git").args(["no-such-verb"]).capture().unwrap_err();
        assert!(error.starts_with("`git no-such-verb` failed"), "{error}");
        assert!(error.contains("no-such-verb' is not a git command"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_not_a_panic() {
        let error = Run::new("promo-no-such-program").pass_through().unwrap_err();
        assert!(error.contains("does not start"), "{error}");
    }

    #[test]
    fn only_the_description_of_xtask_itself_is_withheld_from_children() {
        assert!(describes_this_package("CARGO_PKG_NAME") && describes_this_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_this_package("CARGO_HOME") && !describes_this_package("CARGO_TARGET_DIR"));
    }
}
