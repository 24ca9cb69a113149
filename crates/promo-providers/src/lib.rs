//! The built-in providers: what promo reaches the outside world with. Each lives in a module of its own, knows nothing
//! of the others, and is written against promo-sdk alone.

use std::sync::Arc;

use promo_core::kinds::KindSchema;
use promo_sdk::Provider;

pub mod command;
pub mod directory;
pub mod endpoints;
mod escape;
pub mod git;
pub mod helm;
pub mod http;
pub mod job;
pub mod kubectl;
mod kubernetes;
pub mod logs;
mod masks;
pub mod metric;
pub mod oci;
mod private;
pub mod probe;
#[cfg(feature = "reports")]
pub mod reports;
pub mod rollout;
mod settings;
#[cfg(feature = "reports")]
pub mod signatures;
mod templates;
mod versions;

pub use kubernetes::reached::Reached;
pub use kubernetes::settings::{ClusterSettings, Settings as Clusters};

/// The fields in which the two sides of a change differ, as a deployment to a cluster shows it in a plan: where each is, what was
/// there and what would be. Nothing for what is no object, or a whole one.
#[must_use]
pub fn fields_of(change: &promo_sdk::FileChange) -> Vec<(String, Option<String>, Option<String>)> {
    kubernetes::shown::fields(change)
}

/// Every built-in provider.
#[must_use]
pub fn builtin() -> Vec<Arc<dyn Provider>> {
    let oci = Arc::new(oci::Oci::new());
    vec![
        #[cfg(feature = "reports")]
        Arc::new(oci::Attest::beside(&oci)),
        oci,
        Arc::new(directory::Directory),
        Arc::new(kubectl::Kubectl::default()),
        Arc::new(helm::Helm::default()),
        Arc::new(http::Http),
        Arc::new(metric::Metric),
        Arc::new(rollout::Rollout::default()),
        Arc::new(endpoints::Endpoints::default()),
        Arc::new(job::Job::default()),
        Arc::new(logs::Logs::default()),
        Arc::new(probe::Probe),
        Arc::new(command::Command),
    ]
}

/// What the built-in providers accept in the pipeline file.
#[must_use]
pub fn kinds() -> Vec<KindSchema> {
    builtin().iter().flat_map(|provider| provider.describe().kinds).collect()
}
