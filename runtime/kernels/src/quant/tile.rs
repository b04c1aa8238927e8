//! One tile: MR rows by NP panels of integer sums, held in registers over the whole of K.

use super::epilogue;
use crate::args::{A_SIGNED, I8GemmArgs};
use crate::gemm::block::{self, Product};
use crate::simd::LANES;

/// Elements of K that are multiplied at a time.
const GROUP: usize = 4;
/// The sign bits of a group: flipping them turns i8 into u8, 128 more, and u8 into i8, 128 less.
const SIGNS: u32 = 0x8080_8080;

/// A group of ones.
const ONES: u32 = 0x0101_0101;

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
    /// Takes A's bytes as signed.
    const SIGNED: bool;

    /// Four elements of K of sixteen columns of B.
    type B: Copy;

    /// Zeros.
    fn zero() -> Self;
    /// Reads a group of B.
    ///
    /// # Safety
    /// `src` is good for 64 bytes.
    unsafe fn load(src: *const i8) -> Self::B;
    /// Adds the products of four bytes with a group of B.
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
    let shift = Shift::of::<S>(args);
    let flip = if shift.amount == 0 { 0 } else { SIGNS };
    let mut acc = [[S::zero(); NP]; MR];
    let mut ones = [S::zero(); NP];
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
                if shift.needs_sums {
                    for (sum, b) in ones.iter_mut().zip(b) {
                        *sum = sum.dot(ONES, b);
                    }
                }
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
    let column_sums = shift.needs_sums.then(|| ones.map(S::to_array));
    // SAFETY: the tile's rows and columns exist.
    unsafe {
        let row_sums = row_sums::<MR>(tile, |byte| shift.read(byte));
        epilogue::finish::<MR, NP>(tile, &acc, &Read { shift: shift.amount, row_sums, column_sums });
    }
}

/// How bytes of A are read that an instruction takes with the other sign.
#[derive(Clone, Copy)]
struct Shift {
    /// How much higher than they are.
    amount: i32,
    signed: bool,
    /// The caller gave no sums of columns, since without a shift there is no use for them.
    needs_sums: bool,
}

impl Shift {
    #[inline(always)]
    fn of<S: Sums>(args: &I8GemmArgs) -> Self {
        let amount = match (args.flags & A_SIGNED != 0, S::SIGNED) {
            (true, false) => 128,
            (false, true) => -128,
            _ => 0,
        };
        Self { amount, signed: S::SIGNED, needs_sums: amount < 0 && args.column_sums.is_null() }
    }

    /// A byte of A as it is multiplied.
    #[inline(always)]
    fn read(self, byte: u8) -> i32 {
        let byte = if self.amount == 0 { byte } else { byte ^ SIGNS as u8 };
        if self.signed { i32::from(byte as i8) } else { i32::from(byte) }
    }
}

/// What the epilogue has to know of how A and B were read.
pub(super) struct Read<const MR: usize, const NP: usize> {
    /// How much higher than they are A's elements were read.
    pub(super) shift: i32,
    /// The sums of A's rows as they were read, if B has zero points.
    pub(super) row_sums: [i32; MR],
    /// The sums of B's columns, where the caller gave none.
    pub(super) column_sums: Option<[[i32; LANES]; NP]>,
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

/// The sums of the tile's rows as `read` takes bytes, if B has zero points.
///
/// # Safety
/// The arguments are valid, and the tile has `MR` rows.
#[inline(always)]
unsafe fn row_sums<const MR: usize>(tile: &Tile, read: impl Fn(u8) -> i32) -> [i32; MR] {
    let mut sums = [0; MR];
    if tile.args.b_zero.is_null() {
        return sums;
    }
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has MR rows of kc elements a tap.
        let rows = unsafe { tap_rows::<MR>(tile, tap) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            for k in 0..tile.args.kc.max(0) as usize {
                // SAFETY: k < kc.
                *sum += read(unsafe { *row.add(k) });
            }
        }
    }
    sums
}
