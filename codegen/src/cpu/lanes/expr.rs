//! Expressions on sixteen lanes.

use super::super::emitter::{Emitter, Result, clif_type};
use super::super::int::{int_condition, is_signed};
use super::{LANES, LaneEmitter, Lanes, mask_type, vector_type};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nnc_ir::tile::{Expr, Local};
use nnc_ir::{DType, Dim, ScalarOp};

impl LaneEmitter<'_, '_, '_> {
    /// The lanes of a varying expression.
    pub(super) fn expr(&mut self, e: &Expr, to: DType) -> Result<Lanes> {
        match e {
            Expr::Load(mem, index) => self.load(*mem, index),
            Expr::Op(op, args) => self.op(*op, args),
            Expr::Fma(a, b, c) => {
                let (a, b, c) = (self.vectors(*a)?, self.vectors(*b)?, self.vectors(*c)?);
                let fused = a.into_iter().zip(b).zip(c).map(|((a, b), c)| self.e.fused(to, [a, b, c]));
                Ok(Lanes::Vectors(fused.collect::<Result<_>>()?))
            }
            Expr::Cast(x) => self.cast(*x, to),
            Expr::RoundTo(d, x) => {
                let rounded = self.vectors(*x)?.into_iter().map(|v| self.e.round_to(*d, v));
                Ok(Lanes::Vectors(rounded.collect::<Result<_>>()?))
            }
            Expr::Select(c, a, b) => self.select(*c, *a, *b),
            Expr::Bitcast(x) => {
                let ty = vector_type(to)?;
                let vectors = self.vectors(*x)?;
                Ok(Lanes::Vectors(vectors.into_iter().map(|v| self.e.reinterpret(v, ty)).collect()))
            }
            Expr::Float(_) | Expr::Int(_) | Expr::Index(_) => Err("a constant that varies".into()),
        }
    }

    /// The lanes of a local that is not boolean.
    pub(super) fn vectors(&mut self, local: Local) -> Result<Vec<Value>> {
        match self.lanes.get(&local) {
            Some(Lanes::Vectors(v)) => return Ok(v.clone()),
            Some(Lanes::Mask(..)) => return Err(format!("{local} as numbers")),
            None => {}
        }
        if local == self.axis {
            return self.index_lanes(&local.dim());
        }
        if let Some(d) = self.plan.index(local) {
            let d = d.clone();
            return self.index_lanes(&d);
        }
        let (value, dtype) = (self.e.read(local)?, self.e.dtype(local));
        let v = self.e.b.ins().splat(vector_type(dtype)?, value);
        Ok(vec![v; self.plan.vectors(dtype)])
    }

    /// The lanes of a boolean local, in lanes of so many bits.
    pub(super) fn mask(&mut self, local: Local, bits: usize) -> Result<Vec<Value>> {
        match self.lanes.get(&local) {
            Some(Lanes::Mask(from, v)) => {
                let (from, v) = (*from, v.clone());
                Ok(self.e.resize_mask(v, from, bits))
            }
            Some(Lanes::Vectors(_)) => Err(format!("{local} as a mask")),
            None => {
                let ty = mask_type(bits);
                let value = self.e.read(local)?;
                let wide = self.e.resize(value, false, ty.lane_type());
                let ones = self.e.b.ins().ineg(wide);
                let v = self.e.b.ins().splat(ty, ones);
                Ok(vec![v; bits / 8])
            }
        }
    }

    /// The width of a boolean local's lanes, if it has lanes.
    fn mask_bits(&self, local: Local) -> Option<usize> {
        match self.lanes.get(&local) {
            Some(Lanes::Mask(bits, _)) => Some(*bits),
            _ => None,
        }
    }

    /// An index expression as 64-bit lanes.
    fn index_lanes(&mut self, d: &Dim) -> Result<Vec<Value>> {
        let pairs = LANES / 2;
        if let Some((by, _)) = d.linear_in(&self.axis_symbol())
            && !self.plan.mentions_varying(d)
        {
            let first = self.e.index(d)?;
            let first = self.e.b.ins().splat(I64X2, first);
            let step = by.as_const();
            let steps = match step {
                Some(_) => None,
                None => {
                    let by = self.e.index(&by)?;
                    Some(self.e.b.ins().splat(I64X2, by))
                }
            };
            let mut out = Vec::new();
            for pair in 0..pairs as i64 {
                let numbers = [2 * pair, 2 * pair + 1].map(|l| l * step.unwrap_or(1));
                let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                let mut offset = self.e.vector_constant(I64X2, &bytes);
                if let Some(steps) = steps {
                    offset = self.e.b.ins().imul(offset, steps);
                }
                out.push(self.e.b.ins().iadd(first, offset));
            }
            return Ok(out);
        }
        let mut out = Vec::new();
        for pair in 0..pairs {
            let mut values = Vec::new();
            for lane in [2 * pair, 2 * pair + 1] {
                self.enter_lane(d, lane)?;
                values.push(self.e.index(d)?);
            }
            let v = self.e.b.ins().splat(I64X2, values[0]);
            out.push(self.e.b.ins().insertlane(v, values[1], 1));
        }
        self.leave_lanes();
        Ok(out)
    }

    fn op(&mut self, op: ScalarOp, args: &[Local]) -> Result<Lanes> {
        let dtype = self.e.dtype(args[0]);
        if dtype == DType::Bool {
            return self.bool_op(op, args);
        }
        let operands = args.iter().map(|a| self.vectors(*a)).collect::<Result<Vec<_>>>()?;
        let never_nan: Vec<bool> =
            args.iter().map(|a| self.e.constants.get(a).is_some_and(|c| !c.is_nan())).collect();
        let mut out = Vec::new();
        for k in 0..operands[0].len() {
            let values: Vec<Value> = operands.iter().map(|o| o[k]).collect();
            out.push(if dtype.is_float() {
                self.e.float_op(op, dtype, &values, &never_nan)?
            } else {
                self.e.int_vector_op(op, dtype, &values)?
            });
        }
        Ok(if op.is_predicate() { Lanes::Mask(dtype.bits(), out) } else { Lanes::Vectors(out) })
    }

    fn bool_op(&mut self, op: ScalarOp, args: &[Local]) -> Result<Lanes> {
        let bits = args.iter().filter_map(|a| self.mask_bits(*a)).min().unwrap_or(32);
        let operands = args.iter().map(|a| self.mask(*a, bits)).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::new();
        for k in 0..operands[0].len() {
            let values: Vec<Value> = operands.iter().map(|o| o[k]).collect();
            out.push(self.e.int_vector_op(op, DType::Bool, &values)?);
        }
        Ok(Lanes::Mask(bits, out))
    }

    fn select(&mut self, c: Local, a: Local, b: Local) -> Result<Lanes> {
        let dtype = self.e.dtype(a);
        if dtype == DType::Bool {
            let bits = [c, a, b].iter().filter_map(|l| self.mask_bits(*l)).min().unwrap_or(32);
            let (c, a, b) = (self.mask(c, bits)?, self.mask(a, bits)?, self.mask(b, bits)?);
            let chosen = c.into_iter().zip(a).zip(b).map(|((c, a), b)| self.e.b.ins().bitselect(c, a, b));
            return Ok(Lanes::Mask(bits, chosen.collect()));
        }
        let (c, a, b) = (self.mask(c, dtype.bits())?, self.vectors(a)?, self.vectors(b)?);
        let chosen = c.into_iter().zip(a).zip(b).map(|((c, a), b)| self.e.choose(c, a, b));
        Ok(Lanes::Vectors(chosen.collect()))
    }

    fn cast(&mut self, x: Local, to: DType) -> Result<Lanes> {
        let from = self.e.dtype(x);
        if from == DType::Bool {
            return self.cast_bool(x, to);
        }
        let vectors = self.vectors(x)?;
        if to == DType::Bool {
            let zero = vectors.first().map(|v| self.e.zero_like(*v));
            let Some(zero) = zero else { return Err("a cast of nothing".into()) };
            let set = vectors.into_iter().map(|v| match from.is_float() {
                true => self.e.b.ins().fcmp(FloatCC::NotEqual, v, zero),
                false => self.e.b.ins().icmp(IntCC::NotEqual, v, zero),
            });
            return Ok(Lanes::Mask(from.bits(), set.collect()));
        }
        Ok(Lanes::Vectors(self.e.cast_lanes(vectors, from, to)?))
    }

    fn cast_bool(&mut self, x: Local, to: DType) -> Result<Lanes> {
        if to == DType::Bool {
            let bits = self.mask_bits(x).unwrap_or(32);
            return Ok(Lanes::Mask(bits, self.mask(x, bits)?));
        }
        let ty = vector_type(to)?;
        let one = if to.is_float() { self.e.float_of(ty, 1.0) } else { self.e.int_of(ty, 1) };
        let mask = self.mask(x, to.bits())?;
        let ones = mask.into_iter().map(|m| {
            let m = self.e.reinterpret(m, ty);
            self.e.b.ins().band(m, one)
        });
        Ok(Lanes::Vectors(ones.collect()))
    }
}

