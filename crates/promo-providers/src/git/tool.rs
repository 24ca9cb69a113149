//! git as a process: with nothing of the machine's settings around it, in a directory that goes away. What must not live here: what it is
//! asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use promo_sdk::{Context, ErrorKind, Output, ProcessRequest, ProviderError, SourcePlace};

use crate::escape;
use crate::private::{self, Private};

/// How long one question may take: the history of a large repository is fetched within it.
const SOON: Duration = Duration::from_secs(180);
/// How much git may say.
const OUTPUT: usize = 32 << 20;
/// How much of what it says is told, in characters.
const TOLD: usize = 400;

/// Variables of promo's own environment that git is given: how servers are reached, and whom to believe.
const INHERITED: [&str; 12] = [
    "SSH_AUTH_SOCK",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "CURL_CA_BUNDLE",
];

/// What git is told instead of the settings of machine, user and repository.
const SETTINGS: [(&str, &str); 16] = [
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.file.allow", "always"),
    ("core.hooksPath", "/dev/null"),
    ("core.askPass", ""),
    ("core.fsmonitor", "false"),
    ("credential.helper", ""),
    ("credential.interactive", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("transfer.bundleURI", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// What a server says of a commit that it does not have, or shows to nobody.
const NO_SUCH: [&str; 4] = ["not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"];
/// What is said where somebody would have to be asked, or is let in nowhere.
const DENIED: [&str; 9] = [
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "terminal prompts disabled",
    "Permission denied",
    "Host key verification failed",
    "dubious ownership",
    "returned error: 401",
    "returned error: 403",
];
/// What is said where nothing is.
const MISSING: [&str; 4] =
    ["does not appear to be a git repository", "not found", "does not exist", "No such file or directory"];

/// A copy of what was asked for.
pub(super) struct Copy<'a> {
    cx: &'a Context,
    directory: Private,
    repository: String,
    settings: BTreeMap<String, String>,
    /// Whether what the copy does not have may be fetched where it is read.
    lazy: bool,
}

impl<'a> Copy<'a> {
    /// An empty one, of a repository that names its commits with that many digits.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no git; [`ErrorKind::Offline`] where the repository lies elsewhere and no server may be
    /// reached.
    pub(super) async fn new(cx: &'a Context, place: &SourcePlace, digits: usize) -> Result<Self, ProviderError> {
        let repository = place.repository.clone();
        if !(repository.starts_with('/') || repository.starts_with("file:///")) {
            cx.http()?;
        }
        let directory = private::directory("git").map_err(|error| {
            ProviderError::new(ErrorKind::Failed, format!("no directory for what git fetches: {error}"))
        })?;
        let mut settings: BTreeMap<String, String> =
            SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        settings.insert("remote.origin.url".into(), repository.clone());
        let copy = Self { cx, directory, repository, settings, lazy: false };
        let hash = if digits == 64 { "sha256" } else { "sha1" };
        let words = ["init", "--quiet", "--bare", "--template="].map(String::from);
        let output = copy.run(words.into_iter().chain([format!("--object-format={hash}")]), Vec::new()).await?;
        if output.code != Some(0) {
            return Err(failed("git", &output));
        }
        Ok(copy)
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// From now on names are those of the mailmap that the repository has at that commit.
    pub(super) fn names(&mut self, commit: &str) {
        self.settings.insert("mailmap.blob".into(), format!("{commit}:.mailmap"));
        self.lazy = true;
    }

    /// Which git it is.
    pub(super) async fn version(&self) -> Option<String> {
        let output = self.run(["version".to_owned()], Vec::new()).await.ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = said.trim().strip_prefix("git version ")?.split(' ').next()?;
        Some(version.chars().take(40).filter(|c| c.is_ascii_alphanumeric() || *c == '.' || *c == '-').collect())
    }

    /// Runs git in the copy.
    pub(super) async fn run(
        &self,
        words: impl IntoIterator<Item = String>,
        stdin: Vec<u8>,
    ) -> Result<Output, ProviderError> {
        let argv = std::iter::once("git".to_owned()).chain(words).collect();
        let mut request = ProcessRequest::new(argv, self.directory.path().to_owned());
        request.inherit.extend(INHERITED.map(String::from));
        let own = self.directory.path().display().to_string();
        let mut set = |name: &str, value: &str| request.environment.insert(name.to_owned(), value.to_owned());
        set("GIT_DIR", &own);
        set("GIT_CONFIG_NOSYSTEM", "1");
        set("GIT_CONFIG_SYSTEM", "/dev/null");
        set("GIT_CONFIG_GLOBAL", "/dev/null");
        set("GIT_ATTR_NOSYSTEM", "1");
        set("GIT_ALLOW_PROTOCOL", "https:ssh:file");
        set("GIT_PROTOCOL_FROM_USER", "0");
        set("GIT_TERMINAL_PROMPT", "0");
        set("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        set("GIT_OPTIONAL_LOCKS", "0");
        set("LC_ALL", "C");
        if !self.lazy {
            set("GIT_NO_LAZY_FETCH", "1");
        }
        set("GIT_CONFIG_COUNT", &self.settings.len().to_string());
        for (at, (key, value)) in self.settings.iter().enumerate() {
            set(&format!("GIT_CONFIG_KEY_{at}"), key);
            set(&format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        request.stdin = stdin;
        request.timeout = SOON;
        request.output_limit = OUTPUT;
        self.cx.processes.run(request).await.map_err(|error| match error.kind {
            ErrorKind::NotFound => {
                let why = "a gate over the source asks repositories with it; `promo doctor` looks for it";
                ProviderError::new(ErrorKind::NotFound, format!("{}: {why}", error.message))
            }
            _ => error,
        })
    }

    /// What git prints where it ends well.
    ///
    /// # Errors
    /// With what it says else.
    pub(super) async fn told(&self, words: impl IntoIterator<Item = String>) -> Result<String, ProviderError> {
        let output = self.run(words, Vec::new()).await?;
        match output.code {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            _ => Err(failed(&self.repository, &output)),
        }
    }
}

/// Whether it says that there is no such commit, and not that nobody can tell.
pub(super) fn knows_no_such(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    NO_SUCH.iter().any(|word| said.contains(word))
}

/// What git says of a repository that it could not look into.
pub(super) fn failed(repository: &str, output: &Output) -> ProviderError {
    let said = String::from_utf8_lossy(&output.stderr);
    let kind = match said.as_ref() {
        said if DENIED.iter().any(|word| said.contains(word)) => ErrorKind::Denied,
        said if MISSING.iter().any(|word| said.contains(word)) => ErrorKind::NotFound,
        _ => ErrorKind::Transient,
    };
    // What follows the first line is advice for whoever has typed it.
    let first = said.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("warning: "));
    let first = first.map(|line| line.trim_start_matches("fatal: ")).unwrap_or_default();
    let told: String = first.chars().take(TOLD).collect();
    let told = if told.is_empty() { "git says nothing of why".to_owned() } else { escape::line(&told) };
    ProviderError::new(kind, format!("the repository {repository} could not be looked into: {told}"))
}
