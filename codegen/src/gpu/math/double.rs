//! Functions of f64 after fdlibm (Sun Microsystems, 1993): its reductions and coefficients, without its
//! branches, so that all threads of a warp stay together.

use super::GATE_FLOOR;
use crate::gpu::ptx::{Kind, Reg, Text};
use nnc_ir::ScalarOp;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_PI_2, FRAC_PI_4, LN_2, LOG2_E, PI};

const LN_2_PARTS: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
const HALF_PI_PARTS: [f64; 3] = [FRAC_PI_2, 6.123_233_995_736_766e-17, -1.497_384_904_859_183_3e-33];
const EXP: [f64; 5] = [
    4.138_136_797_057_238_5e-8,
    -1.653_390_220_546_525_2e-6,
    6.613_756_321_437_934e-5,
    -2.777_777_777_701_559_3e-3,
    1.666_666_666_666_660_2e-1,
];
const LOG: [f64; 7] = [
    1.479_819_860_511_658_6e-1,
    1.531_383_769_920_937_3e-1,
    1.818_357_216_161_805e-1,
    2.222_219_843_214_978_4e-1,
    2.857_142_874_366_239e-1,
    3.999_999_999_940_942e-1,
    6.666_666_666_666_735e-1,
];
const SIN: [f64; 6] = [
    1.589_690_995_211_55e-10,
    -2.505_076_025_340_686_3e-8,
    2.755_731_370_707_007e-6,
    -1.984_126_982_985_795e-4,
    8.333_333_333_322_49e-3,
    -1.666_666_666_666_663_2e-1,
];
const COS: [f64; 6] = [
    -1.135_964_755_778_819_5e-11,
    2.087_572_321_298_175e-9,
    -2.755_731_435_139_066_3e-7,
    2.480_158_728_947_673e-5,
    -1.388_888_888_887_411e-3,
    4.166_666_666_666_66e-2,
];
const ATAN: [f64; 11] = [
    1.628_582_011_536_578_2e-2,
    -3.653_157_274_421_691_6e-2,
    4.976_877_994_615_932e-2,
    -5.833_570_133_790_573_5e-2,
    6.661_073_137_387_531e-2,
    -7.691_876_205_044_83e-2,
    9.090_887_133_436_507e-2,
    -1.111_111_040_546_235_6e-1,
    1.428_571_427_250_346_6e-1,
    -1.999_999_999_987_648_3e-1,
    3.333_333_333_333_293e-1,
];

impl Text {
    /// `2^n` for integral n in -1022..=1023.
    fn power_of_two_double(&mut self, n: Reg) -> Reg {
        let n = self.op(Kind::Long, "cvt.rni.s64.f64", &[&n]);
        let biased = self.op(Kind::Long, "add.s64", &[&n, &1023]);
        let bits = self.op(Kind::Long, "shl.b64", &[&biased, &52]);
        self.as_float(bits)
    }

    pub(super) fn exp_double(&mut self, x: Reg) -> Reg {
        // Beyond these bounds the result is 0 or infinite anyway.
        let x = self.at_least(x, -746.0);
        let x = self.at_most(x, 710.0);
        let scaled = self.mul_const(x, LOG2_E);
        let n = self.rounded("rni", scaled);
        let high = self.fma_const(n, -LN_2_PARTS[0], x);
        let low = self.mul_const(n, LN_2_PARTS[1]);
        let r = self.sub(high, low);
        let z = self.mul(r, r);
        let p = self.polynomial(z, &EXP);
        let p = self.mul(z, p);
        let c = self.sub(r, p);
        let (rc, rest) = (self.mul(r, c), self.const_sub(2.0, c));
        let fraction = self.div(rc, rest);
        let y = self.sub(low, fraction);
        let y = self.sub(y, high);
        let y = self.const_sub(1.0, y);
        let half = self.mul_const(n, 0.5);
        let half = self.rounded("rni", half);
        let rest = self.sub(n, half);
        let (a, b) = (self.power_of_two_double(half), self.power_of_two_double(rest));
        let y = self.mul(y, a);
        self.mul(y, b)
    }

