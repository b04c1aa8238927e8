//! Statements with other locals in place of their own.

use nnc_ir::tile::{Axis, Carry, Expr, Local, Loop, Reduce, Stmt};
use nnc_ir::{Dim, Sym};
use std::collections::HashMap;

/// What stands for a local in operands and in index expressions.
#[derive(Default)]
pub(super) struct Names {
    pub(super) operands: HashMap<Local, Local>,
    pub(super) dims: HashMap<Local, Dim>,
}

impl Names {
    pub(super) fn local(&self, local: Local) -> Local {
        self.operands.get(&local).copied().unwrap_or(local)
    }

    pub(super) fn dim(&self, dim: &Dim) -> Dim {
        dim.substitute(&|s| match s {
            Sym::Local(n) => {
                let local = Local(*n);
                self.dims.get(&local).cloned().or_else(|| self.operands.get(&local).map(|l| l.dim()))
            }
            Sym::Name(_) => None,
        })
    }

    /// The expression with its operands renamed.
    fn expr(&self, e: &Expr) -> Expr {
        match e {
            Expr::Float(v) => Expr::Float(*v),
            Expr::Int(v) => Expr::Int(*v),
            Expr::Index(d) => Expr::Index(self.dim(d)),
            Expr::Load(mem, d) => Expr::Load(*mem, self.dim(d)),
            Expr::Op(op, args) => Expr::Op(*op, args.iter().map(|a| self.local(*a)).collect()),
            Expr::Fma(a, b, c) => Expr::Fma(self.local(*a), self.local(*b), self.local(*c)),
            Expr::Cast(x) => Expr::Cast(self.local(*x)),
            Expr::RoundTo(d, x) => Expr::RoundTo(*d, self.local(*x)),
            Expr::Select(c, a, b) => Expr::Select(self.local(*c), self.local(*a), self.local(*b)),
            Expr::Bitcast(x) => Expr::Bitcast(self.local(*x)),
        }
    }

    /// The statement with its operands renamed; what it defines keeps its name. Only definitions,
    /// stores and loops occur in phases.
    pub(super) fn stmt(&self, s: &Stmt) -> Stmt {
        match s {
            Stmt::Let { local, dtype, expr } => {
                Stmt::Let { local: *local, dtype: *dtype, expr: self.expr(expr) }
            }
            Stmt::Store { mem, index, value } => {
                Stmt::Store { mem: *mem, index: self.dim(index), value: self.local(*value) }
            }
            Stmt::For(l) => Stmt::For(self.counted(l)),
            other => other.clone(),
        }
    }

    fn counted(&self, l: &Loop) -> Loop {
        let carry = |c: &Carry| Carry { init: self.local(c.init), next: self.local(c.next), ..c.clone() };
        let reduce =
            |r: &Reduce| Reduce { init: self.local(r.init), value: self.local(r.value), ..r.clone() };
        Loop {
            axis: Axis { local: l.axis.local, extent: self.dim(&l.axis.extent) },
            turns: l.turns,
            carries: l.carries.iter().map(carry).collect(),
            reduces: l.reduces.iter().map(reduce).collect(),
            body: l.body.iter().map(|s| self.stmt(s)).collect(),
        }
    }
}
