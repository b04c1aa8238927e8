//! Irregular routines: sorting, selection, strings, sequences, random numbers, codecs. What cannot
//! become tile programs runs here, in safe Rust, over [`nnc_tensor::Value`]s.
//!
//! The list is closed: [`ROUTINES`] is all of it. Names, attributes, inputs and outputs follow the
//! ONNX operator that a routine stands for (in snake case). An input left out before others is
//! `Value::Optional(None)`, trailing ones may be missing; outputs are always all there. Element
//! types in attributes are ONNX's numbers. No values of inputs or attributes make a routine panic.
#![forbid(unsafe_code)]

mod attrs;
mod cast;
mod compress;
mod error;
#[cfg(feature = "image")]
mod image_decoder;
mod inputs;
mod keys;
#[cfg(feature = "ml")]
mod ml;
mod nms;
mod nonzero;
mod optional;
mod random;
mod sequence;
mod table;
#[cfg(feature = "text")]
mod text;
mod topk;
mod unique;

pub use attrs::Attrs;
pub use error::RoutineError;
pub use table::{ROUTINES, Routine, feature_of, lookup};

#[cfg(test)]
mod tests;
