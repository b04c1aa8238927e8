//! GEMM for AVX-512: 14×32 tiles over pairs of panels, 28 accumulators, two registers of B, one of A.

use super::block::{Shape, multiply};
use super::tile::{Tile, run};
use crate::simd::Avx512;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Avx512, MR, NP>(tile) }
}

/// The tiles of 1..=14 rows.
macro_rules! up_to_14 {
    ($panels:literal) => {
        &[
            tile::<1, $panels>,
            tile::<2, $panels>,
            tile::<3, $panels>,
            tile::<4, $panels>,
            tile::<5, $panels>,
            tile::<6, $panels>,
            tile::<7, $panels>,
            tile::<8, $panels>,
            tile::<9, $panels>,
            tile::<10, $panels>,
            tile::<11, $panels>,
            tile::<12, $panels>,
            tile::<13, $panels>,
            tile::<14, $panels>,
        ]
    };
}

const SHAPES: &[Shape] = &[
    Shape { panels: 8, tiles: &[tile::<1, 8>, tile::<2, 8>, tile::<3, 8>] },
    Shape {
        panels: 4,
        tiles: &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
    },
    Shape { panels: 2, tiles: up_to_14!(2) },
    Shape { panels: 1, tiles: up_to_14!(1) },
];

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_gemm_14x32_avx512: "f32_gemm" v1 (14, 32) => |args| multiply(args, SHAPES);
}
