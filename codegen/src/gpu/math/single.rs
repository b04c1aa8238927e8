//! Functions of f32: reduction and polynomials follow the Cephes library (exp, log, tanh, sine) and
//! N. Juffa's erff, as the CPU's microkernels do.

use super::GATE_FLOOR;
use crate::gpu::ptx::{Kind, Reg, Text};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, LOG2_E};

/// `ln 2` in two parts; products of the first with integers below 2^15 are exact.
const LN_2_PARTS: [f64; 2] = [0.693_359_375, -2.121_944_4e-4];
/// `π / 2` in three parts.
const HALF_PI_PARTS: [f64; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
/// Beyond this the reduction of sine and cosine loses digits.
const MAX_ANGLE: f64 = 1e5;
/// Where the two forms of the error function meet.
const ERF_SPLIT: f64 = 0.927_734_4;

impl Text {
    /// `2^n` for integral n in -126..=127.
    fn power_of_two(&mut self, n: Reg) -> Reg {
        let n = self.op(Kind::Word, "cvt.rni.s32.f32", &[&n]);
        let biased = self.op(Kind::Word, "add.s32", &[&n, &127]);
        let bits = self.op(Kind::Word, "shl.b32", &[&biased, &23]);
        self.as_float(bits)
    }

    pub(super) fn exp_single(&mut self, x: Reg) -> Reg {
        // Beyond these bounds the result is 0 or infinite anyway.
        let x = self.at_least(x, -104.0);
        let x = self.at_most(x, 89.0);
        let scaled = self.mul_const(x, LOG2_E);
        let n = self.rounded("rni", scaled);
        let r = self.fma_const(n, -LN_2_PARTS[0], x);
        let r = self.fma_const(n, -LN_2_PARTS[1], r);
        let p = self.polynomial(
            r,
            &[1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5],
        );
        let square = self.mul(r, r);
        let y = self.fma(square, p, r);
        let y = self.add_const(y, 1.0);
        // In two steps, so that subnormal results are rounded once and the largest do not overflow.
        let half = self.mul_const(n, 0.5);
        let half = self.rounded("rni", half);
        let rest = self.sub(n, half);
        let (a, b) = (self.power_of_two(half), self.power_of_two(rest));
        let y = self.mul(y, a);
        self.mul(y, b)
    }

    pub(super) fn log_single(&mut self, x: Reg) -> Reg {
        let tiny = self.compare_const("lt", x, f64::from(f32::MIN_POSITIVE));
        let larger = self.mul_const(x, 8_388_608.0);
        let scaled = self.choose(tiny, larger, x);
        // Exponent and mantissa such that the mantissa lies in [sqrt 1/2, sqrt 2).
        let bits = self.bits(scaled);
        let bits = self.op(Kind::Word, "sub.s32", &[&bits, &0x3f35_04f3]);
        let exponent = self.op(Kind::Word, "shr.s32", &[&bits, &23]);
        let exponent = self.op(Kind::Single, "cvt.rn.f32.s32", &[&exponent]);
        let zero = self.float(Kind::Single, 0.0);
        let shift = self.choose_const(tiny, 23.0, zero);
        let exponent = self.sub(exponent, shift);
        let mantissa = self.op(Kind::Word, "and.b32", &[&bits, &0x007f_ffff]);
        let mantissa = self.op(Kind::Word, "add.s32", &[&mantissa, &0x3f35_04f3]);
        let mantissa = self.as_float(mantissa);
        let r = self.add_const(mantissa, -1.0);
        let square = self.mul(r, r);
        let p = self.polynomial(
            r,
            &[
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
        let cube = self.mul(r, square);
        let tail = self.mul(cube, p);
        let tail = self.fma_const(exponent, LN_2_PARTS[1], tail);
        let y = self.fma_const(square, -0.5, tail);
        let y = self.add(y, r);
        let y = self.fma_const(exponent, LN_2_PARTS[0], y);
        self.log_limits(x, y)
    }

    /// Special values: 0 gives -inf, negative numbers NaN, +inf and NaN themselves.
    pub(super) fn log_limits(&mut self, x: Reg, y: Reg) -> Reg {
        let finite = self.compare_const("lt", x, f64::INFINITY);
        let y = self.choose(finite, y, x);
        let negative = self.compare_const("lt", x, 0.0);
        let y = self.choose_const(negative, f64::NAN, y);
        let none = self.compare_const("eq", x, 0.0);
        self.choose_const(none, f64::NEG_INFINITY, y)
    }

    pub(super) fn tanh_single(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let z = self.mul(x, x);
        let p = self
            .polynomial(z, &[-5.704_988_7e-3, 2.063_909e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1]);
        let cube = self.mul(z, t);
        let small = self.fma(cube, p, t);
        let twice = self.add(t, t);
        let e = self.exp_single(twice);
        let more = self.add_const(e, 1.0);
        let rest = self.const_div(2.0, more);
        let large = self.const_sub(1.0, rest);
        let near = self.compare_const("lt", t, 0.625);
        let y = self.choose(near, small, large);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    /// For |x| in `t`: the logarithm of the complementary error function, accurate from 0.92 on.
    fn log_erfc(&mut self, t: Reg) -> Reg {
        let square = self.mul(t, t);
        let high = self.fma_consts(t, -1.728_534_7e-5, 3.831_974_3e-4);
        let low = self.fma_consts(t, -3.883_964_4e-3, 2.425_462_2e-2);
        let mut p = self.fma(high, square, low);
        for c in [-1.067_778_8e-1, -6.348_467e-1, -1.287_175_1e-1] {
            let c = self.float(Kind::Single, c);
            p = self.fma(p, t, c);
        }
        let minus = self.float_unary("neg", t);
        self.fma(p, t, minus)
    }

    /// The error function near 0.
    fn erf_small(&mut self, x: Reg) -> Reg {
        let square = self.mul(x, x);
        let p = self.polynomial(
            square,
            &[
                -5.967_617e-4,
                4.991_194_2e-3,
                -2.676_813_5e-2,
                1.128_199_3e-1,
                -3.761_253_4e-1,
                1.283_791_7e-1,
            ],
        );
        self.fma(p, x, x)
    }

    pub(super) fn erf_single(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let exponent = self.log_erfc(t);
        let tail = self.exp_single(exponent);
        let large = self.const_sub(1.0, tail);
        let sign = self.sign(x);
        let large = self.flip(large, sign);
        let small = self.erf_small(x);
        let near = self.compare_const("lt", t, ERF_SPLIT);
        self.choose(near, small, large)
    }

    pub(super) fn gelu_single(&mut self, x: Reg) -> Reg {
        let x = self.at_least(x, GATE_FLOOR);
        let z = self.mul_const(x, FRAC_1_SQRT_2);
        let t = self.float_unary("abs", z);
        let exponent = self.log_erfc(t);
        let tail = self.exp_single(exponent);
        // 1 + erf z; on the left it is the tail itself, so nothing cancels.
        let right = self.const_sub(2.0, tail);
        let negative = self.compare_const("lt", x, 0.0);
        let large = self.choose(negative, tail, right);
        let small = self.erf_small(z);
        let small = self.add_const(small, 1.0);
        let near = self.compare_const("lt", t, ERF_SPLIT);
        let twice = self.choose(near, small, large);
        let half = self.mul_const(x, 0.5);
        self.mul(half, twice)
    }

    /// The sine of `x + quarter · π/2`: of the magnitude for the cosine, whose quarter is 1.
    pub(super) fn sine_single(&mut self, x: Reg, quarter: i32) -> Reg {
        let (far, done) = (self.label(), self.label());
        let result = self.reg(Kind::Single);
        let t = self.float_unary("abs", x);
        let near = self.compare_const("lt", t, MAX_ANGLE);
        self.jump_if(near, false, far);
        let scaled = self.mul_const(t, FRAC_2_PI);
        let n = self.rounded("rni", scaled);
        let mut r = t;
        for part in HALF_PI_PARTS {
            r = self.fma_const(n, -part, r);
        }
        let z = self.mul(r, r);
        let sin = self.polynomial(z, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
        let cube = self.mul(z, r);
        let sin = self.fma(cube, sin, r);
        let cos = self.polynomial(z, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2]);
        let fourth = self.mul(z, z);
        let start = self.fma_consts(z, -0.5, 1.0);
        let cos = self.fma(fourth, cos, start);
        let n = self.op(Kind::Word, "cvt.rni.s32.f32", &[&n]);
        let quadrant = self.op(Kind::Word, "add.s32", &[&n, &quarter]);
        let y = self.by_quadrant(quadrant, sin, cos);
        let y = if quarter == 0 {
            let sign = self.sign(x);
            self.flip(y, sign)
        } else {
            y
        };
        self.set(result, &y);
        self.jump(done);
        self.place(far);
        let wide = self.widen(x);
        let y = self.sine_double(wide, quarter);
        let y = self.narrow(y);
        self.set(result, &y);
        self.place(done);
        result
    }

    /// The sine in odd quadrants is the cosine, in the upper two it is turned.
    pub(super) fn by_quadrant(&mut self, quadrant: Reg, sin: Reg, cos: Reg) -> Reg {
        let low = self.op(Kind::Word, "and.b32", &[&quadrant, &1]);
        let even = self.compare("eq.s32", low, &0);
        let y = self.choose(even, sin, cos);
        let high = self.op(Kind::Word, "and.b32", &[&quadrant, &2]);
        let upper = self.compare("ne.s32", high, &0);
        let minus = self.float_unary("neg", y);
        self.choose(upper, minus, y)
    }
}
