//! Vectors as arrays: the compiler turns the loops into whatever vectors the target's base has.
//!
//! `mul_add` rounds twice: the bases of x86-64 and of most others have no fused instruction, and a
//! software one costs a hundred times as much.

use super::{F32x16, LANES, operators};

/// Sixteen floats in an array.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

/// 1.5 * 2^23: adding it to a value below 2^22 leaves no place for a fraction.
const ROUNDER: f32 = 12_582_912.0;

#[inline(always)]
fn map<A: Copy, B: Copy, C: Copy + Default>(
    a: [A; LANES],
    b: [B; LANES],
    f: impl Fn(A, B) -> C,
) -> [C; LANES] {
    let mut out = [C::default(); LANES];
    for i in 0..LANES {
        out[i] = f(a[i], b[i]);
    }
    out
}

operators! { Portable:
    Add add(a, b) = Self(map(a.0, b.0, |a, b| a + b));
    Sub sub(a, b) = Self(map(a.0, b.0, |a, b| a - b));
    Mul mul(a, b) = Self(map(a.0, b.0, |a, b| a * b));
    Div div(a, b) = Self(map(a.0, b.0, |a, b| a / b));
}

impl F32x16 for Portable {
    type Mask = [bool; LANES];
    type Int = [i32; LANES];

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises 16 elements; an array has the alignment of its element.
        unsafe { Self(src.cast::<[f32; LANES]>().read()) }
    }

    #[inline(always)]
    unsafe fn load_part(src: *const f32, len: usize) -> Self {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(len) {
            // SAFETY: i < len.
            *lane = unsafe { *src.add(i) };
        }
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: the caller promises 16 elements; an array has the alignment of its element.
        unsafe { dst.cast::<[f32; LANES]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, dst: *mut f32, len: usize) {
        for (i, lane) in self.0.iter().enumerate().take(len) {
            // SAFETY: i < len.
            unsafe { *dst.add(i) = *lane };
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self * factor + addend
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(map(self.0, other.0, |a, b| if a > b { a } else { b }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(map(self.0, other.0, |a, b| if a < b { a } else { b }))
    }

    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.map(|lane| (lane + ROUNDER) - ROUNDER))
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        map(self.0, other.0, |a, b| a < b)
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        map(self.0, other.0, |a, b| a == b)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        let mut out = no.0;
        for i in 0..LANES {
            out[i] = if mask[i] { yes.0[i] } else { no.0[i] };
        }
        Self(out)
    }

    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        mask.iter().all(|&lane| lane)
    }

    #[inline(always)]
    fn to_bits(self) -> Self::Int {
        self.0.map(|lane| lane.to_bits() as i32)
    }

    #[inline(always)]
    fn from_bits(bits: Self::Int) -> Self {
        Self(bits.map(|lane| f32::from_bits(lane as u32)))
    }

    #[inline(always)]
    fn to_int(self) -> Self::Int {
        self.0.map(|lane| ((lane + ROUNDER).to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32))
    }

    #[inline(always)]
    fn from_int(int: Self::Int) -> Self {
        Self(int.map(|lane| lane as f32))
    }

    #[inline(always)]
    fn int_splat(value: i32) -> Self::Int {
        [value; LANES]
    }

    #[inline(always)]
    fn int_add(a: Self::Int, b: Self::Int) -> Self::Int {
        map(a, b, i32::wrapping_add)
    }

    #[inline(always)]
    fn int_sub(a: Self::Int, b: Self::Int) -> Self::Int {
        map(a, b, i32::wrapping_sub)
    }

    #[inline(always)]
    fn int_and(a: Self::Int, b: Self::Int) -> Self::Int {
        map(a, b, |a, b| a & b)
    }

    #[inline(always)]
    fn int_xor(a: Self::Int, b: Self::Int) -> Self::Int {
        map(a, b, |a, b| a ^ b)
    }

    #[inline(always)]
    fn int_shl<const BITS: u32>(a: Self::Int) -> Self::Int {
        a.map(|lane| lane << BITS)
    }

    #[inline(always)]
    fn int_shr<const BITS: u32>(a: Self::Int) -> Self::Int {
        a.map(|lane| lane >> BITS)
    }

    #[inline(always)]
    fn prefetch(_src: *const f32) {}
}
