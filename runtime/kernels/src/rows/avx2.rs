//! Softmax, normalization and reductions for AVX2.

use super::norm::norm;
use super::reduce::{greatest, least, sum};
use super::softmax::softmax;
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_softmax_avx2: "f32_softmax" v1 (1, 16) => |args| softmax::<Avx2>(args);
    f32_norm_avx2: "f32_norm" v1 (1, 16) => |args| norm::<Avx2>(args);
    f32_reduce_sum_avx2: "f32_reduce_sum" v1 (1, 16) => |args| sum::<Avx2>(args);
    f32_reduce_max_avx2: "f32_reduce_max" v1 (1, 16) => |args| greatest::<Avx2>(args);
    f32_reduce_min_avx2: "f32_reduce_min" v1 (1, 16) => |args| least::<Avx2>(args);
}
