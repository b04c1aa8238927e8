//! Numbers of four bits for any target.

use super::{Block, ROW, unpack};
use crate::simd::LANES;

/// One block.
fn block(b: &Block) {
    for k in 0..b.rows {
        for j in 0..LANES {
            // SAFETY: `unpack` passes blocks that exist, with 16 scales and zero points.
            unsafe {
                let byte = *b.src.add(k * ROW + j % ROW);
                let number = if j < ROW { byte & 15 } else { byte >> 4 };
                *b.dst.add(k * LANES + j) = (f32::from(number) - *b.zeros.add(j)) * *b.scales.add(j);
            }
        }
    }
}

kernel_rows! { Portable;
    f32_unpack4_portable: "f32_unpack4" v1 (1, 16) => |args| unpack(args, block);
}
