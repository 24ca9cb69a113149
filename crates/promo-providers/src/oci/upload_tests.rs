//! Uploads that are broken off, refused for their size, or answered wrongly. Each test scripts a small server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use promo_core::Digest;

use super::build::{self, Image};
use super::server_tests::{Server, answer, server_with_headers};
use super::*;

const CHUNK: u64 = 8 << 20;

/// An image of one layer with 20,000,000 bytes in a layout, and that layer's bytes.
async fn large() -> (tempfile::TempDir, Store, Resolved, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::Layout(Layout::new(directory.path().join("a"), "oci-layout:a"));
    let layer: Vec<u8> = (0..20_000_000_u32).map(|i| (i * 31 + i / 251) as u8).collect();
    let image = Image { platforms: vec!["linux/amd64".into()], ..Image::new([], vec![layer.clone()]) };
    let digest = build::image(&store, "1.0.0", &image).await.unwrap();
    let resolved = resolve_digest(&store, &digest, &Limits::default()).await.unwrap();
    (directory, store, resolved, layer)
}

async fn bring(
    server: &Server,
    chunk: Option<u64>,
    source: &Store,
    resolved: &Resolved,
) -> Result<CopyReport, OciError> {
    let settings = RegistrySettings { chunk, ..RegistrySettings::default() };
    let mut cx = promo_sdk::testing::context("/");
    cx.clock = server.clock.clone();
    let network = Network::of(&cx).unwrap().with_settings([(server.address.clone(), settings)].into_iter().collect());
    let destination = Store::Registry(network.repository(&server.address, "app").unwrap());
    let limits = Limits::default();
    copy(Copy { source, source_tag: None, destination: &destination, resolved, tags: &["1.0.0"], limits }).await
}

