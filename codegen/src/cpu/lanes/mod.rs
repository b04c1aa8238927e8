//! Lanes loops as vector code: sixteen lanes a turn in 128-bit vectors, then scalar turns for the rest.
//!
//! Inside such a loop a local is *uniform* (the same in all lanes: scalar code), an *index* (an
//! expression over axes, evaluated where it is used) or *varying* (four vectors of 32-bit elements,
//! eight of 64 bits, and so on). [`plan`] decides which before anything is emitted, and whether every
//! statement has a vector form.

mod access;
mod expr;
mod plan;
mod widths;

use super::emitter::{Emitter, Result, clif_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, F64, F64X2, I8X16, I16X8, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nnc_ir::tile::{Local, Loop, Stmt};
use nnc_ir::{DType, ScalarOp, Sym};
use plan::Plan;
use std::collections::HashMap;

/// Lanes of a turn of the vector loop.
pub(super) const LANES: usize = 16;
/// Bytes of a vector.
const VECTOR: usize = 16;
/// Bits of the lanes in which loops carry booleans.
const CARRIED_MASK: usize = 32;

/// The sixteen values of a varying local.
#[derive(Clone)]
enum Lanes {
    /// Elements of the local's type.
    Vectors(Vec<Value>),
    /// Booleans: all ones or all zeros, in lanes of so many bits.
    Mask(usize, Vec<Value>),
}

/// A lanes loop being emitted as vectors.
struct LaneEmitter<'e, 'a, 'f> {
    e: &'e mut Emitter<'a, 'f>,
    plan: &'e Plan,
    /// The axis of the loop.
    axis: Local,
    /// Its value in the first of the sixteen lanes.
    first: Value,
    lanes: HashMap<Local, Lanes>,
}

/// The vector type of elements of a type (masks of their own width for booleans).
fn vector_type(dtype: DType) -> Result<Type> {
    Ok(match clif_type(dtype)? {
        F32 => F32X4,
        F64 => F64X2,
        int => mask_type(int.bits() as usize),
    })
}

/// The vector type of integer lanes of so many bits.
fn mask_type(bits: usize) -> Type {
    match bits {
        8 => I8X16,
        16 => I16X8,
        32 => I32X4,
        _ => I64X2,
    }
}

/// The neutral element of a reduction, as a constant.
enum Neutral {
    Float(f64),
    Int(i64),
}

fn neutral(op: ScalarOp, dtype: DType) -> Option<Neutral> {
    let (low, high) = dtype.int_range().map_or((0, 0), |(l, h)| (l as i64, h as i64));
    Some(match (op, dtype.is_float()) {
        // Adding -0 leaves every number as it is, 0 does not.
        (ScalarOp::Add, true) => Neutral::Float(-0.0),
        (ScalarOp::Mul, true) => Neutral::Float(1.0),
        (ScalarOp::Max, true) => Neutral::Float(f64::NEG_INFINITY),
        (ScalarOp::Min, true) => Neutral::Float(f64::INFINITY),
        (ScalarOp::Add | ScalarOp::Or, false) => Neutral::Int(0),
        (ScalarOp::Mul, false) => Neutral::Int(1),
        (ScalarOp::Max, false) => Neutral::Int(low),
        (ScalarOp::Min, false) => Neutral::Int(high),
        (ScalarOp::And, false) => Neutral::Int(-1),
        _ => return None,
    })
}

