//! Depthwise convolution and pooling for AVX-512.

use super::conv::dwconv;
use super::pool::pool;
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_dwconv_8x16_avx512: "f32_dwconv" v1 (8, 16) => |args| dwconv::<Avx512, 8, 4>(args);
    f32_pool_8x16_avx512: "f32_pool" v1 (8, 16) => |args| pool::<Avx512, 8, 4>(args);
}
