//! Softmax, normalization and reductions for NEON.

use super::norm::norm;
use super::reduce::{greatest, least, sum};
use super::softmax::softmax;
use crate::simd::Neon;

kernel_rows! { Neon, "neon";
    f32_softmax_neon: "f32_softmax" v1 (1, 16) => |args| softmax::<Neon>(args);
    f32_norm_neon: "f32_norm" v1 (1, 16) => |args| norm::<Neon>(args);
    f32_reduce_sum_neon: "f32_reduce_sum" v1 (1, 16) => |args| sum::<Neon>(args);
    f32_reduce_max_neon: "f32_reduce_max" v1 (1, 16) => |args| greatest::<Neon>(args);
    f32_reduce_min_neon: "f32_reduce_min" v1 (1, 16) => |args| least::<Neon>(args);
}
