//! The `helm` deployment: a release of a chart, made by helm as a process and looked at by promo itself. What must not live here:
//! what a cluster is and when its objects have settled; `crate::kubernetes` has that.
//!
//! helm renders and helm changes, and does nothing else: it never waits, never rolls back and speaks to no registry. What it made
//! stands in its own Secret of the newest revision, and the state of a place is a digest over what that declares, as the live
//! objects have it, with the chart's version and the hooks. What is under way stands in a Secret of promo's beside it
//! (`kubernetes::inventory`), from before the first change until after the last: what each object was and is to be.
//!
//! Effects are *observable* (S9.3): a revision is promo's own where it has the number that comes next and the labels of this very
//! attempt; any other is somebody else's and stops the step.

mod call;
mod chart;
mod drift;
mod ensure;
mod hooks;
mod release;
mod render;
mod seen;
mod settings;
mod told;
mod tool;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use promo_core::kinds::{KindSchema, Place as At, ValueKind};
use promo_sdk::{
    Context, Description, DriftAnswer, DriftRequest, EffectClass, EnsureAnswer, EnsureRequest, Inputs, ObserveRequest,
    Preview, Provider, ProviderError, Settled, State,
};
use serde_json::Value;

use self::call::Call;
use self::chart::Chart;
use self::release::Release;
use self::render::{Job, Rendered, Renderings};
use self::settings::Settings;
use self::tool::Tools;
use crate::kubernetes::cluster::{Clusters, Place};
use crate::kubernetes::fingerprint;
use crate::kubernetes::object::Object;
use crate::kubernetes::settings::Settings as ClusterSettings;
use crate::kubernetes::tried::{Owner, tried};
use crate::kubernetes::{running, shown};
use crate::oci::Oci;
use crate::settings::{files, key, required};

/// Deploys a chart as a release.
#[derive(Debug, Default)]
pub struct Helm {
    clusters: Clusters,
    oci: Oci,
    tools: Tools,
    renderings: Renderings,
}

/// What `deploy.helm` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    let chart = "A chart: the name of an artifact that is one, or the path of a directory";
    KindSchema {
        place: At::Deploy,
        kind: "helm".to_owned(),
        about: "Installs or upgrades a release of a chart in a namespace of a cluster, and waits until it runs"
            .to_owned(),
        keys: vec![
            promo_core::kinds::KeySchema { files: true, ..required("chart", ValueKind::ArtifactOrPath, chart) },
            key("name", ValueKind::Text, "The name of the release; `promo` when left out"),
            files("values", "Paths and globs of files with values; a later one counts more"),
            key("set", ValueKind::Table, "Values, as a table; they count more than those of files"),
            key(
                "inject",
                ValueKind::TextTable,
                "Where the chart reads what the release brings: `\"image.digest\" = \"api.digest\"`; also `.repository` and `.tag`",
            ),
            key(
                "timeout",
                ValueKind::Duration,
                "How long hooks, and objects until they run, may take; `5m` when left out",
            ),
            key(
                "adopt",
                ValueKind::Flag,
                "Whether the first deployment takes over a release that helm has made without promo",
            ),
            key(
                "image_keys",
                ValueKind::Texts,
                "Keys under which custom resources name images, beside `image` and its like",
            ),
            key("history", ValueKind::Number, "How many revisions helm keeps; 20 when left out, 0 for all"),
        ],
        target_keys: vec!["cluster".to_owned(), "namespace".to_owned()],
    }
}

/// What would be there.
struct Wanted {
    rendered: Arc<Rendered>,
    objects: Vec<(Object, Value)>,
    extras: Vec<(Object, Value)>,
    state: State,
    /// Whether a template seems to ask the cluster.
    asks: bool,
}

impl Wanted {
    /// Everything that the state is made of.
    fn all(&self) -> Vec<(Object, Value)> {
        self.objects.iter().chain(&self.extras).cloned().collect()
    }
}

