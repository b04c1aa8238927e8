//! Loads and stores of sixteen lanes: contiguous, strided, or each with an address of its own.

use super::super::emitter::{Result, plain};
use super::{LANES, LaneEmitter, Lanes, VECTOR, mask_type, vector_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I8X16, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use nnc_ir::tile::{Local, Mem, arithmetic_type};
use nnc_ir::{DType, Dim, Sym};

/// How addresses change from lane to lane.
enum Pattern {
    /// One element after the other.
    Contiguous,
    /// By a number of elements.
    Strided(Dim),
    /// In some other way.
    Scattered,
}

/// The register type of an element as it lies in memory.
fn storage_type(dtype: DType) -> Type {
    match (dtype, dtype.size()) {
        (DType::F32, _) => F32,
        (DType::F64, _) => F64,
        (_, 1) => I8,
        (_, 2) => I16,
        (_, 4) => I32,
        _ => I64,
    }
}

fn storage_vector(dtype: DType) -> Result<Type> {
    if dtype == DType::F32 || dtype == DType::F64 {
        vector_type(dtype)
    } else {
        Ok(mask_type(8 * dtype.size()))
    }
}

impl LaneEmitter<'_, '_, '_> {
    fn pattern(&self, index: &Dim) -> Pattern {
        match index.linear_in(&self.axis_symbol()) {
            Some((by, rest)) if !self.plan.mentions_varying(&rest) && !self.plan.mentions_varying(&by) => {
                if by.is(1) {
                    Pattern::Contiguous
                } else {
                    Pattern::Strided(by)
                }
            }
            _ => Pattern::Scattered,
        }
    }

    /// The elements of all lanes.
    pub(super) fn load(&mut self, mem: Mem, index: &Dim) -> Result<Lanes> {
        let (dtype, index) = (self.e.mem_dtype(mem), self.plan.expanded(index));
        let ty = storage_vector(dtype)?;
        let count = LANES * dtype.size() / VECTOR;
        let raw: Vec<Value> = match self.pattern(&index) {
            Pattern::Contiguous => {
                let (base, displacement) = self.e.address(mem, &index)?;
                let offset = |k: usize| displacement + (k * VECTOR) as i32;
                (0..count).map(|k| self.e.b.ins().load(ty, plain(), base, offset(k))).collect()
            }
            pattern => {
                let places = self.places(mem, &index, &pattern)?;
                let scalar = storage_type(dtype);
                let elements: Vec<Value> = places
                    .into_iter()
                    .map(|(base, d)| self.e.b.ins().load(scalar, plain(), base, d))
                    .collect();
                elements.chunks(LANES / count).map(|part| self.gathered(ty, part)).collect()
            }
        };
        self.widened(dtype, raw)
    }

    /// A vector of scalars.
    fn gathered(&mut self, ty: Type, scalars: &[Value]) -> Value {
        let mut v = self.e.b.ins().splat(ty, scalars[0]);
        for (lane, s) in scalars.iter().enumerate().skip(1) {
            v = self.e.b.ins().insertlane(v, *s, lane as u8);
        }
        v
    }

    /// Elements as they lie in memory, in the arithmetic type.
    fn widened(&mut self, dtype: DType, raw: Vec<Value>) -> Result<Lanes> {
        if dtype == DType::Bool {
            let zero = self.e.int_of(I8X16, 0);
            let set = self.e.b.ins().icmp(IntCC::NotEqual, raw[0], zero);
            return Ok(Lanes::Mask(8, vec![set]));
        }
        if arithmetic_type(dtype) == dtype {
            return Ok(Lanes::Vectors(raw));
        }
        let codes = self.e.resize_lanes(raw, 8 * dtype.size(), 32, false);
        Ok(Lanes::Vectors(codes.into_iter().map(|c| self.e.decode(dtype, c)).collect::<Result<_>>()?))
    }

    /// Stores a local in all lanes.
    pub(super) fn store(&mut self, mem: Mem, index: &Dim, value: Local) -> Result<()> {
        let (dtype, index) = (self.e.mem_dtype(mem), self.plan.expanded(index));
        let raw = self.narrowed(dtype, value)?;
        match self.pattern(&index) {
            Pattern::Contiguous => {
                let (base, displacement) = self.e.address(mem, &index)?;
                for (k, v) in raw.into_iter().enumerate() {
                    self.e.b.ins().store(plain(), v, base, displacement + (k * VECTOR) as i32);
                }
            }
            pattern => {
                let places = self.places(mem, &index, &pattern)?;
                let per_vector = LANES / raw.len();
                for (lane, (base, displacement)) in places.into_iter().enumerate() {
                    let v = self.e.b.ins().extractlane(raw[lane / per_vector], (lane % per_vector) as u8);
                    self.e.b.ins().store(plain(), v, base, displacement);
                }
            }
        }
        Ok(())
    }

    /// A local as it is to lie in memory.
    fn narrowed(&mut self, dtype: DType, value: Local) -> Result<Vec<Value>> {
        if dtype == DType::Bool {
            let mask = self.mask(value, 8)?;
            let one = self.e.int_of(I8X16, 1);
            return Ok(vec![self.e.b.ins().band(mask[0], one)]);
        }
        let vectors = self.vectors(value)?;
        if arithmetic_type(dtype) == dtype {
            return Ok(vectors);
        }
        let codes = vectors.into_iter().map(|v| self.e.encode(dtype, v)).collect::<Result<Vec<_>>>()?;
        Ok(self.e.resize_lanes(codes, 32, 8 * dtype.size(), false))
    }

    /// The address and displacement of every lane.
    fn places(&mut self, mem: Mem, index: &Dim, pattern: &Pattern) -> Result<Vec<(Value, i32)>> {
        let size = self.e.mem_dtype(mem).size() as i64;
        let Pattern::Strided(by) = pattern else { return self.scattered(mem, index) };
        let (base, displacement) = self.e.address(mem, index)?;
        let near = by.as_const().and_then(|c| i32::try_from(c * size * LANES as i64).ok());
        if let Some(far) = near.filter(|far| far.checked_add(displacement).is_some()) {
            let step = far / LANES as i32;
            return Ok((0..LANES as i32).map(|lane| (base, displacement + lane * step)).collect());
        }
        let step = self.e.index(&(by.clone() * Dim::int(size)))?;
        let mut places = vec![(base, displacement)];
        for lane in 1..LANES {
            places.push((self.e.b.ins().iadd(places[lane - 1].0, step), displacement));
        }
        Ok(places)
    }

    fn scattered(&mut self, mem: Mem, index: &Dim) -> Result<Vec<(Value, i32)>> {
        let mut places = Vec::new();
        for lane in 0..LANES {
            self.enter_lane(index, lane)?;
            places.push(self.e.address(mem, index)?);
        }
        self.leave_lanes();
        Ok(places)
    }

    /// Until [`LaneEmitter::leave_lanes`] the axis and the varying locals of an expression have
    /// their values of one lane.
    pub(super) fn enter_lane(&mut self, index: &Dim, lane: usize) -> Result<()> {
        let mut locals = Vec::new();
        index.visit_syms(&mut |s| {
            if let Sym::Local(n) = s {
                locals.push(Local(*n));
            }
        });
        for local in locals {
            if let Some(Lanes::Vectors(v)) = self.lanes.get(&local) {
                let per_vector = LANES / v.len();
                let v = v[lane / per_vector];
                let value = self.e.b.ins().extractlane(v, (lane % per_vector) as u8);
                self.e.define(local, DType::I64, value);
            }
        }
        let value = self.e.b.ins().iadd_imm_s(self.first, lane as i64);
        self.e.define(self.axis, DType::I64, value);
        Ok(())
    }

    pub(super) fn leave_lanes(&mut self) {
        self.e.define(self.axis, DType::I64, self.first);
    }
}
