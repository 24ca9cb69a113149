//! Credential helpers: programs named `docker-credential-NAME` (docker/docker-credential-helpers, "Development"). What
//! lives here: running one, and reading its answer. What must not: keeping answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use promo_sdk::{ErrorKind, ProcessRequest, ProcessRunner};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Credential;
use crate::oci::error::{OciError, tame};

/// A helper that asks a person, or a server that is away, must not hold a run up.
const TIME: Duration = Duration::from_secs(10);
const OUTPUT: usize = 64 << 10;

/// What helpers of the usual clouds and key rings need to find their own credentials (S13.1).
const INHERIT: &[&str] = &[
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "DOCKER_CONFIG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_ECR_CACHE_DIR",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "AZURE_CONFIG_DIR",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    username: String,
    secret: SecretString,
}

/// The program's name. A name with a path in it would run whatever lies there.
fn program(name: &str, place: &str) -> Result<String, OciError> {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if plain {
        return Ok(format!("docker-credential-{name}"));
    }
    Err(OciError::Credentials { place: place.into(), problem: format!("`{}` is no name of a helper", tame(name)) })
}

/// Asks helper `name` for `server`; none when it says that it has none. `place` is the file that names the helper.
///
/// # Errors
/// [`OciError::Credentials`] for any other failure. What the helper wrote is never repeated: it may hold the secret.
pub(super) async fn ask(
    processes: &Arc<dyn ProcessRunner>,
    root: &std::path::Path,
    name: &str,
    server: &str,
    place: &str,
) -> Result<Option<Credential>, OciError> {
    let program = program(name, place)?;
    let bad = |problem: String| OciError::Credentials { place: place.into(), problem };
    let directory: PathBuf = if root.as_os_str().is_empty() { ".".into() } else { root.into() };
    let mut request = ProcessRequest::new(vec![program.clone(), "get".into()], directory);
    request.inherit.extend(INHERIT.iter().map(|name| (*name).to_owned()));
    request.stdin = server.as_bytes().to_vec();
    request.timeout = TIME;
    request.output_limit = OUTPUT;
    let output = processes.run(request).await.map_err(|error| match error.kind {
        ErrorKind::Cancelled => OciError::Cancelled,
        // Its own words: they name the program and the time limit, never the output.
        _ => bad(error.message),
    })?;
    if output.code != Some(0) {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).to_lowercase();
        // The one answer that helpers agree on (credentials.ErrCredentialsNotFound).
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let code = output.code.map_or_else(|| "a signal".into(), |code| format!("exit code {code}"));
        return Err(bad(format!("`{program} get` ended with {code}")));
    }
    let reply: Reply =
        serde_json::from_slice(&output.stdout).map_err(|_| bad(format!("`{program} get` gave no credentials")))?;
    if reply.secret.expose_secret().is_empty() {
        return Ok(None);
    }
    Ok(Some(Credential::of(reply.username, reply.secret)))
}

#[cfg(test)]
mod tests {
    use promo_sdk::testing::ScriptedProcesses;
    use promo_sdk::{Output, ProviderError};

    use super::*;

    async fn with(
        answer: impl Fn(&ProcessRequest) -> Result<Output, ProviderError> + Send + Sync + 'static,
        name: &str,
    ) -> (Result<Option<Credential>, OciError>, Vec<ProcessRequest>) {
        let scripted = Arc::new(ScriptedProcesses::new(answer));
        let runner: Arc<dyn ProcessRunner> = scripted.clone();
        let answer = ask(&runner, "/".as_ref(), name, "r.example", "config.json").await;
        (answer, scripted.requests())
    }

    fn output(code: i32, stdout: &str) -> Result<Output, ProviderError> {
        Ok(Output { code: Some(code), stdout: stdout.into(), stderr: Vec::new() })
    }

    #[tokio::test]
    async fn a_helper_is_asked_on_its_input_and_has_ten_seconds() {
        let (answer, requests) =
            with(|_| output(0, r#"{"ServerURL":"r.example","Username":"u","Secret":"p"}"#), "ecr-login").await;
        let Ok(Some(Credential::Basic { user, password })) = answer else { panic!("{answer:?}") };
        assert_eq!((user.as_str(), password.expose_secret()), ("u", "p"));
        assert_eq!(requests[0].argv, ["docker-credential-ecr-login", "get"]);
        assert_eq!(requests[0].stdin, b"r.example");
        assert_eq!(requests[0].timeout, Duration::from_secs(10));
        let (answer, _) = with(|_| output(0, r#"{"Username":"<token>","Secret":"t"}"#), "desktop").await;
        assert!(matches!(answer, Ok(Some(Credential::Identity(_)))), "{answer:?}");
    }

    #[tokio::test]
    async fn only_not_found_means_anonymous_and_no_output_is_repeated_s13_4() {
        let (answer, _) = with(|_| output(1, "credentials not found in native keychain\n"), "x").await;
        assert!(matches!(answer, Ok(None)), "{answer:?}");
        for (code, stdout) in [(1, "hunter2"), (0, "hunter2"), (0, r#"{"Username":"hunter2"}"#), (2, "")] {
            let (answer, _) = with(move |_| output(code, stdout), "x").await;
            let error = answer.unwrap_err();
            assert!(matches!(error, OciError::Credentials { .. }), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let (answer, _) = with(|_| Err(ProviderError::new(ErrorKind::Transient, "did not end within 10 s")), "x").await;
        assert!(answer.unwrap_err().to_string().contains("did not end within 10 s"));
    }

    #[tokio::test]
    async fn a_helper_is_a_name_and_never_a_path() {
        for name in ["../evil", "a/b", "", "a b", "a;b"] {
            let (answer, requests) = with(|_| output(0, "{}"), name).await;
            assert!(matches!(answer, Err(OciError::Credentials { .. })), "{name}");
            assert!(requests.is_empty());
        }
    }
}
