//! Waiting for a lock. That of a run whose process may have died: whoever resumes the run waits until it lapses, or takes
//! it at once where the death can be proven. That of a run which is just beginning: whoever begins another one looks what
//! it is a run of. Whoever only looks is told who is at work. What must not live here: taking a lock from another run.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::Instant;
use promo_core::ids::RunId;
use promo_core::ledger::view::Run;
use promo_ledger::{Lease, LeaseError};
use tokio_util::sync::CancellationToken;

use super::ApplyOptions;
use super::lease::Held;
use crate::error::EngineError;
use crate::progress::Progress;
use crate::session::Session;

/// How often it is looked whether the lock has lapsed.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether a run that has taken the lock has said what it is a run of, and how long apart. It says
/// so in its next write, and many who begin at once write one after the other.
const BEGINNING: (usize, Duration) = (250, Duration::from_millis(20));

/// Takes the lock for a run of `plan` that is to begin. Held by a run that the ledger does not know yet, it is waited for,
/// but not for long: that run may be one of the same plan.
pub(super) async fn begin(
    session: &Session,
    run: &RunId,
    plan: &Digest,
    resources: BTreeSet<String>,
    stop: &CancellationToken,
) -> Result<Held, EngineError> {
    let (mut looks, pause) = BEGINNING;
    loop {
        let error = match Held::acquire(session, run, resources.clone(), stop.clone()) {
            Err(EngineError::Lease(error)) => error,
            result => return result,
        };
        let LeaseError::Held { holder, .. } = &*error else { return Err(EngineError::Lease(error)) };
        // Reading holds up nobody; who asked for the lock again and again would hold up the one that has it.
        while session.store.leases()?.iter().any(|lease| lease.holder == *holder) {
            let told = session
                .with_view(|view| view.consumed.contains_key(plan) || view.runs.keys().any(|run| is_of(holder, run)))?;
            if told || looks == 0 {
                return Err(EngineError::Lease(error));
            }
            looks -= 1;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(EngineError::Stopped),
                () = session.context.clock.sleep(pause) => {}
            }
        }
    }
}

/// Whether a holder is a process at work on this run.
fn is_of(holder: &str, run: &RunId) -> bool {
    holder.split('/').next() == Some(run.as_str())
}

/// The name under which this process takes the lock of a run: `run/uuid/ttl/host@process`. The lifetime, in milliseconds,
/// and the host are there for whoever reads how the run stands; the process proves its death.
pub(super) fn holder(run: &RunId, ttl: Duration) -> String {
    let mut holder = format!("{run}/{}/{}/{}", uuid::Uuid::now_v7(), ttl.as_millis(), host().unwrap_or_default());
    if let Some(process) = Process::this() {
        holder.push_str(&format!("@{process}"));
    }
    holder
}

/// Whether somebody is at work on a run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// Its lock is held, by a process of which nothing says that it is gone.
    Alive {
        /// Where that process is, in words.
        place: String,
        /// When it last renewed its lock, where its name says how long that is for.
        renewed: Option<Timestamp>,
        /// Until when it holds the lock unless it renews it.
        until: Timestamp,
    },
    /// Its process is gone for certain.
    Gone {
        /// Where it was, in words.
        place: String,
        /// When it gave its last sign of life.
        last: Timestamp,
    },
    /// Nobody holds its lock any more, and it did not say that it stopped.
    Silent {
        /// When it wrote its last record.
        last: Timestamp,
    },
    /// It stopped, and said so.
    Interrupted {
        /// When.
        at: Timestamp,
    },
}

/// Whether somebody is at work on a run that has not ended, by these locks.
pub(crate) fn sign(leases: &[Lease], id: &RunId, run: &Run) -> Sign {
    let Some(lease) = leases.iter().find(|lease| is_of(&lease.holder, id)) else {
        return if run.interrupted { Sign::Interrupted { at: run.seen } } else { Sign::Silent { last: run.seen } };
    };
    let renewed = lifetime(&lease.holder).and_then(|ttl| lease.expires.checked_sub(ttl).ok());
    let (place, until) = (words(&lease.holder), lease.expires);
    if Process::of(&lease.holder).is_some_and(|process| process.is_gone()) {
        Sign::Gone { place, last: renewed.map_or(run.seen, |at| at.max(run.seen)) }
    } else {
        Sign::Alive { place, renewed, until }
    }
}

/// Where the process is that has the lock of a run, in words; none when none has it, or it is known to be gone.
pub(super) fn place(session: &Session, run: &RunId) -> Result<Option<String>, EngineError> {
    let leases = session.store.leases()?;
    let holder = leases.iter().map(|lease| lease.holder.as_str()).find(|holder| is_of(holder, run));
    let alive = |holder: &&str| !Process::of(holder).is_some_and(|process| process.is_gone());
    Ok(holder.filter(alive).map(words))
}

