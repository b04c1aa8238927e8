//! One tile: MR rows by NP panels of C, held in registers over the whole of K.

use core::mem::MaybeUninit;

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

/// Rows' elements that are copied at a time where rows collide in the cache.
const CHUNK: usize = 256;
/// Copied rows lie this far apart: a cache line more than a chunk, so that they do not collide.
const CHUNK_STRIDE: usize = CHUNK + LANES;
/// How many elements of K ahead of its use B is prefetched.
const AHEAD: usize = 16;

/// The body of every tile function.
///
/// # Safety
/// The tile's rows and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run<V: F32x16, const MR: usize, const NP: usize>(tile: &Tile) {
    let args = tile.args;
    let kc = args.kc.max(0) as usize;
    let mut acc = [[V::splat(0.0); NP]; MR];
    for tap in 0..args.taps.max(0) as usize {
        let table = tile.rows.wrapping_offset(tap as isize * args.rows_stride as isize);
        // SAFETY: the table holds a pointer per row of the tile.
        let rows: [*const f32; MR] = core::array::from_fn(|r| unsafe { *table.add(r) });
        let panels: [*const f32; NP] = core::array::from_fn(|p| {
            tile.b.wrapping_offset(p as isize * args.b_panel_stride as isize).wrapping_add(tap * kc * LANES)
        });
        // SAFETY: each row is good for kc elements, each panel for kc * 16.
        unsafe {
            if MR > 4 && kc >= CHUNK / 2 && crowded(&rows) {
                accumulate_copied(&mut acc, rows, panels, kc);
            } else {
                accumulate(&mut acc, rows, panels, kc);
            }
        }
    }
    // SAFETY: the tile's rows and columns exist.
    unsafe { finish(tile, &acc) }
}

/// Whether more than five rows start in the same set of a 64-set first-level cache: they would evict
/// each other at every element.
#[inline(always)]
fn crowded<const MR: usize>(rows: &[*const f32; MR]) -> bool {
    let set = |row: *const f32| row as usize >> 6 & 63;
    rows.iter().filter(|&&row| set(row) == set(rows[0])).count() > 5
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

/// [`accumulate`] over copies of the rows that do not collide.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn accumulate_copied<V: F32x16, const MR: usize, const NP: usize>(
    acc: &mut [[V; NP]; MR],
    rows: [*const f32; MR],
    panels: [*const f32; NP],
    kc: usize,
) {
    let mut buffer = [const { MaybeUninit::<[f32; CHUNK_STRIDE]>::uninit() }; MR];
    let mut done = 0;
    while done < kc {
        let len = (kc - done).min(CHUNK);
        let copies: [*const f32; MR] = core::array::from_fn(|r| {
            let copy: *mut f32 = buffer[r].as_mut_ptr().cast();
            // SAFETY: done + len <= kc elements of the row exist; the copy has room for a chunk.
            unsafe { copy_row::<V>(copy, rows[r].add(done), len) };
            copy.cast_const()
        });
        // SAFETY: the copies have `len` elements, the panels that many left.
        unsafe { accumulate(acc, copies, panels.map(|panel| panel.add(done * LANES)), len) };
        done += len;
    }
}

/// Copies `len` elements.
///
/// # Safety
/// Both pointers are good for `len` elements.
#[inline(always)]
unsafe fn copy_row<V: F32x16>(dst: *mut f32, src: *const f32, len: usize) {
    let mut at = 0;
    while at < len {
        // SAFETY: at < len; no more than len - at elements are touched.
        unsafe { V::load_up_to(src.add(at), len - at).store_up_to(dst.add(at), len - at) };
        at += LANES;
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
