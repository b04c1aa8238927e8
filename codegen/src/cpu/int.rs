//! Scalar functions of integers and booleans.
//!
//! Integers wrap. Divisions never trap: by zero the quotient and remainder are 0, and the smallest
//! number divided by -1 is itself.

use super::emitter::{Emitter, Result, clif_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value};
use nnc_ir::{DType, Kind, ScalarOp};

/// The condition of a comparison of integers.
pub(super) fn int_condition(op: ScalarOp, signed: bool) -> Option<IntCC> {
    Some(match (op, signed) {
        (ScalarOp::Eq, _) => IntCC::Equal,
        (ScalarOp::Ne, _) => IntCC::NotEqual,
        (ScalarOp::Lt, true) => IntCC::SignedLessThan,
        (ScalarOp::Le, true) => IntCC::SignedLessThanOrEqual,
        (ScalarOp::Gt, true) => IntCC::SignedGreaterThan,
        (ScalarOp::Ge, true) => IntCC::SignedGreaterThanOrEqual,
        (ScalarOp::Lt, false) => IntCC::UnsignedLessThan,
        (ScalarOp::Le, false) => IntCC::UnsignedLessThanOrEqual,
        (ScalarOp::Gt, false) => IntCC::UnsignedGreaterThan,
        (ScalarOp::Ge, false) => IntCC::UnsignedGreaterThanOrEqual,
        _ => return None,
    })
}

/// True for types whose order is that of two's complement.
pub(super) fn is_signed(dtype: DType) -> bool {
    dtype.kind() == Kind::Int
}

impl Emitter<'_, '_> {
    /// A function of integers or booleans.
    pub(super) fn int_op(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value> {
        let (ty, signed) = (clif_type(dtype)?, is_signed(dtype));
        if let Some(cc) = int_condition(op, signed) {
            return Ok(self.b.ins().icmp(cc, args[0], args[1]));
        }
        let result = match args {
            [x] => self.int_unary(op, dtype, ty, *x)?,
            [x, y] => self.int_binary(op, dtype, ty, *x, *y)?,
            _ => return Err(format!("{} of {} operands", op.name(), args.len())),
        };
        let bitwise = matches!(
            op,
            ScalarOp::And | ScalarOp::Or | ScalarOp::Xor | ScalarOp::Not | ScalarOp::Max | ScalarOp::Min
        );
        if dtype == DType::Bool && !bitwise {
            return Ok(self.b.ins().icmp_imm_u(IntCC::NotEqual, result, 0));
        }
        Ok(result)
    }

    fn int_unary(&mut self, op: ScalarOp, dtype: DType, ty: Type, x: Value) -> Result<Value> {
        Ok(match op {
            ScalarOp::Neg => self.b.ins().ineg(x),
            ScalarOp::Abs if is_signed(dtype) => self.b.ins().iabs(x),
            ScalarOp::Abs => x,
            ScalarOp::Sign => {
                let cc = if is_signed(dtype) { IntCC::SignedGreaterThan } else { IntCC::UnsignedGreaterThan };
                let zero = self.int_of(ty, 0);
                let above = self.b.ins().icmp(cc, x, zero);
                let above = self.as_number(above, ty);
                if !is_signed(dtype) {
                    return Ok(above);
                }
                let below = self.b.ins().icmp(IntCC::SignedLessThan, x, zero);
                let below = self.as_number(below, ty);
                self.b.ins().isub(above, below)
            }
            ScalarOp::Not if dtype == DType::Bool => self.b.ins().bxor_imm_u(x, 1),
            ScalarOp::Not => self.b.ins().bnot(x),
            _ => return Err(format!("{} of {dtype}", op.name())),
        })
    }

    fn int_binary(&mut self, op: ScalarOp, dtype: DType, ty: Type, x: Value, y: Value) -> Result<Value> {
        let signed = is_signed(dtype);
        Ok(match op {
            ScalarOp::Add => self.b.ins().iadd(x, y),
            ScalarOp::Sub => self.b.ins().isub(x, y),
            ScalarOp::Mul => self.b.ins().imul(x, y),
            ScalarOp::Div => self.int_div(signed, ty, x, y),
            ScalarOp::Rem => self.int_rem(signed, ty, x, y),
            ScalarOp::Mod => self.int_mod(signed, ty, x, y),
            ScalarOp::Pow => self.int_pow(signed, ty, x, y),
            ScalarOp::Max if signed => self.b.ins().smax(x, y),
            ScalarOp::Max => self.b.ins().umax(x, y),
            ScalarOp::Min if signed => self.b.ins().smin(x, y),
            ScalarOp::Min => self.b.ins().umin(x, y),
            ScalarOp::And => self.b.ins().band(x, y),
            ScalarOp::Or => self.b.ins().bor(x, y),
            ScalarOp::Xor => self.b.ins().bxor(x, y),
            ScalarOp::Shl | ScalarOp::Shr => self.int_shift(op, dtype, ty, x, y),
            _ => return Err(format!("{} of {dtype}", op.name())),
        })
    }

    fn int_shift(&mut self, op: ScalarOp, dtype: DType, ty: Type, x: Value, y: Value) -> Value {
        let bits = if dtype == DType::Bool { 1 } else { dtype.bits() as i64 };
        let limit = self.int_of(ty, bits);
        let within = self.b.ins().icmp(IntCC::UnsignedLessThan, y, limit);
        if op == ScalarOp::Shr && is_signed(dtype) {
            let most = self.int_of(ty, bits - 1);
            let amount = self.b.ins().select(within, y, most);
            return self.b.ins().sshr(x, amount);
        }
        let zero = self.int_of(ty, 0);
        let shifted = if op == ScalarOp::Shl { self.b.ins().ishl(x, y) } else { self.b.ins().ushr(x, y) };
        self.b.ins().select(within, shifted, zero)
    }

    /// A divisor that cannot trap, and the conditions `y = 0` and `y = -1` that it leaves to the caller.
    fn safe_divisor(&mut self, signed: bool, ty: Type, y: Value) -> (Value, Value, Value) {
        let one = self.int_of(ty, 1);
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, y, 0);
        let safe = self.b.ins().select(zero, one, y);
        if !signed {
            return (safe, zero, zero);
        }
        let all_ones = self.int_of(ty, -1);
        let minus_one = self.b.ins().icmp(IntCC::Equal, y, all_ones);
        (self.b.ins().select(minus_one, one, safe), zero, minus_one)
    }

