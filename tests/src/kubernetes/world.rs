//! A namespace of the control plane, and the machine from which `deploy.kubectl` deploys to it, without an engine around it. What must
//! not live here: what is deployed.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests use it: a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use promo_engine::clock::SystemClock;
use promo_engine::process::Processes;
use promo_providers::kubectl::Kubectl;
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{
    ArtifactInput, Context, EnsureRequest, Inputs, ObserveRequest, Preview, Provider as _, ProviderError, Secrets,
    Settled, State,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::Namespace;

/// The digest of the artifact `web`.
pub const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Variables of promo's environment.
#[derive(Debug)]
pub struct Variables(pub BTreeMap<String, String>);

impl Secrets for Variables {
    fn get(&self, _name: &str) -> Option<SecretString> {
        None
    }

    fn variable(&self, name: &str) -> Option<SecretString> {
        self.0.get(name).map(|value| SecretString::from(value.clone()))
    }
}

/// A namespace, and the machine from which it is deployed to.
pub struct World {
    /// Where is deployed to.
    pub namespace: Namespace,
    /// What deploys.
    pub kubectl: Kubectl,
    /// The contents of files.
    pub blobs: Arc<MemoryBlobs>,
    /// What the provider is given.
    pub cx: Context,
    /// The machine's own directory.
    pub root: TempDir,
}

impl World {
    /// One of the control plane that the tests share; None as [`Namespace::new`].
    #[must_use]
    pub fn new() -> Option<Self> {
        Namespace::new().map(Self::on)
    }

    /// One that deploys to this namespace.
    #[must_use]
    pub fn on(namespace: Namespace) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clusters = clusters(root.path(), &namespace.kubeconfig(), "admin");
        let blobs = Arc::new(MemoryBlobs::default());
        let variables = BTreeMap::from([("PROMO_CLUSTERS".to_owned(), clusters)]);
        let cx = Context {
            clock: Arc::new(SystemClock),
            blobs: blobs.clone(),
            secrets: Arc::new(Variables(variables)),
            processes: Arc::new(Processes::new(CancellationToken::new())),
            ..context(root.path())
        };
        Self { namespace, kubectl: Kubectl::default(), blobs, cx, root }
    }

    /// The inputs that deploy these manifests.
    #[must_use]
    pub fn inputs(&self, manifests: &[&str]) -> Inputs {
        self.with(manifests, json!({}))
    }

    /// The same with these settings besides.
    #[must_use]
    pub fn with(&self, manifests: &[&str], also: Value) -> Inputs {
        let paths: Vec<String> = (0..manifests.len()).map(|place| format!("manifests/{place}.yaml")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(String::as_str).zip(manifests.iter().copied()).collect();
        let mut settings = json!({ "manifests": ["manifests/*.yaml"], "images": { "shop/web": "web" }, "timeout": 30 });
        settings.as_object_mut().unwrap().extend(also.as_object().unwrap().clone());
        self.of_files(&files, settings)
    }

    /// The inputs of these files and settings.
    #[must_use]
    pub fn of_files(&self, files: &[(&str, &str)], settings: Value) -> Inputs {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), self.blobs.put(*text))).collect();
        let target = [("cluster", "kit"), ("namespace", self.namespace.name())];
        Inputs {
            environment: "dev".parse().unwrap(),
            release: format!("r-{}", "0".repeat(12)).parse().unwrap(),
            target: promo_core::model::Target(target.map(|(key, value)| (key.into(), value.into())).into()),
            settings,
            artifacts: BTreeMap::from([(
                "web".parse().unwrap(),
                ArtifactInput {
                    repository: "registry.test/shop/web".into(),
                    digest: DIGEST.parse().unwrap(),
                    tag: Some("1.0.0".into()),
                    source: None,
                    tree: Vec::new(),
                },
            )]),
            files,
        }
    }

    /// What is there.
    pub async fn observe(&self, inputs: &Inputs) -> State {
        self.kubectl.observe(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap()
    }

    /// What would change.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn preview(&self, inputs: &Inputs) -> Result<Preview, ProviderError> {
        self.kubectl.preview(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await
    }

    /// Applies, as the holder of the first lock.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn ensure(
        &self,
        cx: &Context,
        inputs: &Inputs,
        expected: State,
        desired: State,
    ) -> Result<(), ProviderError> {
        self.kubectl.ensure(cx, &Self::request(inputs, expected, desired)).await.map(drop)
    }

    /// What [`World::ensure`] asks for.
    #[must_use]
    pub fn request(inputs: &Inputs, expected: State, desired: State) -> EnsureRequest {
        let (inputs, token, ledger) = (inputs.clone(), "run/step".to_owned(), "kit".to_owned());
        EnsureRequest { inputs, expected, desired, changes: Vec::new(), token, epoch: 1, ledger }
    }

    /// Waits until it runs.
    ///
    /// # Errors
    /// What the provider says.
    pub async fn settle(&self, inputs: &Inputs) -> Result<Settled, ProviderError> {
        self.kubectl.settle(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await
    }

    /// Plans and applies; what is there then is what the plan said.
    pub async fn deploy(&self, inputs: &Inputs) -> Preview {
        let preview = self.preview(inputs).await.unwrap();
        self.ensure(&self.cx, inputs, preview.current, preview.desired).await.unwrap();
        assert_eq!(self.observe(inputs).await, preview.desired, "what the plan said");
        preview
    }

    /// What kubectl says in the namespace.
    pub fn kubectl(&self, words: &[&str]) -> String {
        let output = self.namespace.kubectl().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The objects of a kind in the namespace.
    #[must_use]
    pub fn names(&self, kind: &str) -> Vec<String> {
        let names = self.kubectl(&["get", kind, "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split(' ').filter(|name| *name != "kube-root-ca.crt").map(String::from).collect()
    }
}

/// Writes what the machine says about clusters; gives where.
pub fn clusters(root: &Path, kubeconfig: &Path, context: &str) -> String {
    let file = root.join("clusters.toml");
    let text = format!("format = 1\n[cluster.kit]\nkubeconfig = {kubeconfig:?}\ncontext = \"{context}\"\n");
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// A ConfigMap.
#[must_use]
pub fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ key: \"{value}\" }}\n")
}
