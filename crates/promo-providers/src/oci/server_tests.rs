//! Registries that misbehave: what a server says wrongly, late, or about somebody else's address. Each test scripts one
//! small server; that the client works with real ones is shown in package `promo-tests`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt as _;
use promo_core::Digest;
use promo_sdk::testing::FakeClock;

use super::build::{self, Image};
use super::*;

type Script = dyn Fn(&Method, &str, &HeaderMap, usize) -> Response + Send + Sync;

/// A request as it came in: method, path with query, headers, body (none when it broke off).
pub(super) type Seen = (Method, String, HeaderMap, Option<Bytes>);

pub(super) struct Server {
    pub(super) address: String,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) clock: Arc<FakeClock>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A server that answers from `script`, which is told method, path with query, and how many requests came before.
async fn server(script: impl Fn(&Method, &str, usize) -> Response + Send + Sync + 'static) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(listener, Arc::new(move |method, path, _, before| script(method, path, before)))
}

/// The same, with a script that is told method, path, headers and the server's own address.
pub(super) async fn server_with_headers(
    script: impl Fn(&Method, &str, &HeaderMap, &str) -> Response + Send + Sync + 'static,
) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().to_string();
    serve(listener, Arc::new(move |method, path, headers, _| script(method, path, headers, &own)))
}

fn serve(listener: tokio::net::TcpListener, script: Arc<Script>) -> Server {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = Arc::clone(&seen);
    let handler = move |request: Request| {
        let (log, script) = (Arc::clone(&log), Arc::clone(&script));
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().unwrap().to_string();
            let body = axum::body::to_bytes(body, 64 << 20).await.ok();
            let before = log.lock().unwrap().len();
            log.lock().unwrap().push((parts.method.clone(), path.clone(), parts.headers.clone(), body));
            script(&parts.method, &path, &parts.headers, before)
        }
    };
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().fallback(handler);
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { address, seen, clock: Arc::new(FakeClock::default()), task }
}

impl Server {
    fn network(&self) -> Network {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Network::new(client, self.clock.clone())
    }

    fn store(&self, repository: &str) -> Store {
        Store::Registry(self.network().repository(&self.address, repository).unwrap())
    }

    fn count(&self, method: &Method) -> usize {
        self.seen.lock().unwrap().iter().filter(|(m, ..)| m == method).count()
    }

