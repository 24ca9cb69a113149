//! Worlds for the fault matrix: a pipeline that two hosts share, prepared once and put back before every cell, and the
//! command line with faults on it as a process of its own. What must not live here: what must be true afterwards.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use promo_core::Digest;
use promo_engine::clock::SystemClock;
use promo_engine::signature::SigningKey;
use promo_ledger::SqliteStore;
use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::faults::{self, BROKEN, Broken, Entry, FAULT, JOURNAL, OPAQUE, Point};

/// A secret in every variable from which promo or a tool could take one: it must not reach any file.
pub const CANARY: &str = "canary-7f3e9a-must-never-be-written";

/// How long a lock outlives its process here; the shortest that there is.
const LEASE: Duration = Duration::from_secs(1);
/// How long a process may take to get to where it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it then hangs before whoever watches it gives it up: longer than its lock, if nobody renews that.
const HANGS: Duration = Duration::from_millis(1_500);

const PIPELINE: &str = r#"
format = 1
[pipeline]
name = "cells"
[artifacts.shop]
image = "oci-layout:{shared}/registry/shop"
tags  = "[0-9]*"
[defaults]
start = "auto"
verify = ["smoke"]
[defaults.deploy.directory]
files     = ["config/common.env", "config/{environment}.env"]
templates = ["service.j2"]
[checks.smoke]
command = { run = ["checks/smoke.sh"], files = ["checks/smoke.sh"], timeout = "30s" }
"#;

/// What [`Scenario::Fork`] and [`Scenario::Gate`] move.
const GRAPH: &str = r#"
[environments.dev]
tier   = "development"
target = { directory = "{shared}/live/dev" }
[environments.left]
tier   = "testing"
after  = ["dev"]
targets = { one = { directory = "{shared}/live/left-one" }, two = { directory = "{shared}/live/left-two" } }
[environments.right]
tier   = "testing"
after  = ["dev"]
target = { directory = "{shared}/live/right" }
[environments.stage]
tier   = "staging"
start  = "manual"
after  = ["left", "right"]
target = { directory = "{shared}/live/stage" }
mirror = { "oci-layout:{shared}/registry" = "oci-layout:{shared}/copies" }
[[environments.stage.approval]]
count   = 1
from    = ["release-manager"]
exclude = ["initiator"]
"#;

/// What [`Scenario::Waves`] moves.
const WAVES: &str = r#"
[environments.world]
tier  = "development"
waves = [{ targets = ["one"], pause = "1s" }, { targets = ["two", "three"], at_once = 2 }]
[environments.world.targets]
one   = { directory = "{shared}/live/world-one" }
two   = { directory = "{shared}/live/world-two" }
three = { directory = "{shared}/live/world-three" }
"#;

/// What [`Scenario::Watch`] moves.
const WATCH: &str = r#"
[checks.downtime]
probe = { url = "{site}", every = "1s" }
[environments.watched]
tier   = "development"
target = { directory = "{shared}/live/watched" }
verify = ["downtime", "smoke"]
watch  = { for = "1s", every = "1s" }
"#;

const POLICY: &str = r#"
format = 1
[policy]
name    = "cells"
version = 1
[identities.riley]
roles = ["release-manager"]
keys  = ["{key}"]
[identities.dana]
roles = ["developer"]
keys  = ["{asks}"]
[[claims]]
directory = "{shared}/live"
tier = "development"
[[claims]]
registry = "oci-layout:{shared}/copies"
tier = "development"
"#;

const SMOKE: &str = r#"#!/bin/sh
set -eu
live="$PROMO_TARGET_DIRECTORY/current"
. "$live/config/$PROMO_ENVIRONMENT.env"
if [ -e "{shared}/slow" ]; then sleep 0.7; fi
case "$PROMO_TARGET_DIRECTORY" in *-one) BROKEN=none;; esac
if grep -q "runs $BROKEN\$" "$live/service"; then
    echo "$PROMO_ENVIRONMENT cannot run $BROKEN"
    exit 1
fi
echo "as it should be"
"#;

