//! What stands between promo and registries that cannot be told to fail: it passes requests on, counts them over all its
//! registries, and kills whoever sends them at the one it was told to. What must not live here: what must be true afterwards.
//!
//! Requests to the referrers API are passed on and not counted: of those that are asked at once, only so many are sent as
//! go before the first answer that there is no such API, so that the same copy would have another number of requests each time.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read as _, Result, Write as _, copy, sink};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What else is on its way when the one request comes is over by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// When in a request its sender is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Its head has arrived, and the registry never hears of it.
    Arrived,
    /// The registry has done it, and its sender never hears that.
    Done,
    /// Its sender was told.
    Told,
}

/// A request that a registry has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// What the registry says is the digest of what it was given or gave.
    pub digest: Option<String>,
}

impl Heard {
    /// Whether it can change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// Counts the requests of all ways that lead through it.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    at: Option<(usize, When)>,
    victim: Option<u32>,
    arrived: usize,
    /// Of all, passed on, and not yet answered.
    running: usize,
    struck: Option<String>,
    /// How many were still on their way when somebody was killed.
    left: usize,
    heard: Vec<Heard>,
}

/// What is done with a request.
enum Fate {
    PassOn,
    Kill(When),
    /// Its sender is about to be killed at another one.
    Withhold,
}

impl Counter {
    /// Begins to count anew, with nothing heard. Whoever sends request `at`, from 1, is killed.
    pub fn again(&self, at: Option<(usize, When)>) {
        *self.state() = State { at, ..State::default() };
    }

    /// Says which process is killed when it is time.
    pub fn watch(&self, process: u32) {
        self.state().victim = Some(process);
        self.0.changed.notify_all();
    }

    /// The first line of the request at which somebody was killed, if it came.
    ///
    /// # Panics
    /// When what went before it was not over by then: it would not be known what the registries have done.
    #[must_use]
    pub fn struck(&self) -> Option<String> {
        let state = self.state();
        assert_eq!(state.left, 0, "still on their way at {:?}", state.struck);
        state.struck.clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.state().arrived
    }

    /// What the registries have answered, in the order in which they did.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// An address that leads to the registry at `to`, for as long as the test lasts.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(&self, to: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (counter, to) = (self.clone(), to.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (counter, to) = (counter.clone(), to.clone());
                std::thread::spawn(move || {
                    let passed = TcpStream::connect(to).and_then(|server| counter.pass_on(&client, &server));
                    // Whoever is killed leaves half a request behind; that is no news.
                    assert!(!matches!(&passed, Err(error) if error.kind() == ErrorKind::Unsupported), "{passed:?}");
                });
            }
        });
        address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what comes on one connection, one request after the other.
    fn pass_on(&self, client: &TcpStream, server: &TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut asks, mut answers) = (BufReader::new(client), BufReader::new(server));
        while let Some(request) = Head::read(&mut asks)? {
            let fate = self.fate(&request.first);
            if let Fate::Kill(When::Arrived) = fate {
                self.kill();
            }
            if let Fate::Withhold | Fate::Kill(When::Arrived) = fate {
                // Until its sender is gone.
                return copy(&mut asks, &mut sink()).map(drop);
            }
            let on_its_way = OnItsWay(self);
            (&mut &*server).write_all(&request.bytes)?;
            if copy(&mut asks.by_ref().take(request.length), &mut &*server)? < request.length {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let (answer, reply) =
                Head::read(&mut answers)?.ok_or(ErrorKind::UnexpectedEof)?.whole(&request, &mut answers)?;
            self.state().heard.push(answer);
            drop(on_its_way);
            if let Fate::Kill(When::Done) = fate {
                self.kill();
                return Ok(());
            }
            (&mut &*client).write_all(&reply)?;
            if let Fate::Kill(When::Told) = fate {
                self.kill();
                return Ok(());
            }
        }
        Ok(())
    }

    fn fate(&self, line: &str) -> Fate {
        let mut state = self.state();
        if state.struck.is_some() {
            return Fate::Withhold;
        }
        let counts = !line.contains("/referrers/");
        state.arrived += usize::from(counts);
        let when = state.at.filter(|(number, _)| counts && *number == state.arrived).map(|(_, when)| when);
        if when.is_some() {
            state.struck = Some(line.into());
        }
        if when != Some(When::Arrived) {
            state.running += 1;
        }
        when.map_or(Fate::PassOn, Fate::Kill)
    }

    /// Kills when everything that came before is over, so that what the registries have done does not depend on luck.
    fn kill(&self) {
        // Whoever started the process may be slower than it.
        let waits = |state: &mut State| state.running > 0 || state.victim.is_none();
        let waited = self.0.changed.wait_timeout_while(self.state(), PATIENCE, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.left = state.running;
        let victim = state.victim.and_then(|process| i32::try_from(process).ok()).expect("it is being watched");
        let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
    }
}

/// A request that was passed on, until it is answered or its connection ends.
struct OnItsWay<'a>(&'a Counter);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.0.changed.notify_all();
    }
}

/// The head of a request or of an answer.
struct Head {
    first: String,
    bytes: Vec<u8>,
    /// How long the body is.
    length: u64,
    digest: Option<String>,
}

impl Head {
    /// None where the connection ends instead.
    fn read(from: &mut impl BufRead) -> Result<Option<Self>> {
        let mut head = Self { first: String::new(), bytes: Vec::new(), length: 0, digest: None };
        loop {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            head.bytes.extend_from_slice(&line);
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.is_empty() {
                return Ok(Some(head));
            }
            match line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value)) {
                _ if head.first.is_empty() => head.first = line,
                Some((name, value)) if name == "content-length" => head.length = value.parse().expect("a length"),
                Some((name, value)) if name == "docker-content-digest" => head.digest = Some(value.into()),
                Some((name, _)) if name == "transfer-encoding" => {
                    return Err(Error::new(ErrorKind::Unsupported, "a body without a length"));
                }
                _ => {}
            }
        }
    }

    /// What the answer says, and all of its bytes.
    fn whole(mut self, request: &Self, from: &mut impl BufRead) -> Result<(Heard, Vec<u8>)> {
        let mut words = request.first.split(' ').map(String::from);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let status = self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        if method != "HEAD" {
            from.take(self.length).read_to_end(&mut self.bytes)?;
        }
        Ok((Heard { method, path, status, digest: self.digest }, self.bytes))
    }
}
