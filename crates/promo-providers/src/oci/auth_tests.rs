//! Registries that ask who is there: what is sent to them, how often, and what never leaves. Each test scripts a small
//! server; that the client works with real ones is shown in package `promo-tests`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Method};
use axum::response::Response;
use base64::Engine as _;
use jiff::SignedDuration;
use promo_core::Digest;
use promo_sdk::testing::ScriptedProcesses;
use promo_sdk::{Output, ProcessRequest, Secrets};
use secrecy::SecretString;

use super::server_tests::{Server, answer, server_with_headers};
use super::*;

struct Fixed(BTreeMap<String, String>);

impl Secrets for Fixed {
    fn get(&self, _: &str) -> Option<SecretString> {
        None
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        self.0.get(name).map(|value| value.as_str().into())
    }
}

/// A network that finds the text of this auth file in `DOCKER_AUTH_CONFIG`.
fn network(server: &Server, auths: serde_json::Value) -> Network {
    let mut cx = promo_sdk::testing::context("/");
    cx.clock = server.clock.clone();
    let text = serde_json::json!({ "auths": auths }).to_string();
    cx.secrets = Arc::new(Fixed([("DOCKER_AUTH_CONFIG".to_string(), text)].into()));
    Network::of(&cx).unwrap()
}

fn password(server: &Server, text: &str) -> serde_json::Value {
    let auth = base64::engine::general_purpose::STANDARD.encode(text);
    serde_json::json!({ &server.address: { "auth": auth } })
}

fn store(network: &Network, server: &Server, repository: &str) -> Store {
    Store::Registry(network.repository(&server.address, repository).unwrap())
}

fn sent(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization").map(|value| value.to_str().unwrap())
}

fn there() -> Response {
    answer(200, &[("docker-content-digest", &Digest::of(b"x").to_string())], "")
}

#[tokio::test]
async fn a_password_is_sent_only_after_the_registry_asked_for_one() {
    let server = server_with_headers(|_, _, headers, _| match sent(headers) {
        // ci:hunter2
        Some("Basic Y2k6aHVudGVyMg==") => there(),
        _ => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    })
    .await;
    let network = network(&server, password(&server, "ci:hunter2"));
    let store = store(&network, &server, "app");
    for _ in 0..3 {
        assert!(store.head_tag("1.0.0").await.unwrap().is_some());
    }
    let seen: Vec<bool> = server.headers().iter().map(|h| sent(h).is_some()).collect();
    assert_eq!(seen, [false, true, true, true], "the question is asked once in a run");
}

