//! GEMM for NEON: 6×16 tiles, 24 accumulators, four registers of B; A is multiplied by element.

use super::block::Shape;
use super::product;
use super::row::run_row;
use super::tile::{Tile, run};
use crate::args::GemmArgs;
use crate::simd::Neon;

#[target_feature(enable = "neon")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Neon, MR, NP>(tile) }
}

#[target_feature(enable = "neon")]
unsafe fn row<const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run_row::<Neon, NP>(tile) }
}

const SHAPES: &[Shape<GemmArgs>] = &[
    Shape { panels: 1, tiles: &[row::<1>] },
    Shape { panels: 2, tiles: &[tile::<1, 2>, tile::<2, 2>, tile::<3, 2>] },
    Shape {
        panels: 1,
        tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>, tile::<4, 1>, tile::<5, 1>, tile::<6, 1>],
    },
];

kernel_rows! { Neon, "neon";
    f32_gemm_6x16_neon: "f32_gemm" v2 (6, 16) => |args| product::<Neon>(args, SHAPES);
}
