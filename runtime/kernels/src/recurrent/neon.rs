//! Recurrent steps for NEON.

use super::lstm::lstm_cell;
use crate::simd::Neon;

kernel_rows! { Neon, "neon";
    f32_lstm_cell_neon: "f32_lstm_cell" v1 (1, 16) => |args| lstm_cell::<Neon>(args);
}