    pub(super) fn log_double(&mut self, x: Reg) -> Reg {
        const SQRT_HALF: i64 = 0x3fe6_a09e_667f_3bcd;
        let tiny = self.compare_const("lt", x, f64::MIN_POSITIVE);
        let larger = self.mul_const(x, 18_014_398_509_481_984.0);
        let scaled = self.choose(tiny, larger, x);
        let bits = self.bits(scaled);
        let bits = self.op(Kind::Long, "sub.s64", &[&bits, &SQRT_HALF]);
        let exponent = self.op(Kind::Long, "shr.s64", &[&bits, &52]);
        let exponent = self.op(Kind::Double, "cvt.rn.f64.s64", &[&exponent]);
        let zero = self.float(Kind::Double, 0.0);
        let shift = self.choose_const(tiny, 54.0, zero);
        let k = self.sub(exponent, shift);
        let mantissa = self.op(Kind::Long, "and.b64", &[&bits, &0x000f_ffff_ffff_ffffi64]);
        let mantissa = self.op(Kind::Long, "add.s64", &[&mantissa, &SQRT_HALF]);
        let mantissa = self.as_float(mantissa);
        let f = self.add_const(mantissa, -1.0);
        let square = self.mul(f, f);
        let half_square = self.mul_const(square, 0.5);
        let two_more = self.add_const(f, 2.0);
        let s = self.div(f, two_more);
        let z = self.mul(s, s);
        let p = self.polynomial(z, &LOG);
        let r = self.mul(z, p);
        // k ln2 - ((f²/2 - (s (f²/2 + r) + k ln2_low)) - f)
        let inner = self.add(half_square, r);
        let inner = self.mul(s, inner);
        let inner = self.fma_const(k, LN_2_PARTS[1], inner);
        let inner = self.sub(half_square, inner);
        let inner = self.sub(inner, f);
        let high = self.mul_const(k, LN_2_PARTS[0]);
        let y = self.sub(high, inner);
        self.log_limits(x, y)
    }

    /// `log(1 + x)`: the logarithm of the rounded sum, and what rounding lost.
    fn log1p(&mut self, x: Reg) -> Reg {
        let sum = self.add_const(x, 1.0);
        let log = self.log_double(sum);
        let back = self.add_const(sum, -1.0);
        let lost = self.sub(x, back);
        let correction = self.div(lost, sum);
        let y = self.add(log, correction);
        let finite = self.compare_const("lt", x, f64::INFINITY);
        self.choose(finite, y, x)
    }

    /// `e^x − 1` after Kahan: `(u − 1) x / log u`.
    fn expm1(&mut self, x: Reg) -> Reg {
        let u = self.exp_double(x);
        let less = self.add_const(u, -1.0);
        let log = self.log_double(u);
        let ratio = self.div(x, log);
        let y = self.mul(less, ratio);
        let far = self.float_unary("abs", x);
        let far = self.compare_const("gt", far, 36.0);
        let y = self.choose(far, less, y);
        let same = self.compare_const("eq", u, 1.0);
        self.choose(same, x, y)
    }

