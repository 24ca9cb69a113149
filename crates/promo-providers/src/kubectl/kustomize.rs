//! Overlays of kustomize: built by the real `kubectl kustomize` over exactly the files that were recorded, laid out in a private
//! directory, with nothing of the machine around it. What must not live here: what becomes of the objects.
//!
//! kustomize takes what it does not find on the disk for an address, and fetches it. So every reference is followed here
//! first, and one that leads nowhere, or to a server, is refused by name. Behind that the program finds neither git nor a proxy
//! that leads anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, ProcessRequest, ProviderError};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::escape;

/// The variable that names the program.
const PROGRAM: &str = "PROMO_KUBECTL";
/// What the file of an overlay is called.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// How long it may take.
const SOON: Duration = Duration::from_secs(60);
/// Bytes that an overlay may be built to.
const OUTPUT: usize = 32 << 20;
/// Overlays that are remembered.
const REMEMBERED: usize = 64;

/// Overlays as they were built, by everything that they were built from.
#[derive(Debug, Default)]
pub(super) struct Builds(Mutex<BTreeMap<Digest, Arc<str>>>);

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
        Follow { files: &files, seen: BTreeSet::new() }.directory(overlay, "`kustomize`")?;
        let built: Arc<str> = run(cx, &program, overlay, &files).await?.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(key, built.clone());
        Ok(built)
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

/// Builds an overlay in a private directory that goes away again.
async fn run(
    cx: &Context,
    program: &Path,
    overlay: &str,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<String, ProviderError> {
    let failed = |error: std::io::Error| {
        ProviderError::new(ErrorKind::Failed, format!("writing what kustomize is given: {error}"))
    };
    let directory = crate::private::directory("promo-kustomize-").map_err(failed)?;
    // kustomize names places by where they really are.
    let base = directory.path().canonicalize().map_err(failed)?;
    let tree = base.join("tree");
    for (path, bytes) in files {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !path.split('/').all(plain) {
            return Err(invalid(format!("`{path}` is not a plain relative path")));
        }
        let file = tree.join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(&tree)).map_err(failed)?;
        std::fs::write(file, bytes).map_err(failed)?;
    }
    for own in ["home", "none", "tmp"] {
        std::fs::create_dir(base.join(own)).map_err(failed)?;
    }
    let argv = [program.display().to_string(), "kustomize".into(), tree.join(overlay).display().to_string()];
    let mut request = ProcessRequest::new(argv.to_vec(), tree.clone());
    request.inherit.clear();
    let own = |name: &str| base.join(name).display().to_string();
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
    let output = tokio::select! {
        biased;
        () = cx.cancelled.cancelled() => return Err(ProviderError::new(ErrorKind::Cancelled, "kustomize was stopped")),
        output = cx.processes.run(request) => output?,
    };
    if output.code != Some(0) {
        let said = String::from_utf8_lossy(&output.stderr).replace(&format!("{}/", tree.display()), "");
        let said = escape::tail(&said, 3).join("; ");
        return Err(invalid(format!("{overlay}: kustomize cannot build it: {}", said.trim_start_matches("error: "))));
    }
    if output.stdout.len() >= OUTPUT {
        return Err(invalid(format!("{overlay} is built to more than {} MiB", OUTPUT >> 20)));
    }
    String::from_utf8(output.stdout).map_err(|_| invalid(format!("{overlay} is built to what is no text in UTF-8")))
}

/// Follows what kustomizations refer to.
struct Follow<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    seen: BTreeSet<String>,
}

