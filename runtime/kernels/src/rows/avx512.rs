//! Softmax, normalization and reductions for AVX-512.

use super::norm::norm;
use super::reduce::{greatest, least, sum};
use super::softmax::softmax;
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_softmax_avx512: "f32_softmax" v1 (1, 16) => |args| softmax::<Avx512>(args);
    f32_norm_avx512: "f32_norm" v1 (1, 16) => |args| norm::<Avx512>(args);
    f32_reduce_sum_avx512: "f32_reduce_sum" v1 (1, 16) => |args| sum::<Avx512>(args);
    f32_reduce_max_avx512: "f32_reduce_max" v1 (1, 16) => |args| greatest::<Avx512>(args);
    f32_reduce_min_avx512: "f32_reduce_min" v1 (1, 16) => |args| least::<Avx512>(args);
}
