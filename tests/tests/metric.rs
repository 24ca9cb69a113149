//! The check `metric` with a real Prometheus (R33, S1.3): what it measures decides, what it has not measured does not, and a
//! period begins after the deployment.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use promo_core::config;
use promo_engine::clock::SystemClock;
use promo_providers::metric::Metric;
use promo_sdk::testing::context;
use promo_sdk::{CheckRequest, CheckResult, Clock, Context, ErrorKind, Inputs, Provider as _, ProviderError};
use promo_tests::prometheus::Prometheus;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SOURCES: &str = r#"
format = 1
[pipeline]
name = "shop"
[artifacts.api]
image = "registry.internal/shop/api"
[sources.prometheus]
prometheus = "https://{environment}.metrics.example/prom"
[checks.errors.metric]
source = "prometheus"
query  = 'errors{env="{environment}"}'
max    = "0.25"
[environments.qa]
tier   = "testing"
"#;

#[test]
fn a_source_is_named_once_and_lowered_to_where_it_is() {
    let lowered = |text: &str| config::pipeline(text, &promo_providers::kinds());
    let (pipeline, diagnostics) = lowered(SOURCES);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let check = pipeline.unwrap().checks["errors"].for_environment(&"qa".parse().unwrap());
    let promo_core::model::Check::Automatic { settings, .. } = check else { panic!("{check:?}") };
    assert_eq!(settings["source"], json!({"name": "prometheus", "prometheus": "https://qa.metrics.example/prom"}));
    assert_eq!(settings["query"], "errors{env=\"qa\"}");
    for (from, to, code, word) in [
        ("source = \"prometheus\"", "source = \"promteheus\"", "config-unknown-name", "promteheus"),
        ("\"0.25\"", "0.25", "config-wrong-type", "decimal number as a text"),
        ("\"0.25\"", "\"a lot\"", "config-wrong-value", "a lot"),
        ("\"0.25\"", "\"1.\"", "config-wrong-value", "1."),
    ] {
        let (_, diagnostics) = lowered(&SOURCES.replace(from, to));
        assert_eq!(diagnostics.len(), 1, "{to}: {diagnostics:?}");
        assert!(diagnostics[0].code == code && diagnostics[0].message.contains(word), "{to}: {diagnostics:?}");
    }
}

mod needs_prometheus {
    use super::*;

    fn cx() -> Context {
        Context { clock: Arc::new(SystemClock), ..context(".") }
    }

    async fn ask(cx: &Context, server: &Prometheus, settings: Value) -> Result<CheckResult, ProviderError> {
        let mut all = json!({"source": {"name": "prometheus", "prometheus": server.address()}});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let inputs = Inputs {
            environment: "qa".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings: all,
            artifacts: [].into(),
            files: [].into(),
        };
        Metric.verify(cx, &CheckRequest { inputs, check: "errors".into(), token: String::new() }).await
    }

