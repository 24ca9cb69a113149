//! The `promo` command line.

fn main() {}
