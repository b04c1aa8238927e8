//! Constants, selections and the choice of the code for a scalar function; scalars and vectors alike.

use super::emitter::{Emitter, Result, clif_type};
use cranelift_codegen::ir::types::{F32, F64, I8, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use nnc_ir::{DType, ScalarOp};

impl Emitter<'_, '_> {
    /// A scalar function.
    pub(super) fn apply(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value> {
        self.apply_knowing(op, dtype, args, vec![false; args.len()])
    }

    /// A scalar function of operands of which some are known never to be NaN.
    pub(super) fn apply_knowing(
        &mut self,
        op: ScalarOp,
        dtype: DType,
        args: &[Value],
        never_nan: Vec<bool>,
    ) -> Result<Value> {
        if dtype.is_float() {
            self.float_op(op, dtype, args, &never_nan)
        } else {
            self.int_op(op, dtype, args)
        }
    }

    /// A float constant.
    pub(super) fn float_constant(&mut self, dtype: DType, v: f64) -> Value {
        if dtype == DType::F64 { self.float_of(F64, v) } else { self.float_of(F32, v) }
    }

    /// An integer or boolean constant, wrapped to the type.
    pub(super) fn int_constant(&mut self, dtype: DType, v: i64) -> Result<Value> {
        let v = if dtype == DType::Bool { i64::from(v != 0) } else { v };
        Ok(self.int_of(clif_type(dtype)?, v))
    }

    /// A float in every lane of a type.
    pub(super) fn float_of(&mut self, ty: Type, v: f64) -> Value {
        let scalar =
            if ty.lane_type() == F64 { self.b.ins().f64const(v) } else { self.b.ins().f32const(v as f32) };
        if ty.is_vector() { self.b.ins().splat(ty, scalar) } else { scalar }
    }

    /// An integer in every lane of a type, wrapped.
    pub(super) fn int_of(&mut self, ty: Type, v: i64) -> Value {
        let lane = ty.lane_type();
        let bits = if lane == I64 { v } else { v & ((1i64 << lane.bits()) - 1) };
        let scalar = self.b.ins().iconst(lane, bits);
        if ty.is_vector() { self.b.ins().splat(ty, scalar) } else { scalar }
    }

    /// `condition ? a : b`, lane by lane for vectors; the condition comes from a comparison.
    pub(super) fn choose(&mut self, condition: Value, a: Value, b: Value) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        if ty.is_vector() {
            let mask = self.reinterpret(condition, ty);
            self.b.ins().bitselect(mask, a, b)
        } else {
            self.b.ins().select(condition, a, b)
        }
    }

    /// The same bits as another type of the same width.
    pub(super) fn reinterpret(&mut self, value: Value, to: Type) -> Value {
        let from = self.b.func.dfg.value_type(value);
        // Lanes are numbered as in memory on every target, all of which are little-endian.
        let flags = MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
        match from == to {
            true => value,
            false if from.lane_count() == to.lane_count() => {
                self.b.ins().bitcast(to, MemFlagsData::new(), value)
            }
            false => self.b.ins().bitcast(to, flags, value),
        }
    }

    /// The same bits as a scalar of another type.
    pub(super) fn same_bits(&mut self, value: Value, to: Type) -> Result<Value> {
        let from = self.b.func.dfg.value_type(value);
        if from.bits() != to.bits() {
            return Err(format!("bitcast from {from} to {to}"));
        }
        Ok(self.reinterpret(value, to))
    }

    /// A comparison's result (all ones or zero in a vector lane) as the integers 1 and 0.
    pub(super) fn as_number(&mut self, condition: Value, ty: Type) -> Value {
        if ty == I8 { condition } else { self.b.ins().uextend(ty, condition) }
    }
}
