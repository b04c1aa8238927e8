//! CPU microkernels by family and instruction set.
//!
//! Generated code calls them through a table of function pointers, so every kernel has one type,
//! [`KernelFn`]: a pointer to 64-bit words, laid out as the structs of [`args`] say. `table` lists
//! all kernels; a *contract* (name and version) is what artifacts store, and each contract has one
//! row per instruction set that serves it, among them always a portable one.
//!
//! A family's folder holds the contract in `mod.rs`, the algorithm written once over vectors of 16
//! lanes (`simd`), and a file per instruction set with its rows. Lanes, partial sums and their order
//! are the same everywhere, so instruction sets differ by fused multiply-add alone.
//!
//! This crate never allocates, never reads or writes past the sizes it is given, and knows nothing
//! of graphs, artifacts or threads.
#![no_std]

#[cfg(test)]
extern crate std;

#[macro_use]
mod rows_macro;

pub mod args;
mod isa;
mod simd;
mod table;
pub mod trial;

mod convert;
mod dwconv;
mod gemm;
mod pack;
mod quant;
mod recurrent;
mod rows;
mod unpack;
mod vmath;

#[cfg(test)]
mod tests;

pub use isa::Isa;
pub use table::{Kernel, KernelFn, kernels, lookup, lookup_on};