impl Emitter<'_, '_> {
    fn zero_like(&mut self, v: Value) -> Value {
        let ty = self.b.func.dfg.value_type(v);
        if ty.lane_type().is_float() { self.float_of(ty, 0.0) } else { self.int_of(ty, 0) }
    }

    fn cast_lanes(&mut self, vectors: Vec<Value>, from: DType, to: DType) -> Result<Vec<Value>> {
        let (from_bits, to_bits) = (from.bits(), to.bits());
        Ok(match (from, to) {
            _ if from == to => vectors,
            (DType::F32, DType::F64) => self.promote_lanes(&vectors),
            (DType::F64, DType::F32) => self.demote_lanes(&vectors),
            (DType::F32, DType::U32) => {
                vectors.into_iter().map(|v| self.b.ins().fcvt_to_uint_sat(I32X4, v)).collect()
            }
            (DType::F32, _) => {
                let wide = vectors.into_iter().map(|v| self.b.ins().fcvt_to_sint_sat(I32X4, v)).collect();
                self.resize_lanes(wide, 32, to_bits, true)
            }
            (DType::U32, DType::F32) => {
                vectors.into_iter().map(|v| self.b.ins().fcvt_from_uint(F32X4, v)).collect()
            }
            (_, DType::F32) => {
                let wide = self.resize_lanes(vectors, from_bits, 32, is_signed(from));
                wide.into_iter().map(|v| self.b.ins().fcvt_from_sint(F32X4, v)).collect()
            }
            _ => self.resize_lanes(vectors, from_bits, to_bits, is_signed(from)),
        })
    }

