//! Scalar functions of floats, on scalars and on vectors.

use super::emitter::{Emitter, Result};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use nnc_ir::{DType, ScalarOp};

/// The condition of a comparison of floats.
fn float_condition(op: ScalarOp) -> Option<FloatCC> {
    Some(match op {
        ScalarOp::Eq => FloatCC::Equal,
        ScalarOp::Ne => FloatCC::NotEqual,
        ScalarOp::Lt => FloatCC::LessThan,
        ScalarOp::Le => FloatCC::LessThanOrEqual,
        ScalarOp::Gt => FloatCC::GreaterThan,
        ScalarOp::Ge => FloatCC::GreaterThanOrEqual,
        _ => return None,
    })
}

macro_rules! tile_functions {
    ($($op:ident $name:literal;)*) => {
        /// The contract of the microkernel that computes a function over tiles, for those that have one.
        pub(super) fn tile_function(op: ScalarOp, dtype: DType) -> Option<&'static str> {
            match (op, dtype) {
                $(
                    (ScalarOp::$op, DType::F32) => Some(concat!("f32_", $name)),
                    (ScalarOp::$op, DType::F64) => Some(concat!("f64_", $name)),
                )*
                _ => None,
            }
        }
    };
}

tile_functions! {
    Exp "exp"; Log "log"; Sin "sin"; Cos "cos";
    Tan "tan"; Asin "asin"; Acos "acos"; Atan "atan";
    Sinh "sinh"; Cosh "cosh"; Tanh "tanh"; Asinh "asinh";
    Acosh "acosh"; Atanh "atanh"; Sigmoid "sigmoid"; Softplus "softplus";
    Erf "erf"; Gelu "gelu"; GeluTanh "gelu_tanh"; Silu "silu";
    Mish "mish"; Pow "pow"; Atan2 "atan2"; Rem "fmod";
}

impl Emitter<'_, '_> {
    /// A function of floats.
    pub(super) fn float_op(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        args: &[Value],
        never_nan: &[bool],
    ) -> Result<Value> {
        if let Some(cc) = float_condition(op) {
            return Ok(self.b.ins().fcmp(cc, args[0], args[1]));
        }
        if let Some(contract) = tile_function(op, dtype) {
            return self.call_on_scalars(contract, dtype, args);
        }
        match args {
            [x] => self.float_unary(op, *x),
            [x, y] => self.float_binary(op, dtype, [*x, *y], never_nan),
            _ => Err(format!("{} of {} operands", op.name(), args.len())),
        }
    }

    fn float_unary(&mut self, op: ScalarOp, x: Value) -> Result<Value> {
        let ty = self.b.func.dfg.value_type(x);
        Ok(match op {
            ScalarOp::Neg => self.b.ins().fneg(x),
            ScalarOp::Abs => self.b.ins().fabs(x),
            ScalarOp::Sign => {
                let (zero, one) = (self.float_of(ty, 0.0), self.float_of(ty, 1.0));
                let minus_one = self.float_of(ty, -1.0);
                let above = self.b.ins().fcmp(FloatCC::GreaterThan, x, zero);
                let below = self.b.ins().fcmp(FloatCC::LessThan, x, zero);
                let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
                let rest = self.choose(nan, x, zero);
                let rest = self.choose(below, minus_one, rest);
                self.choose(above, one, rest)
            }
            ScalarOp::Ceil => self.b.ins().ceil(x),
            ScalarOp::Floor => self.b.ins().floor(x),
            ScalarOp::Round => self.b.ins().nearest(x),
            ScalarOp::Trunc => self.b.ins().trunc(x),
            ScalarOp::Sqrt => self.b.ins().sqrt(x),
            ScalarOp::IsNan => self.b.ins().fcmp(FloatCC::Unordered, x, x),
            ScalarOp::IsInf => {
                let (size, infinity) = (self.b.ins().fabs(x), self.float_of(ty, f64::INFINITY));
                self.b.ins().fcmp(FloatCC::Equal, size, infinity)
            }
            _ => return Err(format!("{} of floats", op.name())),
        })
    }

