//! What the machine that runs promo says about registries. What lives here: reading `registries.toml`. What must not:
//! anything that a pipeline could set: whoever writes the pipeline must not choose where credentials go (S0.1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use promo_sdk::Secrets;
use serde::Deserialize;

use super::error::{OciError, tame};
use super::keeping::EVERYTHING;
use super::reference::Location;
use crate::settings::{is_set, machine_file, told};

const LIMIT: usize = 1 << 20;
/// The variable that names the file.
const VARIABLE: &str = "PROMO_REGISTRIES";
/// Chunks are never smaller: each costs a round trip.
pub(super) const SMALLEST_CHUNK: u64 = 8 << 20;

/// The format of `registries.toml`.
const FORMAT: u32 = 1;

/// Everything that is said about registries: `registries.toml`, format 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of the format; 1.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(required))]
    format: u32,
    /// By registry: host, with the port where one is used in references.
    #[serde(default, rename = "registry")]
    pub registries: BTreeMap<String, RegistrySettings>,
}

/// What is said about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// A file with certificates in PEM that are trusted for this registry, beside those of the machine.
    pub ca: Option<PathBuf>,
    /// A file with the certificate in PEM that is shown to this registry when it asks who is there, with `key`. It comes
    /// before those in `certs.d`.
    pub certificate: Option<PathBuf>,
    /// The file with the private key of `certificate`, in PEM.
    pub key: Option<PathBuf>,
    /// Plain http instead of https. Without a word: https, and http on loopback when no certificates are given.
    pub plain_http: Option<bool>,
    /// Addresses (`host` or `host:port`) that this registry may name although they are private (S13.5).
    #[serde(default)]
    pub allow: BTreeSet<String>,
    /// The user that belongs to `secret`; without one the secret is an identity token.
    pub user: Option<String>,
    /// The name of a secret: `registry` stands for the variable `PROMO_SECRET_REGISTRY`.
    pub secret: Option<String>,
    /// Requests in a second, tokens included; 100 without a word.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub rate: Option<u32>,
    /// Blobs of more bytes are uploaded in chunks of this size, at least 8 MiB. Without a word each goes in one request.
    #[cfg_attr(feature = "schema", schemars(range(min = SMALLEST_CHUNK)))]
    pub chunk: Option<u64>,
    /// Repositories, with all below them, whose tags the registry lets nobody move; `*` for all. The word of whoever set
    /// the registry up: promo does not try it.
    #[serde(default)]
    pub immutable_tags: Vec<String>,
}

impl Settings {
    /// The settings of the user who runs promo: the file that `PROMO_REGISTRIES` names, else
    /// `promo/registries.toml` in the user's configuration directory. No file, no settings.
    ///
    /// # Errors
    /// [`OciError::Settings`] for a file that is named and missing, or that is not what it should be.
    pub fn of_user(secrets: &std::sync::Arc<dyn Secrets>) -> Result<Self, OciError> {
        machine_file(secrets.as_ref(), VARIABLE, "registries.toml")
            .map_or_else(|| Ok(Self::default()), |file| Self::read(&file))
            .map_err(|error| match error {
                OciError::Settings { path, problem } if is_set(secrets.as_ref(), VARIABLE) => {
                    OciError::Settings { path, problem: format!("{problem} ({VARIABLE} names this file)") }
                }
                error => error,
            })
    }

