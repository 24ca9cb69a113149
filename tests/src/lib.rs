//! Shared fixtures and harnesses of the test package.

pub mod beside;
pub mod binary;
pub mod cells;
mod certificates;
#[cfg(target_os = "linux")]
pub mod charts;
pub mod clients;
pub mod copying;
#[cfg(unix)]
pub mod counting;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod failing_disk;
pub mod faults;
pub mod front;
pub mod interleaved;
#[cfg(target_os = "linux")]
pub mod kubernetes;
pub mod oci_registry;
pub mod prometheus;
pub mod racing;
pub mod registry;
pub mod small;
pub mod token_server;
pub mod watched_store;
pub mod world;
