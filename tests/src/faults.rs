//! Deaths and errors at a chosen point of a run, and a journal of what providers really changed: within a test, or in a
//! process of its own ([`Faults::from_environment`]). What must not live here: a provider or ledger of our own; these only
//! stand in front of the real ones.

mod broken;
mod fronts;
mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use promo_ledger::{Store, StoreError};
use promo_sdk::{ErrorKind, Provider, ProviderError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub use broken::Broken;
use fronts::{Guarded, Watched};
pub use journal::{Effect, Entry, effects, read};

/// Where and how a process of its own is to fail: `POINT:MODE:COUNT`, the point as [`Point`] prints it.
pub const FAULT: &str = "PROMO_FAULT";
/// The file to which a process of its own appends its journal.
pub const JOURNAL: &str = "PROMO_FAULT_JOURNAL";
/// The provider whose effects nothing tells about.
pub const OPAQUE: &str = "PROMO_FAULT_OPAQUE";
/// In which way promo is broken on purpose, so that a test sees whether the judge of the matrix finds it: a [`Broken`].
pub const BROKEN: &str = "PROMO_FAULT_BROKEN";

/// What happens at the chosen point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The process is gone. Within a test the call never returns, and whoever waits for [`Faults::died`] drops the rest.
    Die,
    /// The call never returns, and the process goes on as far as it can.
    Hang,
    /// The call panics.
    Panic,
    /// The call returns an error; from a ledger it is one of input and output whatever the kind. Behind a call that is the
    /// lost reply: it was done, and nobody was told.
    Fail(ErrorKind),
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "kill" => Some(Self::Die),
            "hang" => Some(Self::Hang),
            "error" => Some(Self::Fail(ErrorKind::Failed)),
            "lost" => Some(Self::Fail(ErrorKind::Transient)),
            _ => None,
        }
    }
}

/// A point in a run, in the order in which they are passed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// `ensure before`, `observe`, `append before step.effect`.
    pub name: String,
    /// The step, check or environment that it is about.
    pub about: String,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.about.as_str() {
            "" => f.write_str(&self.name),
            about => write!(f, "{} of {about}", self.name),
        }
    }
}

/// Panics that are made here print nothing; all others do.
pub fn hush() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let made = info.payload_as_str().is_some_and(|text| text.starts_with("a fault at "));
            if !made {
                before(info);
            }
        }));
    });
}

struct Armed {
    /// At this point; at any when none.
    point: Option<String>,
    nth: usize,
    mode: Mode,
}

#[derive(Default)]
struct Inner {
    armed: Option<Armed>,
    seen: usize,
    passed: Vec<Point>,
    fired: Option<Point>,
    entries: Vec<Entry>,
    failing: BTreeSet<String>,
    checks: BTreeMap<String, usize>,
    silent: BTreeMap<String, ErrorKind>,
}

/// What a process of its own is told by its environment.
struct Alone {
    journal: Option<journal::Log>,
    opaque: Option<String>,
    broken: Option<Broken>,
}

/// Faults and journal; clones are handles of the same.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    dead: Arc<Notify>,
    alone: Option<Arc<Alone>>,
}

