//! Vectors as four 128-bit registers; tails go through arrays.
//!
//! SAFETY of every intrinsic here: vectors of this type are made only inside entry points compiled
//! for Advanced SIMD, which every aarch64 CPU with an operating system has.

use core::arch::aarch64::*;

use super::{F32x16, LANES, operators};

/// Registers of a vector.
const PARTS: usize = 4;
/// Lanes of a register.
const PART: usize = LANES / PARTS;

/// Sixteen floats in four `q` registers.
#[derive(Clone, Copy)]
pub(crate) struct Neon([float32x4_t; PARTS]);

/// Applies a function to the registers of two vectors.
#[inline(always)]
fn zip<A: Copy, B: Copy, C>(a: [A; PARTS], b: [B; PARTS], f: impl Fn(A, B) -> C) -> [C; PARTS] {
    core::array::from_fn(|i| f(a[i], b[i]))
}

operators! { Neon:
    // SAFETY: see the module.
    Add add(a, b) = Self(zip(a.0, b.0, |a, b| unsafe { vaddq_f32(a, b) }));
    // SAFETY: see the module.
    Sub sub(a, b) = Self(zip(a.0, b.0, |a, b| unsafe { vsubq_f32(a, b) }));
    // SAFETY: see the module.
    Mul mul(a, b) = Self(zip(a.0, b.0, |a, b| unsafe { vmulq_f32(a, b) }));
    // SAFETY: see the module.
    Div div(a, b) = Self(zip(a.0, b.0, |a, b| unsafe { vdivq_f32(a, b) }));
}

/// Methods that apply one expression of intrinsics to each register.
macro_rules! each {
    ($(fn $name:ident $([$bits:ident])? ($a:ident: $ty:ty) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $bits: u32>)? ($a: $ty) -> $out {
            // SAFETY: see the module.
            $a.map(|$a| unsafe { $body })
        }
    )*};
    ($(fn $name:ident($a:ident, $b:ident: $ty:ty) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name($a: $ty, $b: $ty) -> $out {
            // SAFETY: see the module.
            zip($a, $b, |$a, $b| unsafe { $body })
        }
    )*};
}

impl F32x16 for Neon {
    type Mask = [uint32x4_t; PARTS];
    type Int = [int32x4_t; PARTS];

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the module.
        Self([unsafe { vdupq_n_f32(value) }; PARTS])
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises 16 elements.
        Self(core::array::from_fn(|i| unsafe { vld1q_f32(src.add(i * PART)) }))
    }

    #[inline(always)]
    unsafe fn load_part(src: *const f32, len: usize) -> Self {
        let mut lanes = [0.0; LANES];
        // SAFETY: the caller promises `len` elements; the array has 16.
        unsafe {
            core::ptr::copy_nonoverlapping(src, lanes.as_mut_ptr(), len.min(LANES));
            Self::load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        for (i, part) in self.0.into_iter().enumerate() {
            // SAFETY: the caller promises 16 elements.
            unsafe { vst1q_f32(dst.add(i * PART), part) };
        }
    }

    #[inline(always)]
    unsafe fn store_part(self, dst: *mut f32, len: usize) {
        let lanes = self.to_array();
        // SAFETY: the caller promises `len` elements; the array has 16.
        unsafe { core::ptr::copy_nonoverlapping(lanes.as_ptr(), dst, len.min(LANES)) };
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see the module.
        Self(core::array::from_fn(|i| unsafe { vfmaq_f32(addend.0[i], self.0[i], factor.0[i]) }))
    }

    // The instructions for the greater and the lesser return NaN if either is: not this contract.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module.
        Self(zip(self.0, other.0, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module.
        Self(zip(self.0, other.0, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }))
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module.
        Self(self.0.map(|a| unsafe { vrndnq_f32(a) }))
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        zip(self.0, other.0, |a, b| unsafe { vcltq_f32(a, b) })
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        zip(self.0, other.0, |a, b| unsafe { vceqq_f32(a, b) })
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module.
        Self(core::array::from_fn(|i| unsafe { vbslq_f32(mask[i], yes.0[i], no.0[i]) }))
    }

    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        // SAFETY: see the module.
        unsafe { vminvq_u32(vandq_u32(vandq_u32(mask[0], mask[1]), vandq_u32(mask[2], mask[3]))) != 0 }
    }

    #[inline(always)]
    fn to_bits(self) -> Self::Int {
        // SAFETY: see the module.
        self.0.map(|a| unsafe { vreinterpretq_s32_f32(a) })
    }

    #[inline(always)]
    fn from_bits(bits: Self::Int) -> Self {
        // SAFETY: see the module.
        Self(bits.map(|a| unsafe { vreinterpretq_f32_s32(a) }))
    }

    #[inline(always)]
    fn to_int(self) -> Self::Int {
        // SAFETY: see the module.
        self.0.map(|a| unsafe { vcvtnq_s32_f32(a) })
    }

    #[inline(always)]
    fn from_int(int: Self::Int) -> Self {
        // SAFETY: see the module.
        Self(int.map(|a| unsafe { vcvtq_f32_s32(a) }))
    }

    #[inline(always)]
    fn int_splat(value: i32) -> Self::Int {
        // SAFETY: see the module.
        [unsafe { vdupq_n_s32(value) }; PARTS]
    }

    #[inline(always)]
    fn prefetch(src: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) src, options(nostack, readonly, preserves_flags))
        }
    }

    each! {
        fn int_shl[BITS](a: Self::Int) -> Self::Int = vshlq_s32(a, vdupq_n_s32(BITS as i32));
        fn int_shr[BITS](a: Self::Int) -> Self::Int = vshlq_s32(a, vdupq_n_s32(-(BITS as i32)));
    }

    each! {
        fn int_add(a, b: Self::Int) -> Self::Int = vaddq_s32(a, b);
        fn int_sub(a, b: Self::Int) -> Self::Int = vsubq_s32(a, b);
        fn int_and(a, b: Self::Int) -> Self::Int = vandq_s32(a, b);
        fn int_xor(a, b: Self::Int) -> Self::Int = veorq_s32(a, b);
    }
}