    pub(super) fn sine_double(&mut self, x: Reg, quarter: i32) -> Reg {
        let t = self.float_unary("abs", x);
        let scaled = self.mul_const(t, FRAC_2_PI);
        let n = self.rounded("rni", scaled);
        let mut r = t;
        for part in HALF_PI_PARTS {
            r = self.fma_const(n, -part, r);
        }
        let z = self.mul(r, r);
        let sin = self.polynomial(z, &SIN);
        let cube = self.mul(z, r);
        let sin = self.fma(cube, sin, r);
        let cos = self.polynomial(z, &COS);
        let fourth = self.mul(z, z);
        let start = self.fma_consts(z, -0.5, 1.0);
        let cos = self.fma(fourth, cos, start);
        let n = self.op(Kind::Long, "cvt.rni.s64.f64", &[&n]);
        let n = self.op(Kind::Word, "cvt.u32.u64", &[&n]);
        let quadrant = self.op(Kind::Word, "add.s32", &[&n, &quarter]);
        let y = self.by_quadrant(quadrant, sin, cos);
        if quarter != 0 {
            return y;
        }
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    fn tan_double(&mut self, x: Reg) -> Reg {
        let (sin, cos) = (self.sine_double(x, 0), self.sine_double(x, 1));
        self.div(sin, cos)
    }

    /// The angle whose tangent is `t`, for t ≥ 0: reduced to |w| below tan(π/8).
    fn atan_positive(&mut self, t: Reg) -> Reg {
        let beyond = self.compare_const("gt", t, 1.0);
        let inverse = self.const_div(1.0, t);
        let z = self.choose(beyond, inverse, t);
        let upper = self.compare_const("gt", z, 0.414_213_562_373_095);
        let (less, more) = (self.add_const(z, -1.0), self.add_const(z, 1.0));
        let turned = self.div(less, more);
        let w = self.choose(upper, turned, z);
        let zero = self.float(Kind::Double, 0.0);
        let base = self.choose_const(upper, FRAC_PI_4, zero);
        let square = self.mul(w, w);
        let p = self.polynomial(square, &ATAN);
        let p = self.mul(square, p);
        let bend = self.mul(w, p);
        let angle = self.sub(w, bend);
        let angle = self.add(base, angle);
        let complement = self.const_sub(FRAC_PI_2, angle);
        self.choose(beyond, complement, angle)
    }

    fn atan_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let y = self.atan_positive(t);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    /// The angle of the point (x, y).
    fn atan2_double(&mut self, y: Reg, x: Reg) -> Reg {
        let (ay, ax) = (self.float_unary("abs", y), self.float_unary("abs", x));
        let ratio = self.div(ay, ax);
        let none = self.compare_const("eq", ay, 0.0);
        let ratio = self.choose_const(none, 0.0, ratio);
        let (y_far, x_far) =
            (self.compare_const("eq", ay, f64::INFINITY), self.compare_const("eq", ax, f64::INFINITY));
        let both = self.both(y_far, x_far);
        let ratio = self.choose_const(both, 1.0, ratio);
        let angle = self.atan_positive(ratio);
        let bits = self.bits(x);
        let left = self.compare("lt.s64", bits, &0);
        let other = self.const_sub(PI, angle);
        let angle = self.choose(left, other, angle);
        let sign = self.sign(y);
        let angle = self.flip(angle, sign);
        let nan = self.compare("nan.f64", x, &y);
        self.choose_const(nan, f64::NAN, angle)
    }

    fn asin_double(&mut self, x: Reg) -> Reg {
        let (low, high) = (self.const_sub(1.0, x), self.add_const(x, 1.0));
        let square = self.mul(low, high);
        let root = self.op(Kind::Double, "sqrt.rn.f64", &[&square]);
        self.atan2_double(x, root)
    }

    fn acos_double(&mut self, x: Reg) -> Reg {
        let (low, high) = (self.const_sub(1.0, x), self.add_const(x, 1.0));
        let (a, b) =
            (self.op(Kind::Double, "sqrt.rn.f64", &[&low]), self.op(Kind::Double, "sqrt.rn.f64", &[&high]));
        let half = self.atan2_double(a, b);
        self.add(half, half)
    }

    fn tanh_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let t = self.at_most(t, 22.0);
        let twice = self.add(t, t);
        let e = self.expm1(twice);
        let more = self.add_const(e, 2.0);
        let y = self.div(e, more);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    /// Half of `e^t` where `e^t` itself would overflow, for t ≥ 0.
    fn half_exp(&mut self, t: Reg) -> Reg {
        let half = self.mul_const(t, 0.5);
        let root = self.exp_double(half);
        let small = self.mul_const(root, 0.5);
        self.mul(small, root)
    }

    fn sinh_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let e = self.expm1(t);
        let more = self.add_const(e, 1.0);
        let fraction = self.div(e, more);
        let sum = self.add(e, fraction);
        let near = self.mul_const(sum, 0.5);
        let large = self.half_exp(t);
        let far = self.compare_const("gt", t, 40.0);
        let y = self.choose(far, large, near);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    fn cosh_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let e = self.exp_double(t);
        let inverse = self.const_div(1.0, e);
        let sum = self.add(e, inverse);
        let near = self.mul_const(sum, 0.5);
        let large = self.half_exp(t);
        let far = self.compare_const("gt", t, 40.0);
        self.choose(far, large, near)
    }

    fn asinh_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let square = self.mul(t, t);
        let root = self.add_const(square, 1.0);
        let root = self.op(Kind::Double, "sqrt.rn.f64", &[&root]);
        let root = self.add_const(root, 1.0);
        let bend = self.div(square, root);
        let sum = self.add(t, bend);
        let near = self.log1p(sum);
        let y = self.far_log(t, near);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    /// `log(2 t)` where the square of t would lose everything else, else `near`.
    fn far_log(&mut self, t: Reg, near: Reg) -> Reg {
        let log = self.log_double(t);
        let log = self.add_const(log, LN_2);
        let far = self.compare_const("gt", t, 268_435_456.0);
        self.choose(far, log, near)
    }

    fn acosh_double(&mut self, x: Reg) -> Reg {
        let t = self.add_const(x, -1.0);
        let square = self.mul(t, t);
        let inner = self.fma_const(t, 2.0, square);
        let root = self.op(Kind::Double, "sqrt.rn.f64", &[&inner]);
        let sum = self.add(t, root);
        let near = self.log1p(sum);
        let y = self.far_log(x, near);
        let outside = self.compare_const("lt", x, 1.0);
        self.choose_const(outside, f64::NAN, y)
    }

