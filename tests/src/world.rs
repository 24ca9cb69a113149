//! A pipeline folder in a temporary directory with a ledger and people who can sign: what end-to-end tests work on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promo_core::approval::{Decision, Envelope, Identity, Roster};
use promo_core::config;
use promo_core::graph::Graph;
use promo_core::ids::{EnvironmentName, ReleaseId, RoleName};
use promo_core::ledger::{Actor, ActorKind};
use promo_core::plan::{Document, Goal, Request};
use promo_core::policy::{self, TrustMode};
use promo_core::windows::{Invoker, Level, Window};
use promo_engine::clock::SystemClock;
use promo_engine::lifts::{LIFT_NAMESPACE, Lift};
use promo_engine::requests::{REQUEST_NAMESPACE, RequestStatement};
use promo_engine::signature::SigningKey;
use promo_engine::{ApplyOptions, EngineError, Governance, NewRelease, PLAN_LIFETIME, Progress, Providers, Session};
use promo_ledger::{MemoryStore, SqliteStore, Store};
use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network};
use promo_sdk::{Clock, Provider};
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
    /// Keys of everybody whom the folder's policy gives one, by name.
    pub keys: BTreeMap<String, SigningKey>,
    /// Everything that was said while applying.
    pub said: Arc<Mutex<Vec<Progress>>>,
    setup: Setup,
}

/// What a world is made with; the default is what users get: an SQLite ledger in the folder, the built-in providers, the
/// machine's clock, local mode.
#[derive(Clone)]
pub struct Setup {
    /// The ledger; none is an SQLite file in the folder.
    pub store: Option<Arc<dyn Store>>,
    /// The providers.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The clock of sessions. The ledger's time is the store's own.
    pub clock: Arc<dyn Clock>,
    /// Whether a trust file stands behind the runs; it pins the policy.
    pub trusted: bool,
    /// Texts that are replaced in pipeline and policy, such as the names of registries.
    pub replace: Vec<(String, String)>,
    /// How long a lease holds without renewal; none is the engine's own.
    pub lease: Option<Duration>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: None,
            providers: promo_providers::builtin(),
            clock: Arc::new(SystemClock),
            trusted: false,
            replace: Vec::new(),
            lease: None,
        }
    }
}

/// Time that stands still until a test moves it; sleeping takes as long as it does.
#[derive(Debug, Clone)]
pub struct Time(Arc<Mutex<jiff::Timestamp>>);

impl Time {
    /// Time that shows `at`.
    ///
    /// # Panics
    /// When `at` is no instant.
    #[must_use]
    pub fn at(at: &str) -> Self {
        Self(Arc::new(Mutex::new(at.parse().expect("an instant"))))
    }

    /// Moves it on.
    ///
    /// # Panics
    /// When the time after it is out of range.
    pub fn pass(&self, duration: Duration) {
        let mut now = self.0.lock().expect("no panic while it was held");
        *now += duration;
    }

    /// Moves it to `at`.
    ///
    /// # Panics
    /// When `at` is not later.
    pub fn until(&self, at: jiff::Timestamp) {
        let mut now = self.0.lock().expect("no panic while it was held");
        assert!(at >= *now, "{at} is before {now}");
        *now = at;
    }

    /// Moves it back, as no time should.
    ///
    /// # Panics
    /// When the time before it is out of range.
    pub fn step_back(&self, duration: Duration) {
        let mut now = self.0.lock().expect("no panic while it was held");
        *now -= duration;
    }

    /// A ledger in memory that goes by this time.
    #[must_use]
    pub fn ledger(&self) -> MemoryStore {
        let time = self.clone();
        MemoryStore::new("a ledger of a test", Arc::new(move || time.now()))
    }

    /// A setup in which everything goes by this time.
    #[must_use]
    pub fn setup(&self) -> Setup {
        Setup { store: Some(Arc::new(self.ledger())), clock: Arc::new(self.clone()), ..Setup::default() }
    }
}

#[async_trait::async_trait]
impl Clock for Time {
    fn now(&self) -> jiff::Timestamp {
        *self.0.lock().expect("no panic while it was held")
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The folder of the examples in this repository.
#[must_use]
pub fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

/// A folder in memory where there is one: ledgers, layouts and directories are flushed with every write, and tests are
/// many.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
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
        Self::with(example, Setup::default())
    }

