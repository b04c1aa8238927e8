//! Data types, size expressions, tensors and the plan: what compiler and runtime share.
