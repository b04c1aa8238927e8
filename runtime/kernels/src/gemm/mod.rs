//! Matrix product with packed B and a fused epilogue.
//!
//! `f32_gemm` v2, [`GemmArgs`](crate::args::GemmArgs): for every row r < m and column j < n
//!
//! ```text
//! s       = (ACCUM ? C[r][j] : 0) + Σ_{t < taps} Σ_{k < kc} A_t[r][k] · B[t * kc + k][j]
//! C[r][j] = clamp(s · scale[j] + bias[j] + residual[r][j])
//! ```
//!
//! where each part of the epilogue happens only if its flag is set. A's rows are `a + r * lda`, or one
//! pointer per row and tap: a convolution points at the input pixels, and at a buffer of zeros for
//! padding, and needs no im2col buffer; told which buffer that is, it leaves out what certainly adds zeros. B is packed in panels of 16 columns, padded with zeros; all
//! else is read and written only within its size. NaN and infinities propagate as in the formula, but
//! the order of the sum is the kernel's own: in order of k, but in four interleaved parts where m = 1, and
//! by groups of four where n = 1. Nothing else may overlap C; the residual may be C itself.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod block;
mod column;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod row;
mod tile;

use crate::Kernel;
use crate::args::GemmArgs;
use crate::simd::F32x16;
use block::Shape;

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

/// Computes a product: a single column by the kernel for those, anything else by tiles.
///
/// # Safety
/// The arguments are valid and the CPU has the instruction set of V and of the tiles.
#[inline(always)]
unsafe fn product<V: F32x16>(args: &GemmArgs, shapes: &[Shape<GemmArgs>]) {
    // SAFETY: the caller's promise.
    unsafe { if args.n == 1 { column::column::<V>(args) } else { block::multiply(args, shapes) } }
}