    fn float_binary(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        [x, y]: [Value; 2],
        never_nan: &[bool],
    ) -> Result<Value> {
        Ok(match op {
            ScalarOp::Add => self.b.ins().fadd(x, y),
            ScalarOp::Sub => self.b.ins().fsub(x, y),
            ScalarOp::Mul => self.b.ins().fmul(x, y),
            ScalarOp::Div => self.b.ins().fdiv(x, y),
            ScalarOp::Max | ScalarOp::Min => {
                let (a, b) = if never_nan[1] { (y, x) } else { (x, y) };
                self.extreme(op, a, b, never_nan[0] || never_nan[1])
            }
            ScalarOp::Mod => self.float_mod(dtype, x, y)?,
            _ => return Err(format!("{} of floats", op.name())),
        })
    }

    /// The larger or smaller of two. The form of the selection is the one that is a single
    /// instruction on x86-64; it gives `b` if either is NaN, so only `a` needs a second look.
    fn extreme(&mut self, op: ScalarOp, a: Value, b: Value, a_is_number: bool) -> Value {
        let better = match op {
            ScalarOp::Max => self.b.ins().fcmp(FloatCC::LessThan, b, a),
            _ => self.b.ins().fcmp(FloatCC::LessThan, a, b),
        };
        let chosen = self.choose(better, a, b);
        if a_is_number {
            return chosen;
        }
        let nan = self.b.ins().fcmp(FloatCC::Unordered, a, a);
        self.choose(nan, a, chosen)
    }

    fn float_mod(&mut self, dtype: DType, x: Value, y: Value) -> Result<Value> {
        let remainder = self.float_op(ScalarOp::Rem, dtype, &[x, y], &[false; 2])?;
        let zero = self.float_constant(dtype, 0.0);
        let some = self.b.ins().fcmp(FloatCC::NotEqual, remainder, zero);
        let below = self.b.ins().fcmp(FloatCC::LessThan, remainder, zero);
        let divisor_below = self.b.ins().fcmp(FloatCC::LessThan, y, zero);
        let differ = self.b.ins().bxor(below, divisor_below);
        let fix = self.b.ins().band(some, differ);
        let fixed = self.b.ins().fadd(remainder, y);
        Ok(self.b.ins().select(fix, fixed, remainder))
    }

    /// `a·b + c` with one rounding.
    pub(super) fn fused(&mut self, dtype: DType, [a, b, c]: [Value; 3]) -> Result<Value> {
        if self.target.has_fma() {
            return Ok(self.b.ins().fma(a, b, c));
        }
        if dtype != DType::F32 {
            return Err(format!("fma of {dtype} without an instruction for it"));
        }
        Ok(self.fused_by_f64(a, b, c))
    }

    /// The product of two f32 is exact in f64. The sum is rounded to odd there, so that the last
    /// rounding sees on which side of a tie it lies (Boldo and Melquiond, "Emulation of FMA").
    fn fused_by_f64(&mut self, a: Value, b: Value, c: Value) -> Value {
        let [a, b, c] = [a, b, c].map(|v| self.b.ins().fpromote(F64, v));
        let product = self.b.ins().fmul(a, b);
        let sum = self.b.ins().fadd(product, c);
        let part = self.b.ins().fsub(sum, product);
        let rest = self.b.ins().fsub(sum, part);
        let (lost_product, lost_c) = (self.b.ins().fsub(product, rest), self.b.ins().fsub(c, part));
        let error = self.b.ins().fadd(lost_product, lost_c);

        let zero = self.float_of(F64, 0.0);
        let inexact = self.b.ins().fcmp(FloatCC::OrderedNotEqual, error, zero);
        let bits = self.reinterpret(sum, I64);
        let lowest = self.b.ins().band_imm_u(bits, 1);
        let even = self.b.ins().icmp_imm_u(IntCC::Equal, lowest, 0);
        let adjust = self.b.ins().band(inexact, even);
        let error_bits = self.reinterpret(error, I64);
        let signs = self.b.ins().bxor(error_bits, bits);
        // One step away from zero where the error has the sum's sign, else one towards zero.
        let step = self.b.ins().sshr_imm_u(signs, 63);
        let step = self.b.ins().bor_imm_u(step, 1);
        let odd = self.b.ins().iadd(bits, step);
        let result = self.b.ins().select(adjust, odd, bits);
        let result = self.reinterpret(result, F64);
        self.b.ins().fdemote(F32, result)
    }
}
