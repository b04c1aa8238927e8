//! One tile: MR rows by NP panels of C, held in registers over the whole of K.

use super::copies::{CHUNK, Copies, crowded};
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

/// How many elements of K ahead of its use B is prefetched.
const AHEAD: usize = 16;

/// The body of every tile function.
///
/// # Safety
/// The tile's rows and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run<V: F32x16, const MR: usize, const NP: usize>(tile: &Tile) {
    let args = tile.args;
    let (taps, kc) = (args.taps.max(0) as usize, args.kc.max(0) as usize);
    let mut acc = [[V::splat(0.0); NP]; MR];
    let mut copies = Copies::new();
    let (mut tap, mut done) = (0, 0);
    // One loop over taps and chunks, one call of `accumulate`: with more, the compiler moves the
    // accumulators through memory at every element.
    while tap < taps {
        let table = tile.rows.wrapping_offset(tap as isize * args.rows_stride as isize);
        // SAFETY: the table holds a pointer per row of the tile, each good for kc elements; `done` is
        // below kc or both are 0, and the panels have kc * 16 elements per tap.
        unsafe {
            let (rows, len) = if kc >= CHUNK / 2 && crowded::<MR>(table) {
                let len = (kc - done).min(CHUNK);
                (copies.fill(table, MR, done, len), len)
            } else {
                (table, kc)
            };
            let panels = core::array::from_fn(|p| {
                let panel = tile.b.wrapping_offset(p as isize * args.b_panel_stride as isize);
                panel.wrapping_add((tap * kc + done) * LANES)
            });
            accumulate(&mut acc, core::array::from_fn(|r| *rows.add(r)), panels, len);
            done += len;
        }
        if done == kc {
            (tap, done) = (tap + 1, 0);
        }
    }
    // SAFETY: the tile's rows and columns exist.
    unsafe { finish(tile, &acc) }
}

/// Adds the products over `kc` elements.
///
/// # Safety
/// Each row is good for `kc` elements, each panel for `kc * 16`.
#[inline(always)]
unsafe fn accumulate<V: F32x16, const MR: usize, const NP: usize>(
    acc: &mut [[V; NP]; MR],
    rows: [*const f32; MR],
    panels: [*const f32; NP],
    kc: usize,
) {
    for k in 0..kc {
        let mut b = [V::splat(0.0); NP];
        for p in 0..NP {
            V::prefetch(panels[p].wrapping_add((k + AHEAD) * LANES));
            // SAFETY: k < kc.
            b[p] = unsafe { V::load(panels[p].add(k * LANES)) };
        }
        for r in 0..MR {
            // SAFETY: k < kc.
            let a = V::splat(unsafe { *rows[r].add(k) });
            for p in 0..NP {
                acc[r][p] = a.mul_add(b[p], acc[r][p]);
            }
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
        for r in 0..MR {
            let at = |stride: i64| (tile.row + r) as isize * stride as isize + column as isize;
            let c = args.c.wrapping_offset(at(args.ldc));
            let mut sum = acc[r][p];
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
