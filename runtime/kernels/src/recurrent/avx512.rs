//! Recurrent steps for AVX-512.

use super::lstm::lstm_cell;
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_lstm_cell_avx512: "f32_lstm_cell" v1 (1, 16) => |args| lstm_cell::<Avx512>(args);
}
