//! `up` and `down`: two OCI registries for a developer to play with. Tests start their own, one per test.
//!
//! Everything is below `target/components/run/<name>/`: configuration, storage, log, process id, address.

use super::{named, obtain, shell_quoted};
use crate::process::Run;
use crate::{Outcome, workspace};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The registries that `up` starts: the variable each address is printed as is `PROMO_REGISTRY_<NAME>`.
const REGISTRIES: [&str; 2] = ["dev", "prod"];

/// How long a server may take to answer before it counts as failed; seen here: 0.14 s.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(20);

/// Starts what is not running yet and prints the addresses as `export` lines.
pub(super) fn up() -> Outcome {
    let program = obtain(named("docker-registry")?)?;
    for name in REGISTRIES {
        let dir = home(name);
        let address = match running(&dir) {
            Some(_) => read(&dir.join("address"))?,
            None => start(&program, &dir)?,
        };
        println!("export PROMO_REGISTRY_{}={}", name.to_uppercase(), shell_quoted(&address));
    }
    Ok(())
}

/// Stops what `up` started, and only that, and removes its storage.
pub(super) fn down() -> Outcome {
    for name in REGISTRIES {
        let dir = home(name);
        if let Some(pid) = running(&dir) {
            Run::new("kill").args([pid.to_string()]).capture()?;
            let deadline = Instant::now() + READY_WITHIN;
            while running(&dir).is_some() {
                if Instant::now() > deadline {
                    return Err(format!("registry {name} (process {pid}) does not stop"));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            println!("stopped registry {name}");
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
    }
    Ok(())
}

fn home(name: &str) -> PathBuf {
    workspace::components_dir().join("run").join(format!("registry-{name}"))
}

fn start(program: &Path, dir: &Path) -> Outcome<String> {
    let storage = dir.join("storage");
    fs::create_dir_all(&storage).map_err(|error| format!("{}: {error}", storage.display()))?;
    let address = free_address()?;
    let config = dir.join("config.yml");
    write(&config, &configuration(&storage, address))?;
    let pid = Run::new(program).args([Path::new("serve"), &config]).start_server(&dir.join("log"))?;
    write(&dir.join("pid"), &pid.to_string())?;
    write(&dir.join("address"), &address.to_string())?;
    let deadline = Instant::now() + READY_WITHIN;
    while !answers(address) {
        if running(dir).is_none() || Instant::now() > deadline {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            return Err(format!("the registry at {address} did not become ready:\n{log}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(address.to_string())
}

/// The configuration of a registry without authentication that may delete and keeps nothing in memory.
fn configuration(storage: &Path, address: SocketAddr) -> String {
    let storage = storage.display();
    format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: '{storage}'\n  delete:\n    \
         enabled: true\nhttp:\n  addr: {address}\n"
    )
}

/// A port that was free a moment ago. Somebody else may take it before the server does; `start` then reports the log.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    let probe = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    probe.map_err(|error| format!("no free port on 127.0.0.1: {error}"))
}

pub(crate) fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /v2/ HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.lines().next().is_some_and(|status| status.contains(" 200 ")))
}

/// The process id of the server of `dir`, if it still runs.
///
/// A process id alone proves nothing after a reboot: the process must have been started with this configuration.
fn running(dir: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()?;
    let command_line = Run::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).capture().ok()?;
    command_line.contains(&dir.join("config.yml").display().to_string()).then_some(pid)
}

fn read(file: &Path) -> Outcome<String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn write(file: &Path, text: &str) -> Outcome {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{answers, configuration, free_address, running};
    use std::path::Path;

    #[test]
    fn the_configuration_names_the_private_storage_and_only_the_loopback_address() {
        let text = configuration(Path::new("/x y/storage"), free_address().unwrap());
        assert!(text.contains("rootdirectory: '/x y/storage'") && text.contains("addr: 127.0.0.1:"), "{text}");
    }

    #[test]
    fn a_port_where_nobody_listens_does_not_answer() {
        assert!(!answers(free_address().unwrap()));
    }

    #[test]
    fn another_process_with_a_recorded_id_is_never_taken_for_the_server() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running(dir.path()), None);
        std::fs::write(dir.path().join("pid"), std::process::id().to_string()).unwrap();
        assert_eq!(running(dir.path()), None);
    }
}
