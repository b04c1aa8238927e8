//! Tests of reading: what a good file gives, and that no bad one does more than fail.

pub(crate) mod corpus;
pub(crate) mod encode;
mod external;
mod graph;
mod mutation;
mod read;
mod tensor;

use std::sync::Arc;

use super::{ExternalFiles, Model, read_model};
use crate::error::Error;

/// Reads a model that has no files beside it.
pub(crate) fn read(bytes: &[u8]) -> Result<Model, Error> {
    read_model(Arc::new(bytes.to_vec()), &mut ExternalFiles::none())
}

/// The sentence that a user sees.
pub(crate) fn message(result: Result<Model, Error>) -> String {
    result.expect_err("the model is wrong").to_string()
}
