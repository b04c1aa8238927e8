//! Depthwise convolution and pooling for AVX2.

use super::conv::dwconv;
use super::pool::pool;
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_dwconv_4x16_avx2: "f32_dwconv" v1 (4, 16) => |args| dwconv::<Avx2, 4, 2>(args);
    f32_pool_4x16_avx2: "f32_pool" v1 (4, 16) => |args| pool::<Avx2, 4, 2>(args);
}