/// What the name of a lock's holder says: which run, in which process, since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The run; none where the name is not one that this version makes.
    pub run: Option<RunId>,
    /// Whether its process is gone for certain.
    pub gone: bool,
    place: String,
    since: Option<Timestamp>,
    until: Timestamp,
}

impl Holder {
    /// Reads the name of a holder whose lock expires then.
    #[must_use]
    pub fn of(holder: &str, until: Timestamp) -> Self {
        let mut parts = holder.split('/');
        let run = parts.next().filter(|run| run.len() == 32).and_then(|run| run.parse().ok());
        // The second part is made when the lock is taken, and says when.
        let taken = parts.next().and_then(|id| uuid::Uuid::parse_str(id).ok()?.get_timestamp());
        let since = taken.and_then(|at| Timestamp::from_second(i64::try_from(at.to_unix().0).ok()?).ok());
        let gone = Process::of(holder).is_some_and(|process| process.is_gone());
        Self { run, gone, place: words(holder), since, until }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run, gone, place, since, until } = self;
        let until = Instant(*until);
        match run {
            Some(run) => write!(f, "run {run} has it, {place}")?,
            None => write!(f, "somebody has it, {place}")?,
        }
        if let Some(since) = since {
            write!(f, ", since {}", Instant(*since))?;
        }
        if *gone {
            write!(f, "; that process is gone, and its lock lapses at {until}")
        } else {
            write!(f, ", until {until} unless it renews it")
        }
    }
}

/// Where the process of a holder is, in words.
fn words(holder: &str) -> String {
    let host = holder.split('@').next().and_then(|name| name.split('/').nth(3)).filter(|host| is_host(host));
    match (Process::of(holder), host) {
        (Some(process), _) if machine().is_some_and(|here| here == process.machine) => {
            format!("in process {} of this machine", process.id)
        }
        (Some(process), Some(host)) => format!("in process {} on {host}", process.id),
        (None, Some(host)) => format!("on {host}"),
        (Some(_), None) => "on another machine".into(),
        (None, None) => "somewhere".into(),
    }
}

/// For how long a holder takes its lock.
fn lifetime(holder: &str) -> Option<Duration> {
    let ttl = holder.split('@').next()?.split('/').nth(2)?;
    ttl.parse().ok().map(Duration::from_millis)
}

/// What this machine calls itself, where the system tells: for people, and no evidence.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| is_host(name))
}

