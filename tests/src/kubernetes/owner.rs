//! The process with which a control plane ends. A process id alone proves nothing, since ids are given again; with the
//! instant of its start it names one process.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// One process, now or formerly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// In ticks since the machine was started.
    started: u64,
}

impl Owner {
    /// The runner of the tests: nextest or cargo where one of them started this process, else this process.
    pub(super) fn of_the_run() -> Self {
        let parent = std::os::unix::process::parent_id();
        let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
        let runner = matches!(name.trim(), "cargo" | "cargo-nextest");
        Self::of(parent).filter(|_| runner).unwrap_or_else(Self::this)
    }

    /// This process.
    ///
    /// # Panics
    /// Where there is no /proc.
    pub(super) fn this() -> Self {
        Self::of(std::process::id()).expect("/proc tells of this process")
    }

    /// The process with that id, if there is one.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc_pid_stat(5): the second field is a name in parentheses, which may hold anything; the 22nd is the start.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let dead = matches!(rest.next()?, "Z" | "X");
        let started = rest.nth(18)?.parse().ok()?;
        (!dead).then_some(Self { pid, started })
    }

    /// Whether it is still there.
    pub(super) fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for Owner {
    type Err = ();

    /// Reads what `Display` writes, and what follows after another `-`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (pid, started) = (number()?, number()?);
        Ok(Self { pid: u32::try_from(pid).map_err(|_| ())?, started })
    }
}

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn a_process_is_known_by_its_id_and_the_instant_of_its_start() {
        let this = Owner::this();
        assert!(this.lives());
        assert_eq!(this.to_string().parse(), Ok(this));
        assert_eq!(format!("{this}-7").parse(), Ok(this));
        assert!(!Owner { started: this.started + 1, ..this }.lives());
        assert!("".parse::<Owner>().is_err());
    }
}
