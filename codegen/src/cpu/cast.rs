//! Conversions between the arithmetic types.

use super::emitter::{Emitter, Result, clif_type};
use super::int::is_signed;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nnc_ir::DType;

impl Emitter<'_, '_> {
    /// Converts a scalar.
    pub(super) fn cast(&mut self, x: Value, from: DType, to: DType) -> Result<Value> {
        if from == to {
            return Ok(x);
        }
        match (from.is_float(), to.is_float()) {
            (_, false) if to == DType::Bool => Ok(self.truth(x, from)),
            (true, true) if to == DType::F64 => Ok(self.b.ins().fpromote(F64, x)),
            (true, true) => {
                let ty = clif_type(to)?;
                Ok(self.b.ins().fdemote(ty, x))
            }
            (true, false) => self.float_to_int(x, to),
            (false, true) => self.int_to_float(x, from, to),
            (false, false) => {
                let ty = clif_type(to)?;
                Ok(self.resize(x, is_signed(from), ty))
            }
        }
    }

    fn truth(&mut self, x: Value, from: DType) -> Value {
        if from.is_float() {
            let zero = self.float_constant(from, 0.0);
            self.b.ins().fcmp(FloatCC::NotEqual, x, zero)
        } else {
            self.b.ins().icmp_imm_u(IntCC::NotEqual, x, 0)
        }
    }

    /// Widens an integer by its sign or zeros, or drops high bits.
    pub(super) fn resize(&mut self, x: Value, signed: bool, to: Type) -> Value {
        let from = self.b.func.dfg.value_type(x);
        match from.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Equal => x,
            std::cmp::Ordering::Greater => self.b.ins().ireduce(to, x),
            std::cmp::Ordering::Less if signed => self.b.ins().sextend(to, x),
            std::cmp::Ordering::Less => self.b.ins().uextend(to, x),
        }
    }

    /// Towards zero, saturating to the type, NaN to 0. Types of fewer than 32 bits take the low bits
    /// of the 32-bit result, as the graph interpreter's conversions do.
    fn float_to_int(&mut self, x: Value, to: DType) -> Result<Value> {
        let ty = clif_type(to)?;
        Ok(match to {
            DType::U32 | DType::U64 => self.b.ins().fcvt_to_uint_sat(ty, x),
            DType::I32 | DType::I64 => self.b.ins().fcvt_to_sint_sat(ty, x),
            _ => {
                let wide = self.b.ins().fcvt_to_sint_sat(I32, x);
                self.b.ins().ireduce(ty, wide)
            }
        })
    }

    fn int_to_float(&mut self, x: Value, from: DType, to: DType) -> Result<Value> {
        let ty = clif_type(to)?;
        Ok(match from {
            DType::U64 => self.b.ins().fcvt_from_uint(ty, x),
            DType::I64 | DType::I32 => self.b.ins().fcvt_from_sint(ty, x),
            _ => {
                let wide = self.resize(x, is_signed(from), if from == DType::U32 { I64 } else { I32 });
                self.b.ins().fcvt_from_sint(ty, wide)
            }
        })
    }
}
