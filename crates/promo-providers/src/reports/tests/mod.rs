//! Every sample is read and compared with the facts that are written beside it, with a plain reading, and with itself when it is broken.
//! Facts are written anew by `PROMO_BLESS=1`, and are reviewed like code.

mod opens;
mod refusals;
mod samples;
mod shown;
