//! What the containers of the stand-in's pods have written, behind the door at which an API server asks a kubelet for it.
//! Containers do not run: what they write stands in an annotation on the pod, and another value of it is written as well.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use serde_json::Value;

use crate::front::Tls;

/// The annotation with what all containers of a pod write, now.
const WRITES: &str = "promo.test/log";

/// What was written, and when, by namespace and pod.
#[derive(Clone, Default)]
pub(super) struct Logs(Arc<Mutex<HashMap<(String, String), Log>>>);

#[derive(Default)]
struct Log {
    uid: String,
    said: String,
    lines: Vec<(Instant, String)>,
}

impl Logs {
    /// Takes in what a pod writes.
    pub(super) fn hear(&self, pod: &Value) {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let says = pod["metadata"]["annotations"][WRITES].as_str().unwrap_or_default();
        let mut logs = self.0.lock().expect("no panic while it was held");
        let log = logs.entry((text("/metadata/namespace"), text("/metadata/name"))).or_default();
        if log.uid != text("/metadata/uid") {
            *log = Log { uid: text("/metadata/uid"), ..Log::default() };
        }
        if log.said != says {
            says.clone_into(&mut log.said);
            let now = Instant::now();
            log.lines.extend(says.lines().map(|line| (now, line.to_owned())));
        }
    }

    /// Opens the door on a free port of 127.0.0.1, for as long as the process lives.
    pub(super) async fn serve(&self) -> u16 {
        let routes = Router::new().route("/containerLogs/{namespace}/{pod}/{container}", get(read));
        let routes = routes.with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let inner = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let door = Tls::before(&inner).await;
        let port = door.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        std::mem::forget(door);
        port
    }
}

async fn read(
    State(logs): State<Logs>,
    Path((namespace, pod, _)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<String, StatusCode> {
    let wanted = |key: &str| {
        let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    };
    let number = |key: &str| wanted(key).and_then(|value| value.parse::<u64>().ok());
    let size = |key: &str| number(key).map_or(usize::MAX, |number| usize::try_from(number).unwrap_or(usize::MAX));
    let logs = logs.0.lock().expect("no panic while it was held");
    let log = logs.get(&(namespace, pod)).ok_or(StatusCode::NOT_FOUND)?;
    if wanted("previous").as_deref() == Some("true") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let young = |at: &Instant| number("sinceSeconds").is_none_or(|since| at.elapsed() <= Duration::from_secs(since));
    let lines: Vec<&str> = log.lines.iter().filter(|(at, _)| young(at)).map(|(_, line)| line.as_str()).collect();
    let first = lines.len().saturating_sub(size("tailLines"));
    let mut text: String = lines[first..].iter().map(|line| format!("{line}\n")).collect();
    text.truncate(size("limitBytes"));
    Ok(text)
}
