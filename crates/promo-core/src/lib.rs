//! The pure heart of promo: configuration, the environment graph, windows, eligibility, plans, and what ledger records
//! mean. Nothing here does IO, reads a clock or an environment variable, or draws a random number; everything that is
//! known comes in as a value, so the same inputs give the same plan on any machine.
#![no_std]

extern crate alloc;

pub mod approval;
pub mod attestation;
pub mod canonical;
pub mod clock;
pub mod config;
pub mod counted;
pub mod diagnostic;
pub mod digest;
pub mod eligibility;
pub mod evidence;
pub mod format;
pub mod gate;
pub mod graph;
pub mod ids;
pub mod inputs;
pub mod kinds;
pub mod ledger;
pub mod lint;
pub mod model;
pub mod newest;
pub mod plan;
pub mod planner;
pub mod policy;
pub mod print;
pub mod release;
pub mod requirement;
#[cfg(feature = "schema")]
mod schema;
pub mod state;
pub mod trust;
pub mod windows;

pub use digest::Digest;
