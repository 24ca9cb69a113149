//! The process that owns a control plane: `promo-kube serve DIRECTORY [OWNER]`. It starts the servers and the stand-in for the kubelet,
//! says in the directory where they are, and ends with its owner; without one, with its standard input, on which it is told
//! to stop and start the API server.
//!
//! | file | meaning |
//! |---|---|
//! | `alive` | locked as long as the process lives |
//! | `kubeconfig` | how people and tools talk to it |
//! | `ready` | how one talks to the control plane, once it works |
//! | `failed` | why there is none |
//! | `data` | the directory of etcd, elsewhere |

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::connection::{ADMIN, Connection};
use super::kubelet;
use super::owner::Owner;
use super::servers::Servers;

/// The verb of a process that becomes a program which the kernel kills when its parent is gone.
const TIED: &str = "tied";
/// The verb of a process that owns a control plane.
pub(super) const SERVE: &str = "serve";
/// Orders on the standard input, and the answer to each.
pub(super) const STOP: &str = "stop";
pub(super) const START: &str = "start";
pub(super) const DONE: &str = "done";

/// How often it looks whether the owner is there.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Seen here: 4 s after the API server.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// What `promo-kube` does.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let outcome = if verb == TIED {
        become_tied(arguments)
    } else if verb == SERVE {
        let directory = arguments.next().map(PathBuf::from).ok_or_else(|| "serve DIRECTORY [OWNER]".to_owned());
        let owner = arguments.next().and_then(|owner| owner.to_str()?.parse().ok());
        directory.and_then(|directory| serve(&directory, owner))
    } else {
        Err("the kit of the tests starts this program".into())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments with which [`main`] becomes a program that is tied to this process.
pub(super) fn tied() -> [String; 2] {
    [TIED.into(), std::process::id().to_string()]
}

fn become_tied(mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    use std::os::unix::process::CommandExt as _;
    let (Some(parent), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("tied PARENT PROGRAM [ARGUMENT…]".into());
    };
    set_pdeathsig(Signal::SIGKILL).map_err(|error| error.to_string())?;
    // It may have gone before the kernel was told.
    if parent.to_str() != Some(std::os::unix::process::parent_id().to_string().as_str()) {
        return Err("the owner is gone".into());
    }
    let error = crate::binary::command(&program).args(arguments).exec();
    Err(format!("{}: {error}", Path::new(&program).display()))
}

fn serve(directory: &Path, owner: Option<Owner>) -> Result<(), String> {
    // The servers run in directories of their own.
    let directory = &std::path::absolute(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let alive = File::create(directory.join("alive")).map_err(|error| format!("{}: {error}", directory.display()))?;
    if alive.try_lock().is_err() {
        // Somebody was faster.
        return Ok(());
    }
    sweep(directory);
    let outcome = own(directory, owner);
    if let Err(why) = &outcome {
        let _ = fs::write(directory.join("failed"), why);
        // Every test of the run is told, and none tries again. A single test reads it when this process has ended.
        while owner.is_some_and(Owner::lives) {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    if outcome.is_ok() || owner.is_some() {
        let _ = fs::remove_dir_all(directory);
    }
    outcome
}

/// Starts everything and waits for the end of the owner.
fn own(directory: &Path, owner: Option<Owner>) -> Result<(), String> {
    let gone = || owner.is_some_and(|owner| !owner.lives());
    let mut servers = Servers::start(directory, owner)?;
    let connection = servers.connection().clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            kubelet::run(connection.client(ADMIN).await).await;
        });
    });
    let deadline = Instant::now() + SETTLED_WITHIN;
    while !settled(servers.connection()) {
        servers.check()?;
        if gone() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the controllers did not work after {SETTLED_WITHIN:?}; see {}", directory.display()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (kubeconfig, ready) = (directory.join("kubeconfig"), directory.join("ready"));
    fs::write(&kubeconfig, servers.connection().kubeconfig(ADMIN, "default"))
        .map_err(|error| format!("{}: {error}", kubeconfig.display()))?;
    servers.connection().write(&ready).map_err(|error| format!("{}: {error}", ready.display()))?;
    let orders = owner.is_none().then(orders);
    while !gone() {
        match orders.as_ref().map(|orders| orders.recv_timeout(LOOK_EVERY)) {
            None => std::thread::sleep(LOOK_EVERY),
            Some(Err(RecvTimeoutError::Timeout)) => {}
            Some(Err(RecvTimeoutError::Disconnected)) => break,
            Some(Ok(order)) => {
                if order == STOP {
                    servers.stop_api_server();
                } else if order == START {
                    servers.start_api_server()?;
                }
                let said = writeln!(std::io::stdout(), "{DONE}").and_then(|()| std::io::stdout().flush());
                said.map_err(|error| error.to_string())?;
            }
        }
        servers.check()?;
    }
    Ok(())
}

/// The lines of the standard input, up to its end.
fn orders() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Whether the controllers and the kubelet have done something, each for the first time.
fn settled(connection: &Connection) -> bool {
    block_on(async {
        let client = connection.client(ADMIN).await;
        let accounts = kube::Api::<ServiceAccount>::default_namespaced(client.clone());
        let nodes = kube::Api::<Node>::all(client);
        let tainted = |node: Node| node.spec.is_some_and(|spec| spec.taints.is_some_and(|taints| !taints.is_empty()));
        accounts.get("default").await.is_ok() && nodes.get(kubelet::NODE).await.is_ok_and(|node| !tainted(node))
    })
}

/// Removes what killed processes left beside this directory.
fn sweep(directory: &Path) {
    let beside = directory.parent().and_then(|home| fs::read_dir(home).ok()).into_iter().flatten().flatten();
    for left in beside.map(|entry| entry.path()).filter(|path| path != directory) {
        let owner: Option<Owner> = left.file_name().and_then(|name| name.to_str()?.parse().ok());
        let free = || File::open(left.join("alive")).map_or(true, |file| file.try_lock().is_ok());
        if owner.is_some_and(|owner| !owner.lives()) && free() {
            if let Ok(data) = fs::read_to_string(left.join("data")) {
                let _ = fs::remove_dir_all(data);
            }
            let _ = fs::remove_dir_all(&left);
        }
    }
}

/// Waits for an answer.
pub(super) fn block_on<T>(question: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(question)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::super::owner::Owner;
    use super::SERVE;
    use crate::binary;

    /// The processes that work in a directory.
    fn processes(directory: &Path) -> Vec<String> {
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let there = all.filter(|path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == directory));
        there.map(|path| fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned()).collect()
    }

    fn wait(what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A control plane of an owner that sleeps: both, and where it is.
    fn owned(home: &Path) -> (Child, Child, PathBuf) {
        let sleeper = binary::command("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let owner = Owner::of(sleeper.id()).unwrap().to_string();
        let directory = home.join(&owner);
        fs::create_dir(&directory).unwrap();
        let mut serve: Command = binary::command(binary::built("promo-tests", "promo-kube"));
        serve.arg(SERVE).arg(&directory).arg(owner).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        (sleeper, serve.spawn().unwrap(), directory)
    }

    fn kill(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    mod needs_kubernetes {
        use super::*;

        #[test]
        fn nothing_is_left_when_the_owner_is_killed_nor_when_its_control_plane_is() {
            if !super::super::super::shared::installed() {
                return;
            }
            let home = tempfile::tempdir().unwrap();
            let (sleeper, server, killed) = owned(home.path());
            wait("the API server starts", || processes(&killed).iter().any(|name| name == "kube-apiserver"));
            kill(server);
            wait("the kernel ends its servers", || processes(&killed).is_empty());
            kill(sleeper);
            let data = PathBuf::from(fs::read_to_string(killed.join("data")).unwrap());
            assert!(data.exists(), "nobody was there to remove it");

            let (sleeper, mut server, directory) = owned(home.path());
            wait("it works", || directory.join("ready").exists());
            assert!(!killed.exists() && !data.exists(), "the next one removes what a killed one left");
            assert_eq!(processes(&directory).len(), 3);
            let data = PathBuf::from(fs::read_to_string(directory.join("data")).unwrap());
            kill(sleeper);
            assert!(server.wait().unwrap().success());
            assert_eq!(processes(&directory), [""; 0]);
            assert!(!directory.exists() && !data.exists());
        }
    }
}
