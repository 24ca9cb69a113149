//! A cluster that a target names, and the namespace in it. What lives here: connecting, and single requests about objects.
//! What must not: what several objects are together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::GroupVersionKind;
use kube::core::discovery::{ApiResource, Scope};
use promo_core::model::Target;
use promo_sdk::{Context, ErrorKind, ProviderError};
use serde_json::Value;
use tower::limit::ConcurrencyLimitLayer;

use super::credentials;
use super::error::{refused, told};
use super::fields;
use super::object::{DEFINITION, Id, Object};
use super::proxy;
use super::settings::Settings;

/// The field manager of everything that promo applies.
pub(crate) const MANAGER: &str = "promo";

/// A credential is asked for anew when it is good for less than this.
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// How many requests to one cluster are under way at once, whatever asks: each has a connection of its own (HTTP/1.1), and to make one
/// costs more than most requests do. A watch counts until the server has begun to answer.
const REQUESTS: usize = 16;

/// How often somebody else may write an object while it is taken over.
const DISOWNED_WITHIN: u8 = 10;

/// The clusters of one run, connected once.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    connected: Mutex<BTreeMap<String, Connected>>,
}

#[derive(Clone)]
struct Connected {
    client: kube::Client,
    kinds: Arc<Mutex<Kinds>>,
    offers: Arc<Offers>,
    until: Option<Timestamp>,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What a server has said of kinds.
#[derive(Default)]
struct Kinds {
    /// In the version that was asked for.
    exact: HashMap<GroupVersionKind, Kind>,
    /// In a version that the server serves, where it does not serve the one that was asked for.
    other: HashMap<GroupVersionKind, Kind>,
}

/// What a server says of itself, asked for once.
#[derive(Default)]
struct Offers {
    version: tokio::sync::OnceCell<String>,
    apis: tokio::sync::OnceCell<Apis>,
}

/// What a server offers, as charts ask for it.
#[derive(Debug, Default)]
pub(crate) struct Apis {
    /// `apps/v1`, `apps/v1/Deployment`.
    pub(crate) known: Vec<String>,
    /// Versions among these of which nobody says what kinds they have, as the server that does is away; each with what is said instead.
    pub(crate) away: Vec<(String, String)>,
}

/// What a server says of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

/// One namespace of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// The namespace's own id: nobody without access to the cluster knows it, and another namespace of the same name has
    /// another one.
    pub(crate) uid: String,
    connected: Connected,
}

impl Clusters {
    /// The namespace that a target names.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a target, settings or a kubeconfig that make no sense; [`ErrorKind::NotFound`] where there
    /// is no such namespace, or it is being deleted, or nothing says where the cluster is; what connecting gives.
    pub(crate) async fn place(&self, cx: &Context, target: &Target) -> Result<Place, ProviderError> {
        let key = |name: &str| {
            let missing = || ProviderError::new(ErrorKind::Invalid, format!("the target has no key `{name}`"));
            target.0.get(name).cloned().ok_or_else(missing)
        };
        let (cluster, namespace) = (key("cluster")?, key("namespace")?);
        // Promo's own door to servers: closed with `--offline`.
        cx.http()?;
        let connected = self.connected(cx, &cluster).await?;
        let doing = format!("looking for namespace {namespace} of cluster {cluster}");
        let found = Api::<Namespace>::all(connected.client.clone()).get_opt(&namespace).await;
        let gone = |what: String| {
            let why = "it is not made here: who owns the cluster makes it, with its quotas and its rights";
            ProviderError::new(ErrorKind::NotFound, format!("{what}; {why}"))
        };
        let found = found
            .map_err(|error| told(&doing, &error))?
            .ok_or_else(|| gone(format!("cluster {cluster} has no namespace {namespace}")))?;
        // What stands in it now goes with it: nothing that is seen there counts any more.
        if found.metadata.deletion_timestamp.is_some() {
            return Err(gone(format!("namespace {namespace} of cluster {cluster} is being deleted")));
        }
        let uid = found.metadata.uid.unwrap_or_default();
        Ok(Place { namespace, uid, connected })
    }

