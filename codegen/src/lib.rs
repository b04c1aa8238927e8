//! Tile programs to machine code, and weights in the layout that the code reads.
//!
//! Invariant: what comes out is position-independent bytes without relocations; everything that code
//! needs from outside comes through its arguments. This crate knows no graph operator.
#![forbid(unsafe_code)]

pub mod artifact;
pub mod cpu;
pub mod gpu;
mod machine;
mod narrow;
pub mod pack;
mod precision;

pub use machine::Machine;
pub use precision::Precision;
