//! The way to all registries of one run, and one registry on it. What lives here: what is shared by all repositories of a
//! registry (line, credentials, what was learnt), and sending a request with the right credentials. What must not: paths
//! and meanings of the distribution protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use promo_core::Digest;
use promo_sdk::testing::{NoProcesses, NoSecrets};
use promo_sdk::{Clock, Context, Http, ProcessRunner, ProviderError, Secrets};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::{Host, Url};

use super::address::{self, same_place, shown};
use super::auth::{Answer, Auth, Finder, Scopes, Variables};
use super::clients::Clients;
use super::error::{OciError, tame};
use super::rate::Bucket;
use super::registry::Registry;
use super::settings::{SMALLEST_CHUNK, Settings};
use super::wire::{Retry, SHORT, Wire, error_detail, what};

const REDIRECTS: usize = 5;
/// Bytes that are sent as soon as it is asked whether they are needed.
const CHEAP: u64 = 256 << 10;

/// The way to all registries of one run: connections, manners, credentials, and what was learnt on the way are shared.
#[derive(Clone)]
pub struct Network {
    http: Http,
    variables: Variables,
    clients: Arc<Clients>,
    finder: Arc<Finder>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    retry: Retry,
    requests: Arc<AtomicU64>,
    servers: Arc<Mutex<BTreeMap<String, Arc<Server>>>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl Network {
    /// A network without any credentials and settings. A client must follow no redirects by itself and send no credentials
    /// by itself; `clock` is slept on between retries.
    #[must_use]
    pub fn new(http: impl Into<Http>, clock: Arc<dyn Clock>) -> Self {
        Self::with(http.into(), clock, Arc::new(NoSecrets), Arc::new(NoProcesses), PathBuf::new())
    }

    /// The network of a run: with the credentials that the context's variables lead to, and the user's settings.
    ///
    /// # Errors
    /// [`OciError::Settings`] as a provider's error; what [`Context::http`] says where no server may be reached.
    pub fn of(cx: &Context) -> Result<Self, ProviderError> {
        let (http, settings) = (cx.http()?.clone(), Settings::of_user(&cx.secrets)?);
        let doors = (cx.secrets.clone(), cx.processes.clone());
        Ok(Self::with(http, cx.clock.clone(), doors.0, doors.1, cx.root.clone()).with_settings(settings))
    }

    fn with(
        http: Http,
        clock: Arc<dyn Clock>,
        secrets: Arc<dyn Secrets>,
        processes: Arc<dyn ProcessRunner>,
        root: PathBuf,
    ) -> Self {
        let variables = Variables::new(secrets);
        let settings: Arc<Settings> = Arc::default();
        Self {
            clients: Arc::new(Clients::new(http.clone(), settings.clone(), &variables)),
            finder: Arc::new(Finder::new(variables.clone(), processes, clock.clone(), root)),
            http,
            variables,
            clock,
            settings,
            retry: Retry::default(),
            requests: Arc::default(),
            servers: Arc::default(),
        }
    }

    /// Other bounds on retries.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, servers: Arc::default(), ..self }
    }

    /// Other settings of registries.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let clients = Clients::new(self.http.clone(), settings.clone(), &self.variables);
        Self { settings, clients: Arc::new(clients), servers: Arc::default(), ..self }
    }

    /// Requests sent through this network so far, repeated ones counted each.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// A repository. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OciError::InvalidReference`] when `host` makes no address.
    pub fn repository(&self, host: &str, repository: &str) -> Result<Registry, OciError> {
        Ok(Registry::new(self.server(host)?, host, repository))
    }

    /// Whether a registry answers, and where the credentials for it come from: for `promo doctor`. The words name no
    /// secret.
    ///
    /// # Errors
    /// What [`OciError`] says of a registry that does not answer or refuses the credentials.
    pub async fn probe(&self, host: &str, repository: &str) -> Result<String, OciError> {
        let server = self.server(host)?;
        let source = server.auth.source(repository).await?;
        let url = server.wire.base.clone();
        let response = server.send(&Method::GET, &url, &Scopes::none(), |request| request.timeout(SHORT)).await?;
        match response.status().as_u16() {
            200..=299 | 404 => Ok(format!("answers; {source}")),
            _ => Err(super::wire::status(what(&Method::GET, &url), response).await),
        }
    }

    fn server(&self, host: &str) -> Result<Arc<Server>, OciError> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(host) {
            return Ok(server.clone());
        }
        let settings = self.settings.of(host);
        let wire = Wire {
            base: self.base(host, settings.plain_http)?,
            clock: self.clock.clone(),
            retry: self.retry,
            allowed: settings.allow.clone(),
            clients: self.clients.clone(),
            bucket: Bucket::new(self.clock.clone(), settings.rate),
            requests: self.requests.clone(),
        };
        let server = Arc::new(Server {
            wire,
            chunk: AtomicU64::new(settings.chunk.unwrap_or(0)),
            auth: Auth::new(host, self.finder.clone(), settings),
            blobs: Mutex::default(),
            own_mounts: OnceLock::new(),
            no_referrers: Mutex::default(),
            busy: Mutex::default(),
            listing: Mutex::default(),
        });
        servers.insert(host.into(), server.clone());
        Ok(server)
    }

    fn base(&self, host: &str, plain_http: Option<bool>) -> Result<Url, OciError> {
        let invalid = || OciError::InvalidReference { text: tame(host), problem: "not a registry host".into() };
        // Docker's registry is called otherwise than it is reached.
        let reached = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let https = Url::parse(&format!("https://{reached}/v2/")).map_err(|_| invalid())?;
        let loopback = match https.host().ok_or_else(invalid)? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        if plain_http.unwrap_or(loopback && !self.clients.has_own(host)) {
            return Url::parse(&format!("http://{reached}/v2/")).map_err(|_| invalid());
        }
        Ok(https)
    }
}

