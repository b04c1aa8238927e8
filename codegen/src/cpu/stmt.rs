//! Statements as scalar code.

use super::emitter::{Emitter, Result, clif_type};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use nnc_ir::tile::{Expr, Local, Loop, Stmt, Turns};
use nnc_ir::{DType, Dim};
use nnc_tensor::Range;

impl Emitter<'_, '_> {
    /// Emits statements in order.
    pub(super) fn body(&mut self, body: &[Stmt]) -> Result<()> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    /// Emits one statement.
    pub(super) fn stmt(&mut self, s: &Stmt) -> Result<()> {
        match s {
            Stmt::Let { local, dtype, expr } => {
                let value = self.expr(expr, *dtype)?;
                self.note(*local, expr);
                self.define(*local, *dtype, value);
                Ok(())
            }
            Stmt::Store { mem, index, value } => {
                let value = self.read(*value)?;
                self.store(*mem, index, value)
            }
            Stmt::StorePtr { table, index, mem, element } => {
                let word = self.pointer(*mem, element)?;
                self.store(*table, index, word)
            }
            Stmt::For(l) => self.counted(l),
            Stmt::If { cond, then, otherwise } => self.branch(*cond, then, otherwise),
            Stmt::Call { contract, version, args } => self.call(contract, *version, args),
        }
    }

    /// Remembers what is known of a local from its definition.
    pub(super) fn note(&mut self, local: Local, expr: &Expr) {
        match expr {
            Expr::Float(v) => drop(self.constants.insert(local, *v)),
            Expr::Index(d) if self.at_least_zero(d) => drop(self.ranges.insert(local.0, Range::length())),
            _ => {}
        }
    }

    fn branch(&mut self, cond: Local, then: &[Stmt], otherwise: &[Stmt]) -> Result<()> {
        let cond = self.read(cond)?;
        let (yes, no, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.ins().brif(cond, yes, &[], no, &[]);
        for (block, body) in [(yes, then), (no, otherwise)] {
            self.b.switch_to_block(block);
            self.body(body)?;
            self.b.ins().jump(after, &[]);
        }
        self.b.switch_to_block(after);
        Ok(())
    }

    /// Emits a loop.
    fn counted(&mut self, l: &Loop) -> Result<()> {
        if l.turns == Turns::Lanes && self.vector_loop(l)? {
            return Ok(());
        }
        let init = self.starts(l)?;
        let results = self.guarded_loop(&l.axis.extent, &init, |e, extent| {
            let zero = e.b.ins().iconst(I64, 0);
            e.turns(l, zero, extent, &init)
        })?;
        self.define_results(l, &results);
        Ok(())
    }

    /// The values of carries and reductions before a loop.
    pub(super) fn starts(&self, l: &Loop) -> Result<Vec<Value>> {
        l.carries
            .iter()
            .map(|c| c.init)
            .chain(l.reduces.iter().map(|r| r.init))
            .map(|v| self.read(v))
            .collect()
    }

    /// Defines the values of carries and reductions after a loop.
    pub(super) fn define_results(&mut self, l: &Loop, values: &[Value]) {
        let pairs =
            l.carries.iter().map(|c| (c.init, c.result)).chain(l.reduces.iter().map(|r| (r.init, r.result)));
        for ((init, result), value) in pairs.zip(values) {
            self.define(result, self.dtype(init), *value);
        }
    }

    /// Emits `inside` under the condition that there is a turn, without a test where that is known.
    pub(super) fn guarded_loop(
        &mut self,
        extent: &Dim,
        otherwise: &[Value],
        inside: impl FnOnce(&mut Self, Value) -> Result<Vec<Value>>,
    ) -> Result<Vec<Value>> {
        let n = self.index(extent)?;
        match extent.as_const() {
            Some(..=0) => Ok(otherwise.to_vec()),
            Some(_) => inside(self, n),
            None => {
                let any = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, 0);
                self.when(any, otherwise, |e| inside(e, n))
            }
        }
    }

    /// The turns `from..to` of a loop one after the other; there is at least one.
    pub(super) fn turns(&mut self, l: &Loop, from: Value, to: Value, init: &[Value]) -> Result<Vec<Value>> {
        if l.axis.extent.is(1) {
            return self.turn(l, from, init);
        }
        let (open, carried) = self.open_loop(from, to, 1, init);
        let next = self.turn(l, open.index, &carried)?;
        self.close_loop(open, &next);
        Ok(next)
    }

    /// One turn of a scalar loop.
    pub(super) fn turn(&mut self, l: &Loop, index: Value, carried: &[Value]) -> Result<Vec<Value>> {
        self.define_axis(&l.axis, index);
        for (c, value) in l.carries.iter().zip(carried) {
            self.define(c.inside, self.dtype(c.init), *value);
        }
        self.body(&l.body)?;
        let mut next = l.carries.iter().map(|c| self.read(c.next)).collect::<Result<Vec<_>>>()?;
        for (r, sum) in l.reduces.iter().zip(&carried[l.carries.len()..]) {
            let value = self.read(r.value)?;
            next.push(self.apply(r.op, self.dtype(r.value), &[*sum, value])?);
        }
        Ok(next)
    }

    /// The value of an expression.
    pub(super) fn expr(&mut self, e: &Expr, to: DType) -> Result<Value> {
        match e {
            Expr::Float(v) => Ok(self.float_constant(to, *v)),
            Expr::Int(v) => self.int_constant(to, *v),
            Expr::Index(d) => self.index(d),
            Expr::Load(mem, index) => self.load(*mem, index),
            Expr::Op(op, args) => {
                let values = args.iter().map(|a| self.read(*a)).collect::<Result<Vec<_>>>()?;
                let never_nan =
                    args.iter().map(|a| self.constants.get(a).is_some_and(|c| !c.is_nan())).collect();
                self.apply_knowing(*op, self.dtype(args[0]), &values, never_nan)
            }
            Expr::Fma(a, b, c) => {
                let values = [self.read(*a)?, self.read(*b)?, self.read(*c)?];
                self.fused(to, values)
            }
            Expr::Cast(x) => {
                let value = self.read(*x)?;
                self.cast(value, self.dtype(*x), to)
            }
            Expr::RoundTo(d, x) => {
                let value = self.read(*x)?;
                self.round_to(*d, value)
            }
            Expr::Select(c, a, b) => {
                let (c, a, b) = (self.read(*c)?, self.read(*a)?, self.read(*b)?);
                Ok(self.b.ins().select(c, a, b))
            }
            Expr::Bitcast(x) => {
                let value = self.read(*x)?;
                self.same_bits(value, clif_type(to)?)
            }
        }
    }
}
