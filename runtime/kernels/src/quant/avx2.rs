//! 8-bit products for AVX2, by way of 16 bits: the instruction for bytes saturates.

use core::arch::x86_64::*;

use super::tile::{Sums, Tile, run};
use crate::args::I8GemmArgs;
use crate::gemm::block::{Shape, multiply};
use crate::simd::LANES;

/// Sums of eight columns each.
#[derive(Clone, Copy)]
struct Avx2(__m256i, __m256i);

/// The even and the odd bytes of eight columns, widened.
type Halves = (__m256i, __m256i);

// SAFETY of every intrinsic here: it is reached only from entry points compiled for AVX2, which run
// only where the CPU has it.
impl Sums for Avx2 {
    const SIGNED: bool = false;

    type B = (Halves, Halves);

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm256_setzero_si256(), _mm256_setzero_si256()) }
    }

    #[inline(always)]
    unsafe fn load(src: *const i8) -> Self::B {
        // SAFETY: the caller promises 64 bytes.
        let read = |at: usize| unsafe {
            let bytes = _mm256_loadu_si256(src.add(at).cast());
            (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes))
        };
        (read(0), read(32))
    }

    #[inline(always)]
    fn dot(self, a: u32, (low, high): Self::B) -> Self {
        // SAFETY: see above.
        unsafe {
            let even = _mm256_set1_epi32((a & 0x00ff_00ff) as i32);
            let odd = _mm256_set1_epi32((a >> 8 & 0x00ff_00ff) as i32);
            let add = |sum, (b_even, b_odd): Halves| {
                let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, b_even));
                _mm256_add_epi32(sum, _mm256_madd_epi16(odd, b_odd))
            };
            Self(add(self.0, low), add(self.1, high))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [i32; LANES] {
        let mut sums = [0; LANES];
        // SAFETY: the array has 16 elements.
        unsafe {
            _mm256_storeu_si256(sums.as_mut_ptr().cast(), self.0);
            _mm256_storeu_si256(sums.as_mut_ptr().add(8).cast(), self.1);
        }
        sums
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Avx2, MR, NP>(tile) }
}

const SHAPES: &[Shape<I8GemmArgs>] =
    &[Shape { panels: 1, tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>] }];

kernel_rows! { Avx2, "avx2,fma,f16c";
    i8_gemm_4x16_avx2: "i8_gemm" v1 (4, 16) => |args| multiply(args, SHAPES);
}
