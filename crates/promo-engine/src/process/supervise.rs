//! The supervisor of one program: a process between promo and the program that ends the program when promo is gone,
//! however it went (S9.3). What must not live here: anything that a program could be run for.
//!
//! Its standard input is a socket to promo, the lifeline. Promo sends the program's input over it and then nothing more;
//! the supervisor sends one line when the program has ended: `code N`, `signal N`, or `failed N` with the system's error
//! number when it could not be started. An end of file from promo means: end everything. Program and supervisor share a
//! process group of their own, so that promo can end both with one signal if it must.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpgrp, getpid};

use super::{BUSY_TRIES, BUSY_WAIT};

/// What a supervisor does, whose arguments after [`SUPERVISE`](super::SUPERVISE) are these: how many bytes of input the
/// program gets, the program, and its arguments. Returns the supervisor's exit code, which says nothing of the program:
/// 0, or 64 when it was not started by promo.
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    const USAGE: u8 = crate::exit::USAGE;
    let mut arguments = arguments.into_iter();
    let length = arguments.next().and_then(|word| word.to_str()?.parse().ok());
    let (Some(length), Some(program)) = (length, arguments.next()) else { return USAGE };
    let Ok(lifeline) = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return USAGE };
    // Whatever is no socket belongs to somebody who typed this.
    let (Ok(_), Ok(watched)) = (lifeline.peer_addr(), lifeline.try_clone()) else { return USAGE };
    let mut input = Vec::new();
    let read = (&lifeline).take(length).read_to_end(&mut input);
    if read.ok().and_then(|read| u64::try_from(read).ok()) != Some(length) {
        // Promo is gone.
        return USAGE;
    }
    adopt_orphans();
    let mut command = super::command(Path::new(&program));
    command.args(arguments).stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    let report = match spawn(&mut command) {
        Ok(mut child) => {
            if let Some(mut pipe) = child.stdin.take() {
                // A program need not read its input, and must not keep the line from being watched.
                std::thread::spawn(move || drop(pipe.write_all(&input)));
            }
            std::thread::spawn(move || {
                let _ = (&watched).read(&mut [0]);
                end_everything();
            });
            wait(&mut child)
        }
        Err(error) => format!("failed {}", error.raw_os_error().unwrap_or_default()),
    };
    end_descendants();
    let _ = writeln!(&lifeline, "{report}");
    0
}

fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_WAIT);
            }
            result => return result,
        }
    }
}

fn wait(child: &mut Child) -> String {
    match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        },
        // Only whoever ends everything takes the status of a child away.
        Err(_) => loop {
            std::thread::park();
        },
    }
}

/// Ends the program with all that it started, and this process.
fn end_everything() {
    end_descendants();
    // Somebody else's group is not for us to end: then this was started by hand.
    if getpgrp() == getpid() {
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    }
    std::process::exit(0);
}

/// From now on whoever loses its parent below this process becomes its child, also in a session of its own.
fn adopt_orphans() {
    // An old kernel without it leaves the process group, which holds all but such daemons.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Kills every child until there is none: the children of each become ours when it dies.
#[cfg(target_os = "linux")]
fn end_descendants() {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

    // What is stuck in the kernel dies when it returns from there; nobody waits for it.
    for _ in 0..500 {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::EINTR) => {}
                Err(_) => return,
                Ok(WaitStatus::StillAlive) => break,
                Ok(_) => {}
            }
        }
        // A child that was not waited for keeps its number, so none of these can be somebody else's by now.
        for child in children() {
            let _ = kill(child, Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Nothing but the process group tells here who belongs to the program, and promo ends that.
#[cfg(not(target_os = "linux"))]
fn end_descendants() {}

/// The children of this process, from proc(5).
#[cfg(target_os = "linux")]
fn children() -> Vec<nix::unistd::Pid> {
    let me = getpid().as_raw().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        // The name of a program, in parentheses, may hold anything; state and parent come after it.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(me.as_str())
        })
    })
    .map(nix::unistd::Pid::from_raw)
    .collect()
}
