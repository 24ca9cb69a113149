//! Approvals against the real OpenSSH, in both directions (S6.2). `ssh-agent` and `ssh-add` come with the component.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use async_trait::async_trait;
use promo_core::Digest;
use promo_core::approval::{
    Decision, Identity, LedgerRef, Move, NAMESPACE, Nonce, PolicyRef, PublicKey, Roster, Statement, StatementKind,
};
use promo_engine::process::Processes;
use promo_engine::signature::{
    SignatureError, SigningKey, allowed_signers, check_roster, read_public_key, sign_with_ssh_keygen, signed_by,
    ssh_keygen_request, verify,
};
use promo_sdk::{ErrorKind, Output, ProcessRequest, ProcessRunner, ProviderError};
use secrecy::{ExposeSecret as _, SecretString};

#[expect(clippy::disallowed_methods, reason = "the tool under test is run directly")]
fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

/// Runs processes with some variables of its own in place of inherited ones.
struct Direct(Vec<(&'static str, PathBuf)>);

#[async_trait]
impl ProcessRunner for Direct {
    async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError> {
        let failed = |error: std::io::Error| ProviderError::new(ErrorKind::Failed, error.to_string());
        let mut command = command(&request.argv[0]);
        command.args(&request.argv[1..]).current_dir(&request.directory).env_clear();
        for name in request.inherit.iter().filter(|name| name.as_str() != "SSH_AUTH_SOCK") {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        for (name, value) in self.0.iter().filter(|(name, _)| request.inherit.iter().any(|n| n == name)) {
            command.env(name, value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        // It may refuse the key and end before it reads: what it says then matters, not the broken pipe.
        let _ = child.stdin.take().unwrap().write_all(&request.stdin);
        let output = child.wait_with_output().map_err(failed)?;
        Ok(Output { code: output.status.code(), stdout: output.stdout, stderr: output.stderr })
    }
}

fn succeed(program: &str, args: &[&str], stdin: &[u8]) -> String {
    let mut child = command(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn new_key(directory: &Path, kind: &str, bits: &str, passphrase: &str) -> PathBuf {
    let path = directory.join(format!("{kind}-{bits}"));
    let file = path.to_str().unwrap();
    succeed("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "test", "-f", file], b"");
    path
}

fn statement(key: &PublicKey) -> Statement {
    Statement {
        kind: StatementKind::V1,
        decision: Decision::Approve,
        ledger: LedgerRef { origin: "promo/shop".into(), checkpoint_size: 7, checkpoint_root: Digest::of(b"root") },
        plan: Digest::of(b"plan"),
        pipeline: "shop".parse().unwrap(),
        environments: vec![Move {
            environment: "production".parse().unwrap(),
            from: None,
            to: "r-000000000002".parse().unwrap(),
        }],
        policy: Some(PolicyRef { name: "company".into(), version: 3, digest: Digest::of(b"policy") }),
        role: "lead".parse().unwrap(),
        not_before: "2026-03-02T09:00:00Z".parse().unwrap(),
        expires: "2026-03-03T09:00:00Z".parse().unwrap(),
        nonce: Nonce::from_bytes([1; 16]),
        key: key.fingerprint().clone(),
        breakglass: None,
    }
}

fn roster(key: &PublicKey) -> Roster {
    let roles: BTreeSet<_> = ["lead".parse().unwrap()].into();
    let ana = Identity {
        name: "ana".parse().unwrap(),
        roles: roles.clone(),
        keys: vec![key.clone()],
        human: true,
        emails: vec![],
    };
    Roster::new([ana], &roles).unwrap()
}

/// `ssh-keygen -Y verify` with nothing but the roster, the statement and the signature.
fn openssh_accepts(directory: &Path, roster: &Roster, statement: &str, signature: &str) -> bool {
    let (signers, file) = (directory.join("allowed_signers"), directory.join("statement.sig"));
    std::fs::write(&signers, allowed_signers(roster)).unwrap();
    std::fs::write(&file, signature).unwrap();
    let mut child = command("ssh-keygen")
        .args(["-Y", "verify", "-I", "ana", "-n", NAMESPACE, "-f"])
        .arg(&signers)
        .arg("-s")
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(statement.as_bytes()).unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_path_is_never_taken_for_an_option() {
    let request = ssh_keygen_request(Path::new("-Y"), NAMESPACE, b"text").unwrap();
    assert_eq!(request.argv, ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE, "-f", "-Y"]);
    assert_eq!(request.stdin, b"text");
    assert!(request.inherit.iter().any(|name| name == "SSH_AUTH_SOCK"));
    assert!(request.interactive, "it asks for passphrases");
}

mod needs_ssh_keygen {
    use super::*;

    #[tokio::test]
    async fn what_ssh_keygen_signs_is_accepted_here_and_there_for_every_kind_of_key() {
        let directory = tempfile::tempdir().unwrap();
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "3072")] {
            let path = new_key(directory.path(), kind, bits, "");
            let key = read_public_key(&path).unwrap();
            let printed = succeed("ssh-keygen", &["-lf", path.to_str().unwrap()], b"");
            assert_eq!(printed.split(' ').nth(1).unwrap(), key.fingerprint().as_str());
            let roster = roster(&key);
            assert_eq!(check_roster(&roster), []);
            let envelope = sign_with_ssh_keygen(&Processes::default(), &path, &statement(&key)).await.unwrap();
            let fact = verify(&envelope, &roster).unwrap();
            assert_eq!((fact.identity().as_str(), fact.statement()), ("ana", &statement(&key)), "{kind} {bits}");
            assert!(openssh_accepts(directory.path(), &roster, &envelope.statement, &envelope.signature));

            let changed = envelope.statement.replace("shop", "shot");
            assert_eq!(
                signed_by(changed.as_bytes(), &envelope.signature, NAMESPACE),
                Err(SignatureError::BadSignature)
            );
            assert!(!openssh_accepts(directory.path(), &roster, &changed, &envelope.signature));

            let file = path.to_str().unwrap();
            let args = ["-Y", "sign", "-O", "hashalg=sha256", "-n", NAMESPACE, "-f", file];
            let sha256 = succeed("ssh-keygen", &args, b"text");
            assert_eq!(signed_by(b"text", &sha256, NAMESPACE).as_ref(), Ok(key.fingerprint()), "{kind} {bits} sha256");
            let other = succeed("ssh-keygen", &["-Y", "sign", "-n", "file", "-f", file], b"text");
            assert!(
                matches!(signed_by(b"text", &other, NAMESPACE), Err(SignatureError::Namespace { found, .. }) if found == "file")
            );
        }
    }

    #[tokio::test]
    async fn keys_that_may_not_sign_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let rsa = new_key(directory.path(), "rsa", "2048", "");
        let key = read_public_key(&rsa).unwrap();
        let refused = sign_with_ssh_keygen(&Direct(vec![]), &rsa, &statement(&key)).await;
        assert_eq!(refused, Err(SignatureError::RsaSize { bits: 2048 }));
        assert_eq!(check_roster(&roster(&key))[0].2, SignatureError::RsaSize { bits: 2048 });

        let p521 = new_key(directory.path(), "ecdsa", "521", "");
        assert!(matches!(read_public_key(&p521), Err(SignatureError::PublicKey(_))));
        let args = ["-Y", "sign", "-n", NAMESPACE, "-f", p521.to_str().unwrap()];
        let signature = succeed("ssh-keygen", &args, b"text");
        assert_eq!(
            signed_by(b"text", &signature, NAMESPACE),
            Err(SignatureError::UnsupportedAlgorithm("ecdsa-sha2-nistp521".into()))
        );
    }

    #[test]
    fn what_is_signed_in_process_is_accepted_by_ssh_keygen() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("quickstart").unwrap();
        let roster = roster(key.public_key());
        let envelope = key.sign(&statement(key.public_key())).unwrap();
        assert!(openssh_accepts(directory.path(), &roster, &envelope.statement, &envelope.signature));
        let foreign = key.sign_bytes(envelope.statement.as_bytes(), "file").unwrap();
        assert!(!openssh_accepts(directory.path(), &roster, &envelope.statement, &foreign));

        let path = directory.path().join("id_ed25519");
        std::fs::write(&path, key.to_openssh().unwrap().expose_secret()).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let public = succeed("ssh-keygen", &["-y", "-f", path.to_str().unwrap()], b"");
        assert_eq!(public.trim_end(), format!("{} quickstart", key.public_key()));
        assert_eq!(&read_public_key(&path).unwrap(), key.public_key(), "without a `.pub` beside it");
    }

    struct Agent(Child);

    impl Drop for Agent {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_key_in_ssh_agent_signs_with_only_its_public_half_at_hand() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        let agent = command("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let _agent = Agent(agent);
        for _ in 0..200 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        for (kind, bits) in [("ed25519", "256"), ("rsa", "3072")] {
            let path = new_key(directory.path(), kind, bits, "");
            let added = command("ssh-add").arg("-q").arg(&path).env("SSH_AUTH_SOCK", &socket).status().unwrap();
            assert!(added.success());
            std::fs::remove_file(&path).unwrap();
            let public = path.with_extension("pub");
            let key = read_public_key(&public).unwrap();
            let runner = Direct(vec![("SSH_AUTH_SOCK", socket.clone())]);
            let envelope = sign_with_ssh_keygen(&runner, &public, &statement(&key)).await.unwrap();
            assert_eq!(verify(&envelope, &roster(&key)).unwrap().identity().as_str(), "ana", "{kind}");
            let without = sign_with_ssh_keygen(&Direct(vec![]), &public, &statement(&key)).await;
            assert!(matches!(without, Err(SignatureError::Keygen(_))), "{without:?}");
        }
    }

    #[test]
    fn a_key_with_a_passphrase_is_left_to_ssh_keygen() {
        let directory = tempfile::tempdir().unwrap();
        let path = new_key(directory.path(), "ed25519", "256", "a passphrase");
        let text = SecretString::from(std::fs::read_to_string(&path).unwrap());
        assert!(
            matches!(SigningKey::from_openssh(&text), Err(SignatureError::PrivateKey(why)) if why.contains("ssh-keygen"))
        );
        let key = read_public_key(&path.with_extension("pub")).unwrap();
        std::fs::remove_file(path.with_extension("pub")).unwrap();
        assert_eq!(read_public_key(&path).unwrap(), key, "the public half needs no passphrase");
    }
}
