//! nnc: trained networks to machine code.
//!
//! [`compile`] reads a model, optimizes it and writes an artifact; [`nnc_runtime::Session`] runs it.
//! The stages are there for themselves too: [`optimize`], [`emit`].

mod compile;

pub use compile::{CompileError, Compiled, Options, compile, emit, optimize};
pub use nnc_ir as ir;
pub use nnc_runtime as runtime;
