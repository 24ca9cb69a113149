//! Child processes. What lives here: the one place that spawns them (S13.1). What must not: knowledge of any tool.
//!
//! A child gets its own process group, and everything in it is killed when the child has ended, when its time is over,
//! when the run is cancelled and when the future is dropped. That it also dies when promo itself is killed with SIGKILL
//! (S9.3) takes somebody who outlives promo: with [`supervise_with`], each program runs under a supervisor that holds a
//! line to promo and ends the group when the line is cut; on Linux it ends what has left the group as well. Without, as
//! in library use, the program is a child of promo's own process, and after a SIGKILL it runs on until it ends by
//! itself. Where both promo and the supervisor are killed at once it does so too; that is why doubt after a crash is
//! settled by observing and never by repeating.
//!
//! A program that may ask a person (a passphrase, a touch on a security key) stays in promo's group and unsupervised: it
//! is the terminal's own business to end it, and it has no effect of which anybody could be in doubt.

#[cfg(unix)]
mod supervise;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use promo_sdk::{ErrorKind, Output, ProcessRequest, ProcessRunner, ProviderError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
pub use supervise::supervise;

/// The line between promo and a supervisor: the program's input and, when it is cut, the end go one way, the report the
/// other.
#[cfg(unix)]
type Lifeline = tokio::net::UnixStream;
/// Nothing supervises here.
#[cfg(not(unix))]
type Lifeline = tokio::io::DuplexStream;

/// The first argument of a supervisor. What follows it is for [`supervise`] alone.
pub const SUPERVISE: &str = "__supervise";

static SUPERVISOR: OnceLock<PathBuf> = OnceLock::new();

/// From now on every program runs under `executable`, which hands the arguments after [`SUPERVISE`] to
/// [`supervise`]; the first call decides. Without one, programs run as direct children and
/// survive a SIGKILL of this process.
pub fn supervise_with(executable: PathBuf) {
    SUPERVISOR.get_or_init(|| executable);
}

/// How long the pipes may stay open after the group was killed: only a process that left the group holds them.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a program that is busy is tried again: a file that was just written stays busy while any other thread is
/// between fork and exec, because that child still holds the descriptor.
const BUSY_TRIES: u32 = 20;

/// How long between two of these tries.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// Spawns processes, and kills them when the run is cancelled.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    cancelled: CancellationToken,
}

impl Processes {
    /// A runner whose processes are killed when `cancelled` is.
    #[must_use]
    pub fn new(cancelled: CancellationToken) -> Self {
        Self { cancelled }
    }
}

#[async_trait]
impl ProcessRunner for Processes {
    async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError> {
        let name = request.argv.first().cloned().unwrap_or_default();
        let program = resolve(&name, &request)?;
        if self.cancelled.is_cancelled() {
            return Err(cancelled(&name));
        }
        let mut group = Group::spawn(&name, &program, &request).await?;
        let stdout = group.child.stdout().take().map(|pipe| collect(pipe, request.output_limit));
        let stderr = group.child.stderr().take().map(|pipe| collect(pipe, request.output_limit));
        let ended = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(cancelled(&name)),
            code = group.ended(&name, &request.stdin) => code,
            () = tokio::time::sleep(request.timeout) => Err(ProviderError::new(
                ErrorKind::Transient,
                format!("program `{name}` did not end within {} and was killed", seconds(request.timeout)),
            )),
        };
        // Also after a normal end: what the child left running in the background does not outlive the step.
        group.end().await;
        let (stdout, stderr) = futures_util::join!(finish(stdout), finish(stderr));
        ended.map(|code| Output { code, stdout, stderr })
    }

    fn find(&self, request: &ProcessRequest) -> Result<(), ProviderError> {
        resolve(request.argv.first().map_or("", String::as_str), request).map(|_| ())
    }
}

/// A child and its process group, killed at the latest when it is dropped.
struct Group {
    /// The program, or its supervisor.
    child: Box<dyn ChildWrapper>,
    /// Held as long as a supervisor is to keep the program alive.
    lifeline: Option<Lifeline>,
    killed: bool,
}

