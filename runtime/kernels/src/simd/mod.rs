//! Vectors of 16 floats: the one type that kernels are written over.
//!
//! A vector is one 512-bit register, two of 256 bits, four of 128, or an array, by instruction set. Methods are
//! always inlined, so that they are compiled with the features of the entry point that uses them
//! (`kernel_rows!`); that entry point is also what makes their intrinsics legal. Nothing else may
//! name an implementation.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

use core::ops::{Add, Div, Mul, Sub};

/// Lanes of a vector, and columns of a packed panel.
pub(crate) const LANES: usize = 16;

/// Sixteen floats.
pub(crate) trait F32x16:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// A truth value per lane.
    type Mask: Copy;
    /// Sixteen 32-bit integers.
    type Int: Copy;

    /// The same value in all lanes.
    fn splat(value: f32) -> Self;
    /// Reads 16 elements.
    ///
    /// # Safety
    /// `src` is good for 16 elements.
    unsafe fn load(src: *const f32) -> Self;
    /// Reads `len < 16` elements, the other lanes are 0.
    ///
    /// # Safety
    /// `src` is good for `len` elements.
    unsafe fn load_part(src: *const f32, len: usize) -> Self;
    /// Writes 16 elements.
    ///
    /// # Safety
    /// `dst` is good for 16 elements.
    unsafe fn store(self, dst: *mut f32);
    /// Writes the first `len < 16` lanes.
    ///
    /// # Safety
    /// `dst` is good for `len` elements.
    unsafe fn store_part(self, dst: *mut f32, len: usize);
    /// `self * factor + addend`, rounded once where the instruction set can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self > other ? self : other`: a NaN in `other` comes through, one in `self` does not.
    fn max(self, other: Self) -> Self;
    /// `self < other ? self : other`: a NaN in `other` comes through, one in `self` does not.
    fn min(self, other: Self) -> Self;
    /// Nearest integer, ties to even, of values below 2^22.
    fn round(self) -> Self;
    /// `self < other`, false for NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// `self == other`, false for NaN.
    fn eq(self, other: Self) -> Self::Mask;
    /// `mask ? yes : no`.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Whether all lanes are true.
    fn all(mask: Self::Mask) -> bool;
    /// The lanes' bits.
    fn to_bits(self) -> Self::Int;
    /// The floats of these bits.
    fn from_bits(bits: Self::Int) -> Self;
    /// Nearest integers of values below 2^22.
    fn to_int(self) -> Self::Int;
    /// The integers as floats.
    fn from_int(int: Self::Int) -> Self;
    /// The same integer in all lanes.
    fn int_splat(value: i32) -> Self::Int;
    /// Wrapping sum.
    fn int_add(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Wrapping difference.
    fn int_sub(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Bitwise and.
    fn int_and(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Bitwise exclusive or.
    fn int_xor(a: Self::Int, b: Self::Int) -> Self::Int;
    /// Shift to the left.
    fn int_shl<const BITS: u32>(a: Self::Int) -> Self::Int;
    /// Arithmetic shift to the right.
    fn int_shr<const BITS: u32>(a: Self::Int) -> Self::Int;
    /// Asks for the cache line of `src`, any address.
    fn prefetch(src: *const f32);

    /// The lanes.
    #[inline(always)]
    fn to_array(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: the array has 16 elements.
        unsafe { self.store(lanes.as_mut_ptr()) };
        lanes
    }

    /// Reads `len` elements, at most 16.
    ///
    /// # Safety
    /// `src` is good for `len` elements.
    #[inline(always)]
    unsafe fn load_up_to(src: *const f32, len: usize) -> Self {
        // SAFETY: `len` is the caller's promise.
        unsafe { if len >= LANES { Self::load(src) } else { Self::load_part(src, len) } }
    }

    /// Writes the first `len` lanes, at most 16.
    ///
    /// # Safety
    /// `dst` is good for `len` elements.
    #[inline(always)]
    unsafe fn store_up_to(self, dst: *mut f32, len: usize) {
        // SAFETY: `len` is the caller's promise.
        unsafe { if len >= LANES { self.store(dst) } else { self.store_part(dst, len) } }
    }

    /// Which lanes lie below `len`.
    #[inline(always)]
    fn lanes_below(len: usize) -> Self::Mask {
        const INDEX: [f32; LANES] =
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
        // SAFETY: the array has 16 elements.
        unsafe { Self::load(INDEX.as_ptr()) }.lt(Self::splat(len as f32))
    }

    /// The magnitude.
    #[inline(always)]
    fn abs(self) -> Self {
        Self::from_bits(Self::int_and(self.to_bits(), Self::int_splat(i32::MAX)))
    }

    /// The sign bit alone.
    #[inline(always)]
    fn sign(self) -> Self::Int {
        Self::int_and(self.to_bits(), Self::int_splat(i32::MIN))
    }

    /// The magnitude of `self` with the sign bit of `sign` flipped in.
    #[inline(always)]
    fn flip_sign(self, sign: Self::Int) -> Self {
        Self::from_bits(Self::int_xor(self.to_bits(), sign))
    }

    /// The sum of the lanes, by halving: the same order on every instruction set.
    #[inline(always)]
    fn sum(self) -> f32 {
        fold(self.to_array(), |a, b| a + b)
    }

    /// The greater of each pair of lanes, NaN if either is.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Self::select(self.eq(self), self.max(other), self)
    }

    /// The lesser of each pair of lanes, NaN if either is.
    #[inline(always)]
    fn less(self, other: Self) -> Self {
        Self::select(self.eq(self), self.min(other), self)
    }

    /// The greatest lane, NaN if any is.
    #[inline(always)]
    fn greatest_lane(self) -> f32 {
        fold(self.to_array(), |a, b| if a > b || a.is_nan() { a } else { b })
    }

    /// The least lane, NaN if any is.
    #[inline(always)]
    fn least_lane(self) -> f32 {
        fold(self.to_array(), |a, b| if a < b || a.is_nan() { a } else { b })
    }
}

/// Combines lanes `i` and `i + half` until one is left.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Implements the four arithmetic operators of a vector by its methods.
macro_rules! operators {
    ($vector:ident: $($trait:ident $method:ident($a:ident, $b:ident) = $body:expr;)*) => {$(
        impl core::ops::$trait for $vector {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $body
            }
        }
    )*};
}
pub(crate) use operators;
