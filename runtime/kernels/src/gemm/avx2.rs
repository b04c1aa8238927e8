//! GEMM for AVX2: 6×16 tiles, twelve accumulators, two registers of B, one of A.

use super::block::Shape;
use super::product;
use super::row::run_row;
use super::tile::{Tile, run};
use crate::args::GemmArgs;
use crate::simd::Avx2;

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Avx2, MR, NP>(tile) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row<const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run_row::<Avx2, NP>(tile) }
}

const SHAPES: &[Shape<GemmArgs>] = &[
    Shape { panels: 1, tiles: &[row::<1>] },
    Shape { panels: 2, tiles: &[tile::<1, 2>, tile::<2, 2>] },
    Shape {
        panels: 1,
        tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
    },
];

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_gemm_6x16_avx2: "f32_gemm" v2 (6, 16) => |args| product::<Avx2>(args, SHAPES);
}
