//! The client that the rules speak through: plain HTTP, nothing of promo's own. What must not live here: rules.

use std::pin::Pin;

use promo_core::Digest;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How a rule was broken.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

pub(crate) type Kept = Result<(), Broken>;
pub(crate) type Rule = fn(Subject) -> Pin<Box<dyn Future<Output = Kept> + Send>>;

/// Names and rules, from the functions of these names.
macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn rules() -> Vec<(&'static str, crate::client::Rule)> {
            vec![$((stringify!($name), |subject| Box::pin($name(subject)))),*]
        }
    };
}

/// Breaks the rule unless the condition holds.
macro_rules! must {
    ($condition:expr, $($words:tt)*) => {
        if !$condition {
            return Err(crate::client::Broken(format!($($words)*)));
        }
    };
}

pub(crate) use {must, rules};

/// A registry, and a repository in it that is the rule's own.
pub(crate) struct Subject {
    http: reqwest::Client,
    base: Url,
    pub(crate) repository: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    url: Url,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn is(&self, status: u16) -> Kept {
        let said = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        must!(self.status == status, "{} of {} and not {status}: {said}", self.status, self.url);
        Ok(())
    }

    pub(crate) fn has_digest(&self, digest: &Digest) -> Kept {
        let found = self.header("docker-content-digest");
        must!(found == Some(&digest.to_string()), "Docker-Content-Digest of {} is {found:?}", self.url);
        Ok(())
    }

    pub(crate) fn location(&self) -> Result<Url, Broken> {
        let Some(text) = self.header("location").filter(|text| !text.is_empty()) else {
            return Err(Broken(format!("no Location from {}", self.url)));
        };
        self.url.join(text).map_err(|error| Broken(format!("Location `{text}`: {error}")))
    }

    pub(crate) fn json(&self) -> Result<Value, Broken> {
        serde_json::from_slice(&self.body).map_err(|error| Broken(format!("body of {}: {error}", self.url)))
    }

    /// "Error Codes": in JSON an error has this form.
    pub(crate) fn is_error(&self) -> Kept {
        let Ok(document) = self.json() else { return Ok(()) };
        let errors = document["errors"].as_array().cloned().unwrap_or_default();
        let is_code =
            |e: &Value| e["code"].as_str().is_some_and(|c| c.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        must!(!errors.is_empty() && errors.iter().all(is_code), "not the form of an error: {document}");
        Ok(())
    }

    /// The target of `Link` with `rel="next"` (RFC 5988).
    pub(crate) fn next(&self) -> Result<Option<Url>, Broken> {
        let Some(link) = self.header("link") else { return Ok(None) };
        let parts = link.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((target, _)) = parts.filter(|(_, rest)| rest.replace(' ', "") == ";rel=\"next\"") else {
            return Err(Broken(format!("Link `{link}`")));
        };
        self.url.join(target).map(Some).map_err(|error| Broken(format!("Link `{link}`: {error}")))
    }
}

/// Appends to the query of an address.
pub(crate) fn with(mut url: Url, name: &str, value: impl ToString) -> Url {
    url.query_pairs_mut().append_pair(name, &value.to_string());
    url
}

impl Subject {
    /// The part of a rule; all rules of one run share their client.
    pub(crate) fn new(http: &reqwest::Client, base: &str, rule: &str) -> Self {
        let repository = format!("conformance/{}", rule.replace('_', "-"));
        Self { http: http.clone(), base: base.parse().unwrap(), repository }
    }

    /// An address in the rule's repository.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.in_repository(&self.repository, path)
    }

    pub(crate) fn in_repository(&self, repository: &str, path: &str) -> Url {
        self.base.join(&format!("/v2/{repository}/{path}")).unwrap()
    }

    pub(crate) fn root(&self) -> Url {
        self.base.join("/v2/").unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, Broken> {
        let lost = |error: reqwest::Error| Broken(format!("no answer: {error}"));
        let mut request = self.http.request(method.clone(), url.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            request = request.header("content-length", body.len()).body(body.to_vec());
        }
        let response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(lost)?.to_vec();
        if StatusCode::from_u16(status).is_ok_and(|s| s.is_client_error()) && method != Method::HEAD {
            Reply { status, headers: headers.clone(), body: body.clone(), url: url.clone() }.is_error()?;
        }
        Ok(Reply { status, headers, body, url })
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Reply, Broken> {
        let accept = format!("{MANIFEST}, {INDEX}");
        self.send(Method::GET, url, &[("accept", &accept)], b"").await
    }

    pub(crate) async fn head(&self, url: Url) -> Result<Reply, Broken> {
        let accept = format!("{MANIFEST}, {INDEX}");
        self.send(Method::HEAD, url, &[("accept", &accept)], b"").await
    }

    pub(crate) async fn delete(&self, url: Url) -> Result<Reply, Broken> {
        self.send(Method::DELETE, url, &[], b"").await
    }

    /// Opens an upload session.
    pub(crate) async fn session(&self) -> Result<Reply, Broken> {
        let reply = self.send(Method::POST, self.url("blobs/uploads/"), &[], b"").await?;
        reply.is(202)?;
        Ok(reply)
    }

    pub(crate) async fn patch(&self, url: Url, first: usize, chunk: &[u8]) -> Result<Reply, Broken> {
        let range = format!("{first}-{}", first + chunk.len() - 1);
        let headers = [("content-type", "application/octet-stream"), ("content-range", &range)];
        self.send(Method::PATCH, url, &headers, chunk).await
    }

    /// Ends a session, with a body or without one.
    pub(crate) async fn close(&self, url: Url, digest: impl ToString, body: &[u8]) -> Result<Reply, Broken> {
        let headers = [("content-type", "application/octet-stream")];
        self.send(Method::PUT, with(url, "digest", digest), &headers, body).await
    }

    /// Puts a blob into the rule's repository, as one does.
    pub(crate) async fn blob(&self, bytes: &[u8]) -> Result<Digest, Broken> {
        let digest = Digest::of(bytes);
        let session = self.session().await?;
        self.close(session.location()?, digest, bytes).await?.is(201)?;
        Ok(digest)
    }

    pub(crate) async fn put(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<Reply, Broken> {
        let url = self.url(&format!("manifests/{reference}"));
        self.send(Method::PUT, url, &[("content-type", media_type)], bytes).await
    }

    /// An image with one configuration and one layer, all of it there but the manifest.
    pub(crate) async fn image(&self, mark: &str) -> Result<Value, Broken> {
        let (config, layer) = (format!("{{\"mark\":\"{mark}\"}}"), format!("layer {mark}"));
        let (config_digest, layer_digest) = (self.blob(config.as_bytes()).await?, self.blob(layer.as_bytes()).await?);
        Ok(json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": config_digest.to_string(), "size": config.len() },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest.to_string(),
                "size": layer.len(),
            }],
        }))
    }

    /// Puts a document under its digest.
    pub(crate) async fn manifest(&self, document: &Value) -> Result<(Digest, Vec<u8>), Broken> {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let media_type = document["mediaType"].as_str().unwrap();
        self.put(&digest.to_string(), media_type, &bytes).await?.is(201)?;
        Ok((digest, bytes))
    }

    /// Puts an image and tags it.
    pub(crate) async fn tagged(&self, tag: &str) -> Result<(Digest, Vec<u8>), Broken> {
        let bytes = self.image(tag).await?.to_string().into_bytes();
        self.put(tag, MANIFEST, &bytes).await?.is(201)?;
        Ok((Digest::of(&bytes), bytes))
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}