    /// A copy of the example pipeline of that name, made with `setup`.
    #[must_use]
    pub fn with(example: &str, setup: Setup) -> Self {
        let directory = folder();
        copy_tree(&pipelines().join(example), directory.path());
        Self::open(directory, setup)
    }

    /// A world of these files: path and content.
    #[must_use]
    pub fn of_files(files: &[(&str, &str)], setup: Setup) -> Self {
        let directory = folder();
        for (path, content) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory");
            std::fs::write(path, content).expect("a file");
        }
        Self::open(directory, setup)
    }

    fn open(directory: TempDir, mut setup: Setup) -> Self {
        for file in ["promo.toml", "policy.toml"].map(|name| directory.path().join(name)) {
            let Ok(mut text) = std::fs::read_to_string(&file) else { continue };
            for (from, to) in &setup.replace {
                text = text.replace(from, to);
            }
            std::fs::write(&file, text).expect("the pipeline can be written");
        }
        if setup.store.is_none() {
            let path = directory.path().join(".promo/ledger.db");
            setup.store = Some(Arc::new(SqliteStore::open(path).expect("a ledger")));
        }
        let mut keys = own_keys(&directory.path().join("policy.toml"));
        let key = keys.remove("riley").unwrap_or_else(|| SigningKey::generate("riley").expect("a key"));
        let dana = Actor { name: "dana".into(), kind: ActorKind::Human };
        let session = open(directory.path(), &key, dana, &setup);
        Self { directory, session, key, keys, said: Arc::default(), setup }
    }

    /// Another process on the same folder, as somebody else.
    #[must_use]
    pub fn session_as(&self, name: &str) -> Session {
        self.session_of(Actor { name: name.into(), kind: ActorKind::Human })
    }

    /// Another process on the same folder, which no person runs.
    #[must_use]
    pub fn job(&self) -> Session {
        self.session_of(Actor { name: "ci".into(), kind: ActorKind::Automation })
    }

    fn session_of(&self, actor: Actor) -> Session {
        let store = match self.setup.store.as_deref() {
            // A connection of its own, as another process has.
            Some(_) if self.path(".promo/ledger.db").exists() => None,
            _ => self.setup.store.clone(),
        };
        open(self.directory.path(), &self.key, actor, &Setup { store, ..self.setup.clone() })
    }

    /// Another process on the same folder, with other providers or another ledger.
    #[must_use]
    pub fn session_with(&self, name: &str, setup: &Setup) -> Session {
        open(self.directory.path(), &self.key, Actor { name: name.into(), kind: ActorKind::Human }, setup)
    }

    /// What it was made with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
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

    /// Builds an image of that version for every artifact of the pipeline, and adds them as a release.
    pub async fn release(&self, version: &str) -> ReleaseId {
        self.build(version).await;
        self.session.add_release(self.new_release(version)).await.expect("a release").0.release.id
    }

    /// Builds an image of that version for every artifact of the pipeline, where the build puts it.
    pub async fn build(&self, version: &str) {
        let network = Network::new(reqwest::Client::new(), Arc::new(SystemClock));
        for (name, artifact) in &self.session.governance().pipeline.artifacts {
            let location: Location = artifact.repository.parse().expect("a location");
            let store = promo_providers::oci::Store::open(&location, self.directory.path(), &network).expect("a store");
            let built = Image::new(
                [("org.opencontainers.image.version", version)],
                vec![format!("the bytes of {version}").into_bytes(), format!("those of {name}").into_bytes()],
            );
            image(&store, version, &built).await.expect("an image");
        }
    }

    /// What the build of that version reports.
    #[must_use]
    pub fn new_release(&self, version: &str) -> NewRelease {
        let artifacts = &self.session.governance().pipeline.artifacts;
        NewRelease {
            artifacts: artifacts.keys().map(|name| (name.clone(), version.to_string())).collect(),
            alias: Some(version.parse().expect("an alias")),
            ..NewRelease::default()
        }
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
            drill: false,
            invoker: Invoker::Human,
        }
    }

    /// Dana asks for the approval of a plan, and signs that she does.
    pub async fn ask(&self, document: &Document) {
        let digest = document.digest().expect("a digest");
        let (statement, signature) = self.asked(document, "dana");
        self.session.request(document, digest, Some((&statement, &signature))).await.expect("a request");
    }

    /// A request for a plan, signed by somebody.
    #[must_use]
    pub fn asked(&self, document: &Document, who: &str) -> (RequestStatement, String) {
        let key = self.keys.get(who).unwrap_or(&self.key);
        let fingerprint = key.public_key().fingerprint().clone();
        let digest = document.digest().expect("a digest");
        let statement = self.session.request_statement(document, digest, fingerprint).expect("a statement");
        let bytes = statement.to_bytes().expect("bytes");
        let signature = key.sign_bytes(&bytes, REQUEST_NAMESPACE).expect("a signature");
        (statement, signature)
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

    /// Riley lifts something in a session, and signs that.
    ///
    /// # Errors
    /// As the session has them.
    pub fn lift(&self, session: &Session, lift: Lift) -> Result<(), EngineError> {
        let statement = session.lift_statement(lift)?;
        let signature = self.key.sign_bytes(&statement.to_bytes()?, LIFT_NAMESPACE).expect("a signature");
        session.lift(&statement, Some(&signature), "a reason").map(|_| ())
    }

    /// Options that keep what is said.
    #[must_use]
    pub fn options(&self) -> ApplyOptions {
        let said = self.said.clone();
        ApplyOptions {
            approvals: Vec::new(),
            stop_all: false,
            key: None,
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

/// Gives everybody who has a key in the policy another one, whose private half the test has.
fn own_keys(policy: &Path) -> BTreeMap<String, SigningKey> {
    let Ok(mut text) = std::fs::read_to_string(policy) else { return BTreeMap::new() };
    let table: toml::Table = text.parse().expect("the policy is TOML");
    let mut keys = BTreeMap::new();
    for (name, identity) in table.get("identities").and_then(toml::Value::as_table).into_iter().flatten() {
        for old in identity.get("keys").and_then(toml::Value::as_array).into_iter().flatten() {
            let key = SigningKey::generate(name).expect("a key");
            text = text.replace(old.as_str().expect("a text"), &key.public_key().to_string());
            keys.insert(name.clone(), key);
        }
    }
    std::fs::write(policy, text).expect("the policy can be written");
    keys
}

/// The pipeline of a folder under its policy.
///
/// # Panics
/// With every diagnostic, when one is an error.
#[must_use]
pub fn governance(root: &Path, key: &SigningKey, providers: &Providers, trusted: bool) -> Governance {
    let text = std::fs::read_to_string(root.join("promo.toml")).expect("the pipeline");
    let loaded = config::load(&text, &providers.kinds(), &config::Limits::default());
    let pipeline = loaded.pipeline.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    let graph = Graph::new(&pipeline);
    if let Ok(text) = std::fs::read_to_string(root.join("policy.toml")) {
        let (policy, diagnostics) = policy::policy(&text);
        let policy = policy.unwrap_or_else(|| panic!("{diagnostics:#?}"));
        let mode = if trusted { TrustMode::Trusted } else { TrustMode::Local };
        let (governed, diagnostics) = policy::govern(&pipeline, &loaded.places, Some(&policy), mode);
        let governed = governed.unwrap_or_else(|| panic!("{diagnostics:#?}"));
        return Governance { pinned: trusted, ..Governance::of(governed, policy.roster) };
    }
    let approval: BTreeMap<_, _> = pipeline.environments.iter().map(|(n, e)| (n.clone(), e.approval.clone())).collect();
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
    let (movable_images, withdraw) = (BTreeMap::new(), BTreeMap::new());
    let stated = policy::govern(&pipeline, &loaded.places, None, TrustMode::Local).0;
    // A pipeline that asks for what only a policy has is that of a test about its policy, which is not there for now.
    let gates = stated.map(|governed| governed.gates).unwrap_or_default();
    Governance {
        pipeline,
        graph,
        lifting: approval.clone(),
        approval,
        windows,
        gates,
        movable_images,
        withdraw,
        no_drills: [].into(),
        first_observation: true,
        policy: None,
        pinned: false,
        checkpoint: None,
        roster,
        local: true,
    }
}

fn open(root: &Path, key: &SigningKey, actor: Actor, setup: &Setup) -> Session {
    let providers = Providers::new(setup.providers.clone());
    let governance = governance(root, key, &providers, setup.trusted);
    let store: Arc<dyn Store> = match &setup.store {
        Some(store) => store.clone(),
        None => Arc::new(SqliteStore::open(root.join(".promo/ledger.db")).expect("a ledger")),
    };
    let session = Session::new(governance, store, providers, setup.clock.clone(), actor, root.into());
    match setup.lease {
        Some(lease) => session.with_lease_ttl(lease),
        None => session,
    }
}
