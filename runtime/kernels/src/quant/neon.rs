//! 8-bit products for NEON: even and odd bytes apart, since a product of an unsigned and a signed byte
//! fits 16 bits and adding pairs of them widens.

use core::arch::aarch64::*;

use super::tile::{Sums, Tile, run};
use crate::args::I8GemmArgs;
use crate::gemm::block::{Shape, multiply};
use crate::simd::LANES;

/// Sums of four columns each.
#[derive(Clone, Copy)]
struct Neon([int32x4_t; 4]);

/// The even and the odd bytes of four columns, widened.
type Halves = (int16x8_t, int16x8_t);

// SAFETY of every intrinsic here: it is reached only from entry points compiled for Advanced SIMD,
// which run only where the CPU has it.
impl Sums for Neon {
    const SIGNED: bool = false;

    type B = [Halves; 4];

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self([vdupq_n_s32(0); 4]) }
    }

    #[inline(always)]
    unsafe fn load(src: *const i8) -> Self::B {
        // SAFETY: the caller promises 64 bytes.
        core::array::from_fn(|i| unsafe {
            let bytes = vreinterpretq_s16_s8(vld1q_s8(src.add(16 * i)));
            (vshrq_n_s16::<8>(vshlq_n_s16::<8>(bytes)), vshrq_n_s16::<8>(bytes))
        })
    }

    #[inline(always)]
    fn dot(self, a: u32, b: Self::B) -> Self {
        // SAFETY: see above.
        unsafe {
            let even = vreinterpretq_s16_u32(vdupq_n_u32(a & 0x00ff_00ff));
            let odd = vreinterpretq_s16_u32(vdupq_n_u32(a >> 8 & 0x00ff_00ff));
            Self(core::array::from_fn(|i| {
                let (b_even, b_odd) = b[i];
                vpadalq_s16(vpadalq_s16(self.0[i], vmulq_s16(even, b_even)), vmulq_s16(odd, b_odd))
            }))
        }
    }

    #[inline(always)]
    fn to_array(self) -> [i32; LANES] {
        let mut sums = [0; LANES];
        for (i, part) in self.0.into_iter().enumerate() {
            // SAFETY: the array has 16 elements.
            unsafe { vst1q_s32(sums.as_mut_ptr().add(4 * i), part) };
        }
        sums
    }
}

#[target_feature(enable = "neon")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Neon, MR, NP>(tile) }
}

const SHAPES: &[Shape<I8GemmArgs>] =
    &[Shape { panels: 1, tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>] }];

kernel_rows! { Neon, "neon";
    i8_gemm_4x16_neon: "i8_gemm" v1 (4, 16) => |args| multiply(args, SHAPES);
}
