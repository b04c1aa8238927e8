//! Scalar functions, constants and conversions.
//!
//! A boolean lives in a predicate. Integers of 8 and 16 bits live in 32-bit registers, widened by sign
//! or by zeros according to their type; every operation that can leave the type's range wraps again.

use super::kernel::{Emitter, Result};
use super::ptx::{Kind, Reg};
use nnc_ir::{DType, Kind as Class, ScalarOp};

/// The register that holds a scalar.
pub(super) fn kind_of(dtype: DType) -> Result<Kind> {
    Ok(match dtype {
        DType::Bool => Kind::Pred,
        DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32 | DType::U32 => Kind::Word,
        DType::I64 | DType::U64 => Kind::Long,
        DType::F32 => Kind::Single,
        DType::F64 => Kind::Double,
        other => return Err(format!("arithmetic on {other}")),
    })
}

/// True for types whose order is that of two's complement.
pub(super) fn is_signed(dtype: DType) -> bool {
    dtype.kind() == Class::Int
}

/// The type of an integer instruction: `s32`, `u64`.
fn int_type(dtype: DType) -> &'static str {
    match (dtype.bits() > 32, is_signed(dtype)) {
        (false, true) => "s32",
        (false, false) => "u32",
        (true, true) => "s64",
        (true, false) => "u64",
    }
}

fn condition(op: ScalarOp) -> Option<&'static str> {
    Some(match op {
        ScalarOp::Eq => "eq",
        ScalarOp::Ne => "ne",
        ScalarOp::Lt => "lt",
        ScalarOp::Le => "le",
        ScalarOp::Gt => "gt",
        ScalarOp::Ge => "ge",
        _ => return None,
    })
}

