//! One tile: MR rows by NP panels of integer sums, held in registers over the whole of K.

use super::epilogue;
use crate::args::{A_SIGNED, I8GemmArgs};
use crate::gemm::block::{self, Product};
use crate::simd::LANES;

/// Elements of K that are multiplied at a time.
const GROUP: usize = 4;
/// The sign bits of a group: flipping them turns i8 into u8, 128 more.
const SIGNS: u32 = 0x8080_8080;

/// A tile of an `i8_gemm`.
pub(super) type Tile<'a> = block::Tile<'a, I8GemmArgs>;

impl Product for I8GemmArgs {
    type Element = u8;

    fn size(&self) -> (usize, usize) {
        (self.m.max(0) as usize, self.n.max(0) as usize)
    }

    fn panel_len(&self) -> usize {
        self.taps.max(0) as usize * (self.kc.max(0) as usize).div_ceil(GROUP) * GROUP * LANES
    }

    fn row_pointers(&self) -> *const *const u8 {
        self.rows
    }

    fn row(&self, r: usize) -> *const u8 {
        self.a.wrapping_offset(r as isize * self.lda as isize)
    }
}

/// Sixteen sums of products of four bytes.
pub(super) trait Sums: Copy {
    /// Four elements of K of sixteen columns of B.
    type B: Copy;

    /// Zeros.
    fn zero() -> Self;
    /// Reads a group of B.
    ///
    /// # Safety
    /// `src` is good for 64 bytes.
    unsafe fn load(src: *const i8) -> Self::B;
    /// Adds the products of four unsigned bytes with a group of B.
    fn dot(self, a: u32, b: Self::B) -> Self;
    /// The sums.
    fn to_array(self) -> [i32; LANES];
}

/// The body of every tile function.
///
/// # Safety
/// The tile's rows and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run<S: Sums, const MR: usize, const NP: usize>(tile: &Tile) {
    let args = tile.args;
    let kc = args.kc.max(0) as usize;
    let flip = if args.flags & A_SIGNED != 0 { SIGNS } else { 0 };
    let mut acc = [[S::zero(); NP]; MR];
    for tap in 0..args.taps.max(0) as usize {
        // SAFETY: the tile has MR rows of kc elements a tap, and NP panels with all groups.
        unsafe {
            let rows = tap_rows::<MR>(tile, tap);
            for group in 0..kc.div_ceil(GROUP) {
                let b: [S::B; NP] = core::array::from_fn(|p| {
                    let panel = (tile.column / LANES + p) as isize * args.b_panel_stride as isize;
                    let at = (tap * kc.div_ceil(GROUP) + group) * GROUP * LANES;
                    S::load(args.b.wrapping_offset(panel).wrapping_add(at))
                });
                let left = kc - group * GROUP;
                for (sums, row) in acc.iter_mut().zip(rows) {
                    let a = read_group(row.wrapping_add(group * GROUP), left) ^ flip;
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = sum.dot(a, b);
                    }
                }
            }
        }
    }
    let acc = acc.map(|sums| sums.map(S::to_array));
    // SAFETY: the tile's rows and columns exist.
    unsafe { epilogue::finish::<MR, NP>(tile, &acc, &row_sums::<MR>(tile)) }
}

/// The pointers to the tile's rows at a tap.
///
/// # Safety
/// The arguments are valid, and the tile has `MR` rows.
#[inline(always)]
unsafe fn tap_rows<const MR: usize>(tile: &Tile, tap: usize) -> [*const u8; MR] {
    let table = tile.rows.wrapping_offset(tap as isize * tile.args.rows_stride as isize);
    // SAFETY: the table holds a pointer per row of the tile.
    core::array::from_fn(|r| unsafe { *table.add(r) })
}

/// Four bytes, zeros from `left` on.
///
/// # Safety
/// `src` is good for the lesser of 4 and `left` bytes.
#[inline(always)]
unsafe fn read_group(src: *const u8, left: usize) -> u32 {
    // SAFETY: at most `left` bytes are read.
    unsafe {
        if left >= GROUP {
            src.cast::<u32>().read_unaligned().to_le()
        } else {
            (0..left).fold(0, |group, i| group | u32::from(*src.add(i)) << (8 * i))
        }
    }
}

/// The sums of the tile's rows, as unsigned bytes, if B has zero points.
///
/// # Safety
/// The arguments are valid, and the tile has `MR` rows.
#[inline(always)]
unsafe fn row_sums<const MR: usize>(tile: &Tile) -> [i32; MR] {
    let mut sums = [0; MR];
    if tile.args.b_zero.is_null() {
        return sums;
    }
    let flip = if tile.args.flags & A_SIGNED != 0 { SIGNS as u8 } else { 0 };
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has MR rows of kc elements a tap.
        let rows = unsafe { tap_rows::<MR>(tile, tap) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            for k in 0..tile.args.kc.max(0) as usize {
                // SAFETY: k < kc.
                *sum += i32::from(unsafe { *row.add(k) } ^ flip);
            }
        }
    }
    sums
}