/// Whether a text can stand in the name of a holder as a host.
fn is_host(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Takes the lock of `run`, also from a process at the same run that is certainly gone. Whatever else holds it is an error
/// at once.
pub(super) fn past_the_dead(
    session: &Session,
    run: &RunId,
    resources: &BTreeSet<String>,
    stop: &CancellationToken,
) -> Result<Held, EngineError> {
    loop {
        let error = match Held::acquire(session, run, resources.clone(), stop.clone()) {
            Err(EngineError::Lease(error)) => error,
            result => return result,
        };
        let gone = match &*error {
            LeaseError::Held { holder, .. } if is_of(holder, run) => {
                Process::of(holder).filter(Process::is_gone).map(|_| holder.clone())
            }
            _ => None,
        };
        let Some(holder) = gone else { return Err(EngineError::Lease(error)) };
        // In the dead one's name and only to give it back: of two that do so, each then asks for a lock of its own.
        let names: Vec<String> = resources.iter().cloned().collect();
        match session.store.acquire(&names, &holder, session.lease_ttl) {
            Ok(lease) => session.store.release(&lease)?,
            Err(LeaseError::Held { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the lock of `run`. Held by a process at the same run, it is waited for once: whoever renews it meanwhile lives,
/// and is left alone.
pub(super) async fn acquire(
    session: &Session,
    run: &RunId,
    resources: BTreeSet<String>,
    options: &ApplyOptions,
) -> Result<Held, EngineError> {
    let mut shown: Option<(String, Timestamp)> = None;
    loop {
        let error = match past_the_dead(session, run, &resources, &options.stop) {
            Err(EngineError::Lease(error)) => error,
            result => return result,
        };
        let LeaseError::Held { resource, holder, expires } = *error else { return Err(EngineError::Lease(error)) };
        let locked =
            |resource, holder, expires| EngineError::Lease(Box::new(LeaseError::Held { resource, holder, expires }));
        if !is_of(&holder, run) {
            return Err(locked(resource, holder, expires));
        }
        match &shown {
            // Renewed, or somebody else's by now.
            Some(waited_for) if *waited_for != (holder.clone(), expires) => {
                return Err(locked(resource, holder, expires));
            }
            Some(_) => {}
            None => {
                shown = Some((holder.clone(), expires));
                (options.progress)(Progress::WaitingForLock { resource, holder, until: expires });
            }
        }
        let left = Duration::try_from(expires.duration_since(session.now()?)).unwrap_or_default();
        tokio::select! {
            biased;
            () = options.stop.cancelled() => return Err(EngineError::Stopped),
            () = session.context.clock.sleep(left.clamp(Duration::from_millis(10), LOOK)) => {}
        }
    }
}

/// A process as the name of a holder carries it: `boot:namespace:id:start`. The boot id names this start of this machine,
/// the namespace says whose process ids are meant, and the start tells a process from a later one of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    machine: String,
    id: u32,
    start: String,
}

impl Process {
    /// This process; none where the system does not tell.
    pub(super) fn this() -> Option<Self> {
        let id = std::process::id();
        Some(Self { machine: machine()?, id, start: start_of(id)? })
    }

    /// The process that a holder names, behind the last `@`.
    fn of(holder: &str) -> Option<Self> {
        let (_, text) = holder.rsplit_once('@')?;
        let mut parts = text.rsplitn(3, ':');
        let (start, id, machine) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { machine: machine.into(), id: id.parse().ok()?, start: start.into() })
    }

    /// Whether it is certain that it no longer runs: that can be seen on its own machine only.
    fn is_gone(&self) -> bool {
        machine().is_some_and(|here| here == self.machine) && start_of(self.id).is_none_or(|start| start != self.start)
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.machine, self.id, self.start)
    }
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let digits: String = namespace.to_str()?.chars().filter(char::is_ascii_digit).collect();
    // Where other users' processes are hidden, one that is not seen may live.
    std::fs::metadata("/proc/1").ok()?;
    Some(format!("{}:{digits}", boot.trim()))
}

/// When a process was started, in ticks since boot; none when there is no such process, or only its remains.
fn start_of(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field behind it, the start the twentieth.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let runs = fields.first().is_some_and(|state| !matches!(*state, "Z" | "X"));
    fields.get(19).filter(|_| runs).map(ToString::to_string)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_survives_the_name_of_its_holder() {
        let this = Process::this().unwrap();
        assert_eq!(Process::of(&format!("run/uuid@{this}")), Some(this.clone()));
        let run: RunId = "a".repeat(32).parse().unwrap();
        let named = holder(&run, Duration::from_secs(60));
        assert_eq!(Process::of(&named), Some(this));
        assert!(is_of(&named, &run), "{named}");
        assert_eq!(lifetime(&named), Some(Duration::from_secs(60)));
        let told = Holder::of(&named, Timestamp::UNIX_EPOCH);
        assert_eq!((told.run.as_ref(), told.gone), (Some(&run), false));
        let text = told.to_string();
        let here = format!("run {run} has it, in process {} of this machine, since 20", std::process::id());
        assert!(text.starts_with(&here) && !text.contains('/'), "{text}");
        let strange = Holder::of("\u{1b}[2J", Timestamp::UNIX_EPOCH).to_string();
        assert_eq!(strange, "somebody has it, somewhere, until 1970-01-01 00:00:00 UTC unless it renews it");
        assert_eq!(words(&named), format!("in process {} of this machine", std::process::id()));
        assert_eq!(words("run/uuid/60000/ci-7.internal@boot:1:42:9"), "in process 42 on ci-7.internal");
        assert_eq!((words("run/uuid"), lifetime("run/uuid")), ("somewhere".into(), None));
        assert_eq!(
            words("run/uuid/1/\u{1b}[2J@boot:1:42:9"),
            "on another machine",
            "only what looks like a host is told"
        );
        for holder in ["run/uuid", "run/uuid@", "run/uuid@boot:7", "run/uuid@boot:1:x:7"] {
            assert_eq!(Process::of(holder), None, "{holder}");
        }
    }

    #[test]
    fn only_what_is_certain_is_called_gone() {
        let this = Process::this().unwrap();
        assert!(!this.is_gone(), "it runs");
        assert!(Process { start: "0".into(), ..this.clone() }.is_gone(), "its id was given to a later one");
        assert!(Process { id: u32::MAX, ..this.clone() }.is_gone(), "there is none of that id");
        let elsewhere = Process { id: u32::MAX, machine: "another:4026531836".into(), ..this };
        assert!(!elsewhere.is_gone(), "nothing is known of another machine");
    }
}
