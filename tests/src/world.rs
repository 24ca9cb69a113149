//! A pipeline folder in a temporary directory with a ledger and people who can sign: what end-to-end tests work on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use promo_core::approval::{Decision, Envelope, Identity, Roster};
use promo_core::config;
use promo_core::graph::Graph;
use promo_core::ids::{EnvironmentName, ReleaseId, RoleName};
use promo_core::ledger::{Actor, ActorKind};
use promo_core::plan::{Document, Goal, Request};
use promo_core::windows::{Invoker, Level, Window};
use promo_engine::clock::SystemClock;
use promo_engine::signature::SigningKey;
use promo_engine::{ApplyOptions, Governance, NewRelease, PLAN_LIFETIME, Progress, Providers, Session};
use promo_ledger::{SqliteStore, Store};
use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A world: files, ledger, people.
pub struct World {
    /// The folder.
    pub directory: TempDir,
    /// Works on it as dana.
    pub session: Session,
    /// The key of riley, a release manager.
    pub key: SigningKey,
    /// Everything that was said while applying.
    pub said: Arc<Mutex<Vec<Progress>>>,
}

/// The folder of the examples in this repository.
#[must_use]
pub fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("the example can be read");
        let target = to.join(entry.path().strip_prefix(from).expect("below"));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target).expect("a directory");
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

impl World {
    /// A copy of the example pipeline of that name, with an empty ledger.
    #[must_use]
    pub fn of(example: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        copy_tree(&pipelines().join(example), directory.path());
        let key = SigningKey::generate("riley").expect("a key");
        let session = open(directory.path(), &key, "dana");
        Self { directory, session, key, said: Arc::default() }
    }

    /// Another process on the same folder, as somebody else.
    #[must_use]
    pub fn session_as(&self, name: &str) -> Session {
        open(self.directory.path(), &self.key, name)
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// What a deployed file says.
    #[must_use]
    pub fn deployed(&self, environment: &str, file: &str) -> String {
        let path = self.path(&format!("environments/{environment}/current/{file}"));
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Builds an image of that version into the development registry, and adds it as a release.
    pub async fn release(&self, version: &str) -> ReleaseId {
        let location: Location = "oci-layout:registry/shop".parse().expect("a location");
        let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
        let store = promo_providers::oci::Store::open(&location, self.directory.path(), &network).expect("a layout");
        let built = Image::new(
            [("org.opencontainers.image.version", version)],
            vec![format!("the bytes of {version}").into_bytes()],
        );
        image(&store, version, &built).await.expect("an image");
        let new = NewRelease {
            artifacts: [("shop".parse().expect("a name"), version.to_string())].into(),
            alias: Some(version.to_string()),
            ..NewRelease::default()
        };
        self.session.add_release(new).await.expect("a release").0.release.id
    }

    /// A plan for one environment, asked for by a person.
    pub async fn plan(&self, environment: &str) -> Document {
        self.session.plan(self.request(environment), PLAN_LIFETIME).await.expect("a plan")
    }

    /// The request behind [`World::plan`].
    #[must_use]
    pub fn request(&self, environment: &str) -> Request {
        Request {
            goal: Goal::Promote,
            environments: [environment.parse().expect("a name")].into(),
            release: None,
            until: None,
            invoker: Invoker::Human,
        }
    }

    /// Riley signs.
    #[must_use]
    pub fn sign(&self, document: &Document, decision: Decision) -> Envelope {
        let digest = document.digest().expect("a digest");
        let key = self.key.public_key().fingerprint().clone();
        let role = "release-manager".parse().expect("a role");
        let statement = self.session.statement(document, digest, decision, role, key).expect("a statement");
        self.key.sign(&statement).expect("a signature")
    }

    /// Options that keep what is said.
    #[must_use]
    pub fn options(&self) -> ApplyOptions {
        let said = self.said.clone();
        ApplyOptions {
            approvals: Vec::new(),
            stop_all: false,
            progress: Arc::new(move |p| said.lock().expect("no panic while it was held").push(p)),
            stop: CancellationToken::new(),
        }
    }

    /// The release that runs in an environment.
    #[must_use]
    pub fn current(&self, environment: &str) -> Option<ReleaseId> {
        let name: EnvironmentName = environment.parse().expect("a name");
        self.session.view().expect("a view").current(&name).map(|r| r.release.clone())
    }
}

fn open(root: &Path, key: &SigningKey, name: &str) -> Session {
    let text = std::fs::read_to_string(root.join("promo.toml")).expect("the pipeline");
    let providers = Providers::new(promo_providers::builtin());
    let (pipeline, diagnostics) = config::pipeline(&text, &providers.kinds());
    let pipeline = pipeline.unwrap_or_else(|| panic!("{diagnostics:#?}"));
    let graph = Graph::new(&pipeline);
    let approval = pipeline.environments.iter().map(|(n, e)| (n.clone(), e.approval.clone())).collect();
    let windows = pipeline
        .environments
        .iter()
        .map(|(name, environment)| {
            let windows = environment
                .windows
                .iter()
                .map(|w| Window::new(w.as_str(), pipeline.windows[w].clone()).expect("a window"))
                .collect();
            (name.clone(), vec![Level { name: "environment".into(), windows }])
        })
        .collect();
    let roles: [RoleName; 2] = ["release-manager", "developer"].map(|r| r.parse().expect("a role"));
    let identity = |name: &str, role: usize, keys| Identity {
        name: name.parse().expect("a name"),
        roles: [roles[role].clone()].into(),
        keys,
        human: true,
        emails: Vec::new(),
    };
    let riley = identity("riley", 0, vec![key.public_key().clone()]);
    let roster =
        Roster::new(vec![riley, identity("dana", 1, Vec::new())], &roles.iter().cloned().collect()).expect("a roster");
    let governance = Governance { pipeline, graph, approval, windows, policy: None, roster, local: true };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(root.join(".promo/ledger.db")).expect("a ledger"));
    let actor = Actor { name: name.into(), kind: ActorKind::Human };
    Session::new(governance, store, providers, Arc::new(SystemClock), actor, root.into())
}
