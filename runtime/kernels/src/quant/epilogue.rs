//! From integer sums to what is stored: zero points, bias, scale, rounding.

use super::tile::{Read, Tile};
use crate::args::{ACCUM, BIAS, CLAMP, FLOAT_BIAS, I8GemmArgs, STORE_F32, STORE_I32, STORE_U8, word_f32};
use crate::simd::LANES;

/// 1.5 * 2^23: adding it to a value below 2^22 leaves no place for a fraction.
const ROUNDER: f32 = 12_582_912.0;

/// Sixteen columns of what the formula has per column; those beyond the last are 0.
struct Columns {
    /// What zero points and bias add, whatever the row.
    offset: [i32; LANES],
    b_zero: [i32; LANES],
    scale: [f32; LANES],
    float_bias: [f32; LANES],
}

/// Reads up to 16 columns of an array, zeros if it is absent.
///
/// # Safety
/// `array`, unless null, is good for `len` elements from `column`.
#[inline(always)]
unsafe fn columns_of<T: Copy + Default>(array: *const T, column: usize, len: usize) -> [T; LANES] {
    let mut columns = [T::default(); LANES];
    if !array.is_null() {
        // SAFETY: len <= 16 elements exist at both ends.
        unsafe {
            if len == LANES {
                return array.add(column).cast::<[T; LANES]>().read_unaligned();
            }
            core::ptr::copy_nonoverlapping(array.add(column), columns.as_mut_ptr(), len);
        }
    }
    columns
}

impl Columns {
    /// The columns from `column`.
    ///
    /// # Safety
    /// The arguments are valid and the columns exist.
    #[inline(always)]
    unsafe fn read(
        args: &I8GemmArgs,
        (column, len): (usize, usize),
        shift: i32,
        own_sums: Option<[i32; LANES]>,
    ) -> Self {
        let flagged = |flag| args.flags & flag != 0;
        let a_zero = args.a_zero as i32 + shift;
        let depth = (args.taps * args.kc) as i32;
        // SAFETY: a set flag or a pointer that is not null makes the array valid for every column.
        unsafe {
            let b_zero = columns_of(args.b_zero, column, len);
            let given = if a_zero == 0 { core::ptr::null() } else { args.column_sums };
            let sums = own_sums.unwrap_or_else(|| columns_of(given, column, len));
            let bias = columns_of(if flagged(BIAS) { args.bias } else { core::ptr::null() }, column, len);
            let float_bias = if flagged(FLOAT_BIAS) { args.float_bias } else { core::ptr::null() };
            let mut scale = match args.store == STORE_I32 || args.scale.is_null() {
                true => [1.0; LANES],
                false => columns_of(args.scale, column, len),
            };
            let mut offset = [0i32; LANES];
            for j in 0..LANES {
                let both = depth.wrapping_mul(a_zero).wrapping_mul(b_zero[j]);
                offset[j] = bias[j].wrapping_add(both).wrapping_sub(a_zero.wrapping_mul(sums[j]));
                scale[j] *= word_f32(args.factor);
            }
            Self { offset, b_zero, scale, float_bias: columns_of(float_bias, column, len) }
        }
    }
}

impl Columns {
    /// The formula's s of a row, from its products and the sum of its elements.
    #[inline(always)]
    fn shift(&self, mut sums: [i32; LANES], row_sum: i32) -> [i32; LANES] {
        for (j, sum) in sums.iter_mut().enumerate() {
            let shift = self.offset[j].wrapping_sub(self.b_zero[j].wrapping_mul(row_sum));
            *sum = sum.wrapping_add(shift);
        }
        sums
    }
}

/// Stores a tile.
///
/// # Safety
/// The tile's rows and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn finish<const MR: usize, const NP: usize>(
    tile: &Tile,
    acc: &[[[i32; LANES]; NP]; MR],
    read: &Read<MR, NP>,
) {
    let args = tile.args;
    for p in 0..NP {
        let (column, len) = (tile.column + p * LANES, (tile.columns - p * LANES).min(LANES));
        // SAFETY: the columns exist.
        let columns =
            unsafe { Columns::read(args, (column, len), read.shift, read.column_sums.map(|sums| sums[p])) };
        for (r, (row, &row_sum)) in acc.iter().zip(&read.row_sums).enumerate() {
            let sums = columns.shift(row[p], row_sum);
            let at = (tile.row + r) as isize * args.ldc as isize + column as isize;
            // SAFETY: `len` columns of the row exist.
            unsafe {
                match args.store {
                    STORE_I32 => store_sums(args, sums, at, len),
                    STORE_F32 => store(scaled(args, sums, &columns), args.c.cast(), at, len),
                    _ => store(quantized(args, sums, &columns), args.c, at, len),
                }
            }
        }
    }
}

/// Stores sums as they are, or added to what is there.
///
/// # Safety
/// C has `len` elements from `at`.
#[inline(always)]
unsafe fn store_sums(args: &I8GemmArgs, mut sums: [i32; LANES], at: isize, len: usize) {
    let c = args.c.cast::<i32>();
    // SAFETY: the caller's promise.
    unsafe {
        if args.flags & ACCUM != 0 {
            let old = columns_of(c.wrapping_offset(at), 0, len);
            for j in 0..LANES {
                sums[j] = sums[j].wrapping_add(old[j]);
            }
        }
        store(sums, c, at, len);
    }
}

/// The sums as floats.
#[inline(always)]
fn scaled(args: &I8GemmArgs, sums: [i32; LANES], columns: &Columns) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for j in 0..LANES {
        out[j] = sums[j] as f32 * columns.scale[j] + columns.float_bias[j];
    }
    if args.flags & CLAMP != 0 {
        let (lo, hi) = (word_f32(args.lo), word_f32(args.hi));
        out = out.map(|y| if y < lo { lo } else { y }).map(|y| if y > hi { hi } else { y });
    }
    out
}

/// The sums as bytes, signed or not.
#[inline(always)]
fn quantized(args: &I8GemmArgs, sums: [i32; LANES], columns: &Columns) -> [u8; LANES] {
    let (least, greatest) = if args.store == STORE_U8 { (0, 255) } else { (-128, 127) };
    let zero = args.out_zero as i32;
    // Bounds are integers, so bounding before rounding is the same and keeps the trick exact.
    let (lo, hi) = ((least - zero) as f32, (greatest - zero) as f32);
    let mut out = [0; LANES];
    for (j, y) in scaled(args, sums, columns).into_iter().enumerate() {
        let y = if y > lo { y } else { lo };
        let y = if y < hi { y } else { hi };
        let rounded = ((y + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
        out[j] = (rounded + zero) as u8;
    }
    out
}

/// Stores up to 16 columns.
///
/// # Safety
/// `c` is good for `len` elements from `at`.
#[inline(always)]
unsafe fn store<T: Copy>(values: [T; LANES], c: *mut T, at: isize, len: usize) {
    let dst = c.wrapping_offset(at);
    // SAFETY: len <= 16 elements exist at both ends.
    unsafe {
        if len == LANES {
            dst.cast::<[T; LANES]>().write_unaligned(values);
        } else {
            core::ptr::copy_nonoverlapping(values.as_ptr(), dst, len);
        }
    }
}
