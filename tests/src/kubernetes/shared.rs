//! The control plane as tests see it: the one of the run, started by whoever asks first, or one of a single test.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::connection::{ADMIN, Connection};
use super::owner::Owner;
use super::server::{DONE, SERVE, START, STOP};
use crate::binary;

/// How long a control plane may take to work.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// A running control plane with a stand-in for the kubelet.
#[derive(Debug)]
pub struct ControlPlane {
    pub(super) connection: Connection,
    /// The process of one that belongs to a test.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl ControlPlane {
    /// The one that all tests of this run share. None when the programs are missing and this is not CI: the test that asked
    /// is skipped, and says so on standard error.
    ///
    /// # Panics
    /// On CI when the programs are missing; anywhere when they are there and do not become ready.
    #[must_use]
    pub fn shared() -> Option<Self> {
        installed().then(|| Self { connection: find_or_start(Owner::of_the_run()), own: None })
    }

    /// One for this test alone, which ends with the value: for tests that stop the API server. It takes as long to start as
    /// the shared one, and as much memory.
    ///
    /// # Panics
    /// As [`ControlPlane::shared`].
    #[must_use]
    pub fn private() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !installed() {
            return None;
        }
        let directory = home().join(format!("{}-{}", Owner::this(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&directory).expect("the target directory can be written");
        let mut process = server(&directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        // In the value at once: it ends with it also when it does not become ready.
        let mut own = Own { process, orders, answers };
        let connection = wait(&directory, || own.process.try_wait().is_ok_and(|status| status.is_some()));
        Some(Self { connection, own: Some(own) })
    }

    /// Where it is: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.connection.server
    }

    /// A client as [`ADMIN`].
    pub async fn client(&self) -> kube::Client {
        self.connection.client(ADMIN).await
    }

    /// Kills the API server.
    ///
    /// # Panics
    /// When the control plane is the shared one.
    pub fn stop_apiserver(&mut self) {
        self.order(STOP);
    }

    /// Starts it again, at the same address with the same objects, and waits until it answers.
    ///
    /// # Panics
    /// When the control plane is the shared one.
    pub fn start_apiserver(&mut self) {
        self.order(START);
    }

    /// Kills the API server and starts it again.
    ///
    /// # Panics
    /// When the control plane is the shared one.
    pub fn restart_apiserver(&mut self) {
        self.order(STOP);
        self.order(START);
    }

    fn order(&mut self, order: &str) {
        let own = self.own.as_mut().expect("only a test's own control plane takes orders");
        let orders = own.orders.as_mut().expect("they are open as long as it lives");
        writeln!(orders, "{order}").and_then(|()| orders.flush()).expect("it reads them");
        let mut answer = String::new();
        own.answers.read_line(&mut answer).expect("it answers");
        assert_eq!(answer.trim(), DONE, "{order}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The end of its input is the order to end; it then has nothing left to do but to stop its servers.
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// The programs of a control plane and those that tests of it use, each with its component and the variable that names it.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("kube-apiserver", "kubernetes", "PROMO_COMPONENT_KUBERNETES"),
    ("etcd", "etcd", "PROMO_COMPONENT_ETCD"),
    ("kubectl", "kubectl", "PROMO_COMPONENT_KUBECTL"),
    ("helm", "helm", "PROMO_COMPONENT_HELM"),
    ("helm-3", "helm-3", "PROMO_COMPONENT_HELM_3"),
];

/// Whether the programs are there.
pub(super) fn installed() -> bool {
    let lacks = |program: &str, variable: &str| std::env::var_os(variable).is_none() && !on_path(program);
    let missing = PROGRAMS.into_iter().find(|(program, _, variable)| lacks(program, variable));
    let Some((program, component, variable)) = missing else { return true };
    let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!ci, "{program} is missing: {variable}");
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    {
        eprintln!("skipped: {program} is missing; `cargo xtask components ensure {component}`, then `env`");
    }
    false
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Where control planes have their directories: in the target directory, which nobody else writes.
fn home() -> PathBuf {
    binary::built("promo-tests", "promo-kube").with_file_name("kubernetes")
}

/// The process that owns a control plane, not yet started.
fn server(directory: &Path) -> std::process::Command {
    let log = File::create(directory.join("promo-kube.log")).expect("the directory can be written");
    let mut server = binary::command(binary::built("promo-tests", "promo-kube"));
    // In a group of its own: what ends a test, or a run at the terminal, is not to end it before its servers.
    server.arg(SERVE).arg(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    server
}

/// The control plane of that owner. Under a lock, so that the first one starts it and the others wait.
fn find_or_start(owner: Owner) -> Connection {
    let directory = home().join(owner.to_string());
    fs::create_dir_all(&directory).expect("the target directory can be written");
    let lock = File::create(directory.join("lock")).and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.expect("a lock of the target directory");
    let mut started = None;
    if !directory.join("ready").exists() && !directory.join("failed").exists() && !alive(&directory) {
        let start = server(&directory).arg(owner.to_string()).spawn();
        started = Some(start.expect("promo-kube starts"));
    }
    wait(&directory, || started.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some())))
}

/// Whether the process is there of which this is the directory. A test that was killed while it waited leaves one.
fn alive(directory: &Path) -> bool {
    File::open(directory.join("alive")).is_ok_and(|file| file.try_lock().is_err())
}

fn wait(directory: &Path, mut ended: impl FnMut() -> bool) -> Connection {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Some(connection) = Connection::read(&directory.join("ready")) {
            return connection;
        }
        if let Ok(why) = fs::read_to_string(directory.join("failed")) {
            panic!("there is no control plane: {why}");
        }
        assert!(
            !ended(),
            "promo-kube ended: {}",
            fs::read_to_string(directory.join("promo-kube.log")).unwrap_or_default()
        );
        assert!(Instant::now() < deadline, "no control plane after {READY_WITHIN:?}; see {}", directory.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
