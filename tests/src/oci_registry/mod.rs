//! A registry of our own for tests: version 1.1 of the distribution specification, in memory, with a switch for each way
//! in which a registry can differ, fail or lie ([`Behaviour`]), and a journal of every request, which is the judge.
//!
//! What must not live here: anything that promo's own client does; it is held to the specification by rules that it
//! shares with a real registry (`tests/oci_conformance.rs`).

mod behaviour;
mod content;
mod door;
mod journal;
mod line;
mod manifests;
mod uploads;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use promo_sdk::Clock as _;
use promo_sdk::testing::FakeClock;
use tokio::net::TcpListener;

use content::{Answer, Content};
use door::{Access, Tokens, pairs, value};
use journal::{Journal, Slot};
use line::{Cord, Line};
use uploads::Sent;

pub use behaviour::{Behaviour, Door, Fault, Hold, Mounting, On, Reset, Tags, TokenDoor, Told, What};
pub use content::{Repository, Stored};
pub use journal::{Credential, Entry, writes_after};

/// A running registry; it ends with the runtime of the test, or when it is dropped.
pub struct OciRegistry {
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    address: String,
    /// With how often each fault fitted.
    behaviour: Mutex<(Arc<Behaviour>, Vec<usize>)>,
    content: Arc<Mutex<Content>>,
    journal: Journal,
    tokens: Tokens,
    clock: Arc<FakeClock>,
}

impl std::fmt::Debug for OciRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OciRegistry").field("address", &self.inner.address).finish_non_exhaustive()
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OciRegistry {
    /// Starts an empty registry on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::with(behaviour, Arc::default(), Arc::default()).await
    }

    /// Another address with the same content and clock, but its own behaviour, tokens and journal: the storage that a
    /// registry sends its clients to.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn beside(&self, behaviour: Behaviour) -> Self {
        Self::with(behaviour, self.inner.content.clone(), self.inner.clock.clone()).await
    }

    async fn with(behaviour: Behaviour, content: Arc<Mutex<Content>>, clock: Arc<FakeClock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let fitted = vec![0; behaviour.faults.len()];
        let inner = Arc::new(Inner {
            address,
            behaviour: Mutex::new((Arc::new(behaviour), fitted)),
            content,
            journal: Journal::default(),
            tokens: Tokens::default(),
            clock,
        });
        let app = Router::new().fallback(answer).with_state(inner.clone());
        let app = app.into_make_service_with_connect_info::<Cord>();
        let task = tokio::spawn(async move {
            let _ = axum::serve(Line(listener), app).await;
        });
        Self { inner, task }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// What its tokens live by.
    #[must_use]
    pub fn clock(&self) -> Arc<FakeClock> {
        self.inner.clock.clone()
    }

    /// Behaves like this from now on, with an empty journal: the next request is number 1. Content and tokens stay.
    pub fn behave(&self, behaviour: Behaviour) {
        let fitted = vec![0; behaviour.faults.len()];
        *locked(&self.inner.behaviour) = (Arc::new(behaviour), fitted);
        self.inner.journal.clear();
    }

    /// The requests since the start, or since [`OciRegistry::behave`].
    #[must_use]
    pub fn journal(&self) -> Vec<Entry> {
        self.inner.journal.entries()
    }

    /// What a repository holds.
    #[must_use]
    pub fn repository(&self, name: &str) -> Repository {
        locked(&self.inner.content).repositories.get(name).cloned().unwrap_or_default()
    }

    /// Changes what a repository holds, past all rules.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Repository)) {
        change(locked(&self.inner.content).at(name));
    }

    /// Forgets all content and open uploads.
    pub fn empty(&self) {
        *locked(&self.inner.content) = Content::default();
    }

    /// Upload sessions that were opened and neither closed nor cancelled.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        locked(&self.inner.content).uploads.len()
    }
}

