//! Softmax and log-softmax, three passes over a row that stays in cache.

use crate::args::{SoftmaxArgs, word_f32};
use crate::simd::{F32x16, LANES};
use crate::vmath::math::{exp, log};

/// Computes all rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn softmax<V: F32x16>(args: &SoftmaxArgs) {
    let n = args.n.max(0);
    for r in 0..args.rows.max(0) as isize {
        let dst = args.dst.wrapping_offset(r * args.dst_row_stride as isize);
        let src = args.src.wrapping_offset(r * args.src_row_stride as isize);
        let mask =
            (!args.mask.is_null()).then(|| args.mask.wrapping_offset(r * args.mask_row_stride as isize));
        let seen = (args.valid_n0 as isize).saturating_add(r.saturating_mul(args.valid_step as isize));
        let valid = seen.clamp(0, n as isize) as usize;
        // SAFETY: the rows have n columns.
        unsafe {
            if valid > 0 {
                let greatest = scaled::<V>(dst, src, mask, word_f32(args.scale), valid);
                match args.mode {
                    0 => exponentials::<V>(dst, greatest, valid),
                    2 => exponentials::<V>(dst, greatest.max(V::splat(f32::MIN)), valid),
                    _ => logarithms::<V>(dst, greatest, valid),
                }
            }
            for at in (valid..n as usize).step_by(LANES) {
                V::splat(0.0).store_up_to(dst.add(at), n as usize - at);
            }
        }
    }
}

/// Writes `src * scale + mask`; returns the greatest.
///
/// # Safety
/// The rows have `n` columns.
#[inline(always)]
unsafe fn scaled<V: F32x16>(
    dst: *mut f32,
    src: *const f32,
    mask: Option<*const f32>,
    scale: f32,
    n: usize,
) -> V {
    let (scale, lowest) = (V::splat(scale), V::splat(f32::NEG_INFINITY));
    let mut greatest = lowest;
    for at in (0..n).step_by(LANES) {
        let len = n - at;
        // SAFETY: `len` columns from `at` exist.
        unsafe {
            let mut t = V::load_up_to(src.add(at), len) * scale;
            if let Some(mask) = mask {
                t = t + V::load_up_to(mask.add(at), len);
            }
            t.store_up_to(dst.add(at), len);
            let t = if len < LANES { V::select(V::lanes_below(len), t, lowest) } else { t };
            greatest = greatest.max(t);
        }
    }
    V::splat(greatest.greatest_lane())
}

/// Turns a row of `t` into its softmax.
///
/// # Safety
/// The row has `n` columns.
#[inline(always)]
unsafe fn exponentials<V: F32x16>(row: *mut f32, greatest: V, n: usize) {
    let mut sums = V::splat(0.0);
    for at in (0..n).step_by(LANES) {
        let len = n - at;
        // SAFETY: `len` columns from `at` exist.
        unsafe {
            let e = exp(V::load_up_to(row.add(at), len) - greatest);
            e.store_up_to(row.add(at), len);
            sums = sums + if len < LANES { V::select(V::lanes_below(len), e, V::splat(0.0)) } else { e };
        }
    }
    let sum = sums.sum();
    // Only rows without a score sum up to nothing.
    let factor = V::splat(if sum == 0.0 { 0.0 } else { 1.0 / sum });
    for at in (0..n).step_by(LANES) {
        // SAFETY: n - at columns from `at` exist.
        unsafe { (V::load_up_to(row.add(at), n - at) * factor).store_up_to(row.add(at), n - at) };
    }
}

/// Turns a row of `t` into its log-softmax.
///
/// # Safety
/// The row has `n` columns.
#[inline(always)]
unsafe fn logarithms<V: F32x16>(row: *mut f32, greatest: V, n: usize) {
    let mut sums = V::splat(0.0);
    for at in (0..n).step_by(LANES) {
        let len = n - at;
        // SAFETY: `len` columns from `at` exist.
        let e = exp(unsafe { V::load_up_to(row.add(at), len) } - greatest);
        sums = sums + if len < LANES { V::select(V::lanes_below(len), e, V::splat(0.0)) } else { e };
    }
    let shift = log(V::splat(sums.sum()));
    for at in (0..n).step_by(LANES) {
        // SAFETY: n - at columns from `at` exist.
        unsafe {
            let t = V::load_up_to(row.add(at), n - at) - greatest - shift;
            t.store_up_to(row.add(at), n - at);
        }
    }
}
