//! Layer and RMS normalization.

use crate::args::{NormArgs, word_f32};
use crate::simd::{F32x16, LANES};

/// Vectors of partial sums: enough to hide the latency of an addition.
const PARTS: usize = 4;

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

/// The sum of `f` over a row.
///
/// # Safety
/// The row has `n` columns.
#[inline(always)]
unsafe fn total<V: F32x16>(row: *const f32, n: usize, f: impl Fn(V) -> V) -> f32 {
    let mut sums = [V::splat(0.0); PARTS];
    let mut at = 0;
    while at + PARTS * LANES <= n {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: 64 columns from `at` exist.
            *sum = *sum + f(unsafe { V::load(row.add(at + i * LANES)) });
        }
        at += PARTS * LANES;
    }
    while at < n {
        // SAFETY: n - at columns from `at` exist.
        let y = f(unsafe { V::load_up_to(row.add(at), n - at) });
        sums[0] = sums[0] + V::select(V::lanes_below(n - at), y, V::splat(0.0));
        at += LANES;
    }
    let [a, b, c, d] = sums;
    ((a + b) + (c + d)).sum()
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
