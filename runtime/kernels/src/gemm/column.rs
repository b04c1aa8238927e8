//! A single column of C, as of a filter without siblings: sixteen rows at a time, from a transposed copy.
//!
//! Every product is rounded, four in a row of k are added up, and that to the sum. Unlike multiply-add in
//! order of k it gives the same bits on every instruction set, and those of MLAS, ONNX Runtime's library,
//! for a single filter: chains of filters that amplify rounding then agree with it.
//!
//! What is not arithmetic on vectors is compiled once for all instruction sets.

use crate::args::{ACCUM, BIAS, CLAMP, GemmArgs, RESIDUAL, SCALE, word_f32};
use crate::simd::{F32x16, LANES};

/// Products that are added up before they join the sum.
const GROUP: usize = 4;

/// Elements of a row that are copied at a time.
const DEPTH: usize = 64;

/// Computes a product of one column.
///
/// # Safety
/// The arguments are valid, `n` is 1, and the CPU has V's instruction set.
#[inline(always)]
pub(super) unsafe fn column<V: F32x16>(args: &GemmArgs) {
    let (m, kc) = (args.m.max(0) as usize, args.kc.max(0) as usize);
    let mut part = Part { a: [[0.0; LANES]; DEPTH], b: [0.0; DEPTH], rows: [args.zeros; LANES] };
    for row in (0..m).step_by(LANES) {
        let len = (m - row).min(LANES);
        // SAFETY: `len` rows from `row` on exist.
        let mut sums = unsafe { V::load(begin(args, row, len).as_ptr()) };
        for tap in 0..args.taps.max(0) as usize {
            // SAFETY: as above; the tap exists.
            if !unsafe { part.find(args, tap, (row, len)) } {
                continue;
            }
            for k in (0..kc).step_by(DEPTH) {
                let depth = (kc - k).min(DEPTH);
                // SAFETY: as above; so many elements of k exist.
                unsafe { part.fill(args, tap * kc, (k, depth), len) };
                for i in (0..depth).step_by(GROUP) {
                    // SAFETY: a row of the copy has sixteen elements.
                    let product =
                        |j: usize| unsafe { V::load(part.a[i + j].as_ptr()) * V::splat(part.b[i + j]) };
                    sums = sums + (((product(0) + product(1)) + product(2)) + product(3));
                }
            }
        }
        for (row, sum) in (row..).zip(&sums.to_array()[..len]) {
            // SAFETY: the row exists.
            unsafe { finish(args, row, *sum) };
        }
    }
}

/// A part of A and B.
struct Part {
    /// A, transposed.
    a: [[f32; LANES]; DEPTH],
    b: [f32; DEPTH],
    /// Where the rows of A begin.
    rows: [*const f32; LANES],
}

impl Part {
    /// Finds the rows of a tap; false if all of them lie in the padding.
    ///
    /// # Safety
    /// As [`column`]; the tap and `len` rows from `row` on exist.
    #[inline(never)]
    unsafe fn find(&mut self, args: &GemmArgs, tap: usize, (row, len): (usize, usize)) -> bool {
        let table = args.rows.wrapping_offset(tap as isize * args.rows_stride as isize);
        let mut found = false;
        for (r, start) in (row..).zip(&mut self.rows[..len]) {
            *start = if args.rows.is_null() {
                args.a.wrapping_offset(r as isize * args.lda as isize)
            } else {
                // SAFETY: the table holds a pointer per row and tap.
                unsafe { *table.add(r) }
            };
            found |= *start != args.zeros;
        }
        found
    }

    /// Copies `depth` elements of `len` rows from `k` on and the rows of B behind them, up to a whole group
    /// with zeros.
    ///
    /// # Safety
    /// As [`column`]; the elements exist.
    #[inline(never)]
    unsafe fn fill(&mut self, args: &GemmArgs, b_row: usize, (k, depth): (usize, usize), len: usize) {
        for i in 0..depth.next_multiple_of(GROUP).min(DEPTH) {
            let exists = i < depth;
            // SAFETY: row and elements exist.
            self.b[i] = if exists { unsafe { *args.b.add((b_row + k + i) * LANES) } } else { 0.0 };
            for (to, row) in self.a[i].iter_mut().zip(&self.rows[..len]) {
                // SAFETY: as above.
                *to = if exists { unsafe { *row.add(k + i) } } else { 0.0 };
            }
        }
    }
}

/// The sums that rows begin with.
///
/// # Safety
/// As [`column`]; the rows exist.
#[inline(never)]
unsafe fn begin(args: &GemmArgs, row: usize, len: usize) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    if args.flags & ACCUM != 0 {
        for (r, sum) in (row..).zip(&mut sums[..len]) {
            // SAFETY: the row exists in C.
            *sum = unsafe { *args.c.wrapping_offset(r as isize * args.ldc as isize) };
        }
    }
    sums
}

/// Applies the epilogue to a row's sum and stores it.
///
/// # Safety
/// As [`column`]; the row exists.
#[inline(never)]
unsafe fn finish(args: &GemmArgs, row: usize, mut sum: f32) {
    let has = |flag| args.flags & flag != 0;
    // SAFETY: the row exists in C; a set flag makes its array valid, the residual in every row, the others
    // in column 0.
    unsafe {
        if has(SCALE) {
            sum *= *args.scale;
        }
        if has(BIAS) {
            sum += *args.bias;
        }
        if has(RESIDUAL) {
            sum += *args.residual.wrapping_offset(row as isize * args.ld_residual as isize);
        }
        if has(CLAMP) {
            let (lo, hi) = (word_f32(args.lo), word_f32(args.hi));
            // A NaN passes both bounds.
            sum = if lo > sum { lo } else { sum };
            sum = if hi < sum { hi } else { sum };
        }
        *args.c.wrapping_offset(row as isize * args.ldc as isize) = sum;
    }
}