/// What a path names.
enum Route<'a> {
    Root,
    Token,
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Uploads(&'a str),
    Session(&'a str, &'a str),
    Tags(&'a str),
    Referrers(&'a str, &'a str),
    Nothing,
}

fn route(path: &str) -> Route<'_> {
    if path == "/token" {
        return Route::Token;
    }
    let Some(rest) = path.strip_prefix("/v2/") else { return Route::Nothing };
    if rest.is_empty() {
        return Route::Root;
    }
    let Some((before, last)) = rest.rsplit_once('/') else { return Route::Nothing };
    match before.rsplit_once('/') {
        Some((name, "manifests")) => Route::Manifest(name, last),
        Some((name, "tags")) if last == "list" => Route::Tags(name),
        Some((name, "referrers")) => Route::Referrers(name, last),
        Some((rest, "uploads")) => match rest.strip_suffix("/blobs") {
            Some(name) if last.is_empty() => Route::Uploads(name),
            Some(name) => Route::Session(name, last),
            None => Route::Nothing,
        },
        Some((name, "blobs")) if last == "uploads" => Route::Uploads(name),
        Some((name, "blobs")) => Route::Blob(name, last),
        _ => Route::Nothing,
    }
}

impl Route<'_> {
    fn repository(&self) -> Option<&str> {
        match self {
            Self::Manifest(name, _) | Self::Blob(name, _) | Self::Session(name, _) | Self::Referrers(name, _) => {
                Some(name)
            }
            Self::Uploads(name) | Self::Tags(name) => Some(name),
            Self::Root | Self::Token | Self::Nothing => None,
        }
    }

    /// What a token must grant.
    fn needs(&self, method: &Method, query: &str) -> Access {
        let mut access = Access::new();
        let Some(name) = self.repository() else { return access };
        let uploads = matches!(self, Self::Uploads(_) | Self::Session(..));
        let actions: &[&str] = match method.as_str() {
            "GET" | "HEAD" if !uploads => &["pull"],
            "DELETE" if !uploads => &["delete"],
            _ => &["pull", "push"],
        };
        access.extend(actions.iter().map(|action| (name.to_owned(), (*action).to_owned())));
        let pairs = pairs(query);
        if let (Some(_), Some(from)) = (value(&pairs, "mount"), value(&pairs, "from")) {
            access.insert((from.into(), "pull".into()));
        }
        access
    }
}

/// The name of a repository, as the specification writes it ("Pulling manifests").
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let component = |text: &str| {
        let ends = text.starts_with(is_plain) && text.ends_with(is_plain);
        let separators =
            text.split(is_plain).all(|s| matches!(s, "" | "." | "_" | "__") || s.chars().all(|c| c == '-'));
        ends && separators
    };
    name.split('/').all(component)
}

