//! Recurrent steps against formulas in f64.

use std::vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::{LstmArgs, f32_word};

const ROWS: usize = 2;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Checks one step; the cell state is replaced in place.
fn check(kernel: &Kernel, hidden: usize, with_peepholes: bool, clip: f32) {
    let mut random = Random(hidden as u64);
    let gates: vec::Vec<f32> = random.vec(ROWS * 4 * hidden).into_iter().map(|x| 5.0 * x).collect();
    let (cells, peepholes) = (random.vec(ROWS * hidden), random.vec(3 * hidden));
    let (gates_in, cell) = (Guarded::new(&gates), Guarded::new(&cells));
    let (out, weights) = (Guarded::new(&vec![0.0f32; ROWS * hidden]), Guarded::new(&peepholes));
    call(
        kernel,
        &LstmArgs {
            gates: gates_in.ptr(),
            gates_row_stride: 4 * hidden as i64,
            rows: ROWS as i64,
            hidden: hidden as i64,
            cell_in: cell.ptr(),
            cell_in_row_stride: hidden as i64,
            cell_out: cell.ptr(),
            cell_out_row_stride: hidden as i64,
            hidden_out: out.ptr(),
            hidden_out_row_stride: hidden as i64,
            peepholes: if with_peepholes { weights.ptr() } else { core::ptr::null() },
            clip: f32_word(clip),
        },
    );
    for (at, &old) in cells.iter().enumerate() {
        let (row, j) = (at / hidden, at % hidden);
        let gate = |index: usize, cell: f64| {
            let peephole = if with_peepholes && index < 3 { peepholes[index * hidden + j] } else { 0.0 };
            let x = f64::from(gates[(row * 4 + index) * hidden + j]) + cell * f64::from(peephole);
            x.clamp(-f64::from(clip), f64::from(clip))
        };
        let old = f64::from(old);
        let new = sigmoid(gate(2, old)) * old + sigmoid(gate(0, old)) * gate(3, 0.0).tanh();
        let hidden_state = sigmoid(gate(1, new)) * new.tanh();
        assert!((f64::from(cell.get()[at]) - new).abs() < 1e-6, "{} {hidden} cell {at}", kernel.name);
        assert!((f64::from(out.get()[at]) - hidden_state).abs() < 1e-6, "{} {hidden} {at}", kernel.name);
    }
}

#[test]
fn lstm_steps_of_every_size() {
    for kernel in rows_of("f32_lstm_cell") {
        for hidden in 1..=50 {
            check(kernel, hidden, false, f32::INFINITY);
            check(kernel, hidden, true, 2.0);
        }
    }
}
