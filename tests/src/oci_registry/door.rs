//! Who is let in. What lives here: Basic, and a token server with the tokens it gave (distribution, "Token Authentication
//! Specification"). What must not: what is done for who is let in.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use url::form_urlencoded;

use super::behaviour::{Door, TokenDoor};
use super::content::Answer;
use super::journal::Credential;

/// What a request needs, or a token grants: pairs of a repository and `pull`, `push` or `delete`.
pub(super) type Access = BTreeSet<(String, String)>;

struct Token {
    text: String,
    access: Access,
    until: Timestamp,
    uses: Option<usize>,
}

/// The tokens that were given.
#[derive(Default)]
pub(super) struct Tokens {
    given: Mutex<Vec<Token>>,
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

pub(super) fn credential(headers: &HeaderMap) -> Credential {
    match authorization(headers).split_once(' ').map(|(scheme, _)| scheme) {
        None if headers.contains_key("authorization") => Credential::Other,
        None => Credential::None,
        Some("Basic") => Credential::Basic,
        Some("Bearer") => Credential::Bearer,
        Some(_) => Credential::Other,
    }
}

fn is_user(headers: &HeaderMap, user: &str, password: &str) -> bool {
    let wanted = STANDARD.encode(format!("{user}:{password}"));
    authorization(headers).strip_prefix("Basic ") == Some(&wanted)
}

fn scope(access: &Access) -> String {
    let repositories: BTreeSet<&str> = access.iter().map(|(repository, _)| repository.as_str()).collect();
    let of = |wanted: &str| {
        let actions: Vec<&str> =
            access.iter().filter(|(r, _)| r == wanted).map(|(_, action)| action.as_str()).collect();
        format!("repository:{wanted}:{}", actions.join(","))
    };
    repositories.into_iter().map(of).collect::<Vec<_>>().join(" ")
}

/// Form or query pairs.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// The first value of a name.
pub(super) fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

impl Tokens {
    /// The answer to who is not let in.
    pub(super) fn check(
        &self,
        door: &Door,
        own: &str,
        headers: &HeaderMap,
        needed: &Access,
        now: Timestamp,
    ) -> Result<(), Answer> {
        let refused = |challenge: String| {
            Answer::error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", challenge)
        };
        match door {
            Door::Open => Ok(()),
            Door::Basic { user, password } if is_user(headers, user, password) => Ok(()),
            Door::Basic { .. } => Err(refused(r#"Basic realm="a registry of a test""#.into())),
            Door::Token(tokens) => {
                let error = match authorization(headers).strip_prefix("Bearer ").map(|text| self.spend(text, now)) {
                    Some(Some(access)) if access.is_superset(needed) => return Ok(()),
                    Some(Some(_)) => r#",error="insufficient_scope""#,
                    Some(None) => r#",error="invalid_token""#,
                    None => "",
                };
                let realm = tokens.realm.clone().unwrap_or_else(|| format!("http://{own}/token"));
                let scope = if needed.is_empty() { String::new() } else { format!(r#",scope="{}""#, scope(needed)) };
                Err(refused(format!(r#"Bearer realm="{realm}",service="{}"{scope}{error}"#, TokenDoor::SERVICE)))
            }
        }
    }

    /// What a token grants, when it is good for one more request.
    fn spend(&self, text: &str, now: Timestamp) -> Option<Access> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let token = given.iter_mut().find(|token| token.text == text)?;
        if now >= token.until || token.uses == Some(0) {
            return None;
        }
        token.uses = token.uses.map(|uses| uses - 1);
        Some(token.access.clone())
    }

    /// The token endpoint: GET with a password or without anything, POST with an identity token.
    pub(super) fn give(
        &self,
        door: &Door,
        method: &Method,
        headers: &HeaderMap,
        query: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        let Door::Token(door) = door else { return Answer::error(404, "UNSUPPORTED", "there is no token server") };
        let is_post = method == Method::POST;
        let text = if is_post { std::str::from_utf8(body).unwrap_or_default() } else { query };
        let pairs = pairs(text);
        let known = if is_post {
            let given = value(&pairs, "refresh_token");
            given.is_some() && given == door.identity.as_deref() && value(&pairs, "grant_type") == Some("refresh_token")
        } else {
            is_user(headers, &door.user, &door.password)
        };
        let anonymous = !is_post && door.anonymous_pull && credential(headers) == Credential::None;
        if !(known || anonymous) || value(&pairs, "service") != Some(TokenDoor::SERVICE) {
            return Answer::new(401).body("application/json", r#"{"details":"incorrect username or password"}"#);
        }
        let asked = pairs.iter().filter(|(name, _)| name == "scope").flat_map(|(_, scope)| scope.split(' '));
        let mut access = Access::new();
        for (repository, actions) in asked.filter_map(|scope| scope.strip_prefix("repository:")?.rsplit_once(':')) {
            let granted = |action: &&str| {
                matches!(*action, "pull" | "push" | "delete")
                    && (known || *action == "pull")
                    && !door.closed.iter().any(|closed| closed == repository)
            };
            access.extend(actions.split(',').filter(granted).map(|action| (repository.into(), action.into())));
        }
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("token-{}", given.len() + 1);
        let lifetime = SignedDuration::try_from(door.lifetime).unwrap_or(SignedDuration::MAX);
        let until = now.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        given.push(Token { text: text.clone(), access, until, uses: door.uses });
        let mut reply = json!({ "token": text });
        if let Some(said) = door.said {
            reply["expires_in"] = said.into();
        }
        Answer::new(200).body("application/json", reply.to_string())
    }
}
