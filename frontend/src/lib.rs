//! Reads ONNX models and lowers them to the graph IR.

#![forbid(unsafe_code)]

pub mod attrs;
pub mod error;
pub mod function;
pub mod model;
mod proto;