#[tokio::test]
async fn s13_4_a_wrong_password_is_named_by_its_source_and_not_repeated() {
    let server = server_with_headers(|_, _, _, _| {
        answer(
            401,
            &[("www-authenticate", "Basic realm=\"r\"")],
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#,
        )
    })
    .await;
    let network = network(&server, password(&server, "ci:hunter2"));
    let limits = Limits::default();
    let error = store(&network, &server, "app").get_manifest(Selector::Tag("1.0.0"), None, &limits).await.unwrap_err();
    assert!(matches!(error, OciError::Unauthorized { .. }) && !error.is_transient(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("DOCKER_AUTH_CONFIG") && text.contains("UNAUTHORIZED no"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("Y2k6"), "{text}");
    assert_eq!(server.total(), 2);
}

/// A registry whose tokens are numbered, allow what was asked for, and live as long as the test says.
async fn with_tokens(life: u64) -> (Server, Arc<AtomicU64>) {
    let given = Arc::new(AtomicU64::new(0));
    let newest = given.clone();
    let server = server_with_headers(move |_, path, headers, own| {
        if path.starts_with("/token") {
            let number = newest.fetch_add(1, Ordering::SeqCst) + 1;
            return answer(200, &[], format!(r#"{{"token":"t{number}","expires_in":{life}}}"#));
        }
        let current = format!("Bearer t{}", newest.load(Ordering::SeqCst));
        if sent(headers) == Some(&current) && current != "Bearer t0" {
            return there();
        }
        let challenge = format!(r#"Bearer realm="http://{own}/token",service="r",scope="repository:app:pull""#);
        answer(401, &[("www-authenticate", &challenge)], "")
    })
    .await;
    (server, given)
}

#[tokio::test]
async fn many_requests_at_once_fetch_one_token() {
    let (server, given) = with_tokens(300).await;
    let network = network(&server, password(&server, "ci:p"));
    let stores: Vec<Store> = (0..20).map(|_| store(&network, &server, "app")).collect();
    let heads = futures_util::future::join_all(stores.iter().map(|store| store.head_tag("1.0.0"))).await;
    assert!(heads.iter().all(Result::is_ok), "{heads:?}");
    assert_eq!(given.load(Ordering::SeqCst), 1);
    assert_eq!(server.total(), 20 + 2, "one question without credentials, one token");
    let asked = server.paths().into_iter().find(|path| path.starts_with("/token")).unwrap();
    assert_eq!(asked, "/token?service=r&scope=repository%3Aapp%3Apull");
}

#[tokio::test]
async fn a_token_is_renewed_at_four_fifths_of_its_life() {
    let (server, given) = with_tokens(100).await;
    let network = network(&server, password(&server, "ci:p"));
    let store = store(&network, &server, "app");
    store.head_tag("1.0.0").await.unwrap();
    server.clock.advance(SignedDuration::from_secs(79));
    store.head_tag("1.0.0").await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 1);
    server.clock.advance(SignedDuration::from_secs(2));
    store.head_tag("1.0.0").await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once() {
    let (server, given) = with_tokens(1000).await;
    let network = network(&server, password(&server, "ci:p"));
    let store = store(&network, &server, "app");
    store.head_tag("1.0.0").await.unwrap();
    // The registry forgets it before its time.
    given.fetch_add(1, Ordering::SeqCst);
    store.head_tag("1.0.0").await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_the_newer_one_is_used_from_then_on() {
    let server = server_with_headers(|method, path, headers, own| match (method, path) {
        (&Method::POST, "/token") => {
            answer(200, &[], r#"{"access_token":"a","expires_in":10,"refresh_token":"second"}"#)
        }
        _ if sent(headers) == Some("Bearer a") => there(),
        _ => answer(401, &[("www-authenticate", &format!("Bearer realm=\"http://{own}/token\",service=\"r\""))], ""),
    })
    .await;
    let network = network(&server, serde_json::json!({ &server.address: { "identitytoken": "first" } }));
    let store = store(&network, &server, "app");
    store.head_tag("1.0.0").await.unwrap();
    server.clock.advance(SignedDuration::from_secs(60));
    store.head_tag("1.0.0").await.unwrap();
    let forms: Vec<String> = server.bodies(&Method::POST);
    assert_eq!(forms.len(), 2);
    assert!(forms[0].contains("grant_type=refresh_token") && forms[0].contains("refresh_token=first"), "{forms:?}");
    assert!(forms[0].contains("scope=repository%3Aapp%3Apull"), "{forms:?}");
    assert!(forms[1].contains("refresh_token=second"), "{forms:?}");
}

#[tokio::test]
async fn s13_5_a_token_server_at_a_foreign_private_address_is_told_nothing() {
    let other = server_with_headers(|_, _, _, _| answer(200, &[], r#"{"token":"t"}"#)).await;
    // The registry's own host is 127.0.0.1; this name is another, and local.
    let port = other.address.rsplit_once(':').unwrap().1.to_string();
    for realm in [format!("http://localhost:{port}/token"), "http://169.254.169.254/token".into(), "nonsense".into()] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server = server_with_headers(move |_, _, _, _| answer(401, &[("www-authenticate", &challenge)], "")).await;
        let network = network(&server, password(&server, "ci:p"));
        let error = store(&network, &server, "app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::ForeignAddress { .. }), "{realm}: {error:?}");
    }
    assert_eq!(other.total(), 0);
}

#[tokio::test]
async fn s13_5_no_credentials_go_where_a_redirect_leads() {
    let server = server_with_headers(|_, path, headers, _| match (path, sent(headers)) {
        ("/elsewhere", None) => there(),
        ("/elsewhere", Some(_)) => answer(500, &[], ""),
        (_, Some(_)) => answer(307, &[("location", "/elsewhere")], ""),
        _ => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    })
    .await;
    let network = network(&server, password(&server, "ci:p"));
    store(&network, &server, "app").head_tag("1.0.0").await.unwrap();
    assert_eq!(server.paths().last().unwrap(), "/elsewhere");
}

#[tokio::test]
async fn a_token_server_that_refuses_is_no_reason_to_ask_without_credentials() {
    for code in [400, 401, 403] {
        let server = server_with_headers(move |_, path, _, own| match path.starts_with("/token") {
            true => answer(code, &[], ""),
            false => answer(401, &[("www-authenticate", &format!("Bearer realm=\"http://{own}/token\""))], ""),
        })
        .await;
        let network = network(&server, password(&server, "ci:p"));
        let error = store(&network, &server, "app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
        assert_eq!(server.total(), 2);
    }
}

#[tokio::test]
async fn s13_6_a_token_server_that_is_busy_is_asked_again_and_its_failure_is_transient() {
    let server = server_with_headers(|_, path, _, own| match path.starts_with("/token") {
        true => answer(503, &[], ""),
        false => answer(401, &[("www-authenticate", &format!("Bearer realm=\"http://{own}/token\""))], ""),
    })
    .await;
    let network = network(&server, password(&server, "ci:p"));
    let error = store(&network, &server, "app").head_tag("1.0.0").await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(server.total(), 1 + 5, "the tries are not multiplied");
}

/// A network whose credentials a helper tells: whatever `secret` holds when it is asked.
fn helped(server: &Server, secret: &Arc<Mutex<&'static str>>) -> (Network, Arc<ScriptedProcesses>) {
    let secret = secret.clone();
    let helper = Arc::new(ScriptedProcesses::new(move |_: &ProcessRequest| {
        let said = serde_json::json!({ "Username": "ci", "Secret": *secret.lock().unwrap() });
        Ok(Output { code: Some(0), stdout: said.to_string().into_bytes(), stderr: Vec::new() })
    }));
    let mut cx = promo_sdk::testing::context("/");
    cx.clock = server.clock.clone();
    cx.processes = helper.clone();
    let text = serde_json::json!({ "credHelpers": { &server.address: "x" } }).to_string();
    cx.secrets = Arc::new(Fixed([("DOCKER_AUTH_CONFIG".to_string(), text)].into()));
    (Network::of(&cx).unwrap(), helper)
}

/// A registry that lets in who knows the secret of the moment: with each request, or for a token that lives a minute.
async fn with_secret(secret: &Arc<Mutex<&'static str>>, bearer: bool) -> Server {
    let secret = secret.clone();
    server_with_headers(move |_, path, headers, own| {
        let secret = secret.lock().unwrap();
        let login = base64::engine::general_purpose::STANDARD.encode(format!("ci:{secret}"));
        let knows = sent(headers) == Some(&format!("Basic {login}"));
        let challenge = format!(r#"Bearer realm="http://{own}/token",service="r",scope="repository:app:pull""#);
        match (path.starts_with("/token"), bearer) {
            (true, _) if knows => answer(200, &[], format!(r#"{{"token":"{secret}","expires_in":60}}"#)),
            (true, _) => answer(401, &[], ""),
            (false, true) if sent(headers) == Some(&format!("Bearer {secret}")) => there(),
            (false, false) if knows => there(),
            (false, true) => answer(401, &[("www-authenticate", &challenge)], ""),
            (false, false) => answer(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
        }
    })
    .await
}

#[tokio::test]
async fn a_refusal_ends_what_a_helper_said_and_it_is_asked_once_more() {
    for bearer in [false, true] {
        let secret = Arc::new(Mutex::new("one"));
        let server = with_secret(&secret, bearer).await;
        let (network, helper) = helped(&server, &secret);
        let store = store(&network, &server, "app");
        assert!(store.head_tag("1.0.0").await.unwrap().is_some());
        assert_eq!(helper.requests().len(), 1);
        // The registry takes another secret by now; what was got for the first one has ended as well.
        *secret.lock().unwrap() = "two";
        server.clock.advance(SignedDuration::from_secs(61));
        assert!(store.head_tag("1.0.0").await.unwrap().is_some(), "bearer: {bearer}");
        assert_eq!(helper.requests().len(), 2, "bearer: {bearer}");
    }
}

#[tokio::test]
async fn a_secret_that_stays_refused_is_asked_for_once_more_and_no_oftener() {
    for bearer in [false, true] {
        let secret = Arc::new(Mutex::new("one"));
        let server = with_secret(&Arc::new(Mutex::new("another")), bearer).await;
        let (network, helper) = helped(&server, &secret);
        let error = store(&network, &server, "app").head_tag("1.0.0").await.unwrap_err();
        assert!(matches!(error, OciError::Unauthorized { .. }), "{error:?}");
        assert!(helper.requests().len() <= 2, "bearer: {bearer}: {:?}", helper.requests().len());
    }
}

#[tokio::test]
async fn what_a_helper_said_is_kept_for_five_minutes_in_all_also_for_a_repository_that_comes_later() {
    let secret = Arc::new(Mutex::new("one"));
    let server = with_secret(&secret, false).await;
    let (network, helper) = helped(&server, &secret);
    store(&network, &server, "app").head_tag("1.0.0").await.unwrap();
    server.clock.advance(SignedDuration::from_secs(299));
    store(&network, &server, "other").head_tag("1.0.0").await.unwrap();
    assert_eq!(helper.requests().len(), 1);
    server.clock.advance(SignedDuration::from_secs(2));
    store(&network, &server, "other").head_tag("1.0.0").await.unwrap();
    assert_eq!(helper.requests().len(), 2);
}