    /// Waits until the server has seen what it was told.
    async fn until(server: &Prometheus, settings: Value) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !ask(&cx(), server, settings.clone()).await.unwrap().passed {
            assert!(Instant::now() < deadline, "it did not come to {settings}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the server has found this value and nothing else, or nothing.
    async fn seen(server: &Prometheus, value: Option<&str>) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.shows("errors") != value.map(String::from) {
            assert!(Instant::now() < deadline, "it did not come to {value:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The real time, which tells that somebody sleeps.
    #[derive(Default)]
    struct Asleep(tokio::sync::Notify);

    #[async_trait]
    impl Clock for Asleep {
        fn now(&self) -> jiff::Timestamp {
            SystemClock.now()
        }

        async fn sleep(&self, duration: Duration) {
            self.0.notify_one();
            SystemClock.sleep(duration).await;
        }
    }

    fn page(values: &[(&str, &str)]) -> String {
        values.iter().map(|(pod, value)| format!("errors{{pod=\"{pod}\"}} {value}\n")).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s1_3_every_series_must_hold_now_and_none_is_no_pass() {
        let Some(server) = Prometheus::start() else { return };
        server.say(Some(&page(&[("a", "0.1"), ("b", "0.2")])));
        until(&server, json!({"query": "errors", "max": "0.25"})).await;
        let result = ask(&cx(), &server, json!({"query": "errors", "max": "0.15", "min": "0"})).await.unwrap();
        assert!(!result.passed, "{result:?}");
        assert!(
            result.detail.contains("0.2 is not from 0 to 0.15") && result.detail.contains("pod=\"b\""),
            "{result:?}"
        );
        assert_eq!((result.evidence["value"].as_str(), result.evidence["series"].as_str()), ("0.2", "2"));
        assert_eq!((result.evidence["query"].as_str(), result.evidence["max"].as_str()), ("errors", "0.15"));
        for (query, word) in [("nothing", "no series"), ("errors / 0 * 0", "no number")] {
            let result = ask(&cx(), &server, json!({"query": query, "max": "1"})).await.unwrap();
            assert!(!result.passed && result.detail.contains(word), "{query}: {result:?}");
            let result = ask(&cx(), &server, json!({"query": query, "max": "1", "no_data": "pass"})).await.unwrap();
            assert!(result.passed, "{query}: {result:?}");
        }
        assert!(ask(&cx(), &server, json!({"query": "scalar(sum(errors))", "max": "1"})).await.unwrap().passed);
        // The server's own words, at once.
        let began = Instant::now();
        let error = ask(&cx(), &server, json!({"query": "sum(", "max": "1", "for": 600})).await.unwrap_err();
        assert!(error.message.contains("bad_data") && error.message.contains("parse error"), "{error}");
        let error = ask(&cx(), &server, json!({"query": "errors * on() errors", "max": "1"})).await.unwrap_err();
        assert!(error.message.contains("422") && error.kind == ErrorKind::Failed, "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_period_begins_when_it_is_asked_and_every_value_in_it_must_hold() {
        let Some(server) = Prometheus::start() else { return };
        // What was before the deployment says nothing of it.
        server.say(Some(&page(&[("a", "9")])));
        until(&server, json!({"query": "errors", "min": "9"})).await;
        server.say(Some(&page(&[("a", "0.1")])));
        until(&server, json!({"query": "errors", "max": "0.25"})).await;
        let settings = json!({"query": "errors", "max": "0.25", "for": 3, "every": 1});
        let began = Instant::now();
        let result = ask(&cx(), &server, settings.clone()).await.unwrap();
        assert!(result.passed && began.elapsed() >= Duration::from_secs(3), "{result:?} after {:?}", began.elapsed());
        assert_eq!(result.evidence["points"], "4", "{result:?}");

        // One bad value within it, and all is well again at its end.
        let cx = cx();
        let (result, ()) = tokio::join!(ask(&cx, &server, settings), async {
            server.say(Some(&page(&[("a", "7")])));
            seen(&server, Some("7")).await;
            // Longer than it is from one value to the next, so that there is one while it is bad.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            server.say(Some(&page(&[("a", "0.1")])));
        });
        let result = result.unwrap();
        assert!(!result.passed && result.detail.contains("7 is not at most 0.25 at 20"), "{result:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s1_3_a_series_that_is_away_for_a_part_of_the_period_is_no_data() {
        let Some(server) = Prometheus::start() else { return };
        server.say(Some(&page(&[("a", "0.1")])));
        until(&server, json!({"query": "errors", "max": "0.25"})).await;
        let (one, two) = (cx(), cx());
        let strict = json!({"query": "errors", "max": "0.25", "for": 5, "every": 1});
        let lenient = json!({"query": "errors", "max": "0.25", "for": 5, "every": 1, "gap": 4});
        let (strict, lenient, ()) = tokio::join!(ask(&one, &server, strict), ask(&two, &server, lenient), async {
            server.say(None);
            seen(&server, None).await;
            // As above: one value at least is missing, and not as many as may be.
            tokio::time::sleep(Duration::from_millis(1200)).await;
            server.say(Some(&page(&[("a", "0.1")])));
        });
        let strict = strict.unwrap();
        assert!(!strict.passed && strict.detail.contains("has no value for"), "{strict:?}");
        assert!(lenient.unwrap().passed);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_period_is_left_at_once_when_the_run_is_stopped_and_a_server_that_is_gone_is_no_verdict() {
        let Some(server) = Prometheus::start() else { return };
        server.say(Some(&page(&[("a", "0.1")])));
        until(&server, json!({"query": "errors", "max": "0.25"})).await;
        let token = CancellationToken::new();
        let clock = Arc::new(Asleep::default());
        let cx = Context { cancelled: token.clone(), clock: clock.clone(), ..cx() };
        let (result, began) =
            tokio::join!(ask(&cx, &server, json!({"query": "errors", "max": "1", "for": 600})), async {
                clock.0.notified().await;
                token.cancel();
                Instant::now()
            });
        assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let address = server.address().to_owned();
        drop(server);
        let gone = json!({"query": "errors", "max": "1", "source": {"name": "p", "prometheus": address}, "timeout": 1});
        let inputs = Inputs {
            environment: "qa".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings: gone,
            artifacts: [].into(),
            files: [].into(),
        };
        let error = Metric
            .verify(&super::needs_prometheus::cx(), &CheckRequest { inputs, check: "e".into(), token: String::new() })
            .await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::Transient);
    }
}