/// What is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Release 2.0.0 enters dev, then left and right side by side; left cannot run it and goes back.
    Fork,
    /// Release 1.0.0 enters stage with an approval, copied into stage's registry first.
    Gate,
    /// Release 2.0.0 enters world in two waves with a pause between them; the second one cannot run it, and all go back.
    Waves,
    /// Release 2.0.0 enters watched, which a probe looks at meanwhile, and which is watched afterwards.
    Watch,
    /// What runs in dev, 1.0.0, goes back to 0.9.0 as a drill and comes again.
    Drill,
}

impl Scenario {
    /// Its name in reproductions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Gate => "gate",
            Self::Waves => "waves",
            Self::Watch => "watch",
            Self::Drill => "drill",
        }
    }
}

/// The machine on which a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The one that applies.
    One,
    /// The same machine, another user with another working copy: it can see that a process is gone.
    Two,
    /// Another machine, as far as processes go: it can only wait until a lock runs out.
    Elsewhere,
}

/// A fault as the environment of a process names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// `kill`, `hang`, `error` or `lost`.
    pub mode: &'static str,
    /// At which passing, from 1.
    pub count: usize,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.point, self.mode, self.count)
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("expected POINT:MODE:COUNT, found {text}");
        let mut parts = text.rsplitn(3, ':');
        let count = parts.next().and_then(|count| count.parse().ok()).ok_or_else(refused)?;
        let mode = parts.next().ok_or_else(refused)?;
        let mode = ["kill", "hang", "error", "lost"].into_iter().find(|known| *known == mode).ok_or_else(refused)?;
        let point = parts.next().ok_or_else(refused)?;
        let (name, about) = point.split_once(" of ").unwrap_or((point, ""));
        Ok(Self { point: Point { name: name.to_owned(), about: about.to_owned() }, mode, count })
    }
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct End {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The code of the error it ended with.
    pub error: Option<String>,
    /// Everything it said.
    pub said: String,
}

impl End {
    /// What a process that is over says of itself.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        Self::new(output.status.code(), said(output))
    }

    /// The same of its exit code, and of everything it said.
    #[must_use]
    pub fn new(code: Option<i32>, said: String) -> Self {
        let error = said.split("error[").nth(1).and_then(|rest| rest.split(']').next()).map(str::to_owned);
        Self { code, error, said }
    }
}

/// A prepared world and the directory in which it is put back.
pub struct Cells {
    base: TempDir,
    program: &'static str,
    scenario: Scenario,
    opaque: Option<&'static str>,
    broken: Option<Broken>,
    elsewhere: bool,
}

impl Cells {
    /// Prepares the world of a scenario with `program`, which is promo with faults.
    ///
    /// # Panics
    /// When a step of the preparation fails.
    #[must_use]
    pub fn new(program: &'static str, scenario: Scenario) -> Self {
        Self::with(program, scenario, None)
    }

    /// The same; nothing tells about the effects of the provider `opaque`.
    ///
    /// # Panics
    /// As [`Cells::new`].
    #[must_use]
    pub fn with(program: &'static str, scenario: Scenario, opaque: Option<&'static str>) -> Self {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let mut cells =
            Self { base: base.expect("a directory"), program, scenario, opaque, broken: None, elsewhere: false };
        cells.elsewhere = can_be_elsewhere();
        cells.prepare();
        copy(&cells.path("world"), &cells.path("before"));
        cells
    }

