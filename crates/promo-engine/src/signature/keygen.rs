//! Signing with `ssh-keygen -Y sign` (OpenSSH 8.1 and later), which brings ssh-agent, security keys and passphrases.

use std::path::Path;

use promo_core::approval::{ApprovalProblem, Envelope, NAMESPACE, PublicKey, Statement};
use promo_sdk::{ProcessRequest, ProcessRunner};

use super::error::SignatureError;
use super::signing::statement_text;
use super::verify::signed_by;

/// Largest key file that is read, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Signs a statement with the key in the file `key` (a private key, or a public one whose private half is in ssh-agent).
/// What comes back is checked before it is returned.
///
/// # Errors
/// [`SignatureError::KeyFile`], [`SignatureError::Process`] when `ssh-keygen` cannot be run, [`SignatureError::Keygen`]
/// when it refuses, [`SignatureError::Approval`] when the statement names another key, [`SignatureError::Statement`].
pub async fn sign_with_ssh_keygen(
    runner: &dyn ProcessRunner,
    key: &Path,
    statement: &Statement,
) -> Result<Envelope, SignatureError> {
    let public = read_public_key(key)?;
    let text = statement_text(statement, &public)?;
    let armored = sign_bytes_with_ssh_keygen(runner, key, NAMESPACE, text.as_bytes()).await?;
    Ok(Envelope::new(text, armored))
}

/// Signs any bytes for a namespace with the key in the file `key`, as [`sign_with_ssh_keygen`] does, and gives the armored
/// signature.
///
/// # Errors
/// As [`sign_with_ssh_keygen`].
pub async fn sign_bytes_with_ssh_keygen(
    runner: &dyn ProcessRunner,
    key: &Path,
    namespace: &str,
    message: &[u8],
) -> Result<String, SignatureError> {
    let public = read_public_key(key)?;
    let request = ssh_keygen_request(key, namespace, message)?;
    let output = runner.run(request).await.map_err(SignatureError::Process)?;
    if output.code != Some(0) {
        let said = plain(&String::from_utf8_lossy(&output.stderr));
        // On a terminal it said there why.
        let ended = output.code.map_or("a signal ended it".into(), |code| format!("it exited with {code}"));
        return Err(SignatureError::Keygen(if said.is_empty() { ended } else { said }));
    }
    let armored = String::from_utf8(output.stdout).map_err(|_| SignatureError::Armor)?;
    let signed = signed_by(message, &armored, namespace)?;
    if signed != *public.fingerprint() {
        return Err(ApprovalProblem::OtherKey { named: public.fingerprint().clone(), signed }.into());
    }
    Ok(armored)
}

/// What `ssh-keygen` said, in a line: without the box that it draws around a warning.
fn plain(said: &str) -> String {
    let lines = said.lines().map(|line| line.trim().trim_matches('@').trim()).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ").chars().take(500).collect()
}

/// The process that signs `message`: the message goes in by standard input, the armored signature comes out by standard
/// output. Passes on what reaches ssh-agent, a security key and a program that asks for the passphrase.
///
/// # Errors
/// [`SignatureError::KeyFile`] when the path is not UTF-8.
pub fn ssh_keygen_request(key: &Path, namespace: &str, message: &[u8]) -> Result<ProcessRequest, SignatureError> {
    let path = key.to_str().ok_or_else(|| file_error(key, "the path is not UTF-8"))?;
    // `-f` takes the next argument whatever it looks like, so a path cannot become an option.
    // Quiet about what goes well, so that a terminal shows questions and refusals alone.
    let argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", path];
    let mut request = ProcessRequest::new(argv.map(String::from).to_vec(), ".".into());
    let reach =
        ["SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SSH_SK_PROVIDER", "DISPLAY", "WAYLAND_DISPLAY"];
    request.inherit.extend(reach.map(String::from));
    request.stdin = message.to_vec();
    request.interactive = true;
    Ok(request)
}

/// The public key that belongs to a key file: from `FILE.pub` where there is one, else from the file itself, whether
/// public or private. Needs no passphrase.
///
/// # Errors
/// [`SignatureError::KeyFile`] when it cannot be read, [`SignatureError::PublicKey`] when it may not sign.
pub fn read_public_key(key: &Path) -> Result<PublicKey, SignatureError> {
    let beside = {
        let mut name = key.as_os_str().to_owned();
        name.push(".pub");
        std::path::PathBuf::from(name)
    };
    let text = if beside.is_file() { read(&beside)? } else { read(key)? };
    if !text.contains("PRIVATE KEY-----") {
        return Ok(text.parse()?);
    }
    let private = ssh_key::PrivateKey::from_openssh(&text).map_err(|error| file_error(key, &error.to_string()))?;
    let public = private.public_key().to_openssh().map_err(|error| file_error(key, &error.to_string()))?;
    Ok(public.parse()?)
}

fn read(path: &Path) -> Result<String, SignatureError> {
    let found = std::fs::metadata(path).map_err(|error| file_error(path, &error.to_string()))?;
    if !found.is_file() {
        // A pipe would be waited for, and a device has no end.
        return Err(file_error(path, "it is no regular file"));
    }
    if found.len() > MAX_KEY_FILE {
        return Err(file_error(path, "it is larger than 64 KiB"));
    }
    std::fs::read_to_string(path).map_err(|error| file_error(path, &error.to_string()))
}

fn file_error(path: &Path, problem: &str) -> SignatureError {
    SignatureError::KeyFile { path: path.display().to_string(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_warning_is_told_without_the_box_around_it() {
        let said = "@@@@@@@@@\r\n@   WARNING: UNPROTECTED PRIVATE KEY FILE!   @\r\n@@@@@@@@@\r\nPermissions 0644 for 'k' are too open.\r\n";
        assert_eq!(plain(said), "WARNING: UNPROTECTED PRIVATE KEY FILE!; Permissions 0644 for 'k' are too open.");
    }
}