    /// A function on vectors of integers or on masks.
    pub(super) fn int_vector_op(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value> {
        let (x, y) = (args[0], args.get(1).copied().unwrap_or(args[0]));
        if dtype == DType::Bool {
            return self.mask_op(op, x, y);
        }
        let (ty, signed) = (mask_type(clif_type(dtype)?.bits() as usize), is_signed(dtype));
        if let Some(cc) = int_condition(op, signed) {
            return Ok(self.b.ins().icmp(cc, x, y));
        }
        Ok(match op {
            ScalarOp::Add => self.b.ins().iadd(x, y),
            ScalarOp::Sub => self.b.ins().isub(x, y),
            ScalarOp::Mul => self.b.ins().imul(x, y),
            ScalarOp::Neg => self.b.ins().ineg(x),
            ScalarOp::Not => self.b.ins().bnot(x),
            ScalarOp::And => self.b.ins().band(x, y),
            ScalarOp::Or => self.b.ins().bor(x, y),
            ScalarOp::Xor => self.b.ins().bxor(x, y),
            ScalarOp::Max | ScalarOp::Min => self.int_extreme(op, ty, signed, x, y),
            ScalarOp::Abs | ScalarOp::Sign => self.int_sign(op, ty, signed, x),
            _ => return Err(format!("vectors of {} of {dtype}", op.name())),
        })
    }

    fn mask_op(&mut self, op: ScalarOp, x: Value, y: Value) -> Result<Value> {
        Ok(match op {
            ScalarOp::And | ScalarOp::Min => self.b.ins().band(x, y),
            ScalarOp::Or | ScalarOp::Max => self.b.ins().bor(x, y),
            ScalarOp::Xor | ScalarOp::Ne => self.b.ins().bxor(x, y),
            ScalarOp::Not => self.b.ins().bnot(x),
            ScalarOp::Eq => {
                let differ = self.b.ins().bxor(x, y);
                self.b.ins().bnot(differ)
            }
            _ => return Err(format!("vectors of {} of bool", op.name())),
        })
    }

    fn int_extreme(&mut self, op: ScalarOp, ty: Type, signed: bool, x: Value, y: Value) -> Value {
        if ty == I64X2 {
            let (a, b) = if op == ScalarOp::Max { (x, y) } else { (y, x) };
            let above = self.b.ins().icmp(IntCC::SignedGreaterThan, a, b);
            return self.b.ins().bitselect(above, x, y);
        }
        match (op, signed) {
            (ScalarOp::Max, true) => self.b.ins().smax(x, y),
            (ScalarOp::Max, false) => self.b.ins().umax(x, y),
            (_, true) => self.b.ins().smin(x, y),
            (_, false) => self.b.ins().umin(x, y),
        }
    }

    fn int_sign(&mut self, op: ScalarOp, ty: Type, signed: bool, x: Value) -> Value {
        let zero = self.int_of(ty, 0);
        if !signed {
            if op == ScalarOp::Abs {
                return x;
            }
            let some = self.b.ins().icmp(IntCC::NotEqual, x, zero);
            return self.b.ins().ineg(some);
        }
        let below = self.b.ins().icmp(IntCC::SignedLessThan, x, zero);
        if op == ScalarOp::Abs {
            let flipped = self.b.ins().bxor(x, below);
            return self.b.ins().isub(flipped, below);
        }
        let above = self.b.ins().icmp(IntCC::SignedGreaterThan, x, zero);
        self.b.ins().isub(below, above)
    }
}
