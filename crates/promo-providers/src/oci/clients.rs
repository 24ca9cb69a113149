//! HTTP clients for registries. What lives here: certificates of one's own for a registry, and clients that are kept from
//! private addresses. What must not: requests.
//!
//! Certificates are those of the registry's settings (`ca`, `certificate` with `key`), and what docker and the containers
//! tools find: the directories `certs.d/HOST[:PORT]`, in which `*.crt` are authorities, and `NAME.cert` with `NAME.key` is
//! what promo shows of itself (`containers-certs.d(5)`).

use std::collections::BTreeMap;
use std::error::Error as _;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use promo_sdk::Http;
use reqwest::{Certificate, Identity};

use super::address::Guard;
use super::auth::Variables;
use super::error::OciError;
use super::settings::{RegistrySettings, Settings};

/// Makes clients, and keeps them: a client is its connections.
pub(super) struct Clients {
    http: Http,
    settings: Arc<Settings>,
    directories: Vec<PathBuf>,
    made: Mutex<BTreeMap<(String, bool), reqwest::Client>>,
}

/// Certificates of one's own for a place.
#[derive(Default)]
struct Own {
    /// Who is trusted there besides the system's authorities.
    authorities: Vec<Certificate>,
    /// What shows who asks, and the file with its key.
    identity: Option<(Identity, PathBuf)>,
}

impl Clients {
    pub(super) fn new(http: Http, settings: Arc<Settings>, variables: &Variables) -> Self {
        let mut directories: Vec<PathBuf> = Vec::new();
        let home = variables.get("HOME").map(|home| Path::new(&home).join(".config"));
        if let Some(config) = variables.get("XDG_CONFIG_HOME").map(PathBuf::from).or(home) {
            directories.extend(["containers/certs.d", "docker/certs.d"].map(|name| config.join(name)));
        }
        directories.extend(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from));
        Self { http, settings, directories, made: Mutex::default() }
    }

    /// Directories with certificates for `place`, a host with the port that references use.
    fn of(&self, place: &str) -> Vec<PathBuf> {
        // A name is a path here, and an IPv6 address in brackets is fine as one.
        if place.contains(['/', '\\']) || place.starts_with('.') {
            return Vec::new();
        }
        self.directories.iter().map(|d| d.join(place)).filter(|d| d.is_dir()).collect()
    }

    /// Whether there are certificates of one's own for `place`.
    pub(super) fn has_own(&self, place: &str) -> bool {
        let named = |r: &RegistrySettings| r.ca.is_some() || r.certificate.is_some();
        self.settings.registries.get(place).is_some_and(named) || !self.of(place).is_empty()
    }

    /// The client for `place`; a guarded one connects to no private address.
    ///
    /// # Errors
    /// [`OciError::Settings`] for certificates that cannot be read.
    pub(super) fn get(&self, place: &str, guarded: bool) -> Result<reqwest::Client, OciError> {
        let own = self.has_own(place);
        if !own && !guarded {
            return Ok(self.http.shared().clone());
        }
        let key = (if own { place.to_owned() } else { String::new() }, guarded);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        let own = if own { self.own(place)? } else { Own::default() };
        let with = |identity: Option<&Identity>| {
            self.http.client(|mut builder| {
                if let Some(identity) = identity {
                    builder = builder.identity(identity.clone());
                }
                if guarded {
                    builder = builder.dns_resolver(Arc::new(Guard));
                }
                builder.tls_certs_merge(own.authorities.clone())
            })
        };
        let client =
            with(own.identity.as_ref().map(|(identity, _)| identity)).map_err(|error| match &own.identity {
                // What certificate and key are to each other is looked at only here, and so is what an authority says.
                Some((_, key)) if with(None).is_ok() => {
                    bad(key, &format!("no key that fits its certificate: {}", innermost(&error)))
                }
                _ => bad(Path::new(place), &format!("an authority that cannot be used: {}", innermost(&error))),
            })?;
        made.insert(key, client.clone());
        Ok(client)
    }

    fn own(&self, place: &str) -> Result<Own, OciError> {
        let mut own = Own::default();
        let named = self.settings.registries.get(place);
        let mut authorities: Vec<PathBuf> = named.and_then(|r| r.ca.clone()).into_iter().collect();
        let mut shown = named.and_then(|r| r.certificate.clone().zip(r.key.clone()));
        for directory in self.of(place) {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
                .map_err(OciError::io(&directory))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            files.sort();
            let with = |end: &str| {
                files.iter().filter(|f| f.extension().is_some_and(|e| e == end)).cloned().collect::<Vec<_>>()
            };
            authorities.extend(with("crt"));
            let certificate = with("cert").into_iter().next();
            shown = shown.or_else(|| certificate.map(|file| (file.clone(), file.with_extension("key"))));
        }
        // One client shows one certificate: the first is it.
        if let Some((certificate, key)) = shown {
            let mut pem = read(&certificate)?;
            pem.extend_from_slice(b"\n");
            pem.extend_from_slice(&read(&key)?);
            let identity = Identity::from_pem(&pem).map_err(|_| bad(&key, "no certificate with its key"))?;
            own.identity = Some((identity, key));
        }
        for file in authorities {
            let found =
                Certificate::from_pem_bundle(&read(&file)?).map_err(|_| bad(&file, "no certificates in PEM"))?;
            if found.is_empty() {
                return Err(bad(&file, "no certificates in PEM"));
            }
            own.authorities.extend(found);
        }
        Ok(own)
    }
}

/// What was behind an error of making a client.
fn innermost(error: &reqwest::Error) -> String {
    let cause = successors(error.source(), |&cause| cause.source()).last().map(ToString::to_string);
    cause.unwrap_or_else(|| error.to_string())
}

fn bad(path: &Path, problem: &str) -> OciError {
    OciError::Settings { path: path.into(), problem: problem.into() }
}

fn read(path: &Path) -> Result<Vec<u8>, OciError> {
    std::fs::read(path).map_err(|error| bad(path, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_found_by_the_registry_s_name_and_port() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().display().to_string();
        let variables = Variables::of(&[("HOME", &path)]);
        let clients = Clients::new(Http::default(), Arc::default(), &variables);
        let directory = home.path().join(".config/containers/certs.d/r.example:5000");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(home.path().join(".config/containers/certs.d/sub/r.example")).unwrap();
        assert!(clients.has_own("r.example:5000"));
        assert!(!clients.has_own("r.example"));
        assert!(!clients.has_own("r.example:5001"));
        for trick in ["../certs.d/r.example:5000", "sub/r.example", ".."] {
            assert!(!clients.has_own(trick), "{trick}");
        }
        std::fs::write(directory.join("ca.crt"), "nonsense").unwrap();
        let error = clients.get("r.example:5000", false).unwrap_err();
        assert!(matches!(error, OciError::Settings { .. }) && error.to_string().contains("ca.crt"), "{error}");
    }
}