    /// The version of the cluster of that name.
    ///
    /// # Errors
    /// As [`Clusters::place`].
    pub(crate) async fn version(&self, cx: &Context, name: &str) -> Result<String, ProviderError> {
        cx.http()?;
        let found = self.connected(cx, name).await?.client.apiserver_version().await;
        found
            .map(|found| found.git_version)
            .map_err(|error| told(&format!("asking cluster {name} for its version"), &error))
    }

    /// Lets go of every connection, so that the next one is made with new credentials.
    pub(crate) fn forget(&self) {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn connected(&self, cx: &Context, name: &str) -> Result<Connected, ProviderError> {
        let fresh =
            |connected: &&Connected| connected.until.is_none_or(|until| until.duration_since(cx.clock.now()) > FRESH);
        let known = self.connected.lock().unwrap_or_else(PoisonError::into_inner).get(name).filter(fresh).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let connected = connect(cx, name).await?;
        let mut all = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), connected.clone());
        Ok(connected)
    }
}

async fn connect(cx: &Context, name: &str) -> Result<Connected, ProviderError> {
    let settings = Settings::of_user(cx)?;
    let cluster = settings.named(name)?;
    let file = &cluster.kubeconfig;
    let invalid =
        |why: &dyn std::fmt::Display| ProviderError::new(ErrorKind::Invalid, format!("{}: {why}", file.display()));
    let mut kubeconfig = Kubeconfig::read_from(file).map_err(|error| match error {
        // The error quotes the lines around the mistake, and tokens and keys stand in such a file (S13.4).
        KubeconfigError::Parse(_) => {
            invalid(&"it is no kubeconfig in YAML; where it is wrong is not told here, as it may hold secrets")
        }
        error => invalid(&error),
    })?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == cluster.context);
    let Some(context) = context.and_then(|context| context.context.as_ref()) else {
        let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(invalid(&format!("no context `{}`: expected one of {}", cluster.context, known.join(", "))));
    };
    let named = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
    let reached = named.and_then(|named| named.cluster.clone());
    let mut until = None;
    if let Some(user) = context.user.clone() {
        let named = kubeconfig.auth_infos.iter_mut().find(|named| named.name == user);
        let user = named.and_then(|named| named.auth_info.as_mut());
        let user =
            user.ok_or_else(|| invalid(&format!("context `{}` names a user that is not there", cluster.context)))?;
        until = credentials::settle(cx, file, user, reached.as_ref()).await?;
    }
    let options = KubeConfigOptions { context: Some(cluster.context.clone()), ..KubeConfigOptions::default() };
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| invalid(&error))?;
    config.connect_timeout = Some(Duration::from_secs(30));
    // Longer than a watch lasts.
    config.read_timeout = Some(Duration::from_secs(310));
    // What is repeated, and when, is decided where it is known what it does (S13.6).
    config.default_retry = false;
    if config.accept_invalid_certs {
        return Err(invalid(
            &"`insecure-skip-tls-verify` would give the credentials to whoever answers: name the authority",
        ));
    }
    let local = matches!(config.cluster_url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if config.cluster_url.scheme_str() != Some("https") && !local {
        return Err(invalid(&"the server is reached without TLS: expected `https://`"));
    }
    // kube compares NO_PROXY with the proxy, not with the server.
    let own = reached.and_then(|cluster| cluster.proxy_url);
    let server = (config.cluster_url.host().unwrap_or_default(), config.cluster_url.port_u16().unwrap_or(443));
    let proxy = proxy::of(cx.secrets.as_ref(), own, server).map_err(|why| invalid(&why))?;
    let no_address = |_| invalid(&"its proxy is no address: expected `http://HOST:PORT`");
    config.proxy_url = proxy.map(|proxy| proxy.parse().map_err(no_address)).transpose()?;
    let builder = kube::client::ClientBuilder::try_from(config).map_err(|error| invalid(&error))?;
    let client = builder.with_layer(&ConcurrencyLimitLayer::new(REQUESTS)).build();
    Ok(Connected { client, kinds: Arc::default(), offers: Arc::default(), until })
}

