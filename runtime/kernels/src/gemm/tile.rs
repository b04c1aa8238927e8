//! One tile: MR rows by NP panels of C, held in registers over the whole of K.

use super::block::{self, Product};
use crate::args::{ACCUM, BIAS, CLAMP, GemmArgs, RESIDUAL, SCALE, word_f32};
use crate::simd::{F32x16, LANES};

/// A tile of an `f32_gemm`.
pub(super) type Tile<'a> = block::Tile<'a, GemmArgs>;

impl Product for GemmArgs {
    type Element = f32;

    fn size(&self) -> (usize, usize) {
        (self.m.max(0) as usize, self.n.max(0) as usize)
    }

    fn panel_len(&self) -> usize {
        (self.taps.max(0) * self.kc.max(0)) as usize * LANES * size_of::<f32>()
    }

    fn row_pointers(&self) -> *const *const f32 {
        self.rows
    }

    fn row(&self, r: usize) -> *const f32 {
        self.a.wrapping_offset(r as isize * self.lda as isize)
    }
}

/// Cache lines that a tile prefetches ahead of its use of B, over all its panels.
const LINES_AHEAD: usize = 64;

impl Tile<'_> {
    /// The pointers to the tile's rows at tap `tap`.
    ///
    /// # Safety
    /// The arguments are valid, and the tile has `MR` rows.
    #[inline(always)]
    pub(super) unsafe fn rows<const MR: usize>(&self, tap: usize) -> [*const f32; MR] {
        let table = self.rows.wrapping_offset(tap as isize * self.args.rows_stride as isize);
        // SAFETY: the table holds a pointer per row of the tile.
        core::array::from_fn(|r| unsafe { *table.add(r) })
    }

    /// All rows lie in the padding.
    #[inline(always)]
    pub(super) fn in_padding(&self, rows: &[*const f32]) -> bool {
        rows.iter().all(|row| *row == self.args.zeros)
    }

    /// Element of C in the `r`th row and the first column of the `p`th panel.
    #[inline(always)]
    fn c(&self, r: usize, p: usize) -> *mut f32 {
        let row = (self.row + r) as isize * self.args.ldc as isize;
        self.args.c.wrapping_offset(row).wrapping_add(self.column + p * LANES)
    }

    /// The residual at the same place.
    #[inline(always)]
    fn residual(&self, r: usize, p: usize) -> *const f32 {
        let row = (self.row + r) as isize * self.args.ld_residual as isize;
        self.args.residual.wrapping_offset(row).wrapping_add(self.column + p * LANES)
    }

    /// The tile's panels at row `k` of B.
    #[inline(always)]
    pub(super) fn panels<const NP: usize>(&self, k: usize) -> [*const f32; NP] {
        let first = self.column / LANES;
        core::array::from_fn(|p| {
            let panel = (first + p) as isize * self.args.b_panel_stride as isize;
            self.args.b.wrapping_offset(panel).wrapping_add(k * LANES)
        })
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
    // C is needed last: by then it has come from wherever it lay.
    for r in 0..MR {
        for p in 0..NP {
            V::prefetch(tile.c(r, p));
        }
    }
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has MR rows of kc elements a tap.
        let rows = unsafe { tile.rows::<MR>(tap) };
        if tile.in_padding(&rows) {
            continue;
        }
        let panels = tile.panels::<NP>(tap * kc);
        for k in 0..kc {
            for panel in panels {
                V::prefetch(panel.wrapping_add((k + LINES_AHEAD / NP) * LANES));
            }
            // SAFETY: k < kc.
            unsafe { step::<V, MR, NP>(&mut acc, rows, panels, k) };
        }
    }
    // SAFETY: the tile's rows and columns exist.
    unsafe { finish(tile, &acc) }
}

/// Adds the products of one element of K.
///
/// # Safety
/// Each row is good for `k + 1` elements, each panel for `k + 1` rows.
#[inline(always)]
pub(super) unsafe fn step<V: F32x16, const MR: usize, const NP: usize>(
    acc: &mut [[V; NP]; MR],
    rows: [*const f32; MR],
    panels: [*const f32; NP],
    k: usize,
) {
    let mut b = [V::splat(0.0); NP];
    for p in 0..NP {
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
pub(super) unsafe fn finish<V: F32x16, const MR: usize, const NP: usize>(tile: &Tile, acc: &[[V; NP]; MR]) {
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
            let c = tile.c(r, p);
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
                    sum = sum + V::load_up_to(tile.residual(r, p), len);
                }
                if has(CLAMP) {
                    sum = hi.min(lo.max(sum));
                }
                sum.store_up_to(c, len);
            }
        }
    }
}
