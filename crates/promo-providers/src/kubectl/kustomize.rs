//! Overlays of kustomize: built by the real `kubectl kustomize` over exactly the files that were recorded, laid out in a private
//! directory, with nothing of the machine around it. What must not live here: what becomes of the objects.
//!
//! kustomize takes what it does not find on the disk for an address, and fetches it. So every reference is followed
//! first (`references`), and one that leads nowhere, or to a server, is refused by name. Behind that the program finds neither git nor a
//! proxy that leads anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, Output, ProcessRequest, ProviderError};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{references, secrets};
use crate::escape;
use crate::private;
use crate::settings::program_named_by;
use crate::versions::unanswered;

/// The variable that names the program.
const PROGRAM: &str = "PROMO_KUBECTL";
/// How long it may take.
const SOON: Duration = Duration::from_secs(60);
/// Bytes that an overlay may be built to.
const OUTPUT: usize = 32 << 20;
/// Overlays that are remembered.
const REMEMBERED: usize = 64;

/// Overlays as they were built, by everything that they were built from.
#[derive(Debug, Default)]
pub(super) struct Builds(Mutex<BTreeMap<Digest, Arc<str>>>, Mutex<Option<String>>);

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

impl Builds {
    /// What an overlay is built to, in YAML; `covers` says which files of the deployment are its.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an overlay that refers to what was not recorded or to a server, or that cannot be built;
    /// [`ErrorKind::NotFound`] where there is no kubectl.
    pub(super) async fn build(
        &self,
        cx: &Context,
        inputs: &Inputs,
        overlay: &str,
        covers: impl Fn(&str) -> bool,
    ) -> Result<Arc<str>, ProviderError> {
        let overlay = overlay.trim_start_matches("./").trim_end_matches('/');
        let used: BTreeMap<&str, &Digest> = inputs
            .files
            .iter()
            .map(|(path, digest)| (path.as_str(), digest))
            .filter(|(path, _)| covers(path))
            .collect();
        let program = program(cx)?;
        let mut key = format!("promo/kustomize\n{}\n{overlay}\n", program.display());
        for (path, digest) in &used {
            key.push_str(&format!("{path}\n{digest}\n"));
        }
        let key = Digest::of(key.as_bytes());
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let read = |(path, digest): (&&str, &&Digest)| Ok(((*path).to_owned(), cx.blobs.get(digest)?));
        let files: BTreeMap<String, Vec<u8>> = used.iter().map(read).collect::<Result<_, ProviderError>>()?;
        references::check(&files, overlay)?;
        let built: Arc<str> = run(cx, &program, overlay, &files).await?.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(key, built.clone());
        Ok(built)
    }
}

impl Builds {
    /// The version of the kubectl of this machine, as it says itself; kustomize is built into it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, [`ErrorKind::Invalid`] for one that does not say.
    pub(super) async fn version(&self, cx: &Context) -> Result<String, ProviderError> {
        if let Some(known) = self.1.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(known);
        }
        let program = program(cx)?;
        let alone = Alone::new()?;
        let output = alone.run(cx, &program, &["version", "--client", "--output=json"]).await?;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let version = said.pointer("/clientVersion/gitVersion").and_then(Value::as_str);
        let version = version.filter(|_| output.code == Some(0));
        let version = version.ok_or_else(|| named(cx, unanswered(&program.display().to_string(), &output)))?;
        let version = escape::line(version);
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.clone());
        Ok(version)
    }
}

/// The kubectl of this machine: the one that `PROMO_KUBECTL` names, else the first on PATH.
fn program(cx: &Context) -> Result<PathBuf, ProviderError> {
    let variable = |name: &str| {
        let value = cx.secrets.variable(name).map(|value| value.expose_secret().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let name = match variable(PROGRAM) {
        Some(path) if path.contains('/') => return Ok(cx.path(path)),
        Some(name) => name,
        None => "kubectl".to_owned(),
    };
    let path = variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(&name)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let why = "`kustomize` needs kubectl, on PATH or where PROMO_KUBECTL says";
        ProviderError::new(ErrorKind::NotFound, format!("program `{name}` was not found on PATH: {why}"))
    })
}

/// An error of that program, with the variable that names it.
fn named(cx: &Context, error: ProviderError) -> ProviderError {
    program_named_by(cx.secrets.as_ref(), PROGRAM, error)
}

/// A private directory that goes away again, in which kubectl finds nothing of the machine around it.
struct Alone {
    base: PathBuf,
    _directory: private::Private,
}

fn unwritten(error: std::io::Error) -> ProviderError {
    ProviderError::new(ErrorKind::Failed, format!("writing what kustomize is given: {error}"))
}

impl Alone {
    fn new() -> Result<Self, ProviderError> {
        let directory = private::directory("kustomize").map_err(unwritten)?;
        // kustomize names places by where they really are.
        let base = directory.path().canonicalize().map_err(unwritten)?;
        for own in ["home", "none", "tmp", "tree"] {
            std::fs::create_dir(base.join(own)).map_err(unwritten)?;
        }
        Ok(Self { base, _directory: directory })
    }

    fn tree(&self) -> PathBuf {
        self.base.join("tree")
    }

    async fn run(&self, cx: &Context, program: &Path, words: &[&str]) -> Result<Output, ProviderError> {
        let argv = std::iter::once(program.display().to_string()).chain(words.iter().map(|word| (*word).to_owned()));
        let mut request = ProcessRequest::new(argv.collect(), self.tree());
        request.inherit.clear();
        let own = |name: &str| self.base.join(name).display().to_string();
        let nowhere = "http://127.0.0.1:9";
        request.environment = [
            ("HOME", own("home")),
            ("XDG_CONFIG_HOME", own("home")),
            ("TMPDIR", own("tmp")),
            ("KUBECONFIG", own("none/kubeconfig")),
            // Neither git nor helm nor a plugin is found, and no server is reached.
            ("PATH", own("none")),
            ("HTTP_PROXY", nowhere.into()),
            ("HTTPS_PROXY", nowhere.into()),
            ("LANG", "C".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        request.timeout = SOON;
        request.output_limit = OUTPUT;
        tokio::select! {
            biased;
            () = cx.cancelled.cancelled() => Err(ProviderError::new(ErrorKind::Cancelled, "kustomize was stopped")),
            output = cx.processes.run(request) => output.map_err(|error| named(cx, error)),
        }
    }
}

/// Builds an overlay.
async fn run(
    cx: &Context,
    program: &Path,
    overlay: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<String, ProviderError> {
    let alone = Alone::new()?;
    let tree = alone.tree();
    for (path, bytes) in files {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !path.split('/').all(plain) {
            return Err(invalid(format!("`{path}` is not a plain relative path")));
        }
        let file = tree.join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(&tree)).map_err(unwritten)?;
        std::fs::write(file, bytes).map_err(unwritten)?;
    }
    let output = alone.run(cx, program, &["kustomize", &tree.join(overlay).display().to_string()]).await?;
    if output.code != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", tree.display()), "");
        // It quotes what it cannot make sense of, secrets too.
        let said = escape::tail(&secrets::of(files).masked(&said), 3).join("; ");
        return Err(invalid(format!("{overlay}: kustomize cannot build it: {}", said.trim_start_matches("error: "))));
    }
    if output.stdout.len() >= OUTPUT {
        return Err(invalid(format!("{overlay} is built to more than {} MiB", OUTPUT >> 20)));
    }
    String::from_utf8(output.stdout).map_err(|_| invalid(format!("{overlay} is built to what is no text in UTF-8")))
}
