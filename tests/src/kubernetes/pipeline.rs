//! A pipeline of namespaces of the control plane, and promo on it as a process of its own. What must not live here: what is deployed,
//! and what must come of it.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "only tests use it: a panic is the report")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Network, Store};
use serde_json::Value;

use super::{Helm, Namespace};
use crate::binary;
use crate::oci_registry::{Behaviour, OciRegistry};

/// A word for secrets, which nothing may ever tell: neither like this nor in base64.
pub const SECRET: &str = "canary-secret";
const SECRET_IN_BASE64: &str = "Y2FuYXJ5";

/// What a pipeline deploys its objects with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Manifests, applied by promo itself.
    Kubectl,
    /// A chart of which they are the template.
    Helm(Helm),
}

impl By {
    /// Everything that is to come out alike.
    pub const ALL: [Self; 3] = [Self::Kubectl, Self::Helm(Helm::Three), Self::Helm(Helm::Four)];

    /// The lines of a pipeline that say so; `also` are further ones of the same table.
    #[must_use]
    pub fn settings(self, also: &str) -> String {
        match self {
            Self::Kubectl => format!(
                "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\nimages = {{ \"shop/web\" = \"web\" }}\n{also}"
            ),
            Self::Helm(_) => format!(
                "[defaults.deploy.helm]\nchart = \"chart\"\nname = \"shop\"\n\
                 inject = {{ \"image.repository\" = \"web.repository\", \"image.digest\" = \"web.digest\" }}\n{also}"
            ),
        }
    }

    /// How objects name the image of the release.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Self::Kubectl => "shop/web",
            Self::Helm(_) => "{{ .Values.image.repository }}@{{ .Values.image.digest }}",
        }
    }
}

/// Namespaces, the registry from which they take their image, and the working tree.
pub struct Pipeline {
    /// What is deployed with.
    pub by: By,
    /// Where is deployed to.
    pub namespaces: Vec<Namespace>,
    /// Where images are.
    pub registry: OciRegistry,
    directory: tempfile::TempDir,
}

impl Pipeline {
    /// A pipeline of so many namespaces of the control plane that the tests share, with the artifact `web`; None as
    /// [`Namespace::new`]. What follows in its file is made from the namespaces.
    pub async fn new(count: usize, rest: impl FnOnce(&[Namespace]) -> String) -> Option<Self> {
        let namespaces = (0..count).map(|_| Namespace::new()).collect::<Option<_>>()?;
        Some(Self::on(namespaces, rest).await)
    }

    /// The same of these namespaces.
    pub async fn on(namespaces: Vec<Namespace>, rest: impl FnOnce(&[Namespace]) -> String) -> Self {
        let registry = OciRegistry::start(Behaviour::default()).await;
        let pipeline = Self { by: By::Kubectl, namespaces, registry, directory: tempfile::tempdir().unwrap() };
        let text = format!(
            "format = 1\n[pipeline]\nname = \"shop\"\n[artifacts.web]\nimage = \"{}/team/web\"\ntags = \"[0-9]*\"\n\
             [checks.smoke]\ncommand = {{ run = [\"true\"] }}\n{}",
            pipeline.registry.address(),
            rest(&pipeline.namespaces)
        );
        pipeline.write("promo.toml", &text);
        pipeline.user("admin");
        pipeline
    }

    /// The same with what its file says that it deploys with.
    #[must_use]
    pub fn with(self, by: By) -> Self {
        if by != By::Kubectl {
            self.write("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n");
        }
        Self { by, ..self }
    }

    /// What the next release declares.
    pub fn objects(&self, text: &str) {
        match self.by {
            By::Kubectl => self.write("manifests/all.yaml", text),
            By::Helm(_) => self.write("chart/templates/all.yaml", text),
        }
    }

    /// The same, where `shop/web` stands for the image of the release, and `KEY` for a value that a chart has from its values.
    pub fn declare(&self, key: &str, objects: &str) {
        let objects = objects.replace("shop/web", &format!("\"{}\"", self.by.image()));
        match self.by {
            By::Kubectl => self.objects(&objects.replace("KEY", key)),
            By::Helm(_) => {
                self.write("chart/values.yaml", &format!("key: \"{key}\"\n"));
                self.objects(&objects.replace("KEY", "{{ .Values.key }}"));
            }
        }
    }

    /// Definitions of kinds that come with it.
    pub fn definitions(&self, text: &str) {
        match self.by {
            By::Kubectl => self.write("manifests/definitions.yaml", text),
            By::Helm(_) => self.write("chart/crds/definitions.yaml", text),
        }
    }

    /// An environment that is deployed to a namespace; `also` are further lines of it.
    #[must_use]
    pub fn environment(name: &str, tier: &str, also: &str, namespace: &Namespace) -> String {
        format!(
            "[environments.{name}]\ntier = \"{tier}\"\nstart = \"auto\"\nverify = [\"smoke\"]\n{also}\
             target = {{ cluster = \"kit\", namespace = \"{}\" }}\n",
            namespace.name()
        )
    }

