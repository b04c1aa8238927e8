//! Softmax and normalization for AVX2.

use super::norm::norm;
use super::softmax::softmax;
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_softmax_avx2: "f32_softmax" v1 (1, 16) => |args| softmax::<Avx2>(args);
    f32_norm_avx2: "f32_norm" v1 (1, 16) => |args| norm::<Avx2>(args);
}
