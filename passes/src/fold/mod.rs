//! Folding: computing at compile time what does not depend on inputs.

pub(crate) mod constants;
