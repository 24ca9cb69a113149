//! Requests to registries: retries, waiting, redirects, and which addresses a server may send us to. What lives here:
//! everything that is the same for every request. What must not: paths and meanings of the distribution protocol, and
//! repeating anything that writes.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use promo_sdk::Clock;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::{Host, Url};

use super::error::{OciError, tame};

/// How often and how long to wait for a server (S13.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first wait; doubled with each one. The wait itself is drawn evenly from below it.
    pub base: Duration,
    /// Upper bound of any wait, `Retry-After` included.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, base: Duration::from_millis(250), cap: Duration::from_secs(120) }
    }
}

impl Retry {
    /// How long to wait after attempt number `attempt` (from 1).
    fn wait(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let bound = self.base.saturating_mul(1 << (attempt - 1).min(16)).min(self.cap);
        // Full jitter, so that many clients do not come back together. std's hasher seeds are the randomness: nothing
        // but a waiting time depends on them.
        let random = std::hash::RandomState::new().build_hasher().finish();
        let jitter = bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
        asked.map_or(jitter, |asked| asked.saturating_add(jitter)).min(self.cap)
    }
}

/// Short requests end after this, whatever the client's own limits are. Transfers of blobs have no such limit.
const SHORT: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 5;

/// The client with its manners.
pub(super) struct Transport {
    pub(super) client: reqwest::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: Retry,
    /// `host` or `host:port` that a server may name although it is a private address.
    pub(super) allowed: BTreeSet<String>,
    /// Requests sent so far.
    pub(super) requests: AtomicU64,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("retry", &self.retry).finish_non_exhaustive()
    }
}

/// Method and address for a message: without query, which may hold a signature.
pub(super) fn what(method: &Method, url: &Url) -> String {
    format!("{method} {}", plain(url))
}

fn plain(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    tame(url.as_str())
}

impl Transport {
    /// Sends a request that may be repeated, and repeats it while the answer is a transient one.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        let mut attempt = 1;
        loop {
            let request = build(self.client.request(method.clone(), url.clone()));
            let last = attempt >= self.retry.attempts.max(1);
            let asked = match self.once(what(&method, url), attempt, request).await {
                Ok(response) if last || !is_transient(response.status()) => return Ok(response),
                Ok(response) => retry_after(response.headers()),
                Err(error) if last => return Err(error),
                Err(_) => None,
            };
            self.pause(attempt, asked).await;
            attempt += 1;
        }
    }

    /// Sends a request exactly once.
    pub(super) async fn once(
        &self,
        what: String,
        attempts: u32,
        request: RequestBuilder,
    ) -> Result<Response, OciError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // The address is in `what` already, and its query may hold a signature.
        request.send().await.map_err(|error| OciError::Transport {
            what,
            attempts,
            source: Box::new(error.without_url()),
        })
    }

    pub(super) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        self.clock.sleep(self.retry.wait(attempt, asked)).await;
    }

    /// GET or HEAD, following redirects by hand: each new address is checked, and no header but `Accept` goes there.
    pub(super) async fn read(
        &self,
        base: &Url,
        method: Method,
        url: Url,
        accept: Option<&str>,
        short: bool,
    ) -> Result<Response, OciError> {
        let mut current = url;
        for _ in 0..=REDIRECTS {
            let response = self
                .send(method.clone(), &current, |mut request| {
                    if let Some(accept) = accept {
                        request = request.header(reqwest::header::ACCEPT, accept);
                    }
                    if short { request.timeout(SHORT) } else { request }
                })
                .await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            current = self.location(base, &what(&method, &current), &current, response.headers())?;
        }
        Err(OciError::ForeignAddress {
            what: what(&method, &current),
            address: plain(&current),
            problem: format!("more than {REDIRECTS} redirects"),
        })
    }

    /// POST without a body, which starts something that costs nothing when it is started twice.
    pub(super) async fn post(&self, url: &Url) -> Result<Response, OciError> {
        self.send(Method::POST, url, |r| r.header(reqwest::header::CONTENT_LENGTH, 0).timeout(SHORT)).await
    }

    /// The `Location` of an answer, resolved and checked.
    pub(super) fn location(&self, base: &Url, what: &str, current: &Url, headers: &HeaderMap) -> Result<Url, OciError> {
        let refused = |address: String, problem: &str| OciError::ForeignAddress {
            what: what.into(),
            address,
            problem: problem.into(),
        };
        let text = headers.get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if text.is_empty() {
            return Err(refused("nothing".into(), "the answer has no `Location`"));
        }
        let url = current.join(text).map_err(|_| refused(tame(text), "not an address"))?;
        check_address(base, current, &url, &self.allowed).map_err(|problem| refused(plain(&url), problem))?;
        Ok(url)
    }
}

