//! Operators over rows: softmax, normalization, reductions.
//!
//! `f32_softmax` v1, [`SoftmaxArgs`](crate::args::SoftmaxArgs), in place allowed: with
//! `t = src * scale + mask` over the row's valid columns, softmax is `e^(t - max t) / Σ e^(t - max t)`,
//! log-softmax its logarithm. Other columns become 0. A row of -inf alone gives NaN, as the formula
//! does; a row without valid columns gives zeros.
//!
//! `f32_norm` v1, [`NormArgs`](crate::args::NormArgs), in place allowed: layer norm is
//! `(x - mean) / sqrt(var + eps) * gamma + beta`, variance in a second pass; RMS norm is
//! `x / sqrt(mean x² + eps) * gamma + beta`.
//!
//! `f32_reduce_sum`, `f32_reduce_max`, `f32_reduce_min` v1, [`ReduceArgs`](crate::args::ReduceArgs):
//! one result per row; of an empty row 0, -inf, inf. A NaN in a row is its result.
//!
//! Sums have 16 partial sums or more, in an order that depends on the row's length only.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod portable;
mod reduce;
mod softmax;

use crate::Kernel;

/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx512::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
];
