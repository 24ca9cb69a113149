//! What the machine that runs promo says about sources of metrics. What lives here: reading `sources.toml`, and which address
//! gets which credentials. What must not: anything that a pipeline could set: whoever writes the pipeline names an address, and
//! must not choose where credentials go (S0.1). They belong to the address, not to the name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use promo_sdk::{Context, ErrorKind, ProviderError};
use secrecy::SecretString;
use serde::Deserialize;
use url::{Host, Url};

use super::invalid;
use crate::settings::{machine_file, named_by, told};

/// The format of `sources.toml`.
const FORMAT: u32 = 1;
const LIMIT: usize = 1 << 20;

/// Everything that is said about sources: `sources.toml`, format 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of the format; 1.
    format: u32,
    /// By address: scheme, host, and the port where it is not the scheme's own.
    #[serde(default, rename = "source")]
    pub sources: BTreeMap<String, SourceSettings>,
}

/// What is said about one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// A file with certificates in PEM that are trusted for this source, beside those of the machine.
    pub ca: Option<PathBuf>,
    /// The user that belongs to `secret`; without one the secret is a bearer token.
    pub user: Option<String>,
    /// The name of a secret: `metrics` stands for the variable `PROMO_SECRET_METRICS`.
    pub secret: Option<String>,
}

impl Settings {
    fn of_user(cx: &Context) -> Result<(Self, PathBuf), ProviderError> {
        let none = || Ok((Self { format: FORMAT, ..Self::default() }, PathBuf::new()));
        let file = machine_file(cx.secrets.as_ref(), "PROMO_SOURCES", "sources.toml");
        let named = |error| named_by(cx.secrets.as_ref(), "PROMO_SOURCES", error);
        file.map_or_else(none, |file| Self::read(&file).map(|settings| (settings, file)).map_err(named))
    }

    /// Reads a file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for one that is not what it should be, [`ErrorKind::Newer`] for a newer format.
    pub fn read(path: &Path) -> Result<Self, ProviderError> {
        let wrong = |kind, why: String| ProviderError::new(kind, format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(ErrorKind::Invalid, error.to_string()))?;
        if text.len() > LIMIT {
            return Err(wrong(ErrorKind::Invalid, format!("more than {LIMIT} bytes")));
        }
        // Of a newer file nothing else is understood, and nothing else is said.
        if let Ok(Versioned { format }) = toml::from_str(&text)
            && format > FORMAT
        {
            let why = format!("`format` is {format}, and this promo reads up to {FORMAT}: a newer promo wrote it");
            return Err(wrong(ErrorKind::Newer, why));
        }
        let mut settings: Self =
            toml::from_str(&text).map_err(|error| wrong(ErrorKind::Invalid, told(&error, &text)))?;
        if settings.format != FORMAT {
            return Err(wrong(ErrorKind::Invalid, format!("`format` is {}, expected {FORMAT}", settings.format)));
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        for (address, source) in &mut settings.sources {
            // One that no pipeline can name would be set up for nobody, in silence.
            let origin = Url::parse(address).ok().map(|url| url.origin().ascii_serialization());
            if origin.as_ref() != Some(address) {
                let expected = origin.filter(|origin| origin != "null").unwrap_or("https://host:port".into());
                let address = crate::escape::line(address);
                return Err(wrong(
                    ErrorKind::Invalid,
                    format!("`{address}` is no address of a source: expected `{expected}`"),
                ));
            }
            if source.user.is_some() && source.secret.is_none() {
                return Err(wrong(ErrorKind::Invalid, format!("{address}: `user` without `secret`")));
            }
            source.ca = source.ca.take().map(|file| directory.join(file));
        }
        Ok(settings)
    }
}

/// What a file of any format says first.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// How one source is asked.
pub(super) struct Login {
    pub(super) name: String,
    /// Without a slash at its end.
    pub(super) address: Url,
    pub(super) authorities: Vec<reqwest::Certificate>,
    pub(super) user: Option<String>,
    pub(super) secret: Option<SecretString>,
}

impl Login {
    /// How the source of that name and address is asked from this machine.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an address that is none, and for what is said about it.
    pub(super) fn of(cx: &Context, name: &str, address: &str) -> Result<Self, ProviderError> {
        let url = Url::parse(address).map_err(|error| invalid(format!("source `{name}`: no address: {error}")))?;
        let wrong = |why: &str| Err(invalid(format!("source `{name}`: {why}")));
        if !matches!(url.scheme(), "http" | "https") {
            return wrong("the address must begin with `https://` or `http://`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("the address carries credentials: they must not stand in a pipeline file");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("the address has more than a host and a path");
        }
        let (settings, file) = Settings::of_user(cx)?;
        let found = settings.sources.get(&url.origin().ascii_serialization()).cloned().unwrap_or_default();
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if found.secret.is_some() && url.scheme() != "https" && !local {
            return wrong("credentials are not sent without TLS: expected `https://`");
        }
        let secret = match &found.secret {
            None => None,
            Some(secret) => Some(cx.secrets.get(secret).ok_or_else(|| {
                let variable = format!("PROMO_SECRET_{}", secret.to_uppercase().replace('-', "_"));
                invalid(format!("source `{name}`: {} names the secret `{secret}`: set {variable}", file.display()))
            })?),
        };
        let authorities = match &found.ca {
            None => Vec::new(),
            Some(ca) => {
                let bad = |why: &str| invalid(format!("source `{name}`: {}: {why}", ca.display()));
                let pem = std::fs::read(ca).map_err(|error| bad(&error.to_string()))?;
                let found = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
                found.ok_or_else(|| bad("no certificates in PEM"))?
            }
        };
        Ok(Self { name: name.to_owned(), address: url, authorities, user: found.user, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, ProviderError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sources.toml");
        std::fs::write(&file, text).unwrap();
        Settings::read(&file)
    }

    #[test]
    fn credentials_belong_to_an_address_as_pipelines_can_name_it() {
        let good =
            "format = 1\n[source.\"https://metrics.example\"]\nca = \"own.pem\"\nuser = \"ci\"\nsecret = \"metrics\"\n";
        let settings = read(good).unwrap();
        let source = &settings.sources["https://metrics.example"];
        assert!(source.ca.as_ref().is_some_and(|ca| ca.is_absolute()), "{source:?}");
        for (bad, kind, word) in [
            ("format = 1\n[source.metrics]\n", ErrorKind::Invalid, "https://host:port"),
            ("format = 1\n[source.\"https://m.example/path\"]\n", ErrorKind::Invalid, "`https://m.example`"),
            ("format = 1\n[source.\"https://m.example:443\"]\n", ErrorKind::Invalid, "`https://m.example`"),
            ("format = 1\n[source.\"https://m.example\"]\nuser = \"a\"\n", ErrorKind::Invalid, "`secret`"),
            ("format = 1\n[source.\"https://m.example\"]\ntoken = \"a\"\n", ErrorKind::Invalid, "token"),
            ("format = 0\n", ErrorKind::Invalid, "expected 1"),
            ("format = 2\n[future]\n", ErrorKind::Newer, "newer promo"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.kind == kind && error.message.contains(word), "{bad}: {error}");
        }
    }
}
