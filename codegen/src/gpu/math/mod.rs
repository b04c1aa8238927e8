//! Functions of floats as printed code, for f32 and f64.
//!
//! The frequent functions have code of their own in f32 ([`single`]), the others are computed in f64
//! ([`double`]) and rounded. Bounds, in units in the last place of a result that is a normal number:
//! f32 at most 4 (what is computed in f64 at most 1); f64 at most 4 but for `pow`, whose relative error
//! grows with the exponent of the result to 2^-43, and sine and cosine beyond 2^40, where digits of the
//! angle are lost. Nothing is contracted behind the text's back: every operation names its rounding.

mod double;
mod remainder;
mod single;

use super::ptx::{Float, Kind, Reg, Text};
use nnc_ir::ScalarOp;

impl Text {
    fn float_op(&mut self, name: &str, a: Reg, b: &dyn std::fmt::Display) -> Reg {
        self.op(a.kind, &format!("{name}.rn.{}", a.kind.moved()), &[&a, b])
    }

    /// A sum.
    pub(super) fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.float_op("add", a, &b)
    }

    /// A difference.
    pub(super) fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.float_op("sub", a, &b)
    }

    /// A product.
    pub(super) fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.float_op("mul", a, &b)
    }

    /// A quotient.
    pub(super) fn div(&mut self, a: Reg, b: Reg) -> Reg {
        self.float_op("div", a, &b)
    }

    /// `a·b + c` with one rounding.
    pub(super) fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        self.op(a.kind, &format!("fma.rn.{}", a.kind.moved()), &[&a, &b, &c])
    }

    /// A unary instruction without rounding: `abs`, `neg`.
    pub(super) fn float_unary(&mut self, name: &str, x: Reg) -> Reg {
        self.op(x.kind, &format!("{name}.{}", x.kind.moved()), &[&x])
    }

    /// To an integer in the float's type: `rni`, `rmi`, `rpi`, `rzi`.
    pub(super) fn rounded(&mut self, how: &str, x: Reg) -> Reg {
        let ty = x.kind.moved();
        self.op(x.kind, &format!("cvt.{how}.{ty}.{ty}"), &[&x])
    }

    fn add_const(&mut self, a: Reg, c: f64) -> Reg {
        self.float_op("add", a, &Float(a.kind, c))
    }

    fn mul_const(&mut self, a: Reg, c: f64) -> Reg {
        self.float_op("mul", a, &Float(a.kind, c))
    }

    /// `c − a`.
    fn const_sub(&mut self, c: f64, a: Reg) -> Reg {
        let c = self.float(a.kind, c);
        self.sub(c, a)
    }

    /// `c / a`.
    fn const_div(&mut self, c: f64, a: Reg) -> Reg {
        let c = self.float(a.kind, c);
        self.div(c, a)
    }

    /// `a·m + c` for constants.
    fn fma_consts(&mut self, a: Reg, m: f64, c: f64) -> Reg {
        self.op(a.kind, &format!("fma.rn.{}", a.kind.moved()), &[&a, &Float(a.kind, m), &Float(a.kind, c)])
    }

    /// `a·m + c` for a constant factor.
    fn fma_const(&mut self, a: Reg, m: f64, c: Reg) -> Reg {
        self.op(a.kind, &format!("fma.rn.{}", a.kind.moved()), &[&a, &Float(a.kind, m), &c])
    }

    /// The polynomial with these coefficients, highest power first.
    fn polynomial(&mut self, x: Reg, coefficients: &[f64]) -> Reg {
        let mut sum = self.fma_consts(x, coefficients[0], coefficients[1]);
        for c in &coefficients[2..] {
            sum = self.op(x.kind, &format!("fma.rn.{}", x.kind.moved()), &[&sum, &x, &Float(x.kind, *c)]);
        }
        sum
    }

    /// A comparison of floats with a constant: `lt`, `gt`, …; false for NaN unless it ends in `u`.
    fn compare_const(&mut self, how: &str, x: Reg, c: f64) -> Reg {
        self.compare(&format!("{how}.{}", x.kind.moved()), x, &Float(x.kind, c))
    }

    fn choose_const(&mut self, p: Reg, c: f64, otherwise: Reg) -> Reg {
        self.op(
            otherwise.kind,
            &format!("selp.{}", otherwise.kind.moved()),
            &[&Float(otherwise.kind, c), &otherwise, &p],
        )
    }

    /// `x`, but no less than a constant; NaN stays.
    fn at_least(&mut self, x: Reg, c: f64) -> Reg {
        let below = self.compare_const("lt", x, c);
        self.choose_const(below, c, x)
    }

    /// `x`, but no more than a constant; NaN stays.
    fn at_most(&mut self, x: Reg, c: f64) -> Reg {
        let above = self.compare_const("gt", x, c);
        self.choose_const(above, c, x)
    }

    /// The bits of a float.
    pub(super) fn bits(&mut self, x: Reg) -> Reg {
        match x.kind {
            Kind::Double => self.op(Kind::Long, "mov.b64", &[&x]),
            _ => self.op(Kind::Word, "mov.b32", &[&x]),
        }
    }

    /// The float of these bits.
    pub(super) fn as_float(&mut self, x: Reg) -> Reg {
        match x.kind {
            Kind::Long => self.op(Kind::Double, "mov.b64", &[&x]),
            _ => self.op(Kind::Single, "mov.b32", &[&x]),
        }
    }

    /// The sign bit of a float as bits.
    fn sign(&mut self, x: Reg) -> Reg {
        let bits = self.bits(x);
        match x.kind {
            Kind::Double => self.op(Kind::Long, "and.b64", &[&bits, &i64::MIN]),
            _ => self.op(Kind::Word, "and.b32", &[&bits, &i32::MIN]),
        }
    }

    /// `x` with its sign turned where the sign bits are set.
    fn flip(&mut self, x: Reg, sign: Reg) -> Reg {
        let bits = self.bits(x);
        let name = if x.kind == Kind::Double { "xor.b64" } else { "xor.b32" };
        let turned = self.op(bits.kind, name, &[&bits, &sign]);
        self.as_float(turned)
    }

    fn widen(&mut self, x: Reg) -> Reg {
        self.op(Kind::Double, "cvt.f64.f32", &[&x])
    }

    fn narrow(&mut self, x: Reg) -> Reg {
        self.op(Kind::Single, "cvt.rn.f32.f64", &[&x])
    }

    fn exp(&mut self, x: Reg) -> Reg {
        if x.kind == Kind::Single { self.exp_single(x) } else { self.exp_double(x) }
    }

    /// A function that is more than an instruction, or `None`.
    pub(super) fn function(&mut self, op: ScalarOp, x: &[Reg]) -> Option<Reg> {
        let single = x[0].kind == Kind::Single;
        Some(match op {
            ScalarOp::Exp => self.exp(x[0]),
            ScalarOp::Log if single => self.log_single(x[0]),
            ScalarOp::Sin if single => self.sine_single(x[0], 0),
            ScalarOp::Cos if single => self.sine_single(x[0], 1),
            ScalarOp::Tanh if single => self.tanh_single(x[0]),
            ScalarOp::Erf if single => self.erf_single(x[0]),
            ScalarOp::Gelu if single => self.gelu_single(x[0]),
            ScalarOp::Sigmoid => self.sigmoid(x[0]),
            ScalarOp::Silu => self.silu(x[0]),
            ScalarOp::GeluTanh => self.gelu_tanh(x[0]),
            ScalarOp::Mish => self.mish(x[0]),
            ScalarOp::Softplus => self.softplus(x[0]),
            ScalarOp::Rem => self.remainder(x[0], x[1]),
            _ if single => {
                let wide: Vec<Reg> = x.iter().map(|v| self.widen(*v)).collect();
                let y = self.function_double(op, &wide)?;
                self.narrow(y)
            }
            _ => self.function_double(op, x)?,
        })
    }

    /// `1 / (1 + e^-x)`.
    fn sigmoid(&mut self, x: Reg) -> Reg {
        let size = self.float_unary("abs", x);
        let minus = self.float_unary("neg", size);
        let e = self.exp(minus);
        let below = self.compare_const("lt", x, 0.0);
        let one = self.float(x.kind, 1.0);
        let numerator = self.choose(below, e, one);
        let denominator = self.add_const(e, 1.0);
        self.div(numerator, denominator)
    }

    /// `x * sigmoid(x)`; the floor spares it `-inf * 0`.
    fn silu(&mut self, x: Reg) -> Reg {
        let x = self.at_least(x, GATE_FLOOR);
        let s = self.sigmoid(x);
        self.mul(x, s)
    }

    /// The approximation of GELU by tanh: `x * sigmoid(2 sqrt(2/π) (x + 0.044715 x³))`.
    fn gelu_tanh(&mut self, x: Reg) -> Reg {
        const LINEAR: f64 = 1.595_769_121_605_730_7;
        let x = self.at_least(x, GATE_FLOOR);
        let square = self.mul(x, x);
        let slope = self.fma_consts(square, LINEAR * 0.044_715, LINEAR);
        let inner = self.mul(x, slope);
        let s = self.sigmoid(inner);
        self.mul(x, s)
    }

    /// `x * tanh(log(1 + e^x))`, where tanh(log(1 + e)) = n / (n + 2), n = e (e + 2).
    fn mish(&mut self, x: Reg) -> Reg {
        let x = self.at_least(x, GATE_FLOOR);
        let capped = self.at_most(x, if x.kind == Kind::Single { 20.0 } else { 40.0 });
        let e = self.exp(capped);
        let more = self.add_const(e, 2.0);
        let n = self.mul(e, more);
        let denominator = self.add_const(n, 2.0);
        let ratio = self.div(n, denominator);
        self.mul(x, ratio)
    }

    /// `log(1 + e^x)`.
    fn softplus(&mut self, x: Reg) -> Reg {
        let line = self.at_least(x, 0.0);
        let size = self.float_unary("abs", x);
        let minus = self.float_unary("neg", size);
        let e = self.exp(minus);
        let sum = self.add_const(e, 1.0);
        let log = if x.kind == Kind::Single { self.log_single(sum) } else { self.log_double(sum) };
        let back = self.add_const(sum, -1.0);
        let lost = self.sub(e, back);
        let correction = self.div(lost, sum);
        let log = self.add(log, correction);
        self.add(line, log)
    }
}

/// Below this the gated functions (silu, mish, gelu) are 0.
const GATE_FLOOR: f64 = -1e4;
