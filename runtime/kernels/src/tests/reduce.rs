//! Reductions against loops in f64.

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::ReduceArgs;

const ROWS: usize = 3;

/// Reduces rows that end at the guard; results are two elements apart.
fn reduce(kernel: &Kernel, values: &[f32], n: usize, stride: usize) -> [f32; ROWS] {
    let (src, dst) = (Guarded::new(values), Guarded::new(&[9.0f32; 2 * ROWS - 1]));
    let args = ReduceArgs {
        dst: dst.ptr(),
        src: src.ptr(),
        rows: ROWS as i64,
        n: n as i64,
        dst_stride: 2,
        src_row_stride: stride as i64,
    };
    call(kernel, &args);
    let got = dst.get();
    assert_eq!([got[1], got[3]], [9.0, 9.0], "{} wrote between results", kernel.name);
    [got[0], got[2], got[4]]
}

#[test]
fn every_length() {
    type Fold = fn(f64, f64) -> f64;
    let contracts: [(&str, Fold, f64); 3] = [
        ("f32_reduce_sum", |a, b| a + b, 0.0),
        ("f32_reduce_max", f64::max, f64::NEG_INFINITY),
        ("f32_reduce_min", f64::min, f64::INFINITY),
    ];
    for (contract, fold, start) in contracts {
        for kernel in rows_of(contract) {
            for n in (0..=140).chain([1000]) {
                let stride = n + 1;
                let values = Random(n as u64).vec((ROWS * stride).saturating_sub(1));
                let got = reduce(kernel, &values, n, stride);
                for (r, got) in got.into_iter().enumerate() {
                    let row = &values[r * stride..][..n];
                    let want = row.iter().fold(start, |sum, &x| fold(sum, f64::from(x)));
                    let near = (f64::from(got) - want).abs() < 1e-5;
                    assert!(near || f64::from(got) == want, "{} n {n}: {got}, expected {want}", kernel.name);
                }
            }
        }
    }
}

#[test]
fn a_nan_is_the_result_wherever_it_is() {
    for contract in ["f32_reduce_sum", "f32_reduce_max", "f32_reduce_min"] {
        for kernel in rows_of(contract) {
            for at in 0..100 {
                let mut values = [1.0f32; 100 * ROWS];
                values[at] = f32::NAN;
                let got = reduce(kernel, &values, 100, 100);
                assert!(got[0].is_nan() && !got[1].is_nan(), "{} at {at}: {got:?}", kernel.name);
            }
        }
    }
}