    /// A path below the directory.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.base.path().join(path)
    }

    /// Which scenario it is.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// From now on checks take longer than a lock goes without being renewed.
    ///
    /// # Panics
    /// When the world cannot be written.
    pub fn slow_down(&self) {
        self.write("before/shared/slow", "");
    }

    /// From now on promo is broken in this way.
    pub fn break_it(&mut self, how: Broken) {
        self.broken = Some(how);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn prepare(&self) {
        let shared = self.path("world/shared").display().to_string();
        let pair = |name: &str| {
            let key = SigningKey::generate(name).expect("a key");
            self.write(name, key.to_openssh().expect("a key as text").expose_secret());
            key.public_key().to_string()
        };
        let (asks, signs) = (pair("dana"), pair("riley"));
        let site = if self.scenario == Scenario::Watch { site() } else { String::new() };
        let fill = |text: &str| {
            let text = text.replace("{shared}", &shared).replace("{site}", &site);
            text.replace("{key}", &signs).replace("{asks}", &asks)
        };
        for copy in ["world/one", "world/two"] {
            let graph = match self.scenario {
                Scenario::Fork | Scenario::Gate | Scenario::Drill => GRAPH,
                Scenario::Waves => WAVES,
                Scenario::Watch => WATCH,
            };
            self.write(&format!("{copy}/promo.toml"), &fill(&format!("{PIPELINE}{graph}")));
            self.write(&format!("{copy}/policy.toml"), &fill(POLICY));
            self.write(&format!("{copy}/service.j2"), "{{ environment }} runs {{ artifacts.shop.tag }}\n");
            self.write(&format!("{copy}/checks/smoke.sh"), &fill(SMOKE));
            self.write(&format!("{copy}/config/common.env"), "WORKERS=2\n");
            for (environment, broken) in [
                ("dev", "none"),
                ("left", "2.0.0"),
                ("right", "none"),
                ("stage", "none"),
                ("world", "2.0.0"),
                ("watched", "none"),
            ] {
                self.write(&format!("{copy}/config/{environment}.env"), &format!("BROKEN={broken}\n"));
            }
        }
        for home in ["home-one", "home-two"] {
            std::fs::create_dir_all(self.path(home)).expect("a directory");
        }
        if matches!(self.scenario, Scenario::Fork | Scenario::Gate | Scenario::Drill) {
            self.release("0.9.0");
            self.promo(&["advance"]);
            self.plan_stage();
            self.promo(&["apply", "plan.json"]);
            std::fs::remove_file(self.path("world/one/plan.json")).expect("the plan is there");
        }
        self.release("1.0.0");
        self.promo(&["advance"]);
        match self.scenario {
            Scenario::Gate => self.plan_stage(),
            Scenario::Fork => {
                self.release("2.0.0");
                self.promo(&["plan", "--until", "stage", "--out", "plan.json"]);
            }
            Scenario::Drill => self.promo(&["rollback", "dev", "--drill", "--out", "plan.json"]),
            Scenario::Waves => {
                self.release("2.0.0");
                self.promo(&["plan", "world", "--out", "plan.json"]);
            }
            Scenario::Watch => {
                self.release("2.0.0");
                self.promo(&["plan", "watched", "--out", "plan.json"]);
            }
        }
        std::fs::copy(self.path("world/one/plan.json"), self.path("world/two/plan.json")).expect("the plan is there");
    }

    fn plan_stage(&self) {
        self.promo(&["--as", "dana", "plan", "stage", "--out", "plan.json"]);
        for (who, verb) in [("dana", "request"), ("riley", "approve")] {
            let key = format!("../../{who}");
            self.promo(&["--as", who, verb, "plan.json", "--key", &key, "--signer", "built-in"]);
        }
    }

    /// Builds an image of that version and adds it as a release.
    ///
    /// # Panics
    /// When that fails.
    pub fn release(&self, version: &str) {
        let location = format!("oci-layout:{}", self.path("world/shared/registry/shop").display());
        let location: Location = location.parse().expect("a location");
        let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
        let store = promo_providers::oci::Store::open(&location, self.base.path(), &network).expect("a store");
        let layers = vec![format!("the bytes of {version}").into_bytes(), b"what all versions share".to_vec()];
        let built = Image::new([("org.opencontainers.image.version", version)], layers);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(image(&store, version, &built)).expect("an image");
        self.promo(&["release", "add", &format!("shop={version}"), "--alias", version]);
    }

    /// A command that has to work.
    ///
    /// # Panics
    /// When it does not.
    pub fn promo(&self, words: &[&str]) {
        let output = self.command(Host::One, None, words).output().expect("promo starts");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
    }

    /// From now on the world as it is now is what is put back.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn keep(&self) {
        std::fs::remove_dir_all(self.path("before")).expect("the prepared world can be removed");
        copy(&self.path("world"), &self.path("before"));
    }

    /// Puts the prepared world back.
    pub fn reset(&self) {
        std::fs::remove_dir_all(self.path("world")).expect("the world can be removed");
        copy(&self.path("before"), &self.path("world"));
        let _ = std::fs::remove_file(self.path("journal"));
    }

    /// A command line of promo, with a fault or without.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test starts the program that it is about")]
    pub fn command(&self, host: Host, fault: Option<&Fault>, words: &[&str]) -> Command {
        let command = if host == Host::Elsewhere && self.elsewhere {
            elsewhere(Path::new(self.program))
        } else {
            Command::new(self.program)
        };
        let mut command = self.dressed(command, host);
        command.envs(fault.map(|fault| (FAULT, fault.to_string())));
        command.args(words);
        command
    }

    /// A command in the place and with the environment of a host.
    #[must_use]
    pub fn dressed(&self, mut command: Command, host: Host) -> Command {
        let (copy, home, name) = match host {
            Host::One => ("world/one", "home-one", "ci"),
            Host::Two | Host::Elsewhere => ("world/two", "home-two", "riley"),
        };
        command.env_clear().current_dir(self.path(copy)).stdin(Stdio::null());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.path(home)).env("PROMO_ACTOR", name).env("PROMO_COLOR", "never");
        command.env("PROMO_ACTOR_KIND", "human");
        command.env("PROMO_LEDGER", "../shared/ledger.db").env("PROMO_POLICY", "policy.toml");
        command.env("PROMO_LEASE_TTL", format!("{}s", LEASE.as_secs())).env(JOURNAL, self.path("journal"));
        for secret in ["PROMO_SECRET_TOKEN", "DOCKER_AUTH_CONFIG", "GITHUB_TOKEN"] {
            command.env(secret, CANARY);
        }
        command.envs(self.opaque.map(|provider| (OPAQUE, provider)));
        command.envs(self.broken.map(|how| (BROKEN, how.to_string())));
        command
    }

    /// Runs a command to its end. One that hangs at its fault is left to hang for longer than its lock, and then killed.
    ///
    /// # Panics
    /// When it neither ends nor gets to its fault.
    #[must_use]
    pub fn run(&self, host: Host, fault: Option<&Fault>, words: &[&str]) -> End {
        let mut command = self.command(host, fault, words);
        let output = if fault.is_some_and(|fault| fault.mode == "hang") {
            let fired = self.fired();
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promo starts");
            let begun = Instant::now();
            while self.fired() == fired && child.try_wait().expect("it is a child").is_none() {
                assert!(begun.elapsed() < PATIENCE, "the fault was never reached");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(HANGS);
            let _ = child.kill();
            child.wait_with_output().expect("it is a child")
        } else {
            command.output().expect("promo starts")
        };
        End::of(&output)
    }

    /// Waits until every lock has run out: a lock without a run is nobody's to resume.
    pub fn wait_for_locks(&self) {
        std::thread::sleep(LEASE);
    }

    /// The journal of all processes since the last [`Cells::reset`].
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        faults::read(&self.path("journal"))
    }

    /// How many faults have happened since.
    #[must_use]
    pub fn fired(&self) -> usize {
        let text = std::fs::read_to_string(self.path("journal")).unwrap_or_default();
        // The last line may be on its way.
        text.matches("{\"entry\":\"fired\"").count()
    }

    /// The ledger.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn ledger(&self) -> SqliteStore {
        SqliteStore::open(self.path("world/shared/ledger.db")).expect("the ledger can be opened")
    }

    /// What every file and link of the world holds, the ledger aside.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, Digest> {
        let entries = walkdir::WalkDir::new(self.path("world")).into_iter().map(|e| e.expect("the world can be read"));
        let shown =
            entries.filter(|e| !e.file_type().is_dir() && !e.file_name().to_string_lossy().starts_with("ledger"));
        shown
            .map(|entry| {
                let bytes = if entry.path_is_symlink() {
                    std::fs::read_link(entry.path()).expect("a link").into_os_string().into_encoded_bytes()
                } else {
                    std::fs::read(entry.path()).expect("a file")
                };
                (entry.path().to_owned(), Digest::of(&bytes))
            })
            .collect()
    }

    /// Files of the world that hold the canary.
    #[must_use]
    pub fn leaks(&self) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.path("world")).into_iter().map(|e| e.expect("the world can be read"));
        let holds = |path: &Path| {
            let bytes = std::fs::read(path).expect("a file");
            tells(&bytes)
        };
        entries
            .filter(|e| e.file_type().is_file())
            .map(walkdir::DirEntry::into_path)
            .filter(|path| holds(path))
            .collect()
    }

    /// Keeps everything that a failure needs to be looked at, and says where.
    ///
    /// # Panics
    /// When it cannot be kept.
    #[must_use]
    pub fn bundle(&self, name: &str, ends: &[(String, End)]) -> PathBuf {
        let words = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fault-bundles").join(words);
        let _ = std::fs::remove_dir_all(&kept);
        copy(&self.path("before"), &kept.join("before"));
        copy(&self.path("world"), &kept.join("after"));
        let _ = std::fs::copy(self.path("journal"), kept.join("journal"));
        let mut file = std::fs::File::create(kept.join("output")).expect("a file");
        for (command, end) in ends {
            writeln!(file, "$ {command}\n{}\n=> {:?}\n", end.said, end.code).expect("the file can be written");
        }
        kept
    }
}

