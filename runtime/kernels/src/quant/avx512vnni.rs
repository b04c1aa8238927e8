//! 8-bit products for AVX-512 with VNNI: 6×64 tiles as in the f32 product.

use core::arch::x86_64::*;

use super::tile::{Sums, Tile, run};
use crate::args::I8GemmArgs;
use crate::gemm::block::{Shape, multiply};
use crate::simd::LANES;

/// Sixteen sums in one register.
#[derive(Clone, Copy)]
struct Vnni(__m512i);

// SAFETY of every intrinsic here: it is reached only from entry points compiled for AVX-512 with
// VNNI, which run only where the CPU has them.
impl Sums for Vnni {
    const SIGNED: bool = false;

    type B = __m512i;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_setzero_si512()) }
    }

    #[inline(always)]
    unsafe fn load(src: *const i8) -> Self::B {
        // SAFETY: the caller promises 64 bytes.
        unsafe { _mm512_loadu_si512(src.cast()) }
    }

    #[inline(always)]
    fn dot(self, a: u32, b: Self::B) -> Self {
        // SAFETY: see above.
        unsafe { Self(_mm512_dpbusd_epi32(self.0, _mm512_set1_epi32(a as i32), b)) }
    }

    #[inline(always)]
    fn to_array(self) -> [i32; LANES] {
        let mut sums = [0; LANES];
        // SAFETY: the array has 16 elements.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), self.0) };
        sums
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Vnni, MR, NP>(tile) }
}

/// The tiles of 1..=6 rows.
macro_rules! up_to_6 {
    ($panels:literal) => {
        &[
            tile::<1, $panels>,
            tile::<2, $panels>,
            tile::<3, $panels>,
            tile::<4, $panels>,
            tile::<5, $panels>,
            tile::<6, $panels>,
        ]
    };
}

const SHAPES: &[Shape<I8GemmArgs>] = &[
    Shape { panels: 4, tiles: up_to_6!(4) },
    Shape { panels: 2, tiles: up_to_6!(2) },
    Shape { panels: 1, tiles: up_to_6!(1) },
];

kernel_rows! { Avx512Vnni, "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni";
    i8_gemm_6x64_avx512vnni: "i8_gemm" v1 (6, 64) => |args| multiply(args, SHAPES);
}
