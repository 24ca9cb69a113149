//! What the machine that runs promo says about clusters. What lives here: reading `clusters.toml`. What must not: anything
//! that a pipeline could set: whoever writes the pipeline names a cluster and must not choose where that name leads (S0.1).
//! There is no ambient cluster: neither `KUBECONFIG` nor a current context counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use promo_core::diagnostic::nearest;
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde::Deserialize;

use crate::settings::{machine_file, named_by, told};

/// The format of `clusters.toml`.
const FORMAT: u32 = 1;

/// Everything that is said about clusters: `clusters.toml`, format 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of the format; 1.
    format: u32,
    /// By the name that targets use.
    #[serde(default, rename = "cluster")]
    clusters: BTreeMap<String, ClusterSettings>,
}

/// How one cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// A kubeconfig file: server, authority, and who asks.
    pub kubeconfig: PathBuf,
    /// The context in it; it is always named, so that `kubectl config use-context` moves nothing.
    pub context: String,
}

impl Settings {
    /// The settings of the user who runs promo: the file that `PROMO_CLUSTERS` names, else `promo/clusters.toml` in the
    /// user's configuration directory.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn of_user(cx: &Context) -> Result<Self, ProviderError> {
        let none = || Ok(Self { format: FORMAT, clusters: BTreeMap::new() });
        let (secrets, variable) = (cx.secrets.as_ref(), "PROMO_CLUSTERS");
        let file = machine_file(secrets, variable, "clusters.toml");
        file.map_or_else(none, |file| Self::read(&file).map_err(|error| named_by(secrets, variable, error)))
    }

    /// Reads a file. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for one that is not there, [`ErrorKind::Invalid`] for one that is not what it should be,
    /// [`ErrorKind::Newer`] for a newer format.
    pub fn read(path: &Path) -> Result<Self, ProviderError> {
        let invalid = |kind, why: String| ProviderError::new(kind, format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| invalid(ErrorKind::NotFound, error.to_string()))?;
        // Of a newer file nothing else is understood, and nothing else is said.
        if let Ok(Versioned { format }) = toml::from_str(&text)
            && format > FORMAT
        {
            let why = format!("`format` is {format}, and this promo reads up to {FORMAT}: a newer promo wrote it");
            return Err(invalid(ErrorKind::Newer, why));
        }
        let other = |why: String| {
            let expected =
                format!("`format = {FORMAT}`, and for each cluster [cluster.NAME] with kubeconfig and context");
            ProviderError { expected: Some(expected), ..invalid(ErrorKind::Invalid, why) }
        };
        let mut settings: Self = toml::from_str(&text).map_err(|error| other(told(&error, &text)))?;
        if settings.format != FORMAT {
            return Err(other(format!("`format` is {}, expected {FORMAT}", settings.format)));
        }
        // Whole, because helm and credential plugins are run in directories of their own.
        let file = std::path::absolute(path).map_err(|error| invalid(ErrorKind::Invalid, error.to_string()))?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        for cluster in settings.clusters.values_mut() {
            cluster.kubeconfig = directory.join(&cluster.kubeconfig);
        }
        Ok(settings)
    }

    /// How the cluster of that name is reached.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a name that nothing is said about: no file of the pipeline is wrong, this machine lacks one.
    pub fn named(&self, name: &str) -> Result<&ClusterSettings, ProviderError> {
        self.clusters.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
            let meant = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let known = known + &meant.unwrap_or_default();
            let message = format!(
                "nothing says where cluster `{name}` is (known: {known}): name its kubeconfig and context in \
                 promo/clusters.toml of the user's configuration directory, or in the file that PROMO_CLUSTERS names"
            );
            ProviderError::new(ErrorKind::NotFound, message)
        })
    }
}

/// What a file of any format says first.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, ProviderError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("clusters.toml");
        std::fs::write(&file, text).unwrap();
        Settings::read(&file)
    }

    #[test]
    fn a_kubeconfig_is_told_whole_whatever_the_file_is_called_by() {
        // A path that leads from here to a directory elsewhere.
        let directory = tempfile::tempdir().unwrap();
        let here = std::env::current_dir().unwrap();
        let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
        let file = up.join(directory.path().strip_prefix("/").unwrap()).join("clusters.toml");
        std::fs::write(&file, "format = 1\n[cluster.a]\nkubeconfig = \"a.yaml\"\ncontext = \"c\"\n").unwrap();
        assert!(file.is_relative(), "{}", file.display());
        let settings = Settings::read(&file).unwrap();
        let kubeconfig = &settings.named("a").unwrap().kubeconfig;
        assert!(kubeconfig.is_absolute(), "{}", kubeconfig.display());
        std::fs::write(directory.path().join("a.yaml"), "").unwrap();
        assert!(kubeconfig.is_file(), "{}", kubeconfig.display());
    }

    #[test]
    fn a_cluster_is_a_kubeconfig_and_a_context_that_is_always_named() {
        let good = "format = 1\n[cluster.nonprod]\nkubeconfig = \"nonprod.yaml\"\ncontext = \"admin\"\n";
        let settings = read(good).unwrap();
        let cluster = settings.named("nonprod").unwrap();
        assert!(cluster.kubeconfig.is_absolute() && cluster.kubeconfig.ends_with("nonprod.yaml"), "{cluster:?}");
        let error = settings.named("nonprd").unwrap_err();
        assert!(error.message.contains("(known: nonprod; did you mean `nonprod`?): name"), "{error}");
        let error = settings.named("prod").unwrap_err();
        assert!(!error.message.contains("did you mean"), "{error}");
        assert!(error.message.contains("`prod`") && error.message.contains("known: nonprod"), "{error}");
        for (bad, kind, word) in [
            ("format = 1\n[cluster.a]\nkubeconfig = \"a\"\n", ErrorKind::Invalid, "context"),
            (
                "format = 1\n[cluster.a]\nkubeconfig = \"a\"\ncontext = \"b\"\ntoken = \"c\"\n",
                ErrorKind::Invalid,
                "token",
            ),
            ("format = 0\n", ErrorKind::Invalid, "expected 1"),
            ("format = 2\n[future]\n", ErrorKind::Newer, "newer promo"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.kind == kind && error.message.contains(word), "{bad}: {error}");
        }
    }
}
