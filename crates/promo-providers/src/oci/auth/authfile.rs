//! Files in which docker and the containers tools keep credentials. What lives here: where they are, what is in them, and
//! which entry is the one for a repository. What must not: running a helper.
//!
//! Formats: docker's `config.json` (`auths`, `credHelpers`, `credsStore`) and `containers-auth.json(5)`, which has the
//! same keys and in which a key may also name a path (`registry.example/team`).

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::{Credential, Variables};
use crate::oci::error::OciError;

/// Auth files are small; a larger one is refused.
const LIMIT: u64 = 1 << 20;

/// Docker's name for its own registry in auth files and towards helpers.
pub(super) const DOCKER_IO: &str = "https://index.docker.io/v1/";

/// The places to look at, the first that answers wins. Only those whose variables are set.
pub(super) fn places(variables: &Variables) -> Vec<PathBuf> {
    let path = |name: &str| variables.get(name).map(PathBuf::from);
    let home = path("HOME");
    let mut out: Vec<PathBuf> = Vec::new();
    match path("REGISTRY_AUTH_FILE") {
        Some(file) => out.push(file),
        None => {
            out.extend(path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")));
            let config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
            out.extend(config.map(|dir| dir.join("containers/auth.json")));
        }
    }
    let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    out.extend(docker.map(|dir| dir.join("config.json")));
    out
}

/// What an auth file says about a repository.
pub(in crate::oci) enum Entry {
    /// The credential itself, under this key.
    Here(Credential, String),
    /// A helper knows: the end of its program's name, and what it is asked for.
    Helper {
        /// `docker-credential-NAME`.
        name: String,
        /// The key it is asked for.
        server: String,
    },
}

/// A `T` that is written as an object. serde's derived readers also take a list for a struct, its fields by their place,
/// and no tool that writes these files or reads them knows of that.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Keys<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Keys(PhantomData)).map(Self)
    }
}

#[derive(serde::Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    auths: BTreeMap<String, Object<Auth>>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(serde::Deserialize)]
struct Auth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
    registrytoken: Option<SecretString>,
}

/// One auth file.
pub(in crate::oci) struct AuthFile {
    shape: Shape,
    /// How it is called in messages.
    pub(super) name: String,
}

impl AuthFile {
    /// Reads a file; none when there is none.
    ///
    /// # Errors
    /// [`OciError::Credentials`] for a file that cannot be read or is not what it should be: taking that for "no
    /// credentials" would turn a slip of the pen into an anonymous request.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, OciError> {
        let name = path.display().to_string();
        let bad = |problem: String| OciError::Credentials { place: name.clone(), problem };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, LIMIT + 1), &mut text);
        read.map_err(|error| bad(error.to_string()))?;
        if text.len() as u64 > LIMIT {
            return Err(bad(format!("more than {LIMIT} bytes")));
        }
        Self::parse(&text, name).map(Some)
    }

    /// Reads the text of an auth file, called `name` in messages.
    pub(in crate::oci) fn parse(text: &str, name: String) -> Result<Self, OciError> {
        if text.trim().is_empty() {
            return Ok(Self { shape: Shape::default(), name });
        }
        // Only the place of a mistake is told: serde's own words quote the content.
        let Object(shape) = serde_json::from_str(text).map_err(|error| OciError::Credentials {
            place: name.clone(),
            problem: format!("not an auth file: line {}, column {}", error.line(), error.column()),
        })?;
        Ok(Self { shape, name })
    }

    /// The entry for a repository, the most specific key first: helpers of the registry, then entries from
    /// `registry/path` up to `registry`, then the store for everything.
    pub(in crate::oci) fn find(&self, host: &str, repository: &str) -> Result<Option<Entry>, OciError> {
        let candidates: Vec<String> = candidates(host, repository);
        for wanted in &candidates {
            if let Some((key, helper)) = self.shape.cred_helpers.iter().find(|(key, _)| normal(key) == *wanted) {
                return Ok(Some(Entry::Helper { name: helper.clone(), server: key.clone() }));
            }
        }
        for wanted in &candidates {
            for (key, Object(auth)) in self.shape.auths.iter().filter(|(key, _)| normal(key) == *wanted) {
                if let Some(credential) = self.credential(key, auth)? {
                    return Ok(Some(Entry::Here(credential, key.clone())));
                }
            }
        }
        Ok(self.shape.creds_store.as_ref().map(|name| {
            let server = if is_docker_io(host) { DOCKER_IO } else { host };
            Entry::Helper { name: name.clone(), server: server.into() }
        }))
    }

    /// An empty entry only marks that somebody logged in: the secret is in the store.
    fn credential(&self, key: &str, auth: &Auth) -> Result<Option<Credential>, OciError> {
        use secrecy::ExposeSecret as _;
        let filled = |secret: &Option<SecretString>| secret.clone().filter(|s| !s.expose_secret().is_empty());
        if let Some(token) = filled(&auth.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let Some(token) = filled(&auth.registrytoken) {
            return Ok(Some(Credential::Ready(token)));
        }
        if let (Some(user), Some(password)) = (auth.username.clone().filter(|u| !u.is_empty()), filled(&auth.password))
        {
            return Ok(Some(Credential::of(user, password)));
        }
        let Some(auth) = filled(&auth.auth) else { return Ok(None) };
        let bad = || OciError::Credentials {
            place: self.name.clone(),
            problem: format!("`auth` of {} is not USER:PASSWORD in base64", super::tame(key)),
        };
        let bytes = STANDARD.decode(auth.expose_secret().trim()).map_err(|_| bad())?;
        let text = String::from_utf8(bytes).map_err(|_| bad())?;
        let (user, password) = text.split_once(':').ok_or_else(bad)?;
        Ok(Some(Credential::of(user.into(), password.trim_end_matches('\0').into())))
    }
}

