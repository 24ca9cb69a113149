//! A release of helm in a namespace, as tests of `deploy.helm` have it: charts in memory, and the provider with the real doors.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promo_engine::clock::SystemClock;
use promo_engine::process::Processes;
use promo_providers::helm::Helm as Provided;
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{
    ArtifactInput, Blobs as _, Context, DriftAnswer, DriftRequest, EnsureRequest, Inputs, ObserveRequest, Preview,
    Provider as _, ProviderError, State,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::world::{Variables, clusters};
use crate::kubernetes::{Helm, Namespace};

pub use crate::kubernetes::world::DIGEST;

/// Both generations of helm: everything is to be the same with each of them.
pub const BOTH: [Helm; 2] = [Helm::Three, Helm::Four];

/// A namespace, a helm, and the machine from which it is used.
pub struct World {
    /// The namespace.
    pub namespace: Namespace,
    /// Which helm.
    pub helm: Helm,
    /// The provider of one run.
    pub provider: Provided,
    /// Contents.
    pub blobs: Arc<MemoryBlobs>,
    /// Its doors.
    pub cx: Context,
    /// The working directory.
    pub root: tempfile::TempDir,
}

impl World {
    /// A new one; None where there is no control plane.
    #[must_use]
    pub fn new(helm: Helm) -> Option<Self> {
        Namespace::new().map(|namespace| Self::on(namespace, helm))
    }

    /// The same in a namespace that is there.
    ///
    /// # Panics
    /// When the machine has no temporary directory.
    #[must_use]
    pub fn on(namespace: Namespace, helm: Helm) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let blobs = Arc::new(MemoryBlobs::default());
        let mut world = Self {
            provider: Provided::default(),
            blobs: blobs.clone(),
            cx: Context {
                clock: Arc::new(SystemClock),
                blobs,
                processes: Arc::new(Processes::new(CancellationToken::new())),
                ..context(root.path())
            },
            namespace,
            helm,
            root,
        };
        world.as_user("admin", None);
        world
    }

    /// From now on as that user of the cluster, and with that program in the place of helm.
    pub fn as_user(&mut self, user: &str, program: Option<&Path>) {
        self.by(&self.namespace.kubeconfig_of(user), user, program);
    }

    /// The same by this kubeconfig.
    pub fn by(&mut self, kubeconfig: &Path, user: &str, program: Option<&Path>) {
        let clusters = clusters(self.root.path(), kubeconfig, user);
        let own = self.namespace.helm(self.helm).get_program().to_string_lossy().into_owned();
        let program = program.map_or(own, |program| program.display().to_string());
        let variables = [("PROMO_CLUSTERS", clusters), ("PROMO_HELM", program)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        self.cx.secrets = Arc::new(Variables(variables));
    }

    /// A program in helm's place, that does `body` where helm would upgrade for good; `$HELM` is the real one, and `$KUBECTL` with
    /// `--kubeconfig "$CONFIG"` reaches the namespace.
    ///
    /// # Panics
    /// When the directory cannot be written.
    #[must_use]
    pub fn instead(&self, body: &str) -> PathBuf {
        self.script(&format!(
            "if [[ \"$1\" != upgrade || \"$*\" == *--dry-run* ]]; then exec \"$HELM\" \"$@\"; fi\n{body}\n"
        ))
    }

    /// The same that does `body` whatever helm is asked.
    ///
    /// # Panics
    /// As [`World::instead`].
    #[must_use]
    pub fn script(&self, body: &str) -> PathBuf {
        let program = |command: std::process::Command| command.get_program().to_string_lossy().into_owned();
        let (helm, kubectl) = (program(self.namespace.helm(self.helm)), program(self.namespace.kubectl()));
        let file = self.root.path().join("helm-instead");
        let config = self.namespace.kubeconfig();
        let text = format!("#!/bin/bash\nHELM={helm:?}\nKUBECTL={kubectl:?}\nCONFIG={config:?}\n{body}");
        std::fs::write(&file, text).expect("the directory can be written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("it is there");
        file
    }

    /// From now on a run of its own, with that program in the place of helm.
    pub fn with(&mut self, program: Option<&Path>) {
        self.as_user("admin", program);
        self.provider = Provided::default();
    }

    /// The inputs that deploy a chart of these templates; `also` are further settings.
    ///
    /// # Panics
    /// When `also` is no table.
    pub fn inputs(&self, templates: &[(&str, &str)], also: &Value) -> Inputs {
        let chart = "apiVersion: v2\nname: shop\nversion: 1.2.0\nappVersion: \"7\"\n";
        let mut files: BTreeMap<String, promo_core::Digest> =
            [("chart/Chart.yaml".to_owned(), self.blobs.put(chart))].into();
        for (path, text) in templates {
            files.insert((*path).to_owned(), self.blobs.put(*text));
        }
        let inject = json!({ "image.repository": "web.repository", "image.digest": "web.digest" });
        let mut settings = json!({ "chart": "chart", "name": "shop", "inject": inject, "timeout": 30 });
        let settings_map = settings.as_object_mut().expect("it is a table");
        settings_map.extend(also.as_object().expect("further settings are a table").clone());
        let target = [("cluster", "kit"), ("namespace", self.namespace.name())];
        let artifact = ArtifactInput {
            repository: "registry.test/shop/web".into(),
            digest: DIGEST.parse().expect("it is a digest"),
            tag: Some("1.0.0".into()),
            source: None,
            tree: Vec::new(),
        };
        Inputs {
            environment: "dev".parse().expect("it is a name"),
            release: format!("r-{}", "0".repeat(12)).parse().expect("it is an id"),
            target: promo_core::model::Target(target.map(|(key, value)| (key.into(), value.into())).into()),
            settings,
            artifacts: [("web".parse().expect("it is a name"), artifact)].into(),
            files,
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// As the provider.
    pub async fn look(&self, inputs: &Inputs) -> Result<State, ProviderError> {
        self.provider.observe(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await
    }

    /// The same where it can be told.
    ///
    /// # Panics
    /// Where it cannot.
    pub async fn observe(&self, inputs: &Inputs) -> State {
        self.look(inputs).await.expect("it can be told")
    }

    /// What would be there.
    ///
    /// # Errors
    /// As the provider.
    pub async fn preview(&self, inputs: &Inputs) -> Result<Preview, ProviderError> {
        self.provider.preview(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await
    }

    /// What can be said of it without a cluster.
    ///
    /// # Errors
    /// As the provider.
    pub async fn lint(&self, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        self.provider.lint(&self.cx, inputs).await
    }

    /// Makes it be there.
    ///
    /// # Errors
    /// As the provider.
    pub async fn ensure(&self, inputs: &Inputs, expected: State, desired: State) -> Result<String, ProviderError> {
        let (inputs, token) = (inputs.clone(), "run-1/dev/deploy/default".to_owned());
        let request =
            EnsureRequest { inputs, expected, desired, changes: Vec::new(), token, epoch: 1, ledger: "ledger".into() };
        self.provider.ensure(&self.cx, &request).await.map(|answer| answer.detail)
    }

    /// How it differs from what was recorded.
    ///
    /// # Errors
    /// As the provider.
    pub async fn drift(&self, inputs: &Inputs, recorded: State) -> Result<DriftAnswer, ProviderError> {
        self.provider.drift(&self.cx, &DriftRequest { inputs: inputs.clone(), recorded }).await
    }

    /// Waits until it runs.
    ///
    /// # Errors
    /// As the provider.
    pub async fn settle(&self, inputs: &Inputs) -> Result<(), ProviderError> {
        self.provider.settle(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await.map(drop)
    }

    /// Plans and applies; what is there then is what the plan said.
    ///
    /// # Panics
    /// When it is not, or when the one or the other cannot be done.
    pub async fn deploy(&self, inputs: &Inputs) -> Preview {
        let preview = self.preview(inputs).await.expect("it can be planned");
        self.ensure(inputs, preview.current, preview.desired).await.expect("it can be applied");
        assert_eq!(self.observe(inputs).await, preview.desired, "{:?}: what the plan said", self.helm);
        preview
    }

    /// kubectl to a good end.
    ///
    /// # Panics
    /// When it comes to another.
    pub fn kubectl(&self, words: &[&str]) -> String {
        run(self.namespace.kubectl().args(words))
    }

    /// This world's helm to a good end.
    ///
    /// # Panics
    /// When it comes to another.
    pub fn helm(&self, words: &[&str]) -> String {
        run(self.namespace.helm(self.helm).args(words))
    }

    /// Puts the chart of these inputs where a person's helm finds it; gives where.
    ///
    /// # Panics
    /// When the directory cannot be written.
    #[must_use]
    pub fn chart_of(&self, inputs: &Inputs) -> String {
        let root = self.root.path().join("by-hand");
        for (path, digest) in inputs.files.iter().filter(|(path, _)| path.starts_with("chart/")) {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().expect("it is in a chart")).expect("the directory can be written");
            std::fs::write(&file, self.blobs.get(digest).expect("it was put there"))
                .expect("the directory can be written");
        }
        root.join("chart").display().to_string()
    }

    /// The names of the objects of a kind.
    pub fn names(&self, kind: &str) -> Vec<String> {
        let names = self.kubectl(&["get", kind, "-o", "jsonpath={.items[*].metadata.name}"]);
        let names = names.split(' ').filter(|name| !name.is_empty() && *name != "kube-root-ca.crt");
        names.map(String::from).collect()
    }

    /// The revisions of the release with their statuses.
    ///
    /// # Panics
    /// When helm says something else.
    pub fn history(&self) -> Vec<(u64, String)> {
        let listed: Value = serde_json::from_str(&self.helm(&["history", "shop", "-o", "json"])).expect("it is JSON");
        let revision = |item: &Value| Some((item["revision"].as_u64()?, item["status"].as_str()?.to_owned()));
        listed.as_array().into_iter().flatten().filter_map(revision).collect()
    }
}

fn run(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is text")
}

/// A ConfigMap whose key has that value; the value may be a template.
#[must_use]
pub fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ key: {value:?} }}\n")
}

/// A Deployment of two pods, whose image is the release's; `also` goes into the pods' metadata.
#[must_use]
pub fn web(also: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: {{{{ .Values.replicas | default 2 }}}}\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }}{also} }}\n    \
         spec:\n      containers:\n      - name: web\n        \
         image: \"{{{{ .Values.image.repository }}}}@{{{{ .Values.image.digest }}}}\"\n        \
         resources: {{ requests: {{ cpu: 1000m }} }}\n"
    )
}

/// A Job as a hook, whose pod does what `switch` says.
#[must_use]
pub fn hook(name: &str, event: &str, switch: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: {name}, annotations: {{ helm.sh/hook: {event:?} }} }}\nspec:\n  backoffLimit: 0\n  \
         template:\n    metadata: {{ annotations: {{ promo.test/kubelet: {switch} }} }}\n    spec:\n      restartPolicy: Never\n      \
         containers: [{{ name: job, image: \"{{{{ .Values.image.repository }}}}@{{{{ .Values.image.digest }}}}\" }}]\n"
    )
}
