//! The pure heart of promo.
#![no_std]

extern crate alloc;
