//! Recurrent steps for AVX2.

use super::lstm::lstm_cell;
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_lstm_cell_avx2: "f32_lstm_cell" v1 (1, 16) => |args| lstm_cell::<Avx2>(args);
}
