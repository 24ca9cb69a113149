//! What stands in front of a registry in tests: a proxy that keeps a list of whom it was asked for, and TLS. What must not
//! live here: HTTP beyond the first lines of a request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// More than the head of any request here has.
const HEAD: usize = 64 << 10;

/// A forward proxy: `CONNECT` for https, whole addresses for http. It alone knows where the names lead that it is given.
pub struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts one. Names with their ports lead where `names` says, everything else where it says itself.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(names: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let names: BTreeMap<String, String> = names.iter().map(|(n, a)| ((*n).into(), (*a).into())).collect();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = heads.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (names, log) = (names.clone(), log.clone());
                tokio::spawn(async move { forward(client, &names, &log).await });
            }
        });
        Self { address, heads, task }
    }

    /// What a variable such as `HTTPS_PROXY` holds to use it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The head of the first request of each connection.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes one connection on: all requests on it are for one server.
async fn forward(mut client: TcpStream, names: &BTreeMap<String, String>, log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    log.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let place = target.strip_prefix("http://").map_or(target, |rest| rest.split('/').next().unwrap_or_default());
    let place = names.get(place).map_or(place, String::as_str);
    let Ok(mut server) = TcpStream::connect(place).await else { return };
    let begun = match method {
        "CONNECT" => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        _ => server.write_all(&head).await,
    };
    if begun.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

/// TLS in front of a server that has none.
pub struct Tls {
    /// Host and port.
    pub address: String,
    /// The certificate of its authority, in PEM.
    pub ca: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tls {
    /// Starts it in front of the server at `inner`, with a certificate for `localhost` and 127.0.0.1.
    ///
    /// # Panics
    /// When no port is free or no key can be made.
    pub async fn before(inner: &str) -> Self {
        let key = || KeyPair::generate().expect("a key can be made");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority certifies itself");
        let own = key();
        let names = ["127.0.0.1", "localhost", "registry.test"].map(String::from).to_vec();
        let server = CertificateParams::new(names).expect("names").signed_by(&own, &authority).expect("a certificate");
        let chain = vec![CertificateDer::from(server.der().to_vec())];
        let secret = PrivatePkcs8KeyDer::from(own.serialize_der()).into();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, secret).expect("a key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let inner = inner.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, inner) = (acceptor.clone(), inner.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(inner).await else { return };
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, ca: authority.pem(), task }
    }
}

/// A way to a server that can be cut: what is under way breaks off, and nobody gets through until it is mended. Or it hangs:
/// everybody is let in, and nothing passes.
pub struct Way {
    address: SocketAddr,
    state: tokio::sync::watch::Sender<Passage>,
    task: tokio::task::JoinHandle<()>,
}

/// How a way stands.
#[derive(Debug, Clone, Copy)]
enum Passage {
    Open,
    Hangs,
    Cut,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    /// One that leads to the server at `inner`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn to(inner: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, passage) = tokio::sync::watch::channel(Passage::Open);
        let inner = inner.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut passage, inner) = (passage.clone(), inner.clone());
                tokio::spawn(async move {
                    if matches!(*passage.borrow_and_update(), Passage::Cut) {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(inner).await else { return };
                    let mut passes = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
                    loop {
                        let now = *passage.borrow_and_update();
                        let changed = match now {
                            Passage::Cut => return,
                            Passage::Hangs => passage.changed().await,
                            Passage::Open => tokio::select! {
                                _ = &mut passes => return,
                                changed = passage.changed() => changed,
                            },
                        };
                        if changed.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.state.send_replace(Passage::Cut);
    }

    /// Lets nothing pass any more, and nobody know.
    pub fn hang(&self) {
        self.state.send_replace(Passage::Hangs);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.state.send_replace(Passage::Open);
    }
}
