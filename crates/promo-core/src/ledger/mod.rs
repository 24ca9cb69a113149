//! The meaning of the ledger: what a record is, which events there are, and the view that folding them gives. The chain
//! and the stores live in promo-ledger; nothing here reads or writes one.

pub mod event;
pub mod record;
pub mod view;

pub use event::Event;
pub use record::{Actor, ActorKind, Draft, Record};
pub use view::{View, fold};
