//! Packing for any target.

use super::pack_b;
use crate::simd::{LANES, Portable};

/// Writes the transposed 8×8 block.
fn transpose(src: *const f32, stride: isize, dst: *mut f32) {
    for j in 0..8 {
        for k in 0..8 {
            // SAFETY: `pack_b` passes whole blocks that exist.
            unsafe { *dst.add(k * LANES + j) = *src.offset(j as isize * stride).add(k) };
        }
    }
}

kernel_rows! { Portable;
    f32_pack_b_portable: "f32_pack_b" v1 (1, 16) => |args| pack_b::<Portable>(args, transpose);
}
