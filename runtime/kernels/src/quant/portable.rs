//! 8-bit products for any target.

use super::tile::{Sums, Tile, run};
use crate::args::I8GemmArgs;
use crate::gemm::block::{Shape, multiply};
use crate::simd::LANES;

/// Sums in an array.
#[derive(Clone, Copy)]
struct Portable([i32; LANES]);

impl Sums for Portable {
    const SIGNED: bool = false;

    type B = [[i8; 4]; LANES];

    #[inline(always)]
    fn zero() -> Self {
        Self([0; LANES])
    }

    #[inline(always)]
    unsafe fn load(src: *const i8) -> Self::B {
        // SAFETY: the caller promises 64 bytes.
        unsafe { src.cast::<Self::B>().read() }
    }

    #[inline(always)]
    fn dot(self, a: u32, b: Self::B) -> Self {
        let a = a.to_le_bytes().map(i32::from);
        let mut sums = self.0;
        for (sum, b) in sums.iter_mut().zip(b) {
            for k in 0..4 {
                *sum = sum.wrapping_add(a[k] * i32::from(b[k]));
            }
        }
        Self(sums)
    }

    #[inline(always)]
    fn to_array(self) -> [i32; LANES] {
        self.0
    }
}

unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Portable, MR, NP>(tile) }
}

const SHAPES: &[Shape<I8GemmArgs>] = &[Shape { panels: 1, tiles: &[tile::<1, 1>, tile::<2, 1>] }];

kernel_rows! { Portable;
    i8_gemm_2x16_portable: "i8_gemm" v1 (2, 16) => |args| multiply(args, SHAPES);
}
