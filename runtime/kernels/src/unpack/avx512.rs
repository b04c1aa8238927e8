//! Numbers of four bits for AVX-512.

use super::unpack;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_unpack4_avx512: "f32_unpack4" v1 (1, 16) => |args| unpack(args);
}
