//! Softmax and normalization for any target.

use super::norm::norm;
use super::softmax::softmax;
use crate::simd::Portable;

kernel_rows! { Portable;
    f32_softmax_portable: "f32_softmax" v1 (1, 16) => |args| softmax::<Portable>(args);
    f32_norm_portable: "f32_norm" v1 (1, 16) => |args| norm::<Portable>(args);
}
