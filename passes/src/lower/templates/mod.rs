//! Templates: loop nests around microkernels. Each file has the condition under which its template
//! fits (`plan`) and the nest itself (`emit`).

pub(crate) mod attention;
pub(crate) mod blocks;
pub(crate) mod conv;
pub(crate) mod epilogue;
pub(crate) mod gemm;
pub(crate) mod halves;
pub(crate) mod int8;
pub(crate) mod nibbles;
pub(crate) mod recurrent;
pub(crate) mod requantize;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod scatter;
pub(crate) mod widening;

/// Multiply-adds of f32 that one core does in a nanosecond, for cost estimates.
pub(crate) const FMA_PER_NS: i64 = 40;

/// Columns of one panel of a packed right operand.
pub(crate) const PANEL: i64 = 16;
