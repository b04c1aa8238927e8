//! nnc: trained networks to machine code.
//!
//! [`model::import`] reads a model, [`compile`] optimizes it and writes an artifact;
//! [`nnc_runtime::Session`] runs it. The stages are there for themselves too: [`optimize`], [`lower`],
//! [`write()`].
#![deny(unsafe_code)]

mod compile;
mod map;
pub mod model;

pub use compile::{
    CompileError, Compiled, Lowered, Options, compile, emit, lower, lower_all, optimize, target_for, write,
};
pub use nnc_codegen::Precision;
pub use nnc_frontend as frontend;
pub use nnc_ir as ir;
pub use nnc_passes as passes;
pub use nnc_runtime as runtime;