/// The address of a site that always answers, for as long as this process lives.
fn site() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}/", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever is killed in the middle of a request must not hold up the next one.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

/// Whether bytes hold the canary: as it is, in base64 at any place within other bytes, or in hexadecimal digits.
#[must_use]
pub fn tells(bytes: &[u8]) -> bool {
    let encoded = (0..3).map(|before| {
        let text = STANDARD_NO_PAD.encode([&vec![b' '; before], CANARY.as_bytes()].concat());
        // The digits at both ends depend on what stands beside it.
        let whole = text.len() - if text.len() % 4 == 0 { 0 } else { 1 };
        text[before + usize::from(before > 0)..whole].to_owned()
    });
    let hex = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = encoded.chain([CANARY.to_owned(), hex]);
    forms.any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// Whether a program can be among processes of its own here.
///
/// # Panics
/// On CI, when it cannot: there a missing ability is a failure, as a missing component is (xtask says the same of `CI`).
#[must_use]
pub fn can_be_elsewhere() -> bool {
    let can = elsewhere(Path::new("true")).output().is_ok_and(|output| output.status.success());
    let on_ci = std::env::var("CI").is_ok_and(|value| !matches!(&*value, "" | "0" | "false"));
    assert!(can || !on_ci, "on CI a program must be able to be among processes of its own: `unshare -U -r -p` fails");
    can
}

/// A program among processes of its own, where the system lets anybody have such: then promo cannot tell who has died.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test starts the program that it is about")]
pub fn elsewhere(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "-p", "-f", "--kill-child"]).arg(program);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Copies a tree, links as links.
fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        let kind = entry.file_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&target).expect("a directory");
        } else if kind.is_symlink() {
            #[cfg(unix)]
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).expect("a link"), &target).expect("a link");
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn the_canary_is_found_in_every_form_and_at_every_place() {
        for before in ["", "a", "ab", "abc"] {
            for after in ["", "x", "xy"] {
                let text = format!("{before}{CANARY}{after}");
                let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
                for form in [text.clone(), STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text), hex] {
                    assert!(tells(form.as_bytes()), "{form}");
                }
            }
        }
        let part = &CANARY[..CANARY.len() - 1];
        assert!(
            !tells(part.as_bytes()) && !tells(b"") && !tells(STANDARD.encode("another text of some length").as_bytes())
        );
    }
}
