//! Index expressions and addresses.
//!
//! A sum is split into products of locals, each with a coefficient over named sizes: a constant or one
//! size argument. Divisions are done in 32 bits where the numbers are known to fit: a 64-bit division
//! is a long sequence of instructions.

use super::kernel::{Emitter, Place, Result, Space};
use super::ptx::{At, Kind, Reg};
use nnc_ir::tile::{Local, Mem};
use nnc_ir::{DType, Dim, Sym};
use nnc_tensor::Range;
use nnc_tensor::dim::Atom;
use std::collections::BTreeMap;

fn mentions_local(dim: &Dim) -> bool {
    let mut found = false;
    dim.visit_syms(&mut |s| found |= matches!(s, Sym::Local(_)));
    found
}

fn is_local(atom: &Atom) -> bool {
    match atom {
        Atom::Sym(s) => matches!(s, Sym::Local(_)),
        Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => mentions_local(a) || mentions_local(b),
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

/// The coefficient of each product of atoms with locals.
fn products(dim: &Dim) -> BTreeMap<Vec<Atom>, Dim> {
    let mut out = BTreeMap::new();
    for term in dim.terms() {
        let (local, named): (Vec<&Atom>, Vec<&Atom>) = term.factors.iter().partition(|a| is_local(a));
        let coefficient = named.into_iter().fold(Dim::int(term.coeff), |c, a| c * atom_dim(a));
        let entry = out.entry(local.into_iter().cloned().collect()).or_insert(Dim::ZERO);
        *entry = entry.clone() + coefficient;
    }
    out
}

/// True if a number divides the value of an expression, whatever its symbols are.
pub(super) fn divides(n: i64, dim: &Dim) -> bool {
    let factor = |a: &Atom| match a {
        Atom::Min(a, b) | Atom::Max(a, b) => divides(n, a) && divides(n, b),
        Atom::Sym(_) | Atom::FloorDiv(..) => false,
    };
    match dim.as_const() {
        Some(v) => v % n == 0,
        None => dim.terms().iter().all(|t| t.coeff % n == 0 || t.factors.iter().any(factor)),
    }
}

/// A sum without its literal constant, and that constant.
fn split_constant(dim: &Dim) -> (Dim, i64) {
    let constant: i64 = dim.summands().iter().filter_map(Dim::as_const).sum();
    (dim.clone() - Dim::int(constant), constant)
}

impl Emitter<'_> {
    /// The value of an index expression.
    pub(super) fn index(&mut self, dim: &Dim) -> Result<Reg> {
        if !mentions_local(dim) {
            return Ok(self.size(dim));
        }
        let mut sum: Option<Reg> = None;
        for (locals, coefficient) in products(dim) {
            if coefficient.is(0) {
                continue;
            }
            let term = self.product(&locals, &coefficient)?;
            sum = Some(match sum {
                None => term,
                Some(s) => self.t.op(Kind::Long, "add.s64", &[&s, &term]),
            });
        }
        Ok(sum.unwrap_or_else(|| self.t.int(Kind::Long, 0)))
    }

    fn product(&mut self, locals: &[Atom], coefficient: &Dim) -> Result<Reg> {
        let mut product: Option<Reg> = None;
        for atom in locals {
            let v = self.atom(atom)?;
            product = Some(match product {
                None => v,
                Some(p) => self.t.op(Kind::Long, "mul.lo.s64", &[&p, &v]),
            });
        }
        let Some(product) = product else { return Ok(self.size(coefficient)) };
        Ok(match coefficient.as_const() {
            Some(1) => product,
            Some(c) if c > 0 && c.count_ones() == 1 => {
                self.t.op(Kind::Long, "shl.b64", &[&product, &c.trailing_zeros()])
            }
            Some(c) => self.t.op(Kind::Long, "mul.lo.s64", &[&product, &c]),
            None => {
                let c = self.size(coefficient);
                self.t.op(Kind::Long, "mul.lo.s64", &[&product, &c])
            }
        })
    }

    fn atom(&mut self, atom: &Atom) -> Result<Reg> {
        match atom {
            Atom::Sym(Sym::Local(n)) => self.read(Local(*n)),
            Atom::Sym(s) => Ok(self.size(&Dim::sym(s.clone()))),
            Atom::Min(a, b) | Atom::Max(a, b) => {
                let name = if matches!(atom, Atom::Min(..)) { "min.s64" } else { "max.s64" };
                let (a, b) = (self.index(a)?, self.index(b)?);
                Ok(self.t.op(Kind::Long, name, &[&a, &b]))
            }
            Atom::FloorDiv(a, b) => self.floor_div(a, b),
        }
    }

    fn floor_div(&mut self, a: &Dim, b: &Dim) -> Result<Reg> {
        let x = self.index(a)?;
        if let Some(d) = b.as_const().filter(|d| *d > 0 && d.count_ones() == 1) {
            return Ok(self.t.op(Kind::Long, "shr.s64", &[&x, &d.trailing_zeros()]));
        }
        let positive = self.at_least_zero(a);
        if positive && self.fits_word(a) && self.fits_word(b) {
            let x = self.t.op(Kind::Word, "cvt.u32.u64", &[&x]);
            let quotient = match b.as_const() {
                Some(d) => self.t.op(Kind::Word, "div.u32", &[&x, &d]),
                None => {
                    let y = self.index(b)?;
                    let y = self.t.op(Kind::Word, "cvt.u32.u64", &[&y]);
                    self.t.op(Kind::Word, "div.u32", &[&x, &y])
                }
            };
            return Ok(self.t.op(Kind::Long, "cvt.u64.u32", &[&quotient]));
        }
        let y = self.index(b)?;
        if positive {
            return Ok(self.t.op(Kind::Long, "div.u64", &[&x, &y]));
        }
        let (quotient, remainder) =
            (self.t.op(Kind::Long, "div.s64", &[&x, &y]), self.t.op(Kind::Long, "rem.s64", &[&x, &y]));
        let below = self.t.compare("lt.s64", remainder, &0);
        let less = self.t.op(Kind::Long, "sub.s64", &[&quotient, &1]);
        Ok(self.t.choose(below, less, quotient))
    }

    fn range(&self, s: &Sym) -> Range {
        match s {
            Sym::Local(n) => self.ranges.get(n).cloned().unwrap_or_default(),
            Sym::Name(_) => Range::length(),
        }
    }

    /// True if the expression is certainly not negative.
    pub(super) fn at_least_zero(&self, dim: &Dim) -> bool {
        dim.at_least(0, &|s| self.range(s))
    }

    /// True if the expression is certainly below 2^31.
    fn fits_word(&self, dim: &Dim) -> bool {
        self.at_most(dim, i64::from(i32::MAX))
    }

    /// True if the expression is certainly no more than a number.
    pub(super) fn at_most(&self, dim: &Dim, most: i64) -> bool {
        (Dim::int(most) - dim.clone()).at_least(0, &|s| self.range(s))
    }

    /// What the expression certainly does not exceed, if anything is known.
    pub(super) fn most(&self, dim: &Dim) -> Option<i64> {
        dim.bounds(&|s| self.range(s)).1
    }

    /// The element type of a memory object.
    pub(super) fn mem_dtype(&self, mem: Mem) -> DType {
        match mem {
            Mem::Param(i) => self.kernel.params[i as usize].dtype,
            Mem::Scratch(i) => self.kernel.scratch[i as usize].dtype,
        }
    }

    /// Where an element of a type that is not packed lies.
    pub(super) fn address(&mut self, mem: Mem, index: &Dim) -> Result<(Space, At)> {
        let size = self.mem_dtype(mem).size();
        self.byte_address(mem, &(index.clone() * Dim::len(size)))
    }

    /// Where a byte of a memory object lies.
    pub(super) fn byte_address(&mut self, mem: Mem, bytes: &Dim) -> Result<(Space, At)> {
        let Place { space, base } = self.place_of(mem);
        let (rest, constant) = split_constant(bytes);
        let (rest, displacement) = match i32::try_from(constant) {
            Ok(d) => (rest, d),
            Err(_) => (bytes.clone(), 0),
        };
        if rest.is(0) {
            return Ok((space, At(base, displacement)));
        }
        let offset = self.index(&rest)?;
        Ok((space, At(self.t.op(Kind::Long, "add.s64", &[&base, &offset]), displacement)))
    }

    /// The address of an element in one register.
    pub(super) fn pointer(&mut self, mem: Mem, index: &Dim) -> Result<(Space, Reg)> {
        let bits = self.mem_dtype(mem).bits();
        let bytes = (index.clone() * Dim::len(bits)).floor_div(&Dim::int(8));
        let (space, At(base, displacement)) = self.byte_address(mem, &bytes)?;
        let address = match displacement {
            0 => base,
            d => self.t.op(Kind::Long, "add.s64", &[&base, &d]),
        };
        Ok((space, address))
    }
}
