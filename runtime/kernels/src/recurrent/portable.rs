//! Recurrent steps for any target.

use super::lstm::lstm_cell;
use crate::simd::Portable;

kernel_rows! { Portable;
    f32_lstm_cell_portable: "f32_lstm_cell" v1 (1, 16) => |args| lstm_cell::<Portable>(args);
}
