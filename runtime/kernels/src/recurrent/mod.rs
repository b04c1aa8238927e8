//! Elementwise parts of recurrent steps.
//!
//! `f32_lstm_cell` v1, [`LstmArgs`](crate::args::LstmArgs), gates in ONNX's order, each input clipped to
//! `-clip..=clip` after its peephole is added:
//!
//! ```text
//! i = sigmoid(gates_i + p_i · c)      f = sigmoid(gates_f + p_f · c)
//! c' = f · c + i · tanh(gates_c)      o = sigmoid(gates_o + p_o · c')
//! h' = o · tanh(c')
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lstm;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::Kernel;

/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx512::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
];