impl Faults {
    /// Those of a process of its own: it dies in earnest, its checks are really run, its journal is on disk, and it has
    /// more points: locks, files and replies of checks.
    ///
    /// # Panics
    /// When the environment asks for what there is not.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let journal = variable(JOURNAL).map(PathBuf::from);
        let journal = journal.map(|path| journal::Log::open(&path).expect("the journal can be opened"));
        let broken = variable(BROKEN).map(|name| Broken::parse(&name).unwrap_or_else(|| panic!("{BROKEN}: {name}?")));
        let alone = Some(Arc::new(Alone { journal, opaque: variable(OPAQUE), broken }));
        let faults = Self { alone, ..Self::default() };
        // Without a fault points are passed and told all the same.
        let mut armed = Armed { point: None, nth: usize::MAX, mode: Mode::Die };
        if let Some(fault) = variable(FAULT) {
            let mut parts = fault.rsplitn(3, ':');
            let parsed = (|| {
                let nth = parts.next()?.parse().ok()?;
                let mode = Mode::parse(parts.next()?)?;
                Some(Armed { mode, nth, point: Some(parts.next()?.to_string()) })
            })();
            armed = parsed.unwrap_or_else(|| panic!("{FAULT}: expected POINT:MODE:COUNT, found {fault}"));
        }
        faults.lock().armed = Some(armed);
        faults
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on points are counted, and the `nth` of them (from 1) is where `mode` happens, once.
    pub fn arm(&self, nth: usize, mode: Mode) {
        let mut inner = self.lock();
        inner.armed = Some(Armed { point: None, nth, mode });
        inner.seen = 0;
        inner.passed.clear();
        inner.fired = None;
    }

    /// Nothing happens any more.
    pub fn disarm(&self) {
        self.lock().armed = None;
    }

    /// The point at which it happened, if it did.
    #[must_use]
    pub fn fired(&self) -> Option<Point> {
        self.lock().fired.clone()
    }

    /// The points that were passed since [`Faults::arm`].
    #[must_use]
    pub fn passed(&self) -> Vec<Point> {
        self.lock().passed.clone()
    }

    /// What providers really changed so far.
    #[must_use]
    pub fn journal(&self) -> Vec<Effect> {
        let mut effects = effects(&self.lock().entries);
        effects.retain(|effect| !effect.token.is_empty());
        effects
    }

    /// Lets a check fail: `environment/check`, or `environment/check/release` for one release only.
    pub fn fail_check(&self, check: impl Into<String>) {
        self.lock().failing.insert(check.into());
    }

    /// Lets a check pass again.
    pub fn pass_check(&self, check: &str) {
        self.lock().failing.remove(check);
    }

    /// Lets a check, `environment/check`, give an error of `kind` instead of a verdict; none lets it speak again.
    pub fn silence_check(&self, check: &str, kind: Option<ErrorKind>) {
        let mut inner = self.lock();
        inner.silent.remove(check);
        inner.silent.extend(kind.map(|kind| (check.to_string(), kind)));
    }

    /// How often a check was asked: `environment/check/release`.
    #[must_use]
    pub fn asked(&self, check: &str) -> usize {
        self.lock().checks.get(check).copied().unwrap_or(0)
    }

    /// Returns when the process is to be gone.
    pub async fn died(&self) {
        self.dead.notified().await;
    }

    /// The providers with this in front. Within a test checks are answered by [`Faults::fail_check`] and run nothing.
    #[must_use]
    pub fn providers(&self, providers: Vec<Arc<dyn Provider>>) -> Vec<Arc<dyn Provider>> {
        let before = |inner| Arc::new(Watched { inner, faults: self.clone() }) as Arc<dyn Provider>;
        providers.into_iter().map(before).collect()
    }

