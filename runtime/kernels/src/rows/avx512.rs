//! Softmax and normalization for AVX-512.

use super::norm::norm;
use super::softmax::softmax;
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_softmax_avx512: "f32_softmax" v1 (1, 16) => |args| softmax::<Avx512>(args);
    f32_norm_avx512: "f32_norm" v1 (1, 16) => |args| norm::<Avx512>(args);
}