impl Emitter<'_, '_> {
    /// Emits a lanes loop as vectors; false if it has no such form.
    pub(super) fn vector_loop(&mut self, l: &Loop) -> Result<bool> {
        if !self.target.has_vectors() || l.axis.extent.as_const().is_some_and(|n| n < LANES as i64) {
            return Ok(false);
        }
        let Some(plan) = Plan::of(self, l) else { return Ok(false) };
        let init = self.starts(l)?;
        let n = self.index(&l.axis.extent)?;
        let whole = self.b.ins().band_imm_s(n, -(LANES as i64));
        let enough = l.axis.extent.as_const().is_some();
        let folded = if enough {
            self.vector_turns(l, &plan, whole, &init)?
        } else {
            let any = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, n, LANES as i64);
            self.when(any, &init, |e| e.vector_turns(l, &plan, whole, &init))?
        };
        let results = match l.axis.extent.as_const() {
            Some(n) if n % LANES as i64 == 0 => folded,
            Some(_) => self.rest(l, whole, n, &folded)?,
            None => {
                // A negative extent counts as zero, and so does the start of the rest then.
                let zero = self.b.ins().iconst(I64, 0);
                let from = self.b.ins().smax(whole, zero);
                let any = self.b.ins().icmp(IntCC::SignedLessThan, from, n);
                self.when(any, &folded, |e| e.rest(l, from, n, &folded))?
            }
        };
        self.define_results(l, &results);
        Ok(true)
    }

    fn rest(&mut self, l: &Loop, from: Value, to: Value, init: &[Value]) -> Result<Vec<Value>> {
        let (open, carried) = self.open_loop(from, to, 1, init);
        let next = self.turn(l, open.index, &carried)?;
        self.close_loop(open, &next);
        Ok(next)
    }

    /// The turns `0..whole`, a multiple of sixteen above zero; gives the reductions.
    fn vector_turns(&mut self, l: &Loop, plan: &Plan, whole: Value, init: &[Value]) -> Result<Vec<Value>> {
        let (mut start, mut counts) = (Vec::new(), Vec::new());
        for r in &l.reduces {
            let one = self.neutral_vector(r.op, self.dtype(r.init))?;
            let count = plan.vectors(self.dtype(r.init));
            start.extend(vec![one; count]);
            counts.push(count);
        }
        let (uniform, varied) = plan.parts(&l.body);
        uniform.into_iter().try_for_each(|s| self.stmt(s))?;
        let zero = self.b.ins().iconst(I64, 0);
        let (open, carried) = self.open_loop(zero, whole, LANES as i64, &start);
        self.define_axis(&l.axis, open.index);
        let first = open.index;
        let mut lane_emitter =
            LaneEmitter { e: self, plan, axis: l.axis.local, first, lanes: HashMap::new() };
        varied.into_iter().try_for_each(|s| lane_emitter.stmt(s))?;
        let (mut next, mut rest) = (Vec::new(), carried.as_slice());
        for (r, count) in l.reduces.iter().zip(&counts) {
            let (sums, others) = rest.split_at(*count);
            rest = others;
            next.extend(lane_emitter.accumulate(r.op, r.value, sums)?);
        }
        self.close_loop(open, &next);
        let (mut results, mut rest) = (Vec::new(), next.as_slice());
        for ((r, count), start) in l.reduces.iter().zip(&counts).zip(init) {
            let (sums, others) = rest.split_at(*count);
            rest = others;
            results.push(self.fold(r.op, self.dtype(r.init), sums, *start)?);
        }
        Ok(results)
    }

    fn neutral_vector(&mut self, op: ScalarOp, dtype: DType) -> Result<Value> {
        let ty = vector_type(dtype)?;
        match neutral(op, dtype) {
            Some(Neutral::Float(v)) => Ok(self.float_of(ty, v)),
            Some(Neutral::Int(v)) => Ok(self.int_of(ty, v)),
            None => Err(format!("a reduction by {}", op.name())),
        }
    }

    /// Folds partial results pairwise and the start on top.
    fn fold(&mut self, op: ScalarOp, dtype: DType, sums: &[Value], start: Value) -> Result<Value> {
        let mut vectors = sums.to_vec();
        while vectors.len() > 1 {
            let half = vectors.len() / 2;
            let pairs: Vec<(Value, Value)> = (0..half).map(|i| (vectors[i], vectors[i + half])).collect();
            vectors =
                pairs.into_iter().map(|(a, b)| self.vector_op(op, dtype, &[a, b])).collect::<Result<_>>()?;
        }
        let lanes = self.b.func.dfg.value_type(vectors[0]).lane_count();
        let mut scalars: Vec<Value> = Vec::new();
        for lane in 0..lanes {
            let v = self.b.ins().extractlane(vectors[0], lane as u8);
            scalars.push(if dtype == DType::Bool { self.b.ins().band_imm_u(v, 1) } else { v });
        }
        while scalars.len() > 1 {
            let half = scalars.len() / 2;
            let pairs: Vec<(Value, Value)> = (0..half).map(|i| (scalars[i], scalars[i + half])).collect();
            scalars =
                pairs.into_iter().map(|(a, b)| self.apply(op, dtype, &[a, b])).collect::<Result<_>>()?;
        }
        self.apply(op, dtype, &[start, scalars[0]])
    }

    /// A function on one vector of each operand; predicates give masks.
    fn vector_op(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value> {
        if dtype.is_float() {
            return self.float_op(op, dtype, args, &[false, false]);
        }
        self.int_vector_op(op, dtype, args)
    }
}

