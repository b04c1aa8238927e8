//! Models as plain structures, and the way into them from bytes.
//!
//! `types` holds the structures, `wire` and `tensor` the checks of untrusted bytes, `external`
//! the files beside a model, `check` the checks of a whole graph. Protobuf is known to
//! `crate::proto` alone.

mod check;
mod external;
pub(crate) mod tensor;
mod types;
pub(crate) mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use check::check_graph;
pub use external::{ExternalFiles, OpenFile};
pub use tensor::{ELEM_STRING, elem_bits};
pub use types::*;

pub use crate::proto::{read_function, read_model};
