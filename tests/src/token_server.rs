//! A token server beside a real registry (distribution, "Token Authentication Specification"): it knows one user, signs
//! what it grants with a key of its own, and keeps a journal. What must not live here: a registry.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::front::Tls;
use crate::registry::LOGIN;

/// The one identity token that is taken.
pub const IDENTITY: &str = "identity-token-of-the-test";

/// What was asked for, and what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET` with a password, or `POST` with an identity token.
    pub method: String,
    /// The scopes, sorted.
    pub scopes: Vec<String>,
}

struct Inner {
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
    /// Repositories of which nothing is granted.
    closed: Vec<String>,
    journal: Mutex<Vec<Asked>>,
}

/// A running token server; it ends with the runtime of the test, or when it is dropped.
pub struct TokenServer {
    inner: Arc<Inner>,
    pem: String,
    address: String,
    tls: Option<Tls>,
    task: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TokenServer {
    /// The name of the service in challenges.
    pub const SERVICE: &str = "registry of a test";
    /// The name of the server in its tokens.
    pub const ISSUER: &str = "token server of a test";

    /// Starts a server that grants whatever is asked for, but nothing of the repositories `closed`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(closed: &[&str]) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key can be made");
        let certificate = rcgen::CertificateParams::default().self_signed(&pair).expect("a certificate can be made");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der()).expect("a P-256 key");
        let inner = Arc::new(Inner {
            key,
            certificate: certificate.der().to_vec(),
            closed: closed.iter().map(|name| (*name).to_string()).collect(),
            journal: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let app = Router::new().fallback(answer).with_state(inner.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { inner, pem: certificate.pem(), address, tls: None, task }
    }

    /// The same server behind TLS, certified by an authority of its own.
    ///
    /// # Panics
    /// As [`Tls::before`].
    #[must_use]
    pub async fn encrypted(mut self) -> Self {
        self.tls = Some(Tls::before(&self.address).await);
        self
    }

    /// Where tokens are had.
    #[must_use]
    pub fn realm(&self) -> String {
        match &self.tls {
            Some(tls) => format!("https://{}/token", tls.address),
            None => format!("http://{}/token", self.address),
        }
    }

    /// The certificate of the authority that certifies the server, in PEM; none without TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca.as_str())
    }

    /// The certificate of the key that tokens are signed with, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// What was asked for so far.
    #[must_use]
    pub fn journal(&self) -> Vec<Asked> {
        self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let text = if method == Method::POST { body.as_str() } else { uri.query().unwrap_or_default() };
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let all = |name: &str| pairs.iter().filter(|(key, _)| key == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    let known = if method == Method::POST {
        all("refresh_token") == [IDENTITY] && all("grant_type") == ["refresh_token"]
    } else {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)));
        headers.get("authorization").is_some_and(|value| value.as_bytes() == basic.as_bytes())
    };
    let mut scopes: Vec<String> =
        all("scope").iter().flat_map(|s| s.split(' ').map(String::from).collect::<Vec<_>>()).collect();
    scopes.sort();
    let asked = Asked { method: method.to_string(), scopes: scopes.clone() };
    inner.journal.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    if !known || all("service") != [TokenServer::SERVICE] {
        return (StatusCode::UNAUTHORIZED, r#"{"details":"incorrect username or password"}"#.into());
    }
    let access: Vec<serde_json::Value> = scopes
        .iter()
        .filter_map(|scope| {
            let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            let open = !inner.closed.iter().any(|closed| closed == name);
            let actions: Vec<&str> = actions.split(',').collect();
            open.then(|| json!({ "type": "repository", "name": name, "actions": actions }))
        })
        .collect();
    let token = sign(&inner, &access);
    (StatusCode::OK, json!({ "token": token, "expires_in": 300 }).to_string())
}

/// A JSON web token that carries its own certificate.
fn sign(inner: &Inner, access: &[serde_json::Value]) -> String {
    #[expect(clippy::disallowed_methods, reason = "the real registry compares with the real time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&inner.certificate)] });
    let claims = json!({
        "iss": TokenServer::ISSUER, "sub": LOGIN.0, "aud": TokenServer::SERVICE, "exp": now + 300, "nbf": now - 10,
        "iat": now, "jti": "1", "access": access,
    });
    let encoded = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&claims));
    let signature = inner.key.sign(&SystemRandom::new(), text.as_bytes()).expect("a key signs");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