    /// The first namespace, where development is.
    #[must_use]
    pub fn dev(&self) -> &Namespace {
        &self.namespaces[0]
    }

    /// The second one, where staging is.
    #[must_use]
    pub fn staging(&self) -> &Namespace {
        &self.namespaces[1]
    }

    /// From now on promo speaks to the cluster as that user.
    pub fn user(&self, user: &str) {
        super::world::clusters(self.directory(), &self.namespaces[0].kubeconfig_of(user), user);
    }

    /// Waits until the server lets a user work with Secrets in the first namespace, or not any more: it learns of bindings a moment
    /// after they are there.
    pub fn until(&self, user: &str, may: bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let words = ["auth", "can-i", "list", "secrets", "--as", user];
        while self.namespaces[0].kubectl().args(words).output().unwrap().status.success() != may {
            assert!(std::time::Instant::now() < deadline, "{user}: {may}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The working tree.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads one.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Puts a text in the place of another one that is there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{from} in {text}");
        self.write(name, &text.replace(from, to));
    }

    /// Builds an image with that tag and adds it as a release.
    pub async fn release(&self, tag: &str) {
        self.push(tag).await;
        self.ends(0, &["release", "add", &format!("web={tag}")]);
    }

    /// Builds an image with that tag.
    pub async fn push(&self, tag: &str) {
        let network = Network::of(&promo_sdk::testing::context(self.directory())).unwrap();
        let store = Store::Registry(network.repository(self.registry.address(), "team/web").unwrap());
        let labels = [("org.opencontainers.image.version", tag)];
        image(&store, tag, &Image::new(labels, vec![tag.as_bytes().to_vec()])).await.unwrap();
    }

    /// promo in the working tree.
    #[must_use]
    pub fn promo(&self, words: &[&str]) -> Command {
        self.dressed(binary::command(binary::promo()), words)
    }

    /// A program there with promo's environment.
    #[must_use]
    pub fn dressed(&self, mut command: Command, words: &[&str]) -> Command {
        command.current_dir(self.directory()).args(words).env("PROMO_CLUSTERS", self.path("clusters.toml"));
        command.env("PROMO_ACTOR", "ci").env("HOME", self.directory()).stdin(Stdio::null());
        if let By::Helm(helm) = self.by {
            command.env("PROMO_HELM", self.namespaces[0].helm(helm).get_program());
        }
        command
    }

    /// What promo says that ends with this exit code.
    pub fn ends(&self, code: i32, words: &[&str]) -> String {
        let output = self.promo(words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(!said.contains(SECRET) && !said.contains(SECRET_IN_BASE64), "{words:?} tells a secret: {said}");
        said
    }

    /// The same as JSON.
    pub fn json(&self, code: i32, words: &[&str]) -> Value {
        let said = self.ends(code, &[words, &["--format", "json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    /// The last promotion into an environment, as the ledger has it.
    #[must_use]
    pub fn last(&self, environment: &str) -> Value {
        self.json(0, &["history", environment])["promotions"][0].clone()
    }

    /// Types, as a person, the commands that are told, one after the other, until there is what is wanted; gives them.
    pub fn follow(&self, mut said: String, there: impl Fn(&str) -> bool) -> Vec<String> {
        let mut typed = Vec::new();
        while !there(&said) {
            assert!(typed.len() < 4, "{typed:?}: {said}");
            let mut words = next(&said);
            // What is held is for a person.
            words.extend(["--actor-kind".to_owned(), "human".to_owned()]);
            said = self.ends(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
            typed.push(words.join(" "));
        }
        typed
    }

    /// The run that has begun and has not ended.
    #[must_use]
    pub fn unfinished(&self) -> Option<String> {
        let runs = self.json(0, &["runs", "--unfinished"]);
        runs["runs"][0]["run"].as_str().map(String::from)
    }
}

/// Everything that a process said.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The words of the command that an answer ends with.
fn next(said: &str) -> Vec<String> {
    let line = said.lines().rev().find_map(|line| line.strip_prefix("Next: ")).unwrap_or_else(|| panic!("{said}"));
    let words = shlex::split(line).unwrap_or_else(|| panic!("{line}"));
    assert_eq!(words[0], "promo", "{line}");
    words[1..].to_vec()
}

/// What kubectl says in a namespace.
pub fn kubectl(namespace: &Namespace, words: &[&str]) -> String {
    let output = namespace.kubectl().args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something is so.
///
/// # Panics
/// When it is not within 30 s.
pub fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets a namespace have no more objects of a resource than that. The server enforces nothing before it has counted.
pub fn quota(namespace: &Namespace, name: &str, resource: &str, hard: usize) {
    kubectl(namespace, &["create", "quota", name, &format!("--hard={resource}={hard}")]);
    let status = || kubectl(namespace, &["get", "quota", name, "-o", "jsonpath={.status.used}"]);
    wait_for("the quota is not counted", || status().contains(resource));
}
