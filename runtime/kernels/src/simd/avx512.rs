//! Vectors as one 512-bit register, with mask registers for tails.
//!
//! SAFETY of every intrinsic here: vectors of this type are made only inside entry points compiled
//! for AVX-512 F, BW, VL and DQ, which run only where the CPU has them.

use core::arch::x86_64::*;

use super::{F32x16, LANES, operators};

/// Sixteen floats in a `zmm` register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

/// The first `len` lanes.
#[inline(always)]
fn first(len: usize) -> __mmask16 {
    debug_assert!(len < LANES);
    ((1u32 << len) - 1) as __mmask16
}

operators! { Avx512:
    // SAFETY: see the module.
    Add add(a, b) = unsafe { Self(_mm512_add_ps(a.0, b.0)) };
    // SAFETY: see the module.
    Sub sub(a, b) = unsafe { Self(_mm512_sub_ps(a.0, b.0)) };
    // SAFETY: see the module.
    Mul mul(a, b) = unsafe { Self(_mm512_mul_ps(a.0, b.0)) };
    // SAFETY: see the module.
    Div div(a, b) = unsafe { Self(_mm512_div_ps(a.0, b.0)) };
}

/// Methods whose body is one expression of intrinsics.
macro_rules! methods {
    ($(fn $name:ident $([$bits:ident])? ($($arg:ident: $ty:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name $(<const $bits: u32>)? ($($arg: $ty),*) -> $out {
            // SAFETY: see the module.
            unsafe { $body }
        }
    )*};
}

impl F32x16 for Avx512 {
    type Mask = __mmask16;
    type Int = __m512i;

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises 16 elements.
        unsafe { Self(_mm512_loadu_ps(src)) }
    }

    #[inline(always)]
    unsafe fn load_part(src: *const f32, len: usize) -> Self {
        // SAFETY: the caller promises `len` elements; lanes off the mask are not touched.
        unsafe { Self(_mm512_maskz_loadu_ps(first(len), src)) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: the caller promises 16 elements.
        unsafe { _mm512_storeu_ps(dst, self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, dst: *mut f32, len: usize) {
        // SAFETY: the caller promises `len` elements; lanes off the mask are not touched.
        unsafe { _mm512_mask_storeu_ps(dst, first(len), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, addend.0)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm512_max_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm512_min_ps(self.0, other.0)) }
    }

    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)) }
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        mask == __mmask16::MAX
    }

    #[inline(always)]
    fn to_bits(self) -> Self::Int {
        // SAFETY: see the module.
        unsafe { _mm512_castps_si512(self.0) }
    }

    #[inline(always)]
    fn to_int(self) -> Self::Int {
        // SAFETY: see the module.
        unsafe { _mm512_cvtps_epi32(self.0) }
    }

    #[inline(always)]
    fn prefetch(src: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.cast()) }
    }

    methods! {
        fn splat(value: f32) -> Self = Self(_mm512_set1_ps(value));
        fn select(mask: Self::Mask, yes: Self, no: Self) -> Self = Self(_mm512_mask_blend_ps(mask, no.0, yes.0));
        fn from_bits(bits: Self::Int) -> Self = Self(_mm512_castsi512_ps(bits));
        fn from_int(int: Self::Int) -> Self = Self(_mm512_cvtepi32_ps(int));
        fn int_splat(value: i32) -> Self::Int = _mm512_set1_epi32(value);
        fn int_add(a: Self::Int, b: Self::Int) -> Self::Int = _mm512_add_epi32(a, b);
        fn int_sub(a: Self::Int, b: Self::Int) -> Self::Int = _mm512_sub_epi32(a, b);
        fn int_and(a: Self::Int, b: Self::Int) -> Self::Int = _mm512_and_si512(a, b);
        fn int_xor(a: Self::Int, b: Self::Int) -> Self::Int = _mm512_xor_si512(a, b);
        fn int_shl[BITS](a: Self::Int) -> Self::Int = _mm512_slli_epi32::<BITS>(a);
        fn int_shr[BITS](a: Self::Int) -> Self::Int = _mm512_srai_epi32::<BITS>(a);
    }
}