/// What a registry answers to everything but blobs: there is nothing, and manifests and tags are taken.
fn rest(method: &Method, path: &str, held: &Mutex<Option<Digest>>, wanted: Digest) -> Response {
    match (method, path.ends_with("/1.0.0")) {
        (&Method::PUT, true) => {
            *held.lock().unwrap() = Some(wanted);
            answer(201, &[], "")
        }
        (&Method::PUT, false) => answer(201, &[], ""),
        (&Method::HEAD, true) => match *held.lock().unwrap() {
            Some(digest) => answer(200, &[("docker-content-digest", &digest.to_string())], ""),
            None => answer(404, &[], ""),
        },
        _ => answer(404, &[], ""),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_chunk_that_broke_goes_on_where_the_registry_says_that_it_stands() {
    let (_directory, source, resolved, layer) = large().await;
    let (held, wanted) = (Arc::<Mutex<Option<Digest>>>::default(), resolved.digest);
    let kept = 3_000_000;
    let broken = Arc::new(Mutex::new(true));
    let server = server_with_headers(move |method, path, headers, _| match (method, path) {
        (&Method::POST, _) => answer(202, &[("location", "/upload/1?state=a")], ""),
        // The second chunk breaks after a part of it.
        (&Method::PATCH, _)
            if header(headers, "content-range").starts_with(&CHUNK.to_string())
                && std::mem::take(&mut *broken.lock().unwrap()) =>
        {
            answer(503, &[("retry-after", "3")], "")
        }
        (&Method::PATCH, _) => answer(202, &[("location", "/upload/1?state=b")], ""),
        (&Method::GET, path) if path.starts_with("/upload/") => {
            let range = format!("0-{}", CHUNK + kept - 1);
            answer(204, &[("range", &range), ("location", "/upload/1?state=c")], "")
        }
        _ => rest(method, path, &held, wanted),
    })
    .await;
    let report = bring(&server, Some(CHUNK), &source, &resolved).await.unwrap();
    assert_eq!(report.blobs_copied, 2);
    let seen = server.seen.lock().unwrap();
    let chunks: Vec<_> =
        seen.iter().filter(|(m, path, ..)| m == Method::PATCH && path.starts_with("/upload/")).collect();
    let ranges: Vec<&str> = chunks.iter().map(|(_, _, headers, _)| header(headers, "content-range")).collect();
    let (second, resumed) = (CHUNK, CHUNK + kept);
    assert_eq!(
        ranges,
        [
            format!("0-{}", CHUNK - 1),
            format!("{second}-{}", 2 * CHUNK - 1),
            format!("{resumed}-{}", resumed + CHUNK - 1),
            format!("{}-{}", resumed + CHUNK, layer.len() - 1)
        ]
    );
    // What the registry has in the end is the layer: the first chunk, a part of the second, and the rest.
    let body = |at: usize| chunks[at].3.clone().unwrap().to_vec();
    let all = [body(0), body(1)[..kept as usize].to_vec(), body(2), body(3)].concat();
    assert!(all == layer);
    assert_eq!(chunks[2].1, "/upload/1?state=c", "the session goes on where the registry says");
    let closed = seen.iter().find(|(m, path, ..)| m == Method::PUT && path.contains("state=b&digest=")).unwrap();
    assert_eq!(header(&closed.2, "content-length"), "0");
    assert!(server.clock.sleeps().iter().any(|sleep| *sleep >= Duration::from_secs(3)), "Retry-After is heard");
}

#[tokio::test]
async fn a_registry_that_claims_bytes_that_were_never_sent_is_not_believed() {
    let (_directory, source, resolved, _) = large().await;
    for there in [100_u64, 3 * CHUNK] {
        let (held, wanted) = (Arc::<Mutex<Option<Digest>>>::default(), resolved.digest);
        let server = server_with_headers(move |method, path, headers, _| match (method, path) {
            (&Method::POST, _) => answer(202, &[("location", "/upload/1")], ""),
            (&Method::PATCH, _) if header(headers, "content-range").starts_with('0') => {
                answer(202, &[("location", "/upload/1")], "")
            }
            (&Method::PATCH, _) => answer(503, &[], ""),
            (&Method::GET, path) if path.starts_with("/upload/") => {
                answer(204, &[("range", &format!("0-{there}"))], "")
            }
            _ => rest(method, path, &held, wanted),
        })
        .await;
        let error = bring(&server, Some(CHUNK), &source, &resolved).await.unwrap_err();
        assert!(matches!(error, OciError::Integrity { .. }), "{there}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_one_request_goes_in_chunks_from_then_on() {
    let (_directory, source, resolved, layer) = large().await;
    let (held, wanted) = (Arc::<Mutex<Option<Digest>>>::default(), resolved.digest);
    let server = server_with_headers(move |method, path, headers, _| match (method, path) {
        (&Method::POST, _) => answer(202, &[("location", "/upload/1")], ""),
        (&Method::PUT, path) if path.starts_with("/upload/") && header(headers, "content-length").len() > 7 => {
            answer(413, &[], "")
        }
        (&Method::PATCH, _) => answer(202, &[("location", "/upload/1")], ""),
        _ => rest(method, path, &held, wanted),
    })
    .await;
    bring(&server, None, &source, &resolved).await.unwrap();
    let bodies: Vec<usize> = {
        let seen = server.seen.lock().unwrap();
        seen.iter().filter(|(m, ..)| m == Method::PATCH).map(|(.., body)| body.as_ref().unwrap().len()).collect()
    };
    assert_eq!(bodies, [8 << 20, 8 << 20, layer.len() - (16 << 20)]);

    // A server that takes no chunks either is given up.
    let server = server_with_headers(move |method, path, _, _| match (method, path) {
        (&Method::POST, _) => answer(202, &[("location", "/upload/1")], ""),
        (&Method::PUT | &Method::PATCH, path) if path.starts_with("/upload/") => answer(413, &[], ""),
        _ => answer(404, &[], ""),
    })
    .await;
    let error = bring(&server, None, &source, &resolved).await.unwrap_err();
    assert!(matches!(error, OciError::Status { code: 413, .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_names_a_least_chunk_gets_chunks() {
    let (_directory, source, resolved, _) = large().await;
    let (held, wanted) = (Arc::<Mutex<Option<Digest>>>::default(), resolved.digest);
    let server = server_with_headers(move |method, path, _, _| match (method, path) {
        (&Method::POST, _) => answer(202, &[("location", "/upload/1"), ("oci-chunk-min-length", "10000000")], ""),
        (&Method::PATCH, _) => answer(202, &[("location", "/upload/1")], ""),
        _ => rest(method, path, &held, wanted),
    })
    .await;
    bring(&server, None, &source, &resolved).await.unwrap();
    let seen = server.seen.lock().unwrap();
    let sizes: Vec<&str> =
        seen.iter().filter(|(m, ..)| m == Method::PATCH).map(|(_, _, h, _)| header(h, "content-length")).collect();
    assert_eq!(sizes, ["10000000", "10000000"]);
}

#[tokio::test]
async fn s13_5_the_next_place_of_a_session_is_checked_each_time() {
    let (_directory, source, resolved, _) = large().await;
    let other = server_with_headers(|_, _, _, _| answer(201, &[], "")).await;
    let elsewhere = format!("http://{}/upload", other.address);
    let server = server_with_headers(move |method, _, _, _| match *method {
        Method::POST => answer(202, &[("location", "/upload/1")], ""),
        Method::PATCH => answer(202, &[("location", &elsewhere)], ""),
        Method::PUT => answer(201, &[], ""),
        _ => answer(404, &[], ""),
    })
    .await;
    let error = bring(&server, Some(CHUNK), &source, &resolved).await.unwrap_err();
    assert!(matches!(error, OciError::ForeignAddress { .. }), "{error:?}");
    assert_eq!(other.total(), 0);
}
