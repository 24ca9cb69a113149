//! The credentials of one registry during one run. What lives here: learning what the registry asks for, getting tokens
//! (distribution, "Token Authentication Specification" and "Oauth2 Token Authentication"), each once however many
//! requests wait for it, and keeping them while they last. What must not: repeating requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::challenge::challenges;
use super::{Credential, Finder, Found, Scopes, tame};
use crate::oci::address;
use crate::oci::error::OciError;
use crate::oci::settings::RegistrySettings;
use crate::oci::wire::{SHORT, Wire, body, what};

/// More than any token server sends; some tokens list hundreds of scopes.
const TOKEN_LIMIT: u64 = 1 << 20;
/// What a token lives where its server does not say (distribution, "Token Authentication Specification").
const LIFE: u64 = 60;
/// Of credentials that cannot be put into a header.
const UNFIT: &str = "they hold characters that a request cannot carry";
/// Tokens that are kept at once.
const MOST_TOKENS: usize = 256;

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    /// It answered without credentials.
    Open,
    /// A user and a password with each request.
    Basic,
    /// Tokens of this server.
    Bearer { realm: Url, service: Option<String> },
}

struct Token {
    source: String,
    scopes: Scopes,
    scheme: Scheme,
    value: SecretString,
    until: Timestamp,
}

#[derive(Deserialize)]
struct Reply {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
    refresh_token: Option<SecretString>,
}

impl Reply {
    fn value(self) -> Option<SecretString> {
        self.token.or(self.access_token).filter(|token| !token.expose_secret().is_empty())
    }
}

/// What goes into a request.
pub(in crate::oci) struct Answer {
    /// The value of `Authorization`; none while nothing was asked for.
    pub(in crate::oci) header: Option<HeaderValue>,
    source: String,
    /// The credential, where it is what the request carries, and no token that was got for it.
    carried: Option<Credential>,
}

