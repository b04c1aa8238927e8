//! Depthwise convolution and pooling for NEON.

use super::conv::dwconv;
use super::pool::pool;
use crate::simd::Neon;

kernel_rows! { Neon, "neon";
    f32_dwconv_4x16_neon: "f32_dwconv" v1 (4, 16) => |args| dwconv::<Neon, 4, 2>(args);
    f32_pool_4x16_neon: "f32_pool" v1 (4, 16) => |args| pool::<Neon, 4, 2>(args);
}