impl Emitter<'_> {
    /// A scalar function of operands of one type.
    pub(super) fn apply(&mut self, op: ScalarOp, dtype: DType, x: &[Reg]) -> Result<Reg> {
        if dtype.is_float() {
            return self.float(op, x).ok_or_else(|| format!("{} of floats", op.name()));
        }
        if dtype == DType::Bool {
            return self.boolean(op, x);
        }
        let y = match x {
            [x] => self.int_unary(op, dtype, *x),
            [x, y] => self.int_binary(op, dtype, *x, *y),
            _ => None,
        };
        let y = y.ok_or_else(|| format!("{} of {dtype}", op.name()))?;
        Ok(if op.is_predicate() { y } else { self.wrap(dtype, y) })
    }

    fn float(&mut self, op: ScalarOp, x: &[Reg]) -> Option<Reg> {
        let t = &mut self.t;
        let ty = x[0].kind.moved();
        if let Some(cc) = condition(op) {
            let cc = if op == ScalarOp::Ne { "neu" } else { cc };
            return Some(t.compare(&format!("{cc}.{ty}"), x[0], &x[1]));
        }
        Some(match op {
            ScalarOp::Add => t.add(x[0], x[1]),
            ScalarOp::Sub => t.sub(x[0], x[1]),
            ScalarOp::Mul => t.mul(x[0], x[1]),
            ScalarOp::Div => t.div(x[0], x[1]),
            ScalarOp::Neg => t.float_unary("neg", x[0]),
            ScalarOp::Abs => t.float_unary("abs", x[0]),
            ScalarOp::Ceil => t.rounded("rpi", x[0]),
            ScalarOp::Floor => t.rounded("rmi", x[0]),
            ScalarOp::Round => t.rounded("rni", x[0]),
            ScalarOp::Trunc => t.rounded("rzi", x[0]),
            ScalarOp::Sqrt => t.op(x[0].kind, &format!("sqrt.rn.{ty}"), &[&x[0]]),
            ScalarOp::IsNan => t.compare(&format!("nan.{ty}"), x[0], &x[0]),
            ScalarOp::IsInf => {
                let (size, infinity) = (t.float_unary("abs", x[0]), t.float(x[0].kind, f64::INFINITY));
                t.compare(&format!("eq.{ty}"), size, &infinity)
            }
            ScalarOp::Sign => {
                let (zero, one) = (t.float(x[0].kind, 0.0), t.float(x[0].kind, 1.0));
                let minus = t.float(x[0].kind, -1.0);
                let nan = t.compare(&format!("nan.{ty}"), x[0], &x[0]);
                let rest = t.choose(nan, x[0], zero);
                let below = t.compare(&format!("lt.{ty}"), x[0], &zero);
                let rest = t.choose(below, minus, rest);
                let above = t.compare(&format!("gt.{ty}"), x[0], &zero);
                t.choose(above, one, rest)
            }
            ScalarOp::Max | ScalarOp::Min => {
                let name = if op == ScalarOp::Max { "max" } else { "min" };
                let found = t.op(x[0].kind, &format!("{name}.{ty}"), &[&x[0], &x[1]]);
                let nan = t.compare(&format!("nan.{ty}"), x[0], &x[1]);
                let none = t.float(x[0].kind, f64::NAN);
                t.choose(nan, none, found)
            }
            ScalarOp::Mod => {
                let (r, zero) = (t.remainder(x[0], x[1]), t.float(x[0].kind, 0.0));
                let some = t.compare(&format!("neu.{ty}"), r, &zero);
                let (below, divisor) =
                    (t.compare(&format!("lt.{ty}"), r, &zero), t.compare(&format!("lt.{ty}"), x[1], &zero));
                let differ = t.op(Kind::Pred, "xor.pred", &[&below, &divisor]);
                let fix = t.both(some, differ);
                let fixed = t.add(r, x[1]);
                t.choose(fix, fixed, r)
            }
            _ => return t.function(op, x),
        })
    }

    fn boolean(&mut self, op: ScalarOp, x: &[Reg]) -> Result<Reg> {
        let t = &mut self.t;
        let pair = |name: &str, t: &mut super::ptx::Text| t.op(Kind::Pred, name, &[&x[0], &x[1]]);
        Ok(match op {
            ScalarOp::Not => t.op(Kind::Pred, "not.pred", &[&x[0]]),
            ScalarOp::And | ScalarOp::Min | ScalarOp::Mul => pair("and.pred", t),
            ScalarOp::Or | ScalarOp::Max | ScalarOp::Add => pair("or.pred", t),
            ScalarOp::Xor | ScalarOp::Ne | ScalarOp::Sub => pair("xor.pred", t),
            ScalarOp::Eq => {
                let differ = pair("xor.pred", t);
                t.op(Kind::Pred, "not.pred", &[&differ])
            }
            ScalarOp::Abs | ScalarOp::Sign | ScalarOp::Neg => x[0],
            // What is left is done on the numbers 0 and 1.
            _ => {
                let words = x.iter().map(|p| self.number(*p)).collect::<Vec<_>>();
                let y = self.apply(op, DType::U8, &words)?;
                if op.is_predicate() { y } else { self.t.compare("ne.s32", y, &0) }
            }
        })
    }

    /// A predicate as 1 or 0.
    pub(super) fn number(&mut self, p: Reg) -> Reg {
        self.t.op(Kind::Word, "selp.b32", &[&1, &0, &p])
    }

    /// Brings the low bits of a register into the range of a narrow type.
    pub(super) fn wrap(&mut self, dtype: DType, x: Reg) -> Reg {
        let name = match dtype {
            DType::I8 => "cvt.s32.s8",
            DType::I16 => "cvt.s32.s16",
            DType::U8 => return self.t.op(Kind::Word, "and.b32", &[&x, &0xff]),
            DType::U16 => return self.t.op(Kind::Word, "and.b32", &[&x, &0xffff]),
            _ => return x,
        };
        self.t.op(Kind::Word, name, &[&x])
    }

    fn int_unary(&mut self, op: ScalarOp, dtype: DType, x: Reg) -> Option<Reg> {
        let (ty, signed) = (int_type(dtype), is_signed(dtype));
        let minus_type = if dtype.bits() > 32 { "s64" } else { "s32" };
        Some(match op {
            ScalarOp::Neg => self.t.op(x.kind, &format!("neg.{minus_type}"), &[&x]),
            ScalarOp::Abs if signed => self.t.op(x.kind, &format!("abs.{ty}"), &[&x]),
            ScalarOp::Abs => x,
            ScalarOp::Not => self.t.op(x.kind, &format!("not.{}", x.kind.moved()), &[&x]),
            ScalarOp::Sign => {
                let (zero, one) = (self.t.int(x.kind, 0), self.t.int(x.kind, 1));
                let minus = self.t.int(x.kind, -1);
                let above = self.t.compare(&format!("gt.{ty}"), x, &0);
                let rest = if signed {
                    let below = self.t.compare(&format!("lt.{ty}"), x, &0);
                    self.t.choose(below, minus, zero)
                } else {
                    zero
                };
                self.t.choose(above, one, rest)
            }
            _ => return None,
        })
    }

    fn int_binary(&mut self, op: ScalarOp, dtype: DType, x: Reg, y: Reg) -> Option<Reg> {
        let ty = int_type(dtype);
        if let Some(cc) = condition(op) {
            return Some(self.t.compare(&format!("{cc}.{ty}"), x, &y));
        }
        let bits = x.kind.moved();
        let name = match op {
            ScalarOp::Add => format!("add.{ty}"),
            ScalarOp::Sub => format!("sub.{ty}"),
            ScalarOp::Mul => format!("mul.lo.{ty}"),
            ScalarOp::Max => format!("max.{ty}"),
            ScalarOp::Min => format!("min.{ty}"),
            ScalarOp::And => format!("and.{bits}"),
            ScalarOp::Or => format!("or.{bits}"),
            ScalarOp::Xor => format!("xor.{bits}"),
            ScalarOp::Shl | ScalarOp::Shr => return Some(self.shift(op, dtype, x, y)),
            ScalarOp::Div | ScalarOp::Rem | ScalarOp::Mod => return Some(self.divide(op, dtype, x, y)),
            ScalarOp::Pow => return Some(self.int_pow(dtype, x, y)),
            _ => return None,
        };
        Some(self.t.op(x.kind, &name, &[&x, &y]))
    }

    /// Shifts whose amount is not below the width give zero, or all sign bits.
    fn shift(&mut self, op: ScalarOp, dtype: DType, x: Reg, y: Reg) -> Reg {
        let (ty, width) = (int_type(dtype), dtype.bits() as i64);
        let amount_type = if x.kind == Kind::Long { "u64" } else { "u32" };
        let within = self.t.compare(&format!("lt.{amount_type}"), y, &width);
        let beyond =
            self.t.int(x.kind, if op == ScalarOp::Shr && is_signed(dtype) { width - 1 } else { width });
        let amount = self.t.choose(within, y, beyond);
        let amount =
            if x.kind == Kind::Long { self.t.op(Kind::Word, "cvt.u32.u64", &[&amount]) } else { amount };
        // The instructions themselves clamp amounts beyond 31 or 63.
        let name = if op == ScalarOp::Shl { format!("shl.{}", x.kind.moved()) } else { format!("shr.{ty}") };
        self.t.op(x.kind, &name, &[&x, &amount])
    }

    /// Quotient and remainders; by zero they are 0.
    fn divide(&mut self, op: ScalarOp, dtype: DType, x: Reg, y: Reg) -> Reg {
        let (ty, signed) = (int_type(dtype), is_signed(dtype));
        let by_zero = self.t.compare(&format!("eq.{ty}"), y, &0);
        let (zero, one) = (self.t.int(x.kind, 0), self.t.int(x.kind, 1));
        let mut safe = self.t.choose(by_zero, one, y);
        let minus_one = signed.then(|| self.t.compare(&format!("eq.{ty}"), y, &-1));
        if let Some(p) = minus_one {
            safe = self.t.choose(p, one, safe);
        }
        if op == ScalarOp::Div {
            let mut quotient = self.t.op(x.kind, &format!("div.{ty}"), &[&x, &safe]);
            if let Some(p) = minus_one {
                let negated = self.t.op(x.kind, &format!("neg.{ty}"), &[&x]);
                quotient = self.t.choose(p, negated, quotient);
            }
            return self.t.choose(by_zero, zero, quotient);
        }
        let remainder = self.t.op(x.kind, &format!("rem.{ty}"), &[&x, &safe]);
        if op == ScalarOp::Rem || !signed {
            return remainder;
        }
        let signs = self.t.op(x.kind, &format!("xor.{}", x.kind.moved()), &[&remainder, &y]);
        let differ = self.t.compare(&format!("lt.{ty}"), signs, &0);
        let some = self.t.compare(&format!("ne.{ty}"), remainder, &0);
        let fix = self.t.both(differ, some);
        let fixed = self.t.op(x.kind, &format!("add.{ty}"), &[&remainder, &y]);
        self.t.choose(fix, fixed, remainder)
    }

    /// Square and multiply. Exponents that are negative or beyond 32 bits give 0 but for bases 1 and -1.
    fn int_pow(&mut self, dtype: DType, x: Reg, y: Reg) -> Reg {
        let (ty, signed) = (int_type(dtype), is_signed(dtype));
        let exponent = self.resize(y, signed, Kind::Long);
        let high = self.t.op(Kind::Long, "shr.u64", &[&exponent, &32]);
        let usual = self.t.compare("eq.s64", high, &0);
        let none = self.t.int(Kind::Long, 0);
        let chosen = self.t.choose(usual, exponent, none);
        let (left, base) = (self.t.copy(chosen), self.t.copy(x));
        let one = self.t.int(x.kind, 1);
        let result = self.t.copy(one);
        let (turn, done) = (self.t.label(), self.t.label());
        self.t.place(turn);
        let more = self.t.compare("ne.s64", left, &0);
        self.t.jump_if(more, false, done);
        let odd = self.t.op(Kind::Long, "and.b64", &[&left, &1]);
        let odd = self.t.compare("ne.s64", odd, &0);
        let mul = format!("mul.lo.{ty}");
        let product = self.t.op(x.kind, &mul, &[&result, &base]);
        let next = self.t.choose(odd, product, result);
        self.t.set(result, &next);
        let square = self.t.op(x.kind, &mul, &[&base, &base]);
        self.t.set(base, &square);
        let half = self.t.op(Kind::Long, "shr.u64", &[&left, &1]);
        self.t.set(left, &half);
        self.t.jump(turn);
        self.t.place(done);
        let zero = self.t.int(x.kind, 0);
        let is_one = self.t.compare(&format!("eq.{ty}"), x, &1);
        let mut other = self.t.choose(is_one, one, zero);
        if signed {
            let minus = self.t.int(x.kind, -1);
            let is_minus = self.t.compare(&format!("eq.{ty}"), x, &-1);
            let low = self.t.op(Kind::Long, "and.b64", &[&exponent, &1]);
            let odd = self.t.compare("ne.s64", low, &0);
            let sign = self.t.choose(odd, minus, one);
            other = self.t.choose(is_minus, sign, other);
        }
        self.t.choose(usual, result, other)
    }

    /// An integer register as one of another width.
    pub(super) fn resize(&mut self, x: Reg, signed: bool, to: Kind) -> Reg {
        match (x.kind, to) {
            (Kind::Word, Kind::Long) => {
                self.t.op(Kind::Long, if signed { "cvt.s64.s32" } else { "cvt.u64.u32" }, &[&x])
            }
            (Kind::Long, Kind::Word) => self.t.op(Kind::Word, "cvt.u32.u64", &[&x]),
            _ => x,
        }
    }

    /// Converts a scalar.
    pub(super) fn cast(&mut self, x: Reg, from: DType, to: DType) -> Result<Reg> {
        if from == to {
            return Ok(x);
        }
        if from == DType::Bool {
            let word = self.number(x);
            return self.cast(word, DType::U8, to);
        }
        let kind = kind_of(to)?;
        Ok(match (from.is_float(), to.is_float()) {
            (true, false) if to == DType::Bool => {
                let zero = self.t.float(x.kind, 0.0);
                self.t.compare(&format!("neu.{}", x.kind.moved()), x, &zero)
            }
            (false, false) if to == DType::Bool => self.t.compare(&format!("ne.{}", int_type(from)), x, &0),
            (true, true) if to == DType::F64 => self.t.op(kind, "cvt.f64.f32", &[&x]),
            (true, true) => self.t.op(kind, "cvt.rn.f32.f64", &[&x]),
            (true, false) => self.float_to_int(x, to),
            (false, true) => {
                let name = format!("cvt.rn.{}.{}", kind.moved(), int_type(from));
                self.t.op(kind, &name, &[&x])
            }
            (false, false) => {
                let y = self.resize(x, is_signed(from), kind);
                self.wrap(to, y)
            }
        })
    }

    /// Towards zero, saturating, NaN to 0. Types of fewer than 32 bits take the low bits of the 32-bit
    /// result, as the graph interpreter's conversions do.
    fn float_to_int(&mut self, x: Reg, to: DType) -> Reg {
        let ty = if to.bits() < 32 { "s32" } else { int_type(to) };
        let kind = if to.bits() > 32 { Kind::Long } else { Kind::Word };
        let found = self.t.op(kind, &format!("cvt.rzi.{ty}.{}", x.kind.moved()), &[&x]);
        let nan = self.t.compare(&format!("nan.{}", x.kind.moved()), x, &x);
        let zero = self.t.int(kind, 0);
        let found = self.t.choose(nan, zero, found);
        self.wrap(to, found)
    }

    /// The same bits as another type of the same width.
    pub(super) fn bitcast(&mut self, x: Reg, from: DType, to: DType) -> Result<Reg> {
        if to == DType::Bool {
            return self.cast(x, from, to);
        }
        let (x, from) = if from == DType::Bool { (self.number(x), DType::U8) } else { (x, from) };
        let kind = kind_of(to)?;
        Ok(match (x.kind, kind) {
            (a, b) if a == b => self.wrap(to, x),
            (Kind::Single | Kind::Double, _) => self.t.bits(x),
            (_, Kind::Single | Kind::Double) => self.t.as_float(x),
            _ => return Err(format!("the bits of {from} as {to}")),
        })
    }
}
