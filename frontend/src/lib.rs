//! Reads ONNX models and lowers them to the graph IR.
//!
//! `model` holds a model as the file states it, `import` makes a graph of it, `ops` is the table of
//! operators, one row each with its lowering.

#![forbid(unsafe_code)]

pub mod attrs;
mod context;
mod dims;
pub mod error;
pub mod function;
mod import;
pub mod model;
pub mod ops;
mod proto;
mod refusal;
mod shape_values;
pub mod version;

pub use context::Cx;
pub use import::{ImportOptions, import};
pub use nnc_ir::Builder;
pub use refusal::{ImportErrors, Problem, Refusal};