impl Place {
    /// What the server calls a kind.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a kind that the server does not know.
    pub(crate) async fn kind(&self, id: &Id) -> Result<Kind, ProviderError> {
        let kinds = &self.connected.kinds;
        let known = kinds.lock().unwrap_or_else(PoisonError::into_inner).exact.get(&id.kind).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let doing = format!("asking what {} is", id.kind_in_words());
        let missing =
            || ProviderError::new(ErrorKind::NotFound, format!("the cluster knows no {}", id.kind_in_words()));
        let found = match kube::discovery::oneshot::pinned_kind(&self.connected.client, &id.kind).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => return Err(missing()),
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(missing()),
            Err(error) => return Err(told(&doing, &error)),
        };
        let kind = Kind { namespaced: found.1.scope == Scope::Namespaced, resource: found.0 };
        kinds.lock().unwrap_or_else(PoisonError::into_inner).exact.insert(id.kind.clone(), kind.clone());
        Ok(kind)
    }

    /// The same for objects that are there already: where their version is served no more, they are in another one, by which the
    /// server has them under the same name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a kind that the server does not know in any version.
    pub(crate) async fn served(&self, id: &Id) -> Result<Kind, ProviderError> {
        match self.kind(id).await {
            Err(error) if error.kind == ErrorKind::NotFound => self.other_version(id).await?.ok_or(error),
            known => known,
        }
    }

    /// A kind in the version of its group that the server prefers, or in any other that has it.
    async fn other_version(&self, id: &Id) -> Result<Option<Kind>, ProviderError> {
        let kinds = &self.connected.kinds;
        let known = kinds.lock().unwrap_or_else(PoisonError::into_inner).other.get(&id.kind).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let group = match kube::discovery::oneshot::group(&self.connected.client, &id.kind.group).await {
            Ok(group) => group,
            Err(kube::Error::Discovery(_)) => return Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(told(&format!("asking what {} is", id.kind_in_words()), &error)),
        };
        let versions = std::iter::once(group.preferred_version_or_latest()).chain(group.versions());
        let found = versions.flat_map(|version| group.versioned_resources(version));
        let Some(found) = found.into_iter().find(|(resource, _)| resource.kind == id.kind.kind) else {
            return Ok(None);
        };
        let kind = Kind { namespaced: found.1.scope == Scope::Namespaced, resource: found.0 };
        kinds.lock().unwrap_or_else(PoisonError::into_inner).other.insert(id.kind.clone(), kind.clone());
        Ok(Some(kind))
    }

    /// Asks for a kind anew the next time.
    fn forget(&self, id: &Id) {
        let mut kinds = self.connected.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.exact.remove(&id.kind);
        kinds.other.remove(&id.kind);
    }

    /// The version of the server: `v1.20.2`.
    pub(crate) async fn version(&self) -> Result<&str, ProviderError> {
        let ask = async || {
            let found = self.connected.client.apiserver_version().await;
            found.map(|found| found.git_version).map_err(|error| told("asking the cluster for its version", &error))
        };
        self.connected.offers.version.get_or_try_init(ask).await.map(String::as_str)
    }

    /// What the server offers, as charts ask for it.
    pub(crate) async fn apis(&self) -> Result<&Apis, ProviderError> {
        let ask = async || {
            let failed = |error: kube::Error| told("asking the cluster what it offers", &error);
            let client = &self.connected.client;
            let groups = client.list_api_groups().await.map_err(failed)?.groups;
            let mut versions: Vec<String> = groups
                .into_iter()
                .flat_map(|group| group.versions.into_iter().map(|version| version.group_version))
                .collect();
            let core = client.list_core_api_versions().await.map_err(failed)?.versions;
            versions.extend(core.iter().cloned());
            let (mut known, mut away) = (Vec::new(), Vec::new());
            for version in versions {
                let kinds = match version.contains('/') {
                    true => client.list_api_group_resources(&version).await,
                    false => client.list_core_api_resources(&version).await,
                };
                let kinds = match kinds {
                    Ok(list) => list.resources,
                    // Taken away since it was listed.
                    Err(kube::Error::Api(status)) if status.code == 404 => continue,
                    // As a rule another server serves it, metrics say, and that is away: everything else can be told.
                    Err(kube::Error::Api(status)) if status.code >= 500 && version.contains('/') => {
                        away.push((version.clone(), crate::escape::line(&status.message)));
                        known.push(version);
                        continue;
                    }
                    Err(error) => return Err(told(&format!("asking the cluster what it offers in {version}"), &error)),
                };
                let named = kinds.iter().filter(|kind| !kind.name.contains('/'));
                known.extend(named.map(|kind| format!("{version}/{}", kind.kind)));
                known.push(version);
            }
            known.sort();
            known.dedup();
            Ok(Apis { known, away })
        };
        self.connected.offers.apis.get_or_try_init(ask).await
    }

    /// The objects of a kind, in this namespace where the kind has any.
    pub(crate) fn api(&self, kind: &Kind) -> Api<DynamicObject> {
        let client = self.connected.client.clone();
        if kind.namespaced {
            Api::namespaced_with(client, &self.namespace, &kind.resource)
        } else {
            Api::all_with(client, &kind.resource)
        }
    }

    /// An API of a known kind that is in no namespace.
    pub(crate) fn everywhere<K>(&self) -> Api<K>
    where
        K: kube::Resource,
        K::DynamicType: Default,
    {
        Api::all(self.connected.client.clone())
    }

    /// An API of a known kind in this namespace.
    pub(crate) fn typed<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.connected.client.clone(), &self.namespace)
    }

    /// What is there under a name, in whatever version the server serves it; nothing where the kind is not known either.
    pub(crate) async fn live(&self, id: &Id) -> Result<Option<Value>, ProviderError> {
        let doing = format!("looking at {id}");
        // Once more where the kind was known in a version that has gone meanwhile.
        for last in [false, true] {
            let kind = match self.served(id).await {
                Ok(kind) => kind,
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            match self.api(&kind).get(&id.name).await {
                Ok(object) => return as_value(&doing, &object).map(Some),
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    // The server names what it does not find, unless there is nobody who could look.
                    if last || status.details.as_ref().is_some_and(|details| details.name == id.name) {
                        return Ok(None);
                    }
                    self.forget(id);
                }
                Err(error) => return Err(told(&doing, &error)),
            }
        }
        Ok(None)
    }

    /// Applies an object server-side as `manager`; gives what is there then, or would be there where it only tries. What somebody
    /// changed by hand in an object of `ours` is taken back, as the plan shows; any other field of another manager is not.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming each field that another manager owns, and who that is.
    pub(crate) async fn apply(
        &self,
        manager: &str,
        object: &Object,
        ours: bool,
        try_only: bool,
    ) -> Result<Value, ProviderError> {
        self.apply_over(manager, object, |owned| ours && (owned.by_hand() || owned.by(manager)), try_only).await
    }

    /// Takes an object over from these managers: promo owns what it declares, and none of them owns any of that beside it. What
    /// belongs to anybody else is not taken.
    ///
    /// # Errors
    /// As [`Place::apply`].
    pub(crate) async fn take_over(
        &self,
        object: &Object,
        from: &BTreeSet<String>,
        try_only: bool,
    ) -> Result<Value, ProviderError> {
        let mut there = self.apply_over(MANAGER, object, |owned| from.contains(owned.manager()), try_only).await?;
        if try_only {
            return Ok(there);
        }
        let (kind, doing) = (self.kind(&object.id).await?, format!("taking over {}", object.id));
        for _ in 0..DISOWNED_WITHIN {
            let Some(owners) = fields::disowned(&there, MANAGER, from) else { return Ok(there) };
            let version = there.pointer("/metadata/resourceVersion").cloned();
            let patch = serde_json::json!({ "metadata": { "resourceVersion": version, "managedFields": owners } });
            let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            match self.api(&kind).patch(&object.id.name, &params, &Patch::Merge(&patch)).await {
                Ok(done) => return as_value(&doing, &done),
                // A controller has written its status meanwhile.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(told(&doing, &error)),
            }
            let gone = || ProviderError::new(ErrorKind::Conflict, format!("{doing}: it is gone"));
            there = self.live(&object.id).await?.ok_or_else(gone)?;
        }
        Err(ProviderError::new(ErrorKind::Transient, format!("{doing}: it changes all the time")))
    }

    async fn apply_over(
        &self,
        manager: &str,
        object: &Object,
        takes: impl Fn(&Owned) -> bool,
        try_only: bool,
    ) -> Result<Value, ProviderError> {
        let kind = match self.kind(&object.id).await {
            Err(mut error) if error.kind == ErrorKind::NotFound => {
                if let Some(other) = self.other_version(&object.id).await? {
                    error.message = format!("{}, and has it in {}", error.message, other.resource.api_version);
                }
                return Err(error);
            }
            known => known?,
        };
        if !kind.namespaced && object.id.kind.kind != DEFINITION {
            let message = format!(
                "{} belongs to the whole cluster: a target is a namespace, and nothing beside it is changed",
                object.id
            );
            return Err(ProviderError::new(ErrorKind::Invalid, message));
        }
        let doing = format!("{} {}", if try_only { "trying" } else { "applying" }, object.id);
        let mut params =
            PatchParams { dry_run: try_only, field_manager: Some(manager.into()), ..PatchParams::default() };
        let patch = async |params: &PatchParams| {
            self.api(&kind).patch(&object.id.name, params, &Patch::Apply(&object.value)).await
        };
        let mut applied = patch(&params).await;
        if let Err(kube::Error::Api(status)) = &applied
            && owned(status).is_some_and(|owned| owned.iter().all(&takes))
        {
            params.force = true;
            applied = patch(&params).await;
        }
        match applied {
            Ok(applied) => as_value(&doing, &applied),
            Err(kube::Error::Api(status)) if owned(&status).is_none() => Err(wrong(&object.id, &doing, &status)),
            Err(kube::Error::Api(status)) => Err(conflict(&object.id, &doing, &status, takes)),
            Err(error) => Err(told(&doing, &error)),
        }
    }

    /// Lets the server try whether it would make an object anew, as `manager`; where something is there that goes before, under another
    /// name. Changes nothing.
    ///
    /// # Errors
    /// What the server refuses it with.
    pub(crate) async fn try_new(&self, manager: &str, object: &Object, renamed: bool) -> Result<(), ProviderError> {
        let (kind, doing) = (self.kind(&object.id).await?, format!("trying {}", object.id));
        let mut value = object.value.clone();
        if let (true, Some(metadata)) = (renamed, value.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.remove("name");
            metadata.insert("generateName".into(), format!("{}-", object.id.name).into());
        }
        let invalid = |why| ProviderError::new(ErrorKind::Invalid, format!("{doing}: {why}"));
        let value: DynamicObject = serde_json::from_value(value).map_err(|_| invalid("its metadata are none"))?;
        let params = PostParams { dry_run: true, field_manager: Some(manager.into()) };
        match self.api(&kind).create(&params, &value).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(wrong(&object.id, &doing, &status)),
            Err(error) => Err(told(&doing, &error)),
        }
    }

    /// What an object would be if all that it declares were so, whoever owns it now; nothing where the server would not have that.
    /// Changes nothing.
    pub(crate) async fn as_declared(&self, object: &Object) -> Result<Option<Value>, ProviderError> {
        let doing = format!("trying {}", object.id);
        let kind = match self.kind(&object.id).await {
            Ok(kind) => kind,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let params = PatchParams { dry_run: true, field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match self.api(&kind).patch(&object.id.name, &params.force(), &Patch::Apply(&object.value)).await {
            Ok(would_be) => as_value(&doing, &would_be).map(Some),
            Err(kube::Error::Api(status)) => match refused(&doing, &status) {
                error if error.kind == ErrorKind::Transient => Err(error),
                _ => Ok(None),
            },
            Err(error) => Err(told(&doing, &error)),
        }
    }

    /// Deletes the very object of that id, and after it all that belongs to it. One that is gone, or that is another by now, is left.
    pub(crate) async fn delete(&self, id: &Id, uid: &str) -> Result<(), ProviderError> {
        self.delete_by(id, uid, DeleteParams::background()).await
    }

    /// The same, where the object itself goes last: as long as it is there, so may be what belongs to it.
    pub(crate) async fn delete_whole(&self, id: &Id, uid: &str) -> Result<(), ProviderError> {
        self.delete_by(id, uid, DeleteParams::foreground()).await
    }

    async fn delete_by(&self, id: &Id, uid: &str, params: DeleteParams) -> Result<(), ProviderError> {
        let kind = match self.served(id).await {
            Ok(kind) => kind,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..params };
        match self.api(&kind).delete(&id.name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(told(&format!("deleting {id}"), &error)),
        }
    }
}

fn as_value(doing: &str, object: &DynamicObject) -> Result<Value, ProviderError> {
    serde_json::to_value(object).map_err(|error| ProviderError::new(ErrorKind::Failed, format!("{doing}: {error}")))
}

/// A field that another manager owns.
struct Owned {
    field: String,
    /// As the server names it: `"kubectl-edit" using apps/v1`.
    owner: String,
}

impl Owned {
    /// Whether it was changed with kubectl's own verbs, `edit`, `patch`, `scale` and their like, by a person or a script: not by
    /// a controller, nor by what applies manifests of its own.
    fn by_hand(&self) -> bool {
        // Whoever applies is named without the version in which it did.
        self.owner.starts_with("\"kubectl") && self.owner.contains(" using ") && !self.owner.contains("-apply\"")
    }

    /// Who it is, without the version.
    fn manager(&self) -> &str {
        self.owner.trim_start_matches('"').split('"').next().unwrap_or_default()
    }

    /// Whether the same manager has it, from a request that applied nothing: a client that merges by itself.
    fn by(&self, manager: &str) -> bool {
        self.owner.strip_prefix(&format!("\"{manager}\"")).is_some_and(|rest| rest.starts_with(" using "))
    }
}

/// Which fields belong to whom, as the server tells it (`StatusCause` of reason `FieldManagerConflict`); nothing where it is
/// another refusal.
fn owned(status: &kube::core::Status) -> Option<Vec<Owned>> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let owned: Vec<Owned> = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| Owned {
            field: crate::escape::line(cause.field.trim_start_matches('.')),
            owner: crate::escape::line(cause.message.strip_prefix("conflict with ").unwrap_or(&cause.message)),
        })
        .collect();
    (!owned.is_empty()).then_some(owned)
}

/// What a server refuses an object with. What it says of a wrong value quotes it, and a Secret's is not told.
fn wrong(id: &Id, doing: &str, status: &kube::core::Status) -> ProviderError {
    let error = refused(doing, status);
    if id.kind.kind != "Secret" {
        return error;
    }
    let why = format!("{doing}: {} (what it says may quote a secret, and is not told)", status.reason);
    ProviderError::new(error.kind, why)
}

/// Names the fields that keep an object from being applied: those that are nobody's to take.
fn conflict(id: &Id, doing: &str, status: &kube::core::Status, takes: impl Fn(&Owned) -> bool) -> ProviderError {
    let Some(owned) = owned(status) else { return refused(doing, status) };
    let others = owned.iter().filter(|owned| !takes(owned));
    let owned: Vec<String> = others.map(|owned| format!("{} belongs to {}", owned.field, owned.owner)).collect();
    let message = format!(
        "{id}: {}; let that manager give it up, or leave the field out here: promo takes no field from anybody",
        owned.join(", ")
    );
    ProviderError::new(ErrorKind::Conflict, message)
}
