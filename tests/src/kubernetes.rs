//! A real control plane of Kubernetes for tests: etcd, kube-apiserver and kube-controller-manager as they are released, and
//! a stand-in for the kubelet, since nothing here runs containers. A test takes a [`Namespace`] and needs nothing else.
//! What must not live here: what promo has to make of a cluster.
//!
//! # One in a run
//!
//! Starting one takes seconds of both cores and half a gigabyte, so that the tests of a run share it, each with a
//! namespace of its own. The runner starts every test as a process: the first one that asks starts `promo-kube` and waits for
//! it, the others find it by the process id of the runner, under a lock (`shared.rs`). A setup script of nextest would do the
//! same before every run, also before those that need no cluster, while no other test runs; it has no counterpart that
//! stops anything, and `cargo test` knows nothing of it.
//!
//! # Nothing is left running
//!
//! `promo-kube` (`server.rs`) looks at the runner, and ends everything a moment after it is gone, however it went. If it is
//! killed itself, the kernel kills its servers (`PR_SET_PDEATHSIG`). What a killed one leaves on the disk is removed by the
//! next one.
//!
//! A test that stops the API server takes a control plane of its own ([`ControlPlane::private`]), which ends with the value.

mod audit;
mod connection;
pub mod kills;
mod kubelet;
mod logs;
mod namespace;
mod owner;
pub mod pipeline;
pub mod series;
pub mod server;
mod servers;
mod shared;
mod status;
pub mod world;

pub use connection::{ADMIN, USERS};
pub use namespace::{Helm, Namespace};
pub use shared::ControlPlane;
