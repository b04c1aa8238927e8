//! Softmax and normalization against formulas in f64.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::{NormArgs, SoftmaxArgs, f32_word};

/// Rows of softmax to check.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    n: usize,
    log: bool,
    masked: bool,
    in_place: bool,
    /// Columns that the first row sees, and more for each next.
    valid: (i64, i64),
}

const ROWS: usize = 3;
const SCALE: f32 = 0.75;

/// The exact row.
fn softmax(t: &[f64], log: bool) -> Vec<f64> {
    let greatest = t.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = t.iter().map(|t| (t - greatest).exp()).sum();
    t.iter().map(|t| if log { t - greatest - sum.ln() } else { (t - greatest).exp() / sum }).collect()
}

fn check_softmax(kernel: &Kernel, case: Softmax) {
    let Softmax { n, log, masked, in_place, valid } = case;
    let mut random = Random(n as u64);
    let stride = n + 2;
    let values: Vec<f32> = random.vec(ROWS * stride).into_iter().map(|x| 20.0 * x).collect();
    let bias: Vec<f32> = random.vec(n);
    let len = ROWS * stride - 2;
    let src = Guarded::new(&values[..len]);
    let dst = Guarded::new(if in_place { &values[..len] } else { &[55.0; 400][..len] });
    let mask = Guarded::new(&bias);
    call(
        kernel,
        &SoftmaxArgs {
            dst: dst.ptr(),
            src: if in_place { dst.ptr() } else { src.ptr() },
            rows: ROWS as i64,
            n: n as i64,
            dst_row_stride: stride as i64,
            src_row_stride: stride as i64,
            mode: i64::from(log),
            scale: f32_word(SCALE),
            mask: if masked { mask.ptr() } else { core::ptr::null_mut() },
            mask_row_stride: 0,
            valid_n0: valid.0,
            valid_step: valid.1,
        },
    );
    for (r, got) in dst.get().chunks(stride).enumerate() {
        let seen = (valid.0 + r as i64 * valid.1).clamp(0, n as i64) as usize;
        let t: Vec<f64> = (0..seen)
            .map(|j| {
                let mask = if masked { f64::from(bias[j]) } else { 0.0 };
                f64::from(values[r * stride + j] * SCALE) + mask
            })
            .collect();
        let mut want = softmax(&t, log);
        want.resize(n, 0.0);
        for (j, want) in want.iter().enumerate() {
            // A logarithm near 0 is the difference of numbers that are not.
            let floor = if log { 1.0 } else { 1e-24 };
            let near = (f64::from(got[j]) - want).abs() <= 4e-6 * want.abs().max(floor);
            assert!(near, "{} {case:?} row {r} column {j}: {}, expected {want}", kernel.name, got[j]);
        }
        let between = if in_place { &values[r * stride..][..stride] } else { &[55.0; 400][..stride] };
        assert_eq!(got[n..], between[n..got.len()], "{} wrote between rows", kernel.name);
    }
}

#[test]
fn softmax_of_every_length() {
    for kernel in rows_of("f32_softmax") {
        for n in (1..=67).chain([100, 128]) {
            for bits in 0..8 {
                let (log, masked, in_place) = (bits & 1 == 1, bits & 2 == 2, bits & 4 == 4);
                for valid in [(n as i64, 0), (n as i64 / 2, 1), (0, 1), (-1, 1)] {
                    check_softmax(kernel, Softmax { n, log, masked, in_place, valid });
                }
            }
        }
    }
}

/// One softmax row of special values.
fn special(kernel: &Kernel, mode: i64, row: &[f32]) -> Vec<f32> {
    let out = Guarded::new(row);
    let n = row.len() as i64;
    let args = SoftmaxArgs {
        dst: out.ptr(),
        src: out.ptr(),
        rows: 1,
        n,
        dst_row_stride: n,
        src_row_stride: n,
        mode,
        scale: f32_word(1.0),
        mask: core::ptr::null(),
        mask_row_stride: 0,
        valid_n0: n,
        valid_step: 0,
    };
    call(kernel, &args);
    out.get().to_vec()
}

#[test]
fn softmax_of_special_values() {
    for kernel in rows_of("f32_softmax") {
        let lost = special(kernel, 0, &[f32::NEG_INFINITY; 5]);
        assert!(lost.iter().all(|y| y.is_nan()), "{}: {lost:?}", kernel.name);
        let masked = special(kernel, 0, &[1.0, f32::NEG_INFINITY, 1.0]);
        assert_eq!(masked, [0.5, 0.0, 0.5], "{}", kernel.name);
        let poisoned = special(kernel, 0, &[1.0, f32::NAN, 1.0]);
        assert!(poisoned.iter().all(|y| y.is_nan()), "{}: {poisoned:?}", kernel.name);
        assert_eq!(special(kernel, 0, &[3e38, -3e38]), [1.0, 0.0], "{}", kernel.name);
        assert_eq!(special(kernel, 2, &[f32::NEG_INFINITY; 5]), [0.0; 5], "{}", kernel.name);
        assert_eq!(special(kernel, 2, &[1.0, f32::NEG_INFINITY, 1.0]), [0.5, 0.0, 0.5], "{}", kernel.name);
        let poisoned = special(kernel, 2, &[f32::NEG_INFINITY, f32::NAN]);
        assert!(poisoned.iter().all(|y| y.is_nan()), "{}: {poisoned:?}", kernel.name);
    }
}

