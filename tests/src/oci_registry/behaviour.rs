//! How the registry behaves. What lives here: one value with a field for each switch, and faults by request. What must
//! not: what comes of a switch.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use promo_core::Digest;
use tokio::sync::Notify;

/// What the registry offers, whom it lets in, and what it does wrong. The default does nothing wrong and keeps to
/// version 1.1 of the distribution specification.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// The referrers API and `OCI-Subject`. Without it clients keep the list under a fallback tag.
    pub referrers: bool,
    /// Most descriptors in one answer of the referrers API; the rest is behind a `Link`.
    pub referrers_page: Option<usize>,
    /// What comes of a mount.
    pub mount: Mounting,
    /// `Docker-Content-Digest` in answers; registries of older versions leave it out.
    pub digest_header: bool,
    /// `ETag` with manifests, a PUT with `If-Match` only on what has it, and one with `If-None-Match: *` only where nothing
    /// is, else 412 (RFC 9110, 13.1.1 and 13.1.2).
    pub validators: bool,
    /// Blobs are taken with the first POST.
    pub single_post: bool,
    /// Said as `OCI-Chunk-Min-Length`.
    pub least_chunk: Option<u64>,
    /// Requests with more bytes are answered 413, as by a proxy that caps bodies.
    pub largest_request: Option<u64>,
    /// Manifests with more bytes are answered 413.
    pub largest_manifest: u64,
    /// Tags, manifests and blobs can be deleted; otherwise 405.
    pub deletes: bool,
    /// What comes of moving a tag.
    pub tags: Tags,
    /// Most tags in one answer; the rest is behind a `Link`.
    pub page: Option<usize>,
    /// `last` is listed again, as docker-registry 2.8 does: a client that goes by `last` alone never comes to an end.
    pub repeats_last: bool,
    /// Who is let in.
    pub door: Door,
    /// Takes any bytes under any digest, and manifests of which parts are missing: so that a test sees what its client
    /// would have published.
    pub credulous: bool,
    /// What goes wrong, and when; all that fit a request apply, in this order.
    pub faults: Vec<Fault>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            referrers: true,
            referrers_page: None,
            mount: Mounting::Honour,
            digest_header: true,
            validators: false,
            single_post: true,
            least_chunk: None,
            largest_request: None,
            largest_manifest: 4 << 20,
            deletes: true,
            tags: Tags::Movable,
            page: None,
            repeats_last: false,
            door: Door::Open,
            credulous: false,
            faults: Vec::new(),
        }
    }
}

impl Behaviour {
    /// Nothing special, but these faults.
    #[must_use]
    pub fn faulty(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { faults: faults.into_iter().collect(), ..Self::default() }
    }
}

/// What comes of a POST with `mount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounting {
    /// 201 where the blob is in the repository that is named, or in any when none is named; else 202.
    Honour,
    /// 202 and an upload session, always.
    Session,
    /// This status.
    Refuse(u16),
}

/// What comes of a PUT that would move a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// It moves.
    Movable,
    /// 400 `TAG_INVALID`, even to the bytes that it holds already (Amazon ECR; aws/containers-roadmap#2179).
    BadRequest,
    /// 412 `PRECONDITION` (Harbor).
    Precondition,
    /// 409 `CONFLICT`.
    Conflict,
    /// 403 `DENIED` (Docker Hub; docker/hub-feedback#2466).
    Forbidden,
    /// 405 `UNSUPPORTED`.
    NotAllowed,
    /// 201, and the tag stays where it was.
    Silent,
}

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Door {
    /// Everybody.
    Open,
    /// Who sends this user and password with each request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Who sends a token of the registry's own token server, `/token`.
    Token(TokenDoor),
}

/// A token server and what its tokens are worth.
#[derive(Debug, Clone)]
pub struct TokenDoor {
    /// The user that may have tokens.
    pub user: String,
    /// Their password.
    pub password: String,
    /// An identity token that is taken in a POST instead.
    pub identity: Option<String>,
    /// How long a token is good.
    pub lifetime: Duration,
    /// What is said about that, in seconds; nothing leaves `expires_in` out.
    pub said: Option<u64>,
    /// For how many requests a token is good.
    pub uses: Option<usize>,
    /// Everybody may have tokens for `pull`.
    pub anonymous_pull: bool,
    /// Repositories of which nothing is granted, without a word about it.
    pub closed: Vec<String>,
    /// A realm in place of the registry's own.
    pub realm: Option<String>,
}