    pub(super) fn headers(&self) -> Vec<HeaderMap> {
        self.seen.lock().unwrap().iter().map(|(_, _, headers, _)| headers.clone()).collect()
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(_, path, ..)| path.clone()).collect()
    }

    pub(super) fn bodies(&self, method: &Method) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let text = |body: &Option<Bytes>| String::from_utf8(body.clone().unwrap_or_default().to_vec()).unwrap();
        seen.iter().filter(|(m, ..)| m == method).map(|(_, _, _, body)| text(body)).collect()
    }

    pub(super) fn total(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

async fn by_tag(server: &Server) -> Result<RawManifest, OciError> {
    server.store("app").get_manifest(Selector::Tag("1.0.0"), None, &Limits::default()).await
}

#[tokio::test]
async fn a_digest_header_is_compared_and_never_believed() {
    let right = Digest::of(EMPTY_INDEX.as_bytes()).to_string();
    let wrong = Digest::of(b"?").to_string();
    for (header, good) in [(right.as_str(), true), (wrong.as_str(), false), ("nonsense", false), ("", true)] {
        let header = header.to_string();
        let server = server(move |_, _, _| {
            answer(200, &[("content-type", OCI_INDEX), ("docker-content-digest", &header)], EMPTY_INDEX)
        })
        .await;
        let result = by_tag(&server).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
        if let Ok(manifest) = result {
            assert_eq!(manifest.digest.to_string(), right);
        }
    }
    // By digest: a body that is another one is refused, whatever the header says of the two, and without one.
    for header in [wrong, right, String::new()] {
        let server = server(move |_, _, _| {
            answer(200, &[("content-type", OCI_INDEX), ("docker-content-digest", &header)], EMPTY_INDEX)
        })
        .await;
        let asked = Digest::of(b"?");
        let result = server.store("app").get_manifest(Selector::Digest(&asked), None, &Limits::default()).await;
        assert!(matches!(result, Err(OciError::Integrity { .. })), "{result:?}");
        assert_eq!(server.total(), 1, "integrity errors are never retried");
    }
}

#[tokio::test]
async fn without_a_digest_header_the_manifest_itself_is_hashed() {
    let server = server(|method, _, _| {
        let body = if *method == Method::HEAD { "" } else { EMPTY_INDEX };
        answer(200, &[("content-type", OCI_INDEX)], body)
    })
    .await;
    let head = server.store("app").head_tag("1.0.0").await.unwrap().unwrap();
    assert_eq!(head.digest, Digest::of(EMPTY_INDEX.as_bytes()));
}

#[tokio::test]
async fn a_content_type_that_is_not_the_media_type_is_refused() {
    for wrong in [OCI_MANIFEST, "application/json", "text/html"] {
        let server = server(move |_, _, _| answer(200, &[("content-type", wrong)], EMPTY_INDEX)).await;
        assert!(matches!(by_tag(&server).await, Err(OciError::Integrity { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn a_manifest_without_end_is_cut_off_at_the_limit() {
    let server = server(|_, _, _| {
        let endless = futures_util::stream::repeat(Bytes::from(vec![b' '; 64 << 10])).map(Ok::<_, std::io::Error>);
        answer(200, &[("content-type", OCI_INDEX)], Body::from_stream(endless))
    })
    .await;
    assert!(matches!(by_tag(&server).await, Err(OciError::TooLarge { .. })));
}

#[tokio::test]
async fn a_refusal_is_never_taken_for_an_absent_tag() {
    for code in [400, 403, 418, 429, 500, 503] {
        let server =
            server(move |_, _, _| answer(code, &[], r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"}]}"#))
                .await;
        let error = server.store("app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::Status { code: c, .. } if c == code), "{error:?}");
        let error = by_tag(&server).await.unwrap_err().to_string();
        assert!(error.contains("DENIED no [31m way") && !error.contains('\u{1b}'), "{error}");
    }
}

#[tokio::test]
async fn a_401_that_asks_for_nothing_known_is_a_refusal() {
    for challenge in ["", "Negotiate", "Digest realm=x"] {
        let server = server(move |_, _, _| answer(401, &[("www-authenticate", challenge)], "")).await;
        let error = server.store("app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
        assert!(error.to_string().contains("no credentials"), "{error}");
        assert_eq!(server.total(), 1);
    }
}

#[tokio::test]
async fn s13_6_transient_answers_are_retried_and_retry_after_is_heard() {
    let server = server(|_, _, before| match before {
        0 => answer(429, &[("retry-after", "7")], ""),
        1 => answer(503, &[("retry-after", "9999")], ""),
        2 => answer(500, &[], ""),
        _ => answer(200, &[("content-type", OCI_INDEX)], EMPTY_INDEX),
    })
    .await;
    by_tag(&server).await.unwrap();
    let sleeps = server.clock.sleeps();
    assert_eq!(sleeps.len(), 3);
    assert!(sleeps[0] >= Duration::from_secs(7) && sleeps[0] < Duration::from_secs(8), "{sleeps:?}");
    assert_eq!(sleeps[1], Duration::from_secs(120), "the server cannot make us wait longer");
    assert!(sleeps[2] <= Duration::from_secs(1), "{sleeps:?}");
}

#[tokio::test]
async fn s13_6_a_spent_budget_is_transient_and_names_the_address() {
    let server = server(|_, _, _| answer(503, &[], "")).await;
    let error = by_tag(&server).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("/v2/app/manifests/1.0.0"), "{error}");
    assert_eq!(server.total(), 5);
    let gone = Network::new(reqwest::Client::builder().no_proxy().build().unwrap(), server.clock.clone());
    let nobody = Store::Registry(gone.repository("127.0.0.1:1", "app").unwrap());
    let error = nobody.head_tag("1.0.0").await.unwrap_err();
    assert!(matches!(error, OciError::Transport { attempts: 5, .. }) && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn s13_5_redirects_go_to_the_registry_itself_and_to_no_other_local_address() {
    let other = server(|_, _, _| answer(200, &[("content-type", OCI_INDEX)], EMPTY_INDEX)).await;
    let target = format!("http://{}/v2/app/manifests/1.0.0", other.address);
    for target in [target.as_str(), "http://169.254.169.254/latest", "http://localhost/x", "ftp://a.example/x", ""] {
        let location = target.to_string();
        let server = server(move |_, _, _| answer(307, &[("location", &location)], "")).await;
        let error = by_tag(&server).await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{target}: {error:?}");
        assert_eq!(server.total(), 1);
    }
    assert_eq!(other.total(), 0, "nothing was sent to the address that the server named");

    let server = server(|_, path, _| match path {
        "/elsewhere?sig=secret" => answer(200, &[("content-type", OCI_INDEX)], EMPTY_INDEX),
        _ => answer(307, &[("location", "/elsewhere?sig=secret")], ""),
    })
    .await;
    by_tag(&server).await.unwrap();
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = server(|_, _, _| answer(302, &[("location", "/again?sig=secret")], "")).await;
    let error = by_tag(&server).await.unwrap_err();
    assert!(matches!(error, OciError::ForeignAddress { .. }) && !error.to_string().contains("secret"), "{error}");
    assert_eq!(server.total(), 6);
}

async fn layout() -> (tempfile::TempDir, Store, Resolved) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::Layout(Layout::new(directory.path().join("a"), "oci-layout:a"));
    let image = Image { platforms: vec!["linux/amd64".into()], ..Image::new([], vec![vec![7; 100_000]]) };
    let digest = build::image(&store, "1.0.0", &image).await.unwrap();
    let resolved = resolve_digest(&store, &digest, &Limits::default()).await.unwrap();
    (directory, store, resolved)
}

#[tokio::test]
async fn s13_5_an_upload_goes_nowhere_but_to_the_registry() {
    let other = server(|_, _, _| answer(201, &[], "")).await;
    let location = format!("http://{}/upload", other.address);
    let server = server(move |method, _, _| match *method {
        Method::POST => answer(202, &[("location", &location)], ""),
        _ => answer(404, &[], ""),
    })
    .await;
    let (_directory, source, resolved) = layout().await;
    let destination = server.store("app");
    let copy = copy(Copy {
        source: &source,
        source_tag: None,
        destination: &destination,
        resolved: &resolved,
        tags: &["1.0.0"],
        limits: Limits::default(),
    });
    assert!(matches!(copy.await, Err(OciError::ForeignAddress { .. })));
    assert_eq!((other.total(), server.count(&Method::PUT)), (0, 0));
}

#[tokio::test]
async fn an_upload_keeps_the_query_of_its_location_and_is_broken_off_when_the_bytes_are_wrong() {
    let server = server(|method, _, _| match *method {
        Method::POST => answer(202, &[("location", "/upload/7?_state=a%2Fb")], ""),
        _ => answer(201, &[], ""),
    })
    .await;
    let store = server.store("app");
    let right = Bytes::from(vec![1_u8; 200_000]);
    let digest = Digest::of(&right);
    let stream = |bytes: &Bytes| {
        let parts: Vec<_> = bytes.chunks(50_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        futures_util::stream::iter(parts).boxed()
    };
    store.put_blob(&digest, 200_000, stream(&right)).await.unwrap();
    {
        let seen = server.seen.lock().unwrap();
        let (method, path, headers, body) = &seen[1];
        assert_eq!(
            (method, path.as_str()),
            (&Method::PUT, &*format!("/upload/7?_state=a%2Fb&digest=sha256%3A{}", digest.hex()))
        );
        assert_eq!(headers["content-length"], "200000");
        assert_eq!(body.as_ref().unwrap(), &right);
    }
    let mut wrong = right.to_vec();
    wrong[199_999] ^= 1;
    let error = store.put_blob(&digest, 200_000, stream(&wrong.into())).await.unwrap_err();
    assert!(matches!(error, OciError::Integrity { .. }), "{error:?}");
    assert!(server.seen.lock().unwrap().iter().skip(2).all(|(m, _, _, b)| *m != Method::PUT || b.is_none()));
    let error = store.put_blob(&digest, 200_000, stream(&right.slice(..150_000))).await.unwrap_err();
    assert!(matches!(error, OciError::Integrity { .. }), "{error:?}");
}

/// A registry for one artifact whose write of the tag is answered by `answer_tag`; nothing else is missing there.
async fn with_subject(
    resolved: &Resolved,
    held: Arc<Mutex<Option<Digest>>>,
    answer_tag: impl Fn(&Mutex<Option<Digest>>) -> Response + Send + Sync + 'static,
) -> Server {
    let digest = resolved.digest;
    let smallest = resolved.blobs.iter().map(|blob| blob.size).min().unwrap().to_string();
    server(move |method, path, _| {
        let there = |digest: &Digest| {
            answer(200, &[("content-type", OCI_INDEX), ("docker-content-digest", &digest.to_string())], "")
        };
        match (method, path.ends_with("/1.0.0")) {
            (&Method::HEAD, true) => held.lock().unwrap().as_ref().map_or_else(|| answer(404, &[], ""), there),
            (&Method::HEAD, false) if path.contains("/blobs/") => answer(200, &[("content-length", &smallest)], ""),
            (&Method::HEAD, false) => there(&digest),
            (&Method::POST, _) => answer(405, &[], ""),
            _ => answer_tag(&held),
        }
    })
    .await
}

async fn tag_it(server: &Server) -> Result<CopyReport, OciError> {
    let (_directory, source, resolved) = layout().await;
    let destination = server.store("app");
    copy(Copy {
        source: &source,
        source_tag: None,
        destination: &destination,
        resolved: &resolved,
        tags: &["1.0.0"],
        limits: Limits::default(),
    })
    .await
}

#[tokio::test]
async fn s9_2_after_a_lost_reply_the_tag_is_looked_at_and_not_written_again() {
    let (_directory, _, resolved) = layout().await;
    let digest = resolved.digest;
    let server = with_subject(&resolved, Arc::default(), move |held| {
        *held.lock().unwrap() = Some(digest);
        answer(503, &[], "")
    })
    .await;
    tag_it(&server).await.unwrap();
    assert_eq!(server.count(&Method::PUT), 1);
}

#[tokio::test]
async fn immutable_tags_are_a_success_when_they_hold_the_same_and_a_conflict_when_not() {
    let (_directory, _, resolved) = layout().await;
    let digest = resolved.digest;
    let other = Digest::of(b"other");
    for code in [400, 403, 405, 409, 412] {
        let server = with_subject(&resolved, Arc::default(), move |held| {
            *held.lock().unwrap() = Some(digest);
            answer(code, &[], r#"{"errors":[{"code":"TAG_INVALID","message":"immutable"}]}"#)
        })
        .await;
        tag_it(&server).await.unwrap();
        let server = with_subject(&resolved, Arc::default(), move |held| {
            *held.lock().unwrap() = Some(other);
            answer(code, &[], "")
        })
        .await;
        let error = tag_it(&server).await.unwrap_err();
        assert!(matches!(error, OciError::TagKept { found, code: c, .. } if (found, c) == (other, code)), "{error:?}");
        let server = with_subject(&resolved, Arc::default(), move |_| answer(code, &[], "")).await;
        let error = tag_it(&server).await.unwrap_err();
        assert!(matches!(error, OciError::Status { code: c, .. } if c == code), "{error:?}");
        assert_eq!(server.count(&Method::PUT), 1);
    }
}

#[tokio::test]
async fn a_tag_that_another_writer_took_right_after_us_is_reported() {
    let (_directory, _, resolved) = layout().await;
    let other = Digest::of(b"other");
    let server = with_subject(&resolved, Arc::default(), move |held| {
        *held.lock().unwrap() = Some(other);
        answer(201, &[], "")
    })
    .await;
    let error = tag_it(&server).await.unwrap_err();
    assert!(matches!(&error, OciError::TagRaced { wrote, found, .. }
        if *wrote == resolved.digest && *found == other.to_string()));
}

#[tokio::test]
async fn a_mount_that_is_not_possible_becomes_an_upload_into_the_same_session() {
    let (_directory, _, resolved) = layout().await;
    for (status, posts_each) in [(202, 1), (405, 2)] {
        let blobs: std::collections::BTreeMap<String, Vec<u8>> = {
            let (directory, ..) = layout().await;
            resolved
                .blobs
                .iter()
                .map(|b| {
                    let file = directory.path().join("a/blobs/sha256").join(b.digest.hex());
                    (format!("/v2/from/blobs/{}", b.digest), std::fs::read(file).unwrap())
                })
                .collect()
        };
        let server = server(move |method, path, _| match *method {
            Method::POST if path.contains("mount=") => answer(status, &[("location", "/session/mount")], ""),
            Method::POST => answer(202, &[("location", "/session/plain")], ""),
            Method::PUT => answer(201, &[], ""),
            Method::GET => blobs.get(path).map_or_else(|| answer(404, &[], ""), |blob| answer(200, &[], blob.clone())),
            _ => answer(404, &[], ""),
        })
        .await;
        let network = server.network();
        let from = Store::Registry(network.repository(&server.address, "from").unwrap());
        let to = Store::Registry(network.repository(&server.address, "to").unwrap());
        // The manifests are not on this server: they are written as they were received.
        let result = copy(Copy {
            source: &from,
            source_tag: None,
            destination: &to,
            resolved: &resolved,
            tags: &[],
            limits: Limits::default(),
        })
        .await;
        assert_eq!(result.unwrap().manifests, resolved.tree.len() as u64);
        let seen = server.seen.lock().unwrap();
        let puts = seen.iter().filter(|(m, path, ..)| *m == Method::PUT && !path.contains("/manifests/"));
        let puts: Vec<_> = puts.map(|(_, path, ..)| path).collect();
        assert_eq!(puts.len(), 2);
        let session = if status == 202 { "/session/mount" } else { "/session/plain" };
        assert!(puts.iter().all(|path| path.starts_with(session)), "{puts:?}");
        assert_eq!(seen.iter().filter(|(m, ..)| *m == Method::POST).count(), 2 * posts_each);
        let asked = seen.iter().filter(|(m, path, ..)| *m == Method::HEAD && path.contains("/blobs/")).count();
        assert_eq!(asked, if status == 202 { 0 } else { 2 }, "a mount and a question, never both for nothing");
    }
}

#[tokio::test]
async fn lists_of_tags_follow_pages_and_stop_without_progress() {
    let pages = server(|_, path, _| {
        let (body, next) = match path.split("last=").nth(1) {
            None => (r#"{"tags":["a","b"]}"#, "b"),
            Some("b") => (r#"{"tags":["b","c"]}"#, "c"),
            _ => (r#"{"tags":["c"]}"#, "c"),
        };
        answer(200, &[("link", &format!("</v2/app/tags/list?n=2&last={next}>; rel=\"next\""))], body)
    })
    .await;
    assert_eq!(pages.store("app").list_tags().await.unwrap(), ["a", "b", "c"]);
    assert_eq!(pages.total(), 3);
    let foreign =
        server(|_, _, _| answer(200, &[("link", "<http://10.0.0.1/next>; rel=\"next\"")], r#"{"tags":["a","../x"]}"#))
            .await;
    assert_eq!(foreign.store("app").list_tags().await.unwrap(), ["a"]);
    let none = server(|_, _, _| answer(200, &[], r#"{"name":"app","tags":null}"#)).await;
    assert_eq!(none.store("app").list_tags().await.unwrap(), Vec::<String>::new());
}

/// Another copy of this process must not write the list between this one's look and its write.
#[tokio::test]
async fn the_last_look_at_a_list_has_the_turn_of_its_subject() {
    let subject = Digest::of(b"subject");
    let turn: Arc<std::sync::OnceLock<Arc<tokio::sync::Mutex<()>>>> = Arc::default();
    let asked = turn.clone();
    let server = server(move |_, _, _| {
        let held = asked.get().unwrap().try_lock().is_err();
        answer(if held { 200 } else { 418 }, &[("content-type", OCI_INDEX)], EMPTY_INDEX)
    })
    .await;
    let store = server.store("app");
    let Store::Registry(registry) = &store else { unreachable!() };
    turn.set(registry.server.turn_of_subject(&subject)).unwrap();
    referrers::look_again(&store, &[(subject, Vec::new())], &Limits::default()).await.unwrap();
    assert_eq!(server.total(), 1);
}

#[tokio::test]
async fn a_list_of_referrers_without_end_is_an_error_and_not_a_part_of_it() {
    let subject = Digest::of(b"subject");
    for (entries, limit) in [(1_000, None), (1_001, Some(1_000)), (10_001, Some(10_000))] {
        let one = |n: u32| format!(r#"{{"digest":"{}"}}"#, Digest::of(&n.to_be_bytes()));
        let all: Vec<String> = (0..entries).map(one).collect();
        let page = format!(r#"{{"manifests":[{}]}}"#, all.join(","));
        let server = server(move |_, path, _| match path.contains("/referrers/") {
            true => answer(200, &[("content-type", OCI_INDEX)], page.clone()),
            false => answer(404, &[], ""),
        })
        .await;
        let listed = referrers::of_subject(&server.store("app"), &subject, &Limits::default()).await;
        match (listed, limit) {
            (Ok(listed), None) => assert_eq!(listed.len(), entries as usize),
            (Err(OciError::TooLarge { limit, found, .. }), Some(expected)) => {
                assert_eq!((limit, found), (expected, u64::from(entries)));
            }
            (listed, _) => panic!("{entries}: {listed:?}"),
        }
    }
}
