//! helm as a process: which program, with nothing of the machine's own settings around it. What must not live here: what it is
//! asked to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use promo_sdk::{Context, ErrorKind, Output, ProcessRequest, ProviderError};
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;

use crate::escape;
use crate::kubernetes::INHERITED;
use crate::masks::Masks;
use crate::private::Private;
use crate::settings::program_named_by;
use crate::versions::unanswered;

/// What a rendering may be.
const OUTPUT: usize = 64 << 20;
/// How long helm may take for what reaches no cluster.
const SOON: Duration = Duration::from_secs(120);
/// The first version whose releases carry labels.
const LABELS_SINCE: (u32, u32) = (3, 13);

/// The variable that names the program.
const PROGRAM: &str = "PROMO_HELM";

/// A program, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    program: String,
    pub(super) major: u32,
    /// As it says itself.
    pub(super) version: String,
}

/// What was found, once: the environments of a plan ask at the same time, and asking is a process.
#[derive(Debug, Default)]
pub(super) struct Tools(OnceCell<Tool>);

impl Tools {
    /// The helm of this machine: the one that `PROMO_HELM` names, else the first on PATH.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none, [`ErrorKind::Invalid`] for one that is too old.
    pub(super) async fn find(&self, cx: &Context) -> Result<Tool, ProviderError> {
        self.0.get_or_try_init(|| Self::ask(cx)).await.cloned()
    }

    /// The same before anybody asked what it is.
    pub(super) fn unasked(cx: &Context) -> Tool {
        let named = cx.secrets.variable(PROGRAM).map(|value| value.expose_secret().to_owned());
        let program = match named.filter(|named| !named.is_empty()) {
            Some(path) if path.contains('/') => cx.path(path).display().to_string(),
            Some(name) => name,
            None => "helm".to_owned(),
        };
        Tool { program, major: 0, version: String::new() }
    }

    async fn ask(cx: &Context) -> Result<Tool, ProviderError> {
        let (directory, unknown) = (private()?, Self::unasked(cx));
        let words = ["version", "--template", "{{.Version}}"].map(String::from).to_vec();
        let output = unknown.run(cx, directory.path(), words, SOON).await.map_err(|error| match error.kind {
            ErrorKind::NotFound => {
                let why = "`deploy.helm` needs helm 3.13 or newer, on PATH or where PROMO_HELM says";
                ProviderError::new(ErrorKind::NotFound, format!("{}: {why}", error.message))
            }
            _ => program_named_by(cx.secrets.as_ref(), PROGRAM, error),
        })?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut numbers = said.trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
        let Some((major, minor)) = numbers.next().zip(numbers.next()).filter(|_| output.code == Some(0)) else {
            let error = unanswered(&unknown.program, &output);
            return Err(program_named_by(cx.secrets.as_ref(), PROGRAM, error));
        };
        if (major, minor) < LABELS_SINCE {
            let message = format!("`{}` says that it is helm {}", unknown.program, escape::line(&said));
            let expected = Some("helm 3.13 or newer, on PATH or where PROMO_HELM says".to_owned());
            return Err(ProviderError { expected, ..ProviderError::new(ErrorKind::Invalid, message) });
        }
        let found = Tool { major, version: said, ..unknown };
        tracing::debug!(program = found.program, version = found.version, "helm");
        Ok(found)
    }
}

/// A directory that only this user reads.
pub(super) fn private() -> Result<Private, ProviderError> {
    crate::private::directory("helm").map_err(|error| put_failed(&error))
}

/// What could not be written into a private directory.
pub(super) fn put_failed(error: &std::io::Error) -> ProviderError {
    ProviderError::new(ErrorKind::Failed, format!("writing what helm is given: {error}"))
}

impl Tool {
    /// Runs it in a private directory.
    pub(super) async fn run(
        &self,
        cx: &Context,
        directory: &Path,
        words: Vec<String>,
        timeout: Duration,
    ) -> Result<Output, ProviderError> {
        let argv = std::iter::once(self.program.clone()).chain(words).collect();
        let mut request = ProcessRequest::new(argv, directory.to_owned());
        request.inherit.extend(INHERITED.map(String::from));
        for (variable, own) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
            ("HELM_PLUGINS", "plugins"),
            // What a server offers changes with the definitions of kinds: what another process remembers of it counts for nothing.
            ("KUBECACHEDIR", "kube"),
        ] {
            request.environment.insert(variable.into(), directory.join(own).display().to_string());
        }
        request.environment.insert("HELM_DRIVER".into(), "secret".into());
        request.timeout = timeout;
        request.output_limit = OUTPUT;
        cx.processes.run(request).await
    }

    /// Renders, or does something else that reaches no cluster; gives what it printed.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with what helm says.
    pub(super) async fn offline(
        &self,
        cx: &Context,
        given: &Given,
        words: Vec<String>,
    ) -> Result<String, ProviderError> {
        let output = self.run(cx, given.directory.path(), words, SOON).await?;
        if output.code != Some(0) {
            return Err(ProviderError::new(
                ErrorKind::Invalid,
                format!("the chart cannot be rendered: {}", given.masks.of_rendering(&output)),
            ));
        }
        if output.stdout.len() >= OUTPUT {
            let message = format!("the chart renders to more than {OUTPUT} bytes");
            return Err(ProviderError::new(ErrorKind::Invalid, message));
        }
        String::from_utf8(output.stdout)
            .map_err(|_| ProviderError::new(ErrorKind::Invalid, "the chart renders to what is no text in UTF-8"))
    }
}

/// How a cluster is named to helm: never by what the machine has around it.
pub(super) fn cluster(kubeconfig: &Path, context: &str, namespace: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--kube-context={context}"),
        format!("--namespace={namespace}"),
    ]
}

/// The same for a person to type.
pub(super) fn typed(kubeconfig: &Path, context: &str, namespace: &str) -> String {
    format!("--kubeconfig {} --kube-context {context} --namespace {namespace}", kubeconfig.display())
}

/// What is given to helm, in a private directory that goes away with the value.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) directory: Private,
    pub(super) chart: PathBuf,
    pub(super) values: Vec<PathBuf>,
    /// What is not told of it.
    pub(super) masks: Masks,
}

impl Given {
    /// The arguments that name the values, those that count most last.
    pub(super) fn values(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(|file| format!("--values={}", file.display()))
    }
}
