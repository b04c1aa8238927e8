//! Reductions of rows: sum, greatest, least.

use crate::args::ReduceArgs;
use crate::simd::{F32x16, LANES};

/// Vectors of partial results: enough to hide the latency of an addition.
const PARTS: usize = 4;

/// Reduces a row: `step` takes elements into a partial result, `join` puts two of these together,
/// `start` is the result of nothing.
///
/// # Safety
/// The row has `n` columns.
#[inline(always)]
unsafe fn reduce<V: F32x16>(
    row: *const f32,
    n: usize,
    start: V,
    step: impl Fn(V, V) -> V,
    join: impl Fn(V, V) -> V,
) -> V {
    let mut parts = [start; PARTS];
    let mut at = 0;
    while at + PARTS * LANES <= n {
        for (i, part) in parts.iter_mut().enumerate() {
            // SAFETY: 64 columns from `at` exist.
            *part = step(*part, unsafe { V::load(row.add(at + i * LANES)) });
        }
        at += PARTS * LANES;
    }
    while at < n {
        // SAFETY: n - at columns from `at` exist.
        let next = step(parts[0], unsafe { V::load_up_to(row.add(at), n - at) });
        parts[0] = V::select(V::lanes_below(n - at), next, parts[0]);
        at += LANES;
    }
    let [a, b, c, d] = parts;
    join(join(a, b), join(c, d))
}

/// The sum of `f` over a row.
///
/// # Safety
/// The row has `n` columns.
#[inline(always)]
pub(super) unsafe fn total<V: F32x16>(row: *const f32, n: usize, f: impl Fn(V) -> V) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { reduce(row, n, V::splat(0.0), |sum, x| sum + f(x), |a, b| a + b) }.sum()
}

/// Applies a reduction to each row.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
unsafe fn each_row(args: &ReduceArgs, f: impl Fn(*const f32, usize) -> f32) {
    for r in 0..args.rows.max(0) as isize {
        let row = args.src.wrapping_offset(r * args.src_row_stride as isize);
        // SAFETY: the results have an element per row.
        unsafe { *args.dst.offset(r * args.dst_stride as isize) = f(row, args.n.max(0) as usize) };
    }
}

/// Sums of rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn sum<V: F32x16>(args: &ReduceArgs) {
    // SAFETY: the rows have n columns.
    unsafe { each_row(args, |row, n| total::<V>(row, n, |x| x)) }
}

/// Greatest elements of rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn greatest<V: F32x16>(args: &ReduceArgs) {
    let lowest = V::splat(f32::NEG_INFINITY);
    // SAFETY: the rows have n columns.
    unsafe {
        each_row(args, |row, n| {
            reduce(row, n, lowest, |a, b| a.greater(b), |a, b| a.greater(b)).greatest_lane()
        })
    }
}

/// Least elements of rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn least<V: F32x16>(args: &ReduceArgs) {
    let highest = V::splat(f32::INFINITY);
    // SAFETY: the rows have n columns.
    unsafe {
        each_row(args, |row, n| reduce(row, n, highest, |a, b| a.less(b), |a, b| a.less(b)).least_lane())
    }
}
