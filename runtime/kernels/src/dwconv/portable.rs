//! Depthwise convolution and pooling for any target.

use super::conv::dwconv;
use super::pool::pool;
use crate::simd::Portable;

kernel_rows! { Portable;
    f32_dwconv_2x16_portable: "f32_dwconv" v1 (2, 16) => |args| dwconv::<Portable, 2, 2>(args);
    f32_pool_2x16_portable: "f32_pool" v1 (2, 16) => |args| pool::<Portable, 2, 2>(args);
}