    fn atanh_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let (twice, rest) = (self.add(t, t), self.const_sub(1.0, t));
        let ratio = self.div(twice, rest);
        let log = self.log1p(ratio);
        let y = self.mul_const(log, 0.5);
        let sign = self.sign(x);
        self.flip(y, sign)
    }

    /// `1 − erf t` for t ≥ 0.84.
    fn erfc_far(&mut self, t: Reg) -> Reg {
        let s = self.add_const(t, -1.0);
        let (p, q) = (self.polynomial(s, &ERF_MIDDLE.0), self.polynomial(s, &ERF_MIDDLE.1));
        let ratio = self.div(p, q);
        let middle = self.const_sub(1.0 - ERF_AT_ONE, ratio);
        let square = self.mul(t, t);
        let inverse = self.const_div(1.0, square);
        let mut ratios = [t; 2];
        for (ratio, (p, q)) in
            ratios.iter_mut().zip([(&ERFC_NEAR.0[..], &ERFC_NEAR.1[..]), (&ERFC_FAR.0, &ERFC_FAR.1)])
        {
            let (p, q) = (self.polynomial(inverse, p), self.polynomial(inverse, q));
            *ratio = self.div(p, q);
        }
        let near = self.compare_const("lt", t, 1.0 / 0.35);
        let ratio = self.choose(near, ratios[0], ratios[1]);
        // e^(-t²) in two parts: the first is of a number with half of the digits, whose square is exact.
        let bits = self.bits(t);
        let cut = self.op(Kind::Long, "and.b64", &[&bits, &-0x1_0000_0000i64]);
        let z = self.as_float(cut);
        let minus = self.float_unary("neg", z);
        let offset = self.float(Kind::Double, -0.5625);
        let main = self.fma(minus, z, offset);
        let main = self.exp_double(main);
        let (less, more) = (self.sub(z, t), self.add(z, t));
        let rest = self.fma(less, more, ratio);
        let rest = self.exp_double(rest);
        let product = self.mul(main, rest);
        let far = self.div(product, t);
        let is_middle = self.compare_const("lt", t, 1.25);
        let tail = self.choose(is_middle, middle, far);
        let nothing = self.compare_const("gt", t, 28.0);
        self.choose_const(nothing, 0.0, tail)
    }

    /// The error function for |x| < 0.84.
    fn erf_near(&mut self, x: Reg) -> Reg {
        let z = self.mul(x, x);
        let (p, q) = (self.polynomial(z, &ERF_NEAR.0), self.polynomial(z, &ERF_NEAR.1));
        let ratio = self.div(p, q);
        self.fma(x, ratio, x)
    }

    fn erf_double(&mut self, x: Reg) -> Reg {
        let t = self.float_unary("abs", x);
        let tail = self.erfc_far(t);
        let large = self.const_sub(1.0, tail);
        let sign = self.sign(x);
        let large = self.flip(large, sign);
        let small = self.erf_near(x);
        let near = self.compare_const("lt", t, ERF_SPLIT);
        self.choose(near, small, large)
    }

    fn gelu_double(&mut self, x: Reg) -> Reg {
        let x = self.at_least(x, GATE_FLOOR);
        let z = self.mul_const(x, FRAC_1_SQRT_2);
        let t = self.float_unary("abs", z);
        let tail = self.erfc_far(t);
        let right = self.const_sub(2.0, tail);
        let negative = self.compare_const("lt", x, 0.0);
        let large = self.choose(negative, tail, right);
        let small = self.erf_near(z);
        let small = self.add_const(small, 1.0);
        let near = self.compare_const("lt", t, ERF_SPLIT);
        let twice = self.choose(near, small, large);
        let half = self.mul_const(x, 0.5);
        self.mul(half, twice)
    }

    /// `e^(y log |x|)` with the sign and the special cases of C's `pow`.
    fn pow_double(&mut self, x: Reg, y: Reg) -> Reg {
        let size = self.float_unary("abs", x);
        let log = self.log_double(size);
        let exponent = self.mul(y, log);
        let power = self.exp_double(exponent);
        let unit = self.compare_const("eq", size, 1.0);
        let number = self.compare("num.f64", y, &y);
        let one = self.both(unit, number);
        let power = self.choose_const(one, 1.0, power);
        let whole = self.rounded("rzi", y);
        let integral = self.compare("eq.f64", y, &whole);
        let half = self.mul_const(y, 0.5);
        let whole_half = self.rounded("rzi", half);
        let not_even = self.compare("neu.f64", half, &whole_half);
        let odd = self.both(integral, not_even);
        let bits = self.bits(x);
        let minus = self.compare("lt.s64", bits, &0);
        let turned = self.both(minus, odd);
        let negated = self.float_unary("neg", power);
        let power = self.choose(turned, negated, power);
        let broken = self.op(Kind::Pred, "not.pred", &[&integral]);
        let negative = self.compare_const("lt", x, 0.0);
        let finite = self.compare_const("gt", x, f64::NEG_INFINITY);
        let undefined = self.both(broken, negative);
        let undefined = self.both(undefined, finite);
        let power = self.choose_const(undefined, f64::NAN, power);
        let zeroth = self.compare_const("eq", y, 0.0);
        let power = self.choose_const(zeroth, 1.0, power);
        let base_one = self.compare_const("eq", x, 1.0);
        self.choose_const(base_one, 1.0, power)
    }

    /// A function of f64 that is more than an instruction and not among those shared with f32.
    pub(super) fn function_double(&mut self, op: ScalarOp, x: &[Reg]) -> Option<Reg> {
        Some(match op {
            ScalarOp::Log => self.log_double(x[0]),
            ScalarOp::Sin => self.sine_double(x[0], 0),
            ScalarOp::Cos => self.sine_double(x[0], 1),
            ScalarOp::Tan => self.tan_double(x[0]),
            ScalarOp::Asin => self.asin_double(x[0]),
            ScalarOp::Acos => self.acos_double(x[0]),
            ScalarOp::Atan => self.atan_double(x[0]),
            ScalarOp::Sinh => self.sinh_double(x[0]),
            ScalarOp::Cosh => self.cosh_double(x[0]),
            ScalarOp::Tanh => self.tanh_double(x[0]),
            ScalarOp::Asinh => self.asinh_double(x[0]),
            ScalarOp::Acosh => self.acosh_double(x[0]),
            ScalarOp::Atanh => self.atanh_double(x[0]),
            ScalarOp::Erf => self.erf_double(x[0]),
            ScalarOp::Gelu => self.gelu_double(x[0]),
            ScalarOp::Pow => self.pow_double(x[0], x[1]),
            ScalarOp::Atan2 => self.atan2_double(x[0], x[1]),
            _ => return None,
        })
    }
}

