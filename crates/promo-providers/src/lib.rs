//! See the crate description; filled below.

pub mod oci;
