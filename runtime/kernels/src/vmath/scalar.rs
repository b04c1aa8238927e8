//! Scalar functions that the C library lacks.

use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-libm::fabs(x));
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `log(1 + e^x)`.
pub(super) fn softplus(x: f64) -> f64 {
    let line = if x < 0.0 { 0.0 } else { x };
    line + libm::log1p(libm::exp(-libm::fabs(x)))
}

/// `x * sigmoid(x)`, 0 at -inf.
pub(super) fn silu(x: f64) -> f64 {
    let x = floor_at(x, -1e4);
    x * sigmoid(x)
}

/// `x * Φ(x)`, Φ the normal distribution.
pub(super) fn gelu(x: f64) -> f64 {
    let x = floor_at(x, -1e4);
    0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The approximation of [`gelu`] by tanh.
pub(super) fn gelu_tanh(x: f64) -> f64 {
    let x = floor_at(x, -1e4);
    x * sigmoid(SQRT_2 * FRAC_2_SQRT_PI * (x + 0.044715 * x * x * x))
}

/// `x * tanh(softplus(x))`.
pub(super) fn mish(x: f64) -> f64 {
    let x = floor_at(x, -1e4);
    if x > 40.0 {
        return x;
    }
    let e = libm::exp(x);
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

/// `x`, but no less than `floor`, where the functions above are 0: spares them `-inf * 0`.
fn floor_at(x: f64, floor: f64) -> f64 {
    if x < floor { floor } else { x }
}
