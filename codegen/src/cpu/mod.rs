//! The CPU backend: kernels to machine code by Cranelift.
//!
//! A kernel becomes `extern "C" fn(table, buffers, dims, scratch, begin, end)` over a range of its
//! linear grid. `table` holds microkernel pointers in the order of [`Module::contracts`], `buffers` one
//! pointer a parameter, `dims` the values of [`Function::dims`]. Loops marked as lanes become vector
//! code where every statement of their body has a vector form, else scalar code with the same meaning.

mod call;
mod cast;
mod emitter;
mod error;
mod float;
mod index;
mod int;
mod lanes;
mod memory;
mod module;
mod narrow;
mod op;
mod stmt;
mod strips;
mod target;
mod vary;

pub use error::CodegenError;
pub use module::{Function, Module, asm_text, clif_text, compile};
pub use target::{Arch, CpuTarget};
