//! Real OCI registries for tests: the distribution project's server, one process for each value, on a free port of
//! 127.0.0.1 with storage in a private directory; open, behind a password, or behind a token server; in plain http or
//! with a certificate of its own authority. What must not live here: a registry of our own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates;
use crate::token_server::TokenServer;

/// Names the program; set by `cargo xtask components env` and `cargo xtask test`.
const VARIABLE: &str = "PROMO_COMPONENT_DOCKER_REGISTRY";
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The user and the password of a registry behind [`Door::Password`].
pub const LOGIN: (&str, &str) = ("ci", "correct horse");
/// The password as the server takes it: bcrypt at the lowest cost, since it is computed for every request.
const HTPASSWD: &str = "ci:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n";

/// Who is let in.
#[derive(Debug, Clone, Copy)]
pub enum Door<'a> {
    /// Everybody.
    Open,
    /// Who knows [`LOGIN`].
    Password,
    /// Who has a token of this server.
    Token(&'a TokenServer),
    /// Who shows a certificate of the authority in [`Registry::ca`]; only with TLS.
    Certificate,
}

/// A running registry; stopped and removed when it is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    directory: TempDir,
    address: String,
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

/// What a repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Tags with the digests that they point at.
    pub tags: BTreeMap<String, String>,
    /// Manifests by the hexadecimal digits of their digests.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// Blobs by the same.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Request {
    /// Whether it can change anything.
    #[must_use]
    pub fn writes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

fn program() -> PathBuf {
    std::env::var_os(VARIABLE).map_or_else(|| "docker-registry".into(), PathBuf::from)
}

impl Registry {
    /// Starts a registry. None when the program is missing and this is not CI: the test that asked is skipped, and says
    /// so on standard error.
    ///
    /// # Panics
    /// On CI when the program is missing; anywhere when it is there and does not become ready.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::behind(Door::Open, false)
    }

    /// Starts a registry behind a door; with `tls` its certificate is of the authority in [`Registry::ca`].
    ///
    /// # Panics
    /// As [`Registry::start`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test server is started by the fixture that stops it")]
    pub fn behind(door: Door<'_>, tls: bool) -> Option<Self> {
        // In memory where that can be had: the server syncs every file that it writes.
        let memory = std::path::Path::new("/dev/shm");
        let directory = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a temporary directory can be made");
        let path = |name: &str| directory.path().join(name);
        let storage = path("storage");
        // The server takes a free port by itself and says which: nobody can take it in between.
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: '{}'\n  delete:\n    \
             enabled: true\nhttp:\n  addr: 127.0.0.1:0\n  secret: of no importance\n",
            storage.display()
        );
        if tls {
            certificates::certify(directory.path());
            let (certificate, key) = (path("server.pem"), path("server.key"));
            let tls = format!("  tls:\n    certificate: '{}'\n    key: '{}'\n", certificate.display(), key.display());
            config.push_str(&tls);
        }
        match door {
            Door::Open => {}
            Door::Certificate => config.push_str(&format!("    clientcas: ['{}']\n", path("ca.pem").display())),
            Door::Password => {
                fs::write(path("htpasswd"), HTPASSWD).expect("the temporary directory can be written");
                let file = path("htpasswd");
                config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: '{}'\n", file.display()));
            }
            Door::Token(server) => {
                fs::write(path("tokens.pem"), server.certificate()).expect("the temporary directory can be written");
                config.push_str(&format!(
                    "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: '{}'\n",
                    server.realm(),
                    TokenServer::SERVICE,
                    TokenServer::ISSUER,
                    path("tokens.pem").display()
                ));
            }
        }
        fs::write(path("config.yml"), config).expect("the temporary directory can be written");
        let log = |name: &str| fs::File::create(path(name)).expect("the temporary directory can be written");
        let child = std::process::Command::new(program())
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(log("access.log"))
            .stderr(log("error.log"))
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if std::env::var_os("CI").is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                use std::io::Write as _;
                let name = std::thread::current().name().unwrap_or("a test").to_string();
                let _ = writeln!(std::io::stderr(), "SKIPPED {name}: docker-registry is missing; set {VARIABLE}");
                return None;
            }
            Err(error) => panic!("{} does not start: {error}; set {VARIABLE}", program().display()),
        };
        let mut registry = Self { child, directory, address: String::new() };
        registry.wait_until_ready();
        Some(registry)
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let log = fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default();
            let address = log.split("listening on ").nth(1).and_then(|rest| rest.split(['"', ' ', ',']).next());
            if let Some(address) = address.filter(|address| std::net::TcpStream::connect(address).is_ok()) {
                self.address = address.into();
                return;
            }
            let gone = self.child.try_wait().is_ok_and(|status| status.is_some());
            assert!(!gone && Instant::now() < deadline, "the registry did not become ready:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate of the authority that a registry with TLS is certified by, in PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate of that authority for a client, and its key, in PEM.
    #[must_use]
    pub fn client(&self) -> [PathBuf; 2] {
        ["client.pem", "client.key"].map(|name| self.directory.path().join(name))
    }

    /// The file that holds a blob or manifest with these hexadecimal digits, for tests that damage it.
    #[must_use]
    pub fn file(&self, hex: &str) -> PathBuf {
        self.content().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// The directory that holds `blobs` and `repositories`, as the server lays them out; it keeps nothing of it in memory.
    #[must_use]
    pub fn content(&self) -> PathBuf {
        self.directory.path().join("storage/docker/registry/v2")
    }

    /// What a repository holds, as it lies on disk.
    ///
    /// # Panics
    /// When something that the repository names cannot be read.
    #[must_use]
    pub fn held(&self, repository: &str) -> Held {
        let directory = self.content().join("repositories").join(repository);
        let names = |below: &str| {
            let entries = fs::read_dir(directory.join(below)).into_iter().flatten();
            entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"))
        };
        let bytes = |hex: String| {
            let bytes = fs::read(self.file(&hex)).unwrap_or_else(|error| panic!("{repository}: {hex}: {error}"));
            (hex, bytes)
        };
        let link = |tag: String| {
            let link = fs::read_to_string(directory.join("_manifests/tags").join(&tag).join("current/link"));
            // The directory of a tag comes before what it points at.
            Some((tag, link.ok()?))
        };
        Held {
            tags: names("_manifests/tags").filter_map(link).collect(),
            manifests: names("_manifests/revisions/sha256").map(bytes).collect(),
            blobs: names("_layers/sha256").map(bytes).collect(),
        }
    }

    /// The requests answered so far. Waits until the log has been quiet for a moment.
    ///
    /// # Panics
    /// When the log is not what the server is known to write.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        let path = self.directory.path().join("access.log");
        let mut text = fs::read_to_string(&path).expect("the log is there");
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let later = fs::read_to_string(&path).expect("the log is there");
            if later == text {
                break;
            }
            text = later;
        }
        // Apache's combined format: … "METHOD PATH PROTOCOL" STATUS …
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut quoted = line.split('"');
                let mut request = quoted.nth(1).expect("a request line").split(' ');
                let status = quoted.next().and_then(|rest| rest.split_whitespace().next()?.parse().ok());
                Request {
                    method: request.next().expect("a method").into(),
                    path: request.next().expect("a path").into(),
                    status: status.expect("a status"),
                }
            })
            .collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
