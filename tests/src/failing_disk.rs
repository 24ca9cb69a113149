//! A process on a disk that fails: it is traced (ptrace(2)), and chosen calls on the files of one ledger end with an error of
//! the kernel's without being made. No file system and no library stands in between, so that this is SQLite's own code that
//! meets the error. What must not live here: what promo has to make of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cells::End;

/// Which calls are counted, and fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Everything that reads, writes, makes, cuts, syncs or removes a file of the ledger.
    All,
    /// What needs space: writes, and what makes a file longer.
    Growing,
    /// Hard links.
    Linking,
}

/// When and how calls on the files of a ledger fail.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// Which are counted.
    pub calls: Calls,
    /// The first one that fails, from 1.
    pub from: usize,
    /// Whether all that come after it fail as well.
    pub lasting: bool,
    /// What the kernel says.
    pub error: Errno,
}

/// What a traced process did.
#[derive(Debug, Clone)]
pub struct Traced {
    /// How it ended.
    pub end: End,
    /// The calls that failed, as `pwrite64 ledger.db-wal`.
    pub failed: Vec<String>,
    /// How many calls were counted.
    pub counted: usize,
}

/// A call as it is entered.
struct Call {
    name: &'static str,
    grows: bool,
    file: String,
}

/// Runs a program to its end, while calls on the files of the ledger at `ledger` fail as `failure` says. `dress` gives the
/// command its place and its environment.
///
/// # Panics
/// When the program cannot be started or traced.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test starts the program that it is about")]
#[expect(clippy::zombie_processes, reason = "whoever traces it waits for it")]
pub fn run(
    program: &str,
    words: &[&str],
    ledger: &Path,
    failure: Option<Failure>,
    dress: impl FnOnce(Command) -> Command,
) -> Traced {
    // It waits until it is traced, and only then becomes the program.
    let mut command = Command::new("sh");
    command.args(["-c", "read -r _ && exec \"$@\" < /dev/null", "sh", program]).args(words);
    let said = tempfile::tempfile().expect("a file");
    let both = [(); 2].map(|()| said.try_clone().expect("a file"));
    let mut command = dress(command);
    let [out, err] = both;
    command.stdin(Stdio::piped()).stdout(out).stderr(err);
    let mut child = command.spawn().expect("a shell starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process has a small number"));
    let mut tracer = Tracer { ledger, failure, counted: 0, failed: Vec::new(), refused: BTreeMap::new() };
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).expect("a child can be traced");
    ptrace::interrupt(pid).expect("a child can be stopped");
    child.stdin.take().expect("it is piped").write_all(b"go\n").expect("the shell reads");
    let code = tracer.follow(pid);
    let mut text = vec![0; usize::try_from(said.metadata().expect("a file").len()).expect("little text")];
    said.read_exact_at(&mut text, 0).expect("what it said can be read");
    let Tracer { failed, counted, .. } = tracer;
    Traced { end: End::new(code, String::from_utf8_lossy(&text).into_owned()), failed, counted }
}

struct Tracer<'a> {
    ledger: &'a Path,
    failure: Option<Failure>,
    counted: usize,
    failed: Vec<String>,
    /// Threads that are in a call which is not made, and what it ends with.
    refused: BTreeMap<Pid, Errno>,
}

impl Tracer<'_> {
    /// Lets the process go on from call to call until it is over. Its threads are followed, the programs that it starts are not.
    fn follow(&mut self, process: Pid) -> Option<i32> {
        loop {
            // Children of other threads are not ours to wait for.
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).expect("it is a child");
            let (thread, signal) = match status {
                WaitStatus::Exited(over, code) if over == process => return Some(code),
                WaitStatus::Signaled(over, ..) if over == process => return None,
                WaitStatus::PtraceSyscall(thread) => {
                    // Whoever was killed meanwhile is not there any more.
                    let _ = self.at_a_call(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, ..) => (thread, None),
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            match ptrace::syscall(thread, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("a traced process cannot go on: {error}"),
            }
        }
    }

    fn at_a_call(&mut self, thread: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(thread)?;
        if let Some(error) = self.refused.remove(&thread) {
            registers.rax = (-i64::from(error as i32)).cast_unsigned();
            return ptrace::setregs(thread, registers);
        }
        // Where a call is entered the kernel has put this in the place of its result.
        let entered = registers.rax.cast_signed() == -i64::from(libc::ENOSYS);
        let Some(failure) = self.failure.filter(|_| entered) else { return Ok(()) };
        let Some(call) = self.call(thread, &registers) else { return Ok(()) };
        let counts = match failure.calls {
            Calls::All => true,
            Calls::Growing => call.grows,
            Calls::Linking => call.name == "linkat",
        };
        if !counts {
            return Ok(());
        }
        self.counted += 1;
        if self.counted == failure.from || (failure.lasting && self.counted > failure.from) {
            self.failed.push(format!("{} {}", call.name, call.file));
            self.refused.insert(thread, failure.error);
            // There is no such call: the kernel makes none.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(thread, registers)?;
        }
        Ok(())
    }

    /// The call that is entered, if it is about a file of the ledger.
    fn call(&self, thread: Pid, registers: &libc::user_regs_struct) -> Option<Call> {
        let number = registers.orig_rax.cast_signed();
        let by_descriptor = [
            (libc::SYS_read, "read", false),
            (libc::SYS_pread64, "pread64", false),
            (libc::SYS_write, "write", true),
            (libc::SYS_pwrite64, "pwrite64", true),
            (libc::SYS_fallocate, "fallocate", true),
            (libc::SYS_ftruncate, "ftruncate", false),
            (libc::SYS_fsync, "fsync", false),
            (libc::SYS_fdatasync, "fdatasync", false),
        ];
        let by_name = [
            (libc::SYS_openat, "openat", registers.rsi),
            (libc::SYS_linkat, "linkat", registers.rsi),
            (libc::SYS_unlink, "unlink", registers.rdi),
        ];
        let (name, grows, path) =
            if let Some((_, name, grows)) = by_descriptor.into_iter().find(|(known, ..)| *known == number) {
                let descriptor = registers.rdi;
                (name, grows, std::fs::read_link(format!("/proc/{thread}/fd/{descriptor}")).ok()?)
            } else {
                let (_, name, address) = by_name.into_iter().find(|(known, ..)| *known == number)?;
                (name, false, path_at(thread, address)?)
            };
        let ours = path.file_name()?.to_str()?.strip_prefix(self.ledger.file_name()?.to_str()?)?;
        // One that is made has another name until it is whole: `.RANDOM.new`.
        let (draft, end) = match ours.split_once(".new") {
            Some((_, end)) => (".new", end),
            None => ("", ours),
        };
        let end = ["", "-wal", "-shm", "-journal"].into_iter().find(|known| *known == end)?;
        Some(Call { name, grows, file: format!("ledger{draft}{end}") })
    }
}

/// The path that stands in the memory of a process.
fn path_at(thread: Pid, address: u64) -> Option<PathBuf> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = [0; 4096];
    let read = memory.read_at(&mut bytes, address).ok()?;
    let text = bytes[..read].split(|byte| *byte == 0).next()?;
    Some(PathBuf::from(std::str::from_utf8(text).ok()?))
}
