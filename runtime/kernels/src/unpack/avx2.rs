//! Numbers of four bits for AVX2.

use super::unpack;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_unpack4_avx2: "f32_unpack4" v1 (1, 16) => |args| unpack(args);
}