impl Follow<'_> {
    /// A directory with a kustomization of its own, to which `from` refers.
    fn directory(&mut self, directory: &str, from: &str) -> Result<(), ProviderError> {
        let Some(name) = NAMES.iter().find(|name| self.files.contains_key(&below(directory, name))) else {
            return Err(invalid(format!("{from}: {directory} has no kustomization.yaml among the recorded files")));
        };
        let path = below(directory, name);
        if !self.seen.insert(path.clone()) {
            return Ok(());
        }
        let text =
            std::str::from_utf8(&self.files[&path]).map_err(|_| invalid(format!("{path} is no text in UTF-8")))?;
        let options = serde_saphyr::options! { with_snippet: false };
        let read: Result<Value, _> = serde_saphyr::from_str_with_options(text, options);
        let kustomization = read.map_err(|error| invalid(format!("{path}: {}", escape::line(&error.to_string()))))?;
        for helm in ["helmCharts", "helmChartInflationGenerator"] {
            if kustomization.get(helm).is_some_and(|charts| charts.as_array().is_none_or(|charts| !charts.is_empty())) {
                let why = "charts are not inflated here: deploy them with `deploy.helm`";
                return Err(invalid(format!("{path}: `{helm}`: {why}")));
            }
        }
        let texts = |key: &str| {
            let list = kustomization.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(String::from).collect::<Vec<_>>()
        };
        for key in ["resources", "bases", "components", "transformers", "generators", "validators"] {
            for reference in texts(key) {
                // These three can also be written out in place.
                if matches!(key, "transformers" | "generators" | "validators") && in_place(&reference) {
                    continue;
                }
                self.reference(&path, directory, key, &reference, true)?;
            }
        }
        for key in ["configurations", "crds", "patchesStrategicMerge"] {
            for reference in texts(key).into_iter().filter(|text| !in_place(text)) {
                self.reference(&path, directory, key, &reference, false)?;
            }
        }
        for key in ["patches", "patchesJson6902", "replacements"] {
            for entry in kustomization.get(key).and_then(Value::as_array).into_iter().flatten() {
                if let Some(reference) = entry.get("path").and_then(Value::as_str) {
                    self.reference(&path, directory, key, reference, false)?;
                }
            }
        }
        for key in ["configMapGenerator", "secretGenerator"] {
            for entry in kustomization.get(key).and_then(Value::as_array).into_iter().flatten() {
                let list = |key: &str| entry.get(key).and_then(Value::as_array).into_iter().flatten();
                let named = list("files").chain(list("envs")).chain(entry.get("env")).filter_map(Value::as_str);
                for reference in named {
                    let reference = reference.split_once('=').map_or(reference, |(_, path)| path);
                    self.reference(&path, directory, key, reference, false)?;
                }
            }
        }
        if let Some(reference) = kustomization.pointer("/openapi/path").and_then(Value::as_str) {
            self.reference(&path, directory, "openapi", reference, false)?;
        }
        Ok(())
    }

    /// One reference of a kustomization at `path`: a recorded file, or a directory where one may stand.
    fn reference(
        &mut self,
        path: &str,
        directory: &str,
        key: &str,
        reference: &str,
        directories: bool,
    ) -> Result<(), ProviderError> {
        let shown = escape::line(reference);
        let target = joined(directory, reference);
        if let Some(target) = &target {
            if self.files.contains_key(target) {
                return Ok(());
            }
            if directories && NAMES.iter().any(|name| self.files.contains_key(&below(target, name))) {
                return self.directory(target, path);
            }
        }
        if is_remote(reference) {
            let why = "what is elsewhere can change without a plan: copy it into the repository";
            return Err(invalid(format!("{path}: `{key}` refers to `{shown}`: {why}")));
        }
        match target {
            None => Err(invalid(format!(
                "{path}: `{key}` refers to `{shown}`, which leads out of the pipeline's directory"
            ))),
            Some(target) => Err(invalid(format!(
                "{path}: `{key}` refers to `{shown}`, which is not among the files of this deployment: name it in `files`, as \
                 `{}`",
                escape::line(&target)
            ))),
        }
    }
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// A path relative to a directory, without `.` and `..`; nothing where it leads out.
fn joined(directory: &str, reference: &str) -> Option<String> {
    if reference.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a text is no path but what could stand in a file: no path is a table in YAML.
fn in_place(text: &str) -> bool {
    let read: Result<Value, _> = serde_saphyr::from_str(text);
    !text.starts_with("http") && read.is_ok_and(|value| value.is_object())
}

/// Whether kustomize would take it for an address.
fn is_remote(reference: &str) -> bool {
    let host = reference.split(['/', ':']).next().unwrap_or_default();
    reference.contains("://")
        || reference.contains("?ref=")
        || reference.contains(".git")
        || reference.starts_with("git::")
        || reference.contains('@')
        || (host.contains('.') && !host.starts_with('.') && reference.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(files: &[(&str, &str)]) -> Result<(), ProviderError> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        Follow { files: &files, seen: BTreeSet::new() }.directory("over", "`kustomize`")
    }

    #[test]
    fn s2_4_everything_that_an_overlay_uses_is_among_what_was_recorded() {
        let base = ("base/kustomization.yml", "resources: [web.yaml]");
        let over = "resources: [../base, own.yaml]\npatches: [{ path: patch.yaml }]\n\
                    configMapGenerator: [{ name: a, files: [key=data/a.txt], envs: [a.env] }]\n\
                    patchesStrategicMerge:\n- |-\n  kind: Deployment\n";
        let files = [
            ("over/kustomization.yaml", over),
            base,
            ("base/web.yaml", ""),
            ("over/own.yaml", ""),
            ("over/patch.yaml", ""),
            ("over/data/a.txt", ""),
            ("over/a.env", ""),
        ];
        follow(&files).unwrap();
        for (missing, named) in [
            (
                1,
                "over/kustomization.yaml: `resources` refers to `../base`, which is not among the files of this deployment: name it in `files`, as `base`",
            ),
            (2, "base/kustomization.yml: `resources` refers to `web.yaml`"),
            (4, "as `over/patch.yaml`"),
            (5, "`configMapGenerator` refers to `data/a.txt`"),
            (6, "as `over/a.env`"),
        ] {
            let mut without = files.to_vec();
            without.remove(missing);
            let error = follow(&without).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(named), "{error}");
        }
        // One that refers to itself ends.
        follow(&[("over/kustomization.yaml", "resources: [../over]")]).unwrap();
    }

    #[test]
    fn what_is_elsewhere_is_refused_by_name() {
        for reference in [
            "https://example.com/base?ref=v1",
            "github.com/example/app/base",
            "git@github.com:example/app.git",
            "ssh://git.example/app",
            "git::https://git.example/app",
        ] {
            let error = follow(&[("over/kustomization.yaml", &format!("resources: [\"{reference}\"]"))]).unwrap_err();
            assert!(error.message.contains("copy it into the repository"), "{error}");
            let patch = format!("patches: [{{ path: \"{reference}\" }}]");
            assert!(follow(&[("over/kustomization.yaml", &patch)]).is_err(), "{patch}");
        }
        for (text, why) in [
            ("resources: [../../etc]", "leads out of"),
            ("resources: [/etc/passwd]", "leads out of"),
            ("helmCharts: [{ name: a }]", "deploy.helm"),
            ("resources: [", "kustomization.yaml"),
        ] {
            let error = follow(&[("over/kustomization.yaml", text)]).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
        assert!(follow(&[]).unwrap_err().message.contains("no kustomization.yaml"));
    }
}
