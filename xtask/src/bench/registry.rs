//! A registry of its own for each side of a copy, and the distance to it.

use super::{remove, write};
use crate::Outcome;
use crate::components::servers;
use crate::process::{Run, Server};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A registry with private storage on a fixed address, which can be stopped, emptied and started again.
pub(super) struct Registry {
    program: PathBuf,
    dir: PathBuf,
    pub(super) address: SocketAddr,
    server: Option<Server>,
}

impl Registry {
    pub(super) fn new(program: &Path, dir: &Path) -> Outcome<Self> {
        let address = servers::free_address()?;
        let registry = Self { program: program.to_path_buf(), dir: dir.to_path_buf(), address, server: None };
        let storage = registry.storage();
        fs::create_dir_all(&storage).map_err(|error| format!("{}: {error}", storage.display()))?;
        // The access log is what counts the requests.
        write(
            &dir.join("config.yml"),
            format!(
                "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: false\nstorage:\n  filesystem:\n    \
                 rootdirectory: '{}'\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
                storage.display()
            ),
        )?;
        Ok(registry)
    }

    pub(super) fn storage(&self) -> PathBuf {
        self.dir.join("storage")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(super) fn restart(&mut self) -> Outcome {
        self.server = None;
        let config = self.dir.join("config.yml");
        let run = Run::new(&self.program).args(["serve".as_ref(), config.as_os_str()]);
        self.server = Some(run.start_guarded(&self.log())?);
        let deadline = Instant::now() + servers::READY_WITHIN;
        while !servers::answers(self.address) {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                return Err(format!("the registry at {} did not become ready:\n{log}", self.address));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts again with nothing in it but what is put there.
    pub(super) fn empty(&mut self, fill: impl Fn(&Path) -> Outcome) -> Outcome {
        self.server = None;
        remove(&self.storage())?;
        fill(&self.storage())?;
        self.restart()
    }

    /// Requests since the last start, without the one that asked whether it is ready, and without those about the
    /// repositories below `source`: what is read from where a copy comes from is no request at its destination.
    pub(super) fn requests(&self, source: &str) -> Outcome<f64> {
        let log = fs::read_to_string(self.log()).map_err(|error| format!("{}: {error}", self.log().display()))?;
        let source = format!(" /v2/{source}/");
        let all = log.lines().filter(|line| line.contains(" HTTP/1.1\"") || line.contains(" HTTP/2.0\""));
        let count = all.filter(|line| !line.contains(&source)).count();
        Ok(f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
    }
}

/// Puts a server as far away as a round trip takes: every byte arrives half of it later, in the order in which it was sent,
/// and the next one does not wait for it. Gives the address of the far end, for as long as this process lives.
pub(super) fn far_away(server: SocketAddr, round_trip: Duration) -> Outcome<SocketAddr> {
    let failed = |error: std::io::Error| format!("the way to {server}: {error}");
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(server) else { continue };
            let ends = (near.try_clone(), far.try_clone());
            let (Ok(near_again), Ok(far_again)) = ends else { continue };
            later(near, far_again, round_trip / 2);
            later(far, near_again, round_trip / 2);
        }
    });
    Ok(address)
}

/// Passes on what is read, each piece so much later.
fn later(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let _ = to.set_nodelay(true);
    let (send, arrive) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if send.send((Instant::now() + delay, piece[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        while let Ok((due, piece)) = arrive.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[cfg(test)]
mod tests {
    use super::far_away;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    #[test]
    fn an_answer_from_far_away_takes_a_round_trip_and_arrives_whole() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = far_away(server.local_addr().unwrap(), Duration::from_millis(40)).unwrap();
        let answers = std::thread::spawn(move || {
            let (mut peer, _) = server.accept().unwrap();
            let mut asked = [0; 3];
            peer.read_exact(&mut asked).unwrap();
            peer.write_all(&asked).unwrap();
        });
        let begun = Instant::now();
        let mut peer = TcpStream::connect(far).unwrap();
        peer.write_all(b"abc").unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "abc");
        assert!(begun.elapsed() >= Duration::from_millis(40));
        answers.join().unwrap();
    }
}