impl TokenDoor {
    /// The service that challenges name.
    pub const SERVICE: &str = "registry of a test";

    /// Tokens for this user that are good for five minutes.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            identity: None,
            lifetime: Duration::from_secs(300),
            said: Some(300),
            uses: None,
            anonymous_pull: false,
            closed: Vec::new(),
            realm: None,
        }
    }
}

/// Something that goes wrong with certain requests.
#[derive(Debug, Clone)]
pub struct Fault {
    /// With which.
    pub on: On,
    /// What.
    pub what: What,
}

impl Fault {
    /// Something that goes wrong with the requests that `on` fits.
    #[must_use]
    pub fn new(on: On, what: What) -> Self {
        Self { on, what }
    }
}

/// Which requests a fault fits: those that everything here fits.
#[derive(Debug, Clone)]
pub struct On {
    /// The request's number, from 1.
    pub request: Option<usize>,
    /// Its method.
    pub method: Option<Method>,
    /// A part of path and query.
    pub path: String,
    /// Fitting requests that are let through first.
    pub after: usize,
    /// How many fitting requests it happens to, after those.
    pub times: usize,
}

impl On {
    /// Every request.
    #[must_use]
    pub fn all() -> Self {
        Self { request: None, method: None, path: String::new(), after: 0, times: usize::MAX }
    }

    /// The request with this number, from 1.
    #[must_use]
    pub fn request(number: usize) -> Self {
        Self { request: Some(number), ..Self::all() }
    }

    /// Every request with this method and `path` in its path and query.
    #[must_use]
    pub fn of(method: Method, path: impl Into<String>) -> Self {
        Self { method: Some(method), path: path.into(), ..Self::all() }
    }

    /// Every request with `path` in its path and query.
    #[must_use]
    pub fn path(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::all() }
    }

    /// The first ones only.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Not the first ones.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// This is answered, and nothing is done.
    Answer {
        /// The status.
        status: u16,
        /// Headers.
        headers: Vec<(&'static str, String)>,
    },
    /// The connection is reset.
    Reset(Reset),
    /// 307 to the same path and query at this address (`http://host:port`), or to an address with a path as it is.
    Redirect(String),
    /// The `Location` of the answer, if it has one, is moved to this address (`http://host:port`).
    Locate(String),
    /// A header of the answer is another one, or is left out.
    Header(&'static str, Option<String>),
    /// One bit of the body is flipped; byte and bit are taken modulo its size.
    Flip {
        /// Which byte.
        byte: usize,
        /// Which of its bits.
        bit: usize,
    },
    /// Another body, with its own length. The digest in the header stays that of the one it replaces.
    Body(Vec<u8>),
    /// The body ends after so many bytes, and its length says so.
    Short(usize),
    /// Whatever the body is, it never ends, and no length is given.
    Endless,
    /// This is done just before a connection is reset that another fault resets.
    Tell(Told),
    /// Nothing is done with the request before the test lets it go on.
    Hold(Hold),
    /// All open uploads are forgotten just before the request.
    EndSessions,
    /// Somebody else points a tag elsewhere just before the request.
    MoveTag {
        /// In which repository.
        repository: String,
        /// Which tag.
        tag: String,
        /// Where to.
        to: Digest,
    },
}

/// Where a request waits for the test, and the test for the request.
#[derive(Debug, Clone, Default)]
pub struct Hold(Arc<(Notify, Notify)>);

impl Hold {
    /// Waits until the request is there.
    pub async fn arrived(&self) {
        self.0.0.notified().await;
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.0.1.notify_one();
    }

    pub(super) async fn wait(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

/// Something that a test does in the middle of a request.
#[derive(Clone)]
pub struct Told(Arc<dyn Fn() + Send + Sync>);

impl Told {
    /// Does this; it may block.
    pub fn new(done: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(done))
    }

    pub(super) fn tell(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl What {
    /// A bare status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new() }
    }
}

/// When a connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Before anything is done.
    Before,
    /// When so many bytes of the request's body have been read; at its end when it has fewer. What was read of a chunk
    /// is kept.
    InRequest(usize),
    /// When everything is done, in place of the answer.
    After,
    /// When so many bytes of the answer's body have been sent.
    InAnswer(usize),
}