#[async_trait]
impl Provider for Helm {
    fn describe(&self) -> Description {
        Description {
            name: "helm".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Observable,
            kinds: vec![schema()],
        }
    }

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        let settings = Settings::of(inputs)?;
        settings.own_values(&inputs.artifacts)?;
        if let Some(error) = render::malformed(&render::values(cx, inputs, &settings)?) {
            return Err(error);
        }
        // An artifact only stands for a real one here.
        if !inputs.artifacts.keys().any(|name| name.as_str() == settings.chart) {
            Chart::of(cx, &self.oci, inputs, &settings).await?;
        }
        // Which images it names is known once helm has rendered it.
        Ok(Vec::new())
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        let settings = Settings::of(&request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let at = at(cx, &request.inputs)?;
        Ok(seen::look(&place, &settings, &at).await?.there.state)
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        let settings = Settings::of(&request.inputs)?;
        let place = self.clusters.place(cx, &request.inputs.target).await?;
        let at = at(cx, &request.inputs)?;
        // helm renders while the cluster is looked at.
        let wanted = self.wanted(cx, &request.inputs, &settings, &place);
        let (wanted, seen) = futures_util::future::join(wanted, seen::look(&place, &settings, &at)).await;
        let (wanted, seen) = (wanted?, seen?);
        seen.admits(&settings)?;
        let current = seen.there.state;
        if current == wanted.state {
            return Ok(Preview {
                current,
                desired: wanted.state,
                changes: Vec::new(),
                images: wanted.rendered.images(&settings.image_keys),
            });
        }
        let rendered = &wanted.rendered;
        hooks::guard(&place, &settings.name, rendered, seen.latest.as_ref(), &self.tools.find(cx).await?).await?;
        let missing = rendered.undefined(&place).await?;
        // Where that cannot be told yet it is before anything is written: helm goes on from no revision that is under way, and knows no
        // kind that is not defined.
        if wanted.asks && missing.is_empty() && !seen.latest.as_ref().is_some_and(Release::is_pending) {
            Call::new(self, cx, &request.inputs, &settings, &place, rendered).await?.compare(rendered).await?;
        }
        let mut after = wanted.all();
        after.extend(missing.into_iter().map(|definition| (definition.clone(), definition.value.clone())));
        let mut changes = shown::changes(&seen.shown(), &after)?;
        changes.extend(seen.passing());
        let images = wanted.rendered.images(&settings.image_keys);
        Ok(Preview { current, desired: wanted.state, changes, images })
    }

    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        drift::look(self, cx, request).await
    }

    async fn programs(&self, cx: &Context, _inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        Ok([("helm".to_owned(), self.tools.find(cx).await?.version)].into())
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        ensure::ensure(self, cx, request).await
    }

    async fn settle(&self, cx: &Context, request: &ObserveRequest) -> Result<Settled, ProviderError> {
        self.clusters.looked(|| self.settled(cx, &request.inputs)).await
    }
}

impl Helm {
    async fn settled(&self, cx: &Context, inputs: &Inputs) -> Result<Settled, ProviderError> {
        let settings = Settings::of(inputs)?;
        let place = self.clusters.place(cx, &inputs.target).await?;
        let Some(release) = release::latest(&place, &settings.name).await? else { return Ok(Settled::default()) };
        running::settled(cx, &place, &release.objects()?, settings.timeout).await
    }

    /// What the chart declares there, and whether a template seems to ask the cluster.
    async fn rendered(
        &self,
        cx: &Context,
        inputs: &Inputs,
        settings: &Settings,
        place: &Place,
    ) -> Result<(Arc<Rendered>, bool), ProviderError> {
        // helm says what it is while it renders: nobody takes what one has rendered that is refused then.
        let rendered = async {
            let chart = Chart::of(cx, &self.oci, inputs, settings).await?;
            let job = Job::new(cx, inputs, settings, &chart)?;
            Ok((self.renderings.get(cx, &Tools::unasked(cx), place, &job).await?, job.asking()))
        };
        let (tool, rendered) = futures_util::future::join(self.tools.find(cx), rendered).await;
        tool?;
        rendered
    }

    /// What the chart and the cluster make of the inputs, without making it.
    async fn wanted(
        &self,
        cx: &Context,
        inputs: &Inputs,
        settings: &Settings,
        place: &Place,
    ) -> Result<Wanted, ProviderError> {
        let (rendered, asks) = self.rendered(cx, inputs, settings, place).await?;
        let objects = tried(place, &rendered.objects, &rendered.definitions, Owner::Helm(&settings.name)).await?;
        let extras = rendered.extras(&settings.name)?;
        let all: Vec<(Object, Value)> = objects.iter().chain(&extras).cloned().collect();
        let state = fingerprint::wanted(place, &all);
        Ok(Wanted { rendered, objects, extras, state, asks })
    }
}

/// How the cluster of a target is named to a person who has to look there.
fn at(cx: &Context, inputs: &Inputs) -> Result<String, ProviderError> {
    let (cluster, namespace) = (inputs.target.0.get("cluster"), inputs.target.0.get("namespace"));
    let settings = ClusterSettings::of_user(cx)?;
    let cluster = settings.named(cluster.map(String::as_str).unwrap_or_default())?;
    Ok(tool::typed(&cluster.kubeconfig, &cluster.context, namespace.map(String::as_str).unwrap_or_default()))
}
