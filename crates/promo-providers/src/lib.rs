//! The built-in providers: what promo reaches the outside world with. Each lives in a module of its own, knows nothing
//! of the others, and is written against promo-sdk alone.

use std::sync::Arc;

use promo_core::kinds::KindSchema;
use promo_sdk::Provider;

pub mod command;
pub mod directory;
pub mod endpoints;
mod escape;
pub mod http;
pub mod job;
pub mod kubectl;
mod kubernetes;
pub mod metric;
pub mod oci;
pub mod rollout;
mod settings;
mod templates;

/// Every built-in provider.
#[must_use]
pub fn builtin() -> Vec<Arc<dyn Provider>> {
    vec![
        Arc::new(oci::Oci::new()),
        Arc::new(directory::Directory),
        Arc::new(kubectl::Kubectl::default()),
        Arc::new(http::Http),
        Arc::new(metric::Metric),
        Arc::new(rollout::Rollout::default()),
        Arc::new(endpoints::Endpoints::default()),
        Arc::new(job::Job::default()),
        Arc::new(command::Command),
    ]
}

/// What the built-in providers accept in the pipeline file.
#[must_use]
pub fn kinds() -> Vec<KindSchema> {
    builtin().iter().flat_map(|provider| provider.describe().kinds).collect()
}
