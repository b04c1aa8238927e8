//! A single row of C: a matrix-vector product, which runs at the speed of memory.
//!
//! Nothing is prefetched: the processor sees the streams coming, and a prefetch that crosses into the next
//! page of a mapped file costs more than it brings.

use super::tile::{Tile, finish, step};
use crate::simd::F32x16;

/// Partial sums per panel of a single row: enough to hide the latency of the multiply-add.
const PARTS: usize = 4;

/// The body of the tile functions of one row: sums in `PARTS` interleaved parts, so that few
/// panels, which memory delivers faster than many, suffice to keep the multipliers busy.
///
/// # Safety
/// The tile's row and columns exist and the arguments are valid.
#[inline(always)]
pub(super) unsafe fn run_row<V: F32x16, const NP: usize>(tile: &Tile) {
    let kc = tile.args.kc.max(0) as usize;
    let mut parts = [[[V::splat(0.0); NP]; 1]; PARTS];
    for tap in 0..tile.args.taps.max(0) as usize {
        // SAFETY: the tile has one row of kc elements a tap.
        let row = unsafe { tile.rows::<1>(tap) };
        if tile.in_padding(&row) {
            continue;
        }
        let panels = tile.panels::<NP>(tap * kc);
        let mut k = 0;
        while k + PARTS <= kc {
            for (i, part) in parts.iter_mut().enumerate() {
                // SAFETY: k + i < kc.
                unsafe { step::<V, 1, NP>(part, row, panels, k + i) };
            }
            k += PARTS;
        }
        for k in k..kc {
            // SAFETY: k < kc.
            unsafe { step::<V, 1, NP>(&mut parts[0], row, panels, k) };
        }
    }
    let [[a], [b], [c], [d]] = parts;
    let acc: [[V; NP]; 1] = [core::array::from_fn(|p| (a[p] + b[p]) + (c[p] + d[p]))];
    // SAFETY: the tile's row and columns exist.
    unsafe { finish(tile, &acc) }
}
