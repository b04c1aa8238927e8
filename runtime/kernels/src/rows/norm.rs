//! Layer and RMS normalization.

use super::reduce::total;
use crate::args::{NormArgs, word_f32};
use crate::simd::{F32x16, LANES};

/// Normalizes all rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn norm<V: F32x16>(args: &NormArgs) {
    let n = args.n.max(0) as usize;
    for r in 0..args.rows.max(0) as usize {
        let dst = args.dst.wrapping_offset(r as isize * args.dst_row_stride as isize);
        let src = args.src.wrapping_offset(r as isize * args.src_row_stride as isize);
        // SAFETY: the rows have n columns, the statistics (where wanted) an element per row.
        unsafe {
            let mean = if args.mode == 0 { total::<V>(src, n, |x| x) / n as f32 } else { 0.0 };
            let center = V::splat(mean);
            let square = |x: V| (x - center) * (x - center);
            let variance = total::<V>(src, n, square) / n as f32;
            let inverse = 1.0 / libm::sqrtf(variance + word_f32(args.eps));
            write::<V>(args, dst, src, mean, inverse);
            if !args.mean_out.is_null() {
                *args.mean_out.add(r) = mean;
            }
            if !args.inv_std_out.is_null() {
                *args.inv_std_out.add(r) = inverse;
            }
        }
    }
}

/// Writes one normalized row.
///
/// # Safety
/// The rows have `args.n` columns.
#[inline(always)]
unsafe fn write<V: F32x16>(args: &NormArgs, dst: *mut f32, src: *const f32, mean: f32, inverse: f32) {
    let n = args.n.max(0) as usize;
    for at in (0..n).step_by(LANES) {
        let len = n - at;
        // SAFETY: `len` columns from `at` exist, in gamma and beta too where they are given.
        unsafe {
            let mut y = (V::load_up_to(src.add(at), len) - V::splat(mean)) * V::splat(inverse);
            if !args.gamma.is_null() {
                y = y * V::load_up_to(args.gamma.add(at), len);
            }
            if !args.beta.is_null() {
                y = y + V::load_up_to(args.beta.add(at), len);
            }
            y.store_up_to(dst.add(at), len);
        }
    }
}
