//! Folding: computing at compile time what does not depend on inputs.

pub(crate) mod affine;
pub(crate) mod constants;
pub(crate) mod known;
pub(crate) mod pads;
