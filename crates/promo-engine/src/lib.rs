//! Glue between the pure core and the outside world: observes, plans, applies reviewed plans and records what happened.

pub mod clock;
pub mod process;
pub mod signature;
