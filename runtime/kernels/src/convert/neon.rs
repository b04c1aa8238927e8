//! Conversions for NEON, whose base has those of f16.

use core::arch::aarch64::*;

use super::blocks;
use crate::simd::LANES;

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "neon")]
unsafe fn widen_f16(dst: *mut f32, src: *const u16) {
    for at in (0..LANES).step_by(4) {
        // SAFETY: 4 of the 16 elements.
        unsafe { vst1q_f32(dst.add(at), vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(src.add(at))))) };
    }
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "neon")]
unsafe fn narrow_f16(dst: *mut u16, src: *const f32) {
    for at in (0..LANES).step_by(4) {
        // SAFETY: 4 of the 16 elements.
        unsafe { vst1_u16(dst.add(at), vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src.add(at))))) };
    }
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "neon")]
unsafe fn widen_bf16(dst: *mut f32, src: *const u16) {
    for at in (0..LANES).step_by(4) {
        // SAFETY: 4 of the 16 elements.
        unsafe { vst1q_u32(dst.add(at).cast(), vshll_n_u16::<16>(vld1_u16(src.add(at)))) };
    }
}

/// The upper halves of four floats, rounded to nearest even; NaN made quiet.
#[target_feature(enable = "neon")]
fn round_bf16(x: float32x4_t) -> uint16x4_t {
    let bits = vreinterpretq_u32_f32(x);
    let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
    let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
    vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(x, x), rounded, quiet))
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "neon")]
unsafe fn narrow_bf16(dst: *mut u16, src: *const f32) {
    for at in (0..LANES).step_by(4) {
        // SAFETY: 4 of the 16 elements.
        unsafe { vst1_u16(dst.add(at), round_bf16(vld1q_f32(src.add(at)))) };
    }
}

kernel_rows! { Neon, "neon";
    f16_to_f32_neon: "f16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_f16(d, s));
    f32_to_f16_neon: "f32_to_f16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_f16(d, s));
    bf16_to_f32_neon: "bf16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_bf16(d, s));
    f32_to_bf16_neon: "f32_to_bf16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_bf16(d, s));
}