impl LaneEmitter<'_, '_, '_> {
    fn body(&mut self, body: &[Stmt]) -> Result<()> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &Stmt) -> Result<()> {
        match s {
            Stmt::Let { local, .. } if self.plan.index(*local).is_some() => Ok(()),
            Stmt::Let { local, dtype, expr } if self.plan.is_varying(*local) => {
                let lanes = self.expr(expr, *dtype)?;
                self.e.note(*local, expr);
                self.define(*local, *dtype, lanes);
                Ok(())
            }
            Stmt::Let { .. } => self.e.stmt(s),
            Stmt::Store { mem, index, value } => self.store(*mem, index, *value),
            Stmt::For(l) => self.serial(l),
            _ => Err("a statement without a vector form".into()),
        }
    }

    fn define(&mut self, local: Local, dtype: DType, lanes: Lanes) {
        self.e.set_dtype(local, dtype);
        self.lanes.insert(local, lanes);
    }

    /// The reductions after a turn.
    fn accumulate(&mut self, op: ScalarOp, value: Local, sums: &[Value]) -> Result<Vec<Value>> {
        let dtype = self.e.dtype(value);
        let values = if dtype == DType::Bool { self.mask(value, 8)? } else { self.vectors(value)? };
        sums.iter().zip(values).map(|(s, v)| self.e.vector_op(op, dtype, &[*s, v])).collect()
    }

    /// A serial loop inside the lanes: all of them take the same turns.
    fn serial(&mut self, l: &Loop) -> Result<()> {
        let inits =
            l.carries.iter().map(|c| (c.init, c.inside)).chain(l.reduces.iter().map(|r| (r.init, r.result)));
        let mut start = Vec::new();
        let mut counts = Vec::new();
        for (init, inside) in inits {
            let values = self.flat(init, self.plan.is_varying(inside))?;
            counts.push(values.len());
            start.extend(values);
        }
        let n = self.e.index(&l.axis.extent)?;
        let results = match l.axis.extent.as_const() {
            Some(..=0) => start,
            Some(_) => self.serial_turns(l, n, &start, &counts)?,
            None => {
                let any = self.e.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, 0);
                let (first, axis, plan) = (self.first, self.axis, self.plan);
                let mut lanes = std::mem::take(&mut self.lanes);
                let results = self.e.when(any, &start, |e| {
                    let mut inner = LaneEmitter { e, plan, axis, first, lanes: std::mem::take(&mut lanes) };
                    let results = inner.serial_turns(l, n, &start, &counts)?;
                    lanes = inner.lanes;
                    Ok(results)
                })?;
                self.lanes = lanes;
                results
            }
        };
        let defined =
            l.carries.iter().map(|c| (c.init, c.result)).chain(l.reduces.iter().map(|r| (r.init, r.result)));
        let mut rest = results.as_slice();
        for ((init, result), count) in defined.zip(&counts) {
            let (values, others) = rest.split_at(*count);
            rest = others;
            self.unflatten(result, self.e.dtype(init), values);
        }
        Ok(())
    }

    fn serial_turns(&mut self, l: &Loop, n: Value, start: &[Value], counts: &[usize]) -> Result<Vec<Value>> {
        let zero = self.e.b.ins().iconst(I64, 0);
        if l.axis.extent.is(1) {
            return self.serial_turn(l, zero, start, counts);
        }
        let (open, carried) = self.e.open_loop(zero, n, 1, start);
        let next = self.serial_turn(l, open.index, &carried, counts)?;
        self.e.close_loop(open, &next);
        Ok(next)
    }

    fn serial_turn(
        &mut self,
        l: &Loop,
        index: Value,
        carried: &[Value],
        counts: &[usize],
    ) -> Result<Vec<Value>> {
        self.e.define_axis(&l.axis, index);
        let mut rest = carried;
        for (c, count) in l.carries.iter().zip(counts) {
            let (values, others) = rest.split_at(*count);
            rest = others;
            self.unflatten(c.inside, self.e.dtype(c.init), values);
        }
        self.body(&l.body)?;
        let mut next = Vec::new();
        for c in &l.carries {
            next.extend(self.flat(c.next, self.plan.is_varying(c.inside))?);
        }
        for (r, count) in l.reduces.iter().zip(&counts[l.carries.len()..]) {
            let (sums, others) = rest.split_at(*count);
            rest = others;
            let dtype = self.e.dtype(r.init);
            let values = self.flat(r.value, self.plan.is_varying(r.result))?;
            for (s, v) in sums.iter().zip(values) {
                let varying = self.plan.is_varying(r.result);
                next.push(match varying {
                    true => self.e.vector_op(r.op, dtype, &[*s, v])?,
                    false => self.e.apply(r.op, dtype, &[*s, v])?,
                });
            }
        }
        Ok(next)
    }

    /// The values of a local as a loop carries them.
    fn flat(&mut self, local: Local, varying: bool) -> Result<Vec<Value>> {
        match (varying, self.e.dtype(local)) {
            (false, _) => Ok(vec![self.e.read(local)?]),
            (true, DType::Bool) => self.mask(local, CARRIED_MASK),
            (true, _) => self.vectors(local),
        }
    }

    /// Defines a local by what [`LaneEmitter::flat`] gave.
    fn unflatten(&mut self, local: Local, dtype: DType, values: &[Value]) {
        match (self.plan.is_varying(local), dtype) {
            (false, _) => self.e.define(local, dtype, values[0]),
            (true, DType::Bool) => self.define(local, dtype, Lanes::Mask(CARRIED_MASK, values.to_vec())),
            (true, _) => self.define(local, dtype, Lanes::Vectors(values.to_vec())),
        }
    }

    fn axis_symbol(&self) -> Sym {
        Sym::Local(self.axis.0)
    }
}
