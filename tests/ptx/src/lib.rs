//! An interpreter of PTX for tests: runs kernels without a GPU, and checks what a GPU would not.
//!
//! A [`Module`] is parsed from text, a [`Memory`] holds the allocations, [`Module::launch`] runs a kernel
//! or stops with a [`Fault`] that names the line, the block and the thread: accesses that are out of
//! bounds, misaligned, of memory or registers never written, races, barriers that never open, asynchronous
//! operations not waited for. [`mutate`] takes a module's barriers, waits and bounds out one by one, to test
//! that their absence is found.
//!
//! The meaning of each instruction is that of NVIDIA's PTX ISA manual. Operations of one warp run side by
//! side, warps in turns; a race is found by the order that barriers make, not by the order of the run.
#![forbid(unsafe_code)]

mod check;
mod decode;
mod exec;
mod memory;
mod module;
pub mod mutate;
mod parse;
mod program;
mod tensor_map;
mod types;

pub use check::fault::{Access, Fault, FaultKind};
pub use exec::launch::{Options, Stats};
pub use memory::{HostError, Memory, Use};
pub use module::Module;
pub use parse::ParseError;
pub use tensor_map::{Swizzle, TensorMap};
