//! GEMM for any target.

use super::block::Shape;
use super::product;
use super::tile::{Tile, run};
use crate::args::GemmArgs;
use crate::simd::Portable;

unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Portable, MR, NP>(tile) }
}

/// Twelve accumulators of four lanes fill the sixteen registers of the smallest target.
const SHAPES: &[Shape<GemmArgs>] = &[Shape { panels: 1, tiles: &[tile::<1, 1>, tile::<2, 1>, tile::<3, 1>] }];

kernel_rows! { Portable;
    f32_gemm_3x16_portable: "f32_gemm" v2 (3, 16) => |args| product::<Portable>(args, SHAPES);
}
