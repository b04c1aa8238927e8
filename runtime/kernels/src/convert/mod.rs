//! Conversions between float formats over contiguous tiles.
//!
//! `f16_to_f32`, `f32_to_f16`, `bf16_to_f32`, `f32_to_bf16` v1,
//! [`UnaryArgs`](crate::args::UnaryArgs); rounding is to the nearest, ties to even; beyond the range
//! is infinity; a NaN stays one, quiet, with the upper bits of its payload.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::Kernel;
use crate::args::UnaryArgs;
use crate::simd::LANES;

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

/// Converts 16 elements at a time; the last ones by way of a padded block.
///
/// # Safety
/// The arguments are valid for these element types, and `block` may be called for 16 elements from
/// one pointer to the other.
#[inline(always)]
unsafe fn blocks<S: Copy + Default, D: Copy + Default>(args: &UnaryArgs, block: impl Fn(*mut D, *const S)) {
    let (dst, src, n) = (args.dst.cast::<D>(), args.src.cast::<S>(), args.n.max(0) as usize);
    let mut at = 0;
    while at + LANES <= n {
        block(dst.wrapping_add(at), src.wrapping_add(at));
        at += LANES;
    }
    if at < n {
        let (mut from, mut to) = ([S::default(); LANES], [D::default(); LANES]);
        // SAFETY: n - at < 16 elements are left at both ends.
        unsafe {
            core::ptr::copy_nonoverlapping(src.add(at), from.as_mut_ptr(), n - at);
            block(to.as_mut_ptr(), from.as_ptr());
            core::ptr::copy_nonoverlapping(to.as_ptr(), dst.add(at), n - at);
        }
    }
}
