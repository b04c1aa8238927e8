//! One tile: MR rows by NP panels of C, held in registers over the whole of K.

use crate::args::{ACCUM, BIAS, CLAMP, GemmArgs, RESIDUAL, SCALE, word_f32};
use crate::simd::{F32x16, LANES};

/// A tile's place in the product.
pub(super) struct Tile<'a> {
    /// The whole product.
    pub(super) args: &'a GemmArgs,
    /// Pointers to the tile's rows of A, tap 0.
    pub(super) rows: *const *const f32,
    /// First row.
    pub(super) row: usize,
    /// First column.
    pub(super) column: usize,
    /// Columns that exist, at most 16 a panel.
    pub(super) columns: usize,
    /// First panel of B.
    pub(super) b: *const f32,
}

/// Computes a tile of fixed rows and panels.
pub(super) type TileFn = unsafe fn(&Tile);

/// Cache lines that a tile prefetches ahead of its use of B, over all its panels.
const LINES_AHEAD: usize = 64;
/// The same where a single row streams B from memory.
const ROW_LINES_AHEAD: usize = 64;
/// Partial sums per panel of a single row: enough to hide the latency of the multiply-add.
const PARTS: usize = 4;

impl Tile<'_> {
    /// The pointers to the tile's rows at tap `tap`.
    ///
    /// # Safety
    /// The arguments are valid, and the tile has `MR` rows.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&self, tap: usize) -> [*const f32; MR] {
        let table = self.rows.wrapping_offset(tap as isize * self.args.rows_stride as isize);
        // SAFETY: the table holds a pointer per row of the tile.
        core::array::from_fn(|r| unsafe { *table.add(r) })
    }

    /// The tile's panels at row `k` of B.
    #[inline(always)]
    fn panels<const NP: usize>(&self, k: usize) -> [*const f32; NP] {
        let stride = self.args.b_panel_stride as isize;
        core::array::from_fn(|p| self.b.wrapping_offset(p as isize * stride).wrapping_add(k * LANES))
    }
}

/// The body of the tile functions of fixed rows and panels.
///
/// # Safety
/// The tile's rows and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run<V: F32x16, const MR: usize, const NP: usize>(tile: &Tile) {
    let kc = tile.args.kc.max(0) as usize;
    let mut acc = [[V::splat(0.0); NP]; MR];
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has MR rows of kc elements a tap.
        let rows = unsafe { tile.rows::<MR>(tap) };
        let panels = tile.panels::<NP>(tap * kc);
        for k in 0..kc {
            // SAFETY: k < kc.
            unsafe { step::<V, MR, NP>(&mut acc, rows, panels, k, LINES_AHEAD / NP) };
        }
    }
    // SAFETY: the tile's rows and columns exist.
    unsafe { finish(tile, &acc) }
}

/// The body of the tile functions of one row: the sum in `PARTS` interleaved parts, so that few
/// panels, which memory delivers faster than many, suffice to keep the multipliers busy.
///
/// # Safety
/// The tile's row and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run_row<V: F32x16, const NP: usize>(tile: &Tile) {
    let kc = tile.args.kc.max(0) as usize;
    let mut parts = [[[V::splat(0.0); NP]; 1]; PARTS];
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has one row of kc elements a tap.
        let row = unsafe { tile.rows::<1>(tap) };
        let panels = tile.panels::<NP>(tap * kc);
        let mut k = 0;
        while k + PARTS <= kc {
            for (i, part) in parts.iter_mut().enumerate() {
                // SAFETY: k + i < kc.
                unsafe { step::<V, 1, NP>(part, row, panels, k + i, ROW_LINES_AHEAD / NP) };
            }
            k += PARTS;
        }
        for k in k..kc {
            // SAFETY: k < kc.
            unsafe { step::<V, 1, NP>(&mut parts[0], row, panels, k, ROW_LINES_AHEAD / NP) };
        }
    }
    let [[a], [b], [c], [d]] = parts;
    let acc: [[V; NP]; 1] = [core::array::from_fn(|p| (a[p] + b[p]) + (c[p] + d[p]))];
    // SAFETY: the tile's row and columns exist.
    unsafe { finish(tile, &acc) }
}

/// Adds the products of one element of K.
///
/// # Safety
/// Each row is good for `k + 1` elements, each panel for `k + 1` rows.
#[inline(always)]
unsafe fn step<V: F32x16, const MR: usize, const NP: usize>(
    acc: &mut [[V; NP]; MR],
    rows: [*const f32; MR],
    panels: [*const f32; NP],
    k: usize,
    ahead: usize,
) {
    let mut b = [V::splat(0.0); NP];
    for p in 0..NP {
        V::prefetch(panels[p].wrapping_add((k + ahead) * LANES));
        // SAFETY: row k of the panel exists.
        b[p] = unsafe { V::load(panels[p].add(k * LANES)) };
    }
    for (sums, row) in acc.iter_mut().zip(rows) {
        // SAFETY: element k of the row exists.
        let a = V::splat(unsafe { *row.add(k) });
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = a.mul_add(b, *sum);
        }
    }
}

/// Applies the epilogue and stores.
///
/// # Safety
/// The tile's rows and columns exist.
#[inline(always)]
unsafe fn finish<V: F32x16, const MR: usize, const NP: usize>(tile: &Tile, acc: &[[V; NP]; MR]) {
    let args = tile.args;
    let has = |flag| args.flags & flag != 0;
    let (lo, hi) = (V::splat(word_f32(args.lo)), V::splat(word_f32(args.hi)));
    for p in 0..NP {
        let (column, len) = (tile.column + p * LANES, tile.columns - p * LANES);
        // SAFETY: a set flag makes its array valid for every column.
        let per_column = |flag, array: *const f32, absent| unsafe {
            if has(flag) { V::load_up_to(array.add(column), len) } else { V::splat(absent) }
        };
        let (scale, bias) = (per_column(SCALE, args.scale, 1.0), per_column(BIAS, args.bias, 0.0));
        for (r, sums) in acc.iter().enumerate() {
            let at = |stride: i64| (tile.row + r) as isize * stride as isize + column as isize;
            let c = args.c.wrapping_offset(at(args.ldc));
            let mut sum = sums[p];
            // SAFETY: row and columns exist in C and, where flagged, in the residual.
            unsafe {
                if has(ACCUM) {
                    sum = sum + V::load_up_to(c, len);
                }
                if has(SCALE) {
                    sum = sum * scale;
                }
                if has(BIAS) {
                    sum = sum + bias;
                }
                if has(RESIDUAL) {
                    sum = sum + V::load_up_to(args.residual.wrapping_offset(at(args.ld_residual)), len);
                }
                if has(CLAMP) {
                    sum = hi.min(lo.max(sum));
                }
                sum.store_up_to(c, len);
            }
        }
    }
}
