//! See the crate description; filled below.