impl Group {
    async fn spawn(name: &str, program: &Path, request: &ProcessRequest) -> Result<Self, ProviderError> {
        let failed = |error| failed(name, "could not be started", &error);
        let mut tries = 0;
        loop {
            let (command, lifeline) = match SUPERVISOR.get() {
                #[cfg(unix)]
                Some(executable) if !request.interactive => {
                    let (command, lifeline) = supervised(executable, program, request).map_err(failed)?;
                    (command, Some(lifeline))
                }
                _ => (direct(program, request), None),
            };
            let mut wrap = CommandWrap::from(command);
            // A supervisor ends the others before itself, so it must not go first.
            if lifeline.is_none() {
                wrap.wrap(KillOnDrop);
            }
            // A program in a group of its own is in the background of the terminal, which stops it when it reads from there.
            #[cfg(unix)]
            if !request.interactive {
                wrap.wrap(ProcessGroup::leader());
            }
            match wrap.spawn() {
                Ok(child) => return Ok(Self { child, lifeline, killed: false }),
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                    tries += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// Gives the program its input and waits for its end: the exit code, none when a signal ended it.
    async fn ended(&mut self, name: &str, input: &[u8]) -> Result<Option<i32>, ProviderError> {
        if let Some(lifeline) = &mut self.lifeline {
            // What cannot be written or read was cut by the end of the supervisor, and the missing report says so.
            let _ = lifeline.write_all(input).await;
            let mut report = String::new();
            let _ = lifeline.take(64).read_to_string(&mut report).await;
            return understand(name, report.trim_end());
        }
        let pipe = self.child.stdin().take();
        let write = async {
            if let Some(mut pipe) = pipe {
                // A program that does not read its input is its own business; what it exits with decides.
                let _ = pipe.write_all(input).await;
            }
        };
        let child = &mut self.child;
        let wait = child.wait();
        tokio::pin!(write, wait);
        let status = tokio::select! {
            status = &mut wait => status,
            () = &mut write => wait.await,
        };
        status.map(|status| status.code()).map_err(|e| failed(name, "could not be waited for", &e))
    }

    /// Ends what still runs, and waits a moment for it.
    async fn end(&mut self) {
        if self.lifeline.take().is_some() {
            let _ = tokio::time::timeout(DRAIN, self.child.wait()).await;
        }
        self.kill();
        let _ = tokio::time::timeout(DRAIN, self.child.wait()).await;
    }

    /// Kills the whole group, once. A group that is already gone is no error.
    fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            let _ = self.child.start_kill();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A supervisor that lives ends more than the group when its line is cut.
        if self.lifeline.take().is_none() || !matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// What a supervisor said about the end of its program.
fn understand(name: &str, report: &str) -> Result<Option<i32>, ProviderError> {
    let (what, number) = report.split_once(' ').unwrap_or_default();
    match (what, number.parse::<i32>()) {
        ("code", Ok(code)) => Ok(Some(code)),
        ("signal", Ok(_)) => Ok(None),
        ("failed", Ok(error)) => Err(failed(name, "could not be started", &std::io::Error::from_raw_os_error(error))),
        _ => Err(ProviderError::new(ErrorKind::Failed, format!("program `{name}` was killed with its supervisor"))),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one module that spawns processes")]
fn command(program: &Path) -> std::process::Command {
    std::process::Command::new(program)
}

/// The program as a child of this process.
fn direct(program: &Path, request: &ProcessRequest) -> Command {
    let mut command = Command::from(command(program));
    command.args(request.argv.iter().skip(1));
    command.stdin(if request.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    surround(command, request)
}

/// The program under a supervisor, and the line to it.
#[cfg(unix)]
fn supervised(executable: &Path, program: &Path, request: &ProcessRequest) -> std::io::Result<(Command, Lifeline)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::from(command(executable));
    command.arg(SUPERVISE).arg(request.stdin.len().to_string()).arg(program).args(request.argv.iter().skip(1));
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    Ok((surround(command, request), Lifeline::from_std(ours)?))
}

/// Where it runs, what it may know, and who reads what it says.
fn surround(mut command: Command, request: &ProcessRequest) -> Command {
    let spoken = request.interactive && std::io::stderr().is_terminal();
    command
        .current_dir(&request.directory)
        .env_clear()
        .envs(request.inherit.iter().filter_map(|key| Some((key, std::env::var_os(key)?))))
        .envs(&request.environment)
        .stdout(Stdio::piped())
        .stderr(if spoken { Stdio::inherit() } else { Stdio::piped() });
    command
}

/// Finds the program: a name on the `PATH` that the child gets, a path with a separator below its working directory.
fn resolve(name: &str, request: &ProcessRequest) -> Result<PathBuf, ProviderError> {
    if name.is_empty() {
        return Err(ProviderError::new(ErrorKind::Invalid, "there is no program to run: the argument list is empty"));
    }
    if !request.directory.is_dir() {
        let place = request.directory.display();
        return Err(ProviderError::new(ErrorKind::NotFound, format!("the working directory {place} does not exist")));
    }
    let path: OsString = match request.environment.get("PATH") {
        Some(path) => path.into(),
        None if request.inherit.iter().any(|key| key == "PATH") => std::env::var_os("PATH").unwrap_or_default(),
        None => OsString::new(),
    };
    which::which_in(name, Some(path), &request.directory).map_err(|_| {
        let place = if Path::new(name).components().count() > 1 {
            format!("in {}, or is not executable", request.directory.display())
        } else {
            "on PATH".to_owned()
        };
        ProviderError::new(ErrorKind::NotFound, format!("program `{name}` was not found {place}"))
    })
}

/// Bytes read so far, and the task that reads.
type Stream = (Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

/// Reads a pipe to its end and keeps the first `limit` bytes; the rest is read too, so that the child does not block.
fn collect(mut pipe: impl AsyncRead + Unpin + Send + 'static, limit: usize) -> Stream {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let target = Arc::clone(&kept);
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            let mut kept = target.lock().unwrap_or_else(PoisonError::into_inner);
            let room = limit.saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..read.min(room)]);
        }
    });
    (kept, task)
}

async fn finish(stream: Option<Stream>) -> Vec<u8> {
    let Some((kept, mut task)) = stream else { return Vec::new() };
    if tokio::time::timeout(DRAIN, &mut task).await.is_err() {
        task.abort();
    }
    std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
}

fn cancelled(name: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Cancelled, format!("program `{name}` was stopped because the run was cancelled"))
}

/// The program's name and the system's reason only: arguments and environment may hold what nobody should read.
fn failed(name: &str, what: &str, error: &std::io::Error) -> ProviderError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    };
    ProviderError::new(kind, format!("program `{name}` {what}: {error}"))
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 { format!("{} s", duration.as_secs()) } else { format!("{duration:?}") }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str, directory: &Path) -> ProcessRequest {
        ProcessRequest::new(["sh", "-c", script].map(String::from).to_vec(), directory.to_owned())
    }

    /// Whether a process that was told to write its id to `file` still runs; it may need a moment to be reaped.
    async fn gone(file: &Path) -> bool {
        let id = std::fs::read_to_string(file).unwrap();
        for _ in 0..100 {
            match std::fs::read_to_string(format!("/proc/{}/stat", id.trim())) {
                Err(_) => return true,
                // A zombie has ended; only its parent has not looked yet.
                Ok(stat) if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) => {
                    return true;
                }
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        false
    }

    async fn written(file: &Path) {
        for _ in 0..500 {
            if std::fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} was never written", file.display());
    }

    const GRANDCHILD: &str = "sleep 300 & echo $! > id; wait";

    #[tokio::test]
    async fn a_process_gives_its_code_and_both_streams() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = shell("cat; echo to-stderr >&2; pwd; exit 3", dir.path());
        request.stdin = b"from stdin\n".to_vec();
        let output = Processes::default().run(request).await.unwrap();
        assert_eq!(output.code, Some(3));
        let here = dir.path().canonicalize().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("from stdin\n{}\n", here.display()));
        assert_eq!(output.stderr, b"to-stderr\n");
    }

    #[tokio::test]
    async fn after_the_timeout_the_grandchildren_are_gone_too_s9_3() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = shell(GRANDCHILD, dir.path());
        request.timeout = Duration::from_secs(1);
        let error = Processes::default().run(request).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Transient);
        assert_eq!(error.message, "program `sh` did not end within 1 s and was killed");
        assert!(gone(&dir.path().join("id")).await);
    }

    #[tokio::test]
    async fn cancelling_and_dropping_kill_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let token = CancellationToken::new();
        let runner = Processes::new(token.clone());
        let run = tokio::spawn({
            let request = shell(GRANDCHILD, dir.path());
            async move { runner.run(request).await }
        });
        written(&dir.path().join("id")).await;
        token.cancel();
        assert_eq!(run.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
        assert!(gone(&dir.path().join("id")).await);
        let late = Processes::new(token).run(shell("touch late", dir.path())).await;
        assert_eq!(late.unwrap_err().kind, ErrorKind::Cancelled);
        assert!(!dir.path().join("late").exists(), "a cancelled runner starts nothing");

        let dir = tempfile::tempdir().unwrap();
        let request = shell(GRANDCHILD, dir.path());
        let run = tokio::spawn(async move { Processes::default().run(request).await });
        written(&dir.path().join("id")).await;
        run.abort();
        assert!(gone(&dir.path().join("id")).await);
    }

    #[tokio::test]
    async fn what_a_child_leaves_in_the_background_does_not_outlive_it() {
        let dir = tempfile::tempdir().unwrap();
        let output = Processes::default().run(shell("sleep 300 & echo $! > id; echo done", dir.path())).await.unwrap();
        assert_eq!((output.code, output.stdout.as_slice()), (Some(0), b"done\n".as_slice()));
        assert!(gone(&dir.path().join("id")).await);
    }

    #[tokio::test]
    async fn more_output_than_the_limit_is_cut_and_does_not_block_the_child() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 7", dir.path());
        request.output_limit = 1000;
        request.timeout = Duration::from_secs(60);
        let output = Processes::default().run(request).await.unwrap();
        assert_eq!((output.code, output.stdout.len(), output.stderr.len()), (Some(7), 1000, 1000));
    }

    #[tokio::test]
    async fn the_environment_is_what_is_on_the_allow_list_and_nothing_else_s13_1() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = shell("/usr/bin/env | cut -d= -f1 | sort | tr '\\n' ' '; echo \"$SET\"", dir.path());
        request.inherit = vec!["PATH".to_owned()];
        request.environment.insert("SET".to_owned(), "yes".to_owned());
        let output = Processes::default().run(request).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // `PWD`, `SHLVL`, `OLDPWD` and `_` are the shell's own.
        let names: Vec<_> = text.split_whitespace().filter(|n| !["PWD", "SHLVL", "OLDPWD", "_"].contains(n)).collect();
        assert_eq!(names, ["PATH", "SET", "yes"]);
    }

    #[tokio::test]
    async fn a_missing_program_is_named_without_its_arguments() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["no-such-program-here", "./no-such-script", "/no/such/program"] {
            let argv = vec![name.to_owned(), "--password=hunter2".to_owned()];
            let error = Processes::default().run(ProcessRequest::new(argv, dir.path().into())).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
            assert!(error.message.contains(name) && !error.message.contains("hunter2"), "{error}");
        }
        let empty = Processes::default().run(ProcessRequest::new(vec![], dir.path().into())).await.unwrap_err();
        assert_eq!(empty.kind, ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn arguments_reach_the_program_as_they_are_and_no_shell_reads_them_s13_1() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["printf", "%s|", "$HOME", "a b", "; exit 9", "*"].map(String::from).to_vec();
        let output = Processes::default().run(ProcessRequest::new(argv, dir.path().into())).await.unwrap();
        assert_eq!(output.stdout, b"$HOME|a b|; exit 9|*|");
    }

    #[tokio::test]
    async fn a_relative_program_is_found_below_the_working_directory_even_right_after_it_was_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("run.sh");
        std::fs::write(&script, "#!/bin/sh\necho ran\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
        let request = ProcessRequest::new(vec!["./run.sh".to_owned()], dir.path().into());
        assert_eq!(Processes::default().run(request).await.unwrap().stdout, b"ran\n");
    }
}
