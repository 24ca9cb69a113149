//! Which credential belongs to a repository. What lives here: the order of the places where they are looked for
//! (registry.md 1.8), and keeping what helpers said for a while. What must not: sending them anywhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use promo_sdk::{Clock, ProcessRunner};
use secrecy::ExposeSecret as _;

use super::authfile::{AuthFile, Entry, places};
use super::{Credential, Found, Variables, program};
use crate::oci::error::OciError;
use crate::oci::settings::RegistrySettings;

/// How long what was found is kept, from the moment at which it was asked for: the secrets of helpers are often good for
/// minutes only.
const KEPT: SignedDuration = SignedDuration::from_mins(5);

type Kept = BTreeMap<(String, String), Found>;

/// Looks for credentials.
pub(in crate::oci) struct Finder {
    variables: Variables,
    processes: Arc<dyn ProcessRunner>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
    /// What helpers said. Held while one runs, so that many requests at once ask a helper once.
    kept: tokio::sync::Mutex<Kept>,
}

impl Finder {
    pub(in crate::oci) fn new(
        variables: Variables,
        processes: Arc<dyn ProcessRunner>,
        clock: Arc<dyn Clock>,
        root: PathBuf,
    ) -> Self {
        Self { variables, processes, clock, root, kept: tokio::sync::Mutex::default() }
    }

    /// The credential for a repository of `host`: promo's own settings, a pair of variables, `DOCKER_AUTH_CONFIG`, the
    /// auth files, else none.
    ///
    /// # Errors
    /// [`OciError::Credentials`] when a place names credentials that cannot be had: going on without them would be
    /// another identity than the one that was meant.
    pub(in crate::oci) async fn find(
        &self,
        host: &str,
        repository: &str,
        settings: &RegistrySettings,
    ) -> Result<Found, OciError> {
        let until = self.clock.now().saturating_add(KEPT).unwrap_or(Timestamp::MAX);
        if let Some((credential, source)) = self.own(host, settings)? {
            return Ok(Found { credential, source, until });
        }
        if let Some(text) = self.variables.secret("DOCKER_AUTH_CONFIG") {
            let file = AuthFile::parse(text.expose_secret(), "DOCKER_AUTH_CONFIG".into())?;
            if let Some(found) = self.entry(&file, host, repository, until).await? {
                return Ok(found);
            }
        }
        for path in places(&self.variables) {
            let Some(file) = AuthFile::read(&path)? else { continue };
            if let Some(found) = self.entry(&file, host, repository, until).await? {
                return Ok(found);
            }
        }
        Ok(Found { credential: Credential::Anonymous, source: "no credentials".into(), until })
    }

    /// Takes in that a credential was refused: whoever said it is asked again.
    pub(super) async fn forget(&self, refused: &Credential) {
        self.kept.lock().await.retain(|_, found| !found.credential.is(refused));
    }

    fn own(&self, host: &str, settings: &RegistrySettings) -> Result<Option<(Credential, String)>, OciError> {
        if let Some(secret) = &settings.secret {
            let variable = format!("PROMO_SECRET_{}", secret.to_uppercase().replace('-', "_"));
            let Some(value) = self.variables.own(secret) else {
                let problem = format!("the registry's settings name the secret `{secret}`, and {variable} is not set");
                return Err(OciError::Credentials { place: host.into(), problem });
            };
            let user = settings.user.clone().unwrap_or_else(|| "<token>".into());
            let source = format!("{variable}, as the registry's settings say");
            return Ok(Some((Credential::of(user, value), source)));
        }
        let suffix = variable_suffix(host);
        let (user, password) = (format!("PROMO_REGISTRY_USER_{suffix}"), format!("PROMO_REGISTRY_PASSWORD_{suffix}"));
        match (self.variables.get(&user), self.variables.secret(&password)) {
            (Some(name), Some(secret)) => {
                let source = format!("{user} and {password}");
                Ok(Some((Credential::of(name, secret), source)))
            }
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(OciError::Credentials { place: user, problem: format!("{password} is not set beside it") })
            }
            (None, Some(_)) => {
                Err(OciError::Credentials { place: password, problem: format!("{user} is not set beside it") })
            }
        }
    }

    async fn entry(
        &self,
        file: &AuthFile,
        host: &str,
        repository: &str,
        until: Timestamp,
    ) -> Result<Option<Found>, OciError> {
        let (name, server) = match file.find(host, repository)? {
            None => return Ok(None),
            Some(Entry::Here(credential, key)) => {
                return Ok(Some(Found { credential, source: format!("{key} in {}", file.name), until }));
            }
            Some(Entry::Helper { name, server }) => (name, server),
        };
        let now = self.clock.now();
        let mut kept = self.kept.lock().await;
        let key = (name.clone(), server.clone());
        if let Some(found) = kept.get(&key).filter(|found| now < found.until) {
            return Ok(Some(found.clone()));
        }
        let Some(credential) = program::ask(&self.processes, &self.root, &name, &server, &file.name).await? else {
            return Ok(None);
        };
        let source = format!("helper docker-credential-{name}, named in {}", file.name);
        let found = Found { credential, source, until };
        kept.insert(key, found.clone());
        Ok(Some(found))
    }
}