/// Whether a server at `base` may send us from `current` to `url` (S13.5). Only literal addresses and local names are
/// looked at; a name that resolves to a private address is not noticed here.
fn check_address(base: &Url, current: &Url, url: &Url, allowed: &BTreeSet<String>) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user or a password");
    }
    if current.scheme() == "https" && url.scheme() != "https" {
        return Err("it leads from https to http");
    }
    let place = |u: &Url| (u.host_str().map(str::to_ascii_lowercase), u.port_or_known_default());
    if place(url) == place(base) {
        return Ok(());
    }
    if base.scheme() == "https" && url.scheme() != "https" {
        return Err("another host, and not https");
    }
    let name = url.host_str().unwrap_or_default();
    let with_port = format!("{name}:{}", url.port_or_known_default().unwrap_or_default());
    if allowed.contains(name) || allowed.contains(&with_port) {
        return Ok(());
    }
    match url.host() {
        None => Err("no host"),
        Some(host) if is_private(&host) => Err("another host, and a private or local address"),
        Some(_) => Ok(()),
    }
}

fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local")
        }
        Host::Ipv4(ip) => is_private_v4(*ip),
        Host::Ipv6(ip) => is_private_v6(*ip),
    }
}

/// Special-purpose addresses that are not somebody else's public server (IANA IPv4 registry, RFC 6890).
fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    // Addresses that only wrap an IPv4 one: mapped, NAT64, 6to4.
    let wrapped = match s {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some((s[6], s[7])),
        [0x2002, a, b, ..] => Some((a, b)),
        _ => None,
    };
    if let Some((high, low)) = wrapped {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        return is_private_v4(Ipv4Addr::new(a, b, c, d));
    }
    ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || s[0] & 0xfe00 == 0xfc00 || s[0] & 0xffc0 == 0xfe80
}

pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After` in seconds, or as a date against the server's own `Date` (RFC 9110, 10.2.3): our clock may be off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_second());
    let now = date(headers.get(reqwest::header::DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(date(text)? - now).unwrap_or(0)))
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn body(what: &str, response: Response, limit: u64) -> Result<Vec<u8>, OciError> {
    let too_large = |found: u64| OciError::TooLarge { what: format!("{what}: bytes"), limit, found };
    if let Some(announced) = response.content_length().filter(|n| *n > limit) {
        return Err(too_large(announced));
    }
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| OciError::Transport {
            what: what.into(),
            attempts: 1,
            source: Box::new(error.without_url()),
        })?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
    }
    Ok(bytes)
}

/// The error for an answer whose status was not expected, with what the server says about it.
pub(super) async fn status(what: String, response: Response) -> OciError {
    let code = response.status().as_u16();
    let detail = match body(&what, response, 64 << 10).await {
        Ok(bytes) => {
            // Distribution specification, "Error Codes".
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let first = &json["errors"][0];
            let text = [&first["code"], &first["message"]].map(|v| v.as_str().unwrap_or_default()).join(" ");
            tame(text.trim())
        }
        Err(_) => String::new(),
    };
    let detail = match (detail.is_empty(), code) {
        (false, _) => format!(": {detail}"),
        (true, 401) => ": the registry wants credentials".into(),
        (true, _) => String::new(),
    };
    OciError::Status { what, code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str, target: &str) -> Result<(), &'static str> {
        let base = Url::parse(base).unwrap();
        check_address(&base, &base, &base.join(target).unwrap(), &BTreeSet::from(["10.9.9.9:9000".to_string()]))
    }

    #[test]
    fn s13_5_no_server_sends_us_to_a_private_address_that_is_not_itself() {
        for (base, target) in [
            ("https://r.example/v2/", "/v2/other"),
            ("https://r.example/v2/", "https://cdn.example/blob?sig=1"),
            ("https://10.0.0.1:5000/v2/", "https://10.0.0.1:5000/x"),
            ("http://127.0.0.1:5000/v2/", "/x"),
            ("http://127.0.0.1:5000/v2/", "http://cdn.example/x"),
            ("http://127.0.0.1:5000/v2/", "https://10.9.9.9:9000/x"),
        ] {
            assert_eq!(check(base, target), Ok(()), "{base} -> {target}");
        }
        for target in [
            "http://r.example/x",
            "http://cdn.example/x",
            "ftp://cdn.example/x",
            "file:///etc/passwd",
            "https://user@cdn.example/x",
            "https://127.0.0.1/x",
            "https://localhost/x",
            "https://LOCALHOST./x",
            "https://a.localhost/x",
            "https://printer.local/x",
            "https://10.1.2.3/x",
            "https://172.16.0.1/x",
            "https://192.168.1.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/x",
            "https://0.0.0.0/x",
            "https://0x7f.1/x",
            "https://2130706433/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[fd00::1]/x",
            "https://[fe80::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[64:ff9b::a00:1]/x",
        ] {
            assert!(check("https://r.example/v2/", target).is_err(), "{target}");
        }
        assert!(check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:22/x").is_err(), "another port is another server");
    }

    #[test]
    fn s13_6_waits_are_bounded_and_the_server_is_heard() {
        let retry = Retry::default();
        for attempt in 1..40 {
            assert!(retry.wait(attempt, None) <= retry.cap);
            assert!(retry.wait(attempt, Some(Duration::from_secs(9999))) <= retry.cap);
            assert!(retry.wait(attempt, Some(Duration::from_secs(3))) >= Duration::from_secs(3));
        }
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, "Sat, 21 Nov 2026 10:00:30 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), None, "no `Date` to compare with");
        headers.insert(reqwest::header::DATE, "Sat, 21 Nov 2026 10:00:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
    }
}
