//! Raising: composites found again in graphs that spell them out, since backends compute them whole.

pub(crate) mod activations;
pub(crate) mod attention;
pub(crate) mod norms;
mod pattern;
pub(crate) mod quantized;
pub(crate) mod softmax;