/// `registry.example:5000` as the end of a variable's name: `REGISTRY_EXAMPLE_5000`.
fn variable_suffix(host: &str) -> String {
    host.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use promo_sdk::testing::{FakeClock, NoProcesses, ScriptedProcesses};
    use promo_sdk::{Output, ProcessRequest};

    use super::*;

    const AUTH: &str = r#"{"auths":{"r.example":{"auth":"ZmlsZTpw"}}}"#;

    fn finder(pairs: &[(&str, &str)]) -> Finder {
        Finder::new(Variables::of(pairs), Arc::new(NoProcesses), Arc::new(FakeClock::default()), "/".into())
    }

    async fn user(finder: &Finder, settings: &RegistrySettings) -> String {
        match finder.find("r.example", "app", settings).await {
            Ok(Found { credential: Credential::Basic { user, .. }, .. }) => user,
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn places_are_asked_in_order_and_the_first_wins() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.json"), AUTH).unwrap();
        let path = directory.path().display().to_string();
        let own =
            RegistrySettings { user: Some("settings".into()), secret: Some("r-example".into()), ..Default::default() };
        let none = RegistrySettings::default();
        let mut pairs = vec![("DOCKER_CONFIG", path.as_str())];
        assert_eq!(user(&finder(&pairs), &none).await, "file");
        pairs.push(("DOCKER_AUTH_CONFIG", r#"{"auths":{"r.example":{"auth":"dmFyaWFibGU6cA=="}}}"#));
        assert_eq!(user(&finder(&pairs), &none).await, "variable");
        pairs.extend([("PROMO_REGISTRY_USER_R_EXAMPLE", "pair"), ("PROMO_REGISTRY_PASSWORD_R_EXAMPLE", "p")]);
        assert_eq!(user(&finder(&pairs), &none).await, "pair");
        pairs.push(("PROMO_SECRET_R_EXAMPLE", "p"));
        assert_eq!(user(&finder(&pairs), &own).await, "settings");
        assert!(matches!(
            finder(&pairs).find("other.example", "app", &none).await.unwrap().credential,
            Credential::Anonymous
        ));
    }

    #[tokio::test]
    async fn credentials_that_are_named_and_missing_are_an_error_and_not_anonymous() {
        let own = RegistrySettings { secret: Some("r-example".into()), ..Default::default() };
        let error = finder(&[]).find("r.example", "app", &own).await.unwrap_err();
        assert!(error.to_string().contains("PROMO_SECRET_R_EXAMPLE"), "{error}");
        for half in ["PROMO_REGISTRY_USER_R_EXAMPLE", "PROMO_REGISTRY_PASSWORD_R_EXAMPLE"] {
            let error = finder(&[(half, "x")]).find("r.example", "app", &Default::default()).await.unwrap_err();
            assert!(matches!(error, OciError::Credentials { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_helper_says_is_kept_for_five_minutes_and_asked_once() {
        let scripted = Arc::new(ScriptedProcesses::new(|_: &ProcessRequest| {
            Ok(Output { code: Some(0), stdout: br#"{"Username":"helper","Secret":"s"}"#.to_vec(), stderr: Vec::new() })
        }));
        let clock = Arc::new(FakeClock::default());
        let variables = Variables::of(&[("DOCKER_AUTH_CONFIG", r#"{"credHelpers":{"r.example":"x"}}"#)]);
        let finder = Finder::new(variables, scripted.clone(), clock.clone(), "/".into());
        let none = RegistrySettings::default();
        let (a, b, c) = futures_util::join!(user(&finder, &none), user(&finder, &none), user(&finder, &none));
        assert_eq!([a, b, c], ["helper", "helper", "helper"]);
        assert_eq!(scripted.requests().len(), 1);
        clock.advance(SignedDuration::from_secs(301));
        user(&finder, &none).await;
        assert_eq!(scripted.requests().len(), 2);
    }

    #[tokio::test]
    async fn the_source_is_named_and_the_secret_is_not() {
        let found = finder(&[("DOCKER_AUTH_CONFIG", r#"{"auths":{"r.example":{"auth":"dTpodW50ZXIy"}}}"#)])
            .find("r.example", "app", &Default::default())
            .await
            .unwrap();
        assert_eq!(found.source, "r.example in DOCKER_AUTH_CONFIG");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
