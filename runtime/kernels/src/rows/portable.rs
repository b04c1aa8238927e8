//! Softmax, normalization and reductions for any target.

use super::norm::norm;
use super::reduce::{greatest, least, sum};
use super::softmax::softmax;
use crate::simd::Portable;

kernel_rows! { Portable;
    f32_softmax_portable: "f32_softmax" v1 (1, 16) => |args| softmax::<Portable>(args);
    f32_norm_portable: "f32_norm" v1 (1, 16) => |args| norm::<Portable>(args);
    f32_reduce_sum_portable: "f32_reduce_sum" v1 (1, 16) => |args| sum::<Portable>(args);
    f32_reduce_max_portable: "f32_reduce_max" v1 (1, 16) => |args| greatest::<Portable>(args);
    f32_reduce_min_portable: "f32_reduce_min" v1 (1, 16) => |args| least::<Portable>(args);
}
