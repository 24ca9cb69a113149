//! Who may talk to a control plane, and how: addresses, tokens, and the kubeconfig of each user. What must not live here: rights, which
//! a test gives in its own namespace.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};

/// The user who may do everything.
pub const ADMIN: &str = "admin";

/// Everybody who is known. Only [`ADMIN`] has rights; a test gives them to the others by a RoleBinding in its namespace, and
/// to `nobody` never.
pub const USERS: [&str; 4] = [ADMIN, "deployer", "reader", "nobody"];

/// The user as whom the controller manager works, whom the server gives its rights.
pub(super) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// What takes to talk to a control plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    /// `https://127.0.0.1:PORT`.
    pub(super) server: String,
    /// The authority that certifies the server, in PEM.
    pub(super) authority: String,
    /// Where the server writes down who asks what.
    pub(super) audit: PathBuf,
    /// The token of each user.
    tokens: BTreeMap<String, String>,
}

impl Connection {
    /// A connection with a new token for everybody.
    pub(super) fn new(port: u16, authority: String, audit: PathBuf) -> Self {
        let token = |user: &str| {
            let mut bytes = [0; 16];
            aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
            (user.to_owned(), bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let tokens = USERS.into_iter().chain([CONTROLLER_MANAGER]).map(token).collect();
        Self { server: format!("https://127.0.0.1:{port}"), authority, audit, tokens }
    }

    /// What the server reads them from: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file>.
    pub(super) fn token_file(&self) -> String {
        self.tokens.iter().fold(String::new(), |mut text, (user, token)| {
            let groups = if user == ADMIN { ",\"system:masters\"" } else { "" };
            writeln!(text, "{token},{user},{user}{groups}").expect("writing to a String cannot fail");
            text
        })
    }

    /// A kubeconfig with a context for every user, named as the user is, and that of `user` as the current one.
    pub(super) fn kubeconfig(&self, user: &str, namespace: &str) -> String {
        let mut text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: kit\n  cluster:\n    server: {}\n    \
             certificate-authority-data: {}\ncurrent-context: {user:?}\ncontexts:\n",
            self.server,
            STANDARD.encode(&self.authority)
        );
        for user in self.tokens.keys() {
            write!(text, "- name: {user:?}\n  context: {{cluster: kit, user: {user:?}, namespace: {namespace:?}}}\n")
                .expect("writing to a String cannot fail");
        }
        text.push_str("users:\n");
        for (user, token) in &self.tokens {
            write!(text, "- name: {user:?}\n  user: {{token: {token:?}}}\n").expect("writing to a String cannot fail");
        }
        text
    }

    /// A client as that user.
    pub(super) async fn client(&self, user: &str) -> kube::Client {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig(user, "default")).expect("it is what kubectl reads");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        kube::Client::try_from(config.expect("it names a user and a cluster")).expect("a client can be made")
    }

    /// Reads what [`Connection::write`] left.
    pub(super) fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file).ok()?).ok()
    }

    /// Leaves it for other processes, at once and whole.
    pub(super) fn write(&self, file: &Path) -> std::io::Result<()> {
        let partial = file.with_extension("partial");
        std::fs::write(&partial, serde_json::to_vec(self)?)?;
        std::fs::rename(partial, file)
    }
}
