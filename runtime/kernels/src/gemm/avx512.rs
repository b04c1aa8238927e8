//! GEMM for AVX-512: 6×64 tiles, 24 accumulators, four registers of B, one of A.
//!
//! Few rows: tiles of fourteen reach the same peak, but rows that lie 4 KiB apart (K = 1024, 3072)
//! would evict each other from an eight-way cache.

use super::block::Shape;
use super::product;
use super::row::run_row;
use super::tile::{Tile, run};
use crate::args::GemmArgs;
use crate::simd::Avx512;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn tile<const MR: usize, const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run::<Avx512, MR, NP>(tile) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn row<const NP: usize>(tile: &Tile) {
    // SAFETY: the caller's tile is valid.
    unsafe { run_row::<Avx512, NP>(tile) }
}

/// The tiles of 1..=8 rows.
macro_rules! up_to_8 {
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
        ]
    };
}

const SHAPES: &[Shape<GemmArgs>] = &[
    Shape { panels: 2, tiles: &[row::<2>] },
    Shape { panels: 1, tiles: &[row::<1>] },
    Shape {
        panels: 4,
        tiles: &[tile::<1, 4>, tile::<2, 4>, tile::<3, 4>, tile::<4, 4>, tile::<5, 4>, tile::<6, 4>],
    },
    Shape { panels: 2, tiles: up_to_8!(2) },
    Shape { panels: 1, tiles: up_to_8!(1) },
];

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_gemm_6x64_avx512: "f32_gemm" v2 (6, 64) => |args| product::<Avx512>(args, SHAPES);
}
