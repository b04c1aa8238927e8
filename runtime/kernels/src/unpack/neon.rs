//! Numbers of four bits for NEON.

use core::arch::aarch64::*;

use super::{Block, ROW, unpack};
use crate::simd::LANES;

/// One block.
///
/// # Safety
/// The block exists.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block(b: &Block) {
    // SAFETY: the block has 16 scales and zero points, and its rows exist at both ends.
    unsafe {
        let quarters =
            |src: *const f32| -> [float32x4_t; 4] { core::array::from_fn(|i| vld1q_f32(src.add(4 * i))) };
        let (scales, zeros) = (quarters(b.scales), quarters(b.zeros));
        for k in 0..b.rows {
            let bytes = vld1_u8(b.src.add(k * ROW));
            let halves = [vmovl_u8(vand_u8(bytes, vdup_n_u8(15))), vmovl_u8(vshr_n_u8::<4>(bytes))];
            for i in 0..4 {
                let half = halves[i / 2];
                let wide = vmovl_u16(if i % 2 == 0 { vget_low_u16(half) } else { vget_high_u16(half) });
                let y = vmulq_f32(vsubq_f32(vcvtq_f32_u32(wide), zeros[i]), scales[i]);
                vst1q_f32(b.dst.add(k * LANES + 4 * i), y);
            }
        }
    }
}

kernel_rows! { Neon, "neon";
    f32_unpack4_neon: "f32_unpack4" v1 (1, 16) => |args| unpack(args, |b| block(b));
}
