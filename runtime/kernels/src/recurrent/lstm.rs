//! LSTM.

use crate::args::{LstmArgs, word_f32};
use crate::simd::{F32x16, LANES};
use crate::vmath::math::{sigmoid, tanh};

/// Computes one step of all rows.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
pub(super) unsafe fn lstm_cell<V: F32x16>(args: &LstmArgs) {
    let hidden = args.hidden.max(0) as usize;
    let clip = word_f32(args.clip);
    for r in 0..args.rows.max(0) as isize {
        let gates = args.gates.wrapping_offset(r * args.gates_row_stride as isize);
        let cell_in = args.cell_in.wrapping_offset(r * args.cell_in_row_stride as isize);
        let cell_out = args.cell_out.wrapping_offset(r * args.cell_out_row_stride as isize);
        let hidden_out = args.hidden_out.wrapping_offset(r * args.hidden_out_row_stride as isize);
        for at in (0..hidden).step_by(LANES) {
            let len = hidden - at;
            // SAFETY: `len` elements from `at` exist in each gate's and peephole's block and state.
            unsafe {
                let gate = |index: usize| V::load_up_to(gates.wrapping_add(index * hidden + at), len);
                let bounded = |x: V| V::splat(clip).min(V::splat(-clip).max(x));
                let peep = |index: usize, cell: V| {
                    if args.peepholes.is_null() {
                        return bounded(gate(index));
                    }
                    let weights = V::load_up_to(args.peepholes.wrapping_add(index * hidden + at), len);
                    bounded(cell.mul_add(weights, gate(index)))
                };
                let old = V::load_up_to(cell_in.add(at), len);
                // A loop, which stays one where a vector is an array and the function long.
                let mut first = [peep(0, old), peep(2, old)];
                for gate in &mut first {
                    *gate = sigmoid(*gate);
                }
                let [input, forget] = first;
                let cell = forget.mul_add(old, input * tanh(bounded(gate(3))));
                let output = sigmoid(peep(1, cell));
                cell.store_up_to(cell_out.add(at), len);
                (output * tanh(cell)).store_up_to(hidden_out.add(at), len);
            }
        }
    }
}
