//! A pipeline that does nothing but copy images from registry to registry, and promo on it as a process of its own. What
//! must not live here: registries, faults, and what must be true afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use promo_core::ledger::Record;
use promo_ledger::{SqliteStore, Store as _};
use tempfile::TempDir;

use crate::binary;
use crate::cells::{End, Host, can_be_elsewhere, elsewhere};

/// The tag that is copied.
pub const TAG: &str = "1.0.0";
/// The plan that copies it.
pub const PLAN: &str = "copy.plan.json";
/// The repository it comes from.
pub const FROM: &str = "team/app";
/// The repository it goes to.
pub const TO: &str = "prod/app";

/// A folder with the pipeline, a release, and a plan for it that can be applied again and again.
pub struct Project {
    base: TempDir,
    promo: PathBuf,
    variables: Vec<(String, String)>,
    images: Vec<String>,
}

impl Project {
    /// Nothing is released or planned yet. `from` and `to` are hosts with their ports; the variables are for every command.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn new(from: &str, to: &str, variables: &[(&str, &str)]) -> Self {
        Self::of(from, to, variables, vec!["app".into()])
    }

    /// The same for images of these names: `NAME` is copied from `team/NAME` to `prod/NAME`.
    ///
    /// # Panics
    /// As [`Project::new`].
    #[must_use]
    pub fn of(from: &str, to: &str, variables: &[(&str, &str)], images: Vec<String>) -> Self {
        let base = tempfile::tempdir().expect("a directory");
        let artifacts = images.iter().map(|name| format!("[artifacts.{name}]\nimage = \"{from}/team/{name}\"\n"));
        let pipeline = format!(
            "format = 1\n[pipeline]\nname = \"copy\"\n{}\
             [environments.prod]\ntier = \"development\"\ndeploy = \"none\"\n\
             mirror = {{ \"{from}/team\" = \"{to}/prod\" }}\n",
            artifacts.collect::<String>()
        );
        std::fs::create_dir_all(base.path().join("project")).expect("a directory");
        std::fs::write(base.path().join("project/promo.toml"), pipeline).expect("a file");
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self { base, promo: binary::promo(), variables, images }
    }

    /// The same folder, with more behind what the pipeline file says of its environment `prod`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn and(self, lines: &str) -> Self {
        let file = self.base.path().join("project/promo.toml");
        let pipeline = std::fs::read_to_string(&file).expect("it is there") + lines;
        std::fs::write(file, pipeline).expect("a file");
        self
    }

    /// The same folder, where these variables are others for every command.
    #[must_use]
    pub fn with(self, variables: &[(&str, &str)]) -> Self {
        let mut all: std::collections::BTreeMap<String, String> = self.variables.into_iter().collect();
        all.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        Self { variables: all.into_iter().collect(), ..self }
    }

    /// Adds the release and makes the plan; what the ledger holds then is what [`Project::reset`] goes back to.
    ///
    /// # Panics
    /// When promo refuses.
    pub fn prepare(&self) {
        let images: Vec<String> = self.images.iter().map(|name| format!("{name}={TAG}")).collect();
        let release: Vec<&str> = ["release", "add"].into_iter().chain(images.iter().map(String::as_str)).collect();
        for words in [&release[..], &["plan", "prod", "--out", PLAN]] {
            let end = self.run(words);
            assert_eq!(end.code, Some(0), "{words:?}: {}", end.said);
        }
        copy_files(&self.ledger_directory(), &self.base.path().join("kept"));
        // Another host has a working copy and a home of its own, and the ledger in common.
        let (one, two) = (self.base.path().join("project"), self.base.path().join("project-two"));
        copy_files(&one, &two);
        std::fs::create_dir_all(self.base.path().join("home-two")).expect("a directory");
    }

    /// Nothing was applied yet.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn reset(&self) {
        std::fs::remove_dir_all(self.ledger_directory()).expect("it is there");
        copy_files(&self.base.path().join("kept"), &self.ledger_directory());
    }

    fn ledger_directory(&self) -> PathBuf {
        self.base.path().join("project/.promo")
    }

    /// A promo that is to be started, with nothing of the test's own environment.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_of(Host::One, words)
    }

    /// The same on a host of those that have the ledger in common. Only after [`Project::prepare`] there is another one; where
    /// no program can be among processes of its own, [`Host::Elsewhere`] is another user of this machine.
    #[must_use]
    pub fn command_of(&self, host: Host, words: &[&str]) -> Command {
        let mut command = match host {
            Host::Elsewhere if can_be_elsewhere() => elsewhere(&self.promo),
            _ => binary::command(&self.promo),
        };
        let (copy, home, name) = match host {
            Host::One => ("project", ".", "ci"),
            Host::Two | Host::Elsewhere => ("project-two", "home-two", "riley"),
        };
        command.args(words).current_dir(self.base.path().join(copy));
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.base.path().join(home)).env("PROMO_ACTOR", name).env("PROMO_LEASE_TTL", "1s");
        command.env("PROMO_LEDGER", self.ledger_directory().join("ledger.db"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs promo to its end.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> End {
        self.run_on(Host::One, words)
    }

    /// The same on a host.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn run_on(&self, host: Host, words: &[&str]) -> End {
        End::of(&self.command_of(host, words).output().expect("promo starts"))
    }

    /// The run that was begun, if one was, and the number of records.
    ///
    /// # Panics
    /// As [`Project::records`].
    #[must_use]
    pub fn begun(&self) -> (Option<String>, usize) {
        let records = self.records();
        let run = records.iter().rfind(|record| record.kind == "run.started").and_then(|record| record.run.as_ref());
        (run.map(ToString::to_string), records.len())
    }

    /// What the ledger holds.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let ledger = SqliteStore::open(self.ledger_directory().join("ledger.db")).expect("the ledger can be opened");
        ledger.records(0, usize::MAX).expect("the ledger can be read")
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            std::fs::copy(&path, to.join(name)).expect("it can be copied");
        }
    }
}
