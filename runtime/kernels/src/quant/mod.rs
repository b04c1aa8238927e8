//! Products of 8-bit matrices.
//!
//! `i8_gemm` v1, [`I8GemmArgs`](crate::args::I8GemmArgs): for every row r < m and column j < n
//!
//! ```text
//! s = (ACCUM ? C[r][j] : 0) + Σ_k (A[r][k] - a_zero) · (B[k][j] - b_zero[j]) + bias[j]
//! y = clamp(s · factor · scale[j] + float_bias[j])
//! ```
//!
//! in 32-bit integers that wrap, exact whatever the instruction set. Stored are s, y, or y rounded to
//! the nearest integer (ties to even), shifted by the output's zero point and saturated. A convolution
//! points at pixels as in `f32_gemm`, and at a buffer of A's zero point for padding.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
mod epilogue;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neondot;
mod portable;
mod tile;

use crate::Kernel;

/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx512vnni::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
    #[cfg(target_arch = "aarch64")]
    neondot::ROWS,
];
