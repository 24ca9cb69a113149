//! Registries that lie, break off, send elsewhere or change under the reader's hands, against promo's own client: each
//! time the copy is refused with its code, or repeated as it should be, and the journal shows that nothing is written
//! after the failure (S2, S13.5, S13.6).
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

#[path = "oci_hostile/chunks.rs"]
mod chunks;
#[path = "oci_hostile/companions.rs"]
mod companions;
#[path = "oci_hostile/doors.rs"]
mod doors;
#[path = "oci_hostile/encrypted.rs"]
mod encrypted;
#[path = "oci_hostile/lies.rs"]
mod lies;
#[path = "oci_hostile/places.rs"]
mod places;
#[path = "oci_hostile/recent.rs"]
mod recent;
#[path = "oci_hostile/tags.rs"]
mod tags;
#[path = "oci_hostile/trouble.rs"]
mod trouble;
#[path = "oci_hostile/world.rs"]
mod world;
