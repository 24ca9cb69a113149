//! The check against a server that answers as no real one does when it is asked to; the real one is asked in
//! `tests/tests/metric.rs`.

use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use promo_sdk::testing::{FakeClock, context};
use promo_sdk::{Inputs, Secrets};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

/// What a server was asked: endpoint, body, authorization.
type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

/// A server that answers the n-th request (from 1) with what `answer` says of it and the endpoint.
async fn server(answer: impl Fn(usize, &str) -> (u16, String) + Send + Sync + 'static) -> (String, Seen) {
    let seen = Seen::default();
    let (asked, answer) = (Arc::clone(&seen), Arc::new(answer));
    let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let endpoint = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let who = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let mut seen = asked.lock().unwrap();
        seen.push((endpoint.clone(), String::from_utf8(body.to_vec()).unwrap(), who));
        let (status, body) = answer(seen.len(), &endpoint);
        (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere"), ("retry-after", "7")], body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prom/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(handler))).await });
    (url, seen)
}

fn vector(values: &[&str]) -> String {
    let result: Vec<Value> =
        values.iter().map(|value| json!({"metric": {"job": "web"}, "value": [1.5, value]})).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
}

fn request(url: &str, also: Value) -> CheckRequest {
    let mut settings = json!({"source": {"name": "metrics", "prometheus": url}, "query": "up", "max": "0.25"});
    settings.as_object_mut().unwrap().extend(also.as_object().unwrap().clone());
    CheckRequest {
        inputs: Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings,
            artifacts: [].into(),
            files: [].into(),
        },
        check: "errors".into(),
        token: String::new(),
    }
}

async fn check(url: &str, also: Value) -> Result<CheckResult, ProviderError> {
    let mut cx = context(".");
    cx.clock = Arc::new(FakeClock::default());
    Metric.verify(&cx, &request(url, also)).await
}

/// A machine with this `sources.toml` and a secret.
struct Machine(std::path::PathBuf);