/// Where the two forms of the error function meet.
const ERF_SPLIT: f64 = 0.84375;
/// The error function of 1, to half of the digits.
const ERF_AT_ONE: f64 = 0.8450629115104675;
/// Numerator and denominator of `erf x / x − 1` in x², up to 0.84.
const ERF_NEAR: ([f64; 5], [f64; 6]) = (
    [
        -2.3763016656650163e-05,
        -0.005770270296489442,
        -0.02848174957559851,
        -0.3250421072470015,
        0.12837916709551256,
    ],
    [
        -3.960228278775368e-06,
        0.00013249473800432164,
        0.005081306281875766,
        0.0650222499887673,
        0.39791722395915535,
        1.0,
    ],
);
/// Those of `erf t − erf 1` in t − 1, up to 1.25.
const ERF_MIDDLE: ([f64; 7], [f64; 7]) = (
    [
        -0.002166375594868791,
        0.035478304325618236,
        -0.11089469428239668,
        0.31834661990116175,
        -0.3722078760357013,
        0.41485611868374833,
        -0.0023621185607526594,
    ],
    [
        0.011984499846799107,
        0.01363708391202905,
        0.12617121980876164,
        0.07182865441419627,
        0.540397917702171,
        0.10642088040084423,
        1.0,
    ],
);
/// Those of the exponent of erfc in 1/t², up to 1/0.35.
const ERFC_NEAR: ([f64; 8], [f64; 9]) = (
    [
        -9.814329344169145,
        -81.2874355063066,
        -184.60509290671104,
        -162.39666946257347,
        -62.375332450326006,
        -10.558626225323291,
        -0.6938585727071818,
        -0.009864944034847148,
    ],
    [
        -0.0604244152148581,
        6.570249770319282,
        108.63500554177944,
        429.00814002756783,
        645.3872717332679,
        434.56587747522923,
        137.65775414351904,
        19.651271667439257,
        1.0,
    ],
);
/// The same beyond.
const ERFC_FAR: ([f64; 7], [f64; 8]) = (
    [
        -483.5191916086514,
        -1025.0951316110772,
        -637.5664433683896,
        -160.63638485582192,
        -17.757954917754752,
        -0.799283237680523,
        -0.0098649429247001,
    ],
    [
        -22.44095244658582,
        474.52854120695537,
        2553.0504064331644,
        3199.8582195085955,
        1536.729586084437,
        325.7925129965739,
        30.33806074348246,
        1.0,
    ],
);
