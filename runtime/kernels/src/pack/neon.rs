//! Packing for NEON: contiguous columns are transposed by 4×4 blocks in registers.

use core::arch::aarch64::*;

use super::pack_b;
use crate::simd::{LANES, Neon};

/// Writes the transposed 8×8 block.
///
/// # Safety
/// The block exists at both ends.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transpose(src: *const f32, stride: isize, dst: *mut f32) {
    for j in [0, 4] {
        for k in [0, 4] {
            // SAFETY: rows j..j + 4 and columns k..k + 4 lie in the block.
            unsafe {
                let src = src.offset(j as isize * stride).add(k);
                transpose_quarter(src, stride, dst.add(k * LANES + j));
            }
        }
    }
}

/// Writes the transposed 4×4 block.
///
/// # Safety
/// The block exists at both ends.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transpose_quarter(src: *const f32, stride: isize, dst: *mut f32) {
    // SAFETY: row j of the block exists.
    let r: [float32x4_t; 4] = core::array::from_fn(|j| unsafe { vld1q_f32(src.offset(j as isize * stride)) });
    let pair = |a, b| (vreinterpretq_f64_f32(vtrn1q_f32(a, b)), vreinterpretq_f64_f32(vtrn2q_f32(a, b)));
    let ((a, b), (c, d)) = (pair(r[0], r[1]), pair(r[2], r[3]));
    let rows = [vtrn1q_f64(a, c), vtrn1q_f64(b, d), vtrn2q_f64(a, c), vtrn2q_f64(b, d)];
    for (k, row) in rows.into_iter().enumerate() {
        // SAFETY: row k of the transposed block exists.
        unsafe { vst1q_f32(dst.add(k * LANES), vreinterpretq_f32_f64(row)) };
    }
}

kernel_rows! { Neon, "neon";
    f32_pack_b_neon: "f32_pack_b" v1 (1, 16) => |args| {
        pack_b::<Neon>(args, |src, stride, dst| transpose(src, stride, dst))
    };
}
