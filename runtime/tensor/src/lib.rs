//! What compiler and runtime share: data types, size expressions, tensors, movers, values, and the stored plan.
//!
//! Invariant: nothing here knows an operator, a file or a device. The crate holds no `unsafe` code.
#![forbid(unsafe_code)]

#[cfg(feature = "files")]
pub mod compare;
pub mod dim;
mod dtype;
mod element;
#[cfg(feature = "files")]
pub mod file;
pub mod formats;
pub mod movers;
mod numbers;
pub mod pack;
pub mod plan;
mod tensor;
mod text;
mod value;

pub use dim::{Dim, DimError, Range, Sym};
pub use dtype::{DType, Kind};
pub use element::Element;
pub use numbers::{CastOptions, cast, cast_with};
pub use tensor::{Bytes, Recycled, Tensor, TensorError};
pub use value::{MapKey, Value};