fn is_docker_io(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// The keys that may stand for a repository, most specific first.
fn candidates(host: &str, repository: &str) -> Vec<String> {
    let host = if is_docker_io(host) { "docker.io" } else { host };
    let mut out = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        out.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    out.push(host.into());
    out
}

/// A key as [`candidates`] spells it: docker writes whole addresses of old versions of the protocol.
fn normal(key: &str) -> String {
    let (address, rest) = match key.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, key),
    };
    let rest = rest.trim_end_matches('/');
    let rest = match rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")) {
        Some(shorter) if address || !shorter.contains('/') => shorter,
        _ => rest,
    };
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.to_ascii_lowercase();
    let host = if is_docker_io(&host) { "docker.io".into() } else { host };
    path.map_or(host.clone(), |path| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn basic(text: &str) -> String {
        STANDARD.encode(text)
    }

    fn file(text: &str) -> AuthFile {
        AuthFile::parse(text, "auth.json".into()).unwrap()
    }

    fn found(file: &AuthFile, host: &str, repository: &str) -> String {
        match file.find(host, repository).unwrap() {
            None => "none".into(),
            Some(Entry::Helper { name, server }) => format!("helper {name} for {server}"),
            Some(Entry::Here(Credential::Basic { user, password }, key)) => {
                format!("{user}:{} of {key}", password.expose_secret())
            }
            Some(Entry::Here(Credential::Identity(token), _)) => format!("identity {}", token.expose_secret()),
            Some(Entry::Here(Credential::Ready(token), _)) => format!("ready {}", token.expose_secret()),
            Some(Entry::Here(Credential::Anonymous, _)) => "anonymous".into(),
        }
    }

    #[test]
    fn the_most_specific_key_wins() {
        let text = format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/team":{{"auth":"{}"}},"r.example/team/app":{{"auth":"{}"}}}}}}"#,
            basic("all:1"),
            basic("team:2"),
            basic("app:3:with:colons")
        );
        let file = file(&text);
        assert_eq!(found(&file, "r.example", "team/app"), "app:3:with:colons of r.example/team/app");
        assert_eq!(found(&file, "r.example", "team/app/sub"), "app:3:with:colons of r.example/team/app");
        assert_eq!(found(&file, "r.example", "team/other"), "team:2 of r.example/team");
        assert_eq!(found(&file, "r.example", "teams"), "all:1 of r.example");
        assert_eq!(found(&file, "r.example:5000", "team/app"), "none", "another port is another registry");
        assert_eq!(found(&file, "evil-r.example", "team/app"), "none");
        assert_eq!(found(&file, "r.example.evil", "team/app"), "none");
    }

    #[test]
    fn keys_are_compared_without_scheme_and_version() {
        for key in [
            "r.example",
            "https://r.example",
            "https://r.example/v1/",
            "r.example/v2/",
            "R.Example",
            "http://r.example/",
        ] {
            let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#, basic("u:p"));
            assert_eq!(found(&file(&text), "r.example", "app"), format!("u:p of {key}"));
        }
        let text = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}}}}}}"#, basic("u:p"));
        assert_eq!(found(&file(&text), "docker.io", "library/app"), "u:p of https://index.docker.io/v1/");
    }

    #[test]
    fn helpers_of_a_registry_come_before_entries_and_the_store_after_them() {
        let text = format!(
            r#"{{"auths":{{"a.example":{{"auth":"{}"}},"b.example":{{"auth":"{}"}},"c.example":{{}}}},
                "credHelpers":{{"a.example":"ecr-login"}},"credsStore":"desktop"}}"#,
            basic("a:1"),
            basic("b:2")
        );
        let file = file(&text);
        assert_eq!(found(&file, "a.example", "app"), "helper ecr-login for a.example");
        assert_eq!(found(&file, "b.example", "app"), "b:2 of b.example");
        assert_eq!(found(&file, "c.example", "app"), "helper desktop for c.example");
        assert_eq!(found(&file, "docker.io", "app"), "helper desktop for https://index.docker.io/v1/");
    }

    #[test]
    fn tokens_and_separate_fields_are_understood() {
        let text = r#"{"auths":{
            "a.example":{"auth":"dTpw","identitytoken":"refresh"},
            "b.example":{"registrytoken":"bearer"},
            "c.example":{"username":"u","password":"p"},
            "d.example":{"username":"<token>","password":"t"},
            "e.example":{"auth":""}},"unknown":[1]}"#;
        let file = file(text);
        assert_eq!(found(&file, "a.example", "x"), "identity refresh");
        assert_eq!(found(&file, "b.example", "x"), "ready bearer");
        assert_eq!(found(&file, "c.example", "x"), "u:p of c.example");
        assert_eq!(found(&file, "d.example", "x"), "identity t");
        assert_eq!(found(&file, "e.example", "x"), "none");
    }

    #[test]
    fn s13_4_a_broken_file_is_an_error_that_quotes_nothing_of_it() {
        for text in
            [r#"{"auths":{"a.example":{"auth":"hunter2!"}}}"#, r#"{"auths":{"a.example":{"auth":"aHVudGVyMg=="}}}"#]
        {
            let Err(error) = file(text).find("a.example", "app") else { panic!("{text}") };
            assert!(error.to_string().contains("a.example") && !error.to_string().contains("hunter2"), "{error}");
        }
        let Err(error) = AuthFile::parse(r#"{"auths":"hunter2"}"#, "auth.json".into()) else { panic!("it is broken") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
        // Fields by their place in a list: serde would take them.
        for text in [r#"[{},{},"store"]"#, r#"{"auths":{"a.example":["dTpw"]}}"#] {
            let Err(error) = AuthFile::parse(text, "auth.json".into()) else { panic!("{text} is no auth file") };
            assert!(error.to_string().contains("not an auth file: line 1, column "), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(AuthFile::read(&directory.path().join("none")).unwrap().is_none());
        assert!(AuthFile::read(directory.path()).is_err(), "a directory is no auth file");
    }

    #[test]
    fn files_are_looked_for_where_the_tools_keep_them() {
        let find = |pairs: &[(&str, &str)]| {
            places(&Variables::of(pairs)).iter().map(|p| p.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(find(&[]), Vec::<String>::new());
        assert_eq!(find(&[("HOME", "/h")]), ["/h/.config/containers/auth.json", "/h/.docker/config.json"]);
        assert_eq!(
            find(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")]),
            ["/r/containers/auth.json", "/c/containers/auth.json", "/d/config.json"]
        );
        assert_eq!(find(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]), ["/f", "/h/.docker/config.json"]);
    }
}