impl Secrets for Machine {
    fn get(&self, name: &str) -> Option<SecretString> {
        (name == "metrics").then(|| "canary".into())
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        (name == "PROMO_SOURCES").then(|| self.0.display().to_string().into())
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_checks() {
    let inputs = |url: &str, also: Value| request(url, also).inputs;
    let (good, _) = server(|_, _| (200, vector(&["0.25", "0"]))).await;
    let (bad, _) = server(|_, _| (200, vector(&["0.1", "0.26"]))).await;
    let (wrong, _) =
        server(|_, _| (400, json!({"status": "error", "errorType": "bad_data", "error": "no"}).to_string())).await;
    let (denies, _) = server(|_, _| (403, String::new())).await;
    let (other, _) = server(|_, _| (200, "<html>".into())).await;
    let (loud, _) = server(|_, _| {
        let long = "x\u{1b}".repeat(100_000);
        let result = json!([{"metric": {"job": long}, "value": [1, "9"]}]);
        let data = json!({"resultType": "vector", "result": result});
        (200, json!({"status": "success", "data": data, "warnings": [long]}).to_string())
    })
    .await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (format!("http://{}/", silent.local_addr().unwrap()), silent);
    let cases = promo_sdk::conformance::CheckCases {
        passing: inputs(&good, json!({})),
        failing: inputs(&bad, json!({})),
        broken: &[
            ("no bound", inputs(&good, json!({"max": null}))),
            ("no time", inputs(&good, json!({"timeout": 0}))),
            ("a wrong query", inputs(&wrong, json!({}))),
            ("no right", inputs(&denies, json!({}))),
            ("another server", inputs(&other, json!({}))),
            ("credentials", inputs("http://me:x@127.0.0.1/", json!({}))),
        ],
        endless: inputs(&silent.0, json!({"timeout": 1})),
        loud: inputs(&loud, json!({"query": "x".repeat(4000)})),
    };
    let mut cx = context(".");
    cx.clock = Arc::new(FakeClock::default());
    assert_eq!(promo_sdk::conformance::checks(&Metric, &cx, &cases).await, Ok(()));
}

#[tokio::test]
async fn s1_3_what_is_no_data_fails_unless_the_file_says_otherwise() {
    let empty = vector(&[]);
    let warned = vector(&["0.1"]).replace("\"status\"", "\"warnings\":[\"a store is away\"],\"status\"");
    for (answer, words) in [(empty, "no series"), (vector(&["0.1", "NaN"]), "no number"), (warned, "a store is away")] {
        let (url, _) = server(move |_, _| (200, answer.clone())).await;
        let result = check(&url, json!({})).await.unwrap();
        assert!(!result.passed && result.detail.starts_with("no data") && result.detail.contains(words), "{result:?}");
        let result = check(&url, json!({"no_data": "pass"})).await.unwrap();
        assert!(result.passed && result.detail.contains(words), "{result:?}");
    }
    let (url, _) = server(|_, _| (200, vector(&["0.3", "NaN"]))).await;
    let result = check(&url, json!({"no_data": "pass"})).await.unwrap();
    assert!(!result.passed && result.detail.contains("0.3 is not at most 0.25"), "{result:?}");
}

#[tokio::test]
async fn what_may_work_later_is_asked_again_a_few_times_and_then_is_no_verdict_s13_6() {
    let (url, seen) = server(|n, _| if n < 3 { (503, String::new()) } else { (200, vector(&["0"])) }).await;
    assert!(check(&url, json!({})).await.unwrap().passed);
    assert_eq!(seen.lock().unwrap().len(), 3);
    let clock = Arc::new(FakeClock::default());
    let mut cx = context(".");
    cx.clock = clock.clone();
    let (url, seen) = server(|_, _| (429, String::new())).await;
    let error = Metric.verify(&cx, &request(&url, json!({}))).await.unwrap_err();
    assert!(error.kind == ErrorKind::Transient && error.message.contains("429"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 4);
    assert_eq!(clock.sleeps(), [7, 7, 7].map(Duration::from_secs), "as long as the server asks for");
}

#[tokio::test]
async fn what_the_server_says_of_a_query_is_told_and_asked_once() {
    let said = json!({"status": "error", "errorType": "bad_data", "error": "1:3: parse error: unexpected\u{1b}"});
    let (url, seen) = server(move |_, _| (400, said.to_string())).await;
    let error = check(&url, json!({"for": 600})).await.unwrap_err();
    assert!(error.message.contains("bad_data: 1:3: parse error") && !error.message.contains('\u{1b}'), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 1, "before the period, not after it");
    for (status, word) in [(302, "leads elsewhere"), (404, "not as Prometheus does"), (401, "401")] {
        let (url, _) = server(move |_, _| (status, String::new())).await;
        let error = check(&url, json!({})).await.unwrap_err();
        assert!(error.message.contains(word), "{status}: {error}");
    }
    let (url, _) = server(|_, _| (200, "x".repeat(9 << 20))).await;
    assert!(check(&url, json!({})).await.unwrap_err().message.contains("8 MiB"));
    let text = json!({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}).to_string();
    let (url, _) = server(move |_, _| (200, text.clone())).await;
    assert!(check(&url, json!({})).await.unwrap_err().message.contains("gives a string"));
}

#[tokio::test]
async fn s0_1_credentials_go_to_their_address_only_and_never_without_tls() {
    let (url, seen) = server(|_, _| (200, vector(&["0"]))).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sources.toml");
    let origin = url.trim_end_matches("/prom/");
    let mut cx = context(".");
    cx.secrets = Arc::new(Machine(file.clone()));
    let say = |text: String| std::fs::write(&file, format!("format = 1\n{text}")).unwrap();
    for (words, who) in [
        (format!("[source.\"{origin}\"]\nsecret = \"metrics\"\n"), "Bearer canary"),
        (format!("[source.\"{origin}\"]\nuser = \"ci\"\nsecret = \"metrics\"\n"), "Basic Y2k6Y2FuYXJ5"),
        ("[source.\"https://metrics.example\"]\nsecret = \"metrics\"\n".into(), ""),
    ] {
        say(words);
        Metric.verify(&cx, &request(&url, json!({}))).await.unwrap();
        let (_, body, found) = seen.lock().unwrap().pop().unwrap();
        assert_eq!((body.as_str(), found.as_str()), ("query=up", who));
    }
    say("[source.\"http://metrics.example\"]\nsecret = \"metrics\"\n".into());
    let error = Metric.ready(&cx, &request("http://metrics.example", json!({}))).await.unwrap_err();
    assert!(error.message.contains("without TLS"), "{error}");
    say("[source.\"https://metrics.example\"]\nsecret = \"other\"\n".into());
    let error = Metric.ready(&cx, &request("https://metrics.example", json!({}))).await.unwrap_err();
    assert!(error.message.contains("PROMO_SECRET_OTHER"), "{error}");
}

#[tokio::test]
async fn settings_that_would_let_anything_pass_are_refused_before_anything_is_changed() {
    let cx = context(".");
    for (also, word) in [
        (json!({"max": null}), "every number would do"),
        (json!({"min": "1"}), "no number would do"),
        (json!({"for": 10, "every": 30}), "longer than `for`"),
        (json!({"for": 60, "gap": 60}), "`gap`"),
        (json!({"for": 1_000_000, "every": 1}), "ask less often"),
        (json!({"no_data": "ignore"}), "no_data"),
        (json!({"source": {"name": "m", "prometheus": "ftp://m"}}), "https://"),
    ] {
        let also = if also.get("max").is_some() { json!({"max": null}) } else { also };
        let error = Metric.ready(&cx, &request("https://m.example", also.clone())).await.unwrap_err();
        assert!(error.message.contains(word) || error.message.contains("unknown variant"), "{also}: {error}");
    }
}
