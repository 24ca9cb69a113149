//! Shared fixtures and harnesses of the test package.

pub mod registry;
pub mod world;