    /// The ledger with this in front.
    #[must_use]
    pub fn store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        if self.is_broken(Broken::ResumesAgain) && std::env::args().any(|word| word == "resume") {
            broken::leave_something();
        }
        Arc::new(Guarded { inner: store, faults: self.clone() })
    }

    /// The verdict that the test has set for a check; none where checks are really run.
    fn verdict(&self, short: &str, long: &str) -> Option<Result<bool, ProviderError>> {
        if self.alone.is_some() {
            return None;
        }
        let mut inner = self.lock();
        *inner.checks.entry(long.to_string()).or_default() += 1;
        if let Some(kind) = inner.silent.get(short).or_else(|| inner.silent.get(long)) {
            return Some(Err(ProviderError::new(*kind, format!("{short} could not look"))));
        }
        Some(Ok(!inner.failing.contains(short) && !inner.failing.contains(long)))
    }

    fn is_opaque(&self, provider: &str) -> bool {
        self.alone.as_ref().is_some_and(|alone| alone.opaque.as_deref() == Some(provider))
    }

    /// Whether promo is broken on purpose in this way.
    fn is_broken(&self, how: Broken) -> bool {
        self.alone.as_ref().is_some_and(|alone| alone.broken == Some(how))
    }

    /// Keeps an entry, on disk before anything else happens where there is a journal on disk.
    fn note(&self, entry: Entry) {
        if let Some(journal) = self.alone.as_ref().and_then(|alone| alone.journal.as_ref()) {
            journal.write(&entry).expect("the journal can be written");
        }
        self.lock().entries.push(entry);
    }

    fn pass(&self, name: &str, about: &str) -> Option<Mode> {
        let point = Point { name: name.to_string(), about: about.to_string() };
        let mut inner = self.lock();
        let armed = inner.armed.as_ref()?;
        let (nth, mode) = (armed.nth, armed.mode);
        let meant = armed.point.as_ref().is_none_or(|meant| *meant == point.to_string());
        inner.passed.push(point.clone());
        inner.seen += usize::from(meant);
        let fires = meant && inner.seen == nth;
        if fires {
            inner.armed = None;
            inner.fired = Some(point.clone());
        }
        drop(inner);
        self.note(if fires { Entry::Fired(point) } else { Entry::Passed(point) });
        fires.then_some(mode)
    }

    async fn point(&self, name: &str, about: &str) -> Result<(), ProviderError> {
        match self.pass(name, about) {
            None => Ok(()),
            Some(Mode::Fail(kind)) => Err(ProviderError::new(kind, format!("a fault at {name} of {about}"))),
            Some(Mode::Panic) => panic!("a fault at {name} of {about}"),
            Some(Mode::Die) if self.alone.is_some() => die(),
            Some(Mode::Die) => {
                self.dead.notify_one();
                std::future::pending().await
            }
            Some(Mode::Hang) => std::future::pending().await,
        }
    }

    /// A point that only a process of its own has.
    async fn fine_point(&self, name: &str, about: &str) -> Result<(), ProviderError> {
        match self.alone {
            Some(_) => self.point(name, about).await,
            None => Ok(()),
        }
    }

    /// Ledgers block, so nothing can be left hanging in one of a test: death is a panic there.
    fn blocking_point(&self, name: &str, about: &str) -> Result<(), StoreError> {
        match self.pass(name, about) {
            None => Ok(()),
            Some(Mode::Fail(_)) => {
                Err(StoreError::Io { doing: "appending", source: format!("a fault at {name}").into() })
            }
            Some(Mode::Die) if self.alone.is_some() => die(),
            Some(Mode::Hang) if self.alone.is_some() => hang(),
            Some(Mode::Panic | Mode::Die | Mode::Hang) => panic!("a fault at {name}"),
        }
    }

    fn fine_blocking_point(&self, name: &str) -> Result<(), StoreError> {
        if self.alone.is_some() { self.blocking_point(name, "") } else { Ok(()) }
    }

    /// A call of a provider that blocks, in a process of its own.
    fn blocking_call(&self, name: &str, about: &str) -> Result<(), ProviderError> {
        if self.alone.is_none() {
            return Ok(());
        }
        match self.pass(name, about) {
            None => Ok(()),
            Some(Mode::Fail(kind)) => Err(ProviderError::new(kind, format!("a fault at {name} of {about}"))),
            Some(Mode::Die) => die(),
            Some(Mode::Hang) => hang(),
            Some(Mode::Panic) => panic!("a fault at {name} of {about}"),
        }
    }
}

/// Ends this process as `kill -9` does.
fn die() -> ! {
    #[cfg(unix)]
    {
        let this = nix::unistd::Pid::this();
        nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGKILL).expect("a process may kill itself");
    }
    hang()
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3_600));
    }
}
