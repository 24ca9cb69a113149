//! Other people's programs for artifacts and signatures: skopeo, openssl, and the JavaScript clients of Sigstore. Each is a process of its own
//! that knows nothing of promo. What must not live here: anything that promo itself reads, signs or checks.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What in-toto's statements are signed as.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The media type of a bundle of Sigstore.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The programs, and a private directory for their files.
#[derive(Debug)]
pub struct Clients {
    directory: TempDir,
}

#[expect(clippy::disallowed_methods, reason = "a program is started by the fixture that waits for its end")]
fn run(component: &str, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let variable = format!("PROMO_COMPONENT_{}", component.to_uppercase().replace('-', "_"));
    let program = std::env::var_os(&variable).map_or_else(|| component.into(), PathBuf::from);
    let output = Command::new(&program).args(words).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{} does not start: {error}; set {variable}", program.display()))
}

fn done(component: &str, words: &[&OsStr]) -> Vec<u8> {
    let output = run(component, words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{component} {words:?}: {}\n{said}", output.status);
    output.stdout
}

macro_rules! words {
    ($($word:expr),* $(,)?) => { &[$(AsRef::<OsStr>::as_ref(&$word)),*] };
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// Nothing is made yet.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("the temporary directory can be written");
        path
    }

    /// A key of P-256 that openssl makes: the file of the private one (PKCS#8, PEM), and that of the public one.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn key(&self, name: &str) -> (PathBuf, PathBuf) {
        self.key_of(name, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// The same of another kind, as `openssl genpkey` takes it.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn key_of(&self, name: &str, kind: &[&str]) -> (PathBuf, PathBuf) {
        let (private, public) = (self.private_key(name, kind), self.path(&format!("{name}.pub")));
        done("openssl", words!["pkey", "-in", private, "-pubout", "-out", public]);
        (private, public)
    }

    /// The file of a private key alone, made with these options of `openssl genpkey`: one that is encrypted, say.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn private_key(&self, name: &str, options: &[&str]) -> PathBuf {
        let private = self.path(&format!("{name}.key"));
        let made = [OsStr::new("genpkey"), OsStr::new("-out"), private.as_ref()];
        let made: Vec<&OsStr> = made.into_iter().chain(options.iter().map(OsStr::new)).collect();
        done("openssl", &made);
        private
    }

    /// What openssl signs, over SHA-256.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn sign(&self, private: &Path, bytes: &[u8]) -> Vec<u8> {
        let message = self.write("to-sign", bytes);
        done("openssl", words!["dgst", "-sha256", "-sign", private, message])
    }

    /// Whether openssl finds that a signature over SHA-256 holds.
    #[must_use]
    pub fn holds(&self, public: &Path, bytes: &[u8], signature: &[u8]) -> bool {
        let (message, signature) = (self.write("message", bytes), self.write("signature", signature));
        let judged = run("openssl", words!["dgst", "-sha256", "-verify", public, "-signature", signature, message]);
        judged.status.success() && judged.stdout.starts_with(b"Verified OK")
    }

    /// A statement in an envelope in a bundle, signed by openssl.
    ///
    /// # Panics
    /// When openssl fails.
    #[must_use]
    pub fn bundle(&self, private: &Path, statement: &Value) -> Vec<u8> {
        let payload = statement.to_string();
        let signature = STANDARD.encode(self.sign(private, &pre_authentication(payload.as_bytes())));
        let envelope = json!({
            "payloadType": STATEMENT, "payload": STANDARD.encode(&payload), "signatures": [{ "sig": signature }],
        });
        let material = json!({ "publicKey": { "hint": "" }, "tlogEntries": [] });
        json!({ "mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope })
            .to_string()
            .into_bytes()
    }

    /// What is signed in a bundle, where openssl finds that the signature of its envelope holds.
    ///
    /// # Panics
    /// When it is no bundle with one signature over an in-toto statement.
    #[must_use]
    pub fn opened_by_openssl(&self, public: &Path, bundle: &[u8]) -> Option<Value> {
        let bundle: Value = serde_json::from_slice(bundle).expect("JSON");
        let envelope = &bundle["dsseEnvelope"];
        assert_eq!(envelope["payloadType"], STATEMENT, "{bundle}");
        let bytes = |at: &Value| STANDARD.decode(at.as_str().expect("a text")).expect("base64");
        let payload = bytes(&envelope["payload"]);
        let holds = self.holds(public, &pre_authentication(&payload), &bytes(&envelope["signatures"][0]["sig"]));
        holds.then(|| serde_json::from_slice(&payload).expect("JSON"))
    }

    /// What is signed in a bundle, where the JavaScript client of Sigstore finds that it is signed by this key.
    ///
    /// # Panics
    /// When it prints what is no JSON.
    #[must_use]
    pub fn opened_by_sigstore(&self, public: &Path, bundle: &[u8]) -> Option<Value> {
        let file = self.write("bundle.json", bundle);
        let judged = run("sigstore-verify", words![public, file]);
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(judged.status.success() || said.starts_with("SIGNATURE_ERROR"), "{said}");
        judged.status.success().then(|| serde_json::from_slice(&judged.stdout).expect("JSON"))
    }

    /// A statement in a bundle, signed by somebody whom an issuer knows, without a key of their own: an authority of certificates, logs and an
    /// authority of time stamps by this name bear it out. How, say the options of the component `sigstore-sign`.
    ///
    /// # Panics
    /// When the client fails.
    #[must_use]
    pub fn signed_as(
        &self,
        authority: &str,
        (identity, issuer): (&str, &str),
        statement: &Value,
        options: &[&str],
    ) -> Vec<u8> {
        let payload = self.write("to-sign", statement.to_string().as_bytes());
        let directory = self.path(authority);
        let words: &[&OsStr] = words![directory, identity, issuer, STATEMENT, payload];
        let options: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        done("sigstore-sign", &[words, &options].concat())
    }

    /// The trusted root of an authority that has signed something: the file, with JSON in it.
    #[must_use]
    pub fn trusted_root(&self, authority: &str) -> PathBuf {
        self.path(authority).join("trusted_root.json")
    }

    /// What is signed in a bundle and by whom, where the JavaScript client of Sigstore finds that by a trusted root, and why where not.
    ///
    /// # Errors
    /// What the client says.
    ///
    /// # Panics
    /// When it prints what is no JSON.
    pub fn opened_by_root(&self, root: &Path, bundle: &[u8]) -> Result<(Value, String), String> {
        let file = self.write("bundle.json", bundle);
        let judged = run("sigstore-verify", words![root, file]);
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        if !judged.status.success() {
            return Err(said);
        }
        Ok((serde_json::from_slice(&judged.stdout).expect("JSON"), said))
    }

    /// The bytes of a manifest, as skopeo reads them from a registry in plain http.
    ///
    /// # Panics
    /// When skopeo fails.
    #[must_use]
    pub fn manifest(&self, reference: &str) -> Vec<u8> {
        let from = format!("docker://{reference}");
        done("skopeo", words!["inspect", "--raw", "--tls-verify=false", from])
    }

    /// An artifact with all that it is made of, as skopeo pulls it, in a directory of its own: `manifest.json`, and a file for each
    /// blob, named by its hexadecimal digits.
    ///
    /// # Panics
    /// When skopeo fails, which is also where anything of the artifact is not what its digest says.
    #[must_use]
    pub fn pull(&self, reference: &str) -> PathBuf {
        let (from, to) = (format!("docker://{reference}"), tempfile::tempdir_in(self.directory.path()));
        let to = to.expect("the temporary directory can be written").keep();
        let into = format!("dir:{}", to.display());
        let how = ["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        let words: Vec<&OsStr> = how.iter().map(OsStr::new).chain([from.as_ref(), into.as_ref()]).collect();
        done("skopeo", &words);
        to
    }

    /// The blob of the first layer of an artifact, and what its descriptor is annotated with.
    ///
    /// # Panics
    /// When skopeo fails, or the artifact has no layers.
    #[must_use]
    pub fn first_layer(&self, reference: &str) -> (Vec<u8>, Value) {
        let pulled = self.pull(reference);
        let manifest = std::fs::read(pulled.join("manifest.json")).expect("skopeo wrote it");
        let layer = serde_json::from_slice::<Value>(&manifest).expect("JSON")["layers"][0].clone();
        let digest = layer["digest"].as_str().and_then(|digest| digest.split_once(':')).expect("a digest").1;
        (std::fs::read(pulled.join(digest)).expect("skopeo wrote it"), layer["annotations"].clone())
    }
}

/// What a signature of DSSE over a statement is over.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len()).as_bytes(), payload].concat()
}
