//! What a provider is given to reach the outside world with. The engine fills it; nothing else in a provider may read a
//! clock, spawn a process or make an HTTP client of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::Digest;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, ProviderError};

/// The doors to the outside world.
#[derive(Clone)]
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Child processes.
    pub processes: Arc<dyn ProcessRunner>,
    /// HTTP, or nothing where no server may be reached; ask [`Context::http`].
    pub http: Option<Http>,
    /// Cancelled when the run is stopped: return soon with [`crate::ErrorKind::Cancelled`].
    pub cancelled: CancellationToken,
    /// Credentials by name.
    pub secrets: Arc<dyn Secrets>,
    /// Contents of configuration snapshots.
    pub blobs: Arc<dyn Blobs>,
    /// The directory of the pipeline file: relative paths in settings start here.
    pub root: PathBuf,
}

impl Context {
    /// HTTP: its clients follow no redirect by themselves, and send no credentials by themselves.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Offline`] where no server may be reached.
    pub fn http(&self) -> Result<&Http, ProviderError> {
        let offline =
            || ProviderError::new(ErrorKind::Offline, "no server may be reached: promo runs with `--offline`");
        self.http.as_ref().ok_or_else(offline)
    }

    /// `path` below the directory of the pipeline file.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }
}

/// The HTTP clients of a process: one that all share, and others with the same manners. None is made before it is asked
/// for: most commands speak to nobody, and the certificates of a system take milliseconds and megabytes to read.
#[derive(Debug, Clone)]
pub struct Http {
    manners: fn() -> reqwest::ClientBuilder,
    shared: Arc<OnceLock<reqwest::Client>>,
}

/// The manners of every HTTP client: no redirects, promo's name, 30 seconds to connect, proxies of the environment
/// (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
pub fn http_clients() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(30))
        .user_agent(concat!("promo/", env!("CARGO_PKG_VERSION")))
}

impl Default for Http {
    /// Clients with the manners of [`http_clients`].
    fn default() -> Self {
        Self::new(http_clients)
    }
}

impl Http {
    /// Clients with these manners.
    #[must_use]
    pub fn new(manners: fn() -> reqwest::ClientBuilder) -> Self {
        Self { manners, shared: Arc::default() }
    }

    /// The client that all share.
    ///
    /// # Panics
    /// When the manners themselves are such as no client can have.
    #[must_use]
    pub fn shared(&self) -> &reqwest::Client {
        self.shared.get_or_init(|| self.client(|manners| manners).expect("invariant: a client needs no files"))
    }

    /// A client of one's own, for a server with certificates of its own. Where the system has no certificates (a small
    /// container image has none), the client trusts those only that `configure` adds, and plain http works.
    ///
    /// # Errors
    /// What `configure` asks for cannot be had.
    pub fn client(
        &self,
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> reqwest::Result<reqwest::Client> {
        let usual = configure((self.manners)()).build();
        usual.or_else(|_| configure((self.manners)().tls_certs_only([])).build())
    }
}

impl From<reqwest::Client> for Http {
    /// Shares `client`; others have the manners of [`http_clients`].
    fn from(client: reqwest::Client) -> Self {
        Self { shared: Arc::new(client.into()), ..Self::default() }
    }
}

/// The one source of time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The one source of credentials: they enter at call time and never reach a plan, a record, a log or an argument list.
pub trait Secrets: Send + Sync {
    /// The secret of that name, where there is one.
    fn get(&self, name: &str) -> Option<SecretString>;

    /// A variable of promo's environment in which, or behind which, other tools keep credentials: `DOCKER_AUTH_CONFIG`,
    /// `DOCKER_CONFIG`, `HOME`.
    fn variable(&self, _name: &str) -> Option<SecretString> {
        None
    }
}

/// Contents by digest, verified when they are read.
pub trait Blobs: Send + Sync {
    /// The bytes.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], or [`crate::ErrorKind::Integrity`] when what is stored has another digest.
    fn get(&self, digest: &Digest) -> Result<Vec<u8>, ProviderError>;
}

/// The one place that spawns processes: no shell, own process group, bounded output, killed with its parent.
#[async_trait]
pub trait ProcessRunner: Send + Sync {
    /// Runs a process to its end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when the program is missing, [`crate::ErrorKind::Transient`] on a timeout,
    /// [`crate::ErrorKind::Cancelled`]. An exit code other than 0 is not an error here.
    async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError>;

    /// Looks for the program of a request where [`ProcessRunner::run`] would, and starts nothing. A runner that cannot tell
    /// says that it is there.
    ///
    /// # Errors
    /// As [`ProcessRunner::run`] when the program is missing.
    fn find(&self, _request: &ProcessRequest) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// A process to run.
#[derive(Debug, Clone)]
pub struct ProcessRequest {
    /// Program and arguments; never through a shell.
    pub argv: Vec<String>,
    /// Working directory.
    pub directory: PathBuf,
    /// Variables set on top of the allow-listed ones.
    pub environment: BTreeMap<String, String>,
    /// Names of variables of promo's own environment that are passed on.
    pub inherit: Vec<String>,
    /// Written to standard input.
    pub stdin: Vec<u8>,
    /// After this the process group is killed.
    pub timeout: Duration,
    /// More output than this many bytes on either stream is cut.
    pub output_limit: usize,
    /// Whether it may ask the person at the terminal: then it shares promo's own place there, since the terminal stops
    /// whoever reads from it in the background, and what it says on a terminal it says there, unless that is captured.
    pub interactive: bool,
}

impl ProcessRequest {
    /// A request with no input, `PATH` and `HOME` inherited, a timeout of 10 minutes and 1 MiB of output, that asks nobody.
    #[must_use]
    pub fn new(argv: Vec<String>, directory: PathBuf) -> Self {
        Self {
            argv,
            directory,
            environment: BTreeMap::new(),
            inherit: ["PATH", "HOME", "LANG", "TMPDIR"].map(String::from).to_vec(),
            stdin: Vec::new(),
            timeout: Duration::from_secs(600),
            output_limit: 1 << 20,
            interactive: false,
        }
    }
}

/// What a process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, cut at the limit.
    pub stdout: Vec<u8>,
    /// Standard error, cut at the limit.
    pub stderr: Vec<u8>,
}
