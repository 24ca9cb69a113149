//! A namespace for one test, and the commands that work in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace as Object, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use tempfile::TempDir;

use super::connection::{ADMIN, Connection, USERS};
use super::server::block_on;
use super::shared::ControlPlane;
use crate::binary;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A generation of helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// The component `helm-3`.
    Three,
    /// The component `helm`.
    Four,
}

/// A namespace of a control plane, which is deleted with the value; what is in it goes away later.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    connection: Connection,
    directory: TempDir,
}

impl Namespace {
    /// A new one on the control plane that the tests of the run share; None as [`ControlPlane::shared`].
    ///
    /// # Panics
    /// As [`ControlPlane::shared`].
    #[must_use]
    pub fn new() -> Option<Self> {
        ControlPlane::shared().map(|control_plane| Self::on(&control_plane))
    }

    /// A new one on this control plane. Its service account is there: a pod is let in at once.
    ///
    /// # Panics
    /// When the control plane does not work.
    #[must_use]
    pub fn on(control_plane: &ControlPlane) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let test = std::thread::current().name().map(slug).unwrap_or_default();
        // The test is for people; the process makes it one of its own.
        let name = format!("{test}-{}-{count}", std::process::id());
        let name = name.trim_start_matches('-').to_owned();
        let connection = control_plane.connection.clone();
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        for user in USERS {
            let file = directory.path().join(format!("{user}.kubeconfig"));
            fs::write(file, connection.kubeconfig(user, &name)).expect("the temporary directory can be written");
        }
        let namespace = Self { name, connection, directory };
        namespace.ask(async |client| namespace.make(client).await);
        namespace
    }

    async fn make(&self, client: kube::Client) {
        let object = Object {
            metadata: kube::api::ObjectMeta { name: Some(self.name.clone()), ..Default::default() },
            ..Default::default()
        };
        let made = Api::all(client.clone()).create(&PostParams::default(), &object).await;
        made.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        // Before 1.24 a pod is refused also while the account has no token yet.
        let version = client.apiserver_version().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let tokens = version.minor.trim_end_matches('+').parse().is_ok_and(|minor: u32| minor < 24);
        let usable = |account: ServiceAccount| !tokens || account.secrets.is_some_and(|secrets| !secrets.is_empty());
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &self.name);
        let deadline = Instant::now() + READY_WITHIN;
        while !accounts.get_opt("default").await.ok().flatten().is_some_and(usable) {
            assert!(Instant::now() < deadline, "{} got no service account in {READY_WITHIN:?}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A kubeconfig whose current context is [`ADMIN`] in this namespace. There is a context for each of [`USERS`].
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(ADMIN)
    }

    /// The same with another of [`USERS`].
    ///
    /// # Panics
    /// When nobody is called so.
    #[must_use]
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        assert!(USERS.contains(&user), "nobody is called {user}");
        self.directory.path().join(format!("{user}.kubeconfig"))
    }

    /// kubectl as [`ADMIN`] in this namespace; as somebody else with `--context USER`.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.program("PROMO_COMPONENT_KUBECTL", "kubectl")
    }

    /// helm as [`ADMIN`] in this namespace, with nothing of the developer's.
    #[must_use]
    pub fn helm(&self, generation: Helm) -> Command {
        match generation {
            Helm::Three => self.program("PROMO_COMPONENT_HELM_3", "helm-3"),
            Helm::Four => self.program("PROMO_COMPONENT_HELM", "helm"),
        }
    }

    fn program(&self, variable: &str, name: &str) -> Command {
        let program = std::env::var_os(variable).unwrap_or_else(|| name.into());
        let mut command = binary::command(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.directory.path());
        // These win over what lies in the home directory.
        for variable in ["KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.directory.path().join(variable.to_lowercase()));
        }
        for variable in ["HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_DRIVER", "HELM_PLUGINS"] {
            command.env_remove(variable);
        }
        command
    }

    /// The rights that the user `deployer` has used here, or wanted to use: verb and resource.
    ///
    /// # Panics
    /// When the API server has kept no log.
    #[must_use]
    pub fn used(&self) -> BTreeSet<(String, String)> {
        super::audit::used(&self.connection.audit, &self.name)
    }

    /// A client as [`ADMIN`]; its requests name the namespace, as in `kube::Api::namespaced(client, namespace.name())`.
    pub async fn client(&self) -> kube::Client {
        self.connection.client(ADMIN).await
    }

    /// Asks as [`ADMIN`], from a test with or without a runtime.
    ///
    /// # Panics
    /// When the question does.
    pub fn ask<T: Send>(&self, question: impl AsyncFnOnce(kube::Client) -> T + Send) -> T {
        let answer = || block_on(async { question(self.client().await).await });
        let asked = std::thread::scope(|scope| scope.spawn(answer).join());
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.ask(async |client| {
            // The control plane may be gone, and goes away in any case.
            let api: Api<Object> = Api::all(client);
            let how = DeleteParams::default();
            let deleted = api.delete(&self.name, &how);
            let _ = tokio::time::timeout(Duration::from_secs(2), deleted).await;
        });
    }
}

/// The name of a test as the beginning of a name of Kubernetes'.
fn slug(test: &str) -> String {
    let last = test.rsplit("::").next().unwrap_or_default().to_lowercase();
    let name: String = last.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_test_is_known_by_its_namespace() {
        assert_eq!(slug("needs_kubernetes::a_job_completes"), "a-job-completes");
        assert!(slug(&"x".repeat(99)).len() < 50);
    }
}
