//! What the tests of eligibility and of the planner have in common: pipelines and histories out of a few words, and a
//! slow second opinion on what they mean.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod bench;
pub(crate) mod history;
pub(crate) mod reference;