    /// Reads a file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`OciError::Settings`].
    pub fn read(path: &Path) -> Result<Self, OciError> {
        let bad = |problem: String| OciError::Settings { path: path.into(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        if text.len() > LIMIT {
            return Err(bad(format!("more than {LIMIT} bytes")));
        }
        Self::parse(&text, path)
    }

    /// Reads the text of a file that is at `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, OciError> {
        let bad = |problem: String| OciError::Settings { path: path.into(), problem };
        // Of a newer file nothing else is understood, and nothing else is said.
        if let Ok(Versioned { format }) = toml::from_str(text)
            && format > FORMAT
        {
            return Err(OciError::NewerSettings { path: path.into(), found: format, known: FORMAT });
        }
        let mut settings: Self = toml::from_str(text).map_err(|error| bad(told(&error, text)))?;
        if settings.format != FORMAT {
            return Err(bad(format!("`format` is {}, expected 1", settings.format)));
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        for (host, registry) in &mut settings.registries {
            // One that no reference names would be set up for nobody, in silence.
            if !is_host(host) {
                let host = tame(host);
                return Err(bad(format!("`{host}` is no registry as references name it: `host` or `host:port`")));
            }
            if registry.user.is_some() && registry.secret.is_none() {
                return Err(bad(format!("{host}: `user` without `secret`")));
            }
            if registry.certificate.is_some() != registry.key.is_some() {
                return Err(bad(format!("{host}: `certificate` and `key` go together")));
            }
            if registry.rate == Some(0) {
                return Err(bad(format!("{host}: `rate` is at least 1")));
            }
            if registry.chunk.is_some_and(|chunk| chunk < SMALLEST_CHUNK) {
                return Err(bad(format!("{host}: `chunk` is at least {SMALLEST_CHUNK}")));
            }
            if let Some(path) = registry.immutable_tags.iter().find(|path| !is_repository_path(path)) {
                return Err(bad(format!("{host}: `immutable_tags`: `{}` is no path of a repository", tame(path))));
            }
            for file in [&mut registry.ca, &mut registry.certificate, &mut registry.key] {
                *file = file.take().map(|file| directory.join(file));
            }
        }
        Ok(settings)
    }

    /// What is said about a registry.
    pub(super) fn of(&self, host: &str) -> RegistrySettings {
        self.registries.get(host).cloned().unwrap_or_default()
    }
}

/// What a file of any format says first.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

fn is_host(host: &str) -> bool {
    let named = format!("{host}/repository").parse();
    matches!(named, Ok(Location::Registry { host: named, .. }) if named == host)
}

fn is_repository_path(path: &str) -> bool {
    path == EVERYTHING || format!("registry.example/{path}").parse::<Location>().is_ok()
}

impl FromIterator<(String, RegistrySettings)> for Settings {
    fn from_iter<T: IntoIterator<Item = (String, RegistrySettings)>>(registries: T) -> Self {
        Self { format: FORMAT, registries: registries.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::auth::Variables;
    use super::*;

    fn read(text: &str) -> Result<Settings, OciError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("registries.toml");
        std::fs::write(&file, text).unwrap();
        let read = Settings::read(&file);
        // The directory goes away; only where paths start matters here.
        read.map(|mut settings| {
            for registry in settings.registries.values_mut() {
                for file in [&mut registry.ca, &mut registry.certificate, &mut registry.key] {
                    *file = file.take().map(|p| p.strip_prefix(directory.path()).unwrap_or(&p).to_path_buf());
                }
            }
            settings
        })
    }

    #[test]
    fn every_key_is_read_and_paths_start_at_the_file() {
        let settings = read(
            "format = 1\n[registry.\"r.example:5000\"]\nca = \"own.pem\"\ncertificate = \"me.pem\"\nkey = \"me.key\"\nplain_http = false\nallow = [\"10.0.0.1:80\"]\n\
             user = \"ci\"\nsecret = \"registry\"\nrate = 50\nchunk = 67108864\nimmutable_tags = [\"prod\", \"team/app\"]\n",
        )
        .unwrap();
        let registry = settings.of("r.example:5000");
        assert_eq!(registry.ca.as_deref(), Some(Path::new("own.pem")));
        assert_eq!(registry.certificate.as_deref(), Some(Path::new("me.pem")));
        assert_eq!(registry.key.as_deref(), Some(Path::new("me.key")));
        assert_eq!((registry.plain_http, registry.rate, registry.chunk), (Some(false), Some(50), Some(64 << 20)));
        assert!(registry.allow.contains("10.0.0.1:80"));
        assert_eq!(registry.immutable_tags, ["prod", "team/app"]);
        assert_eq!(settings.of("r.example"), RegistrySettings::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_passed_over() {
        for (text, names) in [
            ("", "format"),
            ("format = 0", "format"),
            ("format = 1\nregistries = 1", "registries"),
            ("format = 1\n[registry.\"r.example\"]\npassword = \"x\"", "password"),
            ("format = 1\n[registry.\"https://r.example\"]\nrate = 1", "https://r.example"),
            ("format = 1\n[registry.\"R.example\"]\nrate = 1", "R.example"),
            ("format = 1\n[registry.\"r.example/team\"]\nrate = 1", "r.example/team"),
            ("format = 1\n[registry.\"r.example\"]\nuser = \"x\"", "secret"),
            ("format = 1\n[registry.\"r.example\"]\ncertificate = \"me.pem\"", "`key`"),
            ("format = 1\n[registry.\"r.example\"]\nkey = \"me.key\"", "`certificate`"),
            ("format = 1\n[registry.\"r.example\"]\nrate = 0", "rate"),
            ("format = 1\n[registry.\"r.example\"]\nchunk = 1000", "chunk"),
            ("format = 1\n[registry.\"r.example\"]\nimmutable_tags = [\"prod/*\"]", "prod/*"),
            ("format = 1\n[registry.\"r.example\"]\nimmutable_tags = [\"\"]", "immutable_tags"),
            ("format = 1\n[registry.\"r.example\"]\nimmutable_tags = true", "immutable_tags"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(names), "{text}: {error}");
        }
    }

    #[test]
    fn of_a_newer_file_only_its_format_is_told() {
        let error = read("format = 2\nmirrors = true\n[registry.\"r.example\"]\nrate = 0").unwrap_err();
        assert!(matches!(error, OciError::NewerSettings { found: 2, known: 1, .. }), "{error}");
        let error = promo_sdk::ProviderError::from(error);
        assert_eq!(error.kind, promo_sdk::ErrorKind::Newer);
        assert_eq!((error.expected.as_deref(), error.found.as_deref()), (Some("format 1"), Some("format 2")));
    }

    #[test]
    fn a_mistake_has_a_place_and_nothing_steers_the_terminal() {
        let error = read("format = 1\n[registry.\"r.example\"]\nimmutable_tags = true").unwrap_err().to_string();
        assert!(error.contains("line 3, column 18, `immutable_tags`: "), "{error}");
        let error = read("format = 1\n\u{1b}[2J = 1").unwrap_err().to_string();
        assert!(error.contains("line 2, column ") && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let named: std::sync::Arc<dyn Secrets> = Variables::of(&[("PROMO_REGISTRIES", "/no/such/file")]).into_inner();
        let error = Settings::of_user(&named).unwrap_err();
        assert!(matches!(error, OciError::Settings { .. }));
        assert!(error.to_string().contains("(PROMO_REGISTRIES names this file)"), "{error}");
        let silent: std::sync::Arc<dyn Secrets> = Variables::of(&[("HOME", "/no/such/home")]).into_inner();
        assert_eq!(Settings::of_user(&silent).unwrap(), Settings::default());
    }
}
