//! Conversions for any target.

use half::{bf16, f16};

use super::blocks;
use crate::simd::LANES;

/// Converts a block element by element.
fn each<S: Copy, D>(f: impl Fn(S) -> D) -> impl Fn(*mut D, *const S) {
    move |dst, src| {
        for i in 0..LANES {
            // SAFETY: `blocks` passes 16 elements at both ends.
            unsafe { *dst.add(i) = f(*src.add(i)) };
        }
    }
}

kernel_rows! { Portable;
    f16_to_f32_portable: "f16_to_f32" v1 (1, 1) => |args| blocks(args, each(f16::to_f32));
    f32_to_f16_portable: "f32_to_f16" v1 (1, 1) => |args| blocks(args, each(f16::from_f32));
    bf16_to_f32_portable: "bf16_to_f32" v1 (1, 1) => |args| blocks(args, each(bf16::to_f32));
    f32_to_bf16_portable: "f32_to_bf16" v1 (1, 1) => |args| blocks(args, each(bf16::from_f32));
}
