//! `f32_pack_b` against the formula of its contract.

use std::vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::args::PackBArgs;

#[test]
fn all_layouts_and_edges() {
    for kernel in rows_of("f32_pack_b") {
        for k in [0usize, 1, 3, 7, 8, 9, 16, 21] {
            for n in [0usize, 1, 7, 8, 15, 16, 17, 31, 32, 33, 50] {
                // Rows contiguous, columns contiguous, neither.
                for (k_stride, n_stride) in [(n.max(1) + 1, 1), (1, k.max(1) + 3), (2 * n.max(1), 2)] {
                    let len = if k * n == 0 { 0 } else { (k - 1) * k_stride + (n - 1) * n_stride + 1 };
                    let values = Random(7).vec(len);
                    let src = Guarded::new(&values);
                    let panel = k * 16;
                    let dst = Guarded::new(&vec![9.0f32; n.div_ceil(16) * panel]);
                    call(
                        kernel,
                        &PackBArgs {
                            dst: dst.ptr(),
                            src: src.ptr(),
                            k: k as i64,
                            n: n as i64,
                            k_stride: k_stride as i64,
                            n_stride: n_stride as i64,
                            dst_panel_stride: panel as i64,
                        },
                    );
                    for (at, &value) in dst.get().iter().enumerate() {
                        let (row, column) = (at % panel / 16, at / panel * 16 + at % 16);
                        let want = if column < n { values[row * k_stride + column * n_stride] } else { 0.0 };
                        assert_eq!(value, want, "{} k {k} n {n} element ({row}, {column})", kernel.name);
                    }
                }
            }
        }
    }
}
