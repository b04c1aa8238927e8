//! 8-bit products for NEON with the instruction that adds four products of signed bytes.

use core::arch::aarch64::*;

use super::tile::{Sums, Tile, run};
use crate::args::I8GemmArgs;
use crate::gemm::block::{Shape, multiply};
use crate::simd::LANES;

/// Sums of four columns each.
#[derive(Clone, Copy)]
struct NeonDot([int32x4_t; 4]);

// SAFETY of every intrinsic and instruction here: it is reached only from entry points compiled for
// Advanced SIMD with dot products, which run only where the CPU has them.
impl Sums for NeonDot {
    const SIGNED: bool = true;

    type B = [int8x16_t; 4];

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        unsafe { Self([vdupq_n_s32(0); 4]) }
    }

    #[inline(always)]
    unsafe fn load(src: *const i8) -> Self::B {
        // SAFETY: the caller promises 64 bytes.
        core::array::from_fn(|i| unsafe { vld1q_s8(src.add(16 * i)) })
    }

    #[inline(always)]
    fn dot(self, a: u32, b: Self::B) -> Self {
        // SAFETY: see above.
        let a = unsafe { vreinterpretq_s8_u32(vdupq_n_u32(a)) };
        let mut sums = self.0;
        // A loop, not a closure: the instruction needs the entry point's features, which closures lack
        // where they are not inlined.
        for (sum, b) in sums.iter_mut().zip(b) {
            // SAFETY: see above; registers alone are read and written. The intrinsic is not stable.
            unsafe {
                core::arch::asm!(
                    "sdot {sum:v}.4s, {b:v}.16b, {a:v}.16b",
                    sum = inout(vreg) *sum,
                    a = in(vreg) a,
                    b = in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        Self(sums)
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

#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<NeonDot, MR, NP>(tile) }
}

const SHAPES: &[Shape<I8GemmArgs>] = &[Shape {
    panels: 1,
    tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
}];

kernel_rows! { NeonDot, "neon,dotprod";
    i8_gemm_6x16_neondot: "i8_gemm" v1 (6, 16) => |args| multiply(args, SHAPES);
}
