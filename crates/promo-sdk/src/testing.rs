//! Stand-ins for the doors of [`Context`], for the unit tests of providers: time that stands still, contents in memory,
//! processes that are answered by a closure. Nothing here reaches the outside world; the real doors are the engine's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::context::{Blobs, Clock, Context, Http, Output, ProcessRequest, ProcessRunner, Secrets};
use crate::error::{ErrorKind, ProviderError};

/// A clock that stands still until somebody sleeps: a sleep returns at once and moves it by that long.
#[derive(Debug)]
pub struct FakeClock(Mutex<(Timestamp, Vec<Duration>)>);

impl FakeClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Vec::new())))
    }

    /// Moves the time by `duration`, which may be negative: clocks do go back.
    pub fn advance(&self, duration: SignedDuration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.saturating_add(duration).unwrap_or(state.0);
    }

    /// How long each sleep so far was to last, in order.
    #[must_use]
    pub fn sleeps(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

impl Default for FakeClock {
    /// A clock that shows the Unix epoch.
    fn default() -> Self {
        Self::new(Timestamp::UNIX_EPOCH)
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push(duration);
        // Others get their turn, so that a loop over sleeps cannot starve a test server on the same thread.
        tokio::task::yield_now().await;
    }
}

/// Contents in memory.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Mutex<BTreeMap<Digest, Vec<u8>>>);

impl MemoryBlobs {
    /// Keeps `bytes` and returns their digest.
    pub fn put(&self, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes);
        digest
    }
}

impl Blobs for MemoryBlobs {
    fn get(&self, digest: &Digest) -> Result<Vec<u8>, ProviderError> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs
            .get(digest)
            .cloned()
            .ok_or_else(|| ProviderError::new(ErrorKind::NotFound, format!("there is no content with digest {digest}")))
    }
}

/// No credentials at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _name: &str) -> Option<SecretString> {
        None
    }
}

/// Runs no process: every request is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProcesses;

#[async_trait]
impl ProcessRunner for NoProcesses {
    async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError> {
        let program = request.argv.first().map_or("", String::as_str);
        Err(ProviderError::new(ErrorKind::NotFound, format!("program `{program}`: no process is run here")))
    }
}

/// Answers a request for a process.
type Answer = dyn Fn(&ProcessRequest) -> Result<Output, ProviderError> + Send + Sync;

/// Answers every request from a closure and remembers what was asked.
pub struct ScriptedProcesses {
    answer: Box<Answer>,
    requests: Mutex<Vec<ProcessRequest>>,
}

impl ScriptedProcesses {
    /// A runner that answers with `answer`, which is called while the request's directory still exists.
    pub fn new(answer: impl Fn(&ProcessRequest) -> Result<Output, ProviderError> + Send + Sync + 'static) -> Self {
        Self { answer: Box::new(answer), requests: Mutex::default() }
    }

    /// What was asked so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<ProcessRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ProcessRunner for ScriptedProcesses {
    async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError> {
        let answer = (self.answer)(&request);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        answer
    }
}

/// A context over `root` with a [`FakeClock`], empty [`MemoryBlobs`], [`NoProcesses`] and [`NoSecrets`]; replace the
/// fields that a test is about.
#[must_use]
pub fn context(root: impl Into<PathBuf>) -> Context {
    Context {
        clock: Arc::new(FakeClock::default()),
        processes: Arc::new(NoProcesses),
        http: Some(Http::new(|| crate::http_clients().no_proxy())),
        cancelled: CancellationToken::new(),
        secrets: Arc::new(NoSecrets),
        blobs: Arc::new(MemoryBlobs::default()),
        root: root.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_found_by_its_digest_and_nothing_else() {
        let blobs = MemoryBlobs::default();
        let digest = blobs.put("promo");
        assert_eq!(blobs.get(&digest).unwrap(), b"promo");
        assert_eq!(blobs.get(&Digest::of(b"other")).unwrap_err().kind, ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_sleep_moves_the_clock_by_as_long_and_takes_no_time() {
        let clock = FakeClock::default();
        clock.sleep(Duration::from_secs(7 * 86_400)).await;
        assert_eq!(clock.now(), "1970-01-08T00:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(clock.sleeps(), [Duration::from_secs(604_800)]);
    }
}
