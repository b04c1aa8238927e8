//! Sums of products over dense row-major matrices: the arithmetic of contractions and convolutions.
//!
//! Floats accumulate in f64 in the order of k. Integers accumulate modulo 2^64, which is exact for
//! every integer type after wrapping.

use super::OpError;
use crate::{DType, Tensor};

/// A type to accumulate in.
pub(super) trait Number: Copy + Send + Sync {
    /// Nothing added yet.
    const ZERO: Self;
    /// `self + a·b`
    fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + a`
    fn plus(self, a: Self) -> Self;
    /// All elements.
    fn read(t: &Tensor) -> Vec<Self>;
    /// A tensor, each element rounded once.
    fn write(dtype: DType, shape: &[usize], data: &[Self]) -> Result<Tensor, OpError>;
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    fn add_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
    fn plus(self, a: f64) -> f64 {
        self + a
    }
    fn read(t: &Tensor) -> Vec<f64> {
        t.to_f64s()
    }
    fn write(dtype: DType, shape: &[usize], data: &[f64]) -> Result<Tensor, OpError> {
        Ok(Tensor::from_f64s(dtype, shape, data)?)
    }
}

impl Number for i64 {
    const ZERO: i64 = 0;
    fn add_product(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
    fn plus(self, a: i64) -> i64 {
        self.wrapping_add(a)
    }
    fn read(t: &Tensor) -> Vec<i64> {
        t.to_ints().into_iter().map(|v| v as i64).collect()
    }
    fn write(dtype: DType, shape: &[usize], data: &[i64]) -> Result<Tensor, OpError> {
        let wide: Vec<i128> = data.iter().map(|v| i128::from(*v)).collect();
        Ok(Tensor::from_ints(dtype, shape, &wide)?)
    }
}

const ROWS: usize = 2;
const COLS: usize = 8;

/// `out[m, n] += a[m, k] · b[k, n]`
pub(super) fn matmul<T: Number>(a: &[T], b: &[T], out: &mut [T], m: usize, k: usize, n: usize) {
    let pack = |panel: &mut [[T; COLS]], j: usize, width: usize| {
        for (p, row) in panel.iter_mut().enumerate() {
            row[..width].copy_from_slice(&b[p * n + j..][..width]);
        }
    };
    by_panels(a, pack, out, [m, k, n]);
}

/// `out[m, n] += a[m, k] · b[n, k]`
pub(super) fn matmul_transposed<T: Number>(a: &[T], b: &[T], out: &mut [T], m: usize, k: usize, n: usize) {
    let pack = |panel: &mut [[T; COLS]], j: usize, width: usize| {
        for c in 0..width {
            let column = &b[(j + c) * k..][..k];
            panel.iter_mut().zip(column).for_each(|(row, x)| row[c] = *x);
        }
    };
    by_panels(a, pack, out, [m, k, n]);
}

/// Blocks of two rows and eight columns keep their sums in registers; `pack` copies eight columns of b
/// to lie together first.
fn by_panels<T: Number>(
    a: &[T],
    pack: impl Fn(&mut [[T; COLS]], usize, usize),
    out: &mut [T],
    [m, k, n]: [usize; 3],
) {
    let mut panel = vec![[T::ZERO; COLS]; k];
    for j in (0..n).step_by(COLS) {
        let width = COLS.min(n - j);
        pack(&mut panel, j, width);
        for i in (0..m).step_by(ROWS) {
            let second = (i + 1).min(m - 1);
            let (x, y) = (&a[i * k..][..k], &a[second * k..][..k]);
            let sums = block(x, y, &panel);
            for r in 0..ROWS.min(m - i) {
                let target = &mut out[(i + r) * n + j..][..width];
                target.iter_mut().zip(sums[r]).for_each(|(t, s)| *t = t.plus(s));
            }
        }
    }
}

fn block<T: Number>(x: &[T], y: &[T], panel: &[[T; COLS]]) -> [[T; COLS]; ROWS] {
    let mut sums = [[T::ZERO; COLS]; ROWS];
    for ((x, y), row) in x.iter().zip(y).zip(panel) {
        for c in 0..COLS {
            sums[0][c] = sums[0][c].add_product(*x, row[c]);
            sums[1][c] = sums[1][c].add_product(*y, row[c]);
        }
    }
    sums
}