#[test]
fn norms_of_every_length() {
    for kernel in rows_of("f32_norm") {
        for n in (1..=67).chain([130, 200]) {
            for bits in 0..16 {
                check_norm(kernel, n, bits);
            }
        }
    }
}

/// Checks a norm; the bits of `options` say: RMS, gamma and beta, statistics, in place.
fn check_norm(kernel: &Kernel, n: usize, options: u32) {
    let has = |bit: u32| options >> bit & 1 == 1;
    let (rms, affine, statistics, in_place) = (has(0), has(1), has(2), has(3));
    let mut random = Random(n as u64);
    let stride = n + 3;
    let len = ROWS * stride - 3;
    let values: Vec<f32> = random.vec(len).into_iter().map(|x| 3.0 * x + 1.0).collect();
    let (gamma, beta) = (random.vec(n), random.vec(n));
    let src = Guarded::new(&values);
    let dst = Guarded::new(&values);
    let (gamma_in, beta_in) = (Guarded::new(&gamma), Guarded::new(&beta));
    let (means, inverses) = (Guarded::new(&[0.0f32; ROWS]), Guarded::new(&[0.0f32; ROWS]));
    let given = |yes: bool, array: &Guarded<f32>| if yes { array.ptr() } else { core::ptr::null_mut() };
    call(
        kernel,
        &NormArgs {
            dst: dst.ptr(),
            src: if in_place { dst.ptr() } else { src.ptr() },
            rows: ROWS as i64,
            n: n as i64,
            dst_row_stride: stride as i64,
            src_row_stride: stride as i64,
            gamma: given(affine, &gamma_in),
            beta: given(affine, &beta_in),
            eps: f32_word(1e-5),
            mode: i64::from(rms),
            mean_out: given(statistics, &means),
            inv_std_out: given(statistics, &inverses),
        },
    );
    let (_, got_means, got_inverses) = (src.get(), means.get(), inverses.get());
    for (r, got) in dst.get().chunks(stride).enumerate() {
        let row: Vec<f64> = values[r * stride..][..n].iter().map(|&x| f64::from(x)).collect();
        let mean = if rms { 0.0 } else { row.iter().sum::<f64>() / n as f64 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let inverse = 1.0 / (variance + f64::from(1e-5f32)).sqrt();
        for j in 0..n {
            let mut want = (row[j] - mean) * inverse;
            if affine {
                want = want * f64::from(gamma[j]) + f64::from(beta[j]);
            }
            // A row of one element leaves nothing but the rounding of its mean.
            let near = (f64::from(got[j]) - want).abs() < 1e-5;
            assert!(near, "{} n {n} options {options} column {j}: {}, expected {want}", kernel.name, got[j]);
        }
        assert_eq!(got[n..], values[r * stride..][n..got.len()], "{} wrote between rows", kernel.name);
        if statistics {
            assert!((f64::from(got_means[r]) - mean).abs() < 1e-5, "{}", kernel.name);
            assert!((f64::from(got_inverses[r]) / inverse - 1.0).abs() < 1e-5, "{}", kernel.name);
        }
    }
}

#[test]
fn layer_norm_of_a_large_mean_keeps_its_digits() {
    for kernel in rows_of("f32_norm") {
        let values: Vec<f32> = (0..100).map(|i| 1e4 + (i % 2) as f32).collect();
        let out = Guarded::new(&vec![0.0f32; 100]);
        let args = NormArgs {
            dst: out.ptr(),
            src: values.as_ptr(),
            rows: 1,
            n: 100,
            dst_row_stride: 100,
            src_row_stride: 100,
            gamma: core::ptr::null(),
            beta: core::ptr::null(),
            eps: f32_word(0.0),
            mode: 0,
            mean_out: core::ptr::null_mut(),
            inv_std_out: core::ptr::null_mut(),
        };
        call(kernel, &args);
        for (i, &y) in out.get().iter().enumerate() {
            let want = if i % 2 == 0 { -1.0 } else { 1.0 };
            assert!((y - want).abs() < 1e-2, "{}: {y}, expected {want}", kernel.name);
        }
    }
}
