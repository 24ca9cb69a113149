//! Who asks a cluster: the user of a kubeconfig, with what a credential plugin gives in its place
//! (`client.authentication.k8s.io/v1`, the ExecCredential of the Kubernetes reference). What must not live here: requests to
//! a cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use promo_sdk::{Context, ErrorKind, ProcessRequest, ProviderError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::escape;

/// How long a plugin may take.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Variables that plugins of cloud providers find their own credentials in or behind, beside those every process gets.
pub(crate) const INHERITED: [&str; 12] = [
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CONFIG_DIR",
    "CLOUDSDK_CONFIG",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HTTPS_PROXY",
    "NO_PROXY",
    "XDG_CONFIG_HOME",
];

/// The versions of the protocol that are spoken.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// Replaces the plugin of a user by what it gives. Gives until when that is good, where the plugin says so.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a user that this version cannot be, [`ErrorKind::NotFound`] for a plugin that is not there,
/// [`ErrorKind::Denied`] for one that gives nothing.
pub(super) async fn settle(
    cx: &Context,
    kubeconfig: &Path,
    user: &mut AuthInfo,
    cluster: Option<&Cluster>,
) -> Result<Option<Timestamp>, ProviderError> {
    if user.auth_provider.is_some() {
        let why = "`auth-provider` was taken out of Kubernetes in 1.26: use a credential plugin (`exec`) instead";
        return Err(ProviderError::new(ErrorKind::Invalid, format!("{}: {why}", kubeconfig.display())));
    }
    let Some(plugin) = user.exec.take() else { return Ok(None) };
    let given = run(cx, kubeconfig, &plugin, cluster).await?;
    user.token = given.token.or(user.token.take());
    user.client_certificate_data =
        given.client_certificate_data.as_deref().map(encoded).or(user.client_certificate_data.take());
    if let Some(key) = given.client_key_data {
        user.client_key_data = Some(SecretString::from(encoded(key.expose_secret())));
    }
    Ok(given.expiration_timestamp)
}

/// A kubeconfig has base64 of what plugins give as it is.
fn encoded(pem: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(pem)
}

async fn run(
    cx: &Context,
    kubeconfig: &Path,
    plugin: &ExecConfig,
    cluster: Option<&Cluster>,
) -> Result<Status, ProviderError> {
    let place = kubeconfig.display();
    let invalid = |why: String| ProviderError::new(ErrorKind::Invalid, format!("{place}: the credential plugin {why}"));
    let command = plugin.command.clone().ok_or_else(|| invalid("has no `command`".into()))?;
    let version = plugin.api_version.as_deref().unwrap_or_default();
    if !VERSIONS.contains(&version) {
        return Err(invalid(format!("speaks `{}`: expected {}", escape::line(version), VERSIONS.join(" or "))));
    }
    if plugin.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(invalid("asks a person each time (`interactiveMode: Always`), and here nobody is asked".into()));
    }
    let directory = kubeconfig.parent().unwrap_or(Path::new("."));
    // As kubectl has it: a command with a slash is relative to the file, any other is looked for on PATH.
    let program = match command.contains('/') {
        true => directory.join(&command).display().to_string(),
        false => command.clone(),
    };
    let argv = std::iter::once(program).chain(plugin.args.iter().flatten().cloned()).collect();
    let mut request = ProcessRequest::new(argv, directory.to_owned());
    request.inherit.extend(INHERITED.map(String::from));
    request.timeout = PLUGIN_TIMEOUT;
    let pair = |entry: &std::collections::HashMap<String, String>| {
        Some((entry.get("name")?.clone(), entry.get("value")?.clone()))
    };
    request.environment = plugin.env.iter().flatten().filter_map(pair).collect::<BTreeMap<_, _>>();
    let mut asked = serde_json::json!({
        "apiVersion": version, "kind": "ExecCredential", "spec": { "interactive": false },
    });
    if let (true, Some(cluster)) = (plugin.provide_cluster_info, cluster) {
        let told =
            ExecAuthCluster::try_from(cluster).map_err(|error| invalid(format!("is to know the cluster: {error}")))?;
        let told = serde_json::to_value(told);
        asked["spec"]["cluster"] = told.map_err(|error| invalid(format!("is to know the cluster: {error}")))?;
    }
    request.environment.insert("KUBERNETES_EXEC_INFO".into(), asked.to_string());
    let output = cx.processes.run(request).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => {
            let hint = plugin.install_hint.as_deref().map(|hint| format!(": {}", escape::line(hint)));
            let message =
                format!("{place}: the credential plugin `{command}` is not there{}", hint.unwrap_or_default());
            ProviderError::new(ErrorKind::NotFound, message)
        }
        _ => error,
    })?;
    let denied = |why: String| {
        ProviderError::new(ErrorKind::Denied, format!("{place}: the credential plugin `{command}` {why}"))
    };
    if output.code != Some(0) {
        let said = escape::tail(&String::from_utf8_lossy(&output.stderr), 3).join("; ");
        let code = output.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        return Err(denied(format!("ended with {code}: {said}")));
    }
    // Nothing of what it printed is told: secrets are what it prints.
    let given: ExecCredential =
        serde_json::from_slice(&output.stdout).map_err(|_| denied("printed no ExecCredential".into()))?;
    let status = given.status.filter(|_| given.kind == "ExecCredential" && given.api_version == version);
    status
        .filter(Status::is_something)
        .ok_or_else(|| denied("gave neither a token nor a certificate with its key".into()))
}

#[derive(Deserialize)]
struct ExecCredential {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    token: Option<SecretString>,
    client_certificate_data: Option<String>,
    client_key_data: Option<SecretString>,
}

impl Status {
    fn is_something(&self) -> bool {
        self.token.is_some() || (self.client_certificate_data.is_some() && self.client_key_data.is_some())
    }
}
