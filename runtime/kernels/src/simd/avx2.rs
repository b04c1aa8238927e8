//! Vectors as a pair of 256-bit registers, with masked loads and stores for tails.
//!
//! SAFETY of every intrinsic here: vectors of this type are made only inside entry points compiled
//! for AVX2, FMA and F16C, which run only where the CPU has them.

use core::arch::x86_64::*;

use super::{F32x16, LANES, operators};

/// Sixteen floats in two `ymm` registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// All ones, then all zeros: a window of it is the mask of the first lanes.
static WINDOW: [i32; 2 * LANES] = {
    let mut window = [0; 2 * LANES];
    let mut i = 0;
    while i < LANES {
        window[i] = -1;
        i += 1;
    }
    window
};

/// The first `len` lanes.
#[inline(always)]
fn first(len: usize) -> (__m256i, __m256i) {
    let window = &WINDOW[LANES - len.min(LANES)..][..LANES];
    // SAFETY: the window has 16 elements; for the rest see the module.
    unsafe { (_mm256_loadu_si256(window.as_ptr().cast()), _mm256_loadu_si256(window.as_ptr().add(8).cast())) }
}

operators! { Avx2:
    // SAFETY: see the module.
    Add add(a, b) = unsafe { Self(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) };
    // SAFETY: see the module.
    Sub sub(a, b) = unsafe { Self(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) };
    // SAFETY: see the module.
    Mul mul(a, b) = unsafe { Self(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) };
    // SAFETY: see the module.
    Div div(a, b) = unsafe { Self(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) };
}

/// Functions of one or two integer vectors, applied to both halves.
macro_rules! int_methods {
    ($(fn $name:ident($($arg:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name($($arg: Self::Int),*) -> Self::Int {
            // SAFETY: see the module.
            unsafe { ($intrinsic($($arg.0),*), $intrinsic($($arg.1),*)) }
        }
    )*};
}

impl F32x16 for Avx2 {
    type Mask = (__m256, __m256);
    type Int = (__m256i, __m256i);

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    unsafe fn load(src: *const f32) -> Self {
        // SAFETY: the caller promises 16 elements.
        unsafe { Self(_mm256_loadu_ps(src), _mm256_loadu_ps(src.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_part(src: *const f32, len: usize) -> Self {
        let (low, high) = first(len);
        // SAFETY: the caller promises `len` elements; lanes off the mask are not touched, and their
        // address is only computed.
        unsafe { Self(_mm256_maskload_ps(src, low), _mm256_maskload_ps(src.wrapping_add(8), high)) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut f32) {
        // SAFETY: the caller promises 16 elements.
        unsafe {
            _mm256_storeu_ps(dst, self.0);
            _mm256_storeu_ps(dst.add(8), self.1);
        }
    }

    #[inline(always)]
    unsafe fn store_part(self, dst: *mut f32, len: usize) {
        let (low, high) = first(len);
        // SAFETY: the caller promises `len` elements; lanes off the mask are not touched, and their
        // address is only computed.
        unsafe {
            _mm256_maskstore_ps(dst, low, self.0);
            _mm256_maskstore_ps(dst.wrapping_add(8), high, self.1);
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: see the module.
        unsafe {
            Self(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1))
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: see the module.
        unsafe { Self(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        unsafe {
            (_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0), _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, other.1))
        }
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Self::Mask {
        // SAFETY: see the module.
        unsafe {
            (_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, other.0), _mm256_cmp_ps::<_CMP_EQ_OQ>(self.1, other.1))
        }
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_blendv_ps(no.0, yes.0, mask.0), _mm256_blendv_ps(no.1, yes.1, mask.1)) }
    }

    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        // SAFETY: see the module.
        unsafe { _mm256_movemask_ps(_mm256_and_ps(mask.0, mask.1)) == 0xff }
    }

    #[inline(always)]
    fn to_bits(self) -> Self::Int {
        // SAFETY: see the module.
        unsafe { (_mm256_castps_si256(self.0), _mm256_castps_si256(self.1)) }
    }

    #[inline(always)]
    fn from_bits(bits: Self::Int) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_castsi256_ps(bits.0), _mm256_castsi256_ps(bits.1)) }
    }

    #[inline(always)]
    fn to_int(self) -> Self::Int {
        // SAFETY: see the module.
        unsafe { (_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1)) }
    }

    #[inline(always)]
    fn from_int(int: Self::Int) -> Self {
        // SAFETY: see the module.
        unsafe { Self(_mm256_cvtepi32_ps(int.0), _mm256_cvtepi32_ps(int.1)) }
    }

    #[inline(always)]
    fn int_splat(value: i32) -> Self::Int {
        // SAFETY: see the module.
        unsafe { (_mm256_set1_epi32(value), _mm256_set1_epi32(value)) }
    }

    #[inline(always)]
    fn int_shl<const BITS: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: see the module.
        unsafe {
            (
                _mm256_sll_epi32(a.0, _mm_cvtsi32_si128(BITS as i32)),
                _mm256_sll_epi32(a.1, _mm_cvtsi32_si128(BITS as i32)),
            )
        }
    }

    #[inline(always)]
    fn int_shr<const BITS: u32>(a: Self::Int) -> Self::Int {
        // SAFETY: see the module.
        unsafe {
            (
                _mm256_sra_epi32(a.0, _mm_cvtsi32_si128(BITS as i32)),
                _mm256_sra_epi32(a.1, _mm_cvtsi32_si128(BITS as i32)),
            )
        }
    }

    #[inline(always)]
    fn prefetch(src: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(src.cast()) }
    }

    int_methods! {
        fn int_add(a, b) = _mm256_add_epi32;
        fn int_sub(a, b) = _mm256_sub_epi32;
        fn int_and(a, b) = _mm256_and_si256;
        fn int_xor(a, b) = _mm256_xor_si256;
    }
}
