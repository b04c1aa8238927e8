//! Graph to tile programs and plan.

pub(crate) mod emit;
pub(crate) mod index;
mod kernel;
mod plan;
pub(crate) mod templates;
pub(crate) mod window;

pub use plan::{LowerError, lower};
