//! Helm charts as OCI artifacts (<https://helm.sh/docs/topics/registries>): one manifest, whose configuration says that it is one,
//! and the packed chart as a layer. What must not live here: what becomes of it.

use promo_sdk::{ArtifactInput, Context, ErrorKind, ProviderError};

use super::document::{self, Body};
use super::{Limits, Location, Oci, Selector};

/// What the configuration of a chart is.
pub(super) const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// What a packed chart may have, as helm has it.
const LARGEST: u64 = 20 << 20;

impl Oci {
    /// The packed chart that an artifact is, every digest on the way to it compared.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an artifact that is no chart; what the registry gives.
    pub(crate) async fn chart(&self, cx: &Context, artifact: &ArtifactInput) -> Result<Vec<u8>, ProviderError> {
        let store = self.open(cx, &artifact.repository.parse::<Location>()?)?;
        let manifest = store.get_manifest(Selector::Digest(&artifact.digest), None, &Limits::default()).await?;
        let what = format!("{}@{}", artifact.repository, artifact.digest);
        let wrong = |why: &str| ProviderError::new(ErrorKind::Invalid, format!("{what} is no chart: {why}"));
        let Body::Manifest { config, layers } = document::parse(&what, &manifest)?.body else {
            return Err(wrong("it is an index"));
        };
        if config.media_type != CONFIG {
            return Err(wrong(&format!("its configuration is `{}`", crate::escape::line(&config.media_type))));
        }
        let layer =
            layers.iter().find(|layer| layer.media_type == CONTENT).ok_or_else(|| wrong("it has no content"))?;
        Ok(store.read_blob(&layer.digest, layer.size, LARGEST).await?)
    }
}
