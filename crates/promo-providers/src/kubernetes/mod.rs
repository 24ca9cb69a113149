//! What the providers that deploy to Kubernetes share: clusters by name and their credentials, objects as the API server has
//! them, and when they have settled. What must not live here: what a deployment is made of, and what it leaves behind.
//!
//! A cluster is reached through the crate `kube`; only credential plugins are run by promo itself, because whatever promo
//! starts dies with it (S9.3).

pub(crate) mod adoption;
pub(crate) mod beside;
pub(crate) mod cluster;
mod credentials;
pub(crate) mod declared;
pub(crate) mod drift;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod fingerprint;
pub(crate) mod images;
pub(crate) mod inventory;
pub(crate) mod mark;
pub(crate) mod object;
pub(crate) mod projection;
mod proxy;
pub(crate) mod reached;
pub(crate) mod running;
pub(crate) mod settings;
pub(crate) mod settled;
pub(crate) mod shown;
pub(crate) mod status;
pub(crate) mod tried;
pub(crate) mod typed;
pub(crate) mod watching;
pub(crate) mod workloads;

pub(crate) use credentials::INHERITED;