/// One registry: the line to it, and what was learnt about it in this run.
pub(super) struct Server {
    pub(super) wire: Wire,
    auth: Auth,
    /// In which of its repositories blobs were seen.
    blobs: Mutex<HashMap<Digest, BTreeSet<String>>>,
    /// Whether a repository that is asked to mount a blob from itself says so when it has it; nothing before it was seen.
    own_mounts: OnceLock<bool>,
    /// The repositories where it turned out not to know the referrers API: one name may stand before several registries.
    no_referrers: Mutex<BTreeSet<String>>,
    /// Blobs that are on their way to it: the second to want one waits, and then finds it there.
    busy: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// Apart from blobs: whoever lists the referrers of a subject brings blobs meanwhile, and one could be the subject's own.
    listing: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// Blobs above this many bytes go in chunks of it; 0 for never.
    chunk: AtomicU64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("base", &self.wire.base.as_str()).finish_non_exhaustive()
    }
}

/// What came of one request.
enum Signed {
    Answered(Response),
    /// 401, taken in: the next request carries something else. Last: whether a token of its own could do better.
    Refused(Answer, Response, bool),
}

impl Server {
    /// Sends one request with what the registry asks for.
    async fn signed(
        &self,
        what: String,
        attempt: u32,
        request: RequestBuilder,
        scopes: &Scopes,
        own: bool,
    ) -> Result<Signed, OciError> {
        let first = self.auth.first().await;
        let answer = self.auth.answer(&self.wire, scopes, own).await?;
        let request = match &answer.header {
            Some(header) => request.header(AUTHORIZATION, header.clone()),
            None => request,
        };
        let response = self.wire.once(what.clone(), attempt, request).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let again = self.auth.challenged(&self.wire, &what, response.headers(), &answer).await?;
            return Ok(Signed::Refused(answer, response, again));
        }
        let decided = response.status().is_success() || response.status() == StatusCode::NOT_FOUND;
        if first.is_some() && decided {
            self.auth.open();
        }
        Ok(Signed::Answered(response))
    }

    /// Sends a request that may be repeated: after transient answers, and once with other credentials. An address that
    /// is not the registry's own is given no credentials.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        scopes: &Scopes,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        if !same_place(url, &self.wire.base) {
            return self.wire.send(method.clone(), url, build).await;
        }
        let client = self.wire.client(url)?;
        let (mut attempt, mut refusals) = (1, 0);
        loop {
            let request = build(client.request(method.clone(), url.clone()));
            let result = match self.signed(what(method, url), attempt, request, scopes, refusals > 1).await {
                Ok(Signed::Answered(response)) => Ok(response),
                Ok(Signed::Refused(_, _, again)) if refusals == 0 || (refusals == 1 && again) => {
                    refusals += 1;
                    continue;
                }
                Ok(Signed::Refused(used, response, _)) => return Err(self.refused(&used, response).await),
                // The line to the token server has had its retries.
                Err(error) => Err(error),
            };
            match self.wire.retried(attempt, &result) {
                Some(asked) => self.wire.pause(attempt, asked).await,
                None => return result,
            }
            attempt += 1;
        }
    }

    /// Sends a request that must not be repeated blindly. A 401 came before anything was done: where `build` makes the
    /// request once more it is sent with other credentials, else it is an error. `own` is as in [`Auth::answer`].
    pub(super) async fn send_once(
        &self,
        method: &Method,
        url: &Url,
        scopes: &Scopes,
        own: bool,
        mut build: impl FnMut(RequestBuilder) -> Option<RequestBuilder>,
    ) -> Result<Response, OciError> {
        let client = self.wire.client(url)?;
        let mut refusals = 0;
        let mut last = None;
        while let Some(request) = build(client.request(method.clone(), url.clone())) {
            if !same_place(url, &self.wire.base) {
                return self.wire.once(what(method, url), 1, request).await;
            }
            match self.signed(what(method, url), 1, request, scopes, own || refusals > 1).await? {
                Signed::Answered(response) => return Ok(response),
                Signed::Refused(used, response, again) => {
                    let stop = refusals > 1 || (refusals == 1 && !again);
                    refusals += 1;
                    last = Some(self.refused(&used, response).await);
                    if stop {
                        break;
                    }
                }
            }
        }
        Err(last.expect("invariant: the first request is always made"))
    }

    async fn refused(&self, used: &Answer, response: Response) -> OciError {
        let said = error_detail(response).await;
        let said =
            if said.is_empty() { "the registry refuses them".into() } else { format!("the registry says {said}") };
        self.auth.refused(used, &said)
    }

    /// GET or HEAD, following redirects by hand: each new address is checked, and no credentials go there (S13.5).
    pub(super) async fn read(
        &self,
        method: &Method,
        url: Url,
        scopes: &Scopes,
        manners: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        let mut response = self.send(method, &url, scopes, &manners).await?;
        let mut current = url;
        for _ in 0..REDIRECTS {
            if !is_redirect(&response) {
                return Ok(response);
            }
            current = self.location(&what(method, &current), &current, response.headers())?;
            response = self.wire.send(method.clone(), &current, &manners).await?;
        }
        if !is_redirect(&response) {
            return Ok(response);
        }
        Err(OciError::ForeignAddress {
            what: what(method, &current),
            address: shown(&current),
            problem: format!("more than {REDIRECTS} redirects"),
        })
    }

    /// The `Location` of an answer, resolved and checked.
    pub(super) fn location(&self, what: &str, current: &Url, headers: &HeaderMap) -> Result<Url, OciError> {
        address::location(&self.wire.base, current, headers, &self.wire.allowed).map_err(|(address, problem)| {
            OciError::ForeignAddress { what: what.into(), address, problem: problem.into() }
        })
    }

    /// Whether it is known not to have the referrers API for a repository.
    pub(super) fn has_no_referrers(&self, repository: &str) -> bool {
        self.no_referrers.lock().unwrap_or_else(PoisonError::into_inner).contains(repository)
    }

    /// It has no referrers API for a repository.
    pub(super) fn saw_no_referrers(&self, repository: &str) {
        self.no_referrers.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.into());
    }

    /// A repository other than `repository` in which the blob is.
    pub(super) fn known_elsewhere(&self, digest: &Digest, repository: &str) -> Option<String> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(digest)?.iter().find(|known| *known != repository).cloned()
    }

    /// Whether the blob was seen or put there in this run.
    pub(super) fn is_known(&self, digest: &Digest, repository: &str) -> bool {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(digest).is_some_and(|known| known.contains(repository))
    }

    /// Whether to ask for a blob of `size` bytes by mounting it from where it would be. A registry that never mounts is then
    /// sent again what it has, so until it was seen to mount only small blobs are worth that.
    pub(super) fn asks_by_mount(&self, size: u64) -> bool {
        self.own_mounts.get().copied().unwrap_or(size <= CHEAP)
    }

    pub(super) fn note_own_mounts(&self, works: bool) {
        // The first one decides: a registry does not change its mind.
        let _ = self.own_mounts.set(works);
    }

    pub(super) fn remember(&self, digest: &Digest, repository: &str) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.entry(*digest).or_default().insert(repository.to_owned());
    }

    /// The turn for bringing a blob here.
    pub(super) fn turn(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).entry(*digest).or_default().clone()
    }

    /// The turn for bringing the referrers of a subject here, and listing them.
    pub(super) fn turn_of_subject(&self, subject: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner).entry(*subject).or_default().clone()
    }

    /// Chunks of how many bytes a blob of `size` goes in; none for one request. `least` is what the registry asks for.
    pub(super) fn chunk(&self, size: u64, least: Option<u64>) -> Option<u64> {
        let chunk = match (self.chunk.load(Ordering::Relaxed), least) {
            (0, None) => return None,
            (wanted, least) => wanted.max(least.unwrap_or(0)).max(SMALLEST_CHUNK),
        };
        (size > chunk).then_some(chunk)
    }

    /// Something between here and the registry takes no large requests: ones as small as they get from now on.
    pub(super) fn shrink(&self) {
        self.chunk.store(SMALLEST_CHUNK, Ordering::Relaxed);
    }
}

fn is_redirect(response: &Response) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The headers of a short read.
pub(super) fn short(accept: Option<&str>) -> impl Fn(RequestBuilder) -> RequestBuilder + use<'_> {
    move |request| {
        let request = request.timeout(SHORT);
        match accept {
            Some(accept) => request.header(ACCEPT, accept),
            None => request,
        }
    }
}