/// The credentials of one registry.
pub(in crate::oci) struct Auth {
    host: String,
    finder: Arc<Finder>,
    settings: RegistrySettings,
    scheme: Mutex<Option<Scheme>>,
    tokens: Mutex<Vec<Token>>,
    /// What was found for repositories.
    found: Mutex<BTreeMap<String, Found>>,
    /// Identity tokens that the token server gave in place of older ones, by source.
    renewed: Mutex<Vec<(String, SecretString)>>,
    /// Held while the first request is under way, so that a crowd does not learn the same thing many times.
    first: tokio::sync::Mutex<()>,
    /// Held while a token is fetched.
    fetching: tokio::sync::Mutex<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sensitive(text: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(text).map_err(drop)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Auth {
    pub(in crate::oci) fn new(host: &str, finder: Arc<Finder>, settings: RegistrySettings) -> Self {
        Self {
            host: host.into(),
            finder,
            settings,
            scheme: Mutex::default(),
            tokens: Mutex::default(),
            found: Mutex::default(),
            renewed: Mutex::default(),
            first: tokio::sync::Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn scheme(&self) -> Option<Scheme> {
        locked(&self.scheme).clone()
    }

    /// To be held while a request is under way whose answer tells what the registry asks for; none when that is known.
    pub(in crate::oci) async fn first(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if self.scheme().is_some() {
            return None;
        }
        let guard = self.first.lock().await;
        self.scheme().is_none().then_some(guard)
    }

    /// The registry answered without asking for anything.
    pub(in crate::oci) fn open(&self) {
        locked(&self.scheme).get_or_insert(Scheme::Open);
    }

    /// Where the credentials for a repository come from, in words that may be shown.
    ///
    /// # Errors
    /// [`OciError::Credentials`].
    pub(in crate::oci) async fn source(&self, repository: &str) -> Result<String, OciError> {
        Ok(self.finder.find(&self.host, repository, &self.settings).await?.source)
    }

    /// The credentials for a repository, kept for a while: files are not read for every request.
    async fn found(&self, wire: &Wire, repository: &str) -> Result<Found, OciError> {
        let now = wire.clock.now();
        let kept = locked(&self.found).get(repository).filter(|found| now < found.until).cloned();
        if let Some(found) = kept {
            return Ok(found);
        }
        let found = self.finder.find(&self.host, repository, &self.settings).await?;
        locked(&self.found).insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    /// Takes in that a credential was refused: it is looked for again, and helpers are asked again.
    async fn forget(&self, refused: &Credential) {
        locked(&self.found).retain(|_, found| !found.credential.is(refused));
        self.finder.forget(refused).await;
    }

    /// What a request for these scopes carries, as far as is known what the registry wants. With `own` a token is fetched
    /// for this request alone: where tokens are good for one request, a shared one may be spent by the time it is used.
    ///
    /// # Errors
    /// [`OciError::Unauthorized`] when it wants what there is not; [`OciError::Credentials`]; what the token server says.
    pub(in crate::oci) async fn answer(&self, wire: &Wire, scopes: &Scopes, own: bool) -> Result<Answer, OciError> {
        let scheme = match self.scheme() {
            None | Some(Scheme::Open) => {
                return Ok(Answer { header: None, source: "no credentials".into(), carried: None });
            }
            Some(scheme) => scheme,
        };
        let mut found = self.found(wire, scopes.repository()).await?;
        if let Scheme::Bearer { realm, service } = &scheme
            && !matches!(found.credential, Credential::Ready(_))
        {
            let server = (realm, service.as_deref());
            let mut token = self.token(wire, &scheme, server, scopes, &found, own).await;
            if matches!(token, Err(OciError::Unauthorized { .. })) {
                // What a helper said a while ago may be dead by now.
                self.forget(&found.credential).await;
                let anew = self.found(wire, scopes.repository()).await?;
                if !anew.credential.is(&found.credential) {
                    token = self.token(wire, &scheme, server, scopes, &anew, own).await;
                    found = anew;
                }
            }
            let unfit = |()| self.unauthorized(&found.source, UNFIT);
            let header = sensitive(&format!("Bearer {}", token?.expose_secret())).map_err(unfit)?;
            return Ok(Answer { header: Some(header), source: found.source, carried: None });
        }
        let refused = |detail: &str| self.unauthorized(&found.source, detail);
        let unfit = |()| refused(UNFIT);
        let text = match (&scheme, &found.credential) {
            (Scheme::Basic, Credential::Basic { user, password }) => basic(user, password),
            (Scheme::Basic, Credential::Anonymous) => {
                return Err(refused(&format!(
                    "the registry asks for a user and a password: `docker login {}`",
                    self.host
                )));
            }
            (Scheme::Basic, _) => return Err(refused("the registry asks for a password, and that is a token")),
            (Scheme::Bearer { .. }, Credential::Ready(token)) => format!("Bearer {}", token.expose_secret()),
            (Scheme::Bearer { .. } | Scheme::Open, _) => unreachable!("invariant: answered above"),
        };
        let header = sensitive(&text).map_err(unfit)?;
        Ok(Answer { header: Some(header), source: found.source, carried: Some(found.credential) })
    }

    /// Takes in a 401: what the registry asks for, and that what was used is worth nothing any more. Says
    /// whether a token of the request's own could do better: not when this one was good and allowed too little.
    ///
    /// # Errors
    /// [`OciError::Unauthorized`] when it asks for nothing that is known here; [`OciError::ForeignAddress`] when its
    /// token server is one that it must not name (S13.5).
    pub(in crate::oci) async fn challenged(
        &self,
        wire: &Wire,
        what: &str,
        headers: &HeaderMap,
        used: &Answer,
    ) -> Result<bool, OciError> {
        let token = used.header.as_ref().and_then(|header| header.as_bytes().strip_prefix(b"Bearer "));
        if let Some(credential) = &used.carried {
            self.forget(credential).await;
        }
        if let Some(token) = token {
            locked(&self.tokens).retain(|t| t.value.expose_secret().as_bytes() != token);
        }
        let all = challenges(headers);
        let bearer = all.iter().find(|c| c.scheme == "bearer");
        let scheme = match (bearer, all.iter().any(|c| c.scheme == "basic")) {
            (Some(challenge), _) => {
                let realm = challenge.get("realm").unwrap_or_default();
                let realm = address::realm(&wire.base, realm, &wire.allowed).map_err(|problem| {
                    OciError::ForeignAddress { what: format!("{what}: token server"), address: tame(realm), problem }
                })?;
                Scheme::Bearer { realm, service: challenge.get("service").map(String::from) }
            }
            (None, true) => Scheme::Basic,
            (None, false) => {
                let names: Vec<&str> = all.iter().map(|c| c.scheme.as_str()).collect();
                let asked = if names.is_empty() { "nothing".into() } else { tame(&names.join(", ")) };
                return Err(
                    self.unauthorized(&used.source, &format!("the registry asks for {asked}, not Basic or Bearer"))
                );
            }
        };
        *locked(&self.scheme) = Some(scheme);
        Ok(token.is_some() && bearer.is_some_and(|c| c.get("error") != Some("insufficient_scope")))
    }

    /// The error of a request that was refused although it carried what there is.
    pub(in crate::oci) fn refused(&self, used: &Answer, said: &str) -> OciError {
        self.unauthorized(&used.source, said)
    }

    fn unauthorized(&self, source: &str, detail: &str) -> OciError {
        OciError::Unauthorized { host: self.host.clone(), credentials: source.into(), detail: detail.into() }
    }

    fn cached(&self, scheme: &Scheme, scopes: &Scopes, source: &str, now: Timestamp) -> Option<SecretString> {
        let tokens = locked(&self.tokens);
        let good = |t: &&Token| t.source == source && t.scheme == *scheme && now < t.until && t.scopes.cover(scopes);
        tokens.iter().find(good).map(|t| t.value.clone())
    }

    async fn token(
        &self,
        wire: &Wire,
        scheme: &Scheme,
        (realm, service): (&Url, Option<&str>),
        scopes: &Scopes,
        found: &Found,
        own: bool,
    ) -> Result<SecretString, OciError> {
        let missing = || self.unauthorized(&found.source, "the token server gave no token");
        if own {
            return self.fetch(wire, realm, service, scopes, found).await?.value().ok_or_else(missing);
        }
        if let Some(token) = self.cached(scheme, scopes, &found.source, wire.clock.now()) {
            return Ok(token);
        }
        let _alone = self.fetching.lock().await;
        // Another request may have brought it in the meantime.
        if let Some(token) = self.cached(scheme, scopes, &found.source, wire.clock.now()) {
            return Ok(token);
        }
        let reply = self.fetch(wire, realm, service, scopes, found).await?;
        let now = wire.clock.now();
        let life = i64::try_from(reply.expires_in.unwrap_or(LIFE)).unwrap_or(i64::MAX / 1000);
        // Renewed a little early, so that no request starts with a token that ends on the way.
        let until = now.saturating_add(SignedDuration::from_millis(life.saturating_mul(800))).unwrap_or(now);
        let value = reply.value().ok_or_else(missing)?;
        let mut tokens = locked(&self.tokens);
        tokens.retain(|t| now < t.until);
        if tokens.len() >= MOST_TOKENS {
            tokens.remove(0);
        }
        tokens.push(Token {
            source: found.source.clone(),
            scopes: scopes.clone(),
            scheme: scheme.clone(),
            value: value.clone(),
            until,
        });
        Ok(value)
    }

    async fn fetch(
        &self,
        wire: &Wire,
        realm: &Url,
        service: Option<&str>,
        scopes: &Scopes,
        found: &Found,
    ) -> Result<Reply, OciError> {
        let refused = |detail: &str| self.unauthorized(&found.source, detail);
        let (method, response) = match &found.credential {
            Credential::Identity(token) => {
                let renewed = locked(&self.renewed).iter().find(|(s, _)| *s == found.source).map(|(_, t)| t.clone());
                let token = renewed.unwrap_or_else(|| token.clone());
                let scope = scopes.to_string();
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "promo"),
                    ("scope", &scope),
                    ("refresh_token", token.expose_secret()),
                ];
                (Method::POST, wire.send(Method::POST, realm, |r| r.timeout(SHORT).form(&form)).await?)
            }
            credential => {
                let mut url = realm.clone();
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for scope in scopes.texts() {
                        query.append_pair("scope", &scope);
                    }
                }
                let header = match credential {
                    Credential::Basic { user, password } => {
                        Some(sensitive(&basic(user, password)).map_err(|()| refused(UNFIT))?)
                    }
                    _ => None,
                };
                let build = |request: reqwest::RequestBuilder| {
                    let request = request.timeout(SHORT);
                    match &header {
                        Some(header) => request.header(reqwest::header::AUTHORIZATION, header.clone()),
                        None => request,
                    }
                };
                (Method::GET, wire.send(Method::GET, &url, build).await?)
            }
        };
        let what = what(&method, realm);
        match response.status().as_u16() {
            200..=202 => {}
            400 | 401 | 403 => {
                let said =
                    format!("the token server at {} answers {}", address::shown(realm), response.status().as_u16());
                return Err(refused(&said));
            }
            404 | 405 if method == Method::POST => return Err(refused("the token server takes no identity tokens")),
            _ => return Err(crate::oci::wire::status(what, response).await),
        }
        let bytes = body(&what, response, TOKEN_LIMIT).await?;
        // serde's own words could quote the token.
        let mut reply: Reply = serde_json::from_slice(&bytes)
            .map_err(|_| OciError::malformed(what, "not the answer of a token server"))?;
        if let Some(renewed) = reply.refresh_token.take() {
            let mut all = locked(&self.renewed);
            all.retain(|(source, _)| *source != found.source);
            all.push((found.source.clone(), renewed));
        }
        Ok(reply)
    }
}

fn basic(user: &str, password: &SecretString) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose_secret())))
}
