//! Index expressions and addresses.
//!
//! A sum is split into products of locals, each with a coefficient over named sizes: a constant or
//! one slot of the dims array. The products are added outermost local first, so that the part of an
//! address that does not change in a loop is a value of its own, which Cranelift moves out of it.

use super::emitter::{Emitter, Result};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use nnc_ir::tile::{Local, Mem};
use nnc_ir::{DType, Dim, Sym};
use nnc_tensor::Range;
use nnc_tensor::dim::Atom;
use std::collections::BTreeMap;

/// The number of the innermost local of an expression.
pub(super) fn innermost(dim: &Dim) -> Option<u32> {
    let mut found = None;
    dim.visit_syms(&mut |s| {
        if let Sym::Local(n) = s {
            found = found.max(Some(*n));
        }
    });
    found
}

fn atom_innermost(atom: &Atom) -> Option<u32> {
    match atom {
        Atom::Sym(Sym::Local(n)) => Some(*n),
        Atom::Sym(Sym::Name(_)) => None,
        Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => innermost(a).max(innermost(b)),
    }
}

fn atom_dim(atom: &Atom) -> Dim {
    match atom {
        Atom::Sym(s) => Dim::sym(s.clone()),
        Atom::FloorDiv(a, b) => a.floor_div(b),
        Atom::Min(a, b) => a.min_with(b),
        Atom::Max(a, b) => a.max_with(b),
    }
}

/// The coefficient of each product of atoms with locals, sorted by innermost local.
fn products(dim: &Dim) -> BTreeMap<(Option<u32>, Vec<Atom>), Dim> {
    let mut out = BTreeMap::new();
    if let Some(v) = dim.as_const() {
        out.insert((None, Vec::new()), Dim::int(v));
    }
    for term in dim.terms() {
        let (local, named): (Vec<&Atom>, Vec<&Atom>) =
            term.factors.iter().partition(|a| atom_innermost(a).is_some());
        let coefficient = named.into_iter().fold(Dim::int(term.coeff), |c, a| c * atom_dim(a));
        let key = local.iter().filter_map(|a| atom_innermost(a)).max();
        let entry = out.entry((key, local.into_iter().cloned().collect())).or_insert(Dim::ZERO);
        *entry = entry.clone() + coefficient;
    }
    out
}

/// A sum without its literal constant, and that constant.
fn split_constant(dim: &Dim) -> (Dim, i64) {
    let constant: i64 = dim.summands().iter().filter_map(Dim::as_const).sum();
    (dim.clone() - Dim::int(constant), constant)
}

impl Emitter<'_, '_> {
    /// The value of an index expression.
    pub(super) fn index(&mut self, dim: &Dim) -> Result<Value> {
        match innermost(dim) {
            None => Ok(self.size(dim)),
            Some(_) => self.sum(None, dim),
        }
    }

    /// The address of an element of a type that is not packed, and a displacement to be added.
    pub(super) fn address(&mut self, mem: Mem, index: &Dim) -> Result<(Value, i32)> {
        let dtype = self.mem_dtype(mem);
        self.byte_address(mem, &(index.clone() * Dim::len(dtype.size())))
    }

    /// The address of a byte of a memory object, and a displacement to be added.
    pub(super) fn byte_address(&mut self, mem: Mem, bytes: &Dim) -> Result<(Value, i32)> {
        let (base, bytes) = match mem {
            Mem::Param(i) => (self.buffer(i), bytes.clone()),
            Mem::Scratch(i) => (self.scratch(), bytes.clone() + self.scratch_offsets[i as usize].clone()),
        };
        let (rest, constant) = split_constant(&bytes);
        match i32::try_from(constant) {
            Ok(displacement) if rest.is(0) => Ok((base, displacement)),
            // Room for the vectors that follow the first one.
            Ok(displacement) if displacement < i32::MAX - 4096 => {
                Ok((self.sum(Some(base), &rest)?, displacement))
            }
            _ => Ok((self.sum(Some(base), &bytes)?, 0)),
        }
    }