/// What is done with a request that got through everything.
fn serve(inner: &Inner, behaviour: &Behaviour, parts: &Parts, body: Vec<u8>, whole: bool) -> Answer {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let (method, headers, now) = (&parts.method, &parts.headers, inner.clock.now());
    let route = route(path);
    if matches!(route, Route::Token) {
        return inner.tokens.give(&behaviour.door, method, headers, query, &body, now);
    }
    let needs = route.needs(method, query);
    if let Err(answer) = inner.tokens.check(&behaviour.door, &inner.address, headers, &needs, now) {
        return answer;
    }
    if route.repository().is_some_and(|name| !is_name(name)) {
        return Answer::error(400, "NAME_INVALID", "invalid repository name");
    }
    let content = &mut *locked(&inner.content);
    match (route, method.as_str()) {
        (Route::Root, "GET" | "HEAD") => Answer::new(200).body("application/json", "{}"),
        (Route::Manifest(name, reference), "GET" | "HEAD" | "PUT" | "DELETE") => {
            manifests::manifest(content, behaviour, method, name, reference, (headers, &body))
        }
        (Route::Blob(name, digest), "GET" | "HEAD" | "DELETE") => {
            uploads::blob(content, behaviour, method, name, digest, headers)
        }
        (Route::Uploads(name), "POST") => {
            uploads::start(content, behaviour, name, Sent { query, headers, body, whole })
        }
        (Route::Session(name, id), "GET" | "PATCH" | "PUT" | "DELETE") => {
            uploads::go_on(content, behaviour, method, name, id, Sent { query, headers, body, whole })
        }
        (Route::Tags(name), "GET") => manifests::tags(content, behaviour, name, query),
        (Route::Referrers(name, digest), "GET") => manifests::referrers(content, behaviour, name, digest, query),
        (Route::Nothing | Route::Token, _) => Answer::new(404).body("text/plain", "404 page not found"),
        _ => Answer::error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

impl Inner {
    /// The behaviour towards a request, and what goes wrong with it.
    fn faults(&self, number: usize, method: &Method, line: &str) -> (Arc<Behaviour>, Vec<What>) {
        let mut state = locked(&self.behaviour);
        let (behaviour, fitted) = &mut *state;
        let mut faults = Vec::new();
        for (fault, fitted) in behaviour.faults.iter().zip(fitted) {
            let on = &fault.on;
            let fits = on.request.is_none_or(|wanted| wanted == number)
                && on.method.as_ref().is_none_or(|wanted| wanted == method)
                && line.contains(&on.path);
            if fits {
                *fitted += 1;
                if *fitted > on.after && *fitted - on.after <= on.times {
                    faults.push(fault.what.clone());
                }
            }
        }
        (behaviour.clone(), faults)
    }
}

/// Reads a body, or its first bytes.
async fn receive(body: Body, slot: &Slot, most: Option<usize>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut data = body.into_data_stream();
    loop {
        if let Some(most) = most.filter(|most| bytes.len() >= *most) {
            bytes.truncate(most);
            return (bytes, false);
        }
        match data.next().await {
            None => return (bytes, most.is_none()),
            Some(Err(_)) => return (bytes, false),
            Some(Ok(chunk)) => {
                slot.note(|entry| entry.received += chunk.len() as u64);
                bytes.extend_from_slice(&chunk);
            }
        }
    }
}

async fn answer(State(inner): State<Arc<Inner>>, ConnectInfo(cord): ConnectInfo<Cord>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let entry = Entry {
        number: 0,
        arrived: 0,
        answered: None,
        method: parts.method.to_string(),
        path: parts.uri.path().into(),
        query: query.into(),
        credential: door::credential(&parts.headers),
        range: parts.headers.get("content-range").and_then(|v| v.to_str().ok()).unwrap_or_default().into(),
        status: 0,
        received: 0,
        sent: 0,
        faulty: false,
    };
    let line = if query.is_empty() { entry.path.clone() } else { format!("{}?{query}", entry.path) };
    let (number, slot) = inner.journal.arrive(entry);
    let (behaviour, faults) = inner.faults(number, &parts.method, &line);
    slot.note(|entry| entry.faulty = !faults.is_empty());
    for fault in &faults {
        match fault {
            What::MoveTag { repository, tag, to } => {
                locked(&inner.content).at(repository).tags.insert(tag.clone(), *to);
            }
            What::EndSessions => locked(&inner.content).uploads.clear(),
            _ => {}
        }
    }
    let resets = |when: Reset| faults.iter().any(|fault| matches!(fault, What::Reset(found) if *found == when));
    let reset = || {
        for fault in &faults {
            if let What::Tell(told) = fault {
                told.tell();
            }
        }
        cord.cut();
        slot.answered(0);
        Response::new(Body::empty())
    };
    if resets(Reset::Before) {
        return reset();
    }
    let most = faults.iter().find_map(|fault| match fault {
        What::Reset(Reset::InRequest(most)) => Some(*most),
        _ => None,
    });
    let (body, whole) = receive(body, &slot, most).await;
    if !whole {
        if parts.method == Method::PATCH {
            serve(&inner, &behaviour, &parts, body, false);
        }
        return reset();
    }
    for fault in &faults {
        if let What::Hold(hold) = fault {
            hold.wait().await;
        }
    }
    let stands = faults.iter().find_map(|fault| match fault {
        What::Answer { status, headers } => {
            Some(headers.iter().fold(Answer::new(*status), |answer, (name, value)| answer.with(name, value)))
        }
        What::Redirect(to) if to.splitn(4, '/').count() > 3 => Some(Answer::new(307).with("location", to)),
        What::Redirect(to) => Some(Answer::new(307).with("location", format!("{to}{line}"))),
        _ => None,
    });
    let too_large = behaviour.largest_request.is_some_and(|most| body.len() as u64 > most);
    let answer = match stands {
        Some(answer) => answer,
        None if too_large => Answer::new(413).body("text/html", "<h1>413 Request Entity Too Large</h1>"),
        None => serve(&inner, &behaviour, &parts, body, true),
    };
    if resets(Reset::After) {
        return reset();
    }
    slot.answered(answer.status.as_u16());
    finish(answer, &faults, &parts.method, slot, cord)
}

/// How a body goes out.
enum Manner {
    Whole,
    /// As a stream without a length of its own: hyper holds a known length to the header, and that one may lie.
    Streamed,
    /// Again and again.
    Endless,
    /// So many bytes, and then a reset.
    Breaks(usize),
}

/// The answer as it goes out, with what goes wrong with it.
fn finish(mut answer: Answer, faults: &[What], method: &Method, slot: Slot, cord: Cord) -> Response {
    let mut manner = Manner::Whole;
    for fault in faults {
        match fault {
            What::Locate(to) => {
                let location = answer.headers.get("location").and_then(|value| value.to_str().ok());
                if let Some(moved) = location.map(|path| format!("{to}{path}")) {
                    answer = answer.with("location", moved);
                }
            }
            What::Flip { byte, bit } if !answer.body.is_empty() => {
                let mut bytes = answer.body.to_vec();
                let at = byte % bytes.len();
                bytes[at] ^= 1 << (bit % 8);
                answer.body = bytes.into();
            }
            What::Body(bytes) => answer.body = bytes.clone().into(),
            What::Short(keep) => answer.body = answer.body.slice(..answer.body.len().min(*keep)),
            What::Endless => manner = Manner::Endless,
            What::Header("content-length", _) => manner = Manner::Streamed,
            What::Reset(Reset::InAnswer(sent)) => manner = Manner::Breaks(*sent),
            _ => {}
        }
    }
    // A length is said for every answer, also to HEAD; but 204 has none.
    if !matches!(manner, Manner::Endless) && answer.status != 204 {
        let length = answer.body.len().to_string();
        answer = answer.with("content-length", length);
    }
    for fault in faults {
        if let What::Header(name, value) = fault {
            match value {
                Some(value) => answer = answer.with(name, value),
                None => drop(answer.headers.remove(name.parse::<HeaderName>().expect("a header's name"))),
            }
        }
    }
    let body = if method == Method::HEAD { Body::empty() } else { outgoing(answer.body, &manner, slot, cord) };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = *answer.headers;
    response
}

fn outgoing(bytes: Bytes, manner: &Manner, slot: Slot, cord: Cord) -> Body {
    let sending = move |part: Bytes| {
        slot.note(|entry| entry.sent += part.len() as u64);
        Ok::<_, std::io::Error>(part)
    };
    match *manner {
        Manner::Whole => Body::from(sending(bytes).unwrap_or_default()),
        Manner::Streamed => {
            let ends = async {
                // The head goes out while this waits, so that the lie is heard.
                tokio::task::yield_now().await;
                Err(std::io::ErrorKind::UnexpectedEof.into())
            };
            Body::from_stream(stream::once(async move { sending(bytes) }).chain(stream::once(ends)))
        }
        Manner::Endless => {
            let part = if bytes.is_empty() { Bytes::from_static(&[b' '; 4096]) } else { bytes };
            Body::from_stream(stream::repeat_with(move || sending(part.clone())))
        }
        Manner::Breaks(keep) => {
            let part = bytes.slice(..bytes.len().min(keep));
            let broken = async move {
                // The first part goes out while this waits.
                tokio::task::yield_now().await;
                cord.cut();
                Err(std::io::ErrorKind::ConnectionReset.into())
            };
            Body::from_stream(stream::once(async move { sending(part) }).chain(stream::once(broken)))
        }
    }
}