    fn int_div(&mut self, signed: bool, ty: Type, x: Value, y: Value) -> Value {
        let (safe, by_zero, by_minus_one) = self.safe_divisor(signed, ty, y);
        let none = self.int_of(ty, 0);
        if !signed {
            let quotient = self.b.ins().udiv(x, safe);
            return self.b.ins().select(by_zero, none, quotient);
        }
        let quotient = self.b.ins().sdiv(x, safe);
        let negated = self.b.ins().ineg(x);
        let quotient = self.b.ins().select(by_minus_one, negated, quotient);
        self.b.ins().select(by_zero, none, quotient)
    }

    /// Dividing by 1 instead of 0 or -1 leaves the remainder 0, as it should be.
    fn int_rem(&mut self, signed: bool, ty: Type, x: Value, y: Value) -> Value {
        let (safe, ..) = self.safe_divisor(signed, ty, y);
        if signed { self.b.ins().srem(x, safe) } else { self.b.ins().urem(x, safe) }
    }

    fn int_mod(&mut self, signed: bool, ty: Type, x: Value, y: Value) -> Value {
        let remainder = self.int_rem(signed, ty, x, y);
        if !signed {
            return remainder;
        }
        let zero = self.int_of(ty, 0);
        let signs = self.b.ins().bxor(remainder, y);
        let differ = self.b.ins().icmp(IntCC::SignedLessThan, signs, zero);
        let some = self.b.ins().icmp(IntCC::NotEqual, remainder, zero);
        let fix = self.b.ins().band(differ, some);
        let fixed = self.b.ins().iadd(remainder, y);
        self.b.ins().select(fix, fixed, remainder)
    }

    /// Square and multiply. Exponents that are negative or beyond 32 bits give 0 but for bases 1 and -1.
    fn int_pow(&mut self, signed: bool, ty: Type, x: Value, y: Value) -> Value {
        let wide = match (ty == I64, signed) {
            (true, _) => y,
            (_, true) => self.b.ins().sextend(I64, y),
            (_, false) => self.b.ins().uextend(I64, y),
        };
        let (one, zero) = (self.int_of(ty, 1), self.int_of(ty, 0));
        let high = self.b.ins().ushr_imm_u(wide, 32);
        let usual = self.b.ins().icmp_imm_s(IntCC::Equal, high, 0);
        let nothing = self.b.ins().iconst(I64, 0);
        let exponent = self.b.ins().select(usual, wide, nothing);

        let (head, turn, done) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let start: Vec<BlockArg> = [one, x, exponent].into_iter().map(BlockArg::from).collect();
        self.b.ins().jump(head, &start);
        let result = self.b.append_block_param(head, ty);
        let base = self.b.append_block_param(head, ty);
        let left = self.b.append_block_param(head, I64);
        self.b.switch_to_block(head);
        self.b.ins().brif(left, turn, &[], done, &[]);
        self.b.switch_to_block(turn);
        let odd = self.b.ins().band_imm_u(left, 1);
        let product = self.b.ins().imul(result, base);
        let next = self.b.ins().select(odd, product, result);
        let squared = self.b.ins().imul(base, base);
        let halved = self.b.ins().ushr_imm_u(left, 1);
        let again: Vec<BlockArg> = [next, squared, halved].into_iter().map(BlockArg::from).collect();
        self.b.ins().jump(head, &again);
        self.b.switch_to_block(done);

        let is_one = self.b.ins().icmp(IntCC::Equal, x, one);
        let mut other = self.b.ins().select(is_one, one, zero);
        if signed {
            let minus_one = self.int_of(ty, -1);
            let is_minus_one = self.b.ins().icmp(IntCC::Equal, x, minus_one);
            let odd = self.b.ins().band_imm_u(wide, 1);
            let sign = self.b.ins().select(odd, minus_one, one);
            other = self.b.ins().select(is_minus_one, sign, other);
        }
        self.b.ins().select(usual, result, other)
    }
}