    /// The address of an element as one value.
    pub(super) fn pointer(&mut self, mem: Mem, index: &Dim) -> Result<Value> {
        let dtype = self.mem_dtype(mem);
        let bytes = (index.clone() * Dim::len(dtype.bits())).floor_div(&Dim::int(8));
        let (base, displacement) = self.byte_address(mem, &bytes)?;
        Ok(if displacement == 0 { base } else { self.b.ins().iadd_imm_s(base, i64::from(displacement)) })
    }

    /// The element type of a memory object.
    pub(super) fn mem_dtype(&self, mem: Mem) -> DType {
        match mem {
            Mem::Param(i) => self.kernel.params[i as usize].dtype,
            Mem::Scratch(i) => self.kernel.scratch[i as usize].dtype,
        }
    }

    fn sum(&mut self, base: Option<Value>, dim: &Dim) -> Result<Value> {
        let mut sum = base;
        for ((_, locals), coefficient) in products(dim) {
            let (negative, coefficient) = match coefficient.as_const() {
                Some(0) => continue,
                Some(c) if c < 0 && c != i64::MIN && sum.is_some() => (true, Dim::int(-c)),
                _ => (false, coefficient),
            };
            let term = self.product(&locals, &coefficient)?;
            sum = Some(match (sum, negative) {
                (None, _) => term,
                (Some(s), false) => self.b.ins().iadd(s, term),
                (Some(s), true) => self.b.ins().isub(s, term),
            });
        }
        Ok(match sum {
            Some(s) => s,
            None => self.b.ins().iconst(I64, 0),
        })
    }

    fn product(&mut self, locals: &[Atom], coefficient: &Dim) -> Result<Value> {
        let mut product: Option<Value> = None;
        for atom in locals {
            let v = self.atom(atom)?;
            product = Some(match product {
                None => v,
                Some(p) => self.b.ins().imul(p, v),
            });
        }
        let Some(product) = product else {
            return Ok(self.size(coefficient));
        };
        Ok(match coefficient.as_const() {
            Some(1) => product,
            Some(c) if c > 0 && c.count_ones() == 1 => {
                self.b.ins().ishl_imm_u(product, i64::from(c.trailing_zeros()))
            }
            Some(c) => self.b.ins().imul_imm_s(product, c),
            None => {
                let c = self.size(coefficient);
                self.b.ins().imul(product, c)
            }
        })
    }

    fn atom(&mut self, atom: &Atom) -> Result<Value> {
        match atom {
            Atom::Sym(Sym::Local(n)) => self.read(Local(*n)),
            Atom::Sym(s) => Ok(self.size(&Dim::sym(s.clone()))),
            Atom::Min(a, b) => {
                let (a, b) = (self.index(a)?, self.index(b)?);
                Ok(self.b.ins().smin(a, b))
            }
            Atom::Max(a, b) => {
                let (a, b) = (self.index(a)?, self.index(b)?);
                Ok(self.b.ins().smax(a, b))
            }
            Atom::FloorDiv(a, b) => self.floor_div(a, b),
        }
    }

    fn floor_div(&mut self, a: &Dim, b: &Dim) -> Result<Value> {
        let (x, y) = (self.index(a)?, self.index(b)?);
        if let Some(d) = b.as_const()
            && d > 0
            && d.count_ones() == 1
        {
            return Ok(self.b.ins().sshr_imm_u(x, i64::from(d.trailing_zeros())));
        }
        if self.at_least_zero(a) {
            return Ok(self.b.ins().udiv(x, y));
        }
        let (quotient, remainder) = (self.b.ins().sdiv(x, y), self.b.ins().srem(x, y));
        let zero = self.b.ins().iconst(I64, 0);
        let below = self.b.ins().icmp(IntCC::SignedLessThan, remainder, zero);
        let below = self.b.ins().uextend(I64, below);
        Ok(self.b.ins().isub(quotient, below))
    }

    /// True if the expression is certainly not negative.
    pub(super) fn at_least_zero(&self, dim: &Dim) -> bool {
        dim.at_least(0, &|s| match s {
            Sym::Local(n) => self.ranges.get(n).cloned().unwrap_or_default(),
            Sym::Name(_) => Range::length(),
        })
    }
}
