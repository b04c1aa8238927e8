//! Elementary functions of 16 floats at once.
//!
//! Reduction and polynomials follow the Cephes library (exp, log, tanh, sine) and N. Juffa's erff;
//! the others are written in terms of these so that no cancellation takes place. See the family for
//! the bounds on the error.

use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI, LOG2_E};

use crate::simd::F32x16;

/// `ln 2` in two parts; products of the first with integers below 2^15 are exact.
const LN_2_PARTS: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// `π / 2` in three parts.
const HALF_PI_PARTS: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
/// Beyond this the reduction of sine and cosine loses digits.
const MAX_ANGLE: f32 = 1e5;
/// Below this the gated functions (silu, mish, gelu) are 0.
const GATE_FLOOR: f32 = -1e4;

/// The polynomial with these coefficients, highest power first.
#[inline(always)]
fn polynomial<V: F32x16, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut sum = V::splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, V::splat(coefficient));
    }
    sum
}

/// `2^n` for integral n in -126..=127.
#[inline(always)]
fn power_of_two<V: F32x16>(n: V) -> V {
    V::from_bits(V::int_shl::<23>(V::int_add(n.to_int(), V::int_splat(127))))
}

/// `e^x`.
#[inline(always)]
pub(crate) fn exp<V: F32x16>(x: V) -> V {
    // Beyond these bounds the result is 0 or infinite anyway; a NaN passes both.
    let x = V::splat(89.0).min(V::splat(-104.0).max(x));
    let n = (x * V::splat(LOG2_E)).round();
    let r = n.mul_add(V::splat(-LN_2_PARTS[0]), x);
    let r = n.mul_add(V::splat(-LN_2_PARTS[1]), r);
    let p =
        polynomial(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let y = (r * r).mul_add(p, r) + V::splat(1.0);
    // In two steps, so that subnormal results are rounded once and the largest do not overflow.
    let half = (n * V::splat(0.5)).round();
    y * power_of_two(half) * power_of_two(n - half)
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn log<V: F32x16>(x: V) -> V {
    let tiny = x.lt(V::splat(f32::MIN_POSITIVE));
    let scaled = V::select(tiny, x * V::splat(8_388_608.0), x);
    // Exponent and mantissa such that the mantissa lies in [sqrt 1/2, sqrt 2).
    let bits = V::int_sub(scaled.to_bits(), V::int_splat(0x3f35_04f3));
    let exponent = V::from_int(V::int_shr::<23>(bits)) - V::select(tiny, V::splat(23.0), V::splat(0.0));
    let mantissa = V::int_add(V::int_and(bits, V::int_splat(0x007f_ffff)), V::int_splat(0x3f35_04f3));
    let r = V::from_bits(mantissa) - V::splat(1.0);
    let square = r * r;
    let p = polynomial(
        r,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let tail = exponent.mul_add(V::splat(LN_2_PARTS[1]), r * square * p);
    let y = square.mul_add(V::splat(-0.5), tail) + r;
    let y = exponent.mul_add(V::splat(LN_2_PARTS[0]), y);
    // Special values: 0 gives -inf, negative numbers NaN, +inf and NaN themselves.
    let y = V::select(x.lt(V::splat(f32::INFINITY)), y, x);
    let y = V::select(x.lt(V::splat(0.0)), V::splat(f32::NAN), y);
    V::select(x.eq(V::splat(0.0)), V::splat(f32::NEG_INFINITY), y)
}

/// `log(1 + x)` for x in [0, 1].
#[inline(always)]
fn log1p_unit<V: F32x16>(x: V) -> V {
    let sum = V::splat(1.0) + x;
    let lost = x - (sum - V::splat(1.0));
    log(sum) + lost / sum
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<V: F32x16>(x: V) -> V {
    let t = x.abs();
    let z = x * x;
    let p = polynomial(z, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let small = (z * t).mul_add(p, t);
    let large = V::splat(1.0) - V::splat(2.0) / (exp(t + t) + V::splat(1.0));
    V::select(t.lt(V::splat(0.625)), small, large).flip_sign(x.sign())
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<V: F32x16>(x: V) -> V {
    // The exponential of -|x|: minus the magnitude.
    let e = exp(V::splat(0.0) - x.abs());
    let numerator = V::select(x.lt(V::splat(0.0)), e, V::splat(1.0));
    numerator / (V::splat(1.0) + e)
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<V: F32x16>(x: V) -> V {
    let x = V::splat(GATE_FLOOR).max(x);
    x * sigmoid(x)
}

/// For |x| in `t`: the logarithm of the complementary error function, accurate from 0.92 on.
#[inline(always)]
fn log_erfc<V: F32x16>(t: V) -> V {
    let square = t * t;
    let high = t.mul_add(V::splat(-1.728_534_7e-5), V::splat(3.831_974_3e-4));
    let low = t.mul_add(V::splat(-3.883_964_4e-3), V::splat(2.425_462_2e-2));
    let p = high.mul_add(square, low);
    let p = p.mul_add(t, V::splat(-1.067_778_8e-1));
    let p = p.mul_add(t, V::splat(-6.348_467e-1));
    let p = p.mul_add(t, V::splat(-1.287_175_1e-1));
    p.mul_add(t, V::splat(0.0) - t)
}

/// The error function near 0.
#[inline(always)]
fn erf_small<V: F32x16>(x: V) -> V {
    let p = polynomial(
        x * x,
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 1.128_199_3e-1, -3.761_253_4e-1, 1.283_791_7e-1],
    );
    p.mul_add(x, x)
}

/// Where the two forms of the error function meet.
const ERF_SPLIT: f32 = 0.927_734_4;

/// Error function.
#[inline(always)]
pub(crate) fn erf<V: F32x16>(x: V) -> V {
    let t = x.abs();
    let large = V::splat(1.0) - exp(log_erfc(t));
    V::select(t.lt(V::splat(ERF_SPLIT)), erf_small(x), large.flip_sign(x.sign()))
}

/// `x * Φ(x)`, Φ the normal distribution.
#[inline(always)]
pub(crate) fn gelu<V: F32x16>(x: V) -> V {
    let x = V::splat(GATE_FLOOR).max(x);
    let z = x * V::splat(FRAC_1_SQRT_2);
    let t = z.abs();
    let tail = exp(log_erfc(t));
    // 1 + erf z; on the left it is the tail itself, so nothing cancels.
    let large = V::select(x.lt(V::splat(0.0)), tail, V::splat(2.0) - tail);
    let twice = V::select(t.lt(V::splat(ERF_SPLIT)), V::splat(1.0) + erf_small(z), large);
    V::splat(0.5) * x * twice
}

/// The approximation of [`gelu`] by tanh.
#[inline(always)]
pub(crate) fn gelu_tanh<V: F32x16>(x: V) -> V {
    // 2 sqrt(2 / π), and that times 0.044715.
    const LINEAR: f32 = 1.595_769;
    const CUBIC: f32 = 7.135_481_6e-2;
    let x = V::splat(GATE_FLOOR).max(x);
    let slope = (x * x).mul_add(V::splat(CUBIC), V::splat(LINEAR));
    x * sigmoid(x * slope)
}

/// `log(1 + e^x)`.
#[inline(always)]
pub(crate) fn softplus<V: F32x16>(x: V) -> V {
    let line = V::splat(0.0).max(x);
    line + log1p_unit(exp(V::splat(0.0) - x.abs()))
}

/// `x * tanh(softplus(x))`.
#[inline(always)]
pub(crate) fn mish<V: F32x16>(x: V) -> V {
    let x = V::splat(GATE_FLOOR).max(x);
    // tanh(log(1 + e)) = n / (n + 2), n = e (e + 2); from 20 on it is 1.
    let e = exp(V::splat(20.0).min(x));
    let n = e * (e + V::splat(2.0));
    x * (n / (n + V::splat(2.0)))
}

/// The sine of `x + quarter * π / 2` for x >= 0, or `scalar` of each lane where an angle is too large.
#[inline(always)]
fn sine<V: F32x16>(x: V, quarter: i32, scalar: fn(f32) -> f32) -> V {
    if !V::all(x.lt(V::splat(MAX_ANGLE))) {
        let lanes = x.to_array().map(scalar);
        // SAFETY: the array has 16 lanes.
        return unsafe { V::load(lanes.as_ptr()) };
    }
    let n = (x * V::splat(FRAC_2_PI)).round();
    let mut r = x;
    for part in HALF_PI_PARTS {
        r = n.mul_add(V::splat(-part), r);
    }
    let z = r * r;
    let sin = polynomial(z, [-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let sin = (z * r).mul_add(sin, r);
    let cos = polynomial(z, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
    let cos = (z * z).mul_add(cos, z.mul_add(V::splat(-0.5), V::splat(1.0)));
    let quadrant = V::int_add(n.to_int(), V::int_splat(quarter));
    let odd = V::from_int(V::int_and(quadrant, V::int_splat(1)));
    let sign = V::int_shl::<30>(V::int_and(quadrant, V::int_splat(2)));
    V::select(odd.eq(V::splat(0.0)), sin, cos).flip_sign(sign)
}

/// Sine.
#[inline(always)]
pub(crate) fn sin<V: F32x16>(x: V) -> V {
    sine(x.abs(), 0, libm::sinf).flip_sign(x.sign())
}

/// Cosine.
#[inline(always)]
pub(crate) fn cos<V: F32x16>(x: V) -> V {
    sine(x.abs(), 1, libm::cosf)
}
