//! A real Prometheus for tests, on a free port of 127.0.0.1 with storage in a private directory, and the numbers that it
//! finds: a page that a test writes. What must not live here: a server of metrics of our own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Names the program; set by `cargo xtask components env` and `cargo xtask test`.
const VARIABLE: &str = "PROMO_COMPONENT_PROMETHEUS";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running server; stopped and removed when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    // Removed with the value.
    _directory: TempDir,
    address: String,
    page: Arc<Mutex<Option<String>>>,
}

impl Prometheus {
    /// Starts one that asks for [`Prometheus::say`] five times a second. None when the program is missing and this is not
    /// CI: the test that asked is skipped, and says so on standard error.
    ///
    /// # Panics
    /// On CI when the program is missing; anywhere when it is there and does not become ready.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test server is started by the fixture that stops it")]
    pub fn start() -> Option<Self> {
        let program = std::env::var_os(VARIABLE).map_or_else(|| "prometheus".into(), PathBuf::from);
        let page: Arc<Mutex<Option<String>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let served = listener.local_addr().expect("an address");
        let said = Arc::clone(&page);
        std::thread::spawn(move || serve(&listener, &said));
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = |name: &str| directory.path().join(name);
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\nscrape_configs:\n- job_name: test\n  \
             static_configs: [{{ targets: ['{served}'] }}]\n"
        );
        std::fs::write(path("prometheus.yml"), config).expect("the temporary directory can be written");
        let log = || std::fs::File::create(path("log")).expect("the temporary directory can be written");
        // It takes no port by itself: one that was free a moment ago, and another one where somebody was faster.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
            let child = std::process::Command::new(&program)
                .arg(format!("--config.file={}", path("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", path("data").display()))
                .arg(format!("--web.listen-address={free}"))
                .stdin(Stdio::null())
                .stdout(log())
                .stderr(log())
                .spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) if std::env::var_os("CI").is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                    let name = std::thread::current().name().unwrap_or("a test").to_string();
                    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: prometheus is missing; set {VARIABLE}");
                    return None;
                }
                Err(error) => panic!("{} does not start: {error}; set {VARIABLE}", program.display()),
            };
            let deadline = Instant::now() + READY_WITHIN;
            while child.try_wait().is_ok_and(|status| status.is_none()) {
                if ready(free) {
                    let address = format!("http://{free}");
                    return Some(Self { child, _directory: directory, address, page });
                }
                assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(path("log")).unwrap_or_default());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("prometheus ends: {}", std::fs::read_to_string(path("log")).unwrap_or_default());
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it finds from now on, in the text format of metrics; None lets it find nobody.
    ///
    /// # Panics
    /// Never: nobody panics while the page is held.
    pub fn say(&self, page: Option<&str>) {
        *self.page.lock().expect("no panic while it was held") = page.map(String::from);
    }

    /// The one value that it gives for a query now, as far as it has asked; None where there is none, or more than one. The query is a
    /// name.
    ///
    /// # Panics
    /// When it answers no more.
    #[must_use]
    pub fn shows(&self, query: &str) -> Option<String> {
        let address = self.address.trim_start_matches("http://").parse().expect("an address");
        let answer = get(address, &format!("/api/v1/query?query={query}")).expect("it answers");
        let body = answer.split_once("\r\n\r\n").expect("an answer has a body").1;
        let found: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
        let series = found["data"]["result"].as_array().expect("it lists series");
        let [one] = series.as_slice() else { return None };
        one["value"][1].as_str().map(String::from)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready(address: std::net::SocketAddr) -> bool {
    get(address, "/-/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.0 200"))
}

fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Answers every request with the page; with 503 while there is none. Ends with the process.
fn serve(listener: &TcpListener, page: &Mutex<Option<String>>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let _ = stream.read(&mut [0; 4096]);
        let page = page.lock().expect("no panic while it was held").clone();
        let (status, body) = page.map_or(("503 Unavailable", String::new()), |page| ("200 OK", page));
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n");
        let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    }
}
