//! Whether a cluster that targets name can be reached, and which of their namespaces are there, for whoever looks at a machine.
//! What must not live here: anything about what is deployed.

use promo_core::model::Target;
use promo_sdk::{Context, ProviderError};

use super::cluster::Clusters;

/// A cluster that has answered.
#[derive(Debug)]
pub struct Reached {
    clusters: Clusters,
    name: String,
    version: String,
}

impl Reached {
    /// Reaches the cluster of that name as deployments and checks do, with its credentials.
    ///
    /// # Errors
    /// [`promo_sdk::ErrorKind::NotFound`] where nothing says where it is; what connecting and asking give.
    pub async fn of(cx: &Context, name: &str) -> Result<Self, ProviderError> {
        let clusters = Clusters::default();
        let version = clusters.version(cx, name).await?;
        Ok(Self { clusters, name: name.to_owned(), version })
    }

    /// What it says of its version: `v1.31.2`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether a namespace is there, and may be looked at.
    ///
    /// # Errors
    /// [`promo_sdk::ErrorKind::NotFound`] where it is not; what asking gives.
    pub async fn has(&self, cx: &Context, namespace: &str) -> Result<(), ProviderError> {
        let target = [("cluster", self.name.as_str()), ("namespace", namespace)];
        let target = Target(target.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        self.clusters.place(cx, &target).await.map(drop)
    }
}
